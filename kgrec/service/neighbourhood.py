"""What an item is linked to in the graph, and the items that share these nodes, the most telling first."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from graph_schema import EdgeType
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.paths import rank_value
from kgrec.messages import GraphEdge, GraphNode, NeighbourhoodAnswer

_HUB = 0.5  # of all items; a node that more of them share says little about any


@dataclass(frozen=True, eq=False)
class _Linked:
    """A node that the item is linked to by one edge type, and the items that are linked to it in the same way."""

    edge_type: str
    is_source: bool  # whether items are the sources of the edge type
    node_type: str
    row: int
    items: NDArray[np.int64]  # (n_items,) rows, the item's own among them


def find_neighbourhood(
    bundle: Bundle, item: str, most: int, allowed: NDArray[np.bool_] | None = None
) -> NeighbourhoodAnswer:
    """Finds the graph around an item; users are not in it.

    Linked items come first, then, by turns of the edge types, the nodes that few other items share. The rest of the
    list are items that share these nodes, those with most rare ones first.

    Args:
        bundle: the current bundle.
        item: the item's id.
        most: the most nodes, at least 1, the item among them; about half of them are nodes that it is linked to.
        allowed: (n_items,) bool: the items that the caller may see; None: all.

    Raises:
        RequestError: the item is unknown.
    """
    row = bundle.items.row(item)
    if row is None or (allowed is not None and not allowed[row]):
        raise RequestError(f"unknown item {item!r}: not among the items of this bundle")
    item_type = bundle.schema.item_type
    by_edge_type = [_sort(bundle, list(found)) for found in _find_linked(bundle, row, allowed)]
    turns = [link for turn in zip_longest(*by_edge_type) for link in turn if link is not None]
    turns.sort(key=lambda link: _rank(bundle, link))  # stable
    n_listed = min(len(turns), most // 2)
    listed = turns[:n_listed]
    sharing = _rank_sharing(bundle, row, listed, allowed)[: most - 1 - n_listed]
    places: dict[tuple[str, int], int] = {(item_type, row): 0}
    for node_type, node in chain(((link.node_type, link.row) for link in listed), ((item_type, n) for n in sharing)):
        places.setdefault((node_type, node), len(places))
    edges = dict.fromkeys(
        (place, places[link.node_type, link.row], link.edge_type, link.is_source)
        for link in listed
        for place in (0, *(places[item_type, other] for other in link.items.tolist() if (item_type, other) in places))
        if place != places[link.node_type, link.row]
    )
    n_items = {(link.node_type, link.row): len(link.items) for link in listed if link.node_type != item_type}
    return NeighbourhoodAnswer(
        nodes=[
            GraphNode(
                id=bundle.ids[of].ids[node], type=of, name=bundle.names[of][node], n_items=n_items.get((of, node))
            )
            for of, node in places
        ],
        edges=[_to_edge(bundle, *edge) for edge in edges],
        left_out=len({(link.node_type, link.row) for link in turns} - set(places)),
    )


def _find_linked(bundle: Bundle, row: int, allowed: NDArray[np.bool_] | None) -> Iterator[Iterator[_Linked]]:
    """The nodes that an item is linked to, by edge type and direction, those first that are no attribute's values."""
    schema, item_type = bundle.schema, bundle.schema.item_type
    for name, edge in sorted(schema.graph_edges.items(), key=lambda found: rank_value(found[1])):
        if schema.user_type in (edge.source, edge.target) or (edge.derived and name != edge.target):
            continue
        source, target = bundle.edges[name]
        for is_source, far_type, near, far in (
            (True, edge.target, source, target),
            (False, edge.source, target, source),
        ):
            if (edge.source if is_source else edge.target) == item_type:
                yield _find_by(bundle, row, name, edge, is_source, far_type, near, far, allowed)


def _find_by(
    bundle: Bundle,
    row: int,
    name: str,
    edge: EdgeType,
    is_source: bool,
    far_type: str,
    near: NDArray[np.int64],
    far: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
) -> Iterator[_Linked]:
    own = np.unique(far[near == row])
    if edge.derived:
        own = own[[bundle.names[far_type][node] is not None for node in own.tolist()]]
    if far_type == bundle.schema.item_type:
        own = own[own != row]
        own = own if allowed is None else own[allowed[own]]
    wanted = np.zeros(len(bundle.ids[far_type]), np.bool_)
    wanted[own] = True
    shared = wanted[far] if allowed is None else wanted[far] & allowed[near]
    items, nodes = near[shared], far[shared]
    for node in own.tolist():
        yield _Linked(name, is_source, far_type, node, np.unique(items[nodes == node]))


def _sort(bundle: Bundle, links: list[_Linked]) -> list[_Linked]:
    """Sorts the nodes of one edge type: by rank, named ones first, then those that few items share."""

    def key(link: _Linked) -> tuple[int, bool, int, str]:
        name = bundle.names[link.node_type][link.row]
        return _rank(bundle, link), name is None, len(link.items), bundle.ids[link.node_type].ids[link.row]

    return sorted(links, key=key)


def _rank(bundle: Bundle, link: _Linked) -> int:
    """How late a node is listed: an item, a node that few others share, one that none shares, a hub."""
    if link.node_type == bundle.schema.item_type:
        return 0
    return 3 if len(link.items) > max(_HUB * len(bundle.items), 2) else 2 if len(link.items) < 2 else 1  # noqa: PLR2004


def _rank_sharing(bundle: Bundle, row: int, links: list[_Linked], allowed: NDArray[np.bool_] | None) -> list[int]:
    """The rows of the items that share nodes with an item; one that n items share counts 1 / log2(1 + n)."""
    weights = np.zeros(len(bundle.items))
    item_type = bundle.schema.item_type
    for link in links:
        if link.node_type != item_type:
            weights[link.items] += 1 / math.log2(1 + max(len(link.items), 1))
    weights[row] = 0
    weights[[link.row for link in links if link.node_type == item_type]] = 0  # listed already
    weights[~bundle.available] = 0
    ids = bundle.items.ids
    found = np.flatnonzero(weights).tolist()
    return sorted(found, key=lambda other: (-round(float(weights[other]), 9), ids[other]))


def _to_edge(bundle: Bundle, item: int, node: int, edge_type: str, is_source: bool) -> GraphEdge:
    """An edge in the direction of the schema, with its phrase."""
    source, target = (item, node) if is_source else (node, item)
    phrase = bundle.schema.edges[edge_type].phrase
    shown = phrase or edge_type.rsplit(".", 1)[-1].replace("_", " ")
    return GraphEdge(source=source, target=target, type=edge_type, phrase=shown)
