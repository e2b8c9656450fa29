"""A library without faults, as rows that a test may spoil: users read neighbouring books."""

import random
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from graph_schema import CatalogueSchema, GraphTables

# names with spaces, dots and hyphens, a relationship stored from target to source, relations that share a type
SCHEMA = CatalogueSchema.parse("""
name = "library"
[nodes.reader]
label = "Card Holder"
key = "reader.id"
[nodes.book]
label = "Book"
key = "book-id"
name = "title"
text = ["blurb"]
attributes = { "first published" = "int", in_stock = "bool" }
[nodes.author]
label = "Person"
key = "id"
name = "name"
[nodes.tag]
label = "Tag"
key = "tag"
from_edges = true
[nodes.country]
label = "Country"
key = "id"
[nodes.review]
label = "Review"
key = "id"
[edges.wrote]
source = "author"
type = "WROTE"
target = "book"
[edges.has_tag]
source = "book"
type = "TAG OF"
target = "tag"
reverse = true
[edges.cites]
source = "book"
type = "CITES"
target = "book"
[edges.similar]
source = "book"
type = "SIMILAR-BOOK"
target = "book"
[edges.lives_in]
source = "author"
type = "LIVES_IN"
target = "country"
[edges.viewed]
source = "reader"
type = "VIEWED"
target = "book"
[edges.sent_to]
source = "book"
type = "SENT_TO"
target = "reader"
[edges.reviewed]
source = "reader"
type = "WROTE"
target = "review"
[edges.about]
source = "review"
type = "ABOUT"
target = "book"
[edges.read]
source = "reader"
type = "READ"
target = "book"
attributes = { stars = "float", read_at = "time" }
[interaction]
edge = "read"
weight = "stars"
at = "read_at"
positive = 4
""")
N_READERS = N_BOOKS = 120
READS = 12  # each reader reads the books from their own place on
START = 1_600_000_000  # 2020-09-13; the last read is two months later
NOW = 1_800_000_000  # 2027-01-15
HOUR = 3600
Row = dict[str, Any]


def reader(place: int) -> str:
    return f"r{place:03}"


def book(place: int) -> str:
    return f"b{place % N_BOOKS:03}"


def link(source: str, target: str, **values: object) -> Row:
    return {"source": source, "target": target, **values}


def read(reader_id: str, book_id: str, at: int = START, stars: float = 5.0) -> Row:
    return link(reader_id, book_id, stars=stars, read_at=at)


@dataclass
class Library:
    nodes: dict[str, list[Row]]
    edges: dict[str, list[Row]]

    def to_tables(self) -> GraphTables:
        return GraphTables(
            SCHEMA,
            {name: pa.Table.from_pylist(self.nodes[name], node.arrow_schema) for name, node in SCHEMA.nodes.items()},
            {name: pa.Table.from_pylist(self.edges[name], edge.arrow_schema) for name, edge in SCHEMA.edges.items()},
        )


def make_library() -> Library:
    reads = [
        read(reader(r), book(r + n), START + HOUR * (READS * r + n), float(n % 5 + 1))
        for r in range(N_READERS)
        for n in range(READS)
    ]
    # links unrelated to the reads: three distant books, ten tags and forty authors at random
    draw = random.Random(7)
    nodes = {
        "reader": [{"reader.id": reader(r)} for r in range(N_READERS)],
        "book": [
            {
                "book-id": book(b),
                "title": f"Book {b}",
                "blurb": f"Of {b}.",
                "first published": 1900 + b,
                "in_stock": True,
            }
            for b in range(N_BOOKS)
        ],
        "author": [{"id": f"a{a:02}", "name": f"Author {a}"} for a in range(40)],
        "tag": [{"tag": f"t{t}"} for t in range(10)],
        "country": [{"id": "fr"}, {"id": "it"}],
        "review": [],
    }
    edges = {
        "wrote": [link(f"a{b % 40:02}", book(b)) for b in range(N_BOOKS)],
        "has_tag": [link(book(b), f"t{b % 10 if b < 10 else draw.randrange(10)}") for b in range(N_BOOKS)],
        "cites": [link(book(b), book(b + far)) for b in range(N_BOOKS) for far in (30, 50, 70)],
        "similar": [],
        "lives_in": [link(f"a{a:02}", ("fr", "it")[a % 2]) for a in range(40)],
        "viewed": [],
        "sent_to": [],
        "reviewed": [],
        "about": [],
        "read": reads,
    }
    return Library(nodes, edges)
