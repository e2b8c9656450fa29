from typing import Any

import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.config import HeadConfig
from kgrec.model.component import Scale, Support
from kgrec.model.episodes import draw_episodes
from kgrec.model.few_shot import FewShot, train_head
from kgrec.model.ials import fit_ials


def make_head(vectors: Any, **changes: Any) -> FewShot:
    z = torch.as_tensor(vectors, dtype=torch.float32)
    dim, scale = z.shape[1], Scale.of(z)
    return FewShot(**{
        "items": z, "gram": z.T @ z, "centre": torch.zeros(dim), "alpha": 0.5, "ridge_base": 1.0, "ridge_slope": 0.0,
        "to_head": torch.eye(dim), "warm_scale": scale, "cold_scale": scale,
    } | changes)  # fmt: skip


def solve(head: FewShot, likes: csr_array) -> torch.Tensor:
    return head.users(Support(likes))


def test_one_solve_worked_by_hand() -> None:
    # Liked: (1, 0) and (1, 1); ridge = 1 + .5 * 2 = 2, alpha .5 over (1, 0), (0, 1), (1, 1); centre (1, 0):
    # left = [[2, 1], [1, 1]] + .5 [[2, 1], [1, 2]] + 2 I = [[5, 1.5], [1.5, 4]], right = (2, 1) + (2, 0).
    head = make_head([[1, 0], [0, 1], [1, 1]], centre=torch.tensor([1.0, 0]), ridge_slope=0.5)
    np.testing.assert_allclose(solve(head, to_csr([[1, 0, 1]])), [[14.5 / 17.75, -1 / 17.75]], rtol=1e-6)


def test_more_likes_move_the_user_away_from_the_centre() -> None:
    centre = torch.tensor([2.0, -1.0])
    head = make_head([[1, 0], [0, 1]], centre=centre, alpha=0.0, ridge_base=3.0)
    np.testing.assert_allclose(solve(head, to_csr([[0, 0]]))[0], centre, rtol=1e-6)
    np.testing.assert_allclose(solve(head, to_csr([[1, 0]]))[0], [7 / 4, -1], rtol=1e-6)  # (1 + 3 * 2) / (1 + 3)


def test_the_ridge_grows_with_the_support_and_weights_count() -> None:
    # One like of (1): (c + w.centre ridge) / (c + ridge), the ridge being 5 + .1 a like, however heavy.
    head = make_head([[1.0], [1.0]], ridge_base=5.0, ridge_slope=0.1, alpha=0.0, centre=torch.tensor([2.0]))
    heavy = csr_array(np.array([[3.0, 0]], np.float32))
    np.testing.assert_allclose(solve(head, to_csr([[1, 0]])), [[(1 + 5.1 * 2) / 6.1]], rtol=1e-6)
    np.testing.assert_allclose(solve(head, heavy), [[(3 + 5.1 * 2) / 8.1]], rtol=1e-6)
    np.testing.assert_allclose(solve(head, to_csr([[1, 1]])), [[(2 + 5.2 * 2) / 7.2]], rtol=1e-6)


@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(1, 16))
@settings(deadline=None, max_examples=40)
def test_shares_add_up_to_the_user_vector(seed: int, n_likes: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    head = make_head(
        rng.normal(size=(15, dim)), centre=torch.from_numpy(rng.normal(size=dim).astype(np.float32)),
        ridge_base=float(rng.uniform(0.5, 40)), ridge_slope=0.3, alpha=float(rng.uniform(0, 1)),
    )  # fmt: skip
    liked = np.sort(rng.permutation(15)[:n_likes])
    support = to_csr(np.isin(np.arange(15), liked)[None, :])
    support.data[:] = rng.uniform(0.5, 2, n_likes)
    shares = head.shares(Support(support))
    assert shares.likes.shape == (n_likes, dim)
    whole = shares.likes.sum(dim=0) + shares.rest
    np.testing.assert_allclose(whole, solve(head, support)[0], rtol=1e-3, atol=1e-4)


def episodes_config(**changes: Any) -> HeadConfig:
    return HeadConfig(**({"epochs": 12, "learning_rate": 0.02, "batch_size": 16} | changes))


def board_head(board: Board, config: HeadConfig, seed: int = 0) -> tuple[FewShot, list[float]]:
    items, users = fit_ials(board.train, dim=4, alpha=0.1, regularisation=0.1, epochs=4, seed=0)
    popularity = torch.log1p(torch.from_numpy(board.popularity.astype(np.float32)))
    losses: list[float] = []
    head = train_head(
        board.train, items, users, popularity, config, seed=seed, on_epoch=lambda _, loss: losses.append(loss)
    )
    return head, losses


def test_training_lowers_the_loss_and_finds_the_group_from_one_like(board: Board) -> None:
    head, losses = board_head(board, episodes_config())
    assert len(losses) == 12
    assert min(losses[-3:]) < losses[0] - 0.05
    scores = (solve(head, csr_array(np.eye(40, dtype=np.float32))) @ head.items.T).numpy()
    own = np.arange(40)[:, None] % 2 == np.arange(40)[None, :] % 2
    assert (np.where(own, scores, np.inf).min(axis=1) > np.where(own, -np.inf, scores).max(axis=1)).all()


@pytest.mark.parametrize("n_shown", [0, 1, 2])
def test_the_loss_is_the_cross_entropy_of_the_hidden_likes(n_shown: int) -> None:
    # All vectors are zero, so each of the 4 trained items outside the support has the same chance.
    likes = to_csr([[1, 1, 1, 1, 0]])
    seen: list[float] = []
    train_head(
        likes, torch.zeros((5, 2)), torch.zeros((1, 2)), torch.log1p(torch.tensor([1.0, 1, 1, 1, 0])),
        episodes_config(epochs=1, support_sizes=(n_shown,)), seed=0, on_epoch=lambda _, loss: seen.append(loss),
    )  # fmt: skip
    assert seen == [pytest.approx(np.log(4 - n_shown), rel=1e-5)]


def test_the_first_loss_is_that_of_the_formula_before_any_step() -> None:
    # Before training: ridge 5 + .05 a like, alpha .3, popularity counts .02 times, the sharpness is e^2.5. The centre
    # is the mean of the users with likes: the second has one like, the third has none and does not count.
    rng = np.random.default_rng(3)
    likes = to_csr([[1, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    items, users = (torch.from_numpy(rng.normal(size=(n, 2)).astype(np.float32)) for n in (5, 3))
    popularity = torch.log1p(torch.tensor([1.0, 1, 1, 1, 1]))
    config = episodes_config(epochs=1, support_sizes=(2,))
    losses: list[float] = []
    train_head(likes, items, users, popularity, config, seed=0, on_epoch=lambda _, loss: losses.append(loss))

    drawing = np.random.default_rng(0)
    shown, asked = draw_episodes(likes, drawing.permutation(np.array([0])), config, drawing)
    centre = users[:2].mean(dim=0)
    head = make_head(items, alpha=0.3, ridge_base=5.0, ridge_slope=0.05, centre=centre)
    logits = (solve(head, shown) @ items.T + 0.02 * popularity)[0].double() * np.exp(2.5)
    logits[shown.indices] = -torch.inf
    assert losses == [pytest.approx(-float(torch.log_softmax(logits, 0)[asked.indices].mean()), rel=1e-4)]


def test_equal_seeds_give_equal_heads_and_leave_the_global_generator_alone(board: Board) -> None:
    config = episodes_config(epochs=2)
    before = torch.random.get_rng_state()
    first, again, other = (board_head(board, config, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.items, again.items)
    assert torch.equal(first.centre, again.centre)
    assert (first.alpha, first.ridge_base, first.ridge_slope) == (again.alpha, again.ridge_base, again.ridge_slope)
    assert not torch.equal(first.items, other.items)


def test_items_without_likes_do_not_affect_training(board: Board) -> None:
    config, wider = (
        episodes_config(epochs=2),
        csr_array((board.train.data, board.train.indices, board.train.indptr), (60, 41)),
    )
    items, users = fit_ials(board.train, dim=4, alpha=0.1, regularisation=0.1, epochs=4, seed=0)
    popularity = torch.log1p(torch.from_numpy(np.append(board.popularity, 0).astype(np.float32)))
    found = train_head(wider, torch.cat([items, torch.full((1, 4), 9.0)]), users, popularity, config, seed=0)
    expected, _ = board_head(board, config)
    np.testing.assert_allclose(found.items[:40], expected.items, atol=1e-4)
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-3, atol=1e-3)
    assert not found.items[40].any()


def test_training_continues_from_an_earlier_head(board: Board) -> None:
    items, users = fit_ials(board.train, dim=4, alpha=0.1, regularisation=0.1, epochs=4, seed=0)
    popularity = torch.log1p(torch.from_numpy(board.popularity.astype(np.float32)))
    losses: dict[str, list[float]] = {"first": [], "more": []}

    def train(name: str, epochs: int, start: FewShot | None) -> FewShot:
        return train_head(
            board.train, items, users, popularity, episodes_config(epochs=epochs), seed=0, start=start,
            on_epoch=lambda _, loss: losses[name].append(loss),
        )  # fmt: skip

    first = train("first", 12, None)
    mapping = first.to_head.clone()
    more = train("more", 1, first)
    assert torch.equal(first.to_head, mapping)  # the starting head is unchanged
    assert not torch.equal(more.to_head, mapping)
    np.testing.assert_allclose(more.to_head, mapping, atol=0.2)


def test_users_with_too_few_likes_for_an_episode_leave_the_head_at_its_start() -> None:
    likes = to_csr([[1, 1, 0], [0, 1, 1]])
    items, users = torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    head = train_head(likes, items, users, torch.ones(3), HeadConfig(), seed=0)
    assert torch.equal(head.items, items)
    np.testing.assert_allclose(head.centre, [0.5, 0.5, 0])
    assert torch.equal(head.to_head, torch.eye(3))


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_an_episode_shows_some_likes_and_asks_for_all_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.random((12, 30)) < rng.uniform(0.2, 0.9, (12, 1))
    likes = to_csr(dense)
    rows = np.flatnonzero(np.diff(likes.indptr) >= 4)
    config = HeadConfig(support_sizes=(0, 3, 50))
    shown, asked = draw_episodes(likes, rows, config, rng)
    np.testing.assert_array_equal((shown + asked).toarray(), likes[rows].toarray())
    assert shown.multiply(asked).nnz == 0
    n_shown, sizes = np.diff(shown.indptr), np.diff(likes.indptr)[rows]
    assert (np.diff(asked.indptr) >= 2).all()
    assert ((n_shown == 0) | (n_shown == np.minimum(3, sizes - 2)) | (n_shown == sizes - 2)).all()
