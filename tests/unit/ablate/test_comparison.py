from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from kgrec.ablate.comparison import METRICS, Comparison, Figures, compare
from kgrec.ablate.variants import Variant

WHOLE, OTHER = Variant(), Variant(frozenset({"other"}))
AGAIN = (Variant(training=1), Variant(training=2))
N_USERS, N_ITEMS = 400, 300


def make_figures(found: NDArray[np.bool_]) -> Figures:
    """Figures of users with one relevant item each, found or not; each item is relevant to one or two users."""
    users = np.arange(len(found))
    items = users % N_ITEMS
    counts = np.bincount(items, minlength=N_ITEMS)
    hits = np.bincount(items, found, N_ITEMS).astype(np.int64)
    values = dict.fromkeys(METRICS, found.astype(np.float64))
    return Figures("warm", "Warm", users, values, found.astype(np.int64), np.ones_like(users), hits, counts, hits)


def run(split: Mapping[Variant, NDArray[np.bool_]], *more: Mapping[Variant, NDArray[np.bool_]]) -> Comparison:
    measured = [{variant: [make_figures(found)] for variant, found in one.items()} for one in (split, *more)]
    variants = [variant for variant in split if variant != WHOLE and not variant.training]
    return compare(measured, ["warm"], variants, N_USERS, np.random.default_rng(0), n_resamples=400)


def flip(found: NDArray[np.bool_], rng: np.random.Generator, share: float) -> NDArray[np.bool_]:
    return found ^ (rng.random(len(found)) < share)


def test_identical_results_show_no_change_and_means_are_over_users():
    found = np.arange(N_USERS) % 4 == 0
    comparison = run({WHOLE: found, AGAIN[0]: found, AGAIN[1]: found, OTHER: found})
    change = comparison.changes["warm", "ndcg", OTHER]
    assert (change.mean, change.low, change.high) == (0, 0, 0)
    assert comparison.means["warm", "ndcg", WHOLE] == 0.25
    assert comparison.noise["warm", "ndcg"] == 0
    assert comparison.n_compared == len(METRICS)


def test_the_interval_matches_the_standard_error_of_a_proportion():
    # 100 of 400 users lose: the difference is -.25 with a standard error of sqrt(.25 * .75 / 400) = .02165. Two
    # identical metrics are one comparison, so the interval has 1.96 standard errors on each side.
    found = np.ones(N_USERS, bool)
    lost = np.arange(N_USERS) % 4 != 0
    change = run({WHOLE: found, AGAIN[0]: found, AGAIN[1]: found, OTHER: lost}).changes["warm", "recall", OTHER]
    assert change.mean == -0.25
    assert change.low == pytest.approx(-0.25 - 1.96 * 0.02165, abs=0.005)
    assert change.high == pytest.approx(-0.25 + 1.96 * 0.02165, abs=0.005)


def test_training_noise_counts_only_for_users_that_a_variant_changes():
    rng = np.random.default_rng(1)
    found = rng.random(N_USERS) < 0.5
    better = found | (rng.random(N_USERS) < 0.3)  # a repeated training is better for 15% of the users
    lucky = run({WHOLE: found, AGAIN[0]: better, AGAIN[1]: found, OTHER: better})
    assert lucky.noise["warm", "ndcg"] > 0.1
    assert lucky.changes["warm", "ndcg", OTHER].low < 0  # no gain: a repeated training can be as good
    steady = run({WHOLE: found, AGAIN[0]: found, AGAIN[1]: found, OTHER: better})
    assert steady.changes["warm", "ndcg", OTHER].low > 0
    near = found.copy()
    near[np.flatnonzero(found)[:2]] = False
    change = run({WHOLE: found, AGAIN[0]: better, AGAIN[1]: found, OTHER: near}).changes["warm", "ndcg", OTHER]
    wide = lucky.changes["warm", "ndcg", OTHER]
    assert change.high - change.low < 0.3 * (wide.high - wide.low)  # it changes two users, so training noise is small


def test_few_distinct_items_widen_the_interval():
    users, rng = np.arange(N_USERS), np.random.default_rng(2)
    items = users % 8
    found = rng.random(N_USERS) < 0.5
    figures = {}
    for variant, hit in (
        (WHOLE, found),
        (AGAIN[0], found),
        (AGAIN[1], found),
        (OTHER, found & ~np.isin(items, (1, 5))),
    ):
        counts, hits = np.bincount(items, minlength=8), np.bincount(items, hit, 8).astype(np.int64)
        values = dict.fromkeys(METRICS, hit.astype(np.float64))
        shown = np.full(8, 200)  # the lists stay equal, so they explain nothing
        figures[variant] = [
            Figures("warm", "Warm", users, values, hit.astype(np.int64), np.ones_like(users), hits, counts, shown)
        ]
    change = compare([figures], ["warm"], [OTHER], N_USERS, rng).changes["warm", "ndcg", OTHER]
    assert change.mean < -0.1
    assert change.high > 0  # 2 of 8 items are weak evidence
    spread = run({WHOLE: found, AGAIN[0]: found, AGAIN[1]: found, OTHER: found & ~np.isin(items, (1, 5))})
    assert spread.changes["warm", "ndcg", OTHER].high < 0  # the same users, each with an item of their own


def test_intervals_hold_simultaneously():
    """In 95% of all catalogues, none of 12 variants that differ by chance alone is significant."""
    rng, wrong, n_catalogues = np.random.default_rng(3), 0, 40
    others = [Variant(frozenset({str(number)})) for number in range(12)]
    for _ in range(n_catalogues):
        found = rng.random(N_USERS) < 0.5
        split = {WHOLE: found, AGAIN[0]: found, AGAIN[1]: found} | {other: flip(found, rng, 0.2) for other in others}
        changes = run(split).changes
        wrong += any(
            changes["warm", "ndcg", other].low > 0 or changes["warm", "ndcg", other].high < 0 for other in others
        )
    assert wrong <= 7  # more than this happens once in a thousand cases


def test_splits_are_averaged_and_their_differences_count():
    found = np.arange(N_USERS) % 2 == 0
    none, all_ = np.zeros(N_USERS, bool), np.ones(N_USERS, bool)
    same = dict.fromkeys((WHOLE, *AGAIN), found)
    comparison = run(same | {OTHER: none}, same | {OTHER: all_})
    change = comparison.changes["warm", "ndcg", OTHER]
    assert change.mean == 0
    # -.5 and +.5: a standard error of .5, though all users of a split agree.
    assert change.high == pytest.approx(1.96 * 0.5, rel=0.1)


def test_a_slice_missing_in_one_split_is_averaged_over_the_others():
    found, lost = np.ones(N_USERS, bool), np.arange(N_USERS) % 4 != 0
    first = {variant: [make_figures(found)] for variant in (WHOLE, *AGAIN)} | {OTHER: [make_figures(lost)]}
    second: dict[Variant, list[Figures]] = {variant: [] for variant in first}
    comparison = compare([first, second], ["warm"], [OTHER], N_USERS, np.random.default_rng(0))
    assert comparison.changes["warm", "ndcg", OTHER].mean == -0.25
