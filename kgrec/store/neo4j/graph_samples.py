"""Reads the properties of some nodes or relationships, cut short by the server."""

import math

from graph_schema.drafts.profile import NodeProfile
from graph_schema.drafts.roles import find_key, find_name
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import RELEASE_PREFIX
from kgrec.store.neo4j.property_profiles import SampledValue

_SAMPLED = 2000  # nodes, or relationships, whose properties are read
_CUT = 200  # characters of a text that are read
_MOST_ENTRIES = 20  # of a list that are read
_MOST_SHOWN, _SHOWN_LENGTH = 4, 40  # properties of an example, and characters of one
_PRIME = 1_000_003
_LIMITS = {"cut": _CUT, "own": RELEASE_PREFIX, "entries": _MOST_ENTRIES}


def sample_properties(connection: Connection, match: str, count: int, parts: str = "") -> list[list[SampledValue]]:
    """The properties of some of the `x` that a clause matches, or of the parts that it lists beside each.

    Which, is drawn by a hash of their numbers in the database, so that the same graph has the same sample.

    Args:
        connection: to the database.
        match: the clause; it ends with a pattern or with WITH.
        count: how many there are; no more than that are looked at.
        parts: the variable with a list of nodes and relationships beside each `x`; empty: `x` itself.
    """
    share = _SAMPLED * 1.5 / max(count, 1)
    carried = f"x, {parts}" if parts else "x"
    chosen = "" if share >= 1 else (
        f"WITH {carried} LIMIT $limit WITH {carried}, toInteger(split(elementId(x), ':')[2]) AS n "
        "WHERE ((n % $prime) * 7919) % $prime < $least "
    )  # fmt: skip
    found = connection.read(
        f"{match} {chosen}WITH {carried} LIMIT $most RETURN {_list_properties(parts or '[x]')}",
        {"limit": count, "prime": _PRIME, "least": math.ceil(share * _PRIME), "most": _SAMPLED, **_LIMITS},
    )
    return [[SampledValue(*one) for one in row[0]] for row in found]


def read_example(connection: Connection, match: str, ends: tuple[NodeProfile, NodeProfile], parts: str) -> str:
    """One relationship in words, "Anna -> Toy Story, rating 5"; empty where there is none with two names.

    Args:
        connection: to the database.
        match: the pattern of relationships from `a` to `b`, and perhaps a WHERE clause.
        ends: the profiles of both.
        parts: the expression for the list of the relationships and nodes whose properties are shown.
    """
    names = [_show(variable, node) for variable, node in zip("ab", ends, strict=True)]
    if not all(names):
        return ""
    found = connection.read(
        f"MATCH {match} WITH {', '.join(names)}, {parts} AS parts WHERE a IS NOT NULL AND b IS NOT NULL "
        f"WITH a, b, parts LIMIT 1 RETURN a, b, {_list_properties('parts')}",
        _LIMITS,
    )
    if not found:
        return ""
    a, b, listed = found[0]
    shown: dict[str, str] = {}  # of a name that several parts have the first one counts
    for name, _, value, _ in listed:
        if isinstance(value, str):
            shown.setdefault(name, value)
    properties = [f"{name} {value[:_SHOWN_LENGTH]}" for name, value in shown.items()]
    return ", ".join([f"{a} -> {b}", *properties[:_MOST_SHOWN]])


def _show(variable: str, node: NodeProfile) -> str:
    """The expression for what to call a node: its name, or its key; empty where it has neither."""
    key = find_key(node)
    if key is None:
        return ""
    names = [quote(name) for name in dict.fromkeys([find_name(node, key[0]), key[0]]) if name]
    return f"coalesce({', '.join(f'toStringOrNull({variable}.{name})' for name in names)}) AS {variable}"


def _list_properties(parts: str) -> str:
    """The expression for the properties of a list of nodes and relationships: (name, type, value cut short, size)."""
    return (
        f"reduce(found = [], x IN {parts} | found + [p IN keys(x) WHERE NOT p STARTS WITH $own | [p, valueType(x[p]), "
        "CASE WHEN valueType(x[p]) STARTS WITH 'STRING' THEN left(x[p], $cut) "
        "WHEN valueType(x[p]) STARTS WITH 'LIST' THEN [v IN x[p][..$entries] | left(toStringOrNull(v), $cut)] "
        "ELSE toStringOrNull(x[p]) END, "
        "CASE WHEN valueType(x[p]) STARTS WITH 'STRING' OR valueType(x[p]) STARTS WITH 'LIST' THEN size(x[p]) END]])"
    )
