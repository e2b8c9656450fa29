"""Twins: items, or users, that are one under two ids; found by locality-sensitive hashing in linear time."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

SAME_LINKS = 0.8  # twin items share so much of their links
NEAR_TEXTS, NEAR_LINKS = 0.97, 3  # cosine of nearly the same text; links that twins of such texts have in common
MOST_TWINS = 20  # a text that more items share says nothing of an item
SAME_LIKES, TWIN_LIKES = 0.8, 10  # twin users share so much of their likes (Jaccard), and have at least so many
_TABLES, _WINDOW, _BANDS, _ROWS_PER_BAND = 16, 8, 8, 4  # of the hashing
_BLOCK_PAIRS = 8192
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")

Rows = NDArray[np.int64]


def pair_twin_items(
    texts: Sequence[str], links: csr_array, vectors: NDArray[np.float32] | None, rng: np.random.Generator
) -> tuple[Rows, NDArray[np.bool_]]:
    """Pairs items that are one under two ids.

    Twins have the same text but for case, accents, punctuation and the order of words, and four fifths of the links of
    the one that has fewer (a remake of the same title has other people); or nearly the same text with the same numbers
    in it, and four fifths of all links that the two have, three at least (or none has any).

    Args:
        texts: the items' own texts, '' for none.
        links: (n_items, n_codes) of 1s: what each is linked to.
        vectors: (n_items, dim) float32 text vectors; None: nearly the same texts are not looked for.
        rng: of the hashing.

    Returns:
        (n, 2) rows, the lower first, and which of them have texts that differ a little, (n,) bool; these come last.
    """
    normal = [normalise_text(text) for text in texts]
    by_text: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(normal):
        if text:
            by_text[text].append(row)
    same = _to_pairs(
        (first, second)
        for rows in by_text.values()
        if len(rows) <= MOST_TWINS
        for place, first in enumerate(rows)
        for second in rows[place + 1 :]
    )
    near = _to_pairs(
        (first, second)
        for first, second in ([] if vectors is None else _pair_near(vectors, np.array([bool(t) for t in normal]), rng))
        if normal[first] != normal[second] and _numbers(texts[first]) == _numbers(texts[second])
    )
    n_links = np.diff(links.indptr)
    same = same[count_common(links, same) >= SAME_LINKS * n_links[same].min(axis=1, initial=np.iinfo(np.int32).max)]
    common = count_common(links, near)
    either = n_links[near].sum(axis=1) - common
    near = near[(either == 0) | ((common >= SAME_LINKS * either) & (common >= NEAR_LINKS))]
    return np.concatenate([same, near]), np.arange(len(same) + len(near)) >= len(same)


def pair_twin_users(likes: csr_array, rng: np.random.Generator) -> Rows:
    """Pairs users with ten likes or more of whose likes, both users' together, four fifths are in common.

    Candidates are found by MinHash (Broder, On the resemblance and containment of documents, 1997).

    Args:
        likes: (n_users, n_items) of 1s.
        rng: of the hashing.

    Returns:
        (n, 2) rows, the lower first.
    """
    users = np.flatnonzero(np.diff(likes.indptr) >= TWIN_LIKES)
    some = likes[users]
    found: set[tuple[int, int]] = set()
    for _ in range(_BANDS if len(users) else 0):
        band = [
            np.minimum.reduceat(rng.permutation(some.shape[1])[some.indices], some.indptr[:-1])
            for _ in range(_ROWS_PER_BAND)
        ]
        codes = np.unique(np.stack(band, axis=1), axis=0, return_inverse=True)[1].ravel()
        found |= _to_set(users[_neighbours(codes, np.diff(some.indptr))])
    pairs = _to_pairs(found)
    common = count_common(likes, pairs)
    twins: Rows = pairs[common >= SAME_LIKES * (np.diff(likes.indptr)[pairs].sum(axis=1) - common)]
    return twins


def normalise_text(text: str) -> str:
    """A text without case, accents, punctuation and order of words: "Matrix, The" is "The Matrix"."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))
    return " ".join(sorted(_WORD.findall(plain)))


def count_common(matrix: csr_array, pairs: Rows) -> NDArray[np.float64]:
    """How many columns two rows share, (n,), for pairs (n, 2) of rows of a matrix of 1s."""
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), _BLOCK_PAIRS):
        first, second = pairs[start : start + _BLOCK_PAIRS].T
        found[start : start + _BLOCK_PAIRS] = matrix[first].multiply(matrix[second]).sum(axis=1)
    return found


def _pair_near(
    vectors: NDArray[np.float32], known: NDArray[np.bool_], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs of known rows whose vectors are nearly parallel, by random hyperplanes (Charikar 2002)."""
    rows = np.flatnonzero(known)
    if not len(rows):
        return []
    x = vectors[rows] / np.maximum(np.linalg.norm(vectors[rows], axis=1, keepdims=True), 1e-12)
    centred = x - x.mean(axis=0)  # texts of one catalogue point one way: hyperplanes through 0 would not part them
    n_bits = int(np.log2(len(rows)))  # about as many buckets as rows
    found: set[tuple[int, int]] = set()
    for _ in range(_TABLES):
        sides = centred @ rng.normal(size=(x.shape[1], n_bits + 1)).astype(np.float32)  # (n, n_bits + 1)
        codes = (sides[:, :-1] > 0) @ (1 << np.arange(n_bits))
        pairs = _neighbours(codes.astype(np.int64), sides[:, -1])
        for start in range(0, len(pairs), _BLOCK_PAIRS):
            block = pairs[start : start + _BLOCK_PAIRS]
            near = np.einsum("nd,nd->n", x[block[:, 0]], x[block[:, 1]]) >= NEAR_TEXTS
            found |= _to_set(rows[block[near]])
    return sorted(found)


def _neighbours(codes: Rows, place: NDArray[np.generic]) -> Rows:
    """Pairs, (n, 2), with the same code, each row with the next few by place."""
    order = np.lexsort((place, codes))
    steps = range(1, min(_WINDOW, len(order) - 1) + 1)
    pairs = np.concatenate([np.zeros((0, 2), np.int64)] + [np.stack([order[:-n], order[n:]], axis=1) for n in steps])
    alike: Rows = pairs[codes[pairs[:, 0]] == codes[pairs[:, 1]]]
    return alike


def _to_set(pairs: Rows) -> set[tuple[int, int]]:
    return {(first, second) for first, second in np.sort(pairs, axis=1).tolist()}


def _to_pairs(pairs: Iterable[tuple[int, int]]) -> Rows:
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _numbers(text: str) -> list[str]:
    return sorted(_DIGITS.findall(text))
