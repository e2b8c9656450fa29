"""Answers compared: floats may differ by rounding, which is another where numbers lie elsewhere in memory."""

from dataclasses import is_dataclass

import pyarrow as pa
import pytest


def assert_same_but_for_rounding(found: object, expected: object) -> None:
    """The same to the last word, through tables, frozen values and sequences; floats to 1e-5."""
    assert type(found) is type(expected)
    if isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    elif isinstance(expected, pa.Table):
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert_same_but_for_rounding(found.to_pydict(), expected.to_pydict())
    elif is_dataclass(expected):
        assert_same_but_for_rounding(vars(found), vars(expected))
    elif isinstance(expected, dict):
        assert_same_but_for_rounding(list(found), list(expected))
        assert_same_but_for_rounding(list(found.values()), list(expected.values()))
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_but_for_rounding(one, other)
    else:
        assert found == expected
