from dataclasses import dataclass, replace

import numpy as np
import pytest
from checkerboard import Board, to_csr
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array

from kgrec.errors import KgrecError, RequestError
from kgrec.metrics import geometric_mean
from kgrec.questions.slice_results import METRICS, OBJECTIVE_METRICS, paired_difference
from kgrec.questions.slices import Slice, evaluate_slice, tail_items, tail_slice


@dataclass(frozen=True)
class Fixed:
    """Gives everybody the same scores."""

    scores: NDArray[np.float32]
    name: str = "fixed"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        return np.broadcast_to(self.scores, support.shape)


@dataclass
class Noise:
    """Scores by a hash of the support, and remembers the largest block it was asked for."""

    name: str = "noise"
    largest_block: int = 0

    def score(self, support: csr_array) -> NDArray[np.float32]:
        self.largest_block = max(self.largest_block, support.shape[0])
        weights = np.random.default_rng(5).normal(size=(support.shape[1],) * 2).astype(np.float32)
        return support @ weights


FALLING = Fixed(np.array([4, 3, 2, 1], dtype=np.float32))


def test_golden_slice():
    # User 0 knows item 0, so is shown 1, 2, 3 and likes 2. User 1 has nothing to find. User 2 is shown 0, 1, 2, 3.
    slice_ = Slice(
        "warm",
        "Warm",
        to_csr([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
        to_csr([[0, 0, 1, 0], [0] * 4, [1, 0, 0, 1]]),
    )
    result = evaluate_slice(FALLING, slice_, k=2)
    np.testing.assert_array_equal(result.users, [0, 2])
    np.testing.assert_allclose(result.per_user("recall"), [1, 0.5])
    np.testing.assert_allclose(result.per_user("mrr"), [0.5, 1])
    np.testing.assert_allclose(result.per_user("ndcg"), [1 / np.log2(3), 1 / (1 + 1 / np.log2(3))])
    np.testing.assert_allclose(result.curves("recall")[:, 3], [1, 1])
    np.testing.assert_array_equal(result.recommended, [1, 2, 1, 0])
    np.testing.assert_array_equal(result.item_hits, [1, 0, 1, 0])
    np.testing.assert_array_equal(result.item_relevant, [1, 0, 1, 1])
    assert result.coverage == 0.75
    assert result.average_popularity(np.array([8, 4, 2, 0])) == pytest.approx((8 + 2 * 4 + 2) / 4)


def test_golden_slice_with_popularity():
    # As above, k = 2, with likes 16, 4, 1, 0 in training: weights 1/4, 1/2, 1, 1. User 0 finds item 2, the only one
    # asked for; user 2 is asked for items 0 and 3, together 5/4, and finds 0. Lists {1, 2} and {0, 1} share one of two.
    slice_ = Slice("warm", "Warm", to_csr([[1, 0, 0, 0], [0, 0, 0, 0]]), to_csr([[0, 0, 1, 0], [1, 0, 0, 1]]))
    result = evaluate_slice(FALLING, slice_, k=2, popularity=np.array([16, 4, 1, 0]))
    np.testing.assert_allclose(result.per_user("stratified_recall"), [1, 0.25 / 1.25])
    np.testing.assert_allclose(result.curves("stratified_recall")[1, :4], [0.2, 0.2, 0.2, 1])
    assert result.overlap == pytest.approx(0.5)
    ndcg = (1 / np.log2(3) + 1 / (1 + 1 / np.log2(3))) / 2
    assert result.objective == pytest.approx((0.75 * ndcg * 0.6) ** (1 / 3))
    assert result.objective_per_user.mean() == pytest.approx(result.objective)
    assert result.popular_in_first is not None
    np.testing.assert_array_equal(result.popular_in_first, [2, 3])  # three items are liked at all, item 0 is known


def test_popular_items_are_the_20_most_liked_and_are_counted_among_the_first_10():
    # 40 items, the lower the more liked. The scorer lists items 15 to 24 first, then 0 to 14: the first 5 are popular.
    popularity = np.arange(40, 0, -1)
    order = np.r_[15:25, 0:15, 25:40]
    scores = np.empty(40, np.float32)
    scores[order] = -np.arange(40)
    relevant = to_csr(np.arange(40)[None] == 15)
    slice_ = Slice("warm", "Warm", csr_array((1, 40), dtype=np.float32), relevant)
    result = evaluate_slice(Fixed(scores), slice_, popularity=popularity)
    assert result.popular_in_first is not None
    assert result.popular_in_first.tolist() == [5]


def test_paired_difference_golden():
    # Two users; ours finds what each likes first, the other for user 1 alone: every metric is 1, 1 and 0, 1, so the
    # objectives are 1 and 1/2, linearised to (1, 1) and (0, 1): differences 1 and 0, standard error 1/2.
    relevant = to_csr([[1, 0, 0], [0, 1, 0]])
    slice_ = Slice("warm", "Warm", csr_array((2, 3), dtype=np.float32), relevant)
    popularity = np.array([1, 1, 1])

    @dataclass(frozen=True)
    class Listed:
        scores: NDArray[np.float32]
        name: str = "listed"

        def score(self, support: csr_array) -> NDArray[np.float32]:
            return self.scores

    ours = Listed(np.array([[2, 1, 0], [1, 2, 0]], np.float32))
    other = Listed(np.array([[0, 1, 2], [1, 2, 0]], np.float32))
    a, b = (evaluate_slice(one, slice_, k=1, popularity=popularity) for one in (ours, other))
    assert paired_difference(a, b) == pytest.approx((0.5, 0.5))
    assert paired_difference(a, a) == (0, 0)
    alone = Slice("warm", "Warm", csr_array((2, 3), dtype=np.float32), to_csr([[1, 0, 0], [0, 0, 0]]))
    one, none = Listed(ours.scores[:1]), Listed(other.scores[:1])  # of one user nothing is known about the error
    a, b = (evaluate_slice(scorer, alone, k=1, popularity=popularity) for scorer in (one, none))
    assert paired_difference(a, b, "recall") == (1, np.inf)


def test_paired_difference_is_as_uncertain_as_resampling_says(board: Board):
    weak = Slice("warm", "Warm", board.train, board.test)
    rng = np.random.default_rng(4)
    a, b = (
        evaluate_slice(Fixed(rng.random(board.n_items).astype(np.float32)), weak, 5, popularity=board.popularity)
        for _ in range(2)
    )
    difference, error = paired_difference(a, b)
    assert difference == pytest.approx(a.objective - b.objective)
    drawn = []
    for _ in range(1000):
        users = rng.integers(a.users.size, size=a.users.size)
        one, two = (np.column_stack([r.per_user(m)[users] for m in OBJECTIVE_METRICS]) for r in (a, b))
        drawn.append(geometric_mean(one) - geometric_mean(two))
    assert error == pytest.approx(np.std(drawn), rel=0.2)


def test_without_popularity_the_objective_is_not_known(board: Board):
    result = evaluate_slice(Noise(), board.warm)
    with pytest.raises(KgrecError, match="pass `popularity`"):
        _ = result.objective
    assert (result.hit_weights, result.relevant_weights, result.popular_in_first) == (None, None, None)
    with pytest.raises(KgrecError, match="popularity of 40 items"):
        evaluate_slice(Noise(), board.warm, popularity=np.zeros(3, np.int64))


def test_results_over_other_users_are_not_compared(board: Board):
    fewer = Slice("fewer", "Fewer", board.train[:5], board.test[:5])
    a, b = (evaluate_slice(Noise(), slice_, popularity=board.popularity) for slice_ in (board.warm, fewer))
    with pytest.raises(KgrecError, match="same users"):
        paired_difference(a, b)


def test_only_candidates_are_recommended_and_counted():
    candidates = np.array([False, False, True, True])
    slice_ = Slice("cold_items", "Cold items", to_csr([[1, 0, 0, 0]]), to_csr([[0, 0, 0, 1]]), candidates)
    result = evaluate_slice(FALLING, slice_, k=1)
    np.testing.assert_array_equal(result.recommended, [0, 0, 1, 0])
    assert result.coverage == 0.5
    assert result.gini == 0.5
    np.testing.assert_array_equal(np.flatnonzero(result.hits[0]), [1])  # after the mask the cold like is second


def test_scorer_that_sees_no_difference_gets_no_credit_for_row_order():
    n_items = 200
    first_tenth = np.arange(n_items) < n_items // 10
    slice_ = Slice("cold_items", "Cold", csr_array((1, n_items), dtype=np.float32), to_csr(first_tenth[None, :]))
    blind = evaluate_slice(Fixed(np.zeros(n_items, dtype=np.float32)), slice_, k=20)
    assert blind.per_user("recall")[0] < 0.4  # by row order it would be 1, by chance it is .1


def test_blocks_equal_one_block():
    rng = np.random.default_rng(3)
    support = to_csr(rng.random((53, 30)) < 0.1)
    relevant = to_csr((rng.random((53, 30)) < 0.05) & (support.toarray() == 0))
    slice_ = Slice("warm", "Warm", support, relevant)
    small, whole = Noise(), Noise()
    by_blocks, at_once = evaluate_slice(small, slice_, k=5, block_users=7), evaluate_slice(whole, slice_, k=5)
    assert small.largest_block == 7
    assert whole.largest_block == by_blocks.users.size
    for field in ("users", "hits", "n_relevant", "recommended", "item_hits", "item_relevant"):
        np.testing.assert_array_equal(getattr(by_blocks, field), getattr(at_once, field))
    assert by_blocks.hits.any()


def test_scores_of_the_scorer_are_left_as_they_are():
    scores = np.array([4, 3, 2, 1], dtype=np.float32)
    evaluate_slice(Fixed(scores), Slice("warm", "Warm", to_csr([[1, 0, 0, 0]]), to_csr([[0, 1, 0, 0]])))
    np.testing.assert_array_equal(scores, [4, 3, 2, 1])


def test_memory_does_not_grow_with_users_times_items():
    import tracemalloc

    def peak(n_users: int) -> int:
        shape, rng = (n_users, 2000), np.random.default_rng(1)
        relevant = csr_array(random_array(shape, density=0.001, rng=rng, dtype=np.float32))
        slice_ = Slice("warm", "Warm", csr_array(shape, dtype=np.float32), relevant)
        scorer = Fixed(rng.random(2000).astype(np.float32))
        tracemalloc.start()
        evaluate_slice(scorer, slice_, block_users=64)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(3000) < 1.5 * peak(300)


def test_tail_restricts_what_is_relevant_and_not_what_competes():
    popularity = np.array([9, 8, 1, 0, 5])
    np.testing.assert_array_equal(tail_items(popularity, 0.4), [False, False, True, True, True])
    np.testing.assert_array_equal(tail_items(np.array([3, 3, 3, 3, 3])), [False, True, True, True, True])
    warm = Slice("warm", "Warm", to_csr([[0, 1, 0, 0, 0]]), to_csr([[1, 0, 1, 0, 0]]))
    tail = tail_slice(warm, popularity, 0.4)
    assert (tail.name, tail.title) == ("tail", "Tail: items outside the most popular 40%")
    assert tail_slice(warm, popularity).title == "Tail: items outside the most popular 20%"
    np.testing.assert_array_equal(tail.relevant.toarray(), [[0, 0, 1, 0, 0]])
    popular_first = Fixed(popularity.astype(np.float32))
    assert evaluate_slice(popular_first, tail, k=1).per_user("recall")[0] == 0  # item 0 still takes the first place


def test_the_tail_leaves_out_what_the_whole_slice_leaves_out():
    left_out = to_csr([[0, 0, 0, 1]])
    warm = Slice("warm", "Warm", to_csr([[0, 1, 0, 0]]), to_csr([[1, 0, 1, 0]]), left_out=left_out)
    tail = tail_slice(warm, np.array([9, 8, 1, 7]))
    assert tail.left_out is left_out
    result = evaluate_slice(Fixed(np.array([1, 0, 2, 3], np.float32)), tail, k=1)
    assert result.per_user("recall").tolist() == [1]  # item 3 would be first


def test_no_users_is_an_empty_result(board: Board):
    empty = Slice("warm", "Warm", board.train, csr_array(board.train.shape, dtype=np.float32))
    result = evaluate_slice(Noise(), empty)
    assert result.users.size == 0
    assert all(result.per_user(metric).size == 0 for metric in METRICS)


def test_impossible_slices_are_refused(board: Board):
    with pytest.raises(KgrecError, match=r"'warm'.*in the support too"):
        Slice("warm", "Warm", board.train, board.train)
    with pytest.raises(KgrecError, match="are no candidates"):
        replace(board.warm, candidates=np.zeros(board.n_items, dtype=np.bool_))
    with pytest.raises(KgrecError, match=r"one shape.*, got \(1, 1\), \(60, 40\), None"):
        Slice("warm", "Warm", to_csr([[1]]), board.test)
    with pytest.raises(KgrecError, match=r"got \(60, 40\), \(60, 40\), \(3,\)"):
        replace(board.warm, candidates=np.ones(3, np.bool_))


def test_impossible_requests_are_refused(board: Board):
    with pytest.raises(RequestError, match="k and block_users"):
        evaluate_slice(Noise(), board.warm, 0)
    with pytest.raises(RequestError, match="recall, ndcg, mrr, stratified_recall, got 'auc'"):
        evaluate_slice(Noise(), board.warm).per_user("auc")


def test_broken_scorers_are_named(board: Board):
    @dataclass(frozen=True)
    class Narrow:
        name: str = "narrow"

        def score(self, support: csr_array) -> NDArray[np.float32]:
            return np.zeros((support.shape[0], 3), dtype=np.float32)

    with pytest.raises(KgrecError, match=r"narrow: expected scores of shape \(60, 40\), got \(60, 3\)"):
        evaluate_slice(Narrow(), board.warm)
    with pytest.raises(KgrecError, match="NaN"):
        evaluate_slice(Fixed(np.full(board.n_items, np.nan, dtype=np.float32)), board.warm)
