"""Choosing the gate's weights on validation: a coordinate search per slice, over scores computed once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.slices import Slice

_STEPS = (0.0, 0.1, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
_ROUNDS = 2
_LEAST_GAIN = 5e-4  # relative: what is less is noise
_NOISE = 0.03  # likewise, of a single user
_CLEARLY = 1.002  # times as good: what is less does not change a setting
_SHORTLIST = 100  # items from the top of each part
_MOST_SCORES = 12_000_000  # users x items that validation holds at once for each component

Fitted = TypeVar("Fitted")


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


def sample_slice(slice_: Slice, rng: np.random.Generator, k: int) -> Sample:
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
    if slice_.left_out is not None:
        masked[slice_.left_out[users].nonzero()] = True
    n_relevant = torch.from_numpy(np.diff(relevant.indptr).astype(np.float32))
    dense = torch.from_numpy(relevant.toarray() > 0)
    return Sample(support, dense, torch.from_numpy(masked), n_relevant, min(k, slice_.n_items))


def shorten(sample: Sample, parts: Sequence[Tensor | None]) -> tuple[Sample, list[Tensor | None]]:
    """The same question among the items that any part ranks high for a user: what a blend puts first is among them.

    Args:
        sample: of n_users.
        parts: scores (n_users, n_items) of each part.

    Returns:
        The sample and the parts with a few hundred items for each user, others for each.
    """
    depth = min(_SHORTLIST, sample.masked.shape[1])
    tops = [
        part.masked_fill(sample.masked, -torch.inf).topk(depth, dim=1).indices for part in parts if part is not None
    ]
    index = torch.cat(tops, dim=1).sort(dim=1).values  # (n_users, n_short)
    twice = torch.nn.functional.pad(index[:, 1:] == index[:, :-1], (1, 0))
    masked = sample.masked.gather(1, index) | twice
    relevant = sample.relevant.gather(1, index) & ~masked
    short = Sample(sample.support, relevant, masked, sample.n_relevant, min(sample.k, index.shape[1]))
    return short, [None if part is None else part.gather(1, index) for part in parts]


def search_weights(
    parts: Sequence[Tensor | None],
    quality: Callable[[Tensor], float],
    n_users: int,
    start: NDArray[np.float64],
    impersonal: Collection[int] = (),
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Searches the weights of a blend: from the best part, pair of parts or given start, one part at a time.

    Args:
        parts: scores (n_users, n_items) of each part; None: it may not be used.
        quality: what a blend is worth, higher is better.
        n_users: of how many users; the fewer they are, the more a step must gain to be taken.
        start: (n_parts,) weights of parts that have a standard deviation of 1; zeros: none.
        impersonal: the places of the parts that score alike for everybody: the search does not start from these, since
            from there it finds its way to what a user is like only where that shows at every single step.

    Returns:
        (n_parts,) float32 weights, the same of parts that have a standard deviation of 1, and what they are worth.
    """
    scales = [1.0 if part is None else max(float(part.std(dim=1, correction=0).mean()), 1e-9) for part in parts]
    usable = [
        place for place, part in enumerate(parts) if part is not None and bool((part != part[:, :1]).any())
    ]  # what scores all items alike ranks nothing
    weights = np.zeros(len(parts), np.float64)
    if not usable:
        return weights.astype(np.float32), weights, 0.0

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
    least = 1 + max(_LEAST_GAIN, _NOISE / n_users**0.5)
    each = np.eye(len(parts))
    best = -1.0
    for size in (1, 2):
        tried = [each[list(some)].sum(axis=0) for some in combinations(starts, size)]
        worths = [quality(blend(chosen)) for chosen in tried]
        if tried and max(worths) > best * least:
            best = max(worths)
            weights = tried[worths.index(best)]
    begun = np.where(np.isin(np.arange(len(parts)), usable), start, 0.0)
    if begun.any() and (worth := quality(blend(begun))) >= best:
        best, weights = worth, begun
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
                if worth > best * least:
                    best, weights[place] = worth, step
        if best <= before * least:
            break
    return (weights / scales).astype(np.float32), weights, best


def climb(
    start: Mapping[str, float],
    grid: Mapping[str, Sequence[float]],
    measure: Callable[[Mapping[str, float]], tuple[float, Fitted]],
    *,
    together: bool = False,
) -> tuple[dict[str, float], Fitted]:
    """Chooses settings one after the other, each by steps up, or else down, its values for as long as it gets better.

    Args:
        start: where to begin: a value for each name, one of its own.
        grid: name -> its values, ascending.
        measure: what settings are worth, higher is better, and what was fitted by them.
        together: whether the settings depend on each other: then two are moved against each other too, and all again
            until nothing gets better by however little. Nothing is measured twice.

    Returns:
        The best settings and what was fitted by them.
    """
    chosen = dict(start)
    best, fitted = measure(chosen)
    seen = {tuple(chosen.values())}
    moves = [({name: 1}, {name: -1}) for name in grid]
    if together:
        moves += [({one: 1, other: -1}, {one: -1, other: 1}) for one, other in combinations(grid, 2)]
    better = True
    while better:
        better = False
        for directions in moves:
            for direction in directions:
                moved = False
                while (tried := _step(chosen, grid, direction)) is not None and tuple(tried.values()) not in seen:
                    seen.add(tuple(tried.values()))
                    worth, found = measure(tried)
                    if worth <= best * (1 if together else _CLEARLY):
                        break
                    best, fitted, chosen, moved = worth, found, tried, True
                better |= moved and together
                if moved:
                    break
    return chosen, fitted


def _step(
    chosen: Mapping[str, float], grid: Mapping[str, Sequence[float]], direction: Mapping[str, int]
) -> dict[str, float] | None:
    """Settings a step further; None where the grid ends."""
    places = {name: grid[name].index(chosen[name]) + step for name, step in direction.items()}
    if not all(0 <= place < len(grid[name]) for name, place in places.items()):
        return None
    return {**chosen, **{name: grid[name][place] for name, place in places.items()}}


def fit_line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The least-squares line y = slope x + intercept through all pairs."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    spread = float(((x - mean_x) ** 2).mean())
    slope = float(((x - mean_x) * (y - mean_y)).mean()) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x
