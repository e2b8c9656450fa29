"""Questions score lists as reports do, and estimate the error of a difference."""

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from fitted import COLD, MET, N_ITEMS, draw_model, draw_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.metrics import geometric_mean
from kgrec.questions.slice_results import SliceResult
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.training import questions
from kgrec.training.questions import ListQuality, ask, compare, draw_users, join, judge_factors, select_users

METRICS = {"recall": "recall", "ndcg": "ndcg", "stratified": "stratified_recall"}


class Fixed:
    name = "fixed"

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.scores = scores

    def score(self, support: csr_array) -> NDArray[np.float32]:
        return self.scores


def draw_slice(seed: int, n_users: int = 30, n_items: int = N_ITEMS, *, some: bool = False) -> Slice:
    """Random supports, relevant items and left-out items; every user has a relevant item."""
    rng = np.random.default_rng(seed)
    candidates = rng.random(n_items) < 0.7 if some else None
    relevant = rng.random((n_users, n_items)) < rng.uniform(0.02, 0.4, (n_users, 1))
    relevant[:, 0] |= ~relevant.any(axis=1)
    if candidates is not None:
        candidates[0] = True
        relevant &= candidates
        relevant[:, 0] |= ~relevant.any(axis=1)
    support = (rng.random((n_users, n_items)) < 0.2) & ~relevant
    left_out = (rng.random((n_users, n_items)) < 0.1) & ~relevant & ~support
    return Slice("warm", "Warm", to_csr(support), to_csr(relevant), candidates, to_csr(left_out) if some else None)


def assert_judged(judged: ListQuality, result: SliceResult) -> None:
    for ours, theirs in METRICS.items():
        np.testing.assert_allclose(getattr(judged, ours), result.per_user(theirs), atol=1e-5, err_msg=ours)
    assert judged.objective == pytest.approx(result.objective, abs=1e-5)


@given(st.integers(0, 2**32), st.sampled_from((1, 5, 20, 40)), st.booleans())
@settings(deadline=None, max_examples=40)
def test_questions_score_factors_as_reports_score_full_rankings(seed: int, k: int, some: bool) -> None:
    slice_, rng = draw_slice(seed, some=some), np.random.default_rng(seed)
    counts = rng.integers(0, 50, N_ITEMS)
    users, items = (torch.from_numpy(rng.normal(size=(n, 6)).astype(np.float32)) for n in (30, N_ITEMS))
    result = evaluate_slice(Fixed((users @ items.T).numpy()), slice_, k, popularity=counts)
    assert_judged(judge_factors(users, items, slice_, counts, k), result)


@given(st.integers(0, 5), st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_questions_score_is_that_of_the_served_lists(seed: int, drawn: int, some: bool) -> None:
    # For users of one bucket who like warm items, the blend of the components' parts is the score.
    model, slice_ = draw_model(seed), draw_slice(drawn, some=some)
    met = np.asarray(slice_.support @ (~model.cold).numpy().astype(np.float32)) > 0
    rows = np.flatnonzero((np.diff(slice_.support.indptr) >= 4) & met)
    slice_ = select_users(slice_, rows)
    question, gate = ask(model, slice_, 10, usable=model.names), model.gate
    assert question.n_users == len(rows)
    scores = question.blend(gate.warm[2].astype(float), gate.cold[2].astype(float), float(gate.shift[2]), gate.dislike)
    judged = question.judge(scores)
    result = evaluate_slice(model, slice_, 10, popularity=model.n_likes.numpy())
    assert_judged(judged, result)
    assert result.popular_in_first is not None
    np.testing.assert_array_equal(judged.popular, result.popular_in_first)


def test_a_sentences_score_is_that_of_the_served_lists() -> None:
    model, rng = draw_model(), np.random.default_rng(0)
    sentences = np.stack([draw_sentence(rng) for _ in range(30)])
    slice_ = draw_slice(0)
    question = ask(model, slice_, 5, usable=model.names, sentences=sentences)
    gate = model.gate
    judged = question.judge(
        question.blend(gate.sentence_warm.astype(float), gate.sentence_cold.astype(float), gate.sentence_shift, 0.7)
    )
    nothing = csr_array(slice_.support.shape, dtype=np.float32)
    served = Fixed(model.score_support(model.with_sentence(nothing, sentences)))
    assert_judged(judged, evaluate_slice(served, slice_, 5, popularity=model.n_likes.numpy()))


def test_only_cold_items_have_dislikes() -> None:
    model = draw_model()
    question = ask(model, draw_slice(0), 5, usable=model.names)
    assert (question.disliked[~question.cold] == 0).all()
    met = question.disliked > 0
    assert met.any()
    assert question.cold[met].all()
    assert len(np.unique(question.disliked[met])) == len(MET)
    assert int(question.cold[0][~question.barred[0]].sum()) <= len(COLD)


def test_unusable_components_count_nothing() -> None:
    model, slice_ = draw_model(), draw_slice(0)
    question, whole = ask(model, slice_, 5, usable=["co_likes"]), ask(model, slice_, 5, usable=model.names)
    place = model.names.index("co_likes")
    others = np.arange(len(model.names)) != place
    assert not question.parts[torch.from_numpy(others)].any()
    assert not question.together[others].any()
    assert question.together[place, place] == pytest.approx(whole.together[place, place], rel=1e-4)
    assert whole.together[place, place] == pytest.approx(1, abs=0.1)  # parts have a deviation of 1


@pytest.mark.parametrize("n_items", [30, 500])
def test_the_shortlist_has_the_top_of_every_part_and_no_item_twice(n_items: int) -> None:
    rng = np.random.default_rng(0)
    parts = torch.from_numpy(rng.normal(size=(3, 8, n_items)).astype(np.float32))
    parts[2] = 0  # a component without information
    cold, barred = torch.from_numpy(rng.random(n_items) < 0.3), torch.from_numpy(rng.random((8, n_items)) < 0.2)
    index, twice = questions._shorten(parts, barred, cold)
    assert index.shape == twice.shape
    for user in range(8):
        shown = index[user][~twice[user]].tolist()
        assert len(shown) == len(set(shown))
        for part in parts[:2]:
            for kind, depth in ((~cold, 80), (cold, 40)):
                allowed = torch.nonzero(kind & ~barred[user]).squeeze(1)
                best = allowed[part[user, allowed].argsort(descending=True)[:depth]]
                assert set(best.tolist()) <= set(shown)


def draw_judged(seed: int, n_users: int = 200, better: float = 0.0) -> tuple[ListQuality, ListQuality]:
    """Two rankings that agree on most users; the first is better by a given amount."""
    rng = np.random.default_rng(seed)
    found = []
    level = rng.beta(1, 4, (n_users, 1))
    for gain in (better, 0.0):
        values = np.clip(level + 0.08 * rng.normal(size=(n_users, 3)) + gain, 0, 1)
        found.append(ListQuality(values[:, 0], values[:, 1], values[:, 2] ** 1.5, np.zeros(n_users)))
    return found[0], found[1]


def rows_of(judged: ListQuality) -> NDArray[np.float64]:
    return np.stack([judged.recall, judged.ndcg, judged.stratified], axis=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("better", [0.0, 0.03])
def test_the_error_of_a_difference_matches_a_bootstrap(seed: int, better: float) -> None:
    a, b = draw_judged(seed, better=better)
    difference, error = compare(a, b)
    assert difference == pytest.approx(geometric_mean(rows_of(a)) - geometric_mean(rows_of(b)), abs=1e-9)
    rng = np.random.default_rng(seed)
    again = []
    for _ in range(600):
        users = rng.integers(0, 200, 200)
        again.append(geometric_mean(rows_of(a)[users]) - geometric_mean(rows_of(b)[users]))
    assert error == pytest.approx(np.std(again), rel=0.15)
    assert compare(b, a) == pytest.approx((-difference, error))


def test_with_one_user_or_none_the_error_is_infinite() -> None:
    a, b = draw_judged(0)
    one, other = (ListQuality(*(values[:1] for values in vars(judged).values())) for judged in (a, b))
    assert compare(one, other)[1] == float("inf")
    none = ListQuality(*(values[:0] for values in vars(a).values()))
    assert none.objective == 0
    assert compare(none, none) == (0, float("inf"))


def test_users_are_drawn_from_those_with_a_question() -> None:
    relevant = np.zeros((50, N_ITEMS), bool)
    relevant[::2, 3] = True
    nothing = csr_array((50, N_ITEMS), dtype=np.float32)
    slice_ = Slice("warm", "Warm", nothing, to_csr(relevant))
    found = draw_users(slice_, np.random.default_rng(0))
    assert found.relevant.shape[0] == 25
    few, again = (draw_users(slice_, np.random.default_rng(0), most=7) for _ in range(2))
    assert few.relevant.shape[0] == 7
    assert (np.diff(few.relevant.indptr) == 1).all()
    np.testing.assert_array_equal(few.support.toarray(), again.support.toarray())


def test_joined_slices_keep_their_own_left_out_items() -> None:
    a, b = draw_slice(0, 4), draw_slice(1, 3, some=True)
    both = join([None, a, b])
    assert both is not None
    np.testing.assert_array_equal(both.support.toarray(), np.vstack([a.support.toarray(), b.support.toarray()]))
    assert both.left_out is not None
    assert b.left_out is not None
    np.testing.assert_array_equal(both.left_out.toarray()[4:], b.left_out.toarray())
    assert not both.left_out.toarray()[:4].any()
    assert join([None, a]) is a
    assert join([None]) is None
