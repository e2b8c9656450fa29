"""The text of each node: its own, or one built from its neighbours; never an invented one."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema, EdgeType, GraphTables

NEIGHBOURS_PER_EDGE = 5  # neighbours named in the text of a node that has none of its own
LABEL_LENGTH = 100  # characters of a neighbour without a name that are quoted


def build_node_texts(tables: GraphTables) -> dict[str, list[str | None]]:
    """Builds the text that the encoder reads for each node.

    A node's own text is its text columns joined ("Heat. Crime, Drama. A thief ..."), or else its name. A node without
    one is described by its neighbours over the schema's `text_from` edges ("director of: Heat; Thief"): by their names,
    or the start of their own texts. Users are described by their own text columns alone: a name says nothing of a
    taste, and friends' texts are no words of theirs.

    Args:
        tables: the catalogue.

    Returns:
        Node type -> a text per node in table order; None where neither the node nor any neighbour has a text, which
        is for the caller to mask. Every node type is there, but for users without text columns and the values of
        attributes.
    """
    schema = tables.schema
    own = {node_type: read_own_texts(tables, node_type) for node_type in schema.nodes}
    labels = {node_type: _labels(tables, node_type, own[node_type]) for node_type in schema.nodes}
    texts: dict[str, list[str | None]] = {}
    for node_type, node in schema.nodes.items():
        if node.derived or (node_type == schema.user_type and not node.text):
            continue
        described: list[str | None] = own[node_type].to_pylist()
        missing = np.flatnonzero(own[node_type].is_null().to_numpy(zero_copy_only=False))
        parts: dict[int, list[str]] = {int(row): [] for row in missing}
        for edge_type in (node.text_from or _links(schema)) if parts and node_type != schema.user_type else ():
            edge = schema.edges[edge_type]
            for this, near_type, far_type in ((SOURCE, edge.source, edge.target), (TARGET, edge.target, edge.source)):
                if near_type == node_type:
                    for row, named in _neighbours(tables, edge_type, this, missing, labels[far_type]):
                        parts[row].append(_name_neighbours(edge_type, edge, named, forward=this == SOURCE))
        for row, found in parts.items():
            described[row] = _join_parts(found)
        texts[node_type] = described
    return texts


def has_texts(schema: CatalogueSchema) -> bool:
    """Whether nodes may have texts: their own, or names; of users only their own."""
    stored = [(name, node) for name, node in schema.nodes.items() if not node.derived]
    return any(node.text or (node.name and name != schema.user_type) for name, node in stored)


def describe_node(
    schema: CatalogueSchema, node_type: str, neighbours: Mapping[tuple[str, bool], Sequence[tuple[str, str]]]
) -> str | None:
    """The text of one node without a text of its own, as `build_node_texts` has it.

    Args:
        schema: the catalogue's schema.
        node_type: the node's.
        neighbours: (edge type, whether the node is its source) -> id and name of each neighbour.

    Returns:
        None where no neighbour counts.
    """
    parts = []
    for edge_type in schema.nodes[node_type].text_from or _links(schema):
        for forward in (True, False):
            named = [name for _, name in sorted(neighbours.get((edge_type, forward), ()))]
            if named:
                parts.append(_name_neighbours(edge_type, schema.edges[edge_type], named, forward=forward))
    return _join_parts(parts)


def _links(schema: CatalogueSchema) -> list[str]:
    """The edge types between nodes, without those to the values of attributes."""
    return [name for name, edge in schema.graph_edges.items() if not edge.derived]


def read_own_texts(tables: GraphTables, node_type: str) -> pa.Array:
    """The text columns of each node of a type, joined, or else its name unless it is a user; null where blank."""
    node, table = tables.schema.nodes[node_type], tables.nodes[node_type]
    text = pa.nulls(table.num_rows, pa.string())
    for column in node.text:
        part = _stripped(table, column)
        # One full stop between two parts, also after a part that ends with its own.
        head = pc.replace_substring_regex(text, r"[.\s]+$", "")
        text = pc.coalesce(pc.binary_join_element_wise(head, part, ". "), text, part)
    if node.name is None or node_type == tables.schema.user_type:
        return text
    return pc.coalesce(text, _stripped(table, node.name))


def _labels(tables: GraphTables, node_type: str, own: pa.Array) -> pa.Array:
    """How the nodes of a type are named in their neighbours' texts; null where they have neither name nor text."""
    node = tables.schema.nodes[node_type]
    start = pc.utf8_slice_codeunits(own, 0, LABEL_LENGTH)
    return pc.coalesce(_stripped(tables.nodes[node_type], node.name), start) if node.name else start


def _stripped(table: pa.Table, column: str) -> pa.Array:
    values = table[column].combine_chunks()
    if pa.types.is_list(values.type):
        values = pc.binary_join(values, ", ")
    values = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _name_neighbours(edge_type: str, edge: EdgeType, names: Sequence[str], *, forward: bool) -> str:
    phrase, words = edge.phrase or "", edge_type.replace("_", " ")
    if "{}" in phrase:  # "in {}" has a place for the target's name
        lead = " ".join(phrase.replace("{}", "").split()) if forward else words
    else:
        lead = (phrase if forward else f"{phrase} of") if phrase else words
    return f"{lead}: {'; '.join(names[:NEIGHBOURS_PER_EDGE])}"


def _join_parts(parts: Sequence[str]) -> str | None:
    return ". ".join(part.rstrip(".") for part in parts) or None


def _neighbours(
    tables: GraphTables, edge_type: str, this: str, missing: NDArray[np.int64], labels: pa.Array
) -> list[tuple[int, list[str]]]:
    """The labels of the first neighbours, by id, of each row in `missing` that has any with a label."""
    edge, table = tables.schema.edges[edge_type], tables.edges[edge_type]
    near_type, far_type, other = (
        (edge.source, edge.target, TARGET) if this == SOURCE else (edge.target, edge.source, SOURCE)
    )
    near_rows = pc.index_in(table[this], tables.ids(near_type))
    far_rows = pc.index_in(table[other], tables.ids(far_type))
    found = pa.table({"row": near_rows, "label": labels.take(far_rows.combine_chunks()), "id": table[other]})
    wanted = pc.and_(pc.is_in(found["row"], pa.array(missing, pa.int32())), pc.is_valid(found["label"]))
    found = found.filter(wanted).sort_by([("row", "ascending"), ("id", "ascending")])
    rows, named = found["row"].to_pylist(), found["label"].to_pylist()
    return [
        (row, [label for _, label in group])
        for row, group in groupby(zip(rows, named, strict=True), key=lambda pair: pair[0])
    ]
