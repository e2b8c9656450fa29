"""Finds items, and the nodes that items are linked to, by name or id; typing errors, accents and case are forgiven."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
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
_NEAR_WORD = 65.0  # of 100; a word that is less like every word of a name is not in it
_HALF_TYPED = 0.95  # a word like the start of a longer one
_NEAR_WHOLE = 0.75  # names that are less like the whole text are compared word by word alone
_SHORT, _SHORT_WEIGHT = 3, 0.3  # letters; shorter words ("of", "the") are in many names and say little
_WELL, _FEW = 75.0, 3  # fewer items that match so well by name: items linked to a node with such a name are listed too
_NODE, _BY_LINK = 70.0, 0.8  # the least match of the node; the share of it that its items get
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

    @cached_property
    def rarity(self) -> NDArray[np.float32]:
        """(2^16,) how much a group of letters says: log(1 + n / the names that have it)."""
        n_names = np.bincount(self.groups.indices, minlength=self.groups.shape[1])
        return np.log1p(len(self.ids) / np.maximum(n_names, 1)).astype(np.float32)

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
        shared = self.groups @ (np.asarray(_groups().transform([wanted]).todense()).ravel() * self.rarity)  # (n,)
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

    def find_items(self, bundle: Bundle, text: str, k: int, allowed: NDArray[np.bool_] | None = None) -> list[Match]:
        """Finds items by name or id; where few match well, also those linked to the node whose name matches best."""
        found = self.find(bundle, bundle.schema.item_type, text, k, allowed)
        if sum(each.match >= _WELL for each in found) >= min(_FEW, k):
            return found
        linked, match = self._find_linked(bundle, text, allowed)
        known, ids = bundle.model.n_likes.numpy(), bundle.items.ids
        matches = dict.fromkeys(linked.tolist(), _BY_LINK * match)
        matches |= {each.row: max(each.match, matches.get(each.row, 0.0)) for each in found}
        order = sorted(matches, key=lambda row: (-matches[row], -float(known[row]), ids[row]))
        return [Match(row, matches[row]) for row in order[:k]]

    def _find_linked(
        self, bundle: Bundle, text: str, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], float]:
        """The items that are linked to the node whose name matches best, and how well it matches; 0: none does."""
        ends = _list_far_ends(bundle)
        best_items, best = np.zeros(0, np.int64), 0.0
        for node_type in dict.fromkeys(far_type for far_type, _, _ in ends):
            links = [(items, nodes) for far_type, items, nodes in ends if far_type == node_type]
            n_nodes, names = len(bundle.ids[node_type]), bundle.names[node_type]
            every = np.ones(len(bundle.items), np.bool_) if allowed is None else allowed
            shown = np.fromiter((name is not None for name in names), np.bool_, n_nodes)
            shown &= np.logical_or.reduce([mark_linked(*link, every, n_nodes) for link in links])
            if not shown.any():
                continue
            found = self.find(bundle, node_type, text, 1, shown)
            if found and found[0].match >= _NODE and found[0].match > best:
                items = np.unique(np.concatenate([items[nodes == found[0].row] for items, nodes in links]))
                best_items, best = items[every[items]], found[0].match
        return best_items, best

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
    return max(by_id, _FUZZY * 100 * _liken(wanted, name))


def _liken(wanted: str, name: str) -> float:
    """How alike a text and a name are, 0 to 1: as a whole, or the start of the name, and word by word.

    A title may have a subtitle or a series behind it, so what the name has besides the text costs little.
    """
    whole = max(fuzz.ratio(wanted, name), fuzz.ratio(wanted, _cut(name, len(wanted)))) / 100
    asked, words = wanted.split(), name.split()
    total = found = 0.0
    for place, word in enumerate(asked):
        weight = len(word) * (_SHORT_WEIGHT if len(word) <= _SHORT else 1.0)
        near = max((fuzz.ratio(word, other) for other in words), default=0.0)
        if place == len(asked) - 1 and len(word) > _SHORT:  # it may be half typed
            near = max(near, *(_HALF_TYPED * fuzz.ratio(word, other[: len(word)]) for other in words))
        total += weight
        found += weight * near / 100 * (near >= _NEAR_WORD)
    return max(whole * (whole >= _NEAR_WHOLE), 0.85 * found / total + 0.15 * whole)


def _cut(name: str, length: int) -> str:
    """The first words of a name, about as long as a text: up to the end of the word where the length is reached."""
    end = name.find(" ", max(length - 2, 1))
    return name if end < 0 else name[:end]


def mark_linked(
    items: NDArray[np.int64], nodes: NDArray[np.int64], allowed: NDArray[np.bool_], n_nodes: int
) -> NDArray[np.bool_]:
    """Which nodes are linked to an allowed item, (n_nodes,); `items` and `nodes` are the two ends of the edges."""
    marked = np.zeros(n_nodes, np.bool_)
    marked[nodes[allowed[items]]] = True
    return marked


def _list_far_ends(bundle: Bundle) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """The node types that items are linked to, neither items nor users, with the items and the nodes of the edges."""
    schema, ends = bundle.schema, []
    for name, edge in schema.graph_edges.items():
        is_source = edge.source == schema.item_type
        far_type = edge.target if is_source else edge.source
        if schema.item_type in (edge.source, edge.target) and far_type not in (schema.item_type, schema.user_type):
            items, nodes = bundle.edges[name] if is_source else bundle.edges[name][::-1]
            ends.append((far_type, items, nodes))
    return ends


def _count_edges(bundle: Bundle, node_type: str) -> NDArray[np.int64]:
    """(n,) how many edges the nodes of a type have."""
    n_edges = np.zeros(len(bundle.ids[node_type]), np.int64)
    for name, edge in bundle.schema.graph_edges.items():
        for end, far_type in zip(bundle.edges[name], (edge.source, edge.target), strict=True):
            if far_type == node_type:
                n_edges += np.bincount(end, minlength=len(n_edges))
    return n_edges
