"""What comes next: the last item of each user, ranked among all items.

    python scripts/benchmarks/sequences.py --catalogues beauty ml-1m/last

Training reads all likes but each user's last two; settings are chosen on the last but one, which is then known, but not
trained on, when the last is asked for. Items that a user has are left out. Beauty's last items are also measured apart
where they were bought on a later day than the item before: within a day the files list items in the order of their ids.
"""

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from catalogues import read_catalogue
from numpy.typing import NDArray
from published_splits import DATA_DIR, PublishedSplit
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from kgrec.config import TrainConfig
from kgrec.evaluate.evaluation import describe_choices
from kgrec.model.component import Support
from kgrec.model.model import Model
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.sequences import Order
from kgrec.training.pipeline import fit_model

K = 10
ALONE = ("item_item", "backbone", "transitions", "sequence")
# catalogue -> published Recall@10 and NDCG@10, and the figures to reach
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "beauty": {
        "TIGER": (0.0648, 0.0384), "SASRec, cross-entropy": (0.0605, 0.0318), "SASRec, softmax": (0.0921, 0.0531),
        "eSASRec": (0.0928, 0.0523), "ICSRec": (0.0959, 0.0578), "WEARec": (0.1041, 0.0614), "to reach": (0.112, 0.068),
    },
    "ml-1m/last": {
        "SASRec, softmax": (0.2929, 0.1684), "gSASRec": (0.3003, 0.1726), "eSASRec": (0.3133, 0.1772),
        "to reach": (0.312, 0.178),
    },
}  # fmt: skip


class Alone:
    """One component of a model as a scorer, with the recency of the model's last bucket."""

    def __init__(self, model: Model, name: str) -> None:
        component = model.component(name)
        assert component is not None
        self.model, self.component, self.name = model, component, name

    def score(
        self, support: csr_array, prior: object = None, linked: object = None, order: Order | None = None
    ) -> NDArray[np.float32]:
        """Scores items by the component."""
        asked = Support(support, order=order)
        part = self.model.part(
            self.component, asked.recent(self.model.gate.recency[self.model.gate.bucket(asked.n_likes)])
        )
        scores = part.users @ self.component.items.T
        return (scores if part.added is None else scores + part.added).numpy()

    def place_users(self, text: object, incidence: csr_array) -> NDArray[np.float32]:
        """Nothing is known of users but their likes."""
        return np.zeros((incidence.shape[0], 0), np.float32)


def find_later(split: PublishedSplit, data_dir: Path) -> Slice:
    """The questions whose item was bought on a later day than the one before."""
    table = pq.read_table(data_dir / "beauty" / "interactions.parquet").to_pandas().sort_values(["user", "place"])
    gap = table.groupby("user").day.diff()
    later = table.user[~table.user.duplicated(keep="last") & (gap > 0)]
    rows = split.graph.ids[split.graph.schema.user_type].rows([str(user) for user in later])
    keep = np.zeros(split.train.shape[0], np.bool_)
    keep[rows] = True
    whole = split.slices[0]
    relevant = csr_array(whole.relevant.multiply(keep[:, None]).tocsr())
    relevant.eliminate_zeros()
    return replace(whole, name="later", title="bought on a later day", relevant=relevant)


def measure(name: str, config: TrainConfig, data_dir: Path) -> dict[str, Any]:
    """Trains on one catalogue, and measures its test questions."""
    split = read_catalogue(name, data_dir)
    start, start_cpu = time.perf_counter(), time.process_time()
    stages: list[tuple[str, float]] = []
    model, choices = fit_model(
        split.graph.data, split.graph.schema, split.train, config, validation=split.validation,
        on_stage=lambda stage: stages.append((stage, time.perf_counter() - start)),
    )  # fmt: skip
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    slices = {"valid": split.validation["next"], "test": split.slices[0]}
    if name == "beauty":
        slices["test, later days"] = find_later(split, data_dir)
    scorers: list[Scorer] = [model, *(Alone(model, one) for one in ALONE if one in model.names)]
    figures = {scorer.name: {title: _measure(scorer, slice_) for title, slice_ in slices.items()} for scorer in scorers}
    gate = model.gate
    return {
        "catalogue": name,
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "stages": stages,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "figures": figures,
        "recency": dict(zip(gate.least_likes.tolist(), gate.recency.tolist(), strict=True)),
        "weights": {
            int(least): dict(zip(model.names, row, strict=True))
            for least, row in zip(gate.least_likes, gate.warm.round(2).tolist(), strict=True)
        },
        "chosen": describe_choices(choices),
    }


def _measure(scorer: Scorer, slice_: Slice) -> list[float]:
    result = evaluate_slice(scorer, slice_, K)
    return [float(result.per_user(metric).mean()) for metric in ("recall", "ndcg")]


def to_table(run: dict[str, Any]) -> Table:
    """One catalogue's figures beside the published ones."""
    titles = list(run["figures"]["kgrec"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{run['catalogue']}: Recall@10, NDCG@10")
    for name in ("", *titles):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, figures in PUBLISHED[run["catalogue"]].items():
        table.add_row(name, *("{:.4f} {:.4f}".format(*figures) if title == "test" else "" for title in titles))
    for scorer, found in run["figures"].items():
        table.add_row(f"[bold]{scorer}[/]", *("{:.4f} {:.4f}".format(*found[title]) for title in titles))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogues", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--config", type=Path, help="a training configuration as TOML")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", type=Path, default=DATA_DIR, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    config = TrainConfig() if options.config is None else TrainConfig.from_toml(options.config)
    config = config.model_copy(update={"seed": options.seed, "list_length": K})
    console, runs = Console(), []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        asked = [(name, config, options.path) for name in options.catalogues]
        for run in processes.map(measure, *zip(*asked, strict=True)):
            runs.append(run)
            console.print(to_table(run))
            console.print(
                f"{run['train_s']:.0f} s, {run['train_cpu_s']:.0f} s of processor time, {run['peak_mb']:,.0f} MB; "
                f"recency by likes {run['recency']}",
                style="dim",
            )
    if options.out is not None:
        options.out.write_text(json.dumps({"runs": runs, "published": PUBLISHED}, indent=1) + "\n")


if __name__ == "__main__":
    main()
