"""Similar items: judges the first 10 of each item by held-out relations, and compares with simple methods.

    python scripts/benchmarks/similar.py --sets beauty ml-100k --lists "Toy Story" "Fargo"

`found` is the share of true neighbours among the first 10 (of 10, or of all if there are fewer): beauty, items viewed
together (`also_viewed`); ml-100k, sequels; ml-1m and ml-latest-small, films by the same director; citeulike-a,
citations either way; lastfm-kg, held-out artists of the users who listen to the item. The relation to predict is left
out of the links. `genres` is the mean Jaccard overlap of genres, with all links; `called` is the number of items in any
list, `likes` their mean number of likes. `hubs` is the share of places that the ten most frequent items take in the
lists of items without likes. Seeds of ml-100k have 20 likes and more, apart from sequels, as in
`../shared/tools/eye.py`.
"""

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ml1m import read_ml1m
from numpy.typing import NDArray
from published_splits import DATA_DIR, PublishedSplit, read_citeulike, read_lastfm
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array, diags_array
from torch_geometric.data import HeteroData

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables, stage_tables
from kgrec import cache_dir
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.graph.node_links import NodeLinks, build_item_links, unit_idf_weights
from kgrec.model.likeness import SOURCES, Likeness, fit_likeness
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import load_encoder
from kgrec.text.node_texts import build_node_texts
from loaders.movielens import open_source

K, LIKED, WELL_LIKED = 10, 4.0, 20
_BLOCK = 1024


@dataclass(frozen=True)
class Judged:
    """A catalogue, and the truth to judge its lists by.

    Attributes:
        names: a name per item.
        likes: (n_users, n_items).
        text: (n_items, dim), zeros without a text.
        links: all links.
        asked: the links without the relations to predict.
        truth: (n_items, n_items) of 1s: the neighbours to find.
        genres: (n_items, n_genres) of 1s, or None.
        seeds: rows of the items whose lists are judged by `genres`, `called` and `likes`.
    """

    names: list[str]
    likes: csr_array
    text: NDArray[np.float32]
    links: NodeLinks
    asked: NodeLinks
    truth: csr_array
    genres: NDArray[np.float32] | None
    seeds: NDArray[np.int64]


def read_beauty() -> Judged:
    folder = DATA_DIR / "beauty"
    items, bought = (pq.read_table(folder / f"{name}.parquet") for name in ("items", "interactions"))
    levels = [
        (item, " > ".join(path.split(" > ")[:depth]))
        for item, paths in zip(items["item"].to_pylist(), items["categories"].to_pylist(), strict=True)
        for path in paths or ()
        for depth in range(1, path.count(" > ") + 2)
    ]
    branded = items.filter(pc.not_equal(pc.fill_null(items["brand"], ""), ""))
    edges = {
        "bought": _edges(bought, "user", "item"),
        "of_brand": _edges(branded, "item", "brand"),
        "in_category": _pairs(sorted(set(levels))),
    }
    schema = _schema("product", ["title"], "bought", {"of_brand": "brand", "in_category": "category"})
    nodes = {"product": pa.table({"id": items["item"].cast(pa.string()), "title": items["title"].cast(pa.string())})}
    data, judged = _read(_build(schema, nodes, edges), "product")
    rows = {name: row for row, name in enumerate(data.item_ids)}
    viewed = pq.read_table(folder / "links.parquet", filters=[("relation", "=", "also_viewed")]).to_pylist()
    pairs = [(rows[link["item"]], rows[link["other"]]) for link in viewed if {link["item"], link["other"]} <= set(rows)]
    return replace(judged, truth=_truth(np.array(pairs).T, len(rows)), seeds=np.arange(len(rows)))


def read_ml100k() -> Judged:
    source = open_source(None, CatalogueSchema.known("movielens-100k"), cache_dir())
    with tempfile.TemporaryDirectory() as folder:
        tables = stage_tables(source, Path(folder), rejects=None).to_tables()
    data, judged = _read(tables, "movie", hidden=("has_sequel",))
    sequels = data.data["movie", "has_sequel", "movie"].edge_index.numpy()
    direct = _truth(np.hstack([sequels, sequels[::-1]]), len(judged.names))
    popularity = judged.likes.sum(axis=0)
    series = (direct + direct @ direct).nonzero()  # the sequel of a sequel, too
    return replace(
        judged, truth=_truth(np.stack(series), len(judged.names)), seeds=np.flatnonzero(popularity >= WELL_LIKED)
    )


def read_ml_1m() -> Judged:
    data, judged = _read(read_ml1m(), "movie", hidden=("directed_by",))
    return replace(judged, truth=_shared(data, "directed_by", len(judged.names)))


def read_small() -> Judged:
    folder = DATA_DIR / "ml-latest-small" / "temporal"
    names = ("items", "interactions", "kg", "tags")
    items, rated, links, tags = (pq.read_table(folder / f"{name}.parquet") for name in names)
    genres = [[name for name in found.split("|") if not name.startswith("(")] for found in items["genres"].to_pylist()]
    ids = items["item"].cast(pa.string())
    edges = {
        "rated": _edges(rated, "user", "item").append_column("rating", rated["rating"]),
        "has_genre": _pairs(
            [(id_, name) for id_, found in zip(ids.to_pylist(), genres, strict=True) for name in found]
        ),
        "has_tag": _edges(tags.set_column(2, "tag", pc.utf8_lower(tags["tag"])), "item", "tag"),
    }
    ends = {"has_genre": "genre", "has_tag": "tag"}
    for relation in pc.unique(links["relation"]).to_pylist():
        edges[f"has_{relation.lower()}"] = _edges(links.filter(pc.field("relation") == relation), "item", "entity")
        ends[f"has_{relation.lower()}"] = "entity"
    described = pa.array([", ".join(found) or None for found in genres], pa.string())
    nodes = {"movie": pa.table({"id": ids, "title": items["title"].cast(pa.string()), "genres": described})}
    schema = _schema("movie", ["title", "genres"], "rated", ends, weight="rating")
    data, judged = _read(_build(schema, nodes, edges), "movie", hidden=("has_director",))
    return replace(judged, truth=_shared(data, "has_director", len(judged.names)))


def read_lastfm_kg() -> Judged:
    judged, asked = _read_split(read_lastfm())
    held_out = asked + read_lastfm(part="valid").slices[0].relevant
    together = csr_array(judged.likes.T @ held_out)
    return replace(judged, truth=_truth(np.stack((together + together.T).nonzero()), len(judged.names)))


def read_citeulike_a() -> Judged:
    split = read_citeulike()
    judged, _ = _read_split(split)
    cites = split.graph.data["paper", "cites", "paper"].edge_index.numpy()
    hidden = _leave_out(judged.links, ("cites",))
    return replace(judged, asked=hidden, truth=_truth(np.hstack([cites, cites[::-1]]), len(judged.names)))


READERS: Mapping[str, Callable[[], Judged]] = {
    "beauty": read_beauty,
    "ml-100k": read_ml100k,
    "ml-1m": read_ml_1m,
    "ml-latest-small": read_small,
    "lastfm-kg": read_lastfm_kg,
    "citeulike-a": read_citeulike_a,
}


def fit(judged: Judged, links: NodeLinks) -> Likeness:
    return fit_likeness(judged.likes, judged.text, links)


def rank(judged: Judged, links: NodeLinks) -> dict[str, NDArray[np.float32] | csr_array]:
    """Method -> vectors, dense or sparse; their inner products rank items."""
    likeness = fit(judged, links)
    popularity = np.maximum(judged.likes.sum(axis=0), 1)
    users = csr_array(diags_array(popularity**-0.5) @ judged.likes.T).astype(np.float32)
    shrunk = csr_array(diags_array((popularity + 10) ** -0.5) @ judged.likes.T).astype(np.float32)
    ways: dict[str, NDArray[np.float32] | csr_array] = {
        "cosine of likes": users,
        "shrunk cosine of likes": shrunk,
        "cosine of texts": judged.text,
        "cosine of links, idf": unit_idf_weights(links.incidence, links.idf),
    }
    ways |= {f"similar, by {source}": likeness.vectors(judged.text, source) for source in SOURCES}
    return {**ways, "similar": likeness.vectors(judged.text)}


def find_first(vectors: NDArray[np.float32] | csr_array, rows: NDArray[np.int64], k: int = K) -> NDArray[np.int64]:
    """(n, k) rows of the first k of each item, without the item itself."""
    found = np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scores = vectors[block] @ vectors.T
        scores = scores if isinstance(scores, np.ndarray) else scores.toarray()
        scores[np.arange(len(block)), block] = -np.inf
        chosen = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, chosen, 1), axis=1, kind="stable")
        found[start : start + _BLOCK] = np.take_along_axis(chosen, order, 1)
    return found


def measure(
    judged: Judged, vectors: NDArray[np.float32] | csr_array, asked: NDArray[np.float32] | csr_array
) -> list[str]:
    """Found, genres, called, likes, hubs.

    Args:
        judged: the catalogue.
        vectors: from all links.
        asked: vectors from the links without the truth.
    """
    popularity = judged.likes.sum(axis=0)
    n_true = np.diff(judged.truth.indptr)
    seeds = np.flatnonzero(n_true)
    every = find_first(vectors, np.arange(len(popularity)))
    first = every[seeds] if asked is vectors else find_first(asked, seeds)
    hits = np.asarray(judged.truth[np.repeat(seeds, K), first.ravel()]).reshape(-1, K).sum(axis=1)
    found = (hits / np.minimum(n_true[seeds], K)).mean()
    lists = every[judged.seeds]
    genres = "" if judged.genres is None else f"{_overlap(judged.genres, judged.seeds, lists):.3f}"
    without = np.flatnonzero(popularity == 0)
    hubs = ""
    if len(without) > WELL_LIKED:
        places = np.bincount(every[without].ravel())
        hubs = f"{np.sort(places)[::-1][:10].sum() / places.sum():.1%}"
    return [f"{found:.3f}", genres, f"{len(np.unique(lists)):,}", f"{popularity[lists].mean():.0f}", hubs]


def agree(vectors: NDArray[np.float32], stored: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
    """The share of the first 10 that stored vectors find, too."""
    pairs = zip(find_first(vectors, rows).tolist(), find_first(stored, rows).tolist(), strict=True)
    return float(np.mean([len(set(one) & set(other)) / K for one, other in pairs]))


def print_lists(console: Console, judged: Judged, vectors: NDArray[np.float32], wanted: Iterable[str]) -> None:
    popularity = judged.likes.sum(axis=0)
    for start in wanted:
        rows = [row for row, name in enumerate(judged.names) if name.startswith(start)][:1]
        for row, found in zip(
            rows, find_first(vectors, np.array(rows, np.int64)).tolist() if rows else [], strict=True
        ):
            names = "; ".join(f"{judged.names[other]} [dim]{popularity[other]:.0f}[/]" for other in found)
            console.print(f"[bold]{judged.names[row]}[/] ({popularity[row]:.0f} likes): {names}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--lists", nargs="*", default=[], help="prefixes of item names; prints their lists")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name in arguments.sets:
        judged = READERS[name]()
        started = time.process_time()
        vectors = fit(judged, judged.links).vectors(judged.text)
        seconds = time.process_time() - started
        whole = rank(judged, judged.links)
        asked = whole if judged.asked is judged.links else rank(judged, judged.asked)
        table = Table("", "found", "genres", "called", "likes", "hubs", title=name, box=box.SIMPLE)
        for way, found in whole.items():
            table.add_row(way, *measure(judged, found, asked[way]))
        console.print(table)
        half = vectors.astype(np.float16).astype(np.float32)
        console.print(
            f"{name}: {len(vectors):,} items x {vectors.shape[1]}, {seconds:.1f} s of processor time; of the first {K} "
            f"half precision finds {agree(vectors, half, judged.seeds):.1%}"
        )
        print_lists(console, judged, vectors, arguments.lists)


@dataclass(frozen=True)
class _Rows:
    """A heterograph with the ids of its items in the order of their rows."""

    data: HeteroData
    item_ids: list[str]


def _read(tables: GraphTables, item: str, hidden: tuple[str, ...] = ()) -> tuple[_Rows, Judged]:
    """Encodes only the items' texts."""
    tables = sort_tables(tables)
    schema, node = tables.schema, tables.schema.nodes[item]
    texts = build_node_texts(tables)[item]
    data, ids = to_hetero(tables)
    known = np.array([text is not None for text in texts])
    vectors = encode_cached(load_encoder(), [text for text in texts if text is not None], cache_dir())
    text = np.zeros((len(texts), vectors.shape[1]), np.float32)
    text[known] = vectors
    edge = data[schema.edge_triple(schema.interaction.edge)]
    ends = edge.edge_index.numpy()
    if "weight" in edge:
        ends = ends[:, edge.weight.numpy() >= LIKED]
    shape = (data[schema.user_type].num_nodes, len(texts))
    links = build_item_links(data, schema)
    names = [name or "" for name in tables.nodes[item][node.name].to_pylist()]
    genres = None
    if "has_genre" in schema.graph_edges:
        genres = _incidence(data[schema.edge_triple("has_genre")].edge_index.numpy(), len(texts)).toarray()
    asked = _leave_out(links, hidden) if hidden else links
    nothing = csr_array((len(texts), len(texts)), dtype=np.float32)
    judged = Judged(names, _ones(ends, shape), text, links, asked, nothing, genres, np.arange(len(texts)))
    return _Rows(data, list(ids[item].ids)), judged


def _read_split(split: PublishedSplit) -> tuple[Judged, csr_array]:
    """The judged catalogue without a truth, and the held-out likes."""
    graph = split.graph
    items = graph.data[graph.schema.item_type]
    text = items.x.numpy() * items.has_text.numpy()[:, None]
    links = build_item_links(graph.data, graph.schema)
    likes = csr_array(split.slices[0].support)
    names = [name or "" for name in graph.names[graph.schema.item_type]]
    nothing = csr_array((len(names), len(names)), dtype=np.float32)
    judged = Judged(names, likes, text, links, links, nothing, None, np.arange(len(names)))
    return judged, split.slices[0].relevant


def _leave_out(links: NodeLinks, hidden: tuple[str, ...]) -> NodeLinks:
    left_out = [place for place, (edge_type, _, _) in enumerate(links.relations) if edge_type in hidden]
    kept = np.flatnonzero(~np.isin(links.relation, left_out))
    incidence = links.incidence[:, kept].tocsr()
    return replace(
        links, relation=links.relation[kept], node=links.node[kept], incidence=incidence, idf=links.idf[kept]
    )


def _overlap(genres: NDArray[np.float32], seeds: NDArray[np.int64], lists: NDArray[np.int64]) -> float:
    own, others = genres[seeds][:, None, :], genres[lists]  # (n, 1, n_genres), (n, k, n_genres)
    return float((np.minimum(own, others).sum(axis=2) / np.maximum(np.maximum(own, others).sum(axis=2), 1)).mean())


def _incidence(ends: NDArray[np.int64], n_items: int) -> csr_array:
    return _ones(ends, (n_items, int(ends[1].max(initial=-1)) + 1))


def _ones(ends: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    matrix = csr_array((np.ones(ends.shape[1], np.float32), (ends[0], ends[1])), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _truth(pairs: NDArray[np.int64], n_items: int) -> csr_array:
    return _ones(pairs[:, pairs[0] != pairs[1]], (n_items, n_items))


def _shared(data: _Rows, relation: str, n_items: int) -> csr_array:
    """(n_items, n_items): which items share a node of a relation."""
    key = next(key for key in data.data.edge_types if key[1] == relation)
    incidence = _incidence(data.data[key].edge_index.numpy(), n_items)
    return _truth(np.stack(csr_array(incidence @ incidence.T).nonzero()), n_items)


def _build(schema: CatalogueSchema, nodes: dict[str, pa.Table], edges: dict[str, pa.Table]) -> GraphTables:
    """Adds the nodes that only edges name."""
    for node_type in schema.nodes:
        if node_type in nodes:
            continue
        ends = [edges[name][SOURCE] for name, edge in schema.edges.items() if edge.source == node_type]
        ends += [edges[name][TARGET] for name, edge in schema.edges.items() if edge.target == node_type]
        ids = pc.unique(pa.chunked_array([chunk for end in ends for chunk in end.chunks], pa.string()))
        nodes[node_type] = pa.table({"id": ids})
    return build_tables(schema, nodes, edges)


def _schema(
    item: str, texts: list[str], interaction: str, ends: Mapping[str, str], weight: str | None = None
) -> CatalogueSchema:
    lines = [f'name = "{item}"', f'[nodes.{item}]\nlabel = "Item"\nkey = "id"\nname = "{texts[0]}"\ntext = {texts}']
    lines += [
        f'[nodes.{name}]\nlabel = "{name.title()}"\nkey = "id"' for name in ("user", *dict.fromkeys(ends.values()))
    ]
    lines += [f'[edges.{interaction}]\nsource = "user"\ntype = "{interaction.upper()}"\ntarget = "{item}"']
    lines += [f'attributes = {{ {weight} = "float" }}'] if weight else []
    lines += [
        f'[edges.{edge}]\nsource = "{item}"\ntype = "{edge.upper()}"\ntarget = "{end}"' for edge, end in ends.items()
    ]
    lines += [f'[interaction]\nedge = "{interaction}"', f'weight = "{weight}"' if weight else ""]
    return CatalogueSchema.model_validate(tomllib.loads("\n".join(lines)))


def _edges(table: pa.Table, source: str, target: str) -> pa.Table:
    return pa.table({SOURCE: table[source].cast(pa.string()), TARGET: table[target].cast(pa.string())})


def _pairs(pairs: list[tuple[str, str]]) -> pa.Table:
    columns = {SOURCE: [one for one, _ in pairs], TARGET: [other for _, other in pairs]}
    return pa.table({name: pa.chunked_array([pa.array(column, pa.string())]) for name, column in columns.items()})


if __name__ == "__main__":
    main()
