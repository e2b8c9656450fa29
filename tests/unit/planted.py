"""Small graphs of books, authors and countries, with texts and links drawn or planted."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.questions.splits import Likes

BOOKS = CatalogueSchema.parse("""
name = "books"
[nodes.user]
label = "User"
key = "user_id"
[nodes.book]
label = "Book"
key = "book_id"
text = ["title"]
[nodes.author]
label = "Author"
key = "author_id"
text = ["about"]
[nodes.country]
label = "Country"
key = "country_id"
text = ["country"]
[edges.written_by]
source = "book"
type = "WRITTEN_BY"
target = "author"
[edges.from]
source = "author"
type = "FROM"
target = "country"
[edges.edited]
source = "author"
type = "EDITED"
target = "book"
[edges.cites]
source = "book"
type = "CITES"
target = "book"
[edges.read]
source = "user"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")

Pairs = list[tuple[int, int]]


def make_graph(
    sizes: Mapping[str, int], edges: Mapping[str, Pairs | NDArray[np.int64]], x: Mapping[str, NDArray[np.float32]]
) -> HeteroData:
    """A heterograph of BOOKS; a row of `x` that is all zeros is a node without a text."""
    data = HeteroData()
    for node_type in BOOKS.nodes:
        data[node_type].num_nodes = sizes.get(node_type, 0)
        if node_type in x:
            data[node_type].x = torch.from_numpy(np.asarray(x[node_type], np.float32))
            data[node_type].has_text = data[node_type].x.any(dim=1)
    for edge_type in BOOKS.edges:
        pairs = np.asarray(edges.get(edge_type, []), np.int64).reshape(-1, 2)
        data[BOOKS.edge_triple(edge_type)].edge_index = torch.from_numpy(np.ascontiguousarray(pairs.T))
    return data


def draw_unit_rows(rng: np.random.Generator, n_rows: int, dim: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(n_rows, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw_graph(rng: np.random.Generator, *, n_books: int = 30, dim: int = 5, texts: bool = True) -> HeteroData:
    """Every relation drawn at random; some books have no text, the last one has no links."""
    sizes = {"user": 3, "book": n_books, "author": 8, "country": 3}
    edges = {}
    for edge_type in ("written_by", "from", "edited", "cites"):
        source, _, target = BOOKS.edge_triple(edge_type)
        pairs = np.argwhere(rng.random((sizes[source], sizes[target])) < (0.2 if edge_type != "cites" else 0.05))
        keep = np.ones(len(pairs), bool)
        for side, end in ((0, source), (1, target)):
            keep &= (end != "book") | (pairs[:, side] != n_books - 1)
        edges[edge_type] = pairs[keep]
    x = {name: draw_unit_rows(rng, sizes[name], dim) for name in ("book", "author", "country")} if texts else {}
    for name, rows in x.items():
        rows[rng.random(sizes[name]) < 0.2] = 0
    return make_graph(sizes, edges, x)


def draw_likes(rng: np.random.Generator, shape: tuple[int, int], share: float, *, timed: bool = False) -> Likes:
    users, items = np.nonzero(rng.random(shape) < share)
    times = rng.integers(0, 1000, len(users)) if timed else None
    return Likes(users.astype(np.int64), items.astype(np.int64), times, shape)
