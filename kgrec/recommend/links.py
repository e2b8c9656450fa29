"""Links of new items and new users: edges of the graph, and the model's link features."""

from collections.abc import Iterable, Mapping, Sequence

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


def add_edges(
    edges: Mapping[str, NDArray[np.int64]], pairs: Mapping[str, Sequence[tuple[int, int]]]
) -> dict[str, NDArray[np.int64]]:
    """Edge type -> rows of both ends, (2, n), extended by more pairs of rows."""
    added = {name: np.hstack([edges[name], np.array(new, np.int64).T]) for name, new in pairs.items()}
    return {**edges, **added}


def find_ends(schema: CatalogueSchema, pairs: Mapping[str, Sequence[tuple[int, int]]]) -> NDArray[np.int64]:
    """The items at the ends of edges, (n,) rows.

    Args:
        schema: the catalogue's schema.
        pairs: edge type -> rows of both ends.
    """
    rows = [np.zeros(0, np.int64)]
    for edge_type, ends in pairs.items():
        edge = schema.edges[edge_type]
        for side, node_type in enumerate((edge.source, edge.target)):
            if node_type == schema.item_type:
                rows.append(np.array([pair[side] for pair in ends], np.int64))
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
