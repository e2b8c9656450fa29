"""Readers who like books of one topic. One relation gives the topic; the others are noise."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from graph_schema import CatalogueSchema, GraphTables
from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig

SCHEMA = CatalogueSchema.parse("""
name = "library"
[nodes.reader]
label = "Reader"
key = "reader_id"
[nodes.book]
label = "Book"
key = "book_id"
name = "title"
[nodes.thing]
label = "Thing"
key = "thing_id"
[edges.about]
source = "book"
type = "ABOUT"
target = "thing"
[edges.printed_by]
source = "book"
type = "PRINTED_BY"
target = "thing"
[edges.stands_beside]
source = "book"
type = "STANDS_BESIDE"
target = "book"
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
    prior=PriorConfig(links_dim=8, path_dim=4, regularisation=1.0, regularisations=(), gates=(0.0,)),
    head=HeadConfig(epochs=1),
)
SPLIT = SplitConfig(cold_users=0.25, cold_items=0.25, support_sizes=(0, 1, 3), least_likes=6)
N_READERS, N_BOOKS, N_TOPICS = 240, 200, 4
Pairs = Sequence[tuple[str, str]]


def make_tables(edges: Mapping[str, Pairs], *, titles: Sequence[str | None] | None = None) -> GraphTables:
    books = [f"b{book:03}" for book in range(N_BOOKS)]
    readers = [f"r{reader:03}" for reader in range(N_READERS)]
    things = sorted({end for name in ("about", "printed_by") for _, end in edges.get(name, ())})
    nodes = {
        "reader": {"reader_id": readers},
        "book": {"book_id": books, "title": titles or [None] * N_BOOKS},
        "thing": {"thing_id": things},
    }
    return GraphTables(
        SCHEMA,
        {name: pa.table(columns, SCHEMA.nodes[name].arrow_schema) for name, columns in nodes.items()},
        {
            name: pa.table(
                [[source for source, _ in edges.get(name, ())], [target for _, target in edges.get(name, ())]],
                edge.arrow_schema,
            )
            for name, edge in SCHEMA.edges.items()
        },
    )


def draw_readings(rng: np.random.Generator) -> Pairs:
    """Readers like most books of their topic and few others."""
    alike = np.arange(N_READERS)[:, None] % N_TOPICS == np.arange(N_BOOKS) % N_TOPICS
    found = np.argwhere(rng.random(alike.shape) < np.where(alike, 0.7, 0.02))
    return [(f"r{reader:03}", f"b{book:03}") for reader, book in found]


def topic_links() -> Pairs:
    return [(f"b{book:03}", f"topic-{book % N_TOPICS}") for book in range(N_BOOKS)]


def draw_links(rng: np.random.Generator, kind: str, n_ends: int = 8) -> Pairs:
    """A link for each book to an end drawn at random."""
    return [(f"b{book:03}", f"{kind}-{rng.integers(n_ends)}") for book in range(N_BOOKS)]
