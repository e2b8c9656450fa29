from functools import partial

import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.evaluate.baseline_scorers import (
    Blend,
    Ials,
    fit_blend,
    fit_ease,
    fit_ials,
    fit_item_knn,
    fit_popularity,
    fit_text_cosine,
)
from kgrec.questions.slices import evaluate_slice

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


def test_item_knn_keeps_the_nearest_neighbours_of_the_scored_item():
    knn = fit_item_knn(LIKES, neighbours=1)
    first, second = 2 / np.sqrt(6), 1 / np.sqrt(3)
    # Item 1 keeps only item 0, item 2 keeps item 1: item 2 in the support adds nothing to item 1.
    np.testing.assert_allclose(knn.similarity.toarray(), [[0, first, 0], [first, 0, second], [0, 0, 0]], rtol=1e-6)
    expected = [[0, first, 0]] + 1e-6 * np.log1p([[2, 3, 1]])
    np.testing.assert_allclose(knn.score(ONLY_ITEM_0), expected, rtol=1e-5)


def test_blockwise_item_knn_equals_the_formula():
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


def test_ease_with_dropout_golden():
    # G = [[2, 1], [1, 1]], lambda 1 and p = 1/2, which adds diag G: [[5, 1], [1, 3]], P ~ [[3, -1], [-1, 5]], so
    # B_01 = 1/5 and B_10 = 1/3.
    ease = fit_ease(to_csr([[1, 1], [1, 0]]), regularisation=1.0, dropout=0.5)
    np.testing.assert_allclose(ease.weights, [[0, 1 / 5], [1 / 3, 0]], rtol=1e-6)


def test_ease_on_nearest_items_is_close_to_the_exact_solution(board: Board):
    # 20 items of a colour, each with 19 neighbours: the 100 nearest include all, so both forms nearly agree.
    exact = fit_ease(board.train, regularisation=50.0)
    sparse = fit_ease(board.train, regularisation=50.0, exact_items=10)
    assert isinstance(sparse.weights, csr_array)
    assert np.corrcoef(sparse.score(board.train).ravel(), exact.score(board.train).ravel())[0, 1] > 0.999
    result = evaluate_slice(sparse, board.warm, k=20)
    assert result.per_user("ndcg").min() == pytest.approx(1.0)


def test_ease_leaves_out_items_that_nobody_likes():
    ease = fit_ease(to_csr([[1, 0, 1], [1, 0, 0]]), regularisation=1.0)
    np.testing.assert_array_equal(ease.items, [0, 2])
    np.testing.assert_allclose(ease.score(ONLY_ITEM_0)[0, 1], 0)
    assert ease.score(ONLY_ITEM_0)[0, 2] > 0.3
    assert not fit_ease(csr_array((2, 3), dtype=np.float32)).score(csr_array((1, 3), dtype=np.float32)).any()


def test_ease_explains_why_it_cannot_be_fitted():
    with pytest.raises(RequestError, match="above 0 and a dropout"):
        fit_ease(LIKES, regularisation=0)
    with pytest.raises(RequestError, match="got 1, 1"):
        fit_ease(LIKES, regularisation=1, dropout=1)


def test_blend_golden():
    # Scores (0, 1, 2) and (2, 2, 5), standardised: (-1, 0, 1) sqrt(3/2) and (-1, -1, 2) / sqrt 2.
    class Part:
        def __init__(self, scores: list[float]) -> None:
            self.scores = np.array([scores], np.float32)

        def score(self, support: csr_array) -> np.ndarray:
            return self.scores.copy()

    blend = Blend(Part([0, 1, 2]), Part([2, 2, 5]), weight=2.0)
    expected = np.array([-1, 0, 1]) * np.sqrt(1.5) + 2 * np.array([-1, -1, 2]) / np.sqrt(2)
    np.testing.assert_allclose(blend.score(ONLY_ITEM_0)[0], expected, rtol=1e-5)


def test_ials_golden_fold_in():
    # One dimension, vectors 1 and 2: w (1 + alpha (1 + 4) + ridge) = 1 for a like of the first, with alpha .1 and the
    # ridge .5 (1 + .1 * 2) = .6, so w = 1 / 2.1; without likes w = 0 and popularity alone orders.
    fitted = Ials(torch.tensor([[1.0], [2.0]]), 0.1, 0.5, np.array([0.0, 1.0], np.float32), popularity_weight=0.01)
    scores = fitted.score(to_csr([[1, 0], [0, 0]]))
    np.testing.assert_allclose(scores, [[1 / 2.1, 2 / 2.1 + 0.01], [0, 0.01]], rtol=1e-5)


def test_text_cosine_golden():
    vectors = np.array([[2, 0], [0, 3], [1, 1], [0, 0]], dtype=np.float32)
    half = np.sqrt(0.5)
    scores = fit_text_cosine(vectors).score(to_csr([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(scores, [[1, 0, half, 0], [half, half, 1, 0], [0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease, partial(fit_ials, dim=2), partial(fit_blend, dim=2)])
def test_checkerboard_is_recovered(fit: type, board: Board):
    # 60 users and 40 items in two colours: the hidden items of a user's own colour come first.
    result = evaluate_slice(fit(board.train), board.warm, k=20)
    assert result.per_user("ndcg").min() == pytest.approx(1.0)
    assert evaluate_slice(fit_popularity(board.train), board.warm, k=20).per_user("ndcg").mean() < 0.7


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease, fit_ials])
def test_an_empty_support_gets_popular_items(fit: type, board: Board):
    scores = fit(board.train).score(csr_array((1, board.n_items), dtype=np.float32))
    np.testing.assert_allclose(scores[0], 1e-6 * np.log1p(board.popularity), rtol=1e-5)
