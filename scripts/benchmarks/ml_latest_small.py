"""Reads ml-latest-small, a small catalogue of films with times, as tables."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables

PARTS = ("temporal", "cold_users", "cold_items")
RELATIONS = {
    "starring": "person",
    "writer": "person",
    "producer": "person",
    "director": "person",
    "musicComposer": "person",
    "cinematography": "person",
    "editing": "person",
    "distributor": "company",
}  # kg.parquet: relation -> node type at its end
ATTRIBUTES = (
    "year = { type = 'int', feature = true }, n_genres = { type = 'int', feature = true }, "
    "tags = { type = 'list', feature = true }"
)
_YEAR = re.compile(r"\((\d{4})\)\s*$")


def read_part(folder: Path, *, attributes: bool = False) -> GraphTables:
    """Reads one of the three parts; the interactions are its training ratings, and its test users have nodes too.

    Args:
        folder: the part's folder.
        attributes: films have their year (from the title), their number of genres and their tags as features.
    """
    asked = pq.read_table(folder / "test.parquet")
    return _to_tables(folder, pq.read_table(folder / "interactions.parquet"), asked["user"], attributes)


def read_whole(folder: Path) -> GraphTables:
    """Reads all ratings: each part lacks those that are its questions, but for 251 the three together have them all.

    Args:
        folder: the folder of the parts.
    """
    parts = [pq.read_table(folder / part / "interactions.parquet") for part in PARTS]
    ratings = pa.concat_tables(parts).group_by(["user", "item"], use_threads=False)
    once = ratings.aggregate([("rating", "first"), ("at", "first")]).rename_columns(["user", "item", "rating", "at"])
    return _to_tables(folder / "temporal", once, once["user"], False)


def _to_tables(folder: Path, ratings: pa.Table, users: pa.ChunkedArray, attributes: bool) -> GraphTables:
    items, links, entities = (pq.read_table(folder / f"{name}.parquet") for name in ("items", "kg", "entities"))
    names = dict(zip(entities["entity"].to_pylist(), entities["name"].to_pylist(), strict=True))
    genres = [
        [genre for genre in (found or "").split("|") if genre and not genre.startswith("(")]
        for found in items["genres"].to_pylist()
    ]
    movies, titles = _text(items["item"]).to_pylist(), items["title"].to_pylist()
    edges = {
        "rated": pa.table(
            {
                SOURCE: _text(ratings["user"]),
                TARGET: _text(ratings["item"]),
                "rating": ratings["rating"],
                "rated_at": ratings["at"],
            }
        ),
        "has_genre": pa.table(
            {
                SOURCE: np.repeat(movies, [len(found) for found in genres]),
                TARGET: [genre for found in genres for genre in found],
            }
        ),
    }
    for relation in RELATIONS:
        found = links.filter(pc.field("relation") == relation)
        edges[relation] = pa.table({SOURCE: _text(found["item"]), TARGET: _text(found["entity"])})
    films = {"id": movies, "name": pa.array(titles, pa.string())}
    if attributes:
        years = [_YEAR.search(title or "") for title in titles]
        films["year"] = pa.array([int(year[1]) if year else None for year in years], pa.int64())
        films["n_genres"] = [len(found) for found in genres]
        films["tags"] = _read_tags(folder, movies)
    everybody = [*_text(ratings["user"]).chunks, *_text(users).chunks]
    nodes = {
        "movie": pa.table(films),
        "user": pa.table({"id": pc.unique(pa.chunked_array(everybody))}),
        "genre": _nodes(edges["has_genre"][TARGET].to_pylist(), {}),
    }
    for node_type in ("person", "company"):
        ends = [edges[name][TARGET].to_pylist() for name, end in RELATIONS.items() if end == node_type]
        nodes[node_type] = _nodes([one for end in ends for one in end], names)
    return build_tables(_make_schema(ATTRIBUTES if attributes else ""), nodes, edges)


def _read_tags(folder: Path, movies: Sequence[str]) -> pa.Array:
    """The tags of each film, in lower case, each once; null where nobody tagged it."""
    table = pq.read_table(folder / "tags.parquet")
    found: dict[str, set[str]] = {}
    for movie, tag in zip(_text(table["item"]).to_pylist(), table["tag"].to_pylist(), strict=True):
        found.setdefault(movie, set()).add(tag.strip().lower())
    return pa.array([sorted(found[movie]) if movie in found else None for movie in movies], pa.list_(pa.string()))


def _make_schema(attributes: str) -> CatalogueSchema:
    entities = ("genre", "person", "company")
    nodes = "".join(
        f'[nodes.{name}]\nlabel = "{name.title()}"\nkey = "id"\nname = "name"\ntext = ["name"]\n' for name in entities
    )
    edges = "".join(
        f'[edges.{name}]\nsource = "movie"\ntype = "{name.upper()}"\ntarget = "{end}"\n'
        for name, end in {"has_genre": "genre", **RELATIONS}.items()
    )
    return CatalogueSchema.parse(f"""
name = "ml-latest-small"
[nodes.movie]
label = "Movie"
key = "id"
name = "name"
text = ["name"]
attributes = {{ {attributes} }}
[nodes.user]
label = "User"
key = "id"
[edges.rated]
source = "user"
type = "RATED"
target = "movie"
attributes = {{ rating = "float", rated_at = "time" }}
{nodes}
{edges}
[interaction]
edge = "rated"
weight = "rating"
at = "rated_at"
positive = 4
""")


def _nodes(ids: Sequence[str], names: dict[str, str | None]) -> pa.Table:
    found = sorted(set(ids))
    return pa.table({"id": found, "name": [names.get(one, one) for one in found]})


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())
