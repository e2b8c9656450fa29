"""Quality of adapted encoders: each method and objective on new items, by texts alone.

    python scripts/benchmarks/adapter_quality.py --catalogue citeulike --rows best --seeds 0 1 2

Choose with `--part valid` (the default); read `--part test` once. Each row runs the function behind `kgrec adapt` in
its own process; `cold_texts.py` has the downstream model.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from cold_texts import DATA_DIR, READERS, encode_items, measure
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.adapt.adaptation_run import adapt_texts
from kgrec.config import AdaptConfig
from kgrec.text.adapter import ADAPTER_FILE, read_adapter
from kgrec.text.language_model import load_language_model

_REPORTED = ("kept", "reason", "strength", "ensemble_weight", "moved", "n_trained", "adapted", "control")
_NONE = {"co_likes": 0.0}
ROWS: dict[str, dict[str, Any]] = {
    "LoRA": {},  # on co-likes, like the next three
    "AdaLoRA": {"method": "adalora"},
    "prefix": {"method": "prefix", "learning_rate": 5e-3},
    "IA3": {"method": "ia3", "learning_rate": 5e-3},
    "autoencoder": {"objectives": {**_NONE, "autoencoder": 1.0}},
    "distillation": {"objectives": {**_NONE, "distillation": 1.0}},
    "neighbours": {"objectives": {**_NONE, "neighbours": 1.0}},
    "relations": {"objectives": {**_NONE, "relations": 1.0}},
    "co-likes and neighbours": {"objectives": {"co_likes": 1.0, "neighbours": 0.5}},
    "alone": {"ensemble_weights": (0.0,)},
    "all layers": {"layers": 0, "learning_rate": 1e-3},
    "best": {"objectives": {"co_likes": 1.0, "neighbours": 0.5}, "validate_every": 200},
}


def measure_frozen(catalogue: str, seed: int, data_dir: Path, part: str) -> tuple[float, float]:
    """Recall@20 and NDCG@20 with the vectors of the frozen model."""
    data = READERS[catalogue](data_dir, seed)
    return measure(encode_items(load_language_model(), data.graph), data.questions[part])


def run(
    catalogue: str, seed: int, data_dir: Path, part: str, row: str, changes: dict[str, Any], adapters: Path
) -> dict[str, Any]:
    """Adapts a model, or reads an existing adapter, and measures its vectors."""
    data = READERS[catalogue](data_dir, seed)
    found: dict[str, Any] = {"row": row, "seed": seed}
    config = AdaptConfig.model_validate({"seed": seed, **ROWS[row], **changes})
    out, started, cpu = adapters / f"{catalogue}-{row}-{seed}", time.perf_counter(), time.process_time()
    if not (out / ADAPTER_FILE).exists():
        adapt_texts(data.graph, data.likes, config, out)
        found |= {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
    report = read_adapter(out)["report"]
    if report["kept"]:
        found["adapted"] = measure(encode_items(load_language_model(adapter=out), data.graph), data.questions[part])
    kept = {name: report[name] for name in _REPORTED}
    return found | {
        "report": kept, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def to_table(runs: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("adapted by")
    for name in ("seed", "frozen", "adapted", "gain", "control", "steps", "weights", "CPU s", "MB"):
        table.add_column(name, justify="right")

    def pair(figures: list[float] | None) -> str:
        return "not kept" if figures is None else "/".join(f"{figure:.4f}"[1:] for figure in figures)

    for one in runs:
        report = one["report"]
        control = "" if report["control"] is None else f"{report['control']['gain']:+.1%}"
        table.add_row(
            one["row"], str(one["seed"]), pair(one["frozen"]), pair(one.get("adapted")),
            f"{report['adapted']['gain']:+.1%}", control, str(report["adapted"]["step"]), f"{report['n_trained']:,}",
            f"{one.get('cpu_s', 0):.0f}", f"{one['peak_mb']:.0f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--catalogue", choices=READERS, default="citeulike")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--steps", type=int, help="steps of every row; by default each row has its own")
    parser.add_argument("--no-control", action="store_true", help="leave out the training on shuffled likes")
    parser.add_argument("--adapters", type=Path, help="a folder that keeps the adapters; existing ones are reused")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    changes = {} if given.steps is None else {"steps": given.steps, "validate_every": max(given.steps // 2, 1)}
    if given.no_control:
        changes["control_steps"] = 0
    runs: list[dict[str, Any]] = []
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,  # a process per run, for its own peak
    ):
        adapters = given.adapters or Path(folder)
        asked = [(given.catalogue, seed, given.path, given.part) for seed in given.seeds]
        frozen = [pool.submit(measure_frozen, *one).result() for one in asked]
        for row in given.rows:
            for one, before in zip(asked, frozen, strict=True):
                found = pool.submit(run, *one, row, changes, adapters).result()
                runs.append({**found, "frozen": before})
                title = f"{given.catalogue}, cold items by texts alone, {given.part}: Recall@20/NDCG@20"
                Console(width=None if sys.stdout.isatty() else 110).print(to_table(runs, title))
                if given.out is not None:
                    given.out.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
