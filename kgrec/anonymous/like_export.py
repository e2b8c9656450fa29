"""Exports a bundle's likes so that every user has the same record as at least k - 1 others."""

import secrets
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgrec.anonymous.grouping import count_alike, group_users
from kgrec.anonymous.periods import PERIODS, find_common_period, find_period
from kgrec.bundle import Bundle
from kgrec.errors import RequestError

LEAST_K = 2
_COLUMNS = pa.schema([("user", pa.string()), ("item", pa.string()), ("period", pa.string())])


@dataclass(frozen=True)
class AnonymousLikes:
    """Released likes, and what was left out.

    Attributes:
        table: columns `user` (a random pseudonym), `item` (its id) and `period` (of the like; null where the users of a
            group have none in common), sorted by the first two.
        k: the least number of released users with the same record, counted in `table`; 0 where nothing is released.
        n_users: the number of users with likes; n_users_left_out: of those that are not released.
        n_likes: the number of their likes; n_likes_left_out: of those that are not released.
    """

    table: pa.Table
    k: int
    n_users: int
    n_users_left_out: int
    n_likes: int
    n_likes_left_out: int

    def describe_periods(self) -> str:
        """How many likes were released at which period, the finest first: "12 by week, 300 by year"."""
        found = Counter(find_period(name) for name in self.table["period"].to_pylist())
        named = ", ".join(f"{found[period]:,} by {period}" for period in PERIODS[:-1] if found[period])
        untimed = f"{found[PERIODS[-1]]:,} without a time" if found[PERIODS[-1]] else ""
        return ", ".join(part for part in (named, untimed) if part)


def export_anonymous(bundle: Bundle, k: int, *, finest: str = "month") -> AnonymousLikes:
    """Releases likes so that each record is that of at least k users.

    A user's record is the set of all pairs (item, period) released under one pseudonym. It is k-anonymous as a whole
    (Samarati and Sweeney 1998): whatever somebody knows of a user, at least k released users fit it equally well. Users
    are grouped by common likes; of each group only the likes that all of it have are released, with the finest period
    in which all of it liked the item. So every released like is a true one, and rare likes are left out. Pseudonyms are
    random and new in each export; they do not come from ids.

    This does not hide what all of a group like: who knows that a user is in the table, and enough of the user's likes
    to find the group, learns the rest of its record. Nor does it hold for two exports of changing likes taken together.
    `kgrec train --private` has neither limit.

    Args:
        bundle: the bundle whose users' likes are released.
        k: the least number of users with the same record, at least 2.
        finest: the finest period of a like: "week", "month", "year", or "none" for no times.

    Raises:
        RequestError: k is less than 2 or more than the number of users with likes, or there is no such period.
    """
    liked = bundle.liked
    n_users = int(np.count_nonzero(np.diff(liked.indptr)))
    if isinstance(k, bool) or not isinstance(k, int) or k < LEAST_K:
        raise RequestError(f"got k = {k!r}; expected a whole number of at least {LEAST_K}, such as 5")
    if finest not in PERIODS:
        raise RequestError(f"got times {finest!r}; expected one of {', '.join(PERIODS)}")
    if not n_users:
        raise RequestError(
            "the bundle has no users with likes (a private training keeps none); export a bundle that has some"
        )
    if k > n_users:
        raise RequestError(
            f"got k = {k:,}, but the bundle has {n_users:,} users with likes; expected at most as many, such as 5"
        )
    records: list[tuple[str, str, str | None]] = []
    pseudonyms: set[str] = set()
    for users, items in group_users(liked, k):
        shared = [(bundle.items.ids[item], _find_period(bundle, users, item, finest)) for item in items.tolist()]
        for _ in users:
            pseudonym = _draw_pseudonym(pseudonyms)
            records += [(pseudonym, item, period) for item, period in shared]
    records.sort(key=lambda record: record[:2])  # else the order of the rows would give the groups' making away
    columns = [[record[place] for record in records] for place in range(len(_COLUMNS))]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _COLUMNS, strict=True)]
    return AnonymousLikes(
        pa.Table.from_arrays(arrays, schema=_COLUMNS), count_alike(records), n_users, n_users - len(pseudonyms),
        liked.nnz, liked.nnz - len(records),
    )  # fmt: skip


def _find_period(bundle: Bundle, users: NDArray[np.int64], item: int, finest: str) -> str | None:
    """The finest period in which all of some users liked an item; None: there is none, or no times are known."""
    if bundle.liked_at is None or finest == PERIODS[-1]:
        return None
    starts, columns = bundle.liked_at.indptr, bundle.liked_at.indices
    times = []
    for user in users.tolist():
        own = slice(starts[user], starts[user + 1])
        times.append(int(bundle.liked_at.data[own][columns[own] == item][0]))
    return find_common_period(times, finest)


def _draw_pseudonym(taken: set[str]) -> str:
    """A random pseudonym that is not taken yet; it is then."""
    while True:
        drawn = secrets.token_hex(8)
        if drawn not in taken:
            taken.add(drawn)
            return drawn
