"""Readers who like books of one genre. Their friends or their age tell which; towns and shoe sizes are noise."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema, GraphTables
from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig

SCHEMA = CatalogueSchema.parse("""
name = "book club"
[nodes.reader]
label = "Reader"
key = "reader_id"
text = ["about"]
[nodes.reader.attributes]
age = { type = "int", feature = true, sensitive = true }
shoe_size = { type = "int", feature = true }
[nodes.book]
label = "Book"
key = "book_id"
[nodes.book.attributes]
genre = { type = "list", feature = true }
price = { type = "float", feature = true }
[nodes.town]
label = "Town"
key = "town_id"
[nodes.town.attributes]
area = { type = "int", feature = true }
[edges.friend_of]
source = "reader"
type = "FRIEND_OF"
target = "reader"
[edges.lives_in]
source = "reader"
type = "LIVES_IN"
target = "town"
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")
CONFIG = TrainConfig(
    device="cpu",
    embedding_dim=8,
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=3),
    item_item=ItemItemConfig(regularisation=30.0),
    prior=PriorConfig(links_dim=16, path_dim=4, regularisation=1.0, regularisations=(), gates=(0.0, 1.0)),
    head=HeadConfig(epochs=1),
)
SPLIT = SplitConfig(cold_users=0.25, cold_items=0.2, support_sizes=(0, 1, 3), least_likes=6)
N_READERS, N_BOOKS, N_TOWNS, N_GENRES = 240, 80, 8, 4


def make_club(*, about: bool = False, age_tells: bool = True) -> GraphTables:
    """Draws the club.

    Args:
        about: whether readers write a text, in words of their genre.
        age_tells: whether their age tells the genre.
    """
    rng = np.random.default_rng(3)
    genre_of_book, genre = np.arange(N_BOOKS) % N_GENRES, rng.permutation(np.arange(N_READERS) % N_GENRES)
    readers, books, towns = _ids("r", N_READERS), _ids("b", N_BOOKS), _ids("t", N_TOWNS)
    alike = genre[:, None] == genre_of_book
    read = np.nonzero(rng.random(alike.shape) < np.where(alike, 0.4, 0.02))
    met = rng.random((N_READERS, N_READERS)) < np.where(genre[:, None] == genre, 0.06, 0.002)
    np.fill_diagonal(met, val=False)
    shoe_size, decade = rng.integers(36, 46, N_READERS), genre if age_tells else rng.integers(0, N_GENRES, N_READERS)
    age = 20 + 15 * decade + rng.integers(0, 12, N_READERS)
    words = [" ".join(f"word{own}{place}" for place in rng.choice(8, 5, replace=False)) for own in genre]
    lives = rng.integers(0, N_TOWNS, N_READERS)
    nodes = {
        "reader": [readers, words if about else [None] * N_READERS, age, shoe_size],
        "book": [books, [[f"genre {one}"] for one in genre_of_book], rng.uniform(5, 30, N_BOOKS)],
        "town": [towns, np.arange(N_TOWNS) // 2],
    }
    edges = {
        "friend_of": [readers[side] for side in np.nonzero(met)],
        "lives_in": [readers, towns[lives]],
        "read": [readers[read[0]], books[read[1]]],
    }
    return GraphTables(
        SCHEMA,
        {name: _to_table(declared.arrow_schema, nodes[name]) for name, declared in SCHEMA.nodes.items()},
        {name: _to_table(declared.arrow_schema, edges[name]) for name, declared in SCHEMA.edges.items()},
    )


def _ids(kind: str, n: int) -> NDArray[np.str_]:
    return np.array([f"{kind}{row:03}" for row in range(n)])


def _to_table(declared: pa.Schema, columns: list[object]) -> pa.Table:
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, declared, strict=True)], schema=declared
    )
