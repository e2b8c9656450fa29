"""The tables of a folder: the files of each, and what they hold, column by column."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from graph_schema.checks.column_texts import decode
from graph_schema.drafts.profile import NodeProfile, PropertyProfile
from graph_schema.drafts.roles import find_name, find_texts
from graph_schema.schema_types import SourceTable, is_label
from loaders.files.id_spaces import trim_ids
from loaders.files.table_reading import read_table
from loaders.profiles.column_profile import Column

OnRows = Callable[[str, int], None]
_MOST_KEPT_ROWS = 20_000  # of each table, to see which columns belong together
_NUMBERED = re.compile(r"(.*[^\W\d_])[ _.-]+\d[\d _.-]*|(.*[^\W\d_])(?:19|20)\d\d")  # sales_2024_01, sales2024
_SPLIT_WORDS = ("train", "test", "valid", "validation", "val", "dev", "prior", "eval", "part")


@dataclass
class TableColumns:
    """A table, column by column.

    Attributes:
        name: its name.
        n_rows: its rows.
        n_broken: rows that do not fit its header.
        columns: name -> what the column holds.
        repeated: names that several columns have.
        first_rows: the first rows of all its files, as text.
        source: how its files look.
    """

    name: str
    n_rows: int
    n_broken: int
    columns: dict[str, Column]
    repeated: list[str]
    first_rows: pa.Table
    source: SourceTable = field(default_factory=SourceTable)

    @property
    def named(self) -> dict[str, Column]:
        """The columns that a schema can name."""
        return {name: column for name, column in self.columns.items() if is_label(name)}

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The columns that a schema cannot name."""
        return tuple(name for name in self.columns if not is_label(name))

    def profile(self, left_out: Iterable[str] = ()) -> dict[str, PropertyProfile]:
        """The columns that a schema can name, as a profile shows them."""
        kept = {*self.named} - {*left_out}
        return {name: one for name, one in self._profiles.items() if name in kept}

    @cached_property
    def _profiles(self) -> dict[str, PropertyProfile]:
        return {name: column.profile() for name, column in self.named.items()}

    def rename(self, names: Sequence[str]) -> None:
        """Gives the columns other names, in their order."""
        olds = list(self.columns)
        self.columns = dict(zip(names, self.columns.values(), strict=True))
        for name, column in self.columns.items():
            column.name = name
        new = dict(zip(olds, names, strict=True))
        self.first_rows = self.first_rows.rename_columns([new[one] for one in self.first_rows.column_names])
        self.__dict__.pop("_profiles", None)

    def as_things(self) -> NodeProfile:
        """The rows as nodes."""
        return NodeProfile(self.name, self.n_rows, self.profile())

    def find_title(self, key: str = "") -> str | None:
        """The column that is shown to people, or the first text of its rows; None: they have none."""
        things = self.as_things()
        title = find_name(things, key)
        return title if title is not None else next(iter(find_texts(things, key, title)), None)


def read_columns(
    name: str, files: Sequence[Path], source: SourceTable, encoding: str | None = None, on_rows: OnRows | None = None
) -> TableColumns:
    """Reads all files of a table.

    Args:
        name: the table's name.
        files: its files.
        source: how they look.
        encoding: of text files; None: found by their bytes.
        on_rows: called with the table's name and the number of rows just read.
    """
    columns: dict[str, Column] = {}
    repeated: list[str] = []
    kept: list[pa.Table] = []
    n_rows = n_broken = 0
    for batch in read_table(files, source, encoding=encoding):
        names = batch.columns.schema.names
        repeated += [column for column in set(names) if names.count(column) > 1 and column not in repeated]
        for column, values in zip(names, batch.columns.columns, strict=True):
            columns.setdefault(column, Column(column)).add(values)
        if not repeated and n_rows < _MOST_KEPT_ROWS:
            kept.append(_to_texts(batch.columns.slice(0, _MOST_KEPT_ROWS - n_rows)))
        n_rows += batch.columns.num_rows
        n_broken += len(batch.broken)
        if on_rows is not None:
            on_rows(name, batch.columns.num_rows)
    for found in columns.values():
        found.n_rows = n_rows  # a JSON column may be missing in whole blocks
    first_rows = pa.concat_tables(kept, promote_options="default") if kept else pa.table({})
    return TableColumns(name, n_rows, n_broken, columns, repeated, first_rows, source)


def find_splits(files: Mapping[str, Sequence[Path]]) -> dict[str, list[str]]:
    """Finds tables that may be parts of one by their names: a name -> the parts.

    They are called as ratings_train and ratings_test, or as "Sales 2024" and "Sales 2025".
    """
    groups: dict[str, list[str]] = {}
    for name in files:
        stem = _find_stem(name)
        if stem is not None and stem not in files:
            groups.setdefault(stem, []).append(name)
    return {stem: names for stem, names in groups.items() if len(names) > 1}


def _find_stem(name: str) -> str | None:
    """The name of the table that a table may be a part of; None: it is called like no part."""
    split = re.fullmatch(r"(?:(.*[^_.-])[_.-]+)?([a-z]+)\d*", name, re.IGNORECASE)
    if split and split[2].lower() in _SPLIT_WORDS:
        return split[1] or "interactions"
    numbered = _NUMBERED.fullmatch(name)
    return numbered and (numbered[1] or numbered[2])


def _to_texts(batch: pa.RecordBatch) -> pa.Table:
    """The columns that can be written as text, as text."""
    kept = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        plain = decode(column)
        if not (pa.types.is_nested(plain.type) or pa.types.is_binary(plain.type)):
            kept[name] = trim_ids(plain.cast(pa.string()))[0]
    return pa.table(kept)
