"""The generator on beauty: what it writes as each user's next item, among all items, and what it costs.

    python scripts/benchmarks/generated_items.py            # valid, test, latency
    python scripts/benchmarks/generated_items.py --cold     # 5% of the items held out whole

Training reads all likes but each user's last two. The last but one is validation's; it is known, but not trained on,
when the last is asked for. Items that a user has are left out. With --cold, the held-out items are in no training
sequence and get their ids by texts and links; users whose next item is one of them are asked apart from a sample of the
others. also_bought and also_viewed are not read.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from catalogues import read_catalogue
from numpy.typing import NDArray
from published_splits import DATA_DIR, PublishedSplit
from rich.console import Console

from kgrec.config import GeneratorConfig
from kgrec.generate.generator import NEW_BONUS, Generator, generate
from kgrec.generate.generator_training import train_generator
from kgrec.generate.item_sequences import ItemSequences
from kgrec.graph.node_links import build_item_links
from kgrec.metrics import ndcg
from kgrec.model.likeness import LINKS, TEXT, fit_likeness
from kgrec.questions.slices import Slice
from kgrec.sequences import Sequences

K = 10
COLD = 0.05  # of the items
LINKS_WEIGHT = 0.7  # of links beside texts
N_TIMED = 200  # users
N_COMPARED = 4000  # users whose next item is not new, to tell what a bonus of new items costs
NEW = ", new items"
BONUSES = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5)  # of new items, compared on valid; test has the default alone


@dataclass(frozen=True)
class Question:
    """Sequences and the item that comes next in each, (n_users,) int64."""

    sequences: ItemSequences
    next_items: NDArray[np.int64]

    @classmethod
    def of(cls, slice_: Slice) -> "Question":
        """The question of a slice whose users have one relevant item each."""
        assert slice_.order is not None
        sequences = ItemSequences.of_order(slice_.order, np.random.default_rng(0))
        users = np.flatnonzero(np.diff(slice_.relevant.indptr))
        return cls(sequences.select(users), slice_.relevant[users].indices.astype(np.int64))

    def ask_for(self, items: NDArray[np.bool_]) -> "Question":
        """Only the users whose next item is one of some items, (n_items,) bool."""
        users = np.flatnonzero(items[self.next_items])
        return Question(self.sequences.select(users), self.next_items[users])

    def draw(self, most: int) -> "Question":
        """At most so many of the users, drawn at random."""
        users = np.random.default_rng(0).permutation(len(self.next_items))[:most]
        return Question(self.sequences.select(users), self.next_items[users])

    def renumber(self, rows: NDArray[np.int64]) -> "Question":
        """The same with other rows: (n_items,) int64, each item's new row."""
        sequences = ItemSequences(rows[self.sequences.items], self.sequences.starts)
        return Question(sequences, rows[self.next_items])

    def measure(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Recall@10 and NDCG@10 of lists, (n_users, 10) item rows."""
        hits = rows == self.next_items[:, None]
        return float(hits.any(axis=1).mean()), float(ndcg(hits, np.ones(len(hits), np.int64))[:, -1].mean())


def read_content(split: PublishedSplit) -> NDArray[np.float32]:
    """(n_items, content_dim) float32: texts and links as `similar` compares them."""
    item = split.graph.schema.item_type
    text = split.graph.data[item].x.numpy().astype(np.float32)
    likeness = fit_likeness(split.train.to_matrix(), text, build_item_links(split.graph.data, split.graph.schema))
    return np.hstack([likeness.part(TEXT, text), np.float32(LINKS_WEIGHT**0.5) * likeness.part(LINKS, text)])


def read_train(split: PublishedSplit) -> ItemSequences:
    """The training sequences."""
    likes = split.train
    assert likes.times is not None
    rng = np.random.default_rng(0)
    found = Sequences.of(likes.users, likes.items, likes.times, likes.shape[0], rng)
    return ItemSequences(found.items, found.starts)


def measure(split: PublishedSplit, config: GeneratorConfig, cold: bool, seed: int) -> dict[str, Any]:
    """Trains, and measures valid and test."""
    content, train = read_content(split), read_train(split)
    n_items = len(content)
    n_cold = int(COLD * n_items) if cold else 0
    order = np.random.default_rng(seed).permutation(n_items) if cold else np.arange(n_items)  # held-out items come last
    rows = np.argsort(order)
    questions = {"valid": Question.of(split.validation["next"]), "test": Question.of(split.slices[0])}
    questions = {name: question.renumber(rows) for name, question in questions.items()}
    content, n_warm = content[order], n_items - n_cold
    train = _keep_below(ItemSequences(rows[train.items], train.starts), n_warm)
    valid = questions["valid"].next_items
    start, start_cpu = time.perf_counter(), time.process_time()
    generator = train_generator(
        content[:n_warm], train, config, np.where(valid < n_warm, valid, -1),
        on_metric=lambda name, value, step: print(f"{name} {value:.4f} after {step} steps", flush=True),
    )  # fmt: skip
    run: dict[str, Any] = {
        "train_s": time.perf_counter() - start, "train_cpu_s": time.process_time() - start_cpu, "figures": {},
    }  # fmt: skip
    if cold:
        generator = generator.with_items(np.arange(n_warm), content[n_warm:])
        held_out = np.arange(n_items) >= n_warm
        others = {name: question.ask_for(~held_out).draw(N_COMPARED) for name, question in questions.items()}
        questions = others | {f"{name}{NEW}": question.ask_for(held_out) for name, question in questions.items()}
    for name, question in questions.items():
        bonuses = BONUSES if cold and name.startswith("valid") else (NEW_BONUS,)
        scored = {
            f"generator, new items +{bonus:g}": generate(
                generator, question.sequences, K, beams=config.beams, new_bonus=bonus
            ).rows
            for bonus in bonuses
        }
        if name.endswith(NEW):
            scored |= _rank_by_baselines(question, train, content)
        run["figures"][name] = {scorer: question.measure(found) for scorer, found in scored.items()}
        run["in_catalogue"] = all(bool((found >= 0).all()) for found in scored.values())
    run["latency_ms"] = _time_answers(generator, questions["test"], config.beams)
    return run


def _keep_below(sequences: ItemSequences, n_warm: int) -> ItemSequences:
    """The same sequences without the rows from n_warm on."""
    kept = sequences.items < n_warm
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return ItemSequences(sequences.items[kept], before[sequences.starts])


def _rank_by_baselines(
    question: Question, train: ItemSequences, content: NDArray[np.float32]
) -> Mapping[str, NDArray[np.int64]]:
    """Popularity, and the cosine of content to all likes or rather the last. A graph of transitions has no new item."""
    popularity = np.bincount(train.items, minlength=len(content)).astype(np.float32)
    units = content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-9)
    sequences = question.sequences
    users = np.repeat(np.arange(sequences.n_users), sequences.lengths)
    found = {}
    for name, decay in (("popularity", None), ("content kNN", 1.0), ("content kNN, last likes", 0.6)):
        if decay is None:
            scores = np.tile(popularity, (sequences.n_users, 1))
        else:
            weights = decay ** (sequences.starts[1:][users] - 1 - np.arange(len(users)))
            profiles = np.zeros((sequences.n_users, content.shape[1]), np.float32)
            np.add.at(profiles, users, units[sequences.items] * weights[:, None].astype(np.float32))
            scores = profiles @ units.T
        scores[users, sequences.items] = -np.inf
        found[name] = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return found


def _time_answers(generator: Generator, question: Question, beams: int) -> dict[str, float]:
    """Milliseconds of one user's answer: the median and the 95th percentile."""
    seconds = []
    for user in range(min(N_TIMED, question.sequences.n_users)):
        one = question.sequences.select(np.array([user]))
        start = time.perf_counter()
        generate(generator, one, K, beams=beams)
        seconds.append(time.perf_counter() - start)
    return {"p50": float(np.median(seconds)) * 1e3, "p95": float(np.quantile(seconds, 0.95)) * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="hold out 5% of the items whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="the longest training")
    parser.add_argument("--epochs", type=int, help="the most passes over the sequences")
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("seconds", "epochs") if getattr(options, name) is not None}
    run = measure(
        read_catalogue("beauty", options.path), GeneratorConfig(seed=options.seed, **given), options.cold, options.seed
    )
    console = Console()
    for name, figures in run["figures"].items():
        for scorer, (recall, gain) in figures.items():
            console.print(f"{name}: {scorer}: R@10 {recall:.4f}, NDCG@10 {gain:.4f}")
    console.print(
        f"{run['train_s']:.0f} s, {run['train_cpu_s']:.0f} s of processor time; one answer "
        f"{run['latency_ms']['p50']:.0f} ms, at p95 {run['latency_ms']['p95']:.0f} ms"
    )
    if options.out is not None:
        options.out.write_text(json.dumps(run, indent=1) + "\n")


if __name__ == "__main__":
    main()
