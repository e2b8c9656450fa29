"""Finds items, and the nodes that items are linked to, by name or id; typing errors, accents and case are forgiven."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from scipy.sparse import csr_array, vstack

from kgrec.bundle import Bundle
from kgrec.ids import IdMap

_COMPARED = 200  # names that share most letter groups with the text are compared with it letter by letter
_LEAST = 55.0  # of 100; what matches less is not listed
_EXACT, _BY_ID, _START, _WORD, _FUZZY = 100.0, 99.0, 96.0, 92.0, 0.9
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ð": "d"})  # noqa: RUF001


@cache
def _groups() -> Any:
    """Counts groups of two and three letters within words, hashed: names that come later need no new vocabulary."""
    from sklearn.feature_extraction.text import HashingVectorizer  # slow to import, and most services search nothing

    return HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 3), n_features=2**16, norm=None, alternate_sign=False, binary=True,
        lowercase=False, dtype=np.float32,
    )  # fmt: skip


@dataclass(frozen=True)
class Match:
    """What a search found.

    Attributes:
        row: its row.
        match: how well it matches, above 0, at most 100.
    """

    row: int
    match: float


@dataclass(frozen=True, eq=False)
class NameIndex:
    """The names of the nodes of one type, for searches. It never changes.

    Attributes:
        ids: the ids of the nodes.
        names: their names, or None.
        folded: the names without accents and case; the id where there is no name.
        groups: (n, 2^16) of 1s: the groups of letters in the name and the id of each.
    """

    ids: IdMap
    names: Sequence[str | None]
    folded: Sequence[str]
    groups: csr_array

    def find(
        self,
        text: str,
        k: int,
        known: NDArray[np.floating] | NDArray[np.integer],
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[Match]:
        """Finds nodes by name or id.

        Args:
            text: what somebody typed.
            k: the most to return.
            known: (n,) how well known each is: of those that match alike the best known come first.
            allowed: (n,) bool: those that may be found; None: all.

        Returns:
            The matches, best first, always in the same order.
        """
        wanted = fold(text)
        exact = self.ids.row(text.strip())
        if not wanted and exact is None:
            return []
        shared = self.groups @ np.asarray(_groups().transform([wanted]).todense()).ravel()  # (n,)
        if allowed is not None:
            shared = np.where(allowed, shared, 0)
            exact = exact if exact is not None and allowed[exact] else None
        order = np.lexsort((-known, -shared))[:_COMPARED] if len(shared) <= _COMPARED else _take_most(shared, known)
        compared = {int(row): _compare(wanted, self.folded[row], fold(self.ids.ids[row])) for row in order}
        if exact is not None:
            compared[exact] = _EXACT
        found = [
            Match(row, score) for row, score in compared.items() if score >= _LEAST and (shared[row] or row == exact)
        ]
        found.sort(key=lambda each: (-each.match, -float(known[each.row]), self.ids.ids[each.row]))
        return found[:k]


class NameSearch:
    """Searches in the current names of bundles: the index of a node type is made at first use and follows changes."""

    def __init__(self) -> None:
        self._indexes: dict[str, NameIndex] = {}
        self._making = Lock()

    def find(
        self, bundle: Bundle, node_type: str, text: str, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[Match]:
        """Finds nodes of a type by name or id, best first; see `NameIndex.find`."""
        if node_type == bundle.schema.item_type:
            known = bundle.model.n_likes.numpy()
        else:
            known = _count_edges(bundle, node_type)
        return self._find_index(bundle, node_type).find(text, k, known, allowed)

    def _find_index(self, bundle: Bundle, node_type: str) -> NameIndex:
        ids, names = bundle.ids[node_type], bundle.names[node_type]
        with self._making:
            index = self._indexes.get(node_type)
            if index is None or index.ids is not ids or index.names is not names:
                index = self._indexes[node_type] = index_names(ids, names, index)
            return index


def fold(text: str) -> str:
    """A text without accents, case and punctuation: "Amélie (2001)" is "amelie 2001"."""
    letters = unicodedata.normalize("NFKD", text.casefold()).translate(_LETTERS)
    kept = (letter if letter.isalnum() else " " for letter in letters if not unicodedata.combining(letter))
    return " ".join("".join(kept).split())


def index_names(ids: IdMap, names: Sequence[str | None], before: NameIndex | None = None) -> NameIndex:
    """Makes the index of some names.

    Args:
        ids: the ids of the nodes.
        names: their names, or None.
        before: an index of nearly the same names: only those that differ are read anew.
    """
    n_before = 0 if before is None else len(before.ids)
    rows = np.full(len(ids), -1) if before is None else before.ids.rows(ids.ids)
    if before is not None:
        same = (row >= 0 and before.names[row] == name for row, name in zip(rows.tolist(), names, strict=True))
        rows[~np.fromiter(same, np.bool_, len(ids))] = -1
    new = np.flatnonzero(rows < 0)
    folded = [fold(names[row] or ids.ids[row]) or fold(ids.ids[row]) for row in new.tolist()]
    texts = (f"{name} {fold(ids.ids[row])}" for name, row in zip(folded, new.tolist(), strict=True))
    groups = csr_array(_groups().transform(texts)) if len(new) else csr_array((0, 2**16), dtype=np.float32)
    if before is None:
        return NameIndex(ids, names, folded, groups)
    rows[new] = n_before + np.arange(len(new))
    stacked = csr_array(vstack([before.groups, groups], format="csr"))[rows]
    every = [*before.folded, *folded]
    return NameIndex(ids, names, [every[row] for row in rows.tolist()], csr_array(stacked))


def _take_most(shared: NDArray[np.floating], known: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    """The rows that share most groups of letters with a text; of equals the best known."""
    level = shared + 0.5 * known / max(float(known.max(initial=0)), 1)
    return np.argpartition(-level, _COMPARED)[:_COMPARED]


def _compare(wanted: str, name: str, id_: str) -> float:
    """How well a text matches a name or an id, 0 to 100; all are folded."""
    if wanted == name:
        return _EXACT
    if wanted == id_:
        return _BY_ID
    if name.startswith(f"{wanted} "):
        return _START + 1
    if name.startswith(wanted):
        return _START
    if f" {wanted}" in name:
        return _WORD + (f" {wanted} " in f"{name} ")
    by_id = _WORD if id_.startswith(wanted) else 0.0
    return max(by_id, _FUZZY * fuzz.WRatio(wanted, name))


def _count_edges(bundle: Bundle, node_type: str) -> NDArray[np.int64]:
    """(n,) how many edges the nodes of a type have."""
    n_edges = np.zeros(len(bundle.ids[node_type]), np.int64)
    for name, edge in bundle.schema.graph_edges.items():
        for end, far_type in zip(bundle.edges[name], (edge.source, edge.target), strict=True):
            if far_type == node_type:
                n_edges += np.bincount(end, minlength=len(n_edges))
    return n_edges
