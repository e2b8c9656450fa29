import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from numpy.typing import NDArray
from planted import draw_unit_rows
from scipy.sparse import csr_array

from kgrec.errors import KgrecError
from kgrec.evaluate.baselines import fit_ease
from kgrec.model.item_item import ItemItem, ItemItemSettings, fit_item_item, fit_low_rank, invert

# Three users: {0, 1}, {0, 1}, {1, 2}; item 3 has no like.
LIKES = to_csr([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]])
N_USERS, N_ITEMS = 30, 12


def draw(seed: int = 0) -> tuple[csr_array, csr_array, NDArray[np.float32]]:
    """Likes, link weights of length 1 and texts; an item without likes, one without links and one without a text."""
    rng = np.random.default_rng(seed)
    likes, links = rng.random((N_USERS, N_ITEMS)) < 0.3, (rng.random((N_ITEMS, 7)) < 0.4).astype(np.float32)
    text = draw_unit_rows(rng, N_ITEMS, 5)
    likes[:, 0], links[1], text[2] = False, 0, 0
    likes[3] = False  # a user without likes
    links /= np.maximum(np.linalg.norm(links, axis=1, keepdims=True), 1e-9)
    return to_csr(likes), csr_array(links), text


def weigh(likes: csr_array, exponent: float) -> NDArray[np.float64]:
    """X' diag(n_u^-exponent) X."""
    dense = likes.toarray().astype(np.float64)
    weighted: NDArray[np.float64] = (dense.T * np.maximum(dense.sum(axis=1), 1) ** -exponent) @ dense
    return weighted


def solve(gram: NDArray[np.float64], added: NDArray[np.float64], settings: ItemItemSettings) -> NDArray[np.float64]:
    """B = I - P diag(1 / diag P) by the formula, `added` in mean diagonals of the Gram matrix."""
    scale = np.diag(gram).mean()
    dropped = settings.dropout / (1 - settings.dropout) * np.diag(gram)
    inverse = np.linalg.inv(gram + scale * added + np.diag(settings.regularisation * scale + dropped))
    return np.eye(len(gram)) - inverse / np.diag(inverse)


def scaled(kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    return kernel / np.diag(kernel).mean(dtype=np.float64)


def test_two_items_worked_by_hand() -> None:
    # G = [[2, 1], [1, 1]], mean diagonal 1.5; dropout 1/2 adds 1 diag G, a ridge of 2/3 mean diagonals 1:
    # left = [[5, 1], [1, 3]], P = [[3, -1], [-1, 5]] / 14, B_01 = -P_01 / P_11 = 1/5, B_10 = -P_10 / P_00 = 1/3.
    found = fit_item_item(to_csr([[1, 1], [1, 0]]), None, None, ItemItemSettings(2 / 3, 0.5))
    np.testing.assert_allclose(found.left, [[0, 1 / 5], [1 / 3, 0]], rtol=1e-6)
    assert found.right is None


def test_equals_the_formula_with_links_and_texts() -> None:
    likes, links, text = draw()
    settings = ItemItemSettings(0.7, 0.33, link_weight=0.3, text_weight=2.0, user_exponent=0.4)
    has_text = np.outer(text.any(axis=1), text.any(axis=1))
    kernel = np.exp(8 * (text @ text.T - 1)) * has_text
    shared = (links @ links.T).toarray()
    expected = solve(weigh(likes, 0.4), 0.3 * scaled(shared) + 2 * scaled(kernel), settings)
    found = fit_item_item(likes, links, text, settings).left.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(np.diag(found), 0)
    assert found.flags.c_contiguous
    assert found.dtype == np.float32


def test_weights_of_0_are_no_links_and_no_texts() -> None:
    likes, links, text = draw()
    settings = ItemItemSettings(0.7, 0.33)
    for fit in (fit_item_item, lambda *parts: fit_low_rank(*parts, rank=8, seed=0)):
        with_them, without = fit(likes, links, text, settings), fit(likes, None, None, settings)
        assert torch.equal(with_them.left, without.left)


@pytest.mark.parametrize("rank", [4, 1000])
def test_the_low_rank_form_is_the_ridge_on_what_is_kept_with_the_rest_of_the_diagonal(rank: int) -> None:
    likes, links, text = draw()
    settings = ItemItemSettings(0.7, 0.33, link_weight=0.3, text_weight=2.0, user_exponent=0.4)
    gram, scale = weigh(likes, 0.4), np.diag(weigh(likes, 0.4)).mean()
    stacked = gram + scale * (0.3 * scaled((links @ links.T).toarray()) + 2 * scaled(text @ text.T))
    values, vectors = np.linalg.eigh(stacked)
    kept = min(rank, N_ITEMS - 1)  # a randomised factorisation keeps one less than all
    cut = (vectors[:, -kept:] * values[-kept:]) @ vectors[:, -kept:].T
    whole = cut + np.diag(np.diag(stacked - cut)) - gram
    expected = solve(gram, whole / scale, settings)
    found = fit_low_rank(likes, links, text, settings, rank=rank, seed=0)
    assert found.left.shape == (N_ITEMS, kept)
    others = ~np.eye(N_ITEMS, dtype=bool)
    np.testing.assert_allclose(found.rows(torch.arange(N_ITEMS)).numpy()[others], expected[others], atol=1e-4)


def test_the_low_rank_form_of_full_rank_equals_the_exact_one() -> None:
    likes, links, _ = draw()
    bare = links.toarray()
    bare[0] = 0  # item 0 has neither likes nor links: eleven directions are all there are
    settings = ItemItemSettings(0.7, 0.33, link_weight=0.3, user_exponent=0.4)
    exact = fit_item_item(likes, csr_array(bare), None, settings)
    found = fit_low_rank(likes, csr_array(bare), None, settings, rank=99, seed=0)
    others = ~np.eye(N_ITEMS, dtype=bool)
    expected = exact.left.numpy()[others]
    np.testing.assert_allclose(found.rows(torch.arange(N_ITEMS)).numpy()[others], expected, atol=1e-4)
    again = fit_low_rank(likes, csr_array(bare), None, settings, rank=99, seed=0)
    assert torch.equal(found.left, again.left)


@pytest.mark.parametrize("right", [None, np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)])
def test_scores_rows_and_selections(right: NDArray[np.float32] | None) -> None:
    left = np.random.default_rng(0).normal(size=(5, 5 if right is None else 2)).astype(np.float32)
    whole = left if right is None else left @ right.T
    model = ItemItem(torch.from_numpy(left), None if right is None else torch.from_numpy(right))
    assert len(model) == 5
    support = to_csr([[1, 0, 1, 0, 0, 1, 0], [0] * 7, [0, 0, 0, 0, 0, 0, 1]])  # items 5 and 6 came later
    expected = np.zeros((3, 7))
    expected[0, :5] = whole[0] + whole[2]
    np.testing.assert_allclose(model.score(support), expected, atol=1e-5)
    np.testing.assert_allclose(model.rows(torch.tensor([3, 1])), whole[[3, 1]], atol=1e-5)
    kept = [0, 3, 4]
    np.testing.assert_allclose(model.select(torch.tensor(kept)).rows(torch.arange(3)), whole[kept][:, kept], atol=1e-5)


@pytest.mark.parametrize("n", [1, 7, 1100])  # the last is more than a block
def test_the_inverse_of_a_matrix(n: int) -> None:
    rows = np.random.default_rng(n).normal(size=(n, n + 5)) / np.sqrt(n)
    matrix = rows @ rows.T + np.eye(n)
    inverse = invert(matrix.astype(np.float32))
    np.testing.assert_allclose(inverse @ matrix, np.eye(n), atol=1e-4)
    np.testing.assert_array_equal(inverse, inverse.T)


def test_a_matrix_that_has_no_inverse_is_told() -> None:
    with pytest.raises(KgrecError, match=r"not positive definite; raise its regularisation"):
        invert(-np.eye(3, dtype=np.float32))


def test_ease_is_the_special_case_without_dropout_user_weights_and_graph(board: Board) -> None:
    mean_diagonal = float(board.popularity.mean())
    found = fit_item_item(board.train, None, None, ItemItemSettings(50 / mean_diagonal, 0.0))
    np.testing.assert_allclose(found.left, fit_ease(board.train, regularisation=50.0).weights, atol=1e-5)


@pytest.mark.parametrize("by", ["links", "texts"])
def test_what_items_share_ties_one_without_likes_to_the_others(by: str) -> None:
    alone = fit_item_item(LIKES, None, None, ItemItemSettings(1.0, 0.0, 1.0, 1.0)).left
    assert not alone[3].any()
    assert not alone[:, 3].any()
    rows = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)  # 3 is as 0 is
    links, text = (csr_array(rows), None) if by == "links" else (None, rows)
    tied = fit_item_item(LIKES, links, text, ItemItemSettings(0.8, 0.0, 1.0, 1.0)).left
    for weights in (tied[3], tied[:, 3]):
        assert weights.argmax() == 0
        assert weights[0] > 0.2


def test_more_dropout_pulls_towards_plain_co_occurrence(board: Board) -> None:
    # As p -> 1 the inverse is nearly diagonal, so B_ij -> (1 - p) G_ij / G_ii.
    gram = (board.train.T @ board.train).toarray()
    found = fit_item_item(board.train, None, None, ItemItemSettings(1e-4, 0.999)).left
    expected = gram / np.diag(gram)[:, None] * 0.001
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert float(found.max()) == pytest.approx(expected.max(), rel=0.1)
