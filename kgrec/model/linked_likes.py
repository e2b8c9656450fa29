"""Linked likes: users get what the users whom they are linked to like."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.component import DefaultWeights, ItemChange, Scale, Shares, Support, sum_shares
from kgrec.model.inputs import FitInputs

DAMPING = 0.5


@dataclass(frozen=True)
class LinkedLikes:
    """Adds up the likes of linked users. A user with n linked users weighs n^-0.5.

    It keeps single items apart that the user prior's narrow vectors mix up. The likes are no part of it: they come with
    the support, so that new likes count at once.

    Attributes:
        items: (n_items, 0).
        warm_scale: of factors of width 0.
    """

    name: ClassVar[str] = "linked_likes"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights()  # it counts where validation users bear it out
    neighbours = None
    reference = None
    cold_scale = None
    items: Tensor
    warm_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "LinkedLikes | None":
        """None: no user is linked to another one."""
        items = torch.zeros((len(inputs.text), 0))
        return cls(items, Scale.of(items)) if inputs.has_linked_users else None

    def users(self, support: Support) -> Tensor:
        """(n_users, 0): there are no factors, only `added`."""
        return torch.zeros((support.likes.shape[0], 0))

    def added(self, support: Support) -> csr_array | None:
        """(n_users, n_items): the weighted likes of linked users."""
        return support.linked

    def shares(self, support: Support) -> Shares:
        """Shares of width 0: there are no factors, only `added`."""
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "LinkedLikes":
        """Covers the changed items, too."""
        return replace(self, items=change.carry(self.items))


def find_linked_users(edges: Iterable[NDArray[np.int64]], n_users: int) -> csr_array:
    """Who is linked to whom, in either direction: (n_users, n_users) of 1s, symmetric, without links to oneself.

    Args:
        edges: the rows of both ends, (2, n), of each edge type between users.
        n_users: the number of users.
    """
    near, far = np.hstack([np.zeros((2, 0), np.int64), *edges])
    near, far = near[near != far], far[near != far]
    ones = np.ones(2 * len(near), np.float32)
    ends = np.concatenate([near, far]), np.concatenate([far, near])
    linked = csr_array((ones, ends), shape=(n_users, n_users))
    linked.sum_duplicates()
    linked.data[:] = 1
    return linked


def weigh_linked_users(rows: csr_array, linked: csr_array, is_new: NDArray[np.bool_] | bool = False) -> csr_array:
    """The weights of the users whom some users are linked to, (n, n_users).

    Args:
        rows: (n, n_users) of 1s: the rows of these users.
        linked: (n_users, n_users), from `find_linked_users`.
        is_new: whether `linked` lacks a link, for each entry of `rows`.
    """
    others = rows.indices
    n_linked = (linked.indptr[others + 1] - linked.indptr[others] + is_new).astype(np.float32)
    return csr_array((n_linked**-DAMPING, others, rows.indptr), shape=rows.shape)


def sum_likes_of_linked(weights: csr_array, likes: csr_array) -> csr_array:
    """The weighted likes of linked users, (n, n_items); the cost does not grow with all users.

    Args:
        weights: (n, n_users), from `weigh_linked_users`.
        likes: (n_users, n_items) of 1s.
    """
    others, places = np.unique(weights.indices, return_inverse=True)
    own = csr_array((weights.data, places.ravel(), weights.indptr), shape=(weights.shape[0], len(others)))
    return csr_array(own @ likes[others], dtype=np.float32)
