"""Simple recommenders to compare with: popularity, item kNN, EASE, iALS, a blend, text cosine."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor

from kgrec.errors import RequestError
from kgrec.metrics import top_k
from kgrec.model import ials
from kgrec.model.neighbours import NeighbourSettings, fit_neighbours, invert

EASE_EXACT_ITEMS = 6000  # with likes; above, each item's ridge is solved on its nearest items only
EASE_NEAREST = 100
LEAST_WEIGHT = 1e-6  # of popularity: practically 0, but it breaks ties
_BLOCK_ITEMS = 512
_TINY = 1e-12


@dataclass(frozen=True)
class Popularity:
    """Ranks by the number of likes, the same for everybody.

    Attributes:
        popularity: (n_items,) float32, likes of each item in training.
    """

    popularity: NDArray[np.float32]
    name: str = "popularity"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The popularity of every item, the same for each user: (n_users, n_items)."""
        return np.broadcast_to(self.popularity, support.shape)


@dataclass(frozen=True)
class ItemKNN:
    """Scores items by their similarity to the support; similar items are liked by the same users.

    Attributes:
        similarity: (n_items, n_items) float32; column i holds the similarities of item i's nearest neighbours.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: the weight of log_popularity in the score.
    """

    similarity: csr_array
    log_popularity: NDArray[np.float32]
    popularity_weight: float = LEAST_WEIGHT
    name: str = "item kNN"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The summed similarity to the support: (n_users, n_items)."""
        scores: NDArray[np.float32] = (support @ self.similarity).toarray()
        scores += np.float32(self.popularity_weight) * self.log_popularity
        return scores


@dataclass(frozen=True)
class Ease:
    """Item-item weights by ridge regression in closed form (Steck, Embarrassingly Shallow Autoencoders, 2019).

    Attributes:
        items: (n_liked,) int64, the rows of the items with likes.
        weights: (n_liked, n_liked) float32 with zero diagonal, dense or sparse; the score adds up the rows of the items
            in the support.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: the weight of log_popularity in the score.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float32] | csr_array
    log_popularity: NDArray[np.float32]
    popularity_weight: float = LEAST_WEIGHT
    name: str = "EASE"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The summed weights of the support: (n_users, n_items)."""
        summed = support[:, self.items] @ self.weights
        scores = np.zeros(support.shape, np.float32)
        scores[:, self.items] = summed if isinstance(summed, np.ndarray) else summed.toarray()
        scores += np.float32(self.popularity_weight) * self.log_popularity
        return scores


@dataclass(frozen=True)
class Ials:
    """Implicit ALS; one exact solve folds a user in.

    Attributes:
        vectors: (n_items, dim) float32.
        alpha, regularisation: as in `kgrec.model.ials.fit_ials`.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: the weight of log_popularity in the score.
    """

    vectors: Tensor
    alpha: float
    regularisation: float
    log_popularity: NDArray[np.float32]
    popularity_weight: float = LEAST_WEIGHT
    name: str = "iALS"

    @torch.inference_mode()
    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The product of the vector solved from the support and each item's: (n_users, n_items)."""
        ridge = ials.ials_ridge(support, self.alpha, self.regularisation)
        users = ials.solve_supports(support, self.vectors, ridge, self.alpha)  # (n_users, dim)
        scores: NDArray[np.float32] = (users @ self.vectors.T).numpy()
        scores += np.float32(self.popularity_weight) * self.log_popularity
        return scores


@dataclass(frozen=True)
class Blend:
    """The sum of EASE and iALS, each standardised over the items of each user.

    Attributes:
        ease: EASE.
        factors: iALS.
        weight: the weight of iALS; that of EASE is 1.
    """

    ease: Ease
    factors: Ials
    weight: float = 1.0
    name: str = "blend"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The weighted sum of both parts' standard scores: (n_users, n_items)."""
        scores = _standardise(self.ease.score(support))
        scores += np.float32(self.weight) * _standardise(self.factors.score(support))
        return scores


@dataclass(frozen=True)
class TextCosine:
    """Scores items by the similarity of their text to the mean text of the support.

    Attributes:
        vectors: (n_items, dim) float32, each of length 1 (or 0 without text).
    """

    vectors: NDArray[np.float32]
    name: str = "text cosine"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The cosine of the support's mean vector and each item's; all 0 for an empty support: (n_users, n_items)."""
        profiles = _to_unit_rows(support @ self.vectors)  # (n_users, dim)
        scores: NDArray[np.float32] = profiles @ self.vectors.T
        return scores


def fit_popularity(likes: csr_array) -> Popularity:
    """Counts the likes of each item.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
    """
    return Popularity(count_likes(likes))


def fit_item_knn(likes: csr_array, *, neighbours: int = 50, shrinkage: float = 0.0) -> ItemKNN:
    """Finds each item's nearest neighbours by cosine, shrunk where few people liked both.

    s_ij = c_ij / (sqrt(n_i n_j) + shrinkage), with c_ij the users who like both and n_i those who like i. An item is
    scored by those of its own neighbours that are in the support (Sarwar et al., Item-based Collaborative Filtering,
    2001).

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        neighbours: the number of neighbours that each item keeps.
        shrinkage: lowers similarities that rest on few users.
    """
    n_items = likes.shape[1]
    norms = np.sqrt(count_likes(likes))
    by_user, by_item = likes.tocsr(), likes.T.tocsr()
    blocks = []
    for start in range(0, n_items, _BLOCK_ITEMS):
        rows = np.arange(start, min(start + _BLOCK_ITEMS, n_items))
        common = (by_item[rows] @ by_user).toarray()  # (block, n_items)
        similarity = common / np.maximum(norms[rows, None] * norms + np.float32(shrinkage), 1e-12)
        similarity[np.arange(rows.size), rows] = 0.0
        similarity[similarity <= 0.0] = -np.inf
        nearest = top_k(similarity, neighbours)  # (block, neighbours)
        places, columns = np.nonzero(nearest >= 0)
        found = nearest[places, columns]
        blocks.append(csr_array((similarity[places, found], (places, found)), shape=similarity.shape))
    neighbours_of = vstack(blocks, format="csr", dtype=np.float32)  # row i: the neighbours of item i
    return ItemKNN(csr_array(neighbours_of.T.tocsr()), np.log1p(count_likes(likes)))


def fit_ease(
    likes: csr_array, *, regularisation: float = 500.0, dropout: float = 0.0, exact_items: int = EASE_EXACT_ITEMS
) -> Ease:
    """Solves EASE in closed form: P = (G + lambda I + p / (1 - p) diag G)^-1 with G = X'X, B = I - P diag(1 / diag P).

    With the dropout p it is a denoising autoencoder (Steck, Autoencoders that don't overfit towards the identity,
    2020). With more than `exact_items` items with likes, column j of B is the ridge of item j on its 100 nearest items
    alone, at linear cost.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        regularisation: lambda.
        dropout: p, from 0 to below 1.
        exact_items: the most items for which the whole matrix is inverted; time grows with their cube.

    Raises:
        RequestError: lambda is not positive, or the dropout is not in [0, 1).
        KgrecError: the matrix is not positive definite.
    """
    if not (regularisation > 0 and 0 <= dropout < 1):
        raise RequestError(
            f"EASE: expected a regularisation above 0 and a dropout from 0 to below 1, got {regularisation}, {dropout}"
        )
    counts = count_likes(likes)
    items = np.flatnonzero(counts)
    liked = csr_array(likes[:, items])
    if len(items) > exact_items:
        scale = float(counts[items].mean())
        settings = NeighbourSettings(regularisation / scale, dropout, link_weight=0.0, user_exponent=0.0)
        found = fit_neighbours(
            liked, None, None, settings, exact_items=0, nearest=EASE_NEAREST, kept=EASE_NEAREST, rank=0, seed=0
        )
        return Ease(items, found.sparse, np.log1p(counts))
    gram = (liked.T @ liked).toarray().astype(np.float32)
    gram[np.diag_indices(len(items))] += (
        np.float32(regularisation) + np.float32(dropout / (1 - dropout)) * counts[items]
    )
    if not len(items):
        return Ease(items, gram, np.log1p(counts))
    precision = invert(gram)
    weights = -precision / np.diagonal(precision)
    weights[np.diag_indices(len(items))] = 0.0
    return Ease(items, weights, np.log1p(counts))


def fit_ials(
    likes: csr_array,
    *,
    alpha: float = 0.1,
    regularisation: float = 0.003,
    dim: int = 64,
    epochs: int = 8,
    seed: int = 0,
) -> Ials:
    """Fits implicit ALS; see `kgrec.model.ials.fit_ials`.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        alpha: weight of all pairs against the liked ones.
        regularisation: factor of (n + alpha N).
        dim: width of the vectors.
        epochs: the number of alternations between users and items.
        seed: the seed of the starting vectors.
    """
    vectors, _ = ials.fit_ials(
        likes, dim=dim, alpha=alpha, regularisation=regularisation, epochs=epochs, seed=seed
    )  # fmt: skip
    return Ials(vectors, alpha, regularisation, np.log1p(count_likes(likes)))


def fit_blend(
    likes: csr_array,
    *,
    regularisation: float = 2000.0,
    dropout: float = 0.9,
    alpha: float = 0.1,
    ials_regularisation: float = 0.003,
    dim: int = 64,
    epochs: int = 8,
) -> Blend:
    """Fits EASE, with strong regularisation, and iALS.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        regularisation: lambda of EASE.
        dropout: the dropout of EASE.
        alpha: weight of all pairs against the liked ones, of iALS.
        ials_regularisation: regularisation of iALS.
        dim: width of iALS's vectors.
        epochs: the epochs of iALS.
    """
    ease = fit_ease(likes, regularisation=regularisation, dropout=dropout)
    return Blend(ease, fit_ials(likes, alpha=alpha, regularisation=ials_regularisation, dim=dim, epochs=epochs))


def fit_text_cosine(vectors: NDArray[np.float32]) -> TextCosine:
    """Scales the text vectors of items to length 1.

    Args:
        vectors: (n_items, dim) text vectors.
    """
    return TextCosine(_to_unit_rows(vectors))


def _standardise(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores, (n_users, n_items), minus their mean and divided by their deviation, per user, in place."""
    scores -= scores.mean(axis=1, keepdims=True)
    scores /= np.maximum(scores.std(axis=1, keepdims=True), np.float32(_TINY))
    return scores


def count_likes(likes: csr_array) -> NDArray[np.float32]:
    """The likes of each item: (n_items,) float32, for likes (n_users, n_items)."""
    return np.bincount(likes.indices, minlength=likes.shape[1]).astype(np.float32)


def _to_unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
