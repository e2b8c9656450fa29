"""Speed on MovieLens 1M: training, every kind of request, batches, changes, the command line.

    python scripts/benchmarks/speed.py --bundle runs/ml-1m

Training is measured in its own process, with the texts encoded beforehand. --bundle keeps the trained bundle; if it
exists, training is skipped.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
from ml1m import DEFAULT_DIR, build_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.bundle import save_bundle
from kgrec.config import TrainConfig
from kgrec.recommend import NewItem, Recommender
from kgrec.training.train_bundle import fit_bundle

MOST_TRAIN_S, MOST_TRAIN_MB = 120, 4096
MOST_REQUEST_MS, MOST_MANY_S, MOST_HELP_S = 5, 3, 0.5
K, N_WARM_UP, N_CANDIDATES, BLOCK_USERS = 10, 20, 500, 512


@dataclass(frozen=True)
class Figure:
    """One row: a median, and with many measurements their 95th percentile."""

    what: str
    unit: str
    measured: float
    p95: float | None = None
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether the median is over the limit."""
        return self.limit is not None and self.measured > self.limit


def encode_texts(directory: Path) -> None:
    """Fills the text cache, so that training does not wait for it."""
    build_ml1m(directory)


def measure_training(directory: Path, bundle_dir: Path) -> list[Figure]:
    """Trains on the whole catalogue and saves the bundle."""
    graph = build_ml1m(directory)
    start, start_cpu = time.perf_counter(), time.process_time()
    bundle = fit_bundle(graph, TrainConfig(), int(time.time()), _say)
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # the catalogue and the libraries included
    save_bundle(bundle, bundle_dir)
    return [
        Figure("train", "s", train_s, limit=MOST_TRAIN_S),
        Figure("train, processor time of all cores", "s", train_cpu_s),
        Figure("train, peak of the process", "MB", peak_mb, limit=MOST_TRAIN_MB),
    ]


def measure_requests(recommender: Recommender, n_requests: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Times single requests of every kind; each request draws its own users, likes and items."""
    bundle = recommender.bundle
    liked = bundle.liked

    def user() -> str:
        return bundle.users.ids[rng.integers(len(bundle.users))]

    def likes(n_likes: int) -> list[str]:
        """Some likes of one user who has enough."""
        row = rng.choice(np.flatnonzero(np.diff(liked.indptr) >= n_likes))
        rows = rng.choice(liked.indices[liked.indptr[row] : liked.indptr[row + 1]], n_likes, replace=False)
        return [bundle.items.ids[item] for item in rows]

    def items(n_items: int) -> list[str]:
        return [bundle.items.ids[row] for row in rng.choice(len(bundle.items), n_items, replace=False)]

    # kind -> draws a request, ready to be timed
    kinds: dict[str, Callable[[], Callable[[], object]]] = {
        "recommend, known user": lambda: _call(recommender.recommend, user=user(), k=K),
        "recommend, 1 like": lambda: _call(recommender.recommend, likes=likes(1), k=K),
        "recommend, 3 likes": lambda: _call(recommender.recommend, likes=likes(3), k=K),
        "recommend, 10 likes": lambda: _call(recommender.recommend, likes=likes(10), k=K),
        "recommend, user and 3 likes": lambda: _call(recommender.recommend, user=user(), likes=likes(3), k=K),
        f"recommend, user, {N_CANDIDATES} candidates": lambda: _call(
            recommender.recommend, user=user(), candidates=items(N_CANDIDATES), k=K
        ),
        # repeated answers come from a cache, so each request differs
        "recommend, nobody in particular": lambda: _call(recommender.recommend, exclude=items(2), k=K),
        "recommend, user, with reasons": lambda: _call(recommender.recommend, user=user(), k=K, explain=True),
        "recommend, 3 likes, with reasons": lambda: _call(recommender.recommend, likes=likes(3), k=K, explain=True),
        "similar": lambda: _call(recommender.similar, items(1)[0], k=K),
        "explain one item to a user": lambda: _call(recommender.explain, items(1)[0], user=user()),
    }
    first_s = _time(_call(recommender.recommend, likes=likes(1), k=K, explain=True))
    yield Figure("the first reasons (the paths are indexed)", "ms", first_s * 1e3)
    for kind, draw in kinds.items():
        yield _summarise(kind, draw, n_requests, MOST_REQUEST_MS)
    words = "a slow science fiction film about a lonely robot, number {}"
    yield _summarise(
        "recommend, a sentence",
        lambda: _call(recommender.recommend, text=words.format(rng.integers(10**9)), k=K),
        n_requests // 10,
    )


def measure_many(recommender: Recommender, n_times: int) -> Iterator[Figure]:
    """Times scores and lists of all users at once; scores on one thread, in processor time."""
    bundle, users = recommender.bundle, recommender.bundle.users.ids
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    score_s = []
    for _ in range(n_times):
        start = time.process_time()
        for first in range(0, len(users), BLOCK_USERS):
            bundle.model.score(bundle.liked[first : first + BLOCK_USERS])
        score_s.append(time.process_time() - start)
    torch.set_num_threads(threads)
    yield Figure("score all users, a user, one thread", "us", median(score_s) / len(users) * 1e6)
    many_s = [_time(_call(recommender.recommend_many, users, k=K)) for _ in range(n_times)]
    yield Figure(f"recommend_many, {len(users):,} users", "s", median(many_s), limit=MOST_MANY_S)


def measure_changes(recommender: Recommender, n_times: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Times changes to a recommender, loading and saving; the given recommender does not change."""
    bundle = recommender.bundle
    changed = Recommender(bundle)
    changed.recommend(likes=[bundle.items.ids[0]], text="anything", k=K, explain=True)  # loads encoder and paths
    linked = [(name, edge.target) for name, edge in bundle.schema.graph_edges.items() if len(bundle.ids[edge.target])]

    def links() -> list[tuple[str, str]]:
        return [(name, bundle.ids[end].ids[rng.integers(len(bundle.ids[end]))]) for name, end in linked]

    def interactions(user: str) -> pa.Table:
        rows = rng.choice(len(bundle.items), 3, replace=False)
        columns = {"user": [user] * 3, "item": [bundle.items.ids[row] for row in rows]}
        weight = bundle.schema.interaction.weight
        return pa.table(columns | ({} if weight is None else {weight: [5.0] * 3}))

    ids = [f"added-{place}" for place in range(n_times)]
    changes: dict[str, Sequence[Callable[[], object]]] = {
        "add_item, links": [_call(changed.add_item, f"{id_}-linked", links=links()) for id_ in ids],
        "add_item, links and a text": [
            _call(changed.add_item, id_, text=f"A film about the number {id_}", links=links()) for id_ in ids
        ],
        "add_interactions, 3 of a new user": [_call(changed.add_interactions, interactions(id_)) for id_ in ids],
        "add_interactions, 3 of a known user": [
            _call(changed.add_interactions, interactions(user)) for user in bundle.users.ids[:n_times]
        ],
        "forget": [_call(changed.forget, id_) for id_ in ids],
        "add_items, 1,000 at once": [
            _call(changed.add_items, [NewItem(f"{id_}-{n}", text=f"Film {n}", links=links()) for n in range(1000)])
            for id_ in ids[:3]
        ],
        "add_interactions, 3 of each of 1,000 new users": [
            _call(changed.add_interactions, pa.concat_tables(interactions(f"{id_}-{n}") for n in range(1000)))
            for id_ in ids[:3]
        ],
    }
    for what, calls in changes.items():
        yield Figure(what, "ms", median(map(_time, calls)) * 1e3)
    with tempfile.TemporaryDirectory() as folder:
        save_s = [_time(_call(recommender.save, folder)) for _ in range(n_times)]
        load_s = [_time(_call(Recommender.load, folder)) for _ in range(n_times)]
        size_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
    yield Figure("save a bundle", "s", median(save_s))
    yield Figure("load a bundle", "s", median(load_s))
    yield Figure("a bundle on disk", "MB", size_mb)


def measure_help(n_times: int) -> Iterator[Figure]:
    """Times the command line's answer to --help, the interpreter's start included."""
    command = [Path(sys.executable).with_name("kgrec"), "--help"]
    help_s = [_time(_call(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)) for _ in range(n_times)]
    yield Figure("kgrec --help", "s", median(help_s), limit=MOST_HELP_S)


def _call(function: Callable[..., object], *arguments: object, **named: object) -> Callable[[], object]:
    return lambda: function(*arguments, **named)


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _summarise(
    kind: str, draw: Callable[[], Callable[[], object]], n_requests: int, limit: float | None = None
) -> Figure:
    taken_ms = [_time(draw()) * 1e3 for _ in range(N_WARM_UP + n_requests)][N_WARM_UP:]
    return Figure(kind, "ms", float(np.median(taken_ms)), float(np.percentile(taken_ms, 95)), limit)


def _say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


def to_table(figures: Sequence[Figure]) -> Table:
    """A row for each figure with its limit; a figure over its limit is red."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what")
    for name in ("median", "95%", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit")
    for figure in figures:
        median_, p95, limit = (
            "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
            for value in (figure.measured, figure.p95, figure.limit)
        )
        table.add_row(figure.what, f"[red]{median_}" if figure.is_missed else median_, p95, limit, figure.unit)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--bundle", type=Path, help="the folder of the bundle; an existing bundle is not trained again")
    parser.add_argument("--requests", type=int, default=300, help="number of requests of each kind")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle_dir = options.bundle or Path(folder) / "bundle"
        if not (bundle_dir / "bundle.json").exists():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
                _say("encoding the texts that are not in the cache")
                processes.submit(encode_texts, options.path).result()
                figures += processes.submit(measure_training, options.path, bundle_dir).result()
        recommender = Recommender.load(bundle_dir)
        rng = np.random.default_rng(0)
        for what, measured in (
            ("single requests", measure_requests(recommender, options.requests, rng)),
            ("all users", measure_many(recommender, n_times=5)),
            ("changes", measure_changes(recommender, 5, rng)),
            ("the command line", measure_help(n_times=10)),
        ):
            _say(f"measuring {what}")
            figures += measured
    machine = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],  # above this program's own load, other processes made the figures worse
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    console.print(to_table(figures))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    if options.out is not None:
        rows = [asdict(figure) | {"is_missed": figure.is_missed} for figure in figures]
        options.out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
