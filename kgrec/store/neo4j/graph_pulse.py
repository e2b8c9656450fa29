"""Whether a graph has changed, found cheaply: by change data capture, or by counts and the latest times."""

import json
from collections.abc import Sequence

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, ConnectionLost, quote
from kgrec.store.neo4j.layout import Layout

CDC, COUNTS = "cdc", "counts"


def read_pulse(connection: Connection, schema: CatalogueSchema, before: str | None, changed_at: str | None) -> str:
    """Reads a text that is another one when the graph has changed.

    Where the database records changes (change data capture of Enterprise and Aura) no change is missed. Elsewhere the
    text holds how many nodes and edges there are of each type of the schema, with the latest of each time that it names
    and of `changed_at`: a change that moves none of them, such as a new title, is missed.

    Args:
        connection: the database.
        schema: the types that count.
        before: the text that was read before; None: there is none.
        changed_at: a property that the graph's writers set to the time of each change; None: there is none.

    Raises:
        StoreError: the database fails.
    """
    current = _read_change_id(connection)
    if current is None:
        return json.dumps([COUNTS, *_read_counts(connection, schema, changed_at)])
    if before is not None:
        kind, last, *_ = json.loads(before)
        if kind == CDC and not _has_changes(connection, schema, last):
            return before
    return json.dumps([CDC, current])


def _read_change_id(connection: Connection) -> str | None:
    """The id of the last change; None: the database keeps no record of changes."""
    try:
        ((found,),) = connection.read("CALL db.cdc.current() YIELD id RETURN id")
    except ConnectionLost:
        raise
    except StoreError:  # no such procedure, not enabled for this database, or not allowed
        return None
    return str(found)


def _has_changes(connection: Connection, schema: CatalogueSchema, last: str) -> bool:
    """Whether a node or an edge of the schema has changed since; also where so much has that it is not known."""
    selectors: list[dict[str, object]] = [
        {"select": "n", "labels": [label]} for node in schema.nodes.values() for label in node.all_labels
    ]
    for edge in schema.edges.values():
        steps = [step.removeprefix("<") for step in edge.path] or [edge.type]
        selectors += [{"select": "r", "type": step} for step in steps]
    try:
        return bool(
            connection.read(
                "CALL db.cdc.query($last, $selectors) YIELD id RETURN id LIMIT 1",
                {"last": last, "selectors": selectors},
            )
        )
    except ConnectionLost:
        raise
    except StoreError:  # the id is older than the transaction log
        return True


def _read_counts(connection: Connection, schema: CatalogueSchema, changed_at: str | None) -> list[list[object]]:
    layout = Layout(schema)
    further = [] if changed_at is None else [changed_at]
    found = []
    for name, node in layout.nodes.items():
        times = [one for one, kind in schema.nodes[name].columns.items() if kind == "time"]
        found.append(_count(connection, f"MATCH (n:{node.label})", [f"n.{quote(one)}" for one in (*times, *further)]))
    for name, edge in layout.edges.items():
        times = [one for one, kind in schema.edges[name].attributes.items() if kind == "time"]
        values = [edge.read_property("parts", quote(one)) for one in (*times, *further)]
        match = f"{edge.match} WITH {edge.parts} AS parts" if values else edge.match
        found.append(_count(connection, match, values))
    return found


def _count(connection: Connection, match: str, values: Sequence[str]) -> list[object]:
    latest = "".join(f", toStringOrNull(max({value}))" for value in values)
    ((*row,),) = connection.read(f"{match} RETURN count(*){latest}")
    return row
