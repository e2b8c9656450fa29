"""Reads the rows of tables, whatever the format of their files, in blocks: files may be larger than memory."""

import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph_schema import CatalogueError
from graph_schema.checks.column_names import rename_known
from graph_schema.schema_types import SourceTable
from graph_schema.sources import RawBatch
from loaders.files.id_spaces import trim_columns
from loaders.files.json_rows import read_json
from loaders.files.table_look import MOST_SHOWN, TableLook, find_look
from loaders.files.text_encoding import find_encoding
from loaders.files.text_rows import BLOCK_BYTES, read_lists, read_text

PARQUET_ROWS = 262_144


def read_table(
    files: Sequence[Path],
    table: SourceTable | None = None,
    *,
    encoding: str | None = None,
    known: Collection[str] = (),
) -> Iterator[RawBatch]:
    """Reads all columns of a table's files.

    Args:
        files: the files, in this order.
        table: what the schema says of the table.
        encoding: of text files where the schema says none; None for UTF-8, or what the first bytes of a file say.
        known: the names of columns that the schema knows, which tell a header from data.

    Raises:
        CatalogueError: a file cannot be read, or is no table.
    """
    for file in files:
        yield from read_file(file, look_at(file, table, encoding=encoding, known=known))


def read_rows(file: Path, columns: Sequence[str]) -> pa.Table:
    """Reads a whole file that has some columns of ids, perhaps among others, under these names.

    Ids are read without the spaces around them, as a load does; the encoding of the file is found.

    Args:
        file: the file.
        columns: the names of columns that are expected; one that is missing is left to the caller.

    Raises:
        CatalogueError: the file cannot be read, has no header, or has a row that does not fit it.
    """
    with explain_errors(file):
        encoding = None if file.name.endswith(".parquet") else find_encoding(file)
    look = look_at(file, encoding=encoding, known=columns)
    if not look.has_header or look.lists:
        raise CatalogueError(
            f"{file} has no header: its first row looks like data, {look.first_line[:MOST_SHOWN]!r}; expected a first "
            f"row with the names of its columns: {', '.join(columns)}"
        )
    parts = []
    for batch in read_file(file, look):
        for broken in batch.broken:
            raise CatalogueError(
                f"{file}: row {broken.row} {broken.reason}: {broken.content[:MOST_SHOWN]!r}; correct it or leave it out"
            )
        names = rename_known(batch.columns.schema.names, columns)
        rows, _ = trim_columns(batch.columns.rename_columns(names), {*columns})
        parts.append(pa.Table.from_batches([rows]))
    return pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})


def look_at(
    file: Path, table: SourceTable | None = None, *, encoding: str | None = None, known: Collection[str] = ()
) -> TableLook:
    """Finds how a file looks, as `find_look` does.

    Raises:
        CatalogueError: it cannot be read, or is no table.
    """
    with explain_errors(file):
        look = find_look(file, table, encoding=encoding, known=known)
    if look is None:
        raise CatalogueError(f"{file} is a text without columns; expected rows of a table, each with as many fields")
    return look


def read_file(file: Path, look: TableLook) -> Iterator[RawBatch]:
    """Reads all columns of a file.

    Text is read as text: strings, null where a field is empty.

    Args:
        file: the file.
        look: how it looks.

    Raises:
        CatalogueError: the file cannot be read.
    """
    with explain_errors(file):
        if look.kind == "parquet":
            yield from _read_parquet(file)
        elif look.kind == "json":
            yield from read_json(file, look.encoding)
        else:
            yield from (read_lists if look.lists else read_text)(file, look)


@contextmanager
def explain_errors(file: Path) -> Iterator[None]:
    """Says of an error in reading a file which it is, and what to do.

    Raises:
        CatalogueError: in the place of another error.
    """
    try:
        yield
    except (UnicodeError, LookupError) as error:
        raise CatalogueError(f"cannot decode {file}: {error}; {_advise_encoding(file)}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogueError(f"cannot read {file}: {error}; expected a CSV, JSON or Parquet file") from error
    except pa.ArrowInvalid as error:
        raise CatalogueError(f"cannot read {file}: {_explain(file, error)}") from error


def _read_parquet(file: Path) -> Iterator[RawBatch]:
    with pq.ParquetFile(file) as opened:
        start = 0
        empty = pa.RecordBatch.from_pylist([], schema=opened.schema_arrow)
        yield RawBatch(empty, file.name, np.arange(0))  # so that the columns of an empty file are checked
        for batch in opened.iter_batches(PARQUET_ROWS):
            yield RawBatch(batch, file.name, np.arange(start + 1, start + 1 + batch.num_rows))
            start += batch.num_rows


def _explain(file: Path, error: pa.ArrowInvalid) -> str:
    text = str(error)
    if "invalid UTF8" in text:
        return f"it is not UTF-8 ({text}); {_advise_encoding(file)}"
    if "straddling" in text or "out of sync" in text:
        return f"a row is longer than {BLOCK_BYTES >> 20} MiB; expected a closing quote before that"
    return f"{text}; expected a complete CSV or Parquet file"


def _advise_encoding(file: Path) -> str:
    found = find_encoding(file)
    reads_as = "" if found == "utf-8" else f" or encoding = {found!r} under its [tables] of the schema"
    return f"name its encoding, as in --encoding latin-1{reads_as}"
