"""Memory of evaluation and of scoring in batches, at 1x and 10x the users of MovieLens 1M.

    python scripts/benchmarks/memory.py

Users are copied, with a fifth of their likes drawn again. Each row is a fresh process; its peak excludes the memory
held before the measurement (the catalogue, the likes, the model).
"""

import argparse
import ctypes
import gc
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from ml1m import DEFAULT_DIR, read_ml1m
from rich.console import Console
from rich.table import Table

from kgrec.config import BackboneConfig, HeadConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.slices import evaluate_slice
from kgrec.questions.splits import Likes, read_likes, split_likes
from kgrec.training.pipeline import fit_model

QUICK = TrainConfig(
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=2),
    prior=PriorConfig(regularisations=(), gates=()),
    head=HeadConfig(epochs=1),
)  # memory does not depend on the quality of the model
NOISE, BLOCK_USERS, LEARNT_USERS = 0.2, 512, 1000


def copy_users(likes: Likes, times: int, rng: np.random.Generator) -> Likes:
    """The likes of `times` as many users: copies with some items drawn again."""
    n_users, n_items = likes.shape
    users = np.concatenate([likes.users + copy * n_users for copy in range(times)])
    items = np.tile(likes.items, times)
    redrawn = (rng.random(len(items)) < NOISE) & (users >= n_users)
    items[redrawn] = rng.choice(likes.items, int(redrawn.sum()))
    users, items = np.divmod(np.unique(users * n_items + items), n_items)
    return replace(likes, users=users, items=items, times=None, shape=(n_users * times, n_items))


def measure(what: str, times: int, directory: Path) -> tuple[int, int, float, float]:
    """Measures one kind of work: (users, items, MB before, peak MB)."""
    tables = read_ml1m(directory)
    data, _ = to_hetero(sort_tables(tables))  # scoring by likes needs no texts
    likes = read_likes(data, tables.schema)
    model, _ = fit_model(data, tables.schema, likes.select(likes.users < LEARNT_USERS), QUICK)
    many = copy_users(likes, times, np.random.default_rng(0))
    if what == "evaluate_slice":
        warm = split_likes(many, SplitConfig(), np.random.default_rng(0)).slices["warm"]
        _reset_peak()
        before = _peak_mb()
        evaluate_slice(model, warm, block_users=BLOCK_USERS)
    else:
        support = many.to_matrix()
        _reset_peak()
        before = _peak_mb()
        for start in range(0, support.shape[0], BLOCK_USERS):
            model.score(support[start : start + BLOCK_USERS])
    return *many.shape, before, _peak_mb()


def _reset_peak() -> None:
    """Returns freed memory to the system and resets the peak, where the system can (Linux, glibc)."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    options = parser.parse_args()
    table = Table("", "users", "items", "before, MB", "peak, MB", "added, MB", "dense users x items, MB")
    for column in table.columns[1:]:
        column.justify = "right"
    jobs = [(what, times) for what in ("evaluate_slice", "Model.score") for times in options.times]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        found = processes.map(measure, *zip(*jobs, strict=True), [options.path] * len(jobs))
        for (what, _), (n_users, n_items, before, peak) in zip(jobs, found, strict=True):
            dense = n_users * n_items * 4 / 2**20
            numbers = (n_users, n_items, before, peak, peak - before, dense)
            table.add_row(what, *(f"{number:,.0f}" for number in numbers))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
