"""How the file of a table looks: its format, encoding, delimiter and header. Inspection and loading find it alike."""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from graph_schema import CatalogueError
from graph_schema.schema_types import SourceTable
from loaders.files.header_row import is_header
from loaders.files.table_files import find_suffix
from loaders.files.text_encoding import find_mark, read_start

DELIMITERS = ("\t", "::", ",", ";", "|", " ")  # of those that fit alike the first is taken
_ANY_TABLE = (".csv", ".tsv")  # files that end so are tables, also with one column
_SAMPLE_BYTES = 1 << 18
_SAMPLE_LINES = 200
_MOST_HEADER_LINES = 20
MOST_SHOWN = 200  # characters of a line
_LEAST_CONSISTENT = 0.6  # of the lines of a text file that is a table, the share with as many fields as its first
_TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")  # a header cell of RecBole's files
_ID = re.compile(r"[^\W_]*\d[\w-]*")


@dataclass(frozen=True)
class TableLook:
    """How a file looks.

    Attributes:
        kind: its format: delimited text, JSON (objects line by line, or one array of them), Parquet.
        encoding: of text and JSON.
        delimiter: what is between the fields of text.
        columns: the names of the columns of text; column_1, column_2 and so on where neither the file nor the schema
            says them.
        n_header_lines: the lines of text before the first row: 0 without a header.
        has_header: the names of the columns are known; False: the first row looks like data.
        sequences: columns of text with several values, separated by spaces, as RecBole's headers say.
        lists: each line of text is an id and the ids that it is linked to.
        first_line: the first line of text, for messages.
    """

    kind: Literal["text", "json", "parquet"]
    encoding: str = "utf-8"
    delimiter: str = ""
    columns: tuple[str, ...] = ()
    n_header_lines: int = 0
    has_header: bool = True
    sequences: tuple[str, ...] = ()
    lists: bool = False
    first_line: str = ""


def find_look(
    file: Path, table: SourceTable | None = None, *, encoding: str | None = None, known: Collection[str] = ()
) -> TableLook | None:
    """Finds how a file looks, from its name, its first lines and what a schema says of it.

    Args:
        file: the file.
        table: what the schema says of its table.
        encoding: of text files where the schema says none; None for UTF-8, or what the first bytes of the file say.
        known: the names of columns that the schema knows, which tell a header from data.

    Returns:
        How it looks; None: it is text without columns, such as a README.

    Raises:
        CatalogueError: the file has no content.
        UnicodeDecodeError: the text is not in the encoding.
    """
    said = table or SourceTable()
    suffix = (find_suffix(file.name) or "").lower().removesuffix(".gz")
    if suffix == ".parquet":
        return TableLook("parquet")
    encoding = said.encoding or encoding or find_mark(file)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return TableLook("json", encoding)
    lines = read_first_lines(file, encoding)
    if not lines or not lines[0].strip():
        raise CatalogueError(f"{file}: the first line is empty; expected a header with the names of its columns")
    if suffix not in _ANY_TABLE and lines[0].lstrip().startswith("{") and ":" in lines[0]:
        return TableLook("json", encoding)
    if said.lists or (not said.columns and not said.delimiter and _are_lists(lines)):
        columns = said.columns or ("column_1", "column_2")
        delimiter = said.delimiter or _find_list_delimiter(lines)
        return TableLook("text", encoding, delimiter, columns, lists=True, first_line=lines[0])
    known_names = {to_plain(name) for name in known}
    delimiter = said.delimiter or _find_delimiter(lines, known_names, len(said.columns))
    if not delimiter:
        if suffix not in _ANY_TABLE and not _is_one_column(lines) and not said.columns:
            return None
        delimiter = ","
    look = TableLook("text", encoding, delimiter, first_line=lines[0])
    return _find_columns(file, lines, look, said.columns, known_names)


def read_first_lines(file: Path, encoding: str) -> list[str]:
    """The first lines of a text file that are whole."""
    start = read_start(file, _SAMPLE_BYTES)
    is_all = len(start) < _SAMPLE_BYTES
    # the sample may end inside a character
    text = start.decode(encoding, "strict" if is_all else "ignore").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\n|\r", text)
    lines = lines[:-1] if len(lines) > 1 and (not is_all or not lines[-1]) else lines
    return lines[:_SAMPLE_LINES]


def split_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Lines as rows of fields."""
    if len(delimiter) > 1 or delimiter == " ":
        return [line.split(delimiter) for line in lines]
    try:
        return list(csv.reader([f"{line}\n" for line in lines], delimiter=delimiter))
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _find_columns(
    file: Path, lines: Sequence[str], look: TableLook, said: tuple[str, ...], known: Collection[str]
) -> TableLook:
    rows = [row for row in split_rows(lines, look.delimiter) if row]
    first, n_lines = rows[0], _count_header_lines(lines, look.delimiter)
    if n_lines > _MOST_HEADER_LINES:  # a stray quote
        first, n_lines = lines[0].split(look.delimiter), 1
    first = [" ".join(name.split()) for name in first]
    if said:
        if len(said) != len(first):
            raise CatalogueError(
                f"{file}: the schema names {len(said)} columns, {', '.join(said)}; the first row has {len(first)} "
                f"fields: {lines[0][:MOST_SHOWN]!r}; expected a name for each"
            )
        is_there = [to_plain(name) for name in first] == [to_plain(name) for name in said]
        return replace(look, columns=said, n_header_lines=n_lines if is_there else 0)
    typed = [_TYPED.fullmatch(name) for name in first]
    if all(typed):
        kinds = {found[1].strip(): found[2] for found in typed if found}
        sequences = tuple(name for name, kind in kinds.items() if kind.endswith("_seq"))
        names = tuple(found[1].strip() for found in typed if found)
        return replace(look, columns=names, n_header_lines=n_lines, sequences=sequences)
    if not any(to_plain(name) in known for name in first) and not is_header(rows):
        names = tuple(f"column_{place}" for place in range(1, len(first) + 1))
        return replace(look, columns=names, has_header=False)
    names = tuple(name or f"column_{place}" for place, name in enumerate(first, 1))
    return replace(look, columns=names, n_header_lines=n_lines)


def _count_header_lines(lines: Sequence[str], delimiter: str) -> int:
    """The lines of the first row: a quoted name may go over several."""
    if len(delimiter) > 1 or delimiter == " ":
        return 1
    reader = csv.reader([f"{line}\n" for line in lines], delimiter=delimiter)
    next(reader)
    return reader.line_num


def _find_delimiter(lines: Sequence[str], known: Collection[str], n_columns: int) -> str:
    """The delimiter that finds most known columns, else gives most lines as many fields as the first; "": none does."""
    best: tuple[int, float, int] = (0, 0.0, 0)
    chosen = ""
    for delimiter in DELIMITERS:
        rows = [row for row in split_rows(lines, delimiter) if row]
        names = [to_plain(_TYPED.sub(r"\1", name)) for name in rows[0]]
        n_known = sum(name in known for name in names)
        share = max(_find_share(rows), _find_share([line.split(delimiter) for line in lines if line.strip()]))
        if delimiter == " " and (share < 1 or not all(_is_word(cell) for row in rows for cell in row)):
            continue
        if n_columns and len(names) != n_columns:
            share /= 2
        found = (n_known, round(share, 1), len(names))
        if (len(names) > 1 or n_known) and (n_known or share >= _LEAST_CONSISTENT) and found > best:
            best, chosen = found, delimiter
    return chosen


def _find_share(rows: Sequence[Sequence[str]]) -> float:
    return sum(len(row) == len(rows[0]) for row in rows) / max(len(rows), 1) if rows else 0.0


def _is_word(cell: str) -> bool:
    return bool(cell) and (_ID.fullmatch(cell) is not None or cell.isidentifier())


def _is_one_column(lines: Sequence[str]) -> bool:
    return all(len(line.split()) <= 1 for line in lines)


def _are_lists(lines: Sequence[str]) -> bool:
    """Whether each line has an id and any number of others."""
    rows = [re.split(r"[ \t,]+", line.strip()) for line in lines if line.strip()]
    sizes = {len(row) for row in rows}
    return (
        len(sizes) > 1
        and len({row[0] for row in rows}) == len(rows) > 1
        and all(_ID.fullmatch(cell) for row in rows for cell in row)
    )


def _find_list_delimiter(lines: Sequence[str]) -> str:
    return max((" ", "\t", ","), key=lambda one: sum(line.count(one) for line in lines))


def to_plain(name: str) -> str:
    """A column's name without what does not count: its case, more than one space."""
    return " ".join(name.split()).casefold()
