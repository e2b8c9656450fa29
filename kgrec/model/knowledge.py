"""Knowledge: the likeness of an item's text and links to those of the likes; nothing is learned from likes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.component import (
    HALF,
    INT8,
    DefaultWeights,
    ItemChange,
    Scale,
    Shares,
    Support,
    round_int8,
    sum_likes,
    sum_shares,
)
from kgrec.model.inputs import FitInputs
from kgrec.model.likeness import LINKS, TEXT, WEIGHTS, Likeness

_DIM = 128
_EMPHASIS = 3.0
_TINY = 1e-9


@dataclass(frozen=True)
class Knowledge:
    """Scores items by their mean likeness to the likes, in texts and links.

    Attributes:
        items: (n_items, dim) float32, zeros for an item without text and links.
        basis: (width, dim) float32: maps vectors of texts and links to those of `items`.
        warm_scale: of all items with texts or links, whether they have likes or not.
    """

    name: ClassVar[str] = "knowledge"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=0.2, many=0.3, cold=0.3, knows=1.4)
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    basis: Tensor = field(metadata=HALF)
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Knowledge | None":
        """Projects vectors of texts and links onto their main directions; None: there are no texts and no links."""
        vectors = join_knowledge(inputs.likeness, inputs.content)
        if not vectors.any():
            return None
        _, directions = np.linalg.eigh(vectors.T @ vectors)
        basis = np.ascontiguousarray(directions[:, ::-1][:, :_DIM])
        items = torch.from_numpy(vectors @ basis)
        return cls(items, torch.from_numpy(basis), Scale.of(items[items.any(dim=1)]))

    @property
    def cold_scale(self) -> Scale:
        """The scale of items with likes: texts and links do not depend on likes."""
        return self.warm_scale

    def users(self, support: Support) -> Tensor:
        """Sums the likes' vectors, (n_users, dim)."""
        return sum_likes(support.likes, self.items)

    def emphasis(self, support: Support, users: Tensor) -> Tensor:
        """1 + 3 c, c being the mean cosine between a user's likes, at least 0; 1 for users with fewer than two likes.

        Three cartoons have much in common, so their user wants cartoons. Three likes with nothing in common tell less.
        """
        likes = support.likes
        squares = csr_array((likes.data**2, likes.indices, likes.indptr), shape=likes.shape)
        own = sum_likes(squares, self._squared_lengths).squeeze(1)
        between = users.square().sum(dim=1) - own  # every pair counts twice
        n_others = torch.from_numpy(np.maximum(support.n_likes - 1, 1).astype(np.float32))
        agreement = between / (n_others * own).clamp(min=_TINY)
        return 1 + _EMPHASIS * agreement.clamp(min=0)

    @cached_property
    def _squared_lengths(self) -> Tensor:
        """(n_items, 1) float32."""
        squared: Tensor = torch.linalg.vecdot(self.items, self.items)
        return squared[:, None]

    def shares(self, support: Support) -> Shares:
        """What each like adds."""
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "Knowledge":
        """Gives new items the vectors of their texts and links."""
        return replace(self, items=change.carry(self.items, change.known @ self.basis, round_int8))


def join_knowledge(likeness: Likeness, content: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors of texts, vector columns and links side by side, (n_items, width); zeros where there are none.

    Args:
        likeness: of the n items.
        content: (n_items, width) float32, from `join_content`.
    """
    parts = [np.float32(WEIGHTS[source] ** 0.5) * likeness.part(source, content) for source in (TEXT, LINKS)]
    joined = np.hstack(parts)
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (joined / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit
