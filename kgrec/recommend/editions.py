"""Items that are one thing under several ids, such as editions of a book: who knows one knows the others."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kgrec.bundle import Bundle

_WORD = re.compile(r"\w+")
_MOST = 20  # a name that more items share is a label, such as "Untitled"
_SAME_TEXT = 0.97  # cosine


def find_editions(bundle: Bundle) -> csr_array:
    """(n_items, n_items) of 1s: for each item its other editions.

    Editions have the same name (see `normalise_text`), a linked node in common, and, if they have texts, nearly the
    same text.
    """
    n_items, text = len(bundle.items), bundle.model.text.numpy()
    by_name: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(bundle.names[bundle.schema.item_type]):
        if name is not None:
            by_name[normalise_text(name)].append(row)
    groups = [rows for words, rows in by_name.items() if words and 1 < len(rows) <= _MOST]
    group_of = np.full(n_items, -1, np.int64)
    for group, rows in enumerate(groups):
        group_of[rows] = group
    shared: dict[tuple[object, ...], list[int]] = defaultdict(list)  # a node, and a name -> the items
    for edge_type, ends in bundle.edges.items():
        edge = bundle.schema.edges[edge_type]
        for near, far, node_type in ((ends[0], ends[1], edge.source), (ends[1], ends[0], edge.target)):
            if node_type == bundle.schema.item_type:
                for row, node in zip(*(side[group_of[near] >= 0].tolist() for side in (near, far)), strict=True):
                    shared[edge_type, node_type == edge.source, node, int(group_of[row])].append(row)
    candidates = {pair for rows in shared.values() for pair in combinations(sorted(set(rows)), 2)}
    pairs = [pair for pair in sorted(candidates) if _is_same_text(text, *pair)]
    if not pairs:
        return csr_array((n_items, n_items), dtype=np.float32)
    first, other = np.array(pairs, np.int64).T
    ones = np.ones(len(first), np.float32)
    _, label = connected_components(csr_array((ones, (first, other)), shape=(n_items, n_items)), directed=False)
    found = np.unique(np.concatenate([first, other]))
    of_label = csr_array((np.ones(len(found), np.float32), (found, label[found])), shape=(n_items, label.max() + 1))
    together = csr_array(of_label @ of_label.T)
    together.setdiag(0)
    together.eliminate_zeros()
    return together


def extend_editions(
    editions: csr_array, names: frozenset[str], bundle: Bundle, added: Mapping[str, NDArray[np.int64]]
) -> tuple[csr_array, frozenset[str]] | None:
    """The editions after items are added; None where new ones may be editions, so that all must be found again.

    Args:
        editions: (n_before, n_before), from `find_editions`.
        names: the names of these items, from `normalise_names`.
        bundle: the bundle with the added items, which come last.
        added: edge type -> rows of both ends, (2, n), of the edges of added nodes.
    """
    n_before, n_items, item_type = editions.shape[0], len(bundle.items), bundle.schema.item_type
    for edge_type, ends in added.items():
        edge = bundle.schema.edges[edge_type]
        for near, end in zip(ends, (edge.source, edge.target), strict=True):
            if end == item_type and (near < n_before).any():  # what they are linked to may be what they have in common
                return None
    own = [words for words in map(_normalise, bundle.names[item_type][n_before:]) if words]
    if len(set(own)) < len(own) or not names.isdisjoint(own):
        return None
    indptr = np.concatenate([editions.indptr, np.full(n_items - n_before, editions.indptr[-1])])
    return csr_array((editions.data, editions.indices, indptr), shape=(n_items, n_items)), names.union(own)


def normalise_names(bundle: Bundle) -> frozenset[str]:
    """The names of all items, as `normalise_text` makes them."""
    return frozenset(map(_normalise, bundle.names[bundle.schema.item_type]))


def _normalise(name: str | None) -> str:
    return "" if name is None else normalise_text(name)


def _is_same_text(text: np.ndarray, one: int, other: int) -> bool:
    """Whether two items, by their rows of (n_items, text_dim), have nearly the same text, or one has none."""
    return not (text[one].any() and text[other].any()) or float(text[one] @ text[other]) >= _SAME_TEXT


def normalise_text(text: str) -> str:
    """A text without case, accents, punctuation and word order: "Matrix, The" equals "The Matrix"."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))
    return " ".join(sorted(_WORD.findall(plain)))
