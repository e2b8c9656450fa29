"""Compares quality, time and memory with other recommenders, on the fixed split of MovieLens 1M, in one run.

    python scripts/benchmarks/peers.py --out runs/peers

RecBole's LightGCN, KGAT and KGIN, `implicit`'s ALS and item kNN, and ours: same likes and links, same number of
threads, same metric code. All are fitted to the train part alone and rank every item, with train and valid items left
out. They choose settings, or when to stop, on the valid part. Peers run in their own environments, which are made if
missing. A peer with figures in --out is not run again.

On a shared machine, compare processor time; --minutes is processor time per thread, too.
"""

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from ml1m import DEFAULT_DIR, RELATIONS, SCHEMA_PATH, build_ml1m
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema
from kgrec import metrics
from kgrec.config import TrainConfig
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes
from kgrec.training.pipeline import fit_model

K, BLOCK_USERS, N_SINGLE, N_TIMES = 20, 512, 300, 3
MOST_TRAIN, MOST_SCORE = 1 / 20, 1 / 3  # share of RecBole's fastest to its best quality; share of implicit's ALS
RUNNERS = Path(__file__).with_name("peers")
ENVIRONMENTS = {
    "recbole": (
        ["torch==2.13.0", "numpy<2", "pandas<2.2", "scipy<1.12", "setuptools<80", "scikit-learn", "pyyaml", "tqdm",
         "colorlog==4.7.2", "colorama==0.4.4", "tensorboard", "thop", "tabulate", "plotly", "texttable", "psutil"],
        ["--no-deps", "recbole==1.2.1"],
    ),
    "implicit": (["implicit==0.7.3", "numpy", "scipy"],),
}  # environment -> packages to install, one call of pip each  # fmt: skip
OURS = "kgrec"


@dataclass(frozen=True)
class Peer:
    """A recommender that runs in its own environment: `environment`'s Python runs `runner` for `model`."""

    title: str
    environment: str
    runner: str
    model: str
    limited: bool = False  # whether it takes a limit on its training time


PEERS = {
    "lightgcn": Peer("LightGCN (RecBole)", "recbole", "recbole_run.py", "LightGCN", limited=True),
    "kgat": Peer("KGAT (RecBole)", "recbole", "recbole_run.py", "KGAT", limited=True),
    "kgin": Peer("KGIN (RecBole)", "recbole", "recbole_run.py", "KGIN", limited=True),
    "implicit": Peer("ALS (implicit)", "implicit", "implicit_run.py", "als"),
    "item_knn": Peer("item kNN (implicit)", "implicit", "implicit_run.py", "item_knn"),
}
MEASURED_BEFORE = {
    "Neo4j, Cypher, also liked": {"recall@10": 0.1083, "score_one_s": 1.046},
    "Neo4j GDS, FastRP": {"recall@10": 0.130, "score_one_s": 0.002},
    "Neo4j GDS, nodeSimilarity": {"recall@10": 0.1884, "train_s": 54.0, "score_one_s": 0.006},
}  # not from this run: measured on another day, with a server


# the data


@dataclass(frozen=True)
class KgrsSplit:
    """The fixed split, by the data's own ids.

    Attributes:
        train, valid, test: (n, 2) int64 (user, item), the likes.
        users: (n_users,) int64, ascending: all users in any part.
        items: (n_items,) int64, ascending: all items in any part, which are ranked.
        links: (n, 3) int64 (item, relation, entity), the last two numbered in order of appearance.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    links: NDArray[np.int64]

    def to_matrix(self, pairs: NDArray[np.int64]) -> csr_array:
        """(n_users, n_items) float32, 1 for each of some (user, item) pairs, by place in `users` and `items`."""
        places = np.searchsorted(self.users, pairs[:, 0]), np.searchsorted(self.items, pairs[:, 1])
        return csr_array((np.ones(len(pairs), np.float32), places), shape=(len(self.users), len(self.items)))


def read_kgrs_split(directory: Path, n_users: int | None = None) -> KgrsSplit:
    """Reads the split and the knowledge graph; `n_users` reads the first users only, for a quick look."""
    parts = {}
    for name in ("train", "valid", "test"):
        table = pq.read_table(directory / "kgrs_split" / f"{name}.parquet")
        parts[name] = np.stack([table["user"].to_numpy(), table["item"].to_numpy()], axis=1)
    users = np.unique(np.concatenate([pairs[:, 0] for pairs in parts.values()]))[:n_users]
    parts = {name: pairs[np.isin(pairs[:, 0], users)] for name, pairs in parts.items()}
    items = np.unique(np.concatenate([pairs[:, 1] for pairs in parts.values()]))
    schema, relations = CatalogueSchema.from_toml(SCHEMA_PATH), list(RELATIONS)
    entities: dict[tuple[str, str], int] = {}
    links = []
    columns = pq.read_table(directory / "kg.parquet").to_pydict()
    for item, relation, entity in zip(columns["item"], columns["relation"], columns["entity"], strict=True):
        if relation in RELATIONS:
            end = schema.graph_edges[RELATIONS[relation]].target, entity
            links.append((item, relations.index(relation), entities.setdefault(end, len(entities))))
    known = np.array(links, np.int64)
    return KgrsSplit(**parts, users=users, items=items, links=known[np.isin(known[:, 0], items)])


def save_split(split: KgrsSplit, directory: Path) -> None:
    """Writes the data that a peer may see: all but the test part."""
    for name in ("train", "valid", "users", "items", "links"):
        np.save(directory / f"{name}.npy", getattr(split, name))


def measure_quality(top: NDArray[np.int64], split: KgrsSplit) -> dict[str, float]:
    """Mean metrics over users with test likes, from a peer's recommendations: (n_users, K) item ids, best first."""
    places = np.searchsorted(split.items, top)
    relevant = split.to_matrix(split.test)
    n_relevant = np.diff(relevant.indptr)
    asked = np.flatnonzero(n_relevant)
    hits, n_relevant = metrics.find_hits(places[asked], relevant[asked]), n_relevant[asked]
    recall, ndcg = metrics.recall(hits, n_relevant).mean(axis=0), metrics.ndcg(hits, n_relevant).mean(axis=0)
    return {"recall@10": float(recall[9]), "recall@20": float(recall[19]), "ndcg@10": float(ndcg[9])}


# the runs


def make_environment(name: str, directory: Path) -> Path:
    """Makes a virtual environment for a family of peers, unless it exists; returns its Python."""
    folder = directory / name
    python, done = folder / "bin" / "python", folder / "installed.json"
    calls = [list(call) for call in ENVIRONMENTS[name]]
    if not (done.exists() and json.loads(done.read_text()) == calls):
        _say(f"making the environment {folder}")
        if not python.exists():
            venv.create(folder, with_pip=True)
        for call in calls:
            subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *call], check=True)
        done.write_text(json.dumps(calls) + "\n")
    return python


def run_peer(
    peer: Peer, python: Path, split: KgrsSplit, minutes: float, threads: int
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Runs a peer in its environment: its figures, and (n_users, K) item ids."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_split(split, folder)
        command: list[str | Path] = [python, RUNNERS / peer.runner, peer.model, folder, folder]
        command += ["--threads", str(threads), "--k", str(K)]
        command += ["--minutes", str(minutes)] if peer.limited else []
        subprocess.run(command, check=True)
        return json.loads((folder / "run.json").read_text()), np.load(folder / "top.npy")


def run_ours(split: KgrsSplit, directory: Path, threads: int) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Trains ours on the train part: its figures, and (n_users, K) item ids. Texts are encoded beforehand."""
    import torch

    torch.set_num_threads(threads)
    graph = build_ml1m(directory)
    user_ids, item_ids = (graph.ids[one] for one in (graph.schema.user_type, graph.schema.item_type))
    users, items = user_ids.rows(split.users.astype(str)), item_ids.rows(split.items.astype(str))
    shape = len(user_ids), len(item_ids)

    def to_likes(pairs: NDArray[np.int64]) -> Likes:
        places = np.searchsorted(split.users, pairs[:, 0]), np.searchsorted(split.items, pairs[:, 1])
        return Likes(users[places[0]], items[places[1]], None, shape)

    start, start_cpu = time.perf_counter(), time.process_time()
    train, valid = to_likes(split.train), to_likes(split.valid).to_matrix()
    likes, met = train.to_matrix(), train.counts > 0
    asked = csr_array(valid.multiply(met))
    asked.eliminate_zeros()
    validation = {"warm": Slice("warm", "Warm", likes, asked, met)}  # like the peers, ours chooses on the valid part
    config = TrainConfig(list_length=10)  # the peers stop by Recall@10
    model, choices = fit_model(graph.data, graph.schema, train, config, _say, validation=validation)
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak_mb = read_peak_mb()  # the catalogue and the libraries included
    outside = np.setdiff1d(np.arange(shape[1]), items)

    def rank(rows: NDArray[np.int64], *hidden: csr_array) -> NDArray[np.int64]:
        support = likes[rows]
        scores = model.score(support)
        for mask in (support, *hidden):
            scores[mask.nonzero()] = -np.inf
        scores[:, outside] = -np.inf
        return metrics.top_k(scores, K)

    blocks = [users[start : start + BLOCK_USERS] for start in range(0, len(users), BLOCK_USERS)]
    all_s, all_cpu_s = zip(*(_time(lambda: [rank(block) for block in blocks]) for _ in range(N_TIMES)), strict=True)
    singles = users[:N_SINGLE, None]
    one_s, _ = _time(lambda: [rank(user) for user in singles])
    top = np.concatenate([rank(block, valid[block]) for block in blocks])
    ids = np.array(item_ids.ids).astype(np.int64)
    figures = {
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "best_s": train_s,
        "best_cpu_s": train_cpu_s,
        "score_all_s": median(all_s),
        "score_all_cpu_s": median(all_cpu_s),
        "score_one_s": one_s / len(singles),
        "peak_mb": peak_mb,
        "stopped_by": "its fixed number of steps",
        "settings": {"config": "default", "chosen": str(choices)},
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy")},
    }
    return figures, ids[top]


def read_peak_mb() -> float:
    """The peak memory of this process; getrusage may report that of its parent."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def _time(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time in seconds."""
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - start_cpu


def _say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


# tables and sentences


def to_table(title: str, runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each run and each earlier measurement; best quality in bold."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("to its best, s", "processor", "in all, s", "processor", "of all users, us", "processor",
                 "one user, us", "peak MB", "Recall@10", "Recall@20", "NDCG@10"):  # fmt: skip
        table.add_column(name, justify="right")
    best = {name: max(run[name] for run in runs.values()) for name in ("recall@10", "recall@20", "ndcg@10")}
    for run in runs.values():
        n_users = run["n_users"]
        table.add_row(
            run["title"],
            *(f"{run[name]:,.1f}" for name in ("best_s", "best_cpu_s", "train_s", "train_cpu_s")),
            *(f"{run[name] / n_users * 1e6:,.0f}" for name in ("score_all_s", "score_all_cpu_s")),
            f"{run['score_one_s'] * 1e6:,.0f}",
            f"{run['peak_mb']:,.0f}",
            *(f"[bold]{run[name]:.4f}" if run[name] == value else f"{run[name]:.4f}" for name, value in best.items()),
        )
    for title_, run in MEASURED_BEFORE.items():
        train = f"{run['train_s']:,.0f}" if "train_s" in run else ""
        cells = ("", "", train, "", "", "", f"{run['score_one_s'] * 1e6:,.0f}", "", f"{run['recall@10']:.4f}", "", "")
        table.add_row(f"{title_} *", *cells, style="dim")
    table.caption, table.caption_justify = "* not from this run: measured on another day, on the same split", "left"
    return table


def compare(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences: ours compared with RecBole's fastest to its own best quality, and with implicit's ALS."""
    if OURS not in runs:
        return []
    ours, sentences = runs[OURS], []
    limited = [runs[name] for name, peer in PEERS.items() if peer.limited and name in runs]
    if limited:
        fastest = min(limited, key=lambda run: run["best_cpu_s"])
        share, wall = ours["train_cpu_s"] / fastest["best_cpu_s"], ours["train_s"] / fastest["best_s"]
        best = max(limited, key=lambda run: run["recall@10"])
        sentences += [
            f"Training: {share:.3f} of the processor time ({wall:.3f} of the time) of {fastest['title']} to its best "
            f"quality; to reach: {MOST_TRAIN:.3f}{_missed(share > MOST_TRAIN)}",
            f"Recall@10: {ours['recall@10']:.4f}, the best of RecBole's {best['recall@10']:.4f} ({best['title']})"
            f"{_missed(ours['recall@10'] <= best['recall@10'])}",
        ]
    if "implicit" in runs:
        other = runs["implicit"]
        share = ours["score_all_cpu_s"] / other["score_all_cpu_s"]
        one = ours["score_one_s"] / other["score_one_s"]
        sentences.append(
            f"Scoring all users, top {K}: {share:.2f} of the processor time of {other['title']} (one user at a time: "
            f"{one:.2f}); to reach: {MOST_SCORE:.2f}{_missed(share > MOST_SCORE)}"
        )
    return sentences


def _missed(is_missed: bool) -> str:
    return " [red](missed)[/red]" if is_missed else ""


def main() -> None:
    names = [*PEERS, OURS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=names, help=f"some of {','.join(names)}")
    parser.add_argument("--minutes", type=float, default=30, help="the limit on a RecBole model's training")
    parser.add_argument("--threads", type=int, default=1, help="threads of every recommender")
    parser.add_argument("--envs", type=Path, default=Path("runs/peers/environments"), help="the peers' environments")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="a JSON file for each peer")
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--users", type=int, help="read only this many users, for a quick look")
    parser.add_argument("--again", action="store_true", help="also repeat finished runs")
    options = parser.parse_args()
    if unknown := sorted({*options.only} - {*names}):
        parser.error(f"expected names of {', '.join(names)}, got {', '.join(unknown)}")
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = str(options.threads)  # read by child processes
    options.out.mkdir(parents=True, exist_ok=True)
    split = read_kgrs_split(options.path, options.users)
    runs = {}
    for name in names:
        path = options.out / f"{name}.json"
        asked = {"n_users": len(split.users), "threads": options.threads}
        if name in PEERS and PEERS[name].limited:
            asked["minutes"] = options.minutes
        if name in options.only and (options.again or not path.exists()):
            _say(f"running {name}")
            if name == OURS:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
                    figures, top = processes.submit(run_ours, split, options.path, options.threads).result()
            else:
                peer = PEERS[name]
                python = make_environment(peer.environment, options.envs.absolute())
                figures, top = run_peer(peer, python, split, options.minutes, options.threads)
            run = {
                "name": name,
                "title": PEERS[name].title if name in PEERS else OURS,
                "on": time.strftime("%Y-%m-%d"),
                "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
                **asked,
                **measure_quality(top, split),
                **figures,
            }
            path.write_text(json.dumps(run, indent=1) + "\n")
        if path.exists():
            runs[name] = json.loads(path.read_text())
            if differs := {key: runs[name][key] for key, value in asked.items() if runs[name][key] != value}:
                parser.error(f"{path} was measured with {differs}; --again repeats it, or name another --out")
    if not runs:
        parser.error(f"nothing has been measured in {options.out}")
    console = Console(width=None if sys.stdout.isatty() else 180)
    size = f"{len(split.users):,} users, {len(split.items):,} items"
    console.print(to_table(f"MovieLens 1M, fixed split, {size}, {options.threads} thread(s)", runs))
    for sentence in compare(runs):
        console.print(sentence)


if __name__ == "__main__":
    main()
