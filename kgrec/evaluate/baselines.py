"""Simple recommenders to stand beside ours, tuned on validation: popularity, kNN, EASE, iALS, a blend, text cosine."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, vstack
from torch import Tensor

from kgrec.config import SplitConfig
from kgrec.errors import KgrecError, RequestError
from kgrec.metrics import top_k
from kgrec.model import ials
from kgrec.model.neighbours import NeighbourSettings, fit_neighbours
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.questions.splits import Likes, split_likes

EASE_EXACT_ITEMS = 6000  # with likes; above, each item's ridge is solved on its nearest items alone
EASE_NEAREST = 100
LEAST_WEIGHT = 1e-6  # of popularity: as good as 0, but it orders what a baseline knows nothing of
KNOWN_USERS, FEW_LIKES, NEW_USERS = "known users", "new users with up to 3 likes", "new users"  # choose settings apart
FEW = 3  # likes: so few want other settings, and there popularity alone is no rival: it shows everybody the same
PERSONAL = ("item kNN", "EASE", "iALS", "blend")  # the baselines that show each user something else
_COLD_USERS = re.compile(r"cold_users(?:_cold_items)?_k(\d+)")
_BLOCK_ITEMS = 512
_TUNING_USERS = 300  # of each validation slice, drawn
_TINY = 1e-12

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
        items: (n_liked,) int64, the rows of the items that are liked at all.
        weights: (n_liked, n_liked) float32 with zero diagonal, dense or sparse; row j is what the item j in the support
            adds.
        log_popularity: (n_items,) float32, log(1 + likes in training).
        popularity_weight: what log_popularity counts in the score.
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
class Blend:
    """EASE and iALS added up, each divided by its deviation over the items, user by user.

    Attributes:
        ease: the one part.
        factors: the other.
        weight: of iALS; that of EASE is 1.
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


def fit_ease(
    likes: csr_array, *, regularisation: float = 500.0, dropout: float = 0.0, exact_items: int = EASE_EXACT_ITEMS
) -> Ease:
    """Solves EASE in closed form: P = (G + lambda I + p / (1 - p) diag G)^-1 with G = X'X, B = I - P diag(1 / diag P).

    With the dropout p it is a denoising autoencoder (Steck, Autoencoders that don't overfit towards the identity,
    2020). With more than `exact_items` items that are liked at all, column j of B is the ridge of item j on its 100
    nearest items alone, at linear cost.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        regularisation: lambda.
        dropout: p, from 0 to below 1.
        exact_items: the most items that the whole matrix is inverted for; time grows with their cube.

    Raises:
        RequestError: lambda is not positive, or the dropout is not in [0, 1).
    """
    if not (regularisation > 0 and 0 <= dropout < 1):
        raise RequestError(
            f"EASE: expected a regularisation above 0 and a dropout from 0 to below 1, got {regularisation}, {dropout}"
        )
    counts = _popularity(likes)
    items = np.flatnonzero(counts)
    liked = csr_array(likes[:, items])
    if len(items) > exact_items:
        scale = float(counts[items].mean())
        settings = NeighbourSettings(regularisation / scale, dropout, link_weight=0.0, user_exponent=0.0)
        found = fit_neighbours(
            liked, None, None, settings, exact_items=0, nearest=EASE_NEAREST, kept=EASE_NEAREST, rank=0, seed=0
        )
        return Ease(items, found.sparse, np.log1p(counts))
    gram = np.asfortranarray((liked.T @ liked).toarray(), dtype=np.float32)
    gram[np.diag_indices(len(items))] += (
        np.float32(regularisation) + np.float32(dropout / (1 - dropout)) * counts[items]
    )
    if not len(items):
        return Ease(items, gram, np.log1p(counts))
    factor, failed = lapack.spotrf(gram, lower=False, overwrite_a=True)
    inverse, failed = lapack.spotri(factor, lower=False, overwrite_c=True) if not failed else (factor, failed)
    if failed:
        raise KgrecError(f"EASE: the matrix is not positive definite with lambda {regularisation}; raise it")
    upper = np.triu(inverse)
    precision = upper + np.triu(upper, 1).T
    weights = -precision / np.diagonal(precision)
    weights[np.diag_indices(len(items))] = 0.0
    return Ease(items, np.ascontiguousarray(weights), np.log1p(counts))


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
    """Fits EASE with much regularisation, and iALS, to be added up.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        regularisation: lambda of EASE.
        dropout: of EASE.
        alpha: weight of all pairs against the liked ones, of iALS.
        ials_regularisation: regularisation of iALS.
        dim: width of iALS's vectors.
        epochs: of iALS.
    """
    ease = fit_ease(likes, regularisation=regularisation, dropout=dropout)
    return Blend(ease, fit_ials(likes, alpha=alpha, regularisation=ials_regularisation, dim=dim, epochs=epochs))


def fit_text_cosine(vectors: NDArray[np.float32]) -> TextCosine:
    """Takes the items' text vectors to length 1.

    Args:
        vectors: (n_items, dim) text vectors.
    """
    return TextCosine(_to_unit_rows(vectors))


FoldIn = ItemKNN | Ease | Ials | Blend  # what scores a support and is tuned


@dataclass(frozen=True)
class Grid:
    """The settings of a baseline to choose from.

    Attributes:
        fit: fits the baseline to likes by settings, given by name.
        settings: what to try; each is a fit.
        weights: attribute of what was fitted -> what to try of each fit, in every combination.
        draft: settings that are not chosen but differ, for the sake of time, while choosing.
    """

    fit: Callable[..., FoldIn]
    settings: Sequence[Settings]
    weights: Mapping[str, Sequence[float]]
    draft: Settings = field(default_factory=dict)

    def fit_all(self, likes: csr_array) -> Iterator[tuple[Settings, FoldIn]]:
        """Every candidate, for `tune`: its settings, and what they make of likes (n_users, n_items)."""
        for settings in self.settings:
            fitted = self.fit(likes, **settings, **self.draft)
            for weights in combine(self.weights):
                yield {**settings, **weights}, _reweigh(fitted, weights)

    def refit(self, likes: csr_array, chosen: Settings) -> FoldIn:
        """Fits to likes (n_users, n_items) by what was chosen."""
        fitted = self.fit(likes, **{name: value for name, value in chosen.items() if name not in self.weights})
        return self.reweigh(fitted, chosen)

    def reweigh(self, fitted: FoldIn, chosen: Settings) -> FoldIn:
        """Gives what was fitted the chosen weights."""
        return _reweigh(fitted, {name: chosen[name] for name in self.weights})


def combine(values: Mapping[str, Sequence[float]]) -> list[Settings]:
    """Every combination of the values of several settings."""
    return [dict(zip(values, combined, strict=True)) for combined in product(*values.values())]


def _reweigh(fitted: FoldIn, weights: Settings) -> FoldIn:
    changes: dict[str, Any] = dict(weights)
    return replace(fitted, **changes)


def build_grids(dim: int = 64) -> dict[str, Grid]:
    """What is tried of each baseline, by its name; `dim` is the width of iALS's vectors."""
    return {
        ItemKNN.name: Grid(
            fit_item_knn,
            combine({"neighbours": (10, 100), "shrinkage": (0.0, 20.0)}),
            {"popularity_weight": (LEAST_WEIGHT, 0.03)},
        ),
        Ease.name: Grid(
            fit_ease, combine({"regularisation": (100.0, 300.0, 1000.0)}), {"popularity_weight": (LEAST_WEIGHT, 0.01)}
        ),
        Ials.name: Grid(
            partial(fit_ials, dim=dim),
            combine({"alpha": (0.1, 0.3), "regularisation": (0.003, 0.01, 0.03)}),
            {"popularity_weight": (LEAST_WEIGHT,)},
            draft={"epochs": 5},
        ),
        Blend.name: Grid(
            partial(fit_blend, dim=dim),
            [
                {"regularisation": 200.0, "dropout": 0.5, "ials_regularisation": 0.01},
                {"regularisation": 2000.0, "dropout": 0.9, "ials_regularisation": 0.003},
            ],
            {"weight": (0.5, 1.0, 2.0)},
            draft={"epochs": 5},
        ),
    }


@dataclass(frozen=True)
class Tuned:
    """What validation chose.

    Attributes:
        settings: the settings of the best candidate.
        objective: its objective (`SliceResult.objective`), averaged over the validation slices.
        tried: every candidate's settings with its objective, in the order tried.
    """

    settings: Settings
    objective: float
    tried: tuple[tuple[Settings, float], ...]

    def __str__(self) -> str:
        """The choice for people: "regularisation 300, popularity weight 0.01 (best of 9 on validation: 0.213)"."""
        chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.settings.items())
        return f"{chosen} (best of {len(self.tried)} on validation: {self.objective:.3f})"


def tune(
    candidates: Iterable[tuple[Settings, Scorer]],
    families: Mapping[str, Sequence[Slice]],
    popularity: NDArray[np.int64],
    k: int = 20,
) -> dict[str, Tuned]:
    """Chooses for each family of slices the candidate with the best objective on validation; among equals the first.

    The objective is ours: the geometric mean of Recall@k, NDCG@k and stratified Recall@k. For new users with up to 3
    likes nothing is added for popularity: with it, what is to be personal shows everybody much the same.

    Args:
        candidates: settings with what was fitted by them; taken one at a time, so that one is in memory.
        families: family -> the slices to choose on, never test.
        popularity: (n_items,) int64, likes of each item in what the candidates were fitted to.
        k: list length.

    Raises:
        RequestError: there is no candidate, or a family has no user with a relevant item.
    """
    tried: dict[str, list[tuple[Settings, float]]] = {family: [] for family in families}
    for settings, scorer in candidates:
        for family, slices in families.items():
            if family == FEW_LIKES and settings.get("popularity_weight", LEAST_WEIGHT) > LEAST_WEIGHT:
                continue  # it would be popularity in disguise
            results = [evaluate_slice(scorer, slice_, k, popularity=popularity) for slice_ in slices]
            means = [result.objective for result in results if result.users.size]
            if not means:
                raise RequestError(f"no validation slice of {family} has relevant items: nothing to choose by")
            tried[family].append((settings, sum(means) / len(means)))
    if not all(tried.values()):
        raise RequestError("expected at least one candidate to choose from, got none")
    return {family: Tuned(*max(found, key=lambda one: one[1]), tuple(found)) for family, found in tried.items()}


def count_support(slice_name: str) -> int | None:
    """How many likes a slice shows of each new user; None where it asks known users."""
    found = _COLD_USERS.fullmatch(slice_name)
    return None if found is None else int(found[1])


def family_of(slice_name: str) -> str:
    """The family that a slice's settings are chosen for: a support of a few likes wants others than one of many."""
    size = count_support(slice_name)
    return KNOWN_USERS if size is None else FEW_LIKES if size <= FEW else NEW_USERS


def is_rival(slice_name: str, baseline: str) -> bool:
    """Whether ours must not be below a baseline on a slice: of new users with up to 3 likes only the personal ones.

    With so few likes popularity itself wins NDCG, and shows everybody the same.
    """
    size = count_support(slice_name)
    return baseline in PERSONAL or size is None or not 0 < size <= FEW


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
    grids: Mapping[str, Grid] | None = None,
) -> Baselines:
    """Chooses the settings of every baseline on validation, then fits it to all training likes.

    Args:
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        held_in: the same without the likes that validation asks for: what is fitted to while choosing.
        validation: the slices to choose on; a family without any takes the choice of another.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        k: list length of the objective to choose by.
        grids: scorer name -> what to choose from; None: those of `build_grids`.
    """
    families = {
        family: [s for s in validation if family_of(s.name) == family] for family in (KNOWN_USERS, FEW_LIKES, NEW_USERS)
    }
    asked = {family: slices for family, slices in families.items() if any(s.relevant.nnz for s in slices)}
    popularity = _popularity(held_in).astype(np.int64)
    grids = build_grids() if grids is None else grids
    settings: dict[str, dict[str, Settings | None]] = {family: {} for family in families}
    chosen: dict[str, str] = {}
    for name, grid in grids.items():
        if not asked:
            chosen[name] = "defaults: too few likes to hold any out for validation"
        tuned = tune(grid.fit_all(held_in), asked, popularity, k) if asked else {}
        for family in families:
            nearest = (family, *((FEW_LIKES, NEW_USERS) if family != KNOWN_USERS else ()), *tuned)
            settings[family][name] = next((tuned[one].settings for one in nearest if one in tuned), None)
        if tuned:
            chosen[name] = "; ".join(f"{family}: {found}" for family, found in tuned.items())
    text_cosine = () if text_vectors is None else (fit_text_cosine(text_vectors),)
    skipped = {TextCosine.name: "the items have no text vectors"} if text_vectors is None else {}

    def fit(likes: csr_array, families: Iterable[str]) -> dict[str, tuple[Scorer, ...]]:
        fitted: dict[tuple[str, tuple[float, ...]], FoldIn] = {}  # families with one choice share what is fitted
        found: dict[str, tuple[Scorer, ...]] = {}
        for family in families:
            scorers: list[Scorer] = [fit_popularity(likes)]
            for name, one in settings[family].items():
                grid = grids[name]
                key = name, tuple(value for setting, value in (one or {}).items() if setting not in grid.weights)
                if key not in fitted:
                    fitted[key] = grid.fit(likes) if one is None else grid.refit(likes, one)
                scorers.append(fitted[key] if one is None else grid.reweigh(fitted[key], one))
            found[family] = (*scorers, *text_cosine)
        return found

    return Baselines(fit(likes, families), chosen, skipped, lambda likes: fit(likes, [KNOWN_USERS])[KNOWN_USERS])


def tune_baselines(
    likes: Likes,
    split: SplitConfig,
    seed: int,
    *,
    text_vectors: NDArray[np.float32] | None = None,
    grids: Mapping[str, Grid] | None = None,
) -> Baselines:
    """Fits the baselines to training likes, their settings chosen on likes held out of these.

    Args:
        likes: the training likes.
        split: how likes are held out for validation.
        seed: of that split.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        grids: scorer name -> what to choose from; None: those of `build_grids`.
    """
    rng = np.random.default_rng([seed, 1])
    validation = split_likes(likes, split, rng)
    asked = {"warm", *(f"cold_users_k{size}" for size in split.support_sizes if size)}  # without likes all are alike
    slices = [_draw_users(slice_, rng) for name, slice_ in validation.slices.items() if name in asked]
    return fit_baselines(
        likes.to_matrix(), validation.train.to_matrix(), slices, text_vectors=text_vectors, grids=grids
    )  # fmt: skip


def _draw_users(slice_: Slice, rng: np.random.Generator) -> Slice:
    """The slice asked of some of its users, where they are many."""
    users = np.flatnonzero(np.diff(slice_.relevant.indptr))
    if len(users) <= _TUNING_USERS:
        return slice_
    drawn = np.zeros(slice_.relevant.shape[0], np.bool_)
    drawn[rng.choice(users, _TUNING_USERS, replace=False)] = True
    pairs = slice_.relevant.tocoo()
    kept = drawn[pairs.row]
    relevant = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)
    return replace(slice_, relevant=relevant)


def _standardise(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores, (n_users, n_items), less their mean and divided by their deviation, user by user, in place."""
    scores -= scores.mean(axis=1, keepdims=True)
    scores /= np.maximum(scores.std(axis=1, keepdims=True), np.float32(_TINY))
    return scores


def _popularity(likes: csr_array) -> NDArray[np.float32]:
    return np.bincount(likes.indices, minlength=likes.shape[1]).astype(np.float32)


def _to_unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
