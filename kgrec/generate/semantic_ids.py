"""Semantic ids: each item is a path of codes, from coarse to fine, so that items alike begin alike.

Residual k-means gives the codes: each level clusters what the levels above leave over (RQ-VAE of TIGER, Rajput et al.
2023, without the autoencoder, whose codebooks collapse). One more token tells items of equal codes apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MOST_CODES = 256
_ITEMS_PER_CODE = 8  # with fewer items, a first-level code says little more than the item
_MOST_SAMPLED = 100_000  # items that k-means sees
_MOST_ITERATIONS = 50
_BLOCK = 8192  # items compared with a codebook at once
_ROUNDING = 5  # decimals, of a vector's coordinates: smaller differences are no other vector
_LEAST_SPARE = 8  # collision tokens that no item has yet


@dataclass(frozen=True)
class SemanticIds:
    """The semantic ids of a catalogue.

    Attributes:
        codebooks: one for each level, (n_codes, dim) float32: what a code adds to an item's vector.
        codes: (n_items, levels + 1) int64: an item's codes, and the token that tells it from items of equal codes. No
            two rows are equal.
        sizes: the number of tokens of each level. Collision tokens beyond the last are read as the last.
    """

    codebooks: tuple[NDArray[np.float32], ...]
    codes: NDArray[np.int64]
    sizes: tuple[int, ...]

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.codes)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """(n_items, levels + 1) int64: the tokens that a network reads and scores, each below its level's size."""
        tokens: NDArray[np.int64] = np.minimum(self.codes, np.array(self.sizes) - 1)
        return tokens

    def quantise(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """(n, levels) int64 codes of vectors, (n, dim) float32: the nearest code of each level, one after the other."""
        residual = vectors.astype(np.float32, copy=True)
        codes = np.zeros((len(vectors), len(self.codebooks)), np.int64)
        for level, codebook in enumerate(self.codebooks):
            codes[:, level] = _find_nearest(residual, codebook)
            residual -= codebook[codes[:, level]]
        return codes

    def with_items(self, kept: NDArray[np.int64], vectors: NDArray[np.float32]) -> "SemanticIds":
        """The ids after a change: some items are gone, new ones come last; the ids of the others stay.

        Args:
            kept: (n_kept,) int64 rows of the items that stay, in their new order.
            vectors: (n_new, dim) float32 vectors of the new items, made as those of `fit_semantic_ids`.
        """
        own = self.codes[kept]
        new = self.quantise(vectors)
        used: dict[tuple[int, ...], int] = {}  # codes -> the next free collision token
        for *prefix, token in own[np.isin(own[:, 0], new[:, 0])].tolist():
            used[tuple(prefix)] = max(used.get(tuple(prefix), 0), token + 1)
        last = np.zeros((len(new), 1), np.int64)
        for row, prefix in enumerate(map(tuple, new.tolist())):
            last[row] = used.get(prefix, 0)
            used[prefix] = int(last[row, 0]) + 1
        return replace(self, codes=np.concatenate([own, np.hstack([new, last])]))


def fit_semantic_ids(
    vectors: NDArray[np.float32], *, levels: int = 4, n_codes: int | None = None, seed: int = 0
) -> SemanticIds:
    """Fits codebooks to item vectors and gives every item an id of its own.

    Args:
        vectors: (n_items, dim) float32, finite: texts, links and likes side by side, each scaled by what it counts.
        levels: the number of codebooks.
        n_codes: the most codes of a level; None: 256, fewer for fewer than 2,048 items.
        seed: of k-means, and of the order of items with equal codes, which the order of rows must not decide.
    """
    n_codes = min(MOST_CODES, max(2, len(vectors) // _ITEMS_PER_CODE)) if n_codes is None else n_codes
    rng = np.random.default_rng(seed)
    sample = vectors
    if len(vectors) > _MOST_SAMPLED:
        sample = vectors[np.sort(rng.choice(len(vectors), _MOST_SAMPLED, replace=False))]
    codebooks = _fit_codebooks(sample.astype(np.float32, copy=True), levels, n_codes, seed)
    codes = SemanticIds(tuple(codebooks), np.zeros((0, levels + 1), np.int64), ()).quantise(vectors)
    last = _number_collisions(codes, rng)
    n_last = int(last.max(initial=0)) + 1
    sizes = (*(len(codebook) for codebook in codebooks), n_last + max(_LEAST_SPARE, n_last // 4))
    return SemanticIds(tuple(codebooks), np.column_stack([codes, last]), sizes)


def _fit_codebooks(
    residual: NDArray[np.float32], levels: int, n_codes: int, seed: int
) -> Sequence[NDArray[np.float32]]:
    """Clusters vectors, then what is left over of them, level by level. Overwrites `residual`."""
    from sklearn.cluster import KMeans

    codebooks = []
    for level in range(levels):
        distinct = np.unique(residual.round(_ROUNDING) + 0.0, axis=0)  # + 0: -0 is 0
        if len(distinct) <= n_codes:
            codebook = distinct if len(distinct) else np.zeros((1, residual.shape[1]), np.float32)
        else:
            fitted = KMeans(n_codes, n_init=1, max_iter=_MOST_ITERATIONS, random_state=seed + level).fit(residual)
            codebook = fitted.cluster_centers_.astype(np.float32)
        codebooks.append(codebook)
        residual -= codebook[_find_nearest(residual, codebook)]
    return codebooks


def _find_nearest(vectors: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) int64: the nearest row of a codebook for each vector, the first of equals."""
    nearest = np.zeros(len(vectors), np.int64)
    half = np.square(codebook).sum(axis=1) / 2
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, start + _BLOCK)
        nearest[block] = (half - vectors[block] @ codebook.T).argmin(axis=1)
    return nearest


def _number_collisions(codes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n_items,) int64: 0, 1, 2 ... within items of equal codes, in random order."""
    if not len(codes):
        return np.zeros(0, np.int64)
    _, groups = np.unique(codes, axis=0, return_inverse=True)
    groups = groups.ravel()
    order = np.lexsort((rng.random(len(codes)), groups))
    firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - np.repeat(firsts, np.diff(firsts, append=len(codes)))
    return numbers
