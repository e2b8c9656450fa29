"""The contract of a component: one additive part of a score, as factors of users and items."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

if TYPE_CHECKING:
    from kgrec.model.inputs import FitInputs

_TINY, _TINIEST = 1e-9, 1e-12
_LOW_BITS = 0xFF  # of a float32's 24 significant ones
_ROUNDING = 1e-3  # relative to the mean score: what items differ by less is rounding, of half precision at the latest
HALF = {"stored": "half"}  # metadata of a field that a bundle stores in half precision
COARSE_HALF = {"stored": "coarse half"}  # likewise, of 6 significant bits: a file of them is smaller
INT8_LEVELS = 127
INT8 = {"stored": "int8"}  # likewise, as int8 with a scale for each row
SYMMETRIC = {"stored": "symmetric"}  # of a matrix of which one triangle is stored


@dataclass(frozen=True)
class DefaultWeights:
    """The weights that the gate's search starts from, chosen once across catalogues; 0 where none is given.

    Attributes:
        few, many: for items with likes, for supports of few and of many likes.
        cold: for the other items.
        none, none_cold: for users without likes.
        sentence, sentence_cold: for users known by a sentence.
        knows: how much more it counts, for all items, the fewer likes an item has on average; more than 0 where it
            knows texts and links: these weights count by how far texts and links are trusted.
        less_popular: how much more it counts, for items with likes, where a first list shows too many popular items.
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
    """What is known of some users.

    Attributes:
        likes: (n_users, n_items) float32: the weight of each like, 1 for all that nothing else is known of.
        text: (n_users, text_dim) float32, unit vectors of the users' sentences; None: there are none.
        placed: (n_users, dim) float32, the same sentences as item vectors of the backbone's space; None with `text`.
    """

    likes: csr_array
    text: Tensor | None = None
    placed: Tensor | None = None

    @property
    def n_likes(self) -> NDArray[np.int64]:
        """(n_users,) int64."""
        indptr = self.likes.indptr
        sizes: NDArray[np.int64] = (indptr[1:] - indptr[:-1]).astype(np.int64)
        return sizes

    def select(self, rows: NDArray[np.int64]) -> "Support":
        """That of some of the users, (n,) rows."""
        text, placed = (part if part is None else part[torch.from_numpy(rows)] for part in (self.text, self.placed))
        return Support(self.likes[rows], text, placed)


@dataclass(frozen=True)
class Shares:
    """One user's side of a component, taken apart; the parts add up to it.

    Attributes:
        likes: (n_likes, width) float32, what each like adds, in the order of the support's columns.
        sentence: (width,) float32.
        rest: (width,) float32, what is there without either.
    """

    likes: Tensor
    sentence: Tensor
    rest: Tensor

    @property
    def total(self) -> Tensor:
        """(width,) float32: the user's side."""
        return self.likes.sum(dim=0) + self.sentence + self.rest


@dataclass(frozen=True)
class ItemChange:
    """How a catalogue's items change: some stay, some are new, some are placed anew.

    Attributes:
        kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
        n_items: how many items there are then.
        rows: (n,) int64: the rows, as they become, of the new items and of others that are placed anew.
        placed: (n, dim) float32: what the prior makes of these.
        text: (n_items, text_dim) float32 unit vectors of all items, zeros where there is no text.
        codes: the link codes of each of the n items.
        known: (n, dim) float32: vectors of the texts and links of these, as `Knowledge` has them.
        expect: (n_items, width) -> (n_items, width): what likes of each item make expect of the others, times a matrix,
            once the items have changed; None: nothing.
    """

    kept: NDArray[np.int64]
    n_items: int
    rows: NDArray[np.int64]
    placed: NDArray[np.float32]
    text: Tensor
    codes: tuple[NDArray[np.int64], ...]
    known: Tensor
    expect: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None

    def carry(
        self, values: Tensor, placed: Tensor | None = None, rounding: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Values of all items as they become: those that stay keep theirs, the others get `placed`, or zeros.

        What is placed is rounded as a bundle stores it, so that it is the same once it was saved and read back.

        Args:
            values: (n_items before, ...).
            placed: (n, ...) for `rows`; None: only new items change, to zeros.
            rounding: as what the values are a field of is stored; None: `round_half`.
        """
        n_new = self.n_items - len(self.kept)
        zeros = torch.zeros((n_new, *values.shape[1:]), dtype=values.dtype)
        carried = torch.cat([values[torch.from_numpy(self.kept)], zeros])
        if placed is not None and len(self.rows):
            carried[torch.from_numpy(self.rows)] = (rounding or round_half)(placed).to(values.dtype)
        return carried


@dataclass(frozen=True)
class Scale:
    """Says how a user's scores spread over reference items, at a cost that does not grow with their number.

    Attributes:
        mean: (width,) float32, of the reference items' vectors.
        covariance: (width, width) float32.
    """

    mean: Tensor
    covariance: Tensor = field(metadata=SYMMETRIC)

    @classmethod
    def of(cls, items: Tensor) -> Self:
        """Measures reference items, (n, width); without any, all scores spread by 0."""
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

    The part of item i for user u is users(u) . items[i] + sum over likes j of weight_j neighbours[j, i]. The model
    centres it and divides it by its deviation over reference items, so that a weight means the same for every user and
    in every catalogue.

    A component is a frozen dataclass of tensors, sparse matrices, floats and further such dataclasses; a bundle stores
    it by its fields.
    """

    name: ClassVar[str]
    baseline: ClassVar[str]  # what it is called where it stands alone beside the blend; empty: it does not
    weights: ClassVar[DefaultWeights]

    @property
    def items(self) -> Tensor:
        """(n_items, width) float32; zeros for an item that the component says nothing of. Width may be 0."""

    @property
    def neighbours(self) -> csr_array | None:
        """(n_items, n_items) float32: row j is what a like of item j adds; None: nothing beside the factors."""

    @property
    def warm_scale(self) -> Scale | None:
        """Of the items with likes; None: the component says nothing of these."""

    @property
    def cold_scale(self) -> Scale | None:
        """Of items as the prior places them; None: the component says nothing of items without likes."""

    @property
    def reference(self) -> csr_array | None:
        """(n_items, n_references) float32: what likes add to items that stand for those without likes, beside the
        factors; None: nothing.
        """

    @classmethod
    def fit(cls, inputs: "FitInputs") -> Self | None:
        """Fits it to what `kgrec.model.inputs.FitInputs` holds; None: there is nothing to fit it to."""

    def users(self, support: Support) -> Tensor:
        """The users' factors, (n_users, width) float32."""

    def shares(self, support: Support) -> Shares:
        """Takes the factors of the one user of a support apart."""

    def with_items(self, change: ItemChange) -> Self:
        """The component of other items."""


@runtime_checkable
class Emphatic(Protocol):
    """A component that counts more for some users than for others."""

    def emphasis(self, support: Support) -> Tensor:
        """How much more or less it counts for each user, (n_users,) float32; 1 is as the gate has it."""


@runtime_checkable
class InBackboneSpace(Protocol):
    """A component whose items have vectors of the backbone's space, or of one that it is mapped to."""

    def with_vectors(self, rows: Tensor, vectors: Tensor) -> Component:
        """The component with some items, (n,) rows, at vectors of the backbone's space, (n, dim)."""


def round_half(values: Tensor) -> Tensor:
    """Values as they are when they have been stored in half precision and read back."""
    return values.half().float()


def round_int8(values: Tensor) -> Tensor:
    """Rows as they are when they have been stored as int8 with a scale for each, and read back."""
    if not values.numel():
        return values
    whole, scale = to_int8(values)
    return whole.float() * scale


def to_int8(values: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers and a scale for each row, (n, 1), by which they are multiplied to have the values back.

    A scale has 16 significant bits, so that no product is rounded and what has been rounded once stays as it is.

    Args:
        values: (n, width) float32, of one number at least.
    """
    scale = values.abs().amax(dim=-1, keepdim=True).clamp(min=_TINIEST) / INT8_LEVELS
    scale = ((scale.view(torch.int32) + _LOW_BITS) & ~_LOW_BITS).view(torch.float32)  # rounded up
    return (values / scale).round().to(torch.int8), scale


def round_text(text: Tensor) -> Tensor:
    """Text vectors, (n, text_dim), as a bundle stores them."""
    return round_int8(text)


def solve_each(component: Component, support: Support) -> Tensor:
    """The users' factors of users with a sentence, (n_users, width), one after the other from their shares."""
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
    """The product of likes and a matrix, dense: far faster than a sparse product, whose rows get long.

    Args:
        likes: (n_users, n_items) float32.
        matrix: (n_items, n) float32.

    Returns:
        (n_users, n) float32.
    """
    n_users, width, columns = likes.shape[0], matrix.shape[1], likes.indices
    if n_users == 1:  # without making matrices, which takes longer than this
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
    # entries of one place are added up by toarray
    by_like = csr_array((values, found.indices, found.indptr[likes.indptr]), shape=(n_users, width))
    return torch.from_numpy(np.asarray(by_like.toarray(), np.float32))


def deviate(mean: Tensor, variance: Tensor) -> Tensor:
    """1 / standard deviation, and 0 where there is none but for rounding: what is the same for all items says nothing.

    Args:
        mean: (n,) of scores.
        variance: (n,) of the same.
    """
    level, spread = mean.numpy(), np.sqrt(np.maximum(variance.numpy(), 0))
    told = spread > np.maximum(_ROUNDING * np.abs(level), _TINY)
    return torch.from_numpy(np.where(told, 1 / np.maximum(spread, _TINY), 0).astype(np.float32))
