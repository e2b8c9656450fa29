"""Sequences of items as arrays: the last items of each, and batches of like length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.sequences import Order

NO_ITEM = -1


@dataclass(frozen=True)
class ItemSequences:
    """The items of users in order, the earliest first; repeats are allowed.

    Attributes:
        items: (n,) int64 item rows; those of a user are adjacent.
        starts: (n_users + 1,) int64: where each user's begin, and the end.
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "ItemSequences":
        """Sequences from lists of item rows."""
        items = np.array([item for own in sequences for item in own], np.int64)
        return cls(items, np.concatenate([[0], np.cumsum([len(own) for own in sequences])]).astype(np.int64))

    @classmethod
    def of_order(cls, order: Order, rng: np.random.Generator) -> "ItemSequences":
        """Sequences from the places of likes; likes of one place come in random order."""
        places = order.places
        users = np.repeat(np.arange(places.shape[0]), np.diff(places.indptr))
        by_place = np.lexsort((rng.random(len(users)), -places.data, users))
        return cls(places.indices[by_place].astype(np.int64), places.indptr.astype(np.int64))

    @property
    def n_users(self) -> int:
        """The number of users."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n_users,) int64."""
        return np.diff(self.starts)

    def select(self, users: NDArray[np.int64], most: int | None = None) -> "ItemSequences":
        """The sequences of some users, (n,); of longer ones the last `most` items."""
        sizes = self.lengths[users] if most is None else np.minimum(self.lengths[users], most)
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.starts[users + 1] - ends, sizes)
        return ItemSequences(self.items[places], np.concatenate([[0], ends]).astype(np.int64))

    def pad(self) -> NDArray[np.int64]:
        """(n_users, longest) int64 item rows, `NO_ITEM` after the end of a sequence."""
        padded = np.full((self.n_users, int(self.lengths.max(initial=0))), NO_ITEM, np.int64)
        users = np.repeat(np.arange(self.n_users), self.lengths)
        padded[users, np.arange(len(self.items)) - self.starts[users]] = self.items
        return padded

    def mark(self, n_items: int) -> csr_array:
        """(n_users, n_items) float32: 1 for each item of a user's sequence, once."""
        pairs = np.unique(np.repeat(np.arange(self.n_users), self.lengths) * n_items + self.items)
        counts = np.bincount(pairs // max(n_items, 1), minlength=self.n_users)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return csr_array((np.ones(len(pairs), np.float32), pairs % max(n_items, 1), indptr), (self.n_users, n_items))


def batch_users(
    lengths: NDArray[np.int64], positions: int, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Groups users of like length into batches, which saves padding.

    Args:
        lengths: (n_users,) int64.
        positions: the most positions of a batch, padding included.
        rng: shuffles users of one length and the batches; None: the order of users.

    Returns:
        The users of each batch.
    """
    ties = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = np.lexsort((ties, -lengths))
    batches = []
    start = 0
    while start < len(order):
        size = max(1, positions // (int(lengths[order[start]]) + 1))
        batches.append(order[start : start + size])
        start += size
    return batches if rng is None else [batches[place] for place in rng.permutation(len(batches))]
