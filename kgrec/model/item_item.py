"""Item-item ridge with texts and graph in its Gram matrix: closed form, additive over a user's likes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, diags_array, vstack
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from kgrec.errors import KgrecError

TEXT_SHARPNESS = 8.0  # of the texts' kernel exp(sharpness (cosine - 1))
_BLOCK_ITEMS = 1024
_OVERSAMPLES = 64


@dataclass(frozen=True)
class ItemItem:
    """What a like of one item adds to every item's score, for the items of the training: the first rows.

    Attributes:
        left: (n_first, n_first) float32, 0 on the diagonal; in the low-rank form (n_first, rank).
        right: None; in the low-rank form (n_first, rank): left @ right.T is the matrix, but for its diagonal, which
            counts for items alone that are liked already.
    """

    left: Tensor
    right: Tensor | None = None

    def __len__(self) -> int:
        """The number of items that it knows."""
        return len(self.left)

    def rows(self, index: Tensor) -> Tensor:
        """What likes of some items, (n,) int64, add: (n, n_first)."""
        return self.left[index] if self.right is None else self.left[index] @ self.right.T

    def score(self, support: csr_array) -> Tensor:
        """Scores for supports (n_users, n_items): (n_users, n_items) float32, 0 for the items it does not know."""
        n_first, n_items = len(self), support.shape[1]
        known = support if n_items == n_first else support[:, :n_first]
        index = torch.from_numpy(known.indices.astype(np.int64))
        offsets = torch.from_numpy(known.indptr[:-1].astype(np.int64))
        scores = torch.nn.functional.embedding_bag(index, self.left, offsets, mode="sum")
        if self.right is not None:
            scores = scores @ self.right.T
        return torch.nn.functional.pad(scores, (0, n_items - n_first))

    def select(self, kept: Tensor) -> "ItemItem":
        """That of some of its items, (n,) int64 rows."""
        if self.right is not None:
            return ItemItem(self.left[kept], self.right[kept])
        return ItemItem(self.left[kept][:, kept].contiguous())


@dataclass(frozen=True)
class ItemItemSettings:
    """How an item-item ridge is fitted.

    Attributes:
        regularisation: ridge, in mean diagonals of the likes' Gram matrix.
        dropout: share of likes dropped, in [0, 1).
        link_weight, text_weight: of the items' overlap in links and in texts, in mean diagonals likewise.
        user_exponent: a user with n likes weighs n^-user_exponent.
    """

    regularisation: float
    dropout: float
    link_weight: float = 0.0
    text_weight: float = 0.0
    user_exponent: float = 0.0


def fit_item_item(
    likes: csr_array,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: ItemItemSettings,
) -> ItemItem:
    """Solves B = I - P diag(1 / diag P), P = (G + a K + b T + ridge I + dropout/(1-dropout) diag G)^-1.

    G = X' diag(n_u^-user_exponent) X says which items are liked together, K = W W' which share links, and
    T = exp(8 (cosine - 1)) which have like texts, each of the last two scaled to a mean diagonal of 1. The dropout
    term is the closed form of a denoising autoencoder that sees a user's likes with a share of them dropped (Steck
    2019, 2020); a large share suits users with few likes. Time grows with n_items^3, memory with n_items^2.

    Args:
        likes: (n_users, n_items) of 1s.
        links: (n_items, n_codes) weights of length 1 per item; None: there are none.
        text: (n_items, dim) float32 unit vectors, zeros for an item without a text; None: there are none.
        settings: see there.
    """
    left, diagonal = _gram(likes, settings.user_exponent)
    scale = max(float(diagonal.mean()), 1e-12)
    if links is not None and settings.link_weight:
        _add_links(left, links, settings.link_weight * scale)
    if text is not None and settings.text_weight:
        _add_texts(left, text, settings.text_weight * scale)
    left[np.diag_indices_from(left)] += _ridge(settings, diagonal, scale)
    inverse = invert(left)
    weights = inverse
    weights /= -np.diag(inverse).copy()
    np.fill_diagonal(weights, 0)
    return ItemItem(torch.from_numpy(weights))


def fit_low_rank(
    likes: csr_array,
    links: csr_array | None,
    text: NDArray[np.float32] | None,
    settings: ItemItemSettings,
    *,
    rank: int,
    seed: int,
) -> ItemItem:
    """The ridge of `fit_item_item` on a Gram matrix of low rank, at a cost linear in likes and links.

    Likes, links and texts are stacked to S with S'S = G + a K + b T, T the cosine itself, and cut to S ~ U diag(s) V'
    (Halko et al. 2011). What the cut leaves out of the diagonal stays in the ridge, and P follows from Woodbury's
    identity.

    Args:
        likes: as in `fit_item_item`.
        links: likewise.
        text: likewise.
        settings: likewise.
        rank: of the factors.
        seed: of the randomised factorisation.
    """
    weighted, diagonal = _weigh_users(likes, settings.user_exponent / 2), _diagonal(likes, settings.user_exponent)
    scale = max(float(diagonal.mean()), 1e-12)
    parts = [weighted]
    for part, weight in (
        (links, settings.link_weight),
        (None if text is None else csr_array(text), settings.text_weight),
    ):
        if part is not None and weight:
            size = max(float(part.multiply(part).sum()) / part.shape[0], 1e-12)
            parts.append(csr_array(part.T * np.float32(np.sqrt(weight * scale / size))))
    stack = csr_array(vstack(parts, format="csr", dtype=np.float32))
    rank = max(min(rank, min(stack.shape) - 1), 1)
    _, size, axes = randomized_svd(stack, rank, n_oversamples=_OVERSAMPLES, n_iter=2, random_state=seed)
    size = np.maximum(size, 1e-6 * max(float(size.max(initial=0)), 1e-6))
    kept = ((axes.T * size) ** 2).sum(axis=1)  # (n_items,)
    whole = np.asarray(stack.multiply(stack).sum(axis=0)).ravel()
    own = (_ridge(settings, diagonal, scale) + np.maximum(whole - kept, 0)).astype(np.float64)
    left = axes.T / own[:, None]  # (n_items, rank)
    inner = np.linalg.inv(np.diag(size.astype(np.float64) ** -2) + axes @ left)
    onto = left @ inner
    precision = 1 / own - (onto * left).sum(axis=1)  # diag P
    return ItemItem(
        torch.from_numpy(onto.astype(np.float32)), torch.from_numpy((left / precision[:, None]).astype(np.float32))
    )


def invert(left: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of a symmetric positive definite matrix, (n, n) float32, in its place.

    Raises:
        KgrecError: it is not positive definite.
    """
    factor, failed = lapack.spotrf(left.T, lower=True, overwrite_a=True, clean=False)  # .T: Fortran's order
    inverse, failed = lapack.spotri(factor, lower=True, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise KgrecError("an item-item matrix is not positive definite; raise its regularisation")
    whole: NDArray[np.float32] = inverse.T  # C order, and what is set is above the diagonal
    for rows in _blocks(len(whole)):
        below = whole[rows.start :, rows]
        below[np.tril_indices(rows.stop - rows.start, -1)] = whole[rows, rows].T[
            np.tril_indices(rows.stop - rows.start, -1)
        ]
        whole[rows.stop :, rows] = whole[rows, rows.stop :].T
    return whole


def _gram(likes: csr_array, user_exponent: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """G, (n_items, n_items) float32, and its diagonal."""
    n_items = likes.shape[1]
    weighted, by_item = _weigh_users(likes, user_exponent), likes.T.tocsr()
    gram = np.empty((n_items, n_items), np.float32)
    for rows in _blocks(n_items):
        gram[rows] = (by_item[rows] @ weighted).toarray()
    return gram, _diagonal(likes, user_exponent)


def _weigh_users(likes: csr_array, exponent: float) -> csr_array:
    sizes = np.maximum(np.diff(likes.indptr), 1).astype(np.float32)
    return csr_array(diags_array(sizes**-exponent) @ likes)


def _diagonal(likes: csr_array, user_exponent: float) -> NDArray[np.float64]:
    weighted = _weigh_users(likes, user_exponent)
    return np.bincount(weighted.indices, weighted.data, likes.shape[1]).astype(np.float64)


def _ridge(settings: ItemItemSettings, diagonal: NDArray[np.float64], scale: float) -> NDArray[np.float32]:
    ridge = settings.regularisation * scale + settings.dropout / (1 - settings.dropout) * diagonal
    return ridge.astype(np.float32)


def _add_links(left: NDArray[np.float32], links: csr_array, weight: float) -> None:
    """Adds W W', scaled to a mean diagonal of `weight`, in blocks."""
    size = max(float(links.multiply(links).sum()) / links.shape[0], 1e-12)
    scaled, across = links * np.float32(weight / size), links.T.tocsc()
    for rows in _blocks(len(left)):
        left[rows] += (scaled[rows] @ across).toarray()


def _add_texts(left: NDArray[np.float32], text: NDArray[np.float32], weight: float) -> None:
    """Adds exp(8 (cosine - 1)) of the items that have texts, scaled to a mean diagonal of `weight`, in blocks."""
    has_text = np.abs(text).sum(axis=1) > 0
    factor = np.float32(weight / max(float(has_text.mean()), 1e-12))
    for rows in _blocks(len(left)):
        kernel = np.exp(np.float32(TEXT_SHARPNESS) * (text[rows] @ text.T - 1))
        left[rows] += factor * kernel * np.outer(has_text[rows], has_text)


def _blocks(n_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK_ITEMS, n_rows)) for start in range(0, n_rows, _BLOCK_ITEMS))
