"""Adaptation measured: each method and objective on items that nobody had met, by their texts alone.

    python scripts/benchmarks/adapt.py --catalogue citeulike --rows best --seeds 0 1 2

`--part valid` (the default) is for choosing; `--part test` is read once. Each row is a run of `kgrec adapt`'s own
function in a process of its own; the downstream is that of `cold_texts.py`.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from cold_texts import DATA_DIR, READERS, encode_items, measure
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.adapt.run import adapt_texts
from kgrec.config import AdaptConfig
from kgrec.text.language_model import load_language_model

_NONE = {"co_likes": 0.0}
ROWS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "AdaLoRA": {"method": "adalora"},
    "prefix": {"method": "prefix", "learning_rate": 5e-3},
    "IA3": {"method": "ia3", "learning_rate": 5e-3},
    "co-likes": {},
    "autoencoder": {"objectives": {**_NONE, "autoencoder": 1.0}},
    "distillation": {"objectives": {**_NONE, "distillation": 1.0}},
    "neighbours": {"objectives": {**_NONE, "neighbours": 1.0}},
    "relations": {"objectives": {**_NONE, "relations": 1.0}},
    "co-likes and neighbours": {"objectives": {"co_likes": 1.0, "neighbours": 0.5}},
    "alone": {"beside": False},
    "all layers": {"layers": 0, "learning_rate": 5e-4},
    "best": {"steps": 800, "validate_every": 200, "objectives": {"co_likes": 1.0, "neighbours": 0.5}},
}


def run(catalogue: str, row: str, seed: int, data_dir: Path, part: str, changes: dict[str, Any]) -> dict[str, Any]:
    """One adaptation, and what its vectors are worth."""
    data = READERS[catalogue](data_dir, seed)
    frozen = encode_items(load_language_model(), data.graph)
    found: dict[str, Any] = {"row": row, "seed": seed, "frozen": measure(frozen, data.questions[part])}
    config = AdaptConfig.model_validate({"seed": seed, **ROWS[row], **changes})
    started, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = adapt_texts(data.graph, data.likes, config, Path(folder) / "adapter")
        found |= {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
        if report.kept:
            vectors = encode_items(load_language_model(adapter=Path(folder) / "adapter"), data.graph)
            found["adapted"] = measure(vectors, data.questions[part])
    control = None if report.control is None else report.control.gain
    return found | {
        "kept": report.kept, "reason": report.reason, "gain": report.adapted.gain, "control": control,
        "step": report.adapted.step, "moved": report.moved, "n_trained": report.n_trained,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def to_table(runs: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("adapted by")
    for name in ("seed", "frozen", "adapted", "gain", "control", "steps", "weights", "CPU s", "MB"):
        table.add_column(name, justify="right")

    def pair(figures: list[float] | None) -> str:
        return "not kept" if figures is None else "/".join(f"{figure:.4f}"[1:] for figure in figures)

    for one in runs:
        table.add_row(
            one["row"], str(one["seed"]), pair(one["frozen"]), pair(one.get("adapted")),
            f"{one['gain']:+.1%}", "" if one["control"] is None else f"{one['control']:+.1%}", str(one["step"]),
            f"{one['n_trained']:,}", f"{one['cpu_s']:.0f}", f"{one['peak_mb']:.0f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--catalogue", choices=READERS, default="citeulike")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--steps", type=int, help="in place of each row's own")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    changes = {} if given.steps is None else {"steps": given.steps, "validate_every": max(given.steps // 5, 1)}
    runs: list[dict[str, Any]] = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:  # peaks are of one run each
        for row in given.rows:
            for seed in given.seeds:
                asked = (given.catalogue, row, seed, given.path, given.part, changes)
                runs.append(pool.submit(run, *asked).result())
                title = f"{given.catalogue}, cold items by texts alone, {given.part}: Recall@20/NDCG@20"
                Console().print(to_table(runs, title))
                if given.out is not None:
                    given.out.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
