from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueError
from graph_schema.checks.column_texts import MISSING_WORDS
from graph_schema.checks.columns import convert_column, convert_ids, find_times_outside, from_milliseconds


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
        ("float", ["inf", "1_0", "4,5"], ["is infinite", "is not a float", 4.5]),
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
def test_values_become_the_declared_type_or_are_rejected(kind, values, expected):
    assert convert(values, kind) == expected


MOMENT = int(datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC).timestamp())
NO_TIME = "is not a time (epoch seconds or ISO 8601)"
NO_DATE = f"{NO_TIME}: its eight digits are no date such as 20231231"
YEAR_LAST = (
    f"{NO_TIME}: the year comes last, so day and month may be mixed up; write 2023-12-31, or say the form by "
    "time_formats in the schema"
)


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
        # mixed types in one column, some of them no times
        (["1997-12-04T15:55:49Z", "1997-12-04T15:55:49", str(MOMENT), "1997-13-01", "soon", "", "1e40"],
         [MOMENT, MOMENT, MOMENT, NO_TIME, NO_TIME, None, NO_TIME]),
        (["19971204"], [MOMENT // 86400 * 86400]),
        ([" 19971204", "19971204.0", str(MOMENT), "1997-12-04T15:55:49Z", ""],
         [*[MOMENT // 86400 * 86400] * 2, MOMENT, MOMENT, None]),
        (["20240101", "21001231", "19000101"], [1704067200, 4133894400, -2208988800]),
        (["18991231", "21010101", "12345678"], [18991231, 21010101, 12345678]),  # no dates from 1900 to 2100: seconds
        (["19971304", "20230229", "20230229.0", str(MOMENT)], [*[NO_DATE] * 3, MOMENT]),
        (["31.12.2023", "12/31/2023", "1-2-03", "31.12.2023 15:55", "1997-12-04"],
         [*[YEAR_LAST] * 4, MOMENT // 86400 * 86400]),
        (["1997-12-04 15:55:49 Europe/Berlin", "1997-12-04T25:00", "1997-02-30"], [NO_TIME] * 3),
        (["NaN", "nan", " "], [None, None, None]),
        (["0001-01-01", "9999-12-31T23:59:59"], [-62135596800, 253402300799]),
        (["0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "-"], [-62135647200, 253402351199, NO_TIME]),
        (["9" * 5000, "1e400"], [NO_TIME, NO_TIME]),
        ([float("nan"), float("inf"), 1e300], [None, NO_TIME, NO_TIME]),
        ([Decimal(f"{MOMENT}.7")], [MOMENT]),
        ([datetime(1997, 12, 4, 15, 55, 49)], [MOMENT]),
        ([date(1997, 12, 4)], [MOMENT // 86400 * 86400]),
    ],
)  # fmt: skip
def test_times_become_utc_seconds(values, expected):
    assert convert(values, "time") == expected


@given(st.dates(date(1900, 1, 1), date(2100, 12, 31)))
@settings(deadline=None)
def test_a_date_reads_the_same_with_and_without_hyphens(day):
    texts = [f"{day:%Y-%m-%d}", f"{day:%Y%m%d}"]
    assert convert(texts[:1], "time") == convert(texts[1:], "time") == [(day - date(1970, 1, 1)).days * 86400]
    assert convert(texts, "time") == convert(texts[:1], "time") * 2


def test_a_column_of_numbers_stays_epoch_seconds():
    assert convert([20240101], "time") == [20240101]
    assert convert([MOMENT, 2**63], "time", pa.uint64()) == [MOMENT, NO_TIME]


@given(st.lists(st.text() | st.from_regex(r"[-+]?[0-9./:TZ -]{1,25}"), max_size=8))
@settings(deadline=None)
def test_any_text_is_a_time_missing_or_rejected(texts):
    values, problems = convert_column(pa.array(texts, pa.string()), "time")
    rejected = [bool(any(mask[row] for mask, _ in problems)) for row in range(len(texts))]
    for text, value, is_rejected in zip(texts, values.to_pylist(), rejected, strict=True):
        assert not (is_rejected and value is not None)
        is_missing = text in MISSING_WORDS or text.strip().lower().lstrip("+-") in ("", "nan")
        assert is_rejected or value is not None or is_missing


@pytest.mark.parametrize("nested", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '[{"a":' * 100_000, "[[1, 2]]"])
def test_a_nested_text_is_no_vector(nested):
    found = convert(["[1, 2]", nested, "[3, 4]"], "vector")
    assert found == [[1, 2], "is not a vector (a list of finite numbers)", [3, 4]]


def test_arrow_timestamps_with_a_zone_are_moments():
    column = pa.array([datetime(1997, 12, 4, 15, 55, 49)], pa.timestamp("ns", "Europe/Berlin"))
    assert convert_column(column, "time")[0].to_pylist() == [MOMENT]


def test_text_that_is_not_utf8_is_rejected():
    data = pa.array([b"caf\xe9", b"caf\xc3\xa9", b"\xed\xa0\x80"])  # latin-1, UTF-8, a lone surrogate
    for column in (data, data.view(pa.string())):
        values, problems = convert_column(column, "string")
        assert values.to_pylist() == [None, "café", None]
        assert [(mask.tolist(), reason) for mask, reason in problems] == [([True, False, True], "is not valid UTF-8")]
    _, problems = convert_column(data, "float")
    assert problems[0][1] == "is not valid UTF-8"


def test_ids_are_unchanged():
    assert convert_ids(pa.array(["007", " 7", "", "é", None]))[0].to_pylist() == ["007", " 7", None, "é", None]
    assert convert_ids(pa.array([7, 2**62]))[0].to_pylist() == ["7", str(2**62)]
    assert convert_ids(pa.array(["a", "b", "a"]).dictionary_encode())[0].to_pylist() == ["a", "b", "a"]
    assert convert_ids(pa.array(["a"], pa.large_string()))[0].to_pylist() == ["a"]


def test_words_for_a_missing_value_are_no_ids():
    missing = ["nan", "NaN", "NULL", "null", "None", "N/A", r"\N", "<NA>", ""]
    assert convert_ids(pa.array([*missing, "Nan", "none"]))[0].to_pylist() == [None] * 9 + ["Nan", "none"]


def test_whole_floats_are_ids_and_others_do_not_fit():
    ids, problems = convert_ids(pa.array([12.0, float("nan"), None, 1.5, -3.0, float("inf")]))
    assert ids.to_pylist() == ["12", None, None, None, "-3", None]
    assert problems[0][0].tolist() == [False, False, False, True, False, True]
    assert problems[0][1] == "is not a whole number; expected text or whole numbers as ids"


@pytest.mark.parametrize("values", [[1.5], [[1]], [datetime(2000, 1, 1)], [True]])
def test_a_column_type_that_cannot_hold_ids_is_an_error(values):
    with pytest.raises(CatalogueError, match="expected text or whole numbers"):
        convert_ids(pa.array(values))


def test_an_incompatible_column_type_is_an_error():
    with pytest.raises(CatalogueError, match="cannot be read as 'float'"):
        convert_column(pa.array([[1.0]]), "float")


def first_reasons(times, **given):
    """The first reason against each row that has one."""
    first = {}
    for mask, reason in find_times_outside(pa.array(times), **given):
        for row in mask.nonzero()[0].tolist():
            first.setdefault(row, reason)
    return first


def test_times_out_of_range_are_reported_with_their_unit():
    times = [MOMENT, -1, MOMENT * 1000, MOMENT * 10**6, MOMENT * 10**9, 10**10, None]
    units = {
        row: f"is out of range, it looks like {unit}: expected seconds or ISO 8601"
        for row, unit in ((2, "milliseconds"), (3, "microseconds"), (4, "nanoseconds"))
    }
    bounds = "is out of range: expected {} to 2100"
    reasons = first_reasons(times, interaction=True)
    assert reasons == {1: bounds.format(1970), **units, 5: bounds.format(1970)}
    reasons = first_reasons(times, interaction=False)
    assert reasons == {**units, 5: bounds.format(1000)}  # a film of 1969 is valid


def test_times_after_2100_are_out_of_range():
    end = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())
    assert first_reasons([end - 1, end], interaction=True) == {1: "is out of range: expected 1970 to 2100"}


def test_units_finer_than_milliseconds_are_rejected_by_name():
    times = [MOMENT, MOMENT * 1000, MOMENT * 10**6, 5 * 10**9]  # of milliseconds, microseconds, nanoseconds
    assert first_reasons(times, interaction=True, milliseconds=True) == {
        1: "is out of range, it looks like microseconds: expected milliseconds or ISO 8601",
        2: "is out of range, it looks like nanoseconds: expected milliseconds or ISO 8601",
        3: "is out of range: expected 1970 to 2100",
    }


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_dates_in_a_column_of_milliseconds_stay_dates(kind):
    texts = [f"{MOMENT}250", str(MOMENT), "1997-12-04T15:55:49", "9999-12-31", "19971204", "-5", "", None]
    column = pa.array(texts).cast(kind)
    times, _ = convert_column(column, "time")
    assert from_milliseconds(times, column).to_pylist() == [
        *[MOMENT] * 3, 253402214400, MOMENT // 86400 * 86400, -5, None, None
    ]  # fmt: skip


def test_a_timestamp_is_not_a_number_of_milliseconds():
    column = pa.array([datetime(9999, 12, 31), datetime(1997, 12, 4)])
    times, _ = convert_column(column, "time")
    assert from_milliseconds(times, column).to_pylist() == [253402214400, MOMENT // 86400 * 86400]


def test_an_id_too_long_for_a_graph_index_is_rejected():
    values, problems = convert_ids(pa.array(["é" * 2048, "é" * 2048 + "x", None]))
    assert values[0].as_py() == "é" * 2048
    assert [(mask.tolist(), reason) for mask, reason in problems if mask.any()] == [
        ([False, True, False], "is an id of more than 4,096 bytes")
    ]


def test_lists_in_a_column_of_texts_are_joined():
    column = pa.array([["One.", "Two."], [], None, ["a\0b"]])
    values, problems = convert_column(column, "string")
    assert values.to_pylist() == ["One. Two.", None, None, None]
    assert [(rows.tolist(), reason) for rows, reason in problems] == [([False] * 3 + [True], "has a NUL character")]


@pytest.mark.parametrize(("kind", "text", "value"), [("int", "7", 7), ("float", "1.5", 1.5), ("time", "60", 60)])
def test_words_for_a_missing_value_are_no_values(kind, text, value):
    assert convert([text, "NULL", r"\N", "N/A", "None", "<NA>"], kind) == [value, *[None] * 5]
    assert convert(["NULL", "None"], "string") == ["NULL", "None"]
