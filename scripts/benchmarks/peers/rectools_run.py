"""Trains SASRec of RecTools on sequences and ranks the last item of each user among all items.

    python rectools_run.py ../shared/data/beauty/interactions.parquet runs/rectools.json --minutes 30 --threads 1

It runs in an environment of its own: pip install "rectools[torch]==0.19.0" "pyarrow<22". The file has the columns user,
item and place. Each user's last item is the test, the one before it is for validation, and the rest is trained on;
items that a user has are left out. Training stops after `--patience` epochs without a better NDCG@10 on validation, or
when the processor time per thread is used up. Only training counts as its time. The test is ranked by the best epoch.

All settings have RecTools' softmax over all items: "default" are its own (256 wide, 100 likes), "small" is 64 wide with
50 likes, "short" the same with 20 likes, which takes far less time where few users have more.
"""

import argparse
import json
import logging
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

K, SEED = 10, 0
SMALL = {"n_factors": 64, "n_heads": 2, "session_max_len": 50, "dropout_rate": 0.2, "lr": 1e-3}
SETTINGS: dict[str, dict[str, Any]] = {"default": {}, "small": SMALL, "short": SMALL | {"session_max_len": 20}}


def read_sequences(path: Path) -> pd.DataFrame:
    """The interactions in order, with each one's place from the user's last, 0 for the last."""
    rows = pd.read_parquet(path, columns=["user", "item", "place"]).sort_values(["user", "place"])
    named = pd.DataFrame({Columns.User: rows["user"], Columns.Item: rows["item"], Columns.Weight: 1.0})
    # RecTools orders by date: one day for each place.
    named[Columns.Datetime] = pd.Timestamp("2000-01-01") + pd.to_timedelta(rows["place"], "D")
    named["from_last"] = rows.groupby("user").cumcount(ascending=False)
    return named


def to_dataset(rows: pd.DataFrame) -> Dataset:
    """RecTools' data set."""
    return Dataset.construct(rows.drop(columns="from_last"))


def rank(model: SASRecModel, known: Dataset, targets: pd.Series) -> NDArray[np.int64]:
    """The rank of each user's target from 0, K if it is not among the first K.

    Args:
        model: the trained model.
        known: the users' likes, which are left out.
        targets: user -> item.
    """
    found = model.recommend(targets.index.to_numpy(), known, k=K, filter_viewed=True, on_unsupported_targets="ignore")
    hits = found[found[Columns.Item].to_numpy() == targets.loc[found[Columns.User]].to_numpy()]
    ranks = pd.Series(K, index=targets.index)
    ranks.loc[hits[Columns.User]] = hits[Columns.Rank].to_numpy() - 1
    return ranks.to_numpy()


def judge(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Recall and NDCG of lists of K items."""
    is_hit = ranks < K
    return {"recall@10": float(is_hit.mean()), "ndcg@10": float(np.where(is_hit, 1 / np.log2(ranks + 2.0), 0).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interactions", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--settings", choices=list(SETTINGS), default="small")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    seed_everything(SEED)
    rows = read_sequences(options.interactions)
    train = to_dataset(rows[rows["from_last"] > 1])
    with_valid = to_dataset(rows[rows["from_last"] > 0])
    last_two = (rows[rows["from_last"] == place].set_index(Columns.User)[Columns.Item] for place in (1, 0))
    valid, test = last_two
    model = SASRecModel(**SETTINGS[options.settings], recommend_n_threads=options.threads)
    train_s = train_cpu_s = 0.0
    epochs: list[dict[str, float]] = []
    best: dict[str, Any] = {"valid": {"ndcg@10": -1.0}}
    stopped = f"{options.epochs} epochs"
    for epoch in range(1, options.epochs + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        model.fit_partial(train, min_epochs=1, max_epochs=1)
        train_s, train_cpu_s = train_s + time.perf_counter() - start, train_cpu_s + time.process_time() - start_cpu
        found = judge(rank(model, train, valid))
        epochs.append({"epoch": epoch, "wall_s": train_s, "cpu_s": train_cpu_s, **found})
        print(epochs[-1], flush=True)
        if found["ndcg@10"] > best["valid"]["ndcg@10"]:
            tested = judge(rank(model, with_valid, test))
            best = {"epoch": epoch, "best_s": train_s, "best_cpu_s": train_cpu_s, "valid": found, "test": tested}
        if epoch - best["epoch"] >= options.patience:
            stopped = f"{options.patience} epochs without a better one"
            break
        if train_cpu_s / options.threads > options.minutes * 60:
            stopped = f"{options.minutes:g} minutes of processor time per thread"
            break
    figures = {
        "model": "SASRec (RecTools)",
        "settings": SETTINGS[options.settings],
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        **best,
        "stopped_by": stopped,
        "epochs": epochs,
        "versions": {name: version(name) for name in ("rectools", "torch", "pytorch-lightning", "numpy", "pandas")},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
