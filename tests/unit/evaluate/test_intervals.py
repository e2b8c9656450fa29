import numpy as np
import pytest

from kgrec.errors import KgrecError
from kgrec.evaluate import intervals
from kgrec.evaluate.intervals import bootstrap_intervals, standard_error


def test_interval_of_a_mean_has_the_theoretical_width():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    found = bootstrap_intervals(values, np.random.default_rng(1), n_resamples=4000)[0]
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half_width, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half_width, abs=0.02)


def test_interval_covers_the_truth_at_its_level():
    rng = np.random.default_rng(2)
    found = [bootstrap_intervals(rng.random((80, 1)), rng, n_resamples=300, level=0.8)[0] for _ in range(300)]
    assert 0.72 < np.mean([each.low <= 0.5 <= each.high for each in found]) < 0.87


def test_interval_is_reproducible_and_independent_of_the_block_size(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(3).random((50, 2))
    whole = bootstrap_intervals(values, np.random.default_rng(4), n_resamples=101)
    monkeypatch.setattr(intervals, "_BLOCK_DRAWS", 500)
    assert bootstrap_intervals(values, np.random.default_rng(4), n_resamples=101) == whole


def test_columns_share_their_resamples():
    values = np.random.default_rng(5).random((30, 1))
    first, second = bootstrap_intervals(np.column_stack([values, values]), np.random.default_rng(6))
    assert first == second


def test_pairing_sees_a_difference_that_is_smaller_than_either_interval():
    rng = np.random.default_rng(7)
    other = rng.random(200)
    ours = other + 0.01 + rng.normal(0, 0.01, 200)
    apart = bootstrap_intervals(np.column_stack([ours, other]), np.random.default_rng(8))
    assert apart[0].low < apart[1].high
    difference = bootstrap_intervals((ours - other)[:, None], np.random.default_rng(8))[0]
    assert 0 < difference.low < 0.01 < difference.high


def test_one_user_has_a_point_interval_and_no_user_is_refused():
    only = bootstrap_intervals(np.array([[0.5]]), np.random.default_rng(0))[0]
    assert (only.low, only.mean, only.high) == (0.5, 0.5, 0.5)
    with pytest.raises(KgrecError, match="at least one user"):
        bootstrap_intervals(np.zeros((0, 1)), np.random.default_rng(0))


def test_standard_error_golden():
    assert standard_error(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 / 6) ** 0.5)  # squares 1 + 0 + 1 over 3 * 2
    assert standard_error(np.array([5.0])) == 0
