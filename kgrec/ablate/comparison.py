"""Differences between trainings, with simultaneous intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from kgrec.ablate.variants import Variant
from kgrec.evaluate.intervals import Interval

METRICS = ("ndcg", "recall")
LEVEL = 0.95
_BLOCK_DRAWS = 4_000_000  # weights of users held at once
_FEW = 20
_NOTHING = 1e-12  # smaller differences are rounding


@dataclass(frozen=True)
class Figures:
    """The figures of one training on one slice.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        users: (n_users,) int64 rows of the test users.
        values: metric -> (n_users,) at k, per user.
        n_found: (n_users,) int64: the number of relevant items among a user's first k.
        n_relevant: (n_users,) int64: the number of relevant items of a user.
        item_found: (n_candidates,) int64: the number of users who find the item: it is relevant and in the first k.
        item_relevant: (n_candidates,) int64: the number of users for whom the item is relevant.
        item_shown: (n_candidates,) int64: the number of users with the item among their first k.
    """

    name: str
    title: str
    users: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    n_found: NDArray[np.int64]
    n_relevant: NDArray[np.int64]
    item_found: NDArray[np.int64]
    item_relevant: NDArray[np.int64]
    item_shown: NDArray[np.int64]


Measured = Mapping[Variant, Sequence[Figures]]  # all trainings on one split; the same slices and users in each


@dataclass(frozen=True)
class Comparison:
    """Differences between pairs of trainings, averaged over splits.

    Attributes:
        means: (slice name, metric, variant) -> the mean over users, then over splits.
        changes: (slice name, metric, variant) -> that variant minus the whole catalogue.
        noise: (slice name, metric) -> the root mean square difference between two trainings on the whole catalogue.
        critical: half the width of the intervals, in standard errors.
        n_compared: the number of differences for which the intervals hold together.
    """

    means: Mapping[tuple[str, str, Variant], float]
    changes: Mapping[tuple[str, str, Variant], Interval]
    noise: Mapping[tuple[str, str], float]
    critical: float
    n_compared: int


def compare(
    measured: Sequence[Measured],
    slices: Sequence[str],
    variants: Sequence[Variant],
    n_users: int,
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = LEVEL,
) -> Comparison:
    """Compares variants with the whole catalogue, over the same users.

    The same users are resampled for all slices, splits and variants, and the intervals are wide enough for all of them
    to hold together with the given probability (the max-t bootstrap: Romano and Wolf, Exact and approximate stepdown
    methods for multiple hypothesis testing, 2005). A standard error has three parts: the sampling of test users; the
    sampling of test items, which many users share (`_item_share`); and the noise of training, measured by the further
    differences between trainings on the whole catalogue. The last is scaled down for a variant that changes its users
    less than another seed does. With several splits, the error is at least that between splits. With few users or
    items, Student's distribution widens the intervals.

    Args:
        measured: for each split, the whole catalogue, its repeated trainings, and the variants.
        slices: names of the slices to compare, each in at least one split.
        variants: the variants to compare with the whole catalogue.
        n_users: the number of users in the catalogue.
        rng: the source of the resamples.
        n_resamples: the number of resamples.
        level: the probability that all intervals hold.
    """
    again = [variant for variant in measured[0] if variant.training]
    columns = list(dict.fromkeys([Variant(), *again, *variants]))
    trainings = [columns.index(variant) for variant in (Variant(), *again)]
    compared = [columns.index(variant) for variant in variants]
    tables = [_to_tables(split, slices, columns) for split in measured]
    # Missing slices are NaN. Axes: split, (resample,) slice, metric, column.
    means = np.full((len(measured), len(slices), len(METRICS), len(columns)), np.nan)
    squares = np.full(means.shape, np.nan)  # mean squared differences of users from the whole catalogue
    n_moved = np.zeros(means.shape[1:], np.int64)  # users that differ from the whole catalogue
    by_items = np.full(means.shape, np.nan)  # variance by the draw of items, as a multiple of that by users
    for split, place, _, values in _each(tables):
        means[split, place] = values.mean(axis=0)
        squares[split, place] = ((values - values[..., :1]) ** 2).mean(axis=0)
        n_moved[place] += np.count_nonzero(values != values[..., :1], axis=0)
        by_items[split, place] = [_item_share(measured[split], slices[place], variant) for variant in columns]
    drawn = _resample(tables, means, n_users, rng, n_resamples)
    changes, resampled = means - means[..., :1], drawn - drawn[..., :1]

    apart = 2 * means[..., trainings].var(axis=-1, ddof=1)  # (n_splits, n_slices, n_metrics)
    apart_by_users = resampled[..., trainings[1:]].var(axis=1).mean(axis=-1)
    luck = np.maximum(np.nanmean(apart - apart_by_users, axis=0), 0)  # (n_slices, n_metrics)
    moved = np.nanmean(squares, axis=0)
    moved_by_luck = np.maximum(moved[..., trainings[1:]].mean(axis=-1, keepdims=True), _NOTHING)
    luck = luck[..., None] * np.minimum(moved / moved_by_luck, 1)  # (n_slices, n_metrics, n_columns)

    n_splits = (~np.isnan(changes)).sum(axis=0)
    mean_changes, resampled = np.nanmean(changes, axis=0), np.nanmean(resampled, axis=0)
    by_users = resampled.std(axis=0)
    between = np.nanvar(changes, axis=0) / np.maximum(n_splits - 1, 1)  # 0 where there is one split
    items = np.nanmean((drawn - drawn[..., :1]).var(axis=1) * by_items, axis=0)
    errors = np.sqrt(np.maximum(by_users**2 + (items + luck) / n_splits, between))
    distances = np.abs(resampled - mean_changes) / np.maximum(by_users, _NOTHING)
    # With hardly any changed user the distance is too coarse, and no interval could exclude 0 anyway.
    distances = np.where(n_moved >= _FEW, distances, 0)
    farthest = distances[..., compared].reshape(n_resamples, -1).max(axis=1)
    critical = max(float(np.quantile(farthest, level)), float(norm.ppf((1 + level) / 2)))

    fewest = [min(_count_clusters(split, name) for split in measured) for name in slices]
    widths = t.ppf(norm.cdf(critical), np.maximum(np.array(fewest) - 1, 1))  # (n_slices,) standard errors

    keys = [(place, name, m, metric) for place, name in enumerate(slices) for m, metric in enumerate(METRICS)]
    whole_means = np.nanmean(means, axis=0)
    return Comparison(
        {(name, metric, v): float(whole_means[s, m, c]) for s, name, m, metric in keys for c, v in enumerate(columns)},
        {
            (name, metric, variant): _to_interval(mean_changes[s, m, c], widths[s] * errors[s, m, c])
            for s, name, m, metric in keys
            for c, variant in zip(compared, variants, strict=True)
        },
        {(name, metric): float(np.sqrt(np.nanmean(apart[:, s, m]))) for s, name, m, metric in keys},
        critical,
        len(keys) * len(variants),
    )


def _count_clusters(split: Measured, name: str) -> float:
    """The number of test users or of test items, whichever is smaller; infinite if the slice is missing."""
    found = [
        min(len(one.users), int(np.count_nonzero(one.item_relevant))) for one in split[Variant()] if one.name == name
    ]
    return found[0] if found else np.inf


def _item_share(split: Measured, name: str, variant: Variant) -> float:
    """The variance that the sampling of test items adds to a difference, as a multiple of the part of users.

    Both parts are those of the share of relevant pairs that is found, clustered by users and by items (Cameron, Gelbach
    and Miller, Robust inference with multiway clustering, 2011): a few cold items are still few with thousands of test
    users. An item that replaces another in the lists gains about what the other loses, so the part that depends on
    being shown, which sums to 0, is removed first.
    """
    whole, other = (next(one for one in split[which] if one.name == name) for which in (Variant(), variant))
    of_users, of_items = other.n_found - whole.n_found, other.item_found - whole.item_found
    change = of_users.sum() / whole.n_relevant.sum()
    by_users = ((of_users - change * whole.n_relevant) ** 2).sum()
    residuals, shown = of_items - change * whole.item_relevant, other.item_shown - whole.item_shown
    residuals = residuals - shown * (residuals @ shown) / max(shown @ shown, 1)
    pairs = max(np.abs(of_users).sum(), np.abs(of_items).sum())  # pairs found by one training only, at least
    return float(max((residuals**2).sum() - pairs, 0) / by_users) if by_users else 0.0


_Tables = list[dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]]


def _to_tables(
    split: Measured, slices: Sequence[str], columns: Sequence[Variant]
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Index of a slice -> its users, and their values (n_users, n_metrics, n_columns); only slices of the split."""
    by_name = {variant: {figures.name: figures for figures in split[variant]} for variant in columns}
    found = {}
    for place, name in enumerate(slices):
        if name in by_name[Variant()]:
            values = [
                np.column_stack([by_name[variant][name].values[metric] for variant in columns]) for metric in METRICS
            ]
            found[place] = by_name[Variant()][name].users, np.stack(values, axis=1)
    return found


def _each(tables: _Tables) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.float64]]]:
    for split, found in enumerate(tables):
        for place, (users, values) in found.items():
            yield split, place, users, values


def _resample(
    tables: _Tables, means: NDArray[np.float64], n_users: int, rng: np.random.Generator, n_resamples: int
) -> NDArray[np.float64]:
    """Means over resampled users: (n_splits, n_resamples, n_slices, n_metrics, n_columns).

    Each user is drawn a Poisson number of times, the same in all slices and splits.
    """
    drawn = np.full((means.shape[0], n_resamples, *means.shape[1:]), np.nan)
    block = max(1, _BLOCK_DRAWS // max(n_users, 1))
    for start in range(0, n_resamples, block):
        end = min(start + block, n_resamples)
        times = rng.poisson(1.0, (end - start, n_users)).astype(np.float64)
        for split, place, users, values in _each(tables):
            weights = times[:, users]
            total = weights.sum(axis=1)[:, None]
            flat = values.reshape(len(users), -1)
            found = np.where(total > 0, weights @ flat / np.maximum(total, 1), flat.mean(axis=0))
            drawn[split, start:end, place] = found.reshape(-1, *means.shape[2:])
    return drawn


def _to_interval(mean: float, width: float) -> Interval:
    return Interval(float(mean), float(mean - width), float(mean + width))
