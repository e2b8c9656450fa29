"""Planted data whose right answer is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.questions.slices import Slice


def to_csr(dense: NDArray[np.bool_] | list[list[int]]) -> csr_array:
    return csr_array(np.asarray(dense, dtype=np.float32))


@dataclass(frozen=True)
class Board:
    """Users of an even row like even items, users of an odd row like odd ones; 30% of the likes are hidden."""

    train: csr_array
    test: csr_array

    @property
    def n_items(self) -> int:
        return self.train.shape[1]

    @property
    def popularity(self) -> NDArray[np.int64]:
        return np.bincount(self.train.indices, minlength=self.n_items)

    @property
    def warm(self) -> Slice:
        return Slice("warm", "Warm", self.train, self.test)


def plant_board() -> Board:
    rng = np.random.default_rng(7)
    n_users, n_items = 60, 40
    likes = np.arange(n_users)[:, None] % 2 == np.arange(n_items)[None, :] % 2
    hidden = rng.random(likes.shape) < 0.3
    return Board(to_csr(likes & ~hidden), to_csr(likes & hidden))
