"""The tail dial: shifts a ranking from popular items towards items that suit this user more than others."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.model.linked_likes import sum_likes_of_linked
from kgrec.model.model import Model
from kgrec.questions.slices import tail_items
from kgrec.recommend.blocks import to_blocks
from kgrec.sequences import Order, find_order

TopK = Callable[[NDArray[np.float32], int], NDArray[np.int64]]

_LEAST_REFERENCES = 256  # users, or texts, to measure usual scores on; fewer than twice as many are used
_MANY_LIKES = 32  # from here on, reference users keep all their likes
_SHRINKAGE = 0.05  # of the median spread; bounds the gain of an item that scores alike for everybody
_PRIOR_LIKES = 5  # a user's share of tail items is shrunk towards everybody's by this many likes


@dataclass(frozen=True)
class Usual:
    """The usual scores of items, in standard deviations of one user's scores.

    Attributes:
        mean: (n_items,) float32 over reference users.
        gain: (n_items,) float32: the weight of a deviation from the mean, relative to the median item.
    """

    mean: NDArray[np.float32]
    gain: NDArray[np.float32]


class TailDial:
    """Ranks with more or less weight on the items outside the most popular 20%.

    Two steps, each stronger as the dial rises. *Correction*: an item's score s is compared with the scores that others
    get. With s standardised over the user's items to z, and m and d the mean and the standard deviation of the item's z
    over users with about as many likes, the corrected score is (1 - tail) s + tail s', s' being (z - m) / d on the
    scale of s: hubs that score high for everybody move down, and an item moves up for the users it suits best (as with
    hubs in nearest neighbour search: Schnitzer et al., Local and global scaling reduce hubs in space, JMLR 2012).
    *Calibration*: every prefix of a list has at least `tail` times the share of tail items in the user's own likes
    (Steck, Calibrated recommendations, RecSys 2018; by popularity: Abdollahpouri et al., User-centered evaluation of
    popularity bias, UMAP 2021). Tail items for these places are ranked at twice the dial, at most 1: as the place goes
    to a tail item anyway, the most personal one takes it.
    """

    def __init__(
        self,
        model: Model,
        liked: csr_array,
        prior: NDArray[np.float32] | None = None,
        linked: csr_array | None = None,
        order: Order | None = None,
    ) -> None:
        """Makes a dial; usual scores are measured at first use.

        Args:
            model: the model that scores.
            liked: (n_users, n_items) likes: usual scores are measured on an evenly spaced part of these users.
            prior: (n_users, dim) float32: what the graph says of these users; None: nothing.
            linked: (n_references, n_users) float32: the weights of the users whom those of `draw_reference` are linked
                to; None: they do not count.
            order: of the likes of the users of `draw_reference`; None: they have none.
        """
        self._model = model
        self.tail = tail_items(model.n_likes.numpy())
        users = draw_reference(liked)
        self._likes, self._order = liked[users], order
        self._prior = None if prior is None else prior[users]
        self._linked = None if linked is None else sum_likes_of_linked(linked, liked)
        n_likes = self._likes.nnz
        self._tail_share = float(self.tail[self._likes.indices].mean()) if n_likes else float(self.tail.mean())
        self._usual: dict[int | None, Usual] = {}

    def is_of(self, model: Model, liked: csr_array, linked: csr_array | None = None) -> bool:
        """Whether a new dial of this model, these likes and these linked users would be the same."""
        if model is not self._model or (linked is None) != (self._linked is None):
            return False
        same = _are_equal(liked[draw_reference(liked)], self._likes)
        if not same or linked is None or self._linked is None:
            return same
        return _are_equal(sum_likes_of_linked(linked, liked), self._linked)

    def rank(
        self,
        scores: NDArray[np.float32],
        masked: NDArray[np.bool_],
        support: csr_array,
        tail: float,
        k: int,
        top_k: TopK,
        *,
        sentence: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Finds the k best items for each of some users.

        Args:
            scores: (n_users, n_items) of all items, masked ones too.
            masked: (n_users, n_items) bool: items that may not be recommended.
            support: (n_users, n_items) the known likes of each user.
            tail: the dial, -1 to 1; below 0, popularity is added to the scores.
            k: length of a list.
            top_k: (scores, k) -> (n_users, k) rows of the k best, -1 for none.
            sentence: whether users without likes have a sentence; without either, scores are not corrected.

        Returns:
            (n_users, k) item rows, best first, -1 where a user has fewer than k items that are not masked; (n_users, k)
            corrected scores: an item that calibration moves up has at least the score of the one that follows it.
        """
        if tail < 0:
            blended = np.where(masked, np.float32(-np.inf), self._add_popularity(scores, -tail))
            rows = top_k(blended, k)
            found = np.where(rows >= 0, np.take_along_axis(blended, np.maximum(rows, 0), axis=1), -np.inf)
            return rows, found.astype(np.float32)
        corrected = self._correct(scores, np.diff(support.indptr), sentence=sentence)
        barred = np.float32(-np.inf)
        blended = np.where(masked, barred, blend(scores, corrected, tail))
        of_tail = np.where(masked | ~self.tail, barred, blend(scores, corrected, min(1.0, 2 * tail)))
        rows = lift_tail(top_k(blended, k), top_k(of_tail, k), self.tail, tail * self.own_shares(support))
        found = np.where(rows >= 0, np.take_along_axis(blended, np.maximum(rows, 0), axis=1), barred)
        return rows, np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]

    def _add_popularity(self, scores: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
        """The scores plus weighted popularity; at a weight of 1 both count the same."""
        popularity = np.log1p(self._model.n_likes.numpy()).astype(np.float32)
        spread = max(float(popularity.std()), 1e-9)
        _, own = _level(scores)
        added: NDArray[np.float32] = scores + np.float32(weight / spread) * own * (popularity - popularity.mean())
        return added

    def _correct(
        self, scores: NDArray[np.float32], n_likes: NDArray[np.int64], *, sentence: bool
    ) -> NDArray[np.float32]:
        """The scores relative to the usual ones; without likes or a sentence they stay."""
        many = np.minimum(n_likes, _MANY_LIKES)
        sizes = np.where(many > 0, 2 ** np.floor(np.log2(np.maximum(many, 1))).astype(np.int64), 0)  # (n_users,)
        corrected = scores.copy()
        for size in np.unique(sizes):
            if size or sentence:
                users = np.flatnonzero(sizes == size)
                corrected[users] = correct_scores(scores[users], self._usual_of(int(size) or None))
        return corrected

    def own_shares(self, support: csr_array) -> NDArray[np.float64]:
        """The share of tail items in each user's likes, (n_users,), shrunk towards everybody's if likes are few."""
        n_tail = support @ self.tail.astype(np.float64)
        shares: NDArray[np.float64] = (n_tail + _PRIOR_LIKES * self._tail_share) / (
            np.diff(support.indptr) + _PRIOR_LIKES
        )
        return shares

    def _usual_of(self, size: int | None) -> Usual:
        """The usual scores for users with `size` likes; None: for sentences."""
        if size not in self._usual:
            drawn = None if size is None else _draw_likes(self._likes, self._order, size)
            blocks = self._score_texts() if drawn is None else self._score_likes(*drawn)
            self._usual[size] = measure_usual(blocks, self._model.n_items)
        return self._usual[size]

    def _score_likes(self, likes: csr_array, order: Order | None) -> Iterator[NDArray[np.float32]]:
        """Scores for the reference users with these likes, in blocks."""
        for block in to_blocks(likes.shape[0], self._model.n_items):
            prior, linked = (part if part is None else part[block] for part in (self._prior, self._linked))
            yield self._model.score(likes[block], prior, linked, None if order is None else order.select(block))

    def _score_texts(self) -> Iterator[NDArray[np.float32]]:
        """Scores for the texts of some items, each as a sentence, in blocks."""
        texts = self._model.text.numpy()
        texts = texts[np.flatnonzero(texts.any(axis=1))]
        texts = texts[:: _stride(len(texts))]
        for block in to_blocks(len(texts), self._model.n_items):
            nothing = csr_array((block.stop - block.start, self._model.n_items), dtype=np.float32)
            yield self._model.score_support(self._model.with_sentence(nothing, texts[block]))


def _are_equal(one: csr_array, other: csr_array) -> bool:
    pairs = ((one.indptr, other.indptr), (one.indices, other.indices), (one.data, other.data))
    return all(np.array_equal(*pair) for pair in pairs)


def check_dial(tail: float) -> None:
    """Checks that the dial is a number from -1 to 1.

    Raises:
        RequestError: it is not.
    """
    if not isinstance(tail, Real) or not -1 <= tail <= 1:
        raise RequestError(
            f"expected a tail dial from -1 (popular among similar users) to 1 (far into the tail), got {tail!r}"
        )


def draw_reference(liked: csr_array) -> NDArray[np.int64]:
    """The rows of the reference users: evenly spaced, so that one more user rarely changes the selection."""
    rows = np.arange(0, liked.shape[0], _stride(liked.shape[0]))
    drawn: NDArray[np.int64] = rows[np.diff(liked.indptr)[rows] > 0]
    return drawn


def measure_usual(blocks: Iterable[NDArray[np.float32]], n_items: int) -> Usual:
    """Measures the usual scores of items.

    Args:
        blocks: (n_users, n_items) each, the scores of some users for all items; without users, every mean is 0 and
            every gain 1.
        n_items: the number of items.
    """
    n_users, total, squares = 0, np.zeros(n_items), np.zeros(n_items)
    for scores in blocks:
        level, spread = _level(scores)
        standardised = (scores - level) / spread
        n_users += len(scores)
        total += standardised.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ui,ui->i", standardised, standardised, dtype=np.float64)
    if not n_users:
        return Usual(np.zeros(n_items, np.float32), np.ones(n_items, np.float32))
    mean = total / n_users
    deviation = np.sqrt(np.maximum(squares / n_users - mean**2, 0))  # (n_items,)
    median = float(np.median(deviation))
    shrunk = deviation + _SHRINKAGE * median
    gain = np.divide((1 + _SHRINKAGE) * median, shrunk, out=np.ones(n_items), where=shrunk > 0)
    return Usual(mean.astype(np.float32), gain.astype(np.float32))


def correct_scores(scores: NDArray[np.float32], usual: Usual) -> NDArray[np.float32]:
    """Corrects scores by the usual ones: a + gain (s - a - b mean), a and b the mean and deviation of a user's scores.

    Args:
        scores: (n_users, n_items) of all items.
        usual: for users with about as many likes.
    """
    level, spread = _level(scores)
    corrected = scores - level  # in place from here on: blocks are large
    corrected -= spread * usual.mean
    corrected *= usual.gain
    corrected += level
    return corrected


def blend(scores: NDArray[np.float32], corrected: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """The mean of two scores, the second with this weight."""
    mean: NDArray[np.float32] = np.float32(1 - weight) * scores
    mean += np.float32(weight) * corrected
    return mean


def lift_tail(
    best: NDArray[np.int64], best_tail: NDArray[np.int64], tail: NDArray[np.bool_], least_share: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Moves tail items up until each prefix of a list has its share of them.

    The i-th tail item keeps its place in the list of all items, or moves up to the place j where least_share j reaches
    i. So a shorter list is always a prefix of a longer one.

    Args:
        best: (n_users, k) the k best items, -1 for none.
        best_tail: (n_users, k) the k best tail items, -1 for none; possibly in another order.
        tail: (n_items,) bool.
        least_share: (n_users,) 0 to 1: of the first j items at least floor(least_share j) are tail items, if there are
            enough.

    Returns:
        (n_users, k) item rows, -1 for none.
    """
    k = best.shape[1]
    is_tail = (best >= 0) & tail[best]
    places = np.sort(np.where(is_tail, np.arange(k), k), axis=1)  # (n_users, k): where the i-th tail item is
    with np.errstate(divide="ignore", over="ignore"):
        latest = np.ceil(np.arange(1, k + 1) / least_share[:, None] - 1e-9) - 1  # (n_users, k): inf without a share
    places = np.minimum(places, np.minimum(latest, k).astype(np.int64))
    lifted = (best_tail >= 0) & (places < k)
    users, order = np.nonzero(lifted)
    ranked = np.full_like(best, -1)
    ranked[users, places[users, order]] = best_tail[users, order]
    # the other items fill the free places, in their order
    free = np.argsort(ranked >= 0, axis=1, kind="stable")  # free places first
    others = np.argsort(is_tail | (best < 0), axis=1, kind="stable")
    n_filled = np.minimum(k - lifted.sum(axis=1), ((best >= 0) & ~is_tail).sum(axis=1))
    users, order = np.nonzero(np.arange(k) < n_filled[:, None])
    ranked[users, free[users, order]] = best[users, others[users, order]]
    return ranked


def _stride(n_rows: int) -> int:
    return 1 << int(math.log2(max(n_rows / _LEAST_REFERENCES, 1)))


def _level(scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each user's scores, (n_users, 1); 1 where all are equal."""
    spread = scores.std(axis=1, keepdims=True)
    return scores.mean(axis=1, keepdims=True), np.where(spread > 0, spread, np.float32(1))


def _draw_likes(likes: csr_array, in_order: Order | None, size: int) -> tuple[csr_array, Order | None]:
    """The same users with `size` of their likes, drawn at random, and their order; all from `_MANY_LIKES` on."""
    if size >= _MANY_LIKES:
        return likes, in_order
    users = np.repeat(np.arange(likes.shape[0]), np.diff(likes.indptr))
    order = np.lexsort((np.random.default_rng(0).random(likes.nnz), users))
    places = np.arange(likes.nnz) - likes.indptr[users]
    kept = np.sort(order[places < size])
    drawn = csr_array((likes.data[kept], (users[kept], likes.indices[kept])), shape=likes.shape)
    return drawn, None if in_order is None else _renumber(in_order, drawn, kept)


def _renumber(order: Order, likes: csr_array, kept: NDArray[np.int64]) -> Order:
    """The order of some of the likes, by their places among all.

    Args:
        order: of all likes.
        likes: (n_users, n_items) some of them.
        kept: (n,) which of all entries these are.
    """
    halves = 2 * order.places.data[kept]  # whole numbers, since places are means of whole numbers next to each other
    ages = order.ages.data[kept]
    has_likes = np.diff(likes.indptr) > 0
    latest = np.zeros(len(has_likes), np.float32)
    latest[has_likes] = np.minimum.reduceat(ages, likes.indptr[:-1][has_likes]) if len(ages) else 0
    since = ages - latest.repeat(np.diff(likes.indptr)) + 1
    return Order(
        find_order(likes, -halves.astype(np.int64)).places,
        csr_array((since, likes.indices, likes.indptr), shape=likes.shape),
    )
