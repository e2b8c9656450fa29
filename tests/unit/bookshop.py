"""A bookshop whose readers have friends, a town, a club, an age, interests and a wish list, and a bundle of it."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from shop import CONFIG, WordEncoder

from graph_schema import CatalogueSchema, GraphTables
from kgrec.bundle import Bundle
from kgrec.training.train_bundle import train_bundle

SCHEMA = CatalogueSchema.parse("""
name = "bookshop"
[nodes.book]
label = "Book"
key = "isbn"
name = "title"
attributes = { year = { type = "int", feature = true }, price = "float" }
[nodes.author]
label = "Author"
key = "author_id"
name = "author_name"
[nodes.town]
label = "Town"
key = "town_id"
name = "town_name"
[nodes.club]
label = "Club"
key = "club_id"
name = "club_name"
[nodes.reader]
label = "Reader"
key = "reader_id"
name = "reader_name"
attributes = { age = { type = "int", feature = true }, interests = { type = "list", feature = true } }
[edges.author_of]
source = "author"
type = "AUTHOR_OF"
target = "book"
phrase = "author"
[edges.reviewed_by]
source = "book"
type = "REVIEWED_BY"
target = "reader"
[edges.friend_of]
source = "reader"
type = "FRIEND_OF"
target = "reader"
[edges.lives_in]
source = "reader"
type = "LIVES_IN"
target = "town"
[edges.member_of]
source = "reader"
type = "MEMBER_OF"
target = "club"
[edges.wish_list]
source = "reader"
type = "WISHES"
target = "book"
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")
TOWNS = ("Oslo", "Rome", "Lima")  # of the readers of each kind of books
INTERESTS = ("gardens", "crime", "space")
N_BOOKS, N_READERS, N_KINDS = 36, 90, 3


def kind_of(id_: str) -> int:
    """The kind of a book, and of the books that a reader likes."""
    return int(id_.rsplit("-", 1)[1]) % N_KINDS


def reader(place: int) -> str:
    """The id of a reader."""
    return f"reader-{place:02}"


def book(place: int) -> str:
    """The id of a book."""
    return f"book-{place:02}"


@cache
def make_tables() -> GraphTables:
    """Readers read one kind of books, and have friends, a town, ages and interests of that kind; clubs are mixed."""
    rng = np.random.default_rng(4)
    books, readers = [book(place) for place in range(N_BOOKS)], [reader(place) for place in range(N_READERS)]
    read, friends = [], []
    for one in readers:
        mine = [each for each in books if kind_of(each) == kind_of(one)]
        read += [(one, str(each)) for each in rng.choice(mine, 6, replace=False)]
        like_minded = [other for other in readers if kind_of(other) == kind_of(one) and other != one]
        friends += [(one, str(other)) for other in rng.choice(like_minded, 5, replace=False)]
    wishes = [(reader(0), book(3)), (reader(1), book(4))]
    towns = [TOWNS[kind_of(one)] if place % 7 else TOWNS[0] for place, one in enumerate(readers)]
    years = [1950 + int(rng.integers(60)) for _ in books]
    nodes = {
        "book": [books, [f"Title {one}" for one in books], years, [9.5] * N_BOOKS],
        "author": [[f"a-{place}" for place in range(9)], [f"Author {place}" for place in range(9)]],
        "town": [[town.lower() for town in TOWNS], TOWNS],
        "club": [["chess", "tennis"], ["Chess Club", None]],
        "reader": [
            readers,
            [f"Ms {one.title()}" for one in readers],
            [20 + 20 * kind_of(one) + int(rng.integers(10)) for one in readers],
            [[INTERESTS[kind_of(one)]] for one in readers],
        ],
    }  # fmt: skip
    edges = {
        "author_of": [(f"a-{place % 9}", one) for place, one in enumerate(books)],
        "reviewed_by": [(one, reader(kind_of(one))) for one in books],
        "friend_of": friends,
        "lives_in": [(one, town.lower()) for one, town in zip(readers, towns, strict=True)],
        "member_of": [(one, ("chess", "tennis")[place % 2]) for place, one in enumerate(readers) if place % 5],
        "wish_list": wishes,
        "read": read,
    }

    def to_table(schema: pa.Schema, columns: Sequence[Sequence[object]]) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    return GraphTables(
        SCHEMA,
        {name: to_table(SCHEMA.nodes[name].arrow_schema, columns) for name, columns in nodes.items()},
        {
            name: to_table(SCHEMA.edges[name].arrow_schema, list(zip(*pairs, strict=True)))
            for name, pairs in edges.items()
        },
    )


@cache
def train_bookshop() -> Bundle:
    """A bundle of the bookshop; immutable, so all tests may have it."""
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)
