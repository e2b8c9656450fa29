"""Validation of an adapter: do the texts of held-out items find their users, measured as in `kgrec evaluate`?"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.adapt.text_graph import TextGraph
from kgrec.config import ContentConfig, SplitConfig
from kgrec.graph.node_links import NodeLinks
from kgrec.model.content import Content, fit_content
from kgrec.questions.slice_results import SliceResult
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Likes, split_likes

CLEARLY = 1.01  # the least relative quality that counts as a gain
_ERRORS = 2.0  # standard errors that a gain must exceed


@dataclass(frozen=True)
class Validation:
    """Items held out with all their likes, in two halves: one for early stopping, the other to judge the result.

    Attributes:
        texts: (n,) int64, the places of the texts to encode, those of warm and of held-out items.
        likes: (n_users, n) of 1s, the known likes by place in `texts`.
        stop: the question about one half of the held-out items.
        judge: the question about the other half.
        seed: of the random draws.
    """

    texts: NDArray[np.int64]
    likes: csr_array
    stop: Slice
    judge: Slice
    seed: int

    def ask(self, vectors: NDArray[np.float32], question: Slice) -> SliceResult:
        """Answers a question by kernel ridge from text vectors, (n, dim) float32 unit rows in the order of `texts`."""
        none = np.zeros(0, np.int64)
        links = NodeLinks(
            (), none, none, csr_array((len(vectors), 0), dtype=np.float32), none.astype(np.float32), none > 0
        )
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
    """Holds items out of the links and the likes, as if they were new.

    Args:
        likes: all likes that may be read.
        graph: the texts.
        share: of the items to hold out.
        most_items: the number of items in the questions, drawn where there are more.
        seed: of the random draws.

    Returns:
        The graph and the likes without the held-out items, and the questions; None for the questions where too few
        items with texts are liked.
    """
    rng = np.random.default_rng([seed, 1])
    has_text = graph.item_text >= 0
    with_text = likes.select(has_text[likes.items])
    if not len(with_text):
        return graph, likes, None
    split = split_likes(with_text, SplitConfig(cold_users=0, cold_items=share, warm=0, support_sizes=()), rng)
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
        halves.append(Slice(name, f"Held-out items to {name} by", support, found, candidates))
    if any(not half.relevant.nnz for half in halves):
        return graph, likes, None
    left = ~np.isin(graph.links, graph.item_text[split.cold_items]).any(axis=0)
    known = replace(graph, links=graph.links[:, left], relation=graph.relation[left])
    return known, rest, Validation(graph.item_text[items], support, halves[0], halves[1], seed)


def quality(result: SliceResult) -> float:
    """The geometric mean of NDCG@20 and Recall@20, kgrec's validation objective."""
    return float(np.sqrt(result.per_user("ndcg").mean() * result.per_user("recall").mean()))


def measure_gain(before: SliceResult, after: SliceResult) -> tuple[float, float]:
    """The relative gain of the second result, and its standard error over users or over items, the larger one.

    Users who like the same few items are right or wrong together, so the error over users alone would be too small.
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
    """Whether a gain is large enough and significant."""
    return 1 + gain >= CLEARLY and gain > _ERRORS * error


def shuffle_items(likes: Likes, rng: np.random.Generator) -> Likes:
    """Permutes the liked items, so that likes no longer depend on texts; popularity and activity stay the same."""
    liked = np.unique(likes.items)
    place = np.arange(likes.shape[1])
    place[liked] = rng.permutation(liked)
    return replace(likes, items=place[likes.items])
