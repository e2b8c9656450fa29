"""The order of the likes of a request: of a known user's own by their times, and of given ones as they are given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.sequences import Order


@dataclass(frozen=True)
class Moments:
    """When likes were, as far as it is known: by time, then by step.

    Attributes:
        times: (n,) int64 UTC seconds.
        steps: (n,) int64: the order of likes whose times are equal because only one of them is known; 0 elsewhere.
    """

    times: NDArray[np.int64]
    steps: NDArray[np.int64]


@dataclass(frozen=True)
class PlacedLikes:
    """One user's likes, each once, by ascending row, and their order as in `kgrec.sequences.Order`.

    Attributes:
        rows: (n,) int64 item rows.
        places: (n,) float32.
        ages: (n,) float32.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.float32]
    ages: NDArray[np.float32]


def find_moments(times: Sequence[int | None]) -> Moments:
    """The moments of likes that are listed in order, where some times are missing.

    A like without a time comes right after the like before it in the list that has one; without such a like it comes
    before the first that has one.

    Args:
        times: UTC seconds; None: missing. At least one is there.
    """
    known = np.array([time is not None for time in times], np.bool_)
    values = np.array([0 if time is None else time for time in times], np.int64)
    place = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))  # of the last like with a time
    leads = place < 0
    values = values[np.where(leads, known.argmax(), place)]
    in_list = np.arange(1, len(known) + 1)
    return Moments(values, np.where(known, 0, np.where(leads, in_list - len(known) - 1, in_list)))


def place_likes(rows: NDArray[np.int64], moments: Moments) -> PlacedLikes:
    """Orders one user's likes; of several likes of one item the last counts.

    Args:
        rows: (n,) int64 item rows.
        moments: of each; likes of the same moment share the mean of their places.
    """
    order = np.lexsort((moments.steps, moments.times, rows))
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = np.diff(rows[order]) != 0
    order = order[is_last]
    rows, times, steps = rows[order], moments.times[order], moments.steps[order]
    by_time = np.lexsort((steps, times))[::-1]  # the last first
    is_new = np.ones(len(by_time), np.bool_)
    is_new[1:] = (np.diff(times[by_time]) != 0) | (np.diff(steps[by_time]) != 0)
    starts = np.flatnonzero(is_new)
    sizes = np.diff(starts, append=len(by_time))
    places = np.empty(len(rows), np.float32)
    places[by_time] = np.repeat(starts + (sizes + 1) / 2, sizes)
    ages = times.max(initial=times[0] if len(times) else 0) - times + 1
    return PlacedLikes(rows, places, ages.astype(np.float32))


def join_moments(own: NDArray[np.int64], given: Moments | int) -> Moments:
    """The moments of a known user's own likes and, after them in the result, of given ones.

    Args:
        own: (n,) int64 UTC seconds.
        given: of the given likes; or, where they have no times, their number: they follow the last of the user's own
            in the order given, at its time.
    """
    if isinstance(given, int):
        times = np.full(given, own.max(initial=own[0]) if len(own) else 0, np.int64)
        given = Moments(times, np.arange(1, given + 1))
    steps = np.concatenate([np.zeros(len(own), np.int64), given.steps])
    return Moments(np.concatenate([own, given.times]), steps)


def to_order(likes: csr_array, placed: Sequence[PlacedLikes]) -> Order:
    """The order of the likes of some users.

    Args:
        likes: (n_users, n_items) with the rows of `placed` as its columns.
        placed: of each user.
    """
    nothing = np.zeros(0, np.float32)
    parts = (np.concatenate([nothing, *(getattr(one, name) for one in placed)]) for name in ("places", "ages"))
    return Order(*(csr_array((part, likes.indices, likes.indptr), shape=likes.shape) for part in parts))
