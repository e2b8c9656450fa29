"""Item encoders and few-shot heads beside each other on MovieLens 1M: quality on cold items and cold users, and cost.

    python scripts/benchmarks/encoders.py --seed 0

The seed draws the split. All encoders learn the same backbone vectors and end in the same ridge (the middle of the
settings, all gates open), all heads are trained on the same episodes: nothing is chosen. Times are seconds of processor
time of one thread.
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
from kgrec.graph.split import Split, read_likes, split_likes
from kgrec.model.gnn import train_network
from kgrec.model.head import fit_head
from kgrec.model.ials import fit_ials, ials_ridge, solve_supports
from kgrec.model.maml import InnerLoss, fit_gradient_head
from kgrec.model.prior import ItemEncoder, PriorSettings, build_prior, build_ridge_problem
from kgrec.slices import Slice, evaluate_slice
from kgrec.training.dataset import CatalogueGraph

ENCODERS: dict[str, dict[str, Any]] = {
    "paths": {"encoder": "paths"},
    "GraphSAGE": {"encoder": "sage"},
    "LightGCN": {"encoder": "lightgcn"},
    "HGT, 64 wide, 20 steps": {"encoder": "hgt", "network": {"hidden": 64, "steps": 20}},
}  # name -> settings of the prior
HEADS: dict[str, tuple[InnerLoss, int] | None] = {
    "closed form": None,
    "MAML, squared loss, 1 step": ("squared", 1),
    "MAML, squared loss, 3 steps": ("squared", 3),
    "MAML, softmax, 1 step": ("softmax", 1),
    "MAML, softmax, 3 steps": ("softmax", 3),
}
SIZES = (0, 1, 3, 5, 10)
N_PLACED = 200


@dataclass(frozen=True)
class Vectors:
    """Scores by user vectors from likes times given item vectors, and a share of popularity."""

    name: str
    solve: Callable[[csr_array], torch.Tensor]
    items: torch.Tensor
    popularity: Callable[[csr_array], torch.Tensor] | None = None

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """(n_users, n_items) float32."""
        scores = self.solve(support) @ self.items.T
        found: NDArray[np.float32] = (scores if self.popularity is None else scores + self.popularity(support)).numpy()
        return found


@dataclass(frozen=True)
class Task:
    """A split and the backbone that all are measured on."""

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
    """Draws the split and fits the backbone, with the middle of the settings that training chooses from."""
    graph, config = build_ml1m(directory), TrainConfig()
    split = split_likes(read_likes(graph.data, graph.schema), SplitConfig(), np.random.default_rng(seed))
    alphas, regularisations = config.backbone.alphas, config.backbone.regularisations
    alpha, regularisation = alphas[len(alphas) // 2], regularisations[len(regularisations) // 2]
    items, users = fit_ials(
        split.train.to_matrix(), dim=config.embedding_dim, alpha=alpha, regularisation=regularisation,
        epochs=config.backbone.epochs, seed=config.seed,
    )  # fmt: skip
    return Task(graph, split, config, alpha, regularisation, items.numpy(), users.numpy())


def measure_encoder(name: str, task: Task) -> dict[str, Any]:
    """Fits one encoder, ranks the cold items among each other, and times the placing of one item."""
    data, schema, prior = task.graph.data, task.graph.schema, PriorConfig.model_validate(ENCODERS[name])
    links, items, n_likes = build_item_links(data, schema), task.items, task.n_likes
    weights = (n_likes / (n_likes + prior.half_weight)).astype(np.float32)
    settings = PriorSettings(prior.regularisations[len(prior.regularisations) // 2], {})
    start, steps = time.process_time(), 0
    if prior.encoder == "paths":
        channels = propagate(data, schema, links, n_likes > 0, items, weights, prior, task.config.seed)
        problem = build_ridge_problem(channels, items, weights)
        encoder: ItemEncoder = build_prior(channels, links, problem, settings, None)
    else:
        gram = (task.users.T @ task.users / len(task.users)).astype(np.float32)
        network = train_network(
            prior.encoder, data, schema, links, items, weights, gram, prior.network, seed=task.config.seed
        )  # fmt: skip
        problem, steps = build_ridge_problem(network.channels, items, weights), network.steps
        encoder = network.to_encoder(links, problem, settings)
    fit_s, backbone = time.process_time() - start, torch.from_numpy(items)
    scorer = Vectors(
        name,
        lambda found: solve_supports(found, backbone, ials_ridge(found, task.alpha, task.regularisation), task.alpha),
        torch.from_numpy(problem.predict(settings)),
    )
    result = evaluate_slice(scorer, task.split.slices["cold_items"])
    nodes, incidence = data[schema.item_type], links.incidence
    rows = np.random.default_rng(0).choice(len(items), N_PLACED, replace=False)
    start = time.process_time()
    for row in rows:
        codes = incidence.indices[incidence.indptr[row] : incidence.indptr[row + 1]].astype(np.int64)
        encoder.place(nodes.x[row].numpy() if nodes.has_text[row] else None, codes)
    return {
        "recall": float(result.per_user("recall").mean()),
        "ndcg": float(result.per_user("ndcg").mean()),
        "fit_s": fit_s,
        "place_ms": (time.process_time() - start) / N_PLACED * 1e3,
        "steps": steps,
    }


def measure_head(name: str, task: Task) -> dict[str, Any]:
    """Trains one head, asks it for cold users, and times the user vectors of ten likes."""
    likes, config = task.split.train.to_matrix(), task.config
    items, users = torch.from_numpy(task.items), torch.from_numpy(task.users)
    popularity = torch.log1p(torch.from_numpy(task.n_likes.astype(np.float32)))
    start, settings = time.process_time(), HEADS[name]
    if settings is None:
        closed = fit_head(likes, items, users, popularity, config.head, seed=config.seed)
        solve = closed.solve
        scorer: Any = Vectors(
            name, solve, closed.vectors,
            lambda found: torch.from_numpy(closed.popularity_weight(np.diff(found.indptr)))[:, None] * popularity,
        )  # fmt: skip
    else:
        inner_loss, n_steps = settings
        scorer = fit_gradient_head(
            likes, items, users, popularity, config.head, seed=config.seed, inner_loss=inner_loss, n_steps=n_steps
        )
        solve = scorer.solve
    figures: dict[str, Any] = {"fit_s": time.process_time() - start}
    for size in SIZES:
        result = evaluate_slice(scorer, task.split.slices[f"cold_users_k{size}"])
        figures[f"k{size}"] = float(result.per_user("recall").mean()), float(result.per_user("ndcg").mean())
    return figures | {"user_ms": time_users(solve, task.split.slices[f"cold_users_k{SIZES[-1]}"])}


def time_users(solve: Callable[[csr_array], torch.Tensor], slice_: Slice) -> float:
    """Milliseconds of processor time for one user's vector, in one batch of all users of the slice; best of five."""
    support, taken = slice_.support[np.flatnonzero(np.diff(slice_.relevant.indptr))], []
    for _ in range(5):
        start = time.process_time()
        solve(support)
        taken.append(time.process_time() - start)
    return min(taken) / support.shape[0] * 1e3


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


def to_head_table(measured: dict[str, dict[str, Any]]) -> Table:
    """A row for each head; the best NDCG of a support size in bold."""
    table = Table(title="Cold users who show k likes", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("head, Recall@20/NDCG@20", no_wrap=True)
    for heading in (*(f"k = {size}" for size in SIZES), "train, s", "ms a user"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in measured.items():
        cells = []
        for size in SIZES:
            recall, ndcg = found[f"k{size}"]
            best = max(other[f"k{size}"][1] for other in measured.values())
            cells.append(f"[bold]{recall:.3f}/{ndcg:.3f}[/]" if ndcg == best else f"{recall:.3f}/{ndcg:.3f}")
        table.add_row(name, *cells, f"{found['fit_s']:.1f}", f"{found['user_ms']:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    parser.add_argument("--encoders", nargs="*", choices=ENCODERS, default=list(ENCODERS), metavar="NAME")
    parser.add_argument("--heads", nargs="*", choices=HEADS, default=list(HEADS), metavar="NAME")
    parser.add_argument("--out", type=Path, help="JSON file to write everything to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    say("backbone")
    task = set_task(options.seed, options.path)
    encoders: dict[str, dict[str, Any]] = {}
    heads: dict[str, dict[str, Any]] = {}
    for measure, measured, names in (
        (measure_head, heads, options.heads),
        (measure_encoder, encoders, options.encoders),
    ):
        for name in names:
            measured[name] = measure(name, task)
            say(f"{name}: {json.dumps(measured[name])}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    if encoders:
        console.print(to_encoder_table(encoders))
    if heads:
        console.print(to_head_table(heads))
    if options.out is not None:
        found = {"seed": options.seed, "encoders": encoders, "heads": heads}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
