"""Makes the rows of one edge type from those of a table that has more than that."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import CatalogueError
from graph_schema.checks.column_names import find_column
from graph_schema.checks.column_texts import decode, is_text, parse_each, to_mask, to_string
from graph_schema.checks.columns import convert_ids
from graph_schema.checks.list_columns import is_list_type, read_literal
from graph_schema.checks.list_entries import BRACKETS
from graph_schema.near_names import find_near_name
from graph_schema.sources import BrokenRow, RawBatch


def keep_where(batch: RawBatch, where: Mapping[str, str], name: str) -> RawBatch:
    """The rows that have certain texts in certain columns.

    Args:
        batch: rows.
        where: column -> text.
        name: the edge type, for the error.

    Raises:
        CatalogueError: there is no such column.
    """
    kept = np.ones(batch.columns.num_rows, dtype=bool)
    for wanted, text in where.items():
        column = find_column(wanted, batch.columns.schema.names)
        if column is None:
            near = find_near_name(wanted, batch.columns.schema.names)
            advice = f"did you mean {near!r}?" if near else f"got {', '.join(batch.columns.schema.names)}"
            raise CatalogueError(
                f"{batch.file} has no column {wanted!r}, which where of [edges.{name}] names; {advice}"
            )
        kept &= to_mask(pc.equal(pc.utf8_trim_whitespace(to_texts(batch.columns.column(column))), text.strip()))
    return filter_rows(batch, kept)


def keep_linked(batch: RawBatch, column: str) -> RawBatch:
    """The rows that have an id, or a list with entries, in a column: a film without a studio is no broken row."""
    values = batch.columns.column(column)
    ids = values if pa.types.is_nested(values.type) else convert_ids(values)[0]
    return filter_rows(batch, ids.is_valid().to_numpy(zero_copy_only=False))


def split_targets(batch: RawBatch, column: str, split: str | None) -> RawBatch:
    """A row for each entry of a column of lists; entries are stripped, each of a row is there once.

    Args:
        batch: rows.
        column: the column with several targets in one value: Arrow lists, or text.
        split: what is between the entries of text, or "[]" for lists as JSON or Python write them; None: text is one
            entry.
    """
    values = decode(batch.columns.column(column))
    broken: list[BrokenRow] = list(batch.broken)
    if not is_list_type(values.type):
        if split is None or pa.types.is_nested(values.type):
            return batch
        text = to_texts(values)
        parse = _read_list if split == BRACKETS else lambda one: one.split(split)
        values, bad = parse_each(text, parse, pa.list_(pa.string()))
        for place in np.flatnonzero(bad).tolist():
            reason = f"{column} is not a list, as JSON or Python write it"
            broken.append(BrokenRow(int(batch.rows[place]), reason, text[place].as_py()))
    rows = np.arange(len(values))
    while is_list_type(values.type):  # lists in lists, too
        sizes = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        rows, values = np.repeat(rows, sizes), decode(values.flatten())
    entries = pc.utf8_trim_whitespace(to_texts(values))
    kept = to_mask(pc.not_equal(entries, ""))
    rows, entries = rows[kept], entries.filter(pa.array(kept))
    codes = entries.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, first = np.unique(rows * (len(entries) + 1) + codes, return_index=True)
    first.sort()
    rows, entries = rows[first], entries.take(pa.array(first))
    columns = batch.columns.take(pa.array(rows))
    columns = columns.set_column(columns.schema.names.index(column), column, entries)
    return RawBatch(columns, batch.file, batch.rows[rows], broken)


class FirstRows:
    """Keeps the first row of each id: a table of sales names each product in many rows."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def keep(self, batches: Iterator[RawBatch], key: str) -> Iterator[RawBatch]:
        """The rows whose key is new, without those that have none.

        Args:
            batches: rows.
            key: the column of the key.
        """
        for batch in batches:
            ids, _ = convert_ids(batch.columns.column(key))
            encoded = ids.dictionary_encode()
            words = encoded.dictionary.to_pylist()
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            found, first = np.unique(codes, return_index=True)
            new = [
                place
                for code, place in zip(found.tolist(), first.tolist(), strict=True)
                if code >= 0 and words[code] not in self._seen
            ]
            self._seen.update(words)
            kept = np.zeros(len(codes), dtype=bool)
            kept[new] = True
            yield filter_rows(batch, kept)


def filter_rows(batch: RawBatch, kept: Any) -> RawBatch:
    """Some rows of a batch.

    Args:
        batch: rows.
        kept: bool [rows], which.
    """
    if kept.all():
        return batch
    return RawBatch(batch.columns.filter(pa.array(kept)), batch.file, batch.rows[kept], batch.broken)


def to_texts(values: pa.Array) -> pa.Array:
    """Plain values as text, whole numbers without a fraction; what is no text is null."""
    values = decode(values)
    if is_text(values.type):
        return to_string(values)[0]
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    return convert_ids(values)[0] if is_number else values.cast(pa.string())


def _read_list(text: str) -> list[str]:
    """The entries of a list, and of the lists in it."""
    if not text.startswith(("[", "(")):
        return [text]
    return list(_iter_entries(read_literal(text)))


def _iter_entries(found: Any) -> Iterator[str]:
    for entry in found if isinstance(found, list | tuple) else [found]:
        if isinstance(entry, list | tuple):
            yield from _iter_entries(entry)
        elif isinstance(entry, dict):
            raise ValueError(entry)
        elif entry is not None:
            yield str(entry)
