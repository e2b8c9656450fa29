"""Choosing the gate's weights on validation: a coordinate search per slice, over scores computed once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.slices import Slice

_STEPS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
_ROUNDS = 2
_LEAST_GAIN = 5e-4  # relative: what is less is noise
_MOST_SCORES = 4_000_000  # users x items that validation holds at once for each component


@dataclass(frozen=True)
class Sample:
    """The users of a slice that validation looks at, few enough that their dense scores fit in memory.

    Attributes:
        support: (n_users, n_items).
        relevant: (n_users, n_items) bool.
        masked: (n_users, n_items) bool: what may not be recommended.
        n_relevant: (n_users,) float32.
        k: list length.
    """

    support: csr_array
    relevant: Tensor
    masked: Tensor
    n_relevant: Tensor
    k: int

    def quality(self, scores: Tensor) -> float:
        """The geometric mean of NDCG@k and Recall@k, each the mean over the users with relevant items.

        It does not depend on the scale of either, so that neither is bought at the other's cost.

        Args:
            scores: (n_users, n_items) float32.
        """
        asked = self.n_relevant > 0
        if not asked.any():
            return 0.0
        n_relevant = self.n_relevant.clamp(min=1)
        top = scores.masked_fill(self.masked, -torch.inf).topk(self.k, dim=1).indices
        hits = self.relevant.gather(1, top).float()  # (n_users, k)
        discounts = 1 / torch.log2(torch.arange(2, self.k + 2, dtype=torch.float32))
        ideal = discounts.cumsum(0)[n_relevant.clamp(max=self.k).long() - 1]
        ndcg, recall = ((hits @ discounts) / ideal)[asked].mean(), (hits.sum(dim=1) / n_relevant)[asked].mean()
        return float((ndcg * recall).sqrt())


def sample_slice(slice_: Slice, rng: np.random.Generator, k: int = 20) -> Sample:
    """Draws users of a slice, all of them where they are few."""
    users = np.flatnonzero(np.diff(slice_.relevant.indptr))
    most = max(_MOST_SCORES // slice_.n_items, 64)
    if len(users) > most:
        users = np.sort(rng.choice(users, most, replace=False))
    support, relevant = slice_.support[users], slice_.relevant[users]
    masked = np.zeros(support.shape, np.bool_)
    if slice_.candidates is not None:
        masked[:, ~slice_.candidates] = True
    masked[support.nonzero()] = True
    n_relevant = torch.from_numpy(np.diff(relevant.indptr).astype(np.float32))
    dense = torch.from_numpy(relevant.toarray() > 0)
    return Sample(support, dense, torch.from_numpy(masked), n_relevant, min(k, slice_.n_items))


def search_weights(
    parts: Sequence[Tensor | None], quality: Callable[[Tensor], float], impersonal: Collection[int] = ()
) -> tuple[NDArray[np.float32], float]:
    """Searches the weights of a blend: the best single part, then one part at a time.

    Args:
        parts: scores (n_users, n_items) of each part; None: it may not be used.
        quality: what a blend is worth, higher is better.
        impersonal: the places of the parts that score alike for everybody: the search does not start from these, since
            from there it finds its way to what a user is like only where that shows at every single step.

    Returns:
        (n_parts,) float32 weights and what they are worth. Scales of the parts are divided out in the search and
        multiplied into the weights.
    """
    scales = [1.0 if part is None else max(float(part.std(dim=1, correction=0).mean()), 1e-9) for part in parts]
    usable = [
        place for place, part in enumerate(parts) if part is not None and bool((part != part[:, :1]).any())
    ]  # what scores all items alike ranks nothing
    weights = np.zeros(len(parts), np.float64)
    if not usable:
        return weights.astype(np.float32), 0.0

    def blend(chosen: NDArray[np.float64]) -> Tensor:
        total: Tensor | None = None
        for place in np.flatnonzero(chosen).tolist():
            part = parts[place]
            assert part is not None
            scaled = part * float(chosen[place] / scales[place])
            total = scaled if total is None else total + scaled
        assert total is not None
        return total

    starts = [place for place in usable if place not in impersonal] or usable
    singles = [quality(blend(np.eye(len(parts))[place])) for place in starts]
    best = max(singles)
    weights[starts[singles.index(best)]] = 1.0
    for _ in range(_ROUNDS):
        before = best
        for place in usable:
            without = weights.copy()
            without[place] = 0
            rest = blend(without) if without.any() else None
            kept = weights[place]
            for step in _STEPS:
                if step == kept or (step == 0 and rest is None):
                    continue
                part = parts[place]
                assert part is not None
                scaled = part * (step / scales[place])
                worth = quality(scaled if rest is None else rest + scaled)
                if worth > best * (1 + _LEAST_GAIN):
                    best, weights[place] = worth, step
        if best <= before * (1 + _LEAST_GAIN):
            break
    return (weights / scales).astype(np.float32), best


def fit_line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The least-squares line y = slope x + intercept through all pairs."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    spread = float(((x - mean_x) ** 2).mean())
    slope = float(((x - mean_x) * (y - mean_y)).mean()) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x
