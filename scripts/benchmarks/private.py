"""What differential privacy costs: private training beside popularity and the public model.

    python scripts/benchmarks/private.py ml-100k/cold --seeds 1 2 3
    python scripts/benchmarks/private.py ml-1m/cold --seeds 1

The catalogues are those of catalogues.py; the seed draws the held-out users and items, and the noise. `inf` clips as
the private trainings do, but adds no noise: what it loses to the public model is the price of clipping, of the
components that read users and of the choices on held-out likes, which a private training does not have. Known users are
asked by their likes in the request, so a bundle without users answers the same.
"""

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np
from catalogues import READERS, describe_likes, read_catalogue

from kgrec.config import PrivateConfig, TrainConfig
from kgrec.evaluate.baseline_scorers import Popularity
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.terminal import open_console, to_rich_table
from kgrec.training.pipeline import fit_model
from kgrec.training.private_model import fit_private_model, hide_users
from kgrec.training.vectors import Catalogue

EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
SLICES = ("warm", "cold_users_k1", "cold_users_k3", "cold_users_k5", "cold_users_k10", "cold_items")

Figures = dict[tuple[str, str], list[tuple[float, float]]]


def measure(name: str, seed: int, epsilons: Sequence[float], *, public: bool, figures: Figures) -> None:
    """Adds R@20 and N@20 of every scorer on every slice to `figures`, by (scorer, slice)."""
    split = read_catalogue(name, seed=seed)
    likes, data, schema = split.train, split.graph.data, split.graph.schema
    print(f"{name}, seed {seed}: {describe_likes(likes)}", flush=True)
    counts = likes.counts
    _judge("popularity", Popularity(counts.astype(np.float32)), split.slices, figures)
    config = TrainConfig(seed=seed)
    if public:
        started = time.perf_counter()
        model, _ = fit_model(data, schema, likes, config)
        print(f"public: trained in {time.perf_counter() - started:.0f} s", flush=True)
        _judge("public", model, split.slices, figures)
        del model
    hidden = hide_users(data, schema)
    links, user_links = build_item_links(hidden, schema), build_user_links(hidden, schema)
    for epsilon in epsilons:
        started = time.perf_counter()
        # a budget without a limit is no setting of a training, so it is not validated
        private = PrivateConfig(epsilon=1).model_copy(update={"epsilon": epsilon})
        own = config.model_copy(update={"private": private})
        catalogue = Catalogue(hidden, schema, links, user_links, own, "cpu")
        model, choices = fit_private_model(catalogue, likes.to_matrix(), rng=np.random.default_rng(seed))
        report = choices.privacy
        assert report is not None
        print(
            f"epsilon {epsilon:g}: trained in {time.perf_counter() - started:.1f} s, noise {report.counts_noise:.3g} "
            f"in counts and {report.gram_noise:.3g} in pairs, {report.n_selected} items, {report.rank} directions",
            flush=True,
        )
        _judge(f"epsilon {epsilon:g}", model, split.slices, figures)


def _judge(title: str, scorer: Scorer, slices: Sequence[Slice], figures: Figures) -> None:
    for slice_ in slices:
        if slice_.name in SLICES:
            found = evaluate_slice(scorer, slice_)
            pair = (float(found.per_user("recall").mean()), float(found.per_user("ndcg").mean()))
            figures[title, slice_.name].append(pair)


def print_figures(name: str, figures: Figures) -> None:
    """Prints R@20/N@20 of every scorer on every slice; with seeds, means and deviations of R@20 over them."""
    rows = []
    for title in dict.fromkeys(scorer for scorer, _ in figures):
        row = [title]
        for slice_ in SLICES:
            pairs = figures.get((title, slice_), [])
            recalls, ndcgs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            spread = f" ± {stdev(recalls):.3f}" if len(pairs) > 1 else ""
            row.append(f"{mean(recalls):.3f}{spread} / {mean(ndcgs):.3f}" if pairs else "")
        rows.append(tuple(row))
    open_console().print(to_rich_table(f"{name}: R@20 / N@20", ("", *SLICES), rows))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(READERS), metavar="CATALOGUE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--epsilons", nargs="+", type=float, default=list(EPSILONS))
    parser.add_argument("--no-public", action="store_true", help="leave out the public model, which takes longest")
    given = parser.parse_args()
    for name in given.names:
        figures: Figures = defaultdict(list)
        for seed in given.seeds:
            measure(name, seed, given.epsilons, public=not given.no_public, figures=figures)
        print_figures(name, figures)


if __name__ == "__main__":
    main()
