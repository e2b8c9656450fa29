"""Simple recommenders to stand beside ours, tuned on validation: popularity, item kNN, EASE, iALS, text cosine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, vstack
from torch import Tensor

from kgrec.errors import KgrecError, RequestError
from kgrec.metrics import top_k
from kgrec.model import ials
from kgrec.slices import Scorer, Slice, evaluate_slice

EASE_ITEM_LIMIT = 10_000  # an items x items matrix is held three times over: 1.2 GB here
LEAST_WEIGHT = 1e-6  # of popularity: as good as 0, but it orders what a baseline knows nothing of
KNOWN_USERS, NEW_USERS = "known users", "new users"  # the families of slices that settings are chosen for
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
        weights: (n_items, n_items) float32 with zero diagonal; row j is what item j in the support adds.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: what log_popularity counts in the score.
    """

    weights: NDArray[np.float32]
    log_popularity: NDArray[np.float32]
    popularity_weight: float = LEAST_WEIGHT
    name: str = "EASE"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The summed weights of the support: (n_users, n_items)."""
        scores: NDArray[np.float32] = support @ self.weights
        scores += np.float32(self.popularity_weight) * self.log_popularity
        return scores


@dataclass(frozen=True)
class Ials:
    """Implicit ALS; a user is folded in by one exact solve for their vector.

    Attributes:
        vectors: (n_items, dim) float32.
        alpha, regularisation: as in `kgrec.model.ials.fit_ials`.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: what log_popularity counts in the score.
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
        epochs: alternations between users and items.
        seed: of the starting vectors.
    """
    vectors, _ = ials.fit_ials(
        likes, dim=dim, alpha=alpha, regularisation=regularisation, epochs=epochs, seed=seed
    )  # fmt: skip
    return Ials(vectors, alpha, regularisation, np.log1p(_popularity(likes)))


def fit_text_cosine(vectors: NDArray[np.float32]) -> TextCosine:
    """Takes the items' text vectors to length 1.

    Args:
        vectors: (n_items, dim) text vectors.
    """
    return TextCosine(_to_unit_rows(vectors))


FoldIn = ItemKNN | Ease | Ials  # what scores a support and has a popularity weight


@dataclass(frozen=True)
class Grid:
    """The settings of a baseline to choose from: every combination, each with every popularity weight.

    Attributes:
        fit: fits the baseline to likes by settings, given by name.
        values: setting -> what to try.
        popularity_weights: weights to try.
        draft: settings that are not chosen but differ, for the sake of time, while choosing.
    """

    fit: Callable[..., FoldIn]
    values: Mapping[str, Sequence[float]]
    popularity_weights: Sequence[float]
    draft: Settings = field(default_factory=dict)

    def fit_all(self, likes: csr_array) -> Iterator[tuple[Settings, FoldIn]]:
        """Every candidate, for `tune`: its settings, and what they make of likes (n_users, n_items)."""
        for values in product(*self.values.values()):
            settings = dict(zip(self.values, values, strict=True))
            fitted = self.fit(likes, **settings, **self.draft)
            for weight in self.popularity_weights:
                yield {**settings, "popularity_weight": weight}, replace(fitted, popularity_weight=weight)

    def refit(self, likes: csr_array, settings: Settings) -> FoldIn:
        """Fits to likes (n_users, n_items) by what was chosen."""
        fitted = self.fit(likes, **{name: settings[name] for name in self.values})
        return replace(fitted, popularity_weight=settings["popularity_weight"])


def build_grids(dim: int = 64) -> dict[str, Grid]:
    """What is tried of each baseline, by its name; `dim` is the width of iALS's vectors."""
    return {
        ItemKNN.name: Grid(
            fit_item_knn,
            {"neighbours": (20, 50, 200, 500), "shrinkage": (0.0, 10.0, 100.0)},
            (LEAST_WEIGHT, 0.03, 0.1, 0.3),
        ),
        Ease.name: Grid(
            fit_ease, {"regularisation": (100.0, 300.0, 1000.0, 3000.0, 10_000.0)}, (LEAST_WEIGHT, 0.003, 0.01, 0.03)
        ),
        Ials.name: Grid(
            partial(fit_ials, dim=dim),
            {"alpha": (0.03, 0.1, 0.3), "regularisation": (0.003, 0.01, 0.03)},
            (LEAST_WEIGHT, 0.01, 0.03, 0.1),
            draft={"epochs": 5},
        ),
    }


@dataclass(frozen=True)
class Tuned:
    """What validation chose.

    Attributes:
        settings: the settings of the best candidate.
        ndcg: its mean NDCG@k over the users of the validation slices, averaged over the slices.
        tried: every candidate's settings with its NDCG, in the order tried.
    """

    settings: Settings
    ndcg: float
    tried: tuple[tuple[Settings, float], ...]

    def __str__(self) -> str:
        """The choice for people: "regularisation 300, popularity weight 0.01 (best of 9 by NDCG on validation)"."""
        chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.settings.items())
        return f"{chosen} (best of {len(self.tried)} by NDCG on validation: {self.ndcg:.3f})"


def tune(
    candidates: Iterable[tuple[Settings, Scorer]], families: Mapping[str, Sequence[Slice]], k: int = 20
) -> dict[str, Tuned]:
    """Chooses for each family of slices the candidate with the best NDCG@k on validation; among equals the first.

    Args:
        candidates: settings with what was fitted by them; taken one at a time, so that one is in memory.
        families: family -> the slices to choose on, never test.
        k: list length.

    Raises:
        RequestError: there is no candidate, or a family has no user with a relevant item.
    """
    tried: dict[str, list[tuple[Settings, float]]] = {family: [] for family in families}
    for settings, scorer in candidates:
        for family, slices in families.items():
            results = [evaluate_slice(scorer, slice_, k) for slice_ in slices]
            means = [float(result.per_user("ndcg").mean()) for result in results if result.users.size]
            if not means:
                raise RequestError(f"no validation slice of {family} has relevant items: nothing to choose by")
            tried[family].append((settings, sum(means) / len(means)))
    if not all(tried.values()):
        raise RequestError("expected at least one candidate to choose from, got none")
    return {family: Tuned(*max(found, key=lambda one: one[1]), tuple(found)) for family, found in tried.items()}


def family_of(slice_name: str) -> str:
    """The family that a slice's settings are chosen for: a support of a few likes wants others than one of many."""
    return NEW_USERS if slice_name.startswith("cold_users") else KNOWN_USERS


@dataclass(frozen=True)
class Baselines:
    """The baselines of one split.

    Attributes:
        by_family: family -> the scorers with the settings chosen for it, in table order.
        chosen: scorer name -> the settings that validation chose, for people.
        skipped: scorer name -> why it is left out.
        refit: fits the scorers for known users to other likes, (n_users, n_items), by the same settings.
    """

    by_family: Mapping[str, tuple[Scorer, ...]]
    chosen: Mapping[str, str]
    skipped: Mapping[str, str]
    refit: Callable[[csr_array], tuple[Scorer, ...]]

    def scorers(self, slice_name: str) -> tuple[Scorer, ...]:
        """The scorers for a slice."""
        return self.by_family[family_of(slice_name)]


def fit_baselines(
    likes: csr_array,
    held_in: csr_array,
    validation: Sequence[Slice],
    *,
    text_vectors: NDArray[np.float32] | None = None,
    k: int = 20,
    ease_item_limit: int = EASE_ITEM_LIMIT,
    grids: Mapping[str, Grid] | None = None,
) -> Baselines:
    """Chooses the settings of every baseline on validation, then fits it to all training likes.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        held_in: the same without the likes that validation asks for: what is fitted to while choosing.
        validation: the slices to choose on; a family without any takes the other's choice.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        k: list length of the NDCG to choose by.
        ease_item_limit: above so many items EASE is skipped.
        grids: scorer name -> what to choose from; None: those of `build_grids`.
    """
    families = {family: [s for s in validation if family_of(s.name) == family] for family in (KNOWN_USERS, NEW_USERS)}
    asked = {family: slices for family, slices in families.items() if any(s.relevant.nnz for s in slices)}
    fits: dict[str, dict[str, Callable[[csr_array], Scorer]]] = {family: {} for family in families}
    chosen: dict[str, str] = {}
    skipped: dict[str, str] = {}
    n_items = likes.shape[1]
    for name, grid in (build_grids() if grids is None else grids).items():
        if name == Ease.name and n_items > ease_item_limit:
            skipped[name] = f"it inverts an items x items matrix: {n_items} items, limit {ease_item_limit}"
            continue
        if not asked:
            chosen[name] = "defaults: too few likes to hold any out for validation"
            for family in families:
                fits[family][name] = grid.fit
            continue
        tuned = tune(grid.fit_all(held_in), asked, k)
        for family in families:
            found = tuned.get(family) or next(iter(tuned.values()))
            fits[family][name] = partial(grid.refit, settings=found.settings)
        chosen[name] = "; ".join(f"{family}: {found}" for family, found in tuned.items())
    text_cosine = () if text_vectors is None else (fit_text_cosine(text_vectors),)
    if text_vectors is None:
        skipped[TextCosine.name] = "the items have no text vectors"

    def fit(family: str, likes: csr_array) -> tuple[Scorer, ...]:
        return fit_popularity(likes), *(fit(likes) for fit in fits[family].values()), *text_cosine

    by_family = {family: fit(family, likes) for family in families}
    return Baselines(by_family, chosen, skipped, partial(fit, KNOWN_USERS))


def _popularity(likes: csr_array) -> NDArray[np.float32]:
    return np.bincount(likes.indices, minlength=likes.shape[1]).astype(np.float32)


def _to_unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
