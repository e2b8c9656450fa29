"""The loss of a synced bundle compared with a retrained one, on MovieLens 100K: the basis of `kgrec sync`'s advice.

    python scripts/benchmarks/sync_loss.py --shares 0.05 0.1 0.2 0.4

A fifth of every user's likes is relevant. A share of the rest comes after the training: at random, the latest, with
new users, or with new items; or a share is withdrawn after it. The synced bundle and one trained on the later store
serve the same users from the same likes.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from graph_schema import SOURCE, TARGET, GraphTables
from graph_schema.checks.staging import stage_tables
from kgrec import cache_dir, metrics
from kgrec.bundle import Bundle
from kgrec.config import TrainConfig
from kgrec.sync import Staleness, sync_bundle
from kgrec.text.encoder import Encoder, load_encoder
from kgrec.training.train_bundle import train_bundle
from loaders import open_source

ASKED, K = 0.2, 20
TIME = "rated_at"
KINDS = ("random likes", "the latest likes", "new users", "new items")


@dataclass(frozen=True)
class Row:
    """The quality of a synced bundle and of a retrained one."""

    what: str
    share: float
    staleness: Staleness
    synced: float
    retrained: float
    of_later: tuple[float, float] | None = None


def read_ml100k(folder: Path) -> GraphTables:
    """Reads the catalogue as `kgrec load movielens-100k` does; times only order its likes.

    With times, validation would ask for each user's latest likes, but here likes are drawn at random: settings chosen
    for one question would distort the measure on the other.
    """
    source = open_source("movielens-100k", cache_dir=cache_dir())
    tables = stage_tables(source, folder, rejects=None, max_rejects=0.1).to_tables()
    interaction = tables.schema.interaction.model_copy(update={"at": None})
    return GraphTables(tables.schema.model_copy(update={"interaction": interaction}), tables.nodes, tables.edges)


def choose_later(tables: GraphTables, kind: str, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) bool: the interactions after the training."""
    found = tables.interactions
    n_later = round(share * found.num_rows)
    if kind == "random likes":
        later = np.zeros(found.num_rows, np.bool_)
        later[rng.permutation(found.num_rows)[:n_later]] = True
        return later
    if kind == "the latest likes":
        times = found[TIME].to_numpy()
        return np.argsort(np.argsort(times, kind="stable"), kind="stable") >= found.num_rows - n_later
    column = SOURCE if kind == "new users" else TARGET
    ids = np.array(sorted(set(found[column].to_pylist())))
    new = rng.permutation(ids)[: round(share * len(ids))]
    later: NDArray[np.bool_] = pc.is_in(found[column], pa.array(new.tolist(), pa.string())).to_numpy()
    return later


def without(tables: GraphTables, later: NDArray[np.bool_], kind: str) -> GraphTables:
    """The catalogue before these interactions, and before the users or items that came with them."""
    before = tables.with_interactions(tables.interactions.filter(pa.array(~later)))
    side = {"new users": (SOURCE, tables.schema.user_type), "new items": (TARGET, tables.schema.item_type)}.get(kind)
    if side is None:
        return before
    column, node_type = side
    gone = pc.unique(tables.interactions.filter(pa.array(later))[column])
    table, key = before.nodes[node_type], tables.schema.nodes[node_type].key
    nodes = {**before.nodes, node_type: table.filter(pc.invert(pc.is_in(table[key], gone)))}
    edges = dict(before.edges)
    for name, edge in tables.schema.edges.items():
        for end, end_type in ((SOURCE, edge.source), (TARGET, edge.target)):
            if end_type == node_type:
                edges[name] = edges[name].filter(pc.invert(pc.is_in(edges[name][end], gone)))
    return GraphTables(tables.schema, nodes, edges)


def measure_quality(bundle: Bundle, asked: pa.Table, items: set[str] | None = None) -> float:
    """√(NDCG@20 · Recall@20) over the users asked; `items` limits relevant items and candidates to these."""
    users, rows = bundle.users.rows(asked[SOURCE].to_pylist()), bundle.items.rows(asked[TARGET].to_pylist())
    shown = np.array([items is None or id_ in items for id_ in bundle.items.ids])
    kept = (users >= 0) & (rows >= 0) & shown[rows]
    shape = (len(bundle.users), len(bundle.items))
    relevant = csr_array((np.ones(int(kept.sum()), np.float32), (users[kept], rows[kept])), shape=shape)
    who = np.flatnonzero(np.diff(relevant.indptr))
    scores = bundle.model.score(bundle.liked[who])
    scores[bundle.seen[who].nonzero()] = -np.inf
    scores[:, ~shown] = -np.inf
    n_relevant = np.diff(relevant.indptr)[who]
    hits = metrics.find_hits(metrics.top_k(scores, K), relevant[who])
    ndcg, recall = (f(hits, n_relevant)[:, -1].mean() for f in (metrics.ndcg, metrics.recall))
    return float(np.sqrt(ndcg * recall))


def measure(
    tables: GraphTables, shares: Sequence[float], kinds: Sequence[str], seed: int, encoder: Encoder
) -> Iterator[Row]:
    """Trains before and after each change, and compares."""
    rng = np.random.default_rng(seed)
    positive = pc.greater_equal(
        tables.interactions[tables.schema.interaction.weight], tables.schema.interaction.positive
    ).to_numpy()
    is_asked = positive & (rng.random(len(positive)) < ASKED)
    asked, now = (
        tables.interactions.filter(pa.array(is_asked)),
        tables.with_interactions(tables.interactions.filter(pa.array(~is_asked))),
    )
    config = TrainConfig(seed=seed)

    def train(catalogue: GraphTables) -> Bundle:
        return train_bundle(catalogue, config, encoder, cache_dir(), trained_at=0)

    retrained = train(now)
    all_quality = measure_quality(retrained, asked)
    for kind in kinds:
        for share in shares:
            later = choose_later(now, kind, share, rng)
            before = without(now, later, kind)
            trained = train(before)
            synced, report = sync_bundle(trained, now, encoder, cache_dir(), now=0)
            of_later = None
            if kind == "new items":
                new = set(now.ids(now.schema.item_type).to_pylist()) - set(trained.items.ids)
                of_later = measure_quality(synced, asked, new), measure_quality(retrained, asked, new)
            if kind == "new users":
                theirs = asked.filter(pc.invert(pc.is_in(asked[SOURCE], pa.array(trained.users.ids))))
                of_later = measure_quality(synced, theirs), measure_quality(retrained, theirs)
            yield Row(f"{kind} came", share, report.staleness, measure_quality(synced, asked), all_quality, of_later)
            shrunk, report = sync_bundle(retrained, before, encoder, cache_dir(), now=0)
            yield Row(
                f"{kind} went", share, report.staleness, measure_quality(shrunk, asked), measure_quality(trained, asked)
            )


def to_table(rows: Sequence[Row]) -> Table:
    """A table of the rows."""
    table = Table(title="Synced and trained again, √(NDCG@20 · Recall@20)", title_justify="left", box=box.SIMPLE_HEAD)
    for name in (
        "after the training", "share", "new likes", "gone likes", "placed", "gone items", "synced", "retrained", "loss",
        "loss on what came",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "after the training" else "right")
    for row in rows:
        found = row.staleness
        shares = (row.share, found.new_likes, found.gone_likes, found.placed_items, found.gone_items)
        loss = "" if row.of_later is None else f"{1 - row.of_later[0] / row.of_later[1]:+.1%}"
        table.add_row(
            row.what, *(f"{share:.1%}" for share in shares), f"{row.synced:.4f}", f"{row.retrained:.4f}",
            f"{1 - row.synced / row.retrained:+.1%}", loss,
        )  # fmt: skip
    return table


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tables = read_ml100k(Path(folder))
        for row in measure(tables, options.shares, options.kinds, options.seed, load_encoder()):
            rows.append(row)
            print(row, file=sys.stderr)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(to_table(rows))


if __name__ == "__main__":
    main()
