import math

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_geometric.metrics import LinkPredMRR, LinkPredNDCG, LinkPredRecall

from kgrec import metrics
from kgrec.errors import KgrecError, RequestError

# One user likes items 0, 3, 4 and 7 and is shown 3, 1, 0: hits at places 1 and 3.
TOP = np.array([[3, 1, 0], [5, 6, 7], [2, -1, -1]])
RELEVANT = to_csr([[1, 0, 0, 1, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]])
HITS = np.array([[True, False, True], [False, False, False], [True, False, False]])
N_RELEVANT = np.array([4, 1, 1])


def test_hits_golden():
    np.testing.assert_array_equal(metrics.find_hits(TOP, RELEVANT), HITS)


def test_a_missing_place_is_no_hit_even_when_the_user_before_likes_the_last_item():
    top, relevant = np.array([[0], [-1]]), to_csr([[0, 1], [1, 0]])  # -1 of user 1 would be item 1 of user 0
    assert not metrics.find_hits(top, relevant).any()


def test_nothing_relevant_gives_no_hits_and_zero_metrics():
    hits = metrics.find_hits(TOP, to_csr(np.zeros((3, 8))))
    assert not hits.any()
    assert not metrics.recall(hits, np.zeros(3, dtype=np.int64)).any()
    assert not metrics.ndcg(hits, np.zeros(3, dtype=np.int64)).any()


def test_recall_golden():
    np.testing.assert_allclose(metrics.recall(HITS, N_RELEVANT), [[0.25, 0.25, 0.5], [0, 0, 0], [1, 1, 1]])


def test_ndcg_golden():
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    expected = [[1, 1 / (1 + second), (1 + third) / (1 + second + third)], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(metrics.ndcg(HITS, N_RELEVANT), expected)


def test_mrr_golden():
    late = np.array([[False, True, True], [False, False, False], [True, False, False]])
    np.testing.assert_allclose(metrics.mrr(late), [[0, 0.5, 0.5], [0, 0, 0], [1, 1, 1]])


# Hits at places 1 and 3 of four relevant items; a short list without a hit; a user without relevant items.
LISTS = [["d", "x", "a"], ["y"], ["a", "b", "c"]]
WANTED = [{"a", "d", "e", "h"}, ["z"], []]


def test_metrics_of_plain_lists_golden():
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    np.testing.assert_allclose(metrics.recall_at_k(LISTS, WANTED, 3), [0.5, 0, 0])
    np.testing.assert_allclose(metrics.recall_at_k(LISTS, WANTED, 2), [0.25, 0, 0])
    np.testing.assert_allclose(metrics.ndcg_at_k(LISTS, WANTED, 3), [(1 + third) / (1 + second + third), 0, 0])
    np.testing.assert_allclose(metrics.reciprocal_rank_at_k([["x", "a"], ["b", "a"]], [["a"], ["a", "b"]], 2), [0.5, 1])
    # Weights: a 1/2, d 1/3, e and h, of unknown popularity, 1 each: (1/2 + 1/3) / (1/2 + 1/3 + 2).
    found = metrics.stratified_recall_at_k(LISTS, WANTED, {"a": 4, "d": 9, "x": 100}, 3)
    np.testing.assert_allclose(found, [(5 / 6) / (17 / 6), 0, 0])


def test_metrics_of_plain_lists_refuse_what_they_cannot_count():
    for metric in (metrics.recall_at_k, metrics.ndcg_at_k, metrics.reciprocal_rank_at_k):
        with pytest.raises(RequestError, match="expected k of at least 1, got 0"):
            metric(LISTS, WANTED, 0)
        with pytest.raises(RequestError, match="of the same users, got 3 and 2"):
            metric(LISTS, WANTED[:2], 3)
        with pytest.raises(RequestError, match=r"each recommended item once, got .* for the user in place 0"):
            metric([["a", "a"]], [["a"]], 2)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_agrees_with_an_independent_library(k: int):
    rng = np.random.default_rng(k)
    n_users, n_items = 200, 60
    relevant = to_csr(rng.random((n_users, n_items)) < rng.random((n_users, 1)) * 0.4)
    top = metrics.top_k(rng.normal(size=(n_users, n_items)), k)
    hits, n_relevant = metrics.find_hits(top, relevant), np.diff(relevant.indptr)
    having = n_relevant > 0  # the library leaves the others out of its mean
    users, items = relevant.nonzero()
    pairs = torch.from_numpy(np.stack([users, items]).astype(np.int64))
    ours = {
        LinkPredRecall: metrics.recall(hits, n_relevant),
        LinkPredNDCG: metrics.ndcg(hits, n_relevant),
        LinkPredMRR: metrics.mrr(hits),
    }
    for theirs, curve in ours.items():
        metric = theirs(k)
        metric.update(torch.from_numpy(top), pairs)
        assert curve[having, -1].mean() == pytest.approx(float(metric.compute()), abs=1e-6)
        assert curve[having, -1].mean() > 0


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0]),  # few values, so that many are equal
    ),
    st.integers(1, 12),
)
def test_top_k_equals_sorting_everything(scores: np.ndarray, k: int):
    expected = []
    for row in scores:
        best = sorted((i for i in range(row.size) if row[i] > -math.inf), key=lambda i: (-row[i], i))[:k]
        expected.append(best + [-1] * (k - len(best)))
    np.testing.assert_array_equal(metrics.top_k(scores, k), expected)


def test_top_k_refuses_what_has_no_order():
    with pytest.raises(KgrecError, match="1 NaN"):
        metrics.top_k(np.array([[0.0, np.nan]]), 1)
    with pytest.raises(RequestError, match="got 0"):
        metrics.top_k(np.zeros((1, 2)), 0)


def test_list_metrics_golden():
    recommended = np.array([0, 6, 2, 0])
    assert metrics.coverage(recommended) == 0.5
    assert metrics.gini(recommended) == pytest.approx((-3 * 0 - 1 * 0 + 1 * 2 + 3 * 6) / (4 * 8))
    assert metrics.gini(np.array([3, 3, 3])) == 0
    assert metrics.gini(np.array([0, 0, 0, 9])) == pytest.approx(0.75)  # (n - 1) / n when one item takes all
    assert metrics.average_popularity(recommended, np.array([100, 10, 2, 50])) == pytest.approx((60 + 4) / 8)


def test_list_metrics_of_nothing_are_zero():
    nothing = np.zeros(3, dtype=np.int64)
    assert metrics.coverage(nothing) == metrics.gini(nothing) == metrics.average_popularity(nothing, nothing) == 0


def test_stratified_recall_golden():
    # Popularity 4, 1, 0, 16: weights 1/2, 1, 1 (at least one like), 1/4. The user likes items 0, 1 and 3, in all 1.75,
    # and is shown 0, 2, 1: hits of 1/2, 0 and 1.
    weights = metrics.popularity_weights(np.array([4, 1, 0, 16]))
    np.testing.assert_allclose(weights, [0.5, 1, 1, 0.25])
    top, relevant = np.array([[0, 2, 1]]), to_csr([[1, 1, 0, 1]])
    hit_weights = metrics.find_hits(top, relevant) * weights[top]
    found = metrics.stratified_recall(hit_weights, relevant @ weights)
    np.testing.assert_allclose(found, [[0.5 / 1.75, 0.5 / 1.75, 1.5 / 1.75]])


def test_stratified_recall_of_nothing_is_zero():
    assert not metrics.stratified_recall(np.zeros((2, 3)), np.zeros(2)).any()


@given(
    hnp.arrays(np.bool_, (5, 12)),
    hnp.arrays(np.int64, 12, elements=st.integers(0, 1000)),
    st.permutations(range(12)),
)
def test_stratified_recall_is_recall_where_all_are_alike_and_always_0_to_1(
    relevant: np.ndarray, popularity: np.ndarray, order: list[int]
):
    top, n_relevant = np.tile(np.array(order), (5, 1)), relevant.sum(axis=1)
    hits = metrics.find_hits(top, to_csr(relevant))
    for counts in (popularity, np.full(12, 7)):
        weights = metrics.popularity_weights(counts)
        found = metrics.stratified_recall(hits * weights[top], relevant @ weights)
        assert ((found >= 0) & (found <= 1)).all()
        assert (np.diff(found, axis=1) >= 0).all()
        np.testing.assert_allclose(found[:, -1], n_relevant > 0)  # everything is in the list by then
    np.testing.assert_allclose(found, metrics.recall(hits, n_relevant))


def test_popular_in_first_golden():
    popular = metrics.find_popular(np.array([5, 0, 9, 5, 0]), 2)
    np.testing.assert_array_equal(popular, [True, False, True, False, False])  # of equals the lower row
    np.testing.assert_array_equal(metrics.find_popular(np.array([0, 3, 0]), 2), [False, True, False])  # liked at all
    top = np.array([[2, 1, 0], [1, 3, 2], [-1, -1, -1]])
    np.testing.assert_array_equal(metrics.popular_in_first(top, popular, 2), [1, 0, 0])
    np.testing.assert_array_equal(metrics.popular_in_first(top, popular), [2, 1, 0])


def test_list_overlap_golden():
    # Lists {0, 1}, {0, 2}, {0, 1}: pairs of lists share 1, 2 and 1 of two items: 2/3 on average.
    assert metrics.list_overlap(np.array([3, 2, 1]), 3, 2) == pytest.approx(2 / 3)
    assert metrics.list_overlap(np.array([4, 4, 0]), 4, 2) == pytest.approx(1)  # everybody the same
    assert metrics.list_overlap(np.array([1, 1, 1, 1]), 2, 2) == 0
    assert metrics.list_overlap(np.array([1, 1]), 1, 2) == 0


@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_list_overlap_is_the_mean_over_pairs(n_lists: int, k: int, seed: int):
    rng = np.random.default_rng(seed)
    lists = [set(rng.permutation(9)[:k].tolist()) for _ in range(n_lists)]
    counts = np.bincount([item for one in lists for item in one], minlength=9)
    pairs = [len(a & b) / k for i, a in enumerate(lists) for b in lists[:i]]
    assert metrics.list_overlap(counts, n_lists, k) == pytest.approx(np.mean(pairs))


def test_geometric_mean_golden():
    values = np.array([[0.1, 0.4, 0.2], [0.3, 0.4, 0.2]])  # means .2, .4, .2
    assert metrics.geometric_mean(values) == pytest.approx((0.2 * 0.4 * 0.2) ** (1 / 3))
    total = (0.2 * 0.4 * 0.2) ** (1 / 3)
    expected = [total / 3 * (0.5 + 1 + 1), total / 3 * (1.5 + 1 + 1)]
    np.testing.assert_allclose(metrics.linearise_geometric_mean(values), expected)
    assert metrics.geometric_mean(np.zeros((0, 3))) == 0
    dead = np.array([[0.5, 0.0], [0.5, 0.0]])
    assert metrics.geometric_mean(dead) == 0
    np.testing.assert_array_equal(metrics.linearise_geometric_mean(dead), [0, 0])


@given(hnp.arrays(np.float64, (30, 3), elements=st.floats(0.01, 1)))
def test_shares_of_the_geometric_mean_add_up_and_are_its_derivative(values: np.ndarray):
    shares, total = metrics.linearise_geometric_mean(values), metrics.geometric_mean(values)
    assert shares.mean() == pytest.approx(total)
    more, step = values.mean(axis=0), 1e-6  # the first user counts a little more
    moved = float(np.prod((1 - step) * more + step * values[0]) ** (1 / 3))
    assert (moved - total) / step == pytest.approx(shares[0] - total, abs=1e-3)
