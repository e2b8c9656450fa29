"""A checked catalogue on disk, as Parquet files: what a load writes into a store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.checks.column_texts import Mask
from graph_schema.tables import GraphTables

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class StagedTables:
    """A checked catalogue on disk: one Parquet file per node type and edge type.

    Attributes:
        schema: the schema of the tables.
        directory: where the files are.
        n_nodes: node type -> rows.
        n_edges: edge type -> rows.
        n_rejects: rows that were left out, with a reason.
        n_incomplete: rows that were kept without values that do not fit.
        repeats: edge type -> edges that repeated another, where there are any; one of each pair is left.
    """

    schema: CatalogueSchema
    directory: Path
    n_nodes: Mapping[str, int]
    n_edges: Mapping[str, int]
    n_rejects: int
    n_incomplete: int
    repeats: Mapping[str, int]

    @property
    def n_repeats(self) -> int:
        """The edges that repeated another."""
        return sum(self.repeats.values())

    def nodes_path(self, node_type: str) -> Path:
        """The Parquet file of a node type, with the columns of `NodeType.arrow_schema`."""
        return self.directory / "nodes" / f"{node_type}.parquet"

    def edges_path(self, edge_type: str) -> Path:
        """The Parquet file of an edge type, with the columns of `EdgeType.arrow_schema`."""
        return self.directory / "edges" / f"{edge_type}.parquet"

    def iter_nodes(self, node_type: str, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The nodes of a type, by batches of at most `batch_rows`."""
        return iter_file(self.nodes_path(node_type), self.schema.nodes[node_type].arrow_schema, batch_rows)

    def iter_edges(self, edge_type: str, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The edges of a type, by batches of at most `batch_rows`."""
        return iter_file(self.edges_path(edge_type), self.schema.edges[edge_type].arrow_schema, batch_rows)

    def to_tables(self) -> GraphTables:
        """The whole catalogue in memory."""
        return GraphTables(
            self.schema,
            {
                name: pa.Table.from_batches(self.iter_nodes(name), t.arrow_schema)
                for name, t in self.schema.nodes.items()
            },
            {
                name: pa.Table.from_batches(self.iter_edges(name), t.arrow_schema)
                for name, t in self.schema.edges.items()
            },
        )


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a writer for files that are read once or twice and deleted: fast, not small."""
    return pq.ParquetWriter(path, schema, compression="none", use_dictionary=False)


def filter_file(path: Path, schema: pa.Schema, kept: Mask, changed: tuple[str, NDArray[Any]] | None = None) -> None:
    """Rewrites a staged file with some of its rows.

    Args:
        path: the file.
        schema: its columns.
        kept: bool [rows], which rows stay.
        changed: a column, and the new values of the rows that stay; None: all columns are as before.
    """
    before = path.with_suffix(".before")
    path.replace(before)
    start = n_written = 0
    with open_writer(path, schema) as writer:
        for batch in iter_file(before, schema, BATCH_ROWS):
            left = batch.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            if changed is not None:
                place = schema.get_field_index(changed[0])
                values = pa.array(changed[1][n_written : n_written + left.num_rows], schema.field(place).type)
                left = left.set_column(place, schema.field(place), values)
            n_written += left.num_rows
            writer.write_batch(left)
    before.unlink()


def iter_file(path: Path, schema: pa.Schema, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of a staged file, by batches of at most `batch_rows`."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_rows):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
