import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.model.component import Support
from kgrec.sequences import Sequences, find_order, join_orders


def to_likes(liked: list[list[int]], n_items: int) -> csr_array:
    columns = np.array([item for own in liked for item in own], np.int64)
    starts = np.cumsum([0, *map(len, liked)])
    return csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(liked), n_items))


def test_places_count_from_the_last_and_ties_share_their_mean() -> None:
    likes = to_likes([[0, 2, 3, 5], [], [4]], 6)
    order = find_order(likes, np.array([30, 10, 10, 90, -5]))
    np.testing.assert_array_equal(order.places.toarray()[0], [2, 0, 3.5, 3.5, 0, 1])
    np.testing.assert_array_equal(order.ages.toarray()[0], [61, 0, 81, 81, 0, 1])
    np.testing.assert_array_equal(order.places.toarray()[1:], [[0] * 6, [0, 0, 0, 0, 1, 0]])
    selected = order.select(np.array([2, 0]))
    np.testing.assert_array_equal(selected.places.toarray(), order.places.toarray()[[2, 0]])
    joined = join_orders([selected, order])
    np.testing.assert_array_equal(joined.ages.toarray(), np.vstack([selected.ages.toarray(), order.ages.toarray()]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(-3, 3)), max_size=30), st.randoms())
def test_the_order_of_rows_says_nothing(rows: list[tuple[int, int, int]], random: object) -> None:
    first = {(user, item): at for user, item, at in rows}  # one like for each pair

    def places(pairs: list[tuple[int, int]]) -> np.ndarray:
        users, items = (np.array([pair[end] for pair in pairs], np.int64) for end in (0, 1))
        order = np.lexsort((items, users))
        likes = csr_array((np.ones(len(pairs), np.float32), (users, items)), shape=(4, 10))
        times = np.array([first[pair] for pair in pairs], np.int64)[order]
        return find_order(likes, times).places.toarray()

    pairs = list(first)
    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(places(pairs), places(shuffled))


def test_sequences_are_in_order_and_break_ties_at_random() -> None:
    users, items = np.array([1, 0, 1, 1, 1]), np.array([5, 3, 2, 4, 9])
    times = np.array([7, 1, 3, 7, 7])
    found = [Sequences.of(users, items, times, 3, np.random.default_rng(seed)) for seed in range(30)]
    for one in found:
        np.testing.assert_array_equal(one.starts, [0, 1, 5, 5])
        np.testing.assert_array_equal(one.items[:2], [3, 2])
        np.testing.assert_array_equal(one.times, [1, 3, 7, 7, 7])
        np.testing.assert_array_equal(one.users, [0, 1, 1, 1, 1])
        assert set(one.items[2:].tolist()) == {4, 5, 9}
    assert len({tuple(one.items[2:].tolist()) for one in found}) > 3


def test_recent_likes_weigh_more_and_the_own_weights_stay() -> None:
    likes = to_likes([[0, 1, 2], [3]], 4)
    likes.data[:] = 1, 2, 1, 5
    support = Support(likes, order=find_order(likes, np.array([1, 2, 3, 0])))
    weighed = support.recent(np.array([0.5, 0.1], np.float32))
    np.testing.assert_allclose(weighed.likes.data, [0.25, 1, 1, 5])
    assert weighed.plain is likes
    second = weighed.select(np.array([1]))
    assert second.plain is not None and second.order is not None
    np.testing.assert_array_equal(second.plain.data, [5])
    assert support.recent(np.ones(2, np.float32)) is support
    assert Support(likes).recent(np.full(2, 0.5, np.float32)).plain is None


def test_a_user_without_likes_has_no_places() -> None:
    order = find_order(to_likes([[], []], 3), np.zeros(0, np.int64))
    assert order.places.shape == (2, 3)
    assert not order.places.nnz


@pytest.mark.parametrize("n_users", [0, 2])
def test_no_likes_give_no_sequences(n_users: int) -> None:
    none = np.zeros(0, np.int64)
    found = Sequences.of(none, none, none, n_users, np.random.default_rng(0))
    assert found.starts.tolist() == [0] * (n_users + 1)
