"""The gate: the weights of the components, by the number of likes in the support."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gate:
    """Weights of the components, whose parts are centred and have a deviation of 1 over reference items.

    Attributes:
        least_likes: (n_buckets,) int64 ascending from 0: the least likes of a support in each bucket.
        warm: (n_buckets, n_components) float32: weights for the items with likes in training.
        cold: (n_buckets, n_components) float32: weights for the others.
        shift: (n_buckets,) float32: added to the others' scores; 0 is the mean of the items with likes.
        dislike: times log1p of how many users met an item without liking it, subtracted from the others' scores.
        sentence_warm, sentence_cold: (n_components,) float32: the weights for a sentence without likes. Beside likes
            a sentence counts as one more like, and only the component `sentence` has its weight from here.
        sentence_shift: the shift for a sentence without likes.
        recency: (n_buckets,) float32 in (0, 1]: the likes of a support, in order, weigh recency^(place - 1), the last
            having place 1; 1 where order says nothing.
        known: (n_buckets, n_components) float32: `warm` for users with links, attributes or a text; None: the same.
    """

    least_likes: NDArray[np.int64]
    warm: NDArray[np.float32]
    cold: NDArray[np.float32]
    shift: NDArray[np.float32]
    dislike: float
    sentence_warm: NDArray[np.float32]
    sentence_cold: NDArray[np.float32]
    sentence_shift: float
    recency: NDArray[np.float32]
    known: NDArray[np.float32] | None = None

    def select(self, places: Sequence[int]) -> "Gate":
        """The gate of some of the components, given their places."""
        return replace(
            self, warm=self.warm[:, places], cold=self.cold[:, places], sentence_warm=self.sentence_warm[places],
            sentence_cold=self.sentence_cold[places], known=None if self.known is None else self.known[:, places],
        )  # fmt: skip

    def bucket(self, n_likes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket of each support size."""
        return np.searchsorted(self.least_likes, n_likes, side="right") - 1


_NONE = np.zeros((1, 0), np.float32)
UNSET = Gate(
    np.zeros(1, np.int64), _NONE, _NONE, np.zeros(1, np.float32), 0.0, _NONE[0], _NONE[0], 0.0, np.ones(1, np.float32)
)  # of a model whose gate is not chosen yet


def bucket_starts(sizes: Sequence[int], many: int) -> list[int]:
    """Where buckets begin: one for no likes, one for each support size, and one for many likes.

    A bucket begins half-way, by their ratio, between two sizes.

    Args:
        sizes: support sizes.
        many: where the last bucket begins, unless the one before begins later.
    """
    starts = [0]
    ordered = sorted({0, *sizes})
    for smaller, larger in pairwise(ordered):
        starts.append(int(np.ceil(np.sqrt(max(smaller, 0.5) * larger))))
    return [*starts, max(many, starts[-1] + 1)]
