"""Implicit ALS and the closed-form solve that it shares with fold-in and the few-shot head."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

_PADDED_ENTRIES = 200_000  # vectors gathered and rows of normal equations held at once, padding included
_INIT_SCALE = 0.1


def fit_ials(
    likes: csr_array, *, dim: int, alpha: float, regularisation: float, epochs: int, seed: int, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Fits user and item vectors to implicit feedback.

    Minimises sum_{likes} (1 - w_u.z_i)^2 + alpha sum_{all} (w_u.z_i)^2 + sum_u lambda_u |w_u|^2
    + sum_i lambda_i |z_i|^2 with lambda_u = regularisation (n_u + alpha n_items), likewise for items, by alternating
    exact solves (Hu et al. 2008; Rendle et al., "Revisiting the performance of iALS", 2022). Cost is linear in likes.

    Args:
        likes: (n_users, n_items) of 1s.
        dim: width of the vectors.
        alpha: weight of all pairs against the liked ones.
        regularisation: see above.
        epochs: alternations.
        seed: of the starting vectors.
        device: where to compute.

    Returns:
        Item vectors (n_items, dim) and user vectors (n_users, dim), float32; zeros where there is no like.
    """
    n_users, n_items = likes.shape
    start = torch.randn((n_items, dim), generator=torch.Generator().manual_seed(seed)) * (_INIT_SCALE / dim**0.5)
    items = start.to(device)
    by_item = likes.T.tocsr()
    users = torch.zeros((n_users, dim), device=device)
    user_ridge = ials_ridge(likes, alpha, regularisation)
    item_ridge = ials_ridge(by_item, alpha, regularisation)
    for _ in range(epochs):
        users = solve_supports(likes, items, user_ridge, alpha)
        items = solve_supports(by_item, users, item_ridge, alpha)
    return items, users


def ials_ridge(support: csr_array, alpha: float, regularisation: float) -> NDArray[np.float32]:
    """(n_users,) float32: regularisation (n_u + alpha n_items), iALS's ridge for each row of a support matrix."""
    ridge: NDArray[np.float64] = regularisation * (np.diff(support.indptr) + alpha * support.shape[1])
    return ridge.astype(np.float32)


def solve_supports(
    support: csr_array,
    vectors: Tensor,
    ridge: NDArray[np.float32],
    alpha: float,
    centre: Tensor | None = None,
    gram: Tensor | None = None,
) -> Tensor:
    """Solves for the vector of each row of a support matrix.

    w = argmin sum_{i in S} (1 - w.z_i)^2 + alpha sum_{all i} (w.z_i)^2 + ridge |w - centre|^2, in closed form.

    Args:
        support: (n, n_vectors) of 1s.
        vectors: (n_vectors, dim) float32.
        ridge: (n,) float32, one for each row.
        alpha: weight of all pairs.
        centre: (dim,), where a row without support ends up; None is 0.
        gram: (dim, dim), the sum of z z' over "all"; None: over `vectors`.

    Returns:
        (n, dim) float32, on the device of `vectors`.
    """
    device, dim = vectors.device, vectors.shape[1]
    everything = alpha * (vectors.T @ vectors if gram is None else gram)  # (dim, dim)
    identity = torch.eye(dim, device=device)
    solved = torch.zeros((support.shape[0], dim), device=device)
    for rows, index, mask in _padded(support, dim):
        found = vectors[index.to(device)]  # (rows, width, dim)
        if not mask.all():
            found.mul_(mask.to(device)[..., None])
        own_ridge = torch.from_numpy(ridge[rows]).to(device)[:, None]  # (rows, 1)
        left = torch.baddbmm(everything + own_ridge[..., None] * identity, found.transpose(1, 2), found)
        right = found.sum(dim=1)
        if centre is not None:
            right = right + own_ridge * centre
        solved[torch.from_numpy(rows).to(device)] = torch.cholesky_solve(
            right[..., None], torch.linalg.cholesky(left)
        ).squeeze(-1)
    return solved


def _padded(support: csr_array, dim: int) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Blocks of rows of like length: (rows, index (rows, width) int64, mask (rows, width) float32)."""
    sizes = np.diff(support.indptr)
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        # A row costs its likes or its (dim, dim) normal equations, whichever is more; ascending.
        widths = np.maximum(sizes[order[start : start + _PADDED_ENTRIES // dim + 1]], dim)
        n_rows = max(int(np.searchsorted(widths * np.arange(1, len(widths) + 1), _PADDED_ENTRIES, side="right")), 1)
        rows = order[start : start + n_rows]
        yield rows, *pad_rows(support, rows)
        start += n_rows


def pad_rows(support: csr_array, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The columns of some rows of a support matrix, padded to one width.

    Returns:
        Columns (n, width) int64, 0 where padded, and a mask (n, width) float32, 0 where padded; width is at least 1.
    """
    sizes = np.diff(support.indptr)[rows]
    width = max(int(sizes.max(initial=0)), 1)
    places = np.arange(width)[None, :]
    mask = places < sizes[:, None]  # (n, width)
    index = np.zeros(mask.shape, np.int64)
    index[mask] = support.indices[(support.indptr[rows][:, None] + places)[mask]]
    return torch.from_numpy(index), torch.from_numpy(mask.astype(np.float32))
