"""The reject file: every row that was not loaded, with the reason."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from graph_schema.errors import CatalogueError
from graph_schema.sources import BrokenRow

COLUMNS = ("file", "row", "table", "reason", "content")
_MOST_REASONS = 8  # shown in an error


class RejectLog:
    """Counts the rejected rows; made by `open_reject_log`, also writes them.

    Args:
        path: the reject file's path; None where there is none.
        file: the open reject file.
    """

    def __init__(self, path: Path | None = None, file: TextIO | None = None) -> None:
        self.path = path
        self.counts: Counter[tuple[str, str]] = Counter()  # (table, reason) -> rows
        self._first: dict[tuple[str, str], str] = {}
        self._writer = None if file is None else csv.writer(file)
        if self._writer is not None:
            self._writer.writerow(COLUMNS)

    @property
    def n_rejects(self) -> int:
        """The number of rejected rows so far."""
        return self.counts.total()

    def add_rows(self, table: str, file: str, rows: Sequence[int], reasons: Sequence[str], raw: pa.RecordBatch) -> None:
        """Rejects rows of a batch.

        Args:
            table: the node type or edge type that they were meant for.
            file: the source file.
            rows: their places in the file.
            reasons: why, each.
            raw: the rows as they were read.
        """
        for row, reason, content in zip(rows, reasons, _to_rows(raw), strict=True):
            self._add(table, file, row, reason, content)

    def add_broken(self, table: str, file: str, broken: Sequence[BrokenRow]) -> None:
        """Rejects rows that could not be parsed."""
        for found in broken:
            self._add(table, file, found.row, found.reason, found.content)

    def describe(self) -> str:
        """The counts per reason, most frequent first, each with the first row that it was given for."""
        parts = [
            f"{count:,} in {table}: {reason} (first: {self._first[table, reason]})"
            for (table, reason), count in self.counts.most_common(_MOST_REASONS)
        ]
        more = len(self.counts) - _MOST_REASONS
        return "; ".join(parts) + (f"; and {more} more reasons" if more > 0 else "")

    def _add(self, table: str, file: str, row: int, reason: str, content: object) -> None:
        self.counts[table, reason] += 1
        self._first.setdefault((table, reason), f"{file} row {row}")
        if self._writer is not None:
            self._writer.writerow((file, row, table, reason, json.dumps(content, ensure_ascii=False, default=_to_text)))


@contextmanager
def open_reject_log(path: Path | None) -> Iterator[RejectLog]:
    """A log that writes each rejected row at once, so that a stopped load leaves them too.

    Args:
        path: CSV file with the columns file, row, table, reason, content (the raw row as JSON); None only counts.

    Raises:
        CatalogueError: the file cannot be written.
    """
    if path is None:
        yield RejectLog()
        return
    try:
        path.write_bytes(b"")
    except OSError as error:
        raise CatalogueError(f"cannot write the reject file {path}: {error}; name another with --rejects") from error
    with path.open("w", newline="", encoding="utf-8") as file:
        yield RejectLog(path, file)


def _to_rows(raw: pa.RecordBatch) -> list[dict[str, object]]:
    columns = []
    for column in raw.columns:
        try:
            columns.append(column.to_pylist())
        except UnicodeDecodeError:  # text that is not UTF-8, which Arrow reads without looking
            columns.append(column.cast(pa.string()).view(pa.binary()).to_pylist())
    return [dict(zip(raw.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _to_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
