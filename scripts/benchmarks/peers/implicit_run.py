"""Fits one recommender of `implicit` on the data that peers.py wrote; peers.py runs it in its own environment.

    python implicit_run.py als DATA_DIR OUT_DIR --threads 1 --k 20

Settings are chosen by Recall@10 on the valid part, from a small grid around published values.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

N_SINGLE, N_TIMES, K_VALID, SEED = 300, 3, 10, 0
KINDS = {"BM25": BM25Recommender, "cosine": CosineRecommender, "TF-IDF": TFIDFRecommender}

Settings = dict[str, float | str]


def list_candidates(name: str, threads: int) -> Iterator[tuple[Settings, Callable[[], Any]]]:
    """Settings to try, each with a function that builds the recommender."""
    if name == "als":
        for factors, alpha, regularisation in product((64, 128), (1.0, 3.0, 10.0), (1.0, 10.0, 30.0, 100.0, 300.0)):
            settings: Settings = {"factors": factors, "alpha": alpha, "regularization": regularisation}
            fixed = {"iterations": 15, "num_threads": threads, "random_state": SEED}
            yield settings | fixed, partial(AlternatingLeastSquares, **settings, **fixed)
    else:
        for kind, neighbours in product(KINDS, (5, 10, 20, 50, 100, 200)):
            yield {"kind": kind, "K": neighbours}, partial(KINDS[kind], K=neighbours, num_threads=threads)


def rank_all(model: Any, likes: csr_matrix, k: int) -> NDArray[np.int32]:
    """(n_users, k) item rows, best first, without the likes."""
    return model.recommend(np.arange(likes.shape[0]), likes, N=k, filter_already_liked_items=True)[0]


def drop_pairs(top: NDArray[np.int32], pairs: csr_matrix, k: int) -> NDArray[np.int32]:
    """The first k of each list, without some (user, item) pairs."""
    kept = [row[~np.isin(row, pairs[user].indices)][:k] for user, row in enumerate(top)]
    return np.stack(kept)


def measure_recall(top: NDArray[np.int32], relevant: csr_matrix) -> float:
    """The mean share of relevant items found, over users with relevant items."""
    asked = np.flatnonzero(np.diff(relevant.indptr))
    return float(np.mean([np.isin(relevant[user].indices, top[user]).mean() for user in asked]))


def read_peak_mb() -> float:
    """The peak memory of this process; getrusage may report that of its parent."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["als", "item_knn"])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--k", type=int, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=ParameterWarning)  # about the matrix that its own weighting makes
    users, items = np.load(options.data_dir / "users.npy"), np.load(options.data_dir / "items.npy")

    def read(part: str) -> csr_matrix:
        pairs = np.load(options.data_dir / f"{part}.npy")
        rows, columns = np.searchsorted(users, pairs[:, 0]), np.searchsorted(items, pairs[:, 1])
        return csr_matrix((np.ones(len(pairs), np.float32), (rows, columns)), shape=(len(users), len(items)))

    likes, valid = read("train"), read("valid")
    start, start_cpu = time.perf_counter(), time.process_time()
    tried = []
    for settings, build in list_candidates(options.name, options.threads):
        model = build()
        model.fit(likes, show_progress=False)
        tried.append((measure_recall(rank_all(model, likes, K_VALID), valid), settings, build))
    tuning_s, tuning_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    _, settings, build = max(tried, key=lambda one: one[0])
    start, start_cpu = time.perf_counter(), time.process_time()
    model = build()
    model.fit(likes, show_progress=False)
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak_mb = read_peak_mb()
    taken = []
    for _ in range(N_TIMES):
        start, start_cpu = time.perf_counter(), time.process_time()
        rank_all(model, likes, options.k)
        taken.append((time.perf_counter() - start, time.process_time() - start_cpu))
    score_all_s, score_all_cpu_s = map(median, zip(*taken, strict=True))
    singles = range(min(N_SINGLE, len(users)))
    start = time.perf_counter()
    for user in singles:
        model.recommend(user, likes[user], N=options.k, filter_already_liked_items=True)
    score_one_s = (time.perf_counter() - start) / len(singles)
    most = int(np.diff(valid.indptr).max())
    top = drop_pairs(rank_all(model, likes, options.k + most), valid, options.k)
    np.save(options.out_dir / "top.npy", items[top])
    figures = {
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "best_s": train_s,
        "best_cpu_s": train_cpu_s,
        "tuning_s": tuning_s,
        "tuning_cpu_s": tuning_cpu_s,
        "score_all_s": score_all_s,
        "score_all_cpu_s": score_all_cpu_s,
        "score_one_s": score_one_s,
        "peak_mb": peak_mb,
        "stopped_by": "its fixed number of steps",
        "settings": settings,
        "tried": [settings | {"valid_recall": recall} for recall, settings, _ in tried],
        "versions": {name: version(name) for name in ("implicit", "numpy", "scipy")},
    }
    (options.out_dir / "run.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
