"""The inputs that components are fitted to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.config import ItemItemConfig, TrainConfig
from kgrec.graph.node_links import NodeLinks, unit_idf_weights
from kgrec.graph.propagation import Channel
from kgrec.model.component import Component
from kgrec.model.likeness import Likeness
from kgrec.model.nearest import NeighbourMatrix
from kgrec.model.neighbours import NeighbourSettings, fit_neighbours
from kgrec.model.prior import ItemEncoder
from kgrec.sequences import Sequences

_LEAST_NEAREST = 4  # the largest divisor of the setting
_USERS_PER_NEAREST = 8


@dataclass(frozen=True)
class LearnedVectors:
    """The backbone's vectors, and the prior's vectors of all items in the same space.

    Attributes:
        items: (n_items, dim) float32, zeros for items without likes.
        users: (n_users, dim) float32.
        placed: (n_items, dim) float32, the prior's.
        prior: places further items.
        user_prior: places users by their links, attributes and texts, less the mean user; None: the catalogue has none.
        alpha: weight of all pairs in the backbone.
        regularisation: factor of (n + alpha N) in the backbone's ridge.
    """

    items: Tensor
    users: Tensor
    placed: Tensor
    prior: ItemEncoder
    user_prior: ItemEncoder | None
    alpha: float
    regularisation: float


@dataclass(frozen=True)
class FitInputs:
    """The inputs that every component is fitted to.

    Attributes:
        likes: (n_users, n_items) of 1s.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text; text_dim may be 0.
        content: (n_items, width) float32: texts and vector columns, from `join_content`.
        links: the items' links.
        channels: the propagated features.
        vectors: the backbone's vectors.
        likeness: the vectors that `similar` ranks by.
        config: the settings.
        device: where to compute.
        earlier: the components that are fitted already, by name.
        start: components fitted to fewer likes, to start from, by name.
        on_epoch: called with (epoch from 1, mean loss) of the few-shot head's training.
        has_linked_users: whether any user is linked to another one.
        sequences: the likes in order; None where they have no times.
    """

    likes: csr_array
    text: Tensor
    content: NDArray[np.float32]
    links: NodeLinks
    channels: list[Channel]
    vectors: LearnedVectors
    likeness: Likeness
    config: TrainConfig
    device: str
    earlier: Mapping[str, Component] = field(default_factory=dict)
    start: Mapping[str, Component] = field(default_factory=dict)
    on_epoch: Callable[[int, float], None] | None = None
    has_linked_users: bool = False
    sequences: Sequences | None = None

    @property
    def n_likes(self) -> NDArray[np.int64]:
        """(n_items,) int64: how many users like each item."""
        return np.bincount(self.likes.indices, minlength=self.likes.shape[1])

    @property
    def liked(self) -> Tensor:
        """(n_items,) bool: whether an item has likes."""
        return torch.from_numpy(self.n_likes > 0)

    @property
    def link_weights(self) -> csr_array | None:
        """(n_items, n_codes): each item's links weighted by idf, of length 1; None: no two items share one."""
        return unit_idf_weights(self.links.incidence, self.links.idf) if self.links.idf.any() else None

    @cached_property
    def item_item(self) -> tuple[NeighbourMatrix, NeighbourMatrix]:
        """Item-item ridges for many likes and for few."""
        config = self.config.item_item
        text = self.text.numpy() if self.text.shape[1] and (config.text_weight or config.few_text_weight) else None
        settings = neighbour_settings(config, has_texts=text is not None)
        exact = int(np.count_nonzero(self.n_likes)) <= config.exact_items
        most = nearest_for(config, int(np.count_nonzero(np.diff(self.likes.indptr))))
        many, few = (
            fit_neighbours(
                self.likes, self.link_weights, text, one, exact_items=config.exact_items, nearest=nearest,
                kept=config.kept, rank=config.rank if exact else config.rank // 2, seed=self.config.seed,
            )
            for one, nearest in zip(settings, (most, (most + 1) // 2), strict=True)
        )  # fmt: skip
        return many, few


def neighbour_settings(config: ItemItemConfig, *, has_texts: bool) -> tuple[NeighbourSettings, NeighbourSettings]:
    """The settings of the item-item ridges for many likes and for few; texts count only if there are any."""
    many = NeighbourSettings(
        config.regularisation, config.dropout, config.link_weight, has_texts * config.text_weight,
        config.user_exponent, config.popularity_exponent,
    )  # fmt: skip
    few = NeighbourSettings(
        config.few_regularisation, config.few_dropout, config.link_weight, has_texts * config.few_text_weight,
        config.few_user_exponent, 0.0,
    )  # fmt: skip
    return many, few


def nearest_for(config: ItemItemConfig, n_users: int) -> int:
    """The number of items that a ridge is solved on: less with few users, whose likes span few directions."""
    return min(config.nearest, max(config.nearest // _LEAST_NEAREST, n_users // _USERS_PER_NEAREST))
