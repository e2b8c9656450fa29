"""Small graphs of books, authors and countries, and of users in a club, with texts and links drawn or planted."""

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

CLUB = CatalogueSchema.parse("""
name = "club"
[nodes.user]
label = "User"
key = "user_id"
text = ["about"]
[nodes.item]
label = "Item"
key = "item_id"
[nodes.group]
label = "Group"
key = "group_id"
[edges.friend_of]
source = "user"
type = "FRIEND_OF"
target = "user"
[edges.invited]
source = "group"
type = "INVITED"
target = "user"
[edges.wishes]
source = "user"
type = "WISHES"
target = "item"
[edges.bought]
source = "user"
type = "BOUGHT"
target = "item"
[interaction]
edge = "bought"
""")

Pairs = list[tuple[int, int]]


def make_graph(
    sizes: Mapping[str, int],
    edges: Mapping[str, Pairs | NDArray[np.int64]],
    x: Mapping[str, NDArray[np.float32]],
    schema: CatalogueSchema = BOOKS,
) -> HeteroData:
    """A heterograph of a schema; a row of `x` that is all zeros is a node without a text."""
    data = HeteroData()
    for node_type in schema.nodes:
        data[node_type].num_nodes = sizes.get(node_type, 0)
        if node_type in x:
            data[node_type].x = torch.from_numpy(np.asarray(x[node_type], np.float32))
            data[node_type].has_text = data[node_type].x.any(dim=1)
    for edge_type in schema.edges:
        pairs = np.asarray(edges.get(edge_type, []), np.int64).reshape(-1, 2)
        data[schema.edge_triple(edge_type)].edge_index = torch.from_numpy(np.ascontiguousarray(pairs.T))
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


def draw_club(rng: np.random.Generator, *, n_users: int = 30, dim: int = 5, texts: bool = True) -> HeteroData:
    """Users with friends, groups and wishes at random; some have no text, the last one has no links."""
    sizes = {"user": n_users, "item": 6, "group": 5}
    edges = {}
    for edge_type, share in (("friend_of", 0.06), ("invited", 0.15), ("wishes", 0.1)):
        source, _, target = CLUB.edge_triple(edge_type)
        pairs = np.argwhere(rng.random((sizes[source], sizes[target])) < share)
        last = np.zeros(len(pairs), bool)
        for side, end in ((0, source), (1, target)):
            last |= (pairs[:, side] == n_users - 1) & (end == "user")
        edges[edge_type] = pairs[~last]
    x = {"user": draw_unit_rows(rng, n_users, dim)} if texts else {}
    for rows in x.values():
        rows[rng.random(n_users) < 0.2] = 0
    return make_graph(sizes, edges, x, CLUB)


def draw_likes(rng: np.random.Generator, shape: tuple[int, int], share: float, *, timed: bool = False) -> Likes:
    users, items = np.nonzero(rng.random(shape) < share)
    times = rng.integers(0, 1000, len(users)) if timed else None
    return Likes(users.astype(np.int64), items.astype(np.int64), times, shape)
