"""New items with a few likes: some likes of cold items are known, and the others are to be found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from kgrec.questions.slices import SkippedSlice, Slice
from kgrec.questions.splits import Likes, Split

N_SHOWN = (0, 1, 3, 10)


@dataclass(frozen=True)
class FewItems:
    """Cold items with n known likes each, and a slice of their other likes.

    Attributes:
        n_shown: n.
        shown: (n_items, n_users) float32 of 1s: the n users known to like each relevant item.
        slice: its users have no known like of a cold item. Only the relevant items are candidates: among others, the
            known likes would give them away.
    """

    n_shown: int
    shown: csr_array
    slice: Slice


def show_few(
    likes: Likes, split: Split, rng: np.random.Generator, n_shown: Sequence[int] = N_SHOWN
) -> tuple[FewItems, ...]:
    """Makes a few likes of each cold item known; the relevant likes are the same for every number of known likes.

    Only likes of users with training likes count. An item is relevant if it has more likes than the largest number;
    its first likes, by time or else at random, may become known. A user with a known like of a cold item is never a
    test user: that item would be recommended first and count as a miss. Without times, the users of the first likes
    come from one random order, which is as random for each item and leaves more test users.

    Args:
        likes: all likes.
        split: how they were held out.
        rng: draws the order of likes without times.
        n_shown: the numbers of known likes; the largest ones that leave nothing to find are skipped.

    Returns:
        One for each number, ascending; none if nothing is left to find.
    """
    n_users, n_items = likes.shape
    known = np.bincount(split.train.users, minlength=n_users) > 0
    held = likes.select(split.cold_items[likes.items] & known[likes.users])
    order = rng.permutation(n_users)[held.users] if held.times is None else held.times
    by_item = np.lexsort((held.users, order, held.items))
    items, users = held.items[by_item], held.users[by_item]
    place = np.arange(len(items)) - np.searchsorted(items, items)  # of each like among the likes of its item
    n_likes = np.bincount(items, minlength=n_items)[items]
    sizes = sorted(set(n_shown))
    while sizes:
        enough = n_likes > sizes[-1]
        may_show = enough & (place < sizes[-1])
        shows = np.bincount(users[may_show], minlength=n_users) > 0
        relevant_likes = enough & ~may_show & ~shows[users]
        if relevant_likes.any():
            break
        sizes.pop()
    else:
        return ()
    wanted = np.bincount(items[relevant_likes], minlength=n_items) > 0
    relevant = _to_matrix(users[relevant_likes], items[relevant_likes], likes.shape)
    seen = split.train.to_matrix()
    found = []
    for size in sizes:
        shown = wanted[items] & (place < size)
        slice_ = Slice(f"few_items_n{size}", _title(size), seen, relevant, wanted)
        found.append(FewItems(size, _to_matrix(items[shown], users[shown], (n_items, n_users)), slice_))
    return tuple(found)


def find_skipped(few_items: Sequence[FewItems], n_shown: Sequence[int] = N_SHOWN) -> tuple[SkippedSlice, ...]:
    """The numbers of known likes that `show_few` skipped, and why."""
    reason = "no new item has a like of a known user to find"
    return tuple(
        SkippedSlice(f"few_items_n{size}", _title(size), f"{reason} besides {size} known ones" if size else reason)
        for size in sorted(set(n_shown) - {few.n_shown for few in few_items})
    )


def _title(n_shown: int) -> str:
    return f"New items with {n_shown} like{'' if n_shown == 1 else 's'}, among each other"


def _to_matrix(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
