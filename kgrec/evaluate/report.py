"""The evaluation report: one self-contained HTML page, the same as JSON, and a table for the terminal."""

import datetime
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from rich import box
from rich.table import Table
from rich.text import Text

from kgrec.errors import KgrecError
from kgrec.evaluate.audit import CHECKS, Audit, Effect
from kgrec.evaluate.baselines import FEW, is_rival
from kgrec.evaluate.dial import AFFORDABLE, DialCurve, DialPoint
from kgrec.evaluate.intervals import Interval, bootstrap_intervals, standard_error
from kgrec.evaluate.leaks import Example
from kgrec.questions.slices import (
    FIRST_PLACES,
    OBJECTIVE,
    OBJECTIVE_METRICS,
    POPULAR_ITEMS,
    STRATIFIED,
    NotAsked,
    SliceResult,
)

PAGE_NAME, JSON_NAME = "report.html", "report.json"
METRICS = ("recall", "ndcg", STRATIFIED, "mrr")
MEANS = (*METRICS, OBJECTIVE)  # what has an interval and a paired difference
METRIC_TITLES = {
    "recall": "Recall", "ndcg": "NDCG", STRATIFIED: "Stratified recall", "mrr": "MRR", OBJECTIVE: "Objective",
}  # fmt: skip
_SHORT_TITLES = {**METRIC_TITLES, STRATIFIED: "Strat."}  # for the terminal
_SHORT_NAMES = {"popularity": "popular", "text cosine": "text"}  # likewise
POPULARITY_EDGES = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)  # lower ends of the buckets
_COLD_USERS, _FEW_ITEMS = re.compile(r"cold_users_k(\d+)"), re.compile(r"few_items_n(\d+)")
_INK = "#00beef"  # stands for the page's text colour until the plot is in the page
_SERIES = tuple(f"#00aa{number:02x}" for number in range(8))  # stand for the page's series colours
_DASHES = ((), (4, 2), (8, 2), (2, 1), (6, 2, 1, 2), (3, 3), (6, 2, 1, 2, 1, 2), (10, 4))  # on, off, ... points
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class About:
    """What was evaluated.

    Attributes:
        catalogue: its name.
        counts: what there is how many of, in the order shown ("users", "items", "likes", ...).
        split: how training, validation and test were separated, for people.
        seed: the seed of the split and of training.
        evaluated_at: when, UTC seconds.
        ours: the name of the scorer that is compared with the others.
        chosen: scorer name -> what validation chose for it.
        skipped: scorer name -> why it is left out.
    """

    catalogue: str
    counts: Mapping[str, int]
    split: str
    seed: int
    evaluated_at: int
    ours: str
    chosen: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bucket:
    """Relevant items of like popularity, and the share of them that is found.

    Attributes:
        lowest: the fewest training likes of an item in the bucket.
        highest: the most, None without a bound.
        n_relevant: how many (user, relevant item) pairs fall in it.
        recall: the share of these pairs where the item is in the user's first k.
    """

    lowest: int
    highest: int | None
    n_relevant: int
    recall: float


@dataclass(frozen=True)
class Row:
    """How one scorer did on one slice.

    Attributes:
        scorer: its name.
        intervals: metric, or "objective" -> mean over users at k with its 95% bootstrap interval.
        coverage: share of candidates recommended to somebody.
        gini: how unequally recommendations are shared among candidates.
        overlap: the expected share of items that the lists of two random users have in common.
        popular_in_first: how many of the first 10 recommendations are among the 20 items most liked, on average.
        average_popularity: mean training likes of what is recommended.
        curves: metric -> its mean at every list length from 1.
        by_popularity: recall by popularity of the relevant item, rarest first.
    """

    scorer: str
    intervals: Mapping[str, Interval]
    coverage: float
    gini: float
    overlap: float
    popular_in_first: float
    average_popularity: float
    curves: Mapping[str, tuple[float, ...]]
    by_popularity: tuple[Bucket, ...]


@dataclass(frozen=True)
class Difference:
    """Ours minus the best other scorer, over the same users.

    For new users with one to three likes, the others are the personal baselines alone: popularity wins
    plain NDCG there, and shows everybody the same. The best other is picked by the very values that are compared, which
    favours it: of several scorers that are alike, the luckiest is taken. So on average the difference errs against
    ours.

    Attributes:
        against: the scorer with the best mean of this metric on this slice, ours aside.
        interval: the mean paired difference with its 95% bootstrap interval.
        error: the standard error of the mean difference; of the objective's by the delta method.
    """

    against: str
    interval: Interval
    error: float


@dataclass(frozen=True)
class SliceReport:
    """One slice with every scorer.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        n_users: users with relevant items.
        n_relevant: (user, relevant item) pairs.
        n_candidates: items that may be recommended.
        rows: one per scorer, ours first; empty without users.
        differences: metric, or "objective" -> ours against the best other; empty when ours or others are missing.
    """

    name: str
    title: str
    n_users: int
    n_relevant: int
    n_candidates: int
    rows: tuple[Row, ...]
    differences: Mapping[str, Difference]

    def best(self, column: str) -> frozenset[str]:
        """The scorers with the best value of a metric, of coverage (highest), or of Gini or overlap (lowest)."""
        sign = -1.0 if column in ("gini", "overlap") else 1.0
        values = {row.scorer: sign * _value(row, column) for row in self.rows}
        return frozenset(scorer for scorer, value in values.items() if value == max(values.values()))


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    Attributes:
        about: what was evaluated.
        k: list length of the tables.
        n_resamples: bootstrap resamples behind the intervals.
        slices: in the order given.
        audit: what leaks were looked for and found; None where it was not made.
        dial: what the tail dial costs and gives, slice by slice.
        not_asked: slices that are missing, and why.
    """

    about: About
    k: int
    n_resamples: int
    slices: tuple[SliceReport, ...]
    audit: Audit | None = None
    dial: tuple[DialCurve, ...] = ()
    not_asked: tuple[NotAsked, ...] = ()


def build_report(
    results: Sequence[SliceResult],
    about: About,
    *,
    popularity: NDArray[np.int64],
    rng: np.random.Generator,
    n_resamples: int = 1000,
    audit: Audit | None = None,
    dial: Sequence[DialCurve] = (),
    not_asked: Sequence[NotAsked] = (),
) -> Report:
    """Sums up results: means, intervals, curves, differences.

    Args:
        results: any number of scorers on any number of slices; all of one k.
        about: what was evaluated.
        popularity: (n_items,) likes of each item in training.
        rng: the source of the bootstrap's resamples.
        n_resamples: how many there are.
        audit: what leaks were looked for and found.
        dial: what the tail dial costs and gives.
        not_asked: slices that are missing, and why.

    Raises:
        KgrecError: there are no results, or they are of different k, or a slice has a scorer twice or scorers
            that saw different users.
    """
    ks = {result.k for result in results}
    if len(ks) != 1:
        raise KgrecError(f"expected results of one list length, got {sorted(ks) or 'none'}")
    by_slice: dict[str, list[SliceResult]] = {}
    for result in results:
        by_slice.setdefault(result.slice_name, []).append(result)
    slices = tuple(_sum_up(group, about.ours, popularity, rng, n_resamples) for group in by_slice.values())
    return Report(about, ks.pop(), n_resamples, slices, audit, tuple(dial), tuple(not_asked))


def write_report(report: Report, directory: Path) -> Path:
    """Writes `report.html`, which needs nothing beside it, and `report.json`.

    Args:
        report: what to write.
        directory: where; made when missing, files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        KgrecError: the directory cannot be written.
    """
    page, data = _render(report), TypeAdapter(Report).dump_json(report, indent=1)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / PAGE_NAME).write_text(page, encoding="utf-8")
        (directory / JSON_NAME).write_bytes(data + b"\n")
    except OSError as error:
        raise KgrecError(f"cannot write the report: {error}; name a directory that can be written") from error
    return directory / PAGE_NAME


def read_report(path: Path) -> Report:
    """Reads a `report.json` back.

    Raises:
        KgrecError: the file is missing or is no report.
    """
    try:
        return TypeAdapter(Report).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise KgrecError(f"cannot read the report {path}: {error}; expected a {JSON_NAME} by kgrec evaluate") from error


def to_rich_table(report: Report) -> Table:
    """The tables of all slices as one table for the terminal, the best of each column in bold.

    "Strat." is popularity-stratified recall. The last columns: share of candidates recommended to somebody, the share
    of items that the lists of two users have in common, and how many of the first 10 are among the 20 most liked. Below
    it are the slices that could not be asked, with the reason.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{report.about.catalogue}: {report.about.split}",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("", min_width=15)
    for metric in METRICS:
        table.add_column(f"{_SHORT_TITLES[metric]}@{report.k}", justify="right")
    for title in ("cover", "same", "top20"):
        table.add_column(title, justify="right", no_wrap=True)
    for slice_ in report.slices:
        table.add_section()
        table.add_row(Text(f"{slice_.title} ({slice_.n_users:,} users)", style="italic"))
        for row in slice_.rows:
            cells = [
                Text(f"{_value(row, column):.3f}", style="bold" if row.scorer in slice_.best(column) else "")
                for column in (*METRICS, "coverage", "overlap")
            ]
            popular = Text(f"{row.popular_in_first:.1f}")
            table.add_row(
                Text(f"  {row.scorer}", style="bold" if row.scorer == report.about.ours else ""), *cells, popular
            )
        if slice_.differences:
            found = [slice_.differences[metric] for metric in METRICS]
            table.add_row(Text("  ours - best"), *[_tell_difference(each.interval) for each in found])
            table.add_row(Text("    std. error", style="dim"), *[Text(f"{e.error:.3f}", style="dim") for e in found])
            table.add_row(
                Text("    best other", style="dim"),
                *[Text(_SHORT_NAMES.get(each.against, each.against), style="dim") for each in found],
            )
    for curve in report.dial:
        table.add_section()
        table.add_row(Text(f"Tail dial: {curve.slice_title}", style="italic"))
        for point in curve.points[::2]:
            values = (*(point.means[metric] for metric in METRICS), point.coverage, point.overlap)
            cells = [Text(f"{value:.3f}") for value in values]
            table.add_row(f"  --tail {point.tail:g}", *cells, f"{point.popular_in_first:.1f}")
    told = [
        "cover: share of the candidates in somebody's list; same: share of two users' lists that is the same; "
        "top20: of the first 10, how many are among the 20 most liked",
        *(f"not asked: {one.title}: {one.reason}" for one in report.not_asked),
    ]
    table.caption, table.caption_justify = Text("\n".join(told)), "left"
    return table


def to_rich_audit(report: Report) -> Table:
    """What the leak audit looked for, what it found and what that does to the figures, for the terminal."""
    table = Table.grid(padding=(0, 1))
    table.title, table.title_justify = "Leak audit", "left"
    if report.audit is None:
        return table
    for finding in report.audit.findings:
        found = Text(f"{finding.count:,} {finding.message} (of {finding.total:,} {finding.of})", style="bold")
        table.add_row(Text("found", style="red"), found)
        for example in finding.examples:
            table.add_row("", Text(f"  {tell_example(example)}"))
        moved = [effect for effect in finding.effects if _moves(effect)]
        for effect in moved:
            table.add_row("", Text(f"{effect.slice_title}: {tell_effect(effect, report.k)}"))
        if not moved:
            table.add_row("", f"Recall@{report.k} without the test likes that it tells is the same in every slice")
        table.add_row("", Text(f"{finding.effect} {finding.advice}", style="dim"))
    for looked_for in report.audit.passed.values():
        table.add_row(Text("none", style="green"), Text(looked_for))
    for check, reason in report.audit.skipped.items():
        table.add_row(Text("skipped", style="yellow"), Text(f"{CHECKS[check].looked_for}: {reason}"))
    return table


def tell_effect(effect: Effect, k: int) -> str:
    """What a finding does to a slice, in words: "Recall@20 kgrec 0.310 → 0.290 without 412 of 1,442 test likes"."""
    chance = "" if effect.n_by_chance is None else f" (by chance {effect.n_by_chance:,})"
    pairs = f"{effect.n_told:,} of {effect.n_relevant:,} test likes{chance}"
    if not effect.recall_without:
        return f"all {effect.n_told:,} test likes are told{chance}: nothing to measure without them"
    recalls = [
        f"{scorer} {recall:.3f} → {effect.recall_without[scorer]:.3f}" for scorer, recall in effect.recall.items()
    ]
    return f"Recall@{k} {', '.join(recalls)} without {pairs}"


def tell_example(example: Example) -> str:
    """One of the things found, by the catalogue's ids."""
    nodes = " and ".join(f"{node.type} {node.id}" for node in example.nodes)
    return nodes if example.about is None else f"{nodes}: {example.about}"


def _moves(effect: Effect) -> bool:
    """Whether a figure is another at three decimals."""
    return any(
        scorer not in effect.recall_without or f"{recall:.3f}" != f"{effect.recall_without[scorer]:.3f}"
        for scorer, recall in effect.recall.items()
    )


def _tell_difference(interval: Interval) -> Text:
    """A difference, in colour where its interval leaves 0 out."""
    style = "green" if interval.low > 0 else "red" if interval.high < 0 else ""
    return Text(f"{interval.mean:+.3f}", style=style)


def _sum_up(
    group: Sequence[SliceResult],
    ours: str,
    popularity: NDArray[np.int64],
    rng: np.random.Generator,
    n_resamples: int,
) -> SliceReport:
    first = group[0]
    names = [result.scorer for result in group]
    if len(set(names)) < len(names):
        raise KgrecError(f"slice {first.slice_name!r}: expected each scorer once, got {names}")
    for result in group:
        if not np.array_equal(result.users, first.users):
            raise KgrecError(
                f"slice {first.slice_name!r}: {result.scorer} and {first.scorer} were evaluated on different users"
            )
    has_users = bool(first.users.size)
    ordered = sorted(group, key=lambda result: result.scorer != ours)  # stable: the others keep their order
    columns = {(result.scorer, metric): result.per_user(metric) for result in ordered for metric in MEANS}
    rivals = [result for result in ordered[1:] if is_rival(first.slice_name, result.scorer)]
    against: dict[str, str] = {}
    if has_users and ordered[0].scorer == ours and rivals:
        for metric in MEANS:
            best = max(rivals, key=lambda result: columns[result.scorer, metric].mean())
            against[metric] = best.scorer
            columns["difference", metric] = columns[ours, metric] - columns[best.scorer, metric]
    intervals: dict[tuple[str, str], Interval] = {}
    if has_users:  # one call: every scorer is resampled with the same users
        found = bootstrap_intervals(np.column_stack(list(columns.values())), rng, n_resamples=n_resamples)
        intervals = dict(zip(columns, found, strict=True))
    return SliceReport(
        name=first.slice_name,
        title=first.slice_title,
        n_users=int(first.users.size),
        n_relevant=int(first.n_relevant.sum()),
        n_candidates=int(np.count_nonzero(first.candidates)),
        rows=tuple(_to_row(result, intervals, popularity) for result in ordered) if has_users else (),
        differences={
            m: Difference(scorer, intervals["difference", m], standard_error(columns["difference", m]))
            for m, scorer in against.items()
        },
    )


def _to_row(result: SliceResult, intervals: Mapping[tuple[str, str], Interval], popularity: NDArray[np.int64]) -> Row:
    popular = result.popular_in_first
    return Row(
        scorer=result.scorer,
        intervals={metric: intervals[result.scorer, metric] for metric in MEANS},
        coverage=result.coverage,
        gini=result.gini,
        overlap=result.overlap,
        popular_in_first=0.0 if popular is None else float(popular.mean()),
        average_popularity=result.average_popularity(popularity),
        curves={metric: tuple(result.curves(metric).mean(axis=0).tolist()) for metric in METRICS},
        by_popularity=_to_buckets(result, popularity),
    )


def _to_buckets(result: SliceResult, popularity: NDArray[np.int64]) -> tuple[Bucket, ...]:
    places = np.searchsorted(POPULARITY_EDGES, popularity, side="right") - 1  # (n_items,)
    n_relevant = np.bincount(places, weights=result.item_relevant, minlength=len(POPULARITY_EDGES))
    n_found = np.bincount(places, weights=result.item_hits, minlength=len(POPULARITY_EDGES))
    highest = [edge - 1 for edge in POPULARITY_EDGES[1:]]
    return tuple(
        Bucket(lowest, most, int(relevant), float(found / relevant))
        for lowest, most, relevant, found in zip(POPULARITY_EDGES, [*highest, None], n_relevant, n_found, strict=True)
        if relevant
    )


def _value(row: Row, column: str) -> float:
    return row.intervals[column].mean if column in MEANS else float(getattr(row, column))


def _render(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kgrec", "evaluate"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    scorers = list(dict.fromkeys(row.scorer for slice_ in report.slices for row in slice_.rows))
    at = datetime.datetime.fromtimestamp(report.about.evaluated_at, tz=datetime.UTC)
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "path.simplify": True}
    ):
        plots = {slice_.name: _plot_slice(report, slice_, scorers) for slice_ in report.slices if slice_.n_users}
        support_plots = _plot_sizes(report, scorers, _COLD_USERS, "known likes")
        few_plots = _plot_sizes(report, scorers, _FEW_ITEMS, "known likes of each item")
        dial_plots = {curve.slice_name: _plot_dial(report, curve, scorers) for curve in report.dial}
    return environment.get_template("report.html").render(
        report=report,
        about=report.about,
        evaluated_at=f"{at:%Y-%m-%d %H:%M} UTC",
        metrics=METRIC_TITLES,
        few=FEW,
        popular_items=POPULAR_ITEMS,
        first_places=FIRST_PLACES,
        scorers=scorers,
        keys=[(number, " ".join(map(str, dashes))) for number, dashes in enumerate(_DASHES)],
        plots=plots,
        support_plots=support_plots,
        few_plots=few_plots,
        dial_plots=dial_plots,
        affordable=AFFORDABLE,
        checks=CHECKS,
        tell_effect=tell_effect,
        tell_example=tell_example,
    )


def _plot_slice(report: Report, slice_: SliceReport, scorers: Sequence[str]) -> list[tuple[str, Markup]]:
    def draw_curve(metric: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for row in _others_first(slice_.rows, report.about.ours):
                curve = row.curves[metric]
                axes.plot(range(1, len(curve) + 1), curve, **_style(row.scorer, scorers, report.about.ours))
            axes.axvline(report.k, color=_INK, linewidth=0.6, alpha=0.35)
            axes.set_xlabel("k")
            axes.set_xlim(1, None)

        return draw

    def draw_buckets(axes: Axes) -> None:
        for row in _others_first(slice_.rows, report.about.ours):
            recalls = [bucket.recall for bucket in row.by_popularity]
            series = scorers.index(row.scorer) % len(_SERIES)
            axes.plot(
                recalls, marker=_MARKERS[series], markersize=3.5, **_style(row.scorer, scorers, report.about.ours)
            )
        buckets = slice_.rows[0].by_popularity
        labels = [f"{_bucket_label(bucket)}\n{_short(bucket.n_relevant)}" for bucket in buckets]
        axes.set_xticks(range(len(buckets)), labels, fontsize=7)
        axes.set_xlim(-0.4, len(buckets) - 0.6)
        axes.set_xlabel("likes in training, and test likes below")

    plots = [("Recall@k", _to_svg(draw_curve("recall"))), ("NDCG@k", _to_svg(draw_curve("ndcg")))]
    if len(slice_.rows[0].by_popularity) > 1:
        plots.append((f"Recall@{report.k} by popularity of the item to find", _to_svg(draw_buckets)))
    return plots


def _plot_sizes(report: Report, scorers: Sequence[str], names: re.Pattern[str], label: str) -> list[tuple[str, Markup]]:
    """How good it gets the more is known; the names of the slices say how much that is."""
    sized = [(int(found[1]), slice_) for slice_ in report.slices if (found := names.fullmatch(slice_.name))]
    sized = sorted(((size, slice_) for size, slice_ in sized if slice_.n_users), key=lambda pair: pair[0])
    if len(sized) <= 1:
        return []

    def draw_metric(metric: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for scorer in sorted(scorers, key=lambda name: name == report.about.ours):
                found = [
                    (size, row.intervals[metric])
                    for size, slice_ in sized
                    for row in slice_.rows
                    if row.scorer == scorer
                ]
                sizes = [size for size, _ in found]
                series = scorers.index(scorer) % len(_SERIES)
                style = _style(scorer, scorers, report.about.ours)
                axes.plot(sizes, [i.mean for _, i in found], marker=_MARKERS[series], markersize=3.5, **style)
                axes.fill_between(
                    sizes,
                    [i.low for _, i in found],
                    [i.high for _, i in found],
                    color=style["color"],
                    alpha=0.12,
                    linewidth=0,
                )
            axes.set_xticks([size for size, _ in sized])
            axes.set_xlabel(label)

        return draw

    return [(f"{METRIC_TITLES[metric]}@{report.k}", _to_svg(draw_metric(metric))) for metric in OBJECTIVE_METRICS]


def _plot_dial(report: Report, curve: DialCurve, scorers: Sequence[str]) -> list[tuple[str, Markup]]:
    style = _style(report.about.ours, scorers, report.about.ours)
    settings = [point.tail for point in curve.points]

    def draw_cost(axes: Axes) -> None:
        def place(point: DialPoint) -> tuple[float, float]:
            return point.coverage, point.means["recall"]

        axes.plot(*zip(*map(place, curve.points), strict=True), marker="o", markersize=3.5, **style)
        for point in curve.points[::2]:
            axes.annotate(
                f"{point.tail:g}", place(point), (-4, -9), textcoords="offset points", ha="right", size=7, color=_INK
            )
        least = (1 - AFFORDABLE) * curve.points[0].means["recall"]
        axes.axhline(least, color=_INK, linewidth=0.6, alpha=0.5, linestyle=(0, (4, 2)))
        axes.set_xlabel("coverage, at each setting of the dial")
        axes.set_xlim(0, 1.05)

    def draw_shares(axes: Axes) -> None:
        axes.plot(settings, [point.tail_share for point in curve.points], marker="o", markersize=3.5, **style)
        axes.axhline(curve.own_tail_share, color=_INK, linewidth=0.6, alpha=0.5, linestyle=(0, (4, 2)))
        axes.set_xlabel("dial")
        axes.set_xlim(0, 1.02)

    return [
        (f"Recall@{report.k} against coverage; dashed: {AFFORDABLE:.0%} below that at 0", _to_svg(draw_cost)),
        ("Share of tail items in what is recommended; dashed: in the users' own likes", _to_svg(draw_shares)),
    ]


def _others_first(rows: Sequence[Row], ours: str) -> list[Row]:
    return sorted(rows, key=lambda row: row.scorer == ours)  # ours is drawn on top


def _style(scorer: str, scorers: Sequence[str], ours: str) -> dict[str, Any]:
    series = scorers.index(scorer) % len(_SERIES)
    dashes = (0, _DASHES[series]) if _DASHES[series] else "-"
    return {"color": _SERIES[series], "linestyle": dashes, "linewidth": 2.4 if scorer == ours else 1.3}


def _bucket_label(bucket: Bucket) -> str:
    if bucket.highest is None:
        return f"{_short(bucket.lowest)}+"
    return (
        _short(bucket.lowest)
        if bucket.highest == bucket.lowest
        else f"{_short(bucket.lowest)}-{_short(bucket.highest)}"
    )


def _short(number: int) -> str:
    thousand = 1000
    return str(number) if number < thousand else f"{number / thousand:.3g}k"


def _to_svg(draw: Callable[[Axes], None]) -> Markup:
    """Draws a plot as an SVG element whose colours are the page's, so that it reads in light and dark."""
    figure = Figure(figsize=(3.9, 2.7), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_ylim(0, None)
    axes.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK)
    axes.xaxis.label.set_color(_INK)
    with matplotlib.rc_context({"svg.hashsalt": "kgrec"}):
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type", "Format"))
        )
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z]+[a-zA-Z0-9]*_\d+"', "", svg)  # the same in every plot, and used by none
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    for series, colour in enumerate(_SERIES):
        svg = svg.replace(colour, f"var(--series-{series})")
    return Markup(svg)  # numbers only: names from the catalogue are in the page's own text, where they are escaped
