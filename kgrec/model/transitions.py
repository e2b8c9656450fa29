"""Transitions: what people like after what, in closed form."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from kgrec.config import TransitionConfig
from kgrec.model.component import COARSE_HALF, DefaultWeights, ItemChange, Scale, Shares, Support, sum_shares
from kgrec.model.inputs import FitInputs
from kgrec.model.item_item import carry_neighbours
from kgrec.sequences import Sequences

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Transitions:
    """The last likes of a user score what others like after them.

    Attributes:
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds.
        items: (n_items, 0).
        warm_scale: of factors of width 0.
        recency: the like at place p from the last weighs recency^(p - 1).
        recent: the number of last likes that count.
        half_life_days: a like that is this much older than the last one weighs half.
    """

    name: ClassVar[str] = "transitions"
    baseline: ClassVar[str] = "transitions"
    weights: ClassVar[DefaultWeights] = DefaultWeights()  # it counts where validation bears it out
    cold_scale = None
    reference = None
    neighbours: csr_array = field(metadata=COARSE_HALF)
    items: Tensor
    warm_scale: Scale
    recency: float
    recent: int
    half_life_days: float

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Transitions | None":
        """Counts what follows what; None: likes have no times."""
        if inputs.sequences is None:
            return None
        config, n_items = inputs.config.transition, inputs.likes.shape[1]
        items = torch.zeros((n_items, 0))
        return cls(
            count_transitions(inputs.sequences, n_items, config), items, Scale.of(items), config.recency,
            config.recent, config.half_life_days,
        )  # fmt: skip

    def weigh(self, support: Support) -> csr_array:
        """The last likes of each user, weighed by their places and their ages; all alike without an order."""
        likes = support.likes if support.plain is None else support.plain
        if support.order is None:
            return likes
        places, ages = support.order.places.data, support.order.ages.data
        weights = np.float32(self.recency) ** (places - 1) * 2 ** (-(ages - 1) / (_DAY_S * self.half_life_days))
        data = (likes.data * weights * (places <= self.recent)).astype(np.float32)
        return csr_array((data, likes.indices, likes.indptr), shape=likes.shape)

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): there are no factors, only `neighbours`."""
        return torch.zeros((support.likes.shape[0], 0))

    def shares(self, support: Support) -> Shares:
        """Shares of width 0: there are no factors, only `neighbours`."""
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "Transitions":
        """Gives new items no neighbours."""
        return replace(self, neighbours=carry_neighbours(self.neighbours, change), items=change.carry(self.items))


def count_transitions(sequences: Sequences, n_items: int, config: TransitionConfig) -> csr_array:
    """What follows what: (n_items, n_items) float32 with a row for each earlier item; 0 diagonal.

    A pair of likes of one user, d <= reach places apart, the later one g seconds after the earlier one, adds
    decay^(d - 1) 2^(-g / half-life) to (earlier, later), and `backward` times as much to (later, earlier); likes of the
    same time have no order, and add the mean of both to both. Rows and columns are divided by the items' likes to a
    power. The cost is linear in likes.

    Args:
        sequences: the likes.
        n_items: the number of items.
        config: the settings.
    """
    users, items, times = sequences.users, sequences.items, sequences.times
    total = csr_array((n_items, n_items), dtype=np.float32)
    for distance in range(1, config.reach + 1):
        together = users[distance:] == users[:-distance]
        if not together.any():
            break
        earlier, later = items[:-distance][together], items[distance:][together]
        gaps = (times[distance:] - times[:-distance])[together]
        weights = config.decay ** (distance - 1) * 2.0 ** (-gaps / (_DAY_S * config.half_life_days))
        ahead = np.where(gaps == 0, (1 + config.backward) / 2, 1.0) * weights
        back = np.where(gaps == 0, (1 + config.backward) / 2, config.backward) * weights
        values = np.concatenate([ahead, back]).astype(np.float32)
        rows, columns = np.concatenate([earlier, later]), np.concatenate([later, earlier])
        kept = (values > 0) & (rows != columns)
        total = total + csr_array((values[kept], (rows[kept], columns[kept])), shape=total.shape)
    damping = np.maximum(np.bincount(items, minlength=n_items), 1) ** -config.popularity_exponent
    scale = diags_array(damping.astype(np.float32))
    return _keep_largest(csr_array(scale @ total @ scale, dtype=np.float32), config.kept)


def _keep_largest(matrix: csr_array, kept: int) -> csr_array:
    """The largest entries of each row, and those that equal the least of them."""
    matrix.sort_indices()
    sizes = np.diff(matrix.indptr)
    least = np.zeros(len(sizes), np.float32)
    for row in np.flatnonzero(sizes > kept).tolist():
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        least[row] = np.partition(values, -kept)[-kept]
    stays = matrix.data >= np.repeat(least, sizes)
    rows = np.repeat(np.arange(len(sizes)), sizes)[stays]
    return csr_array((matrix.data[stays], (rows, matrix.indices[stays])), shape=matrix.shape)
