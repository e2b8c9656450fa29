"""Item-item components: a like of one item scores others, by a ridge with the graph and by plain co-likes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
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
    """Item-item ridge with the graph in its Gram matrix: the largest weights, and a low rank of the remainder.

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
        """Fits the ridge for many likes."""
        return cls.of(inputs.item_item[0], inputs.liked)

    @classmethod
    def of(cls, matrix: NeighbourMatrix, liked: Tensor) -> Self:
        """Wraps a fitted matrix; liked, (n_items,) bool, marks the reference items."""
        items = torch.from_numpy(matrix.right)
        return cls(matrix.sparse, torch.from_numpy(matrix.left), items, Scale.of(items[liked]))

    def users(self, support: Support) -> Tensor:
        """Sums what the likes add, (n_users, rank)."""
        return sum_likes(support.likes, self.onto)

    def shares(self, support: Support) -> Shares:
        """What each like adds to the factors; `neighbours` are not among them."""
        return sum_shares(support, self.onto)

    def expect(self, values: csc_array) -> NDArray[np.float32]:
        """The whole matrix, (n_items, n_items), times sparse columns, (n_items, n): dense (n_items, n)."""
        by_column = csr_array(values.T)
        found: NDArray[np.float32] = add_rows(by_column, self._by_target).numpy()
        found += (by_column @ self.items.numpy()) @ self.onto.numpy().T
        return found.T

    @cached_property
    def _by_target(self) -> csr_array:
        """(n_items, n_items): row j is what adds to item j."""
        return csr_array(self.neighbours.T.tocsr())

    def with_items(self, change: ItemChange) -> Self:
        """Gives new items no neighbours."""
        return replace(
            self, neighbours=carry_neighbours(self.neighbours, change), onto=change.carry(self.onto),
            items=change.carry(self.items),
        )  # fmt: skip


@dataclass(frozen=True)
class ItemItemFew(ItemItem):
    """The same ridge with a higher dropout of likes, which suits supports of few likes."""

    name: ClassVar[str] = "item_item_few"
    baseline: ClassVar[str] = "ridge, few"
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=1.0)

    @classmethod
    def fit(cls, inputs: FitInputs) -> Self:
        """Fits the ridge for few likes."""
        return cls.of(inputs.item_item[1], inputs.liked)


@dataclass(frozen=True)
class CoLikes:
    """Item kNN: the shrunk cosine of two items by the users who like them.

    Attributes:
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds.
        items: (n_items, 0).
        warm_scale: of factors of width 0.
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
        """Counts the users who like two items."""
        config = inputs.config.item_item
        found = co_likes(inputs.likes, shrinkage=config.shrinkage, kept=config.kept, seed=inputs.config.seed)
        return cls.of(found)

    @classmethod
    def of(cls, neighbours: csr_array) -> "CoLikes":
        """Wraps a matrix of neighbours, (n_items, n_items)."""
        items = torch.zeros((neighbours.shape[0], 0))
        return cls(neighbours, items, Scale.of(items))

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): there are no factors, only `neighbours`."""
        return torch.zeros((support.likes.shape[0], 0))

    def shares(self, support: Support) -> Shares:
        """Shares of width 0: there are no factors, only `neighbours`."""
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "CoLikes":
        """Gives new items no neighbours."""
        return replace(self, neighbours=carry_neighbours(self.neighbours, change), items=change.carry(self.items))


def carry_neighbours(matrix: csr_array, change: ItemChange) -> csr_array:
    """The rows and columns of the items that stay, and empty ones for new items."""
    n_before = matrix.shape[0]
    whole = len(change.kept) == n_before
    kept = matrix if whole else csr_array(csr_array(matrix[change.kept])[:, change.kept])
    n_new = change.n_items - len(change.kept)
    indptr = np.concatenate([kept.indptr, np.full(n_new, kept.indptr[-1], kept.indptr.dtype)])
    return csr_array((kept.data, kept.indices, indptr), shape=(change.n_items, change.n_items))
