"""Joins tables that an edge type leads through, as orders and order_lines of customers and products.

The table with the largest files is streamed; of the others the columns that are needed are in memory.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa

from graph_schema import SOURCE, TARGET, CatalogueError, CatalogueSchema, EdgeType
from graph_schema.checks.column_names import find_column
from graph_schema.checks.columns import convert_ids
from graph_schema.near_names import find_near_name
from graph_schema.sources import BrokenRow, RawBatch
from loaders.files.edge_rows import keep_where
from loaders.files.id_spaces import trim_ids
from loaders.files.row_lookup import RowLookup

_log = logging.getLogger("kgrec.loaders")
_LOOKUP_ROWS = 1_000_000  # rows to look up at once: each look-up costs time for all rows in memory
_BEFORE, _AFTER = "id of the table before", "id of the table after"
_FILE, _ROW = "file of the row", "place of the row"


@dataclass(frozen=True)
class PathTable:
    """A table of a path.

    Attributes:
        name: the table.
        read: reads its rows.
        n_bytes: the size of its files.
    """

    name: str
    read: Callable[[], Iterator[RawBatch]]
    n_bytes: int


def join_path(schema: CatalogueSchema, name: str, path: Sequence[PathTable]) -> Iterator[RawBatch]:
    """The rows of an edge type that leads through several tables: its ends as `source` and `target`, its attributes.

    A row without partner is broken if a partner is one row, as the order of an order line is. It is left out if it may
    have any number of partners, or if `where` takes only some rows.

    Args:
        schema: the schema.
        name: the edge type.
        path: the tables of its path, in order.

    Raises:
        CatalogueError: a file cannot be read, or a column is missing.
    """
    edge = schema.edges[name]
    steps = _open_steps(schema, name, path)
    place = max(range(len(path)), key=lambda one: (path[one].n_bytes, one))
    streamed = steps[place]
    nothing = pa.RecordBatch.from_pylist([], schema=edge.arrow_schema)
    partners = []
    if place > 0:
        partners.append(_Partner(edge, name, steps[:place], is_before=True))
    if place + 1 < len(steps):
        partners.append(_Partner(edge, name, steps[:place:-1], is_before=False))
    for partner in partners:
        for file, broken in partner.broken.items():
            yield RawBatch(nothing, file, np.arange(0), broken)
    n_absent = 0
    for batch in _gather(streamed.batches):
        rows = streamed.choose(keep_where(batch, streamed.find_where(edge), name))
        for partner in partners:
            rows, n_more = partner.join(rows, streamed)
            n_absent += n_more
        columns = [column for column in edge.columns if column in rows.columns.schema.names]
        yield RawBatch(rows.columns.select(columns), rows.file, rows.rows, rows.broken)
    for partner in partners:
        for file, broken in partner.find_unlinked(streamed).items():
            yield RawBatch(nothing, file, np.arange(0), broken)
    if n_absent:
        _log.info("%s: %d rows of %s have no partner; they are left out", name, n_absent, streamed.name)


@dataclass(frozen=True)
class _Step:
    """An open table of a path.

    Attributes:
        name: the table.
        batches: its rows.
        names: its columns.
        columns: what is needed of it -> the column that holds it: an end, an attribute, the ids of its neighbours.
    """

    name: str
    batches: Iterator[RawBatch]
    names: Sequence[str]
    columns: dict[str, str]

    def find_where(self, edge: EdgeType) -> Mapping[str, str]:
        """The conditions on its columns."""
        return {name: text for name, text in edge.where.items() if find_column(name, self.names) is not None}

    def choose(self, batch: RawBatch) -> RawBatch:
        """What is needed of its rows."""
        arrays = {}
        for wanted, column in self.columns.items():
            found = batch.columns.schema.names
            values = batch.columns.column(column) if column in found else pa.nulls(batch.columns.num_rows, pa.string())
            arrays[wanted] = convert_ids(trim_ids(values)[0])[0] if wanted in (_BEFORE, _AFTER) else values
        return RawBatch(pa.RecordBatch.from_pydict(arrays), batch.file, batch.rows, batch.broken)


def _open_steps(schema: CatalogueSchema, name: str, path: Sequence[PathTable]) -> list[_Step]:
    edge = schema.edges[name]
    steps = []
    for table in path:
        batches = table.read()
        first = next(batches, None)
        names = [] if first is None else first.columns.schema.names
        steps.append(_Step(table.name, chain([] if first is None else [first], batches), names, {}))
    for place, (before, after) in enumerate(pairwise(steps)):
        before.columns[_AFTER], after.columns[_BEFORE] = _find_join(name, edge, before, after, place)
    keys = {SOURCE: schema.nodes[edge.source].key, TARGET: schema.nodes[edge.target].key}
    said = {SOURCE: edge.source_column, TARGET: edge.target_column}
    for end, order in ((SOURCE, steps), (TARGET, steps[::-1])):
        given = said[end]
        _place_column(name, end, [given] if given is not None else [end, keys[end]], order)
    chosen = schema.interaction
    counted = chosen.weight if name == chosen.edge and chosen.repeat_rule == "count" else None
    for attribute in edge.attributes:
        if attribute != counted:
            _place_column(name, attribute, [attribute], steps[::-1])
    for column in edge.where:
        if not any(find_column(column, step.names) for step in steps):
            raise CatalogueError(_say_missing(name, column, steps))
    return steps


def _place_column(name: str, wanted: str, columns: Sequence[str], steps: Sequence[_Step]) -> None:
    """Notes which table has a column: the first of `steps` that has it."""
    for step in steps:
        for column in columns:
            found = find_column(column, step.names)
            if found is not None:
                step.columns[wanted] = found
                return
    raise CatalogueError(_say_missing(name, columns[-1], steps))


def _say_missing(name: str, column: str, steps: Sequence[_Step]) -> str:
    has = "; ".join(f"{step.name} has {', '.join(step.names)}" for step in steps)
    near = find_near_name(column, [one for step in steps for one in step.names])
    advice = f". Did you mean {near!r}?" if near else ""
    return f"[edges.{name}]: no table of its path has the column {column!r}: {has}{advice}"


def _find_join(name: str, edge: EdgeType, before: _Step, after: _Step, place: int) -> tuple[str, str]:
    """The columns by which two tables are joined."""
    if edge.join:
        said = [part.strip() for part in edge.join[place].split("=", 1)]
        columns = []
        for step, column in ((before, said[0]), (after, said[-1])):
            found = find_column(column, step.names)
            if found is None:
                near = find_near_name(column, step.names)
                advice = f"did you mean {near!r}?" if near else f"it has {', '.join(step.names)}"
                raise CatalogueError(f"[edges.{name}]: join names {column!r}, no column of {step.name}; {advice}")
            columns.append(found)
        return columns[0], columns[1]
    shared = [(one, other) for one in before.names if (other := find_column(one, after.names)) is not None]
    if len(shared) != 1:
        found = ", ".join(one for one, _ in shared) or "none"
        raise CatalogueError(
            f"[edges.{name}]: {before.name} and {after.name} have these columns in common: {found}; say by which they "
            'are joined, such as join = ["order_id"] or join = ["id=order_id"]'
        )
    return shared[0]


class _Partner:
    """The tables on one side of the streamed one, joined in memory.

    Args:
        edge: the edge type.
        name: its name.
        steps: the tables, the last one next to the streamed one.
        is_before: they come before the streamed table in the path.
    """

    def __init__(self, edge: EdgeType, name: str, steps: Sequence[_Step], *, is_before: bool) -> None:
        self._is_before, self._is_told = is_before, not edge.where
        self._key = _BEFORE if is_before else _AFTER  # of the streamed table
        near, far = (_BEFORE, _AFTER) if is_before else (_AFTER, _BEFORE)
        self.broken: dict[str, list[BrokenRow]] = {}  # file -> rows that could not be parsed
        self._step = steps[-1]
        self._column = self._step.columns[far]
        lookup: RowLookup | None = None
        for step in steps:
            rows = self._read(edge, name, step)
            if lookup is not None:
                places, found = lookup.find(rows[near].combine_chunks())
                partner = lookup.rows.take(pa.array(found, mask=found < 0)).drop_columns([_FILE, _ROW])
                rows = rows.take(pa.array(places)).drop_columns(near)
                for column in partner.column_names:  # null where there is no partner
                    rows = rows.append_column(column, partner[column])
            lookup = RowLookup(rows, far)
        assert lookup is not None
        self._lookup = lookup
        self._columns = lookup.rows.drop_columns([_FILE, _ROW])

    def join(self, batch: RawBatch, streamed: _Step) -> tuple[RawBatch, int]:
        """The rows with the columns of their partners, and how many without one are left out."""
        ids = batch.columns.column(self._key)
        places, found = self._lookup.find(ids)
        absent = np.unique(places[found < 0])
        broken = list(batch.broken)
        is_told = self._is_told and self._lookup.is_unique
        for place in absent.tolist() if is_told else ():
            reason = _say_unlinked(streamed.columns[self._key], ids[place].as_py(), self._step.name)
            broken.append(BrokenRow(int(batch.rows[place]), reason, _show(batch.columns.columns, place)))
        places, found = places[found >= 0], found[found >= 0]
        columns = batch.columns.take(pa.array(places)).drop_columns([self._key])
        arrays = {name: columns.column(name) for name in columns.schema.names}
        partner = self._columns.take(pa.array(found)).combine_chunks()
        for name in partner.column_names:
            chunks = partner[name].chunks
            arrays[name] = chunks[0] if chunks else pa.nulls(0, partner.schema.field(name).type)
        joined = pa.RecordBatch.from_pydict(arrays)
        return RawBatch(joined, batch.file, batch.rows[places], broken), 0 if is_told else len(absent)

    def find_unlinked(self, streamed: _Step) -> dict[str, list[BrokenRow]]:
        """The rows in memory without partner, by their file, where a partner is one row of the streamed table."""
        is_told = self._is_told and self._lookup.is_found_once and not (self._lookup.is_unique and self._is_before)
        broken: dict[str, list[BrokenRow]] = {}
        for place, id_ in self._lookup.list_unfound() if is_told else ():
            reason = _say_unlinked(self._column, id_, streamed.name)
            rows = self._lookup.rows
            row = BrokenRow(rows[_ROW][place].as_py(), reason, _show(self._columns.columns, place))
            broken.setdefault(rows[_FILE][place].as_py(), []).append(row)
        return broken

    def _read(self, edge: EdgeType, name: str, step: _Step) -> pa.Table:
        """What is needed of all rows of a table, with their places."""
        parts = []
        for batch in step.batches:
            if batch.broken:
                self.broken.setdefault(batch.file, []).extend(batch.broken)
            rows = step.choose(keep_where(batch, step.find_where(edge), name))
            files = pa.DictionaryArray.from_arrays(np.zeros(len(rows.rows), np.int32), [rows.file])
            table = _to_table(rows.columns).append_column(_FILE, files)
            parts.append(table.append_column(_ROW, pa.array(rows.rows)))
        return pa.concat_tables(parts, promote_options="permissive")


def _say_unlinked(column: str, id_: str | None, table: str) -> str:
    return f"{column} is empty" if id_ is None else f"{column} is in no row of {table}"


def _show(columns: Sequence[pa.Array], place: int) -> str:
    return ", ".join(str(values[place].as_py()) for values in columns)


def _gather(batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
    """Puts batches of one file together, so that fewer are looked up."""
    held: list[RawBatch] = []
    for batch in batches:
        if held and (batch.file != held[0].file or sum(one.columns.num_rows for one in held) >= _LOOKUP_ROWS):
            yield _put_together(held)
            held = []
        held.append(batch)
    if held:
        yield _put_together(held)


def _put_together(batches: Sequence[RawBatch]) -> RawBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.concat_tables([_to_table(batch.columns) for batch in batches], promote_options="permissive")
    columns = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
    rows = np.concatenate([batch.rows for batch in batches])
    return RawBatch(columns[0], batches[0].file, rows, [one for batch in batches for one in batch.broken])


def _to_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])
