"""Linked likes: the weights of linked users by hand, and their part of a score."""

from dataclasses import replace

import numpy as np
import torch
from fitted import COLD, N_ITEMS, draw_inputs, draw_model, to_support
from scipy.sparse import csr_array

from kgrec.model.component import Support
from kgrec.model.linked_likes import LinkedLikes, find_linked_users, sum_likes_of_linked, weigh_linked_users
from kgrec.model.model import Model

# 0 - 1 twice and in both directions, 0 - 2, 2 - 3, and 1 linked to itself; nobody is linked to 4.
EDGES = [np.array([[0, 1, 0, 1], [1, 0, 2, 1]]), np.array([[0, 3], [1, 2]])]
HALF = np.float32(0.5**0.5)


def test_links_count_once_in_both_directions_and_never_to_oneself() -> None:
    linked = find_linked_users(EDGES, 5)
    expected = [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(linked.toarray(), expected)
    assert find_linked_users([], 3).nnz == 0


def test_a_linked_user_weighs_the_less_the_more_are_linked_to_it() -> None:
    linked = find_linked_users(EDGES, 5)
    expected = [[0, 1, HALF, 0, 0], [HALF, 0, 0, 0, 0], [HALF, 0, 0, 1, 0], [0, 0, HALF, 0, 0], [0] * 5]
    np.testing.assert_allclose(weigh_linked_users(linked, linked).toarray(), expected)
    # somebody new is linked to 2, who then has three links, and to 4, who then has one
    new = csr_array(np.array([[0, 0, 1, 0, 1]], np.float32))
    weights = weigh_linked_users(new, linked, np.array([True, True]))
    np.testing.assert_allclose(weights.toarray(), [[0, 0, 3**-0.5, 0, 1]], rtol=1e-6)


def test_likes_of_linked_users_add_up_and_own_likes_never_count() -> None:
    linked = find_linked_users(EDGES, 5)
    likes = to_support([[0, 1], [1, 2], [2], [3], [4]], 6)
    found = sum_likes_of_linked(weigh_linked_users(linked, linked), likes).toarray()
    expected = [
        [0, 1, 1 + HALF, 0, 0, 0], [HALF, HALF, 0, 0, 0, 0], [HALF, HALF, 0, 1, 0, 0], [0, 0, HALF, 0, 0, 0], [0] * 6,
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    rows = linked[[3, 0]]
    np.testing.assert_allclose(sum_likes_of_linked(weigh_linked_users(rows, linked), likes).toarray(), found[[3, 0]])


def heard(model: Model) -> Model:
    """The model in which linked likes count for users with links, and for no others."""
    known = model.gate.warm.copy()
    known[:, model.names.index("linked_likes")] = 0.7
    warm = np.where([name == "linked_likes" for name in model.names], 0, model.gate.warm).astype(np.float32)
    cold = np.where([name == "linked_likes" for name in model.names], 0, model.gate.cold).astype(np.float32)
    return replace(model, gate=replace(model.gate, warm=warm, cold=cold, known=known))


def test_the_part_is_standardised_over_items_with_likes_and_leaves_out_the_others() -> None:
    model = draw_model()
    component, warm = model.component("linked_likes"), np.setdiff1d(np.arange(N_ITEMS), COLD)
    assert isinstance(component, LinkedLikes)
    likes = to_support([[], [1], [1], [1]])
    linked = to_support([[1, 2], [], [int(COLD[0])], [1, int(COLD[0])]], weights=[2, 1, 1, 3, 5])
    part = model.part(component, Support(likes, linked=linked))
    assert part.added is not None
    values = np.zeros(len(warm))
    values[np.searchsorted(warm, [1, 2])] = 2, 1
    np.testing.assert_allclose(part.warm[0][0], values.mean(), rtol=1e-6)
    np.testing.assert_allclose(part.warm[1][0], 1 / values.std(), rtol=1e-5)
    np.testing.assert_array_equal(part.warm[1][1:3], 0)  # no linked user, or none who likes an item with likes
    assert not part.added[:, COLD].any()
    assert not torch.cat(part.cold).any()


def test_linked_likes_move_the_items_with_likes_alone_and_the_shares_add_up() -> None:
    model = heard(draw_model())
    warm = np.setdiff1d(np.arange(N_ITEMS), COLD)
    for liked in ([], [1, 5], [1, 2, 3, 5, 6]):
        likes, linked = to_support([liked]), to_support([[7, 9, int(COLD[1])]], weights=[2, 1, 4])
        scores, without = model.score(likes, linked=linked)[0], model.score(likes)[0]
        moved = scores - without
        assert not moved[COLD].any()
        values = np.where(warm == 7, 2.0, 0) + (warm == 9)
        np.testing.assert_allclose(moved[warm], 0.7 * (values - values.mean()) / values.std(), rtol=1e-3, atol=1e-4)
        parts = model.contributions(Support(likes, linked=linked))
        together = parts.likes.sum(axis=0) + parts.sentence + parts.prior + parts.rest
        np.testing.assert_allclose(together, scores, rtol=1e-3, atol=2e-3)
        assert set(np.flatnonzero(parts.prior)) == {7, 9}
        few = model.contributions(Support(likes, linked=linked), np.array([9, 3]))
        np.testing.assert_allclose(few.prior, parts.prior[[9, 3]])


def test_users_without_linked_users_keep_their_scores_beside_others() -> None:
    model = heard(draw_model())
    likes = to_support([[1], [1], []])
    linked = to_support([[7], [], []])
    scores = model.score(likes, linked=linked)
    np.testing.assert_allclose(scores[1:], model.score(likes)[1:], rtol=1e-5, atol=1e-5)
    assert np.argmax(scores[0] - scores[1]) == 7


def test_without_linked_users_there_is_no_component() -> None:
    assert LinkedLikes.fit(draw_inputs()) is not None
    assert LinkedLikes.fit(replace(draw_inputs(), has_linked_users=False)) is None
