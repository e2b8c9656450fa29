from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from films import make_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import draw_likes

from kgrec.config import SplitConfig
from kgrec.errors import CatalogueError
from kgrec.graph.hetero import to_hetero
from kgrec.graph.split import Likes, Split, read_likes, split_likes


def pairs_of(matrix: Any) -> set[tuple[int, int]]:
    rows, columns = matrix.nonzero()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def split(likes: Likes, seed: int = 0, **config: Any) -> Split:
    return split_likes(likes, SplitConfig(**config), np.random.default_rng(seed))


def time_of(likes: Likes) -> dict[tuple[int, int], int]:
    assert likes.times is not None
    return dict(zip(zip(likes.users.tolist(), likes.items.tolist(), strict=True), likes.times.tolist(), strict=True))


def test_likes_are_what_the_schema_calls_positive() -> None:
    tables = make_tables(
        {"user": ["u", "v"], "movie": ["a", "b"]},
        {"rated": [("u", "a"), ("u", "b"), ("v", "b")]},
        ratings=[(5.0, 30), (1.0, 20), (4.0, 10)],
    )
    data, _ = to_hetero(tables)
    schema = tables.schema
    every = read_likes(data, schema)
    np.testing.assert_array_equal(every.to_matrix().toarray(), [[1, 1], [0, 1]])
    positive = schema.model_copy(update={"interaction": schema.interaction.model_copy(update={"positive": 4.0})})
    likes = read_likes(data, positive)
    assert time_of(likes) == {(0, 0): 30, (1, 1): 10}
    assert likes.shape == (2, 2)
    none = schema.model_copy(update={"interaction": schema.interaction.model_copy(update={"positive": 6.0})})
    with pytest.raises(CatalogueError, match=r"none of 3 'rated'.*rating >= 6"):
        read_likes(data, none)


def test_an_item_is_cold_when_nobody_has_met_it_liked_or_not() -> None:
    nodes = {"user": ["u", "v"], "movie": ["liked", "met", "new"]}
    tables = make_tables(nodes, {"rated": [("u", "liked"), ("v", "met")]}, ratings=[(5.0, 0), (1.0, 0)])
    interaction = tables.schema.interaction.model_copy(update={"positive": 4.0})
    likes = read_likes(to_hetero(tables)[0], tables.schema.model_copy(update={"interaction": interaction}))
    np.testing.assert_array_equal(likes.cold_items, [False, False, True])
    np.testing.assert_array_equal(replace(likes, met=None).cold_items, [False, True, True])


def test_items_held_out_whole_are_cold_in_what_is_trained_on() -> None:
    likes = draw_likes(np.random.default_rng(0), (40, 30), 0.5)
    met = np.ones(30, bool)
    met[3] = False
    kept = likes.select(likes.items > 4)  # 4 is met and not liked, 3 was never met
    found = split(replace(kept, met=met))
    np.testing.assert_array_equal(
        np.flatnonzero(found.train.cold_items), np.sort(np.r_[3, np.flatnonzero(found.cold_items)])
    )


def test_a_like_that_is_there_twice_is_one() -> None:
    likes = Likes(np.array([0, 0, 1]), np.array([1, 1, 0]), None, (2, 2))
    np.testing.assert_array_equal(likes.to_matrix().toarray(), [[0, 1], [1, 0]])


@st.composite
def drawn_likes(draw: st.DrawFn) -> Likes:
    shape = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    likes = draw_likes(rng, shape, draw(st.floats(0.05, 1)), timed=draw(st.booleans()))
    return likes if len(likes) else Likes(np.zeros(1, np.int64), np.zeros(1, np.int64), None, shape)


@given(drawn_likes(), st.integers(0, 99), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 6))
@settings(deadline=None, max_examples=150)
def test_nothing_leaks(
    likes: Likes, seed: int, cold_users: float, cold_items: float, warm: float, least_likes: int
) -> None:
    found = split(
        likes, seed, cold_users=cold_users, cold_items=cold_items, warm=warm, least_likes=least_likes,
        support_sizes=(0, 1, 3),
    )  # fmt: skip
    train, everything = pairs_of(found.train.to_matrix()), pairs_of(likes.to_matrix())
    assert train <= everything
    assert not found.cold_users[found.train.users].any()
    assert not found.cold_items[found.train.items].any()
    trained = np.zeros(likes.shape[1], bool)
    trained[found.train.items] = True
    liked_by = np.bincount(likes.users, minlength=likes.shape[0]), np.bincount(likes.items, minlength=likes.shape[1])
    for mask, n_likes, share in zip(
        (found.cold_users, found.cold_items), liked_by, (cold_users, cold_items), strict=True
    ):
        assert mask.sum() == int((n_likes > 0).sum() * share)
        assert (n_likes[mask] > 0).all()
    assert found.by_time == (likes.times is not None)
    for name, slice_ in found.slices.items():
        support, relevant = pairs_of(slice_.support), pairs_of(slice_.relevant)
        assert relevant
        assert relevant <= everything - train
        assert not support & relevant
        assert all(slice_.candidates[item] for _, item in relevant)
        assert all(item in found.train.items for _, item in support)
        by_cold_user = {bool(found.cold_users[user]) for user, _ in relevant}
        of_cold_item = {bool(found.cold_items[item]) for _, item in relevant}
        if name.startswith("cold_users"):
            size = int(name.rpartition("_k")[2])
            assert by_cold_user == {True}
            assert of_cold_item == {"cold_items" in name}
            assert not support & train
            per_user = np.bincount([user for user, _ in support], minlength=likes.shape[0])
            asked = sorted({user for user, _ in relevant})
            assert (per_user[asked] == size).all()
            warm_likes = np.bincount(likes.users[trained[likes.items]], minlength=likes.shape[0])
            anybody = (warm_likes[found.cold_users] >= least_likes).any()  # else whoever has a like left to ask for
            assert (warm_likes[asked] >= max(least_likes if anybody else 0, size + 1)).all()
            if "cold_items" not in name:  # asked for all the rest
                n_asked = np.bincount([user for user, _ in relevant], minlength=likes.shape[0])
                np.testing.assert_array_equal(n_asked[asked], warm_likes[asked] - size)
        else:
            assert support == train
            assert by_cold_user == {False}
            assert of_cold_item <= {"warm": {False}, "overall": {False, True}}.get(name, {True})
    warm_asked, cold_asked, overall = (
        pairs_of(found.slices[name].relevant) if name in found.slices else set()
        for name in ("warm", "cold_items", "overall")
    )
    assert {(user, item) for user, item in overall if not found.cold_items[item]} == warm_asked
    assert {(user, item) for user, item in overall if found.cold_items[item]} <= cold_asked


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_with_times_all_that_is_trained_on_comes_before_the_warm_likes_held_out(seed: int) -> None:
    likes = draw_likes(np.random.default_rng(seed), (30, 20), 0.4, timed=True)
    times, found = time_of(likes), split(likes, seed)
    held = [times[pair] for pair in pairs_of(found.slices["warm"].relevant)]
    assert max(found.train.times) < min(held)
    n_warm = len(found.train) + sum(
        not found.cold_users[user] and not found.cold_items[item] and times[user, item] > max(found.train.times)
        for user, item in times
    )
    assert len(found.train) == pytest.approx(0.8 * n_warm, abs=12)  # times are ints up to 1,000: some are alike


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_a_cold_user_shows_the_first_likes_by_time(seed: int) -> None:
    likes = draw_likes(np.random.default_rng(seed), (30, 20), 0.5, timed=True)
    found = split(likes, seed, support_sizes=(0, 2, 5), least_likes=6)
    times = time_of(likes)
    for size in (2, 5):
        slice_ = found.slices[f"cold_users_k{size}"]
        support, relevant = pairs_of(slice_.support), pairs_of(slice_.relevant)
        for user in {user for user, _ in relevant}:
            shown = [times[pair] for pair in support if pair[0] == user]
            asked = [times[pair] for pair in relevant if pair[0] == user]
            assert len(shown) == size
            assert max(shown) <= min(asked)
    # k likes are the first of those shown for more.
    assert pairs_of(found.slices["cold_users_k2"].support) <= pairs_of(found.slices["cold_users_k5"].support)


def test_without_times_a_share_is_drawn_and_the_seed_decides() -> None:
    likes = draw_likes(np.random.default_rng(0), (100, 80), 0.3)
    found, again, other = split(likes, 0), split(likes, 0), split(likes, 1)
    assert not found.by_time
    n_warm = (~found.cold_users[likes.users] & ~found.cold_items[likes.items]).sum()
    assert len(found.train) == pytest.approx(0.8 * n_warm, rel=0.05)
    assert found.slices.keys() == again.slices.keys()
    for name, slice_ in found.slices.items():
        assert pairs_of(slice_.relevant) == pairs_of(again.slices[name].relevant)
        assert pairs_of(slice_.support) == pairs_of(again.slices[name].support)
    assert pairs_of(found.train.to_matrix()) != pairs_of(other.train.to_matrix())


def test_every_slice_is_there_when_there_is_enough() -> None:
    found = split(draw_likes(np.random.default_rng(0), (100, 80), 0.5))
    cold = {f"{kind}_k{size}" for kind in ("cold_users", "cold_users_cold_items") for size in (0, 1, 3, 5, 10)}
    assert set(found.slices) == {"warm", "cold_items", "cold_items_all", "overall"} | cold
    assert found.cold_users.sum() == 10
    assert found.cold_items.sum() == 8


def test_equal_times_hold_nothing_out_rather_than_everything() -> None:
    likes = draw_likes(np.random.default_rng(0), (20, 20), 0.5)
    found = split(replace(likes, times=np.full(len(likes), 7)))
    assert "warm" not in found.slices
    assert len(found.train)


def test_an_item_nobody_likes_and_a_user_who_likes_nothing_are_not_held_out() -> None:
    likes = Likes(np.array([0, 0, 1]), np.array([0, 1, 0]), None, (50, 50))
    found = split(likes, cold_users=0.5, cold_items=0.5, warm=0)
    assert np.flatnonzero(found.cold_users).size == 1
    assert np.flatnonzero(found.cold_users)[0] in (0, 1)
    assert np.flatnonzero(found.cold_items)[0] in (0, 1)
