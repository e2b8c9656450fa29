"""How one scorer did on one slice, user by user, and how two scorers compare."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec import metrics
from kgrec.errors import KgrecError, RequestError

METRICS = ("recall", "ndcg", "mrr")
STRATIFIED = "stratified_recall"  # needs the popularity of items
OBJECTIVE = "objective"
OBJECTIVE_METRICS = ("recall", "ndcg", STRATIFIED)  # settings are chosen by their geometric mean


@dataclass(frozen=True)
class SliceResult:
    """How one scorer did on one slice.

    Attributes:
        slice_name: `Slice.name`.
        slice_title: `Slice.title`.
        scorer: `Scorer.name`.
        k: list length.
        users: (n_users,) rows of the users with relevant items, ascending; every other array of users has this order.
        hits: (n_users, depth) bool: which of the first `depth` recommendations are relevant; depth >= k.
        n_relevant: (n_users,) int64.
        candidates: (n_items,) bool.
        recommended: (n_items,) int64: the number of lists of length k that hold an item.
        item_hits: (n_items,) int64: the number of users with the item among their first k to whom it is relevant.
        item_relevant: (n_items,) int64: the number of users to whom an item is relevant.
        hit_weights: (n_users, depth) float32: popularity^-.5 of the item where `hits` is true, 0 elsewhere; None
            without the popularity of items, like the two that follow.
        relevant_weights: (n_users,) float64: the sum of popularity^-.5 over a user's relevant items.
        popular_in_first: (n_users,) int64: how many of the first 10 recommendations are among the 20 items most liked
            in training.
    """

    slice_name: str
    slice_title: str
    scorer: str
    k: int
    users: NDArray[np.int64]
    hits: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]
    candidates: NDArray[np.bool_]
    recommended: NDArray[np.int64]
    item_hits: NDArray[np.int64]
    item_relevant: NDArray[np.int64]
    hit_weights: NDArray[np.float32] | None = None
    relevant_weights: NDArray[np.float64] | None = None
    popular_in_first: NDArray[np.int64] | None = None

    def curves(self, metric: str) -> NDArray[np.float64]:
        """One metric per user at every length.

        Args:
            metric: "recall", "ndcg", "mrr" or "stratified_recall".

        Returns:
            (n_users, depth); column j is the metric at j + 1.

        Raises:
            RequestError: there is no such metric.
            KgrecError: stratified recall needs the popularity of items, and there is none.
        """
        if metric == STRATIFIED:
            if self.hit_weights is None or self.relevant_weights is None:
                raise KgrecError(
                    f"stratified recall of {self.scorer} on {self.slice_name!r}: expected the popularity of items, "
                    "got none; pass `popularity` to evaluate_slice"
                )
            return metrics.stratified_recall(self.hit_weights, self.relevant_weights)
        if metric not in METRICS:
            raise RequestError(f"expected a metric of {', '.join((*METRICS, STRATIFIED))}, got {metric!r}")
        if metric == "mrr":
            return metrics.mrr(self.hits)
        return {"recall": metrics.recall, "ndcg": metrics.ndcg}[metric](self.hits, self.n_relevant)

    def per_user(self, metric: str) -> NDArray[np.float64]:
        """One metric at k per user, or "objective" for values whose mean is the objective: (n_users,)."""
        if metric == OBJECTIVE:
            return self.objective_per_user
        return self.curves(metric)[:, self.k - 1]

    @property
    def objective(self) -> float:
        """The geometric mean of mean Recall@k, mean NDCG@k and mean stratified Recall@k; settings maximise it."""
        return metrics.geometric_mean(self._objective_values())

    @property
    def objective_per_user(self) -> NDArray[np.float64]:
        """(n_users,): values whose mean is the objective; see `metrics.linearise_geometric_mean`."""
        return metrics.linearise_geometric_mean(self._objective_values())

    def _objective_values(self) -> NDArray[np.float64]:
        return np.column_stack([self.per_user(metric) for metric in OBJECTIVE_METRICS])

    @property
    def overlap(self) -> float:
        """The expected share of items that the lists of two random users have in common, 0 to 1."""
        return metrics.list_overlap(self.recommended, self.users.size, self.k)

    @property
    def coverage(self) -> float:
        """The share of candidates that are recommended to somebody."""
        return metrics.coverage(self.recommended[self.candidates])

    @property
    def gini(self) -> float:
        """Gini coefficient of how often each candidate is recommended: 0 all alike, near 1 a few take all."""
        return metrics.gini(self.recommended[self.candidates])

    def average_popularity(self, popularity: NDArray[np.int64]) -> float:
        """The mean training popularity, (n_items,), of what is recommended."""
        return metrics.average_popularity(self.recommended, popularity)


def paired_difference(ours: SliceResult, other: SliceResult, metric: str = OBJECTIVE) -> tuple[float, float]:
    """The difference between two scorers over the same users, and its standard error.

    With x_u a metric of user u and d_u = x_u(ours) - x_u(other), the difference is mean_u d_u and its standard error
    sqrt(sum_u (d_u - mean d)^2 / (n (n - 1))). For the objective, x_u is its linearised value
    (`metrics.linearise_geometric_mean`): the difference is then objective(ours) - objective(other), and the error is
    that of the delta method.

    Args:
        ours: how one scorer did.
        other: how the other did on the same slice.
        metric: "objective", or one of `SliceResult.curves` at k.

    Returns:
        The difference and its standard error; the error is infinite with fewer than two users.

    Raises:
        RequestError: there is no such metric.
        KgrecError: the two have different users, or the metric needs the popularity of items, and there is none.
    """
    if not np.array_equal(ours.users, other.users):
        raise KgrecError(
            f"expected results over the same users, got {ours.scorer} on {ours.slice_name!r} ({ours.users.size} users) "
            f"and {other.scorer} on {other.slice_name!r} ({other.users.size} users)"
        )
    differences = ours.per_user(metric) - other.per_user(metric)
    n_users = differences.size
    if n_users < 2:  # noqa: PLR2004
        return float(differences.sum()), math.inf
    return float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(n_users))
