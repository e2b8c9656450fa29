"""Slices of an evaluation (warm, cold items, cold users, tail), and the ranking of one in bounded memory."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec import metrics
from kgrec.errors import KgrecError, RequestError
from kgrec.questions.slice_results import SliceResult
from kgrec.sequences import Order

CURVE_LENGTH = 50  # metrics are kept at every list length up to this
POPULAR_ITEMS, FIRST_PLACES = 20, 10  # how many items count as popular, and among how many places they are counted


class Scorer(Protocol):
    """Ranks all items for a user from the support alone: a model or a baseline."""

    @property
    def name(self) -> str:
        """The name shown in tables."""
        ...

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """Scores all items for a block of users.

        Args:
            support: (n_users, n_items) float32, 1 where a user likes an item, as far as the scorer may see.

        Returns:
            (n_users, n_items) float32, higher is better.
        """
        ...


@runtime_checkable
class KnowsUsers(Protocol):
    """A scorer that also reads what the graph says of users, and the order of their likes."""

    def score(
        self,
        support: csr_array,
        prior: NDArray[np.float32] | None = None,
        linked: csr_array | None = None,
        order: Order | None = None,
    ) -> NDArray[np.float32]:
        """Scores all items for a block of users, as `Scorer.score`.

        Args:
            support: as there.
            prior: rows of `Slice.prior`.
            linked: from `Slice.likes_of_linked`.
            order: of the likes in `support`.
        """
        ...

    def place_users(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """Places users, for `Slice.prior`."""
        ...


@runtime_checkable
class KnowsRows(Protocol):
    """A scorer that looks users up by their rows, to use what a catalogue knows of them besides likes."""

    def score_users(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores all items for some users, (n_users,) rows in the catalogue: (n_users, n_items)."""
        ...


@dataclass(frozen=True)
class Slice:
    """One question to every scorer: from the support, find the relevant items among the candidates.

    Attributes:
        name: for files and options: "warm", "cold_items", "cold_items_all", "cold_users_k1", ...
        title: for people.
        support: (n_users, n_items) float32 of 1s: the likes that the model sees; never recommended.
        relevant: (n_users, n_items): the items to find; users without any are left out.
        candidates: (n_items,) bool: the items that may be recommended; None: every item.
        left_out: (n_users, n_items): items that the model does not see and that are neither relevant nor recommended,
            such as the validation likes of a published split; None: nothing.
        prior: (n_users, dim) float32: what the graph says of each user, as the model that is asked places them; None:
            nothing, or not placed yet.
        linked: (n_users, n_all_users) float32: the weights of the users whom each user is linked to; None: nobody is,
            or not placed yet.
        linked_likes: (n_all_users, n_items) of 1s: the likes of all users in training; None: as with `linked`.
        order: of the likes in `support`; None: they have no times.

    Raises:
        KgrecError: the shapes differ, or a relevant item could never be found.
    """

    name: str
    title: str
    support: csr_array
    relevant: csr_array
    candidates: NDArray[np.bool_] | None = None
    left_out: csr_array | None = None
    prior: NDArray[np.float32] | None = None
    linked: csr_array | None = None
    linked_likes: csr_array | None = None
    order: Order | None = None

    def __post_init__(self) -> None:
        shape = self.support.shape
        if self.relevant.shape != shape or (self.candidates is not None and self.candidates.shape != shape[1:]):
            mask = None if self.candidates is None else self.candidates.shape
            raise KgrecError(
                f"slice {self.name!r}: expected support and relevant of one shape and a candidate mask of its width, "
                f"got {shape}, {self.relevant.shape}, {mask}"
            )
        for name, never in (("support", self.support), ("left_out", self.left_out)):
            n_seen = 0 if never is None else never.multiply(self.relevant).nnz
            if n_seen:
                raise KgrecError(
                    f"slice {self.name!r}: {n_seen} relevant items are in the {name} too; remove them there"
                )
        if self.candidates is not None:
            n_outside = int(np.count_nonzero(~self.candidates[self.relevant.indices]))
            if n_outside:
                raise KgrecError(f"slice {self.name!r}: {n_outside} relevant items are no candidates; leave them out")

    @property
    def n_items(self) -> int:
        """The number of items, candidates or not."""
        return int(self.support.shape[1])

    def likes_of_linked(self, rows: NDArray[np.int64] | slice = slice(None)) -> csr_array | None:
        """(n, n_items) float32: the weighted training likes of those whom some users are linked to; None: nobody is."""
        if self.linked is None or self.linked_likes is None:
            return None
        return csr_array(self.linked[rows] @ self.linked_likes, dtype=np.float32)


@dataclass(frozen=True)
class SkippedSlice:
    """A slice without users.

    Attributes:
        name: `Slice.name`.
        title: `Slice.title`.
        reason: why nobody has a relevant item, in words.
    """

    name: str
    title: str
    reason: str


def evaluate_slice(
    scorer: Scorer,
    slice_: Slice,
    k: int = 20,
    *,
    block_users: int = 512,
    popularity: NDArray[np.int64] | None = None,
) -> SliceResult:
    """Ranks all candidates for every user of a slice, block by block.

    Memory is block_users x n_items for the scores, plus a few numbers per user and per item. Equal scores are put in
    one fixed random order of the items: a catalogue's own order often follows popularity, and a scorer that scores all
    items alike must not profit from it.

    Args:
        scorer: a model or a baseline.
        slice_: the users and the items to find.
        k: list length; curves go up to the larger of k and 50.
        block_users: how many users are scored at once.
        popularity: (n_items,) int64 likes of each item in training, for stratified recall, the objective and the count
            of popular items; None: the result has none of these.

    Raises:
        RequestError: k or block_users is less than 1.
        KgrecError: the scores have another shape or are NaN, or popularity is not one number per item.
    """
    if k < 1 or block_users < 1:
        raise RequestError(f"expected k and block_users of at least 1, got {k} and {block_users}")
    n_items = slice_.n_items
    candidates = np.ones(n_items, dtype=np.bool_) if slice_.candidates is None else slice_.candidates
    n_relevant = np.diff(slice_.relevant.indptr).astype(np.int64)
    users = np.flatnonzero(n_relevant)
    depth = max(k, CURVE_LENGTH)
    hits = np.zeros((users.size, depth), dtype=np.bool_)
    recommended = np.zeros(n_items, dtype=np.int64)
    item_hits = np.zeros(n_items, dtype=np.int64)
    if popularity is not None and popularity.shape != (n_items,):
        raise KgrecError(f"expected the popularity of {n_items} items, got {popularity.shape}")
    weights = np.ones(n_items) if popularity is None else metrics.popularity_weights(popularity)
    popular = metrics.find_popular(np.zeros(n_items, np.int64) if popularity is None else popularity, POPULAR_ITEMS)
    hit_weights = np.zeros(hits.shape, np.float32)
    n_popular = np.zeros(users.size, np.int64)
    shuffled = np.random.default_rng(0).permutation(n_items)
    for start in range(0, users.size, block_users):
        block = users[start : start + block_users]
        top = _rank(scorer, slice_, block, candidates, shuffled, depth)
        found = metrics.find_hits(top, slice_.relevant[block])
        at = slice(start, start + block.size)
        hits[at], hit_weights[at] = found, found * weights[top]
        n_popular[at] = metrics.popular_in_first(top, popular, FIRST_PLACES)
        lists = top[:, :k]
        recommended += np.bincount(lists[lists >= 0], minlength=n_items)
        item_hits += np.bincount(lists[found[:, :k]], minlength=n_items)
    return SliceResult(
        slice_name=slice_.name,
        slice_title=slice_.title,
        scorer=scorer.name,
        k=k,
        users=users,
        hits=hits,
        n_relevant=n_relevant[users],
        candidates=candidates,
        recommended=recommended,
        item_hits=item_hits,
        item_relevant=np.bincount(slice_.relevant.indices, minlength=n_items),
        hit_weights=None if popularity is None else hit_weights,
        relevant_weights=None if popularity is None else _sum_rows(slice_.relevant, weights)[users],
        popular_in_first=None if popularity is None else n_popular,
    )


def _sum_rows(matrix: csr_array, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the weights of each row's stored columns: (n_rows,)."""
    owners = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    sums = np.bincount(owners, weights=weights[matrix.indices], minlength=matrix.shape[0])
    return sums.astype(np.float64)


def _rank(
    scorer: Scorer,
    slice_: Slice,
    users: NDArray[np.int64],
    candidates: NDArray[np.bool_],
    order: NDArray[np.int64],
    k: int,
) -> NDArray[np.int64]:
    support = slice_.support[users]
    if isinstance(scorer, KnowsUsers):
        prior = None if slice_.prior is None else slice_.prior[users]
        in_order = None if slice_.order is None else slice_.order.select(users)
        scores = scorer.score(support, prior, slice_.likes_of_linked(users), in_order)
    elif isinstance(scorer, KnowsRows):
        scores = scorer.score_users(users)
    else:
        scores = scorer.score(support)
    if scores.shape != support.shape:
        raise KgrecError(f"{scorer.name}: expected scores of shape {support.shape}, got {scores.shape}")
    scores = np.where(candidates, scores, np.float32(-np.inf))  # (n_users, n_items): a copy, the answer may be a view
    scores[support.nonzero()] = -np.inf
    if slice_.left_out is not None:
        scores[slice_.left_out[users].nonzero()] = -np.inf
    top = metrics.top_k(scores[:, order], k)  # (n_users, k) places in `order`
    return np.where(top >= 0, order[top], -1)


def tail_items(popularity: NDArray[np.int64], head_share: float = 0.2) -> NDArray[np.bool_]:
    """Marks the items outside the most popular share.

    Args:
        popularity: (n_items,) likes in training; among equals the lower row counts as the more popular.
        head_share: the share of items that is not tail.

    Returns:
        (n_items,) bool.
    """
    n_head = math.ceil(head_share * popularity.size)
    tail = np.ones(popularity.size, dtype=np.bool_)
    tail[np.argsort(-popularity, kind="stable")[:n_head]] = False
    return tail


def tail_slice(slice_: Slice, popularity: NDArray[np.int64], head_share: float = 0.2) -> Slice:
    """The same question where only tail items are relevant; all candidates still compete.

    Args:
        slice_: the slice, usually the warm one.
        popularity: (n_items,) likes in training.
        head_share: the share of items, the most popular, that is left out of `relevant`.
    """
    tail = tail_items(popularity, head_share)
    pairs = slice_.relevant.tocoo()
    kept = tail[pairs.col]
    relevant = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)
    title = f"Tail: items outside the most popular {head_share:.0%}"
    return replace(slice_, name="tail", title=title, relevant=relevant)
