import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.errors import KgrecError
from kgrec.ids import IdMap, number_ids

ids = st.lists(st.text(), unique=True)


@given(ids)
def test_rows_and_ids_are_inverse(names: list[str]) -> None:
    id_map = IdMap(tuple(names))
    assert len(id_map) == len(names)
    assert id_map.rows(names).tolist() == list(range(len(names)))
    assert [id_map.ids[row] for row in id_map.rows(reversed(names))] == names[::-1]
    assert all(name in id_map and id_map.row(name) == row for row, name in enumerate(names))


def test_unknown_ids_have_no_row() -> None:
    id_map = IdMap(("a", "b"))
    assert id_map.row("c") is None
    assert "c" not in id_map
    assert id_map.rows(["c", "b"]).tolist() == [-1, 1]
    assert id_map.rows([]).shape == (0,)


def test_extended_keeps_the_rows_there_are() -> None:
    short = IdMap(("a", "b"))
    long = short.extended(["c"])
    assert long.rows("abc").tolist() == [0, 1, 2]
    assert short.row("c") is None
    assert vars(long)["_rows"] is vars(short)["_rows"]  # not copied, so that adding ids one by one costs little each


def test_the_number_of_an_id_is_above_all_rows_and_always_the_same() -> None:
    numbers = number_ids(["a", "\u00e9", "sku-01"])
    assert numbers.tolist() == [1053901322478, 359279597861, 949878891197]
    many = number_ids([str(place) for place in range(5000)])
    assert len(set(many.tolist())) == 5000
    assert many.min() >= 2**31
    assert many.max() < 2**48
    assert number_ids([]).shape == (0,)


def test_an_id_twice_is_an_error_that_counts_them() -> None:
    with pytest.raises(KgrecError, match="1 of 3"):
        IdMap(("a", "b", "a"))
    with pytest.raises(KgrecError):
        IdMap(("a",)).extended(["a"])


@given(ids, st.lists(st.tuples(st.integers(0, 5), st.lists(st.text(), max_size=3)), max_size=8))
def test_each_map_that_extends_another_has_its_own_ids(names: list[str], steps: list[tuple[int, list[str]]]) -> None:
    maps = [IdMap(tuple(names))]  # each step extends an earlier one, so some extend the same one
    for place, more in steps:
        earlier = maps[place % len(maps)]
        maps.append(earlier.extended([name for name in dict.fromkeys(more) if name not in earlier]))
    everything = {name for one in maps for name in one.ids}
    for one in maps:
        rows = {name: row for row, name in enumerate(one.ids)}
        assert one.rows(everything).tolist() == [rows.get(name, -1) for name in everything]
        assert [one.row(name) for name in everything] == [rows.get(name) for name in everything]
        assert {name for name in everything if name in one} == set(rows)
