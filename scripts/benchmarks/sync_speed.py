"""Time of a sync on MovieLens 1M after a change of 1% of everything, compared with a training from scratch.

    python scripts/benchmarks/sync_speed.py --bundle runs/ml-1m

A missing bundle is trained first, and the training is timed. Vectors of old texts are in the user's cache; those of new
texts are not.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ml1m import DEFAULT_DIR, build_ml1m, read_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from graph_schema import SOURCE, TARGET, GraphTables
from kgrec.bundle import load_bundle, save_bundle
from kgrec.config import TrainConfig
from kgrec.sync import preview_sync, sync_bundle
from kgrec.sync.report import print_report
from kgrec.text.encoder import load_encoder
from kgrec.training.train_bundle import fit_bundle

Result = TypeVar("Result")

SHARE = 0.01


def change_tables(tables: GraphTables, rng: np.random.Generator) -> GraphTables:
    """Removes 1% of the movies, users and ratings, adds as many new ones, and changes 1% of the plots."""
    schema, nodes, edges = tables.schema, dict(tables.nodes), dict(tables.edges)
    movies, users = (nodes[name] for name in ("movie", "user"))
    n_movies, n_users = round(SHARE * len(movies)), round(SHARE * len(users))
    drawn = rng.permutation(len(movies))
    gone, copied, retold = (pa.array(drawn[n * n_movies : (n + 1) * n_movies]) for n in range(3))
    gone_ids = movies.take(gone)["movie_id"].combine_chunks()
    gone_users = users.take(rng.permutation(len(users))[:n_users])["user_id"].combine_chunks()
    copies = movies.take(copied)
    new_ids = pc.binary_join_element_wise("new", copies["movie_id"], "-")
    copies = copies.set_column(0, movies.schema.field(0), new_ids)
    plots = pc.if_else(
        pa.array(np.isin(np.arange(len(movies)), retold.to_numpy())),
        pc.binary_join_element_wise(pc.coalesce(movies["plot"], pa.scalar("")), "A new cut.", " "),
        movies["plot"],
    )
    movies = movies.set_column(movies.schema.get_field_index("plot"), movies.schema.field("plot"), plots)
    movies = movies.filter(pc.invert(pc.is_in(movies["movie_id"], gone_ids)))
    more = copies["plot"].combine_chunks()
    copies = copies.set_column(
        copies.schema.get_field_index("plot"),
        copies.schema.field("plot"),
        pc.binary_join_element_wise(pc.coalesce(more, pa.scalar("")), "A remake.", " "),
    )
    nodes["movie"] = pa.concat_tables([movies, copies])
    new_users = pa.table([pa.array([f"new-{place}" for place in range(n_users)])], users.schema)
    nodes["user"] = pa.concat_tables([users.filter(pc.invert(pc.is_in(users["user_id"], gone_users))), new_users])
    originals = tables.nodes["movie"].take(copied)["movie_id"]
    for name in schema.graph_edges:
        found = edges[name]
        links = found.filter(pc.is_in(found[SOURCE], originals.combine_chunks()))
        links = links.set_column(0, found.schema.field(0), pc.binary_join_element_wise("new", links[SOURCE], "-"))
        edges[name] = pa.concat_tables([found.filter(pc.invert(pc.is_in(found[SOURCE], gone_ids))), links])
    ratings = edges["rated"].filter(pa.array(rng.random(len(edges["rated"])) >= SHARE))
    kept = pc.invert(pc.or_(pc.is_in(ratings[SOURCE], gone_users), pc.is_in(ratings[TARGET], gone_ids)))
    ratings = ratings.filter(kept)
    movie_ids = nodes["movie"]["movie_id"].to_pylist()
    rows = [
        (user, movie_ids[place])
        for user in new_users["user_id"].to_pylist()
        for place in rng.choice(len(movie_ids), round(SHARE * len(edges["rated"]) / n_users), replace=False)
    ]
    new = pa.table([*map(pa.array, zip(*rows, strict=True)), pa.array([5.0] * len(rows))], ratings.schema)
    edges["rated"] = pa.concat_tables([ratings, new])
    return GraphTables(schema, nodes, edges)


def timed(what: str, action: Callable[[], Result], times: dict[str, tuple[float, float]]) -> Result:
    """Runs an action and records its seconds, wall and processor time."""
    started, started_cpu = time.perf_counter(), time.process_time()
    result = action()
    times[what] = time.perf_counter() - started, time.process_time() - started_cpu
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--bundle", type=Path, default=Path("runs/ml-1m"))
    options = parser.parse_args()
    now, times = int(time.time()), dict[str, tuple[float, float]]()
    if not options.bundle.exists():
        graph = build_ml1m(options.data)
        trained = timed("training, texts encoded beforehand", lambda: fit_bundle(graph, TrainConfig(), now), times)
        save_bundle(trained, options.bundle)
        del graph, trained
    tables = change_tables(read_ml1m(options.data), np.random.default_rng(0))
    encoder = load_encoder()
    encoder.encode(["a text that loads the model"])
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts"  # empty: every new text is encoded
        bundle = timed("read the bundle", lambda: load_bundle(options.bundle), times)
        timed("find what changed (--dry-run)", lambda: preview_sync(bundle, tables, now=now), times)
        synced, report = timed(
            "sync: find, encode, place", lambda: sync_bundle(bundle, tables, encoder, texts, now=now), times
        )
        timed("write the bundle", lambda: save_bundle(synced, Path(folder) / "bundle"), times)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    print_report(report, console, store="MovieLens 1M")
    table = Table(
        title=f"{report.n_encoded} texts encoded, {report.n_placed} items placed",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("", "s", "s of all processors"):
        table.add_column(name, justify="left" if not name else "right")
    for what, took in times.items():
        table.add_row(what, *(f"{seconds:.1f}" for seconds in took))
    console.print(table)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak of the process {peak_mb:,.0f} MB; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
