"""Trains one model of RecBole 1.2.1 on the data that peers.py wrote; peers.py runs it in RecBole's environment.

    python recbole_run.py LightGCN DATA_DIR OUT_DIR --minutes 30 --threads 1

RecBole is used unchanged. Stand-ins in `sys.modules` replace imports that can no longer be installed: the one function
of torch_scatter that KGIN calls, and the few of dgl, under their old names, that KGAT calls.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from torch import Tensor

BLOCK_USERS, N_SINGLE, N_TIMES = 512, 300, 3
SETTINGS = {
    "embedding_size": 64,
    "eval_batch_size": 2_000_000,  # user-item pairs in a block
    "epochs": 1000,  # early stopping or the time limit ends training
    "eval_step": 1,
    "stopping_step": 10,
    "metrics": ["Recall"],
    "topk": [10],
    "valid_metric": "Recall@10",
}  # RecBole's own, except the metric, the number of epochs and the block size
TRIALS = (
    {"train_batch_size": 2048, "learning_rate": 0.001},  # RecBole's defaults
    {"train_batch_size": 4096, "learning_rate": 0.002},
    {"train_batch_size": 4096, "learning_rate": 0.005},
)  # chosen on the valid part; each trains for TRIAL_SHARE of the time, which is not counted as training
TRIAL_SHARE = 0.1
VECTORS = ("restore_user_e", "restore_item_e", "restore_entity_e")  # attributes of a model that hold its final vectors


class TimeUpError(Exception):
    """The time given to training is over."""


# stand-ins for packages that can no longer be installed


def scatter_mean(src: Tensor, index: Tensor, dim: int, dim_size: int) -> Tensor:
    """The function of torch_scatter: the mean of the rows of one index, 0 where there are none."""
    sums = src.new_zeros((dim_size, *src.shape[1:])).index_add(dim, index, src)
    return sums / torch.bincount(index, minlength=dim_size).clamp(min=1)[:, None]


class Graph:
    """The part of a dgl graph that KGAT uses: edges with data, a filter of edges, and the adjacency matrix."""

    def __init__(self, ends: tuple[Tensor, Tensor], n_nodes: int | None = None) -> None:
        self.sources, self.targets = ends
        self.n_nodes = int(torch.cat(ends).max()) + 1 if n_nodes is None else n_nodes
        self.edata: dict[str, Tensor] = {}

    def filter_edges(self, condition: Callable[[Any], Tensor]) -> Tensor:
        """The indices of the edges for which the condition is true."""
        return torch.nonzero(condition(types.SimpleNamespace(data=self.edata))).flatten()

    def adjacency_matrix(self, transpose: bool, scipy_fmt: str) -> coo_matrix:
        """(n_nodes, n_nodes): 1 from source to target, like dgl without `transpose`."""
        assert not transpose and scipy_fmt == "coo"
        ones = np.ones(len(self.sources), np.float32)
        return coo_matrix((ones, (self.sources.numpy(), self.targets.numpy())), shape=(self.n_nodes, self.n_nodes))


def edge_subgraph(graph: Graph, edges: Tensor, preserve_nodes: bool) -> Graph:
    """The function of dgl: keeps some of the edges and all nodes."""
    assert preserve_nodes
    return Graph((graph.sources[edges], graph.targets[edges]), graph.n_nodes)


def stand_in() -> None:
    """Registers the stand-ins under the names that RecBole's models import."""
    for name, members in {
        "torch_scatter": {"scatter_mean": scatter_mean},
        "dgl": {"graph": Graph, "edge_subgraph": edge_subgraph},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module


# data in RecBole's format


def write_atomic_files(data_dir: Path, folder: Path) -> None:
    """Writes train and valid likes, the knowledge graph and the items' links to it in RecBole's format.

    RecBole ranks the users and items named in any of its three parts. It never sees the test part: a stand-in names
    every user with some item and every item with some user, so that all are ranked.
    """
    folder.mkdir()
    users, items, links = (np.load(data_dir / f"{name}.npy") for name in ("users", "items", "links"))
    n_named = max(len(users), len(items))
    named = np.stack([np.resize(users, n_named), np.resize(items, n_named)], axis=1)
    parts = {"train": np.load(data_dir / "train.npy"), "valid": np.load(data_dir / "valid.npy"), "test": named}
    for name, pairs in parts.items():
        _write(folder / f"data.{name}.inter", "user_id:token\titem_id:token", pairs.tolist())
    ends = ((f"i{item}", f"r{relation}", f"e{entity}") for item, relation, entity in links.tolist())
    _write(folder / "data.kg", "head_id:token\trelation_id:token\ttail_id:token", ends)
    _write(folder / "data.link", "item_id:token\tentity_id:token", ((item, f"i{item}") for item in items.tolist()))


def _write(path: Path, header: str, rows: Iterable[Iterable[object]]) -> None:
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n")


# training and ranking


def train(
    model_name: str, folder: Path, minutes: float, threads: int, settings: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Trains until RecBole's early stopping or until the processor time per thread is used up.

    Returns:
        The model with the vectors of its best epoch, its data set, and the figures.
    """
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    asked = settings | {
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {
            "inter": ["user_id", "item_id"],
            "kg": ["head_id", "relation_id", "tail_id"],
            "link": ["item_id", "entity_id"],
        },
        "use_gpu": False,
        "state": "WARNING",
    }
    config = Config(model=model_name, dataset="data", config_dict=asked)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, valid_data, _ = data_preparation(config, dataset)
    start, start_cpu = time.perf_counter(), time.process_time()
    model = get_model(model_name)(config, train_data._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    epochs: list[dict[str, float]] = []
    vectors: dict[str, Tensor] = {}

    def on_epoch(epoch: int, recall: float) -> None:
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        if recall > max((one["valid_recall"] for one in epochs), default=-1.0):
            vectors.update({name: getattr(model, name) for name in VECTORS if hasattr(model, name)})
        epochs.append({"epoch": epoch + 1, "wall_s": wall_s, "cpu_s": cpu_s, "valid_recall": float(recall)})
        reached = f"{wall_s:.0f} s, {cpu_s:.0f} s of processor time, valid Recall@10 {recall:.4f}"
        print(f"{model_name} epoch {epoch + 1}: {reached}", file=sys.stderr, flush=True)
        if cpu_s / threads > minutes * 60:
            raise TimeUpError

    try:
        trainer.fit(train_data, valid_data, verbose=False, saved=False, callback_fn=on_epoch)
        stopped = "its early stopping"
    except TimeUpError:
        stopped = f"{minutes:g} minutes of processor time per thread"
    trainer.tensorboard.close()
    best = max(epochs, key=lambda one: one["valid_recall"])
    for name, kept in vectors.items():
        setattr(model, name, kept)
    return (
        model.eval(),
        train_data._dataset,
        {
            "train_s": epochs[-1]["wall_s"],
            "train_cpu_s": epochs[-1]["cpu_s"],
            "best_s": best["wall_s"],
            "best_cpu_s": best["cpu_s"],
            "stopped_by": stopped,
            "settings": {name: config[name] for name in sorted({*settings, *_own_settings(model_name)})},
            "epochs": epochs,
        },
    )


def _own_settings(model_name: str) -> Iterable[str]:
    """The names of the model's own settings: those with a default in RecBole."""
    import recbole

    path = Path(recbole.__file__).parent / "properties" / "model" / f"{model_name}.yaml"
    return [line.split(":")[0] for line in path.read_text().splitlines() if line[:1].isalpha()]


class Ranker:
    """Ranks items by a trained model; users are positions in users.npy."""

    def __init__(self, model: Any, dataset: Any, data_dir: Path) -> None:
        from recbole.data.interaction import Interaction

        self.model, self.to_interaction = model, Interaction
        users, items = np.load(data_dir / "users.npy"), np.load(data_dir / "items.npy")
        self.users = torch.from_numpy(dataset.token2id("user_id", users.astype(str)))
        self.items = dataset.token2id("item_id", items.astype(str))
        self.ids = np.zeros(dataset.item_num, np.int64)
        self.ids[self.items] = items
        self.user_places = {user: place for place, user in enumerate(users.tolist())}
        self.item_tokens = dict(zip(items.tolist(), self.items.tolist(), strict=True))

    def to_mask(self, *parts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The items to leave out, by user, from (user, item) pairs, (n, 2)."""
        mask: list[list[int]] = [[0] for _ in range(len(self.users))]  # 0 is RecBole's padding
        for user, item in np.concatenate(parts).tolist():
            mask[self.user_places[user]].append(self.item_tokens[item])
        return [np.array(rows) for rows in mask]

    @torch.no_grad()
    def rank(self, places: NDArray[np.int64], mask: list[NDArray[np.int64]], k: int) -> NDArray[np.int64]:
        """(n, k) ids, best first."""
        scores = self.model.full_sort_predict(self.to_interaction({"user_id": self.users[places]}))
        scores = scores.view(len(places), -1)
        rows = np.repeat(np.arange(len(places)), [len(mask[place]) for place in places])
        scores[torch.from_numpy(rows), torch.from_numpy(np.concatenate([mask[place] for place in places]))] = -np.inf
        return self.ids[scores.topk(k, dim=1).indices.numpy()]

    def rank_all(self, mask: list[NDArray[np.int64]], k: int) -> NDArray[np.int64]:
        """(n_users, k) ids, best first."""
        places = np.arange(len(self.users))
        blocks = [places[start : start + BLOCK_USERS] for start in range(0, len(places), BLOCK_USERS)]
        return np.concatenate([self.rank(block, mask, k) for block in blocks])


def read_peak_mb() -> float:
    """The peak memory of this process; getrusage may report that of its parent."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["LightGCN", "KGAT", "KGIN"])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--k", type=int, required=True)
    options = parser.parse_args()
    data_dir, out_dir = options.data_dir.resolve(), options.out_dir.resolve()
    warnings.simplefilter("ignore")  # RecBole calls deprecated names
    torch.set_num_threads(options.threads)
    stand_in()
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):  # and writes logs to the current folder
        folder = Path(name)
        write_atomic_files(data_dir, folder / "data")
        start, start_cpu = time.perf_counter(), time.process_time()
        tried = []
        for trial in TRIALS:
            settings = SETTINGS | trial
            *_, found = train(options.model, folder, options.minutes * TRIAL_SHARE, options.threads, settings)
            tried.append(trial | {"valid_recall": max(one["valid_recall"] for one in found["epochs"])})
        chosen = TRIALS[max(range(len(TRIALS)), key=lambda place: tried[place]["valid_recall"])]
        tuning_s, tuning_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"{options.model}: chosen {chosen}", file=sys.stderr, flush=True)
        model, dataset, figures = train(options.model, folder, options.minutes, options.threads, SETTINGS | chosen)
    figures |= {"tuning_s": tuning_s, "tuning_cpu_s": tuning_cpu_s, "tried": tried}
    figures["peak_mb"] = read_peak_mb()
    ranker = Ranker(model, dataset, data_dir)
    train_part, valid_part = np.load(data_dir / "train.npy"), np.load(data_dir / "valid.npy")
    mask = ranker.to_mask(train_part)
    taken = []
    for _ in range(N_TIMES):
        start, start_cpu = time.perf_counter(), time.process_time()
        ranker.rank_all(mask, options.k)
        taken.append((time.perf_counter() - start, time.process_time() - start_cpu))
    figures["score_all_s"], figures["score_all_cpu_s"] = map(median, zip(*taken, strict=True))
    start = time.perf_counter()
    singles = np.arange(min(N_SINGLE, len(ranker.users)))
    for place in singles:
        ranker.rank(singles[place : place + 1], mask, options.k)
    figures["score_one_s"] = (time.perf_counter() - start) / len(singles)
    np.save(out_dir / "top.npy", ranker.rank_all(ranker.to_mask(train_part, valid_part), options.k))
    figures["versions"] = {name: version(name) for name in ("recbole", "torch", "numpy", "scipy")}
    (out_dir / "run.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
