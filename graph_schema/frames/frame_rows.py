"""The rows of one DataFrame: checks of its ids, and rows that are rejected with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema.base_errors import CatalogueError
from graph_schema.checks.column_texts import Mask
from graph_schema.checks.columns import convert_ids
from graph_schema.checks.rejects import Fault, Reason, RejectLog
from graph_schema.frames.frame_columns import read_columns
from graph_schema.sources import RawBatch

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Frame:
    """A DataFrame's columns in Arrow, and the place of each row in the DataFrame, from 1.

    Attributes:
        name: what errors call it.
        columns: by name, each of as many values as there are rows.
        rows: int64 [rows].
    """

    name: str
    columns: Mapping[str, pa.Array]
    rows: NDArray[np.int64]

    def find(self, *names: str) -> str | None:
        """The first of these columns that is there."""
        return next((name for name in names if name in self.columns), None)

    def need(self, *names: str) -> str:
        """The first of these columns that is there.

        Raises:
            CatalogueError: none is.
        """
        found = self.find(*names)
        if found is None:
            raise CatalogueError(
                f"{self.name} has no column {names[0]!r}; expected {' or '.join(map(repr, names))}, "
                f"got {', '.join(map(repr, self.columns))}: rename the column that holds it to {names[0]!r}"
            )
        return found

    def keep(self, mask: Mask) -> "Frame":
        """The rows where the mask is true."""
        kept = pa.array(mask)
        columns = {name: column.filter(kept) for name, column in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[mask])

    def to_batch(self, columns: Mapping[str, pa.Array]) -> RawBatch:
        """A batch of these columns, with the places of this frame's rows."""
        return RawBatch(pa.RecordBatch.from_pydict(dict(columns)), self.name, self.rows)


def read_frame(name: str, frame: Any) -> Frame:
    """Reads a DataFrame or a pyarrow table.

    Raises:
        CatalogueError: it is neither, has no rows, or has a column twice.
    """
    columns = read_columns(name, frame)
    n_rows = len(next(iter(columns.values()), ()))
    if not n_rows:
        raise CatalogueError(f"{name} has no rows; expected at least one, or leave {name} out")
    return Frame(name, columns, np.arange(1, n_rows + 1))


def check_ids(frame: Frame, table: str, faults: Mapping[str, Fault], log: RejectLog) -> Frame:
    """Converts columns of ids and rejects the rows without one.

    Args:
        frame: the rows.
        table: the node type or edge type that rejects are counted for.
        faults: column of ids -> the fault of a row without one.
        log: where rejected rows go.

    Raises:
        CatalogueError: a column holds neither text nor whole numbers.
    """
    columns = dict(frame.columns)
    problems: list[tuple[Mask, Reason]] = []
    for name, fault in faults.items():
        try:
            columns[name], found = convert_ids(columns[name])
        except CatalogueError as error:
            raise CatalogueError(f"{frame.name}: column {name!r}: {error}") from error
        problems += [(bad, Reason(Fault.UNFIT_VALUE, name, f"{name} {text}")) for bad, text in found]
        missing = columns[name].is_null().to_numpy(zero_copy_only=False)
        problems.append((missing, Reason(fault, name, f"{name} is empty")))
    good = _log_rows(frame, table, problems, log)
    return replace(frame, columns=columns).keep(good)


def reject_rows(frame: Frame, table: str, bad: Mask, reason: Reason, log: RejectLog) -> Frame:
    """Rejects rows for one reason and returns the others."""
    return frame.keep(_log_rows(frame, table, [(bad, reason)], log))


def check_unique(frame: Frame, key: str) -> None:
    """Checks that no id is there twice.

    Raises:
        CatalogueError: one is.
    """
    counts = pc.value_counts(frame.columns[key])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        more = f" and {len(repeated) - _MOST_SHOWN:,} more" if len(repeated) > _MOST_SHOWN else ""
        raise CatalogueError(
            f"{frame.name} has several rows with the same id: {', '.join(map(repr, repeated[:_MOST_SHOWN]))}{more}; "
            f"expected a row for each: drop_duplicates({key!r}) keeps the first; several genres of an item are links"
        )


def _log_rows(frame: Frame, table: str, problems: Sequence[tuple[Mask, Reason]], log: RejectLog) -> Mask:
    """Logs each bad row with the first reason against it; returns bool [rows], which rows are good."""
    codes = np.zeros(len(frame.rows), np.int64)  # 0: nothing against the row
    for code, (bad, _) in enumerate(problems, start=1):
        codes[bad & (codes == 0)] = code
    bad_rows = np.flatnonzero(codes)
    if len(bad_rows):
        reasons = [problems[code - 1][1] for code in codes[bad_rows]]
        raw = pa.RecordBatch.from_pydict(dict(frame.columns)).take(pa.array(bad_rows))
        log.n_rows[table] += len(bad_rows)
        log.add_rows(table, frame.name, frame.rows[bad_rows].tolist(), reasons, raw)
    good: Mask = codes == 0
    return good
