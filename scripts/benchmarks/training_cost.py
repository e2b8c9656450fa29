"""Measures the cost of trainings, each in its own process."""

import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peers import read_peak_mb
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.config import TrainConfig
from kgrec.questions.splits import Likes
from kgrec.training.dataset import CatalogueGraph
from kgrec.training.pipeline import fit_model

Cost = TypeVar("Cost")


@dataclass(frozen=True)
class Spent:
    """The cost of a training; `before_mb` is the peak of the process before it, with the catalogue in memory."""

    train_s: float
    train_cpu_s: float
    before_mb: float
    peak_mb: float


def time_training(graph: CatalogueGraph, likes: Likes, seed: int) -> Spent:
    """Trains once with the default configuration, and prints the cost up to each stage."""
    before_mb = read_peak_mb()
    start, start_cpu = time.perf_counter(), time.process_time()

    def say_stage(stage: str) -> None:
        spent, spent_cpu = time.perf_counter() - start, time.process_time() - start_cpu
        say(f"{spent:.0f} s, processor {spent_cpu:.0f} s, peak {read_peak_mb():,.0f} MB: {stage}")

    fit_model(graph.data, graph.schema, likes, TrainConfig(seed=seed), say_stage)
    return Spent(time.perf_counter() - start, time.process_time() - start_cpu, before_mb, read_peak_mb())


def lay_out(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> Table:
    """A table of costs: numbers without decimals, and texts."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in row))
    return table


def say(line: str) -> None:
    """Prints a line to standard error, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def measure_each(
    jobs: Mapping[str, tuple[Any, ...]],
    measure: Callable[..., Cost],
    threads: int,
    to_table: Callable[[str, Sequence[Cost]], Table],
    to_rows: Callable[[Sequence[Cost]], list[dict[str, Any]]],
    out: Path | None,
) -> None:
    """Measures one job after the other, and prints and writes the results after each.

    Args:
        jobs: name -> the arguments of `measure`.
        measure: the function to run, each time in its own process.
        threads: the threads of each process.
        to_table: (title, costs so far) -> the table to print.
        to_rows: costs so far -> the rows to write.
        out: a JSON file; None: nothing is written.
    """
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)  # read by child processes
    console = Console(width=None if sys.stdout.isatty() else 140)
    costs: list[Cost] = []
    title = f"training, {threads} thread(s), {platform.machine()}, {time.strftime('%Y-%m-%d')}"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for name, arguments in jobs.items():
            say(name)
            costs.append(processes.submit(measure, *arguments).result())
            console.print(to_table(title, costs))
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps({"title": title, "rows": to_rows(costs)}, indent=1) + "\n")
