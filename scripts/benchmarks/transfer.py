"""Transfer: a model adapted on one half of citeulike-a, by topic, used on the other with 0%, 1% and 10% of its likes.

    python scripts/benchmarks/transfer.py --steps 300

The papers are split into two catalogues by 2-means of their title vectors. Adaptation learns from all likes of the
first and a share of the likes of the second. The relevant items are new papers of the second; the downstream model of
`cold_texts.py` is fitted to its likes, the same for every row.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cold_texts import DATA_DIR, encode_items, measure, read_citeulike
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array, diags_array
from sklearn.cluster import KMeans

from kgrec.adapt.adaptation_run import adapt_texts
from kgrec.config import AdaptConfig
from kgrec.questions.slices import Slice
from kgrec.text.language_model import load_language_model

# row -> shares of the likes of the first half and of the second that adaptation learns from
ROWS = {
    "adapted elsewhere, 0% of the likes here": (1.0, 0.0),
    "adapted elsewhere, 1%": (1.0, 0.01),
    "adapted elsewhere, 10%": (1.0, 0.1),
    "adapted here, 1%": (0.0, 0.01),
    "adapted here, 10%": (0.0, 0.1),
    "adapted here, all": (0.0, 1.0),
}


def keep_columns(question: Slice, kept: np.ndarray) -> Slice:
    """The same question about some of the items only."""
    columns = diags_array(kept.astype(np.float32))
    parts = [None if part is None else csr_array(part @ columns) for part in (question.support, question.relevant)]
    for part in parts:
        part.eliminate_zeros()
    candidates = kept if question.candidates is None else question.candidates & kept
    return replace(question, support=parts[0], relevant=parts[1], candidates=candidates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    data = read_citeulike(given.path)
    frozen = encode_items(load_language_model(), data.graph)
    second = KMeans(2, n_init=4, random_state=given.seed).fit_predict(frozen) == 1
    question = keep_columns(data.questions[given.part], second)
    runs: list[dict[str, Any]] = [{"row": "frozen", "figures": measure(frozen, question)}]
    rng = np.random.default_rng(given.seed)
    draw = rng.random(len(data.likes))
    for row in given.rows:
        shares = np.array(ROWS[row])[second[data.likes.items].astype(int)]
        config = AdaptConfig(
            seed=given.seed, steps=given.steps, control_steps=0,
            validate_every=max(given.steps // 2, 1),
        )  # fmt: skip
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "adapter"
            report = adapt_texts(data.graph, data.likes.select(draw < shares), config, out)
            vectors = encode_items(load_language_model(adapter=out), data.graph) if report.kept else frozen
        found = {"row": row, "figures": measure(vectors, question), "kept": report.kept, "reason": report.reason}
        runs.append(found | {"seconds": time.perf_counter() - started})
        table = Table(title=f"New papers of the second half, {given.part}", title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("texts encoded by")
        for name in ("Recall@20", "NDCG@20", "kept"):
            table.add_column(name, justify="right")
        for one in runs:
            kept = "" if "kept" not in one else "yes" if one["kept"] else "no"
            table.add_row(one["row"], *(f"{figure:.4f}" for figure in one["figures"]), kept)
        Console(width=None if sys.stdout.isatty() else 110).print(table)
        if given.out is not None:
            given.out.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
