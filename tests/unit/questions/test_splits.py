from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from films import make_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import draw_likes
from scipy.sparse import csr_array

from kgrec.config import SplitConfig
from kgrec.errors import CatalogueError
from kgrec.graph.hetero import to_hetero
from kgrec.questions.splits import Likes, Split, read_likes, split_likes, subtract


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


def test_who_met_an_item_without_liking_it_is_known() -> None:
    nodes = {"user": ["u", "v"], "movie": ["liked", "met", "new"]}
    tables = make_tables(
        nodes, {"rated": [("u", "liked"), ("v", "met"), ("v", "liked")]}, ratings=[(5.0, 0), (1.0, 0), (2.0, 0)]
    )
    interaction = tables.schema.interaction.model_copy(update={"positive": 4.0})
    likes = read_likes(to_hetero(tables)[0], tables.schema.model_copy(update={"interaction": interaction}))
    assert likes.disliked is not None
    np.testing.assert_array_equal(likes.disliked.toarray(), [[0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(likes.n_disliked, [1, 1, 0])
    np.testing.assert_array_equal(likes.counts, [1, 0, 0])
    np.testing.assert_array_equal(replace(likes, disliked=None).n_disliked, [0, 0, 0])


def test_who_liked_an_item_once_does_not_dislike_it() -> None:
    tables = make_tables(
        {"user": ["u"], "movie": ["a"]}, {"rated": [("u", "a"), ("u", "a")]}, ratings=[(5.0, 0), (1.0, 9)]
    )
    interaction = tables.schema.interaction.model_copy(update={"positive": 4.0})
    likes = read_likes(to_hetero(tables)[0], tables.schema.model_copy(update={"interaction": interaction}))
    assert likes.n_disliked.tolist() == [0]


@given(st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=15)
def test_what_a_user_disliked_is_not_recommended_to_them(seed: int, timed: bool) -> None:
    rng = np.random.default_rng(seed)
    likes = draw_likes(rng, (40, 30), 0.4, timed=timed)
    disliked = subtract(csr_array((rng.random(likes.shape) < 0.2).astype(np.float32)), likes.to_matrix())
    found = split(replace(likes, disliked=disliked), seed)
    trained = found.train.counts > 0
    assert {"warm", "cold_items", "cold_items_all", "overall"} <= found.slices.keys()
    for name, slice_ in found.slices.items():
        barred = set() if slice_.left_out is None else pairs_of(slice_.left_out)
        assert barred <= pairs_of(disliked)
        if slice_.candidates is None or (slice_.candidates & trained).any():
            assert {pair for pair in pairs_of(disliked) if trained[pair[1]]} <= barred, name
        assert not barred & pairs_of(slice_.relevant)
    assert found.train.disliked is not None
    assert not found.train.disliked.toarray()[:, found.cold_items].any()  # held out whole: nobody has met it
    assert not found.train.n_disliked[found.cold_items].any()


def test_a_like_that_is_there_twice_is_one() -> None:
    likes = Likes(np.array([0, 0, 1]), np.array([1, 1, 0]), None, (2, 2))
    np.testing.assert_array_equal(likes.to_matrix().toarray(), [[0, 1], [1, 0]])


@st.composite
def drawn_likes(draw: st.DrawFn) -> Likes:
    shape = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    likes = draw_likes(rng, shape, draw(st.floats(0.05, 1)), timed=draw(st.booleans()))
    return likes if len(likes) else Likes(np.zeros(1, np.int64), np.zeros(1, np.int64), None, shape)


Pairs = set[tuple[int, int]]


def check_support_of_known(name: str, support: Pairs, relevant: Pairs, found: Split, everything: Pairs) -> None:
    """The support of known users is their training likes, or the likes before the relevant ones."""
    if name == "next":
        asked = {user for user, _ in relevant}
        assert len(asked) == len(relevant)
        shown = {(user, item) for user, item in everything if user in asked and not found.cold_items[item]}
        assert support == shown - relevant
    elif name == "next_session":
        assert support <= everything - relevant
        assert {user for user, _ in relevant} <= {user for user, _ in support}
    else:
        assert support == pairs_of(found.train.to_matrix())


def check_parts(found: Split, everything: Pairs, train: Pairs) -> None:
    """The slices hold all likes that are held out, and the parts of a slice do not overlap."""
    trained = np.zeros(found.train.shape[1], bool)
    trained[found.train.items] = True
    names = ("warm", "warm_latest", "warm_random", "warm_date", "cold_items", "overall")
    warm_asked, latest, random, after, cold_asked, overall = (
        pairs_of(found.slices[name].relevant) if name in found.slices else set() for name in names
    )
    known = {user for user, _ in train}
    assert warm_asked == {(user, item) for user, item in everything - train if user in known and trained[item]}
    assert cold_asked == {(user, item) for user, item in everything if user in known and found.cold_items[item]}
    assert warm_asked <= {(user, item) for user, item in overall if not found.cold_items[item]}
    assert {(user, item) for user, item in overall if found.cold_items[item]} <= cold_asked
    assert not latest & random
    assert after <= latest
    if latest:
        assert latest | random == warm_asked


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
        assert slice_.candidates is None or all(slice_.candidates[item] for _, item in relevant)
        assert name.startswith("next") or all(item in found.train.items for _, item in support)
        assert (slice_.order is None) == (likes.times is None)
        if slice_.order is not None:
            assert pairs_of(slice_.order.places) == pairs_of(slice_.order.ages) == support
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
            check_support_of_known(name, support, relevant, found, everything)
            assert by_cold_user == {False}
            may_be_cold = {True} if name.startswith("cold_items") else {False}
            assert of_cold_item <= ({False, True} if name == "overall" else may_be_cold)
    check_parts(found, everything, train)


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_with_times_half_of_what_is_held_out_are_each_users_own_latest_likes(seed: int) -> None:
    likes = draw_likes(np.random.default_rng(seed), (60, 40), 0.5, timed=True)
    times, found = time_of(likes), split(likes, seed, cold_items=0)
    latest, random = (pairs_of(found.slices[name].relevant) for name in ("warm_latest", "warm_random"))
    train = pairs_of(found.train.to_matrix())
    assert not latest & random
    assert not (latest | random) & train
    n_warm = int((~found.cold_users[likes.users]).sum())
    assert len(latest) == pytest.approx(0.1 * n_warm, rel=0.2)
    assert len(random) == pytest.approx(0.1 * n_warm, rel=0.35)
    for user in {user for user, _ in latest}:
        held = [times[pair] for pair in latest if pair[0] == user]
        others = [times[pair] for pair in train | random if pair[0] == user]
        assert max(others) <= min(held)
    # The others are drawn from all times: some lie before most of what the same user is trained on.
    early = [
        np.mean([times[pair] < times[other] for other in train if other[0] == pair[0]])
        for pair in random
        if any(other[0] == pair[0] for other in train)
    ]
    assert 0.3 < np.mean(early) < 0.75


def test_nearly_everybody_is_asked_for_their_latest_likes_whenever_they_came() -> None:
    # Each user's likes lie within one hour of their own: after one date few would be asked.
    rng = np.random.default_rng(0)
    likes = draw_likes(rng, (60, 40), 0.5)
    likes = replace(likes, times=likes.users * 100_000 + rng.integers(0, 3600, len(likes)))
    found = split(likes)
    n_asked = {name: np.count_nonzero(np.diff(slice_.relevant.indptr)) for name, slice_ in found.slices.items()}
    assert n_asked["warm_latest"] > 0.8 * (~found.cold_users).sum()
    assert n_asked["warm"] >= n_asked["warm_latest"]
    assert n_asked["warm_date"] < 0.2 * (~found.cold_users).sum()


def test_of_users_with_two_likes_some_are_asked_and_each_keeps_one() -> None:
    users = np.repeat(np.arange(200), 2)
    likes = Likes(users, np.tile([0, 1], 200), np.arange(400), (200, 2))
    found = split(likes, cold_users=0, cold_items=0)
    asked = np.count_nonzero(np.diff(found.slices["warm_latest"].relevant.indptr))
    assert asked == pytest.approx(0.2 * 200, rel=0.4)
    assert not np.any(found.slices["warm_latest"].relevant.toarray()[:, 0])  # the second is the later one


def test_the_only_like_of_a_user_is_never_held_out_as_the_latest() -> None:
    likes = Likes(np.arange(2000), np.zeros(2000, np.int64), np.arange(2000), (2000, 1))
    found = split(likes, cold_users=0, cold_items=0, warm=0.4)
    assert len(found.train) == pytest.approx(0.8 * 2000, rel=0.05)  # the draw takes half of `warm`, as of all likes


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
    assert {"warm", "cold_items", "cold_users_k1"} <= found.slices.keys() == again.slices.keys()
    for name, slice_ in found.slices.items():
        assert pairs_of(slice_.relevant) == pairs_of(again.slices[name].relevant)
        assert pairs_of(slice_.support) == pairs_of(again.slices[name].support)
    assert pairs_of(found.train.to_matrix()) != pairs_of(other.train.to_matrix())


@pytest.mark.parametrize("timed", [False, True])
def test_every_slice_is_there_when_there_is_enough(timed: bool) -> None:
    found = split(draw_likes(np.random.default_rng(0), (100, 80), 0.5, timed=timed))
    cold = {f"{kind}_k{size}" for kind in ("cold_users", "cold_users_cold_items") for size in (0, 1, 3, 5, 10)}
    by_time = {"warm_latest", "warm_random", "warm_date", "next"} if timed else set()
    assert set(found.slices) == {"warm", "cold_items", "cold_items_all", "overall"} | cold | by_time
    titles = {name: slice_.title for name, slice_ in found.slices.items()}
    assert len(set(titles.values())) == len(titles)
    if timed:
        assert titles["warm_latest"] == "Known users, their latest likes"
        assert titles["warm_random"] == "Known users, random likes"
        assert titles["warm_date"] == "Known users, likes of the last 10% of time"
    assert found.cold_users.sum() == 10
    assert found.cold_items.sum() == 8


def test_equal_times_hold_out_a_share_at_random() -> None:
    likes = draw_likes(np.random.default_rng(0), (60, 40), 0.5)
    found = split(replace(likes, times=np.full(len(likes), 7)))
    n_warm = (~found.cold_users[likes.users] & ~found.cold_items[likes.items]).sum()
    assert len(found.train) == pytest.approx(0.8 * n_warm, rel=0.07)
    assert found.slices["warm_latest"].relevant.nnz


def test_golden_split() -> None:
    users = np.repeat(np.arange(10), 4)
    items = (users * 3 + np.tile(np.arange(4), 10) * 2) % 7
    likes = Likes(users, items, np.arange(40) * 17 % 41, (10, 7))  # no two at the same time
    found = split(likes, cold_users=0.2, cold_items=0.2, warm=0.4, support_sizes=(0, 1), least_likes=3)
    assert np.flatnonzero(found.cold_users).tolist() == [6, 7]
    assert np.flatnonzero(found.cold_items).tolist() == [1]
    assert pairs_of(found.train.to_matrix()) == {
        (0, 6), (1, 0), (1, 3), (1, 5), (2, 3), (2, 6), (3, 6), (4, 0), (4, 5), (5, 0), (5, 5), (8, 0), (8, 2), (8, 3),
        (9, 3), (9, 5),
    }  # fmt: skip
    cold = {(2, 1), (3, 1), (5, 1), (9, 1)}
    latest, random = {(1, 2), (3, 2), (5, 3), (8, 5), (9, 6)}, {(0, 0), (0, 2), (2, 5), (4, 2)}
    assert {name: pairs_of(slice_.relevant) for name, slice_ in found.slices.items()} == {
        "warm": latest | random,
        "warm_latest": latest,
        "warm_random": random,
        "warm_date": {(1, 2), (3, 2), (9, 6)},
        "next": latest,
        "cold_items": cold,
        "cold_items_all": cold,
        "overall": latest | random | {(0, 4), (2, 1), (3, 4), (4, 4)},
        "cold_users_k0": {(7, 0), (7, 2), (7, 6)},
        "cold_users_k1": {(7, 0), (7, 6)},
    }
    assert pairs_of(found.slices["cold_users_k1"].support) == {(7, 2)}


@given(drawn_likes(), st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=100)
def test_likes_of_few_dates_are_split_in_parts_that_others_tell(likes: Likes, n_dates: int, seed: int) -> None:
    dates = np.random.default_rng(seed).integers(0, n_dates, len(likes))
    likes = replace(likes, times=dates)
    found, again = (split(likes, seed, support_sizes=(0, 2), least_likes=3) for _ in range(2))
    train = pairs_of(found.train.to_matrix())
    users, items = {user for user, _ in train}, {item for _, item in train}
    warm = {
        name: pairs_of(found.slices[name].relevant) if name in found.slices else set()
        for name in ("warm", "warm_latest", "warm_random", "warm_date")
    }
    assert not train & warm["warm"]
    assert all(user in users and item in items for user, item in warm["warm"])
    assert not warm["warm_latest"] & warm["warm_random"]
    assert warm["warm_date"] <= warm["warm_latest"] <= warm["warm"]
    assert len(warm["warm_date"]) <= 0.1 * len(likes) + 1
    asked = {name: pairs_of(slice_.relevant) for name, slice_ in found.slices.items()}
    assert asked == {name: pairs_of(slice_.relevant) for name, slice_ in again.slices.items()}
    assert found.skipped_slices == again.skipped_slices
    missing = {one.name for one in found.skipped_slices}
    assert not missing & asked.keys()
    every = {"warm", "warm_latest", "warm_date", "next", "next_session", "cold_items", "cold_items_all", "overall"} | {
        f"cold_users_{kind}k{size}" for kind in ("", "cold_items_") for size in (0, 2)
    }
    assert (missing | asked.keys()) - {"warm_random"} == every  # it is asked where there are latest likes too


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_of_many_likes_on_the_last_date_a_draw_takes_a_tenth_of_all(share: float) -> None:
    likes = draw_likes(np.random.default_rng(0), (200, 60), 0.2)
    times = np.random.default_rng(1).permutation(len(likes))
    likes = replace(likes, times=np.minimum(times, int(len(likes) * (1 - share))))  # the last share at one time
    found, other = split(likes, 0, cold_users=0, cold_items=0), split(likes, 1, cold_users=0, cold_items=0)
    late, other_late = (pairs_of(one.slices["warm_date"].relevant) for one in (found, other))
    assert {time_of(likes)[pair] for pair in late} == {likes.times.max()}
    assert len(late) == pytest.approx(0.05 * len(likes), rel=0.5)  # not all of that tenth are a user's latest
    assert late < pairs_of(found.slices["warm_latest"].relevant)
    assert late != other_late


SHORT = Likes(np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40), np.arange(120), (40, 3))
NONE_KNOWN = "no held-out like has a user and an item with training likes"


@pytest.mark.parametrize(
    ("likes", "config", "name", "reason"),
    [
        (SHORT, {"support_sizes": (10,)}, "cold_users_k10", "no held-out user has more than 10 likes of known items"),
        (SHORT, {"support_sizes": (1,)}, "cold_users_cold_items_k1", "too few items to hold out 10% of them"),
        (SHORT, {"cold_users": 0}, "cold_users_k0", "`cold_users` is 0: none are held out"),
        (SHORT, {"cold_users": 0.01}, "cold_users_k0", "too few users to hold out 1% of them"),
        (SHORT, {}, "cold_items", "too few items to hold out 10% of them"),
        (SHORT, {"cold_items": 0}, "cold_items_all", "`cold_items` is 0: none are held out"),
        (SHORT, {"warm": 0}, "warm", "`warm` is 0: no likes of known users are held out"),
        (SHORT, {"warm": 0}, "overall", "`warm` is 0: no likes of known users are held out"),
        (replace(SHORT, times=None), {}, "warm_latest", "the likes have no times"),
        (replace(SHORT, times=None), {}, "warm_date", "the likes have no times"),
        (Likes(np.arange(40), np.zeros(40, np.int64), np.arange(40), (40, 1)), {}, "warm", NONE_KNOWN),
    ],
)
def test_a_slice_that_cannot_be_asked_has_a_reason(likes: Likes, config: Any, name: str, reason: str) -> None:
    found = split(likes, **config)
    assert name not in found.slices
    assert {one.name: one.reason for one in found.skipped_slices}[name] == reason


def test_where_all_can_be_asked_nothing_is_missing() -> None:
    likes = draw_likes(np.random.default_rng(0), (100, 80), 0.5, timed=True)
    assert likes.times is not None
    found = split(replace(likes, times=likes.times * 86_400))
    assert found.skipped_slices == ()


def test_the_next_session_begins_after_a_pause() -> None:
    days, n_users, n_items = [0, 0, 2, 2, 2], 40, 8  # the last three likes are of the last session
    users, place = np.repeat(np.arange(n_users), 5), np.tile(np.arange(5), n_users)
    items = (users + place) % n_items
    times = np.tile(np.array(days) * 86_400 + np.arange(5) * 60, n_users)
    found = split(Likes(users, items, times, (n_users, n_items)), cold_users=0, cold_items=0, warm=0.4)
    asked = found.slices["next_session"]
    train = pairs_of(found.train.to_matrix())
    for user in {user for user, _ in pairs_of(asked.relevant)}:
        before, last = ({(user + at) % n_items for at in places} for places in ((0, 1), (2, 3, 4)))
        relevant = {item for of, item in pairs_of(asked.relevant) if of == user}
        assert relevant == {item for item in last if (user, item) not in train}
        assert {item for of, item in pairs_of(asked.support) if of == user} == before
        assert asked.left_out is not None
        assert {item for of, item in pairs_of(asked.left_out) if of == user} == last - relevant
    assert asked.order is not None
    assert pairs_of(found.slices["next"].relevant) == {(user, (user + 4) % n_items) for user in range(n_users)}


def test_an_item_nobody_likes_and_a_user_who_likes_nothing_are_not_held_out() -> None:
    likes = Likes(np.array([0, 0, 1]), np.array([0, 1, 0]), None, (50, 50))
    found = split(likes, cold_users=0.5, cold_items=0.5, warm=0)
    assert np.flatnonzero(found.cold_users).size == 1
    assert np.flatnonzero(found.cold_users)[0] in (0, 1)
    assert np.flatnonzero(found.cold_items)[0] in (0, 1)
