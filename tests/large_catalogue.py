"""Serves 100,000 items to 100,000 users within 3 GB of address space.

    python tests/large_catalogue.py make BUNDLE && python tests/large_catalogue.py serve BUNDLE

The catalogue is a small one, trained, and copied many times: every copy has its own items, users, likes and links.
"""

import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

LIMIT = 3 * 2**30
COPIES, N_ITEMS, N_USERS, N_MAKERS, N_KINDS = 200, 500, 500, 40, 5
SCHEMA = """
name = "large"
[nodes.item]
label = "Item"
key = "id"
name = "title"
text = ["title"]
[nodes.maker]
label = "Maker"
key = "id"
name = "title"
[nodes.user]
label = "User"
key = "id"
[edges.made_by]
source = "item"
type = "MADE_BY"
target = "maker"
[edges.liked]
source = "user"
type = "LIKED"
target = "item"
[interaction]
edge = "liked"
"""

if __name__ == "__main__" and sys.argv[1] == "serve":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))  # before the imports, which count too

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_array

from graph_schema import CatalogueSchema, GraphTables
from kgrec.bundle import Bundle, save_bundle
from kgrec.config import BackboneConfig, TrainConfig
from kgrec.ids import IdMap
from kgrec.publish import find_neighbours, find_recommendations
from kgrec.recommend import NewItem, Recommender
from kgrec.text.encoder import OnTexts


class RandomEncoder:
    """Texts as random vectors."""

    name = revision = computation = "random"
    dim = 128

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.dim, np.float32) for text in texts]
        vectors = np.array(rows, np.float32).reshape(-1, self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def train_small() -> Bundle:
    """A catalogue of several kinds; each user likes three items of one kind."""
    schema, rng = CatalogueSchema.parse(SCHEMA), np.random.default_rng(0)
    sizes = {"i": N_ITEMS, "u": N_USERS, "m": N_MAKERS}
    items, users, makers = ([f"{kind}{row}" for row in range(n)] for kind, n in sizes.items())
    likes = {
        (user, items[int(rng.integers(N_ITEMS // N_KINDS)) * N_KINDS + row % N_KINDS])
        for row, user in enumerate(users) for _ in range(3)
    }  # fmt: skip
    made_by = [(item, makers[row % N_MAKERS]) for row, item in enumerate(items)]

    def to_table(into: pa.Schema, *columns: Sequence[object]) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, into, strict=True)], into)

    nodes = {
        "item": to_table(schema.nodes["item"].arrow_schema, items, [f"Item {item}" for item in items]),
        "maker": to_table(schema.nodes["maker"].arrow_schema, makers, makers),
        "user": to_table(schema.nodes["user"].arrow_schema, users),
    }
    edges = {
        "made_by": to_table(schema.edges["made_by"].arrow_schema, *zip(*made_by, strict=True)),
        "liked": to_table(schema.edges["liked"].arrow_schema, *zip(*sorted(likes), strict=True)),
    }
    config = TrainConfig(backbone=BackboneConfig(alphas=(), regularisations=(), epochs=3))
    from kgrec.training.train_bundle import train_bundle  # which the serving process does not need

    with tempfile.TemporaryDirectory() as folder:
        tables = GraphTables(schema, nodes, edges)
        return train_bundle(tables, config, RandomEncoder(), Path(folder), trained_at=0)


def copy_catalogue(bundle: Bundle, times: int) -> Bundle:
    """The bundle of `times` catalogues side by side; the makers are shared."""
    n_items, n_users = len(bundle.items), len(bundle.users)
    ids = {
        name: IdMap(tuple(f"{id_}-{copy}" for copy in range(times) for id_ in bundle.ids[name].ids))
        for name in ("item", "user")
    }
    offsets = np.repeat(np.arange(times) * n_items, bundle.edges["made_by"].shape[1])
    made_by = np.tile(bundle.edges["made_by"], (1, times)) + np.stack([offsets, np.zeros_like(offsets)])
    return replace(
        bundle,
        ids={**bundle.ids, **ids},
        names={**bundle.names, "item": list(bundle.names["item"]) * times, "user": [None] * (n_users * times)},
        edges={"made_by": made_by},
        user_text=torch.zeros((n_users * times, 0)),
        model=_copy(bundle.model, n_items, times, {}),
        liked=_on_diagonal(bundle.liked, times),
        seen=_on_diagonal(bundle.seen, times),
        contents={**bundle.contents, "item": np.tile(bundle.contents["item"], times)},
    )


def _copy(value: Any, n_items: int, times: int, done: dict[int, Any]) -> Any:
    """Repeats the per-item parts of a model `times` times; shared parts stay shared."""
    if id(value) not in done:
        done[id(value)] = _copy_anew(value, n_items, times, done)
    return done[id(value)]


def _copy_anew(value: Any, n_items: int, times: int, done: dict[int, Any]) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        copied = {field.name: _copy(getattr(value, field.name), n_items, times, done) for field in fields(value)}
        return replace(value, **copied)
    if isinstance(value, tuple):
        return tuple(_copy(part, n_items, times, done) for part in value)
    if isinstance(value, csr_array) and value.shape == (n_items, n_items):
        return _on_diagonal(value, times)
    if isinstance(value, csr_array | torch.Tensor | np.ndarray) and value.shape[:1] == (n_items,):
        rows = np.tile(np.arange(n_items), times)
        return value[torch.from_numpy(rows)] if isinstance(value, torch.Tensor) else value[rows]
    return value


def _on_diagonal(matrix: csr_array, times: int) -> csr_array:
    whole = csr_array(block_diag([matrix] * times, format="csr"))
    whole.indices, whole.indptr = whole.indices.astype(np.int32), whole.indptr.astype(np.int32)
    return whole


def serve(recommender: Recommender) -> None:
    """Answers every kind of request, makes every kind of change, and exports as publishing does."""
    items, users = recommender.bundle.items.ids, recommender.bundle.users.ids
    assert (len(items), len(users)) == (COPIES * N_ITEMS, COPIES * N_USERS)
    assert len(recommender.recommend(users[5], k=10, explain=True)) == 10
    assert len(recommender.recommend(likes=items[:3], text="Item i7", k=10, explain=True)) == 10
    assert len(recommender.recommend(users[5], k=10, tail=0.5)) == 10
    assert len(recommender.similar(items[0], 10, explain=True)) == 10
    assert recommender.similar_users(users[0], 10).num_rows == 10
    assert recommender.recommend_many(users[:300], k=10, explain=True).num_rows == 3000
    assert recommender.recommend_many(users[-100:], k=10, tail=-0.5).num_rows == 1000

    maker = recommender.bundle.ids["maker"].ids[0]
    recommender.add_items([NewItem(f"new-{n}", text=f"New {n}", links=[("made_by", maker)]) for n in range(300)])
    clicks = [(f"late-{n}", f"new-{n % 300}") for n in range(1000)]
    recommender.add_interactions(pd.DataFrame(clicks, columns=["user", "item"]))
    assert len(recommender.recommend("late-7", k=10)) == 10
    recommender.forget(["late-7", users[5]])
    assert len(recommender.bundle.users) == len(users) + 1000 - 2

    neighbours = next(find_neighbours(recommender, items, 50))
    assert neighbours.num_rows == 1024 * 50  # a block
    assert sum(table.num_rows for table in find_recommendations(recommender, users[:300], items, 20)) > 290 * 20
    with tempfile.TemporaryDirectory() as folder:
        recommender.save(Path(folder) / "bundle")
        del recommender
        saved = Recommender.load(Path(folder) / "bundle", encoder=RandomEncoder())
        assert len(saved.recommend("late-8", k=10)) == 10


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "make":
        save_bundle(copy_catalogue(train_small(), COPIES), Path(sys.argv[2]))
    else:
        serve(Recommender.load(sys.argv[2], encoder=RandomEncoder()))
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmPeak"))
        sys.stdout.write(f"{int(peak.split()[1]) / 2**20:.2f} GB at most\n")
