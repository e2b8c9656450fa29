"""Time of reasons on MovieLens 1M: from the bundle, and read from the current graph, in several stores.

    python scripts/benchmarks/reasons_speed.py --bundle runs/ml-1m --store ladybug:/tmp/ml-1m.db --store
    neo4j://localhost

The bundle is one kept by `speed.py --bundle`. MovieLens 1M is first loaded into a store without a catalogue.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from ml1m import DEFAULT_DIR, read_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource
from kgrec.bundle import load_bundle
from kgrec.errors import StoreError
from kgrec.recommend import Recommender
from kgrec.store import load_staged, open_store

MOST_MS = 30.0  # median of an answer with reasons from the live graph
K, N_WARM_UP, MANY_LIKES, N_MANY = 10, 30, 100, 512
Request = Callable[[Recommender], object]


def fill_store(url: str, directory: Path) -> None:
    """Loads MovieLens 1M into a store without a catalogue."""
    with open_store(url, mode="write") as store:
        try:
            store.read_schema()
            return
        except StoreError:
            _say(f"loading {url}")
        tables = read_ml1m(directory)
        with tempfile.TemporaryDirectory() as folder:
            source = MemorySource.from_tables(tables.schema, tables.nodes, tables.edges)
            load_staged(store, stage_tables(source, Path(folder), rejects=None))


def draw_requests(recommender: Recommender, n_requests: int, rng: np.random.Generator) -> dict[str, list[Request]]:
    """Requests of each kind, each for another user; the same for all stores."""
    bundle = recommender.bundle
    n_likes = np.diff(bundle.liked.indptr)
    users = [bundle.users.ids[row] for row in rng.choice(np.flatnonzero(n_likes >= MANY_LIKES), n_requests)]
    first = {user: recommender.recommend(user, k=1)[0].item for user in users}
    liked = [
        [bundle.items.ids[row] for row in rng.choice(bundle.liked.indices[start:stop], 3, replace=False)]
        for start, stop in zip(bundle.liked.indptr, bundle.liked.indptr[1:], strict=False)
        if stop - start >= 3  # noqa: PLR2004
    ]
    supports = [liked[place] for place in rng.choice(len(liked), n_requests)]
    block = list(bundle.users.ids[:N_MANY])
    return {
        f"recommend, user of {MANY_LIKES}+ likes, no reasons": [
            lambda r, user=user: r.recommend(user, k=K) for user in users
        ],
        f"recommend, user of {MANY_LIKES}+ likes, {K} reasons": [
            lambda r, user=user: r.recommend(user, k=K, explain=True) for user in users
        ],
        f"recommend, 3 likes, {K} reasons": [
            lambda r, likes=likes: r.recommend(likes=likes, k=K, explain=True) for likes in supports
        ],
        f"explain one item, user of {MANY_LIKES}+ likes": [
            lambda r, user=user: r.explain(first[user], user=user) for user in users
        ],
        f"recommend_many, {N_MANY} users, {K} reasons": [lambda r: r.recommend_many(block, k=K, explain=True)] * 3,
    }


def measure(recommender: Recommender, requests: list[Request]) -> dict[str, float]:
    """Times requests one after another, in ms, after an unmeasured run of the first ones."""
    warm_up = [_time(request, recommender) for request in requests[:N_WARM_UP]]
    taken = [_time(request, recommender) for request in requests]
    return {"first": warm_up[0], "p50": float(np.median(taken)), "p95": float(np.percentile(taken, 95))}


def _time(request: Request, recommender: Recommender) -> float:
    start = time.perf_counter()
    request(recommender)
    return (time.perf_counter() - start) * 1e3


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def to_table(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    """A row for each kind of request, a column for each source of paths; a median over the limit is red."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="ms: median (95%) first", title_justify="left")
    table.add_column("what")
    for name in figures:
        table.add_column(name, justify="right")
    for kind in next(iter(figures.values())):
        cells = []
        for by_kind in figures.values():
            found = by_kind[kind]
            late = found["p50"] > MOST_MS and "_many" not in kind
            cells.append(f"{'[red]' if late else ''}{found['p50']:,.1f} ({found['p95']:,.1f}) {found['first']:,.0f}")
        table.add_row(kind, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="trained on ml-1m")
    parser.add_argument(
        "--store", action="append", default=[], help="a store's URL, as in `kgrec load --to`; repeatable"
    )
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--requests", type=int, default=300, help="number of requests of each kind")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    for url in options.store:
        fill_store(url, options.path)
    bundle = load_bundle(options.bundle)
    with ExitStack() as opened:
        recommenders = {"in the bundle": Recommender(bundle)}
        for url in options.store:
            store = opened.enter_context(open_store(url, mode="read", schema=bundle.schema))
            recommenders[url.partition(":")[0]] = Recommender(bundle, store=store)
        requests = draw_requests(recommenders["in the bundle"], options.requests, np.random.default_rng(0))
        figures: dict[str, dict[str, dict[str, float]]] = {}
        for name, recommender in recommenders.items():
            _say(f"measuring: paths {name}")
            figures[name] = {kind: measure(recommender, asked) for kind, asked in requests.items()}
            for kind, asked in requests.items():
                same = asked[0](recommender) == asked[0](recommenders["in the bundle"])
                if not same:
                    _say(f"{kind}: the answers of {name} differ from the bundle's")
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(to_table(figures))
    console.print(
        f"limit of a median from a live graph: {MOST_MS:g} ms; load average {os.getloadavg()[0]:.1f}", style="dim"
    )
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
