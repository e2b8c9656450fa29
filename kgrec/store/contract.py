"""GraphStore: what every graph database offers to kgrec, in typed operations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from graph_schema import CatalogueSchema
from graph_schema.sources import Source
from kgrec.errors import StoreError


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
class ItemLink:
    """An edge of the knowledge graph at an item.

    Attributes:
        item: the item's id.
        edge: the edge type; not the interaction.
        reverse: the item is the edge's target.
        node: what is at the other end; never the item itself.
        n_items: how many items have such an edge, the same way round, to that node: this one and all others.
    """

    item: str
    edge: str
    reverse: bool
    node: NodeRef
    n_items: int


@dataclass(frozen=True)
class ItemLinks:
    """The knowledge graph around some items, as it is now.

    Attributes:
        links: the edges at the items, in any order; an edge between two of them is there once for each.
        names: the name of each node in `links` and of each of the items, None when it has none; an item that the
            store has not is not there.
    """

    links: Sequence[ItemLink]
    names: Mapping[NodeRef, str | None]


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
        """The schema that the store holds, or that it was opened with where it holds none and can do without.

        Raises:
            StoreError: it holds none, or another one than it was opened with.
        """

    def foreign_rows(self) -> Source | None:
        """The unchecked rows of a graph that kgrec did not load and that is used as it is; None: kgrec loaded it."""

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

    def item_links(self, items: Sequence[str]) -> ItemLinks:
        """The edges of the knowledge graph at some items: what the paths between them are made of.

        One query, whatever the number of items, where the database is across a network. It answers while a load is
        unfinished too, so that reasons do not fail then: what it tells is in the graph.

        Args:
            items: their ids; ids that are not there have no edges.
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


WAIT_S = 30.0  # for a server that does not answer yet
Place = TypeVar("Place")
OnRows = Callable[[str, int], None]  # called with a type's name and how many of its rows were just written or read


def choose_type(types: Mapping[str, Place], name: str, what: str, url: str) -> Place:
    """What a store has for a type of the schema.

    Raises:
        StoreError: the schema has no such type.
    """
    if name not in types:
        raise StoreError(f"{url} has no {what} {name!r}; expected one of: {', '.join(types)}")
    return types[name]


def check_schema(url: str, held: CatalogueSchema, expected: CatalogueSchema | None) -> None:
    """Checks that a store holds the schema that it was opened with.

    Raises:
        StoreError: it holds another.
    """
    if expected is not None and expected.digest != held.digest:
        raise StoreError(
            f"{url} holds the schema {held.name!r} ({held.digest[:8]}), expected {expected.name!r} "
            f"({expected.digest[:8]}): name the store of that schema, or leave the schema out"
        )
