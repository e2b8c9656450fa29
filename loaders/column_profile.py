"""Reads all tables of a folder and profiles each column.

Memory holds, per column, the hashes of up to `MOST_DISTINCT` distinct values. A column has a kind if all its values can
be read as that kind.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import CatalogueError
from graph_schema.columns import convert_column, convert_ids
from graph_schema.list_columns import is_point
from graph_schema.number_texts import is_other_unit
from graph_schema.profile import Kind, PropertyProfile
from graph_schema.schema_types import AttributeType, is_name
from loaders.tabular import find_suffix, number_order, read_file

MOST_DISTINCT = 2_000_000
_TRIED: tuple[AttributeType, ...] = ("int", "float", "bool", "time")
_CODE = r"^[+-]?0\d|^\d{16,}$|^\d+[A-Z]$"
_TRIED_FIRST = 200  # values to try before a whole block
_MOST_OTHER_UNITS = 0.1  # of a column of numbers, the share in another unit than most
_MOST_SAMPLES = 100
_CUT = 200

OnRows = Callable[[str, int], None]


@dataclass
class Column:
    """The profile of one column, built block by block."""

    name: str
    n_rows: int = 0
    n_values: int = 0
    length: int = 0
    kinds: list[AttributeType] = field(default_factory=lambda: list(_TRIED))  # that fit all values so far
    of_arrow: Kind | None = None  # the kind that the file declares
    low: float = np.inf
    high: float = -np.inf
    samples: dict[str, None] = field(default_factory=dict)
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # hashes, sorted
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    is_capped: bool = False
    is_coded: bool = False  # with leading zeros, too many digits for a number, or a letter after them

    def add(self, raw: pa.Array) -> None:
        """Adds the values of one block."""
        self.n_rows += len(raw)
        kind = _kind_of(raw.type)
        if kind in ("list", "point", "vector", "other"):
            self.of_arrow = kind
            self.n_values += len(raw) - raw.null_count
            if kind == "list":
                self._add_samples(
                    " | ".join(entries) for entries in convert_column(raw, "list")[0].to_pylist() if entries
                )
            return
        try:
            text, _ = convert_ids(raw)
        except CatalogueError:
            text, _ = convert_column(raw, "string")
        present = text.drop_null()
        self.n_values += len(present)
        if len(present) == 0:
            return
        self.length += pc.sum(pc.utf8_length(present)).as_py()
        if kind is None:
            self.is_coded |= pc.any(pc.match_substring_regex(present, _CODE)).as_py()
        elif self.of_arrow in (None, kind):
            self.of_arrow = kind
        self.kinds = [one for one in self.kinds if _fits(raw.slice(0, _TRIED_FIRST), one) and _fits(raw, one)]
        self._count(present)
        self._find_range(raw)

    def _count(self, present: pa.Array) -> None:
        encoded = present.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        self._add_samples(words)
        if self.is_capped:
            return
        hashes = np.fromiter(map(hash, words), dtype=np.int64, count=len(words))
        n_each = np.bincount(encoded.indices.to_numpy(), minlength=len(words))
        values, places = np.unique(np.concatenate([self.values, hashes]), return_inverse=True)
        counts = np.zeros(len(values), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, n_each]))
        self.values, self.counts = values, counts
        self.is_capped = len(values) > MOST_DISTINCT

    def _add_samples(self, texts: Iterable[str]) -> None:
        for text in islice(texts, _MOST_SAMPLES - len(self.samples)):
            self.samples[text[:_CUT]] = None

    def _find_range(self, raw: pa.Array) -> None:
        number = next((kind for kind in ("int", "float") if kind in self.kinds), None)
        if number is None:
            return
        values, _ = convert_column(raw, number)
        found = pc.min_max(values).as_py()
        if found["min"] is not None:
            self.low, self.high = min(self.low, float(found["min"])), max(self.high, float(found["max"]))

    @property
    def kind(self) -> Kind | None:
        """The kind of its values; None: it has no values."""
        if self.of_arrow is not None:
            return self.of_arrow
        if self.n_values == 0:
            return None
        return "string" if self.is_coded or not self.kinds else self.kinds[0]

    @property
    def n_distinct(self) -> int:
        """The number of distinct values counted."""
        return len(self.values)

    @property
    def is_unique(self) -> bool | None:
        """Whether all values are distinct; None: there are too many to count."""
        return False if self.n_distinct and self.counts.max() > 1 else None if self.is_capped else True

    def profile(self) -> PropertyProfile:
        """The column as a profile shows it."""
        kind = self.kind
        is_number = kind in ("int", "float") and self.low <= self.high
        return PropertyProfile(
            name=self.name,
            kinds={} if kind is None else {kind: self.n_values},
            coverage=self.n_values / max(self.n_rows, 1),
            distinct=1.0 if self.is_unique is not False else self.n_distinct / max(int(self.counts.sum()), 1),
            is_unique=self.is_unique if self.n_values else None,
            mean_length=self.length / max(self.n_values, 1),
            low=self.low if is_number else None,
            high=self.high if is_number else None,
            samples=tuple(self.samples),
            n_duplicates=None if self.is_capped else int(self.counts.sum()) - self.n_distinct,
        )


@dataclass
class TableColumns:
    """A table, column by column."""

    name: str
    n_rows: int
    n_broken: int
    columns: dict[str, Column]
    repeated: list[str]  # names of repeated columns

    @property
    def named(self) -> dict[str, Column]:
        """The columns that a schema can name."""
        return {name: column for name, column in self.columns.items() if is_name(name)}

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The columns that a schema cannot name."""
        return tuple(name for name in self.columns if not is_name(name))

    def profile(self, left_out: Iterable[str] = ()) -> dict[str, PropertyProfile]:
        """The columns that a schema can name, as a profile shows them."""
        return {name: column.profile() for name, column in self.named.items() if name not in left_out}


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Table -> its files. "rated-2" and "rated.2024" are parts of "rated"; a folder's tables are parts of its name."""
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        suffix = find_suffix(entry.name)
        if entry.is_dir():
            parts = [part for part in entry.iterdir() if find_suffix(part.name) is not None]
            if parts and not entry.name.startswith("."):
                found.setdefault(entry.name, []).extend(parts)
        elif suffix is not None and not entry.name.startswith("."):
            stem = entry.name.removesuffix(suffix)
            found.setdefault(re.sub(r"([.-]\d+)+$", "", stem) or stem, []).append(entry)
    return {name: sorted(parts, key=number_order) for name, parts in sorted(found.items())}


def read_table(name: str, parts: Sequence[Path], encoding: str | None, on_rows: OnRows | None) -> TableColumns:
    """Reads all files of a table; `on_rows` is called with (table, rows just read)."""
    columns: dict[str, Column] = {}
    repeated: list[str] = []
    n_rows = n_broken = 0
    for part in parts:
        for batch in read_file(part, encoding, len, "the names of columns"):
            names = batch.columns.schema.names
            repeated += [column for column in set(names) if names.count(column) > 1 and column not in repeated]
            for column, values in zip(names, batch.columns.columns, strict=True):
                columns.setdefault(column, Column(column)).add(values)
            n_rows += batch.columns.num_rows
            n_broken += len(batch.broken)
            if on_rows is not None:
                on_rows(name, batch.columns.num_rows)
    return TableColumns(name, n_rows, n_broken, columns, repeated)


def _kind_of(kind: pa.DataType) -> Kind | None:
    """The kind that a file declares for a column; None: text, whose values decide."""
    types = pa.types
    if types.is_dictionary(kind):
        return _kind_of(kind.value_type)
    if types.is_nested(kind):
        return _kind_of_nested(kind)
    tests: dict[Kind | None, tuple[Callable[[pa.DataType], bool], ...]] = {
        "bool": (types.is_boolean,),
        "int": (types.is_integer,),
        "float": (types.is_floating, types.is_decimal),
        "time": (types.is_timestamp, types.is_date),
        None: (
            types.is_null,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
        ),
    }
    return next((found for found, are in tests.items() if any(is_one(kind) for is_one in are)), "other")


def _kind_of_nested(kind: pa.DataType) -> Kind:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        entry = _kind_of(kind.value_type)
        return "list" if entry is None else "vector" if entry in ("int", "float") else "other"
    return "point" if types.is_struct(kind) and is_point(kind) else "other"


def _fits(values: pa.Array, kind: AttributeType) -> bool:
    """Whether all values can be read as a kind; few numbers may have another unit than most."""
    try:
        _, problems = convert_column(values, kind)
    except CatalogueError:
        return False
    n_other_units = sum(int(bad.sum()) for bad, reason in problems if is_other_unit(reason))
    is_other = any(bad.any() for bad, reason in problems if not is_other_unit(reason))
    return not is_other and n_other_units <= _MOST_OTHER_UNITS * len(values)
