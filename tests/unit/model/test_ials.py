from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from kgrec.model.ials import _PADDED_ENTRIES, _padded, fit_ials, ials_ridge, pad_rows, solve_supports


def ridge(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_users_without_likes_change_nothing() -> None:
    likes = csr_array(np.array([[1, 1, 0], [0, 1, 1]], np.float32))
    silent = csr_array(np.vstack([likes.toarray(), np.zeros((50, 3), np.float32)]))
    items, users = fit(likes)
    with_silent, all_users = fit(silent)
    np.testing.assert_allclose(with_silent, items, rtol=1e-6)
    np.testing.assert_allclose(all_users[:2], users, rtol=1e-6)
    assert not all_users[2:].any()


def test_one_ridge_solve_worked_by_hand() -> None:
    # z = (1, 0), (0, 1), (1, 1); liked: the first and the third; alpha 1/2, ridge 2, centre (1, 0).
    # left = sum_S z z' + alpha sum_all z z' + 2 I = [[2, 1], [1, 1]] + [[1, .5], [.5, 1]] + 2 I = [[5, 1.5], [1.5, 4]];
    # right = (2, 1) + 2 (1, 0) = (4, 1); determinant 17.75, so w = (16 - 1.5, 5 - 6) / 17.75.
    vectors = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    found = solve_supports(to_csr([[1, 0, 1]]), vectors, ridge(2), 0.5, centre=torch.tensor([1.0, 0]))
    np.testing.assert_allclose(found, [[14.5 / 17.75, -1 / 17.75]], rtol=1e-6)


def test_a_given_gram_stands_for_all_pairs() -> None:
    # left = 1 + 0.5 * 4 + 1 = 4, right = 1.
    found = solve_supports(to_csr([[1, 0]]), torch.tensor([[1.0], [9.0]]), ridge(1), 0.5, gram=torch.tensor([[4.0]]))
    assert found.item() == pytest.approx(1 / 4)


def test_an_empty_support_gives_the_centre_without_unobserved_weight() -> None:
    vectors, centre = torch.randn((4, 3), generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, -2, 3])
    empty = csr_array((2, 4), dtype=np.float32)
    np.testing.assert_allclose(
        solve_supports(empty, vectors, ridge(2, 5), 0.0, centre), [centre.tolist()] * 2, rtol=1e-6
    )
    np.testing.assert_array_equal(solve_supports(empty, vectors, ridge(2, 5), 0.3), np.zeros((2, 3)))


@st.composite
def supports(draw: st.DrawFn) -> tuple[csr_array, torch.Tensor, np.ndarray]:
    n_rows, n_items, dim = draw(st.integers(0, 12)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dense = rng.random((n_rows, n_items)) < rng.random((n_rows, 1))  # rows of very different lengths
    vectors = torch.from_numpy(rng.normal(size=(n_items, dim)).astype(np.float32))
    return csr_array(dense.astype(np.float32)), vectors, rng.uniform(0.5, 2, n_rows).astype(np.float32)


@given(supports())
@settings(deadline=None, max_examples=50)
def test_rows_of_different_lengths_together_equal_the_formula_one_by_one(drawn: Any) -> None:
    support, vectors, ridges = drawn
    centre, alpha = torch.arange(vectors.shape[1], dtype=torch.float32), 0.3
    together = solve_supports(support, vectors, ridges, alpha, centre).numpy()
    z, gram = vectors.double().numpy(), alpha * (vectors.T @ vectors).double().numpy()
    for row, found in enumerate(together):
        liked = z[support.indices[support.indptr[row] : support.indptr[row + 1]]]
        left = liked.T @ liked + gram + ridges[row] * np.eye(z.shape[1])
        expected = np.linalg.solve(left, liked.sum(axis=0) + ridges[row] * centre.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_like_of_weight_two_counts_as_two_likes_of_the_item() -> None:
    vectors = torch.randn((3, 2), generator=torch.Generator().manual_seed(0))
    twice = torch.cat([vectors, vectors[:1]])
    gram = vectors.T @ vectors
    heavy = csr_array(np.array([[2.0, 0, 1]], np.float32))
    ours = solve_supports(heavy, vectors, ridge(0.7), 0.3, gram=gram)
    theirs = solve_supports(to_csr([[1, 0, 1, 1]]), twice, ridge(0.7), 0.3, gram=gram)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(ours, solve_supports(to_csr([[1, 0, 1]]), vectors, ridge(0.7), 0.3, gram=gram))


@given(supports(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_a_support_never_matters(drawn: Any, shuffler: Any) -> None:
    support, vectors, ridges = drawn
    shuffled = support.copy()
    for start, end in zip(support.indptr, support.indptr[1:], strict=False):
        liked = support.indices[start:end].tolist()
        shuffler.shuffle(liked)
        shuffled.indices[start:end] = liked
    ours, theirs = (solve_supports(s, vectors, ridges, 0.3) for s in (support, shuffled))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_rows_are_padded_to_equal_length() -> None:
    index, mask = pad_rows(to_csr([[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]), np.array([0, 1, 2]))
    np.testing.assert_array_equal(index, [[1, 3], [0, 0], [2, 0]])
    np.testing.assert_array_equal(mask, [[1, 1], [0, 0], [1, 0]])


def test_blocks_hold_every_row_once_and_bound_both_the_likes_and_the_equations() -> None:
    dim = 64
    lengths = np.r_[np.ones(20_000, np.int64), 300, 5_000]
    indptr = np.r_[0, np.cumsum(lengths)]
    columns = np.concatenate([np.arange(length) for length in lengths])
    support = csr_array((np.ones(len(columns), np.float32), columns, indptr), shape=(len(lengths), 5_000))
    seen = []
    for rows, index, _ in _padded(support, dim, _PADDED_ENTRIES):
        assert index.numel() <= _PADDED_ENTRIES
        assert len(rows) * dim <= _PADDED_ENTRIES  # (rows, dim, dim) normal equations
        seen.append(rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(lengths)))


def test_a_row_longer_than_a_block_is_a_block_of_its_own() -> None:
    n_items = _PADDED_ENTRIES + 10
    long = csr_array((np.ones(n_items, np.float32), np.arange(n_items), [0, 0, n_items]), shape=(2, n_items))
    found = solve_supports(long, torch.ones((n_items, 1)), ridge(1, 1), 0.0)
    np.testing.assert_allclose(found, [[0], [n_items / (n_items + 1)]], rtol=1e-5)


def fit(likes: csr_array, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return fit_ials(likes, **({"dim": 4, "alpha": 0.1, "regularisation": 0.01, "epochs": 6, "seed": 0} | changes))


def test_a_checkerboard_is_recovered(board: Board) -> None:
    items, users = fit(board.train, dim=2, regularisation=0.1)
    scores = (users @ items.T).numpy()
    own = np.arange(scores.shape[0])[:, None] % 2 == np.arange(scores.shape[1])[None, :] % 2
    assert scores[own].min() > scores[~own].max() + 0.3  # hidden likes included


def loss(likes: csr_array, items: torch.Tensor, users: torch.Tensor, alpha: float, regularisation: float) -> float:
    scores = (users @ items.T).double().numpy()
    liked = likes.toarray() > 0
    by_user, by_item = ials_ridge(likes, alpha, regularisation), ials_ridge(likes.T.tocsr(), alpha, regularisation)
    ridges = (by_user * (users**2).sum(dim=1).numpy()).sum() + (by_item * (items**2).sum(dim=1).numpy()).sum()
    return float(((1 - scores[liked]) ** 2).sum() + alpha * (scores**2).sum() + ridges)


def test_every_alternation_lowers_the_loss() -> None:
    likes = to_csr(np.random.default_rng(3).random((50, 30)) < 0.2)
    losses = [loss(likes, *fit(likes, epochs=epochs), 0.1, 0.01) for epochs in range(1, 8)]
    assert all(later < earlier for earlier, later in pairwise(losses)), losses
    items, users = fit(likes, epochs=150)
    shifted = loss(likes, items, users + 1e-2, 0.1, 0.01)
    assert loss(likes, items, users, 0.1, 0.01) < min(shifted, losses[-1] + 1e-6)


def test_rows_without_likes_are_zeros_and_the_ridge_scales_with_the_likes() -> None:
    likes = to_csr([[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    items, users = fit(likes)
    assert not users[1].any()
    assert not items[2].any()
    assert items[:2].any(dim=1).all()
    np.testing.assert_allclose(ials_ridge(likes, 0.5, 0.1), [0.35, 0.15, 0.25], rtol=1e-6)  # .1 (n + .5 * 3)


def test_equal_seeds_give_equal_vectors_and_leave_the_global_generator_alone() -> None:
    likes = csr_array(random_array((40, 30), density=0.2, rng=np.random.default_rng(0)) > 0, dtype=np.float32)
    before = torch.random.get_rng_state()
    first, again, other = fit(likes), fit(likes), fit(likes, seed=1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_start_near_the_solution_converges_faster() -> None:
    rng = np.random.default_rng(3)
    whole = rng.random((60, 40)) < 0.2
    likes, most = to_csr(whole), to_csr(whole & (rng.random(whole.shape) < 0.9))
    earlier, _ = fit(most, epochs=12)
    least = loss(likes, *fit(likes, epochs=60), 0.1, 0.01)
    warm, cold = (loss(likes, *fit(likes, epochs=4, start=start), 0.1, 0.01) for start in (earlier, None))
    assert warm < 1.02 * least
    assert warm < cold


def test_rows_of_zeros_start_at_random() -> None:
    likes = to_csr(np.random.default_rng(3).random((30, 20)) < 0.3)
    assert torch.equal(fit(likes, start=torch.zeros((20, 4)))[0], fit(likes)[0])
    ours, theirs = fit(likes, start=torch.ones((20, 4)), epochs=1)[0], fit(likes, epochs=1)[0]
    assert not torch.allclose(ours, theirs, atol=1e-3)


def test_each_row_may_have_its_own_centre() -> None:
    vectors, rng = torch.randn((7, 3), generator=torch.Generator().manual_seed(0)), np.random.default_rng(0)
    support = to_csr(rng.random((5, 7)) < np.array([[0], [0.2], [0.9], [0.3], [0.6]]))
    centres, ridges = torch.randn((5, 3), generator=torch.Generator().manual_seed(1)), ridge(1, 2, 3, 4, 5)
    together = solve_supports(support, vectors, ridges, 0.2, centres)
    for row in range(5):
        alone = solve_supports(support[[row]], vectors, ridges[[row]], 0.2, centres[row])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
