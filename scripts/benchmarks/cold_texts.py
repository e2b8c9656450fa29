"""New items by texts alone: catalogues, questions, and one downstream model for all vectors.

The downstream model is fixed: exact kernel ridge, exp(8(cos - 1)) with lambda 1, onto the raw likes with columns times
popularity^-.3. Only the vectors differ.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from ml1m import read_ml1m
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from kgrec.adapt.adaptation_run import encode
from kgrec.adapt.text_graph import TextGraph, read_text_graph
from kgrec.config import SplitConfig
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Likes, split_likes
from kgrec.text.language_model import LanguageModel

DATA_DIR = Path(__file__).parents[3] / "shared" / "data"
_SHARPNESS, _REGULARISATION, _POPULARITY_EXPONENT = 8.0, 1.0, 0.3


@dataclass(frozen=True)
class ColdTexts:
    """The texts of a catalogue, the training likes, and slices of new items."""

    graph: TextGraph
    likes: Likes
    questions: dict[str, Slice]


def read_citeulike(data_dir: Path = DATA_DIR, seed: int = 0) -> ColdTexts:
    """Titles of citeulike-a; links are citations between papers with training likes. The split is the published one."""
    folder = data_dir / "citeulike-a"
    table = pq.read_table(folder / "titles.parquet").sort_by("item")
    ids = table["item"].to_numpy()
    parts = {}
    for name in ("warm_train", "cold_valid", "cold_test"):
        found = pq.read_table(folder / f"{name}.parquet")
        parts[name] = found["user"].to_numpy(), np.searchsorted(ids, found["item"].to_numpy())
    n_users = 1 + max(int(users.max()) for users, _ in parts.values())
    train, valid, test = (Likes(*pairs, None, (n_users, len(ids))) for pairs in parts.values())
    cites = pq.read_table(folder / "citations.parquet")
    ends = np.stack([np.searchsorted(ids, cites[name].to_numpy()) for name in ("item", "cites")])
    met = np.bincount(train.items, minlength=len(ids)) > 0
    graph = to_text_graph(table["title"].to_pylist(), ends[:, met[ends].all(axis=0)])
    cold = np.zeros(len(ids), np.bool_)
    cold[np.concatenate([valid.items, test.items])] = True
    asked = {"valid": valid.to_matrix(), "test": test.to_matrix()}
    known = train.to_matrix()
    questions = {
        part: Slice(part, f"cold papers, {part}", known, asked[part], cold, asked[other])
        for part, other in (("valid", "test"), ("test", "valid"))
    }
    return ColdTexts(graph, train, questions)


def read_movies(data_dir: Path = DATA_DIR, seed: int = 0) -> ColdTexts:
    """Titles, genres and plots of ml-1m with their links; the seed draws the held-out items, for valid and for test."""
    graph, likes = read_text_graph(read_ml1m(data_dir / "ml-1m"))
    split = split_likes(likes, SplitConfig(), np.random.default_rng(seed))
    inner = split_likes(split.train, SplitConfig(cold_users=0, warm=0), np.random.default_rng(seed))
    return ColdTexts(graph, inner.train, {"valid": inner.slices["cold_items"], "test": split.slices["cold_items"]})


READERS = {"citeulike": read_citeulike, "ml1m": read_movies}


def to_text_graph(texts: list[str], links: NDArray[np.int64]) -> TextGraph:
    """A graph of items with texts and one relation between them, int64 (2, n) item rows."""
    distinct, item_text = np.unique(np.array(texts, dtype=object), return_inverse=True)
    ends = item_text[links]
    ends = np.unique(ends[:, ends[0] != ends[1]], axis=1)
    return TextGraph(distinct.tolist(), item_text, ends, np.zeros(ends.shape[1], np.int64), ("cites",))


def encode_items(model: LanguageModel, graph: TextGraph) -> NDArray[np.float32]:
    """(n_items, dim) float32 unit rows; zeros for an item without a text."""
    vectors = np.zeros((len(graph.item_text), model.dim), np.float32)
    known = graph.item_text >= 0
    vectors[known] = encode(model, model.tokenize(graph.texts))[graph.item_text[known]]
    return vectors


@dataclass(frozen=True)
class _KernelRidge:
    weights: NDArray[np.float32]  # (n_cold, n_met)
    met: NDArray[np.int64]
    cold: NDArray[np.int64]
    name: str = "kernel ridge"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        scores = np.zeros(support.shape, np.float32)
        scores[:, self.cold] = support[:, self.met] @ self.weights.T
        return scores


def measure(vectors: NDArray[np.float32], question: Slice) -> tuple[float, float]:
    """Recall@20 and NDCG@20 of the downstream model with these vectors, learned from the question's support."""
    assert question.candidates is not None
    popularity = np.bincount(question.support.indices, minlength=len(vectors))
    met, cold = np.flatnonzero(popularity), np.flatnonzero(question.candidates)
    among = np.exp(_SHARPNESS * (vectors[met] @ vectors[met].T - 1))
    among[np.diag_indices_from(among)] += _REGULARISATION
    factor = cho_factor(among, lower=True, overwrite_a=True, check_finite=False)
    shown = np.exp(_SHARPNESS * (vectors[met] @ vectors[cold].T - 1))
    weights = cho_solve(factor, shown, check_finite=False) * (popularity[met, None] ** -_POPULARITY_EXPONENT)
    result = evaluate_slice(_KernelRidge(weights.T.astype(np.float32), met, cold), question)
    return float(result.per_user("recall").mean()), float(result.per_user("ndcg").mean())
