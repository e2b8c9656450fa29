"""The Cypher that `kgrec publish` prints: what a backend asks the published graph with."""

import re
from collections.abc import Mapping, Sequence

from graph_schema import CatalogueSchema, EdgeType, NodeType
from kgrec.store.neo4j.connection import quote
from kgrec.store.neo4j.layout import RELEASE_LABEL
from kgrec.store.neo4j.release import RECOMMENDED, SIDES, SIMILAR_TO, VECTOR_TYPES, Side, Version, is_in

SEARCH_VERSION = (2026, 1)  # the first Neo4j with the SEARCH clause
BY_INDEX = "the same by the vector index, where a filter leaves few of the neighbours"
N_NEAREST = 200  # `$n`, what the vector index is asked for before filters: it finds all of the first 10 with so many
_CASTS = {"STRING": "toString", "INTEGER": "toInteger", "FLOAT": "toFloat"}
_TYPES = {"STRING": "a text", "INTEGER": "an integer", "FLOAT": "a float"}


def describe_queries(
    schema: CatalogueSchema,
    version: Version,
    server: tuple[int, ...],
    key_types: Mapping[Side, Sequence[str]] | None = None,
) -> dict[str, str]:
    """Writes the queries for a catalogue and a server: what each finds -> its Cypher, with parameters.

    The parameters are `$item` or `$user`, an id, and `$k`. Vector queries also take `$n`, how many of the nearest nodes
    pass through the filter: 200 or more, since the index is approximate.

    Args:
        schema: what the items and users are. Items that the schema says cannot be had (`available`) are left out; those
            without the property are not.
        version: the live version; queries for what it lacks are left out.
        server: the server's version. From SEARCH_VERSION on vector queries use the SEARCH clause, which takes an index
            by its name: write these queries anew when `item_vectors` or `user_vectors` of the release node change,
            which they do after a training.
        key_types: how the keys of items and users are stored, as in `GraphNodes`; None: as text.
    """
    types = key_types or {}
    item, user = schema.nodes[schema.item_type], schema.nodes[schema.user_type]
    item_key, user_key = _name(item.key), _name(user.key)
    an_item = _find("i", item, "item", types.get("item", ()))
    a_user = _find("u", user, "user", types.get("user", ()))
    live = f"MATCH (r:{RELEASE_LABEL})\nWITH r.version AS live\n"
    available = _filter_available(item)
    first = f"\nORDER BY s.score DESC, other.{item_key} LIMIT $k"
    where = f"WHERE {is_in('s', 'live')}"
    queries = {
        f"similar items{' that are available' if available else ''}": (
            f"{live}{an_item}\nMATCH (i)-[s:{SIMILAR_TO}]->(other)\n{where}{available}\n"
            f"RETURN other.{item_key} AS item, s.score AS score{first}"
        )
    }
    returned = "\nRETURN other.{key} AS {what}, score\nORDER BY score DESC, other.{key} LIMIT $k"
    if "item" in version.indexes:
        found = _near(an_item, "i", "item", version, server)
        queries[BY_INDEX] = f"{found}WHERE other <> i{available}{returned.format(key=item_key, what='item')}"
    if "user" in version.indexes:
        found = _near(a_user, "u", "user", version, server)
        queries["people like you"] = f"{found}WHERE other <> u{returned.format(key=user_key, what='user')}"
    if version.n_edges.get(RECOMMENDED):
        met = _walk(schema.edges[schema.interaction.edge])
        queries["recommended for you, without what is in your history by now"] = (
            f"{live}{a_user}\nMATCH (u)-[s:{RECOMMENDED}]->(other)\n"
            f"{where}{available} AND NOT EXISTS {{ (u){met}(other) }}\n"
            f"RETURN other.{item_key} AS item, s.score AS score{first}"
        )
    if version.segments:
        queries["users of a segment, by its number"] = (
            f"MATCH (r:{RELEASE_LABEL})\nWITH r.segments AS segment, r.segment_names AS name\n"
            f"MATCH (u:{_labels(user)}) WHERE u[segment] = toInteger($segment)\n"
            f"RETURN u.{user_key} AS user, u[name] AS name\nORDER BY u.{user_key} LIMIT $k"
        )
    return queries


def describe_parameters(schema: CatalogueSchema, key_types: Mapping[Side, Sequence[str]]) -> tuple[str, ...]:
    """Says of each parameter of the queries what type the key is stored as, a sentence each."""
    sentences = []
    for side, node_type in zip(SIDES, (schema.item_type, schema.user_type), strict=True):
        node, kinds = schema.nodes[node_type], key_types.get(side, ())
        if kinds and tuple(kinds) != ("STRING",):
            stored = " or ".join(_TYPES[kind] for kind in kinds)
            sentences.append(
                f"${side}: {node.label}.{node.key} is {stored} in the graph; the queries convert it, so that an id as "
                "text will do"
            )
    return tuple(sentences)


def _near(node: str, name: str, side: Side, version: Version, server: tuple[int, ...]) -> str:
    """The beginning of a vector query, which binds `other` and `score`."""
    kind = VECTOR_TYPES[side]
    own = f"MATCH ({name})-[own:{kind}]->() WHERE {is_in('own', 'live')}\n"
    kept = f"WITH {name}, startNode(near) AS other, near, live, score WHERE {is_in('near', 'live')}\n"
    only = f"WITH {name}, other, score\n"
    if server >= SEARCH_VERSION:
        index = _name(version.indexes[side])
        return (
            f"CYPHER 25\nMATCH (r:{RELEASE_LABEL})\nWITH r.version AS live\n{node}\n{own}"
            f"MATCH ()-[near:{kind}]->()\n"
            f"  SEARCH near IN (VECTOR INDEX {index} FOR own.{index} LIMIT $n) SCORE AS score\n{kept}{only}"
        )
    return (
        f"MATCH (r:{RELEASE_LABEL})\nWITH r.version AS live, r.{side}_vectors AS vectors\n{node}\n{own}"
        "CALL db.index.vector.queryRelationships(vectors, $n, own[vectors]) YIELD relationship AS near, score\n"
        f"{kept}{only}"
    )


def _find(name: str, node: NodeType, parameter: str, key_types: Sequence[str]) -> str:
    """The clause that finds a node by its id, however its key is stored."""
    casts = [f"{_CASTS[kind]}(${parameter})" for kind in key_types if tuple(key_types) != ("STRING",)]
    key = _name(node.key)
    if len(casts) > 1:
        return f"MATCH ({name}:{_labels(node)}) WHERE {name}.{key} IN [{', '.join(casts)}]"
    return f"MATCH ({name}:{_labels(node)} {{{key}: {casts[0] if casts else f'${parameter}'}}})"


def _filter_available(item: NodeType) -> str:
    """The conditions, each after an AND, for an item to be one that can be had."""
    conditions = []
    for name, value in item.available.items():
        text = _literal(value)
        conditions.append(f" AND coalesce(other.{_name(name)}, {text}) = {text}")
    return "".join(conditions)


def _literal(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _walk(edge: EdgeType) -> str:
    """The pattern from a user to what they met, over other nodes where the schema says so."""
    if not edge.path:
        return f"-[:{_name(edge.type)}]-"
    steps = [f"<-[:{_name(step[1:])}]-" if step.startswith("<") else f"-[:{_name(step)}]->" for step in edge.path]
    return "()".join(steps)


def _labels(node: NodeType) -> str:
    return "|".join(map(_name, node.all_labels))


def _name(name: str) -> str:
    """As `quote`, but plain names stay as people write them."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else quote(name)
