"""Compares kgrec with its defaults to the tuned baselines, on every slice of every catalogue.

    python scripts/benchmarks/slice_quality.py ml-latest-small/temporal ml-100k --seeds 1 2 3
    python scripts/benchmarks/slice_quality.py --no-kgrec    # every catalogue, baselines only, without encoding texts

Each catalogue and seed runs in its own process; the catalogues are those of catalogues.py. S@20 is stratified recall,
the objective the geometric mean of R, N and S, overlap the share of items that two users' lists have in common, popular
the number of the first 10 that are among the 20 most liked. Below a slice's rows are the paired differences between
kgrec and the best baseline of each column, with their standard errors. With 1 to 3 likes only the personal baselines
count there (item kNN, EASE, iALS, the blend): popularity wins plain NDCG, but shows everybody the same. There,
validation holds kgrec to a cap: on average 3 of the first 10 may be among the 20 most liked after one like, 4 after
three; another row compares it with the baselines that keep the cap, too. Exits with 1 if kgrec is below the best of all
by more than one standard error.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from catalogues import READERS, SEEDED, describe_likes, read_catalogue
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kgrec.config import GateConfig, SplitConfig, TrainConfig
from kgrec.evaluate.baselines import count_support, is_rival, tune_baselines
from kgrec.questions.slice_results import OBJECTIVE, OBJECTIVE_METRICS, SliceResult, paired_difference
from kgrec.questions.slices import Scorer, evaluate_slice

COLUMNS = (*OBJECTIVE_METRICS, OBJECTIVE)
TITLES = {"recall": "R@20", "ndcg": "N@20", "stratified_recall": "S@20", OBJECTIVE: "objective"}
JUDGED = ("recall", "ndcg", OBJECTIVE)  # metrics in which kgrec must not be below
_BLOCK_SCORES = 2_000_000  # users x items scored at once

Figures = dict[str, Any]


def measure(name: str, seed: int, with_kgrec: bool) -> Figures:
    """Trains on one catalogue, tunes the baselines, and measures every slice.

    Args:
        name: the name of the catalogue.
        seed: the seed of the training, of the baselines' validation, and of the split if the catalogue has none.
        with_kgrec: whether to train kgrec; if not, texts are not encoded.

    Returns:
        The input of `print_figures`, ready for JSON.
    """
    split = read_catalogue(name, texts=with_kgrec, seed=seed)
    likes = split.train
    popularity = np.bincount(likes.items, minlength=likes.shape[1]).astype(np.int64)
    _say(f"{name}, seed {seed}: {describe_likes(likes)}")
    costs: dict[str, float] = {}
    ours: list[Scorer] = []
    if with_kgrec:
        from kgrec.training.pipeline import fit_model

        started, busy = time.perf_counter(), time.process_time()
        model, _ = fit_model(
            split.graph.data, split.graph.schema, likes, TrainConfig(seed=seed), validation=split.validation or None
        )
        costs = {
            "train_s": time.perf_counter() - started,
            "processor_s": time.process_time() - busy,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # the graph and the encoder included
        }
        ours.append(model)
        _say(f"trained in {costs['train_s']:.0f} s")
    started = time.perf_counter()
    baselines = tune_baselines(likes, SplitConfig(), seed, text_vectors=_text_vectors(split.graph))
    costs["baselines_s"] = time.perf_counter() - started
    for scorer, chosen in baselines.chosen.items():
        _say(f"{scorer}: {chosen}")
    block = min(max(_BLOCK_SCORES // likes.shape[1], 1), 512)
    slices: dict[str, Any] = {}
    for slice_ in split.slices:
        results = [
            evaluate_slice(scorer, slice_, block_users=block, popularity=popularity)
            for scorer in (*ours, *baselines.scorers(slice_.name))
        ]
        slices[slice_.name] = {
            "title": slice_.title,
            "n_users": int(results[0].users.size),
            "scorers": {result.scorer: _sum_up(result) for result in results},
            "differences": _compare(results) if ours else {},
            "differences_in_cap": _compare(_keep_cap(results)) if ours else {},
        }
    return {"catalogue": name, "seed": seed, "ours": ours[0].name if ours else None, "costs": costs, "slices": slices}


def _sum_up(result: SliceResult) -> dict[str, float]:
    popular = result.popular_in_first
    return {
        **{metric: float(result.per_user(metric).mean()) for metric in COLUMNS},
        "overlap": result.overlap,
        "popular": 0.0 if popular is None else float(popular.mean()),
    }


def _keep_cap(results: Sequence[SliceResult]) -> list[SliceResult]:
    """Ours, and the others that keep the slice's cap on popular items; empty without a cap."""
    size = count_support(results[0].slice_name)
    cap = GateConfig().most_popular.get(size) if size else None
    if cap is None:
        return []
    shown = {one.scorer: one.popular_in_first for one in results}
    return [results[0], *(one for one in results[1:] if float(np.mean(shown[one.scorer])) <= cap)]


def _compare(results: Sequence[SliceResult]) -> dict[str, Any]:
    """Compares ours, the first, with the best rival of each column."""
    rivals = [result for result in results[1:] if is_rival(result.slice_name, result.scorer)]
    if not rivals:
        return {}
    ours, found = results[0], {}
    for metric in COLUMNS:
        best = max(rivals, key=lambda result: float(result.per_user(metric).mean()))
        difference, error = paired_difference(ours, best, metric)
        found[metric] = {"against": best.scorer, "difference": difference, "error": error}
    return found


def _text_vectors(graph: Any) -> NDArray[np.float32] | None:
    items = graph.data[graph.schema.item_type]
    if "x" not in items:
        return None
    vectors: NDArray[np.float32] = np.where(items.has_text.numpy()[:, None], items.x.numpy(), np.float32(0))
    return vectors


def find_misses(runs: Sequence[Figures]) -> list[str]:
    """Where kgrec is below the best rival by more than one paired standard error, averaged over the seeds."""
    misses = []
    for slice_name in runs[0]["slices"]:
        for metric in JUDGED:
            found = [run["slices"][slice_name]["differences"].get(metric) for run in runs]
            if None in found:
                continue
            difference, error = _average(found)
            if difference < -error:
                against = "/".join(dict.fromkeys(one["against"] for one in found))
                misses.append(f"{slice_name} {TITLES[metric]}: {difference:+.4f} ± {error:.4f} against {against}")
    return misses


def _average(found: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The mean difference over seeds; its error is that of one seed, because all seeds ask mostly the same users."""
    return mean(one["difference"] for one in found), mean(one["error"] for one in found)


def print_figures(runs: Sequence[Figures], console: Console) -> None:
    """Prints one catalogue, averaged over its seeds."""
    first = runs[0]
    costs = {name: mean(run["costs"][name] for run in runs) for name in first["costs"]}
    spent = (
        f": trained in {costs['train_s']:.0f} s, {costs['processor_s']:.0f} s of processor, {costs['peak_mb']:,.0f} MB"
        if "train_s" in costs
        else ""
    )
    title = f"{first['catalogue']}{spent}; baselines tuned in {costs['baselines_s']:.0f} s; {len(runs)} seed(s)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in (*(TITLES[metric] for metric in COLUMNS), "overlap", "popular"):
        table.add_column(name, justify="right", no_wrap=True)
    for slice_name, about in first["slices"].items():
        found = [run["slices"][slice_name] for run in runs]
        table.add_section()
        table.add_row(Text(f"{slice_name}: {about['title']} ({about['n_users']:,} users)", style="italic"))
        means = {
            scorer: {name: mean(one["scorers"][scorer][name] for one in found) for name in figures}
            for scorer, figures in about["scorers"].items()
        }
        for scorer, figures in means.items():
            cells = []
            for metric in COLUMNS:
                best = figures[metric] == max(other[metric] for other in means.values())
                cells.append(Text(f"{figures[metric]:.4f}", style="bold" if best else ""))
            style = "bold" if scorer == first["ours"] else ""
            overlap, popular = f"{figures['overlap']:.3f}", f"{figures['popular']:.1f}"
            table.add_row(Text(f"  {scorer}", style=style), *cells, overlap, popular)
        for kind, label in (("differences", "  kgrec - best"), ("differences_in_cap", "  kgrec - best in the cap")):
            if not all(one[kind] for one in found):
                continue
            cells = []
            for metric in COLUMNS:
                difference, error = _average([one[kind][metric] for one in found])
                style = "green" if difference > error else "red" if difference < -error else ""
                cells.append(Text(f"{difference:+.4f}±{error:.4f}", style=style))
            table.add_row(Text(label), *cells)
    console.print(table)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "catalogues", nargs="*", metavar="CATALOGUE", help=f"some of {', '.join(READERS)}; by default all"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--no-kgrec", action="store_true", help="measure only the baselines; texts are not encoded")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    unknown = set(options.catalogues) - set(READERS)
    if unknown:
        parser.error(f"no catalogue {', '.join(sorted(unknown))}; expected some of {', '.join(READERS)}")
    console = Console(width=150)
    misses: list[str] = []
    every: list[Figures] = []
    for name in options.catalogues or READERS:
        seeds = options.seeds if not options.no_kgrec or name in SEEDED else options.seeds[:1]
        runs = []
        for seed in seeds:
            # A process for each run, so that each has its own peak of memory.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                runs.append(pool.submit(measure, name, seed, not options.no_kgrec).result())
        print_figures(runs, console)
        misses += [f"{name} {miss}" for miss in find_misses(runs)]
        every += runs
        if options.out is not None:
            options.out.write_text(json.dumps({"runs": every, "misses": misses}, indent=1) + "\n")
    for miss in misses:
        console.print(f"below: {miss}", style="red")
    sys.exit(bool(misses))


if __name__ == "__main__":
    main()
