"""Sentence: the cosine of an item's text and the user's sentence."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec.model.component import INT8, DefaultWeights, ItemChange, Scale, Shares, Support
from kgrec.model.inputs import FitInputs


@dataclass(frozen=True)
class Sentence:
    """Scores items by the cosine of their text and the user's sentence.

    Attributes:
        items: (n_items, text_dim) float32 unit vectors, zeros for an item without a text.
        warm_scale: of the items with texts, whether they have likes or not.
    """

    name: ClassVar[str] = "sentence"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(sentence=1.0, sentence_cold=1.0)
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Sentence | None":
        """Keeps the items' texts; None: there are none."""
        return cls.of(inputs.text) if inputs.text.any() else None

    @classmethod
    def of(cls, text: Tensor) -> "Sentence":
        """Wraps unit text vectors, (n_items, text_dim)."""
        return cls(text, Scale.of(text[text.any(dim=1)]))

    @property
    def cold_scale(self) -> Scale:
        """The scale of items with likes: texts do not depend on likes."""
        return self.warm_scale

    def users(self, support: Support) -> Tensor:
        """The sentences' vectors, zeros for users without."""
        if support.text is None:
            return torch.zeros((support.likes.shape[0], self.items.shape[1]))
        return support.text

    def shares(self, support: Support) -> Shares:
        """Puts all of it into the sentence's share."""
        width = self.items.shape[1]
        return Shares(torch.zeros((support.likes.nnz, width)), self.users(support)[0], torch.zeros(width))

    def with_items(self, change: ItemChange) -> "Sentence":
        """Gives new items their texts."""
        return Sentence(change.text, self.warm_scale)


def find_fitting(nearness: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Finds texts that fit sentences: at least as near as half-way between the known texts' mean and the nearest.

    Args:
        nearness: (n, n_items) float32, the cosines of n sentences and the items' texts.
        known: (n, n_items) bool, the texts that count for each sentence.

    Returns:
        (n, n_items) bool; False where a text is not known.
    """
    mean = np.where(known, nearness, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    nearest = np.where(known, nearness, -np.inf).max(axis=1, initial=-np.inf)
    fits: NDArray[np.bool_] = known & (nearness >= (mean + nearest)[:, None] / 2)
    return fits
