"""Sparse item-item ridge with the graph in its Gram matrix: closed form, additive over a user's likes.

Up to some thousand items the whole inverse is computed and cut to its largest weights and a low rank. With more, each
item is solved on its nearest items and on a few directions that all items share; the cost is linear in likes, links
and items. Both give the same form, sparse + left @ right.T.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from kgrec.errors import KgrecError
from kgrec.model.nearest import (
    OVERSAMPLES,
    POWER_STEPS,
    TEXT_SHARPNESS,
    TINY,
    NeighbourMatrix,
    factor_gram,
    fit_nearest,
    from_columns,
    prune,
    thin,
)

_BLOCK_ITEMS = 1024


@dataclass(frozen=True)
class NeighbourSettings:
    """The settings of an item-item ridge; the defaults are good across catalogues.

    Attributes:
        regularisation: ridge, in mean diagonals of the likes' Gram matrix.
        dropout: share p of likes dropped, in [0, 1): adds p / (1 - p) times an item's own diagonal.
        link_weight: weight of the items' overlap in links, in mean diagonals.
        text_weight: weight of the likeness of the items' texts, in mean diagonals.
        user_exponent: a user with n likes weighs n^-user_exponent.
        popularity_exponent: the column of an item with n likes is divided by (n / mean)^popularity_exponent.
    """

    regularisation: float = 2.5
    dropout: float = 0.4
    link_weight: float = 0.3
    text_weight: float = 0.0
    user_exponent: float = 0.4
    popularity_exponent: float = 0.1


def fit_neighbours(
    likes: csr_array,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: NeighbourSettings,
    *,
    exact_items: int = 5000,
    nearest: int,
    kept: int,
    rank: int,
    seed: int,
) -> NeighbourMatrix:
    """Fits one item-item ridge; see `fit_many`."""
    shape = {"exact_items": exact_items, "nearest": nearest, "kept": kept, "rank": rank, "seed": seed}
    return fit_many(likes, links, text, [settings], **shape)[0]


def fit_many(
    likes: csr_array,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: Sequence[NeighbourSettings],
    *,
    exact_items: int = 5000,
    nearest: int,
    kept: int,
    rank: int,
    seed: int,
) -> list[NeighbourMatrix]:
    """Fits item-item ridges that share a Gram matrix where they differ in regularisation and dropout alone.

    B = I - P diag(1 / diag P), P = (A + ridge I + dropout/(1-dropout) diag G)^-1, A = G + a K + b T.
    G = X' diag(n_u^-user_exponent) X counts common users, K = W W' common links, and T = exp(8 (cosine - 1)) compares
    texts, the last two scaled to a mean diagonal of 1. The dropout term is the closed form of a denoising autoencoder
    that sees a share of a user's likes (Steck 2019, 2020). Column j is then divided by
    (n_j / mean)^popularity_exponent.

    Up to `exact_items` items with likes, P is computed and B is cut to the `kept` largest weights of each column; of
    the rest R, the part in the directions that the likes use stays, R ~ (R Q) Q' with Q the leading eigenvectors of
    R' G R. Above, column j of B minimises the same quadratic over weights of its `nearest` items plus V f, with V the
    leading `rank` eigenvectors of A scaled to correlations. No matrix has n_items^2 entries: A is pruned to the
    strongest entries of each row; users with very many likes are thinned, link features of very many items left out,
    and texts count between items that likes or links pair.

    Args:
        likes: (n_users, n_items) weights, most often 1s. Items without likes get empty rows and columns.
        links: (n_items, n_codes) float32 rows of unit length; None: there are none.
        text: (n_items, dim) float32 unit rows, zeros for an item without a text; None: there are none.
        settings: one for each matrix.
        exact_items: the most items with likes for the exact solution.
        nearest: the number of items that a ridge is solved on above `exact_items`.
        kept: the most sparse weights of a column up to `exact_items`; 50 are enough with a rank of 128. Above, all
            `nearest` stay.
        rank: of the factors; above `exact_items` lower if there are fewer than `nearest` + rank items.
        seed: of the draws of likes, and of the randomised eigenvectors.

    Raises:
        KgrecError: a Gram matrix is not positive definite.
    """
    n_items = likes.shape[1]
    counts = np.bincount(likes.indices, minlength=n_items)
    liked = np.flatnonzero(counts)
    if len(liked) == 0:
        none = np.zeros((n_items, 0), np.float32)
        return [NeighbourMatrix(_empty(n_items), none, none) for _ in settings]
    likes = csr_array(likes[:, liked], dtype=np.float32)
    links = None if links is None else csr_array(links[liked], dtype=np.float32)
    text = None if text is None else text[liked]
    found: dict[int, NeighbourMatrix] = {}
    for key in dict.fromkeys(map(_gram_key, settings)):
        sharing = {place: one for place, one in enumerate(settings) if _gram_key(one) == key}
        if len(liked) <= exact_items:
            fitted = _fit_exact(likes, links, text, list(sharing.values()), kept=kept, rank=rank, seed=seed)
        else:
            one = next(iter(sharing.values()))
            gram = factor_gram(thin(likes, seed), links, one.user_exponent, one.link_weight)
            ridges = [_ridge(other, gram.of_likes, gram.scale) for other in sharing.values()]
            fitted = fit_nearest(gram, text, one.text_weight, ridges, nearest=nearest, rank=rank, seed=seed)
        for (place, one), matrix in zip(sharing.items(), fitted, strict=True):
            found[place] = _spread(_temper(matrix, counts[liked], one.popularity_exponent), liked, n_items)
    return [found[place] for place in range(len(settings))]


def co_likes(
    likes: csr_array, *, shrinkage: float = 10.0, kept: int = 50, user_exponent: float = 0.4, seed: int = 0
) -> csr_array:
    """Shrunk cosines between items that the same users like (item kNN): G_ij / (sqrt(G_ii G_jj) + shrinkage).

    The cost is linear in likes: users with very many are sampled.

    Args:
        likes: (n_users, n_items) weights, most often 1s.
        shrinkage: added to the divisor, in mean diagonals of G; it lowers pairs with few users in common.
        kept: the most weights of a column.
        user_exponent: a user with n likes weighs n^-user_exponent in G.
        seed: of the draws.

    Returns:
        (n_items, n_items) float32 with int32 indices; row i is what a like of item i adds; 0 diagonal.
    """
    likes = csr_array(likes, dtype=np.float32)
    gram = factor_gram(thin(likes, seed), None, user_exponent, 0.0)
    size = np.sqrt(gram.diagonal)
    near = prune(gram, min(kept, likes.shape[1]), size, shrinkage * gram.scale)
    index, values = near.index[:-1], near.values[:-1]
    own, other = size[:, None], np.append(size, np.float32(1))[index]
    return from_columns(index, values / (own * other + np.float32(max(shrinkage * gram.scale, TINY))))


def invert(left: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverts a symmetric positive definite matrix, (n, n) float32, in place.

    Raises:
        KgrecError: it is not positive definite.
    """
    factor, failed = lapack.spotrf(left.T, lower=True, overwrite_a=True, clean=False)  # .T gives Fortran order
    inverse, failed = lapack.spotri(factor, lower=True, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise KgrecError("an item-item matrix is not positive definite; raise its regularisation")
    whole: NDArray[np.float32] = inverse.T  # C order; only the upper triangle is set
    for rows in _blocks(len(whole)):
        below = whole[rows.start :, rows]
        below[np.tril_indices(rows.stop - rows.start, -1)] = whole[rows, rows].T[
            np.tril_indices(rows.stop - rows.start, -1)
        ]
        whole[rows.stop :, rows] = whole[rows, rows.stop :].T
    return whole


def _fit_exact(
    likes: csr_array,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: Sequence[NeighbourSettings],
    *,
    kept: int,
    rank: int,
    seed: int,
) -> list[NeighbourMatrix]:
    gram = factor_gram(likes, None, settings[0].user_exponent, 0.0)
    dense = np.empty((likes.shape[1],) * 2, np.float32)
    for rows in _blocks(len(dense)):
        dense[rows] = (gram.left[rows] @ gram.right).toarray()
    own, scale = gram.of_likes, gram.scale
    return [_solve_exact(dense, own, scale, links, text, one, kept=kept, rank=rank, seed=seed) for one in settings]


def fit_gram(
    dense: NDArray[np.float32],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: NeighbourSettings,
    *,
    kept: int,
    rank: int,
    seed: int,
) -> NeighbourMatrix:
    """Fits an item-item ridge to a Gram matrix of likes instead of likes, by inversion; see `fit_many`.

    Args:
        dense: (n, n) float32, symmetric and positive semidefinite: stands for X' diag(w_u) X of some items. So the
            setting `user_exponent` is not read.
        rows: (n,) int64, ascending: the rows of these items; the others get empty rows and columns.
        counts: (n_items,) int64: the likes of each item, at least 1 for `rows`.
        links: of all items, as in `fit_many`.
        text: likewise.
        settings: of the ridge.
        kept: the most sparse weights of a column.
        rank: of the factors.
        seed: of the randomised eigenvectors.

    Raises:
        KgrecError: the Gram matrix with the ridge is not positive definite.
    """
    own = np.diag(dense).copy()
    scale = max(float(own.mean(dtype=np.float64)), TINY)
    links = None if links is None else csr_array(links[rows], dtype=np.float32)
    text = None if text is None else text[rows]
    matrix = _solve_exact(dense, own, scale, links, text, settings, kept=kept, rank=rank, seed=seed)
    return _spread(_temper(matrix, counts[rows], settings.popularity_exponent), rows, len(counts))


def _solve_exact(
    dense: NDArray[np.float32],
    own: NDArray[np.float32],
    scale: float,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: NeighbourSettings,
    *,
    kept: int,
    rank: int,
    seed: int,
) -> NeighbourMatrix:
    """Solves the ridge of a Gram matrix, given its diagonal `own` and the mean `scale` of that."""
    system = dense.copy()
    if links is not None and settings.link_weight:
        _add_links(system, links, settings.link_weight * scale)
    if text is not None and settings.text_weight:
        _add_texts(system, text, settings.text_weight * scale)
    system[np.diag_indices_from(system)] += _ridge(settings, own, scale)
    columns = invert(system)  # symmetric: row j becomes column j of B
    columns /= -np.diag(columns)[:, None].copy()
    np.fill_diagonal(columns, 0)
    return _cut(columns, dense, kept, rank, seed)


def _cut(columns: NDArray[np.float32], gram: NDArray[np.float32], kept: int, rank: int, seed: int) -> NeighbourMatrix:
    """Keeps the largest weights of each column and factorises the others.

    Args:
        columns: (n_items, n_items) float32, row j is column j of the matrix; the largest weights become 0.
        gram: (n_items, n_items) float32 of the likes.
        kept: the number of weights to keep in a column.
        rank: of the factors.
        seed: of the randomised eigenvectors.
    """
    n_items = len(columns)
    kept, rank = min(kept, n_items), min(rank, n_items)
    index, values = np.empty((n_items, kept), np.int64), np.empty((n_items, kept), np.float32)
    for rows in _blocks(n_items):
        index[rows] = np.argpartition(-np.abs(columns[rows]), kept - 1, axis=1)[:, :kept]
        values[rows] = np.take_along_axis(columns[rows], index[rows], axis=1)
    sparse = from_columns(index.astype(np.int32), values)
    np.put_along_axis(columns, index, 0, axis=1)
    if rank == 0:
        none = np.zeros((n_items, 0), np.float32)
        return NeighbourMatrix(sparse, none, none)
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((n_items, min(rank + OVERSAMPLES, n_items)), np.float32)
    for _ in range(POWER_STEPS):
        basis, _ = np.linalg.qr(columns @ (gram @ (columns.T @ basis)))
    onto = columns.T @ basis
    _, turned = np.linalg.eigh(onto.T @ (gram @ onto))  # ascending
    turned = turned[:, ::-1][:, :rank]
    return NeighbourMatrix(sparse, onto @ turned, basis @ turned)


def _empty(n_items: int) -> csr_array:
    return csr_array((n_items, n_items), dtype=np.float32)


def _temper(matrix: NeighbourMatrix, counts: NDArray[np.int64], exponent: float) -> NeighbourMatrix:
    """Divides column j by (counts_j / mean)^exponent."""
    factors = (counts / counts.mean()).astype(np.float32) ** np.float32(-exponent)
    sparse = matrix.sparse
    scaled = csr_array((sparse.data * factors[sparse.indices], sparse.indices, sparse.indptr), shape=sparse.shape)
    return NeighbourMatrix(scaled, matrix.left, matrix.right * factors[:, None])


def _spread(matrix: NeighbourMatrix, liked: NDArray[np.int64], n_items: int) -> NeighbourMatrix:
    """Spreads a matrix of the liked items over all items."""
    if len(liked) == n_items:
        return matrix
    sizes = np.zeros(n_items, np.int32)
    sizes[liked] = np.diff(matrix.sparse.indptr)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    columns = liked[matrix.sparse.indices].astype(np.int32)
    left, right = (np.zeros((n_items, matrix.left.shape[1]), np.float32) for _ in range(2))
    left[liked], right[liked] = matrix.left, matrix.right
    return NeighbourMatrix(csr_array((matrix.sparse.data, columns, starts), shape=(n_items, n_items)), left, right)


def _ridge(settings: NeighbourSettings, own: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    dropped = settings.dropout / (1 - settings.dropout) * own
    return (settings.regularisation * scale + dropped).astype(np.float32)


def _gram_key(settings: NeighbourSettings) -> tuple[float, float, float]:
    return settings.user_exponent, settings.link_weight, settings.text_weight


def _add_links(left: NDArray[np.float32], links: csr_array, weight: float) -> None:
    """Adds W W', scaled to a mean diagonal of `weight`, in place."""
    size = max(float(links.multiply(links).sum()) / links.shape[0], TINY)
    scaled, across = links * np.float32(weight / size), links.T.tocsc()
    for rows in _blocks(len(left)):
        left[rows] += (scaled[rows] @ across).toarray()


def _add_texts(left: NDArray[np.float32], text: NDArray[np.float32], weight: float) -> None:
    """Adds exp(8 (cosine - 1)) of items with texts, scaled to a mean diagonal of `weight`, in place."""
    has_text = np.abs(text).sum(axis=1) > 0
    factor = np.float32(weight / max(float(has_text.mean()), TINY))
    for rows in _blocks(len(left)):
        kernel = np.exp(np.float32(TEXT_SHARPNESS) * (text[rows] @ text.T - 1))
        left[rows] += factor * kernel * np.outer(has_text[rows], has_text)


def _blocks(n_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK_ITEMS, n_rows)) for start in range(0, n_rows, _BLOCK_ITEMS))
