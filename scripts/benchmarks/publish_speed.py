"""Publishes the ml-1m catalogue into Neo4j: measures the time, and how well the vector index agrees with the model.

    NEO4J_PASSWORD=... python scripts/benchmarks/publish_speed.py --bundle runs/ml-1m --to bolt://127.0.0.1:7687

The database must be empty: it gets the items and users of the bundle as bare nodes. A missing bundle is trained
(`speed.py --bundle` makes one, too). Random vectors of width 128 with 50 neighbours each are published as well.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from ml1m import DEFAULT_DIR, build_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.bundle import save_bundle
from kgrec.config import TrainConfig
from kgrec.publish import publish_bundle
from kgrec.recommend import Recommender
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.graph_nodes import read_graph_nodes
from kgrec.store.neo4j.release import SIMILAR_TO, read_release
from kgrec.store.neo4j.version_writing import Draft
from kgrec.training.train_bundle import fit_bundle

MOST_PUBLISH_S, DIM, NEIGHBOURS, RECOMMEND, N_ASKED, K, CHANGED = 60, 128, 50, 10, 300, 10, 0.01


def write_nodes(recommender: Recommender, connection: Connection) -> None:
    bundle = recommender.bundle
    for node_type in (bundle.schema.item_type, bundle.schema.user_type):
        node, ids = bundle.schema.nodes[node_type], bundle.ids[node_type].ids
        for start in range(0, len(ids), 10_000):
            query = f"UNWIND $ids AS id CREATE (:{quote(node.label)} {{{quote(node.key)}: id}})"
            connection.write(query, {"ids": ids[start : start + 10_000]})


def publish_random(recommender: Recommender, connection: Connection, rng: np.random.Generator) -> None:
    """Publishes random vectors of width DIM and NEIGHBOURS random neighbours for each item."""
    ids = recommender.bundle.items.ids
    vectors = rng.normal(size=(len(ids), DIM)).astype(np.float32)
    targets = rng.integers(len(ids), size=len(ids) * NEIGHBOURS)
    lists = pa.table(
        {
            "source": np.repeat(np.array(ids), NEIGHBOURS),
            "target": np.array(ids)[targets],
            "score": -np.sort(-rng.random((len(ids), NEIGHBOURS)), axis=1).ravel(),
        }
    )
    schema = recommender.bundle.schema
    items = read_graph_nodes(connection, schema.nodes[schema.item_type])
    with Draft(connection, schema, published_at=int(time.time())) as draft:
        draft.write_vectors("item", items, ids, vectors)
        draft.write_lists(SIMILAR_TO, items, items, [lists])
        draft.finish({})


def change_texts(recommender: Recommender, share: float, rng: np.random.Generator) -> Recommender:
    """The recommender after a sync that changed the texts of a share of the items: they have each other's."""
    bundle, text = recommender.bundle, recommender.bundle.model.text.clone()
    rows = rng.choice(len(text), round(share * len(text)), replace=False)
    text[rows] = bundle.model.text[np.roll(rows, 1)]
    return Recommender(replace(bundle, model=replace(bundle.model, text=text)))


def ask(
    recommender: Recommender, connection: Connection, query: str, rng: np.random.Generator
) -> tuple[float, list[float]]:
    """The share of `similar`'s first K that a query finds, and the milliseconds of each request."""
    shares, took_ms = [], []
    for row in rng.choice(np.flatnonzero(~recommender.bundle.model.cold.numpy()), N_ASKED).tolist():
        item = recommender.bundle.items.ids[row]
        started = time.perf_counter()
        found = {other for other, _ in connection.read(query, {"item": item, "k": K, "n": 20 * K})}
        took_ms.append(1000 * (time.perf_counter() - started))
        shares.append(len(found & set(recommender.similar(item, K).ids)) / K)
    return float(np.mean(shares)), took_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--bundle", type=Path, required=True, help="the folder of the bundle; a missing one is trained")
    parser.add_argument("--to", required=True, metavar="STORE", help="neo4j://HOST[:PORT][/DATABASE], empty")
    options = parser.parse_args()
    if not (options.bundle / "bundle.json").exists():
        save_bundle(fit_bundle(build_ml1m(options.path), TrainConfig(), int(time.time())), options.bundle)
    recommender, rng = Recommender.load(options.bundle), np.random.default_rng(0)
    table = Table("what", "measured", "limit", box=box.SIMPLE_HEAD)
    with Connection(options.to, "write") as connection:
        if connection.read("MATCH (n) RETURN 1 LIMIT 1"):
            parser.error(f"{options.to} is not empty")
        write_nodes(recommender, connection)
        moved = change_texts(recommender, CHANGED, rng)
        for what, published, recommend in (
            (f"publish, {NEIGHBOURS} neighbours, the first time", recommender, 0),
            (f"publish, {NEIGHBOURS} neighbours, again", recommender, 0),
            (f"publish, {NEIGHBOURS} neighbours, {CHANGED:.0%} of the items changed", moved, 0),
            (f"publish, also {RECOMMEND} recommendations for each user", recommender, RECOMMEND),
        ):
            started = time.perf_counter()
            report = publish_bundle(
                published, connection, published_at=int(time.time()), neighbours=NEIGHBOURS, recommend=recommend
            )
            limit = None if recommend else MOST_PUBLISH_S
            table.add_row(what, f"{time.perf_counter() - started:.1f} s", f"{limit} s" if limit else "")
            found = report.version.n_published.items()
            table.add_row("", ", ".join(f"{n:,} {name}" for name, n in found if n), "")
            table.add_row("", f"{report.version.n_written:,} relationships written", "")
        table.add_row(f"agreement of the vector index with SIMILAR_TO, first {K}", f"{report.agreement:.4f}", "")
        for what in ("similar items", "vector index"):
            (query,) = [query for title, query in report.queries.items() if what in title]
            share, took_ms = ask(recommender, connection, query, rng)
            p50, p95 = np.percentile(took_ms, [50, 95])
            table.add_row(f'agreement of "... {what} ..." with similar, first {K}', f"{share:.4f}", "")
            table.add_row("", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms", "")
        started = time.perf_counter()
        publish_random(recommender, connection, rng)
        took_s = time.perf_counter() - started
        what = f"publish, random vectors of width {DIM} and {NEIGHBOURS} neighbours"
        table.add_row(what, f"{took_s:.1f} s", f"{MOST_PUBLISH_S} s")
        assert len(read_release(connection).versions) == 2  # noqa: PLR2004
        table.add_row(
            "Neo4j, torch threads", f"{'.'.join(map(str, connection.version))}, {torch.get_num_threads()}", ""
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
