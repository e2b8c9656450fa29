"""Bootstrap intervals over users."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import KgrecError

_BLOCK_DRAWS = 4_000_000  # draws held at once, to bound memory


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its interval."""

    mean: float
    low: float
    high: float


def bootstrap_intervals(
    values: NDArray[np.float64], rng: np.random.Generator, *, n_resamples: int = 1000, level: float = 0.95
) -> list[Interval]:
    """Percentile bootstrap intervals of column means; every column is resampled with the same users.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        values: (n_users, n_columns), one metric of one scorer per column.
        rng: the source of the resamples.
        n_resamples: the number of resamples of n_users users.
        level: the share of resamples inside the interval.

    Returns:
        One interval per column.

    Raises:
        KgrecError: there are no users.
    """
    means = bootstrap_means(values, rng, n_resamples=n_resamples)
    return [
        to_interval(mean, resampled, level=level) for mean, resampled in zip(values.mean(axis=0), means.T, strict=True)
    ]


def bootstrap_means(
    values: NDArray[np.float64], rng: np.random.Generator, *, n_resamples: int = 1000
) -> NDArray[np.float64]:
    """The column means of each resample of users; every column is resampled with the same users.

    Args:
        values: (n_users, n_columns).
        rng: the source of the resamples.
        n_resamples: the number of resamples of n_users users.

    Returns:
        (n_resamples, n_columns).

    Raises:
        KgrecError: there are no users.
    """
    n_users = values.shape[0]
    if not n_users:
        raise KgrecError("expected at least one user to take an interval over, got none")
    block = max(1, _BLOCK_DRAWS // n_users)
    return np.concatenate(
        [_resample_means(values, rng, min(block, n_resamples - done)) for done in range(0, n_resamples, block)]
    )


def to_interval(mean: float, resampled: NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """The percentile interval of a figure from its values over resamples, (n_resamples,)."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean), float(low), float(high))


def standard_error(values: NDArray[np.float64]) -> float:
    """The standard error of a mean, sqrt(sum_u (x_u - mean x)^2 / (n (n - 1))).

    Args:
        values: (n_users,), one number per user.

    Returns:
        The error; 0 with one user.
    """
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0


def _resample_means(values: NDArray[np.float64], rng: np.random.Generator, n_resamples: int) -> NDArray[np.float64]:
    n_users = values.shape[0]
    drawn = rng.integers(n_users, size=(n_resamples, n_users))
    drawn += np.arange(n_resamples)[:, None] * n_users
    times = np.bincount(drawn.ravel(), minlength=n_resamples * n_users).reshape(n_resamples, n_users)
    means: NDArray[np.float64] = times @ values / n_users  # (n_resamples, n_columns)
    return means
