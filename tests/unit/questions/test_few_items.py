import numpy as np
import pytest
from scipy.sparse import csr_array

from kgrec.questions.few_items import find_skipped, show_few
from kgrec.questions.splits import Likes, Split

N_USERS, N_ITEMS = 8, 4
COLD = np.array([False, True, True, False])
# Item 1: users 0 to 4, item 2: users 1, 5 and 6, by time; user 6 has no training like, user 7 likes item 3 alone.
HELD = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (5, 2), (6, 2)]


def split_by_hand(*, timed: bool = True, held: list[tuple[int, int]] = HELD) -> tuple[Likes, Split]:
    learned = [(user, 0) for user in range(6)] + [(7, 3)]
    users, items = np.array(learned + held, np.int64).T
    times = np.r_[np.zeros(len(learned), np.int64), np.arange(len(held))] if timed else None
    likes = Likes(users, items, times, (N_USERS, N_ITEMS))
    train = likes.select(~COLD[items])
    return likes, Split(train, {}, COLD, np.zeros(N_USERS, bool), timed)


def pairs_of(matrix: csr_array) -> list[tuple[int, int]]:
    return sorted(zip(*(ends.tolist() for ends in matrix.nonzero()), strict=True))


def test_the_first_likes_are_shown_and_the_same_others_asked_for() -> None:
    likes, split = split_by_hand()
    found = show_few(likes, split, np.random.default_rng(0), (0, 1, 2))
    assert [few.n_shown for few in found] == [0, 1, 2]
    # More than two known users like item 1 alone; users 0 and 1 show their likes, so 2, 3 and 4 are asked.
    for few in found:
        assert pairs_of(few.slice.relevant) == [(2, 1), (3, 1), (4, 1)]
        assert pairs_of(few.slice.support) == [*((user, 0) for user in range(6)), (7, 3)]
        asked = np.bincount(few.slice.relevant.indices, minlength=len(COLD)) > 0
        np.testing.assert_array_equal(few.slice.candidates, asked)
        assert few.shown.shape == (N_ITEMS, N_USERS)
    assert [pairs_of(few.shown) for few in found] == [[], [(1, 0)], [(1, 0), (1, 1)]]
    assert [few.slice.name for few in found] == ["few_items_n0", "few_items_n1", "few_items_n2"]
    assert found[1].slice.title == "New items with 1 like, among each other"


def test_who_shows_a_like_is_asked_for_no_item() -> None:
    likes, split = split_by_hand()
    few = show_few(likes, split, np.random.default_rng(0), (1,))[0]
    assert pairs_of(few.shown) == [(1, 0), (2, 1)]
    assert pairs_of(few.slice.relevant) == [(2, 1), (3, 1), (4, 1), (5, 2)]  # user 1 likes item 1, but shows item 2


def test_numbers_that_leave_nothing_to_ask_for_are_left_out() -> None:
    likes, split = split_by_hand()
    found = show_few(likes, split, np.random.default_rng(0), (0, 1, 10, 3, 5))
    assert [few.n_shown for few in found] == [0, 1, 3]
    assert pairs_of(found[2].slice.relevant) == [(3, 1), (4, 1)]
    skipped_slices = find_skipped(found, (0, 1, 10, 3, 5))
    reason = "no new item has a like of a known user to find"
    assert [(one.name, one.reason) for one in skipped_slices] == [
        ("few_items_n5", f"{reason} besides 5 known ones"),
        ("few_items_n10", f"{reason} besides 10 known ones"),
    ]
    assert skipped_slices[0].title == "New items with 5 likes, among each other"
    likes, split = split_by_hand(held=[(6, 1)])  # by nobody known
    assert show_few(likes, split, np.random.default_rng(0)) == ()
    assert [one.name for one in find_skipped(())] == [f"few_items_n{size}" for size in (0, 1, 3, 10)]
    assert find_skipped(())[0].reason == reason


@pytest.mark.parametrize("seed", range(5))
def test_without_times_the_users_are_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((60, 30)) < 0.5)
    likes = Likes(users, items, None, (60, 30))
    cold = np.arange(30) % 3 == 0
    split = Split(likes.select(~cold[items]), {}, cold, np.zeros(60, bool), by_time=False)
    found = show_few(likes, split, np.random.default_rng(seed), (0, 3, 10))
    everything = set(pairs_of(likes.to_matrix()))
    asked = pairs_of(found[0].slice.relevant)
    showing = {user for _, user in pairs_of(found[2].shown)}
    for few in found:
        assert pairs_of(few.slice.relevant) == asked
        shown = pairs_of(few.shown)
        assert all((user, item) in everything and cold[item] for item, user in shown)
        assert set(np.bincount([item for item, _ in shown], minlength=30)[cold].tolist()) == {few.n_shown}
    assert set(pairs_of(found[1].shown)) < set(pairs_of(found[2].shown))
    assert not showing & {user for user, _ in asked}
    assert len(showing) < 30  # few users show the likes of ten items, so that the others can be asked
    other = show_few(likes, split, np.random.default_rng(seed + 100), (0, 3, 10))
    assert pairs_of(other[2].shown) != pairs_of(found[2].shown)
