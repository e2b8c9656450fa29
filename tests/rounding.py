"""Compares answers up to rounding, which depends on the position of numbers in memory."""

from collections.abc import Iterable
from dataclasses import is_dataclass

import pyarrow as pa
import pytest

from kgrec.recommend import Recommendations

STORED = 2e-2  # a bundle stores items' vectors in 8 bits


def assert_same_but_for_rounding(found: object, expected: object) -> None:
    """Asserts equality through tables, frozen values and sequences; floats to 1e-5."""
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


def assert_same_as_stored(found: Recommendations | pa.Table, expected: Recommendations | pa.Table) -> None:
    """Asserts the same items and scores up to the rounding of a saved bundle; near ties may swap places."""
    one, other = (_to_scores(answer) for answer in (found, expected))
    assert set(one) == set(other)
    for key, score in other.items():
        assert one[key] == pytest.approx(score, rel=STORED, abs=STORED), key


def _to_scores(answer: Recommendations | pa.Table) -> dict[tuple[str, ...], float]:
    rows: Iterable[dict[str, object]] = (answer if isinstance(answer, pa.Table) else answer.to_table()).to_pylist()
    return {(str(row.get("user")), str(row["item"])): float(str(row["score"])) for row in rows}
