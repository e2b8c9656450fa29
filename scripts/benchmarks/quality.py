"""Quality on MovieLens 1M: every slice for each seed, with the baselines and the figures to reach.

    python scripts/benchmarks/quality.py --seeds 1 2 3

The seed draws the split; the configuration is the default one. Each seed runs in its own process.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from ml1m import DEFAULT_DIR, build_ml1m
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kgrec.config import SplitConfig, TrainConfig
from kgrec.evaluate.evaluation import describe_choices, evaluate_scorers, tune_baselines
from kgrec.questions.few_items import show_few
from kgrec.questions.splits import read_likes, split_likes
from kgrec.training.pipeline import fit_model

TARGETS = {
    "warm": (0.317, 0.342),
    "cold_items": (0.410, 0.350),
    "cold_users_k1": (0.132, 0.415),
    "cold_users_k3": (0.156, 0.445),
    "cold_users_k5": (0.176, 0.472),
    "cold_users_k10": (0.212, 0.500),
}  # Recall@20, NDCG@20
MOST_TRAIN_S, MOST_TRAIN_MB = 120, 4096

Figures = dict[str, dict[str, tuple[float, float]]]  # slice -> scorer -> Recall@20, NDCG@20


def measure_seed(seed: int, directory: Path, adapter: Path | None) -> dict[str, Any]:
    """Splits by a seed, trains, tunes the baselines, and measures every slice."""
    graph = build_ml1m(directory, adapter)
    likes = read_likes(graph.data, graph.schema)
    split = split_likes(likes, SplitConfig(), np.random.default_rng(seed))
    few_items = show_few(likes, split, np.random.default_rng([seed, 5]))
    start = time.perf_counter()
    model, choices = fit_model(graph.data, graph.schema, split.train, TrainConfig(), _say)
    train_s = time.perf_counter() - start
    train_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # the catalogue and the encoder included
    _say("tuning the baselines")
    start = time.perf_counter()
    baselines = tune_baselines(graph.data, graph.schema, split.train, SplitConfig(), seed)
    tune_s = time.perf_counter() - start
    _say("measuring")
    start = time.perf_counter()
    figures: Figures = {}
    for result in evaluate_scorers(split, model, baselines, few_items=few_items):
        measured = float(result.per_user("recall").mean()), float(result.per_user("ndcg").mean())
        figures.setdefault(result.slice_name, {})[result.scorer] = measured
    return {
        "seed": seed,
        "train_s": train_s,
        "train_peak_mb": train_mb,
        "tune_baselines_s": tune_s,
        "evaluate_s": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ours": model.name,
        "chosen": {model.name: describe_choices(choices), **baselines.chosen},
        "figures": figures,
    }


def _say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


def average(runs: Sequence[dict[str, Any]]) -> Figures:
    """The mean of each figure over the seeds."""
    return {
        slice_name: {
            scorer: (
                mean(run["figures"][slice_name][scorer][0] for run in runs),
                mean(run["figures"][slice_name][scorer][1] for run in runs),
            )
            for scorer in scorers
        }
        for slice_name, scorers in runs[0]["figures"].items()
    }


def to_table(title: str, figures: Figures, ours: str) -> Table:
    """Recall@20/NDCG@20 by slice and scorer, the best of a slice in bold, missed figures of ours in red."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Recall@20/NDCG@20", no_wrap=True)
    scorers = list(next(iter(figures.values())))
    for name in (*scorers, "to reach"):
        table.add_column(name, justify="right", no_wrap=True)
    for slice_name, measured in figures.items():
        best = [max(pair[place] for pair in measured.values()) for place in range(2)]
        target = TARGETS.get(slice_name)
        cells = []
        for name in scorers:
            cell = Text()
            for place, value in enumerate(measured[name]):
                missed = name == ours and (value < best[place] or (target is not None and value < target[place]))
                style = "bold" if value == best[place] else ""
                cell.append("/" if place else "").append(f"{value:.3f}", f"{style} red" if missed else style)
            cells.append(cell)
        table.add_row(slice_name, *cells, "" if target is None else f"{target[0]:.3f}/{target[1]:.3f}")
    return table


def find_misses(figures: Figures, ours: str) -> list[str]:
    """The figures of ours below a figure to reach or below a baseline."""
    misses = []
    for slice_name, measured in figures.items():
        for place, metric in enumerate(("Recall@20", "NDCG@20")):
            value = measured[ours][place]
            asked = {name: pair[place] for name, pair in measured.items() if name != ours}
            if slice_name in TARGETS:
                asked["the figure to reach"] = TARGETS[slice_name][place]
            misses += [f"{slice_name} {metric}: {value:.4f}, {n} {v:.4f}" for n, v in asked.items() if value < v]
    return misses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument(
        "--adapter", type=Path, help="an adapter of `adapter_quality.py --catalogue ml1m`, for one seed"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    if options.adapter is not None and len(options.seeds) > 1:
        parser.error("an adapter has seen what other seeds hold out: expected one seed")
    console = Console(width=None if sys.stdout.isatty() else 140)
    runs = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        measure = partial(measure_seed, directory=options.path, adapter=options.adapter)
        for run in processes.map(measure, options.seeds):
            runs.append(run)
            console.print(to_table(f"seed {run['seed']}", run["figures"], run["ours"]))
            console.print(
                f"training {run['train_s']:.0f} s (at most {MOST_TRAIN_S}), peak {run['train_peak_mb']:,.0f} MB "
                f"(at most {MOST_TRAIN_MB:,}); tuning the baselines {run['tune_baselines_s']:.0f} s, "
                f"evaluation {run['evaluate_s']:.0f} s, peak of all {run['peak_mb']:,.0f} MB"
            )
            for name, choice in run["chosen"].items():
                console.print(f"  {name}: {choice}", style="dim")
    figures = average(runs)
    console.print(to_table(f"mean of the seeds {options.seeds}", figures, runs[0]["ours"]))
    misses = find_misses(figures, runs[0]["ours"])
    console.print("\n".join(["ours is below:", *misses]) if misses else "ours is nowhere below, on the mean")
    if options.out is not None:
        options.out.write_text(json.dumps({"runs": runs, "mean": figures, "targets": TARGETS}, indent=1) + "\n")


if __name__ == "__main__":
    main()
