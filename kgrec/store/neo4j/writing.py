"""Writes rows into a database and deletes them: known rows are read first, the new ones created, changed ones written.

Creating an edge takes half the time of a MERGE, and leaving it alone takes a tenth of that. A batch is one transaction;
a load that was cut off finds what it had written when it is run again. `Guard` prevents that two loads create the same
edge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, Parameters, work_in_halves
from kgrec.store.neo4j.layout import META_LABEL, EdgePlace, NodePlace
from kgrec.store.rows import equal_rows, join_keys

BATCH_NODES = 10_000
BATCH_EDGES = 20_000
# Reading an edge takes a fifteenth of the time of creating one. Where nodes have far more edges than are to be written,
# reading them all would make writing slower than linear; a MERGE, which reads nothing, is faster then.
MOST_READ_PER_ROW = 10
_FITS = "c_fits"  # the column that says whether a row's values are of the declared types
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)  # what Arrow raises for a value of another type


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
                f"{connection.url}: another load took this one over, since it wrote nothing for a while; "
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

    nothing = _to_table([[] for _ in schema], schema)
    return pa.concat_tables([nothing, *work_in_halves(read, keys)])


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


def delete_nodes(connection: Connection, guard: Guard, place: NodePlace, keys: Sequence[str]) -> None:
    """Deletes nodes with all their relationships.

    Args:
        connection: where from.
        guard: checked with every batch.
        place: their type.
        keys: their keys; unknown ones are passed over.
    """
    query = f"UNWIND $keys AS key MATCH (n:{place.label} {{{place.key}: key}}) DETACH DELETE n"
    for start in range(0, len(keys), BATCH_NODES):
        _write_in_halves(lambda part: guard.write(connection, query, {"keys": part}), keys[start : start + BATCH_NODES])


def delete_edges(connection: Connection, guard: Guard, place: EdgePlace, rows: pa.Table) -> None:
    """Deletes edges.

    Args:
        connection: where from.
        guard: checked with every batch.
        place: their type.
        rows: columns c0 and c1, the keys of both ends.
    """
    source, target = place.source, place.target
    query = (
        f"UNWIND $rows AS row MATCH (a:{source.label} {{{source.key}: row[0]}}) UNWIND row[1] AS key "
        f"MATCH (b:{target.label} {{{target.key}: key}}) MATCH (a){place.pattern('r')}(b) DELETE r"
    )
    rows = rows.sort_by("c0")
    for start in range(0, len(rows), BATCH_EDGES):
        _write_in_halves(
            lambda part: guard.write(connection, query, {"rows": _group_by_source(part)}),
            rows.slice(start, BATCH_EDGES),
        )


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

    nothing = _to_table([[] for _ in schema], schema)
    return pa.concat_tables([nothing, *work_in_halves(read, sources)])


def _split(rows: pa.Table, known: pa.Table, n_keys: int) -> tuple[pa.Table, pa.Table]:
    """The rows that are not among the known ones, and those that are there with other attributes."""
    places = pc.index_in(join_keys(rows, n_keys), value_set=join_keys(known, n_keys))
    is_new = pc.is_null(places)
    there = rows.filter(pc.invert(is_new))
    known = known.take(places.drop_null())
    same = pc.and_(equal_rows(there, known, rows.column_names[n_keys:]), known[_FITS].combine_chunks())
    return rows.filter(is_new), there.filter(pc.invert(same))


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
    """The rows that are in the database, and whether all values of each are of its columns' types.

    Others may have changed values since they were loaded: one of another type is null here, and its row does not fit.
    """
    arrays, fits = [], np.ones(len(columns[0]), dtype=bool)
    for values, field in zip(columns, schema, strict=True):
        try:
            arrays.append(pa.array(values, field.type))
        except _UNFIT:
            kept = [_fit(value, field.type) for value in values]
            fits &= [one is not None or value is None for one, value in zip(kept, values, strict=True)]
            arrays.append(pa.array(kept, field.type))
    return pa.table([*arrays, pa.array(fits)], names=[*schema.names, _FITS])


def _fit(value: object, kind: pa.DataType) -> object:
    try:
        pa.array([value], kind)
    except _UNFIT:
        return None
    return value


def _to_lists(rows: pa.Table) -> list[list[Any]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
