"""The metrics along the tail dial: recall, coverage and the share of tail items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec import metrics
from kgrec.evaluate.intervals import Interval, bootstrap_intervals
from kgrec.model.model import Model
from kgrec.questions.slice_results import METRICS, STRATIFIED
from kgrec.questions.slices import FIRST_PLACES, POPULAR_ITEMS, Slice
from kgrec.recommend.tail import TailDial, TopK, draw_reference

DIAL = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
AFFORDABLE = 0.05  # loss of recall, as a share of the recall at 0


@dataclass(frozen=True)
class DialPoint:
    """One setting of the dial.

    Attributes:
        tail: the dial's setting.
        means: metric -> its mean over users at k.
        recall_change: the change against the dial at 0, as a share of the recall there, with its 95% interval over
            users.
        coverage: share of candidates recommended to anybody.
        gini: how unequally recommendations are shared among candidates.
        overlap: the expected share of items that the lists of two random users have in common.
        popular_in_first: the mean number of the first 10 recommendations that are among the 20 most liked items.
        average_popularity: mean training likes of a recommended item.
        tail_share: share of tail items among the recommended ones.
        off_own_share: mean distance over users between the shares of tail items in their list and in their own likes.
    """

    tail: float
    means: Mapping[str, float]
    recall_change: Interval
    coverage: float
    gini: float
    overlap: float
    popular_in_first: float
    average_popularity: float
    tail_share: float
    off_own_share: float


@dataclass(frozen=True)
class DialCurve:
    """One slice along the dial.

    Attributes:
        slice_name: `Slice.name`.
        slice_title: `Slice.title`.
        own_tail_share: mean share of tail items in the users' own likes.
        points: one for each setting, ascending from 0.
    """

    slice_name: str
    slice_title: str
    own_tail_share: float
    points: tuple[DialPoint, ...]

    @property
    def affordable(self) -> DialPoint:
        """The largest setting up to which recall drops by at most `AFFORDABLE`."""
        within = [point.recall_change.mean >= -AFFORDABLE for point in self.points]
        return self.points[([*within, False]).index(False) - 1]


def measure_dial(
    model: Model,
    liked: csr_array,
    slice_: Slice,
    rng: np.random.Generator,
    *,
    k: int = 20,
    settings: Sequence[float] = DIAL,
    block_users: int = 512,
) -> DialCurve | None:
    """Ranks the candidates of a slice at each setting of the dial; users are scored once.

    Args:
        model: the model.
        liked: (n_users, n_items) the training likes, from which the dial learns the usual score of each item.
        slice_: the users and the items to find.
        rng: the source of the bootstrap's resamples.
        k: list length.
        settings: the settings of the dial, ascending from 0.
        block_users: the number of users to score at once.

    Returns:
        The curve; None if no user has a relevant item.
    """
    n_relevant = np.diff(slice_.relevant.indptr).astype(np.int64)
    users = np.flatnonzero(n_relevant)
    if not users.size:
        return None
    linked = None if slice_.linked is None else slice_.linked[draw_reference(liked)]
    order = None if slice_.order is None else slice_.order.select(draw_reference(liked))
    dial = TailDial(model, liked, slice_.prior, linked, order)
    top_k = shuffled_top_k(slice_.n_items)
    candidates = np.ones(slice_.n_items, np.bool_) if slice_.candidates is None else slice_.candidates
    hits = np.zeros((len(settings), users.size, k), np.bool_)
    recommended = np.zeros((len(settings), slice_.n_items), np.int64)
    tail_shares = np.zeros((len(settings), users.size))
    popular_counts = np.zeros((len(settings), users.size))
    hit_weights = np.zeros(hits.shape, np.float32)
    popularity = np.bincount(liked.indices, minlength=slice_.n_items).astype(np.int64)
    weights, popular = metrics.popularity_weights(popularity), metrics.find_popular(popularity, POPULAR_ITEMS)
    relevant_weights = (slice_.relevant @ weights)[users]
    own_shares = np.zeros(users.size)
    for at, scores, masked in score_blocks(model, slice_, users, block_users):
        block = users[at]
        support = slice_.support[block]
        own_shares[at] = (support @ dial.tail.astype(np.float64)) / np.maximum(np.diff(support.indptr), 1)
        for place, setting in enumerate(settings):
            if setting:
                top = dial.rank(scores, masked, support, setting, k, top_k)[0]
            else:
                top = top_k(np.where(masked, np.float32(-np.inf), scores), k)
            found = top >= 0
            hits[place, at] = metrics.find_hits(top, slice_.relevant[block])
            hit_weights[place, at] = hits[place, at] * weights[top]
            popular_counts[place, at] = metrics.popular_in_first(top, popular, FIRST_PLACES)
            recommended[place] += np.bincount(top[found], minlength=slice_.n_items)
            tail_shares[place, at] = (found & dial.tail[top]).sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    recalls = np.stack([metrics.recall(found, n_relevant[users])[:, -1] for found in hits], axis=1)
    changes = bootstrap_intervals(recalls - recalls[:, :1], rng)
    least = max(float(recalls[:, 0].mean()), 1e-12)
    points = []
    for place, setting in enumerate(settings):
        change = changes[place]
        curves = {
            "recall": recalls[:, place, None],
            "ndcg": metrics.ndcg(hits[place], n_relevant[users]),
            "mrr": metrics.mrr(hits[place]),
            STRATIFIED: metrics.stratified_recall(hit_weights[place], relevant_weights),
        }
        points.append(
            DialPoint(
                tail=setting,
                means={metric: float(curves[metric][:, -1].mean()) for metric in (*METRICS, STRATIFIED)},
                recall_change=Interval(change.mean / least, change.low / least, change.high / least),
                coverage=metrics.coverage(recommended[place][candidates]),
                gini=metrics.gini(recommended[place][candidates]),
                overlap=metrics.list_overlap(recommended[place], users.size, k),
                popular_in_first=float(popular_counts[place].mean()),
                average_popularity=metrics.average_popularity(recommended[place], popularity),
                tail_share=float(recommended[place][dial.tail].sum() / max(recommended[place].sum(), 1)),
                off_own_share=float(np.abs(tail_shares[place] - own_shares).mean()),
            )
        )
    return DialCurve(slice_.name, slice_.title, float(own_shares.mean()), tuple(points))


def score_blocks(
    model: Model, slice_: Slice, users: NDArray[np.int64], block_users: int
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.bool_]]]:
    """Scores all items for some users of a slice, block by block.

    Args:
        model: the model.
        slice_: the users and the items to find.
        users: (n,) rows of users.
        block_users: the number of users to score at once.

    Yields:
        For each block its places in `users`, (n_block, n_items) scores of all items, and (n_block, n_items) bool: what
        may not be recommended.
    """
    barred = np.zeros(slice_.n_items, np.bool_) if slice_.candidates is None else ~slice_.candidates
    for start in range(0, users.size, block_users):
        block = users[start : start + block_users]
        support = slice_.support[block]
        prior = None if slice_.prior is None else slice_.prior[block]
        in_order = None if slice_.order is None else slice_.order.select(block)
        scores = model.score(support, prior, slice_.likes_of_linked(block), in_order)
        masked = np.tile(barred, (block.size, 1))
        masked[support.nonzero()] = True
        if slice_.left_out is not None:
            masked[slice_.left_out[block].nonzero()] = True
        yield slice(start, start + block.size), scores, masked


def shuffled_top_k(n_items: int) -> TopK:
    """Finds the best items; ties are broken in the random order of `evaluate_slice`.

    So at 0 the figures along a dial equal those of the slice's table.

    Args:
        n_items: the number of items.
    """
    shuffled = np.random.default_rng(0).permutation(n_items)

    def find(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        found = metrics.top_k(scores[:, shuffled], k)
        return np.where(found >= 0, shuffled[found], -1)

    return find
