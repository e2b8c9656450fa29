"""The contract of a component: one additive part of a score, as factors of users and items."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor, nn

from kgrec.sequences import Order

if TYPE_CHECKING:
    from kgrec.model.inputs import FitInputs

_TINY, _TINIEST = 1e-9, 1e-12
_LOW_BITS = 0xFF  # of a float32's 24 significant ones
_ROUNDING = 1e-3  # relative to the mean score: smaller differences are rounding, in half precision at the latest
HALF = {"stored": "half"}  # metadata of a field that a bundle stores in half precision
COARSE_HALF = {"stored": "coarse half"}  # half precision with 6 significant bits, which makes a smaller file
INT8_LEVELS = 127
_BLOCK_ROWS = 8192
INT8 = {"stored": "int8"}  # int8 with a scale for each row
SYMMETRIC = {"stored": "symmetric"}  # one triangle of a symmetric matrix


@dataclass(frozen=True)
class DefaultWeights:
    """The weights that the gate's search starts from, chosen once across catalogues; 0 where none is given.

    Attributes:
        few, many: for items with likes, for supports of few and of many likes.
        cold: for the other items.
        none, none_cold: for users without likes.
        sentence, sentence_cold: for users known by a sentence.
        knows: added, for all items, the more the fewer likes an item has on average. Above 0 for components that read
            texts and links; all their weights are multiplied by how far texts and links are trusted.
        less_popular: added, for items with likes, where the first list shows too many popular items.
    """

    few: float = 0.0
    many: float = 0.0
    cold: float = 0.0
    none: float = 0.0
    none_cold: float = 0.0
    sentence: float = 0.0
    sentence_cold: float = 0.0
    knows: float = 0.0
    less_popular: float = 0.0


@dataclass(frozen=True)
class Support:
    """The likes and sentences that users are scored by.

    Attributes:
        likes: (n_users, n_items) float32: the weight of each like, 1 by default.
        text: (n_users, text_dim) float32, unit vectors of the users' sentences; None: there are none.
        placed: (n_users, dim) float32, the same sentences as item vectors in the backbone's space; None: likewise.
        prior: (n_users, dim) float32, what the graph says of the users, from `Model.place_users`; None: nothing.
        linked: (n_users, n_items) float32, the weighted likes of the users whom they are linked to; None: nobody is.
        order: the order of the likes; None: they have none.
        plain: the likes before `recent` weighed them; None: they are not weighed.
    """

    likes: csr_array
    text: Tensor | None = None
    placed: Tensor | None = None
    prior: Tensor | None = None
    linked: csr_array | None = None
    order: Order | None = None
    plain: csr_array | None = None

    @property
    def n_likes(self) -> NDArray[np.int64]:
        """(n_users,) int64."""
        indptr = self.likes.indptr
        sizes: NDArray[np.int64] = (indptr[1:] - indptr[:-1]).astype(np.int64)
        return sizes

    def select(self, rows: NDArray[np.int64]) -> "Support":
        """The support of some of the users, (n,) rows."""
        parts = (self.text, self.placed, self.prior)
        text, placed, prior = (part if part is None else part[torch.from_numpy(rows)] for part in parts)
        linked, plain = (part if part is None else part[rows] for part in (self.linked, self.plain))
        order = None if self.order is None else self.order.select(rows)
        return Support(self.likes[rows], text, placed, prior, linked, order, plain)

    def recent(self, recency: NDArray[np.float32]) -> "Support":
        """The support whose likes weigh less the earlier they are: times recency^(place - 1).

        Args:
            recency: (n_users,) float32 in (0, 1]; where it is 1, and without an order, nothing changes.
        """
        if self.order is None or (recency == 1).all():
            return self
        places = self.order.places.data
        weights = np.repeat(recency, np.diff(self.likes.indptr)) ** (places - 1)
        data = (self.likes.data * weights).astype(np.float32)
        likes = csr_array((data, self.likes.indices, self.likes.indptr), shape=self.likes.shape)
        return replace(self, likes=likes, plain=self.likes)


@dataclass(frozen=True)
class Shares:
    """One user's side of a component, taken apart; the parts add up to it.

    Attributes:
        likes: (n_likes, width) float32, what each like adds, in the order of the support's columns.
        sentence: (width,) float32, what the sentence adds.
        rest: (width,) float32, the part that depends on neither.
        prior: (width,) float32, what the graph says of the user; None: zeros.
    """

    likes: Tensor
    sentence: Tensor
    rest: Tensor
    prior: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """(width,) float32: the user's side."""
        total = self.likes.sum(dim=0) + self.sentence + self.rest
        return total if self.prior is None else total + self.prior


@dataclass(frozen=True)
class ItemChange:
    """How a catalogue's items change: some stay, some are new, some are placed anew.

    Attributes:
        kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
        n_items: the number of items after the change.
        rows: (n,) int64: the rows, after the change, of the new items and of others that are placed anew.
        placed: (n, dim) float32: the prior's vectors of these.
        text: (n_items, text_dim) float32 unit vectors of all items as a bundle stores them; zeros without a text.
        codes: the link codes of each of the n items.
        known: (n, dim) float32: vectors of their texts and links, as `join_knowledge` makes them.
        expect: `ItemItem.expect` of the changed items; None: likes predict no other likes.
    """

    kept: NDArray[np.int64]
    n_items: int
    rows: NDArray[np.int64]
    placed: NDArray[np.float32]
    text: Tensor
    codes: tuple[NDArray[np.int64], ...]
    known: Tensor
    expect: Callable[[csc_array], NDArray[np.float32]] | None = None

    def carry(
        self, values: Tensor, placed: Tensor | None = None, rounding: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The values of all items after the change: items that stay keep theirs, the others get `placed`, or zeros.

        Placed values are rounded as a bundle stores them, so that saving and loading changes nothing.

        Args:
            values: (n_items before, ...).
            placed: (n, ...) for `rows`; None: only new items change, to zeros.
            rounding: how the bundle stores these values; None: `round_half`.
        """
        n_kept = len(self.kept)
        carried = torch.zeros((self.n_items, *values.shape[1:]), dtype=values.dtype)
        carried[:n_kept] = values if n_kept == len(values) else values[torch.from_numpy(self.kept)]
        if placed is not None and len(self.rows):
            carried[torch.from_numpy(self.rows)] = (rounding or round_half)(placed).to(values.dtype)
        return carried


@dataclass(frozen=True)
class Scale:
    """The mean and covariance of reference items, from which the spread of any user's scores follows at a fixed cost.

    Attributes:
        mean: (width,) float32, of the reference items' vectors.
        covariance: (width, width) float32.
    """

    mean: Tensor
    covariance: Tensor = field(metadata=SYMMETRIC)

    @classmethod
    def of(cls, items: Tensor) -> Self:
        """Measures reference items, (n, width); without any, mean and covariance are 0."""
        if not len(items):
            width = items.shape[1]
            return cls(torch.zeros(width), torch.zeros(width, width))
        mean = items.mean(dim=0)
        centred = items - mean
        covariance = centred.T @ centred / len(items)
        return cls(mean, (covariance + covariance.T) / 2)

    def measure(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the reference items of the scores of users, (n, width): two (n,) tensors."""
        return users @ self.mean, ((users @ self.covariance) * users).sum(dim=1).clamp(min=0)


class Component(Protocol):
    """One additive part of a score: users' factors times items' factors, plus rows of a sparse matrix.

    The part of item i for user u is users(u) . items[i] + sum over likes j of weight_j neighbours[j, i], and what
    `AddsRows` adds. The model
    centres it and divides it by its deviation over reference items, so that a weight means the same for every user and
    in every catalogue.

    A component is a frozen dataclass of tensors, sparse matrices, floats and further such dataclasses; a bundle stores
    it by its fields.
    """

    name: ClassVar[str]
    baseline: ClassVar[str]  # its name as a baseline of its own; empty: it is none
    weights: ClassVar[DefaultWeights]

    @property
    def items(self) -> Tensor:
        """(n_items, width) float32; zeros for an item that the component does not score. Width may be 0."""

    @property
    def neighbours(self) -> csr_array | None:
        """(n_items, n_items) float32: row j is what a like of item j adds; None: there are factors only."""

    @property
    def warm_scale(self) -> Scale | None:
        """The scale of items with likes; None: the component does not score them."""

    @property
    def cold_scale(self) -> Scale | None:
        """The scale of items as the prior places them; None: the component does not score items without likes."""

    @property
    def reference(self) -> csr_array | None:
        """(n_items, n_references) float32: what likes add, beside the factors, to reference items that stand for the
        items without likes; None: there are none.
        """

    @classmethod
    def fit(cls, inputs: "FitInputs") -> Self | None:
        """Fits the component; None: the inputs lack what it needs."""

    def users(self, support: Support) -> Tensor:
        """The users' factors, (n_users, width) float32."""

    def shares(self, support: Support) -> Shares:
        """Splits the factors of a support's only user by like, sentence and rest."""

    def with_items(self, change: ItemChange) -> Self:
        """The component after a change of items."""


@runtime_checkable
class Emphatic(Protocol):
    """A component whose weight depends on the user."""

    def emphasis(self, support: Support, users: Tensor) -> Tensor:
        """The factor of the gate's weight for each user, (n_users,) float32.

        Args:
            support: of the users.
            users: their factors, as `Component.users` gives them.
        """


@runtime_checkable
class Ordered(Protocol):
    """A component that weighs the likes of its neighbours by their order itself."""

    def weigh(self, support: Support) -> csr_array:
        """The likes, (n_users, n_items), with the weights that `neighbours` are multiplied by."""


@runtime_checkable
class AddsRows(Protocol):
    """A component whose part has rows of its own, which neither factors nor neighbours give."""

    def added(self, support: Support) -> csr_array | None:
        """(n_users, n_items) float32, what is added to the part for what the graph says; None: nothing."""


@runtime_checkable
class InBackboneSpace(Protocol):
    """A component whose items have vectors in the backbone's space, or in a linear map of it."""

    def with_vectors(self, rows: Tensor, vectors: Tensor) -> Component:
        """The component with some items, (n,) rows, at other vectors of the backbone's space, (n, dim)."""


def round_half(values: Tensor) -> Tensor:
    """Values as they come back after they are stored in half precision."""
    return values.half().float()


def round_int8(values: Tensor) -> Tensor:
    """Rows as they come back after they are stored as int8 with a scale for each."""
    if not values.numel():
        return values
    whole, scale = to_int8(values)
    return whole.float() * scale


def to_int8(values: Tensor) -> tuple[Tensor, Tensor]:
    """Splits rows into int8 numbers and a scale for each row, (n, 1); their product gives the values back.

    A scale has 16 significant bits, so that products are exact and rounding twice is rounding once.

    Args:
        values: (n, width) float32, not empty.
    """
    scale = values.abs().amax(dim=-1, keepdim=True).clamp(min=_TINIEST) / INT8_LEVELS
    scale = ((scale.view(torch.int32) + _LOW_BITS) & ~_LOW_BITS).view(torch.float32)  # rounded up
    return (values / scale).round().to(torch.int8), scale


def round_text(text: Tensor) -> Tensor:
    """Text vectors, (n, text_dim), as a bundle stores them."""
    rounded = torch.empty_like(text)
    for start in range(0, len(text), _BLOCK_ROWS):  # what is needed on the way stays small
        rounded[start : start + _BLOCK_ROWS] = round_int8(text[start : start + _BLOCK_ROWS])
    return rounded


def solve_each(component: Component, support: Support) -> Tensor:
    """The factors of users with sentences, (n_users, width), computed one by one from their shares."""
    assert support.placed is not None
    each = (Support(support.likes[[row]], None, support.placed[[row]]) for row in range(support.likes.shape[0]))
    return torch.stack([component.shares(one).total for one in each])


def sum_shares(support: Support, vectors: Tensor) -> Shares:
    """The shares of a component whose users are weighted sums of their likes' vectors, (n_items, width)."""
    weights = torch.from_numpy(support.likes.data)[:, None]
    width = vectors.shape[1]
    own = vectors[torch.from_numpy(support.likes.indices.astype(np.int64))] * weights
    return Shares(own, torch.zeros(width), torch.zeros(width))


def sum_likes(likes: csr_array, vectors: Tensor) -> Tensor:
    """(n_users, width): the weighted sum of the vectors, (n_items, width), of each row's likes."""
    columns, starts = (torch.from_numpy(part.astype(np.int64, copy=False)) for part in (likes.indices, likes.indptr))
    weights = torch.from_numpy(np.asarray(likes.data, np.float32))
    return nn.functional.embedding_bag(
        columns, vectors, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def add_rows(likes: csr_array, matrix: csr_array) -> Tensor:
    """The dense product of likes and a sparse matrix; far faster than a sparse product, whose rows fill up.

    Args:
        likes: (n_users, n_items) float32.
        matrix: (n_items, n) float32.

    Returns:
        (n_users, n) float32.
    """
    n_users, width, columns = likes.shape[0], matrix.shape[1], likes.indices
    if n_users == 1:  # building sparse matrices would take longer than the product
        starts = matrix.indptr[columns]
        sizes = matrix.indptr[columns + 1] - starts
        ends = np.cumsum(sizes)
        places = np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1] if len(ends) else 0)
        values = matrix.data[places] * np.repeat(likes.data, sizes)
        return torch.from_numpy(np.bincount(matrix.indices[places], values, width).astype(np.float32))[None]
    found = matrix[columns]
    values = found.data
    if (likes.data != 1).any():
        values = values * np.repeat(likes.data, np.diff(found.indptr))
    # toarray adds up entries at the same place
    by_like = csr_array((values, found.indices, found.indptr[likes.indptr]), shape=(n_users, width))
    return torch.from_numpy(np.asarray(by_like.toarray(), np.float32))


def spread_rows(rows: csr_array, n_items: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over n_items of sparse scores, (n_users, ...), that are 0 elsewhere: two (n_users,) tensors."""
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    mean, square = (np.bincount(owners, rows.data**power, rows.shape[0]) / max(n_items, 1) for power in (1, 2))
    return torch.from_numpy(mean).float(), torch.from_numpy(np.maximum(square - mean**2, 0)).float()


def deviate(mean: Tensor, variance: Tensor) -> Tensor:
    """1 / standard deviation, or 0 where items differ by rounding alone.

    Args:
        mean: (n,) of scores.
        variance: (n,) of the same.
    """
    level, spread = mean.numpy(), np.sqrt(np.maximum(variance.numpy(), 0))
    differs = spread > np.maximum(_ROUNDING * np.abs(level), _TINY)
    return torch.from_numpy(np.where(differs, 1 / np.maximum(spread, _TINY), 0).astype(np.float32))
