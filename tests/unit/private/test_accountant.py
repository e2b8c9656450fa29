"""The accountant of Gaussian noise, beside values worked out elsewhere."""

from math import exp, inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from kgrec.errors import RequestError
from kgrec.private.accountant import gaussian_delta, gaussian_mu, split_mu

BUDGETS = st.tuples(st.floats(0.05, 20), st.floats(1e-9, 1e-2))


def test_noise_is_that_of_balle_and_wang() -> None:
    # their algorithm 1 for epsilon 1 and delta 1e-5; the classic sqrt(2 ln(1.25 / delta)) gives 4.845
    assert 1 / gaussian_mu(1.0, 1e-5) == pytest.approx(3.7306, abs=1e-4)


@pytest.mark.parametrize(("epsilon", "mu"), [(0.5, 0.3), (1.0, 1.0), (4.0, 2.0)])
def test_delta_is_the_area_by_which_one_density_exceeds_the_other(epsilon: float, mu: float) -> None:
    def excess(x: float) -> float:
        return max(float(norm.pdf(x, mu) - exp(epsilon) * norm.pdf(x)), 0.0)

    area, _ = quad(excess, epsilon / mu + mu / 2, 30, epsabs=1e-14)
    assert gaussian_delta(epsilon, mu) == pytest.approx(area, rel=1e-6)


@given(BUDGETS)
def test_the_budget_is_used_up_and_kept(budget: tuple[float, float]) -> None:
    epsilon, delta = budget
    mu = gaussian_mu(epsilon, delta)
    assert gaussian_delta(epsilon, mu) == pytest.approx(delta, rel=1e-5)
    assert gaussian_delta(epsilon, mu * 1.01) > delta


@given(BUDGETS, st.floats(0.01, 0.99))
def test_two_releases_compose_to_the_budget(budget: tuple[float, float], share: float) -> None:
    mu = gaussian_mu(*budget)
    first, second = split_mu(mu, share)
    assert sqrt(first**2 + second**2) == pytest.approx(mu)
    assert first**2 / mu**2 == pytest.approx(share)


def test_without_a_limit_there_is_no_noise() -> None:
    assert gaussian_mu(inf, 1e-6) == inf


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-6), (-1, 1e-6), (np.nan, 1e-6), (1, 0), (1, 1), (1, np.nan)])
def test_nonsense_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(RequestError, match="expected epsilon above 0 and delta between 0 and 1"):
        gaussian_mu(epsilon, delta)


def test_opacus_agrees() -> None:
    gdp = pytest.importorskip("opacus.accountants.analysis.gdp", reason="opacus is not installed")
    rdp = pytest.importorskip("opacus.accountants.analysis.rdp")
    for epsilon, delta in ((1.0, 1e-5), (4.0, 1e-6), (8.0, 1e-6)):
        mu = gaussian_mu(epsilon, delta)
        assert gdp.eps_from_mu(mu=mu, delta=delta) == pytest.approx(epsilon, rel=1e-3)
        orders = [1 + x / 10 for x in range(1, 1000)]
        of_moments = rdp.compute_rdp(q=1.0, noise_multiplier=1 / mu, steps=1, orders=orders)
        looser, _ = rdp.get_privacy_spent(orders=orders, rdp=of_moments, delta=delta)
        assert epsilon < looser < 1.25 * epsilon  # moments bound it from above
