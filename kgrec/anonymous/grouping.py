"""Puts users with common likes into groups, and counts users whose released records are the same."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

_BLOCK_USERS = 2000  # users with about as many likes, who are compared with each other

Rows = NDArray[np.int64]


def group_users(likes: csr_array, k: int) -> list[tuple[Rows, Rows]]:
    """Puts users into groups of k, with the items that all of a group like.

    Greedy: the user with the most likes is joined by the one with most of these likes, then by the one with most of
    what both have in common, and so on. A user with whom nobody would have a like in common is left out, as are the
    fewer than k users that stay at the end. The cost is linear in users: only users with about as many likes are
    compared.

    Args:
        likes: (n_users, n_items) of 1s.
        k: the number of users of a group.

    Returns:
        For each group the rows of its users, (k,), and of their common items, ascending and at least one.
    """
    sizes = np.diff(likes.indptr)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    groups: list[tuple[Rows, Rows]] = []
    left = order[:0]
    for start in range(0, len(order), _BLOCK_USERS):
        rows = np.concatenate([left, order[start : start + _BLOCK_USERS]])
        left = _group_block(likes, rows, k, groups)
    return groups


def _group_block(likes: csr_array, rows: Rows, k: int, groups: list[tuple[Rows, Rows]]) -> Rows:
    """Adds the groups of some users, (n,) rows, most likes first; returns the rows of the users that stay."""
    own = csr_array(likes[rows])
    by_item = csc_array(own)
    free = np.ones(len(rows), np.bool_)
    for seed in range(len(rows)):
        if free.sum() < k:
            break
        if not free[seed]:
            continue
        free[seed] = False
        members, common = [seed], np.sort(own.indices[own.indptr[seed] : own.indptr[seed + 1]]).astype(np.int64)
        while len(members) < k:
            overlap = _count_likes(by_item, common) * free
            best = int(overlap.argmax())
            if not overlap[best]:
                break
            free[best] = False
            members.append(best)
            common = np.intersect1d(common, own.indices[own.indptr[best] : own.indptr[best + 1]]).astype(np.int64)
        if len(members) == k:
            groups.append((rows[members], common))
        else:
            free[members[1:]] = True
    return rows[free]


def _count_likes(by_item: csc_array, items: Rows) -> NDArray[np.int64]:
    """(n_users,): how many of some items each user likes."""
    fans = [by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]] for item in items.tolist()]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *fans]), minlength=by_item.shape[0])


def count_alike(records: Iterable[tuple[str, str, str | None]]) -> int:
    """The k of released likes: each user's whole record is that of at least k users; 0 without records.

    Args:
        records: (user, item, period) of each like.
    """
    by_user: defaultdict[str, set[tuple[str, str | None]]] = defaultdict(set)
    for user, item, period in records:
        by_user[user].add((item, period))
    alike = Counter(frozenset(record) for record in by_user.values())
    return min(alike.values(), default=0)
