"""Ranking metrics: per user (recall, NDCG, MRR, stratified recall) and per set of lists (coverage, Gini, overlap).

`recall_at_k`, `ndcg_at_k`, `reciprocal_rank_at_k` and `stratified_recall_at_k` take lists of items:

>>> recommended = [["a", "b", "c"], ["d", "a", "b"]]
>>> relevant = [{"b", "x"}, {"d"}]
>>> recall_at_k(recommended, relevant, k=3).tolist()
[0.5, 1.0]

The others take arrays of item rows or hits, for many users at once.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import KgrecError, RequestError


def recall_at_k(
    recommended: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int = 20
) -> NDArray[np.float64]:
    """Recall@k of each user: the share of the relevant items that are among the first k recommendations.

    Args:
        recommended: for each user, the recommended items, best first; shorter lists than k are allowed.
        relevant: for each user, in the same order, the items to find.
        k: list length, at least 1.

    Returns:
        (n_users,) float64; 0 for a user without relevant items. The metric of all users is the mean.

    Raises:
        RequestError: k is less than 1, the numbers of users differ, or a list holds an item twice.
    """
    hits = _mark_hits(recommended, relevant, k)
    return recall(hits, _count_relevant(relevant))[:, -1]


def ndcg_at_k(
    recommended: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int = 20
) -> NDArray[np.float64]:
    """NDCG@k of each user with binary gains; see `ndcg` for the formula and `recall_at_k` for arguments and errors.

    Returns:
        (n_users,) float64.
    """
    hits = _mark_hits(recommended, relevant, k)
    return ndcg(hits, _count_relevant(relevant))[:, -1]


def reciprocal_rank_at_k(
    recommended: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int = 20
) -> NDArray[np.float64]:
    """1 / the rank of the first hit among the first k, 0 without a hit; the mean over users is MRR@k.

    See `recall_at_k` for arguments and errors.

    Returns:
        (n_users,) float64.
    """
    return mrr(_mark_hits(recommended, relevant, k))[:, -1]


def stratified_recall_at_k(
    recommended: Sequence[Sequence[Hashable]],
    relevant: Sequence[Collection[Hashable]],
    popularity: Mapping[Hashable, int],
    k: int = 20,
) -> NDArray[np.float64]:
    """Recall@k where each item weighs popularity^-.5; see `stratified_recall` for the formula and its source.

    Args:
        recommended: as in `recall_at_k`.
        relevant: as in `recall_at_k`.
        popularity: item -> its likes in training; missing items count as liked once.
        k: list length, at least 1.

    Returns:
        (n_users,) float64; 0 for a user without relevant items.

    Raises:
        RequestError: as for `recall_at_k`.
    """
    hits = _mark_hits(recommended, relevant, k)

    def weigh(items: Collection[Hashable]) -> NDArray[np.float64]:
        return popularity_weights(np.array([popularity.get(item, 1) for item in items], np.int64))

    hit_weights = np.zeros(hits.shape)
    for row, items in enumerate(recommended):
        hit_weights[row, : len(items[:k])] = weigh(items[:k])
    totals = np.array([weigh(set(items)).sum() for items in relevant], np.float64)
    return stratified_recall(hit_weights * hits, totals)[:, -1]


def _mark_hits(
    recommended: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int
) -> NDArray[np.bool_]:
    """(n_users, k) bool: which of the first k recommendations are relevant."""
    if k < 1:
        raise RequestError(f"expected k of at least 1, got {k}")
    if len(recommended) != len(relevant):
        raise RequestError(
            f"expected recommended and relevant items of the same users, got {len(recommended)} and {len(relevant)}"
        )
    hits = np.zeros((len(recommended), k), np.bool_)
    for row, items in enumerate(recommended):
        first = list(items[:k])
        if len(set(first)) < len(first):
            raise RequestError(f"expected each recommended item once, got {first} for the user in place {row}")
        wanted = set(relevant[row])
        hits[row, : len(first)] = [item in wanted for item in first]
    return hits


def _count_relevant(relevant: Sequence[Collection[Hashable]]) -> NDArray[np.int64]:
    return np.array([len(set(items)) for items in relevant], np.int64)


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


def popularity_weights(popularity: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weight of a hit on each item, popularity^-.5; popularity counts as at least 1.

    Args:
        popularity: (n_items,) likes of each item in training.

    Returns:
        (n_items,) float64 in (0, 1].
    """
    weights: NDArray[np.float64] = np.maximum(popularity, 1).astype(np.float64) ** -0.5
    return weights


def stratified_recall(hit_weights: NDArray[np.floating], relevant_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Popularity-stratified recall at every length: recall where a hit counts more the fewer people like the item.

    S@k = sum over hits in the first k of w_i / sum over the user's relevant items of w_i, with w_i = popularity_i^-.5
    (Steck, Item popularity and recommendation accuracy, 2011).

    Args:
        hit_weights: (n_users, k), best first: the weight of the item at each place that is a hit, 0 elsewhere.
        relevant_weights: (n_users,) sum of the weights of the user's relevant items, in the list or not.

    Returns:
        (n_users, k); column j is S@(j + 1); 0 for a user without relevant items.
    """
    total = np.where(relevant_weights > 0, relevant_weights, 1.0)[:, None]  # (n_users, 1)
    found: NDArray[np.float64] = np.cumsum(hit_weights, axis=1, dtype=np.float64) / total
    return np.minimum(found, 1.0)  # rounding of the weights


def find_popular(popularity: NDArray[np.int64], n: int = 20) -> NDArray[np.bool_]:
    """Marks the n most liked items; ties go to lower rows, and items without likes are never marked.

    Args:
        popularity: (n_items,) likes of each item in training.
        n: how many.

    Returns:
        (n_items,) bool.
    """
    popular = np.zeros(popularity.size, np.bool_)
    popular[np.argsort(-popularity, kind="stable")[:n]] = True
    return popular & (popularity > 0)


def popular_in_first(top: NDArray[np.int64], popular: NDArray[np.bool_], n: int = 10) -> NDArray[np.int64]:
    """Counts how many of a user's first n recommendations are popular.

    Args:
        top: (n_users, k) item rows, best first, -1 for none.
        popular: (n_items,) bool: which items count as popular, as from `find_popular`.
        n: how many places count; all k if a list is shorter.

    Returns:
        (n_users,) int64, 0 to n.
    """
    first = top[:, :n]
    counts: NDArray[np.int64] = ((first >= 0) & popular[first]).sum(axis=1, dtype=np.int64)
    return counts


def list_overlap(recommended: NDArray[np.int64], n_lists: int, k: int) -> float:
    """The expected share of items that the lists of two random users have in common: 0 all different, 1 all the same.

    O = sum_i c_i (c_i - 1) / (n (n - 1) k), with c_i the lists that item i is in: of the n (n - 1) ordered pairs of
    lists, c_i (c_i - 1) share item i.

    Args:
        recommended: (n_items,) the number of lists that hold each item.
        n_lists: n, the number of lists.
        k: the length of a list.

    Returns:
        0 to 1; 0 with fewer than two lists.
    """
    if n_lists < 2:  # noqa: PLR2004
        return 0.0
    counts = recommended.astype(np.float64)
    return float((counts * (counts - 1)).sum() / (float(n_lists) * (n_lists - 1) * k))


def geometric_mean(values: NDArray[np.float64]) -> float:
    """The geometric mean of the means of several metrics: (prod_m mean_u x_um)^(1 / n_metrics); 0 without users.

    Args:
        values: (n_users, n_metrics), 0 or more.
    """
    if not len(values):
        return 0.0
    means = values.mean(axis=0)
    return float(np.exp(np.log(means).mean())) if (means > 0).all() else 0.0


def linearise_geometric_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each user's share of the geometric mean of means, by the delta method.

    With G = (prod_m M_m)^(1/n) and M_m = mean_u x_um, the first-order expansion of G around the means is a mean over
    users of g_u = G / n * sum_m x_um / M_m. So mean_u g_u = G, the standard error of G is that of a mean of g, and the
    standard error of a difference between two scorers over the same users is that of the mean of
    g_u(a) - g_u(b).

    Args:
        values: (n_users, n_metrics), 0 or more.

    Returns:
        (n_users,) float64; all 0 where a metric is 0 for everybody, since G is 0 then.
    """
    total = geometric_mean(values)
    if not total:
        return np.zeros(len(values))
    shares: NDArray[np.float64] = total * (values / values.mean(axis=0)).mean(axis=1)
    return shares


def coverage(recommended: NDArray[np.int64]) -> float:
    """The share of items that are recommended to anybody.

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
    """The mean training popularity of a recommended item.

    Args:
        recommended: (n_items,) how often each item is recommended.
        popularity: (n_items,) likes of each item in training.
    """
    total = recommended.sum()
    return float(recommended @ popularity / total) if total else 0.0
