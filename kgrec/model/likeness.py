"""How alike items are, by three sources: likes of the same users beyond popularity, texts, and shared links.

Each source gives every item one dense vector. The likeness is the cosine of these vectors side by side, so a vector
index over them ranks exactly as `similar` does, and the share of each source in a likeness is known.

- likes: users and items are weighted down by their number of likes, the direction of popularity is removed, and the
  rest is factorised by a randomised SVD (Halko et al. 2011), as in correspondence analysis. The factors are scaled to
  unit length, and shortened for items with few likes, whose factors are less certain.
- text: text vectors are centred and partly whitened: what most texts of a catalogue have in common counts less.
- links: a link weighs more when few items share its node (idf) and when the item has few links of that relation. The
  weighted incidence is projected onto random signs (Achlioptas 2003), which keep inner products up to an error of
  dim^-0.5, however many link features there are. Up to `links_dim` link features are kept unprojected. An item with
  few links gets a shorter vector here, too.

The vector of an item with few likes is filled up to unit length by random signs of its own, nearly orthogonal to all
others. Otherwise the cosine, which divides by length, would favour items without likes.

The cost is linear in likes and links.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from kgrec.graph.node_links import NodeLinks
from kgrec.model.component import HALF, INT8, round_int8

LIKES, TEXT, LINKS = "likes", "text", "links"
SOURCES = (LIKES, TEXT, LINKS)
# Chosen once over beauty, ml-100k, ml-1m, ml-latest-small, lastfm-kg and citeulike-a (scripts/benchmarks/similar.py).
WEIGHTS: Mapping[str, float] = {LIKES: 0.5, TEXT: 1.0, LINKS: 0.7}
LIKES_DIM, LINKS_DIM = 192, 256
_USER_POWER = 0.5  # a like of a user with n likes weighs n^-0.5
_ITEM_SHRINKAGE = 10.0  # likes-worth of doubt before an item's likes shape the factors
_LIKES_CONFIDENCE = 1.0  # likes at which an item's likes count half
_LINKS_CONFIDENCE = 10.0  # links at which an item's links count half
_WHITENING = 0.35  # 0: texts as they are, 1: every direction of the text vectors counts the same
_LEAST_FILLED = 192  # dimensions of random signs: with fewer they are too much alike
_ITERATIONS, _OVERSAMPLES = 3, 20
_ROUNDING = 1e-4  # relative to a vector's length: shorter differences are rounding
_LEAST_CAPTURED = 1e-3  # of an item's squared length: with less in its factors, they are noise


@dataclass(frozen=True)
class Likeness:
    """The vectors that items are compared by. Text vectors are passed in, since the model has them already.

    Attributes:
        likes: (n_items, likes_dim) float32, of length sqrt(n / (n + 1)) for n likes; zeros without likes.
        links: (n_items, links_dim) float32, of length about sqrt(n / (n + 10)) for n links that another item shares.
        number: (n_items,) int64, a number of each item's own that seeds its random signs.
        text_mean: (text_dim,) float32, subtracted from text vectors.
        text_basis: (text_dim, text_dim) float32: centred text vectors times basis are whitened.
        idf: (n_codes,) float32, as in `NodeLinks`.
        relation: (n_codes,) int64, as in `NodeLinks`.
        seed: of the directions of the links.
    """

    likes: NDArray[np.float32] = field(metadata=INT8)
    links: NDArray[np.float32] = field(metadata=INT8)
    number: NDArray[np.int64]
    text_mean: NDArray[np.float32]
    text_basis: NDArray[np.float32] = field(metadata=HALF)
    idf: NDArray[np.float32]
    relation: NDArray[np.int64]
    seed: int

    @property
    def axes(self) -> NDArray[np.float32]:
        """(n_codes, links_dim) float32: each link feature's vector, before its weight."""
        return draw_axes(len(self.idf), self.links.shape[1], self.seed)

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.likes)

    def part(self, source: str, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """One source's vectors.

        Args:
            source: one of `SOURCES`.
            text: (n_items, text_dim) float32, as in `fit_likeness`; read for "text" alone.

        Returns:
            (n_items, dim) float32, at most of length 1; zeros for an item without data from the source.

        Raises:
            ValueError: no such source.
        """
        if source == LIKES:
            return self.likes
        if source == LINKS:
            return self.links
        if source != TEXT:
            raise ValueError(f"source {source!r}; expected one of {', '.join(SOURCES)}")
        return self.place_texts(text)

    def place_texts(self, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, text_dim) float32 unit vectors of texts, of items or of anything else; zeros where there is no text."""
        known = _has_content(text)
        centred = np.where(known[:, None] & np.isfinite(text), text - self.text_mean, 0).astype(np.float32)
        differs = np.linalg.norm(centred, axis=1) > _ROUNDING * np.linalg.norm(np.nan_to_num(text), axis=1)
        return _to_unit(np.where(differs[:, None], centred, 0) @ self.text_basis)

    def place_links(self, incidence: csr_array) -> NDArray[np.float32]:
        """(n, links_dim) float32 vectors of items by their links, (n, n_codes) of 1s."""
        weights = weigh_links(incidence, self.idf, self.relation)
        n_shared = incidence @ (self.idf > 0).astype(np.float32)  # (n,)
        lengths = np.sqrt(n_shared / (n_shared + _LINKS_CONFIDENCE)).astype(np.float32)
        return np.asarray((weights @ self.axes) * lengths[:, None], dtype=np.float32)

    def vectors(self, text: NDArray[np.float32], by: str | None = None) -> NDArray[np.float32]:
        """Unit vectors whose inner products, and so whose cosines, are the likeness of items.

        Args:
            text: (n_items, text_dim) float32, as in `fit_likeness`.
            by: one of `SOURCES` alone; None: all of them by `WEIGHTS`.

        Returns:
            (n_items, dim) float32; zeros for an item without any data.

        Raises:
            ValueError: no such source.
        """
        return self.vectors_of(slice(None), text, by)

    def vectors_of(
        self, rows: slice | NDArray[np.int64], text: NDArray[np.float32], by: str | None = None
    ) -> NDArray[np.float32]:
        """Those of `vectors` of some items, from their texts, (n, text_dim)."""
        few = self.select(rows)
        if by is not None:
            return _to_unit(few.part(by, text))
        parts = {name: few.part(name, text) for name in SOURCES}
        known = np.any([part.any(axis=1) for part in parts.values()], axis=0)
        if self._fills:
            doubt = np.sqrt(np.maximum(1 - np.square(few.likes).sum(axis=1), 0)) * known
            signs = _draw_signs(few.number, max(few.likes.shape[1], _LEAST_FILLED))
            parts[LIKES] = doubt[:, None] * signs
            parts[LIKES][:, : few.likes.shape[1]] += few.likes
        return _to_unit(np.hstack([np.float32(WEIGHTS[name] ** 0.5) * part for name, part in parts.items()]))

    def shares(
        self,
        rows: NDArray[np.int64],
        text: NDArray[np.float32],
        here: NDArray[np.int64],
        there: NDArray[np.int64],
    ) -> dict[str, NDArray[np.float32]]:
        """Splits the likeness of pairs of some items by source.

        Args:
            rows: (n_some,) int64, the items' rows.
            text: (n_some, text_dim) float32, their texts, as in `fit_likeness`.
            here: (n,) int64 places in `rows`.
            there: (n,) int64 places in `rows` of the items to compare them with.

        Returns:
            Source -> (n,) float32; they add up to the inner product of the pair's `vectors`, apart from the random
            signs' part.
        """
        few = self.select(rows)
        parts = {name: np.float32(WEIGHTS[name] ** 0.5) * few.part(name, text) for name in SOURCES}
        squares = {name: np.square(part).sum(axis=1) for name, part in parts.items()}  # (n_rows,) each
        if self._fills:
            squares[LIKES] = np.full(len(rows), WEIGHTS[LIKES])
        lengths = np.sqrt(sum(squares.values()))
        lengths = np.maximum(lengths[here] * lengths[there], 1e-12)
        return {
            name: (np.einsum("nd,nd->n", part[here], part[there]) / lengths).astype(np.float32)
            for name, part in parts.items()
        }

    def with_items(
        self,
        kept: NDArray[np.int64],
        n_items: int,
        rows: NDArray[np.int64],
        codes: Sequence[NDArray[np.int64]],
        number: NDArray[np.int64] | None = None,
    ) -> "Likeness":
        """The likeness after a change: some items are gone, some new, some have other links.

        New items are compared by links and texts alone; the others keep the vectors from their likes.

        Args:
            kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
            n_items: the number of items after the change.
            rows: (n,) int64: the rows, after the change, of the new items and of those with other links.
            codes: the link codes of these.
            number: (n_new,) int64 below 2^48: seeds of the new items' random signs; None: the next numbers.
        """
        if number is None:
            number = self.number.max(initial=-1) + 1 + np.arange(n_items - len(kept))
        likes = np.zeros((n_items, self.likes.shape[1]), np.float32)
        links = np.zeros((n_items, self.links.shape[1]), np.float32)
        stays = slice(None) if len(kept) == self.n_items else kept
        likes[: len(kept)], links[: len(kept)] = self.likes[stays], self.links[stays]
        sizes = np.array([len(own) for own in codes], np.int64)
        indices = np.concatenate([np.zeros(0, np.int64), *codes])
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        incidence = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), len(self.idf)))
        links[rows] = round_int8(torch.from_numpy(self.place_links(incidence))).numpy()  # as a bundle stores them
        return replace(self, likes=likes, links=links, number=np.concatenate([self.number[kept], number]))

    @property
    def _fills(self) -> bool:
        """Whether vectors of likes are filled up to unit length by random signs."""
        return bool(self.likes.any())

    def select(self, rows: slice | NDArray[np.int64]) -> "Likeness":
        """The likeness of some items, (n,) rows."""
        return replace(self, likes=self.likes[rows], links=self.links[rows], number=self.number[rows])


def fit_likeness(
    likes: csr_array,
    text: NDArray[np.float32] | None,
    links: NodeLinks,
    *,
    likes_dim: int = LIKES_DIM,
    links_dim: int = LINKS_DIM,
    seed: int = 0,
) -> Likeness:
    """Fits the vectors that items are compared by.

    Args:
        likes: (n_users, n_items) likes, weights of 0 and more.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text. Vector columns go beside
            them, see `join_content`; None: no texts.
        links: the items' links.
        likes_dim: the most directions of the likes to keep.
        links_dim: the width of the links' vectors.
        seed: of the random directions.
    """
    text = np.zeros((likes.shape[1], 0), np.float32) if text is None else text
    mean, basis = _fit_text(text)
    likeness = Likeness(
        likes=_factorise_likes(likes, likes_dim, seed),
        links=np.zeros((likes.shape[1], min(len(links.idf), links_dim)), np.float32),
        number=np.arange(likes.shape[1]),
        text_mean=mean,
        text_basis=basis,
        idf=links.idf,
        relation=links.relation,
        seed=seed,
    )
    return replace(likeness, links=likeness.place_links(links.incidence))


def join_content(text: NDArray[np.float32] | None, columns: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Puts text vectors and vector columns side by side, each of length 1, as `fit_likeness` expects `text`.

    Args:
        text: (n_items, text_dim) float32, zeros where an item has no text; None: no texts.
        columns: (n_items, width) float32 each, NaN where an item has none.

    Returns:
        (n_items, text_dim + widths) float32, NaN in the parts that an item lacks.

    Raises:
        ValueError: neither texts nor columns.
    """
    parts = [*([] if text is None else [text]), *columns]
    if not parts:
        raise ValueError("neither texts nor vector columns; expected at least one of them")
    known = [_has_content(part) & np.isfinite(part).all(axis=1) for part in parts]
    units = [_to_unit(np.where(has[:, None], part, 0)) for part, has in zip(parts, known, strict=True)]
    joined = [np.where(has[:, None], unit, np.nan) for unit, has in zip(units, known, strict=True)]
    return np.hstack(joined).astype(np.float32)


@lru_cache(maxsize=2)  # each added item makes a new model, with the same axes
def draw_axes(n_codes: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """(n_codes, dim) float32 random signs / sqrt(dim), nearly orthogonal; unit vectors where n_codes <= dim."""
    if n_codes <= dim:
        axes = np.eye(n_codes, dtype=np.float32)
    else:
        signs = np.random.default_rng(seed).integers(0, 2, (n_codes, dim), dtype=np.int8) * 2 - 1
        axes = signs.astype(np.float32) / np.float32(np.sqrt(dim))
    axes.flags.writeable = False
    return axes


def weigh_links(incidence: csr_array, idf: NDArray[np.float32], relation: NDArray[np.int64]) -> csr_array:
    """Weighs each item's links by idf / sqrt(links of that relation the item has), each item's weights of length 1.

    One director thus weighs as much as a whole cast. Links that no other item shares (idf 0) do not count.

    Args:
        incidence: (n_items, n_codes) of 1s.
        idf: (n_codes,) float32.
        relation: (n_codes,) int64.

    Returns:
        (n_items, n_codes) float32 with the entries of `incidence`.
    """
    n_items, n_relations = incidence.shape[0], int(relation.max(initial=0)) + 1
    owners = np.repeat(np.arange(n_items), np.diff(incidence.indptr))
    weights = idf[incidence.indices].astype(np.float64)
    groups = owners * n_relations + relation[incidence.indices]  # (n_links,) an item's links of one relation
    weights /= np.sqrt(np.maximum(np.bincount(groups[weights > 0], minlength=n_items * n_relations), 1))[groups]
    lengths = np.sqrt(np.bincount(owners, weights**2, n_items))
    weights /= np.maximum(lengths, 1e-9)[owners]
    return csr_array((weights.astype(np.float32), incidence.indices, incidence.indptr), shape=incidence.shape)


def _factorise_likes(likes: csr_array, dim: int, seed: int) -> NDArray[np.float32]:
    """(n_items, dim) float32: factors of the likes without popularity, longer for items with more likes."""
    n_users, n_items = likes.shape
    by_user, by_item = (np.asarray(likes.sum(axis=axis)).ravel().astype(np.float64) for axis in (1, 0))
    dim = min(dim, n_items - 1, n_users)
    if dim < 1 or not likes.nnz:
        return np.zeros((n_items, max(dim, 0)), np.float32)
    user_weights = np.maximum(by_user, 1) ** (-_USER_POWER / 2)
    item_weights = (by_item + _ITEM_SHRINKAGE) ** -0.5
    scaled = csr_array(diags_array(user_weights) @ likes @ diags_array(item_weights)).astype(np.float32)
    transposed = scaled.T.tocsr()
    popular = _to_unit((transposed @ (user_weights[:, None] * by_user[:, None])).astype(np.float32).T).T  # (n_items, 1)
    rng = np.random.default_rng(seed)
    width = min(dim + _OVERSAMPLES, n_items)
    basis = rng.standard_normal((n_items, width), dtype=np.float32)
    for _ in range(_ITERATIONS):
        basis = _project_out(basis, popular)
        basis, _ = np.linalg.qr(_project_out(transposed @ (scaled @ basis), popular))
    basis = _project_out(basis, popular)
    seen = scaled @ basis  # (n_users, width)
    values, rotation = np.linalg.eigh((seen.T @ seen).astype(np.float64))
    values, rotation = values[::-1][:dim], rotation[:, ::-1][:, :dim]
    factors = basis @ (rotation * np.sqrt(np.maximum(values, 0))).astype(np.float32)  # (n_items, dim)
    whole = np.asarray(transposed.multiply(transposed).sum(axis=1)).ravel()
    return _size_factors(factors, whole, by_item)


def factorise_gram(
    values: NDArray[np.float64],
    directions: NDArray[np.float64],
    counts: NDArray[np.int64],
    dim: int = LIKES_DIM,
) -> NDArray[np.float32]:
    """What `Likeness.likes` is, from the eigenvalues of a Gram matrix of likes instead of likes.

    Args:
        values: (rank,) float64, above 0.
        directions: (n_items, rank) float64, their eigenvectors.
        counts: (n_items,) int64: the likes of each item.
        dim: the most directions to keep.
    """
    roots = directions * np.sqrt(values)  # (n_items, rank): the Gram matrix is roots roots'
    scaled = roots / np.sqrt(counts + _ITEM_SHRINKAGE)[:, None]
    popular = _to_unit((scaled @ roots.sum(axis=0))[None, :]).T
    rest = _project_out(scaled, popular)
    left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    dim = min(dim, len(sizes), max(len(counts) - 1, 0))
    factors = (left[:, :dim] * sizes[:dim]).astype(np.float32)
    return _size_factors(factors, np.square(scaled).sum(axis=1), counts.astype(np.float64))


def _size_factors(
    factors: NDArray[np.float32], whole: NDArray[np.floating], by_item: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Factors of length sqrt(n / (n + 1)) for n likes; zeros where they capture next to nothing of the whole."""
    captured = np.square(factors).sum(axis=1) > _LEAST_CAPTURED * whole
    lengths = np.sqrt(by_item / (by_item + _LIKES_CONFIDENCE)) * captured
    return np.asarray(_to_unit(factors) * lengths[:, None], np.float32)


def _draw_signs(number: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """(n, dim) float32 random signs / sqrt(dim), the same for the same number (SplitMix64; Steele et al. 2014)."""
    places = np.arange(1, dim + 1, dtype=np.uint64)
    state: NDArray[np.uint64] = (number.astype(np.uint64)[:, None] * np.uint64(1 << 16) + places).astype(np.uint64)
    state = state * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return np.where(state >> np.uint64(63), 1, -1).astype(np.float32) / np.float32(np.sqrt(dim))


def _project_out(vectors: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vectors - direction @ (direction.T @ vectors)
    return found


def _fit_text(text: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean of the text vectors and the basis that partly whitens them.

    The covariance is shrunk towards a multiple of the identity, the more so the fewer texts there are.
    """
    dim = text.shape[1]
    rows = text[_has_content(text)]
    if len(rows) < 2 or not dim:  # noqa: PLR2004  # one text has no covariance
        return np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32)
    finite = np.isfinite(rows)
    mean = np.where(finite, rows, 0).sum(axis=0, dtype=np.float64) / np.maximum(finite.sum(axis=0), 1)
    centred = np.where(finite, rows - mean, 0).astype(np.float32)
    scatter = (centred.T @ centred).astype(np.float64)  # (dim, dim)
    even = np.trace(scatter) / dim / len(rows)
    if even <= _ROUNDING**2:  # all texts are the same
        return mean.astype(np.float32), np.eye(dim, dtype=np.float32)
    values, directions = np.linalg.eigh((scatter + dim * even * np.eye(dim)) / (len(rows) + dim))
    scales = (values / even) ** (-_WHITENING / 2)
    return mean.astype(np.float32), (directions * scales).astype(np.float32)


def _has_content(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.nan_to_num(vectors).any(axis=1), np.bool_)


def _to_unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
