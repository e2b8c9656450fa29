"""Backbone: implicit ALS; users are folded in, and items without likes get the prior's vectors."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from kgrec.model.component import INT8, DefaultWeights, ItemChange, Scale, Shares, Support, round_int8, solve_each
from kgrec.model.ials import share_fold_in, solve_supports
from kgrec.model.inputs import FitInputs

_FEW = 10.0  # likes
_LEAST_LEVEL = 1e-6
_BLOCK_USERS = 2048


@dataclass(frozen=True)
class Backbone:
    """Scores by w.z, w = argmin sum_{i in S} c_i (1 - w.z_i)^2 + alpha sum_all (w.z_i)^2 + ridge |w|^2.

    The ridge is (1 + (10 / |S|)^2) ridge_base + ridge_slope |S|: a few likes reveal the kind of items a user wants,
    many reveal more. The solution is linear in the support, so each like's share is exact.

    Attributes:
        items: (n_items, dim) float32.
        gram: (dim, dim) float32, the sum of z z' over the items with likes.
        alpha: the weight of all items.
        ridge_base, ridge_slope: see above.
        warm_scale: the scale of items with likes.
        cold_scale: the scale of the same items at the prior's vectors.
    """

    name: ClassVar[str] = "backbone"
    baseline: ClassVar[str] = "iALS"
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=1.5, many=0.7, cold=1.0, sentence=0.15, sentence_cold=0.3)
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    gram: Tensor
    alpha: float
    ridge_base: float
    ridge_slope: float
    warm_scale: Scale
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Backbone":
        """Takes the learned vectors, and the prior's vectors for items without likes."""
        vectors = inputs.vectors
        liked = torch.from_numpy(inputs.n_likes > 0)
        items = torch.where(liked[:, None], vectors.items, vectors.placed)
        warm = items[liked]
        base = vectors.regularisation * vectors.alpha * len(items)
        return cls(
            items, warm.T @ warm, vectors.alpha, base, vectors.regularisation, Scale.of(warm),
            Scale.of(vectors.placed[liked]),
        )  # fmt: skip

    def users(self, support: Support) -> Tensor:
        """Folds users in; a sentence counts as one more like, of an item with its vector."""
        if support.placed is not None:
            return solve_each(self, support)
        ridge = self._ridge(support.n_likes).astype(np.float32)
        return solve_supports(support.likes, self.items, ridge, self.alpha, gram=self.gram)

    def _ridge(self, n_likes: NDArray[np.int64]) -> NDArray[np.float64]:
        scarce: NDArray[np.float64] = (_FEW / np.maximum(n_likes, 1)) ** 2
        return (1 + scarce) * self.ridge_base + self.ridge_slope * n_likes

    def shares(self, support: Support) -> Shares:
        """Splits a folded-in user into shares."""
        shown = self.items[torch.from_numpy(support.likes.indices.astype(np.int64))]  # (n_likes, dim)
        weights = torch.from_numpy(support.likes.data)
        if support.placed is not None:
            shown, weights = torch.cat([shown, support.placed]), torch.cat([weights, torch.ones(1)])
        own, rest = share_fold_in(
            shown, weights, self.gram, alpha=self.alpha, ridge=float(self._ridge(np.array(len(shown))))
        )
        n_likes = support.likes.nnz
        return Shares(own[:n_likes], own[n_likes:].sum(dim=0), rest)

    def with_items(self, change: ItemChange) -> "Backbone":
        """New items get the prior's vectors."""
        return replace(self, items=change.carry(self.items, torch.from_numpy(change.placed), round_int8))

    def with_vectors(self, rows: Tensor, vectors: Tensor) -> "Backbone":
        """The same backbone with other vectors, (n, dim), for some items, (n,) rows."""
        return replace(self, items=self.items.index_copy(0, rows, round_int8(vectors)))


@dataclass(frozen=True)
class ItemHead:
    """Places an item from the users who like it, as fold-in places a user from the items they like.

    z = argmin sum_{u in S} (level - v_u.z)^2 + |z - centre|^2, v_u = w_u / |w_u| - mean, the centre being the prior's
    vector. With more likes, the users who like an item outweigh its texts and links. A user counts by the direction
    that differs from the average user, whatever their number of likes. Users who do not like the item are ignored:
    nobody is known to have passed over a new item.

    Attributes:
        level: the mean of v_u.z_i over the training likes, so that an item with few likes does not rank above items
            with many; 0: likes move no item, after a private training.
        mean: (dim,) float32, the mean of w_u / |w_u| over users.
        centres: (n_items, dim) float32, the prior's vectors.
    """

    level: float
    mean: Tensor
    centres: Tensor = field(metadata=INT8)

    @classmethod
    def fit(cls, inputs: FitInputs) -> "ItemHead":
        """Measures level and mean on the learned vectors."""
        vectors = inputs.vectors
        units = functional.normalize(vectors.users, dim=1)
        mean = units.sum(dim=0) / max(int(units.any(dim=1).sum()), 1)  # of users with likes
        liked = torch.from_numpy(inputs.likes @ vectors.items.numpy())  # (n_users, dim), the sum of what each likes
        level = float(((units - mean) * liked).sum()) / max(inputs.likes.nnz, 1)
        return cls(max(level, _LEAST_LEVEL), mean, vectors.placed)

    def solve(self, support: csr_array, users: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The vectors of some items, (n, dim) float32.

        Args:
            support: (n, n_users) of 1s: who likes each.
            users: (n_users, dim) float32 backbone vectors.
            rows: (n,) int64, the items' rows.
        """
        centres = self.centres[torch.from_numpy(rows)]
        if not support.nnz or not self.level:
            return centres
        known = users.any(dim=1, keepdim=True)  # of others nothing sets them apart
        apart = known * (functional.normalize(users, dim=1) - self.mean)
        ridge = np.ones(support.shape[0], np.float32)
        return self.level * solve_supports(support, apart, ridge, 0.0, centres / self.level)

    def with_items(self, change: ItemChange) -> "ItemHead":
        """New items have the prior's vectors as centres."""
        return replace(self, centres=change.carry(self.centres, torch.from_numpy(change.placed), round_int8))


def user_vectors(backbone: "Backbone", liked: csr_array) -> NDArray[np.float32]:
    """Vectors whose cosine is the similarity of two users' backbone scores.

    They are G^1/2 w, w the user's vector and G the sum of z z' over the items: their dot product is the sum over items
    of the products of both users' scores.

    Args:
        backbone: the model's backbone.
        liked: (n_users, n_items) likes.

    Returns:
        (n_users, dim) float32 unit vectors; zeros for a user without likes.
    """
    values, directions = torch.linalg.eigh(backbone.gram.double())
    root = directions * values.clamp(min=0).sqrt()  # (dim, dim)
    found = np.zeros((liked.shape[0], len(values)), np.float32)
    for start in range(0, liked.shape[0], _BLOCK_USERS):
        users = backbone.users(Support(liked[start : start + _BLOCK_USERS])).double()
        found[start : start + _BLOCK_USERS] = functional.normalize(users @ root).float().numpy()
    return found
