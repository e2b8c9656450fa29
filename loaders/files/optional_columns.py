"""Columns of JSON, which only some objects have."""

from collections.abc import Collection, Sequence

import pyarrow as pa

from graph_schema import CatalogueError
from graph_schema.near_names import find_near_name
from graph_schema.sources import RawBatch


class OptionalColumns:
    """Adds the columns that a batch of objects lacks, and leaves out parts of objects that the schema does not name.

    Args:
        wanted: the columns that are needed.
        known: all that the schema names.
        has_others: the objects may have further columns, which other types read.
    """

    def __init__(self, wanted: Sequence[str], known: Collection[str], *, has_others: bool) -> None:
        self._wanted, self._known, self._has_others = wanted, known, has_others
        self._seen: dict[str, None] = {}
        self._file = ""

    def fill(self, batch: RawBatch) -> RawBatch:
        """The rows with the wanted columns, null where no object has them.

        One that seems to be misspelt stays missing, since the check of the names tells what is meant.
        """
        names = batch.columns.schema.names
        self._seen.update(dict.fromkeys(names))
        self._file = batch.file
        kept = [name for name in names if name in self._known or "." not in name]
        unknown = [] if self._has_others else [name for name in kept if name not in self._known]
        absent = [name for name in self._wanted if name not in names and find_near_name(name, unknown) is None]
        arrays = [*(batch.columns.column(name) for name in kept), *(pa.nulls(len(batch.rows)) for _ in absent)]
        columns = pa.RecordBatch.from_arrays(arrays, names=[*kept, *absent])
        return RawBatch(columns, batch.file, batch.rows, batch.broken)

    def check(self, name: str) -> None:
        """Checks that each wanted column was in an object.

        Args:
            name: the type that was read.

        Raises:
            CatalogueError: one was in none.
        """
        absent = [wanted for wanted in self._wanted if wanted not in self._seen]
        if not self._file or not absent:
            return
        near = find_near_name(absent[0], [one for one in self._seen if one not in self._wanted])
        advice = f"did you mean {near!r}?" if near else f"got {', '.join(self._seen)}"
        raise CatalogueError(
            f"{self._file}: no object has {absent[0]!r}, which the schema names for {name!r}; {advice}"
        )
