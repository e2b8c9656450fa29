"""The item-item ridge for many items, each solved on its nearest; the cost is linear in likes, links and items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, hstack, vstack
from threadpoolctl import threadpool_limits
from torch import Tensor

from kgrec.errors import KgrecError

TEXT_SHARPNESS = 8.0  # of the texts' kernel, exp(sharpness (cosine - 1))
OVERSAMPLES = 32  # extra directions of a randomised decomposition
POWER_STEPS = 2
TINY = 1e-12
_PAIRS_PER_ENTRY = 200  # the most pairs of a user's likes, or of a link feature's items, per like or link
_BLOCK_PAIRS = 4_000_000  # entries of the Gram matrix in memory at once
_SOLVED_ENTRIES = 600_000  # entries of the Gram matrix looked up at once in the solves on the nearest items
_LEAST_DIRECTIONS = 16  # for estimating the entries that are cut from the Gram matrix
_ROUNDING = 1e-4  # relative, added to the diagonal in the directions that all items share
_GROWTH = 1.3  # factor of the diagonal, applied until a system is positive definite
_MOST_GROWTHS = 40


@dataclass(frozen=True)
class NeighbourMatrix:
    """What a like of an item adds to every item's score: sparse + left @ right.T.

    Attributes:
        sparse: (n_items, n_items) float32 with int32 indices; row i is what a like of item i adds; 0 diagonal.
        left: (n_items, rank) float32, with `right` the remainder beside the sparse weights; rank may be 0.
        right: (n_items, rank) float32. The diagonal of left @ right.T is not 0; it concerns liked items alone.
    """

    sparse: csr_array
    left: NDArray[np.float32]
    right: NDArray[np.float32]


@dataclass(frozen=True)
class Gram:
    """The Gram matrix of likes and links in factors: A = left @ right.

    Attributes:
        left: (n_items, n_users + n_codes) float32.
        right: (n_users + n_codes, n_items) float32, the transpose with weighted rows.
        diagonal: (n_items,) float32 of A.
        of_likes: (n_items,) float32, the diagonal of G.
        scale: the mean of `of_likes`.
    """

    left: csr_array
    right: csr_array
    diagonal: NDArray[np.float32]
    of_likes: NDArray[np.float32]
    scale: float

    def times(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """A @ vectors, (n_items, dim)."""
        found: NDArray[np.float32] = self.left @ (self.right @ vectors)
        return found


def fit_nearest(
    gram: Gram,
    text: NDArray[np.float32] | None,
    text_weight: float,
    ridges: Sequence[NDArray[np.float32]],
    *,
    nearest: int,
    rank: int,
    seed: int,
) -> list[NeighbourMatrix]:
    """Solves each item on its nearest items and on directions that all items share, once for each ridge.

    Args:
        gram: of likes, thinned, and links.
        text: (n_items, dim) float32 unit rows, zeros for an item without a text; None: there are none.
        text_weight: of the likeness of the items' texts, in mean diagonals of the likes' Gram matrix.
        ridges: (n_items,) float32 each, added to the diagonal.
        nearest: the number of items that a ridge is solved on; all of their weights are kept.
        rank: of the factors; lower if there are fewer than `nearest` + rank items.
        seed: of the randomised eigenvectors.

    Raises:
        KgrecError: a Gram matrix is not positive definite.
    """
    n_items = len(gram.diagonal)
    nearest = max(min(nearest, n_items - 1), 1)
    size = np.sqrt(gram.diagonal + np.float32(gram.scale))
    near = prune(gram, nearest, size)
    directions = _directions(gram, min(max(rank, _LEAST_DIRECTIONS), n_items), size, seed)
    rank = min(rank, max(n_items - nearest - 1, 0))
    diagonal = gram.diagonal
    if text is not None and text_weight:
        diagonal = diagonal + _add_near_texts(near, text, text_weight * gram.scale)
    shared = _Shared(gram, near, diagonal, directions, gram.times(directions))
    with threadpool_limits(1, "blas"):  # on systems this small, threads mostly wait for each other
        return _solve_nearest(shared, ridges, rank)


def factor_gram(likes: csr_array, links: csr_array | None, user_exponent: float, link_weight: float) -> Gram:
    """Builds the Gram matrix from weighted likes and links."""
    sizes = np.maximum(np.diff(likes.indptr), 1).astype(np.float32)
    weights = likes.data * np.repeat(sizes**-user_exponent, np.diff(likes.indptr))
    right = csr_array((weights, likes.indices, likes.indptr), shape=likes.shape)
    of_likes = _diagonal(likes, right)
    diagonal, scale = of_likes, max(float(of_likes.mean(dtype=np.float64)), TINY)
    left = likes.T.tocsr()
    if links is not None and link_weight and links.nnz:
        size = float(links.multiply(links).sum()) / len(of_likes)
        by_code = csr_array(_leave_out_common(links).T.tocsr())
        weighted = by_code * np.float32(link_weight * scale / size)
        diagonal = of_likes + _diagonal(by_code, weighted)
        left, right = hstack([left, by_code.T], format="csr"), vstack([right, weighted], format="csr")
    return Gram(csr_array(left), csr_array(right), diagonal, of_likes, scale)


def _diagonal(matrix: csr_array, weighted: csr_array) -> NDArray[np.float32]:
    """(n_columns,) float32: the diagonal of matrix' @ weighted, which have the same entries."""
    products = matrix.data.astype(np.float64) * weighted.data
    return np.bincount(matrix.indices, products, matrix.shape[1]).astype(np.float32)


def thin(likes: csr_array, seed: int) -> csr_array:
    """Bounds the pairs of likes: keeps a sample of the likes of users with very many, preferring rarely liked items.

    Weights stay as they are: pairs drawn on one side only, or weighed up, make the Gram matrix indefinite or noisy.
    """
    sizes = np.diff(likes.indptr)
    most = _most_each(sizes, _PAIRS_PER_ENTRY * likes.nnz)
    if sizes.max(initial=0) <= most:
        return likes
    owners = np.repeat(np.arange(len(sizes)), sizes)
    popularity = np.bincount(likes.indices, minlength=likes.shape[1])
    keys = np.random.default_rng(seed).exponential(size=likes.nnz) * np.sqrt(popularity[likes.indices])
    order = np.lexsort((keys, owners))
    drawn = np.sort(order[np.arange(likes.nnz) - np.repeat(likes.indptr[:-1], sizes) < most])
    starts = np.concatenate([[0], np.cumsum(np.minimum(sizes, most))])
    return csr_array((likes.data[drawn], likes.indices[drawn], starts), shape=likes.shape)


def _leave_out_common(links: csr_array) -> csr_array:
    """Bounds the pairs of links: leaves out the link features with the most items, which are the least informative."""
    counts = np.bincount(links.indices, minlength=links.shape[1])
    order = np.argsort(counts, kind="stable")
    few = np.cumsum(counts[order].astype(np.float64) ** 2) <= _PAIRS_PER_ENTRY * links.nnz
    keeps = np.zeros(links.shape[1], np.bool_)
    keeps[order[few]] = True
    return csr_array(links.multiply(keeps[None, :]).tocsr()) if not keeps.all() else links


def _most_each(sizes: NDArray[np.int64], most_pairs: int) -> int:
    """The largest m, at least 1, with sum min(size, m)^2 <= most_pairs."""
    least, most = 1, int(sizes.max(initial=1))
    while least < most:
        middle = (least + most + 1) // 2
        if float((np.minimum(sizes, middle).astype(np.float64) ** 2).sum()) <= most_pairs:
            least = middle
        else:
            most = middle - 1
    return least


@dataclass(frozen=True)
class Near:
    """The strongest entries of each row of a Gram matrix, and an empty last row, which stands for no item.

    Attributes:
        index: (n_items + 1, width) int32, the strongest first; n_items where there are fewer.
        values: (n_items + 1, width) float32, 0 where there are fewer.
    """

    index: NDArray[np.int32]
    values: NDArray[np.float32]


def prune(gram: Gram, width: int, size: NDArray[np.float32], shrinkage: float = 0.0) -> Near:
    """The `width` entries off the diagonal in each row of A that are largest over size_i size_j + shrinkage."""
    n_items = len(size)
    index = np.full((n_items + 1, width), n_items, np.int32)
    values = np.zeros((n_items + 1, width), np.float32)
    for rows in _blocks_of_pairs(gram):
        block = gram.left[rows] @ gram.right
        owners = np.repeat(np.arange(rows.start, rows.stop), np.diff(block.indptr))
        strength = block.data / np.maximum(size[owners] * size[block.indices] + np.float32(shrinkage), TINY)
        strength[owners == block.indices] = 0
        for row in range(rows.stop - rows.start):
            part = slice(block.indptr[row], block.indptr[row + 1])
            own = strength[part]
            best = np.argpartition(own, len(own) - width)[-width:] if len(own) > width else np.arange(len(own))
            best = best[own[best] > 0]
            best = best[np.argsort(-own[best], kind="stable")]
            index[rows.start + row, : len(best)] = block.indices[part][best]
            values[rows.start + row, : len(best)] = block.data[part][best]
    return Near(index, values)


def _blocks_of_pairs(gram: Gram) -> Iterator[slice]:
    """Blocks of rows of left @ right with a bounded number of entries."""
    n_items = gram.left.shape[0]
    owners = np.repeat(np.arange(n_items), np.diff(gram.left.indptr))
    partners = np.diff(gram.right.indptr)[gram.left.indices]
    ends = np.cumsum(np.minimum(np.bincount(owners, partners, n_items), n_items))
    start = 0
    while start < n_items:
        before = ends[start - 1] if start else 0.0
        stop = max(int(np.searchsorted(ends, before + _BLOCK_PAIRS, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _add_near_texts(near: Near, text: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Adds the texts' kernel to the kept entries; returns its diagonal, (n_items,) float32."""
    has_text = np.append(np.abs(text).sum(axis=1) > 0, False)
    padded = np.vstack([text, np.zeros((1, text.shape[1]), np.float32)])
    factor = np.float32(weight / max(float(has_text[:-1].mean()), TINY))
    n_rows = max(_BLOCK_PAIRS // max(near.index.shape[1] * text.shape[1], 1), 1)
    for start in range(0, len(text), n_rows):
        rows = slice(start, min(start + n_rows, len(text)))
        cosine = np.einsum("rd,rwd->rw", text[rows], padded[near.index[rows]])
        both = has_text[rows, None] & has_text[near.index[rows]]
        near.values[rows] += both * factor * np.exp(np.float32(TEXT_SHARPNESS) * (cosine - 1))
    diagonal: NDArray[np.float32] = factor * has_text[:-1].astype(np.float32)
    return diagonal


def _directions(gram: Gram, rank: int, size: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(n_items, rank) float32: leading eigenvectors of A_ij / (size_i size_j), divided by size.

    By subspace iteration (Halko et al. 2011).
    """
    divisor = size[:, None]
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((len(size), min(rank + OVERSAMPLES, len(size))), np.float32)
    for _ in range(POWER_STEPS):
        basis, _ = np.linalg.qr(gram.times(basis / divisor) / divisor)
    _, turned = np.linalg.eigh(basis.T @ (gram.times(basis / divisor) / divisor))  # ascending
    found: NDArray[np.float32] = (basis @ turned[:, ::-1][:, :rank]) / divisor
    return found


@dataclass(frozen=True)
class _Shared:
    """The inputs that the ridges of all items share.

    Attributes:
        gram: A in factors.
        near: its strongest entries.
        diagonal: (n_items,) float32, of A with texts.
        directions: V, (n_items, at least the rank) float32.
        onto: A V, likewise.
    """

    gram: Gram
    near: Near
    diagonal: NDArray[np.float32]
    directions: NDArray[np.float32]
    onto: NDArray[np.float32]

    def imputed(self) -> NDArray[np.float32]:
        """U, (n_items, dim) float32: U U' estimates A from its directions (Nyström); zeros for a row without cuts."""
        inner = (self.directions.T @ self.onto).astype(np.float64)
        size, axes = np.linalg.eigh((inner + inner.T) / 2)
        taken = size > _ROUNDING * max(size[-1], TINY)
        factors = self.onto @ (axes[:, taken] / np.sqrt(size[taken])).astype(np.float32)
        found: NDArray[np.float32] = factors * (self.near.values[:-1, -1:] > 0)
        return found


def _solve_nearest(shared: _Shared, ridges: Sequence[NDArray[np.float32]], rank: int) -> list[NeighbourMatrix]:
    """Solves each column of the ridge for weights of its nearest items and of directions that all items share.

    Column j minimises b' (A + diag ridge) b - 2 b' A_j over b = E c + V f with b_j = 0: E picks the nearest items of
    row j, V holds the directions without row j (Galerkin). So `left` is V and row j of `right` is f. Entries of
    A between nearest items that were cut in both of their rows are estimated from the directions.
    """
    n_items, nearest = shared.near.index.shape[0] - 1, shared.near.index.shape[1]
    columns, entries = torch.from_numpy(shared.near.index), torch.from_numpy(shared.near.values)
    imputed, diagonal = _with_none(shared.imputed()), _with_none(shared.diagonal)
    axes, onto = _with_none(shared.directions[:, :rank]), _with_none(shared.onto[:, :rank])
    own_ridges = [_with_none(ridge) for ridge in ridges]
    for own_ridge in own_ridges:
        own_ridge[n_items] = 1
    inner = axes.T @ onto  # V' A V
    ridged = [inner + axes.T @ (own_ridge[:, None] * axes) for own_ridge in own_ridges]
    n_rows = max(_SOLVED_ENTRIES // nearest**2, 1)
    width = nearest + rank
    places = torch.full((n_rows, n_items + 1), nearest)  # of each item among the nearest
    guessed = torch.empty((n_rows, nearest, nearest))
    systems = torch.zeros((n_rows, width + 1, width + 1))  # the last row and column collect all that is not nearest
    weights = [np.empty((n_items, nearest), np.float32) for _ in ridges]
    right = [np.empty((n_items, rank), np.float32) for _ in ridges]
    order = torch.arange(nearest)
    for start in range(0, n_items, n_rows):
        rows = slice(start, min(start + n_rows, n_items))
        near, target = columns[rows].long(), entries[rows]  # (rows, nearest)
        n_here, flat = len(near), near.view(-1)
        own, guess, system = places[:n_here], guessed[:n_here], systems[:n_here]
        own.scatter_(1, near, order.expand(n_here, -1))
        own[:, n_items] = nearest
        found = own.gather(1, columns.index_select(0, flat).view(n_here, -1).long()).view(n_here, nearest, nearest)
        own.scatter_(1, near, nearest)
        these = imputed.index_select(0, flat).view(n_here, nearest, -1)
        system[:, :nearest, :nearest] = torch.bmm(these, these.transpose(1, 2), out=guess)
        known = entries.index_select(0, flat).view(n_here, nearest, nearest)
        system.scatter_(2, found, known)
        system.scatter_(1, found.transpose(1, 2), known.transpose(1, 2))  # an entry may be cut in one of its rows
        v, av, whole = axes[rows], onto[rows], diagonal[rows, None]
        outer = v[..., None] * av[:, None]
        outer = outer + outer.transpose(1, 2)
        of_axes = axes.index_select(0, flat).view(n_here, nearest, rank)
        of_near = onto.index_select(0, flat).view(n_here, nearest, rank) - target[..., None] * v[:, None]
        for place, own_ridge in enumerate(own_ridges):
            system.diagonal(dim1=1, dim2=2)[:, :nearest] = diagonal[near] + own_ridge[near]
            system[:, :nearest, nearest:width] = torch.addcmul(of_near, own_ridge[near, None], of_axes)
            least = (whole - own_ridge[rows, None])[..., None] * v[..., None] * v[:, None]
            broad = ridged[place] - outer + least
            broad.diagonal(dim1=1, dim2=2).mul_(1 + _ROUNDING)
            system[:, nearest:width, nearest:width] = broad
            solved = _solve(system[:, :width, :width].numpy(), torch.cat([target, av - whole * v], 1).numpy())
            weights[place][rows], right[place][rows] = solved[:, :nearest], solved[:, nearest:]
    left = np.ascontiguousarray(shared.directions[:, :rank])
    index = shared.near.index[:-1]
    return [
        NeighbourMatrix(from_columns(index, local), left, factors)
        for local, factors in zip(weights, right, strict=True)
    ]


def _with_none(values: NDArray[np.float32]) -> Tensor:
    """Appends a row of zeros, which stands for no item."""
    return torch.from_numpy(np.concatenate([values, np.zeros((1, *values.shape[1:]), np.float32)]))


def _solve(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Solves (n, k, k) symmetric systems for (n, k); the diagonal grows until a system is positive definite.

    Entries below the diagonal are not read.

    Raises:
        KgrecError: growth does not help, as with values that are not finite.
    """
    solved, scratch = np.empty_like(right), np.empty(left.shape[1:], np.float32)
    diagonal = np.diag_indices_from(scratch)
    for place, system in enumerate(left):
        for growth in range(_MOST_GROWTHS):
            np.copyto(scratch, system)
            scratch[diagonal] *= np.float32(_GROWTH**growth)
            in_order = scratch.T  # Fortran order: its lower triangle is the upper one here
            _, solved[place], failed = lapack.sposv(in_order, right[place], lower=True, overwrite_a=True)
            if not failed and np.isfinite(solved[place]).all():
                break
        else:
            message = "the ridge of an item on its nearest items has no solution; are all likes and links finite?"
            raise KgrecError(message)
    return solved


def from_columns(rows: NDArray[np.int32], weights: NDArray[np.float32]) -> csr_array:
    """A square matrix from the rows and weights of each column, (n_items, k); rows from n_items on are left out."""
    n_items = len(rows)
    taken = (weights != 0) & (rows < n_items)
    columns = np.repeat(np.arange(n_items, dtype=np.int32), taken.sum(axis=1))
    matrix = csr_array((weights[taken], (rows[taken], columns)), shape=(n_items, n_items))
    matrix.sort_indices()
    return matrix
