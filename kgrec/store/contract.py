"""GraphStore: what every graph database offers to kgrec, in typed operations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from graph_schema import CatalogueSchema


@dataclass(frozen=True, order=True)
class NodeRef:
    """A node: its type in the schema and the catalogue's own id."""

    type: str
    id: str


@dataclass(frozen=True, order=True)
class Step:
    """One edge of a path, walked from the node before it.

    Attributes:
        edge: the edge type.
        reverse: the edge was walked from its target to its source.
        node: where the step ends.
    """

    edge: str
    reverse: bool
    node: NodeRef


@dataclass(frozen=True, order=True)
class GraphPath:
    """A path without repeated nodes."""

    start: NodeRef
    steps: tuple[Step, ...]

    @property
    def nodes(self) -> tuple[NodeRef, ...]:
        """The nodes that it visits, the start first."""
        return (self.start, *(step.node for step in self.steps))


@dataclass(frozen=True)
class Counts:
    """How many nodes there are of each node type, and edges of each edge type."""

    nodes: Mapping[str, int]
    edges: Mapping[str, int]


class GraphStore(Protocol):
    """A graph database that holds one catalogue under its schema.

    Types are the names in the schema; ids are the catalogue's own. Operations that read raise StoreError while a load
    is unfinished; all raise StoreError for a type that the schema has not, and when the database fails.
    A handle belongs to one thread of the process that opened it. `with` closes it.
    """

    url: str

    def ensure_schema(self, schema: CatalogueSchema) -> None:
        """Declares the tables and constraints of a schema and keeps the schema itself; nothing to do when it is there.

        Raises:
            StoreError: the store holds another schema, or data that is not kgrec's.
        """

    def read_schema(self) -> CatalogueSchema:
        """The schema that the store holds.

        Raises:
            StoreError: it holds none.
        """

    def begin_load(self) -> None:
        """Marks the store as half-written until `finish_load`, also across a crash."""

    def finish_load(self) -> None:
        """Marks the store as whole and makes what was written durable."""

    def upsert_nodes(self, node_type: str, rows: pa.Table) -> None:
        """Writes nodes: new ids are added, the attributes of known ones are replaced, nulls included.

        Args:
            node_type: the type of all of them.
            rows: the columns of `NodeType.arrow_schema`; of rows with the same id the last wins.

        Raises:
            StoreError: the columns are others; nothing is written.
        """

    def upsert_edges(self, edge_type: str, rows: pa.Table) -> None:
        """Writes edges, at most one per (source, target): attributes of known ones are replaced, nulls included.

        Args:
            edge_type: the type of all of them.
            rows: the columns of `EdgeType.arrow_schema`; of rows with the same ends the last wins.

        Raises:
            StoreError: the columns are others, or an end is no node of the store; nothing is written.
        """

    def read_nodes(self, node_type: str) -> Iterator[pa.RecordBatch]:
        """The nodes of a type in batches of `NodeType.arrow_schema`, in any order."""

    def read_edges(self, edge_type: str) -> Iterator[pa.RecordBatch]:
        """The edges of a type in batches of `EdgeType.arrow_schema`, in any order."""

    def counts(self) -> Counts:
        """How many nodes and edges there are of each type of the schema."""

    def neighbours(self, node: NodeRef, hops: int = 1) -> dict[NodeRef, int]:
        """The nodes within `hops` edges, walked in both directions, and how many edges away each is.

        The node itself is not among them. They come by distance, then type and id; an unknown node has none.
        """

    def co_liked(self, item: str, k: int) -> list[tuple[str, int]]:
        """The items liked by the most users who like `item`, with that number of users; ties go by id.

        A like is an interaction that the schema counts as positive. At most `k`; an unknown item has none.
        """

    def paths(self, start: NodeRef, end: NodeRef, max_length: int, k: int) -> list[GraphPath]:
        """The shortest paths between two nodes, edges walked in both directions and no node visited twice.

        At most `k`, of at most `max_length` edges, shortest first; ties go by the steps' (edge type, reverse, node).
        """

    def delete_nodes(self, node_type: str, ids: Sequence[str]) -> int:
        """Deletes nodes with all their edges; ids that are not there are ignored. Returns how many were deleted."""

    def delete_edges(self, edge_type: str, pairs: Sequence[tuple[str, str]]) -> int:
        """Deletes edges by (source, target); pairs that are not there are ignored. Returns how many were deleted."""

    def close(self) -> None:
        """Releases the database; a second call does nothing."""

    def __enter__(self) -> Self:
        """The store itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the store."""


OnRows = Callable[[str, int], None]  # called with a type's name and how many of its rows were just written or read
