"""Simple recommenders to stand beside ours, each tuned on validation: popularity, item kNN, EASE, text cosine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, vstack

from kgrec.errors import KgrecError, RequestError
from kgrec.metrics import top_k
from kgrec.slices import Scorer, Slice, evaluate_slice

EASE_ITEM_LIMIT = 10_000  # an items x items matrix is held three times over: 1.2 GB here
EASE_REGULARISATIONS = (100.0, 300.0, 500.0, 1000.0)
KNN_NEIGHBOURS = (50, 200)
KNN_SHRINKAGES = (0.0, 10.0)
POPULARITY_WEIGHTS = (0.001, 0.01, 0.03)  # never 0: popularity orders what a baseline knows nothing of
_BLOCK_ITEMS = 512

Settings = Mapping[str, float]


@dataclass(frozen=True)
class Popularity:
    """Everybody gets what most people like.

    Attributes:
        popularity: (n_items,) float32, likes of each item in training.
    """

    popularity: NDArray[np.float32]
    name: str = "popularity"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The popularity of every item, for each user alike: (n_users, n_items)."""
        return np.broadcast_to(self.popularity, support.shape)


@dataclass(frozen=True)
class ItemKNN:
    """Items like those in the support, by who liked both.

    Attributes:
        similarity: (n_items, n_items) float32; column i holds the similarities of item i's nearest neighbours.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: what log_popularity counts in the score.
    """

    similarity: csr_array
    log_popularity: NDArray[np.float32]
    popularity_weight: float = POPULARITY_WEIGHTS[0]
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
        weights: (n_items, n_items) float32 with zero diagonal; row j is what item j in the support adds.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: what log_popularity counts in the score.
    """

    weights: NDArray[np.float32]
    log_popularity: NDArray[np.float32]
    popularity_weight: float = POPULARITY_WEIGHTS[0]
    name: str = "EASE"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The summed weights of the support: (n_users, n_items)."""
        scores: NDArray[np.float32] = support @ self.weights
        scores += np.float32(self.popularity_weight) * self.log_popularity
        return scores


@dataclass(frozen=True)
class TextCosine:
    """Items whose text is like the mean text of the support.

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
    return Popularity(_popularity(likes))


def fit_item_knn(likes: csr_array, *, neighbours: int = 50, shrinkage: float = 0.0) -> ItemKNN:
    """Finds each item's nearest neighbours by cosine, shrunk where few people liked both.

    s_ij = c_ij / (sqrt(n_i n_j) + shrinkage), with c_ij the users who like both and n_i those who like i. An item is
    scored by those of its own neighbours that are in the support (Sarwar et al., Item-based Collaborative Filtering,
    2001).

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        neighbours: how many neighbours each item keeps.
        shrinkage: larger trusts a similarity less that few users attest.
    """
    n_items = likes.shape[1]
    norms = np.sqrt(_popularity(likes))
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
    return ItemKNN(csr_array(neighbours_of.T.tocsr()), np.log1p(_popularity(likes)))


def fit_ease(likes: csr_array, *, regularisation: float = 500.0, item_limit: int = EASE_ITEM_LIMIT) -> Ease:
    """Solves EASE in closed form: P = (X'X + lambda I)^-1, B = I - P diag(1 / diag P).

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        regularisation: lambda.
        item_limit: the most items it is tried for; time grows with their cube.

    Raises:
        RequestError: there are more items than the limit, or lambda is not positive.
    """
    n_items = likes.shape[1]
    if n_items > item_limit:
        raise RequestError(
            f"EASE inverts an items x items matrix: got {n_items} items, expected at most {item_limit}; "
            "raise the limit or leave it out"
        )
    if not regularisation > 0:
        raise RequestError(f"EASE: expected a regularisation above 0, got {regularisation}")
    gram = np.asfortranarray((likes.T @ likes).toarray(), dtype=np.float32)
    gram[np.diag_indices(n_items)] += np.float32(regularisation)
    factor, failed = lapack.spotrf(gram, lower=False, overwrite_a=True)
    inverse, failed = lapack.spotri(factor, lower=False, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise KgrecError(f"EASE: the matrix is not positive definite with lambda {regularisation}; raise it")
    upper = np.triu(inverse)
    precision = upper + np.triu(upper, 1).T
    weights = -precision / np.diagonal(precision)
    weights[np.diag_indices(n_items)] = 0.0
    return Ease(np.ascontiguousarray(weights), np.log1p(_popularity(likes)))


def fit_text_cosine(vectors: NDArray[np.float32]) -> TextCosine:
    """Takes the items' text vectors to length 1.

    Args:
        vectors: (n_items, dim) text vectors.
    """
    return TextCosine(_to_unit_rows(vectors))


@dataclass(frozen=True)
class Tuned:
    """What validation chose.

    Attributes:
        scorer: the best candidate, fitted.
        settings: its settings.
        ndcg: its mean NDCG@k over the users of the validation slices, averaged over the slices.
        tried: every candidate's settings with its NDCG, in the order tried.
    """

    scorer: Scorer
    settings: Settings
    ndcg: float
    tried: tuple[tuple[Settings, float], ...]

    def __str__(self) -> str:
        """The choice for people: "regularisation 300, popularity weight 0.01 (best of 9 by NDCG on validation)"."""
        chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.settings.items())
        return f"{chosen} (best of {len(self.tried)} by NDCG on validation: {self.ndcg:.3f})"


def tune(candidates: Iterable[tuple[Settings, Scorer]], validation: Sequence[Slice], k: int = 20) -> Tuned:
    """Chooses the candidate with the best NDCG@k on validation; among equals the first.

    Args:
        candidates: settings with what was fitted by them; taken one at a time, so only the best stays in memory.
        validation: the slices to choose on, never test.
        k: list length.

    Raises:
        RequestError: there is no candidate, or validation has no user with a relevant item.
    """
    best: tuple[float, Settings, Scorer] | None = None
    tried: list[tuple[Settings, float]] = []
    for settings, scorer in candidates:
        results = [evaluate_slice(scorer, slice_, k) for slice_ in validation]
        means = [float(result.per_user("ndcg").mean()) for result in results if result.users.size]
        if not means:
            raise RequestError("expected a validation slice with relevant items, got none: nothing to choose by")
        ndcg = sum(means) / len(means)
        tried.append((settings, ndcg))
        if best is None or ndcg > best[0]:
            best = (ndcg, settings, scorer)
    if best is None:
        raise RequestError("expected at least one candidate to choose from, got none")
    return Tuned(best[2], best[1], best[0], tuple(tried))


def item_knn_candidates(
    likes: csr_array, neighbours: Sequence[int] = KNN_NEIGHBOURS, shrinkages: Sequence[float] = KNN_SHRINKAGES
) -> Iterator[tuple[Settings, ItemKNN]]:
    """Item kNN with every combination of the settings, for `tune`."""
    for n_neighbours in neighbours:
        for shrinkage in shrinkages:
            fitted = fit_item_knn(likes, neighbours=n_neighbours, shrinkage=shrinkage)
            for weight in POPULARITY_WEIGHTS:
                settings = {"neighbours": n_neighbours, "shrinkage": shrinkage, "popularity_weight": weight}
                yield settings, replace(fitted, popularity_weight=weight)


def ease_candidates(
    likes: csr_array, regularisations: Sequence[float] = EASE_REGULARISATIONS, item_limit: int = EASE_ITEM_LIMIT
) -> Iterator[tuple[Settings, Ease]]:
    """EASE with every combination of the settings, for `tune`; raises RequestError above the item limit."""
    for regularisation in regularisations:
        fitted = fit_ease(likes, regularisation=regularisation, item_limit=item_limit)
        for weight in POPULARITY_WEIGHTS:
            settings = {"regularisation": regularisation, "popularity_weight": weight}
            yield settings, replace(fitted, popularity_weight=weight)


@dataclass(frozen=True)
class Baselines:
    """The baselines of one split.

    Attributes:
        scorers: those fitted, in table order.
        chosen: scorer name -> the settings that validation chose, for people.
        skipped: scorer name -> why it is left out.
    """

    scorers: tuple[Scorer, ...]
    chosen: Mapping[str, str]
    skipped: Mapping[str, str]


def fit_baselines(
    likes: csr_array,
    validation: Sequence[Slice],
    *,
    text_vectors: NDArray[np.float32] | None = None,
    k: int = 20,
    ease_item_limit: int = EASE_ITEM_LIMIT,
) -> Baselines:
    """Fits every baseline on training likes and chooses its settings on validation.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        validation: the slices to choose on.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        k: list length of the NDCG to choose by.
        ease_item_limit: above so many items EASE is skipped.
    """
    scorers: list[Scorer] = [fit_popularity(likes)]
    chosen: dict[str, str] = {}
    skipped: dict[str, str] = {}
    tunable: dict[str, Iterator[tuple[Settings, Scorer]]] = {
        ItemKNN.name: item_knn_candidates(likes),
        Ease.name: ease_candidates(likes, item_limit=ease_item_limit),
    }
    n_items = likes.shape[1]
    if n_items > ease_item_limit:
        del tunable[Ease.name]
        skipped[Ease.name] = f"it inverts an items x items matrix: {n_items} items, limit {ease_item_limit}"
    for name, candidates in tunable.items():
        tuned = tune(candidates, validation, k)
        scorers.append(tuned.scorer)
        chosen[name] = str(tuned)
    if text_vectors is None:
        skipped[TextCosine.name] = "the items have no text vectors"
    else:
        scorers.append(fit_text_cosine(text_vectors))
    return Baselines(tuple(scorers), chosen, skipped)


def _popularity(likes: csr_array) -> NDArray[np.float32]:
    return np.bincount(likes.indices, minlength=likes.shape[1]).astype(np.float32)


def _to_unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
