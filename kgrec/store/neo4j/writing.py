"""Rows into a database: what is there is read first, what is new is created, and only what has changed is written.

To create an edge takes half the time of a MERGE, and to leave it alone takes a tenth of that. A batch is one
transaction, whole or not at all; a load that was cut off between two of them finds, when it is run again, what it
had written. That two loads do not create the same edge is seen to by `Guard`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, Parameters, work_in_halves
from kgrec.store.neo4j.layout import META_LABEL, EdgePlace, NodePlace
from kgrec.store.rows import equal_rows

BATCH_NODES = 10_000
BATCH_EDGES = 20_000
# To read an edge takes a fifteenth of the time to create one: where nodes have far more edges than are to be written,
# reading them all would make writing slower than linear, and a MERGE, which needs no reading, is the better way.
MOST_READ_PER_ROW = 10


class LeaseLostError(StoreError):
    """Another load took over."""


@dataclass(frozen=True)
class Guard:
    """Makes a batch count only while its load is the one at work.

    Attributes:
        owner: the load; None: no load is under way, and nothing is checked.
    """

    owner: str | None

    def write(self, connection: Connection, query: str, parameters: Parameters) -> None:
        """Runs a query that begins by UNWIND, in one transaction with the check.

        Raises:
            LeaseLostError: another load took over; nothing is written.
        """
        if self.owner is None:
            connection.write(query, parameters)
            return
        # SET waits for the lock, and only then is the owner read: else a load that slept would still write
        held = (
            f"MATCH (m:{META_LABEL} {{name: 'loading'}}) SET m.beat = m.beat + 1 WITH m WHERE m.owner = $owner "
            f"CALL () {{ {query} }} RETURN 1"
        )
        if not connection.write(held, {**parameters, "owner": self.owner}):
            raise LeaseLostError(
                f"{connection.url}: another load took this one over, since nothing was heard of it for a while; "
                "nothing is lost: let that one finish, then load again"
            )


def upsert_nodes(connection: Connection, guard: Guard, place: NodePlace, rows: pa.Table) -> None:
    """Writes nodes.

    Args:
        connection: where to.
        guard: checked with every batch.
        place: their type.
        rows: columns c0, the key, then one per other property; each key once.
    """
    for start in range(0, len(rows), BATCH_NODES):
        batch = rows.slice(start, BATCH_NODES)
        known = _read_known_nodes(connection, place, batch["c0"].to_pylist(), batch.schema)
        for changed in _split(batch, known, n_keys=1):
            _write_nodes(connection, guard, place, changed)


def _read_known_nodes(connection: Connection, place: NodePlace, keys: Sequence[str], schema: pa.Schema) -> pa.Table:
    values = ", ".join(f"[n IN ns | n.{name}]" for name in place.properties)
    query = f"UNWIND $keys AS key MATCH (n:{place.label} {{{place.key}: key}}) WITH collect(n) AS ns RETURN {values}"

    def read(part: Sequence[str]) -> pa.Table:
        (columns,) = connection.read(query, {"keys": part})
        return _to_table(columns, schema)

    return pa.concat_tables([schema.empty_table(), *work_in_halves(read, keys)])


def _write_nodes(connection: Connection, guard: Guard, place: NodePlace, rows: pa.Table) -> None:
    values = ", ".join(f"n.{name} = row[{i}]" for i, name in enumerate(place.properties[1:], start=1))
    query = f"UNWIND $rows AS row MERGE (n:{place.label} {{{place.key}: row[0]}})" + (
        f" SET {values}" if values else ""
    )

    _write_in_halves(lambda part: guard.write(connection, query, {"rows": part}), _to_lists(rows))


def upsert_edges(connection: Connection, guard: Guard, place: EdgePlace, rows: pa.Table) -> None:
    """Writes edges whose ends are there.

    Args:
        connection: where to.
        guard: checked with every batch.
        place: their type.
        rows: columns c0 and c1, the keys of both ends, then one per property; each pair of ends once.
    """
    source, target = place.source, place.target
    ends = f"MATCH (a:{source.label} {{{source.key}: row[0]}}) UNWIND range(0, size(row[1]) - 1) AS i "
    ends += f"MATCH (b:{target.label} {{{target.key}: row[1][i]}}) "
    values = ", ".join(f"r.{name} = row[{2 + i}][i]" for i, name in enumerate(place.properties))
    set_values = f" SET {values}" if values else ""
    create = f"UNWIND $rows AS row {ends} CREATE (a){place.pattern('r')}(b){set_values}"
    merge = f"UNWIND $rows AS row {ends} MERGE (a){place.pattern('r')}(b){set_values}"

    def write(query: str, batch: pa.Table) -> None:
        _write_in_halves(lambda part: guard.write(connection, query, {"rows": _group_by_source(part)}), batch)

    ((n_there,),) = connection.read(f"MATCH (:{source.label}){place.pattern('r')}() RETURN count(r)")
    rows = rows.sort_by("c0")
    for start in range(0, len(rows), BATCH_EDGES):
        batch = rows.slice(start, BATCH_EDGES)
        if n_there:
            sources = pc.unique(batch["c0"]).to_pylist()
            if _count_edges(connection, place, sources) > MOST_READ_PER_ROW * len(batch):
                write(merge, batch)
                continue
            known = _read_known_edges(connection, place, sources, batch.schema)
            batch, changed = _split(batch, known, n_keys=2)
            write(merge, changed)
        write(create, batch)


def find_missing(connection: Connection, place: NodePlace, keys: pa.ChunkedArray) -> str | None:
    """A key that no node has; None: all are there."""
    query = (
        f"UNWIND $keys AS key OPTIONAL MATCH (n:{place.label} {{{place.key}: key}}) WITH key, n WHERE n IS NULL "
        "RETURN key LIMIT 1"
    )

    for start in range(0, len(keys), BATCH_NODES):
        batch = keys.slice(start, BATCH_NODES).to_pylist()
        for found in work_in_halves(lambda part: connection.read(query, {"keys": part}), batch):
            if found:
                return str(found[0][0])
    return None


def delete_nodes(connection: Connection, guard: Guard, place: NodePlace, keys: Sequence[str]) -> int:
    """Deletes nodes with all their edges; returns how many there were."""
    find = f"UNWIND $keys AS key MATCH (n:{place.label} {{{place.key}: key}})"
    ((n_edges,),) = connection.read(f"{find} RETURN sum(COUNT {{ (n)--() }})", {"keys": keys})
    while n_edges > BATCH_EDGES:  # too many to go with their nodes in one transaction
        guard.write(connection, f"{find} MATCH (n)-[r]-() WITH r LIMIT {BATCH_EDGES} DELETE r", {"keys": keys})
        n_edges -= BATCH_EDGES
    return _delete(connection, guard, find, "DETACH DELETE n", keys)


def delete_edges(connection: Connection, guard: Guard, place: EdgePlace, pairs: Sequence[tuple[str, str]]) -> int:
    """Deletes edges by the keys of their ends; returns how many there were."""
    source, target = place.source, place.target
    find = (
        f"UNWIND $keys AS key MATCH (:{source.label} {{{source.key}: key[0]}}){place.pattern('r')}"
        f"(:{target.label} {{{target.key}: key[1]}})"
    )
    return _delete(connection, guard, find, "DELETE r", [list(pair) for pair in pairs])


def _delete(connection: Connection, guard: Guard, find: str, delete: str, keys: Sequence[Any]) -> int:
    def write(part: Sequence[Any]) -> int:
        ((n_found,),) = connection.read(f"{find} RETURN count(*)", {"keys": part})
        guard.write(connection, f"{find} {delete}", {"keys": part})
        return int(n_found)

    batches = (keys[start : start + BATCH_NODES] for start in range(0, len(keys), BATCH_NODES))
    return sum(n_found for batch in batches for n_found in work_in_halves(write, batch))


def _write_in_halves(write: Callable[[Any], None], rows: Any) -> None:
    for _ in work_in_halves(write, rows):
        pass


def _count_edges(connection: Connection, place: EdgePlace, sources: Sequence[str]) -> int:
    query = (
        f"UNWIND $keys AS key MATCH (a:{place.source.label} {{{place.source.key}: key}}) "
        f"RETURN sum(COUNT {{ (a){place.pattern()}() }})"
    )
    ((n_edges,),) = connection.read(query, {"keys": sources})
    return int(n_edges)


def _read_known_edges(connection: Connection, place: EdgePlace, sources: Sequence[str], schema: pa.Schema) -> pa.Table:
    """The edges of some sources."""
    values = "".join(f", [r IN rs | r.{name}]" for name in place.properties)
    query = (
        f"UNWIND $keys AS key MATCH (a:{place.source.label} {{{place.source.key}: key}}) "
        f"CALL (a) {{ {place.match} RETURN collect(b) AS bs, collect(r) AS rs }} "
        f"RETURN key, [b IN bs | b.{place.target.key}]{values}"
    )

    def read(part: Sequence[str]) -> pa.Table:
        rows = connection.read(query, {"keys": part})
        keys = [key for key, targets, *_ in rows for _ in targets]
        columns = [[value for row in rows for value in row[i]] for i in range(1, 2 + len(place.properties))]
        return _to_table([keys, *columns], schema)

    return pa.concat_tables([schema.empty_table(), *work_in_halves(read, sources)])


def _split(rows: pa.Table, known: pa.Table, n_keys: int) -> tuple[pa.Table, pa.Table]:
    """The rows that are not among the known ones, and those that are there with other attributes."""
    places = pc.index_in(_key(rows, n_keys), value_set=_key(known, n_keys))
    is_new = pc.is_null(places)
    there = rows.filter(pc.invert(is_new))
    same = equal_rows(there, known.take(places.drop_null()), rows.column_names[n_keys:])
    return rows.filter(is_new), there.filter(pc.invert(same))


def _key(rows: pa.Table, n_keys: int) -> pa.ChunkedArray:
    """One value per row: its key, or both of an edge's."""
    if n_keys == 1:
        return rows["c0"]
    source, target = rows["c0"].cast(pa.large_binary()), rows["c1"].cast(pa.large_binary())
    # with the length of the first, else ("a", "bc") would equal ("ab", "c")
    length = pc.binary_length(source).cast(pa.string()).cast(pa.large_binary())
    return pc.binary_join_element_wise(length, source, target, pa.scalar(b":", pa.large_binary()))


def _group_by_source(rows: pa.Table) -> list[list[Any]]:
    """Rows sorted by c0 as [c0, [c1, ...], [c2, ...], ...] for each c0."""
    sources, *columns = (column.to_pylist() for column in rows.columns)
    grouped: list[list[Any]] = []
    start = 0
    for place in range(1, len(sources) + 1):
        if place == len(sources) or sources[place] != sources[start]:
            grouped.append([sources[start], *(column[start:place] for column in columns)])
            start = place
    return grouped


def _to_table(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _to_lists(rows: pa.Table) -> list[list[Any]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
