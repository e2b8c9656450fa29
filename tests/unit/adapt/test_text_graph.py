import numpy as np
from planted import BOOKS

from kgrec.adapt.text_graph import build_text_graph


def test_texts_are_distinct_and_links_join_texts() -> None:
    texts = {
        "user": [None, None],
        "book": ["heat", "heat", None, "cold"],
        "author": ["ann", "bob"],
        "country": ["here"],
    }
    edges = {
        "written_by": np.array([[0, 1, 2, 3], [0, 0, 1, 1]]),
        "cites": np.array([[0, 0, 3], [1, 3, 0]]),  # the first link joins two books with one text
    }
    graph = build_text_graph(BOOKS, texts, edges)
    assert list(graph.texts) == ["ann", "bob", "cold", "heat", "here"]
    assert graph.item_text.tolist() == [3, 3, -1, 2]
    linked = {
        (graph.relations[relation], graph.texts[a], graph.texts[b])
        for a, b, relation in zip(*graph.links, graph.relation, strict=True)
    }
    assert linked == {
        ("written_by", "heat", "ann"),
        ("written_by", "cold", "bob"),
        ("cites", "heat", "cold"),
        ("cites", "cold", "heat"),
    }
    assert graph.links.shape == (2, 4)  # two books of one text and one author are one link
    near = graph.to_adjacency().toarray()
    assert (near == near.T).all()
    assert near.sum() == 6


def test_a_catalogue_without_links_has_none() -> None:
    graph = build_text_graph(BOOKS, {"book": ["b", "a"]}, {})
    assert graph.links.shape == (2, 0)
    assert graph.item_text.tolist() == [1, 0]
    assert graph.to_adjacency().nnz == 0
