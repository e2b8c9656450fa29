"""Quality by groups of users: the figures of each group of a sensitive attribute, and the largest gap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.evaluate.intervals import Interval, bootstrap_means, to_interval
from kgrec.evaluate.user_groups import OTHER, UserGroups
from kgrec.questions.slice_results import OBJECTIVE, OBJECTIVE_METRICS, SliceResult

GROUP_METRICS = ("recall", "ndcg", OBJECTIVE)
FEWEST_USERS = 10  # evaluated users of a group with figures of its own
_BLOCKS = 1000  # larger groups of users are resampled, and dealt, in about this number of blocks


@dataclass(frozen=True)
class GroupFigures:
    """The figures of one scorer for one group of users.

    Attributes:
        intervals: "recall", "ndcg" or "objective" -> mean over the group's users at k with its 95% bootstrap interval.
        popular_in_first: the mean number of the first 10 recommendations that are among the 20 most liked items.
    """

    intervals: Mapping[str, Interval]
    popular_in_first: float


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups.

    The largest of several differences is above 0 even where all groups are served alike, so its own interval, which is
    of these two groups alone, does not show whether it is chance; `by_chance` does.

    Attributes:
        lowest: the group with the lowest value.
        highest: the group with the highest value.
        interval: highest minus lowest with its 95% bootstrap interval; each group is resampled by itself.
        by_chance: with the users dealt to groups of these sizes at random, 95% of the largest gaps are at most this.
    """

    lowest: str
    highest: str
    interval: Interval
    by_chance: float

    @property
    def beyond_noise(self) -> bool:
        """Whether it is larger than chance explains."""
        return self.interval.mean > self.by_chance


@dataclass(frozen=True)
class ScorerGroups:
    """One scorer on one slice, by group.

    Attributes:
        scorer: its name.
        figures: group -> its figures.
        gaps: metric -> its largest gap; empty with fewer than two groups.
    """

    scorer: str
    figures: Mapping[str, GroupFigures]
    gaps: Mapping[str, Gap]


@dataclass(frozen=True)
class SliceGroups:
    """One slice, by group.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        n_users: group -> its evaluated users; only groups with figures.
        scorers: ours, then the best other.
        merged: the groups with too few users that are together in "other".
        left_out: the groups with too few users even together.
    """

    name: str
    title: str
    n_users: Mapping[str, int]
    scorers: tuple[ScorerGroups, ...]
    merged: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttributeQuality:
    """Quality by the groups of one attribute.

    Attributes:
        attribute: its name.
        groups: the groups with figures in at least one slice, in the order shown.
        slices: in the report's order.
    """

    attribute: str
    groups: tuple[str, ...]
    slices: tuple[SliceGroups, ...]


def is_compared(slice_name: str) -> bool:
    """Whether a slice is compared by group: known users, and new users."""
    return slice_name == "warm" or slice_name.startswith("cold_users")


def compare_groups(
    groups: Sequence[UserGroups],
    slices: Sequence[Sequence[SliceResult]],
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
) -> tuple[AttributeQuality, ...]:
    """Compares the quality of recommendations between groups of users.

    Args:
        groups: the users, grouped by each attribute.
        slices: for each slice the results of ours and of the best other, over the same users.
        rng: the source of the resamples and of the random groups.
        n_resamples: the number of each.
    """
    compared = []
    for one in groups:
        by_slice = tuple(_compare_slice(one, results, rng, n_resamples) for results in slices)
        shown = {name for slice_ in by_slice for name in slice_.n_users}
        names = tuple(name for name in dict.fromkeys((*one.names, OTHER)) if name in shown)
        compared.append(AttributeQuality(one.attribute, names, by_slice))
    return tuple(compared)


def _compare_slice(
    groups: UserGroups, results: Sequence[SliceResult], rng: np.random.Generator, n_resamples: int
) -> SliceGroups:
    first = results[0]
    members, merged, left_out = _gather_members(groups, first.users)
    found: list[ScorerGroups] = []
    if members:
        columns = [result.per_user(metric) for result in results for metric in OBJECTIVE_METRICS]
        values = np.column_stack(columns)  # (n_users, n_scorers * n_metrics)
        means = np.stack([values[users].mean(axis=0) for users in members.values()])
        resampled = np.stack(
            [_resample_means(values[users], rng, n_resamples) for users in members.values()]
        )  # (n_groups, n_resamples, n_scorers * n_metrics)
        chance = _gaps_by_chance(values, list(members.values()), rng, n_resamples)
        width = len(OBJECTIVE_METRICS)
        for number, result in enumerate(results):
            own = slice(number * width, (number + 1) * width)
            found.append(
                _compare_scorer(
                    result,
                    members,
                    _to_figures(means[:, own]),
                    _to_figures(resampled[..., own]),
                    np.quantile(np.ptp(_to_figures(chance[..., own]), axis=1), 0.95, axis=0),
                )
            )
    n_users = {name: len(users) for name, users in members.items()}
    return SliceGroups(first.slice_name, first.slice_title, n_users, tuple(found), merged, left_out)


def _gather_members(
    groups: UserGroups, users: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...], tuple[str, ...]]:
    """The places of each group's users in `users`, the groups merged into "other", and the groups left out."""
    found = groups.group_of[users]
    places = {name: np.flatnonzero(found == group) for group, name in enumerate(groups.names)}
    small = [name for name, members in places.items() if 0 < len(members) < FEWEST_USERS and name != OTHER]
    members = {name: one for name, one in places.items() if len(one) >= FEWEST_USERS and name != OTHER}
    others = np.sort(np.concatenate([places.get(OTHER, found[:0]), *(places[name] for name in small)]))
    if len(others) < FEWEST_USERS:
        return members, (), (*small, *((OTHER,) if len(places.get(OTHER, ())) else ()))
    return {**members, OTHER: others}, tuple(small), ()


def _compare_scorer(
    result: SliceResult,
    members: Mapping[str, NDArray[np.int64]],
    means: NDArray[np.float64],
    resampled: NDArray[np.float64],
    by_chance: NDArray[np.float64],
) -> ScorerGroups:
    """The figures and gaps of one scorer.

    Args:
        result: its result.
        members: group -> places of its users.
        means: (n_groups, n_metrics).
        resampled: (n_groups, n_resamples, n_metrics).
        by_chance: (n_metrics,).
    """
    names = list(members)
    popular = np.zeros(len(result.users)) if result.popular_in_first is None else result.popular_in_first
    intervals = [
        dict(zip(GROUP_METRICS, map(to_interval, mean, drawn.T), strict=True))
        for mean, drawn in zip(means, resampled, strict=True)
    ]
    gaps = {}
    for column, metric in enumerate(GROUP_METRICS if len(names) > 1 else ()):
        values = means[:, column]
        high = int(values.argmax())
        low = len(names) - 1 - int(values[::-1].argmin())  # the last, so that equal groups give two names
        drawn = resampled[high, :, column] - resampled[low, :, column]
        gap = to_interval(values[high] - values[low], drawn)
        gaps[metric] = Gap(names[low], names[high], gap, float(by_chance[column]))
    figures = {
        name: GroupFigures(own, float(popular[users].mean()))
        for (name, users), own in zip(members.items(), intervals, strict=True)
    }
    return ScorerGroups(result.scorer, figures, gaps)


def _gaps_by_chance(
    values: NDArray[np.float64], members: Sequence[NDArray[np.int64]], rng: np.random.Generator, n_shuffles: int
) -> NDArray[np.float64]:
    """The means of groups of the same sizes with the users dealt at random: (n_shuffles, n_groups, n_columns).

    Many users are put in random order once, and each draw deals its blocks in another order: cheaper than a new order
    of all users, and as random, as the groups' ends may lie within blocks.
    """
    values = values[rng.permutation(np.concatenate(members))]
    n_users, ends = len(values), np.cumsum([len(users) for users in members])
    size = max(1, n_users // _BLOCKS)
    n_whole = n_users // size
    filled = np.zeros(((n_whole + 1) * size, values.shape[1]))
    filled[:n_users] = values  # the users of the last block, which is not whole, stay the last
    blocks = filled.reshape(n_whole + 1, size, -1)
    within = np.cumsum(blocks, axis=1) - blocks  # (n_whole + 1, size, n_columns): the sum of the users before
    sums = blocks.sum(axis=1)
    block, place = np.divmod(ends[:-1], size)
    means = np.empty((n_shuffles, len(ends), values.shape[1]))
    for draw in means:
        order = np.append(rng.permutation(n_whole), n_whole)
        before = np.cumsum(sums[order], axis=0) - sums[order]
        until = before[block] + within[order[block], place]
        draw[:] = np.diff(np.vstack([np.zeros(values.shape[1]), until, sums.sum(axis=0)]), axis=0)
    means /= np.diff(ends, prepend=0)[:, None]
    return means


def _resample_means(values: NDArray[np.float64], rng: np.random.Generator, n_resamples: int) -> NDArray[np.float64]:
    """The means, (n_resamples, n_columns), of resamples of users; of many users, of resamples of random blocks."""
    starts = np.arange(0, len(values), max(1, len(values) // _BLOCKS))
    sums = np.add.reduceat(values[rng.permutation(len(values))], starts, axis=0)
    sizes = np.diff(starts, append=len(values))
    found = bootstrap_means(np.column_stack([sums, sizes]), rng, n_resamples=n_resamples)
    means: NDArray[np.float64] = found[:, :-1] / found[:, -1:]
    return means


def _to_figures(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns of `GROUP_METRICS` from means of the objective's metrics, both on the last axis.

    The objective is their geometric mean, as in `SliceResult.objective`.
    """
    objective: NDArray[np.float64] = means.prod(axis=-1, keepdims=True) ** (1 / len(OBJECTIVE_METRICS))
    kept = [OBJECTIVE_METRICS.index(metric) for metric in GROUP_METRICS if metric != OBJECTIVE]
    return np.concatenate([means[..., kept], objective], axis=-1)
