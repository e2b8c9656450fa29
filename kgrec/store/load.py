"""Writes whole catalogues into a store and reads them back."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema, EdgeType, GraphTables
from graph_schema.checks.rejects import RejectLog
from graph_schema.checks.staged_tables import StagedTables
from graph_schema.checks.staging import stage_tables
from kgrec.store.contract import Counts, GraphStore, OnRows

_log = logging.getLogger(__name__)
LOAD_ROWS = 1_000_000  # rows written at once: large, since a store adds a few large batches faster than many small
BLOCK_ROWS = 250_000  # edges sorted at once

_ReadType = Callable[[str], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class LoadReport:
    """The result of a load.

    Attributes:
        n_nodes: node type -> rows written.
        n_edges: edge type -> rows written.
        n_rejects: rows left out, with a reason.
        n_incomplete: rows written without values that do not fit.
        repeats: edge type -> edges that repeated another, where there are any; one of each pair is left.
        removed: type -> rows that the store had and the source has not, and that were removed, where there are any.
        counts: the rows in the store after the load.
    """

    n_nodes: Mapping[str, int]
    n_edges: Mapping[str, int]
    n_rejects: int
    n_incomplete: int
    repeats: Mapping[str, int]
    removed: Mapping[str, int]
    counts: Counts

    @property
    def others(self) -> dict[str, int]:
        """Type -> rows of the store that the source does not have, where there are any."""
        loaded, there = {**self.n_nodes, **self.n_edges}, {**self.counts.nodes, **self.counts.edges}
        return {name: n - loaded[name] for name, n in there.items() if n > loaded[name]}


def load_staged(
    store: GraphStore, staged: StagedTables, on_rows: OnRows | None = None, *, replace: bool = False
) -> LoadReport:
    """Writes a checked catalogue into a store: known rows are updated, and others stay unless `replace`.

    A load that is stopped midway leaves the store marked as half-written; loading again makes it whole.

    Args:
        store: the store to write to.
        staged: the catalogue.
        on_rows: called with a type's name and how many of its rows were just written.
        replace: remove the nodes, with their edges, and the edges that are not in the catalogue. In memory are the keys
            of one type at a time.

    Returns:
        The numbers of rows.

    Raises:
        StoreError: the store holds another schema, or fails.
    """
    store.ensure_schema(staged.schema.stored)
    store.begin_load()
    for name in staged.schema.nodes:
        for batch in _report_after(staged.iter_nodes(name, LOAD_ROWS), on_rows, name):
            store.upsert_nodes(name, pa.Table.from_batches([batch]))
    for name in staged.schema.edges:
        for batch in _report_after(staged.iter_edges(name, LOAD_ROWS), on_rows, name):
            store.upsert_edges(name, pa.Table.from_batches([batch]))
    removed = _remove_others(store, staged) if replace else {}
    store.finish_load()
    _log.info("loaded nodes %s and edges %s", dict(staged.n_nodes), dict(staged.n_edges))
    return LoadReport(
        n_nodes=staged.n_nodes,
        n_edges=staged.n_edges,
        n_rejects=staged.n_rejects,
        n_incomplete=staged.n_incomplete,
        repeats=staged.repeats,
        removed={name: n for name, n in removed.items() if n},
        counts=store.counts(),
    )


def _remove_others(store: GraphStore, staged: StagedTables) -> dict[str, int]:
    """Removes what the catalogue does not have; returns the number of each type."""
    removed = {}
    for name, edge in staged.schema.edges.items():  # before the nodes, which take the edges left with them
        kept = _read_keys(staged.iter_edges(name, LOAD_ROWS), edge.arrow_schema, [SOURCE, TARGET])
        removed[name] = store.remove_other_edges(name, kept)
    for name, node in staged.schema.nodes.items():
        kept = _read_keys(staged.iter_nodes(name, LOAD_ROWS), node.arrow_schema, [node.key])
        removed[name] = store.remove_other_nodes(name, kept)
    _log.info("removed %s", removed)
    return removed


def _read_keys(batches: Iterable[pa.RecordBatch], schema: pa.Schema, keys: list[str]) -> pa.Table:
    fields = pa.schema([schema.field(name) for name in keys])
    return pa.Table.from_batches((batch.select(keys) for batch in batches), fields)


def read_tables(
    store: GraphStore,
    on_rows: OnRows | None = None,
    *,
    rejects: Path | RejectLog | None = None,
    max_rejects: float = 0.1,
) -> GraphTables:
    """Reads the whole catalogue, in an order that does not depend on how it was written.

    The rows of a graph that kgrec did not load are checked like those of files, and bad ones are left out.

    Args:
        store: the store to read.
        on_rows: called with a type's name and how many of its rows were just read.
        rejects: CSV file for the bad rows of a graph that kgrec did not load; or a log of the caller's, which counts
            them; None writes none.
        max_rejects: the share of all rows that may be bad there, 0 to 1.

    Returns:
        Nodes sorted by id; edges by source, then target.

    Raises:
        StoreError: the store holds no catalogue, is half-written, or fails.
        CatalogueError: more rows are bad than `max_rejects` allows.
    """
    schema = store.read_schema()
    _log.info("reading the catalogue %r", schema.name)
    foreign = store.foreign_rows()
    if foreign is None:
        return _gather(schema, store.read_nodes, store.read_edges, on_rows)
    with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
        staged = stage_tables(foreign, Path(folder), rejects=rejects, max_rejects=max_rejects, on_rows=on_rows)
        return _gather(schema, staged.iter_nodes, staged.iter_edges, None)


def _gather(
    schema: CatalogueSchema, read_nodes: _ReadType, read_edges: _ReadType, on_rows: OnRows | None
) -> GraphTables:
    nodes, ids = {}, {}
    for name, node in schema.nodes.items():
        rows = pa.Table.from_batches(_report_after(read_nodes(name), on_rows, name), node.arrow_schema)
        nodes[name] = rows.sort_by(node.key)
        ids[name] = nodes[name][node.key].combine_chunks()
    edges = {
        name: _sort_edges(_report_after(read_edges(name), on_rows, name), edge, ids[edge.source], ids[edge.target])
        for name, edge in schema.edges.items()
    }
    return GraphTables(schema, nodes, edges)


def _sort_edges(batches: Iterable[pa.RecordBatch], edge: EdgeType, sources: pa.Array, targets: pa.Array) -> pa.Table:
    """Sorts edges by source, then target, and drops those with an unknown end: a node may be new since nodes were read.

    Blocks that come in that order, from a store that reads node by node, are sorted one by one, without a second
    copy of all edges.
    """
    parts = []
    last, is_sorted = (-1, -1), True
    for block in _iter_blocks(batches, edge.arrow_schema):
        source, target = _find_ranks(block, sources, targets)
        order = np.lexsort((target, source))
        order = order[(source[order] >= 0) & (target[order] >= 0)]
        if len(order):
            first, before = (source[order[0]], target[order[0]]), last
            last = (source[order[-1]], target[order[-1]])
            is_sorted &= first >= before
            parts.append(block.take(order))
    rows = pa.concat_tables([edge.arrow_schema.empty_table(), *parts])
    if is_sorted:
        return rows
    source, target = _find_ranks(rows, sources, targets)
    return rows.take(np.lexsort((target, source)))


def _find_ranks(rows: pa.Table, sources: pa.Array, targets: pa.Array) -> list[NDArray[np.int32]]:
    """The places of both ends among the sorted ids, -1 for unknown ones; they sort faster than strings."""
    ends = ((SOURCE, sources), (TARGET, targets))
    return [pc.fill_null(pc.index_in(rows[end], value_set=ids), -1).to_numpy() for end, ids in ends]


def _iter_blocks(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Joins batches to blocks of about `BLOCK_ROWS`, since each look-up of ends costs time for all ids."""
    block: list[pa.RecordBatch] = []
    for batch in batches:
        block.append(batch)
        if sum(map(len, block)) >= BLOCK_ROWS:
            yield pa.Table.from_batches(block, schema)
            block = []
    if block:
        yield pa.Table.from_batches(block, schema)


def _report_after(batches: Iterable[pa.RecordBatch], on_rows: OnRows | None, name: str) -> Iterator[pa.RecordBatch]:
    """The batches; `on_rows` is called when a batch has been processed."""
    for batch in batches:
        yield batch
        if on_rows is not None:
            on_rows(name, len(batch))
