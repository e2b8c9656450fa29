"""The reject file: every row that was left out, and every value that a row was kept without, with the reason."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from graph_schema.base_errors import CatalogueError
from graph_schema.sources import BrokenRow

COLUMNS = ("file", "row", "table", "reason", "content")
LEAST_ROWS = 20  # of a table that the limit of bad rows holds for by itself
_MOST_REASONS = 8  # shown in an error
MOST_EXAMPLES = 3
KEPT_ROW = ", left out of its row"  # ends the reason for a value that a row was kept without


class Fault(StrEnum):
    """The kinds of reasons."""

    BROKEN = "the reader cannot parse it"
    MISSING_KEY = "a node without its key"
    REPEATED_KEY = "a node whose key is there already"
    MISSING_END = "an edge with an end that has no id"
    UNKNOWN_END = "an edge with an end that is not among the nodes"
    MISSING_VALUE = "an interaction without its weight or time"
    UNFIT_VALUE = "a value that is not of its declared type or range"


@dataclass(frozen=True)
class Reason:
    """Why a row, or one of its values, is rejected.

    Attributes:
        fault: the kind of reason.
        column: the column with the fault; None for a row that could not be parsed.
        text: the full reason, for people; it holds for each row that has it.
        keeps_row: only the value is left out, the row is kept without it.
        example: what the first of these rows has, for summaries; reasons that differ by it alone are one.
    """

    fault: Fault
    column: str | None
    text: str
    keeps_row: bool = False
    example: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.text}{KEPT_ROW}" if self.keeps_row else self.text


@dataclass(frozen=True)
class Repeats:
    """Edges of one type that repeat another: of each pair one is left.

    Attributes:
        n_pairs: the (source, target) pairs that are there more than once.
        n_edges: the edges left out.
        examples: the first pairs.
    """

    n_pairs: int
    n_edges: int
    examples: Sequence[tuple[str, str]]


class RejectLog:
    """Counts the rejected rows and values and keeps the first rows of each reason.

    One from `open_reject_log` also writes them all.

    Args:
        path: the reject file's path; None where there is none.
        file: the open reject file.
    """

    def __init__(self, path: Path | None = None, file: TextIO | None = None) -> None:
        self.path = path
        self.counts: Counter[tuple[str, Reason]] = Counter()  # (table, reason) -> rows
        self.examples: dict[tuple[str, Reason], list[object]] = {}  # the first of these rows, as they were read
        self.n_rows: Counter[str] = Counter()  # table -> rows read, bad ones included
        self.n_bad: Counter[str] = Counter()  # table -> rows left out, or kept without some of their values
        self.n_incomplete = 0  # rows kept without some of their values
        self.repeats: dict[str, Repeats] = {}  # edge type -> its edges that were there more than once
        self._first: dict[tuple[str, Reason], str] = {}
        self._writer = None if file is None else csv.writer(file)
        if self._writer is not None:
            self._writer.writerow(COLUMNS)

    @property
    def n_rejects(self) -> int:
        """The number of rows left out so far."""
        return sum(count for (_, reason), count in self.counts.items() if not reason.keeps_row)

    def add_rows(
        self, table: str, file: str, rows: Sequence[int], reasons: Sequence[Reason], raw: pa.RecordBatch
    ) -> None:
        """Rejects rows of a batch, or values of them.

        Args:
            table: the node type or edge type that they were meant for.
            file: the source file.
            rows: their places in the file; a row kept without several values is there for each.
            reasons: why, each.
            raw: the rows as they were read.
        """
        n_incomplete = len({row for row, reason in zip(rows, reasons, strict=True) if reason.keeps_row})
        self.n_incomplete += n_incomplete
        self.n_bad[table] += n_incomplete + sum(not reason.keeps_row for reason in reasons)
        for row, reason, content in zip(rows, reasons, _to_rows(raw), strict=True):
            self._add(table, file, row, reason, content)

    def add_broken(self, table: str, file: str, broken: Sequence[BrokenRow]) -> None:
        """Rejects rows that could not be parsed."""
        self.n_bad[table] += len(broken)
        for found in broken:
            self._add(table, file, found.row, Reason(Fault.BROKEN, None, found.reason), found.content)

    def describe(self, first: str | None = None) -> str:
        """The counts per reason, most frequent first, each with the first row that it was given for.

        Args:
            first: a table whose reasons come before those of others.
        """
        counts = self.counts.most_common()
        counts.sort(key=lambda counted: counted[0][0] != first)
        parts = [
            f"{count:,} in {table}: {reason} (first: {self._first[table, reason]}"
            f"{f': {reason.example}' if reason.example else ''})"
            for (table, reason), count in counts[:_MOST_REASONS]
        ]
        more = len(counts) - _MOST_REASONS
        return "; ".join(parts) + (f"; and {more} more reasons" if more > 0 else "")

    def list_shares(self) -> list[tuple[str, int, int]]:
        """(table, bad rows, rows) of each table that has bad ones, the largest share first."""
        found = [(table, n_bad, self.n_rows[table]) for table, n_bad in self.n_bad.items() if n_bad]
        return sorted(found, key=lambda one: one[1] / max(one[2], 1), reverse=True)

    def check_limit(self, max_rejects: float) -> None:
        """Checks the share of bad rows in each table of at least `LEAST_ROWS` rows, and in all together.

        One bad row of three says nothing, so smaller tables count only with the others.

        Args:
            max_rejects: the largest share that may be bad, 0 to 1; math.inf: any.

        Raises:
            CatalogueError: more are bad.
        """
        shares = self.list_shares()
        over = [one for one in shares if one[2] >= LEAST_ROWS and one[1] > max_rejects * one[2]]
        together = (None, sum(self.n_bad.values()), sum(self.n_rows.values()))
        if not over and (not together[1] or together[1] <= max_rejects * together[2]):
            return
        table, n_bad, n_rows = over[0] if over else together
        bad_rows = f"{n_bad:,} of {n_rows:,} rows{f' of {table!r}' if table else ''} are bad ({n_bad / n_rows:.1%})"
        others = "".join(f", {bad:,} of {rows:,} of {name!r} ({bad / rows:.1%})" for name, bad, rows in over[1:])
        where = (
            f"Each with its reason is in {self.path}"
            if self.path
            else "Name a file with --rejects to have each with its reason"
        )
        largest = max(n_bad / n_rows, together[1] / together[2])
        raise CatalogueError(
            f"{bad_rows}{others}, more than the limit of {max_rejects:.1%}, so nothing was loaded: "
            f"{self.describe(table)}. {where}. "
            f"Correct them, or load without them by --max-rejects {math.ceil(largest * 100) / 100:.2f}"
        )

    def _add(self, table: str, file: str, row: int, reason: Reason, content: Mapping[str, object] | str) -> None:
        self.counts[table, reason] += 1
        self._first.setdefault((table, reason), f"{file} row {row}")
        examples = self.examples.setdefault((table, reason), [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(content)
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
