"""The baselines of an evaluation, each with the settings that validation chooses for a family of slices."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.config import SplitConfig
from kgrec.evaluate.baseline_scorers import TextCosine, count_likes, fit_popularity, fit_text_cosine
from kgrec.evaluate.baseline_tuning import (
    FEW_LIKES,
    KNOWN_USERS,
    NEW_USERS,
    FoldIn,
    Grid,
    Settings,
    build_grids,
    tune,
)
from kgrec.evaluate.linked_users import LinkedUsers, tune_linked_users
from kgrec.questions.slices import Scorer, Slice
from kgrec.questions.splits import Likes, split_likes

FEW = 3  # likes of a new user, up to which popularity is not a rival, because it shows everybody the same list
LIKES_ALONE = "kgrec, likes alone"  # ours without the knowledge of users, to compare with; no rival
PERSONAL = ("item kNN", "EASE", "iALS", "blend")  # the baselines whose lists differ between users
_COLD_USERS = re.compile(r"cold_users(?:_cold_items)?_k(\d+)")
_TUNING_USERS = 300  # drawn from each validation slice


def count_support(slice_name: str) -> int | None:
    """The number of known likes of each new user of a slice; None for slices of known users."""
    found = _COLD_USERS.fullmatch(slice_name)
    return None if found is None else int(found[1])


def family_of(slice_name: str) -> str:
    """The family of a slice; settings are chosen per family, because few likes need other settings than many."""
    size = count_support(slice_name)
    return KNOWN_USERS if size is None else FEW_LIKES if size <= FEW else NEW_USERS


def is_rival(slice_name: str, baseline: str) -> bool:
    """Whether a baseline counts as a rival of ours on a slice.

    For new users with up to 3 likes only the personal baselines count: popularity wins NDCG there, but shows everybody
    the same list.
    """
    size = count_support(slice_name)
    return baseline in PERSONAL or (baseline != LIKES_ALONE and (size is None or not 0 < size <= FEW))


@dataclass(frozen=True)
class Baselines:
    """The baselines of one split.

    Attributes:
        by_family: family -> the scorers with the settings chosen for it, in table order.
        chosen: scorer name -> the settings that validation chose, in words.
        skipped: scorer name -> the reason why it is left out.
        refit: fits the scorers for known users to other likes, (n_users, n_items), with the same settings.
        linked_users: scores users without likes by their links; None: users have none.
    """

    by_family: Mapping[str, tuple[Scorer, ...]]
    chosen: Mapping[str, str]
    skipped: Mapping[str, str]
    refit: Callable[[csr_array], tuple[Scorer, ...]]
    linked_users: LinkedUsers | None = None

    def scorers(self, slice_name: str) -> tuple[Scorer, ...]:
        """The scorers for a slice."""
        found = self.by_family[family_of(slice_name)]
        if self.linked_users is None or count_support(slice_name) != 0:
            return found
        return found[0], self.linked_users, *found[1:]


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
        held_in: the same without the validation likes; candidates are fitted to it.
        validation: the slices to choose on; a family without slices uses the choice of another.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        k: list length of the objective to choose by.
        grids: scorer name -> its candidates; None: those of `build_grids`.
    """
    families = {
        family: [s for s in validation if family_of(s.name) == family] for family in (KNOWN_USERS, FEW_LIKES, NEW_USERS)
    }
    usable = {family: slices for family, slices in families.items() if any(s.relevant.nnz for s in slices)}
    popularity = count_likes(held_in).astype(np.int64)
    grids = build_grids() if grids is None else grids
    settings: dict[str, dict[str, Settings | None]] = {family: {} for family in families}
    chosen: dict[str, str] = {}
    for name, grid in grids.items():
        if not usable:
            chosen[name] = "defaults: too few likes to hold any out for validation"
        tuned = tune(grid.fit_all(held_in), usable, popularity, k) if usable else {}
        for family in families:
            nearest = (family, *((FEW_LIKES, NEW_USERS) if family != KNOWN_USERS else ()), *tuned)
            settings[family][name] = next((tuned[one].settings for one in nearest if one in tuned), None)
        if tuned:
            chosen[name] = "; ".join(f"{family}: {found}" for family, found in tuned.items())
    text_cosine = () if text_vectors is None else (fit_text_cosine(text_vectors),)
    skipped = {TextCosine.name: "the items have no text vectors"} if text_vectors is None else {}

    def fit(likes: csr_array, families: Iterable[str]) -> dict[str, tuple[Scorer, ...]]:
        fitted: dict[tuple[str, tuple[float, ...]], FoldIn] = {}  # families with the same settings share a fit
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
    linked_users: LinkedUsers | None = None,
) -> Baselines:
    """Fits the baselines to training likes, with settings chosen on a part of them held out for validation.

    Args:
        likes: the training likes.
        split: sets how likes are held out for validation.
        seed: the seed of that split.
        text_vectors: (n_items, dim) text vectors of the items; None: text cosine is skipped.
        grids: scorer name -> its candidates; None: those of `build_grids`.
        linked_users: from `link_users`, with the training likes; None: it is left out.
    """
    rng = np.random.default_rng([seed, 1])
    validation = split_likes(likes, split, rng)
    usable = {
        "warm",
        *(f"cold_users_k{size}" for size in split.support_sizes if size),
    }
    slices = [_draw_users(slice_, rng) for name, slice_ in validation.slices.items() if name in usable]
    held_in = validation.train.to_matrix()
    found = fit_baselines(likes.to_matrix(), held_in, slices, text_vectors=text_vectors, grids=grids)
    if linked_users is None:
        return found
    without_likes = [_draw_users(slice_, rng) for name, slice_ in validation.slices.items() if name == "cold_users_k0"]
    tuned, choice = tune_linked_users(linked_users, held_in, without_likes)
    return replace(found, linked_users=tuned, chosen={**found.chosen, tuned.name: choice})


def _draw_users(slice_: Slice, rng: np.random.Generator) -> Slice:
    """The slice with at most 300 random users."""
    users = np.flatnonzero(np.diff(slice_.relevant.indptr))
    if len(users) <= _TUNING_USERS:
        return slice_
    drawn = np.zeros(slice_.relevant.shape[0], np.bool_)
    drawn[rng.choice(users, _TUNING_USERS, replace=False)] = True
    pairs = slice_.relevant.tocoo()
    kept = drawn[pairs.row]
    relevant = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)
    return replace(slice_, relevant=relevant)
