"""The store on a Neo4j server: a catalogue that kgrec loaded, or a graph of others, which it leaves unchanged.

`layout.py` has the labels and relationship types of a catalogue. Nodes labelled `_Kgrec` keep the schema and, while a
load is unfinished, a mark that is also the load's lease: its owner adds to the `beat` with every batch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pyarrow as pa
from pydantic import ValidationError

from graph_schema import CatalogueSchema
from graph_schema.checks.staged_tables import StagedTables
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import Source
from kgrec.errors import StoreError
from kgrec.store.contract import WAIT_S, Counts, ItemLinks, choose_schema, choose_type, refuse_schema
from kgrec.store.lock import Mode
from kgrec.store.neo4j import writing
from kgrec.store.neo4j.connection import Connection, OnWait
from kgrec.store.neo4j.export import iter_edge_columns, iter_node_columns
from kgrec.store.neo4j.foreign import ForeignGraph
from kgrec.store.neo4j.graph_check import OnEmpty, check_graph
from kgrec.store.neo4j.item_links import read_item_links
from kgrec.store.neo4j.layout import META_LABEL, EdgePlace, Layout, NodePlace
from kgrec.store.rows import find_others, to_inputs

SCHEMA, LOADING = "schema", "loading"  # the entries of META_LABEL
LEASE_S = 20.0  # a load that writes nothing for this long counts as dead
INDEX_WAIT_S = 300


def has_catalogue(connection: Connection) -> bool:
    """Whether a database holds a catalogue that kgrec loaded, with its schema."""
    return bool(connection.read(f"MATCH (m:{META_LABEL} {{name: $name}}) RETURN 1", {"name": SCHEMA}))


class Neo4jStore:
    """A GraphStore on a Neo4j server.

    Args:
        url: see `Connection`.
        mode: "read", or "write" to change it too; one load at a time.
        schema: the schema that it must have or, where kgrec has loaded nothing, the schema of the graph that is there.
        wait_s: how long to wait for a server that does not answer yet.
        on_wait: called with a sentence about what it waits for.
        on_empty: see `check_graph`.

    Raises:
        StoreError: see `Connection`.
    """

    def __init__(
        self,
        url: str,
        mode: Mode,
        *,
        schema: CatalogueSchema | None = None,
        wait_s: float = WAIT_S,
        on_wait: OnWait | None = None,
        on_empty: OnEmpty | None = None,
    ) -> None:
        self.url = url
        self.connection = Connection(url, mode, wait_s=wait_s, on_wait=on_wait)
        self._given = schema
        self._on_wait = on_wait
        self._on_empty = on_empty
        self._guard = writing.Guard(None)
        self._is_checked = False  # the names in the schema of a graph that kgrec did not load

    # -- schema --------------------------------------------------------------------------------------------------------

    def ensure_schema(self, schema: CatalogueSchema) -> None:
        """See GraphStore."""
        if not has_catalogue(self.connection):
            self._check_unused(schema)
        self.connection.write(f"CREATE CONSTRAINT IF NOT EXISTS FOR (m:{META_LABEL}) REQUIRE m.name IS UNIQUE")
        for place in Layout(schema).nodes.values():
            self.connection.write(
                f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{place.label}) REQUIRE n.{place.key} IS UNIQUE"
            )
        self.connection.read("CALL db.awaitIndexes($seconds)", {"seconds": INDEX_WAIT_S})
        ((text,),) = self.connection.write(
            f"MERGE (m:{META_LABEL} {{name: $name}}) ON CREATE SET m.value = $value RETURN m.value",
            {"name": SCHEMA, "value": schema.model_dump_json()},
        )
        held = self._parse(text)
        if held.digest == schema.digest and held != schema:
            self.connection.write(
                f"MATCH (m:{META_LABEL} {{name: $name}}) SET m.value = $value",
                {"name": SCHEMA, "value": schema.model_dump_json()},
            )
        elif held != schema:
            raise refuse_schema(self.url, held, schema, "database")

    def _check_unused(self, schema: CatalogueSchema) -> None:
        for place in Layout(schema).nodes.values():
            if self.connection.read(f"MATCH (n:{place.label}) RETURN 1 LIMIT 1"):
                raise StoreError(
                    f"{self.url} holds nodes labelled {place.label} that kgrec did not load; expected none of the "
                    "catalogue's labels: use that graph unchanged (kgrec inspect, then kgrec train --schema "
                    "FILE.toml), or load into another database"
                )

    def read_schema(self) -> CatalogueSchema:
        """See GraphStore."""
        return self._schema

    @cached_property
    def _schema(self) -> CatalogueSchema:
        text = self._entry(SCHEMA)
        if text is None:
            if self._given is None:
                raise StoreError(
                    f"{self.url} holds no catalogue that kgrec loaded; load one (kgrec load SOURCE --to {self.url}), "
                    f"or draft a schema of its graph: kgrec inspect {self.url} --out FILE.toml, then --schema "
                    "FILE.toml, or open_store(url, schema='FILE.toml')"
                )
            return self._given
        return choose_schema(self.url, self._parse(text), self._given)

    def _parse(self, text: str) -> CatalogueSchema:
        try:
            return CatalogueSchema.model_validate_json(text)
        except ValidationError as error:
            raise StoreError(
                f"{self.url} holds a schema that this version of kgrec does not know; use the version that loaded it, "
                "or load into another database"
            ) from error

    def _entry(self, name: str) -> str | None:
        rows = self.connection.read(f"MATCH (m:{META_LABEL} {{name: $name}}) RETURN m.value", {"name": name})
        return rows[0][0] if rows else None

    def foreign_rows(self) -> Source | None:
        """See GraphStore."""
        if has_catalogue(self.connection):
            return None
        self._check_names()
        return ForeignGraph(self.connection, self.read_schema())

    def _check_names(self) -> None:
        """Checks, once, that what the schema of a graph that kgrec did not load names is there."""
        if not self._is_checked:
            check_graph(self.connection, self.read_schema(), self._on_empty)
            self._is_checked = True

    @cached_property
    def _layout(self) -> Layout:
        schema = self.read_schema()
        return Layout(schema.stored if has_catalogue(self.connection) else schema)

    def _node_place(self, node_type: str) -> NodePlace:
        return choose_type(self._layout.nodes, node_type, "node type", self.url)

    def _edge_place(self, edge_type: str) -> EdgePlace:
        return choose_type(self._layout.edges, edge_type, "edge type", self.url)

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin_load(self) -> None:
        """See GraphStore.

        Raises:
            StoreError: another load is at work.
        """
        self._check_loaded()
        owner = self._guard.owner or uuid4().hex
        seen = self._mark(owner)
        if seen[0] in (owner, None):
            seen = self._take_over(owner, seen)
        elif self._on_wait is not None:
            self._on_wait(
                f"{self.url}: a load that began before did not finish; waiting up to {LEASE_S:g} s to see that none is "
                "at work"
            )
        deadline = time.monotonic() + LEASE_S
        while seen[0] != owner:
            time.sleep(0.5)
            now = self._mark(owner)
            if now[0] == owner:
                break
            if now != seen:
                raise StoreError(
                    f"{self.url}: another load is at work there; expected one at a time: wait for it to end, then load "
                    "again"
                )
            if time.monotonic() > deadline:
                seen = self._take_over(owner, seen)
        self._guard = writing.Guard(owner)

    def _mark(self, owner: str) -> tuple[str | None, int]:
        """Marks the store as half-written; returns the owner of the mark, and how often that load has written."""
        ((held, beat),) = self.connection.write(
            f"MERGE (m:{META_LABEL} {{name: $name}}) ON CREATE SET m.owner = $owner, m.beat = 0 RETURN m.owner, m.beat",
            {"name": LOADING, "owner": owner},
        )
        return held, beat

    def _take_over(self, owner: str, seen: tuple[str | None, int]) -> tuple[str | None, int]:
        """Takes the mark over, unless it has changed since it was seen."""
        ((held, beat),) = self.connection.write(
            # SET waits for the lock, and only then is the mark read
            f"MATCH (m:{META_LABEL} {{name: $name}}) SET m.beat = m.beat + 1 "
            "WITH m, m.beat = $beat + 1 AND coalesce(m.owner, '') = $seen AS unchanged "
            "SET m.owner = CASE WHEN unchanged THEN $owner ELSE m.owner END RETURN m.owner, m.beat",
            {"name": LOADING, "owner": owner, "seen": seen[0] or "", "beat": seen[1]},
        )
        return held, beat

    def finish_load(self) -> None:
        """See GraphStore."""
        self._guard.write(
            self.connection,
            f"UNWIND [$name] AS name MATCH (done:{META_LABEL} {{name: name}}) DELETE done",
            {"name": LOADING},
        )
        self._guard = writing.Guard(None)

    def upsert_nodes(self, node_type: str, rows: pa.Table) -> None:
        """See GraphStore."""
        place = self._node_place(node_type)
        self._check_loaded()
        inputs = to_inputs(rows, self._schema.nodes[node_type].arrow_schema, 1, node_type)
        writing.upsert_nodes(self.connection, self._guard, place, inputs)

    def upsert_edges(self, edge_type: str, rows: pa.Table) -> None:
        """See GraphStore."""
        place = self._edge_place(edge_type)
        self._check_loaded()
        inputs = to_inputs(rows, self._schema.edges[edge_type].arrow_schema, 2, edge_type)
        for column, end in (("c0", place.source), ("c1", place.target)):
            missing = writing.find_missing(self.connection, end, inputs[column].unique())
            if missing is not None:
                raise StoreError(
                    f"{self.url}: an edge of type {edge_type!r} has the end {missing!r}, which is not a "
                    "node of the store; expected both ends: load the nodes first, or leave the edge out"
                )
        writing.upsert_edges(self.connection, self._guard, place, inputs)

    def remove_other_nodes(self, node_type: str, kept: pa.Table) -> int:
        """See GraphStore."""
        place = self._node_place(node_type)
        self._check_loaded()
        pieces = iter_node_columns(self.connection, replace(place, properties=(place.key,)))
        others = find_others(_to_keys(pieces, 1), kept)
        writing.delete_nodes(self.connection, self._guard, place, others["c0"].to_pylist())
        return len(others)

    def remove_other_edges(self, edge_type: str, kept: pa.Table) -> int:
        """See GraphStore."""
        place = self._edge_place(edge_type)
        self._check_loaded()
        others = find_others(_to_keys(iter_edge_columns(self.connection, replace(place, properties=())), 2), kept)
        writing.delete_edges(self.connection, self._guard, place, others)
        return len(others)

    def _check_loaded(self) -> None:
        if not has_catalogue(self.connection):
            self.read_schema()
            raise StoreError(
                f"{self.url} holds a graph that kgrec did not load and does not change; to change it, use Cypher"
            )

    # -- reading -------------------------------------------------------------------------------------------------------

    def _check_whole(self) -> None:
        self.read_schema()
        if self.connection.read(f"MATCH (m:{META_LABEL} {{name: $name}}) RETURN 1", {"name": LOADING}):
            raise StoreError(
                f"{self.url} is half-written: a load into it is at work, or did not finish; wait for it, or load again "
                f"and it is whole: kgrec load SOURCE --to {self.url}"
            )

    def read_nodes(self, node_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """See GraphStore; rows come as they are asked for."""
        place = self._node_place(node_type)
        if (rows := self.foreign_rows()) is not None:
            return self._iter_checked(rows, lambda staged: staged.iter_nodes(node_type))
        return self._to_batches(iter_node_columns(self.connection, place), self._schema.nodes[node_type].arrow_schema)

    def read_edges(self, edge_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """See GraphStore; rows come as they are asked for."""
        place = self._edge_place(edge_type)
        if (rows := self.foreign_rows()) is not None:
            return self._iter_checked(rows, lambda staged: staged.iter_edges(edge_type))
        return self._to_batches(iter_edge_columns(self.connection, place), self._schema.edges[edge_type].arrow_schema)

    @staticmethod
    def _iter_checked(
        rows: Source, choose: Callable[[StagedTables], Iterator[pa.RecordBatch]]
    ) -> Iterator[pa.RecordBatch]:
        """The good rows of one type: the whole graph is read, since bad rows are found by both ends."""
        with TemporaryDirectory(prefix="kgrec-") as folder:
            yield from choose(stage_tables(rows, Path(folder), rejects=None))

    def _to_batches(self, pieces: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        self._check_whole()
        for columns in pieces:
            try:
                arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise StoreError(
                    f"{self.url} holds a value that is not as loaded: {error}; expected {schema.to_string()!r}: load "
                    "the catalogue again"
                ) from error
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        self._check_whole()  # a load that began meanwhile has been read in part

    def counts(self) -> Counts:
        """See GraphStore; a path counts once for each way from its source to its target."""
        self._check_whole()
        self.foreign_rows()  # checks what the schema of a graph of others names
        return Counts(
            {name: self._count(f"MATCH (n:{place.label})") for name, place in self._layout.nodes.items()},
            {name: self._count(place.match) for name, place in self._layout.edges.items()},
        )

    def _count(self, match: str) -> int:
        ((n,),) = self.connection.read(f"{match} RETURN count(*)")
        return int(n)

    def item_links(self, items: Sequence[str]) -> ItemLinks:
        """See GraphStore."""
        return read_item_links(self.connection, self._layout, items)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """See GraphStore."""
        owner, self._guard = self._guard.owner, writing.Guard(None)
        if owner is not None:  # the load failed; the next one need not wait to see whether it is at work
            with suppress(StoreError):  # where the server is gone, the lease ends by itself
                self.connection.write(
                    f"MATCH (m:{META_LABEL} {{name: $name, owner: $owner}}) REMOVE m.owner",
                    {"name": LOADING, "owner": owner},
                )
        self.connection.close()

    def __enter__(self) -> Self:
        """See GraphStore."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See GraphStore."""
        self.close()


def _to_keys(pieces: Iterator[Sequence[Sequence[Any]]], n_keys: int) -> pa.Table:
    """The keys of nodes or edges as columns c0, c1; rows with a key that kgrec cannot have written are left out."""
    names = [f"c{place}" for place in range(n_keys)]
    parts = []
    for columns in pieces:
        rows = [row for row in zip(*columns, strict=True) if all(isinstance(key, str) for key in row)]
        parts.append(pa.table([pa.array([row[place] for row in rows], pa.string()) for place in range(n_keys)], names))
    return pa.concat_tables([pa.table([pa.nulls(0, pa.string())] * n_keys, names), *parts])
