"""Links and attributes of new items and new users, as edges of the graph."""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from graph_schema.checks.column_texts import drop_missing_texts
from graph_schema.checks.columns import convert_column
from graph_schema.checks.near_ids import NearIds
from graph_schema.schema_types import ARROW_TYPES, AttributeType
from kgrec.bundle import Bundle
from kgrec.errors import CatalogueError, RequestError
from kgrec.graph.attribute_values import split_path
from kgrec.graph.value_codes import MISSING
from kgrec.recommend.argument_ids import is_id, to_id


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
        edges = schema.graph_edges.items()
        names = [name for name, e in edges if node_type in (e.source, e.target) and not e.derived]
        expected = f"expected one of {names}" if names else "nodes of this type have no links"
        features = schema.nodes[node_type].features
        asked = f"; {edge_type!r} is an attribute, so give it as one" if edge_type in features else ""
        raise RequestError(f"no edge type {edge_type!r} of the node type {node_type!r}; {expected}{asked}")
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


def warn_of_unknown(bundle: Bundle, node_type: str, lost: Sequence[tuple[str, str, str]]) -> None:
    """Warns of links of new nodes to nodes that the catalogue does not have, in one sentence.

    Args:
        bundle: the bundle.
        node_type: the type of the new nodes.
        lost: (id of the new node, edge type, id that no node has) of each.
    """
    if not lost:
        return
    own, edge_type, far_id = lost[0]
    far_type = find_far_end(bundle.schema, edge_type, node_type)[1]
    near = NearIds(bundle.ids[far_type].ids).find(far_id)
    meant = "" if near is None else f" (did you mean {near!r}?)"
    more = "" if len(lost) == 1 else f"; nor have {len(lost) - 1:,} more links"
    warnings.warn(
        f"no {far_type} has the id {far_id!r}{meant}: the link {edge_type!r} of {own!r} has no effect{more}",
        stacklevel=4,  # the caller of `Recommender.add_items`
    )


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


def read_attributes(
    bundle: Bundle, node_type: str, attributes: Mapping[str, object] | None
) -> tuple[list[tuple[str, str]], list[str]]:
    """The links of a new node to the values of its attributes; those that are not given are missing.

    Args:
        bundle: the current bundle.
        node_type: the type of the new node.
        attributes: name -> value, as a file of the catalogue may have it; None: nothing is given.

    Returns:
        Pairs (edge type, id of the value), and the values that no node had in training, as "name=value".

    Raises:
        RequestError: the node type has no such feature, or a value cannot be read.
    """
    node, given = bundle.schema.nodes[node_type], dict(attributes or {})
    wrong = [name for name in given if name not in node.features]
    if wrong:
        raise RequestError(
            f"the model does not read an attribute {wrong[0]!r} of the node type {node_type!r}; "
            + (f"expected one of {list(node.features)}" if node.features else "no attribute is a feature in its schema")
        )
    links, unknown = [], []
    for name in node.features:
        edge_type, kind = f"{node_type}.{name}", node.columns[name]
        codes, known = bundle.values.codes[edge_type], bundle.ids[edge_type]
        _, ids = codes.encode(_to_column(name, given.get(name), kind))
        found = [id_ for id_ in ids if id_ in known]
        links += [(edge_type, id_) for id_ in found]
        if codes.kind == "category":
            unknown += [f"{name}={id_}" for id_ in ids if id_ not in known and id_ != MISSING]
        elif not found and ids != [MISSING]:
            unknown.append(f"{name}={given[name]}")
    return links, unknown


def _to_column(name: str, value: object, kind: AttributeType) -> pa.Array:
    """A value as a column of one row, of the attribute's type."""
    if value is None:
        return pa.nulls(1, ARROW_TYPES[kind])
    if isinstance(value, list) and kind not in ("list", "point"):
        raise RequestError(f"the attribute {name!r} has the values {value!r}; expected one value of type {kind!r}")
    try:
        column, problems = convert_column(pa.array([value]), kind)
    except (CatalogueError, pa.ArrowException, TypeError, ValueError) as error:
        raise RequestError(
            f"the attribute {name!r} is {value!r}; expected a value of type {kind!r}: {error}"
        ) from error
    reason = next((reason for rows, reason in problems if rows.any()), None)
    if reason is not None:
        raise RequestError(f"the attribute {name!r} is {value!r}; expected a value of type {kind!r}: it {reason}")
    return drop_missing_texts(column) if kind == "string" else column  # as files are read


def add_paths_to_values(bundle: Bundle, edges: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """New edges with those that follow from them: from a new node to the values of the entities that it is linked to.

    Args:
        bundle: the bundle, with all edges so far.
        edges: edge type -> rows of both ends, (2, n), of the new edges.
    """
    found, schema = dict(edges), bundle.schema
    for name, edge in schema.graph_edges.items():
        if not edge.derived or name == edge.target:
            continue
        link, value = split_path(schema, name)
        if link not in edges:
            continue
        near, far = edges[link] if schema.edges[link].source == edge.source else edges[link][::-1]
        owners, values = bundle.edges[value]
        order = np.argsort(owners, kind="stable")
        first, last = (np.searchsorted(owners[order], far, side=side) for side in ("left", "right"))
        sizes = last - first
        starts = np.repeat(first - np.cumsum(sizes) + sizes, sizes)
        reached = values[order][starts + np.arange(len(starts))]
        found[name] = np.unique(np.stack([np.repeat(near, sizes), reached]), axis=1)
    return found
