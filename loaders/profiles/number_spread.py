"""The percentiles of a column of numbers that is read block by block."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_MOST_KEPT = 200_000
_PERCENTS = np.linspace(0, 1, 101)


@dataclass
class NumberSpread:
    """An even sample of numbers: all of them, or every second, fourth, ... of many."""

    low: float = np.inf
    high: float = -np.inf
    kept: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    step: int = 1
    n_seen: int = 0

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Adds finite numbers."""
        if not len(numbers):
            return
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.kept = np.concatenate([self.kept, numbers[-self.n_seen % self.step :: self.step]])
        self.n_seen += len(numbers)
        while len(self.kept) > _MOST_KEPT:
            self.kept, self.step = self.kept[::2], self.step * 2

    def find_percentiles(self) -> tuple[float, ...]:
        """The 101 percentiles, each a number of the column; empty without numbers."""
        if not len(self.kept):
            return ()
        found = np.quantile(self.kept, _PERCENTS, method="inverted_cdf")
        found[0], found[-1] = self.low, self.high
        return tuple(found.tolist())
