"""Cost of training on large synthetic catalogues: time, processor time and memory, and how they grow.

    python scripts/benchmarks/synthetic.py FOLDER... --threads 2 --out runs/synthetic.json

Each folder holds the tables of one catalogue, as `kgrec load` reads them, with the schema in catalogue.toml. Rows are
sorted by likes, each is its own process, and texts are encoded before the clock starts. Growth is the factor of the
processor time for each doubling of the likes, from the row above: 2 is linear.

With --words a text is the mean of random vectors of its words: a language model takes long to read 200,000 titles, and
training costs the same.
"""

import argparse
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from training_cost import lay_out, measure_each, time_training

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.checks.staging import stage_tables
from kgrec import cache_dir
from kgrec.questions.splits import read_likes
from kgrec.text.encoder import OnTexts, load_encoder
from kgrec.training.dataset import build_graph
from loaders import open_source


@dataclass(frozen=True)
class WordEncoder:
    """An `Encoder` of texts as the normalised mean of random vectors of their words."""

    dim: int = 384
    name: str = "words"
    revision: str = "words-1"

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        """(n, dim) float32 unit vectors."""
        rows = {word: row for row, word in enumerate(sorted({word for text in texts for word in text.split()}))}
        of_word = np.array([self._draw(word) for word in rows], np.float32).reshape(-1, self.dim)
        found = np.array([of_word[[rows[word] for word in text.split()]].mean(axis=0) for text in texts], np.float32)
        found = found.reshape(-1, self.dim)
        if on_texts is not None:
            on_texts(len(texts), len(texts))
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))
        return found

    def _draw(self, word: str) -> NDArray[np.float32]:
        """A random vector, the same for the same word."""
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return np.random.default_rng(seed).standard_normal(self.dim, np.float32)


@dataclass(frozen=True)
class TrainingCost:
    """The cost of one training; `before_mb` is the peak of the process before it, with the catalogue in memory."""

    folder: str
    n_items: int
    n_users: int
    n_likes: int
    n_links: int
    train_s: float
    train_cpu_s: float
    before_mb: float
    peak_mb: float


def read_tables(folder: Path) -> GraphTables:
    """Reads the tables of a folder by the schema in that folder."""
    schema = CatalogueSchema.from_toml(folder / "catalogue.toml")
    source = open_source("tabular", path=folder, schema=schema, cache_dir=cache_dir())
    with TemporaryDirectory(prefix="kgrec-") as staged:
        return stage_tables(source, Path(staged), rejects=None).to_tables()


def measure(folder: Path, threads: int, seed: int, words: bool) -> TrainingCost:
    """Trains once with the default configuration, with texts encoded beforehand."""
    import torch

    torch.set_num_threads(threads)
    tables = read_tables(folder)
    with TemporaryDirectory(prefix="kgrec-") as texts:
        encoder, texts_dir = (WordEncoder(), Path(texts)) if words else (load_encoder(), cache_dir())
        graph = build_graph(tables, encoder, texts_dir)
    n_links = sum(len(tables.edges[name]) for name in tables.schema.graph_edges)
    del tables
    likes = read_likes(graph.data, graph.schema)
    spent = time_training(graph, likes, seed)
    n_users, n_items = likes.shape
    return TrainingCost(folder.name, n_items, n_users, len(likes), n_links, **asdict(spent))


def measure_growth(smaller: TrainingCost, cost: TrainingCost) -> float | None:
    """The factor of the processor time for each doubling of likes between two rows."""
    doublings = math.log2(cost.n_likes / smaller.n_likes)
    return (cost.train_cpu_s / smaller.train_cpu_s) ** (1 / doublings) if doublings > 0 else None


def to_table(title: str, costs: Sequence[TrainingCost]) -> Table:
    """A row for each catalogue, those with the fewest likes first."""
    columns = ("items", "users", "likes", "links", "train, s", "processor, s", "growth", "before, MB", "peak, MB")
    ordered = sorted(costs, key=lambda cost: cost.n_likes)
    rows: list[tuple[str | float, ...]] = []
    for smaller, cost in zip([None, *ordered], ordered, strict=False):
        growth = None if smaller is None else measure_growth(smaller, cost)
        rows.append(
            (cost.n_items, cost.n_users, cost.n_likes, cost.n_links, cost.train_s, cost.train_cpu_s,
             "" if growth is None else f"{growth:.2f}", cost.before_mb, cost.peak_mb)
        )  # fmt: skip
    return lay_out(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--words", action="store_true", help="random vectors of words instead of the language model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    jobs = {str(folder): (folder, options.threads, options.seed, options.words) for folder in options.folders}
    measure_each(jobs, measure, options.threads, to_table, lambda costs: [asdict(cost) for cost in costs], options.out)


if __name__ == "__main__":
    main()
