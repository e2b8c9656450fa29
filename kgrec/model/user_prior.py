"""User prior: what the graph says of a user, before and beside their likes."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from kgrec.model.backbone import Backbone
from kgrec.model.component import INT8, DefaultWeights, ItemChange, Scale, Shares, Support, round_int8
from kgrec.model.ials import solve_supports
from kgrec.model.inputs import FitInputs

_LEAST_UNIT = 1e-6


@dataclass(frozen=True)
class UserPrior:
    """Scores by w.z, w the centre that a user's closed form starts from, as far as the likes leave it.

    The centre c comes from the user's own links, attributes and texts, by the same propagation and map as an item's
    prior; it is 0 for a user without any of these. With likes,
    w = argmin sum_{i in S} (w.z_i)^2 + ridge |w - c|^2: the likes explain away the centre. Scores keep their size
    relative to those of known users, so that little evidence, and what the likes leave of it, counts little.

    Attributes:
        items: (n_items, dim) float32, as in the backbone.
        ridge_base, ridge_slope: the ridge is ridge_base + ridge_slope |S|.
        unit: the mean deviation of known users' scores, without the mean user's.
        warm_scale: the scale of items with likes.
        cold_scale: the scale of the same items at the prior's vectors.
    """

    name: ClassVar[str] = "user_prior"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(
        few=1.0, cold=0.5, none=0.4, none_cold=0.4, sentence=0.3, sentence_cold=0.3
    )
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    ridge_base: float
    ridge_slope: float
    unit: float
    warm_scale: Scale
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "UserPrior | None":
        """Measures the scores of known users; None: the catalogue has no links, attributes or texts of users."""
        backbone = inputs.earlier[Backbone.name]
        assert isinstance(backbone, Backbone)
        if inputs.vectors.user_prior is None:
            return None
        users = inputs.vectors.users[torch.from_numpy(np.diff(inputs.likes.indptr) > 0)]
        _, variance = backbone.warm_scale.measure(users - users.mean(dim=0))
        unit = float(variance.sqrt().mean()) if len(users) else 0.0
        return cls(
            backbone.items, backbone.ridge_base, backbone.ridge_slope, max(unit, _LEAST_UNIT), backbone.warm_scale,
            backbone.cold_scale,
        )  # fmt: skip

    def users(self, support: Support) -> Tensor:
        """What the likes leave of the centres; zeros for users without one."""
        if support.prior is None:
            return torch.zeros((support.likes.shape[0], self.items.shape[1]))
        if not support.likes.nnz:
            return support.prior
        # w is linear in the centre: the likes' own part is the backbone's.
        ridge = (self.ridge_base + self.ridge_slope * support.n_likes).astype(np.float32)
        with_centre = solve_supports(support.likes, self.items, ridge, 0.0, support.prior)
        return with_centre - solve_supports(support.likes, self.items, ridge, 0.0)

    def emphasis(self, support: Support, users: Tensor) -> Tensor:
        """The deviation of each user's scores, in units of a known user's."""
        return self.warm_scale.measure(users)[1].sqrt() / self.unit

    def shares(self, support: Support) -> Shares:
        """Puts all of it into the share of the graph."""
        width = self.items.shape[1]
        none = torch.zeros(width)
        return Shares(torch.zeros((support.likes.nnz, width)), none, none, self.users(support)[0])

    def with_items(self, change: ItemChange) -> "UserPrior":
        """New items get the prior's vectors."""
        return replace(self, items=change.carry(self.items, torch.from_numpy(change.placed), round_int8))

    def with_vectors(self, rows: Tensor, vectors: Tensor) -> "UserPrior":
        """The component with other vectors, (n, dim), for some items, (n,) rows."""
        return replace(self, items=self.items.index_copy(0, rows, round_int8(vectors)))
