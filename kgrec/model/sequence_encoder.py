"""Sequence encoder: a causal transformer reads a user's last likes in order, and its last state scores the items."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec.model.causal_transformer import TrainedTransformer, Transformer, train_transformer
from kgrec.model.component import HALF, INT8, DefaultWeights, ItemChange, Scale, Shares, Support, round_int8
from kgrec.model.inputs import FitInputs
from kgrec.model.knowledge import Knowledge

_BLOCK_PAIRS = 1_000_000  # pairs of likes at once
_SPLIT = 32  # the last likes with shares of their own
_MORE = 1 / 3  # of the epochs, from an earlier encoder on
_LEAST_EPOCHS = 2
_TINY = 1e-9

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SequenceEncoder:
    """Scores by w.z, w the state of a causal transformer after a user's last likes (Kang and McAuley 2018).

    An item's vector z is what training learned for it plus a linear map of its texts and links; an item without likes
    has the second part alone. Likes of the same time stand at the same place: they see each other, and w is the mean of
    the states of the last ones. A like of weight a attends as a likes would, and w is multiplied by the likes' mean
    weight. Users without an order have zeros.

    Attributes:
        items: (n_items, dim) float32.
        basis: (width, dim) float32: maps vectors of texts and links to those of `items`.
        transformer: its weights.
        longest: the number of last likes that are read.
        warm_scale: of the items with likes.
        cold_scale: of the same items by texts and links alone; None: there are none.
    """

    name: ClassVar[str] = "sequence"
    baseline: ClassVar[str] = "sequence encoder"
    weights: ClassVar[DefaultWeights] = DefaultWeights()  # it counts where validation bears it out
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    basis: Tensor = field(metadata=HALF)
    transformer: Transformer
    longest: int
    warm_scale: Scale
    cold_scale: Scale | None

    @classmethod
    def fit(cls, inputs: FitInputs) -> "SequenceEncoder | None":
        """Trains a transformer, or an earlier one a little more; None: the config has none, or likes have no order."""
        config, sequences = inputs.config.sequence, inputs.sequences
        if not config.layers or sequences is None or (np.diff(sequences.starts) < 2).all():  # noqa: PLR2004
            return None
        knowledge, liked, start = inputs.earlier.get(Knowledge.name), inputs.liked, inputs.start.get(cls.name)
        assert knowledge is None or isinstance(knowledge, Knowledge)
        assert start is None or isinstance(start, SequenceEncoder)
        content = torch.zeros((len(liked), 0)) if knowledge is None else knowledge.items
        epochs = min(config.epochs, max(config.most_read // len(sequences.items), _LEAST_EPOCHS))
        config, before = config.model_copy(update={"epochs": epochs}), None
        if start is not None:
            mapping = content.new_zeros((0, config.dim)) if knowledge is None else knowledge.basis.T @ start.basis
            before = TrainedTransformer(start.transformer, start.items - content @ mapping, mapping, 0.0, 0)
            config = config.model_copy(update={"epochs": math.ceil(config.epochs * _MORE)})
        trained = train_transformer(
            sequences, content, config, seed=inputs.config.seed, device=inputs.device, start=before
        )
        placed = content @ trained.from_content
        items = torch.where(liked[:, None], trained.own, 0.0) + placed
        basis = torch.zeros((0, config.dim)) if knowledge is None else knowledge.basis @ trained.from_content
        cold_scale = None if knowledge is None else Scale.of(placed[liked])
        return cls(items, basis, trained.transformer, config.longest, Scale.of(items[liked]), cold_scale)

    def users(self, support: Support) -> Tensor:
        """The states after the users' last likes, (n_users, dim)."""
        n_users, likes = support.likes.shape[0], _Likes.of(support, self.longest)
        users = torch.zeros((n_users, self.items.shape[1]))
        for rows, padded, present in likes.blocks(n_users):
            users[torch.from_numpy(rows)] = self._read(likes.select(padded), torch.from_numpy(present))
        return users

    def _read(self, likes: "_Likes", present: Tensor) -> Tensor:
        """The factors, (n, dim), of users with padded likes, (n, length), where those that are present count."""
        places, weights = torch.from_numpy(likes.places), torch.from_numpy(likes.weights)
        seen = present[:, None, :] & (places[:, None, :] >= places[:, :, None])
        seen |= torch.eye(places.shape[1], dtype=torch.bool)  # what is absent sees itself: nothing is divided by 0
        bias = torch.where(seen, weights.clamp(min=_TINY).log()[:, None, :], -torch.inf)
        states = self.transformer.states(self.items[torch.from_numpy(likes.columns)], -places, bias)
        last = places.masked_fill(~present, torch.inf)
        last = present & (last == last.amin(dim=1, keepdim=True))
        mean = (states * last[..., None]).sum(dim=1) / last.sum(dim=1, keepdim=True).clamp(min=1)
        return mean * (weights * present).sum(dim=1, keepdim=True) / present.sum(dim=1, keepdim=True).clamp(min=1)

    def shares(self, support: Support) -> Shares:
        """Splits a user's factors by what changes without each like; older likes share what changes without them all.

        What these changes do not add up to is split in proportion to their lengths.
        """
        whole, likes = self.users(support)[0], _Likes.of(support, self.longest)
        shares = torch.zeros((support.likes.nnz, len(whole)))
        if len(likes.columns):
            near = likes.places <= _SPLIT
            group = np.where(near, np.cumsum(near) - 1, near.sum())  # the older ones are the last group
            n_groups = int(group.max()) + 1
            present = torch.from_numpy(group != np.arange(n_groups)[:, None])
            without = self._read(likes.select(np.tile(np.arange(len(group)), (n_groups, 1))), present)
            changes = whole - without
            lengths = changes.norm(dim=1, keepdim=True) + _TINY
            changes += lengths / lengths.sum() * (whole - changes.sum(dim=0))
            sizes = torch.from_numpy(np.bincount(group))[:, None]
            shares[torch.from_numpy(likes.entries)] = (changes / sizes)[torch.from_numpy(group)]
        return Shares(shares, torch.zeros_like(whole), torch.zeros_like(whole))

    def with_items(self, change: ItemChange) -> "SequenceEncoder":
        """Gives new items the vectors of their texts and links."""
        placed = change.known @ self.basis if len(self.basis) else None
        return replace(self, items=change.carry(self.items, placed, round_int8))


@dataclass(frozen=True)
class _Likes:
    """The likes that are read, of all users one after the other, or padded.

    Attributes:
        columns, places, weights: of each like: its item, its place from the last, and its weight.
        owners: the user of each.
        entries: the place of each in the support's data.
    """

    columns: Rows
    places: NDArray[np.float32]
    weights: NDArray[np.float32]
    owners: Rows
    entries: Rows

    @classmethod
    def of(cls, support: Support, longest: int) -> "_Likes":
        """The last likes of a support, in any order; none without an order."""
        likes = support.likes if support.plain is None else support.plain
        places = np.zeros(0, np.float32) if support.order is None else support.order.places.data
        entries = np.flatnonzero(places <= longest)
        owners = np.searchsorted(likes.indptr, entries, "right") - 1
        return cls(likes.indices[entries].astype(np.int64), places[entries], likes.data[entries], owners, entries)

    def select(self, rows: Rows) -> "_Likes":
        """Some of the likes, in the shape of the rows."""
        columns, owners, entries = self.columns[rows], self.owners[rows], self.entries[rows]
        return _Likes(columns, self.places[rows], self.weights[rows], owners, entries)

    def blocks(self, n_users: int) -> Iterator[tuple[Rows, Rows, NDArray[np.bool_]]]:
        """Users, (n,), with likes of like numbers; the rows of their likes, (n, length); and which are no padding."""
        sizes = np.bincount(self.owners, minlength=n_users)
        starts = np.cumsum(sizes) - sizes
        order = np.argsort(-sizes, kind="stable")
        order = order[sizes[order] > 0]
        while len(order):
            length = int(sizes[order[0]])
            users, order = np.split(order, [max(_BLOCK_PAIRS // length**2, 1)])
            at = np.arange(length)
            present = at < sizes[users][:, None]
            yield users, np.where(present, starts[users][:, None] + at, starts[users][:, None]), present
