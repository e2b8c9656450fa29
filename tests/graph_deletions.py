"""Deletes nodes and edges from a store, as users do in their database."""

from collections.abc import Iterable

from kgrec.store import GraphStore
from kgrec.store.ladybug import META, LadybugStore
from kgrec.store.ladybug_layout import lay_out
from kgrec.store.neo4j.layout import Layout
from kgrec.store.neo4j.store import Neo4jStore


def delete_nodes(store: GraphStore, node_type: str, ids: Iterable[str]) -> int:
    """Deletes nodes with all their edges; returns their number. Unknown ids are ignored."""
    schema = store.read_schema()
    if isinstance(store, Neo4jStore):
        place = Layout(schema).nodes[node_type]
        find = f"UNWIND $ids AS id MATCH (x:{place.label} {{{place.key}: id}})"
    else:
        table = lay_out(schema, taken=[META]).nodes[node_type]
        find = f"UNWIND $ids AS id MATCH (x:{table.name} {{{table.key}: id}})"
    return _delete(store, f"{find} DETACH DELETE x RETURN count(*)", ids=list(dict.fromkeys(ids)))


def delete_edges(store: GraphStore, edge_type: str, pairs: Iterable[tuple[str, str]]) -> int:
    """Deletes edges by (source, target); returns their number. Unknown pairs are ignored."""
    schema = store.read_schema()
    edge = schema.edges[edge_type]
    if isinstance(store, Neo4jStore):
        layout = Layout(schema)
        (a, b), pattern = (layout.nodes[end].key for end in (edge.source, edge.target)), layout.edges[edge_type].match
    else:
        table = lay_out(schema, taken=[META]).edges[edge_type]
        a, b, pattern = table.source.key, table.target.key, table.match.replace("[x:", "[r:")
    delete = f"{pattern} WHERE a.{a} = $source AND b.{b} = $target DELETE r RETURN count(*)"
    return sum(_delete(store, delete, source=source, target=target) for source, target in dict.fromkeys(pairs))


def _delete(store: GraphStore, query: str, **parameters: object) -> int:
    if parameters.get("ids") == []:
        return 0  # the embedded database takes no empty list
    if isinstance(store, Neo4jStore):
        rows = store.connection.write(query, parameters)
    else:
        assert isinstance(store, LadybugStore)
        rows = store._query(query, **parameters)
    return int(rows[0][0]) if rows else 0
