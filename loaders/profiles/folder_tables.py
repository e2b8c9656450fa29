"""Reads all tables of a folder for a profile: headerless files get names for their columns, split tables are joined."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from graph_schema import CatalogueError
from graph_schema.drafts.profile import Guess
from graph_schema.drafts.type_names import to_distinct, to_name
from graph_schema.schema_types import SourceTable, is_name
from loaders.files.headerless import name_columns
from loaders.files.table_files import EXPECTED, drop_empty, find_tables
from loaders.files.table_look import TableLook, find_look
from loaders.files.text_encoding import find_encoding, find_mark
from loaders.profiles.table_columns import OnRows, TableColumns, find_splits, read_columns

_USUAL = (",", ";", "\t", "|")  # delimiters that a load finds by itself
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_SAVE_AS_CSV = "save each of its sheets as CSV"
_LIST_COLUMNS = ("user_id", "item_id")


@dataclass(frozen=True)
class FolderTables:
    """The tables of a folder.

    Attributes:
        tables: by name.
        files: table -> its files.
        sources: table -> how its files look, for those that need it said.
        encoding: of text files; None: found by their bytes.
        guesses: what was concluded from how they look.
        left_out: files that are no tables, a sentence each.
    """

    tables: Mapping[str, TableColumns]
    files: Mapping[str, Sequence[Path]]
    sources: Mapping[str, SourceTable]
    encoding: str | None
    guesses: tuple[Guess, ...]
    left_out: tuple[str, ...]


def _find_sheets(folder: Path) -> list[str]:
    """The spreadsheets of a folder, which are not read."""
    # an office program keeps a file that begins with "~$" while it has the sheet open
    names = (entry.name for entry in folder.iterdir() if entry.suffix.lower() in _SHEETS)
    return sorted(name for name in names if not name.startswith(("~", ".")))


def read_folder(folder: Path, encoding: str | None, on_rows: OnRows | None) -> FolderTables:
    """Reads all tables of a folder.

    Raises:
        CatalogueError: it has none, or a file cannot be read.
    """
    named = find_tables(folder)
    files, left_out = _find_files(folder, named)
    looks: dict[str, TableLook] = {}
    odd: dict[str, str] = {}  # table -> its encoding, where a load needs it said
    for name, parts in files.items():
        if encoding is None and (found := _find_odd_encoding(parts)) is not None:
            odd[name] = found
        try:
            look = find_look(parts[0], encoding=encoding or odd.get(name))
        except CatalogueError as error:
            if len(files) == 1:
                raise
            left_out.append(str(error))
            continue
        if look is None:
            left_out.append(f"{parts[0].name}: it is text, no table")
        else:
            looks[name] = look
    guesses: list[Guess] = []
    files = {name: files[name] for name in looks}
    sources = {name: _describe(look, odd.get(name)) for name, look in looks.items()}
    for name, parts in files.items():
        if name not in named:
            sources[name] = sources[name].model_copy(update={"file": _list_names(folder, parts)})
    _join_splits(folder, files, looks, sources, guesses)
    tables = {name: read_columns(name, parts, sources[name], encoding, on_rows) for name, parts in files.items()}
    headerless = {name: table for name, table in tables.items() if not looks[name].has_header and not looks[name].lists}
    for name, names in name_columns(headerless).items():
        sources[name] = sources[name].model_copy(update={"columns": names})
        tables[name].rename(names)
        tables[name].source = sources[name]
        guesses.append(
            Guess(
                name,
                f"columns {', '.join(names)}",
                "a guess",
                "its first row looks like data: they are named by their values",
            )
        )
    for name, look in looks.items():
        if look.lists and name in tables:
            guesses.append(Guess(name, "lists of ids", "likely", "each line is a user and the items of this user"))
    said = {name: one for name, one in sources.items() if name in tables and one != SourceTable()}
    return FolderTables(tables, files, said, encoding, tuple(guesses), tuple(left_out))


def _find_odd_encoding(parts: Sequence[Path]) -> str | None:
    """The encoding of text files that neither are UTF-8 nor say it by their first bytes."""
    for file in parts:
        if not file.name.lower().endswith(".parquet") and (found := find_encoding(file)) != find_mark(file):
            return found
    return None


def _describe(look: TableLook, encoding: str | None) -> SourceTable:
    """What a load cannot find by itself."""
    if look.kind != "text":
        return SourceTable()
    return SourceTable(
        columns=_LIST_COLUMNS if look.lists else (),
        delimiter=look.delimiter if look.delimiter not in ("", *_USUAL) and not look.lists else None,
        encoding=encoding,
        lists=look.lists,
    )


def _find_files(folder: Path, named: Mapping[str, list[Path]]) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of tables with any content, by names that a schema can hold, and a sentence for each other file.

    Args:
        folder: the folder.
        named: its tables -> their files.

    Raises:
        CatalogueError: there are none.
    """
    sheets = _find_sheets(folder)
    if not named:
        only = f" but {', '.join(sheets)}: {_SAVE_AS_CSV}" if sheets else ""
        raise CatalogueError(f"{folder} has no tables{only}; expected files of tables: {EXPECTED}")
    left_out = [f"{sheet}: it is a spreadsheet; {_SAVE_AS_CSV}" for sheet in sheets]
    filled = {name: drop_empty(parts) for name, parts in named.items()}
    empty = [file.name for name, parts in named.items() for file in parts if file not in filled[name]]
    if not any(filled.values()):
        raise CatalogueError(f"{folder} has only files without content: {', '.join(empty)}; expected a header and rows")
    left_out += [f"{name}: it has no content" for name in empty]
    return _name_cleanly({name: parts for name, parts in filled.items() if parts}), left_out


def _name_cleanly(files: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
    """The files of tables by names that a schema can hold: "Loans export (2)" is called "Loans export 2"."""
    named: dict[str, list[Path]] = {name: parts for name, parts in files.items() if is_name(name)}
    for name, parts in files.items():
        if not is_name(name):
            plain = " ".join(re.sub(r"[^\w .-]+", " ", name).split())
            named[to_distinct(to_name(plain, "table"), named)] = parts
    return named


def _list_names(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    return tuple(file.relative_to(folder).as_posix() for file in files)


def _join_splits(
    folder: Path,
    files: dict[str, list[Path]],
    looks: dict[str, TableLook],
    sources: dict[str, SourceTable],
    guesses: list[Guess],
) -> None:
    """Joins tables that are one, split into train and test, say, or into years."""
    for name, parts in find_splits(files).items():
        columns = {tuple(_list_columns(files[part][0], looks[part])) for part in parts}
        said = {sources[part].model_copy(update={"file": ()}) for part in parts}  # such as an encoding
        if len(columns) > 1 or len(said) > 1 or looks[parts[0]].kind == "json":
            continue
        joined = [file for part in parts for file in files[part]]
        first = sources[parts[0]]
        looks[name] = looks[parts[0]]
        sources[name] = first.model_copy(update={"file": _list_names(folder, joined)})
        files[name] = joined
        for part in parts:
            del files[part], looks[part], sources[part]
        guesses.append(Guess(name, f"{' and '.join(parts)} together", "likely", "they have the same columns"))


def _list_columns(file: Path, look: TableLook) -> Sequence[str]:
    if look.kind == "parquet":
        names: list[str] = pq.read_schema(file).names
        return names
    return look.columns
