from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from graph_schema import CatalogueError
from graph_schema.columns import convert_column, convert_ids, find_times_outside


def convert(values, kind, arrow_type=None):
    """The converted values, with the reason in place of each value that does not fit."""
    column = pa.array(values, arrow_type)
    converted, problems = convert_column(column, kind)
    result = converted.to_pylist()
    for mask, reason in problems:
        for row in mask.nonzero()[0]:
            assert result[row] is None or reason == "is infinite"
            result[row] = reason
    return result


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("float", ["4", "4.5", "-1e3"], [4.0, 4.5, -1000.0]),
        ("float", ["4", "abc", " 5 ", "+2", "NaN", "", None], [4.0, "is not a float", 5.0, 2.0, None, None, None]),
        ("float", [1.0, float("nan"), float("-inf")], [1.0, None, "is infinite"]),
        ("float", ["inf", "1_0", "4,5"], ["is infinite", "is not a float", "is not a float"]),
        ("float", [1, 2], [1.0, 2.0]),
        ("int", ["7", "007", "-3"], [7, 7, -3]),
        ("int", ["7", "7.0", "7.5", "x", "1e30", "nan"], [7, 7, *["is not an int"] * 3, None]),
        ("int", [7.0, 7.5, float("nan"), None, float("inf")], [7, "is not an int", None, None, "is not an int"]),
        (
            "bool",
            ["true", "0", "Yes", "maybe", None],
            [True, False, True, "is not a bool (true or false, 1 or 0)", None],
        ),
        ("bool", [1, 0], [True, False]),
        ("bool", [1.0, float("nan")], [True, None]),
        ("bool", [True, False], [True, False]),
        ("string", ["007", " a b ", None, ""], ["007", " a b ", None, ""]),
        ("string", [12, None], ["12", None]),
        (
            "vector",
            [[1, 0.5], None, [], [1.0, None], [float("nan"), 1.0], [1e300, 1.0], [1.0, 2.0]],
            [[1, 0.5], None, None, *["is not a vector (a list of finite numbers)"] * 3, [1, 2]],
        ),
        ("vector", [[1, 2], [1, 2, 3], [3, 4]], [[1, 2], "is a vector of another width than most, 2", [3, 4]]),
        (
            "vector",
            ["[1, 0.5]", "1 0.5", "1;0.5", "1, 0.5", "", None, "a b", '["a", 1]', "[true, 1]", "{}"],
            [*[[1, 0.5]] * 4, None, None, *["is not a vector (a list of finite numbers)"] * 4],
        ),
        ("string", ["a\0b", "c"], ["has a NUL character", "c"]),
    ],
)
def test_values_become_the_declared_type_or_are_told(kind, values, expected):
    assert convert(values, kind) == expected


MOMENT = int(datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC).timestamp())
NO_TIME = "is not a time (epoch seconds or ISO 8601)"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([str(MOMENT)], [MOMENT]),
        ([MOMENT], [MOMENT]),
        ([MOMENT + 0.7], [MOMENT]),
        ([f"{MOMENT}.7"], [MOMENT]),
        (["1997-12-04T15:55:49"], [MOMENT]),
        (["1997-12-04 15:55:49.250"], [MOMENT]),
        (["1997-12-04T15:55:49Z", "1997-12-04T17:55:49+02:00"], [MOMENT, MOMENT]),
        (["1997-12-04"], [MOMENT // 86400 * 86400]),
        # kinds mixed in one column, with some that are no time at all
        (["1997-12-04T15:55:49Z", "1997-12-04T15:55:49", str(MOMENT), "1997-13-01", "soon", "", "1e40"],
         [MOMENT, MOMENT, MOMENT, NO_TIME, NO_TIME, None, NO_TIME]),
        ([datetime(1997, 12, 4, 15, 55, 49)], [MOMENT]),
        ([date(1997, 12, 4)], [MOMENT // 86400 * 86400]),
    ],
)  # fmt: skip
def test_times_become_utc_seconds(values, expected):
    assert convert(values, "time") == expected


def test_arrow_timestamps_with_a_zone_are_moments():
    column = pa.array([datetime(1997, 12, 4, 15, 55, 49)], pa.timestamp("ns", "Europe/Berlin"))
    assert convert_column(column, "time")[0].to_pylist() == [MOMENT]


def test_text_that_is_not_utf8_is_told():
    data = pa.array([b"caf\xe9", b"caf\xc3\xa9", b"\xed\xa0\x80"])  # latin-1, UTF-8, a lone surrogate
    for column in (data, data.view(pa.string())):
        values, problems = convert_column(column, "string")
        assert values.to_pylist() == [None, "café", None]
        assert [(mask.tolist(), reason) for mask, reason in problems] == [([True, False, True], "is not valid UTF-8")]
    _, problems = convert_column(data, "float")
    assert problems[0][1] == "is not valid UTF-8"


def test_ids_stay_as_they_are():
    assert convert_ids(pa.array(["007", " 7", "", "é", None]))[0].to_pylist() == ["007", " 7", None, "é", None]
    assert convert_ids(pa.array([7, 2**62]))[0].to_pylist() == ["7", str(2**62)]
    assert convert_ids(pa.array(["a", "b", "a"]).dictionary_encode())[0].to_pylist() == ["a", "b", "a"]
    assert convert_ids(pa.array(["a"], pa.large_string()))[0].to_pylist() == ["a"]


@pytest.mark.parametrize("values", [[1.0], [[1]], [datetime(2000, 1, 1)], [True]])
def test_a_column_that_can_never_be_ids_stops(values):
    with pytest.raises(CatalogueError, match="expected text or integers"):
        convert_ids(pa.array(values))


def test_a_column_that_can_never_be_the_type_stops():
    with pytest.raises(CatalogueError, match="cannot be read as 'float'"):
        convert_column(pa.array([[1.0]]), "float")


def test_times_out_of_range_are_told_with_their_unit():
    times = pa.array([MOMENT, -1, MOMENT * 1000, MOMENT * 10**6, MOMENT * 10**9, 10**10, None])

    def told(*, interaction):
        first = {}
        for mask, reason in find_times_outside(times, interaction=interaction):
            for row in mask.nonzero()[0].tolist():
                first.setdefault(row, reason)
        return first

    units = {
        row: f"is out of range, it looks like {unit}: expected seconds or ISO 8601"
        for row, unit in ((2, "milliseconds"), (3, "microseconds"), (4, "nanoseconds"))
    }
    bounds = "is out of range: expected {} to 2200"
    assert told(interaction=True) == {1: bounds.format(1970), **units, 5: bounds.format(1970)}
    assert told(interaction=False) == {**units, 5: bounds.format(1000)}  # a film of 1969 is no mistake


def test_an_id_longer_than_a_graph_database_indexes_does_not_fit():
    values, problems = convert_ids(pa.array(["é" * 2048, "é" * 2048 + "x", None]))
    assert values[0].as_py() == "é" * 2048
    assert [(mask.tolist(), reason) for mask, reason in problems if mask.any()] == [
        ([False, True, False], "is an id of more than 4,096 bytes")
    ]
