"""Trains on a catalogue with and without some knowledge, and compares both models on the same questions.

friends.py, user_attributes.py and item_attributes.py do it with three kinds of knowledge. "with - without" is the
paired difference over users; its error is that of one seed, averaged over the seeds.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.sparse import csr_array

from kgrec.config import TrainConfig
from kgrec.questions.slice_results import OBJECTIVE, OBJECTIVE_METRICS, SliceResult, paired_difference
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Likes
from kgrec.training.dataset import CatalogueGraph
from kgrec.training.pipeline import fit_model, place_users

WITH, WITHOUT = "kgrec with", "kgrec without"
COLUMNS = {**dict(zip(OBJECTIVE_METRICS, ("R@20", "N@20", "S@20"), strict=True)), OBJECTIVE: OBJECTIVE}
_BLOCK_SCORES = 2_000_000  # users x items scored at once

Run = dict[str, Any]
Results = dict[str, dict[str, SliceResult]]  # slice -> scorer -> how it did


@dataclass(frozen=True)
class _KnownScores:
    """Scores by user, whatever the support: (n_users, n_items), the users of one slice in their order."""

    name: str
    scores: NDArray[np.float32]

    def score(self, support: csr_array) -> NDArray[np.float32]:
        return self.scores


def evaluate_scores(
    name: str, scores: NDArray[np.floating], slice_: Slice, popularity: NDArray[np.int64]
) -> SliceResult:
    """Evaluates a baseline that has a score for every user and item, (n_users, n_items), and reads no support."""
    users = np.flatnonzero(np.diff(slice_.relevant.indptr))
    scorer = _KnownScores(name, scores[users].astype(np.float32))
    return evaluate_slice(scorer, slice_, block_users=max(users.size, 1), popularity=popularity)


def compare(
    graphs: Mapping[str, CatalogueGraph], train: Likes, slices: Sequence[Slice], seed: int
) -> tuple[Results, Run]:
    """Trains one model per graph, with the default settings, and evaluates each on every slice.

    Args:
        graphs: WITH and WITHOUT -> the graph, both with the same users and items. Odd and even seeds train them in
            opposite order, because the first training of a process is slower.
        train: the likes to train on.
        slices: the questions.
        seed: the seed of the training.

    Returns:
        The results, and the seconds of each training, by the clock and of the processor.
    """
    results: Results = {slice_.name: {} for slice_ in slices}
    costs: Run = {"train_s": {}, "processor_s": {}}
    block = min(max(_BLOCK_SCORES // train.shape[1], 1), 512)
    for name in sorted(graphs, reverse=bool(seed % 2)):
        graph = graphs[name]
        say(f"seed {seed}: training {name}")
        started, busy = time.perf_counter(), time.process_time()
        model = fit_model(graph.data, graph.schema, train, TrainConfig(seed=seed))[0]
        costs["train_s"][name] = time.perf_counter() - started
        costs["processor_s"][name] = time.process_time() - busy
        by_name = {slice_.name: slice_ for slice_ in slices}
        asked = place_users(model, graph.data, graph.schema, by_name, train.to_matrix())
        for slice_ in asked.values():
            results[slice_.name][name] = evaluate_slice(model, slice_, block_users=block, popularity=train.counts)
    return results, costs


def sum_up(results: Results, costs: Run) -> Run:
    """The figures of one run, ready for JSON: each slice's scorers, and the difference between WITH and WITHOUT."""
    slices: Run = {}
    for slice_name, found in results.items():
        some = next(iter(found.values()))
        both = WITH in found and WITHOUT in found
        slices[slice_name] = {
            "title": some.slice_title,
            "n_users": int(some.users.size),
            "scorers": {
                name: {
                    **{metric: float(result.per_user(metric).mean()) for metric in COLUMNS},
                    "popular": float(np.mean(result.popular_in_first)),
                }
                for name, result in found.items()
            },
            "difference": {metric: paired_difference(found[WITH], found[WITHOUT], metric) for metric in COLUMNS}
            if both
            else {},
        }
    return {"slices": slices, **costs}


def run_seeds(measure: Callable[[int], Run], seeds: Sequence[int]) -> list[Run]:
    """Measures each seed in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        return list(processes.map(measure, seeds))


def print_runs(title: str, runs: Sequence[Run]) -> None:
    """Prints the mean of the seeds, the best of each column in bold."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in (*COLUMNS.values(), "popular of 10"):
        table.add_column(name, justify="right", no_wrap=True)
    for slice_name, about in runs[0]["slices"].items():
        found = [run["slices"][slice_name] for run in runs]
        table.add_section()
        n_users = round(mean(one["n_users"] for one in found))
        table.add_row(Text(f"{slice_name}: {about['title']} ({n_users:,} users a seed)", style="italic"))
        means = {
            scorer: {name: mean(one["scorers"][scorer][name] for one in found) for name in figures}
            for scorer, figures in about["scorers"].items()
        }
        for scorer, figures in means.items():
            best = {metric: max(other[metric] for other in means.values()) for metric in COLUMNS}
            cells = [Text(f"{figures[m]:.4f}", style="bold" if figures[m] == best[m] else "") for m in COLUMNS]
            table.add_row(f"  {scorer}", *cells, f"{figures['popular']:.1f}")
        if about["difference"]:
            cells = []
            for metric in COLUMNS:
                difference, error = (mean(one["difference"][metric][place] for one in found) for place in range(2))
                style = "green" if difference > error else "red" if difference < -error else ""
                cells.append(Text(f"{difference:+.4f}±{error:.4f}", style=style))
            table.add_row("  with - without", *cells)
    console.print(table)
    for kind, unit in (("train_s", "s"), ("processor_s", "s of processor")):
        if kind in runs[0]:
            more, less = (mean(run[kind][name] for run in runs) for name in (WITH, WITHOUT))
            console.print(f"training: {more:.0f} {unit} with, {less:.0f} {unit} without: {more / less:.2f} times")


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds the options that the scripts share, and parses the command line."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def write_runs(runs: object, out: Path | None) -> None:
    """Writes all figures as JSON, if there is a file to write to."""
    if out is not None:
        out.write_text(json.dumps(runs, indent=1) + "\n")


def say(line: str) -> None:
    """Reports progress on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
