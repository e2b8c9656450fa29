"""Reads delimited text in blocks: each value as text, rows that do not fit the header as broken ones."""

import io
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from graph_schema.sources import BrokenRow, RawBatch
from loaders.files.quote_repair import repair_quotes
from loaders.files.table_look import TableLook
from loaders.files.text_encoding import iter_utf8, iter_whole_lines

_log = logging.getLogger("kgrec.loaders")
BLOCK_BYTES = 16 << 20  # also the longest row that can be read
_READ_BYTES = 1 << 20
_MOST_QUOTED = 4 << 20  # of a quoted field over several lines
_UNIT = "\x1f"  # the separator of fields that stands for one of several characters


def read_text(file: Path, look: TableLook) -> Iterator[RawBatch]:
    """Reads a file of delimited text.

    Args:
        file: the file.
        look: how it looks.

    Raises:
        ArrowInvalid: a row is longer than a block, or the file is not UTF-8 where that was not looked at before.
        UnicodeDecodeError: the file has another encoding.
    """
    blocks = iter_utf8(file, look.encoding, min(_READ_BYTES, BLOCK_BYTES))
    lines = _skip_lines(iter_whole_lines(blocks), look.n_header_lines)
    names = list(look.columns)
    first = next(lines, b"")
    if not first:
        yield RawBatch(_no_rows(names), file.name, np.arange(0))
        return
    lines = _chain(first, lines)
    is_quoted = len(look.delimiter) == 1 and look.delimiter != " "
    delimiter = look.delimiter if len(look.delimiter) == 1 else _UNIT
    if is_quoted:
        most_bytes = min(_MOST_QUOTED, BLOCK_BYTES)
        lines = repair_quotes(lines, delimiter, len(names), most_bytes, partial(_tell_mended, file.name))
    elif delimiter == _UNIT:
        lines = (block.replace(look.delimiter.encode(), _UNIT.encode()) for block in lines)
    for batch in _parse(file, lines, names, delimiter, look.delimiter, is_quoted=is_quoted):
        yield _split_sequences(batch, look.sequences)


def read_lists(file: Path, look: TableLook) -> Iterator[RawBatch]:
    """Reads a file of id lists: a row for each of the ids that the first of a line is linked to.

    Args:
        file: the file.
        look: how it looks; it has two columns.
    """
    n_lines = 0
    separator = None if look.delimiter.isspace() else look.delimiter
    for block in iter_whole_lines(iter_utf8(file, look.encoding, BLOCK_BYTES, is_checked=True)):
        rows = [
            [cell.strip() for cell in line.split(separator)] for line in block.decode().removesuffix("\n").split("\n")
        ]
        sizes = [max(len(row) - 1, 0) for row in rows]
        firsts = [row[0] if row else None for row in rows]
        places = np.repeat(np.arange(len(rows)), sizes)
        ids = pa.array(firsts, pa.string()).take(pa.array(places))
        others = pa.array([cell or None for row in rows for cell in row[1:]], pa.string())
        batch = pa.RecordBatch.from_arrays([ids, others], names=list(look.columns))
        whole = others.is_valid()
        yield RawBatch(batch.filter(whole), file.name, (places + n_lines + 1)[whole.to_numpy(zero_copy_only=False)])
        n_lines += len(rows)


def _parse(
    file: Path, lines: Iterator[bytes], names: list[str], delimiter: str, shown: str, *, is_quoted: bool
) -> Iterator[RawBatch]:
    broken: list[BrokenRow] = []
    unparsed: list[int] = []

    def note_broken(row: pv.InvalidRow) -> str:
        unparsed.append(row.number)
        reason = f"has {row.actual_columns} fields; expected {row.expected_columns}"
        # a quoted field over several lines: each is a lost row
        broken.extend(BrokenRow(row.number, reason, line.replace(_UNIT, shown)) for line in row.text.split("\n"))
        return "skip"

    reader = pv.open_csv(
        pa.PythonFile(_Blocks(lines), mode="r"),
        read_options=pv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
        parse_options=pv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if is_quoted else False,
            newlines_in_values=is_quoted,
            ignore_empty_lines=False,  # otherwise the row numbers would skip them
            invalid_row_handler=note_broken,
        ),
        convert_options=pv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    start, taken = 1, 0
    for batch in reader:
        # parsed rows get the numbers between the broken rows; a block is parsed before it is yielded
        places = np.arange(start, start + batch.num_rows + len(unparsed) - taken)
        rows = places[~np.isin(places, unparsed[taken:])][: batch.num_rows]
        while len(rows) and taken < len(unparsed) and unparsed[taken] < rows[-1]:
            taken += 1
        start = int(rows[-1]) + 1 if len(rows) else start
        found, broken[:] = list(broken), []
        yield _drop_blank(RawBatch(batch, file.name, rows, found))
    if broken or start == 1:
        yield RawBatch(_no_rows(names), file.name, np.arange(0), broken)


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size
        while size < 0 or missing > 0:
            if not self._rest:
                block = next(self._blocks, None)
                if block is None:
                    break
                self._rest = memoryview(block)
            part = self._rest if size < 0 else self._rest[:missing]
            self._rest = self._rest[len(part) :]
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)


def _skip_lines(blocks: Iterator[bytes], n_lines: int) -> Iterator[bytes]:
    for block in blocks:
        rest = block
        while n_lines and rest:
            rest = rest[rest.find(b"\n") + 1 :] if b"\n" in rest else b""
            n_lines -= 1
        if rest:
            yield rest


def _chain(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _tell_mended(file: str, n_lines: int) -> None:
    _log.info("%s: the quotes of %d lines do not pair: they were read as text", file, n_lines)


def _no_rows(names: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=pa.schema([(name, pa.string()) for name in names]))


def _drop_blank(batch: RawBatch) -> RawBatch:
    """Drops rows without any value: blank lines, and the lines of delimiters that spreadsheets append."""
    blank = np.ones(batch.columns.num_rows, dtype=bool)
    for column in batch.columns.columns:
        if column.null_count == 0:
            return batch
        blank &= column.is_null().to_numpy(zero_copy_only=False)
    return RawBatch(batch.columns.filter(pa.array(~blank)), batch.file, batch.rows[~blank], batch.broken)


def _split_sequences(batch: RawBatch, sequences: tuple[str, ...]) -> RawBatch:
    columns = batch.columns
    for name in sequences:
        entries = pc.split_pattern(pc.utf8_trim_whitespace(columns.column(name)), " ")
        columns = columns.set_column(columns.schema.names.index(name), name, entries)
    return RawBatch(columns, batch.file, batch.rows, batch.broken)
