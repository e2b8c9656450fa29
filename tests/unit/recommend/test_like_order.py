"""The places of likes that are known by time, by the order given, or partly by both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.recommend.like_order import Moments, PlacedLikes, find_moments, join_moments, place_likes, to_order
from kgrec.sequences import find_order

NOTHING = np.zeros(0, np.int64)


def in_order(times: list[int | None]) -> list[int]:
    """The places in the list, the earliest like first."""
    moments = find_moments(times)
    return np.lexsort((moments.steps, moments.times)).tolist()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([3, 1, 2], [1, 2, 0]),
        ([5, None, 7], [0, 1, 2]),
        ([5, None, 3], [2, 0, 1]),  # it goes with the like before it
        ([None, None, 5, 1], [3, 0, 1, 2]),  # before the first that has a time
        ([5, None, None, 5, None], [0, 3, 1, 2, 4]),
        ([0, None, -4], [2, 0, 1]),
    ],
)
def test_a_like_without_a_time_sits_between_its_neighbours(times: list[int | None], expected: list[int]) -> None:
    assert in_order(times) == expected


def test_only_likes_of_the_same_known_time_share_a_place() -> None:
    moments = find_moments([5, None, None, 5, None])
    placed = place_likes(np.array([8, 1, 6, 3, 0]), moments)
    np.testing.assert_array_equal(placed.rows, [0, 1, 3, 6, 8])
    np.testing.assert_array_equal(placed.places, [1, 3, 4.5, 2, 4.5])
    np.testing.assert_array_equal(placed.ages, [1, 1, 1, 1, 1])


def test_of_repeated_likes_the_last_counts() -> None:
    placed = place_likes(np.array([4, 2, 4, 7]), Moments(np.array([10, 20, 40, 30]), np.zeros(4, np.int64)))
    np.testing.assert_array_equal(placed.rows, [2, 4, 7])
    np.testing.assert_array_equal(placed.places, [3, 1, 2])
    np.testing.assert_array_equal(placed.ages, [21, 1, 11])


def test_likes_without_times_follow_a_users_own() -> None:
    moments = join_moments(np.array([300, -100]), 2)
    placed = place_likes(np.array([5, 9, 9, 1]), moments)
    np.testing.assert_array_equal(placed.rows, [1, 5, 9])
    np.testing.assert_array_equal(placed.places, [1, 3, 2])  # the own like of 9 has moved to the end
    np.testing.assert_array_equal(placed.ages, [1, 1, 1])
    alone = place_likes(np.array([5, 9]), join_moments(NOTHING, 2))
    np.testing.assert_array_equal(alone.places, [2, 1])
    nobody = place_likes(NOTHING, join_moments(NOTHING, 0))
    assert len(nobody.rows) == len(nobody.places) == len(nobody.ages) == 0


def test_likes_with_times_are_sorted_in_by_them() -> None:
    moments = join_moments(np.array([300, 100]), find_moments([200, None, 400]))
    placed = place_likes(np.array([1, 2, 3, 4, 5]), moments)
    np.testing.assert_array_equal(placed.places, [2, 5, 4, 3, 1])
    np.testing.assert_array_equal(placed.ages, [101, 301, 201, 201, 1])


LIKES = st.dictionaries(st.integers(0, 11), st.integers(-3, 3), max_size=12)


@given(LIKES, st.randoms())
def test_the_listing_says_nothing_where_times_are_known(likes: dict[int, int], random: object) -> None:
    listed = list(likes.items())
    random.shuffle(listed)  # type: ignore[attr-defined]

    def place(pairs: list[tuple[int, int]]) -> PlacedLikes:
        rows, times = (np.array([pair[end] for pair in pairs], np.int64) for end in (0, 1))
        return place_likes(rows, join_moments(NOTHING, find_moments(times.tolist())) if pairs else Moments(times, rows))

    one, other = place(listed), place(sorted(likes.items()))
    for name in ("rows", "places", "ages"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    support = csr_array((np.ones(len(likes), np.float32), one.rows, [0, len(likes)]), shape=(1, 12))
    ours, theirs = to_order(support, [one]), find_order(support, np.array([likes[row] for row in one.rows], np.int64))
    np.testing.assert_array_equal(ours.places.toarray(), theirs.places.toarray())
    np.testing.assert_array_equal(ours.ages.toarray(), theirs.ages.toarray())
