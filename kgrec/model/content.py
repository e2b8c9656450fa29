"""Content: a kernel ridge from an item's text and links to the users who like it, for cold items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array, hstack
from torch import Tensor

from kgrec.config import ContentConfig
from kgrec.graph.node_links import NodeLinks, unit_idf_weights
from kgrec.graph.propagation import LINKS, Channel
from kgrec.model.component import (
    HALF,
    INT8,
    DefaultWeights,
    ItemChange,
    Scale,
    Shares,
    Support,
    round_int8,
    round_text,
    sum_shares,
)
from kgrec.model.inputs import FitInputs
from kgrec.model.item_item import ItemItem, carry_neighbours
from kgrec.model.largest import find_largest
from kgrec.model.nearest import TEXT_SHARPNESS

_POPULARITY_EXPONENT = 0.3
_LINKS_DIM = 256
_BLOCK = 64  # items placed at once
_REFERENCES = 1000  # items over which the spread of a user's scores is measured
_ENOUGH_COLD = 300  # with fewer cold items the references are liked items, placed as if they were cold

Expect = Callable[[csc_array], NDArray[np.float32]]  # (n_items, n) to (n_items, n)


@dataclass(frozen=True)
class Content:
    """Scores a cold item by the sum of its kernel weights over a user's likes.

    A cold item's column is (K + ridge I)^-1 k over the liked items nearest to it, K being the kernel among these and k
    that of the item and these, each weight times popularity^-.3: kernel ridge on the neighbourhood alone, as
    nearest-neighbour Gaussian processes have it (Vecchia 1988; Datta et al. 2016), at a cost linear in items. The
    kernel is exp(8 (cosine of texts - 1) + link_weight cosine of links), the second in the leading directions of the
    idf-weighted incidence. Likes that the item-item ridge predicts from a user's likes count too.

    Attributes:
        items: (n_items, 0): there are no factors, only `neighbours`.
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds to cold items.
        reference: (n_items, n_references) float32: the columns of some cold items; where these are few, those of liked
            items, placed as if they were cold.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text.
        linked: (n_items, links_dim) float32, whose inner product is the links' part of the kernel's exponent.
        strength: (n_items,) float32, popularity^-.3; zeros for items without likes.
        axes: (n_codes, links_dim) float32: what a link adds to a feature.
        idf: (n_codes,) float32.
        link_weight: see above.
        ridge: see above.
        nearest, kept: the number of items that a column is solved on, and of its weights that are kept.
        cold_scale: of factors of width 0; the spread of scores is measured by `reference`.
    """

    name: ClassVar[str] = "content"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(cold=1.0)
    warm_scale = None
    items: Tensor
    neighbours: csr_array = field(metadata=HALF)
    reference: csr_array = field(metadata=HALF)
    text: Tensor = field(metadata=INT8)
    linked: Tensor = field(metadata=INT8)
    strength: Tensor
    axes: Tensor = field(metadata=INT8)
    idf: Tensor
    link_weight: float
    ridge: float
    nearest: int
    kept: int
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Content | None":
        """Places the cold items by the users' likes and by those that the item-item ridge predicts."""
        item_item = inputs.earlier.get(ItemItem.name)
        expect = item_item.expect if isinstance(item_item, ItemItem) else None
        config = inputs.config.content
        return fit_content(
            inputs.likes, inputs.text.numpy(), inputs.links, inputs.channels, config, link_weight=config.link_weight,
            seed=inputs.config.seed, expect=expect,
        )  # fmt: skip

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): there are no factors, only `neighbours`."""
        return torch.zeros((support.likes.shape[0], 0))

    def shares(self, support: Support) -> Shares:
        """Shares of width 0: there are no factors, only `neighbours`."""
        return sum_shares(support, self.items)

    def _read_links(self, codes: Sequence[NDArray[np.int64]]) -> Tensor:
        """The vectors of the links of new items, (n, links_dim), rounded as a bundle stores them."""
        sizes = [len(own) for own in codes]
        indices = np.concatenate([np.zeros(0, np.int64), *codes])
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        incidence = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(codes), len(self.idf)))
        return _weigh_links(incidence, self.idf.numpy(), self.axes.numpy(), self.link_weight)

    def _features(self, rows: Tensor) -> Tensor:
        """(n, width): vectors of some items whose inner product is the kernel's exponent, up to a constant."""
        return torch.cat([self.text[rows] * TEXT_SHARPNESS**0.5, self.linked[rows]], dim=1)

    def _solve(self, items: NDArray[np.int64], expect: Expect | None, *, leave_out_own: bool = False) -> csc_array:
        """Columns, (n_items, n), of some items, (n,) rows; each may be left out of what its own is solved on."""
        liked = torch.nonzero(self.strength > 0).squeeze(1)
        shift = TEXT_SHARPNESS if self.text.shape[1] else 0.0
        n_items = len(self.strength)
        few = self._features(liked).T if 2 * len(liked) < n_items else None  # of many a copy takes much memory
        columns = [csc_array((n_items, 0), dtype=np.float32)]
        for start in range(0, len(items), _BLOCK):
            rows = torch.from_numpy(items[start : start + _BLOCK])
            if few is None:
                near = TEXT_SHARPNESS * (self.text[rows] @ self.text.T) + self.linked[rows] @ self.linked.T
                near = near[:, liked]  # (n, n_liked)
            else:
                near = self._features(rows) @ few
            if leave_out_own:
                near = torch.where(liked == rows[:, None], -torch.inf, near)
            place = find_largest(near, min(self.nearest, len(liked) - leave_out_own))
            exponent = near.gather(1, place)
            found = self._features(liked[place].flatten()).view(*place.shape, -1)  # (n, nearest, width)
            left = torch.exp(found @ found.transpose(1, 2) - shift)
            left.diagonal(dim1=1, dim2=2).add_(self.ridge)
            right = torch.exp(exponent - shift)
            solved = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(left)).squeeze(-1)
            solved *= self.strength[liked[place]]
            columns.append(self._prune(liked[place].numpy(), solved.numpy(), expect))
        return csc_array(hstack(columns, format="csc"))

    def _prune(self, rows: NDArray[np.int64], weights: NDArray[np.float32], expect: Expect | None) -> csc_array:
        """(n_items, n): columns with weights at rows, (n, nearest) each, and the likes predicted from these."""
        n_columns, n_items = len(rows), len(self.strength)
        owner = np.repeat(np.arange(n_columns), rows.shape[1])
        if expect is None:
            return csc_array((weights.ravel(), (rows.ravel(), owner)), shape=(n_items, n_columns))
        few = csc_array((weights.ravel(), (rows.ravel(), owner)), shape=(n_items, n_columns), dtype=np.float32)
        whole = expect(few)
        whole[rows.ravel(), owner] += weights.ravel()
        by_column = torch.from_numpy(np.ascontiguousarray(whole.T))
        kept = find_largest(by_column.abs(), min(self.kept, n_items))  # (n, n_kept)
        values, owner = by_column.gather(1, kept).numpy(), np.repeat(np.arange(n_columns), kept.shape[1])
        return csc_array((values.ravel(), (kept.numpy().ravel(), owner)), shape=(n_items, n_columns))

    def with_items(self, change: ItemChange) -> "Content":
        """Places new items by their kernel; a like of a new item adds nothing.

        When liked items are gone all cold items are placed anew, since their nearest items may be among them.
        """
        carried = replace(
            self, items=change.carry(self.items), text=change.text if self.text.shape[1] else change.carry(self.text),
            linked=change.carry(self.linked, self._read_links(change.codes), round_int8),
            strength=change.carry(self.strength), reference=_carry_rows(self.reference, change),
            neighbours=carry_neighbours(self.neighbours, change),
        )  # fmt: skip
        rows = change.rows
        if int((carried.strength > 0).sum()) < int((self.strength > 0).sum()):
            rows = np.flatnonzero(carried.strength.numpy() == 0)
        if not len(rows):
            return carried
        placed = carried._solve(rows, change.expect).tocoo()
        stays = np.ones(change.n_items, np.float32)
        stays[rows] = 0
        stored = placed.data.astype(np.float16).astype(np.float32)  # as a bundle stores them
        shape = carried.neighbours.shape
        added = csr_array((stored, (placed.row, rows[placed.col])), shape=shape, dtype=np.float32)
        neighbours = csr_array(carried.neighbours @ diags_array(stays) + added)
        neighbours.eliminate_zeros()
        return replace(carried, neighbours=neighbours)


def fit_content(
    likes: csr_array,
    text: NDArray[np.float32],
    links: NodeLinks,
    channels: list[Channel],
    config: ContentConfig,
    *,
    link_weight: float,
    seed: int,
    expect: Expect | None = None,
) -> Content | None:
    """Places the items without likes among those with likes.

    Args:
        likes: (n_users, n_items) of 1s.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text; text_dim may be 0.
        links: the items' links.
        channels: from `propagate`; only the channel of the links is read.
        config: sizes and the regularisation, in diagonals of the kernel.
        link_weight: see `Content`.
        seed: of the choice of references.
        expect: `ItemItem.expect`: the likes that it predicts count too, by their predicted values; None: none do.

    Returns:
        None where items have neither texts nor links, or nobody likes anything.
    """
    vectors = next((c.vectors for c in channels if c.name == LINKS and c.vectors is not None), None)
    axes = np.zeros((len(links.idf), 0), np.float32) if vectors is None else vectors[:, :_LINKS_DIM]
    counts = np.bincount(likes.indices, minlength=likes.shape[1])
    liked, n_items = np.flatnonzero(counts), likes.shape[1]
    if not (text.shape[1] or axes.shape[1]) or not len(liked):
        return None
    axes = round_int8(torch.from_numpy(np.ascontiguousarray(axes))).numpy()
    linked, stored = _weigh_links(links.incidence, links.idf, axes, link_weight), round_text(torch.from_numpy(text))
    own = TEXT_SHARPNESS * torch.linalg.vecdot(stored, stored) + torch.linalg.vecdot(linked, linked)  # (n_items,)
    own = own.numpy()[liked] - (TEXT_SHARPNESS if text.shape[1] else 0.0)
    strength = np.where(counts > 0, np.maximum(counts, 1) ** -_POPULARITY_EXPONENT, 0).astype(np.float32)
    empty = torch.zeros((n_items, 0))
    unplaced = Content(
        items=empty, neighbours=csr_array((n_items, n_items), dtype=np.float32),
        reference=csr_array((n_items, 0), dtype=np.float32),
        text=stored, linked=linked,
        strength=torch.from_numpy(strength), axes=torch.from_numpy(axes),
        idf=torch.from_numpy(links.idf), link_weight=link_weight,
        ridge=config.regularisation * float(np.exp(own).mean()), nearest=config.nearest, kept=config.kept,
        cold_scale=Scale.of(empty),
    )  # fmt: skip
    cold = np.flatnonzero(counts == 0)
    columns = unplaced._solve(cold, expect)
    reference, rng = unplaced.reference, np.random.default_rng(seed)
    if len(cold) >= _ENOUGH_COLD:
        drawn = np.sort(rng.choice(len(cold), min(_REFERENCES, len(cold)), replace=False))
        reference = csr_array(columns[:, drawn])
    elif len(liked) > 1:
        drawn = rng.choice(liked, min(_REFERENCES, len(liked)), replace=False)
        reference = csr_array(unplaced._solve(drawn, expect, leave_out_own=True))
    placed = columns.tocoo()
    neighbours = csr_array((placed.data, (placed.row, cold[placed.col])), shape=(n_items, n_items), dtype=np.float32)
    return replace(unplaced, neighbours=neighbours, reference=reference)


def _carry_rows(matrix: csr_array, change: ItemChange) -> csr_array:
    """The rows of the items that stay, and empty ones for new items."""
    kept = csr_array(matrix[change.kept])
    indptr = np.concatenate([kept.indptr, np.full(change.n_items - len(change.kept), kept.indptr[-1])])
    return csr_array((kept.data, kept.indices, indptr), shape=(change.n_items, matrix.shape[1]))


def _weigh_links(
    incidence: csr_array, idf: NDArray[np.float32], axes: NDArray[np.float32], link_weight: float
) -> Tensor:
    """Vectors of items' links, (n, links_dim), of length link_weight^.5, rounded as a bundle stores them."""
    linked = unit_idf_weights(incidence, idf) @ axes
    length = np.maximum(np.linalg.norm(linked, axis=1, keepdims=True), 1e-9)
    return round_int8(torch.from_numpy((linked / length * link_weight**0.5).astype(np.float32)))
