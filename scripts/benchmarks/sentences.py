"""Sentences as users: finds a user's other likes from a sentence about three liked films.

    python scripts/benchmarks/sentences.py --adapter runs/adapter

The users are those that the split of `kgrec evaluate` holds out whole, with three known likes. The sentence lists the
titles or the genres of these films. The relevant items are their other likes among the training films; the metric is
Recall@20. Popularity and the cosine of the texts need no training; `--train` adds the answers of `recommend(text=...)`,
from bundles trained without and with the adapter.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ml1m import DEFAULT_DIR, read_ml1m
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

import kgrec
from graph_schema import SOURCE, TARGET, GraphTables
from kgrec.adapt.text_graph import read_text_graph
from kgrec.config import SplitConfig, TrainConfig
from kgrec.graph.hetero import sort_tables
from kgrec.questions.splits import Likes, split_likes
from kgrec.text.encoder import load_encoder

K = 20
Ranked = NDArray[np.int64]  # (n_users, K) item rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--adapter", type=Path, help="the folder of an adapter trained with the same seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="also train bundles, which takes minutes each")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    tables = sort_tables(read_ml1m(given.path))
    graph, likes = read_text_graph(tables)
    split = split_likes(likes, SplitConfig(), np.random.default_rng(given.seed))
    question = split.slices["cold_users_k3"]
    users = np.flatnonzero(np.diff(question.relevant.indptr))
    shown = [question.support.indices[slice(*question.support.indptr[user : user + 2])] for user in users]
    asked = [set(question.relevant.indices[slice(*question.relevant.indptr[user : user + 2])]) for user in users]
    candidates = np.flatnonzero(split.train.counts if question.candidates is None else question.candidates)
    movies = tables.nodes["movie"]
    words = {name: movies[name].to_pylist() for name in ("title", "genres")}
    encoders = {"frozen": None} | ({"adapted": given.adapter} if given.adapter else {})
    found: dict[str, dict[str, float]] = {kind: {} for kind in words}
    by_kind = {
        kind: ["; ".join(column[item] or "" for item in items) for items in shown] for kind, column in words.items()
    }
    ranked = {(kind, "popularity"): _by_popularity(split.train, shown, candidates) for kind in words}
    for name, adapter in encoders.items():
        encoder = load_encoder(adapter=adapter)
        items = encoder.encode([graph.texts[place] for place in graph.item_text])  # every film has a text
        recommender = _train(tables, split.train, adapter, given.seed) if given.train else None
        for kind, sentences in by_kind.items():
            ranked[kind, f"cosine of texts, {name}"] = _top(encoder.encode(sentences) @ items.T, shown, candidates)
            if recommender is not None:
                ids = tables.ids("movie").to_pylist()
                ranked[kind, f"kgrec, {name}"] = _by_bundle(recommender, ids, sentences, shown, candidates)
    for (kind, name), lists in ranked.items():
        found[kind][name] = _recall(lists, asked)
    table = Table(title=f"Recall@{K}, {len(users):,} users", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("ranked by")
    for kind in words:
        table.add_column(f"sentences of {kind}", justify="right")
    for name in found["title"]:
        table.add_row(name, *(f"{found[kind][name]:.4f}" for kind in words))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1))


def _recall(ranked: Ranked, asked: list[set[int]]) -> float:
    return float(np.mean([len(wanted & set(row)) / len(wanted) for row, wanted in zip(ranked, asked, strict=True)]))


def _top(scores: NDArray[np.float32], shown: list[NDArray[np.int64]], candidates: NDArray[np.int64]) -> Ranked:
    masked = np.full(scores.shape, -np.inf, np.float32)
    masked[:, candidates] = scores[:, candidates]
    for row, items in zip(masked, shown, strict=True):
        row[items] = -np.inf
    return np.argsort(-masked, axis=1, kind="stable")[:, :K]


def _by_popularity(train: Likes, shown: list[NDArray[np.int64]], candidates: NDArray[np.int64]) -> Ranked:
    popularity = np.bincount(train.items, minlength=train.shape[1]).astype(np.float32)
    return _top(np.tile(popularity, (len(shown), 1)), shown, candidates)


def _train(tables: GraphTables, train: Likes, adapter: Path | None, seed: int) -> kgrec.Recommender:
    """A recommender of the training likes alone."""
    edge = tables.schema.interaction.edge
    users, items = (tables.ids(name) for name in ("user", "movie"))
    pairs = tables.edges[edge]
    rows = [pc.index_in(pairs[end], ids).to_numpy() for end, ids in ((SOURCE, users), (TARGET, items))]
    known = np.isin(rows[0] * len(items) + rows[1], train.users * len(items) + train.items)
    seen = GraphTables(tables.schema, tables.nodes, {**tables.edges, edge: pairs.filter(pa.array(known))})
    return kgrec.train(seen, config=TrainConfig(seed=seed, adapter=None if adapter is None else str(adapter)))


def _by_bundle(
    recommender: kgrec.Recommender,
    ids: list[str],
    sentences: list[str],
    shown: list[NDArray[np.int64]],
    candidates: NDArray[np.int64],
) -> Ranked:
    row = {id_: place for place, id_ in enumerate(ids)}
    allowed = [ids[item] for item in candidates]
    answers = [
        recommender.recommend(text=sentence, k=K, candidates=allowed, exclude=[ids[item] for item in items])
        for sentence, items in zip(sentences, shown, strict=True)
    ]
    return np.array([[row[one.item] for one in answer.items] for answer in answers])


if __name__ == "__main__":
    main()
