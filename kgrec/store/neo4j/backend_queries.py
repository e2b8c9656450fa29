"""The Cypher that `kgrec publish` prints: what a backend asks the published graph with."""

import re

from graph_schema import CatalogueSchema
from kgrec.store.neo4j.connection import quote
from kgrec.store.neo4j.layout import RELEASE_LABEL
from kgrec.store.neo4j.release import RECOMMENDED, SIMILAR_TO, Version

SEARCH_VERSION = (2026, 1)  # the first Neo4j with the SEARCH clause
IN_STOCK = "in_stock"  # a bool attribute of items by which the queries filter, where the schema has it


def describe_queries(schema: CatalogueSchema, version: Version, server: tuple[int, ...]) -> dict[str, str]:
    """Writes the queries for a catalogue and a server: what each finds -> its Cypher, with parameters.

    The parameters are `$item` or `$user`, a key as the graph has it, and `$k`. Vector queries also take `$n`, how many
    of the nearest nodes pass through the filter: 200 or more, since the index is approximate.

    Args:
        schema: what the items and users are. Where items have the bool attribute `in_stock`, those that are not in
            stock are left out.
        version: the live version; queries for what it lacks are left out.
        server: the server's version. From SEARCH_VERSION on vector queries use the SEARCH clause, which takes an index
            by its name: write these queries anew when a version goes live, with `item_vectors` and `user_vectors` of
            the release node.
    """
    item, user = schema.nodes[schema.item_type], schema.nodes[schema.user_type]
    item_label, item_key, user_label, user_key = map(_name, (item.label, item.key, user.label, user.key))
    interaction = _name(schema.edges[schema.interaction.edge].type)
    an_item, a_user = f"(i:{item_label} {{{item_key}: $item}})", f"(u:{user_label} {{{user_key}: $user}})"
    live = f"MATCH (r:{RELEASE_LABEL})\nWITH r.version AS live\n"
    in_stock = f"coalesce(other.{IN_STOCK}, true)" if item.columns.get(IN_STOCK) == "bool" else ""
    queries = {
        f"similar items{' that are in stock' if in_stock else ''}": (
            f"{live}MATCH {an_item}-[s:{SIMILAR_TO} {{version: live}}]->(other)\n"
            f"{f'WHERE {in_stock}{chr(10)}' if in_stock else ''}"
            f"RETURN other.{item_key} AS item, s.score AS score\nORDER BY s.rank LIMIT $k"
        )
    }
    returned = "RETURN other.{key} AS {what}, score\nORDER BY score DESC LIMIT $k"
    if version.n_vectors.get("item"):
        found = _near(an_item, "i", "item", item_label, version, server)
        queries["the same by the vector index, where a filter leaves few of the neighbours"] = (
            f"{found}WHERE other <> i{f' AND {in_stock}' if in_stock else ''}\n"
            f"{returned.format(key=item_key, what='item')}"
        )
    if version.n_vectors.get("user"):
        found = _near(a_user, "u", "user", user_label, version, server)
        queries["people like you"] = f"{found}WHERE other <> u\n{returned.format(key=user_key, what='user')}"
    if version.n_edges.get(RECOMMENDED):
        queries["recommended for you, less what you have met since"] = (
            f"{live}MATCH {a_user}-[s:{RECOMMENDED} {{version: live}}]->(other)\n"
            f"WHERE NOT EXISTS {{ (u)-[:{interaction}]-(other) }}\n"
            f"RETURN other.{item_key} AS item, s.score AS score\nORDER BY s.rank LIMIT $k"
        )
    return queries


def _near(node: str, name: str, side: str, label: str, version: Version, server: tuple[int, ...]) -> str:
    """The beginning of a vector query, which binds `other` and `score`."""
    if server >= SEARCH_VERSION:
        vectors = version.vectors(side)
        return (
            f"CYPHER 25\nMATCH {node} WHERE {name}.{vectors} IS NOT NULL\n"
            f"MATCH (other:{label})\n"
            f"  SEARCH other IN (VECTOR INDEX {vectors} FOR {name}.{vectors} LIMIT $n) SCORE AS score\n"
            f"WITH {name}, other, score\n"
        )
    return (
        f"MATCH (r:{RELEASE_LABEL})\nWITH r.{side}_vectors AS vectors\n"
        f"MATCH {node} WHERE {name}[vectors] IS NOT NULL\n"
        f"CALL db.index.vector.queryNodes(vectors, $n, {name}[vectors]) YIELD node AS other, score\n"
        f"WITH {name}, other, score\n"
    )


def _name(name: str) -> str:
    """As `quote`, but plain names stay as people write them."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else quote(name)
