import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.errors import KgrecError
from kgrec.ids import IdMap

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


def test_an_id_twice_is_an_error_that_counts_them() -> None:
    with pytest.raises(KgrecError, match="1 of 3"):
        IdMap(("a", "b", "a"))
    with pytest.raises(KgrecError):
        IdMap(("a",)).extended(["a"])
