"""A small catalogue of films, to be built by hand."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from graph_schema import CatalogueSchema, GraphTables

SCHEMA = CatalogueSchema.parse("""
name = "films"
[nodes.user]
label = "User"
key = "user_id"
[nodes.movie]
label = "Movie"
key = "movie_id"
name = "title"
text = ["title"]
[nodes.person]
label = "Person"
key = "person_id"
name = "full_name"
[edges.directed_by]
source = "movie"
type = "DIRECTED_BY"
target = "person"
phrase = "director"
[edges.acted_in]
source = "person"
type = "ACTED_IN"
target = "movie"
phrase = "actor"
[edges.sequel_of]
source = "movie"
type = "SEQUEL_OF"
target = "movie"
attributes = { relation = "string" }
[edges.rated]
source = "user"
type = "RATED"
target = "movie"
attributes = { rating = "float", rated_at = "time" }
[interaction]
edge = "rated"
weight = "rating"
at = "rated_at"
""")

Ends = Sequence[tuple[str, str]]


def make_tables(
    nodes: Mapping[str, Sequence[str]],
    edges: Mapping[str, Ends],
    names: Mapping[str, str] | None = None,
    ratings: Sequence[tuple[float | None, int | None]] = (),
) -> GraphTables:
    """Makes tables from ids per node type and (source, target) per edge type; `ratings` go with `edges["rated"]`."""
    named = names or {}
    node_tables = {}
    for node_type, node in SCHEMA.nodes.items():
        rows = [
            {node.key: id_} | ({node.name: named.get(id_)} if node.name else {}) for id_ in nodes.get(node_type, ())
        ]
        node_tables[node_type] = pa.Table.from_pylist(rows, schema=node.arrow_schema)
    edge_tables = {}
    for edge_type, edge in SCHEMA.edges.items():
        rows = [{"source": source, "target": target} for source, target in edges.get(edge_type, ())]
        if edge_type == "rated":
            values = ratings or [(1.0, 0)] * len(rows)
            rows = [row | {"rating": r, "rated_at": at} for row, (r, at) in zip(rows, values, strict=True)]
        edge_tables[edge_type] = pa.Table.from_pylist(rows, schema=edge.arrow_schema)
    return GraphTables(SCHEMA, node_tables, edge_tables)
