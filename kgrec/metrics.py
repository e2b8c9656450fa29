"""Ranking metrics: per user (recall, NDCG, MRR) and per set of lists (coverage, Gini, average popularity)."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import KgrecError, RequestError


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Finds the k best items of each user, best first; equal scores are ordered by the lower row.

    Args:
        scores: (n_users, n_items); an item that is -inf is masked and never returned.
        k: length of a list.

    Returns:
        (n_users, k) item rows, int64; -1 where a user has fewer than k unmasked items.

    Raises:
        RequestError: k is less than 1.
        KgrecError: a score is not a number.
    """
    if k < 1:
        raise RequestError(f"expected k of at least 1, got {k}")
    if np.isnan(scores).any():
        raise KgrecError(f"expected numbers as scores, got {int(np.isnan(scores).sum())} NaN: the model is broken")
    n_users, n_items = scores.shape
    top = np.full((n_users, k), -1, dtype=np.int64)
    if not n_users or not n_items:
        return top
    if k < n_items:
        threshold = np.partition(scores, n_items - k, axis=1)[:, n_items - k, None]  # (n_users, 1): the k-th best
        kept = (scores >= threshold) & (scores > -np.inf)
    else:
        kept = scores > -np.inf
    users, items = np.nonzero(kept)  # more than k of a user only where scores equal the k-th best
    order = np.lexsort((items, -scores[users, items], users))
    users, items = users[order], items[order]
    starts = np.searchsorted(users, np.arange(n_users))
    places = np.arange(users.size) - starts[users]
    first = places < k
    top[users[first], places[first]] = items[first]
    return top


def find_hits(top: NDArray[np.int64], relevant: csr_array) -> NDArray[np.bool_]:
    """Marks which recommended items are relevant.

    Args:
        top: (n_users, k) item rows, best first, -1 for none.
        relevant: (n_users, n_items); the stored entries are the relevant items.

    Returns:
        (n_users, k) bool.
    """
    n_users, n_items = relevant.shape
    owners = np.repeat(np.arange(n_users, dtype=np.int64), np.diff(relevant.indptr))
    pairs = np.sort(owners * n_items + relevant.indices)
    if not pairs.size:
        return np.zeros(top.shape, dtype=np.bool_)
    asked = np.arange(n_users, dtype=np.int64)[:, None] * n_items + top  # (n_users, k)
    found = pairs[np.minimum(np.searchsorted(pairs, asked), pairs.size - 1)]
    hits: NDArray[np.bool_] = (found == asked) & (top >= 0)
    return hits


def recall(hits: NDArray[np.bool_], n_relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall at every length: the share of a user's relevant items that is in the list.

    Args:
        hits: (n_users, k) bool, best first.
        n_relevant: (n_users,) number of relevant items, in the list or not.

    Returns:
        (n_users, k); column j is Recall@(j + 1); 0 for a user without relevant items.
    """
    return np.cumsum(hits, axis=1) / np.maximum(n_relevant, 1)[:, None]


def ndcg(hits: NDArray[np.bool_], n_relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain at every length, with binary gains.

    DCG@k = sum over hits at place p (from 1) of 1 / log2(p + 1), divided by the DCG of min(k, n_relevant) hits
    at the first places (Järvelin and Kekäläinen, 2002).

    Args:
        hits: (n_users, k) bool, best first.
        n_relevant: (n_users,) number of relevant items, in the list or not.

    Returns:
        (n_users, k); column j is NDCG@(j + 1); 0 for a user without relevant items.
    """
    length = hits.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, length + 2))  # (k,)
    ideal = np.cumsum(discounts)
    ideal_places = np.minimum(np.arange(1, length + 1)[None, :], np.maximum(n_relevant, 1)[:, None]) - 1  # (n_users, k)
    gains: NDArray[np.float64] = np.cumsum(hits * discounts, axis=1) / ideal[ideal_places]
    return gains


def mrr(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Reciprocal rank of the first hit at every length, 0 without a hit; its mean over users is the MRR.

    Args:
        hits: (n_users, k) bool, best first.

    Returns:
        (n_users, k); column j is the reciprocal rank within the first j + 1 places.
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    return np.maximum.accumulate(hits / ranks, axis=1)


def coverage(recommended: NDArray[np.int64]) -> float:
    """The share of items that are recommended to somebody.

    Args:
        recommended: (n_candidates,) how often each candidate is recommended.
    """
    return float(np.count_nonzero(recommended) / recommended.size) if recommended.size else 0.0


def gini(recommended: NDArray[np.int64]) -> float:
    """Gini coefficient of how often each item is recommended: 0 all alike, near 1 a few items take all.

    G = sum_i (2 i - n - 1) x_i / (n sum x) over ascending counts x_1 <= ... <= x_n.

    Args:
        recommended: (n_candidates,) how often each candidate is recommended.
    """
    n_items, total = recommended.size, recommended.sum()
    if not total:
        return 0.0
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights * np.sort(recommended)).sum() / (n_items * total))


def average_popularity(recommended: NDArray[np.int64], popularity: NDArray[np.int64]) -> float:
    """The mean training popularity of what is recommended.

    Args:
        recommended: (n_items,) how often each item is recommended.
        popularity: (n_items,) likes of each item in training.
    """
    total = recommended.sum()
    return float(recommended @ popularity / total) if total else 0.0
