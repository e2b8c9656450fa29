import numpy as np
import pytest
from checkerboard import Board, to_csr
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.evaluate.baselines import (
    Ease,
    ItemKNN,
    Popularity,
    Scorer,
    ease_candidates,
    fit_baselines,
    fit_ease,
    fit_item_knn,
    fit_popularity,
    fit_text_cosine,
    item_knn_candidates,
    tune,
)
from kgrec.slices import evaluate_slice

# Three users: {0, 1}, {0, 1}, {1, 2}.
LIKES = to_csr([[1, 1, 0], [1, 1, 0], [0, 1, 1]])
ONLY_ITEM_0 = to_csr([[1, 0, 0]])


def test_popularity_golden():
    np.testing.assert_array_equal(fit_popularity(LIKES).score(ONLY_ITEM_0), [[2, 3, 1]])


def test_item_knn_golden():
    # n = 2, 3, 1; together: (0, 1) twice, (1, 2) once.
    knn = fit_item_knn(LIKES, neighbours=2)
    first, second = 2 / np.sqrt(6), 1 / np.sqrt(3)
    np.testing.assert_allclose(knn.similarity.toarray(), [[0, first, 0], [first, 0, second], [0, second, 0]], rtol=1e-6)
    shrunk = fit_item_knn(LIKES, neighbours=2, shrinkage=1.0)
    assert shrunk.similarity.toarray()[0, 1] == pytest.approx(2 / (np.sqrt(6) + 1))


def test_item_knn_keeps_the_nearest_of_the_item_that_is_scored():
    knn = fit_item_knn(LIKES, neighbours=1)
    first, second = 2 / np.sqrt(6), 1 / np.sqrt(3)
    # Item 1 keeps item 0 alone, item 2 keeps item 1: item 2 in the support says nothing for item 1.
    np.testing.assert_allclose(knn.similarity.toarray(), [[0, first, 0], [first, 0, second], [0, 0, 0]], rtol=1e-6)
    expected = [[0, first, 0]] + 0.001 * np.log1p([[2, 3, 1]])
    np.testing.assert_allclose(knn.score(ONLY_ITEM_0), expected, rtol=1e-5)


def test_item_knn_of_many_items_equals_the_formula_whole():
    likes = to_csr(np.random.default_rng(0).random((40, 700)) < 0.1)  # more items than one block
    together = (likes.T @ likes).toarray()
    lengths = np.sqrt(np.diag(together))
    cosine = together / np.maximum(np.outer(lengths, lengths), 1e-12)
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(fit_item_knn(likes, neighbours=700).similarity.toarray(), cosine, rtol=1e-5)


def test_ease_golden_two_items():
    # G + I = [[3, 1], [1, 2]], P = [[2, -1], [-1, 3]] / 5, so B_01 = -P_01 / P_11 = 1/3 and B_10 = -P_10 / P_00 = 1/2.
    ease = fit_ease(to_csr([[1, 1], [1, 0]]), regularisation=1.0)
    np.testing.assert_allclose(ease.weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


def test_ease_solves_ridge_regression_of_each_item_on_the_others():
    likes = (np.random.default_rng(1).random((30, 8)) < 0.4).astype(np.float64)
    weights = fit_ease(to_csr(likes), regularisation=2.0).weights
    for item in range(8):
        others = np.delete(likes, item, axis=1)
        ridge = np.linalg.solve(others.T @ others + 2.0 * np.eye(7), others.T @ likes[:, item])
        np.testing.assert_allclose(np.delete(weights[:, item], item), ridge, atol=1e-5)


def test_ease_says_why_it_cannot():
    with pytest.raises(RequestError, match="got 3 items, expected at most 2"):
        fit_ease(LIKES, item_limit=2)
    with pytest.raises(RequestError, match="above 0, got 0"):
        fit_ease(LIKES, regularisation=0)


def test_text_cosine_golden():
    vectors = np.array([[2, 0], [0, 3], [1, 1], [0, 0]], dtype=np.float32)
    half = np.sqrt(0.5)
    scores = fit_text_cosine(vectors).score(to_csr([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(scores, [[1, 0, half, 0], [half, half, 1, 0], [0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease])
def test_checkerboard_is_recovered(fit: type, board: Board):
    # 60 users and 40 items in two colours: nothing but the hidden half of the own colour is to be found first.
    result = evaluate_slice(fit(board.train), board.warm, k=20)
    assert result.per_user("ndcg").min() == pytest.approx(1.0)
    assert evaluate_slice(fit_popularity(board.train), board.warm, k=20).per_user("ndcg").mean() < 0.7


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease])
def test_an_empty_support_gets_what_is_popular(fit: type, board: Board):
    scores = fit(board.train).score(csr_array((1, board.n_items), dtype=np.float32))
    np.testing.assert_allclose(scores[0], 0.001 * np.log1p(board.popularity), rtol=1e-5)


def test_tune_takes_the_best_on_validation_and_reports_all(board: Board):
    backwards = Popularity(-fit_popularity(board.train).popularity)
    candidates: list[tuple[dict[str, float], Scorer]] = [
        ({"regularisation": 1}, backwards),
        ({"regularisation": 2}, fit_ease(board.train)),
        ({"regularisation": 3}, fit_ease(board.train)),
    ]
    tuned = tune(candidates, [board.warm])
    assert tuned.settings == {"regularisation": 2}  # the first of equals
    assert tuned.scorer is candidates[1][1]
    assert tuned.ndcg == pytest.approx(1.0)
    assert [settings["regularisation"] for settings, _ in tuned.tried] == [1, 2, 3]
    assert tuned.tried[0][1] < 1.0
    assert str(tuned) == "regularisation 2 (best of 3 by NDCG on validation: 1.000)"


def test_tune_refuses_nothing(board: Board):
    with pytest.raises(RequestError, match="at least one candidate"):
        tune([], [board.warm])
    with pytest.raises(RequestError, match="nothing to choose by"):
        tune([({}, fit_popularity(board.train))], [])


def test_candidates_carry_the_settings_they_name(board: Board):
    for settings, ease in ease_candidates(board.train, (1.0, 5.0)):
        expected = fit_ease(board.train, regularisation=settings["regularisation"])
        np.testing.assert_array_equal(ease.weights, expected.weights)
        assert ease.popularity_weight == settings["popularity_weight"]
    for settings, knn in item_knn_candidates(board.train, (3,), (0.0, 10.0)):
        expected_knn = fit_item_knn(board.train, neighbours=3, shrinkage=settings["shrinkage"])
        np.testing.assert_array_equal(knn.similarity.toarray(), expected_knn.similarity.toarray())
        assert knn.popularity_weight == settings["popularity_weight"]


def test_all_baselines_and_what_is_left_out(board: Board):
    whole = fit_baselines(board.train, [board.warm], text_vectors=np.eye(board.n_items, dtype=np.float32))
    assert [scorer.name for scorer in whole.scorers] == ["popularity", "item kNN", "EASE", "text cosine"]
    assert set(whole.chosen) == {ItemKNN.name, Ease.name}
    assert not whole.skipped
    small = fit_baselines(board.train, [board.warm], ease_item_limit=10)
    assert [scorer.name for scorer in small.scorers] == ["popularity", "item kNN"]
    assert "40 items, limit 10" in small.skipped["EASE"]
    assert "no text vectors" in small.skipped["text cosine"]
