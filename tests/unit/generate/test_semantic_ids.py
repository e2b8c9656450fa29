import numpy as np
import pytest
from generators import draw_vectors, make_ids
from hypothesis import given
from hypothesis import strategies as st

from kgrec.generate.semantic_ids import SemanticIds, fit_semantic_ids


def plant_tree(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """63 items in 3 groups of 3 subgroups each, far apart: their vectors, and (n_items, 2) group and subgroup."""
    groups = np.array([[100.0, 0], [0, 100], [-100, -100]])
    steps = np.array([[10.0, 0], [-10, 0], [0, 10]])
    tree = np.stack([np.arange(63) % 3, np.arange(63) // 3 % 3], axis=1)
    vectors = groups[tree[:, 0]] + steps[tree[:, 1]] + rng.normal(0, 0.01, (63, 2))
    return vectors.astype(np.float32), tree


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one, other], axis=1), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def test_codes_are_the_planted_tree() -> None:
    vectors, tree = plant_tree(np.random.default_rng(0))
    ids = fit_semantic_ids(vectors, levels=2, n_codes=3)
    assert same_partition(ids.codes[:, 0], tree[:, 0])
    assert same_partition(ids.codes[:, 1], tree[:, 1])  # steps are the same in every group, and so are their codes
    assert np.abs(ids.codebooks[0][ids.codes[:, 0]] + ids.codebooks[1][ids.codes[:, 1]] - vectors).max() < 0.1


def test_residuals_worked_by_hand() -> None:
    ids = SemanticIds(
        (np.array([[0.0], [10.0]], np.float32), np.array([[-1.0], [0.0], [2.0]], np.float32)),
        np.zeros((0, 3), np.int64),
        (2, 3, 8),
    )
    vectors = np.array([[0.1], [-0.9], [9.2], [12.4], [4.0], [5.0]], np.float32)
    # 4 is nearest to 0, and 4 - 0 to 2; 5 is as near to 0 as to 10, and the first of equals counts
    assert ids.quantise(vectors).tolist() == [[0, 1], [0, 0], [1, 0], [1, 2], [0, 2], [0, 2]]


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 3), st.integers(0, 5))
def test_every_item_has_an_id_of_its_own(n_items: int, n_codes: int, levels: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(0, 2, (n_items, 3)).astype(np.float32)  # many equal ones
    ids = fit_semantic_ids(vectors, levels=levels, n_codes=n_codes, seed=seed)
    assert len(np.unique(ids.codes, axis=0)) == n_items
    assert ids.codes.shape == (n_items, levels + 1)
    assert (ids.codes.max(axis=0) < ids.sizes).all()
    assert (ids.codes[:, :-1] == ids.quantise(vectors)).all()


def test_items_without_a_vector_are_told_apart() -> None:
    ids = fit_semantic_ids(np.zeros((500, 8), np.float32), seed=0)
    assert sorted(ids.codes[:, -1]) == list(range(500))
    assert (ids.codes[:, :-1] == 0).all()
    assert (ids.codes[:, -1] != np.arange(500)).mean() > 0.9  # not the order of rows


def test_equal_seeds_give_equal_ids() -> None:
    one, again = make_ids(200, n_codes=8), make_ids(200, n_codes=8)
    assert (one.codes == again.codes).all()


@given(st.integers(1, 30), st.integers(0, 12), st.data())
def test_new_items_get_ids_and_the_others_keep_theirs(n_items: int, n_new: int, data: st.DataObject) -> None:
    ids = make_ids(n_items)
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, n_items - 1)))), np.int64)
    new = draw_vectors(n_new, seed=9)
    if n_new > 2:
        new[2] = new[0]
    changed = ids.with_items(kept, new)
    assert (changed.codes[: len(kept)] == ids.codes[kept]).all()
    assert len(np.unique(changed.codes, axis=0)) == len(kept) + n_new
    assert (changed.codes[len(kept) :, :-1] == ids.quantise(new)).all()


def test_a_new_item_gets_the_next_free_token() -> None:
    vectors = np.repeat(draw_vectors(4), 3, axis=0)  # four groups of three equal items
    ids = fit_semantic_ids(vectors, levels=1, n_codes=4)
    changed = ids.with_items(np.arange(12), np.stack([vectors[0], vectors[0], vectors[5]]))
    assert changed.codes[12:, -1].tolist() == [3, 4, 3]


def test_collision_tokens_beyond_the_last_are_read_as_the_last() -> None:
    ids = fit_semantic_ids(np.zeros((3, 2), np.float32), levels=1)
    many = ids.with_items(np.arange(3), np.zeros((50, 2), np.float32))
    assert len(np.unique(many.codes, axis=0)) == 53
    assert many.tokens[:, -1].max() == many.sizes[-1] - 1


@pytest.mark.parametrize(("n_items", "n_codes"), [(5, 2), (100, 12), (5000, 256)])
def test_small_catalogues_have_fewer_codes(n_items: int, n_codes: int) -> None:
    ids = fit_semantic_ids(draw_vectors(n_items, dim=2), levels=1)
    assert ids.sizes[0] == n_codes
