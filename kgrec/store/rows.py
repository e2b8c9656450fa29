"""Rows that are to be written or to stay: checked against the columns of their type, and compared with known rows."""

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


def join_keys(rows: pa.Table, n_keys: int) -> pa.ChunkedArray:
    """One value per row: its key, or both of an edge's.

    Args:
        rows: the keys first, as columns of text.
        n_keys: how many columns are keys, 1 or 2.
    """
    if n_keys == 1:
        return rows.column(0)
    source, target = (rows.column(place).cast(pa.large_binary()) for place in range(2))
    # with the length of the first, else ("a", "bc") would equal ("ab", "c")
    length = pc.binary_length(source).cast(pa.string()).cast(pa.large_binary())
    return pc.binary_join_element_wise(length, source, target, pa.scalar(b":", pa.large_binary()))


def find_others(known: pa.Table, kept: pa.Table) -> pa.Table:
    """The known rows that are not among the kept ones.

    Args:
        known: the keys, as columns of text.
        kept: as many columns of keys.
    """
    n_keys = known.num_columns
    is_kept = pc.is_in(join_keys(known, n_keys), value_set=join_keys(kept, n_keys))
    return known.filter(pc.invert(is_kept))


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
