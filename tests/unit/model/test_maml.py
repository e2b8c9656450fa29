from typing import Any

import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.config import HeadConfig
from kgrec.model.ials import fit_ials
from kgrec.model.maml import GradientHead, InnerLoss, adapt, fit_gradient_head


def make_head(vectors: Any, **changes: Any) -> GradientHead:
    z = torch.as_tensor(vectors, dtype=torch.float32)
    n_items, dim = z.shape
    return GradientHead(**{
        "vectors": z, "trained": torch.ones(n_items, dtype=torch.bool), "centre": torch.zeros(dim),
        "rates": torch.ones((1, dim)), "patience": 1e9, "alpha": 0.0, "sharpness": 1.0,
        "popularity": torch.zeros(n_items), "popularity_base": 0.0, "popularity_slope": 0.0,
        "to_head": torch.eye(dim), "inner_loss": "squared",
    } | changes)  # fmt: skip


def test_one_squared_step_worked_by_hand() -> None:
    # Liked: (1, 0) and (1, 1), start (1, 0): both score 1, so only alpha pulls: .5 G w, G = [[2, 1], [1, 2]], is
    # (1, .5). Rates .2 and .4, and two likes at patience 2 halve the step: (1 - .1, 0 - .1).
    head = make_head(
        [[1, 0], [0, 1], [1, 1]], centre=torch.tensor([1.0, 0]), alpha=0.5, rates=torch.tensor([[0.2, 0.4]]),
        patience=2.0,
    )  # fmt: skip
    np.testing.assert_allclose(head.solve(to_csr([[1, 0, 1]])), [[0.9, -0.1]], rtol=1e-5)


def test_one_softmax_step_worked_by_hand() -> None:
    # From 0 all three trained items have a chance of 1/3; the fourth is not trained. Mean (1/3, 1/3), like (1, 0).
    head = make_head(
        [[1, 0], [0, 1], [0, 0], [9, 9]], inner_loss="softmax", sharpness=2.0,
        trained=torch.tensor([True, True, True, False]),
    )  # fmt: skip
    np.testing.assert_allclose(head.solve(to_csr([[1, 0, 0, 0]])), [[2 * 2 / 3, -2 / 3]], rtol=1e-5)


@given(st.integers(0, 2**32), st.integers(0, 8), st.sampled_from(("squared", "softmax")))
@settings(deadline=None, max_examples=30)
def test_a_step_descends_the_gradient_of_the_loss(seed: int, n_likes: int, inner_loss: InnerLoss) -> None:
    rng = np.random.default_rng(seed)
    items, start = (torch.from_numpy(rng.normal(size=size)) for size in ((12, 4), (4,)))
    offset = torch.from_numpy(rng.normal(size=(1, 12)))
    liked = torch.from_numpy(rng.permutation(12)[:n_likes])
    alpha, sharpness = (torch.tensor(float(value)) for value in rng.uniform(0.1, 3, 2))
    w = start.clone().requires_grad_()
    if inner_loss == "squared":
        loss = ((1 - items[liked] @ w) ** 2).sum() / 2 + alpha / 2 * ((items @ w) ** 2).sum()
    else:
        loss = -torch.log_softmax(sharpness * (items @ w + offset[0]), dim=0)[liked].sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    mask = torch.tensor([[1.0] * n_likes + [0.0] * (9 - n_likes)], dtype=torch.float64)
    index = torch.zeros((1, 9), dtype=torch.long)
    index[0, :n_likes] = liked
    found = adapt(
        start, items[index] * mask[..., None], mask, torch.full((1, 4), 0.1, dtype=torch.float64), torch.tensor(4.0),
        inner_loss, alpha=alpha, gram=items.T @ items, items=items, trained=torch.ones(12, dtype=torch.bool),
        offset=offset, sharpness=sharpness,
    )  # fmt: skip
    expected = start - 0.1 * w.grad / (1 + n_likes / 4) if n_likes else start
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-7)


def board_head(
    board: Board, inner_loss: InnerLoss, seed: int = 0, epochs: int = 12, n_steps: int = 2
) -> tuple[GradientHead, list[float]]:
    items, users = fit_ials(board.train, dim=4, alpha=0.1, regularisation=0.1, epochs=4, seed=0)
    popularity = torch.log1p(torch.from_numpy(board.popularity.astype(np.float32)))
    losses: list[float] = []
    head = fit_gradient_head(
        board.train, items, users, popularity, HeadConfig(epochs=epochs, learning_rate=0.02, batch_size=16), seed=seed,
        n_steps=n_steps, inner_loss=inner_loss, on_epoch=lambda _, loss: losses.append(loss),
    )  # fmt: skip
    return head, losses


@pytest.mark.parametrize("inner_loss", ["squared", "softmax"])
def test_training_lowers_the_loss_and_finds_the_group_from_one_like(board: Board, inner_loss: InnerLoss) -> None:
    head, losses = board_head(board, inner_loss)
    assert len(losses) == 12
    assert min(losses[-3:]) < losses[0] - 0.05
    scores = head.score(csr_array(np.eye(40, dtype=np.float32)))
    assert scores.dtype == np.float32
    own = np.arange(40)[:, None] % 2 == np.arange(40)[None, :] % 2
    assert (np.where(own, scores, np.inf).min(axis=1) > np.where(own, -np.inf, scores).max(axis=1)).all()


@pytest.mark.parametrize("inner_loss", ["squared", "softmax"])
def test_a_user_without_likes_stays_at_the_start_and_batches_do_not_matter(board: Board, inner_loss: InnerLoss) -> None:
    head, _ = board_head(board, inner_loss, epochs=2)
    support = csr_array(np.vstack([np.zeros((1, 40)), board.train.toarray()[:6]]).astype(np.float32))
    together = head.solve(support)
    np.testing.assert_allclose(together[0], head.centre, rtol=1e-6)
    for row in range(support.shape[0]):
        np.testing.assert_allclose(head.solve(support[[row]])[0], together[row], rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_heads(board: Board) -> None:
    first, again, other = (board_head(board, "squared", seed, epochs=2)[0] for seed in (0, 0, 1))
    assert torch.equal(first.rates, again.rates)
    assert torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.centre, other.centre)


@pytest.mark.parametrize("n_shown", [0, 1, 2])
def test_the_loss_is_the_cross_entropy_of_the_likes_that_were_not_shown(n_shown: int) -> None:
    # All vectors are zero, so each of the 4 trained items that is not shown has the same chance.
    seen: list[float] = []
    fit_gradient_head(
        to_csr([[1, 1, 1, 1, 0]]), torch.zeros((5, 2)), torch.zeros((1, 2)),
        torch.log1p(torch.tensor([1.0, 1, 1, 1, 0])), HeadConfig(epochs=1, support_sizes=(n_shown,)), seed=0,
        on_epoch=lambda _, loss: seen.append(loss),
    )  # fmt: skip
    assert seen == [pytest.approx(np.log(4 - n_shown), rel=1e-5)]
