"""Popularity: one score per item for all users; the gate gives it a small weight, or a negative one."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kgrec.model.component import DefaultWeights, ItemChange, Scale, Shares, Support
from kgrec.model.inputs import FitInputs


@dataclass(frozen=True)
class Popularity:
    """Scores items by log1p of their likes in training.

    Attributes:
        items: (n_items, 1) float32.
        warm_scale: of the items with likes.
    """

    name: ClassVar[str] = "popularity"
    baseline: ClassVar[str] = "popularity"
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=0.5, none=1.0)
    neighbours = None
    reference = None
    cold_scale = None
    items: Tensor
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Popularity":
        """Counts the likes in training."""
        return cls.of(torch.from_numpy(inputs.n_likes))

    @classmethod
    def of(cls, n_likes: Tensor) -> "Popularity":
        """Popularity from the number of likes of each item, (n_items,)."""
        items = torch.log1p(n_likes.float())[:, None]
        return cls(items, Scale.of(items[n_likes > 0]))

    def users(self, support: Support) -> Tensor:
        """(n_users, 1) ones."""
        return torch.ones((support.likes.shape[0], 1))

    def shares(self, support: Support) -> Shares:
        """Puts all of it into the rest."""
        return Shares(torch.zeros((support.likes.nnz, 1)), torch.zeros(1), torch.ones(1))

    def with_items(self, change: ItemChange) -> "Popularity":
        """Gives new items 0."""
        return Popularity(change.carry(self.items), self.warm_scale)
