from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed_shop import train_timed

from kgrec.config import GeneratorConfig, TransitionConfig
from kgrec.errors import RequestError
from kgrec.generate.held_out_likes import HeldOut, read_sequences
from kgrec.sequences import Sequences


def make_sequences(*users: list[int]) -> Sequences:
    starts = np.concatenate([[0], np.cumsum([len(own) for own in users])]).astype(np.int64)
    items = np.array([item for own in users for item in own], np.int64)
    return Sequences(items, starts, np.array([place for own in users for place in range(len(own))], np.int64))


def test_the_last_like_is_held_out_of_users_with_two() -> None:
    held = HeldOut.of(make_sequences([4, 2, 7], [5], [], [1, 3]), GeneratorConfig())
    assert held.next_items.tolist() == [7, -1, -1, 3]
    assert held.train.items.tolist() == [4, 2, 5, 1]
    assert held.train.starts.tolist() == [0, 2, 3, 3, 4]
    assert held.train.times.tolist() == [0, 1, 0, 0]
    assert held.asked.items.tolist() == [4, 2, 1]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5, unique=True), max_size=8), st.integers(1, 8))
def test_nothing_is_lost_and_only_those_asked_lose_a_like(users: list[list[int]], most: int) -> None:
    held = HeldOut.of(make_sequences(*users), GeneratorConfig(validation_users=most))
    assert len(held.users) == min(most, sum(len(own) > 1 for own in users))
    for user, own in enumerate(users):
        kept = held.train.items[held.train.starts[user] : held.train.starts[user + 1]].tolist()
        wanted = held.next_items[user]
        assert own == (kept if wanted < 0 else [*kept, wanted])


def test_baselines_as_worked_by_hand() -> None:
    """0 is followed by 1, and 3 by 4; 2 is liked most. The two who are asked like 1 and 4 after 0 and 3."""
    learned = [[0, 1], [3, 4]] * 3 + [[2]] * 9
    items = make_sequences(*learned, [0, 1], [3, 4])
    next_items = np.full(len(learned) + 2, -1)
    next_items[-2:] = 1, 4
    kept = np.ones(len(items.items), np.bool_)
    kept[items.starts[-2:] - 1] = False  # the last of each of the two
    starts = np.concatenate([[0], np.cumsum(kept)])[items.starts]
    held = HeldOut(Sequences(items.items[kept], starts, items.times[kept]), next_items)
    found = held.measure_baselines(5, TransitionConfig())
    assert found["transitions"] == (1.0, 1.0)
    assert found["popularity"][0] == 1.0  # five items fit into ten places
    assert 0.3 < found["popularity"][1] < 0.6
    assert held.measure(np.array([[1], [3]])) == (0.5, 0.5)


def test_a_bundle_is_read_in_the_order_of_times() -> None:
    bundle = train_timed()
    found = read_sequences(bundle)
    assert bundle.liked_at is not None
    assert len(found.items) == bundle.liked.nnz
    assert (np.diff(found.times)[np.diff(found.users) == 0] >= 0).all()
    for user in (0, 7):
        own = slice(*bundle.liked_at.indptr[user : user + 2])
        times = dict(zip(bundle.liked_at.indices[own].tolist(), bundle.liked_at.data[own].tolist(), strict=True))
        mine = slice(*found.starts[user : user + 2])
        assert dict(zip(found.items[mine].tolist(), found.times[mine].tolist(), strict=True)) == times


def test_likes_of_one_time_come_in_no_order_of_rows() -> None:
    bundle = train_timed()
    assert bundle.liked_at is not None
    at_once = bundle.liked_at.copy()
    at_once.data[:] = 5
    found = read_sequences(replace(bundle, liked_at=at_once))
    pairs = np.diff(found.items)[np.diff(found.users) == 0]
    assert 0.3 < (pairs > 0).mean() < 0.7


def test_without_times_the_error_says_why() -> None:
    with pytest.raises(RequestError, match=r"have no times, so nobody knows what was liked after what.*`at`"):
        read_sequences(replace(train_timed(), liked_at=None))
