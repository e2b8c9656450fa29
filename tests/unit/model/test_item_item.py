import numpy as np
import pytest
import torch
from checkerboard import to_csr
from fitted import COLD, CONFIG, N_ITEMS, draw_inputs, to_support
from planted import draw_unit_rows
from scipy.sparse import csc_array, csr_array

from kgrec.config import ItemItemConfig
from kgrec.model.component import ItemChange, Scale, Support, deviate
from kgrec.model.inputs import nearest_for
from kgrec.model.item_item import CoLikes, ItemItem, ItemItemFew, carry_neighbours
from kgrec.model.knowledge import Knowledge
from kgrec.model.neighbours import NeighbourSettings, co_likes, fit_neighbours
from kgrec.model.popularity import Popularity
from kgrec.model.sentence import Sentence


def change(kept: list[int], n_items: int) -> ItemChange:
    nothing = np.zeros((n_items - len(kept), 0), np.float32)
    rows = np.arange(len(kept), n_items)
    none = tuple(np.zeros(0, np.int64) for _ in rows)
    return ItemChange(
        np.array(kept), n_items, rows, nothing, torch.zeros((n_items, 0)), none, torch.from_numpy(nothing)
    )


def test_the_ridges_for_many_and_few_likes_use_their_settings() -> None:
    inputs, config = draw_inputs(), CONFIG.item_item
    likes, text = inputs.likes, inputs.text.numpy()
    shape = {"nearest": config.nearest, "kept": config.kept, "rank": config.rank, "seed": CONFIG.seed}
    many = NeighbourSettings(config.regularisation, config.dropout, config.link_weight, 1.0, 0.4, 0.1)
    few = NeighbourSettings(config.few_regularisation, config.few_dropout, config.link_weight, 0.3, 0, 0)
    for kind, one in ((ItemItem, many), (ItemItemFew, few)):
        found, expected = kind.fit(inputs), fit_neighbours(likes, inputs.link_weights, text, one, **shape)
        np.testing.assert_allclose(found.neighbours.toarray(), expected.sparse.toarray(), atol=1e-5)
        np.testing.assert_allclose(found.onto @ found.items.T, expected.left @ expected.right.T, atol=1e-4)
        assert not found.neighbours.toarray()[:, COLD].any()
        assert not found.items[COLD].any()


def test_few_users_limit_the_number_of_nearest_items() -> None:
    config = ItemItemConfig(nearest=200)
    assert [nearest_for(config, n_users) for n_users in (1, 400, 800, 1600, 10**6)] == [50, 50, 100, 200, 200]


@pytest.mark.parametrize("n", [1, 3])
def test_expected_likes_are_the_whole_matrix_times_the_columns(n: int) -> None:
    found, values = ItemItem.fit(draw_inputs()), draw_unit_rows(np.random.default_rng(0), N_ITEMS, n)
    values[::2] = 0
    whole = found.neighbours.toarray() + (found.onto @ found.items.T).numpy()
    np.testing.assert_allclose(found.expect(csc_array(values)), whole @ values, atol=1e-4)


def test_co_likes_are_the_shrunk_cosine() -> None:
    inputs, config = draw_inputs(), CONFIG.item_item
    expected = co_likes(inputs.likes, shrinkage=config.shrinkage, kept=config.kept, seed=CONFIG.seed)
    assert (CoLikes.fit(inputs).neighbours != expected).nnz == 0


def test_remaining_items_keep_their_neighbours_and_new_items_have_none() -> None:
    dense = np.arange(16, dtype=np.float32).reshape(4, 4) * (1 - np.eye(4, dtype=np.float32))
    carried = carry_neighbours(csr_array(dense), change([0, 2, 3], 5)).toarray()
    np.testing.assert_array_equal(carried[:3, :3], dense[np.ix_([0, 2, 3], [0, 2, 3])])
    assert not carried[3:].any()
    assert not carried[:, 3:].any()
    np.testing.assert_array_equal(carry_neighbours(csr_array(dense), change([0, 1, 2, 3], 4)).toarray(), dense)


def test_popularity_is_the_same_for_everybody() -> None:
    component = Popularity.of(torch.tensor([3, 0, 1]))
    np.testing.assert_allclose(component.items[:, 0], np.log1p([3, 0, 1]), rtol=1e-6)
    scores = component.users(Support(to_csr([[1, 0, 0], [0, 0, 1]]))) @ component.items.T
    np.testing.assert_array_equal(scores[0], scores[1])
    mean, _ = component.warm_scale.measure(torch.ones((1, 1)))
    np.testing.assert_allclose(mean, np.log1p([3, 1]).mean(), rtol=1e-6)  # of the items with likes


def test_only_sentences_are_compared_with_texts() -> None:
    text = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 0]])
    component, likes = Sentence.of(text), csr_array((1, 3), dtype=np.float32)
    sentence = torch.tensor([[0.0, 1]])
    np.testing.assert_allclose(component.users(Support(likes, sentence, sentence)) @ text.T, [[0, 0.8, 0]], rtol=1e-6)
    assert not component.users(Support(likes)).any()
    np.testing.assert_allclose(component.warm_scale.mean, [0.8, 0.4])  # of the items with texts


def test_knowledge_is_the_mean_similarity_of_texts_and_links() -> None:
    inputs = draw_inputs()
    component = Knowledge.fit(inputs)
    assert component is not None
    scores = (component.users(Support(to_support([[1], [1, 9]]))) @ component.items.T).numpy()
    silent = ~component.items.any(dim=1).numpy()
    known = ~silent
    assert scores[0].argmax() == 1
    np.testing.assert_allclose(scores[0, 1], 1, atol=1e-3)  # its similarity to itself is 1
    assert not scores[:, silent].any()
    assert (np.linalg.norm(component.items.numpy()[known], axis=1) < 1.001).all()
    alone = (component.users(Support(to_support([[9]]))) @ component.items.T).numpy()
    np.testing.assert_allclose(scores[1], scores[0] + alone[0], atol=1e-4)


def test_knowledge_counts_more_for_similar_likes() -> None:
    items = torch.tensor([[1.0, 0], [0.6, 0.8], [-0.6, 0.8], [0, 0]])
    component = Knowledge(items, torch.eye(2), Scale.of(items))
    supports = to_support([[0], [0, 1], [0, 2], [0, 1, 2], [3], []], n_items=4)
    # Mean cosines of two likes: none, .6, -.6, (.6 - .6 + .28) / 3, none, none.
    expected = [1, 1 + 3 * 0.6, 1, 1 + 0.28, 1, 1]
    found = component.emphasis(Support(supports), component.users(Support(supports)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_constant_part_counts_nothing() -> None:
    found = deviate(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]), torch.tensor([0.0, 4.0, -1e-9, 1e-12, 0.0625]))
    np.testing.assert_array_equal(found, [0, 0.5, 0, 0, 4])  # the last but one is rounding
