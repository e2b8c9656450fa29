"""The catalogues of the benchmarks: graph, training likes, and questions.

    ml-latest-small/temporal, /cold_users, /cold_items     a user's own catalogue with times, test sets as given
    ml-100k, ml-1m          the latest 20% of each user's ratings are held out; the likes among them are relevant
    ml-100k/cold, ml-1m/cold, beauty/cold   a tenth of the users and of the items are held out whole as well
    beauty, ml-1m/last      the last item of each user is relevant; the one before is known, but not trained on: it is
                            what validation asks for. Of ml-1m every rating counts as a like
    kgrs, lastfm, citeulike the published splits, see published_splits.py

Training sees only the interactions of the graph, with their times if a set has them (or else the position in the user's
own order); ratings below 4 count as met but not liked. Items that a user met in training, liked or not, are not
recommended to them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ml1m import read_ml1m
from ml_latest_small import read_part
from numpy.typing import NDArray
from published_splits import DATA_DIR, PublishedSplit, read_citeulike, read_kgrs, read_lastfm
from scipy.sparse import csr_array

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables, stage_tables
from kgrec import cache_dir
from kgrec.graph.attribute_values import fit_values
from kgrec.graph.availability import read_available
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, read_likes
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import CatalogueGraph, build_graph, read_names

LATEST, COLD = 0.2, 0.1  # shares held out: of each user's interactions; of users and of items
LIKED = 4.0  # the least rating of a like
SUPPORT_SIZES = (1, 3, 5, 10)
LEAST_LIKES = 20  # of a new test user

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Ratings:
    """Interactions, one row each, with users and items as numbers.

    Attributes:
        users: (n,) int64, places in `user_ids`.
        items: (n,) int64, places in `item_ids`.
        liked: (n,) bool.
        at: (n,) int64, times, or positions in a user's order.
    """

    users: Rows
    items: Rows
    liked: Mask
    at: Rows
    user_ids: list[str]
    item_ids: list[str]


@dataclass(frozen=True)
class _Question:
    """A slice by ids: supports and relevant items, as (users, items); candidates, None for all."""

    name: str
    title: str
    shown: tuple[Rows, Rows] | None  # None: the training likes
    asked: tuple[Rows, Rows]
    candidates: Rows | None = None


def read_small(part: str, data_dir: Path = DATA_DIR, *, texts: bool = True, attributes: bool = False) -> PublishedSplit:
    """Reads one of the three parts of ml-latest-small.

    Args:
        part: "temporal", "cold_users" or "cold_items".
        data_dir: the folder of the data sets.
        texts: whether to encode texts; without them, only baselines can be measured.
        attributes: whether films have their year, their number of genres and their tags as features.
    """
    folder = data_dir / "ml-latest-small" / part

    def read(name: str) -> pa.Table:
        return pq.read_table(folder / f"{name}.parquet")

    asked = read("test")
    supports = {size: read(f"support_k{size}") for size in SUPPORT_SIZES} if part == "cold_users" else {}
    graph = _build(read_part(folder, attributes=attributes), texts)
    likes = read_likes(graph.data, graph.schema)
    seen, disliked = likes.to_matrix(), _read_disliked(graph, likes)
    relevant = _to_matrix(graph, _text(asked["user"]).to_pylist(), _text(asked["item"]).to_pylist())
    if part == "temporal":
        slices = [Slice("warm", "the likes among each user's latest 20%", seen, relevant, None, disliked)]
    elif part == "cold_items":
        rows = graph.ids["movie"].rows(_text(read("cold_items")["item"]).to_pylist())
        candidates = np.zeros(likes.shape[1], np.bool_)
        candidates[rows] = True
        slices = [
            Slice("cold_items", "new items, among each other", seen, relevant, candidates, disliked),
            Slice("cold_items_all", "new items, among all", seen, relevant, None, disliked),
        ]
    else:
        slices = []
        for size, support in supports.items():
            shown = _to_matrix(graph, _text(support["user"]).to_pylist(), _text(support["item"]).to_pylist())
            title = f"new users, {size} like{'' if size == 1 else 's'}"
            slices.append(Slice(f"cold_users_k{size}", title, shown, _without(relevant, shown)))
    return PublishedSplit(graph, likes, slices, {})


def read_ml100k(data_dir: Path = DATA_DIR, *, texts: bool = True, cold: bool = False, seed: int = 0) -> PublishedSplit:
    """Reads MovieLens 100K, with times, from RecBole's wheel as `kgrec load` does; `data_dir` is not read."""
    from loaders import open_source

    source = open_source("movielens-100k", cache_dir=cache_dir())
    with TemporaryDirectory() as folder:
        tables = stage_tables(source, Path(folder), rejects=None).to_tables()
    return _hold_out(tables, texts=texts, cold=cold, seed=seed)


def read_ml1m_ordered(
    data_dir: Path = DATA_DIR, *, texts: bool = True, cold: bool = False, seed: int = 0
) -> PublishedSplit:
    """Reads MovieLens 1M and holds out each user's latest ratings."""
    return _hold_out(_read_ml1m_timed(data_dir), texts=texts, cold=cold, seed=seed)


def _read_ml1m_timed(data_dir: Path) -> GraphTables:
    """MovieLens 1M; a rating's time is its position in the user's order, and ratings without one are left out."""
    tables = read_ml1m(data_dir / "ml-1m")
    order = pq.read_table(data_dir / "ml-1m" / "order.parquet")
    rated = tables.edges["rated"]
    place = dict(
        zip(_pair_codes(order["user"], order["item"]).tolist(), order["place"].to_numpy().tolist(), strict=True)
    )
    at = np.array([place.get(code, -1) for code in _pair_codes(rated[SOURCE], rated[TARGET]).tolist()])
    rated = rated.append_column("rated_at", pa.array(at)).filter(pa.array(at >= 0))
    described = tables.schema.model_dump(mode="json", exclude_unset=True)
    described["edges"]["rated"].setdefault("attributes", {})["rated_at"] = "time"
    described["interaction"]["at"] = "rated_at"
    schema = CatalogueSchema.model_validate(described)
    return build_tables(schema, tables.nodes, {**tables.edges, "rated": rated})


def read_ml1m_last(data_dir: Path = DATA_DIR, *, texts: bool = True) -> PublishedSplit:
    """Reads MovieLens 1M with every rating as a like, and holds out each user's last two."""
    tables = _read_ml1m_timed(data_dir)
    described = tables.schema.model_dump(mode="json", exclude_unset=True)
    described["interaction"] = {"edge": "rated", "at": "rated_at"}
    schema = CatalogueSchema.model_validate(described)
    return _hold_out_last(GraphTables(schema, tables.nodes, tables.edges), texts=texts)


def read_beauty(data_dir: Path = DATA_DIR, *, texts: bool = True, cold: bool = False, seed: int = 0) -> PublishedSplit:
    """Reads Amazon's Beauty: titles, brands and categories; also_viewed and also_bought are left out."""
    folder = data_dir / "beauty"
    items, rows = pq.read_table(folder / "items.parquet"), pq.read_table(folder / "interactions.parquet")
    ids = _text(items["item"]).to_pylist()
    brands = [(item, brand) for item, brand in zip(ids, items["brand"].to_pylist(), strict=True) if brand]
    categories = sorted(
        {
            (item, " > ".join(path.split(" > ")[:depth]))
            for item, found in zip(ids, items["categories"].to_pylist(), strict=True)
            for path in found or ()
            for depth in range(2, len(path.split(" > ")) + 1)
        }
    )
    bought = pa.table({SOURCE: _text(rows["user"]), TARGET: _text(rows["item"]), "at": rows["place"].cast(pa.int64())})
    edges = {
        "bought": bought,
        "has_brand": _edges(*zip(*brands, strict=True)),
        "in_category": _edges(*zip(*categories, strict=True)),
    }
    lines = _describe_links("item", {"has_brand": "brand", "in_category": "category"}, ("brand", "category"))
    schema = _schema("beauty", "item", "bought", lines)
    leaves = {path: path.rsplit(" > ", 1)[-1] for _, path in categories}
    nodes = {
        "item": pa.table({"id": ids, "name": pa.array(items["title"].to_pylist(), pa.string())}),
        "user": pa.table({"id": pc.unique(_text(rows["user"]))}),
        "brand": _nodes(edges["has_brand"][TARGET].to_pylist(), {}),
        "category": _nodes(edges["in_category"][TARGET].to_pylist(), leaves),
    }
    tables = build_tables(schema, nodes, edges)
    return _hold_out(tables, texts=texts, cold=True, seed=seed) if cold else _hold_out_last(tables, texts=texts)


def _published(read: Callable[[Path], PublishedSplit], data_dir: Path = DATA_DIR, **_: object) -> PublishedSplit:
    return read(data_dir)


READERS: Mapping[str, Callable[..., PublishedSplit]] = {
    "ml-latest-small/temporal": partial(read_small, "temporal"),
    "ml-latest-small/cold_users": partial(read_small, "cold_users"),
    "ml-latest-small/cold_items": partial(read_small, "cold_items"),
    "ml-100k": read_ml100k,
    "ml-100k/cold": partial(read_ml100k, cold=True),
    "ml-1m": read_ml1m_ordered,
    "ml-1m/cold": partial(read_ml1m_ordered, cold=True),
    "ml-1m/last": read_ml1m_last,
    "beauty": read_beauty,
    "beauty/cold": partial(read_beauty, cold=True),
    "kgrs": partial(_published, read_kgrs),
    "lastfm": partial(_published, read_lastfm),
    "citeulike": partial(_published, read_citeulike),
}
SEEDED = frozenset({"ml-100k/cold", "ml-1m/cold", "beauty/cold"})  # the seed draws the held-out users and items


def read_catalogue(name: str, data_dir: Path = DATA_DIR, *, texts: bool = True, seed: int = 0) -> PublishedSplit:
    """Reads a catalogue by its name in `READERS`; see the readers for their options."""
    options = {"texts": texts, **({"seed": seed} if name in SEEDED else {})}
    return READERS[name](data_dir=data_dir, **options)


def _hold_out(tables: GraphTables, *, texts: bool, cold: bool, seed: int) -> PublishedSplit:
    """Holds out each user's latest interactions and, with `cold`, whole users and items."""
    ratings = _read_ratings(tables)
    rng = np.random.default_rng(seed)
    n_users, n_items = len(ratings.user_ids), len(ratings.item_ids)
    cold_users = _draw(n_users, COLD if cold else 0, rng)
    cold_items = _draw(n_items, COLD if cold else 0, rng)
    of_user, of_item = cold_users[ratings.users], cold_items[ratings.items]
    rank, size = _rank_in_user(ratings)
    late = rank >= size - np.floor(LATEST * size).astype(np.int64)
    warm = ~of_user & ~of_item
    train = warm & ~late
    known = np.bincount(ratings.users[train], minlength=n_users) > 0
    found = ratings.liked & known[ratings.users]

    def pairs(chosen: Mask) -> tuple[Rows, Rows]:
        return ratings.users[chosen], ratings.items[chosen]

    questions = [_Question("warm", "the likes among each user's latest 20%", None, pairs(found & warm & late))]
    if cold:
        rows = np.flatnonzero(cold_items)
        asked = pairs(found & ~of_user & of_item)
        questions.append(_Question("cold_items", "new items, among each other", None, asked, rows))
        questions.append(_Question("cold_items_all", "new items, among all", None, asked))
        new = ratings.liked & of_user & ~of_item
        place = _rank(ratings.users[new], ratings.at[new])
        n_likes = np.bincount(ratings.users[new], minlength=n_users)[ratings.users[new]]
        users, items = pairs(new)
        least = LEAST_LIKES if (n_likes >= LEAST_LIKES).any() else 0
        for n_shown in SUPPORT_SIZES:
            enough = n_likes >= max(least, n_shown + 1)
            first, rest = enough & (place < n_shown), enough & (place >= n_shown)
            shown, asked = (users[first], items[first]), (users[rest], items[rest])
            title = f"new users, {n_shown} like{'' if n_shown == 1 else 's'}"
            questions.append(_Question(f"cold_users_k{n_shown}", title, shown, asked))
    return _to_split(tables, ratings, train, questions, texts)


def _hold_out_last(tables: GraphTables, *, texts: bool) -> PublishedSplit:
    """Holds out each user's last two interactions: the last is the test's, the one before is validation's."""
    ratings = _read_ratings(tables)
    rank, size = _rank_in_user(ratings)
    split = _to_split(tables, ratings, rank < size - 2, [], texts)
    schema, graph, shape = split.graph.schema, split.graph, split.train.shape
    users = graph.ids[schema.user_type].rows(ratings.user_ids)[ratings.users]
    items = graph.ids[schema.item_type].rows(ratings.item_ids)[ratings.items]

    def ask(name: str, title: str, from_last: int) -> Slice:
        before, asked = rank < size - 1 - from_last, rank == size - 1 - from_last
        known = Likes(users[before], items[before], ratings.at[before], shape)
        relevant = _ones(users[asked], items[asked], shape)
        return Slice(name, title, known.to_matrix(), relevant, order=known.to_order())

    validation = {name: ask(name, "each user's last item but one", 1) for name in ("warm", "next")}
    return replace(split, slices=[ask("warm", "each user's last item", 0)], validation=validation)


def _to_split(
    tables: GraphTables, ratings: _Ratings, train: Mask, questions: Sequence[_Question], texts: bool
) -> PublishedSplit:
    edge = tables.schema.interaction.edge
    kept = tables.edges[edge].filter(pa.array(train))
    graph = _build(GraphTables(tables.schema, tables.nodes, {**tables.edges, edge: kept}), texts)
    likes = read_likes(graph.data, graph.schema)
    disliked = _read_disliked(graph, likes)
    users = graph.ids[graph.schema.user_type].rows(ratings.user_ids)
    items = graph.ids[graph.schema.item_type].rows(ratings.item_ids)

    def to_matrix(pairs: tuple[Rows, Rows]) -> csr_array:
        return _ones(users[pairs[0]], items[pairs[1]], likes.shape)

    n_items = len(ratings.item_ids)
    codes = ratings.users * n_items + ratings.items
    by_code = np.argsort(codes)

    def to_likes(pairs: tuple[Rows, Rows]) -> Likes:
        at = ratings.at[by_code[np.searchsorted(codes, pairs[0] * n_items + pairs[1], sorter=by_code)]]
        return Likes(users[pairs[0]], items[pairs[1]], at, likes.shape)

    slices = []
    for question in questions:
        known = likes if question.shown is None else to_likes(question.shown)
        support, order = known.to_matrix(), known.to_order()
        candidates = None
        if question.candidates is not None:
            candidates = np.zeros(likes.shape[1], np.bool_)
            candidates[items[question.candidates]] = True
        relevant = _without(_without(to_matrix(question.asked), support), disliked)
        left_out = disliked if question.shown is None else None
        if relevant.nnz:
            slices.append(Slice(question.name, question.title, support, relevant, candidates, left_out, order=order))
    return PublishedSplit(graph, likes, slices, {})


def _read_disliked(graph: CatalogueGraph, likes: Likes) -> csr_array:
    """(n_users, n_items) float32, 1 where a training interaction is not a like."""
    users, items = graph.data[graph.schema.edge_triple(graph.schema.interaction.edge)].edge_index.numpy()
    return _without(_ones(users, items, likes.shape), likes.to_matrix())


def _read_ratings(tables: GraphTables) -> _Ratings:
    schema = tables.schema
    table, about = tables.edges[schema.interaction.edge], schema.interaction
    users, items = (table[end].combine_chunks().dictionary_encode() for end in (SOURCE, TARGET))
    weights = np.full(len(table), LIKED) if about.weight is None else table[about.weight].to_numpy()
    assert about.at is not None
    at = table[about.at]
    return _Ratings(
        users.indices.to_numpy().astype(np.int64),
        items.indices.to_numpy().astype(np.int64),
        weights >= LIKED,
        at.cast(pa.int64()).to_numpy(),
        users.dictionary.to_pylist(),
        items.dictionary.to_pylist(),
    )


def _rank_in_user(ratings: _Ratings) -> tuple[Rows, Rows]:
    """The position of each interaction in its user's order of time, and the number of the user's interactions."""
    return _rank(ratings.users, ratings.at), np.bincount(ratings.users)[ratings.users]


def _rank(users: Rows, at: Rows) -> Rows:
    order = np.lexsort((at, users))  # stable: equal times keep the order of the table
    starts = np.searchsorted(users[order], users[order])
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - starts
    return rank


def _draw(size: int, share: float, rng: np.random.Generator) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[rng.choice(size, int(size * share), replace=False)] = True
    return mask


def _build(tables: GraphTables, texts: bool) -> CatalogueGraph:
    if texts:
        return build_graph(tables, load_encoder(), cache_dir())
    values = fit_values(tables)
    ordered = sort_tables(values.derive(tables))
    data, ids = to_hetero(ordered)
    available = read_available(ordered, ids[ordered.schema.item_type])
    return CatalogueGraph(ordered.schema, data, ids, read_names(ordered), "none", "none", {}, values, available)


def _schema(name: str, item: str, interaction: str, links: str) -> CatalogueSchema:
    return CatalogueSchema.parse(f"""
name = "{name}"
[nodes.{item}]
label = "{item.title()}"
key = "id"
name = "name"
text = ["name"]
[nodes.user]
label = "User"
key = "id"
[edges.{interaction}]
source = "user"
type = "{interaction.upper()}"
target = "{item}"
attributes = {{ at = "time" }}
{links}
[interaction]
edge = "{interaction}"
at = "at"
""")


def _describe_links(item: str, relations: Mapping[str, str], node_types: Sequence[str]) -> str:
    """The part of a schema for the items' links, from relation -> node type."""
    nodes = "".join(
        f'[nodes.{name}]\nlabel = "{name.title()}"\nkey = "id"\nname = "name"\ntext = ["name"]\n' for name in node_types
    )
    edges = "".join(
        f'[edges.{name}]\nsource = "{item}"\ntype = "{name.upper()}"\ntarget = "{end}"\n'
        for name, end in relations.items()
    )
    return nodes + edges


def _nodes(ids: Sequence[str], names: Mapping[str, str | None]) -> pa.Table:
    found = sorted(set(ids))
    return pa.table({"id": found, "name": [names.get(one, one) for one in found]})


def _edges(sources: Sequence[str], targets: Sequence[str]) -> pa.Table:
    return pa.table({SOURCE: list(sources), TARGET: list(targets)})


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _pair_codes(users: pa.ChunkedArray, items: pa.ChunkedArray) -> Rows:
    codes: Rows = users.cast(pa.int64()).to_numpy() * 1_000_000 + items.cast(pa.int64()).to_numpy()
    return codes


def _to_matrix(graph: CatalogueGraph, users: list[str], items: list[str]) -> csr_array:
    of_user, of_item = graph.ids[graph.schema.user_type], graph.ids[graph.schema.item_type]
    return _ones(of_user.rows(users), of_item.rows(items), (len(of_user), len(of_item)))


def _ones(rows: Rows, columns: Rows, shape: tuple[int, int]) -> csr_array:
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _without(matrix: csr_array, other: csr_array) -> csr_array:
    """The entries of a matrix of 1s that the other matrix lacks."""
    left = csr_array(matrix - matrix.multiply(other))
    left.eliminate_zeros()
    return left


def describe_likes(likes: Likes) -> str:
    """The numbers of users, items and likes, in words."""
    times = "no times" if likes.times is None else "times"
    return f"{likes.shape[0]:,} users, {likes.shape[1]:,} items, {len(likes):,} likes, {times}"
