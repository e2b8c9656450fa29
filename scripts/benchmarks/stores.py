"""Both stores on MovieLens 1M: load, load again, export, and for Neo4j the server's LOAD CSV.

    ../shared/neo4j/serve --home /tmp/neo4j &
    NEO4J_PASSWORD=kgrec-test python scripts/benchmarks/stores.py --to bolt://localhost:7687

The server must run on this machine and be allowed to read any file, for LOAD CSV. Everything in the database is
deleted. Each row is the median of several runs, in which ours and the server's own load take turns. Each peak of memory
is that of a fresh process, above the memory it held before. `inspect` is timed on the graph without the schema that
kgrec keeps there, because it would only print that schema.
"""

import argparse
import csv
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ml1m import DEFAULT_DIR, read_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from graph_schema import SOURCE, GraphTables
from graph_schema.checks.staged_tables import StagedTables
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource
from kgrec import cache_dir
from kgrec.store import load_staged, open_store, read_tables
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import META_LABEL, Layout
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import build_graph

LEAST_LOAD, LEAST_RELOAD = 1.5, 0.9  # times LOAD CSV
LEAST_EXPORT, MOST_EXPORT_MEMORY = 400_000, 2.0  # edges/s; times the tables
MOST_COMMAND_S = 30
CSV_BATCH = 10_000
COPIES = 3  # times as many users, to see how memory grows


def stage(tables: GraphTables, folder: Path) -> StagedTables:
    return stage_tables(MemorySource.from_tables(tables.schema, tables.nodes, tables.edges), folder, rejects=None)


def empty_database(connection: Connection) -> None:
    """Deletes everything, in batches."""
    for query in (
        "MATCH ()-[r]->() CALL (r) { DELETE r } IN TRANSACTIONS OF 50000 ROWS",
        "MATCH (n) CALL (n) { DELETE n } IN TRANSACTIONS OF 50000 ROWS",
    ):
        connection.run_alone(query)
    for (name,) in connection.read("SHOW CONSTRAINTS YIELD name"):
        connection.write(f"DROP CONSTRAINT {quote(name)}")


def write_csv_files(tables: GraphTables, folder: Path) -> None:
    """Writes the tables as files for the server."""
    folder.mkdir()
    for name, table in {**tables.nodes, **tables.edges}.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.column_names)
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


def load_csv(tables: GraphTables, connection: Connection, folder: Path) -> None:
    """The server's own bulk path: constraints, then LOAD CSV with MERGE, in transactions."""
    read = {"float": "toFloat(row.{})", "int": "toInteger(row.{})", "time": "toInteger(row.{})"}

    def set_values(variable: str, kinds: dict[str, str], left_out: Sequence[str]) -> str:
        values = [
            f"{variable}.{quote(name)} = {read.get(kind, 'row.{}').format(quote(name))}"
            for name, kind in kinds.items()
            if name not in left_out
        ]
        return f" SET {', '.join(values)}" if values else ""

    def run(name: str, query: str) -> None:
        connection.run_alone(
            f"LOAD CSV WITH HEADERS FROM $url AS row CALL (row) {{ {query} }} IN TRANSACTIONS OF {CSV_BATCH} ROWS",
            {"url": f"file://{folder}/{name}.csv"},
        )

    layout = Layout(tables.schema)
    for place in layout.nodes.values():
        connection.write(f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{place.label}) REQUIRE n.{place.key} IS UNIQUE")
    connection.read("CALL db.awaitIndexes(300)")
    for name, node in tables.schema.nodes.items():
        place = layout.nodes[name]
        values = set_values("n", dict(node.columns), [node.key])
        run(name, f"MERGE (n:{place.label} {{{place.key}: row.{place.key}}}){values}")
    for name, edge in tables.schema.edges.items():
        place = layout.edges[name]
        run(
            name,
            f"MATCH (a:{place.source.label} {{{place.source.key}: row.source}}) "
            f"MATCH (b:{place.target.label} {{{place.target.key}: row.target}}) "
            f"MERGE (a){place.pattern('r')}(b){set_values('r', dict(edge.attributes), [])}",
        )


def measure_loads(
    url: str, tables: GraphTables, staged: StagedTables, times: int, folder: Path
) -> dict[str, list[float]]:
    """The seconds of each way to load, first and again."""
    taken: dict[str, list[float]] = defaultdict(list)
    with open_store(url, mode="write") as store, Connection(url, "write") as connection:
        write_csv_files(tables, folder)
        ways: dict[str, Callable[[], object]] = {
            "LOAD CSV": lambda: load_csv(tables, connection, folder),
            "kgrec load": lambda: load_staged(store, staged),
        }
        for _ in range(times):
            for way, load in ways.items():
                empty_database(connection)
                for when in ("new", "again"):
                    taken[f"{way}, {when}"].append(_time(load))
                    _say(f"{way}, {when}: {taken[f'{way}, {when}'][-1]:.1f} s")
    return taken


def measure_ladybug(staged: StagedTables, times: int, folder: Path) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = defaultdict(list)
    for turn in range(times):
        with open_store(f"ladybug:{folder / f'{turn}.db'}", mode="write") as store:
            for when in ("new", "again"):
                taken[f"ladybug, {when}"].append(_time(lambda: load_staged(store, staged)))
    return taken


def measure_export(url: str) -> tuple[float, float, float]:
    """The seconds of an export, the peak of memory that it added and the size of the tables, both in MB."""
    with open_store(url, mode="read") as store:
        store.counts()
        _reset_peak()
        before = _peak_mb()
        start = time.perf_counter()
        tables = read_tables(store)
        taken = time.perf_counter() - start
        peak = _peak_mb() - before
    return taken, peak, sum(table.nbytes for table in (*tables.nodes.values(), *tables.edges.values())) / 2**20


def measure_load_memory(url: str, directory: Path, copies: int) -> tuple[int, float]:
    """The edges of a load with `copies` times the users, and the peak of memory that it added, in MB."""
    tables = copy_users(read_ml1m(directory), copies)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(tables, Path(folder))
        n_edges = sum(staged.n_edges.values())
        del tables
        with Connection(url, "write") as connection:
            empty_database(connection)
        with open_store(url, mode="write") as store:
            _reset_peak()
            before = _peak_mb()
            load_staged(store, staged)
            return n_edges, _peak_mb() - before


def copy_users(tables: GraphTables, copies: int) -> GraphTables:
    """The catalogue with `copies` of each user and of their ratings."""
    user_type, rated = tables.schema.user_type, tables.schema.interaction.edge
    key = tables.schema.nodes[user_type].key

    def repeat(table: pa.Table, column: str) -> pa.Table:
        place = table.column_names.index(column)
        parts = [
            table.set_column(
                place, table.schema.field(column), pc.binary_join_element_wise(f"{copy}", table[column], "-")
            )
            for copy in range(copies)
        ]
        return pa.concat_tables(parts)

    return GraphTables(
        tables.schema,
        {**tables.nodes, user_type: repeat(tables.nodes[user_type], key)},
        {**tables.edges, rated: repeat(tables.edges[rated], SOURCE)},
    )


def compare(urls: Sequence[str], *, trained: bool) -> list[str]:
    """Which parts are identical in both stores: tables, heterographs and, with `trained`, recommendations."""
    tables = []
    for url in urls:
        with open_store(url, mode="read") as store:
            tables.append(read_tables(store))
    first, second = tables
    equal = all(first.nodes[name].equals(second.nodes[name]) for name in first.nodes)
    equal &= all(first.edges[name].equals(second.edges[name]) for name in first.edges)
    lines = [f"tables: {_equal(equal)}"]
    graphs = [build_graph(found, load_encoder(), cache_dir()) for found in tables]
    equal = all(a.ids == b.ids for a, b in ((graphs[0].ids[name], graphs[1].ids[name]) for name in graphs[0].ids))
    stores = [graph.data.to_dict() for graph in graphs]
    equal &= _same(stores[0], stores[1])
    lines.append(f"heterographs (ids, edges, features): {_equal(equal)}")
    if trained:
        from kgrec.config import TrainConfig
        from kgrec.recommend import Recommender
        from kgrec.training.train_bundle import fit_bundle

        lists = []
        for graph in graphs:
            recommender = Recommender(fit_bundle(graph, TrainConfig(seed=1), 0, _say))
            lists.append(recommender.recommend_many(recommender.bundle.users.ids, k=20))
        lines.append(f"recommendations to all users after training with one seed: {_equal(lists[0].equals(lists[1]))}")
    return lines


def _same(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))


def _equal(is_equal: bool) -> str:
    return "identical" if is_equal else "DIFFERENT"


def measure_command(*arguments: str) -> float:
    """The seconds of a kgrec command, including the interpreter's start."""
    command = [str(Path(sys.executable).with_name("kgrec")), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: it reports findings
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - start


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, help="the URL of a Neo4j whose contents may be deleted")
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--times", type=int, default=3, help="runs of each load")
    parser.add_argument("--train", action="store_true", help="train from both stores and compare the recommendations")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    tables = read_ml1m(options.path)
    n_edges = sum(map(len, tables.edges.values()))
    figures: dict[str, object] = {"edges": n_edges}
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("what", "measured", "asked"):
        shown.add_column(name)

    def show(what: str, measured: str, asked: str = "") -> None:
        shown.add_row(what, measured, asked)

    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes,
    ):
        staged = stage(tables, Path(folder) / "staged")
        run = lambda work, *arguments: processes.submit(work, *arguments).result()  # noqa: E731
        memory, large_exports = [], []
        for copies in (COPIES, 1):
            memory.append(run(measure_load_memory, options.to, options.path, copies))
            if copies > 1:
                large_exports = [run(measure_export, options.to) for _ in range(options.times)]
        taken = measure_loads(options.to, tables, staged, options.times, Path(folder) / "csv")
        taken |= measure_ladybug(staged, options.times, Path(folder))
        seconds = {way: median(found) for way, found in taken.items()}
        urls = {"neo4j": options.to, "ladybug": f"ladybug:{Path(folder) / '0.db'}"}
        exports = {name: [run(measure_export, url) for _ in range(options.times)] for name, url in urls.items()} | {
            f"neo4j, {COPIES}x the users": large_exports
        }
        same = compare(list(urls.values()), trained=options.train)
        commands = {"validate": median(measure_command("validate", options.to) for _ in range(options.times))}
        with Connection(options.to, "write") as connection:
            connection.write(f"MATCH (m:{META_LABEL}) DETACH DELETE m")
        commands["inspect"] = median(measure_command("inspect", options.to) for _ in range(options.times))
    for way, found in seconds.items():
        when = way.split(", ")[1]
        ratio = seconds[f"LOAD CSV, {when}"] / found
        asked = f"{LEAST_LOAD if when == 'new' else LEAST_RELOAD}x" if way.startswith("kgrec") else ""
        show(f"{way}: {found:.1f} s", f"{n_edges / found:,.0f} edges/s, {ratio:.2f}x LOAD CSV", asked)
    for (edges, peak), copies in zip(memory, (COPIES, 1), strict=True):
        show(f"peak added by a load of {edges:,} edges ({copies}x the users)", f"{peak:.0f} MB", "flat")
    for name, found in exports.items():
        export_s, peak, size = (median(values) for values in zip(*found, strict=True))
        rate = (memory[0][0] if found is large_exports else n_edges) / export_s
        show(f"export, {name}: {export_s:.1f} s", f"{rate:,.0f} edges/s", f"{LEAST_EXPORT:,} edges/s")
        show(
            f"peak added by the export, tables of {size:.0f} MB",
            f"{peak:.0f} MB, {peak / size:.1f}x",
            f"{MOST_EXPORT_MEMORY}x",
        )
    for command, found in commands.items():
        show(f"kgrec {command}", f"{found:.1f} s", f"{MOST_COMMAND_S} s")
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    console.print(shown)
    for line in same:
        console.print(line)
    if options.out is not None:
        figures |= {"seconds": taken, "memory": memory, "exports": exports, "same": same, "commands": commands}
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
