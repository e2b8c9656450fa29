"""Item-item components: what a like of one item says of others, by ridge with the graph and by plain co-likes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from kgrec.model.component import (
    COARSE_HALF,
    INT8,
    DefaultWeights,
    ItemChange,
    Scale,
    Shares,
    Support,
    add_rows,
    sum_likes,
    sum_shares,
)
from kgrec.model.inputs import FitInputs
from kgrec.model.nearest import NeighbourMatrix
from kgrec.model.neighbours import co_likes


@dataclass(frozen=True)
class ItemItem:
    """Item-item ridge with the graph in its Gram matrix: the largest weights, and a low rank of what is left over.

    Attributes:
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds.
        onto: (n_items, rank) float32: what a like of an item adds to a user's factors.
        items: (n_items, rank) float32.
        warm_scale: of the items with likes.
    """

    name: ClassVar[str] = "item_item"
    baseline: ClassVar[str] = "ridge"
    weights: ClassVar[DefaultWeights] = DefaultWeights(many=1.0)
    cold_scale = None
    reference = None
    neighbours: csr_array = field(metadata=COARSE_HALF)
    onto: Tensor = field(metadata=INT8)
    items: Tensor = field(metadata=INT8)
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> Self:
        """Takes the ridge for many likes."""
        return cls.of(inputs.item_item[0], inputs.liked)

    @classmethod
    def of(cls, matrix: NeighbourMatrix, liked: Tensor) -> Self:
        """That of a fitted matrix; liked, (n_items,) bool, marks the reference items."""
        items = torch.from_numpy(matrix.right)
        return cls(matrix.sparse, torch.from_numpy(matrix.left), items, Scale.of(items[liked]))

    def users(self, support: Support) -> Tensor:
        """The sums of what the likes add, (n_users, rank)."""
        return sum_likes(support.likes, self.onto)

    def shares(self, support: Support) -> Shares:
        """What each like adds to the factors; the rows of `neighbours` come on top."""
        return sum_shares(support, self.onto)

    def expect(self, values: np.ndarray | csc_array) -> np.ndarray:
        """What likes of each item make expect of the others, times (n_items, width) values: (n_items, width)."""
        onto, items = self.onto.numpy(), self.items.numpy()
        if isinstance(values, csc_array):
            by_column = values.T  # csr
            found: np.ndarray = add_rows(by_column, self._by_target).numpy()
            found += (by_column @ items) @ onto.T
            return found.T
        whole: np.ndarray = self.neighbours @ values + onto @ (items.T @ values)
        return whole

    @cached_property
    def _by_target(self) -> csr_array:
        """(n_items, n_items): row j is what adds to item j."""
        return csr_array(self.neighbours.T.tocsr())

    def with_items(self, change: ItemChange) -> Self:
        """New items have no neighbours."""
        return replace(
            self, neighbours=carry_neighbours(self.neighbours, change), onto=change.carry(self.onto),
            items=change.carry(self.items),
        )  # fmt: skip


@dataclass(frozen=True)
class ItemItemFew(ItemItem):
    """The same ridge with more of the likes dropped, which suits supports of few likes."""

    name: ClassVar[str] = "item_item_few"
    baseline: ClassVar[str] = "ridge, few"
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=1.0)

    @classmethod
    def fit(cls, inputs: FitInputs) -> Self:
        """Takes the ridge for few likes."""
        return cls.of(inputs.item_item[1], inputs.liked)


@dataclass(frozen=True)
class CoLikes:
    """Item kNN: the shrunk cosine of who likes two items.

    Attributes:
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds.
        items: (n_items, 0).
        warm_scale: of nothing.
    """

    name: ClassVar[str] = "co_likes"
    baseline: ClassVar[str] = "item kNN"
    weights: ClassVar[DefaultWeights] = DefaultWeights()
    cold_scale = None
    reference = None
    neighbours: csr_array = field(metadata=COARSE_HALF)
    items: Tensor
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "CoLikes":
        """Counts who likes two items."""
        config = inputs.config.item_item
        found = co_likes(inputs.likes, shrinkage=config.shrinkage, kept=config.kept, seed=inputs.config.seed)
        return cls.of(found)

    @classmethod
    def of(cls, neighbours: csr_array) -> "CoLikes":
        """That of a matrix of neighbours, (n_items, n_items)."""
        items = torch.zeros((neighbours.shape[0], 0))
        return cls(neighbours, items, Scale.of(items))

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): all of it is in `neighbours`."""
        return torch.zeros((support.likes.shape[0], 0))

    def shares(self, support: Support) -> Shares:
        """All of it is in `neighbours`."""
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "CoLikes":
        """New items have no neighbours."""
        return replace(self, neighbours=carry_neighbours(self.neighbours, change), items=change.carry(self.items))


def carry_neighbours(matrix: csr_array, change: ItemChange) -> csr_array:
    """The rows and columns of the items that stay, and empty ones for new items."""
    n_before = matrix.shape[0]
    whole = len(change.kept) == n_before
    kept = matrix if whole else csr_array(csr_array(matrix[change.kept])[:, change.kept])
    n_new = change.n_items - len(change.kept)
    indptr = np.concatenate([kept.indptr, np.full(n_new, kept.indptr[-1], kept.indptr.dtype)])
    return csr_array((kept.data, kept.indices, indptr), shape=(change.n_items, change.n_items))
