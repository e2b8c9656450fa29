"""The settings of the baselines: the candidates, and the choice on validation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.evaluate.baseline_scorers import (
    LEAST_WEIGHT,
    Blend,
    Ease,
    Ials,
    ItemKNN,
    fit_blend,
    fit_ease,
    fit_ials,
    fit_item_knn,
)
from kgrec.questions.slices import Scorer, Slice, evaluate_slice

KNOWN_USERS, FEW_LIKES, NEW_USERS = "known users", "new users with up to 3 likes", "new users"  # families of slices
Settings = Mapping[str, float]

FoldIn = ItemKNN | Ease | Ials | Blend  # the baselines with settings


@dataclass(frozen=True)
class Grid:
    """The candidate settings of a baseline.

    Attributes:
        fit: fits the baseline to likes, with settings as keyword arguments.
        settings: the candidates; each needs a fit.
        weights: attribute of a fitted baseline -> its candidates, tried in every combination without another fit.
        draft: settings that differ while choosing, to save time.
    """

    fit: Callable[..., FoldIn]
    settings: Sequence[Settings]
    weights: Mapping[str, Sequence[float]]
    draft: Settings = field(default_factory=dict)

    def fit_all(self, likes: csr_array) -> Iterator[tuple[Settings, FoldIn]]:
        """Yields every candidate for `tune`: its settings, and the baseline fitted to likes (n_users, n_items)."""
        for settings in self.settings:
            fitted = self.fit(likes, **settings, **self.draft)
            for weights in combine(self.weights):
                yield {**settings, **weights}, _reweigh(fitted, weights)

    def refit(self, likes: csr_array, chosen: Settings) -> FoldIn:
        """Fits to likes (n_users, n_items) with the chosen settings."""
        fitted = self.fit(likes, **{name: value for name, value in chosen.items() if name not in self.weights})
        return self.reweigh(fitted, chosen)

    def reweigh(self, fitted: FoldIn, chosen: Settings) -> FoldIn:
        """The fitted baseline with the chosen weights."""
        return _reweigh(fitted, {name: chosen[name] for name in self.weights})


def combine(values: Mapping[str, Sequence[float]]) -> list[Settings]:
    """Every combination of the values of several settings."""
    return [dict(zip(values, combined, strict=True)) for combined in product(*values.values())]


def _reweigh(fitted: FoldIn, weights: Settings) -> FoldIn:
    changes: dict[str, Any] = dict(weights)
    return replace(fitted, **changes)


def build_grids(dim: int = 64) -> dict[str, Grid]:
    """The candidate settings of each baseline by name; `dim` is the width of the iALS vectors."""
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
    """The settings that validation chose.

    Attributes:
        settings: the settings of the best candidate.
        objective: its objective (`SliceResult.objective`), averaged over the validation slices.
        tried: every candidate's settings with its objective, in the order tried.
    """

    settings: Settings
    objective: float
    tried: tuple[tuple[Settings, float], ...]

    def __str__(self) -> str:
        """The choice in words: "regularisation 300, popularity weight 0.01 (best of 9 on validation: 0.213)"."""
        chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in self.settings.items())
        return f"{chosen} (best of {len(self.tried)} on validation: {self.objective:.3f})"


def tune(
    candidates: Iterable[tuple[Settings, Scorer]],
    families: Mapping[str, Sequence[Slice]],
    popularity: NDArray[np.int64],
    k: int = 20,
) -> dict[str, Tuned]:
    """Chooses, for each family of slices, the candidate with the best objective on validation; the first of equals.

    The objective is kgrec's own: the geometric mean of Recall@k, NDCG@k and stratified Recall@k. For new users with up
    to 3 likes the popularity weight stays minimal: with more of it, a personal baseline shows everybody the same items.

    Args:
        candidates: settings with the fitted baseline; consumed one at a time, to hold one in memory.
        families: family -> the slices to choose on, never those of the test.
        popularity: (n_items,) int64, each item's likes in the data that the candidates were fitted to.
        k: list length.

    Raises:
        RequestError: there is no candidate, or a family has no user with a relevant item.
    """
    tried: dict[str, list[tuple[Settings, float]]] = {family: [] for family in families}
    for settings, scorer in candidates:
        for family, slices in families.items():
            if family == FEW_LIKES and settings.get("popularity_weight", LEAST_WEIGHT) > LEAST_WEIGHT:
                continue  # popularity in disguise
            results = [evaluate_slice(scorer, slice_, k, popularity=popularity) for slice_ in slices]
            means = [result.objective for result in results if result.users.size]
            if not means:
                raise RequestError(f"no validation slice of {family} has relevant items; expected more likes")
            tried[family].append((settings, sum(means) / len(means)))
    if not all(tried.values()):
        raise RequestError("expected at least one candidate to choose from, got none")
    return {family: Tuned(*max(found, key=lambda one: one[1]), tuple(found)) for family, found in tried.items()}
