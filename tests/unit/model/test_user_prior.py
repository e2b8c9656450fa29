"""The user prior: the graph's part of a user's vector, which fades with likes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fitted import N_ITEMS, draw_inputs, draw_model, to_support
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.model.component import Scale, Support
from kgrec.model.inputs import FitInputs
from kgrec.model.user_prior import UserPrior

DIM = 4


def make_prior(items: list[list[float]], *, unit: float = 0.5) -> UserPrior:
    """With a ridge of 1 + the number of likes."""
    vectors = torch.tensor(items)
    scale = Scale.of(vectors)
    return UserPrior(vectors, 1.0, 1.0, unit, scale, scale)


def draw_prior(seed: int) -> tuple[UserPrior, np.ndarray]:
    """A component of the drawn model, and vectors of five users."""
    found = draw_model(seed).component("user_prior")
    assert isinstance(found, UserPrior)
    return found, np.random.default_rng(seed).normal(size=(5, DIM)).astype(np.float32)


@pytest.mark.parametrize(("liked", "left"), [([], 3.0), ([0], 1.0), ([1], 3.0), ([0, 1], 9 / 7)])
def test_likes_explain_the_centre_away(liked: list[int], left: float) -> None:
    # Items at 2 and 0. With the first liked, (2 w)^2 + 2 (w - 3)^2 is least at 6 / (4 + 2); the second is no evidence.
    prior = make_prior([[2.0], [0.0]])
    support = Support(to_support([liked], 2), prior=torch.tensor([[3.0]]))
    users = prior.users(support)
    np.testing.assert_allclose(users, [[left]], rtol=1e-5)
    shares = prior.shares(support)
    assert shares.prior is not None
    np.testing.assert_allclose(shares.prior, [left], rtol=1e-5)
    np.testing.assert_allclose(shares.total, [left], rtol=1e-5)
    assert not shares.likes.any()
    # Its scores deviate by |w|, in units of 0.5.
    np.testing.assert_allclose(prior.emphasis(support, users), [2 * left], rtol=1e-5)


@given(st.integers(0, 3), st.lists(st.integers(0, N_ITEMS - 1), max_size=8, unique=True))
@settings(deadline=None, max_examples=25)
def test_the_centre_fades_with_likes_and_never_grows(seed: int, liked: list[int]) -> None:
    prior, centres = draw_prior(seed)
    alone = Support(to_support([[]] * 5), prior=torch.from_numpy(centres))
    np.testing.assert_allclose(prior.users(alone), centres)
    left = prior.users(replace(alone, likes=to_support([liked] * 5))).numpy()
    before, after = (np.linalg.norm(one, axis=1) for one in (centres, left))
    assert (after <= before * (1 + 1e-4)).all()
    if prior.items[liked].any():
        assert after.sum() < before.sum()
    # Heavier likes are more evidence.
    heavier = prior.users(replace(alone, likes=to_support([liked] * 5, weights=[4.0] * (5 * len(liked))))).numpy()
    assert (np.linalg.norm(heavier, axis=1) <= after * (1 + 1e-4)).all()


@given(
    st.integers(0, 3), st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=5, unique=True), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=15)
def test_a_user_of_whom_nothing_is_known_scores_exactly_as_without_the_component(
    seed: int, liked: list[list[int]]
) -> None:
    model, likes = draw_model(seed), to_support(liked)
    model = replace(model, gate=replace(model.gate, known=model.gate.warm + 1))
    nothing = np.zeros((len(liked), DIM), np.float32)
    np.testing.assert_array_equal(model.score(likes, nothing), model.score(likes))
    gate, place = model.gate, model.names.index("user_prior")
    warm, cold = gate.warm.copy(), gate.cold.copy()
    warm[:, place] = cold[:, place] = 0
    without = replace(model, gate=replace(gate, warm=warm, cold=cold))
    np.testing.assert_array_equal(model.score(likes), without.score(likes))


@pytest.mark.parametrize("liked", [[], [1], [1, 2, 3, 5]])
def test_what_the_graph_says_is_a_share_of_its_own(liked: list[int]) -> None:
    model, (_, centres) = draw_model(3), draw_prior(3)
    support = Support(to_support([liked]), prior=torch.from_numpy(centres[:1]))
    parts, without = model.contributions(support), model.contributions(replace(support, prior=None))
    scores = model.score(support.likes, centres[:1])[0]
    together = parts.likes.sum(axis=0) + parts.sentence + parts.prior + parts.rest
    np.testing.assert_allclose(together, scores, rtol=1e-3, atol=1e-3)
    assert np.abs(parts.prior).max() > 1e-2
    assert not without.prior.any()
    np.testing.assert_allclose(parts.likes, without.likes, atol=1e-5)
    np.testing.assert_allclose(sum(parts.sources.values()) - sum(without.sources.values()), scores - model.score(
        support.likes)[0], atol=1e-3)  # fmt: skip


def test_mixed_users_score_in_a_batch_as_alone() -> None:
    model, (_, centres) = draw_model(1), draw_prior(1)
    model = replace(model, gate=replace(model.gate, known=model.gate.warm[:, ::-1].copy()))
    centres[2] = 0
    likes = to_support([[], [1, 2], [3], [], [1, 2, 3, 5, 6]])
    together = model.score(likes, centres)
    for row in range(5):
        alone = model.score(likes[[row]], centres[[row]])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-3, atol=1e-3)


def test_known_users_have_weights_of_their_own() -> None:
    model, (_, centres) = draw_model(2), draw_prior(2)
    known = model.gate.warm[:, ::-1].copy()
    both = replace(model, gate=replace(model.gate, known=known))
    swapped = replace(model, gate=replace(model.gate, warm=known))
    likes = to_support([[], [1], [1, 2, 3, 5, 6], [], [2]])
    np.testing.assert_allclose(both.score(likes, centres), swapped.score(likes, centres), atol=1e-5)
    np.testing.assert_allclose(both.score(likes), model.score(likes), atol=1e-5)
    assert np.abs(both.score(likes, centres) - model.score(likes, centres)).max() > 0.1


def test_a_user_without_links_and_texts_is_placed_at_zero() -> None:
    model, inputs = draw_model(0), draw_inputs(0)
    known = replace(model, user_prior=inputs.vectors.user_prior)
    incidence, text = inputs.links.incidence[:4], inputs.text.numpy()[:4].copy()
    rows = incidence.toarray()
    rows[1:3] = 0
    text[[0, 2]] = 0
    text[1] = 1 / np.sqrt(5)
    placed = known.place_users(text, csr_array(rows))
    assert (placed[2] == 0).all()
    assert placed[[0, 1, 3]].any(axis=1).all()
    assert (known.place_users(None, csr_array(rows))[1:3] == 0).all()
    for encoder in (known, model):  # without an encoder of users, nobody is placed
        assert encoder.place_users(None, csr_array((3, rows.shape[1]), dtype=np.float32)).shape == (3, DIM)
    assert (model.place_users(text, csr_array(rows)) == 0).all()


def test_a_catalogue_that_knows_nothing_of_users_has_no_such_component() -> None:
    inputs = draw_inputs(0)
    unknown: FitInputs = replace(inputs, vectors=replace(inputs.vectors, user_prior=None))
    assert UserPrior.fit(unknown) is None


def test_the_unit_is_a_known_users_deviation() -> None:
    inputs = draw_inputs(0)
    found = UserPrior.fit(inputs)
    assert found is not None
    users = inputs.vectors.users - inputs.vectors.users[torch.from_numpy(np.diff(inputs.likes.indptr) > 0)].mean(dim=0)
    kept = np.diff(inputs.likes.indptr) > 0
    liked = inputs.liked
    scores = (users[torch.from_numpy(kept)] @ found.items[liked].T).numpy()
    assert found.unit == pytest.approx(scores.std(axis=1).mean(), rel=0.02)
