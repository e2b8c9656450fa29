"""Likes in the order of time: the sequences that order-aware parts learn from, and the places of a support's likes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack


@dataclass(frozen=True)
class Sequences:
    """The likes of users in order, the earliest first.

    Attributes:
        items: (n,) int64 item rows; those of a user are adjacent.
        starts: (n_users + 1,) int64: where each user's begin, and the end.
        times: (n,) int64 UTC seconds.
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        times: NDArray[np.int64],
        n_users: int,
        rng: np.random.Generator,
    ) -> "Sequences":
        """Sorts likes, (n,) each, by user and time.

        Likes of the same time come in random order: files list the items of a day in the order of their ids, from
        which nothing may be learned.
        """
        order = np.lexsort((rng.random(len(users)), times, users))
        starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))]).astype(np.int64)
        return cls(items[order], starts, times[order])

    @property
    def users(self) -> NDArray[np.int64]:
        """(n,) int64: the user of each like."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@dataclass(frozen=True)
class Order:
    """The order of the likes of users, as matrices with the same entries as the likes, (n_users, n_items).

    Attributes:
        places: float32: the place of each like counted from the last, 1 for the last. Likes of the same time share the
            mean of their places.
        ages: float32: seconds from each like to the user's last, plus 1.
    """

    places: csr_array
    ages: csr_array

    def select(self, rows: NDArray[np.int64] | slice) -> "Order":
        """The order of some users."""
        return Order(self.places[rows], self.ages[rows])


def find_order(likes: csr_array, times: NDArray[np.int64]) -> Order:
    """Orders the likes of each user by time.

    Args:
        likes: (n_users, n_items).
        times: (n,) int64 seconds, one for each stored entry of `likes`.
    """
    indptr = likes.indptr.astype(np.int64)
    sizes = np.diff(indptr)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    by_time = np.lexsort((-times, owners))  # the last first
    is_new = np.ones(len(times), np.bool_)  # not tied with the one before
    is_new[1:] = (np.diff(owners[by_time]) != 0) | (np.diff(times[by_time]) != 0)
    tied = np.cumsum(is_new) - 1
    mean = np.bincount(tied, np.arange(len(times)) - np.repeat(indptr[:-1], sizes)) / np.maximum(np.bincount(tied), 1)
    places = np.empty(len(times))
    places[by_time] = mean[tied] + 1
    last = np.zeros(len(sizes), np.int64)
    has_likes = sizes > 0
    last[has_likes] = np.maximum.reduceat(times, indptr[:-1][has_likes]) if len(times) else 0
    return Order(_like(likes, places), _like(likes, (last[owners] - times) + 1))


def match_times(
    liked: csr_array, users: NDArray[np.int64], items: NDArray[np.int64], times: NDArray[np.int64]
) -> csr_array:
    """The times of likes as a matrix with the entries of another; of several likes of one pair the latest counts.

    Args:
        liked: (n_users, n_items) with an entry for each of the likes, indices sorted.
        users: (n,) rows.
        items: (n,) rows.
        times: (n,) UTC seconds.

    Returns:
        (n_users, n_items) int64; a time of 0 is an entry too.
    """
    order = np.lexsort((times, items, users))
    last = np.ones(len(order), np.bool_)
    last[:-1] = (np.diff(users[order]) != 0) | (np.diff(items[order]) != 0)
    return with_times(liked, times[order][last])


def with_times(liked: csr_array, times: NDArray[np.int64]) -> csr_array:
    """A matrix with the entries of another, and times, one for each entry, in their places."""
    return csr_array((times.astype(np.int64, copy=False), liked.indices, liked.indptr), shape=liked.shape)


def join_orders(orders: Sequence[Order]) -> Order:
    """The order of the likes of several groups of users, one group after the other."""
    places, ages = (vstack(parts, format="csr") for parts in ([o.places for o in orders], [o.ages for o in orders]))
    return Order(csr_array(places), csr_array(ages))


def _like(pattern: csr_array, values: NDArray[np.float64] | NDArray[np.int64]) -> csr_array:
    """A matrix with the entries of another, and other values."""
    return csr_array((values.astype(np.float32), pattern.indices, pattern.indptr), shape=pattern.shape)
