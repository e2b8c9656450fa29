import numpy as np
import pytest
from checkerboard import to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from planted import draw_unit_rows
from scipy.sparse import csr_array

from kgrec.errors import KgrecError
from kgrec.model.nearest import NeighbourMatrix
from kgrec.model.neighbours import NeighbourSettings, co_likes, fit_many, fit_neighbours, invert

SHAPE = {"nearest": 4, "kept": 100, "rank": 0, "seed": 0}
EXACT, NEAREST = {**SHAPE, "exact_items": 5000}, {**SHAPE, "exact_items": 0}
BLOCKS, BLOCK_ITEMS = 6, 8
# Item 4 has no like; items 0 and 1, and items 2 and 3, are liked together.
LIKES = to_csr([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0]])


def weigh(likes: csr_array, seed: int) -> csr_array:
    """The same likes with weights between 1/2 and 3/2."""
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, likes.nnz).astype(np.float32)
    return csr_array((weights, likes.indices, likes.indptr), shape=likes.shape)


def to_dense(matrix: NeighbourMatrix) -> NDArray[np.float32]:
    dense: NDArray[np.float32] = matrix.sparse.toarray() + matrix.left @ matrix.right.T
    return dense


def draw(seed: int, n_users: int = 30, n_items: int = 12) -> tuple[csr_array, csr_array, NDArray[np.float32]]:
    """Likes, link weights of length 1 and texts; an item without likes, one without links and one without a text."""
    rng = np.random.default_rng(seed)
    likes, links = rng.random((n_users, n_items)) < 0.3, (rng.random((n_items, 7)) < 0.4).astype(np.float32)
    text = draw_unit_rows(rng, n_items, 5)
    likes[:, 0], links[1], text[2] = False, 0, 0
    likes[0, 1:] = True  # every other item has a like
    likes[3] = False  # a user without likes
    links /= np.maximum(np.linalg.norm(links, axis=1, keepdims=True), 1e-9)
    return to_csr(likes), csr_array(links), text


def draw_blocks(n_users: int = 200) -> tuple[csr_array, NDArray[np.int64]]:
    """Users who each like some items of one block, and the block of each item."""
    rng = np.random.default_rng(0)
    block_of = np.repeat(np.arange(BLOCKS), BLOCK_ITEMS)
    own = rng.integers(0, BLOCKS, n_users)
    likes = (block_of[None, :] == own[:, None]) & (rng.random((n_users, len(block_of))) < 0.6)
    return to_csr(likes), block_of


def solve(
    likes: csr_array, one: NeighbourSettings, links: csr_array | None = None, text: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """B = I - P diag(1 / diag P) by the formula, among the items with likes."""
    dense = likes.toarray().astype(np.float64)
    liked = np.flatnonzero(dense.any(axis=0))
    weights = np.maximum((dense > 0).sum(axis=1), 1.0) ** -one.user_exponent
    gram = (dense.T * weights) @ dense
    gram = gram[np.ix_(liked, liked)]
    scale, system = np.diag(gram).mean(), gram.copy()
    if links is not None:
        kernel = links[liked].toarray() @ links[liked].toarray().T
        system += one.link_weight * scale * kernel / np.diag(kernel).mean()
    if text is not None:
        has_text = text[liked].any(axis=1)
        kernel = np.exp(8 * (text[liked] @ text[liked].T - 1)) * np.outer(has_text, has_text)
        system += one.text_weight * scale * kernel / np.diag(kernel).mean()
    ridge = one.regularisation * scale + one.dropout / (1 - one.dropout) * np.diag(gram)
    inverse = np.linalg.inv(system + np.diag(ridge))
    found = np.zeros((dense.shape[1],) * 2)
    found[np.ix_(liked, liked)] = np.eye(len(liked)) - inverse / np.diag(inverse)
    counts = (dense > 0).sum(axis=0)[liked]
    found[:, liked] /= (counts / counts.mean()) ** one.popularity_exponent
    return found


def test_two_items_worked_by_hand() -> None:
    # G = [[2, 1], [1, 1]], mean diagonal 1.5; dropout 1/2 adds diag G, a ridge of 2/3 mean diagonals adds 1:
    # left = [[5, 1], [1, 3]], P = [[3, -1], [-1, 5]] / 14, B_01 = -P_01 / P_11 = 1/5, B_10 = -P_10 / P_00 = 1/3.
    one = NeighbourSettings(2 / 3, 0.5, link_weight=0, user_exponent=0, popularity_exponent=0)
    for shape in (EXACT, NEAREST):
        found = fit_neighbours(to_csr([[1, 1], [1, 0]]), None, None, one, **shape)
        np.testing.assert_allclose(found.sparse.toarray(), [[0, 1 / 5], [1 / 3, 0]], rtol=1e-5)


def test_five_items_golden() -> None:
    # G = [[3, 2, 1, 0], [2, 2, 0, 0], [1, 0, 2, 1], [0, 0, 1, 1]] of the four liked items, plus 1 mean diagonal, 2.
    found = fit_neighbours(LIKES, None, None, NeighbourSettings(1, 0, 0, 0, 0, 0), **EXACT)
    golden = np.zeros((5, 5))
    golden[:4, :4] = [
        [0, 0.423077, 0.250000, -0.066667],
        [0.500000, 0, -0.125000, 0.033333],
        [0.272727, -0.115385, 0, 0.266667],
        [-0.090909, 0.038462, 0.333333, 0],
    ]
    np.testing.assert_allclose(found.sparse.toarray(), golden, atol=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_exact_equals_the_formula(seed: int) -> None:
    likes, links, text = draw(seed)
    likes = weigh(likes, seed)
    one = NeighbourSettings(0.7, 0.33, link_weight=0.3, text_weight=2.0, user_exponent=0.4)
    found = fit_neighbours(likes, links, text, one, **EXACT)
    np.testing.assert_allclose(found.sparse.toarray(), solve(likes, one, links, text), atol=1e-4)
    assert found.sparse.indices.dtype == np.int32
    assert found.sparse.dtype == found.left.dtype == found.right.dtype == np.float32


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_on_all_items_the_nearest_solution_equals_the_formula(seed: int) -> None:
    likes, links, text = draw(seed)
    likes = weigh(likes, seed)
    one = NeighbourSettings(0.7, 0.33, link_weight=0.3, text_weight=2.0)
    found = fit_neighbours(likes, links, text, one, **{**NEAREST, "nearest": 11})
    np.testing.assert_allclose(found.sparse.toarray(), solve(likes, one, links, text), atol=1e-3)


def test_factors_reduce_the_error_of_the_cut() -> None:
    likes, links, _ = draw(1, n_users=200, n_items=30)
    one = NeighbourSettings()
    exact = solve(likes, one, links)
    whole = fit_neighbours(likes, links, None, one, **{**EXACT, "kept": 3, "rank": 30})
    np.testing.assert_allclose(to_dense(whole), exact, atol=1e-3)
    scores = likes.toarray() @ exact

    def miss(rank: int) -> float:
        found = fit_neighbours(likes, links, None, one, **{**EXACT, "kept": 3, "rank": rank})
        return float(np.linalg.norm(likes.toarray() @ to_dense(found) - scores))

    assert miss(20) < 0.5 * miss(10) < 0.5 * miss(0)


def test_shared_directions_bring_the_nearest_solution_closer_to_the_exact_one() -> None:
    likes, _, _ = draw(1, n_users=300, n_items=60)
    one = NeighbourSettings(0.5, 0.2)
    off_diagonal = ~np.eye(60, dtype=bool)
    exact = solve(likes, one)

    def miss(rank: int) -> float:
        found = fit_neighbours(likes, None, None, one, **{**NEAREST, "nearest": 8, "rank": rank})
        return float(np.linalg.norm((to_dense(found) - exact)[off_diagonal]))

    assert miss(50) < 0.6 * miss(0)


@pytest.mark.parametrize("shape", [EXACT, {**NEAREST, "nearest": 7}])
def test_planted_blocks_are_neighbours(shape: dict[str, int]) -> None:
    likes, block_of = draw_blocks()
    found = fit_neighbours(likes, None, None, NeighbourSettings(), **shape).sparse.toarray()
    same = block_of[:, None] == block_of[None, :]
    np.fill_diagonal(same, False)
    assert found[same].mean() > 10 * np.abs(found[~same]).mean()
    strongest = np.argsort(-found, axis=0)[: BLOCK_ITEMS - 1]  # of each column
    assert (block_of[strongest] == block_of[None, :]).mean() > 0.95


def test_co_likes_find_planted_blocks() -> None:
    likes, block_of = draw_blocks()
    found = co_likes(likes, kept=BLOCK_ITEMS - 1).toarray()
    rows, columns = found.nonzero()
    assert (block_of[rows] == block_of[columns]).all()
    assert ((found > 0).sum(axis=0) <= BLOCK_ITEMS - 1).all()


def test_co_likes_worked_by_hand() -> None:
    # G = [[2, 1], [1, 1]], mean diagonal 1.5: 1 / (sqrt(2) + 2 * 1.5).
    found = co_likes(to_csr([[1, 1], [1, 0]]), shrinkage=2, kept=5, user_exponent=0)
    np.testing.assert_allclose(found.toarray(), (1 - np.eye(2)) / (np.sqrt(2) + 3), rtol=1e-6)


@pytest.mark.parametrize("shape", [EXACT, {**NEAREST, "nearest": 8}])
def test_links_alone_give_an_item_with_one_like_its_neighbours(shape: dict[str, int]) -> None:
    likes, block_of = draw_blocks()
    n_items = len(block_of)
    alone = np.zeros((likes.shape[0] + 1, n_items + 1), np.float32)
    alone[:-1, :-1], alone[-1, -1] = likes.toarray(), 1  # a new user likes a new item and nothing else
    links = np.zeros((n_items + 1, BLOCKS), np.float32)
    links[np.arange(n_items), block_of] = 1
    links[-1, 2] = 1
    found = fit_neighbours(to_csr(alone), csr_array(links), None, NeighbourSettings(), **shape).sparse.toarray()
    assert found[:-1][block_of == 2, -1].min() > 2 * np.abs(found[:-1][block_of != 2, -1]).max()
    without = fit_neighbours(to_csr(alone), None, None, NeighbourSettings(), **shape).sparse.toarray()
    np.testing.assert_allclose(without[:, -1], 0, atol=1e-6)


def test_the_method_depends_on_the_number_of_liked_items() -> None:
    likes, links, _ = draw(0)  # 11 of 12 items have likes
    exact, linear, at_the_limit = (
        fit_neighbours(likes, links, None, NeighbourSettings(), **{**SHAPE, "nearest": 2, "exact_items": most})
        for most in (5000, 10, 11)
    )
    assert (exact.sparse != at_the_limit.sparse).nnz == 0
    assert np.diff(linear.sparse.tocsc().indptr).max() <= 2 < np.diff(exact.sparse.tocsc().indptr).max()


def test_fit_many_equals_one_by_one() -> None:
    likes, links, text = draw(2)
    variants = ({}, {"regularisation": 1, "dropout": 0.9}, {"link_weight": 1}, {"user_exponent": 0})
    several = [NeighbourSettings(**variant) for variant in variants]
    for shape in (EXACT, {**NEAREST, "rank": 2}):
        for one, found in zip(several, fit_many(likes, links, text, several, **shape), strict=True):
            alone = fit_neighbours(likes, links, text, one, **shape)
            np.testing.assert_allclose(to_dense(found), to_dense(alone), atol=1e-5)


def test_users_with_many_likes_are_thinned_with_their_rare_items_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from kgrec.model import nearest

    likes, _ = draw_blocks()
    everything = csr_array(np.vstack([likes.toarray(), np.ones((1, likes.shape[1]), np.float32)]))
    monkeypatch.setattr(nearest, "_PAIRS_PER_ENTRY", 5)
    found = fit_neighbours(everything, None, None, NeighbourSettings(), **{**NEAREST, "nearest": 7})
    assert np.isfinite(found.sparse.data).all()
    assert found.sparse.nnz > 0


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("exact_items", [0, 5000])
@pytest.mark.parametrize(
    "dense",
    [
        np.zeros((3, 4)),
        np.zeros((0, 4)),
        np.eye(1),
        np.ones((4, 1)),
        np.ones((1, 4)),
        np.ones((20, 6)),
        np.eye(5)[:, [0, 0, 0]],
        [[1, 0], [1, 1], [1, 0], [1, 0]],
    ],
)
def test_little_data_gives_finite_weights(dense: NDArray[np.float64], exact_items: int, rank: int) -> None:
    likes = csr_array(np.asarray(dense, np.float32))
    n_items = likes.shape[1]
    links, text = csr_array(np.eye(n_items, 3, dtype=np.float32)), np.eye(n_items, 3, dtype=np.float32)
    for one in (NeighbourSettings(), NeighbourSettings(text_weight=1)):
        shape = {"exact_items": exact_items, "nearest": 10, "kept": 5, "rank": rank, "seed": 0}
        found = fit_neighbours(likes, links, text, one, **shape)
        assert found.sparse.shape == (n_items, n_items)
        assert len(found.left) == len(found.right) == n_items
        assert np.isfinite(to_dense(found)).all()
        assert (found.sparse.diagonal() == 0).all()
    cosines = co_likes(likes)
    assert cosines.shape == (n_items, n_items)
    assert np.isfinite(cosines.data).all()


def test_popular_items_are_damped() -> None:
    likes = to_csr([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]])  # 4, 2 and 1 likes
    plain, tempered = (
        fit_neighbours(likes, None, None, NeighbourSettings(popularity_exponent=exponent), **EXACT).sparse.toarray()
        for exponent in (0, 1)
    )
    np.testing.assert_allclose(tempered, plain / np.array([4, 2, 1]) * 7 / 3, rtol=1e-5)


def test_items_without_likes_have_no_weights() -> None:
    likes, links, text = draw(3)
    for shape in (EXACT, {**NEAREST, "rank": 2}):
        found = to_dense(fit_neighbours(likes, links, text, NeighbourSettings(), **shape))
        assert not found[0].any()
        assert not found[:, 0].any()


def test_invert() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 30)).astype(np.float32)
    matrix = root @ root.T + 30 * np.eye(30, dtype=np.float32)
    np.testing.assert_allclose(invert(matrix.copy()) @ matrix, np.eye(30), atol=1e-4)
    with pytest.raises(KgrecError, match="raise its regularisation"):
        invert(np.array([[1, 2], [2, 1]], np.float32))


def test_the_nearest_solution_keeps_all_its_weights() -> None:
    likes, links, text = draw(4)
    one = NeighbourSettings(text_weight=1.0)
    few, many = (fit_neighbours(likes, links, text, one, **{**NEAREST, "kept": kept}) for kept in (1, 100))
    assert (few.sparse != many.sparse).nnz == 0
    assert np.diff(few.sparse.tocsc().indptr).max() == NEAREST["nearest"]
