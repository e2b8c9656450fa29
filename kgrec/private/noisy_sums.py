"""What a private training learns of the likes: noisy counts of items and a noisy Gram matrix.

Two data sets are neighbours when one has one user more, with all of that user's likes. Every user adds a vector of
length at most 1 to each of two sums, and Gaussian noise is added to the sums. Everything that is computed from a
`Release` is as private as the release (post-processing); apart from it, no code may read the likes.

1. Counts: at most `most_likes` likes of each user, drawn at random, one over the square root of `most_likes` each.
2. The items with the largest noisy counts are selected: those clearly above the noise, and the next ones up to
   `least_items`, whose counts may be noise.
3. Gram matrix: at most `most_likes` of each user's likes of selected items, drawn at random; with s of them, each pair
   of them, and each of them with itself, adds (s (s + 1) / 2)^-1/2. So the entries on and above the diagonal that a
   user adds to are a vector of length 1, whatever s is.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.config import PrivateConfig
from kgrec.private.accountant import gaussian_mu, split_mu
from kgrec.private.spectrum import shrink_gram

NEIGHBOURS = "data sets that differ by one user with all of that user's likes (added or removed)"
_CLEAR = 3.0  # deviations of noise: an item with a larger noisy count was liked
_STEPS = 2.0**20  # of a sum are 1: users add whole numbers of steps, and noisy sums are rounded to them


@dataclass(frozen=True)
class Release:
    """Noisy sums over users; all that a private model knows of the likes.

    Attributes:
        counts: (n_items,) float64: the noisy number of likes of each item, after clipping; may be below 0.
        counts_noise: the deviation of the noise in `counts`.
        rows: (n,) int64, ascending: the selected items.
        gram: (n, n) float64, symmetric: the noisy Gram matrix of the selected items.
        gram_noise: the deviation of the noise in each entry of `gram`.
    """

    counts: NDArray[np.float64]
    counts_noise: float
    rows: NDArray[np.int64]
    gram: NDArray[np.float64]
    gram_noise: float

    def shrink(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The eigenvalues and eigenvectors of `gram` without what noise alone explains; see `shrink_gram`."""
        return shrink_gram(self.gram, self.gram_noise)


def draw_generator() -> np.random.Generator:
    """A generator for noise, seeded by the operating system's source of secrets.

    A seed that somebody knows, such as that of the configuration, would give the noise away.
    """
    return np.random.default_rng(secrets.randbits(256))


def release_likes(likes: csr_array, config: PrivateConfig, rng: np.random.Generator) -> Release:
    """Releases counts and a Gram matrix, which are (epsilon, delta)-DP at the level of a user.

    The users' parts are whole numbers of steps of 2^-20, and noisy sums are rounded to such steps: the low bits of
    floating-point noise, which can give a value away (Mironov 2012), are not released.

    Args:
        likes: (n_users, n_items) of 1s.
        config: the budget and the clipping.
        rng: of the drawn likes and of the noise; `draw_generator` unless it is a test.
    """
    of_counts, of_gram = split_mu(gaussian_mu(config.epsilon, config.delta), config.counts_share)
    most, n_items = config.most_likes, likes.shape[1]
    likes = csr_array(likes, copy=True)
    likes.sum_duplicates()  # a pair that counted twice would add more than it may
    likes.eliminate_zeros()
    unit = float(_step_down(np.array(most**-0.5)))
    clipped = np.bincount(clip_likes(likes, most, rng).indices, minlength=n_items).astype(np.float64)
    counts = _add_noise(unit * clipped, 1 / of_counts, rng) / unit
    counts_noise = 1 / of_counts / unit
    rows = select_items(counts, counts_noise, config)
    shown = clip_likes(csr_array(likes[:, rows]), most, rng)
    gram = _add_noise(np.triu(sum_pairs(shown)), 1 / of_gram, rng)
    upper = np.triu(gram)
    return Release(counts, counts_noise, rows, upper + np.triu(upper, 1).T, 1 / of_gram)


def clip_likes(likes: csr_array, most: int, rng: np.random.Generator) -> csr_array:
    """At most some likes of each user, drawn at random and independently for each user.

    Args:
        likes: (n_users, n_items) of 1s.
        most: the most likes of a user.
        rng: of the draws.
    """
    sizes = np.diff(likes.indptr)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((rng.random(likes.nnz), owners))
    place = np.arange(likes.nnz) - np.repeat(likes.indptr[:-1], sizes)
    kept = np.sort(order[place < most])
    starts = np.concatenate([[0], np.cumsum(np.minimum(sizes, most))])
    return csr_array((np.ones(len(kept)), likes.indices[kept], starts), shape=likes.shape)


def sum_pairs(likes: csr_array) -> NDArray[np.float64]:
    """(n_items, n_items): the sum of the users' pairs; those of one user with s likes are (s (s + 1) / 2)^-1/2 each."""
    sizes = np.maximum(np.diff(likes.indptr), 1).astype(np.float64)
    weights = _step_down((sizes * (sizes + 1) / 2) ** -0.5)
    weighted = csr_array((np.repeat(weights, np.diff(likes.indptr)), likes.indices, likes.indptr), shape=likes.shape)
    found: NDArray[np.float64] = (likes.T @ weighted).toarray()
    return found


def select_items(counts: NDArray[np.float64], noise: float, config: PrivateConfig) -> NDArray[np.int64]:
    """(n,) int64, ascending: the items with the largest noisy counts.

    They are those clearly above the noise, but at least `least_items`, whatever their counts: fewer answer worse, as
    many items below the noise together still say something, and noise in their pairs is removed by `shrink_gram`.
    """
    n_clear = int(np.count_nonzero(counts > _CLEAR * noise))
    n_selected = min(max(n_clear, config.least_items), config.most_items, len(counts))
    return np.sort(np.argsort(-counts, kind="stable")[:n_selected]).astype(np.int64)


def _step_down(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values rounded down to whole steps."""
    found: NDArray[np.float64] = np.floor(values * _STEPS) / _STEPS
    return found


def _add_noise(sums: NDArray[np.float64], deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noisy sums, rounded to whole steps."""
    noisy: NDArray[np.float64] = np.round((sums + deviation * rng.standard_normal(sums.shape)) * _STEPS) / _STEPS
    return noisy
