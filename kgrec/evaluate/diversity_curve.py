"""The metrics along the diversity dial: the distance within lists, recall, NDCG and coverage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec import metrics
from kgrec.evaluate.dial import score_blocks, shuffled_top_k
from kgrec.evaluate.intervals import Interval, bootstrap_intervals
from kgrec.model.model import Model
from kgrec.questions.slices import Slice
from kgrec.recommend.diversity import Ranked, rank_varied

DIVERSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_USERS = 4000  # of a slice; of more, as many are drawn


@dataclass(frozen=True)
class DiversityPoint:
    """One setting of the dial.

    Attributes:
        diversity: the setting.
        distance: the mean distance within a list, 1 - cosine of two items' likeness vectors over all pairs of it, with
            its 95% interval over users.
        nearest: the mean distance of a listed item to the one of its list that is nearest to it.
        recall: mean recall at k.
        ndcg: mean NDCG at k.
        recall_change: the change against the dial at 0, as a share of the recall there, with its 95% interval.
        coverage: share of candidates recommended to anybody.
    """

    diversity: float
    distance: Interval
    nearest: float
    recall: float
    ndcg: float
    recall_change: Interval
    coverage: float


@dataclass(frozen=True)
class DiversityCurve:
    """One slice along the dial.

    Attributes:
        slice_name: `Slice.name`.
        slice_title: `Slice.title`.
        n_users: the users asked.
        points: one for each setting, ascending from 0.
    """

    slice_name: str
    slice_title: str
    n_users: int
    points: tuple[DiversityPoint, ...]


def measure_diversity(
    model: Model,
    slice_: Slice,
    rng: np.random.Generator,
    *,
    k: int = 20,
    settings: Sequence[float] = DIVERSITIES,
    block_users: int = 512,
    most_users: int = MOST_USERS,
) -> DiversityCurve | None:
    """Lists the candidates of a slice at each setting of the dial; users are scored once.

    Args:
        model: the model.
        slice_: the users and the items to find.
        rng: draws the users, and the bootstrap's resamples.
        k: list length.
        settings: the settings of the dial, ascending from 0.
        block_users: the number of users to score at once.
        most_users: how many users are asked at most.

    Returns:
        The curve; None if no user has a relevant item.
    """
    n_relevant = np.diff(slice_.relevant.indptr).astype(np.int64)
    users = np.flatnonzero(n_relevant)
    if not users.size:
        return None
    users = np.sort(rng.choice(users, most_users, replace=False)) if users.size > most_users else users
    top_k, vectors = shuffled_top_k(slice_.n_items), model.likeness_vectors()
    candidates = np.ones(slice_.n_items, np.bool_) if slice_.candidates is None else slice_.candidates
    n_settings, n_users = len(settings), users.size
    hits = np.zeros((n_settings, n_users, k), np.bool_)
    recommended = np.zeros((n_settings, slice_.n_items), np.int64)
    distances, nearest = np.zeros((n_users, n_settings)), np.zeros((n_users, n_settings))
    for at, scores, masked in score_blocks(model, slice_, users, block_users):
        allowed = np.where(masked, np.float32(-np.inf), scores)

        def rank(n: int, allowed: NDArray[np.float32] = allowed) -> Ranked:
            rows = top_k(allowed, n)
            return rows, np.take_along_axis(allowed, np.maximum(rows, 0), axis=1)

        for place, setting in enumerate(settings):
            top = rank_varied(rank, k, slice_.n_items, setting, lambda: vectors, None)[0]
            hits[place, at, : top.shape[1]] = metrics.find_hits(top, slice_.relevant[users[at]])
            recommended[place] += np.bincount(top[top >= 0], minlength=slice_.n_items)
            distances[at, place], nearest[at, place] = measure_distances(top, vectors)
    recalls = np.stack([metrics.recall(found, n_relevant[users])[:, -1] for found in hits], axis=1)
    found = bootstrap_intervals(np.hstack([distances, recalls - recalls[:, :1]]), rng)
    least = max(float(recalls[:, 0].mean()), 1e-12)
    points = []
    for place, setting in enumerate(settings):
        change = found[n_settings + place]
        points.append(
            DiversityPoint(
                diversity=setting,
                distance=found[place],
                nearest=float(nearest[:, place].mean()),
                recall=float(recalls[:, place].mean()),
                ndcg=float(metrics.ndcg(hits[place], n_relevant[users])[:, -1].mean()),
                recall_change=Interval(change.mean / least, change.low / least, change.high / least),
                coverage=metrics.coverage(recommended[place][candidates]),
            )
        )
    return DiversityCurve(slice_.name, slice_.title, n_users, tuple(points))


def measure_distances(
    top: NDArray[np.int64], vectors: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distances within lists (intra-list distance: Zhang and Hurley, RecSys 2008).

    Args:
        top: (n_users, k) item rows, -1 for none.
        vectors: (n_items, dim) unit vectors.

    Returns:
        (n_users,) the mean of 1 - cosine over the pairs of a list, and (n_users,) the mean over its items of the
        smallest one; 0 for a list of one item or none.
    """
    mean, smallest = np.zeros(len(top)), np.zeros(len(top))
    for user, rows in enumerate(top):
        listed = vectors[rows[rows >= 0]]
        if len(listed) > 1:
            distances = 1 - listed @ listed.T  # (n, n)
            np.fill_diagonal(distances, np.inf)
            smallest[user] = distances.min(axis=1).mean()
            mean[user] = distances[np.isfinite(distances)].mean()
    return mean, smallest
