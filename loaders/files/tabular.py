"""Your own catalogue: a folder of tables, and a schema for them.

A table is named after its node type or edge type: rated.csv, rated.tsv, rated.jsonl, rated.csv.gz or rated.parquet, or
in parts: rated.1.csv, rated-2024.csv, or any of these in a folder rated/. The schema can say otherwise: which files a
table has and how they look, which types read one table, which tables an edge type leads through. Text is read as text,
so that ids do not change, but for the spaces around them. Files are read in blocks and may be larger than memory.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from graph_schema import CatalogueError, CatalogueSchema, EdgeType, NodeType
from graph_schema.checks.column_names import check_names, find_column, rename_ends, rename_known
from graph_schema.near_names import find_near_name
from graph_schema.schema_types import SOURCE, TARGET, SourceTable
from graph_schema.sources import RawBatch
from loaders.files.edge_rows import FirstRows, keep_linked, keep_where, split_targets
from loaders.files.id_spaces import describe_spaces, trim_columns
from loaders.files.joined_tables import PathTable, join_path
from loaders.files.optional_columns import OptionalColumns
from loaders.files.schema_tables import SchemaTables
from loaders.files.table_files import drop_empty, find_files, find_tables, list_tables
from loaders.files.table_look import MOST_SHOWN, TableLook, to_plain
from loaders.files.table_reading import look_at, read_file


def open_source(
    path: Path | None, schema: CatalogueSchema | None, cache_dir: Path, encoding: str | None = None
) -> "TabularSource":
    """Opens a folder of tables.

    Args:
        path: the folder.
        schema: the schema of the tables.
        cache_dir: not used.
        encoding: of text files whose table has none in the schema; None for UTF-8, or what their first bytes say.

    Raises:
        CatalogueError: the folder or the schema is missing, or a table has no file.
    """
    if path is None or schema is None:
        missing = " and ".join(
            option for option, value in (("--path DIR", path), ("--schema FILE.toml", schema)) if not value
        )
        raise CatalogueError(f"the source 'tabular' needs {missing}: a folder of tables and their schema")
    if not path.is_dir():
        raise CatalogueError(f"no folder {path}; expected one with a table per node type and edge type")
    tables = SchemaTables(schema)
    tables.check(find_tables(path))
    files = find_files(path, list(tables.readers), schema.tables)
    absent = [name for name in tables.needed if not files[name]]
    if absent:
        near = find_near_name(absent[0], find_tables(path))
        raise CatalogueError(
            f"{path} has no table for {', '.join(absent)}; expected {absent[0]}.csv or {absent[0]}.parquet; "
            f"found {list_tables(path)}"
            + (f"; did you mean {near!r}? Then say so by table = {near!r} of its type" if near else "")
        )
    return TabularSource(schema, files, encoding)


@dataclass(frozen=True)
class TabularSource:
    """The rows of files.

    Attributes:
        schema: their schema.
        files: table -> its files, in the order in which they are read.
        encoding: of text files whose table has none in the schema; None for UTF-8, or what their first bytes say.
        n_spaced: (table, column) -> the ids of it read so far that had spaces around them, which are left out.
    """

    schema: CatalogueSchema
    files: Mapping[str, list[Path]]
    encoding: str | None = None
    n_spaced: dict[tuple[str, str], int] = field(default_factory=dict)

    def describe_spaces(self) -> str:
        """How many of the ids read so far had spaces around them, as a sentence; empty where none had."""
        n_ids = sum(self.n_spaced.values())
        return describe_spaces(n_ids) if n_ids else ""

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """The raw rows of a node type.

        Of a table that names its nodes in many rows, as one of sales does, the first row of each counts.

        Raises:
            CatalogueError: a file cannot be read, or a column is missing.
        """
        node, tables = self.schema.nodes[node_type], SchemaTables(self.schema)
        table = tables.of_node(node_type)
        others = len(tables.readers.get(table, ())) > 1
        batches = self._read(table, node_type)
        if others:
            batches = self._choose(node_type, node, batches)
        return FirstRows().keep(batches, node.key) if tables.has_many_rows(node_type) else batches

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """The raw rows of an edge type.

        Raises:
            CatalogueError: a file cannot be read, or a column is missing.
        """
        edge, tables = self.schema.edges[edge_type], SchemaTables(self.schema)
        if edge.path:
            path = [PathTable(step, partial(self._read, step), self._find_size(step)) for step in edge.path]
            yield from join_path(self.schema, edge_type, path)
            return
        table = tables.of_edge(edge_type)
        batches = self._read(table, edge_type)
        if edge.where:
            batches = (keep_where(batch, edge.where, edge_type) for batch in batches)
        if edge.table is not None or edge.where or len(tables.readers[table]) > 1:
            batches = self._choose(edge_type, edge, batches)
        own = tables.find_own_end(edge_type)
        for batch in batches:
            ends = self._find_ends(edge, batch.columns.schema.names)
            rows = batch
            if TARGET in ends:
                rows = split_targets(rows, ends[TARGET], edge.split)
            linked = {SOURCE: TARGET, TARGET: SOURCE}.get(own or "", "")
            yield keep_linked(rows, ends[linked]) if linked in ends else rows

    def _find_size(self, table: str) -> int:
        return sum(file.stat().st_size for file in self.files[table])

    def _find_ends(self, edge: EdgeType, names: list[str]) -> dict[str, str]:
        renamed = rename_ends(self.schema, edge, names)
        return {new: old for new, old in zip(renamed, names, strict=True) if new in (SOURCE, TARGET)}

    def _choose(self, name: str, declared: NodeType | EdgeType, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
        """The columns of one type, of a table that has others, too."""
        for batch in batches:
            names = batch.columns.schema.names
            raw = rename_ends(self.schema, declared, names) if isinstance(declared, EdgeType) else names
            check_names(batch.file, self.schema, name, declared, raw, others=True)
            places = [raw.index(column) for column in declared.columns if column in raw]
            yield RawBatch(batch.columns.select(places), batch.file, batch.rows, batch.broken)

    def _read(self, table: str, of: str = "") -> Iterator[RawBatch]:
        """All columns of a table, those that the schema knows in its spelling; ids without spaces around them.

        Args:
            table: the table.
            of: the type that is read; empty: several tables are joined.
        """
        tables = SchemaTables(self.schema)
        known = tables.find_known(table)
        said = self.schema.tables.get(table)
        optional = OptionalColumns(tables.find_wanted(of), known, has_others=len(tables.readers[table]) > 1)
        n_spaced: dict[str, int] = {}
        files = self.files.get(table, [])
        for file in drop_empty(files) or files:
            look = look_at(file, said, encoding=self.encoding, known=known)
            self._check_look(file, table, look, said, known)
            for batch in read_file(file, look):
                raw = batch.columns.schema.names
                ids = {column for name in tables.find_ids(table) if (column := find_column(name, raw)) is not None}
                columns, n_each = trim_columns(batch.columns, ids)
                for column, n in n_each.items():
                    n_spaced[column] = n_spaced.get(column, 0) + n
                    self.n_spaced[table, column] = n_spaced[column]  # several types may read one table
                names = rename_known(raw, known) if of else raw  # a join finds its columns by itself
                renamed = RawBatch(columns.rename_columns(names), batch.file, batch.rows, batch.broken)
                yield optional.fill(renamed) if look.kind == "json" else renamed
        optional.check(of)

    def _check_look(
        self, file: Path, table: str, look: TableLook, said: SourceTable | None, known: Collection[str]
    ) -> None:
        """Checks that the columns of a file have names.

        Raises:
            CatalogueError: they have none, or none that the schema knows.
        """
        first = look.first_line[:MOST_SHOWN]
        if look.kind != "text" or (said is not None and said.columns):
            return
        if look.lists:
            raise CatalogueError(
                f"{file}: each line seems to be an id and those that it is linked to, as {first!r}; say so in the "
                f'schema: [tables.{table}] lists = true, columns = ["user_id", "item_id"]'
            )
        if not look.has_header:
            names = SchemaTables(self.schema).suggest_columns(table, len(look.columns))
            listed = ", ".join(f'"{name}"' for name in names)
            raise CatalogueError(
                f"{file} has no header: its first row looks like data, {first!r}. Name its {len(look.columns)} columns "
                f"in the schema: [tables.{table}] columns = [{listed}]"
            )
        if not {to_plain(name) for name in look.columns} & {to_plain(name) for name in known}:
            expected = ", ".join(SchemaTables(self.schema).suggest_columns(table, 0))
            raise CatalogueError(
                f"{file}: expected a header with the columns {expected} by one of , ; tab | or ::; got {first!r}"
            )
