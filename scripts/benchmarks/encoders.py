"""Compares encoders: of items on cold items of MovieLens 1M, of users on new users with friends; quality and cost.

    python scripts/benchmarks/encoders.py --seed 0
    python scripts/benchmarks/encoders.py --seed 1 --users    # of ml-latest-small, with the friends of friends.py

The seed draws the split. All encoders end in the same ridge towards the same backbone vectors, with default settings
and all gates open; nothing is tuned. The likes autoencoder that trains the encoder "elsa" can rank by itself: a second
table compares it with the backbone. Times are seconds of processor time on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from catalogues import DATA_DIR
from friends import SPLIT, add_friends, draw_friends, score_popularity
from ml1m import DEFAULT_DIR, build_ml1m
from ml_latest_small import read_whole
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from with_and_without import evaluate_scores

from kgrec.config import PriorConfig, SplitConfig, TrainConfig
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.graph.propagation import propagate
from kgrec.model.autoencoder import ELSA, train_autoencoder
from kgrec.model.gnn import train_network
from kgrec.model.ials import fit_ials, ials_ridge, solve_supports
from kgrec.model.prior import ItemEncoder, PriorSettings, build_prior, build_ridge_problem
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Split, read_likes, split_likes
from kgrec.training.dataset import CatalogueGraph
from kgrec.training.user_vectors import draft_users
from kgrec.training.vectors import Catalogue, default_settings, draft_vectors

ENCODERS: dict[str, dict[str, Any]] = {
    "paths": {"encoder": "paths"},
    "GraphSAGE": {"encoder": "sage"},
    "LightGCN": {"encoder": "lightgcn"},
    "HGT, 64 wide, 20 steps": {"encoder": "hgt", "network": {"hidden": 64, "steps": 20}},
    "ELSA": {"encoder": ELSA},
}  # name -> settings of the prior
N_PLACED = 200
FRIENDSHIP = 8.0  # b in friends.py


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


def measure_users(seed: int, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ranks items for new users, who have friends and no likes, by each encoder of users; texts are left out."""
    tables = sort_tables(read_whole(DATA_DIR / "ml-latest-small"))
    likes = read_likes(to_hetero(tables)[0], tables.schema)
    friends = draw_friends(likes, FRIENDSHIP, np.random.default_rng([seed, 0]))
    split = split_likes(likes, SPLIT, np.random.default_rng(seed))
    train, asked = split.train, split.slices["cold_users_k0"]
    with_friends = add_friends(tables, friends)
    data, schema = to_hetero(with_friends)[0], with_friends.schema
    links, user_links = build_item_links(data, schema), build_user_links(data, schema)
    catalogue = Catalogue(data, schema, links, user_links, TrainConfig(), "cpu")
    drafted = draft_vectors(catalogue, train, default_settings(catalogue.config))
    measured = {"popularity": _judge(score_popularity(friends, train), asked, train.counts, 0.0, "")}
    for name in names:
        prior, start = PriorConfig.model_validate(ENCODERS[name]), time.process_time()
        config = catalogue.config.model_copy(update={"prior": prior})
        users = draft_users(replace(catalogue, config=config), train, drafted)
        assert users is not None
        fit_s, steps = time.process_time() - start, "closed form" if users.network is None else str(users.network.steps)
        scores = users.problem.predict(PriorSettings(prior.regularisation, {})) @ drafted.items.T
        measured[name] = _judge(scores, asked, train.counts, fit_s, steps)
        say(f"{name}: {json.dumps(measured[name])}")
    return measured


def _judge(
    scores: NDArray[np.floating], asked: Slice, counts: NDArray[np.int64], fit_s: float, steps: str
) -> dict[str, Any]:
    result = evaluate_scores("", scores, asked, counts)
    quality = {metric: float(result.per_user(metric).mean()) for metric in ("recall", "ndcg")}
    return {**quality, "objective": result.objective, "fit_s": fit_s, "steps": steps}


def to_user_table(measured: dict[str, dict[str, Any]]) -> Table:
    """A row for popularity and each encoder of users."""
    table = Table(title="New users, by friends alone", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("user encoder", no_wrap=True)
    for heading in ("Recall@20", "NDCG@20", "objective", "gradient steps kept", "fit, s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in measured.items():
        cells = [f"{found[metric]:.3f}" for metric in ("recall", "ndcg", "objective")]
        table.add_row(name, *cells, found["steps"], f"{found['fit_s']:.1f}")
    return table


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
    parser.add_argument("--users", action="store_true", help="compare encoders of users")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if options.users:
        measured = measure_users(options.seed, [name for name in options.encoders if name != "ELSA"])
        console.print(to_user_table(measured))
        write(measured, options.seed, options.out)
        return
    say("backbone")
    task = set_task(options.seed, options.path)
    measured = {}
    for name in options.encoders:
        measured[name] = measure_encoder(name, task)
        say(f"{name}: {json.dumps(measured[name])}")
    console.print(to_encoder_table(measured), to_own_table(measured))
    write(measured, options.seed, options.out)


def write(measured: dict[str, dict[str, Any]], seed: int, path: Path | None) -> None:
    """Writes the figures to a JSON file, if there is a path."""
    if path is not None:
        path.write_text(json.dumps({"seed": seed, "encoders": measured}, indent=1) + "\n", encoding="utf-8")


def say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
