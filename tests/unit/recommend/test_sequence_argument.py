"""Likes with times, as callers write them, and what is wrong with some."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kgrec.errors import RequestError
from kgrec.recommend.argument_ids import to_ids
from kgrec.recommend.asked import Asked, read_asked
from kgrec.recommend.sequence_argument import read_sequence

NOON = 1_709_208_000  # 2024-02-29T12:00:00Z


@pytest.mark.parametrize(
    "time",
    [
        NOON,
        float(NOON) + 0.7,
        np.int32(NOON),
        np.float64(NOON),
        datetime(2024, 2, 29, 12),
        datetime(2024, 2, 29, 12, tzinfo=UTC),
        datetime(2024, 2, 29, 14, 0, 0, 999_999, timezone(timedelta(hours=2))),
        pd.Timestamp("2024-02-29 12:00"),
        pd.Timestamp("2024-02-29 13:00", tz="Europe/Paris"),
        np.datetime64("2024-02-29T12:00:00.5"),
        "2024-02-29T12:00:00Z",
        "2024-02-29 13:00:00+01:00",
        "2024-02-29 12:00",
        str(NOON),
    ],
)
def test_a_time_may_be_written_in_many_ways(time: Any) -> None:
    assert read_sequence([("a", time)]) == (("a",), (NOON,))


@pytest.mark.parametrize("day", [date(2024, 2, 29), "2024-02-29", "20240229", np.datetime64("2024-02-29")])
def test_a_day_begins_at_midnight(day: Any) -> None:
    assert read_sequence([["a", day], (7, 0), (8, 1.5)]) == (("a", "7", "8"), (NOON - 43_200, 0, 1))


@pytest.mark.parametrize(
    "missing", [None, float("nan"), pd.NaT, pd.NA, np.datetime64("NaT"), "", "nan", np.float32("nan")]
)
def test_a_time_may_be_missing(missing: Any) -> None:
    assert read_sequence([("a", missing), ("b", 5)]) == (("a", "b"), (None, 5))


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("ab", "expected a list of pairs .*got a str"),
        ({"a": 1}, "expected a list of pairs .*got a dict"),
        ({("a", 1)}, "expected a list of pairs .*got a set"),
        (7, "expected a list of pairs .*got a int"),
        (pd.DataFrame({"item": ["a"]}), "expected a list of pairs .*got a DataFrame"),
        (["ab"], r"sequence, entry 1: expected a pair \(item, time\), got 'ab'"),
        ([("a", 1), ("b",)], r"sequence, entry 2: expected a pair \(item, time\), got \('b',\)"),
        ([("a", 1), (None, 1)], "sequence, entry 2: expected the item as a text or an integer, got None"),
        ([("a", 1), ("b", True)], r"sequence, entry 2 \('b'\): expected a datetime, .* got True as the time"),
        ([("a", [1])], r"entry 1 \('a'\): expected a datetime, .* got \[1\] as the time"),
        ([("a", np.array([1, 2]))], r"entry 1 \('a'\): expected a datetime"),
        ([("a", float("inf"))], r"entry 1 \('a'\): expected a datetime"),
        ([("a", 1), ("b", "soon")], r"entry 2 \('b'\): the time 'soon' is not a time"),
        ([("a", "31/12/2024")], r"entry 1 \('a'\): the time '31/12/2024' .*the year comes last"),
        ([("a", 1), ("b", NOON * 1000)], r"entry 2 \('b'\): the time 1709208000000 .*it looks like milliseconds"),
        ([("a", -1)], r"entry 1 \('a'\): the time -1 is out of range"),
        ([("a", date(9999, 1, 1))], r"entry 1 \('a'\): .*is out of range"),
        (
            [("a", None), ("b", datetime.now(UTC) + timedelta(days=3))],
            r"entry 2 \('b'\): .*is in the future; expected the time of a like that was",
        ),
    ],
)
def test_what_is_no_sequence_is_named(sequence: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_asked(None, None, None, None, None, sequence)


def test_a_clock_may_be_ahead_by_hours() -> None:
    later = datetime.now(UTC) + timedelta(hours=14)
    assert read_sequence([("a", later)])[1] == (int(later.timestamp()),)


def test_likes_and_a_sequence_are_one_too_many() -> None:
    with pytest.raises(RequestError, match="got both likes and a sequence; expected one of them: put the likes into"):
        read_asked(None, ["a"], None, None, None, [("b", 1)])
    assert read_asked("u", None, None, None, None, []) == Asked(user="u")


@pytest.mark.parametrize("likes", [{"a", "b"}, frozenset("ab"), {"a": 1, "b": 2}.keys()])
def test_likes_are_in_order_so_that_a_set_is_refused(likes: Any) -> None:
    kind = type(likes).__name__
    with pytest.raises(RequestError, match=f"likes are in order, the last one last: give a list; got a {kind}"):
        read_asked(None, likes, None, None, None)
    with pytest.raises(RequestError, match="likes are in order"):
        to_ids(set(), "likes")
    assert sorted(to_ids(likes, "candidates")) == ["a", "b"]
    assert read_asked(None, (one for one in "ab"), None, None, None).likes == ("a", "b")


def test_the_last_place_of_a_repeated_like_counts() -> None:
    assert read_asked(None, ["a", "b", "a", "c"], None, None, None).likes == ("b", "a", "c")
    untimed = read_asked(None, None, None, None, None, [("a", None), ("b", None), ("a", None)])
    assert untimed == read_asked(None, ["b", "a"], None, None, None)
