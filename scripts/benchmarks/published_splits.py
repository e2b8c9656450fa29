"""Reads the published splits ml-1m/kgrs_split, lastfm-kg and citeulike-a as catalogues, training likes and questions.

Models see the train part only. The relevant likes are the test part (or, during development, the validation part); the
other held-out likes of a user are neither recommended nor relevant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ml1m import read_ml1m
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import SOURCE, TARGET, CatalogueSchema
from graph_schema.checks.staging import build_tables
from kgrec import cache_dir
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import CatalogueGraph, build_graph

DATA_DIR = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class PublishedSplit:
    """A catalogue with its training likes and the questions of its split.

    Attributes:
        graph: the catalogue; its interactions are the train part.
        train: the likes of the train part.
        slices: slices of the test likes.
        validation: slices of the validation part, by the names of `Split`.
    """

    graph: CatalogueGraph
    train: Likes
    slices: list[Slice]
    validation: dict[str, Slice]


def read_kgrs(data_dir: Path = DATA_DIR, part: str = "test") -> PublishedSplit:
    """Reads `ml-1m/kgrs_split`: the movies, their texts and links of ml-1m, the likes of the split."""
    parts = {name: _pairs(data_dir / "ml-1m" / "kgrs_split" / f"{name}.parquet") for name in ("train", "valid", "test")}
    whole = read_ml1m(data_dir / "ml-1m")
    likes = parts["train"].append_column("rating", pa.array(np.full(len(parts["train"]), 5.0)))
    tables = build_tables(whole.schema, dict(whole.nodes), {**whole.edges, whole.schema.interaction.edge: likes})
    graph = build_graph(tables, load_encoder(), cache_dir())
    found = {name: _to_matrix(graph, pairs) for name, pairs in parts.items()}
    return _split_warm("kgrs", graph, found, part)


def read_lastfm(data_dir: Path = DATA_DIR, part: str = "test") -> PublishedSplit:
    """Reads `lastfm-kg`: artists with their names, linked to Freebase entities without names."""
    folder = data_dir / "lastfm-kg"
    parts = {name: _pairs(folder / f"{name}.parquet") for name in ("train", "valid", "test")}
    link, artists, links = (pq.read_table(folder / f"{name}.parquet") for name in ("link", "artists", "kg"))
    names = dict(zip(artists["item"].to_pylist(), artists["name"].to_pylist(), strict=True))
    item_of = dict(zip(link["entity"].to_pylist(), link["item"].to_pylist(), strict=True))
    ends: dict[tuple[str, bool, bool], list[tuple[str, str]]] = {}
    for head, relation, tail in zip(*(links[name].to_pylist() for name in ("head", "relation", "tail")), strict=True):
        if head in item_of or tail in item_of:
            key = relation.replace(".", "_"), head in item_of, tail in item_of
            ends.setdefault(key, []).append((item_of.get(head, head), item_of.get(tail, tail)))
    edges, lines = {"listened": parts["train"]}, ""
    for (relation, from_item, to_item), pairs in ends.items():
        name = f"{relation}_of" if not from_item else f"{relation}_artist" if to_item else relation
        sides = ("artist" if from_item else "entity", "artist" if to_item else "entity")
        edges[name] = pa.table({SOURCE: [a for a, _ in pairs], TARGET: [b for _, b in pairs]})
        lines += f'[edges.{name}]\nsource = "{sides[0]}"\ntype = "{name.upper()}"\ntarget = "{sides[1]}"\n'
    schema = _schema(
        "lastfm-kg", "artist", "name", "listened", '[nodes.entity]\nlabel = "Entity"\nkey = "id"\n' + lines
    )
    far = [
        edges[n][s]
        for n, e in schema.graph_edges.items()
        for s, t in ((SOURCE, e.source), (TARGET, e.target))
        if t == "entity"
    ]
    items = sorted(item_of.values())
    nodes = {
        "artist": pa.table({"id": items, "name": [names.get(item) for item in items]}),
        "entity": pa.table({"id": pc.unique(pa.chunked_array([c for end in far for c in end.chunks]))}),
        "user": _users(parts.values()),
    }
    graph = build_graph(build_tables(schema, nodes, edges), load_encoder(), cache_dir())
    found = {name: _to_matrix(graph, pairs) for name, pairs in parts.items()}
    return _split_warm("lastfm", graph, found, part)


def read_citeulike(data_dir: Path = DATA_DIR, part: str = "test", *, tags: bool = False) -> PublishedSplit:
    """Reads `citeulike-a`: papers with titles, citations and, on request, tags, which a new paper does not have."""
    folder = data_dir / "citeulike-a"
    names = ("warm_train", "warm_valid", "warm_test", "cold_valid", "cold_test")
    parts = {name: _pairs(folder / f"{name}.parquet") for name in names}
    titles, cites = (pq.read_table(folder / f"{name}.parquet") for name in ("titles", "citations"))
    extra = '[edges.cites]\nsource = "paper"\ntype = "CITES"\ntarget = "paper"\n'
    edges = {"collected": parts["warm_train"], "cites": _as_edges(cites, "item", "cites")}
    nodes = {
        "paper": pa.table({"id": titles["item"].cast(pa.string()), "name": titles["title"].cast(pa.string())}),
        "user": _users(parts.values()),
    }
    if tags:
        tagged = _as_edges(pq.read_table(folder / "tags.parquet"), "item", "tag")
        extra += '[nodes.tag]\nlabel = "Tag"\nkey = "id"\nname = "id"\ntext = ["id"]\n'
        extra += '[edges.has_tag]\nsource = "paper"\ntype = "HAS_TAG"\ntarget = "tag"\n'
        edges["has_tag"], nodes["tag"] = tagged, pa.table({"id": pc.unique(tagged[TARGET])})
    schema = _schema("citeulike-a", "paper", "name", "collected", extra)
    graph = build_graph(build_tables(schema, nodes, edges), load_encoder(), cache_dir())
    found = {name: _to_matrix(graph, pairs) for name, pairs in parts.items()}
    asked = _ask_citeulike(found, part)
    validation = _ask_citeulike(found, "valid")
    names_of = {"cold": "cold_items", "warm": "warm", "overall": "overall"}
    return PublishedSplit(
        graph, _to_likes(found["warm_train"]), asked, {names_of[slice_.name]: slice_ for slice_ in validation}
    )


READERS = {"kgrs": read_kgrs, "lastfm": read_lastfm, "citeulike": read_citeulike}


def _split_warm(name: str, graph: CatalogueGraph, found: dict[str, csr_array], part: str) -> PublishedSplit:
    train, valid = found["train"], found["valid"]
    asked = Slice(name, f"{name}, {part}", train, found[part], None, valid if part == "test" else None)
    met = _items_of(train)
    known = csr_array(valid.multiply(met))  # items without training likes are not relevant
    known.eliminate_zeros()
    validation = {"warm": Slice("warm", f"{name}, valid", train, known, met)}
    return PublishedSplit(graph, _to_likes(train), [asked], validation)


def _ask_citeulike(found: dict[str, csr_array], part: str) -> list[Slice]:
    train, other = found["warm_train"], "valid" if part == "test" else "test"
    warm = _items_of(train)
    cold = _items_of(found["cold_valid"]) | _items_of(found["cold_test"])
    seen = found["warm_valid"] if part == "test" else None
    unasked = found[f"cold_{other}"]
    return [
        Slice("cold", f"cold papers, {part}", train, found[f"cold_{part}"], cold, unasked),
        Slice("warm", f"warm papers, {part}", train, found[f"warm_{part}"], warm, seen),
        Slice(
            "overall", f"all papers, {part}", train, found[f"warm_{part}"] + found[f"cold_{part}"], warm | cold,
            unasked if seen is None else csr_array(seen + unasked),
        ),
    ]  # fmt: skip


def _schema(name: str, item: str, text: str, interaction: str, rest: str) -> CatalogueSchema:
    import tomllib

    described = f"""
name = "{name}"
[nodes.{item}]
label = "{item.title()}"
key = "id"
name = "{text}"
text = ["{text}"]
[nodes.user]
label = "User"
key = "id"
[edges.{interaction}]
source = "user"
type = "{interaction.upper()}"
target = "{item}"
{rest}
[interaction]
edge = "{interaction}"
"""
    return CatalogueSchema.model_validate(tomllib.loads(described))


def _pairs(path: Path) -> pa.Table:
    return _as_edges(pq.read_table(path), "user", "item")


def _as_edges(table: pa.Table, source: str, target: str) -> pa.Table:
    return pa.table({SOURCE: table[source].cast(pa.string()), TARGET: table[target].cast(pa.string())})


def _users(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.table({"id": pc.unique(pa.chunked_array([chunk for part in parts for chunk in part[SOURCE].chunks]))})


def _to_matrix(graph: CatalogueGraph, pairs: pa.Table) -> csr_array:
    users, items = (graph.ids[node_type] for node_type in (graph.schema.user_type, graph.schema.item_type))
    rows, columns = users.rows(pairs[SOURCE].to_pylist()), items.rows(pairs[TARGET].to_pylist())
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(users), len(items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _to_likes(train: csr_array) -> Likes:
    pairs = train.tocoo()
    return Likes(pairs.row.astype(np.int64), pairs.col.astype(np.int64), None, train.shape)


def _items_of(likes: csr_array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.bincount(likes.indices, minlength=likes.shape[1]) > 0
    return found
