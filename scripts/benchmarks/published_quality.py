"""Quality on the published splits, compared with published figures and with simple models.

    python scripts/benchmarks/published_quality.py --splits kgrs lastfm citeulike --seeds 0 1 2

Models are trained on the train part alone, and everything is chosen on the valid part. All items are ranked, without
train and valid items; the seed is that of the training.
"""

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

from published_splits import DATA_DIR, READERS
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.config import TrainConfig
from kgrec.evaluate.evaluation import describe_choices
from kgrec.questions.slices import evaluate_slice
from kgrec.training.pipeline import fit_model

# slice -> list length, metrics, the best published figures, the best simple model's, the figures to reach
FIGURES: dict[str, tuple[int, tuple[str, str], tuple[float, ...], tuple[float, ...], tuple[float, float]]] = {
    "kgrs": (10, ("recall", "ndcg"), (0.2111,), (0.2231, 0.2397), (0.228, 0.244)),
    "lastfm": (10, ("recall", "mrr"), (0.3053, 0.1398), (0.2975, 0.1318), (0.308, 0.141)),
    "cold": (20, ("recall", "ndcg"), (0.3601, 0.2126), (0.375, 0.250), (0.400, 0.265)),
    "warm": (20, ("recall", "ndcg"), (0.3252, 0.2156), (0.3747, 0.2740), (0.385, 0.282)),
    "overall": (20, ("recall", "ndcg"), (0.2285, 0.1747), (), (0.265, 0.205)),
}


def measure(name: str, seed: int, data_dir: Path) -> dict[str, Any]:
    """Trains on one split with one seed, and measures on its test part."""
    split = READERS[name](data_dir)
    start, start_cpu = time.perf_counter(), time.process_time()
    length = FIGURES[split.slices[0].name][0]  # length of the lists behind the figures
    config, graph = TrainConfig(seed=seed, list_length=length), split.graph
    model, choices = fit_model(graph.data, graph.schema, split.train, config, validation=split.validation)
    figures = {}
    for slice_ in split.slices:
        k, metrics, *_ = FIGURES[slice_.name]
        result = evaluate_slice(model, slice_, k)
        figures[slice_.name] = [float(result.per_user(metric).mean()) for metric in metrics]
    return {
        "split": name,
        "seed": seed,
        "train_s": time.perf_counter() - start,
        "train_cpu_s": time.process_time() - start_cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "figures": figures,
        "chosen": describe_choices(choices),
    }


def to_table(runs: list[dict[str, Any]]) -> Table:
    """The mean over seeds and the figures to compare with; values below the figure to reach are red."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("split", "metric", "kgrec", "published", "simple model", "to reach"):
        table.add_column(name, justify="left" if name in ("split", "metric") else "right", no_wrap=True)
    for slice_name, (k, metrics, published, simple, target) in FIGURES.items():
        found = [run["figures"][slice_name] for run in runs if slice_name in run["figures"]]
        for place, metric in enumerate(metrics if found else ()):
            value = mean(figures[place] for figures in found)
            cells = [f"{row[place]:.4f}" if place < len(row) else "" for row in (published, simple)]
            style = "red" if value < target[place] else "bold"
            title = "" if place else slice_name
            table.add_row(title, f"{metric}@{k}", f"[{style}]{value:.4f}[/]", *cells, f"{target[place]:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    console, runs = Console(), []
    asked = [(name, seed) for name in options.splits for seed in options.seeds]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for run in processes.map(measure, *zip(*asked, strict=True), [options.path] * len(asked)):
            runs.append(run)
            console.print(
                f"{run['split']}, seed {run['seed']}: {run['train_s']:.0f} s, {run['peak_mb']:,.0f} MB", style="dim"
            )
            console.print(f"  {run['chosen']}", style="dim")
    console.print(to_table(runs))
    if options.out is not None:
        options.out.write_text(json.dumps({"runs": runs, "figures": FIGURES}, indent=1) + "\n")


if __name__ == "__main__":
    main()
