"""Ids of files without the spaces around them."""

import pyarrow as pa
import pytest

from loaders.files.id_spaces import describe_spaces, trim_columns, trim_ids


@pytest.mark.parametrize(
    ("ids", "trimmed", "n_spaced"),
    [
        ([" M1", "M1 ", "M1", None, "a b"], ["M1", "M1", "M1", None, "a b"], 2),
        (["\u00a07\t"], ["7"], 1),
        (["  ", "x"], [None, "x"], 1),
        ([1, 2], [1, 2], 0),
    ],
)
def test_spaces_around_ids_are_left_out_and_counted(ids, trimmed, n_spaced):
    found, n = trim_ids(pa.array(ids))
    assert (found.to_pylist(), n) == (trimmed, n_spaced)


def test_what_is_no_utf8_stays_for_the_checks_to_tell():
    found, n = trim_ids(pa.array([b" a", b"\xff ", None]).view(pa.string()))
    assert (found.view(pa.binary()).to_pylist(), n) == ([b"a", b"\xff ", None], 1)


def test_only_columns_of_ids_are_trimmed():
    batch = pa.RecordBatch.from_pydict({"id": [" a", "b"], "title": [" Alpha", "Beta "]})
    found, n_spaced = trim_columns(batch, {"id", "other"})
    assert found.to_pydict() == {"id": ["a", "b"], "title": [" Alpha", "Beta "]}
    assert n_spaced == {"id": 1}


def test_the_number_is_said():
    assert describe_spaces(1204) == "1,204 ids had spaces around them, which are left out"
    assert describe_spaces(1) == "1 id had spaces around it, which are left out"
