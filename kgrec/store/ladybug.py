"""The embedded store: a graph in one file, in process, on ladybug.

`ladybug_layout.py` has the tables of a catalogue. A further table, `_kgrec`, keeps the schema, and a mark while a load
is unfinished. Surprises of the engine are noted where they matter.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ladybug
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.contract import Counts, ItemLink, ItemLinks, NodeRef, choose_schema, choose_type, refuse_schema
from kgrec.store.ladybug_layout import EdgeTable, Layout, NodeTable, lay_out
from kgrec.store.lock import FileLock, Mode, in_use
from kgrec.store.rows import ROW, equal_rows, find_others, to_inputs

META = "_kgrec"
SCHEMA, LOADING = "schema", "loading"  # the entries of META
BUFFER_POOL_BYTES = 1 << 30
MAX_DATABASE_BYTES = 1 << 38  # address space that each handle reserves; ladybug's default is 8 TB
READ_ROWS = 100_000
CHANGE_ROWS = 50_000  # rows changed per statement; the buffer pool holds all of them until it is done


class LadybugStore:
    """A GraphStore in one file.

    Args:
        path: the file; made, with its folder, when it is missing and the mode is "write".
        mode: "read" shares the file with other readers; "write" has it to itself.
        schema: the schema that it must have; None: any.

    Raises:
        StoreError: the file is missing, is open elsewhere, or is not a database that this version of ladybug can open.
    """

    def __init__(self, path: Path, mode: Mode, *, schema: CatalogueSchema | None = None) -> None:
        self.url = f"ladybug:{path}"
        self._path = path = path.expanduser().absolute()
        if path.is_dir():
            raise StoreError(f"{path} is a folder; expected the file of a database, such as {path / 'catalogue.db'}")
        if mode == "read" and not path.exists():
            raise StoreError(f"there is no database at {path}; load a catalogue into it first: {self._load_command}")
        self._process = os.getpid()
        self._schema: CatalogueSchema | None = None
        self._given = schema
        self._lock = FileLock(path, mode)
        try:
            self._database = ladybug.Database(
                path,
                read_only=mode == "read",
                buffer_pool_size=min(BUFFER_POOL_BYTES, _memory_bytes() // 4),
                max_db_size=MAX_DATABASE_BYTES,
            )
            self._reader: Any = ladybug.Connection(self._database)
        except RuntimeError as error:
            self._lock.close()
            if "Could not set lock" in str(error):
                raise in_use(path) from error
            raise StoreError(
                f"cannot open {path}: {_first_line(error)}; expected a database that ladybug {ladybug.__version__} "
                f"wrote: {self._rebuild}"
            ) from error

    @property
    def _rebuild(self) -> str:
        name = self._path.name
        return f"delete {name} (and {name}.wal, if there is one) and load again: {self._load_command}"

    @property
    def _load_command(self) -> str:
        return f"kgrec load SOURCE --to {shlex.quote(self.url)}"

    # -- queries -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(
                f"{self.url} was opened before this process was forked, where it would hang; open it in this process, "
                "or start processes by 'spawn'"
            )
        if self._database.is_closed:
            raise StoreError(f"{self.url} is closed; open it again")

    def _query(self, query: str, **parameters: object) -> list[list[Any]]:
        self._check_open()
        with self._translate_errors():
            result = self._reader.execute(query, parameters)
            rows: list[list[Any]] = result.get_all()
            result.close()
            return rows

    def _query_arrow(self, query: str, rows: pa.Table | None = None) -> pa.Table:
        """Runs a query, over `rows` when given: `LOAD FROM $rows ...`."""
        self._check_open()
        # A connection keeps the plan of each query with the tables passed to it, and the memory they hold, until it is
        # closed: one per query, or the buffer pool runs full.
        with self._translate_errors(), ladybug.Connection(self._database) as connection:
            # of a table in chunks, the rows after an empty chunk would be left out
            result: Any = connection.execute(query, {} if rows is None else {"rows": rows.combine_chunks()})
            found: pa.Table = result.get_as_arrow(READ_ROWS)
            return found

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if "buffer pool is full" in str(error):
                size = self._database.buffer_pool_size >> 20
                raise StoreError(
                    f"{self.url} needs more memory than the {size} MiB that it may use ({BUFFER_POOL_BYTES >> 20} MiB, "
                    "or a quarter of the machine's memory if that is less); use a machine with more memory"
                ) from error
            raise StoreError(f"{self.url} failed: {_first_line(error)}; if it fails again, {self._rebuild}") from error

    # -- schema --------------------------------------------------------------------------------------------------------

    def ensure_schema(self, schema: CatalogueSchema) -> None:
        """See GraphStore."""
        names = self._table_names()
        if META in names:
            held = self.read_schema()
            if held.digest == schema.digest:
                self._set_entry(SCHEMA, schema.model_dump_json())
                self._schema = schema
            else:
                raise refuse_schema(self.url, held, schema, "file")
            return
        if names:
            raise StoreError(
                f"{self.url} holds tables that kgrec did not write ({', '.join(names[:3])}); expected an empty "
                "database or a catalogue of kgrec's: name another file"
            )
        layout = lay_out(schema, taken=[META])
        self._query("BEGIN TRANSACTION")
        try:
            for statement in layout.statements:
                self._query(statement)
            self._query(f"CREATE NODE TABLE {META} (name STRING, value STRING, PRIMARY KEY (name))")
            self._set_entry(SCHEMA, schema.model_dump_json())
        except BaseException:
            self._query("ROLLBACK")
            raise
        self._query("COMMIT")

    def read_schema(self) -> CatalogueSchema:
        """See GraphStore."""
        if self._schema is None:
            if META not in self._table_names():
                raise StoreError(f"{self.url} holds no catalogue; load one first: {self._load_command}")
            text = self._entry(SCHEMA)
            try:
                self._schema = CatalogueSchema.model_validate_json(text or "")
            except ValidationError as error:
                raise StoreError(
                    f"{self.url} holds a schema that this version of kgrec does not know; {self._rebuild}"
                ) from error
            self._schema = choose_schema(self.url, self._schema, self._given)
        return self._schema

    def foreign_rows(self) -> None:
        """See GraphStore: a file of another program's is refused."""

    def _table_names(self) -> list[str]:
        return [name for (name,) in self._query("CALL show_tables() RETURN name")]

    def _entry(self, name: str) -> str | None:
        rows = self._query(f"MATCH (m:{META} {{name: $name}}) RETURN m.value", name=name)
        return rows[0][0] if rows else None

    def _set_entry(self, name: str, value: str) -> None:
        self._query(f"MERGE (m:{META} {{name: $name}}) SET m.value = $value", name=name, value=value)

    @cached_property
    def _layout(self) -> Layout:
        return lay_out(self.read_schema(), taken=[META])

    def _node_table(self, node_type: str) -> NodeTable:
        return choose_type(self._layout.nodes, node_type, "node type", self.url)

    def _edge_table(self, edge_type: str) -> EdgeTable:
        return choose_type(self._layout.edges, edge_type, "edge type", self.url)

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin_load(self) -> None:
        """See GraphStore."""
        self.read_schema()
        self._set_entry(LOADING, "")

    def finish_load(self) -> None:
        """See GraphStore."""
        self._query(f"MATCH (m:{META} {{name: $name}}) DELETE m", name=LOADING)
        self._query("CHECKPOINT")

    def upsert_nodes(self, node_type: str, rows: pa.Table) -> None:
        """See GraphStore."""
        self._upsert(self._node_table(node_type), node_type, rows)

    def upsert_edges(self, edge_type: str, rows: pa.Table) -> None:
        """See GraphStore."""
        self._upsert(self._edge_table(edge_type), edge_type, rows)

    def remove_other_nodes(self, node_type: str, kept: pa.Table) -> int:
        """See GraphStore."""
        return self._remove_others(self._node_table(node_type), kept, "DETACH DELETE x")

    def remove_other_edges(self, edge_type: str, kept: pa.Table) -> int:
        """See GraphStore."""
        return self._remove_others(self._edge_table(edge_type), kept, "DELETE x")

    def _remove_others(self, table: NodeTable | EdgeTable, kept: pa.Table, delete: str) -> int:
        keys = ", ".join(f"{column} AS c{i}" for i, column in enumerate(table.columns[: table.n_keys]))
        others = find_others(self._query_arrow(f"{table.match} RETURN {keys}"), kept)
        for start in range(0, len(others), CHANGE_ROWS):
            self._query_arrow(f"LOAD FROM $rows {table.find} {delete}", others.slice(start, CHANGE_ROWS))
        return len(others)

    def _upsert(self, table: NodeTable | EdgeTable, name: str, rows: pa.Table) -> None:
        rows = to_inputs(rows, table.arrow_schema, table.n_keys, name)
        attributes = {f"c{i}": column for i, column in enumerate(table.columns) if i >= table.n_keys}
        changed = rows.slice(0, 0)
        if self._count(table):
            # Known rows are found first: adding rows (COPY) takes a tenth of the time of a MERGE, and leaving unchanged
            # rows alone takes none.
            outputs = ", ".join([ROW, *(f"{column} AS {name}" for name, column in attributes.items())])
            numbered = rows.append_column(ROW, pa.array(np.arange(len(rows))))
            known = self._query_arrow(f"LOAD FROM $rows {table.find} RETURN {outputs}", numbered)
            given = rows.take(known[ROW])
            changed = given.filter(pc.invert(equal_rows(given, known, list(attributes))))
            is_new = np.ones(len(rows), dtype=bool)
            is_new[known[ROW].to_numpy()] = False
            rows = rows.filter(pa.array(is_new))
        if len(rows):
            self._add(table, name, rows)
        values = ", ".join(f"{column} = {name}" for name, column in attributes.items())
        for start in range(0, len(changed), CHANGE_ROWS):
            self._query_arrow(f"LOAD FROM $rows {table.find} SET {values}", changed.slice(start, CHANGE_ROWS))

    def _add(self, table: NodeTable | EdgeTable, name: str, rows: pa.Table) -> None:
        try:
            self._query_arrow(f"COPY {table.name} FROM $rows", rows)
        except StoreError as error:
            _, found, missing = str(error.__cause__).partition("Unable to find primary key value ")
            if not found:
                raise
            raise StoreError(
                f"{self.url}: an edge of type {name!r} has the end {missing.strip().removesuffix('.')!r}, which is not "
                "a node of the store; expected both ends: load the nodes first, or leave the edge out"
            ) from error

    # -- reading -------------------------------------------------------------------------------------------------------

    def _check_whole(self) -> None:
        self.read_schema()
        if self._entry(LOADING) is not None:
            raise StoreError(
                f"{self.url} is half-written: a load into it did not finish; load again and it is whole: "
                f"{self._load_command}"
            )

    def read_nodes(self, node_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """See GraphStore."""
        return self._read(self._node_table(node_type), enough)

    def read_edges(self, edge_type: str, enough: int | None = None) -> Iterator[pa.RecordBatch]:
        """See GraphStore."""
        return self._read(self._edge_table(edge_type), enough)

    def _read(self, table: NodeTable | EdgeTable, enough: int | None) -> Iterator[pa.RecordBatch]:
        self._check_whole()
        outputs = ", ".join(f"{column} AS c{i}" for i, column in enumerate(table.columns))
        limit = "" if enough is None else f" LIMIT {enough}"
        rows = self._query_arrow(f"{table.match} RETURN {outputs}{limit}")
        for batch in rows.to_batches():
            yield pa.RecordBatch.from_arrays(batch.columns, schema=table.arrow_schema)

    def counts(self) -> Counts:
        """See GraphStore."""
        self._check_whole()
        return Counts(
            {name: self._count(table) for name, table in self._layout.nodes.items()},
            {name: self._count(table) for name, table in self._layout.edges.items()},
        )

    def _count(self, table: NodeTable | EdgeTable) -> int:
        ((n,),) = self._query(f"{table.match} RETURN count(*)")
        return int(n)

    def item_links(self, items: Sequence[str]) -> ItemLinks:
        """See GraphStore."""
        schema = self.read_schema()
        ids = [str(id_) for id_ in dict.fromkeys(items)]
        if not ids:  # the database takes no empty list
            return ItemLinks([], {})
        near = self._layout.nodes[schema.item_type]
        found = self._query(
            f"UNWIND $ids AS id MATCH (n:{near.name} {{{near.key}: id}}) "
            f"RETURN offset(id(n)), {self._described(schema.item_type, 'n')}",
            ids=ids,
        )
        names = {NodeRef(schema.item_type, id_): name for _, id_, name in found}
        links: list[ItemLink] = []
        # from here on by their places in the table, which are compared faster than keys
        item_ids = {place: id_ for place, id_, _ in found}
        for edge_type, reverse, far_type, pattern in self._patterns(schema.item_type) if found else ():
            if edge_type not in schema.graph_edges:
                continue
            loops = " AND id(n) <> id(m)" if far_type == schema.item_type else ""
            match = f"MATCH (n:{near.name}){pattern} WHERE"
            edges = self._query(
                f"{match} offset(id(n)) IN $places{loops} "
                f"RETURN offset(id(n)), offset(id(m)), {self._described(far_type, 'm')}",
                places=list(item_ids),
            )
            if not edges:
                continue
            counts = self._query(
                f"{match} offset(id(m)) IN $places{loops} RETURN offset(id(m)), count(*)",
                places=list({far for _, far, *_ in edges}),
            )
            n_items: dict[int, int] = dict(counts)
            for place, far, id_, name in edges:
                node = NodeRef(far_type, id_)
                names[node] = name
                links.append(ItemLink(item_ids[place], edge_type, reverse, node, n_items[far]))
        return ItemLinks(links, names)

    def _described(self, node_type: str, variable: str) -> str:
        """The expressions for a node's id and its name."""
        node, table = self.read_schema().nodes[node_type], self._layout.nodes[node_type]
        columns = dict(zip(node.columns, table.properties, strict=True))
        name = "NULL" if node.name is None else f"{variable}.{columns[node.name]}"
        return f"{variable}.{table.key}, {name}"

    def _patterns(self, node_type: str) -> Iterator[tuple[str, bool, str, str]]:
        """Every way to leave a node `n` for a node `m`: (edge type, reverse, type of m, pattern after n)."""
        for edge_type, edge in self.read_schema().edges.items():
            table = self._layout.edges[edge_type]
            if edge.source == node_type:
                yield edge_type, False, edge.target, f"-[:{table.name}]->(m:{table.target.name})"
            if edge.target == node_type:
                yield edge_type, True, edge.source, f"<-[:{table.name}]-(m:{table.source.name})"

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """See GraphStore."""
        if os.getpid() == self._process and not self._database.is_closed:
            self._reader.close()
            self._database.close()
        self._lock.close()

    def __enter__(self) -> Self:
        """See GraphStore."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See GraphStore."""
        self.close()


def _memory_bytes() -> int:
    if not hasattr(os, "sysconf"):
        return 4 * BUFFER_POOL_BYTES
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
