"""Ids of files are read without the spaces around them, which exports of databases and sheets pad them with."""

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.checks.column_texts import decode, is_text, to_string


def trim_ids(values: pa.Array) -> tuple[pa.Array, int]:
    """Ids without the spaces around them; what is nothing but spaces is missing.

    Args:
        values: a column of ids as its file has it; what is no text stays as it is.

    Returns:
        The ids, and how many had spaces around them.
    """
    plain = decode(values)
    if not is_text(plain.type):
        return values, 0
    readable = to_string(plain)[0]
    trimmed = pc.utf8_trim_whitespace(readable)
    n_spaced = pc.sum(pc.not_equal(trimmed, readable)).as_py() or 0
    if not n_spaced:
        return values, 0
    kept = pc.coalesce(trimmed, plain.view(pa.string()))  # text that is not UTF-8 stays; the checks report it
    return pc.if_else(pc.equal(trimmed, "").fill_null(False), pa.scalar(None, pa.string()), kept), n_spaced


def trim_columns(batch: pa.RecordBatch, names: set[str]) -> tuple[pa.RecordBatch, dict[str, int]]:
    """Trims the ids of some columns of a batch.

    Args:
        batch: rows; several columns may have one name.
        names: the columns that hold ids.

    Returns:
        The rows, and how many ids of a column had spaces around them, where some had.
    """
    n_spaced: dict[str, int] = {}
    for place, name in enumerate(batch.schema.names):
        if name in names:
            ids, n = trim_ids(batch.columns[place])
            if n:
                batch = batch.set_column(place, name, ids)
                n_spaced[name] = n_spaced.get(name, 0) + n
    return batch, n_spaced


def describe_spaces(n_ids: int) -> str:
    """What a person should know of ids with spaces around them."""
    if n_ids == 1:
        return "1 id had spaces around it, which are left out"
    return f"{n_ids:,} ids had spaces around them, which are left out"
