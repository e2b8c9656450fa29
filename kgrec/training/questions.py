"""The questions that choices are made by: users of a slice, and what each component says of the items in question."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor

from kgrec.metrics import find_popular, geometric_mean, popularity_weights
from kgrec.model.component import Support
from kgrec.model.model import Model
from kgrec.questions.slices import FIRST_PLACES, POPULAR_ITEMS, Slice

MOST_USERS = 800  # of a question
_BLOCK_SCORES = 3_000_000
_SHORTLIST = 80  # items from the top of each part, and half as many of the cold ones
_LEAST_COMPARED = 20  # users: fewer agree by chance
_METRICS = ("recall", "ndcg", "stratified", "popular")


@dataclass(frozen=True)
class Judged:
    """How good lists are, one number a user.

    Attributes:
        recall, ndcg, stratified: (n_users,) float64, at the length of the lists; in the last a hit weighs its item's
            popularity^-.5 (Steck, "Item popularity and recommendation accuracy", 2011).
        popular: (n_users,) float64: how many of the first 10 are among the 20 most liked.
    """

    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    stratified: NDArray[np.float64]
    popular: NDArray[np.float64]

    @property
    def objective(self) -> float:
        """The geometric mean of the means of recall, NDCG and stratified recall; 0 without users."""
        return geometric_mean(np.stack([self.recall, self.ndcg, self.stratified], axis=1))


def compare(a: Judged, b: Judged) -> tuple[float, float]:
    """By how much the objective of `a` is above that of `b`, and the standard error of that over the same users.

    The error is that of the objective's linear terms (the delta method): of a user it counts a third of each metric's
    difference relative to the metric's mean, times the objective.
    """
    n_users = len(a.recall)
    if n_users < _LEAST_COMPARED:
        return a.objective - b.objective, float("inf")
    mean = (a.objective + b.objective) / 2
    each = np.zeros(n_users)
    for ours, other in ((a.recall, b.recall), (a.ndcg, b.ndcg), (a.stratified, b.stratified)):
        level = (ours.mean() + other.mean()) / 2
        if level > 0:
            each += mean / 3 * (ours - other) / level
    return a.objective - b.objective, float(each.std(ddof=1) / np.sqrt(n_users))


@dataclass(frozen=True)
class Question:
    """Users of a slice, with the items that any component ranks high for them.

    Attributes:
        parts: (n_components, n_users, n_short) float32: what each component says, centred and with a deviation of 1.
        cold: (n_users, n_short) bool: items without likes.
        disliked: (n_users, n_short) float32: log1p of how many met an item without liking it, of cold items.
        barred: (n_users, n_short) bool: what may not be recommended, or is there twice.
        relevant: (n_users, n_short) bool.
        weight: (n_users, n_short) float32: popularity^-.5.
        popular: (n_users, n_short) bool: among the most liked items.
        n_relevant: (n_users,) float32, in the list or not.
        total_weight: (n_users,) float32: the weights of all that is relevant.
        together: (n_components, n_components) float64: mean products of parts over the items with likes.
        cold_together: the same over cold items.
        k: length of a list.
    """

    parts: Tensor
    cold: Tensor
    disliked: Tensor
    barred: Tensor
    relevant: Tensor
    weight: Tensor
    popular: Tensor
    n_relevant: Tensor
    total_weight: Tensor
    together: NDArray[np.float64]
    cold_together: NDArray[np.float64]
    k: int

    @property
    def n_users(self) -> int:
        """How many are asked."""
        return len(self.n_relevant)

    def judge(self, scores: Tensor) -> Judged:
        """Judges the lists that scores (n_users, n_short) give."""
        allowed = scores.masked_fill(self.barred, -torch.inf)
        top = allowed.topk(min(self.k, scores.shape[1]), dim=1).indices
        found = torch.isfinite(allowed.gather(1, top))
        hits = (self.relevant.gather(1, top) & found).float()
        discounts = 1 / torch.log2(torch.arange(2, self.k + 2, dtype=torch.float32))
        ideal = discounts.cumsum(0)[self.n_relevant.clamp(min=1, max=self.k).long() - 1]
        ndcg = (hits @ discounts[: hits.shape[1]]) / ideal
        recall = hits.sum(dim=1) / self.n_relevant.clamp(min=1)
        stratified = (hits * self.weight.gather(1, top)).sum(dim=1) / self.total_weight.clamp(min=1e-12)
        popular = (self.popular.gather(1, top) & found)[:, :FIRST_PLACES].float().sum(dim=1)
        return Judged(*(part.double().numpy() for part in (recall, ndcg, stratified, popular)))

    def blend(
        self, warm: NDArray[np.float64], cold: NDArray[np.float64] | None = None, shift: float = 0.0,
        dislike: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """Scores by weights of the components, (n_components,) each; None: all items have the weights of warm ones."""
        scores = _combine(self.parts, warm)
        if cold is None:
            return scores
        others = _combine(self.parts, cold) + shift - dislike * self.disliked
        return torch.where(self.cold, others, scores)


def _combine(parts: Tensor, weights: NDArray[np.float64]) -> Tensor:
    total = torch.zeros(parts.shape[1:])
    for place in np.flatnonzero(weights).tolist():
        total.add_(parts[place], alpha=float(weights[place]))
    return total


def draw_users(slice_: Slice, rng: np.random.Generator, most: int = MOST_USERS) -> Slice:
    """The slice with the rows alone of users that have something to find, some of them where they are many."""
    users = np.flatnonzero(np.diff(slice_.relevant.indptr))
    if len(users) > most:
        users = np.sort(rng.choice(users, most, replace=False))
    return select_users(slice_, users)


def select_users(slice_: Slice, rows: NDArray[np.int64]) -> Slice:
    """The slice with some rows alone."""
    left_out = None if slice_.left_out is None else slice_.left_out[rows]
    return replace(slice_, support=slice_.support[rows], relevant=slice_.relevant[rows], left_out=left_out)


def join(slices: Sequence[Slice | None]) -> Slice | None:
    """One slice with the users of several, each row a question; the candidates are those of the first."""
    found = [slice_ for slice_ in slices if slice_ is not None and slice_.relevant.nnz]
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    nothing = [slice_.left_out if slice_.left_out is not None else csr_array(slice_.support.shape) for slice_ in found]
    support, relevant, left_out = (
        csr_array(vstack(parts, format="csr", dtype=np.float32))
        for parts in ([s.support for s in found], [s.relevant for s in found], nothing)
    )
    return replace(found[0], support=support, relevant=relevant, left_out=left_out if left_out.nnz else None)


def ask(
    model: Model,
    slice_: Slice,
    k: int,
    *,
    usable: Collection[str],
    popular: NDArray[np.bool_] | None = None,
    sentences: NDArray[np.float32] | None = None,
) -> Question:
    """Lets each component of a model say what it thinks, and keeps the items that matter.

    Args:
        model: its gate is not read.
        slice_: all of its rows are asked.
        k: length of a list.
        usable: the names of the components that say something; the others' parts are 0.
        popular: (n_items,) bool: the most liked items; None: of the likes that the model was trained on.
        sentences: (n_users, text_dim) unit vectors; None: users are known by their likes.
    """
    counts = model.n_likes.numpy()
    columns = np.arange(model.n_items) if slice_.candidates is None else np.flatnonzero(slice_.candidates)
    popular = find_popular(counts, POPULAR_ITEMS) if popular is None else popular
    weight = popularity_weights(counts).astype(np.float32)
    among = torch.from_numpy(columns)
    cold = model.cold[among]
    of_item = {
        "cold": cold,
        "disliked": torch.where(cold, torch.log1p(model.n_disliked[among].float()), 0.0),
        "weight": torch.from_numpy(weight[columns]),
        "popular": torch.from_numpy(popular[columns]),
    }
    n_components = len(model.components)
    blocks: list[dict[str, Tensor]] = []
    sums = [np.zeros((n_components, n_components)) for _ in range(2)]
    for rows in _blocks(slice_.support.shape[0], len(columns)):
        block = select_users(slice_, rows)
        if sentences is None:
            support = Support(block.support)
        else:
            support = model.hear(csr_array(block.support.shape, dtype=np.float32), sentences[rows])
        parts = listen(model, support, usable, columns)  # (n_components, n, n_columns)
        for place, chosen in enumerate((~cold, cold)):
            if chosen.any():
                flat = parts[:, :, chosen].reshape(n_components, -1)
                sums[place] += (flat @ flat.T).double().numpy() / int(chosen.sum())
        barred = torch.from_numpy(_barred(block)[:, columns])
        index, twice = _shorten(parts, barred, cold)
        relevant = torch.from_numpy(block.relevant[:, columns].toarray() > 0)
        blocks.append(
            {
                "parts": parts.gather(2, index.expand(n_components, -1, -1)),
                **{name: values[index] for name, values in of_item.items()},
                "barred": barred.gather(1, index) | twice,
                "relevant": relevant.gather(1, index),
                "n_relevant": relevant.sum(dim=1).float(),
                "total_weight": torch.from_numpy(np.asarray(block.relevant @ weight, np.float32)),
            }
        )
    n_users = max(slice_.support.shape[0], 1)
    joined = {name: torch.cat([block[name] for block in blocks], dim=int(name == "parts")) for name in blocks[0]}
    return Question(**joined, together=sums[0] / n_users, cold_together=sums[1] / n_users, k=min(k, model.n_items))


@torch.inference_mode()
def listen(model: Model, support: Support, usable: Collection[str], columns: NDArray[np.int64]) -> Tensor:
    """What each component says of some items, centred and brought to a deviation of 1.

    Args:
        model: its gate is not read.
        support: of n_users.
        usable: the names of the components that say something; the others' parts are 0.
        columns: (n_columns,) int64: the items' rows.

    Returns:
        (n_components, n_users, n_columns) float32.
    """
    heard = torch.zeros((len(model.components), support.likes.shape[0], len(columns)))
    among = torch.from_numpy(columns)
    cold = model.cold[among]
    for place, component in enumerate(model.components):
        if component.name not in usable:
            continue
        part = model.part(component, support)
        torch.mm(part.users, component.items[among].T, out=heard[place])
        if part.added is not None:
            heard[place] += part.added[:, among]
        for chosen, (mean, unit) in ((~cold, part.warm), (cold, part.cold)):
            if chosen.all():
                heard[place].sub_(mean[:, None]).mul_(unit[:, None])
            elif chosen.any():
                heard[place][:, chosen] = (heard[place][:, chosen] - mean[:, None]) * unit[:, None]
    return heard


def _blocks(n_users: int, n_items: int) -> Iterator[NDArray[np.int64]]:
    step = max(_BLOCK_SCORES // max(n_items, 1), 1)
    starts = range(0, n_users, step) if n_users else range(1)
    return (np.arange(start, min(start + step, n_users)) for start in starts)


def _barred(slice_: Slice) -> NDArray[np.bool_]:
    barred = np.zeros(slice_.support.shape, np.bool_)
    if slice_.candidates is not None:
        barred[:, ~slice_.candidates] = True
    barred[slice_.support.nonzero()] = True
    if slice_.left_out is not None:
        barred[slice_.left_out.nonzero()] = True
    return barred


def _shorten(parts: Tensor, barred: Tensor, cold: Tensor) -> tuple[Tensor, Tensor]:
    """The items from the top of each part, (n_users, n_short), and which of them are there twice."""
    tops = []
    for chosen, most in ((~cold, _SHORTLIST), (cold, _SHORTLIST // 2)):
        depth = min(most, int(chosen.sum()))
        if not depth:
            continue
        rows = torch.nonzero(chosen).squeeze(1)
        for part in parts:
            own = part[:, rows]
            if (own != own[:, :1]).any():
                tops.append(rows[own.masked_fill(barred[:, rows], -torch.inf).topk(depth, dim=1).indices])
            elif not tops:
                tops.append(rows[:depth].expand(len(part), -1))
    width = parts.shape[0] * (_SHORTLIST + _SHORTLIST // 2)
    index = torch.cat(tops, dim=1).sort(dim=1).values
    twice = torch.nn.functional.pad(index[:, 1:] == index[:, :-1], (1, 0))
    # all blocks of users have one width
    missing = width - index.shape[1]
    return torch.nn.functional.pad(index, (0, missing)), torch.nn.functional.pad(twice, (0, missing), value=True)


def judge_factors(users: Tensor, items: Tensor, slice_: Slice, counts: NDArray[np.int64], k: int = 20) -> Judged:
    """Judges the scores of one component's factors on all rows of a slice.

    Args:
        users: (n_users, dim) float32, one for each row of the slice.
        items: (n_items, dim) float32.
        slice_: the question.
        counts: (n_items,) int64, training likes.
        k: length of a list.
    """
    candidates = np.arange(slice_.n_items) if slice_.candidates is None else np.flatnonzero(slice_.candidates)
    weight = popularity_weights(counts[candidates]).astype(np.float32)
    among = items[torch.from_numpy(candidates)]
    judged: list[Judged] = []
    for rows in _blocks(len(users), len(candidates)):
        block = select_users(slice_, rows)
        relevant = torch.from_numpy(block.relevant[:, candidates].toarray() > 0)
        shape = relevant.shape
        nothing = torch.zeros(shape, dtype=torch.bool)
        none = np.zeros((0, 0))
        question = Question(
            torch.zeros((0, *shape)), nothing, torch.zeros(shape), torch.from_numpy(_barred(block)[:, candidates]),
            relevant, torch.from_numpy(weight).expand(shape), nothing, relevant.sum(dim=1).float(),
            torch.from_numpy(np.asarray(block.relevant[:, candidates] @ weight, np.float32)), none, none, k,
        )  # fmt: skip
        judged.append(question.judge(users[torch.from_numpy(rows)] @ among.T))
    return Judged(*(np.concatenate([getattr(one, name) for one in judged]) for name in _METRICS))
