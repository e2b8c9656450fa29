"""The result of an evaluation: every scorer on every slice, with intervals and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import KgrecError
from kgrec.evaluate.audit import Audit
from kgrec.evaluate.baselines import is_rival
from kgrec.evaluate.dial import DialCurve
from kgrec.evaluate.diversity_curve import DiversityCurve
from kgrec.evaluate.fairness import AttributeQuality, compare_groups, is_compared
from kgrec.evaluate.intervals import Interval, bootstrap_intervals, standard_error
from kgrec.evaluate.user_groups import UserGroups
from kgrec.questions.slice_results import OBJECTIVE, STRATIFIED, SliceResult
from kgrec.questions.slices import SkippedSlice

METRICS = ("recall", "ndcg", STRATIFIED, "mrr")
MEANS = (*METRICS, OBJECTIVE)  # each has an interval and a paired difference
METRIC_TITLES = {
    "recall": "Recall", "ndcg": "NDCG", STRATIFIED: "Stratified recall", "mrr": "MRR", OBJECTIVE: "Objective",
}  # fmt: skip
POPULARITY_EDGES = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)  # lower ends of the buckets


@dataclass(frozen=True)
class About:
    """A description of the evaluation.

    Attributes:
        catalogue: the name of the catalogue.
        counts: its numbers of "users", "items", "likes" and so on, in the order shown.
        split: the separation of training, validation and test likes, in words.
        seed: the seed of the split and of training.
        evaluated_at: the time, UTC seconds.
        ours: the name of the scorer to compare with the others.
        chosen: scorer name -> its settings, chosen on validation.
        skipped: scorer name -> the reason why it is left out.
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
    """Relevant items of similar popularity, and the share of them that are found.

    Attributes:
        lowest: the fewest training likes of an item in the bucket.
        highest: the most training likes; None without a bound.
        n_relevant: the number of (user, relevant item) pairs in it.
        recall: the share of these pairs where the item is in the user's first k.
    """

    lowest: int
    highest: int | None
    n_relevant: int
    recall: float


@dataclass(frozen=True)
class Row:
    """The figures of one scorer on one slice.

    Attributes:
        scorer: its name.
        intervals: metric, or "objective" -> mean over users at k with its 95% bootstrap interval.
        coverage: share of candidates recommended to anybody.
        gini: how unequally recommendations are shared among candidates.
        overlap: the expected share of items that the lists of two random users have in common.
        popular_in_first: the mean number of the first 10 recommendations that are among the 20 most liked items.
        average_popularity: mean training likes of a recommended item.
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

    For new users with one to three likes, the others are the personal baselines only: popularity wins NDCG there, but
    shows everybody the same list. The best other is picked by the values that are compared, which favours it: the
    luckiest of equally good scorers wins. So on average the difference is biased against ours.

    Attributes:
        against: the other scorer with the best mean of this metric on this slice.
        interval: the mean paired difference with its 95% bootstrap interval.
        error: the standard error of the mean difference; for the objective, by the delta method.
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
        rows: one per scorer, ours first; empty if no user has relevant items.
        differences: metric, or "objective" -> ours minus the best other; empty without ours or without others.
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
        values = {row.scorer: sign * value_of(row, column) for row in self.rows}
        return frozenset(scorer for scorer, value in values.items() if value == max(values.values()))


@dataclass(frozen=True)
class Report:
    """Everything the page shows.

    Attributes:
        about: the description of the evaluation.
        k: list length of the tables.
        n_resamples: the number of bootstrap resamples behind the intervals.
        slices: in the order given.
        audit: the leak audit; None without one.
        dial: the metrics along the tail dial, by slice.
        skipped_slices: slices without users, and the reasons.
        fairness: the quality by groups of users, for each sensitive attribute.
        diversity: the metrics along the diversity dial, by slice.
    """

    about: About
    k: int
    n_resamples: int
    slices: tuple[SliceReport, ...]
    audit: Audit | None = None
    dial: tuple[DialCurve, ...] = ()
    skipped_slices: tuple[SkippedSlice, ...] = ()
    fairness: tuple[AttributeQuality, ...] = ()
    diversity: tuple[DiversityCurve, ...] = ()


def build_report(
    results: Sequence[SliceResult],
    about: About,
    *,
    popularity: NDArray[np.int64],
    rng: np.random.Generator,
    n_resamples: int = 1000,
    audit: Audit | None = None,
    dial: Sequence[DialCurve] = (),
    diversity: Sequence[DiversityCurve] = (),
    skipped_slices: Sequence[SkippedSlice] = (),
    groups: Sequence[UserGroups] = (),
) -> Report:
    """Summarises results: means, intervals, curves, differences.

    Args:
        results: any number of scorers on any number of slices, all with the same k.
        about: the description of the evaluation.
        popularity: (n_items,) likes of each item in training.
        rng: the source of the bootstrap's resamples.
        n_resamples: the number of resamples.
        audit: the leak audit.
        dial: the metrics along the tail dial.
        diversity: the metrics along the diversity dial.
        skipped_slices: slices without users, and the reasons.
        groups: the users, grouped by each sensitive attribute.

    Raises:
        KgrecError: there are no results, or they have different k, or a slice has a scorer twice or scorers with
            different users.
    """
    ks = {result.k for result in results}
    if len(ks) != 1:
        raise KgrecError(f"expected results of one list length, got {sorted(ks) or 'none'}")
    by_slice: dict[str, list[SliceResult]] = {}
    for result in results:
        by_slice.setdefault(result.slice_name, []).append(result)
    slices = tuple(_sum_up(group, about.ours, popularity, rng, n_resamples) for group in by_slice.values())
    compared = _pick_compared(slices, by_slice, about.ours) if groups else []
    fairness = compare_groups(groups, compared, rng, n_resamples=n_resamples)
    return Report(
        about, ks.pop(), n_resamples, slices, audit, tuple(dial), tuple(skipped_slices), fairness, tuple(diversity)
    )


def value_of(row: Row, column: str) -> float:
    """A cell of a table: the mean of a metric, or one of a row's other figures by its name."""
    return row.intervals[column].mean if column in MEANS else float(getattr(row, column))


def _pick_compared(
    slices: Sequence[SliceReport], by_slice: Mapping[str, Sequence[SliceResult]], ours: str
) -> list[list[SliceResult]]:
    """The results to compare by groups of users: for each slice ours, then the best other by the objective."""
    picked = []
    for slice_ in slices:
        results = {result.scorer: result for result in by_slice[slice_.name]}
        if is_compared(slice_.name) and slice_.n_users and ours in results:
            best = slice_.differences.get(OBJECTIVE)
            picked.append([results[ours], *([] if best is None else [results[best.against]])])
    return picked


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
