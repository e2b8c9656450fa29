"""Reads JSON in blocks: objects line by line, one after the other, or in one array; also lines of Python literals.

An object is a row. Objects in it are columns such as `related.also_viewed`; lists of lists become one list.
"""

import ast
import codecs
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph_schema import CatalogueError
from graph_schema.sources import BrokenRow, RawBatch
from loaders.files.text_encoding import iter_utf8, iter_whole_lines

BATCH_ROWS = 32_768
_BLOCK_BYTES = 1 << 20
_INT64 = 1 << 63
_MOST_OBJECT = 64 << 20  # characters of one object in an array
_MOST_SHOWN = 2000  # characters of a line that is not JSON
_SPACES = " \t\r\n,"

Row = tuple[int, Mapping[str, Any] | BrokenRow]


def read_json(file: Path, encoding: str) -> Iterator[RawBatch]:
    """Reads a file of JSON objects.

    Numbers without a fraction are int64, others float64; columns of numbers and texts are text. A column that no object
    has before is one of later batches only.

    Args:
        file: the file.
        encoding: its encoding.

    Raises:
        CatalogueError: it does not begin with an object or an array of objects, or an array ends midway.
        UnicodeDecodeError: the file has another encoding.
    """
    rows = _iter_rows(file, encoding)
    names: dict[str, None] = {}
    while block := list(islice(rows, BATCH_ROWS)):
        broken = [found for _, found in block if isinstance(found, BrokenRow)]
        objects = [(place, found) for place, found in block if not isinstance(found, BrokenRow)]
        columns = _to_columns([found for _, found in objects], names)
        places = np.array([place for place, _ in objects], dtype=np.int64)
        yield RawBatch(columns, file.name, places, broken)


def _iter_rows(file: Path, encoding: str) -> Iterator[Row]:
    lines = _iter_lines(file, encoding)
    first = next((line for line in lines if line.strip()), "")
    if first and not isinstance(_parse_line(first, 0), BrokenRow):
        return _read_lines(file, encoding)
    if first.strip()[:1] in ("{", "["):
        return _read_stream(file, encoding)
    raise CatalogueError(f"{file}: expected JSON objects, line by line or in an array; got {first[:200]!r}")


def _read_lines(file: Path, encoding: str) -> Iterator[Row]:
    for place, line in enumerate(_iter_lines(file, encoding), 1):
        if line.strip():
            yield place, _parse_line(line, place)


def _parse_line(line: str, place: int) -> dict[str, Any] | BrokenRow:
    """The object of a line of JSON, or of a line as Python prints a dictionary."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = None
    return found if isinstance(found, dict) else BrokenRow(place, "is not a JSON object", line.rstrip()[:_MOST_SHOWN])


def _iter_lines(file: Path, encoding: str) -> Iterator[str]:
    for block in iter_whole_lines(iter_utf8(file, encoding, _BLOCK_BYTES, is_checked=True)):
        yield from block.decode().removesuffix("\n").split("\n")


def _read_stream(file: Path, encoding: str) -> Iterator[Row]:
    """The objects of an array, or of a text of objects that go over several lines."""
    decoder, place, text, start = json.JSONDecoder(), 0, "", 0
    is_array: bool | None = None
    for block in _iter_text(file, encoding):
        text, start = text[start:] + block, 0
        while True:
            while start < len(text) and text[start] in _SPACES:
                start += 1
            if start == len(text):
                break
            if is_array is None:
                is_array = text[start] == "["
                start += is_array
                continue
            if text[start] == "]" and is_array:
                return
            if text[start] != "{":
                raise CatalogueError(
                    f"{file}: expected an object after {place:,} others, got {text[start : start + 50]!r}"
                )
            try:
                found, start = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                if len(text) - start > _MOST_OBJECT:
                    raise CatalogueError(
                        f"{file}: after {place:,} objects comes no JSON object: {text[start : start + 50]!r}"
                    ) from None
                break  # it goes on in the next block
            place += 1
            yield place, found
    if text[start:].strip(_SPACES) or is_array:
        raise CatalogueError(
            f"{file} ends within its array or an object, after {place:,} objects: {text[start : start + 50]!r}; "
            "expected a complete file"
        )


def _iter_text(file: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in iter_utf8(file, encoding, _BLOCK_BYTES, is_checked=True):
        yield decoder.decode(block)


def _to_columns(rows: Sequence[Mapping[str, Any]], names: dict[str, None]) -> pa.RecordBatch:
    """Rows as columns, also those that earlier rows had; `names` grows."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        values: dict[str, Any] = {}
        _flatten(row, "", values)
        flat.append(values)
        names.update(dict.fromkeys(values))
    kept = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    arrays = {}
    for name in names:
        values_of = [values.get(name) for values in flat]
        if name in kept or any(value is not None for value in values_of):
            arrays[name] = _to_array(values_of)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _flatten(row: Mapping[str, Any], prefix: str, values: dict[str, Any]) -> None:
    for key, value in row.items():
        name = prefix + " ".join(str(key).split())
        if value is None or isinstance(value, str | int):  # most values
            values[name] = value
        elif isinstance(value, dict):
            _flatten(value, f"{name}.", values)
        elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            parts: dict[str, list[Any]] = {}
            for entry in value:
                inner: dict[str, Any] = {}
                _flatten(entry if isinstance(entry, dict) else {"": entry}, "", inner)
                for part, found in inner.items():
                    parts.setdefault(part, []).extend(found if isinstance(found, list) else [found])
            values.update({f"{name}.{part}" if part else name: found for part, found in parts.items()})
        elif isinstance(value, list | tuple | set):
            values[name] = _flatten_list(value)
        else:
            values[name] = None if isinstance(value, float) and math.isnan(value) else value


def _flatten_list(entries: Any) -> list[Any]:
    """A list of plain entries; those of lists in it are each there once."""
    if not any(isinstance(entry, list | tuple) for entry in entries):
        return list(entries)
    found: dict[Any, None] = {}
    for entry in entries:
        found.update(dict.fromkeys(_flatten_list(entry) if isinstance(entry, list | tuple) else [entry]))
    return list(found)


def _to_array(values: list[Any]) -> pa.Array:
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        entries = _to_array([entry for value in lists if value is not None for entry in value])
        sizes = [0 if value is None else len(value) for value in lists]
        ends = np.append(0, np.cumsum(sizes)).astype(np.int32)
        absent = np.array([value is None for value in lists] + [False])
        return pa.ListArray.from_arrays(pa.array(ends, mask=absent), entries)
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_() if kinds else pa.string())
    if kinds == {int} and all(value is None or -_INT64 <= value < _INT64 for value in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float} and float in kinds:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _to_text(value) for value in values], pa.string())


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).encode(errors="replace").decode()  # half a character, as "\ud800", has no UTF-8
