"""Changes to the shop's tables, as a store would make them."""

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import SOURCE, TARGET, GraphTables


def with_nodes(tables: GraphTables, node_type: str, rows: Sequence[Sequence[object]]) -> GraphTables:
    """The tables with nodes added, or others in place of those with the same id."""
    table, key = tables.nodes[node_type], tables.schema.nodes[node_type].key
    added = pa.Table.from_pylist([dict(zip(table.column_names, row, strict=True)) for row in rows], table.schema)
    kept = table.filter(pc.invert(pc.is_in(table[key], added[key])))
    return GraphTables(tables.schema, {**tables.nodes, node_type: pa.concat_tables([kept, added])}, tables.edges)


def without_nodes(tables: GraphTables, node_type: str, ids: Collection[str]) -> GraphTables:
    """The tables without some nodes and their edges."""
    gone = pa.array(list(ids), pa.string())
    table, key = tables.nodes[node_type], tables.schema.nodes[node_type].key
    edges = dict(tables.edges)
    for name, edge in tables.schema.edges.items():
        for end, end_type in ((SOURCE, edge.source), (TARGET, edge.target)):
            if end_type == node_type:
                edges[name] = edges[name].filter(pc.invert(pc.is_in(edges[name][end], gone)))
    nodes = {**tables.nodes, node_type: table.filter(pc.invert(pc.is_in(table[key], gone)))}
    return GraphTables(tables.schema, nodes, edges)


def with_edges(tables: GraphTables, edge_type: str, rows: Sequence[Sequence[object]]) -> GraphTables:
    """The tables with edges added, or others in place of those with the same ends."""
    table = tables.edges[edge_type]
    tables = without_edges(tables, edge_type, [(str(row[0]), str(row[1])) for row in rows])
    added = pa.Table.from_pylist([dict(zip(table.column_names, row, strict=True)) for row in rows], table.schema)
    edges = {**tables.edges, edge_type: pa.concat_tables([tables.edges[edge_type], added])}
    return GraphTables(tables.schema, tables.nodes, edges)


def without_edges(tables: GraphTables, edge_type: str, ends: Collection[tuple[str, str]]) -> GraphTables:
    """The tables without some edges."""
    table, gone = tables.edges[edge_type], set(ends)
    pairs = zip(table[SOURCE].to_pylist(), table[TARGET].to_pylist(), strict=True)
    kept = table.filter(pa.array([pair not in gone for pair in pairs], pa.bool_()))
    return GraphTables(tables.schema, tables.nodes, {**tables.edges, edge_type: kept})
