"""Content: kernel ridge from what an item is, its text and its links, straight to who likes it, for cold items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array, hstack
from torch import Tensor

from kgrec.config import ContentConfig
from kgrec.graph.propagation import LINKS, Channel, ItemLinks, unit_idf_weights
from kgrec.model.component import (
    HALF,
    INT8,
    DefaultWeights,
    ItemChange,
    Scale,
    Shares,
    Support,
    round_int8,
    sum_shares,
)
from kgrec.model.inputs import FitInputs
from kgrec.model.item_item import ItemItem, carry_neighbours
from kgrec.model.largest import find_largest
from kgrec.model.nearest import TEXT_SHARPNESS

_POPULARITY_EXPONENT = 0.3
_LINKS_DIM = 256
_BLOCK = 64  # items placed at once
_REFERENCES = 1000  # cold items that say how a user's scores spread
_ENOUGH_COLD = 300  # where there are fewer, liked items are references, placed as if they were cold

Expect = Callable[[csc_array], NDArray[np.float32]]  # (n_items, n) to (n_items, n)


@dataclass(frozen=True)
class Content:
    """A like of a liked item adds to a cold item what their likeness says; additive over a user's likes.

    A cold item's column is (K + ridge I)^-1 k over the liked items nearest to it, K being the kernel among these and k
    that of the item and these, each weight times popularity^-.3: kernel ridge on the neighbourhood alone, as
    nearest-neighbour Gaussian processes have it (Vecchia 1988; Datta et al. 2016), at a cost linear in items. The
    kernel is exp(8 (cosine of texts - 1) + link_weight cosine of links), the second in the leading directions of the
    idf-weighted incidence. What likes make expect of the liked items, by the item-item ridge, counts as likes too.

    Attributes:
        items: (n_items, 0): all of it is in `neighbours`.
        neighbours: (n_items, n_items) float32; row j is what a like of item j adds to cold items.
        reference: (n_items, n_references) float32: the columns of some cold items; where these are few, those of liked
            items, placed as if they were cold.
        features: (n_items, width) float32.
        strength: (n_items,) float32, popularity^-.3; zeros for items without likes.
        axes: (n_codes, links_dim) float32: what a link adds to a feature.
        idf: (n_codes,) float32.
        link_weight: see above.
        ridge: see above.
        nearest, kept: how many items a column is solved on, and how many weights of it stay.
        cold_scale: of nothing; `reference` says how scores spread.
    """

    name: ClassVar[str] = "content"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(cold=1.0)
    warm_scale = None
    items: Tensor
    neighbours: csr_array = field(metadata=HALF)
    reference: csr_array = field(metadata=HALF)
    features: Tensor = field(metadata=INT8)
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
        """Places the cold items, likes being those of users and what an item-item ridge expects of them."""
        item_item = inputs.earlier.get(ItemItem.name)
        expect = _expect_by(item_item) if isinstance(item_item, ItemItem) else None
        config = inputs.config.content
        return fit_content(
            inputs.likes, inputs.text.numpy(), inputs.links, inputs.channels, config, link_weight=config.link_weight,
            seed=inputs.config.seed, expect=expect,
        )  # fmt: skip

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): all of it is in `neighbours`."""
        return torch.zeros((support.likes.shape[0], 0))

    def shares(self, support: Support) -> Shares:
        """All of it is in `neighbours`."""
        return sum_shares(support, self.items)

    def place(
        self, text: NDArray[np.float32], codes: Sequence[NDArray[np.int64]], expect: Expect | None = None
    ) -> csc_array:
        """The columns of new items, (n_items, n) float32.

        Args:
            text: (n, text_dim) float32 unit vectors, zeros for an item without a text.
            codes: the link codes of each.
            expect: see `fit_content`.
        """
        return self._solve(self._read(text, codes), None, expect)

    def _read(self, text: NDArray[np.float32], codes: Sequence[NDArray[np.int64]]) -> Tensor:
        """The features of new items, (n, width), as they are stored."""
        sizes = [len(own) for own in codes]
        indices = np.concatenate([np.zeros(0, np.int64), *codes])
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        incidence = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(codes), len(self.idf)))
        linked = unit_idf_weights(incidence, self.idf.numpy()) @ self.axes.numpy()
        text_dim = self.features.shape[1] - self.axes.shape[1]
        return round_int8(torch.from_numpy(_to_features(text[:, :text_dim], linked, self.link_weight)))

    def _solve(self, features: Tensor, own: NDArray[np.int64] | None, expect: Expect | None) -> csc_array:
        """Columns, (n_items, n), of items with features (n, width); `own`: their rows, which they must not find."""
        liked = torch.nonzero(self.strength > 0).squeeze(1)
        shift = TEXT_SHARPNESS if self.features.shape[1] > self.axes.shape[1] else 0.0
        among, n_items = self.features[liked], len(self.strength)
        columns = [csc_array((n_items, 0), dtype=np.float32)]
        for start in range(0, len(features), _BLOCK):
            block = features[start : start + _BLOCK]
            near = block @ among.T  # (n, n_liked)
            if own is not None:
                rows = torch.from_numpy(own[start : start + _BLOCK])
                near = torch.where(liked == rows[:, None], -torch.inf, near)
            place = find_largest(near, min(self.nearest, len(liked) - (own is not None)))
            exponent = near.gather(1, place)
            found = among[place]  # (n, nearest, width)
            left = torch.exp(found @ found.transpose(1, 2) - shift)
            left.diagonal(dim1=1, dim2=2).add_(self.ridge)
            right = torch.exp(exponent - shift)
            solved = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(left)).squeeze(-1)
            solved *= self.strength[liked[place]]
            columns.append(self._prune(liked[place].numpy(), solved.numpy(), expect))
        return csc_array(hstack(columns, format="csc"))

    def _prune(self, rows: NDArray[np.int64], weights: NDArray[np.float32], expect: Expect | None) -> csc_array:
        """(n_items, n): columns of some weights at rows, (n, nearest) each, with what these make expect."""
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
        """New items are placed by their kernel; a like of one adds nothing.

        Where liked items are gone, all cold items are placed anew: what stood nearest to them may be gone.
        """
        text = change.text[torch.from_numpy(change.rows)].numpy()
        carried = replace(
            self, items=change.carry(self.items),
            features=change.carry(self.features, self._read(text, change.codes), round_int8),
            strength=change.carry(self.strength), reference=_carry_rows(self.reference, change),
            neighbours=carry_neighbours(self.neighbours, change),
        )  # fmt: skip
        rows = change.rows
        if int((carried.strength > 0).sum()) < int((self.strength > 0).sum()):
            rows = np.flatnonzero(carried.strength.numpy() == 0)
        if not len(rows):
            return carried
        placed = carried._solve(carried.features[torch.from_numpy(rows)], None, change.expect).tocoo()
        stays = np.ones(change.n_items, np.float32)
        stays[rows] = 0
        stored = placed.data.astype(np.float16).astype(np.float32)  # as a bundle has them
        shape = carried.neighbours.shape
        added = csr_array((stored, (placed.row, rows[placed.col])), shape=shape, dtype=np.float32)
        neighbours = csr_array(carried.neighbours @ diags_array(stays) + added)
        neighbours.eliminate_zeros()
        return replace(carried, neighbours=neighbours)


def fit_content(
    likes: csr_array,
    text: NDArray[np.float32],
    links: ItemLinks,
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
        channels: from `propagate`; that of the links is read.
        config: sizes and the regularisation, in diagonals of the kernel.
        link_weight: see `Content`.
        seed: of the choice of references.
        expect: (n_items, width) -> (n_items, width), what a like of each item makes expect of the others, times a
            matrix: these count as likes by so much; None: they do not.

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
    features = _to_features(text, unit_idf_weights(links.incidence, links.idf) @ axes, link_weight)
    features = round_int8(torch.from_numpy(features)).numpy()
    own = np.square(features[liked]).sum(axis=1) - (TEXT_SHARPNESS if text.shape[1] else 0.0)
    strength = np.where(counts > 0, np.maximum(counts, 1) ** -_POPULARITY_EXPONENT, 0).astype(np.float32)
    empty = torch.zeros((n_items, 0))
    unplaced = Content(
        items=empty, neighbours=csr_array((n_items, n_items), dtype=np.float32),
        reference=csr_array((n_items, 0), dtype=np.float32),
        features=torch.from_numpy(features),
        strength=torch.from_numpy(strength), axes=torch.from_numpy(axes),
        idf=torch.from_numpy(links.idf), link_weight=link_weight,
        ridge=config.regularisation * float(np.exp(own).mean()), nearest=config.nearest, kept=config.kept,
        cold_scale=Scale.of(empty),
    )  # fmt: skip
    cold = np.flatnonzero(counts == 0)
    whole = torch.from_numpy(features)
    columns = unplaced._solve(whole[torch.from_numpy(cold)], None, expect)
    reference, rng = unplaced.reference, np.random.default_rng(seed)
    if len(cold) >= _ENOUGH_COLD:
        drawn = np.sort(rng.choice(len(cold), min(_REFERENCES, len(cold)), replace=False))
        reference = csr_array(columns[:, drawn])
    elif len(liked) > 1:
        drawn = rng.choice(liked, min(_REFERENCES, len(liked)), replace=False)
        reference = csr_array(unplaced._solve(whole[torch.from_numpy(drawn)], drawn, expect))
    placed = columns.tocoo()
    neighbours = csr_array((placed.data, (placed.row, cold[placed.col])), shape=(n_items, n_items), dtype=np.float32)
    return replace(unplaced, neighbours=neighbours, reference=reference)


def _expect_by(item_item: ItemItem) -> Expect:
    """`ItemItem.expect` at the cost of a column's own entries: every weight is read once, not once for each block."""
    across, items, onto = csr_array(item_item.neighbours.T.tocsr()), item_item.items.numpy(), item_item.onto.numpy()

    def expect(values: csc_array) -> NDArray[np.float32]:
        by_column = csr_array(values.T)
        found: NDArray[np.float32] = (by_column @ across).toarray() + (by_column @ items) @ onto.T
        return found.T

    return expect


def _carry_rows(matrix: csr_array, change: ItemChange) -> csr_array:
    """The rows of the items that stay, and empty ones for new items."""
    kept = csr_array(matrix[change.kept])
    indptr = np.concatenate([kept.indptr, np.full(change.n_items - len(change.kept), kept.indptr[-1])])
    return csr_array((kept.data, kept.indices, indptr), shape=(change.n_items, matrix.shape[1]))


def _to_features(text: NDArray[np.float32], linked: NDArray[np.float32], link_weight: float) -> NDArray[np.float32]:
    """Features whose inner product is the kernel's exponent, up to a constant: (n, text_dim + links_dim) float32."""
    length = np.maximum(np.linalg.norm(linked, axis=1, keepdims=True), 1e-9)
    parts = [text * TEXT_SHARPNESS**0.5, linked / length * link_weight**0.5]
    return np.hstack(parts).astype(np.float32)
