"""Many users who are answered together: known ones, or those of a mapping or a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.recommend.argument_ids import to_id, to_ids
from kgrec.recommend.asked import Asked
from kgrec.recommend.interactions import read_many
from kgrec.recommend.like_order import PlacedLikes, to_order
from kgrec.recommend.requests import Request, find_friends, find_links, place_given, select_row, to_matrix
from kgrec.recommend.state import State
from kgrec.sequences import Order

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Batch:
    """Many users who are answered together.

    Attributes:
        keys: their ids, as in the request.
        support: (n_users, n_items), their likes.
        prior: (n_users, dim), what links and attributes say of them, 0 where it is nothing; None: of nobody.
        friends: (n_users, n_all_users), the weights of the users whom they are linked to; None: they do not count.
        users: (n_users,) their rows; None: what the bundle has of them does not count.
        linked: the nodes that each is linked to, as in `Request.linked`; None: those that the bundle has.
        order: of the likes; None: they have none, or it does not count.
    """

    keys: Sequence[str]
    support: csr_array
    prior: NDArray[np.float32] | None = None
    friends: csr_array | None = None
    users: NDArray[np.int64] | None = None
    linked: Sequence[NDArray[np.int64]] | None = None
    order: Order | None = None

    def select(self, block: slice) -> "Batch":
        """Some of the users."""
        return Batch(
            self.keys[block],
            self.support[block],
            None if self.prior is None else self.prior[block],
            None if self.friends is None else self.friends[block],
            None if self.users is None else self.users[block],
            None if self.linked is None else self.linked[block],
            None if self.order is None else self.order.select(block),
        )

    def to_request(self, place: int) -> Request:
        """The request of one user."""
        friends = None if self.friends is None else self.friends[[place]]
        likes, placed = select_row(self.support, place), None
        if self.order is not None:
            own = slice(*self.support.indptr[place : place + 2])
            placed = PlacedLikes(likes, self.order.places.data[own], self.order.ages.data[own])
        return Request(
            likes,
            prior=None if self.prior is None or not self.prior[place].any() else self.prior[place],
            friends=None if friends is None or not friends.nnz else friends,
            user=None if self.users is None else int(self.users[place]),
            linked=None if self.linked is None else self.linked[place],
            placed=placed,
        )


def find_known_users(state: State, users: Sequence[str], about: dict[str, list[str]]) -> tuple[Batch, csr_array]:
    """Known users as a batch, and what they have seen, (n_users, n_items); `about` gets unknown users."""
    asked = list(dict.fromkeys(users))
    rows = state.bundle.users.rows(asked)
    about["unknown_users"] += [id_ for id_, row in zip(asked, rows, strict=True) if row < 0]
    known = rows[rows >= 0]
    prior = None if state.user_priors is None else state.user_priors[known]
    keys = [id_ for id_, row in zip(asked, rows, strict=True) if row >= 0]
    order = state.find_order(known)
    batch = Batch(keys, state.bundle.liked[known], prior, state.weigh_friends(known), users=known, order=order)
    return batch, state.bundle.seen[known]


def read_batch(
    state: State, likes: "Mapping[str, Sequence[str]] | pa.Table | pd.DataFrame", about: dict[str, list[str]]
) -> Batch:
    """The users of a mapping or a table as a batch; `about` gets unknown items and links."""
    if isinstance(likes, Mapping):
        by_user = {to_id(key, "each key of likes"): Asked(likes=to_ids(ids, "likes")) for key, ids in likes.items()}
    else:
        by_user = read_many(likes, state.bundle.schema)
    found = []
    for asked in by_user.values():
        rows = state.bundle.items.rows(asked.likes)
        about["unknown_items"] += [id_ for id_, row in zip(asked.likes, rows, strict=True) if row < 0]
        found.append(np.unique(rows[rows >= 0]))
    support = to_matrix(found, len(state.bundle.items))
    order = None
    if state.counts_order:
        order = to_order(support, [place_given(state, asked) for asked in by_user.values()])
    if not any(asked.links or asked.values for asked in by_user.values()):
        return Batch(list(by_user), support, order=order)
    linked, codes = find_links(state, list(by_user.values()), about["unknown_links"])
    prior = state.bundle.model.place_users(None, codes)
    friends = find_friends(state, [None] * len(linked), linked)
    return Batch(list(by_user), support, prior, friends, linked=linked, order=order)
