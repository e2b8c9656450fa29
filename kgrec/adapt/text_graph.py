"""A catalogue as adaptation reads it: distinct texts, the links between them, and the likes of items with texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema, GraphTables
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.splits import Likes, read_likes
from kgrec.text.node_texts import build_node_texts


@dataclass(frozen=True)
class TextGraph:
    """Texts and their links.

    Attributes:
        texts: distinct, sorted.
        item_text: (n_items,) int64, the place of each item's text; -1: none.
        links: (2, n_links) int64, the places of the texts at both ends, distinct; no text is linked to itself.
        relation: (n_links,) int64, the place in `relations`.
        relations: the edge types.
    """

    texts: Sequence[str]
    item_text: NDArray[np.int64]
    links: NDArray[np.int64]
    relation: NDArray[np.int64]
    relations: tuple[str, ...]

    def to_adjacency(self) -> csr_array:
        """(n_texts, n_texts) float32, 1 where texts are linked in either direction."""
        (a, b), n = self.links, len(self.texts)
        ones = np.ones(2 * len(a), np.float32)
        matrix = csr_array((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(n, n))
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix


def read_text_graph(tables: GraphTables) -> tuple[TextGraph, Likes]:
    """Reads the texts, links and likes of a catalogue; rows of users and items are those of `build_graph`.

    Raises:
        CatalogueError: there are no likes.
    """
    tables = sort_tables(tables)
    data, _ = to_hetero(tables)
    schema = tables.schema
    links = {name: data[schema.edge_triple(name)].edge_index.numpy() for name in schema.graph_edges}
    return build_text_graph(schema, build_node_texts(tables), links), read_likes(data, schema)


def build_text_graph(
    schema: CatalogueSchema, node_texts: dict[str, list[str | None]], edges: dict[str, NDArray[np.int64]]
) -> TextGraph:
    """Builds it from a text per node and the rows of both ends of each edge type, int64 (2, n)."""
    texts = sorted({text for found in node_texts.values() for text in found if text is not None})
    place = {text: i for i, text in enumerate(texts)}
    places = {
        node_type: np.array([-1 if text is None else place[text] for text in found], np.int64)
        for node_type, found in node_texts.items()
    }
    found = [np.zeros((3, 0), np.int64)]
    for number, (name, ends) in enumerate(edges.items()):
        edge = schema.edges[name]
        if edge.source in places and edge.target in places:
            a, b = places[edge.source][ends[0]], places[edge.target][ends[1]]
            kept = (a >= 0) & (b >= 0) & (a != b)
            found.append(np.stack([a[kept], b[kept], np.full(int(kept.sum()), number, np.int64)]))
    links = np.unique(np.concatenate(found, axis=1), axis=1)
    none = np.full(0, -1, np.int64)
    return TextGraph(texts, places.get(schema.item_type, none), links[:2], links[2], tuple(edges))
