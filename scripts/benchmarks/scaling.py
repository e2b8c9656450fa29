"""Cost of training as a catalogue grows: time, processor time and memory at 1x, 3x, 10x users and at 10x items.

    python scripts/benchmarks/scaling.py --out runs/scaling.json

Users are copied, with a fifth of each copy's likes drawn again by popularity. Items are copied with their texts and
links, and their interactions are distributed among the copies at random. Every row is its own process. An exponent is
the slope of log processor time over log likes (over log items if items are copied), from the first row: 1 is linear,
less is better.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from memory import copy_users
from ml1m import DEFAULT_DIR, read_ml1m
from numpy.typing import NDArray
from rich.table import Table
from training_cost import lay_out, measure_each, time_training

from graph_schema import SOURCE, TARGET, GraphTables
from kgrec import cache_dir
from kgrec.questions.splits import read_likes
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import build_graph

SIZES = ("1x1", "3x1", "10x1", "1x10")


@dataclass(frozen=True)
class Cost:
    """The cost of one training; `before_mb` is the peak of the process before it, with the catalogue in memory."""

    user_times: int
    item_times: int
    n_users: int
    n_items: int
    n_likes: int
    n_links: int
    train_s: float
    train_cpu_s: float
    before_mb: float
    peak_mb: float


def copy_items(tables: GraphTables, times: int, rng: np.random.Generator) -> GraphTables:
    """The tables with `times` as many items: copies share texts and links, and each interaction goes to one copy."""
    schema = tables.schema
    item_type, interaction = schema.item_type, schema.interaction.edge
    key = schema.nodes[item_type].key

    def name(ids: pa.ChunkedArray, copies: NDArray[np.int64] | int) -> pa.ChunkedArray:
        numbers = pa.array(np.broadcast_to(copies, len(ids))).cast(pa.string())
        return pc.binary_join_element_wise(ids, numbers, "~")

    def rename(table: pa.Table, column: str, copies: NDArray[np.int64] | int) -> pa.Table:
        place = table.column_names.index(column)
        return table.set_column(place, table.schema.field(column), name(table[column], copies))

    nodes, edges = dict(tables.nodes), dict(tables.edges)
    nodes[item_type] = pa.concat_tables(rename(nodes[item_type], key, copy) for copy in range(times))
    for edge_type, edge in schema.edges.items():
        ends = [column for column, end in ((SOURCE, edge.source), (TARGET, edge.target)) if end == item_type]
        if edge_type == interaction:
            edges[edge_type] = rename(edges[edge_type], TARGET, rng.integers(times, size=len(edges[edge_type])))
        elif ends:
            copies = []
            for copy in range(times):
                table = edges[edge_type]
                for column in ends:
                    table = rename(table, column, copy)
                copies.append(table)
            edges[edge_type] = pa.concat_tables(copies)
    return GraphTables(schema, nodes, edges)


def measure(user_times: int, item_times: int, directory: Path, threads: int, seed: int) -> Cost:
    """Trains once with the default configuration, with texts encoded beforehand."""
    import torch

    torch.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    tables = read_ml1m(directory)
    tables = copy_items(tables, item_times, rng) if item_times > 1 else tables
    graph = build_graph(tables, load_encoder(), cache_dir())
    n_links = sum(len(tables.edges[name]) for name in tables.schema.graph_edges)
    del tables
    likes = read_likes(graph.data, graph.schema)
    likes = copy_users(likes, user_times, rng) if user_times > 1 else likes
    spent = time_training(graph, likes, seed)
    n_users, n_items = likes.shape
    return Cost(user_times, item_times, n_users, n_items, len(likes), n_links, **asdict(spent))


def measure_exponent(first: Cost, cost: Cost) -> float | None:
    """The slope of log processor time between two rows over log likes, or over log items if the likes are the same."""
    growth = cost.n_items / first.n_items if cost.item_times > first.item_times else cost.n_likes / first.n_likes
    return math.log(cost.train_cpu_s / first.train_cpu_s) / math.log(growth) if growth > 1 else None


def to_table(title: str, costs: Sequence[Cost]) -> Table:
    """A row for each size."""
    columns = ("", "users", "items", "likes", "links", "time, s", "processor, s", "exponent", "before, MB", "peak, MB")
    rows: list[tuple[str | float, ...]] = []
    for cost in costs:
        exponent = measure_exponent(costs[0], cost)
        rows.append(
            (f"{cost.user_times}x users, {cost.item_times}x items", cost.n_users, cost.n_items, cost.n_likes,
             cost.n_links, cost.train_s, cost.train_cpu_s, "" if exponent is None else f"{exponent:.2f}",
             cost.before_mb, cost.peak_mb)
        )  # fmt: skip
    return lay_out(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="USERSxITEMS", help="by default %(default)s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    jobs = {}
    for size in options.sizes:
        users, items = map(int, size.split("x"))
        jobs[f"{users}x users, {items}x items"] = (users, items, options.path, options.threads, options.seed)

    def to_rows(costs: Sequence[Cost]) -> list[dict[str, Any]]:
        return [asdict(cost) | {"exponent": measure_exponent(costs[0], cost)} for cost in costs]

    measure_each(jobs, measure, options.threads, to_table, to_rows, options.out)


if __name__ == "__main__":
    main()
