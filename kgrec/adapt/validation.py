"""Whether adapted texts find who likes items that nobody had met: held-out items, asked as `kgrec evaluate` would."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.adapt.text_graph import TextGraph
from kgrec.config import ContentConfig, SplitConfig
from kgrec.graph.propagation import ItemLinks
from kgrec.model.content import Content, fit_content
from kgrec.questions.slices import Slice, SliceResult, evaluate_slice
from kgrec.questions.splits import Likes, split_likes

CLEARLY = 1.01  # times as good: what is less is no gain
_ERRORS = 2.0  # standard errors of the gain over users


@dataclass(frozen=True)
class Validation:
    """Items held out whole, in two halves: one says when to stop, the other whether it was worth it.

    Attributes:
        texts: (n,) int64, the places of the texts to encode, those of warm and of held-out items.
        likes: (n_users, n) of 1s: what is known, by place in `texts`.
        stop: asks for one half of the held-out items.
        judge: asks for the other.
        seed: of what is drawn.
    """

    texts: NDArray[np.int64]
    likes: csr_array
    stop: Slice
    judge: Slice
    seed: int

    def ask(self, vectors: NDArray[np.float32], question: Slice) -> SliceResult:
        """Answers a question by kernel ridge from text vectors, (n, dim) float32 unit rows in the order of `texts`."""
        none = np.zeros(0, np.int64)
        links = ItemLinks((), none, none, csr_array((len(vectors), 0), dtype=np.float32), none.astype(np.float32))
        content = fit_content(self.likes, vectors, links, [], ContentConfig(), link_weight=0.0, seed=self.seed)
        assert content is not None
        return evaluate_slice(_TextScorer(content), question)


@dataclass(frozen=True)
class _TextScorer:
    content: Content
    name: str = "texts"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = (support @ self.content.neighbours).toarray()
        return scores


def hold_out(
    likes: Likes, graph: TextGraph, share: float, most_items: int, seed: int
) -> tuple[TextGraph, Likes, Validation | None]:
    """Holds items out of the links and the likes: nothing is learned from what new items would not show.

    Args:
        likes: what may be learned from.
        graph: the texts.
        share: of the items to hold out.
        most_items: so many items are drawn to stand for all.
        seed: of what is drawn.

    Returns:
        The graph and the likes without them, and the questions; None where too few items with texts are liked to ask
        any.
    """
    rng = np.random.default_rng([seed, 1])
    has_text = graph.item_text >= 0
    told = likes.select(has_text[likes.items])
    if not len(told):
        return graph, likes, None
    split = split_likes(told, SplitConfig(cold_users=0, cold_items=share, warm=0, support_sizes=()), rng)
    rest = likes.select(~split.cold_items[likes.items])
    asked = split.slices.get("cold_items")
    if asked is None:
        return graph, likes, None
    warm, cold = np.unique(split.train.items), np.flatnonzero(split.cold_items)
    n_cold = min(len(cold), max(int(most_items * share), 2))
    cold = rng.permutation(cold)[:n_cold]
    warm = rng.permutation(warm)[: max(most_items - n_cold, 1)]
    items = np.concatenate([np.sort(warm), cold])
    support, relevant = (csr_array(matrix[:, items]) for matrix in (split.train.to_matrix(), asked.relevant))
    relevant = relevant.tocsr()
    shows = np.diff(support.indptr) > 0
    halves = []
    for name, place in (("stop", len(warm)), ("judge", len(warm) + n_cold // 2)):
        candidates = np.zeros(len(items), np.bool_)
        candidates[place : len(warm) + n_cold // 2 if name == "stop" else len(items)] = True
        pairs = relevant.tocoo()
        kept = candidates[pairs.col] & shows[pairs.row]
        found = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=relevant.shape)
        halves.append(Slice(name, f"Held-out items, to {name} by", support, found, candidates))
    if any(not half.relevant.nnz for half in halves):
        return graph, likes, None
    left = ~np.isin(graph.links, graph.item_text[split.cold_items]).any(axis=0)
    known = replace(graph, links=graph.links[:, left], relation=graph.relation[left])
    return known, rest, Validation(graph.item_text[items], support, halves[0], halves[1], seed)


def quality(result: SliceResult) -> float:
    """The geometric mean of NDCG@20 and Recall@20, as everywhere that validation decides."""
    return float(np.sqrt(result.per_user("ndcg").mean() * result.per_user("recall").mean()))


def measure_gain(before: SliceResult, after: SliceResult) -> tuple[float, float]:
    """How much better the second is, relative, and the standard error of that: over users or items, the larger.

    Users who like the same few items are right or wrong together, so users alone would make too sure of it.
    """
    gains = np.mean(
        [
            (after.per_user(metric) - before.per_user(metric)) / max(before.per_user(metric).mean(), 1e-9)
            for metric in ("recall", "ndcg")
        ],
        axis=0,
    )
    asked = before.item_relevant > 0
    found = (after.item_hits - before.item_hits)[asked]
    over_items = float(found.std() * np.sqrt(len(found)) / max(before.item_hits.sum(), 1))
    return float(gains.mean()), max(float(gains.std() / np.sqrt(len(gains))), over_items)


def is_gain(gain: float, error: float) -> bool:
    """Whether a gain is large enough, and clear enough of chance."""
    return 1 + gain >= CLEARLY and gain > _ERRORS * error


def shuffle_items(likes: Likes, rng: np.random.Generator) -> Likes:
    """The same likes of items that were given each other's places: what people like together has nothing to do with
    the texts any more.
    """
    liked = np.unique(likes.items)
    place = np.arange(likes.shape[1])
    place[liked] = rng.permutation(liked)
    return replace(likes, items=place[likes.items])
