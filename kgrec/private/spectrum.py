"""Removes noise from a noisy Gram matrix by shrinking its eigenvalues."""

import numpy as np
from numpy.typing import NDArray

_TAIL = 3.27  # the .999 quantile of the Tracy-Widom law of order 1


def shrink_gram(gram: NDArray[np.float64], deviation: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors of a noisy symmetric matrix without what noise alone explains.

    The eigenvalues of noise of deviation s on n rows lie within 2 s sqrt(n) (Wigner's semicircle), but the largest is
    above in one of six draws, by some s n^-1/6 (Tracy and Widom 1996); the limit is what it exceeds in one of 1,000. An
    eigenvalue l above that is shrunk to sqrt(l^2 - 4 n s^2), which has the least squared error for few true directions
    (Shabalin and Nobel 2013; Gavish and Donoho 2017); the others become 0. So the result is positive semidefinite.

    Args:
        gram: (n, n) float64, symmetric.
        deviation: of the noise in each entry; 0: there is none.

    Returns:
        (rank,) eigenvalues above 0, descending, and (n, rank) their eigenvectors; the rank may be 0.
    """
    values, vectors = np.linalg.eigh(gram)  # ascending
    edge = 2 * deviation * np.sqrt(len(gram))
    floor = np.finfo(np.float64).eps * len(gram) * max(float(values[-1]), 0.0) if len(gram) else 0.0
    margin = _TAIL * deviation * max(len(gram), 1) ** (-1 / 6)
    kept = np.flatnonzero(values > max(edge + margin, floor))[::-1]
    return np.sqrt(values[kept] ** 2 - edge**2), np.ascontiguousarray(vectors[:, kept])
