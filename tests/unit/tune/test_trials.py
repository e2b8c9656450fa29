from statistics import fmean

import pytest
from small_study import BASE

from kgrec.tune.trials import Comparison, Tried


def test_a_gain_must_exceed_the_noise() -> None:
    def compare(*gains: float) -> Comparison:
        default = tuple({"warm": 0.4, "cold_items": 0.2} for _ in gains)
        return Comparison(default, tuple({"warm": 0.4 + gain, "cold_items": 0.2 + gain} for gain in gains))

    clear = compare(0.01, 0.02, 0.03)
    assert clear.gains == pytest.approx([0.01, 0.02, 0.03])
    assert clear.noise == pytest.approx(2.919986 * 0.01 / 3**0.5, rel=1e-6)  # Student's t, 95%, 2 degrees of freedom
    assert clear.is_gain
    assert not compare(0.00, 0.02, 0.03).is_gain
    assert not compare(-0.02, -0.02, -0.03).is_gain


def test_quality_is_the_plain_mean_over_slices_and_splits() -> None:
    tried = Tried(0, BASE, True, "complete", ({"warm": 0.5, "cold_items": 0.1}, {"warm": 0.6}), 1.0, None)
    assert tried.qualities == pytest.approx([0.3, 0.6])
    assert tried.quality == pytest.approx(fmean([0.3, 0.6]))
