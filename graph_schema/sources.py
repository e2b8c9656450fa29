"""A source of a catalogue: it yields the raw rows of each node type and edge type, by batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema


@dataclass(frozen=True)
class BrokenRow:
    """A row that the reader could not parse.

    Attributes:
        row: its number in the file, as in `RawBatch.rows`.
        reason: what is wrong with it.
        content: its raw text.
    """

    row: int
    reason: str
    content: str


@dataclass(frozen=True)
class RawBatch:
    """Some unchecked rows of one source file.

    Attributes:
        columns: the rows under the names and types that the file has.
        file: the file's name, as the reject file shows it.
        rows: int64 [columns.num_rows], the place of each row in the file: 1 is the first row of data.
        broken: rows of the same file that could not be parsed, each reported in one batch only.
    """

    columns: pa.RecordBatch
    file: str
    rows: NDArray[np.int64]
    broken: Sequence[BrokenRow] = ()


class Source(Protocol):
    """Where a catalogue comes from; `graph_schema.checks.staging` checks what it yields."""

    @property
    def schema(self) -> CatalogueSchema:
        """The catalogue that the source's rows are checked against."""

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """The raw rows of a node type; none for a type with `from_edges` that has no table."""

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """The raw rows of an edge type."""


@dataclass(frozen=True)
class MemorySource:
    """A source whose batches are in memory already."""

    schema: CatalogueSchema
    nodes: Mapping[str, Sequence[RawBatch]]
    edges: Mapping[str, Sequence[RawBatch]]

    @classmethod
    def from_tables(
        cls, schema: CatalogueSchema, nodes: Mapping[str, pa.Table], edges: Mapping[str, pa.Table]
    ) -> "MemorySource":
        """A source over Arrow tables by node type and edge type; a type's name stands for its file's."""
        return cls(
            schema,
            {name: split_table(table, name) for name, table in nodes.items()},
            {name: split_table(table, name) for name, table in edges.items()},
        )

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """The batches of a node type.

        Raises:
            CatalogueError: there are none and its nodes are not to be taken from edges.
        """
        if node_type not in self.nodes and self.schema.nodes[node_type].from_edges:
            return iter(())
        return _find(self.nodes, node_type, "node")

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """The batches of an edge type.

        Raises:
            CatalogueError: there is no such table.
        """
        return _find(self.edges, edge_type, "edge")


def split_table(table: pa.Table, file: str, batch_rows: int = 262_144) -> list[RawBatch]:
    """Cuts a table into raw batches, at least one, so that the columns of an empty table are checked too.

    Args:
        table: the rows, in the order of the file.
        file: the file's name.
        batch_rows: the most rows of a batch.
    """
    # one chunk each, since to_batches() splits where any column's chunks end
    starts = range(0, max(table.num_rows, 1), batch_rows)
    parts = [table.slice(start, batch_rows).combine_chunks() for start in starts]
    return [
        RawBatch(
            (part.to_batches() or [pa.RecordBatch.from_pylist([], schema=part.schema)])[0],
            file,
            np.arange(start + 1, start + 1 + part.num_rows),
        )
        for start, part in zip(starts, parts, strict=True)
    ]


def _find(tables: Mapping[str, Sequence[RawBatch]], name: str, kind: str) -> Iterator[RawBatch]:
    if name not in tables:
        raise CatalogueError(
            f"no table for the {kind} type {name!r}; the source has: {', '.join(sorted(tables)) or 'none'}"
        )
    return iter(tables[name])
