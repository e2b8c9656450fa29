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
