"""Reads the first rows of each type of a catalogue, so that a large one can be looked at in seconds."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import SOURCE, TARGET, CatalogueError, CatalogueSchema, GraphTables
from graph_schema.checks.rejects import Fault, RejectLog
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import RawBatch, Source
from kgrec.store import GraphStore

MOST_NODES, MOST_EDGES = 200_000, 50_000  # rows of one type


@dataclass(frozen=True)
class FirstRows:
    """The first rows of a catalogue.

    Attributes:
        tables: the rows that passed the checks of a load; edges have both ends there.
        cut: type -> the rows that were read, where it has more.
        notes: what did not pass the checks, a sentence each.
    """

    tables: GraphTables
    cut: dict[str, int]
    notes: tuple[str, ...] = ()


def read_first(store: GraphStore) -> FirstRows:
    """Reads the first rows of each type of a store.

    Raises:
        StoreError: the store holds no catalogue, or fails.
        CatalogueError: it has no interactions.
    """
    foreign = store.foreign_rows()
    if foreign is not None:
        return stage_first(foreign)
    schema = store.read_schema()
    cut: dict[str, int] = {}
    nodes = {
        name: _take(store.read_nodes(name, MOST_NODES + 1), node.arrow_schema, MOST_NODES, name, cut)
        for name, node in schema.nodes.items()
    }
    edges = {}
    for name, edge in schema.edges.items():
        rows = _take(store.read_edges(name, MOST_EDGES + 1), edge.arrow_schema, MOST_EDGES, name, cut)
        for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
            rows = rows.filter(pc.is_in(rows[end], nodes[node_type][schema.nodes[node_type].key].combine_chunks()))
        edges[name] = rows
    return FirstRows(GraphTables(schema, nodes, edges), cut)


def stage_first(source: Source) -> FirstRows:
    """Reads and checks the first rows of each type of a source; edges whose ends are further on are left out.

    Raises:
        CatalogueError: a file cannot be read, a column is missing, or there are no interactions.
    """
    first = _FirstOf(source)
    log = RejectLog()
    with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
        try:
            tables = stage_tables(first, Path(folder), rejects=log, max_rejects=1.0).to_tables()
        except CatalogueError as error:
            if not first.cut:
                raise
            shown = ", ".join(f"{n:,} of {name}" for name, n in first.cut.items())
            raise CatalogueError(f"{error} (only the first rows were read: {shown})") from error
    return FirstRows(tables, first.cut, tuple(_describe_rejects(log, source.schema, first.cut)))


def _describe_rejects(log: RejectLog, schema: CatalogueSchema, cut: dict[str, int]) -> Iterator[str]:
    for (table, reason), n_rows in log.counts.items():
        edge = schema.edges.get(table)
        is_beyond = edge is not None and reason.fault == Fault.UNKNOWN_END and {edge.source, edge.target} & {*cut}
        if not is_beyond:  # else the end is in a row that was not read
            yield f"{table}: {n_rows:,} of {log.n_rows[table]:,} rows: {reason}"


@dataclass
class _FirstOf:
    """A source that ends early."""

    source: Source
    cut: dict[str, int] = field(default_factory=dict)

    @property
    def schema(self) -> CatalogueSchema:
        return self.source.schema

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        return self._cut(self.source.read_nodes(node_type), MOST_NODES, node_type)

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        return self._cut(self.source.read_edges(edge_type), MOST_EDGES, edge_type)

    def _cut(self, batches: Iterator[RawBatch], most: int, name: str) -> Iterator[RawBatch]:
        n_left = most
        for batch in batches:
            n_rows = batch.columns.num_rows
            if n_rows and n_left == 0:
                self.cut[name] = most
                return
            if n_rows > n_left:
                broken = [one for one in batch.broken if one.row <= batch.rows[n_left]]
                yield RawBatch(batch.columns.slice(0, n_left), batch.file, batch.rows[:n_left], broken)
                self.cut[name] = most
                return
            yield batch
            n_left -= n_rows


def _take(batches: Iterator[pa.RecordBatch], schema: pa.Schema, most: int, name: str, cut: dict[str, int]) -> pa.Table:
    kept: list[pa.RecordBatch] = []
    n_left = most
    for batch in batches:
        if batch.num_rows > n_left:
            cut[name] = most
            kept.append(batch.slice(0, n_left))
            break
        kept.append(batch)
        n_left -= batch.num_rows
    return pa.Table.from_batches(kept, schema)
