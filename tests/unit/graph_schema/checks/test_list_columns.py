import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueError
from graph_schema.checks.columns import convert_column

NO_LIST = 'is not a list (such as "a|b", "a; b", "a, b" or JSON)'
NO_POINT = "is not a point (two finite numbers: latitude and longitude, or x and y)"
NAN, INF = float("nan"), float("inf")


def convert(values, kind, arrow_type=None):
    """The values, with the reason in place of each that does not fit."""
    converted, problems = convert_column(pa.array(values, arrow_type), kind)
    found = converted.to_pylist()
    for mask, reason in problems:
        for row in mask.nonzero()[0]:
            assert found[row] is None
            found[row] = reason
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a|b|c", "a; b", "a, b", "a", "Sci-Fi|Crime, True"],
         [["a", "b", "c"], ["a", "b"], ["a", "b"], ["a"], ["Sci-Fi", "Crime, True"]]),
        (['["a", "b|c", null, 1]', "['x', \"y's\"]", "[]", '["a, b"]'],
         [["a", "b|c", "1"], ["x", "y's"], None, ["a, b"]]),
        (["b|a|b| a||", "", " ; ", None], [["b", "a"], None, None, None]),
        (["[a", "[[1]]", '[{"a": 1}]', "[true]", "[" * 100_000, "[a]"], [NO_LIST] * 6),
    ],
)  # fmt: skip
def test_lists_may_be_text(values, expected):
    assert convert(values, "list", pa.string()) == expected


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([["b", " a ", "b", "", None], [], None, ["a|b"]], pa.list_(pa.string()), [["b", "a"], None, None, ["a|b"]]),
        ([["b"], None, ["a"]], pa.large_list(pa.large_string()), [["b"], None, ["a"]]),
        ([["b"], None, ["a"]], pa.list_(pa.string(), 1), [["b"], None, ["a"]]),
        ([["b", "b"], ["a"]], pa.list_(pa.dictionary(pa.int32(), pa.string())), [["b"], ["a"]]),
        ([[1, 2], [3], [1, 1]], pa.list_(pa.int64()), [["1", "2"], ["3"], ["1"]]),
        ([[1.5, NAN], [NAN]], pa.list_(pa.float64()), [["1.5"], None]),
        ([["a\0", "b"], ["c"]], pa.list_(pa.string()), ["has a NUL character", ["c"]]),
        ([1, None], pa.int64(), [["1"], None]),
    ],
)
def test_lists_may_be_native(values, kind, expected):
    assert convert(values, "list", kind) == expected


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.string())), pa.list_(pa.struct([("a", pa.int64())]))])
def test_nested_lists_are_no_lists_of_text(kind):
    with pytest.raises(CatalogueError, match="cannot be read as 'list'"):
        convert([[]], "list", kind)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["59.9, 10.7", "59.9 10.7", "POINT(10.7 59.9)", "point ( 10.7  59.9 )", "[59.9, 10.7]", "59.9;10.7"],
         pa.string(),
         [[59.9, 10.7]] * 6),
        (["59.9", "1,2,3", "nan, 1", "1, inf", "Oslo", "[1, [2]]", "POINT(1)", "[true, 1]"],
         pa.string(), [NO_POINT] * 8),
        (["", None, "[]"], pa.string(), [None] * 3),
        ([[1, 2], [1], [1, 2, 3], [], None, [1.0, None], [INF, 1], [NAN, 1]], pa.list_(pa.float64()),
         [[1, 2], NO_POINT, NO_POINT, None, None, NO_POINT, NO_POINT, NO_POINT]),
        ([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2), [[1, 2], None, [3, 4]]),
        ([[1, 200]], pa.list_(pa.int32()), [[1, 200]]),
        ([{"lon": 10.7, "LAT": 59.9}, {"lon": 1, "LAT": -91}, None,
          {"lon": None, "LAT": None}, {"lon": 1, "LAT": None}],
         pa.struct([("lon", pa.float64()), ("LAT", pa.float64())]),
         [[59.9, 10.7], "has a latitude beyond 90", None, None, NO_POINT]),
        ([{"x": 500, "y": -2, "name": "p"}], pa.struct([("name", pa.string()), ("x", pa.int64()), ("y", pa.int64())]),
         [[500, -2]]),
    ],
)  # fmt: skip
def test_points_are_two_finite_numbers(values, kind, expected):
    assert convert(values, "point", kind) == expected


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.int64()), ("x", pa.int64())]), pa.bool_()])
def test_other_types_are_no_points(kind):
    with pytest.raises(CatalogueError, match="cannot be read as 'point'"):
        convert([None, None], "point", kind)


entries = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(deadline=None)
@given(rows=st.lists(st.none() | st.lists(st.none() | entries)), start=st.integers(0, 3))
def test_native_lists_and_json_read_the_same(rows, start):
    expected = [list(dict.fromkeys(one.strip() for one in row or () if one and one.strip())) or None for row in rows]
    native = pa.array(rows, pa.list_(pa.string())).slice(start)
    written = pa.array([None if row is None else json.dumps(row) for row in rows], pa.string()).slice(start)
    for column in (native, written):
        values, problems = convert_column(column, "list")
        assert values.to_pylist() == expected[start:]
        assert values.type == pa.list_(pa.string())
        assert not any(bad.any() for bad, _ in problems)
