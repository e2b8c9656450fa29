"""Items that a few people like by now: of cold items some likes are shown, and the others asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from kgrec.questions.slices import NotAsked, Slice
from kgrec.questions.splits import Likes, Split

N_SHOWN = (0, 1, 3, 10)


@dataclass(frozen=True)
class FewItems:
    """Cold items of which n likes are known, and the question who else likes them.

    Attributes:
        n_shown: n.
        shown: (n_items, n_users) float32 of 1s: the n users that are known to like each item asked for.
        slice: asks users of whom nothing is shown for these items, among each other: beside others the likes shown
            would tell which are asked for.
    """

    n_shown: int
    shown: csr_array
    slice: Slice


def show_few(
    likes: Likes, split: Split, rng: np.random.Generator, n_shown: Sequence[int] = N_SHOWN
) -> tuple[FewItems, ...]:
    """Shows a few likes of each cold item, and asks for the same others whatever the number shown.

    The likes are those of known users, who have training likes. An item is asked for if it has more than the largest
    number; its first likes, by time or else at random, are those that may be shown. Who shows a like of any item is
    never asked: what they show would be the first to be recommended to them, and would count as a miss. Without times
    the first are those of the first users in one random order, which is as random for each item, and leaves more users
    to be asked.

    Args:
        likes: all likes.
        split: how they were held out.
        rng: draws the order where likes have no times.
        n_shown: the numbers of likes to show; of the largest ones those are left out that leave nothing to ask for.

    Returns:
        One for each number, ascending; none where nothing can be asked for.
    """
    n_users, n_items = likes.shape
    known = np.bincount(split.train.users, minlength=n_users) > 0
    held = likes.select(split.cold_items[likes.items] & known[likes.users])
    order = rng.permutation(n_users)[held.users] if held.times is None else held.times
    by_item = np.lexsort((held.users, order, held.items))
    items, users = held.items[by_item], held.users[by_item]
    place = np.arange(len(items)) - np.searchsorted(items, items)  # of each like among its item's
    n_likes = np.bincount(items, minlength=n_items)[items]
    sizes = sorted(set(n_shown))
    while sizes:
        enough = n_likes > sizes[-1]
        may_show = enough & (place < sizes[-1])
        shows = np.bincount(users[may_show], minlength=n_users) > 0
        asked = enough & ~may_show & ~shows[users]
        if asked.any():
            break
        sizes.pop()
    else:
        return ()
    wanted = np.bincount(items[asked], minlength=n_items) > 0
    relevant = _to_matrix(users[asked], items[asked], likes.shape)
    seen = split.train.to_matrix()
    found = []
    for size in sizes:
        shown = wanted[items] & (place < size)
        slice_ = Slice(f"few_items_n{size}", _title(size), seen, relevant, wanted)
        found.append(FewItems(size, _to_matrix(items[shown], users[shown], (n_items, n_users)), slice_))
    return tuple(found)


def find_not_asked(asked: Sequence[FewItems], n_shown: Sequence[int] = N_SHOWN) -> tuple[NotAsked, ...]:
    """The numbers of likes that `show_few` left out, and why."""
    reason = "no new item has a like of a known user to ask for"
    return tuple(
        NotAsked(f"few_items_n{size}", _title(size), f"{reason} beside the {size} shown" if size else reason)
        for size in sorted(set(n_shown) - {few.n_shown for few in asked})
    )


def _title(n_shown: int) -> str:
    return f"New items with {n_shown} like{'' if n_shown == 1 else 's'}, among each other"


def _to_matrix(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
