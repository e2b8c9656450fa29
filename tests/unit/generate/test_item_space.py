import numpy as np
import pytest
from generators import draw_vectors

from kgrec.generate.item_sequences import ItemSequences
from kgrec.generate.item_space import fit_item_space


def plant_kinds(n_kinds: int = 3, of_kind: int = 8) -> tuple[np.ndarray, ItemSequences]:
    """Items of some kinds, and sequences that stay within a kind: one-hot content, and the sequences."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(n_kinds), of_kind)
    lists = [rng.permutation(np.flatnonzero(kinds == kind))[:5].tolist() for kind in rng.integers(0, n_kinds, 200)]
    return np.eye(n_kinds, dtype=np.float32)[kinds], ItemSequences.of(lists)


def test_a_new_item_comes_to_lie_where_its_kind_does() -> None:
    content, sequences = plant_kinds()
    space, vectors = fit_item_space(content, sequences)
    placed = space.place(content[[0, 8, 16]])
    order = vectors[:, content.shape[1] :].reshape(3, 8, -1).mean(axis=1)
    order /= np.linalg.norm(order, axis=1, keepdims=True)
    near = placed[:, content.shape[1] :] @ order.T
    assert (near.argmax(axis=1) == [0, 1, 2]).all()
    assert (np.diag(near) > 0.9).all()


def test_parts_have_length_1_where_an_item_has_them() -> None:
    content, sequences = plant_kinds()
    content[5] = 0
    space, vectors = fit_item_space(content, sequences)
    dim = content.shape[1]
    lengths = [np.linalg.norm(part, axis=1) for part in (vectors[:, :dim], vectors[:, dim:])]
    np.testing.assert_allclose(lengths[0], np.arange(24) != 5, atol=1e-5)
    np.testing.assert_allclose(lengths[1], 1, atol=1e-5)
    assert not space.project(np.zeros((1, dim), np.float32)).any()


def test_items_of_one_sequence_are_nearer_than_others() -> None:
    _, sequences = plant_kinds()
    _, vectors = fit_item_space(np.zeros((24, 0), np.float32), sequences)
    near = (vectors @ vectors.T).reshape(3, 8, 3, 8).mean(axis=(1, 3))
    assert (np.diag(near) > near.max(axis=1, where=~np.eye(3, dtype=bool), initial=-1) + 0.3).all()


@pytest.mark.parametrize("lists", [[[0]], [[]], [[1, 1]], [[0, 1, 2, 3]]])
def test_hardly_any_data_is_enough(lists: list[list[int]]) -> None:
    for dim in (0, 2, 200):
        space, vectors = fit_item_space(draw_vectors(4, dim=dim), ItemSequences.of(lists))
        assert np.isfinite(vectors).all()
        assert space.place(draw_vectors(2, dim=dim, seed=1)).shape == (2, vectors.shape[1])
