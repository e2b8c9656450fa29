"""Rows that are to be written: checked against the columns of their type, one per key, and compared with known rows."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgrec.errors import StoreError

ROW = "c_row"  # the column that numbers rows


def to_inputs(rows: pa.Table, schema: pa.Schema, n_keys: int, name: str) -> pa.Table:
    """Renames the columns to c0, c1, ..., which no variable in a query is called, and keeps the last row of each key.

    Args:
        rows: nodes or edges.
        schema: their columns, the keys first.
        n_keys: how many columns are keys.
        name: their type, for errors.

    Raises:
        StoreError: the columns are not those of `schema`.
    """
    try:
        rows = rows.select(schema.names).cast(schema)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"rows of {name!r}: {error}; expected the columns {schema.to_string()!r}") from error
    rows = rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
    keys = rows.column_names[:n_keys]
    numbered = rows.select(keys).append_column(ROW, pa.array(np.arange(len(rows))))
    last = numbered.group_by(keys).aggregate([(ROW, "max")])[f"{ROW}_max"]
    return rows if len(last) == len(rows) else rows.take(np.sort(last.to_numpy()))


def equal_rows(left: pa.Table, right: pa.Table, columns: Sequence[str]) -> pa.Array:
    """Whether the rows of two tables are equal in some columns; null equals null."""
    equal = pa.array(np.ones(len(left), dtype=bool))
    for name in columns:
        a, b = _to_comparable(left[name]), _to_comparable(right[name])
        both_null = pc.and_(pc.is_null(a), pc.is_null(b))
        equal = pc.and_(equal, pc.or_(pc.fill_null(pc.equal(a, b), False), both_null))
    return equal


def _to_comparable(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Lists as one value each, since Arrow compares no lists: numbers as bytes, texts as JSON."""
    if not pa.types.is_list(column.type):
        return column
    if pa.types.is_string(column.type.value_type):
        return pa.array([None if texts is None else json.dumps(texts) for texts in column.to_pylist()], pa.string())
    lists = column.to_numpy()
    return pa.array([None if numbers is None else numbers.tobytes() for numbers in lists], pa.binary())
