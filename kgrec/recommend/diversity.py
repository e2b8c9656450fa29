"""Makes a list varied: re-ranks it so that its items differ, and limits how many may be linked to one node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.recommend.limits import AtMost, Limits, Room, find_fullest, read_at_most

Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]

_LEAST_POOL = 200  # of the best items of a user, among which a diverse list is sought
_POOL_PER_PLACE, _MOST_BESIDE = 10, 900  # the pool for k items has 10 k, at most k + 900
# At 1, a cosine of 1 with a listed item costs as much as this many deviations of the scores. Chosen on MovieLens 100K
# and Amazon's Beauty: with more, recall falls faster than the distance within lists grows.
_MOST_WEIGHT = 12.0
_MEASURED = 10  # the first items, whose distance the dial sets
_HALVINGS = 6  # steps of the search for the weight
_DEEPER = 4  # times as many items are ranked where limits leave a list short
_TIE = 1e-5  # distances that differ by less are equal, and scores that do by less than this share of the largest


@dataclass(frozen=True)
class Variety:
    """How varied a list shall be; it can be hashed.

    Attributes:
        diversity: 0 to 1.
        at_most: the limits, by the names of the request.
    """

    diversity: float = 0.0
    at_most: AtMost = ()


def read_variety(diversity: float, at_most: Mapping[str, int] | None) -> Variety:
    """Checks `diversity` and `at_most` of a request as far as possible without a bundle.

    Raises:
        RequestError: `diversity` is not a number from 0 to 1, or `at_most` has another form.
    """
    if not isinstance(diversity, Real) or isinstance(diversity, bool) or not 0 <= diversity <= 1:
        raise RequestError(f"expected diversity from 0 (as the model ranks) to 1 (most diverse), got {diversity!r}")
    return Variety(float(diversity), read_at_most(at_most))


def rank_varied(
    rank: Callable[[int], Ranked],
    k: int,
    n_items: int,
    diversity: float,
    vectors: Callable[[], NDArray[np.float32]],
    limits: Limits | None,
) -> Ranked:
    """Chooses k varied items for each of some users; see `diversify` and `Limits`.

    Limits go down the whole ranking: a list is short only where no k items keep them.

    Args:
        rank: n -> (n_users, n) item rows, best first, -1 where a user has fewer items, and their scores.
        k: the length of a list.
        n_items: the number of all items.
        diversity: 0 to 1; at 0 only limits count.
        vectors: gives the (n_items, dim) float32 unit vectors of all items.
        limits: the limits; None: there are none.

    Returns:
        (n_users, k) item rows in the order of the list, -1 for none, and their scores in `rank`, which need not
        descend.
    """
    if not diversity and limits is None:
        return rank(k)
    k = min(k, n_items)
    pool = max(_LEAST_POOL, min(_POOL_PER_PLACE * k, k + _MOST_BESIDE)) if diversity else 0
    of_items = vectors() if diversity else None
    depth = min(max(pool, k), n_items)
    rows, scores = rank(depth)
    chosen, kept = np.full((len(rows), k), -1, np.int64), np.zeros((len(rows), k), np.float32)
    waiting = list(range(len(rows)))
    while True:
        short = []
        for user in waiting:
            ranked = rows[user][rows[user] >= 0]
            room, places = None if limits is None else Room(limits), list[int]()
            if of_items is not None:
                first = ranked[:pool]
                places = diversify(scores[user, : len(first)], of_items[first], k, diversity, first, room)
            places += _fill(ranked, places, k, room)
            is_all = depth == n_items or len(ranked) < depth
            if len(places) < min(k, len(ranked)) and is_all and limits is not None:
                places = max(places, find_fullest(ranked.tolist(), limits, k), key=len)
            elif len(places) < k and not is_all:
                short.append(user)
            chosen[user, : len(places)], kept[user, : len(places)] = ranked[places], scores[user, places]
        if not short:
            return chosen, kept
        waiting, depth = short, min(_DEEPER * depth, n_items)
        rows, scores = rank(depth)


def diversify(
    scores: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
    diversity: float,
    rows: NDArray[np.int64],
    room: Room | None = None,
) -> list[int]:
    """Picks k items by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), one after the other.

    The next item is the one with the largest s_i / d - w max(0, max_j v_i . v_j) over the items j picked so far; d is
    the standard deviation of the first 200 scores. The weight w is such that the mean distance within the first ten,
    1 - v_i . v_j, goes up from that at w = 0 towards that at w = 12 by about the share `diversity`: so the dial is even
    in catalogues of clones as in those without any. The first item stays, and a shorter list is the beginning of a
    longer one from the same items. The cost is that of some (k + 30) n inner products.

    Args:
        scores: (n,) of a user's best items, best first.
        vectors: (n, dim) their unit vectors.
        k: how many to pick.
        diversity: 0 to 1.
        rows: (n,) their rows.
        room: the limits; it counts the picked items. None: there are none.

    Returns:
        The places of the picked items, in their order; fewer than k where there are fewer, or limits bar the others.
    """
    first = scores[:_LEAST_POOL].astype(np.float64)
    spread = float(first.std()) if len(first) else 0.0
    tied = spread <= _TIE * float(np.abs(first).max(initial=0))
    gains = np.zeros(len(scores), np.float32) if tied else (scores / spread).astype(np.float32)
    likeness: dict[int, NDArray[np.float32]] = {}  # place -> (n,) to each item, where it was asked for

    def like(place: int) -> NDArray[np.float32]:
        if place not in likeness:
            likeness[place] = vectors @ vectors[place]
        return likeness[place]

    weight = _find_weight(gains, like, diversity)
    if room is None:
        return pick(gains, like, k, weight)

    def take(place: int) -> bool:
        row = int(rows[place])
        if not room.has(row):
            return False
        room.take(row)
        return True

    return pick(gains, like, k, weight, take)


def pick(
    gains: NDArray[np.float32],
    like: Callable[[int], NDArray[np.float32]],
    k: int,
    weight: float,
    take: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Picks k items by maximal marginal relevance at a given weight; see `diversify`.

    Args:
        gains: (n,) of the items, best first.
        like: place -> (n,) the likeness of the item there to each item.
        k: how many to pick.
        weight: of the likeness to the nearest picked item.
        take: whether the item at a place, which is the next by its gain, may be picked.

    Returns:
        The places of the picked items, in their order.
    """
    left, picked = gains.copy(), list[int]()  # left: -inf where picked or barred
    nearest = np.zeros(len(gains), np.float32)  # likeness to the nearest picked item
    for _ in range(len(gains)):
        place = int(np.argmax(left - np.float32(weight) * nearest))
        left[place] = -np.inf
        if take(place):
            picked.append(place)
            if len(picked) == k:
                break
            np.maximum(nearest, like(place), out=nearest)
    return picked


def _find_weight(gains: NDArray[np.float32], like: Callable[[int], NDArray[np.float32]], diversity: float) -> float:
    """The weight at which the distance within a list is this share of the way to that at `_MOST_WEIGHT`."""
    n_listed = min(_MEASURED, len(gains))
    if diversity == 1 or n_listed <= 1:
        return _MOST_WEIGHT

    def measure(root: float) -> float:
        listed = pick(gains, like, n_listed, _MOST_WEIGHT * root**2)
        cosines = np.stack([like(place)[listed] for place in listed])  # (n_listed, n_listed)
        return float(np.trace(cosines) - cosines.sum())

    low, high = 0.0, 1.0  # square roots of weights
    nearer, farther = measure(low), measure(high)  # the distances there
    wanted = nearer + diversity * (farther - nearer)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        distance = measure(middle)
        if distance < wanted - _TIE:
            low, nearer = middle, distance
        else:
            high, farther = middle, distance
    return _MOST_WEIGHT * (high if farther - wanted <= wanted - nearer + _TIE else low) ** 2


def _fill(ranked: NDArray[np.int64], places: list[int], k: int, room: Room | None) -> list[int]:
    """The places of the best items that complete a list of k, in the order of their rank, beside those listed."""
    is_free = np.ones(len(ranked), np.bool_)
    is_free[places] = False
    if room is None:
        first: list[int] = np.flatnonzero(is_free)[: k - len(places)].tolist()
        return first
    found = list[int]()
    start, step = 0, 4 * k
    while len(places) + len(found) < k and start < len(ranked):
        part = slice(start, start + step)
        for place in (start + np.flatnonzero(is_free[part] & room.have(ranked[part]))).tolist():
            if len(places) + len(found) < k and room.has(int(ranked[place])):
                room.take(int(ranked[place]))
                found.append(place)
        start, step = start + step, 4 * step
    return found
