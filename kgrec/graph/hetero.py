"""Turns GraphTables into a heterograph, PyG's HeteroData, and a map between ids and rows for each node type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, GraphTables
from kgrec.errors import CatalogueError, RequestError
from kgrec.ids import IdMap

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

VECTOR = "vector:"  # prefix of the attribute of a vector column


def to_hetero(
    tables: GraphTables, features: Mapping[str, NDArray[np.float32]] | None = None, *, upto: int | None = None
) -> tuple[HeteroData, dict[str, IdMap]]:
    """Builds the heterograph of a catalogue.

    Rows of nodes are those of the tables (`sort_tables` makes them independent of the order of loading); edges are
    sorted by (source row, target row), so the order of edge tables does not matter. Each edge type `(src, rel, dst)`
    has `edge_index` int64 (2, n) and a reverse `(dst, rev_<rel>, src)`; the interaction also has `weight` float32 (n,)
    and `time` int64 (n,), UTC seconds, where the schema names them.

    Args:
        tables: the catalogue.
        features: node type -> float32 (n_nodes, dim), rows in table order, as `x`; other types have `num_nodes` only.
        upto: keeps the interactions with time <= this, UTC seconds; None keeps them all.

    A node type with vector columns has each as `vector:<column>` float32 (n, width), NaN where a node has none.

    Returns:
        The graph, and for each node type the map between ids and rows.

    Raises:
        CatalogueError: an edge ends at no node, an interaction has no finite weight or no time, or the vectors of a
            column are of several widths or not finite.
        RequestError: features that do not fit the nodes; `upto` where interactions have no time.
    """
    from torch_geometric.data import HeteroData

    schema, data = tables.schema, HeteroData()
    ids = {node_type: IdMap(tuple(tables.ids(node_type).to_pylist())) for node_type in schema.nodes}
    _set_nodes(data, ids, features or {})
    for node_type, node in schema.nodes.items():
        for column in node.vectors:
            vectors = _read_vectors(tables.nodes[node_type], column, node_type, ids[node_type])
            if vectors.shape[1]:
                data[node_type][f"{VECTOR}{column}"] = torch.from_numpy(vectors)  # (n_nodes, width)
    for edge_type in schema.edges:
        source, relation, target = triple = schema.edge_triple(edge_type)
        is_interaction = edge_type == schema.interaction.edge
        table = _select_upto(tables, upto) if is_interaction else tables.edges[edge_type]
        edge_index = _edge_rows(tables, edge_type, table)
        order = np.lexsort((edge_index[1], edge_index[0]))
        values = {"edge_index": torch.from_numpy(np.ascontiguousarray(edge_index[:, order]))}  # (2, n)
        if is_interaction:
            values |= {name: torch.from_numpy(v[order]) for name, v in _interaction_values(tables, table).items()}
        reverse = (target, f"rev_{relation}", source)
        for name in (triple, reverse):
            if name in data.edge_types:
                raise CatalogueError(
                    f"the edge type {name} is there twice: 'rev_' marks reverse edges; rename the relation"
                )
        for attribute, value in values.items():
            data[triple][attribute] = value
            data[reverse][attribute] = value.flip(0) if attribute == "edge_index" else value
    data.validate()
    return data, ids


def sort_tables(tables: GraphTables) -> GraphTables:
    """Sorts nodes by id and edges by (source, target): the same tables whatever the order they were loaded in."""
    nodes = {name: table.sort_by(tables.schema.nodes[name].key) for name, table in tables.nodes.items()}
    edges = {n: table.sort_by([(SOURCE, "ascending"), (TARGET, "ascending")]) for n, table in tables.edges.items()}
    return GraphTables(tables.schema, nodes, edges)


def _set_nodes(data: HeteroData, ids: Mapping[str, IdMap], features: Mapping[str, NDArray[np.float32]]) -> None:
    unknown = set(features) - set(ids)
    if unknown:
        raise RequestError(f"features for node types {sorted(unknown)}; expected some of {sorted(ids)}")
    for node_type, nodes in ids.items():
        data[node_type].num_nodes = len(nodes)
        if node_type not in features:
            continue
        x = features[node_type]
        if x.dtype != np.float32 or x.ndim != 2 or len(x) != len(nodes):  # noqa: PLR2004
            raise RequestError(
                f"features of node type {node_type!r}: expected float32 ({len(nodes)}, dim), a row per node in table "
                f"order, got {x.dtype} {x.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        if bad.size:
            raise RequestError(
                f"features of node type {node_type!r}: expected finite values, got "
                f"{x[bad[0]][~np.isfinite(x[bad[0]])][0]} for node {nodes.ids[bad[0]]!r} ({bad.size} of {len(x)} rows)"
            )
        data[node_type].x = torch.from_numpy(np.ascontiguousarray(x))  # (n_nodes, dim)


def _read_vectors(table: pa.Table, column: str, node_type: str, nodes: IdMap) -> NDArray[np.float32]:
    """The vectors of a column, (n, width), NaN for a node without; (n, 0) if no node has one."""
    lists = table[column].combine_chunks()
    widths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    width = int(np.bincount(widths[widths > 0]).argmax()) if widths.any() else 0
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    bad = (widths > 0) & (widths != width)
    bad[np.repeat(np.arange(len(widths)), widths)[~np.isfinite(flat)]] = True
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise CatalogueError(
            f"node type {node_type!r}: the vector {column!r} of {nodes.ids[first]!r} has width {widths[first]} or is "
            f"not finite ({int(bad.sum())} of {len(widths)} nodes); expected finite vectors of one width, as most have "
            f"{width}: compute these again, or leave them empty"
        )
    vectors = np.full((len(widths), width), np.nan, np.float32)
    vectors[widths > 0] = flat.reshape(-1, max(width, 1))
    return vectors


def _select_upto(tables: GraphTables, upto: int | None) -> pa.Table:
    if upto is None:
        return tables.interactions
    chosen = tables.schema.interaction
    if chosen.at is None:
        raise RequestError(
            f"upto={upto} needs interactions with a time, but the schema {tables.schema.name!r} names none: "
            f"set `at` under [interaction], or leave upto out"
        )
    _check_valid(tables, tables.interactions, chosen.at, tables.interactions[chosen.at].is_valid())
    return tables.interactions.filter(pc.field(chosen.at) <= upto)


def _edge_rows(tables: GraphTables, edge_type: str, table: pa.Table) -> NDArray[np.int64]:
    """The rows of both ends of each edge, int64 (2, n)."""
    edge = tables.schema.edges[edge_type]
    ends = []
    for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
        rows = pc.fill_null(pc.index_in(table[end], tables.ids(node_type)), -1).to_numpy().astype(np.int64)
        bad = np.flatnonzero(rows < 0)
        if bad.size:
            raise CatalogueError(
                f"edge type {tables.schema.edge_triple(edge_type)}: {end} {table[end][int(bad[0])].as_py()!r} is no id "
                f"of a {node_type!r} ({bad.size} of {len(rows)} edges); expected ends that exist: load or drop them"
            )
        ends.append(rows)
    return np.stack(ends)


def _interaction_values(tables: GraphTables, table: pa.Table) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    chosen, values = tables.schema.interaction, {}
    if chosen.weight is not None:
        size = pc.abs(table[chosen.weight].cast(pa.float64()))
        _check_valid(
            tables, table, chosen.weight, pc.less_equal(size, float(np.finfo(np.float32).max))
        )  # no NaN either
        values["weight"] = table[chosen.weight].to_numpy().astype(np.float32)
    if chosen.at is not None:
        _check_valid(tables, table, chosen.at, table[chosen.at].is_valid())
        values["time"] = table[chosen.at].to_numpy().astype(np.int64)
    return values


def _check_valid(tables: GraphTables, table: pa.Table, column: str, valid: pa.ChunkedArray) -> None:
    bad = np.flatnonzero(~pc.fill_null(valid, False).to_numpy())
    if bad.size:
        first = table.slice(int(bad[0]), 1).to_pylist()[0]
        raise CatalogueError(
            f"edge type {tables.schema.edge_triple(tables.schema.interaction.edge)}: {column} {first[column]} from "
            f"{first[SOURCE]!r} to {first[TARGET]!r} ({bad.size} of {table.num_rows} edges); expected a finite value"
        )
