"""The result of an ablation: the effect of each relation, of the links and of the texts on every slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kgrec.ablate.comparison import METRICS, Comparison
from kgrec.ablate.parts import Part
from kgrec.ablate.variants import Variant
from kgrec.ablate.verdicts import (
    Change,
    Verdict,
    describe_part,
    describe_relation,
    describe_shuffled,
    describe_together,
    describe_undecided,
    judge,
)
from kgrec.evaluate.intervals import Interval

SHUFFLED, NO_LINKS, NO_TEXTS, NEITHER = "shuffled", "no_links", "no_texts", "neither"
CONTROL_TITLES = {NO_LINKS: "text only", NO_TEXTS: "graph only", NEITHER: "neither", SHUFFLED: "shuffled"}
_PARTS = {NO_LINKS: "links", NO_TEXTS: "texts", NEITHER: "links and texts"}


@dataclass(frozen=True)
class About:
    """A description of the ablation.

    Attributes:
        catalogue: the name of the catalogue.
        counts: its numbers of users, items and so on, in the order shown.
        split: the held-out likes, in words.
        seeds: the seeds of the splits.
        ablated_at: the time, UTC seconds.
        k: list length of the metrics.
        tolerance: smaller losses do not count, as a share of a slice's value.
        level: the probability that all intervals hold together.
        n_compared: the number of intervals.
        critical: half their width, in standard errors.
        n_trainings: the number of trainings.
        too_small: title of a slice with too few users to compare -> its number of users.
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
    """The scores on one slice after training on the whole catalogue.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        n_users: users with relevant items, in the split with the fewest.
        whole: metric -> its mean with the whole catalogue.
        noise: metric -> the difference between two trainings on the whole catalogue.
        decisive: whether verdicts use it: the noise is small, and a list holds less than half of the candidates.
    """

    name: str
    title: str
    n_users: int
    decisive: bool
    whole: Mapping[str, float]
    noise: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """The effect of leaving something out.

    Attributes:
        name: of a part (`kgrec.ablate.parts.Part`); or "shuffled", "no_links", "no_texts", "neither"; or the titles of
            the parts left out together.
        title: for people.
        n_links: the number of links left out (or shuffled).
        unit: what is counted: "links", "values" or "texts".
        of_users: whether the verdict is on cold users.
        changes: slice name -> metric -> the mean difference from the whole catalogue, negative for a loss.
        most_lost: the largest share that a slice may lose, among the slices that verdicts use.
        verdict: what to do with the relation, or with the part that a control leaves out.
        finding: a sentence.
    """

    name: str
    title: str
    n_links: int
    unit: str
    of_users: bool
    changes: Mapping[str, Mapping[str, Interval]]
    most_lost: float
    verdict: Verdict
    finding: str


@dataclass(frozen=True)
class Ablation:
    """Everything the page shows.

    Attributes:
        about: the description of the ablation.
        slices: in the order of an evaluation.
        relations: relations, attributes and texts of users, in the catalogue's order.
        controls: the links shuffled, texts alone, the graph alone, neither; only those that differ from each other.
        together: all droppable relations left out at once; None with fewer than two.
    """

    about: About
    slices: tuple[SliceScores, ...]
    relations: tuple[Row, ...]
    controls: tuple[Row, ...]
    together: Row | None

    @property
    def findings(self) -> list[str]:
        """A sentence for each control and each relation, the graph as a whole first."""
        controls = sorted(self.controls, key=lambda row: row.name != SHUFFLED)
        decided = [row for row in order_rows(self.relations) if row.verdict != Verdict.UNDECIDED]
        found = [row.finding for row in (*controls, *decided, *([self.together] if self.together else []))]
        undecided = {row.title: row.most_lost for row in self.relations if row.verdict == Verdict.UNDECIDED}
        return [*found, describe_undecided(undecided)] if undecided else found


def build_ablation(
    about: About,
    titles: Mapping[str, tuple[str, int]],
    judged: Mapping[str, str],
    comparison: Comparison,
    controls: Mapping[str, Variant],
    relations: Mapping[str, Variant],
    parts: Mapping[str, Part],
    together: tuple[Variant, Comparison] | None,
) -> Ablation:
    """Builds the result of an ablation.

    Args:
        about: the description of the ablation.
        titles: slice name -> its title and number of users, in the order shown.
        judged: slice name -> title, of the slices that verdicts use.
        comparison: the comparison of all controls and relations with the whole catalogue.
        controls: name of a control -> its variant.
        relations: name of a part that is not empty -> its variant.
        parts: every requested part by name.
        together: the variant without all droppable parts, and its comparison.
    """

    def build_row(name: str, variant: Variant, found: Comparison, count: int) -> Row:
        part = parts.get(name)
        changes = list_changes(found, variant, judged if part is None else part.select_judged(judged))
        verdict, options = judge(changes, about.tolerance), (changes, about.tolerance, about.k)
        if name == SHUFFLED:
            without_links = list_changes(found, controls[NO_LINKS], judged)
            finding = describe_shuffled(changes, without_links, about.tolerance, about.k)
        elif name in _PARTS:
            links = "links and attributes" if about.counts.get("attributes") else "links"
            finding = describe_part(_PARTS[name].replace("links", links), *options)
        elif part is not None:
            finding = describe_relation(part.title, *options)
        else:
            finding = describe_together([parts[one].title for one in sorted(variant.left_out)], *options)
        by_slice = {
            slice_name: {metric: found.changes[slice_name, metric, variant] for metric in METRICS}
            for slice_name in titles
        }
        title, unit = (CONTROL_TITLES.get(name, name), "links") if part is None else (part.title, part.unit)
        most_lost = max(change.most_lost for change in changes)
        of_users = part is not None and part.of_users
        return Row(name, title, count, unit, of_users, by_slice, most_lost, verdict, finding)

    total = about.counts["links"]
    joint = None
    if together is not None:
        variant, found = together
        gone = [parts[name] for name in sorted(variant.left_out)]
        joint = build_row(", ".join(part.title for part in gone), variant, found, sum(part.size for part in gone))
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
            build_row(name, relations[name], comparison, part.size) if name in relations else _to_empty_row(part)
            for name, part in parts.items()
        ),
        tuple(
            build_row(name, variant, comparison, 0 if name == NO_TEXTS else total) for name, variant in controls.items()
        ),
        joint,
    )


def _to_empty_row(part: Part) -> Row:
    finding = f"`{part.title}` has no {part.unit}: nothing is lost without it"
    return Row(part.name, part.title, 0, part.unit, part.of_users, {}, 0.0, Verdict.EMPTY, finding)


def list_changes(comparison: Comparison, variant: Variant, titles: Mapping[str, str]) -> list[Change]:
    """The changes of a variant in every metric of some slices (slice name -> title)."""
    return [
        Change(title, metric, comparison.changes[name, metric, variant], comparison.means[name, metric, Variant()])
        for name, title in titles.items()
        for metric in METRICS
    ]


def order_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows by verdict: keep, drop, undecided, then empty."""
    order = list(Verdict)
    return sorted(rows, key=lambda row: order.index(row.verdict))
