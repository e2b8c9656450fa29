"""Limits on how many items of a list may be linked to one node, such as two books of one author."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from graph_schema.near_names import find_near_name
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.attribute_values import split_name

AtMost = tuple[tuple[str, int], ...]  # pairs of a node type or edge type and the most items; can be hashed

_LIMITS_KEPT = 32  # of recent requests
_NODES_SEARCHED = 1000  # of the tree that the search for a full list branches into


@dataclass(frozen=True, eq=False)
class Limits:
    """How many items of a list may be linked to each node.

    Attributes:
        links: (n_items, n_nodes) of 1s: the nodes of each item that are limited.
        most: (n_nodes,) int64, at least 1.
    """

    links: csr_array
    most: NDArray[np.int64]

    def of(self, row: int) -> NDArray[np.int32]:
        """The limited nodes that an item is linked to."""
        found: NDArray[np.int32] = self.links.indices[self.links.indptr[row] : self.links.indptr[row + 1]]
        return found


class Room:
    """How many more items of a list may be linked to each node, while the list is made."""

    def __init__(self, limits: Limits) -> None:
        """Makes room for an empty list."""
        self._limits = limits
        self._left = limits.most.copy()

    def has(self, row: int) -> bool:
        """Whether one more item, by its row, keeps the limits."""
        return bool((self._left[self._limits.of(row)] > 0).all())

    def have(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of some items, (n,) rows, keeps the limits as the next one."""
        full = (self._left <= 0).astype(np.float32)  # (n_nodes,)
        allowed: NDArray[np.bool_] = self._limits.links[rows] @ full == 0
        return allowed

    def take(self, row: int) -> None:
        """Counts an item of the list."""
        self._left[self._limits.of(row)] -= 1


class LinkKinds:
    """The kinds of nodes that items are linked to, which limits may name.

    A kind is a node type, an edge type, or an attribute of items whose values are categories.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Finds the kinds; their links are collected at first use."""
        self._bundle = bundle
        self._edge_types: dict[str, list[str]] = {}
        self._links: dict[str, csr_array] = {}
        self._recent: dict[AtMost, Limits | None] = {}
        schema = bundle.schema
        no_nodes = (schema.item_type, schema.user_type)
        far_types = {
            name: edge.target if edge.source == schema.item_type else edge.source
            for name, edge in schema.graph_edges.items()
            if schema.item_type in (edge.source, edge.target) and not edge.derived
        }
        self._between = {name for name, far_type in far_types.items() if far_type == schema.item_type}
        linked = {name: far_type for name, far_type in far_types.items() if far_type not in no_nodes}
        for name, far_type in linked.items():
            self._edge_types.setdefault(far_type, []).append(name)
        for name in linked:  # a node type of the same name comes first
            self._edge_types.setdefault(name, [name])
        for name, codes in bundle.values.codes.items():
            node_type, attribute = split_name(schema, name)
            if node_type == schema.item_type and codes.kind == "category":
                self._edge_types.setdefault(attribute, [name])

    def limit(self, at_most: AtMost) -> Limits | None:
        """The limits of a request; None: it has none, or none that a list could break.

        Raises:
            RequestError: there is no such kind.
        """
        recent = self._recent  # a cache of a bound method would keep the bundle in a cycle
        if at_most in recent:
            return recent[at_most]
        if len(recent) >= _LIMITS_KEPT:
            self._recent = recent = {}
        found = recent[at_most] = self._find_limits(at_most)
        return found

    def _find_limits(self, at_most: AtMost) -> Limits | None:
        parts, most = [], []
        for kind, n_items in at_most:
            links = self._collect(kind)
            found = np.flatnonzero(np.bincount(links.indices, minlength=links.shape[1]) > n_items)
            parts.append(links[:, found])
            most.append(np.full(len(found), min(n_items, links.shape[0]), np.int64))
        if not sum(map(len, most)):
            return None
        return Limits(csr_array(hstack(parts, format="csr")), np.concatenate(most))

    def _collect(self, kind: str) -> csr_array:
        """(n_items, n_nodes) of 1s: the nodes of a kind that each item is linked to."""
        if kind not in self._edge_types:
            near = find_near_name(kind, self._edge_types)
            meant = "" if near is None else f" (did you mean {near!r}?)"
            kinds = list(self._edge_types)
            expected = f"expected one of {kinds}" if kinds else "they have none that can be limited"
            if kind in self._between:
                raise RequestError(f"at_most names {kind!r}, but links between items cannot be limited; {expected}")
            raise RequestError(f"at_most names {kind!r}, but items have no such links{meant}; {expected}")
        if kind not in self._links:
            bundle, item_type = self._bundle, self._bundle.schema.item_type
            pairs = []
            for name in self._edge_types[kind]:
                edge, ends = bundle.schema.edges[name], bundle.edges[name]
                far_type = edge.target if edge.source == item_type else edge.source
                items, nodes = ends if edge.source == item_type else ends[::-1]
                if edge.derived:  # a missing value is a node without a name
                    named = np.array([shown is not None for shown in bundle.names[far_type]], np.bool_)[nodes]
                    items, nodes = items[named], nodes[named]
                pairs.append((items, nodes))
            shape = (len(bundle.items), len(bundle.ids[far_type]))
            items, nodes = (np.concatenate(side) for side in zip(*pairs, strict=True))
            links = csr_array((np.ones(len(items), np.float32), (items, nodes)), shape=shape)
            links.sum_duplicates()
            links.data[:] = 1
            self._links[kind] = links
        return self._links[kind]


def read_at_most(at_most: Mapping[str, int] | None) -> AtMost:
    """Checks the limits of a request as far as possible without a bundle.

    Raises:
        RequestError: they are no mapping from names to whole numbers of at least 1.
    """
    if at_most is None:
        return ()
    if not isinstance(at_most, Mapping) or not all(isinstance(kind, str) for kind in at_most):
        raise RequestError(
            f"expected at_most as a mapping from a node type or an edge type to a whole number, such as "
            f"{{'author': 2}}, got {at_most!r}"
        )
    for kind, n_items in at_most.items():
        if not isinstance(n_items, Integral) or isinstance(n_items, bool) or int(n_items) < 1:
            raise RequestError(f"expected at_most of {kind!r} as a whole number of at least 1, got {n_items!r}")
    return tuple((kind, int(n_items)) for kind, n_items in at_most.items())


def describe_limits(at_most: AtMost) -> str:
    """Limits in words: "at most 2 of each author and 3 of each genre"."""
    return "at most " + " and ".join(f"{n_items} of each {kind}" for kind, n_items in at_most)


def find_fullest(rows: Iterable[int], limits: Limits, k: int) -> list[int]:
    """Finds up to k items that keep limits: as many as can be had and, of so many, those that rank best.

    Where items are linked to several limited nodes, the first items of a ranking may leave no room for a full list, and
    others would. This solves the packing as an integer programme, by a search of bounded length.

    Args:
        rows: the rows of all items that may be listed, best first.
        limits: the limits.
        k: the length of the list.

    Returns:
        The places in `rows` of the items found, ascending; none where the search is given up.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import, and rarely needed

    ranked = list(rows)
    alike: dict[bytes, int] = {}  # the linked nodes -> how many items have exactly these
    kept = []
    for place, row in enumerate(ranked):
        nodes = limits.of(row)
        n_alike = alike.get(nodes.tobytes(), 0)
        if n_alike < min([k, *limits.most[nodes].tolist()]):  # of more, the best would be listed
            alike[nodes.tobytes()] = n_alike + 1
            kept.append(place)
    if not kept:
        return []
    links = limits.links[[ranked[place] for place in kept]]
    gains = 1 + (1 - np.array(kept) / len(ranked)) / (2 * k)  # one more item outweighs all ranks
    rules = csr_array(hstack([links, np.ones((len(kept), 1), np.float32)], format="csr").T)
    found = milp(
        -gains,
        integrality=np.ones(len(kept)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rules, ub=np.append(limits.most, k)),
        options={"mip_rel_gap": 0, "node_limit": _NODES_SEARCHED},
    )
    chosen = np.zeros(len(kept), np.bool_) if found.x is None else found.x > 0.5  # noqa: PLR2004  # whole numbers
    keeps = (links.T @ chosen.astype(np.int64) <= limits.most).all()
    return np.array(kept)[chosen].tolist() if keeps else []
