"""Twins: one item, or one user, under two ids. Found by locality-sensitive hashing in linear time."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.recommend.editions import normalise_text

SAME_LINKS = 0.8  # share of their links that twin items have in common
NEAR_TEXTS, NEAR_LINKS = 0.97, 3  # least cosine of nearly equal texts, and links that their items have in common
MOST_TWINS = 20  # a text of more items does not identify an item, and likes of more users do not identify a user
SAME_LIKES, TWIN_LIKES = 0.8, 10  # least Jaccard similarity of the likes of twin users, and least likes of each
_TABLES, _WINDOW = 16, 8  # for random hyperplanes
_PERMUTATIONS, _BANDS = 126, (18, 7)  # for MinHash: finds a pair of Jaccard similarity .8 with a probability of 98.6%
_BLOCK_PAIRS = 8192
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_ROMAN = re.compile(r"\b(?=[IVX]+\b)(X{0,3})(IX|IV|V?I{0,3})\b")
_ROMAN_VALUES = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9}
_NUMBER_WORDS = {
    word: number
    for words in ("one two three four five six seven eight nine ten", "first second third fourth fifth sixth seventh")
    for number, word in enumerate(words.split(), start=1)
}

Rows = NDArray[np.int64]


def pair_twin_items(
    texts: Sequence[str],
    names: Sequence[str],
    links: csr_array,
    vectors: NDArray[np.float32] | None,
    rng: np.random.Generator,
) -> tuple[Rows, NDArray[np.bool_]]:
    """Pairs items that are probably one item under two ids.

    Twins have equal texts up to case, accents, punctuation and word order, and share four fifths of the links of the
    one with fewer links (a remake of the same title has other people). Or they have nearly equal texts, and share four
    fifths of all their links and at least three (or neither has any). Names and texts of twins hold the same numbers:
    "Alien 2" and "Alien 3", "Part Two" and "Part III" are different items.

    Args:
        texts: the text of each item, '' for none.
        names: the name of each item, '' for none.
        links: (n_items, n_features) of 1s: the link features of each item.
        vectors: (n_items, dim) float32 text vectors; None: only equal texts count.
        rng: the random source of the hashing.

    Returns:
        Pairs, (n, 2) rows, the lower row first, equal texts first; and whether the texts of each pair differ, (n,)
        bool.
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
        if find_numbers(names[first]) == find_numbers(names[second])
    )

    def numbers_of(row: int) -> list[list[int]]:
        return [find_numbers(names[row]), find_numbers(texts[row])]

    near = _to_pairs(
        (first, second)
        for first, second in ([] if vectors is None else _pair_near(vectors, np.array([bool(t) for t in normal]), rng))
        if normal[first] != normal[second] and numbers_of(first) == numbers_of(second)
    )
    n_links = np.diff(links.indptr)
    same = same[count_common(links, same) >= SAME_LINKS * n_links[same].min(axis=1, initial=np.iinfo(np.int32).max)]
    common = count_common(links, near)
    either = n_links[near].sum(axis=1) - common
    near = near[(either == 0) | ((common >= SAME_LINKS * either) & (common >= NEAR_LINKS))]
    return np.concatenate([same, near]), np.arange(len(same) + len(near)) >= len(same)


def pair_twin_users(likes: csr_array, rng: np.random.Generator) -> Rows:
    """Pairs users with at least ten likes each whose likes have a Jaccard similarity of at least .8.

    Candidates are found by MinHash (Broder, On the resemblance and containment of documents, 1997). A user pairs with
    about 20 others at most.

    Args:
        likes: (n_users, n_items) of 1s.
        rng: the random source of the hashing.

    Returns:
        (n, 2) rows, the lower row first.
    """
    users = np.flatnonzero(np.diff(likes.indptr) >= TWIN_LIKES)
    liked = (likes.indices[likes.indptr[user] : likes.indptr[user + 1]].tolist() for user in users)
    seed = int(rng.integers(2**31))
    index = MinHashLSH(num_perm=_PERMUTATIONS, params=_BANDS)
    found: list[tuple[int, int]] = []
    hashes = MinHash.generator(liked, num_perm=_PERMUTATIONS, seed=seed, hashfunc=int)
    for user, minhash in zip(users.tolist(), hashes, strict=True):
        others = index.query(minhash)
        found += [(other, user) for other in others]
        if len(others) < MOST_TWINS:
            index.insert(user, minhash)
    pairs = _to_pairs(found)
    common = count_common(likes, pairs)
    twins: Rows = pairs[common >= SAME_LIKES * (np.diff(likes.indptr)[pairs].sum(axis=1) - common)]
    return twins


def find_numbers(text: str) -> list[int]:
    """The numbers in a text, ascending: digits, Roman numerals in capitals up to 39, and words from one to ten."""
    numbers = [int(digits) for digits in _DIGITS.findall(text)]
    numbers += [10 * len(tens) + _ROMAN_VALUES.get(ones, 0) for tens, ones in _ROMAN.findall(text)]
    numbers += [_NUMBER_WORDS[word] for word in _WORD.findall(text.casefold()) if word in _NUMBER_WORDS]
    return sorted(numbers)


def count_common(matrix: csr_array, pairs: Rows) -> NDArray[np.float64]:
    """The number of columns that two rows of a matrix of 1s share: (n,) for pairs (n, 2)."""
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
    centred = x - x.mean(axis=0)  # texts of one catalogue point one way: hyperplanes through 0 would not separate them
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
    """Pairs, (n, 2), of each row with the next few by place that have the same code."""
    order = np.lexsort((place, codes))
    steps = range(1, min(_WINDOW, len(order) - 1) + 1)
    pairs = np.concatenate([np.zeros((0, 2), np.int64)] + [np.stack([order[:-n], order[n:]], axis=1) for n in steps])
    alike: Rows = pairs[codes[pairs[:, 0]] == codes[pairs[:, 1]]]
    return alike


def _to_set(pairs: Rows) -> set[tuple[int, int]]:
    return {(first, second) for first, second in np.sort(pairs, axis=1).tolist()}


def _to_pairs(pairs: Iterable[tuple[int, int]]) -> Rows:
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)
