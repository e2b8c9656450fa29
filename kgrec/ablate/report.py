"""What an ablation found: one self-contained HTML page, the same as JSON, and tables for the terminal."""

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from pydantic import TypeAdapter
from rich import box
from rich.table import Table
from rich.text import Text

from kgrec.ablate.comparison import METRICS, Comparison
from kgrec.ablate.variants import Variant
from kgrec.ablate.verdicts import (
    Change,
    Verdict,
    judge,
    tell_part,
    tell_relation,
    tell_shuffled,
    tell_together,
    tell_undecided,
)
from kgrec.errors import KgrecError
from kgrec.evaluate.intervals import Interval
from kgrec.evaluate.report import METRIC_TITLES

PAGE_NAME, JSON_NAME = "ablation.html", "ablation.json"
SHUFFLED, NO_LINKS, NO_TEXTS, NEITHER = "shuffled", "no_links", "no_texts", "neither"
CONTROL_TITLES = {
    NO_LINKS: "text only",
    NO_TEXTS: "graph only",
    NEITHER: "neither",
    SHUFFLED: "shuffled",
}
_PARTS = {NO_LINKS: "links", NO_TEXTS: "texts", NEITHER: "links and texts"}
_STYLES = {Verdict.KEEP: "bold", Verdict.DROP: "", Verdict.UNDECIDED: "dim", Verdict.EMPTY: "dim"}
_MOST_TICKS = 6
_LEAST_REACH = 0.001


@dataclass(frozen=True)
class About:
    """What was ablated, and how.

    Attributes:
        catalogue: its name.
        counts: what there is how many of, in the order shown.
        split: how likes were held out, for people.
        seeds: of the splits.
        ablated_at: when, UTC seconds.
        k: list length of the metrics.
        tolerance: a loss of less than this share of a slice's value is none.
        level: the chance that all intervals hold together.
        n_compared: how many intervals these are.
        critical: how many standard errors they reach to each side.
        n_trainings: how many trainings are behind it.
        too_small: slices that are not compared -> how many users they have.
    """

    catalogue: str
    counts: Mapping[str, int]
    split: str
    seeds: tuple[int, ...]
    ablated_at: int
    k: int
    tolerance: float
    level: float
    n_compared: int
    critical: float
    n_trainings: int
    too_small: Mapping[str, int]


@dataclass(frozen=True)
class SliceScores:
    """One slice with the whole catalogue.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        n_users: users with relevant items, in the split that has the fewest.
        whole: metric -> its mean with the whole catalogue.
        noise: metric -> how far two trainings of the whole catalogue lie apart.
        telling: whether verdicts count it: that noise is little enough, and a list holds not most of the candidates.
    """

    name: str
    title: str
    n_users: int
    telling: bool
    whole: Mapping[str, float]
    noise: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """What leaving something out changes.

    Attributes:
        name: a relation; or "shuffled", "no_links", "no_texts", "neither"; or the relations left out together.
        n_links: how many links are left out (or shuffled).
        changes: slice name -> metric -> the mean difference from the whole catalogue, negative where it falls.
        most_lost: the largest share that a slice may lose, of those that verdicts count.
        verdict: what to do; for a control, what would be to do with what it lacks.
        finding: a sentence.
    """

    name: str
    n_links: int
    changes: Mapping[str, Mapping[str, Interval]]
    most_lost: float
    verdict: Verdict
    finding: str


@dataclass(frozen=True)
class Ablation:
    """Everything the page shows.

    Attributes:
        about: what was ablated.
        slices: in the order of an evaluation.
        relations: in the catalogue's order.
        controls: the links shuffled, texts alone, the graph alone, neither; those that there is a difference to.
        together: all relations at once that can go one by one; None where there are not two.
    """

    about: About
    slices: tuple[SliceScores, ...]
    relations: tuple[Row, ...]
    controls: tuple[Row, ...]
    together: Row | None

    @property
    def findings(self) -> list[str]:
        """What to say first: of the graph and the texts, then what to do with each relation."""
        controls = sorted(self.controls, key=lambda row: row.name != SHUFFLED)
        told = [row for row in _order(self.relations) if row.verdict != Verdict.UNDECIDED]
        found = [row.finding for row in (*controls, *told, *([self.together] if self.together else []))]
        undecided = {row.name: row.most_lost for row in self.relations if row.verdict == Verdict.UNDECIDED}
        return [*found, tell_undecided(undecided)] if undecided else found


def build_ablation(
    about: About,
    titles: Mapping[str, tuple[str, int]],
    judged: Mapping[str, str],
    comparison: Comparison,
    controls: Mapping[str, Variant],
    relations: Mapping[str, Variant],
    n_links: Mapping[str, int],
    together: tuple[Variant, Comparison] | None,
) -> Ablation:
    """Puts an ablation together.

    Args:
        about: what was ablated.
        titles: slice name -> its title and number of users, in the order shown.
        judged: slice name -> title, of those that verdicts count.
        comparison: of all controls and relations with the whole catalogue.
        controls: name of a control -> what was trained.
        relations: relation -> what was trained, for those that have links.
        n_links: every relation asked for -> how many links it has.
        together: what was trained without all relations that can go, and its comparison.
    """

    def build_row(name: str, variant: Variant, found: Comparison, count: int) -> Row:
        changes = list_changes(found, variant, judged)
        verdict, told = judge(changes, about.tolerance), (changes, about.tolerance, about.k)
        if name == SHUFFLED:
            finding = tell_shuffled(changes, list_changes(found, controls[NO_LINKS], judged), about.tolerance, about.k)
        elif name in _PARTS:
            finding = tell_part(_PARTS[name], *told)
        elif name in n_links:
            finding = tell_relation(name, *told)
        else:
            finding = tell_together(sorted(variant.left_out), *told)
        by_slice = {
            slice_name: {metric: found.changes[slice_name, metric, variant] for metric in METRICS}
            for slice_name in titles
        }
        return Row(name, count, by_slice, max(change.most_lost for change in changes), verdict, finding)

    total = about.counts["links"]
    joint = None
    if together is not None:
        variant, found = together
        joint = build_row(
            ", ".join(sorted(variant.left_out)), variant, found, sum(n_links[n] for n in variant.left_out)
        )
    whole = Variant()
    return Ablation(
        about,
        tuple(
            SliceScores(
                name,
                title,
                n_users,
                name in judged,
                {metric: comparison.means[name, metric, whole] for metric in METRICS},
                {metric: comparison.noise[name, metric] for metric in METRICS},
            )
            for name, (title, n_users) in titles.items()
        ),
        tuple(
            build_row(name, relations[name], comparison, count)
            if name in relations
            else Row(name, 0, {}, 0.0, Verdict.EMPTY, f"`{name}` has no links: nothing is lost without it")
            for name, count in n_links.items()
        ),
        tuple(
            build_row(name, variant, comparison, 0 if name == NO_TEXTS else total) for name, variant in controls.items()
        ),
        joint,
    )


def list_changes(comparison: Comparison, variant: Variant, titles: Mapping[str, str]) -> list[Change]:
    """What a variant changes, in every metric of some slices, given by name and title."""
    return [
        Change(title, metric, comparison.changes[name, metric, variant], comparison.means[name, metric, Variant()])
        for name, title in titles.items()
        for metric in METRICS
    ]


def write_ablation(ablation: Ablation, directory: Path) -> Path:
    """Writes `ablation.html`, which needs nothing beside it, and `ablation.json`.

    Args:
        ablation: what to write.
        directory: where; made when missing, files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        KgrecError: the directory cannot be written.
    """
    page, data = _render(ablation), TypeAdapter(Ablation).dump_json(ablation, indent=1)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / PAGE_NAME).write_text(page, encoding="utf-8")
        (directory / JSON_NAME).write_bytes(data + b"\n")
    except OSError as error:
        raise KgrecError(f"cannot write the report: {error}; name a directory that can be written") from error
    return directory / PAGE_NAME


def to_rich_tables(ablation: Ablation) -> list[Table]:
    """For the terminal: every slice with and without texts and links, then a row for each relation."""
    about, titles, first = ablation.about, {slice_.name: slice_.title for slice_ in ablation.slices}, METRICS[0]
    metric = f"{METRIC_TITLES[first]}@{about.k}"
    controls = Table(
        box=box.SIMPLE_HEAD,
        title=f"{about.catalogue}: {metric} with and without texts and links",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    controls.add_column("", min_width=20)
    for title in ("users", "both", *(CONTROL_TITLES[row.name] for row in ablation.controls)):
        controls.add_column(title, justify="right")
    for slice_ in ablation.slices:
        cells = []
        for row in ablation.controls:
            change = row.changes[slice_.name][first]
            cells.append(Text(f"{slice_.whole[first] + change.mean:.3f}", style=_style(change)))
        controls.add_row(slice_.title, f"{slice_.n_users:,}", f"{slice_.whole[first]:.3f}", *cells)
    if not ablation.relations:
        return [controls]
    relations = Table(
        box=box.SIMPLE_HEAD,
        title=f"What leaving a relation out changes in {metric}, where that is clearest",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    for title in ("relation", "links", "change", "slice", "verdict"):
        relations.add_column(
            title, justify="right" if title in ("links", "change") else "left", no_wrap=title != "slice"
        )
    for row in _order(ablation.relations):
        told, where = Text(), ""
        if row.changes:
            name = _clearest(row, first)
            found, where = row.changes[name][first], titles[name]
            told = Text(f"{found.mean:+.3f} ± {(found.high - found.low) / 2:.3f}", style=_style(found))
        verdict = Text(str(row.verdict), style=_STYLES[row.verdict])
        relations.add_row(row.name, f"{row.n_links:,}", told, where, verdict)
    return [controls, relations]


def _clearest(row: Row, metric: str) -> str:
    """The slice whose change is the largest beside the width of its interval."""

    def clearness(interval: Interval) -> float:
        width = interval.high - interval.low
        return abs(interval.mean) / width if width else 0.0

    return max(row.changes, key=lambda name: clearness(row.changes[name][metric]))


def _order(rows: Sequence[Row]) -> list[Row]:
    order = list(Verdict)
    return sorted(rows, key=lambda row: order.index(row.verdict))


def _style(interval: Interval) -> str:
    return "red" if interval.high < 0 else "green" if interval.low > 0 else ""


def _render(ablation: Ablation) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kgrec", "ablate"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    rows = [*_order(ablation.relations), *([ablation.together] if ablation.together else [])]
    at = datetime.datetime.fromtimestamp(ablation.about.ablated_at, tz=datetime.UTC)
    first = METRICS[0]
    highest = max(
        slice_.whole[first] + max([0.0, *(row.changes[slice_.name][first].mean for row in ablation.controls)])
        for slice_ in ablation.slices
    )
    ticks = _list_ticks(highest)
    return environment.get_template("ablation.html").render(
        ablation=ablation,
        about=ablation.about,
        at=f"{at:%Y-%m-%d %H:%M} UTC",
        metrics={metric: METRIC_TITLES[metric] for metric in METRICS},
        titles=CONTROL_TITLES,
        controls=ablation.controls,
        rows=rows,
        findings=[_mark_names(finding) for finding in ablation.findings],
        ticks=ticks,
        top=ticks[-1],
        reach={
            metric: {slice_.name: _reach(rows, slice_.name, metric) for slice_ in ablation.slices} for metric in METRICS
        },
        tone=_tone,
        signed=_sign,
    )


def _mark_names(finding: str) -> Markup:
    """A sentence as HTML, what is in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(finding))))


def _list_ticks(highest: float) -> list[float]:
    """From 0 in round steps to what is not below the highest value."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if highest <= _MOST_TICKS * step)
    return [round(step * number, 2) for number in range(math.ceil(highest / step) + 1)]


def _reach(rows: Sequence[Row], slice_name: str, metric: str) -> float:
    """How far a column's axis reaches to each side."""
    found = [row.changes[slice_name][metric] for row in rows if row.changes]
    return max(max((max(abs(one.low), abs(one.high)) for one in found), default=0.0), _LEAST_REACH)


def _sign(difference: float) -> str:
    """With its sign, unless it is rounded to nothing."""
    told = f"{difference:+.3f}"
    return told if told.strip("+-0.") else "0"


def _tone(interval: Interval) -> str:
    return "bad" if interval.high < 0 else "good" if interval.low > 0 else ""
