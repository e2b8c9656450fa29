import numpy as np
import pytest
from checkerboard import Board, to_csr
from scipy.sparse import csr_array

from kgrec.evaluate.baselines import fit_ease
from kgrec.model.item_item import fit_item_item, overlap_links, weigh_likes

# Three users: {0, 1}, {0, 1}, {1, 2}; item 3 has no like.
LIKES = to_csr([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]])


def test_likes_of_users_with_many_weigh_less() -> None:
    likes = to_csr([[1, 1, 1, 1], [1, 0, 0, 0]])
    expected = np.full((4, 4), 0.5) + np.diag([1.0, 0, 0, 0])  # 4^-1/2 for the first user, 1 for the second
    np.testing.assert_allclose(weigh_likes(likes, 0.5), expected, rtol=1e-6)
    np.testing.assert_allclose(weigh_likes(LIKES, 0.0), (LIKES.T @ LIKES).toarray())
    assert np.isfinite(weigh_likes(to_csr([[0, 0], [1, 0]]), 0.5)).all()  # a user without likes


def test_overlap_is_scaled_to_a_mean_diagonal_of_1() -> None:
    # Unit rows (1, 0), (.6, .8), (0, 0): W W' = [[1, .6, 0], [.6, 1, 0], [0, 0, 0]], mean diagonal 2/3.
    found = overlap_links(csr_array(np.array([[1, 0], [0.6, 0.8], [0, 0]], np.float32)))
    np.testing.assert_allclose(found, np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 0]]) * 1.5, rtol=1e-6)


def test_two_items_worked_by_hand() -> None:
    # G = [[2, 1], [1, 1]], dropout 1/2 adds 1 diag G, ridge 1: left = [[5, 1], [1, 3]], P = [[3, -1], [-1, 5]] / 14,
    # so B_01 = -P_01 / P_11 = 1/5 and B_10 = -P_10 / P_00 = 1/3.
    gram = weigh_likes(to_csr([[1, 1], [1, 0]]), 0.0)
    found = fit_item_item(gram, None, regularisation=1.0, dropout=0.5, graph_weight=0.3)
    np.testing.assert_allclose(found, [[0, 1 / 5], [1 / 3, 0]], rtol=1e-6)
    np.testing.assert_array_equal(gram, [[2, 1], [1, 1]])  # not changed


def test_equals_the_formula_with_a_graph() -> None:
    rng = np.random.default_rng(0)
    gram = weigh_likes(to_csr(rng.random((30, 8)) < 0.3), 0.4)
    overlap = overlap_links(csr_array((rng.random((8, 5)) < 0.4).astype(np.float32)))
    found = fit_item_item(gram, overlap, regularisation=3.0, dropout=0.33, graph_weight=0.3)
    left = gram + 0.3 * np.trace(gram) / 8 * overlap + 3 * np.eye(8) + 0.33 / 0.67 * np.diag(np.diag(gram))
    inverse = np.linalg.inv(left)
    expected = np.eye(8) - inverse @ np.diag(1 / np.diag(inverse))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(np.diag(found), 0)
    assert found.flags.c_contiguous
    assert found.dtype == np.float32


def test_ease_is_the_special_case_without_dropout_user_weights_and_graph(board: Board) -> None:
    gram = weigh_likes(board.train, 0.0)
    found = fit_item_item(gram, None, regularisation=50.0, dropout=0.0, graph_weight=0.0)
    np.testing.assert_allclose(found, fit_ease(board.train, regularisation=50.0).weights, atol=1e-5)


def test_the_graph_ties_an_item_without_likes_to_those_that_share_its_links() -> None:
    gram = weigh_likes(LIKES, 0.0)
    settings = {"regularisation": 1.0, "dropout": 0.0}
    alone = fit_item_item(gram, None, graph_weight=1.0, **settings)
    assert not alone[3].any()
    assert not alone[:, 3].any()
    links = csr_array(np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32))  # 3 shares its link with 0
    tied = fit_item_item(gram, overlap_links(links), graph_weight=1.0, **settings)
    for weights in (tied[3], tied[:, 3]):
        assert weights.argmax() == 0
        assert weights[0] > 0.2
    untied = fit_item_item(gram, overlap_links(links), graph_weight=0.0, **settings)
    np.testing.assert_array_equal(untied, alone)


def test_more_dropout_pulls_towards_plain_co_occurrence(board: Board) -> None:
    # As p -> 1 the inverse is nearly diagonal, so B_ij -> (1 - p) G_ij / G_ii.
    gram = weigh_likes(board.train, 0.0)
    found = fit_item_item(gram, None, regularisation=1e-3, dropout=0.999, graph_weight=0.0)
    expected = gram / np.diag(gram)[:, None] * 0.001
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert found.max() == pytest.approx(expected.max(), rel=0.1)
