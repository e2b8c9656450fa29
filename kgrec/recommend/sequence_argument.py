"""Reads the likes of a request with their times."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema.checks.columns import convert_column, find_times_outside
from kgrec.errors import RequestError
from kgrec.recommend.argument_ids import is_id

LikeTime = datetime | date | np.datetime64 | float | str | None
_AHEAD_S = 86_400  # a clock, or a time zone that is not given, may be ahead by this much
_EXPECTED = "a datetime, a date, UTC seconds since 1970, a text as in ISO 8601, or None"
_MOST_SECONDS = 2**62


def read_sequence(sequence: Iterable[tuple[str | int, LikeTime]]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """The items and the times, UTC seconds, of likes; a time is None where it is missing.

    A datetime or a text without a time zone is in UTC. Parts of a second are dropped.

    Raises:
        RequestError: it is no list of pairs, an item is neither a text nor an integer, or a time cannot be read, is
            before 1970 or in the future.
    """
    is_other = isinstance(sequence, str | Mapping | set | frozenset) or hasattr(sequence, "columns")
    if is_other or not isinstance(sequence, Iterable):
        raise RequestError(
            f"expected a list of pairs (item, time) as sequence, got a {type(sequence).__name__}; give "
            "[('some item', '2024-05-31'), ...], and None where a time is missing"
        )
    items, times = list[str](), list[Any]()
    for place, pair in enumerate(sequence, 1):
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004
            raise RequestError(f"sequence, entry {place}: expected a pair (item, time), got {pair!r}")
        if not is_id(pair[0]):
            raise RequestError(f"sequence, entry {place}: expected the item as a text or an integer, got {pair[0]!r}")
        items.append(pair[0] if isinstance(pair[0], str) else str(int(pair[0])))
        times.append(pair[1])
    return tuple(items), _read_times(items, times)


def _read_times(items: Sequence[str], given: Sequence[Any]) -> tuple[int | None, ...]:
    texts = [place for place, one in enumerate(given) if isinstance(one, str)]
    found = [None if isinstance(one, str) else _to_seconds(one, items[place], place) for place, one in enumerate(given)]
    if texts:
        values, problems = convert_column(pa.array([given[place] for place in texts], pa.string()), "time")
        for rows, reason in problems:
            if rows.any():
                place = texts[int(np.flatnonzero(rows)[0])]
                raise _refuse(items[place], place, f"the time {given[place]!r} {reason}")
        for place, value in zip(texts, values.to_pylist(), strict=True):
            found[place] = value
    for place, reason in find_impossible(found):
        raise _refuse(items[place], place, f"the time {given[place]!r} {reason}")
    return tuple(found)


def find_impossible(times: Sequence[int | None]) -> list[tuple[int, str]]:
    """The place of the first time that is before 1970, after 2100 or in the future, and why; empty: there is none.

    Args:
        times: UTC seconds; None: missing.
    """
    column = pa.array(times, pa.int64())
    for rows, reason in find_times_outside(column, interaction=True):
        if rows.any():
            return [(int(np.flatnonzero(rows)[0]), reason)]
    ahead: NDArray[np.bool_] = column.fill_null(0).to_numpy(zero_copy_only=False) > time.time() + _AHEAD_S
    return [(int(ahead.argmax()), "is in the future; expected the time of a like that was")] if ahead.any() else []


def _to_seconds(given: Any, item: str, place: int) -> int | None:
    """UTC seconds of a time that is no text; None where it is missing."""
    if _is_missing(given):
        return None
    if isinstance(given, np.datetime64):
        return int(given.astype("datetime64[s]").astype(np.int64))
    if isinstance(given, datetime):  # pandas' Timestamp is one
        return math.floor((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp())
    if isinstance(given, date):
        return int(datetime(given.year, given.month, given.day, tzinfo=UTC).timestamp())
    if isinstance(given, Real) and not isinstance(given, bool) and abs(float(given)) < _MOST_SECONDS:
        return math.floor(float(given))
    raise _refuse(item, place, f"expected {_EXPECTED}, got {given!r} as the time")


def _is_missing(given: Any) -> bool:
    if isinstance(given, np.datetime64):
        return bool(np.isnat(given))
    if isinstance(given, date):
        return math.isnan(given.year)  # of pandas' NaT
    return (
        given is None
        or type(given).__name__ == "NAType"
        or (  # of pandas' NA
            isinstance(given, float | np.floating) and math.isnan(given)
        )
    )


def _refuse(item: str, place: int, what: str) -> RequestError:
    return RequestError(f"sequence, entry {place + 1} ({item!r}): {what}")
