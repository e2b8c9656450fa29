"""A baseline for users without likes: what the users like whom they are linked to, or share a node with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.evaluate.baseline_scorers import LEAST_WEIGHT, count_likes
from kgrec.evaluate.baseline_tuning import Settings, combine, tune
from kgrec.graph.node_links import NodeLinks
from kgrec.questions.slices import Slice

CANDIDATES = combine({"damping": (0.5, 1.0), "direct_weight": (1.0, 10.0)})
_MANY_USERS = 1000  # at one node, above which their likes are added up once for all


@dataclass(frozen=True)
class LinkedUsers:
    """Scores items by the likes of linked users: for each of a user's links the likes of the users with the same link.

    A link to a user counts for that user's own likes, too. A node of n users weighs n^-damping, so that a city counts
    less than a group of three.

    Attributes:
        incidence: (n_users, n_codes) float32 of 1s: the links of users.
        friends: (n_users, n_users) float32: the number of links from one to the other.
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
        damping: the exponent; 1 for the mean of a node's users.
        direct_weight: the weight of the likes of the users at the other end of links.
    """

    incidence: csr_array
    friends: csr_array
    likes: csr_array
    damping: float = 1.0
    direct_weight: float = 1.0
    name: str = "linked users' likes"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """Popularity, for users who cannot be looked up: (n_users, n_items)."""
        return np.broadcast_to(count_likes(self.likes), support.shape)

    def score_users(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """The damped likes of the users linked to each of some users, ties by popularity: (n_users, n_items)."""
        weights = np.maximum(self._n_users, 1).astype(np.float32) ** -self.damping
        own = csr_array(self.incidence[users] * weights)  # (n_users, n_codes)
        few, many = ~self._is_large, self._is_large
        nearby = own[:, few] @ self._users_of_small + self.direct_weight * self.friends[users]
        scores: NDArray[np.float32] = (nearby @ self.likes).toarray().astype(np.float32)
        if many.any():
            scores += (own[:, many] @ self._likes_of_large).toarray()
        scores += np.float32(LEAST_WEIGHT) * np.log1p(count_likes(self.likes))
        return scores

    @cached_property
    def _n_users(self) -> NDArray[np.int64]:
        """(n_codes,): the users with likes at each node."""
        liking = np.diff(self.likes.indptr) > 0
        return np.bincount(self.incidence[liking].indices, minlength=self.incidence.shape[1])

    @cached_property
    def _is_large(self) -> NDArray[np.bool_]:
        """(n_codes,): the nodes whose users' likes are added up once."""
        return self._n_users >= _MANY_USERS

    @cached_property
    def _users_of_small(self) -> csr_array:
        return csr_array(self.incidence[:, ~self._is_large].T.tocsr())

    @cached_property
    def _likes_of_large(self) -> csr_array:
        return csr_array(self.incidence[:, self._is_large].T @ self.likes)

    def with_settings(self, settings: Settings, likes: csr_array) -> "LinkedUsers":
        """The scorer with other settings and likes."""
        return replace(self, likes=likes, damping=settings["damping"], direct_weight=settings["direct_weight"])


def link_users(links: NodeLinks, user_type: str, likes: csr_array) -> LinkedUsers | None:
    """Reads who is linked to whom; None: users have no links.

    Args:
        links: of users, from `build_user_links`.
        user_type: the node type of users.
        likes: (n_users, n_items) float32, 1 where a user likes an item in training.
    """
    if not links.incidence.nnz:
        return None
    n_users, n_codes = links.incidence.shape
    is_user = np.array([other == user_type for _, _, other in links.relations], np.bool_)[links.relation]
    codes = np.flatnonzero(is_user)
    far_ends = csr_array((np.ones(len(codes), np.float32), (codes, links.node[codes])), shape=(n_codes, n_users))
    return LinkedUsers(links.incidence, csr_array(links.incidence @ far_ends), likes)


def tune_linked_users(linked: LinkedUsers, held_in: csr_array, validation: Sequence[Slice]) -> tuple[LinkedUsers, str]:
    """Chooses the damping and the weight of direct links on validation.

    Args:
        linked: from `link_users`.
        held_in: (n_users, n_items) float32, the training likes without those held out for validation.
        validation: users without likes; without any, the defaults stay.

    Returns:
        The scorer, and the choice in words.
    """
    if not any(slice_.relevant.nnz for slice_ in validation):
        return linked, "defaults: too few likes to hold any out for validation"

    def fit_all() -> Iterator[tuple[Settings, LinkedUsers]]:
        for settings in CANDIDATES:
            yield settings, linked.with_settings(settings, held_in)

    popularity = count_likes(held_in).astype(np.int64)
    tuned = tune(fit_all(), {"new users without likes": validation}, popularity)["new users without likes"]
    return linked.with_settings(tuned.settings, linked.likes), f"new users without likes: {tuned}"
