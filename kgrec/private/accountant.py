"""The accountant of Gaussian noise: exact, for one release or several (Balle and Wang 2018; Dong, Roth and Su 2022).

The sum of the users' vectors, each at most of length 1, plus noise of deviation 1/mu in each entry, is mu-GDP: it tells
two neighbouring data sets apart as well as one draw tells N(0, 1) from N(mu, 1), and no better. Several such releases,
each chosen after the others were seen, are as one with mu = sqrt(sum mu_i^2).
"""

from math import exp, inf, sqrt

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from kgrec.errors import RequestError

_LARGEST_MU = 1e3  # of no use to anybody's privacy
_PRECISION = 1e-12


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The least delta for which Gaussian noise of deviation 1/mu on a sum of sensitivity 1 is (epsilon, delta)-DP.

    delta = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) (Balle and Wang 2018, theorem 8).

    Args:
        epsilon: at least 0.
        mu: sensitivity / deviation, above 0.
    """
    return float(ndtr(mu / 2 - epsilon / mu)) - exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest sensitivity / deviation of Gaussian noise that is (epsilon, delta)-DP; infinite for infinite epsilon.

    Args:
        epsilon: above 0.
        delta: between 0 and 1.

    Raises:
        RequestError: epsilon or delta is none.
    """
    if not epsilon > 0 or not 0 < delta < 1:
        raise RequestError(f"expected epsilon above 0 and delta between 0 and 1, got {epsilon:g} and {delta:g}")
    if epsilon == inf:
        return inf
    if gaussian_delta(epsilon, _LARGEST_MU) <= delta:
        return _LARGEST_MU
    least = delta / 2  # at epsilon 0, delta is about mu / sqrt(2 pi), and less above
    return float(brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, least, _LARGEST_MU, xtol=_PRECISION * least))


def split_mu(mu: float, share: float) -> tuple[float, float]:
    """Splits a budget over two releases, which compose to mu; the first gets a share of mu^2, between 0 and 1."""
    return mu * sqrt(share), mu * sqrt(1 - share)
