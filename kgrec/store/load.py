"""Whole catalogues into a store and out of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import SOURCE, TARGET, GraphTables
from graph_schema.staging import StagedTables
from kgrec.store.contract import Counts, GraphStore, OnRows

LOAD_ROWS = 1_000_000  # rows written at once: large, since a store adds a few large batches faster than many small


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        n_nodes: node type -> rows written.
        n_edges: edge type -> rows written.
        n_rejects: rows left out, with a reason.
        n_repeats: edges left out since a later one has the same two ends.
        counts: what the store holds now.
    """

    n_nodes: Mapping[str, int]
    n_edges: Mapping[str, int]
    n_rejects: int
    n_repeats: int
    counts: Counts


def load_staged(store: GraphStore, staged: StagedTables, on_rows: OnRows | None = None) -> LoadReport:
    """Writes a checked catalogue into a store: what it holds already is updated, nothing is deleted.

    A load that is stopped midway leaves the store marked as half-written; to load again makes it whole.

    Args:
        store: where to.
        staged: the catalogue.
        on_rows: called with a type's name and how many of its rows were just written.

    Raises:
        StoreError: the store holds another schema, or fails.
    """
    store.ensure_schema(staged.schema)
    store.begin_load()
    for name in staged.schema.nodes:
        for batch in _told_after(staged.iter_nodes(name, LOAD_ROWS), on_rows, name):
            store.upsert_nodes(name, pa.Table.from_batches([batch]))
    for name in staged.schema.edges:
        for batch in _told_after(staged.iter_edges(name, LOAD_ROWS), on_rows, name):
            store.upsert_edges(name, pa.Table.from_batches([batch]))
    store.finish_load()
    return LoadReport(staged.n_nodes, staged.n_edges, staged.n_rejects, staged.n_repeats, store.counts())


def read_tables(store: GraphStore, on_rows: OnRows | None = None) -> GraphTables:
    """Reads the whole catalogue, in the same order whatever order it was written in.

    Args:
        store: where from.
        on_rows: called with a type's name and how many of its rows were just read.

    Returns:
        Nodes sorted by id; edges by source, then target.

    Raises:
        StoreError: the store holds no catalogue, is half-written, or fails.
    """
    schema = store.read_schema()
    nodes, edges, ids = {}, {}, {}
    for name, node in schema.nodes.items():
        rows = pa.Table.from_batches(_told_after(store.read_nodes(name), on_rows, name), node.arrow_schema)
        nodes[name] = rows.sort_by(node.key)
        ids[name] = nodes[name][node.key].combine_chunks()
    for name, edge in schema.edges.items():
        rows = pa.Table.from_batches(_told_after(store.read_edges(name), on_rows, name), edge.arrow_schema)
        # the ranks of the ends among the sorted ids, since to sort by two numbers is faster than by two strings
        source = pc.index_in(rows[SOURCE], value_set=ids[edge.source]).to_numpy()
        target = pc.index_in(rows[TARGET], value_set=ids[edge.target]).to_numpy()
        edges[name] = rows.take(np.lexsort((target, source)))
    return GraphTables(schema, nodes, edges)


def _told_after(batches: Iterable[pa.RecordBatch], on_rows: OnRows | None, name: str) -> Iterator[pa.RecordBatch]:
    """The batches; `on_rows` is called when a batch has been dealt with."""
    for batch in batches:
        yield batch
        if on_rows is not None:
            on_rows(name, len(batch))
