"""Compares item encoders on MovieLens 1M: quality on cold items, and cost.

    python scripts/benchmarks/encoders.py --seed 0

The seed draws the split. All encoders end in the same ridge towards the same backbone vectors, with default settings
and all gates open; nothing is tuned. The likes autoencoder that trains the encoder "elsa" can rank by itself: a second
table compares it with the backbone. Times are seconds of processor time on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ml1m import DEFAULT_DIR, build_ml1m
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from kgrec.config import PriorConfig, SplitConfig, TrainConfig
from kgrec.graph.propagation import build_item_links, propagate
from kgrec.model.autoencoder import ELSA, train_autoencoder
from kgrec.model.gnn import train_network
from kgrec.model.ials import fit_ials, ials_ridge, solve_supports
from kgrec.model.prior import ItemEncoder, PriorSettings, build_prior, build_ridge_problem
from kgrec.questions.slices import evaluate_slice
from kgrec.questions.splits import Split, read_likes, split_likes
from kgrec.training.dataset import CatalogueGraph

ENCODERS: dict[str, dict[str, Any]] = {
    "paths": {"encoder": "paths"},
    "GraphSAGE": {"encoder": "sage"},
    "LightGCN": {"encoder": "lightgcn"},
    "HGT, 64 wide, 20 steps": {"encoder": "hgt", "network": {"hidden": 64, "steps": 20}},
    "ELSA": {"encoder": ELSA},
}  # name -> settings of the prior
N_PLACED = 200


SLICES = {"warm": "known users", "cold_items": "cold items", "cold_items_all": "cold items, among all"}


@dataclass(frozen=True)
class Vectors:
    """Scores items by given vectors: likes times vectors are the users."""

    name: str
    solve: Callable[[csr_array], torch.Tensor]
    items: torch.Tensor

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """(n_users, n_items) float32."""
        found: NDArray[np.float32] = (self.solve(support) @ self.items.T).numpy()
        return found


@dataclass(frozen=True)
class Task:
    """A split and its backbone, shared by all encoders."""

    graph: CatalogueGraph
    split: Split
    config: TrainConfig
    alpha: float
    regularisation: float
    items: NDArray[np.float32]
    users: NDArray[np.float32]

    @property
    def n_likes(self) -> NDArray[np.int64]:
        """(n_items,) the training likes of each item."""
        return np.bincount(self.split.train.items, minlength=len(self.items))


def set_task(seed: int, directory: Path) -> Task:
    """Draws the split and fits the backbone with the default settings."""
    graph, config = build_ml1m(directory), TrainConfig()
    split = split_likes(read_likes(graph.data, graph.schema), SplitConfig(), np.random.default_rng(seed))
    alpha, regularisation = config.backbone.alpha, config.backbone.regularisation
    items, users = fit_ials(
        split.train.to_matrix(), dim=config.embedding_dim, alpha=alpha, regularisation=regularisation,
        epochs=config.backbone.epochs, seed=config.seed,
    )  # fmt: skip
    return Task(graph, split, config, alpha, regularisation, items.numpy(), users.numpy())


def measure_encoder(name: str, task: Task) -> dict[str, Any]:
    """Fits one encoder, ranks the cold items among each other, and times placing one item."""
    data, schema, prior = task.graph.data, task.graph.schema, PriorConfig.model_validate(ENCODERS[name])
    links, items, n_likes = build_item_links(data, schema), task.items, task.n_likes
    weights = (n_likes / (n_likes + prior.half_weight)).astype(np.float32)
    settings = PriorSettings(prior.regularisation, {})
    start, steps, network, own_rows = time.process_time(), 0, None, None
    if prior.encoder == "paths":
        channels = propagate(data, schema, links, n_likes > 0, items, weights, prior, task.config.seed)
        problem = build_ridge_problem(channels, items, weights)
        encoder: ItemEncoder = build_prior(channels, links, problem, settings, None)
    elif prior.encoder == ELSA:
        network, own_rows = train_autoencoder(
            task.split.train.to_matrix(), data, schema, links, prior.network, seed=task.config.seed
        )
    else:
        gram = (task.users.T @ task.users / len(task.users)).astype(np.float32)
        network = train_network(
            prior.encoder, data, schema, links, items, weights, gram, prior.network, seed=task.config.seed
        )  # fmt: skip
    if network is not None:
        problem, steps = build_ridge_problem(network.channels, items, weights), network.steps
        encoder = network.to_encoder(links, problem, settings)
    fit_s, backbone = time.process_time() - start, torch.from_numpy(items)
    placed = np.where((n_likes > 0)[:, None], items, problem.predict(settings))
    scorer = Vectors(
        name,
        lambda found: solve_supports(found, backbone, ials_ridge(found, task.alpha, task.regularisation), task.alpha),
        torch.from_numpy(placed),
    )
    own = {} if own_rows is None else measure_slices(rank_by_rows(own_rows), task.split)
    found = measure_slices(scorer, task.split)
    nodes, incidence = data[schema.item_type], links.incidence
    rows = np.random.default_rng(0).choice(len(items), N_PLACED, replace=False)
    start = time.process_time()
    for row in rows:
        codes = incidence.indices[incidence.indptr[row] : incidence.indptr[row + 1]].astype(np.int64)
        encoder.place(nodes.x[row].numpy() if nodes.has_text[row] else None, codes)
    return {
        **found["cold_items"],
        "fit_s": fit_s,
        "place_ms": (time.process_time() - start) / N_PLACED * 1e3,
        "steps": steps,
        "slices": found,
        "own": own,
    }


def rank_by_rows(rows: NDArray[np.float32]) -> Vectors:
    """The likes autoencoder's own scores x A A', for the (n_items, width) `rows` of A."""
    items = torch.from_numpy(rows)
    return Vectors(ELSA, lambda found: torch.from_numpy(found @ rows), items)


def measure_slices(scorer: Vectors, split: Split) -> dict[str, dict[str, float]]:
    """Recall and NDCG of a scorer on each of `SLICES`."""
    results = {name: evaluate_slice(scorer, split.slices[name]) for name in SLICES}
    return {
        name: {metric: float(result.per_user(metric).mean()) for metric in ("recall", "ndcg")}
        for name, result in results.items()
    }


def to_encoder_table(measured: dict[str, dict[str, Any]]) -> Table:
    """A row for each encoder; the best quality in bold."""
    table = Table(title="Cold items, among cold items", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("item encoder", no_wrap=True)
    for heading in ("Recall@20", "NDCG@20", "gradient steps kept", "fit, s", "place, ms an item"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = {metric: max(found[metric] for found in measured.values()) for metric in ("recall", "ndcg")}
    for name, found in measured.items():
        cells = [f"[bold]{found[m]:.3f}[/]" if found[m] == best[m] else f"{found[m]:.3f}" for m in best]
        steps = "closed form" if name == "paths" else str(found["steps"])
        table.add_row(name, *cells, steps, f"{found['fit_s']:.1f}", f"{found['place_ms']:.2f}")
    return table


def to_own_table(measured: dict[str, dict[str, Any]]) -> Table:
    """The likes autoencoder by itself, and the backbone with cold items placed by the encoders."""
    table = Table(title="By itself, Recall@20/NDCG@20", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("scores", *SLICES.values()):
        table.add_column(heading, no_wrap=True)
    for name, found in measured.items():
        for title, scored in (
            (f"backbone, cold items by {name}", found["slices"]),
            (f"{name} by itself", found["own"]),
        ):
            if scored:
                cells = [f"{scored[key]['recall']:.3f}/{scored[key]['ndcg']:.3f}" for key in SLICES]
                table.add_row(title, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--encoders", nargs="*", choices=ENCODERS, default=list(ENCODERS), metavar="NAME")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    say("backbone")
    task = set_task(options.seed, options.path)
    measured: dict[str, dict[str, Any]] = {}
    for name in options.encoders:
        measured[name] = measure_encoder(name, task)
        say(f"{name}: {json.dumps(measured[name])}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(to_encoder_table(measured), to_own_table(measured))
    if options.out is not None:
        found = {"seed": options.seed, "encoders": measured}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
