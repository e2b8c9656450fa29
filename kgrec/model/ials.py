"""Implicit ALS and the closed-form solve that it shares with fold-in and the few-shot head."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

_PADDED_ENTRIES = 16_384  # vectors and rows of normal equations in a block, padding included: some 4 MB
_DESCENT_ENTRIES = 8192  # in a block of conjugate gradients, which fits into a core's cache
_DESCENT_STEPS = 3
_WIDE = 1.0  # likes per dimension from which building the normal matrix, which every step reads, is faster
_INIT_SCALE = 0.1
_TINY = 1e-20


def fit_ials(
    likes: csr_array,
    *,
    dim: int,
    alpha: float,
    regularisation: float,
    epochs: int,
    seed: int,
    device: str = "cpu",
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Fits user and item vectors to implicit feedback.

    Minimises sum_{likes} (1 - w_u.z_i)^2 + alpha sum_{all} (w_u.z_i)^2 + sum_u lambda_u |w_u|^2
    + sum_i lambda_i |z_i|^2 with lambda_u = regularisation (n_u + alpha n_items), likewise for items (Hu et al. 2008;
    Rendle et al., "Revisiting the performance of iALS", 2022). It alternates between users and items, with a few
    conjugate gradient steps from the vectors before (Takács et al., "Applications of the conjugate gradient method for
    implicit feedback collaborative filtering", 2011). The cost is linear in likes times dim. Users without likes do
    not count.

    Args:
        likes: (n_users, n_items) of 1s.
        dim: width of the vectors.
        alpha: weight of all pairs; liked ones have 1.
        regularisation: see above.
        epochs: alternations.
        seed: of the starting vectors.
        device: where to compute.
        start: (n_items, dim) item vectors to start from; rows of zeros start at random.

    Returns:
        Item vectors (n_items, dim) and user vectors (n_users, dim), float32; zeros where there is no like.
    """
    n_users, n_items = likes.shape
    items = torch.randn((n_items, dim), generator=torch.Generator().manual_seed(seed)) * (_INIT_SCALE / dim**0.5)
    if start is not None:
        items = torch.where(start.any(dim=1, keepdim=True), start, items)
    by_item = likes.T.tocsr()
    items = torch.where(torch.from_numpy(np.diff(by_item.indptr) > 0)[:, None], items, 0.0).to(device)
    users = torch.zeros((n_users, dim), device=device)
    active = np.flatnonzero(np.diff(likes.indptr))  # users without likes say nothing of items
    user_ridge, item_ridge = (ials_ridge(side, alpha, regularisation) for side in (likes, by_item[:, active]))
    of_users, of_items = (list(_padded(side, 1, _DESCENT_ENTRIES)) for side in (likes, by_item))
    for _ in range(epochs):
        users = _descend(of_users, items, users, user_ridge, alpha)
        items = _descend(of_items, users, items, item_ridge, alpha)
    return items, _descend(of_users, items, users, user_ridge, alpha)


def _descend(
    blocks: Sequence[tuple[NDArray[np.int64], Tensor, Tensor]],
    vectors: Tensor,
    start: Tensor,
    ridge: NDArray[np.float32],
    alpha: float,
) -> Tensor:
    """Conjugate gradient steps towards `solve_supports`, from `start`, (n, dim), for all rows of a block at once."""
    device = vectors.device
    everything = alpha * (vectors.T @ vectors)  # (dim, dim)
    solved = start.clone()
    for rows, index, mask in blocks:
        found = nn.functional.embedding(index.to(device), vectors)  # (rows, width, dim)
        if not mask.all():
            found = found * mask.to(device)[..., None]
        places = torch.from_numpy(rows).to(device)
        own_ridge = torch.from_numpy(ridge[rows]).to(device)[:, None]  # (rows, 1)
        x = solved[places]  # (rows, dim)
        right = found.sum(dim=1)
        if found.shape[1] >= _WIDE * found.shape[2]:
            left = torch.baddbmm(everything, found.transpose(1, 2), found)  # (rows, dim, dim)
            times = partial(_whole_times, left, own_ridge)
        else:
            times = partial(_left_times, found, everything, own_ridge)
        residual = right - times(x)
        direction, size = residual, (residual * residual).sum(dim=1, keepdim=True)
        for _ in range(_DESCENT_STEPS):
            onto = times(direction)
            step = size / (direction * onto).sum(dim=1, keepdim=True).clamp(min=_TINY)
            x, residual = x + step * direction, residual - step * onto
            before, size = size, (residual * residual).sum(dim=1, keepdim=True)
            direction = residual + size / before.clamp(min=_TINY) * direction
        solved[places] = x
    return solved


def _left_times(found: Tensor, everything: Tensor, ridge: Tensor, x: Tensor) -> Tensor:
    """(sum_S z z' + everything + ridge I) x for each row, (rows, dim)."""
    scores = torch.bmm(found, x[..., None])  # (rows, width, 1)
    answer: Tensor = torch.bmm(scores.transpose(1, 2), found).squeeze(1) + x @ everything + ridge * x
    return answer


def _whole_times(left: Tensor, ridge: Tensor, x: Tensor) -> Tensor:
    """(left + ridge I) x for each row, (rows, dim)."""
    answer: Tensor = torch.bmm(left, x[..., None]).squeeze(2) + ridge * x
    return answer


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

    w = argmin sum_{i in S} c_i (1 - w.z_i)^2 + alpha sum_{all i} (w.z_i)^2 + ridge |w - centre|^2, in closed form.

    Args:
        support: (n, n_vectors) float32: the weight c_i of each entry.
        vectors: (n_vectors, dim) float32.
        ridge: (n,) float32, one for each row.
        alpha: weight of all pairs.
        centre: (dim,) or (n, dim): the vector of a row without support; None: zeros.
        gram: (dim, dim), the sum of z z' over "all"; None: over `vectors`.

    Returns:
        (n, dim) float32, on the device of `vectors`.
    """
    device, dim = vectors.device, vectors.shape[1]
    everything = alpha * (vectors.T @ vectors if gram is None else gram)  # (dim, dim)
    if support.shape[0] == 1:
        return _solve_one(support, vectors, float(ridge[0]), everything, centre)
    solved = torch.zeros((support.shape[0], dim), device=device)
    for rows, index, mask in _padded(support, dim, _PADDED_ENTRIES):
        found = weighted = nn.functional.embedding(index.to(device), vectors)  # (rows, width, dim)
        if (mask.numpy() != 1).any():
            weighted = found * mask.to(device)[..., None]
        places = torch.from_numpy(rows).to(device)
        own_ridge = torch.from_numpy(ridge[rows]).to(device)[:, None]  # (rows, 1)
        left = torch.baddbmm(everything, weighted.transpose(1, 2), found)
        left.diagonal(dim1=1, dim2=2).add_(own_ridge)
        right = weighted.sum(dim=1)
        if centre is not None:
            right = right + own_ridge * (centre if centre.ndim == 1 else centre[places])
        solved[places] = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(left)).squeeze(-1)
    return solved


def _solve_one(support: csr_array, vectors: Tensor, ridge: float, everything: Tensor, centre: Tensor | None) -> Tensor:
    """`solve_supports` of one row, in fewer calls: a request waits for it."""
    found = vectors[torch.from_numpy(support.indices.astype(np.int64)).to(vectors.device)]  # (n, dim)
    weighted = found * torch.from_numpy(np.asarray(support.data, np.float32)).to(vectors.device)[:, None]
    left = torch.addmm(everything, weighted.T, found)
    left.diagonal().add_(ridge)
    right = weighted.sum(dim=0)
    if centre is not None:
        right = right + ridge * centre.reshape(-1)
    return torch.cholesky_solve(right[:, None], torch.linalg.cholesky(left)).T


def share_fold_in(
    shown: Tensor,
    weights: Tensor,
    gram: Tensor,
    *,
    alpha: float,
    ridge: float,
    centre: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Splits one user's vector of `solve_supports`, which is linear in the likes, into what each like adds.

    Args:
        shown: (n, dim) float32: the vectors of the liked items.
        weights: (n,) float32: the weights of the likes.
        gram: as in `solve_supports`.
        alpha: weight of all items.
        ridge: of this user.
        centre: the vector of a user without likes; None: zeros.

    Returns:
        (n, dim): what each like adds; (dim,): what the centre adds.
    """
    n_shown, dim = shown.shape
    weighted = shown * weights[:, None]
    left = weighted.T @ shown + alpha * gram + ridge * torch.eye(dim)
    right = torch.cat([weighted, torch.zeros((1, dim)) if centre is None else ridge * centre[None]])  # (n + 1, dim)
    solved = torch.cholesky_solve(right.T, torch.linalg.cholesky(left)).T
    return solved[:n_shown], solved[n_shown]


def _padded(
    support: csr_array, least_width: int, most_entries: int
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Blocks of rows of similar length: (rows, index (rows, width) int64, weights (rows, width) float32).

    A row counts as its number of entries, at least `least_width`; a block has up to `most_entries`, or one row.
    """
    sizes = np.diff(support.indptr)
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        widths = np.maximum(sizes[order[start : start + most_entries // least_width + 1]], least_width)  # ascending
        n_rows = max(int(np.searchsorted(widths * np.arange(1, len(widths) + 1), most_entries, side="right")), 1)
        rows = order[start : start + n_rows]
        yield rows, *pad_rows(support, rows)
        start += n_rows


def pad_rows(support: csr_array, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The columns of some rows of a support matrix, padded to one width.

    Returns:
        Columns (n, width) int64, 0 where padded, and entries (n, width) float32, 0 where padded; width is at least 1.
    """
    sizes = np.diff(support.indptr)[rows]
    width = int(sizes.max(initial=1))
    places = np.arange(width)[None, :]
    mask = places < sizes[:, None]  # (n, width)
    index = np.zeros(mask.shape, np.int64)
    chosen = (support.indptr[rows][:, None] + places)[mask]
    index[mask] = support.indices[chosen]
    entries = np.zeros(mask.shape, np.float32)
    entries[mask] = support.data[chosen]
    return torch.from_numpy(index), torch.from_numpy(entries)
