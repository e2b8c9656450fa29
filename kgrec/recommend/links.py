"""Links of new items and new users: edges of the graph, and the model's link features."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.recommend.requests import is_id, to_id


def read_links(links: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The links of a node without repetitions: (edge type, id of the node at the other end).

    Raises:
        RequestError: a link is not a pair of an edge type and an id.
    """
    found: dict[tuple[str, str], None] = {}
    for link in links:
        pair = tuple(link) if isinstance(link, tuple | list) else (link,)
        if len(pair) != 2 or not isinstance(pair[0], str) or not is_id(pair[1]):  # noqa: PLR2004
            raise RequestError(f"expected each link as (edge type, id of the node at the other end), got {link!r}")
        found[pair[0], to_id(pair[1], "a node")] = None
    return list(found)


def find_far_end(schema: CatalogueSchema, edge_type: str, node_type: str) -> tuple[bool, str]:
    """Whether nodes of a type are the sources of an edge type, and the node type at the other end.

    Raises:
        RequestError: such nodes have no such edge type, or it is the interaction.
    """
    edge = schema.graph_edges.get(edge_type)
    if edge is None or node_type not in (edge.source, edge.target):
        expected = [name for name, e in schema.graph_edges.items() if node_type in (e.source, e.target)]
        raise RequestError(f"no edge type {edge_type!r} of the node type {node_type!r}; expected one of {expected}")
    is_source = edge.source == node_type
    return is_source, edge.target if is_source else edge.source


def resolve_links(
    bundle: Bundle, node_type: str, row: int, links: Iterable[tuple[str, str]], new_rows: Mapping[str, int]
) -> tuple[list[tuple[str, str, tuple[int, int]]], list[str]]:
    """Finds the nodes that a new node is linked to.

    Args:
        bundle: the current bundle.
        node_type: the type of the new node.
        row: its row.
        links: pairs (edge type, id of the linked node).
        new_rows: the rows of other new nodes of its type that it may be linked to.

    Returns:
        (edge type, id of the linked node, rows of source and target) for each link to a known node, and the ids of
        unknown nodes.

    Raises:
        RequestError: an edge type does not belong to such nodes.
    """
    found, unknown = [], []
    for edge_type, far_id in links:
        is_source, far_type = find_far_end(bundle.schema, edge_type, node_type)
        far_row = bundle.ids[far_type].row(far_id)
        if far_row is None and far_type == node_type:
            far_row = new_rows.get(far_id)
        if far_row is None:
            unknown.append(far_id)
        else:
            found.append((edge_type, far_id, (row, far_row) if is_source else (far_row, row)))
    return found, unknown


def group_edges(resolved: Iterable[tuple[str, str, tuple[int, int]]]) -> dict[str, NDArray[np.int64]]:
    """Edge type -> rows of both ends, (2, n), of links from `resolve_links`."""
    pairs: dict[str, list[tuple[int, int]]] = {}
    for edge_type, _, ends in resolved:
        pairs.setdefault(edge_type, []).append(ends)
    return {edge_type: np.array(ends, np.int64).T for edge_type, ends in pairs.items()}


def add_edges(
    edges: Mapping[str, NDArray[np.int64]], new: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """Edge type -> rows of both ends, (2, n), with further edges."""
    return {**edges, **{edge_type: np.hstack([edges[edge_type], ends]) for edge_type, ends in new.items()}}


def find_item_ends(schema: CatalogueSchema, edges: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rows of the items at the ends of edges, (n,) ascending.

    Args:
        schema: the catalogue's schema.
        edges: edge type -> rows of both ends, (2, n).
    """
    rows = [np.zeros(0, np.int64)]
    for edge_type, ends in edges.items():
        edge = schema.edges[edge_type]
        rows += [own for own, end in zip(ends, (edge.source, edge.target), strict=True) if end == schema.item_type]
    return np.unique(np.concatenate(rows))


def read_link_features(
    bundle: Bundle, edges: Mapping[str, NDArray[np.int64]], items: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The link features of items, numbered as `kgrec.graph.propagation.build_item_links` numbers them in training.

    Args:
        bundle: the bundle with the model.
        edges: edge type -> rows of both ends, (2, n); edge types without edges may be left out.
        items: (n,) ascending rows.

    Returns:
        The link features of each item, ascending. A link that no item had in training has none.
    """
    if not len(items):
        return []
    width = max(len(ids) for ids in bundle.ids.values())  # the width of node rows
    owners, keys = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for relation, (edge_type, is_source, far_type) in enumerate(bundle.relations):
        ends = edges.get(edge_type, np.zeros((2, 0), np.int64))
        near, far = ends if is_source else ends[::-1]
        owner = _find_places(items, near)
        owners.append(owner[owner >= 0])
        keys.append(relation * width + far[owner >= 0])
        if far_type == bundle.schema.item_type:  # an item that others link to has their feature too
            owner = _find_places(items, far)
            owners.append(owner[owner >= 0])
            keys.append(relation * width + far[owner >= 0])
    codes = np.flatnonzero(bundle.link_node >= 0)
    known = bundle.model.prior.relation[codes] * width + bundle.link_node[codes]
    order = np.argsort(known)
    found = _find_places(known[order], np.concatenate(keys))
    owner, code = np.concatenate(owners)[found >= 0], codes[order][found[found >= 0]]
    pairs = np.unique(np.stack([owner, code]), axis=1)
    return np.split(pairs[1], np.searchsorted(pairs[0], np.arange(1, len(items))))


def _find_places(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each value among ascending ones; -1 if it is missing."""
    if not len(ordered):
        return np.full(len(values), -1, np.int64)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[places] == values, places, -1)
