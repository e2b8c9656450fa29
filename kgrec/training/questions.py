"""The questions behind choices: users of a slice, and each component's scores of the items."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor

from kgrec.metrics import find_popular, geometric_mean, popularity_weights
from kgrec.model.component import Support
from kgrec.model.largest import find_largest
from kgrec.model.model import Model
from kgrec.questions.slices import FIRST_PLACES, POPULAR_ITEMS, Slice
from kgrec.sequences import join_orders

_ENOUGH_USERS, _MOST_USERS = 800, 4000  # in a question, if its users have many relevant items, or hardly any
_ENOUGH_RELEVANT = 4000  # relevant items in all
_MOST_SCORED = 60_000_000  # users x items beyond `_ENOUGH_USERS`
_BLOCK_SCORES = 3_000_000
_SHORTLIST = 80  # top items of each part, and half as many of the cold ones
_LEAST_COMPARED = 30  # users; fewer may agree by chance
_METRICS = ("recall", "ndcg", "stratified", "popular")


@dataclass(frozen=True)
class ListQuality:
    """The quality of lists, per user.

    Attributes:
        recall, ndcg, stratified: (n_users,) float64, at the length of the lists; in the last a hit weighs its item's
            popularity^-.5 (Steck, "Item popularity and recommendation accuracy", 2011).
        popular: (n_users,) float64: the number of the first 10 items that are among the 20 most liked.
    """

    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    stratified: NDArray[np.float64]
    popular: NDArray[np.float64]

    @property
    def objective(self) -> float:
        """The geometric mean of the means of recall, NDCG and stratified recall; 0 without users."""
        return geometric_mean(np.stack([self.recall, self.ndcg, self.stratified], axis=1))


def compare(a: ListQuality, b: ListQuality) -> tuple[float, float]:
    """The objective of `a` minus that of `b`, and the standard error of the difference over the same users.

    The error is that of the objective's linear terms (the delta method): each user contributes a third of each
    metric's difference relative to the metric's mean, times the objective.
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
        parts: (n_components, n_users, n_short) float32: each component's scores, centred and with a deviation of 1.
        cold: (n_users, n_short) bool: items without likes.
        disliked: (n_users, n_short) float32: for cold items, log1p of the number of users who met one without liking
            it.
        barred: (n_users, n_short) bool: items that may not be recommended, and repeated ones.
        relevant: (n_users, n_short) bool.
        weight: (n_users, n_short) float32: popularity^-.5.
        popular: (n_users, n_short) bool: among the most liked items.
        n_relevant: (n_users,) float32: the number of relevant items, in the short list or not.
        total_weight: (n_users,) float32: the sum of the weights of all relevant items.
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
        """The number of users."""
        return len(self.n_relevant)

    def judge(self, scores: Tensor) -> ListQuality:
        """Judges the lists ranked by scores, (n_users, n_short)."""
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
        return ListQuality(*(part.double().numpy() for part in (recall, ndcg, stratified, popular)))

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


def draw_users(slice_: Slice, rng: np.random.Generator, most: int | None = None) -> Slice:
    """The slice of the users with relevant items, or of a sample of them if there are many."""
    return select_users(slice_, sample_users(slice_, rng, most))


def count_enough(slice_: Slice) -> int:
    """How many users a question needs: the fewer relevant items each has, the more."""
    n_relevant = slice_.relevant.nnz / max(np.count_nonzero(np.diff(slice_.relevant.indptr)), 1)
    wanted = int(min(_ENOUGH_RELEVANT / max(n_relevant, 1), _MOST_USERS, _MOST_SCORED / max(slice_.n_items, 1)))
    return max(wanted, _ENOUGH_USERS)


def sample_users(slice_: Slice, rng: np.random.Generator, most: int | None = None) -> NDArray[np.int64]:
    """(n,) the rows of the users with relevant items, or of a sample of them if there are more than `most`.

    None for `most`: as many as `count_enough` says.
    """
    users, most = np.flatnonzero(np.diff(slice_.relevant.indptr)), count_enough(slice_) if most is None else most
    return users if len(users) <= most else np.sort(rng.choice(users, most, replace=False))


def select_users(slice_: Slice, rows: NDArray[np.int64]) -> Slice:
    """The slice of some rows."""
    parts = (slice_.left_out, slice_.prior, slice_.linked)
    left_out, prior, linked = (part if part is None else part[rows] for part in parts)
    order = None if slice_.order is None else slice_.order.select(rows)
    return replace(
        slice_, support=slice_.support[rows], relevant=slice_.relevant[rows], left_out=left_out, prior=prior,
        linked=linked, order=order,
    )  # fmt: skip


def to_support(slice_: Slice) -> Support:
    """The support of all users of a slice, as the model reads it."""
    prior = None if slice_.prior is None else torch.from_numpy(slice_.prior)
    return Support(slice_.support, prior=prior, linked=slice_.likes_of_linked(), order=slice_.order)


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
    placed = [slice_.prior for slice_ in found if slice_.prior is not None]
    prior = np.concatenate(placed) if len(placed) == len(found) else None
    weights = [slice_.linked for slice_ in found if slice_.linked is not None]
    linked = csr_array(vstack(weights, format="csr")) if len(weights) == len(found) else None
    orders = [slice_.order for slice_ in found if slice_.order is not None]
    order = join_orders(orders) if len(orders) == len(found) else None
    return replace(
        found[0], support=support, relevant=relevant, left_out=left_out if left_out.nnz else None, prior=prior,
        linked=linked, order=order,
    )  # fmt: skip


def ask(
    model: Model,
    slice_: Slice,
    k: int,
    *,
    usable: Collection[str],
    popular: NDArray[np.bool_] | None = None,
    sentences: NDArray[np.float32] | None = None,
    recency: float = 1.0,
) -> Question:
    """Scores the items of a slice by each component of a model, and keeps the items that any component ranks high.

    Args:
        model: the model; its gate is not read.
        slice_: the slice; all of its rows become users of the question.
        k: length of a list.
        usable: the names of the components that score; the others' parts are 0.
        popular: (n_items,) bool: the most liked items; None: of the likes that the model was trained on.
        sentences: (n_users, text_dim) unit vectors; None: users are known by their likes.
        recency: the likes weigh recency^(place - 1), as in `Gate.recency`.
    """
    counts = model.n_likes.numpy()
    columns = np.arange(model.n_items) if slice_.candidates is None else np.flatnonzero(slice_.candidates)
    columns = columns[np.argsort(counts[columns] == 0, kind="stable")]  # items without likes last, in one block
    n_warm = int(np.count_nonzero(counts[columns]))
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
    places = [place for place, name in enumerate(model.names) if name in usable]
    factors = [model.components[place].items[among] for place in places]
    place_of = _places(columns, model.n_items)
    n_components, n_users = len(model.components), slice_.support.shape[0]
    blocks: list[dict[str, Tensor]] = []
    sums = [np.zeros((n_components, n_components)) for _ in range(2)]
    buffer = torch.empty((len(places), min(_block_users(len(columns)), n_users), len(columns)))  # shared by all blocks
    for rows in _blocks(n_users, len(columns)):
        block = select_users(slice_, rows)
        if sentences is None:
            support = to_support(block).recent(np.full(len(rows), recency, np.float32))
        else:
            support = model.with_sentence(csr_array(block.support.shape, dtype=np.float32), sentences[rows])
        parts = score_components(model, support, usable, columns, factors, buffer[:, : len(rows)])
        for total, of_kind in zip(sums, (parts[..., :n_warm], parts[..., n_warm:]), strict=True):
            if places and of_kind.shape[2]:
                by_user = of_kind.transpose(0, 1)
                together = torch.bmm(by_user, by_user.transpose(1, 2)).double().sum(dim=0).numpy()
                total[np.ix_(places, places)] += together / of_kind.shape[2]
        barred = _mark([block.support, block.left_out], place_of, len(columns))
        index, twice = _shorten(parts, barred, cold)
        relevant = _mark([block.relevant], place_of, len(columns))
        blocks.append(
            {
                "parts": parts.gather(2, index.expand(len(places), -1, -1)),
                **{name: values[index] for name, values in of_item.items()},
                "barred": barred.gather(1, index) | twice,
                "relevant": relevant.gather(1, index),
                "n_relevant": relevant.sum(dim=1).float(),
                "total_weight": torch.from_numpy(np.asarray(block.relevant @ weight, np.float32)),
            }
        )
    joined = {name: _join_blocks([block[name] for block in blocks], fill=name == "barred") for name in blocks[0]}
    scored = joined["parts"]
    joined["parts"] = torch.zeros((n_components, *scored.shape[1:])).index_copy_(0, torch.tensor(places).long(), scored)
    together, cold_together = (total / max(n_users, 1) for total in sums)
    return Question(**joined, together=together, cold_together=cold_together, k=min(k, model.n_items))


@torch.inference_mode()
def score_components(
    model: Model,
    support: Support,
    usable: Collection[str],
    columns: NDArray[np.int64],
    factors: Sequence[Tensor] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Scores items by each usable component, centred and with a deviation of 1.

    Args:
        model: the model; its gate is not read.
        support: the support of n_users users.
        usable: the names of the components that score.
        columns: (n_columns,) int64: the items' rows; it is fastest if those without likes are adjacent.
        factors: each usable component's factors of these items, (n_columns, width); None: they are looked up.
        out: (n_usable, n_users, n_columns) float32 to write to; None: new memory.

    Returns:
        (n_usable, n_users, n_columns) float32, in the order of the model's components.
    """
    components = [component for component in model.components if component.name in usable]
    among = torch.from_numpy(columns)
    factors = [component.items[among] for component in components] if factors is None else factors
    heard = torch.empty((len(components), support.likes.shape[0], len(columns))) if out is None else out
    cold = model.cold[among].numpy()
    bounds = [0, *(np.flatnonzero(np.diff(cold)) + 1).tolist(), len(columns)]
    for component, items, scores in zip(components, factors, heard, strict=True):
        part = model.part(component, support)
        added = None if part.added is None else part.added[:, among]
        for start, end in pairwise(bounds):
            mean, unit = (values[:, None] for values in (part.cold if cold[start : start + 1].any() else part.warm))
            run = scores[:, start:end]
            torch.addmm(-mean, part.users, items[start:end].T, out=run)
            if added is not None:
                run.add_(added[:, start:end])
            run.mul_(unit)  # in steps that are the same for every item: equal scores stay equal
    return heard


def _join_blocks(blocks: Sequence[Tensor], *, fill: bool) -> Tensor:
    """Joins blocks of users, (..., n_users, n_short) or (n_users,); `fill` pads shorter lists."""
    if blocks[0].ndim == 1:
        return torch.cat(list(blocks))
    width = max(block.shape[-1] for block in blocks)
    padded = [torch.nn.functional.pad(block, (0, width - block.shape[-1]), value=fill) for block in blocks]
    return torch.cat(padded, dim=-2)


def _places(columns: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """(n_items,): the place of each item among some, -1 for the others."""
    places = np.full(n_items, -1)
    places[columns] = np.arange(len(columns))
    return places


def _mark(matrices: Sequence[csr_array | None], place_of: NDArray[np.int64], width: int) -> Tensor:
    """(n_users, width) bool: the entries of matrices, (n_users, n_items), at the places that `_places` gives items."""
    found = [matrix for matrix in matrices if matrix is not None]
    marked = np.zeros((found[0].shape[0], width), np.bool_)
    for matrix in found:
        rows, items = matrix.nonzero()
        kept = place_of[items] >= 0
        marked[rows[kept], place_of[items[kept]]] = True
    return torch.from_numpy(marked)


def _block_users(n_items: int) -> int:
    return max(_BLOCK_SCORES // max(n_items, 1), 1)


def _blocks(n_users: int, n_items: int) -> Iterator[NDArray[np.int64]]:
    step = _block_users(n_items)
    starts = range(0, n_users, step) if n_users else range(1)
    return (np.arange(start, min(start + step, n_users)) for start in starts)


def _shorten(parts: Tensor, barred: Tensor, cold: Tensor) -> tuple[Tensor, Tensor]:
    """The top items of each part, (n_users, n_short), and which of them are repeated.

    Args:
        parts: (n_parts, n_users, n_items) float32. Barred entries are -inf for a while, which saves a copy.
        barred: (n_users, n_items) bool: items that may not be recommended.
        cold: (n_items,) bool; it is fastest if the items without likes are adjacent.
    """
    n_items = parts.shape[2]
    kinds = [(torch.nonzero(kind).squeeze(1), most) for kind, most in ((~cold, _SHORTLIST), (cold, _SHORTLIST // 2))]
    ranking = [[part for part in parts if _differs(_columns(part, rows))] for rows, _ in kinds]
    users, items = barred.nonzero(as_tuple=True)
    before = parts[:, users, items]
    parts[:, users, items] = -torch.inf
    tops = []
    for (rows, most), of_kind in zip(kinds, ranking, strict=True):
        depth = min(most, len(rows))
        if not depth:
            continue
        tops += [rows[find_largest(_columns(part, rows), depth)] for part in of_kind]
        if not tops:
            tops.append(rows[:depth].expand(parts.shape[1], -1))
    parts[:, users, items] = before
    index = torch.cat(tops, dim=1).sort(dim=1).values
    twice = torch.nn.functional.pad(index[:, 1:] == index[:, :-1], (1, 0))
    width = int((~twice).sum(dim=1).max()) if len(index) else 1
    index = index.masked_fill(twice, n_items).sort(dim=1).values[:, :width]  # without repeated items
    return index.masked_fill(index == n_items, 0), index == n_items


def _columns(part: Tensor, rows: Tensor) -> Tensor:
    """Some columns, ascending, of (n_users, n_items): a view if they are adjacent."""
    together = len(rows) and int(rows[-1] - rows[0]) == len(rows) - 1
    return part[:, int(rows[0]) : int(rows[-1]) + 1] if together else part[:, rows]


def _differs(part: Tensor) -> bool:
    """Whether the scores, (n_users, n), of any user differ."""
    if not part.numel():
        return False
    return bool((part[0] != part[0, 0]).any() or (part != part[:, :1]).any())


def judge_factors(users: Tensor, items: Tensor, slice_: Slice, counts: NDArray[np.int64], k: int = 20) -> ListQuality:
    """Judges the scores of one component's factors on all rows of a slice.

    Args:
        users: (n_users, dim) float32, one for each row of the slice.
        items: (n_items, dim) float32.
        slice_: the question.
        counts: (n_items,) int64, training likes.
        k: length of a list.
    """
    candidates = np.arange(slice_.n_items) if slice_.candidates is None else np.flatnonzero(slice_.candidates)
    weight = np.zeros(slice_.n_items, np.float32)
    weight[candidates] = popularity_weights(counts[candidates])
    among, place_of = items[torch.from_numpy(candidates)], _places(candidates, slice_.n_items)
    of_candidate = torch.from_numpy(weight[candidates])
    judged: list[ListQuality] = []
    for rows in _blocks(len(users), len(candidates)):
        block = select_users(slice_, rows)
        scores = users[torch.from_numpy(rows)] @ among.T
        scores.masked_fill_(_mark([block.support, block.left_out], place_of, len(candidates)), -torch.inf)
        index = find_largest(scores, min(k, len(candidates)))
        top, relevant = scores.gather(1, index), _mark([block.relevant], place_of, len(candidates))
        nothing, none = torch.zeros(index.shape, dtype=torch.bool), np.zeros((0, 0))
        question = Question(
            torch.zeros((0, *index.shape)), nothing, torch.zeros(index.shape), torch.isneginf(top),
            relevant.gather(1, index), of_candidate[index], nothing, relevant.sum(dim=1).float(),
            torch.from_numpy(np.asarray(block.relevant @ weight, np.float32)), none, none, k,
        )  # fmt: skip
        judged.append(question.judge(top))
    return ListQuality(*(np.concatenate([getattr(one, name) for one in judged]) for name in _METRICS))
