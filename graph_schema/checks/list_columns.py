"""Columns whose values are lists: of categories, the two numbers of a point, a vector."""

import ast
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema.checks.column_texts import Problem, decode, is_text, parse_each, to_mask, to_string

_NO_LIST = 'is not a list (such as "a|b", "a; b", "a, b" or JSON)'
_NO_POINT = "is not a point (two finite numbers: latitude and longitude, or x and y)"
_NO_VECTOR = "is not a vector (a list of finite numbers)"
_SEPARATORS = ("|", ";", " > ", ",")  # the first that a text has
_FLAT = re.compile(r"\[[^][{}]*\]")  # a nested list does not fit, and json would recurse into it
_WKT = re.compile(r"POINT\s*\(\s*([^\s()]+)\s+([^\s()]+)\s*\)", re.IGNORECASE)
_AXES = ((("latitude", "lat"), ("longitude", "lon", "lng", "long")), (("x",), ("y",)))
_MOST_LATITUDE = 90.0


def to_list(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    """Lists of text or numbers, or such lists as text, as lists of text.

    Entries are stripped; empty ones and repeats are left out. A list without entries is a missing value.
    """
    problems: list[Problem] = []
    if is_text(column.type):
        text, problems = to_string(column)
        column, bad = parse_each(text, _split_entries, pa.list_(pa.string()))
        problems = [*problems, (bad, _NO_LIST)]
    elif not is_list_type(column.type):  # one entry each
        entries = column.cast(pa.string())
        column = pa.ListArray.from_arrays(np.arange(len(entries) + 1, dtype=np.int32), entries)
    rows, entries = _flatten(column)
    entries = decode(entries)
    if pa.types.is_nested(entries.type):
        raise pa.ArrowInvalid("expected lists of text or numbers")
    if pa.types.is_floating(entries.type):
        entries = pc.if_else(pc.is_nan(entries), pa.scalar(None, entries.type), entries)
    entries, unfit = to_string(entries)
    sound = np.ones(len(column), dtype=bool)
    for bad_entries, reason in unfit:
        bad = np.zeros(len(column), dtype=bool)
        bad[rows[bad_entries]] = True
        sound &= ~bad
        problems.append((bad, reason))
    entries = pc.utf8_trim_whitespace(entries)
    kept = sound[rows] & to_mask(pc.not_equal(entries, ""))
    rows, entries = rows[kept], entries.filter(pa.array(kept))
    codes = entries.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, first = np.unique(rows * (len(entries) + 1) + codes, return_index=True)
    first.sort()
    rows, entries = rows[first], entries.take(pa.array(first))
    return _to_lists(rows, entries, len(column)), problems


def to_point(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    """Two finite numbers each, from lists, structs or text; where they are named, the latitude first."""
    problems: list[Problem] = []
    is_named = False
    if is_text(column.type):
        text, problems = to_string(column)
        column, bad = parse_each(text, _parse_point, pa.list_(pa.float64()))
        problems = [*problems, (bad, _NO_POINT)]
    elif pa.types.is_struct(column.type):
        column, is_named = _join_axes(column)
    lists = column.cast(pa.list_(pa.float64()))
    rows, numbers = _flatten(lists)
    values = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)
    widths = np.bincount(rows, minlength=len(lists))
    bad = (widths != 0) & (widths != 2)  # noqa: PLR2004 an empty list is a missing value
    bad[rows[~np.isfinite(values)]] = True
    problems.append((bad, _NO_POINT))
    sound = (widths > 0) & ~bad
    if is_named:
        latitudes = np.zeros(len(lists))
        latitudes[sound] = values[sound[rows]][::2]
        beyond = np.abs(latitudes) > _MOST_LATITUDE
        problems.append((beyond, "has a latitude beyond 90"))
        sound &= ~beyond
    return pc.if_else(pa.array(sound), lists, pa.scalar(None, lists.type)), problems


def to_vector(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    """Lists of numbers, or such lists as text: "[0.5, 1]" or "0.5 1"."""
    problems: list[Problem] = []
    if is_text(column.type):
        text, problems = to_string(column)
        column, bad = parse_each(text, _parse_vector, pa.list_(pa.float64()))
        problems = [*problems, (bad, _NO_VECTOR)]
    lists = column.cast(pa.list_(pa.float64()))
    rows, numbers = _flatten(lists)
    values = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)
    bad = np.zeros(len(lists), dtype=bool)
    bad[rows[~(np.abs(values) <= np.finfo(np.float32).max)]] = True  # NaN too
    widths = np.bincount(rows, minlength=len(lists))
    sound = (widths > 0) & ~bad  # an empty list is a missing value
    width = int(np.bincount(widths[sound]).argmax()) if sound.any() else 0
    other = sound & (widths != width)
    kept = pc.if_else(pa.array(sound & ~other), lists, pa.scalar(None, lists.type))
    problems += [(bad, _NO_VECTOR), (other, f"is a vector of another width than most, {width}")]
    return kept.cast(pa.list_(pa.float32())), problems


def is_list_type(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's types of lists."""
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _flatten(lists: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """The row of each entry of a column of lists, and the entries."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), sizes), lists.flatten()


def _to_lists(rows: NDArray[np.int64], entries: pa.Array, n_rows: int) -> pa.Array:
    """Entries, sorted by row, as a column of lists; a row without any is null."""
    ends = np.searchsorted(rows, np.arange(n_rows + 1)).astype(np.int32)
    empty = np.append(ends[1:] == ends[:-1], False)
    return pa.ListArray.from_arrays(pa.array(ends, mask=empty), entries)


def _split_entries(text: str) -> list[str]:
    if text.startswith("["):
        return [_to_entry(one) for one in _read_flat(text) if one is not None]
    separator = next((one for one in _SEPARATORS if one in text), None)
    return text.split(separator) if separator else [text]


def _read_flat(text: str) -> Sequence[Any]:
    """The entries of a JSON list, or of a list as Python writes it: ['a', 'b']."""
    found = read_literal(text)
    if not isinstance(found, list):
        raise ValueError(text)
    return found


def read_literal(text: str) -> Any:
    """The value of a text in JSON, or as Python writes it.

    Raises:
        ValueError: the text is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(text) from error


def _to_entry(one: object) -> str:
    if isinstance(one, bool) or not isinstance(one, str | int | float):
        raise ValueError(one)
    return "" if isinstance(one, float) and math.isnan(one) else str(one)


def is_point(kind: pa.DataType) -> bool:
    """Whether a struct has a latitude and a longitude, or an x and a y."""
    return _find_axes(kind) is not None


def _find_axes(kind: pa.DataType) -> tuple[int, int, bool] | None:
    """The places of a struct's two fields, and whether they are latitude and longitude."""
    places = {field.name.lower(): place for place, field in enumerate(kind)}
    for firsts, seconds in _AXES:
        first, second = ([places[name] for name in names if name in places] for names in (firsts, seconds))
        if first and second:
            return first[0], second[0], "lat" in firsts
    return None


def _join_axes(column: pa.Array) -> tuple[pa.Array, bool]:
    """A column of structs as lists of two numbers, and whether they are latitude and longitude."""
    axes = _find_axes(column.type)
    if axes is None:
        raise pa.ArrowInvalid("expected the fields latitude and longitude, or x and y")
    first, second = (pc.struct_field(column, [place]).cast(pa.float64()) for place in axes[:2])
    absent = to_mask(pc.and_(pc.is_null(first), pc.is_null(second)))
    values = np.column_stack([axis.fill_null(np.nan).to_numpy(zero_copy_only=False) for axis in (first, second)])
    ends = np.append(0, np.cumsum(np.where(absent, 0, 2))).astype(np.int32)
    return pa.ListArray.from_arrays(ends, values[~absent].ravel()), axes[2]


def _parse_point(text: str) -> list[float]:
    found = _WKT.fullmatch(text)
    return [float(found[2]), float(found[1])] if found else _parse_vector(text)


def _parse_vector(text: str) -> list[float]:
    if text.startswith("["):
        if not _FLAT.fullmatch(text):
            raise ValueError(text)
        found = json.loads(text)
    else:
        found = [float(part) for part in re.split(r"[\s,;|]+", text)]
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in found):
        raise ValueError(text)
    return [float(one) for one in found]
