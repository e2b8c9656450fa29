"""The percentiles of numbers that come block by block."""

import numpy as np

from loaders.profiles import number_spread
from loaders.profiles.number_spread import NumberSpread


def test_percentiles_are_values_of_the_column_from_the_least_to_the_greatest() -> None:
    spread = NumberSpread()
    for block in np.split(np.repeat([5.0, 1.0, 4.0, 3.0, 3.0], 20), 4):
        spread.add(block)
    found = spread.find_percentiles()
    assert len(found) == 101
    assert (found[0], found[20], found[21], found[60], found[61], found[81], found[100]) == (1, 1, 3, 3, 4, 5, 5)
    assert NumberSpread().find_percentiles() == ()


def test_of_many_numbers_an_even_sample_is_kept(monkeypatch) -> None:
    monkeypatch.setattr(number_spread, "_MOST_KEPT", 1000)
    spread = NumberSpread()
    for start in range(0, 30_000, 700):
        spread.add(np.arange(start, min(start + 700, 30_000), dtype=np.float64))
    assert len(spread.kept) <= 1000
    assert (np.diff(spread.kept) == spread.step).all()
    found = spread.find_percentiles()
    assert (found[0], found[100]) == (0, 29_999)
    assert abs(found[50] - 15_000) < 100
