"""Columns of a table of links that describe what an end names: the name of the product beside its code in a sale."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema.drafts.name_words import is_weight_name
from graph_schema.drafts.profile import PropertyProfile
from graph_schema.drafts.roles import find_unit
from loaders.profiles.column_profile import Column
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End
from loaders.profiles.table_keys import is_measure

_LEAST_REPEATS = 5  # rows whose end was there before
_LEAST_GAIN = 0.7  # of what saying the most frequent value would get wrong
_NUMBER_REPEATS, _NUMBER_GAIN = 20, 0.99  # of numbers: a price or a count is often the same again


def find_described(table: TableColumns, ends: Collection[End], taken: Collection[str]) -> dict[str, list[str]]:
    """Finds the columns whose value an end determines: the end's column -> its columns.

    Args:
        table: the table of links.
        ends: its ends that no table has.
        taken: columns that are ends.
    """
    found: dict[str, list[str]] = {end.column: [] for end in ends}
    rows = table.first_rows
    for name, column in table.named.items():
        is_text = column.kind == "string"
        if name in taken or name not in rows.column_names or (is_measure(column) if is_text else _is_weight(column)):
            continue
        if find_unit(column.profile()) is not None:
            continue
        repeats, least = (_LEAST_REPEATS, _LEAST_GAIN) if is_text else (_NUMBER_REPEATS, _NUMBER_GAIN)
        gains = {
            end.column: _find_gain(rows[end.column], rows[name], repeats)
            for end in ends
            if end.column in rows.column_names
        }
        best = max(gains, key=lambda one: gains[one], default=None)
        if best is not None and gains[best] >= least:
            found[best].append(name)
    return found


def profile_described(table: TableColumns, end: str, columns: Collection[str]) -> dict[str, PropertyProfile]:
    """Profiles the columns that describe what an end names, by the first row of each.

    Args:
        table: the table of links.
        end: the column with the ids.
        columns: those that describe them.
    """
    rows = table.first_rows.filter(pc.is_valid(table.first_rows[end]))
    first = np.sort(np.unique(_encode(rows[end]), return_index=True)[1])
    kept = rows.take(pa.array(first))
    profiles = {}
    for name in columns:
        column = Column(name)
        column.add(kept[name].combine_chunks())
        profiles[name] = column.profile()
    return profiles


def _is_weight(column: Column) -> bool:
    """Whether numbers say how strong an interaction is; or it holds no numbers."""
    return column.kind not in ("int", "float") or is_weight_name(column.name)


def _find_gain(ids: pa.ChunkedArray, values: pa.ChunkedArray, least_repeats: int) -> float:
    """How well the first value of an id foretells the others, beyond the most frequent value: 0 or less to 1.

    With fewer than `least_repeats` rows whose id was there before it is 0.
    """
    codes, words = _encode(ids), _encode(values)
    there = (codes >= 0) & (words >= 0)
    codes, words = codes[there], words[there]
    if not len(codes):
        return 0.0
    _, first, places = np.unique(codes, return_index=True, return_inverse=True)
    is_repeat = np.ones(len(codes), bool)
    is_repeat[first] = False
    if is_repeat.sum() < least_repeats:
        return 0.0
    same = float((words == words[first][places])[is_repeat].mean())
    usual = float(np.bincount(words).max() / len(words))
    return (same - usual) / max(1 - usual, 1e-9)


def _encode(values: pa.ChunkedArray) -> NDArray[np.int64]:
    codes = values.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
