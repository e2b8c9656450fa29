"""GraphStore: the operations that kgrec needs of every graph database."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from graph_schema import CatalogueSchema
from graph_schema.schema_differences import describe_differences
from graph_schema.sources import Source
from kgrec.errors import StoreError


@dataclass(frozen=True, order=True)
class NodeRef:
    """A node: its type in the schema and the catalogue's own id."""

    type: str
    id: str


@dataclass(frozen=True)
class ItemLink:
    """An edge of the knowledge graph at an item.

    Attributes:
        item: the item's id.
        edge: the edge type; not the interaction.
        reverse: the item is the edge's target.
        node: the other end; never the item itself.
        n_items: how many items, this one included, have such an edge to that node in the same direction.
    """

    item: str
    edge: str
    reverse: bool
    node: NodeRef
    n_items: int


@dataclass(frozen=True)
class ItemLinks:
    """The current knowledge graph around some items.

    Attributes:
        links: the edges at the items, in any order; an edge between two of them is there once for each.
        names: the name of each node in `links` and of each of the items, None when it has none; items that are
            not in the store are left out.
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
    is unfinished; all raise StoreError for a type that is not in the schema, and when the database fails.
    A handle belongs to one thread of the process that opened it. `with` closes it.
    """

    url: str

    def ensure_schema(self, schema: CatalogueSchema) -> None:
        """Declares the tables and constraints of a schema and stores the schema; does nothing when it is there.

        Raises:
            StoreError: the store holds another schema, or data that is not kgrec's.
        """

    def read_schema(self) -> CatalogueSchema:
        """The schema that the store holds, or else, where that is allowed, the one that it was opened with.

        Raises:
            StoreError: it holds none, or not the one that it was opened with.
        """

    def foreign_rows(self) -> Source | None:
        """The unchecked rows of a graph that kgrec did not load and uses unchanged; None: kgrec loaded it."""

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
            StoreError: the columns are not these; nothing is written.
        """

    def upsert_edges(self, edge_type: str, rows: pa.Table) -> None:
        """Writes edges, at most one per (source, target): attributes of known ones are replaced, nulls included.

        Args:
            edge_type: the type of all of them.
            rows: the columns of `EdgeType.arrow_schema`; of rows with the same ends the last wins.

        Raises:
            StoreError: the columns are not these, or an end is not in the store; nothing is written.
        """

    def remove_other_nodes(self, node_type: str, kept: pa.Table) -> int:
        """Removes the nodes of a type that are not among some, each with all its edges.

        Args:
            node_type: the type of all of them.
            kept: one column of text, the ids of those that stay; ids that are not in the store are passed over.

        Returns:
            How many were removed.
        """

    def remove_other_edges(self, edge_type: str, kept: pa.Table) -> int:
        """Removes the edges of a type that are not among some.

        Args:
            edge_type: the type of all of them.
            kept: two columns of text, the sources and targets of those that stay.

        Returns:
            How many were removed.
        """

    def read_nodes(self, node_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """The nodes of a type in batches of `NodeType.arrow_schema`, in any order.

        Args:
            node_type: the type.
            enough: a number of rows after which the store may stop; None: all are wanted.
        """

    def read_edges(self, edge_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """The edges of a type in batches of `EdgeType.arrow_schema`, in any order; see `read_nodes`."""

    def counts(self) -> Counts:
        """How many nodes and edges there are of each type of the schema."""

    def item_links(self, items: Sequence[str]) -> ItemLinks:
        """The edges of the knowledge graph at some items, which the paths between them consist of.

        One query for any number of items where the database is on a server. It also answers while a load is unfinished,
        so that reasons do not fail then: each edge that it returns is in the graph.

        Args:
            items: their ids; ids that are not in the store have no edges.
        """

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
    """Looks a type of the schema up.

    Raises:
        StoreError: the schema has no such type.
    """
    if name not in types:
        raise StoreError(f"{url} has no {what} {name!r}; expected one of: {', '.join(types)}")
    return types[name]


def choose_schema(url: str, held: CatalogueSchema, expected: CatalogueSchema | None) -> CatalogueSchema:
    """Chooses the schema of a store: the one that it was opened with, which may say anew what a like is.

    Raises:
        StoreError: the store holds another schema.
    """
    if expected is None:
        return held
    if expected.digest != held.digest:
        raise StoreError(
            f"{url} holds the schema {held.name!r} ({held.digest[:8]}), expected {expected.name!r} "
            f"({expected.digest[:8]}): {describe_differences(expected, held)}; name the store of that schema, load "
            "under it into another, or leave the schema out"
        )
    return expected.stored


def refuse_schema(url: str, held: CatalogueSchema, given: CatalogueSchema, another: str) -> StoreError:
    """The error of a load under another schema than the store's.

    Args:
        url: the store.
        held: its schema.
        given: the schema of what was to be loaded.
        another: what a second store of its kind is, "file" or "database".
    """
    same = " of that name" if held.name == given.name else ""
    return StoreError(
        f"{url} holds the catalogue {held.name!r}, got {given.name!r}, another schema{same}: "
        f"{describe_differences(given, held)}; expected the one it holds: load into another {another}, or delete "
        "what this one holds to replace it"
    )
