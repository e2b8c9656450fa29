"""The graph around an item, worked by hand in a small catalogue of books."""

import numpy as np
import pytest
from bookshop import N_BOOKS, book, train_bookshop

from kgrec.errors import RequestError
from kgrec.service.neighbourhood import find_neighbourhood


def test_the_author_and_the_other_books_of_the_author() -> None:
    found = find_neighbourhood(train_bookshop(), book(4), 40)
    assert (found.nodes[0].id, found.nodes[0].type) == (book(4), "book")
    author = next(place for place, node in enumerate(found.nodes) if node.type == "author")
    assert (found.nodes[author].id, found.nodes[author].name, found.nodes[author].n_items) == ("a-4", "Author 4", 4)
    written = {found.nodes[edge.target].id for edge in found.edges if (edge.source, edge.type) == (author, "author_of")}
    assert written == {book(place) for place in (4, 13, 22, 31)}  # every ninth book
    assert {edge.phrase for edge in found.edges if edge.type == "author_of"} == {"author"}
    assert {edge.phrase for edge in found.edges if edge.type == "book.year"} == {"year"}  # of "from the 1990s"
    assert found.left_out == 0


def test_no_reader_is_shown_though_readers_review_books_and_wish_for_them() -> None:
    for place in range(N_BOOKS):
        found = find_neighbourhood(train_bookshop(), book(place), 200)
        assert {node.type for node in found.nodes}.isdisjoint({"reader"})


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_it_is_bounded_and_each_edge_has_its_ends(most: int) -> None:
    found = find_neighbourhood(train_bookshop(), book(4), most)
    assert 1 <= len(found.nodes) <= most
    assert len({(node.type, node.id) for node in found.nodes}) == len(found.nodes)
    for edge in found.edges:
        assert max(edge.source, edge.target) < len(found.nodes)
        assert edge.source != edge.target


def test_items_of_others_do_not_exist() -> None:
    bundle = train_bookshop()
    allowed = np.ones(len(bundle.items), np.bool_)
    allowed[bundle.items.rows([book(13), book(22)])] = False
    found = find_neighbourhood(bundle, book(4), 200, allowed)
    assert {book(13), book(22)}.isdisjoint(node.id for node in found.nodes)
    assert next(node.n_items for node in found.nodes if node.type == "author") == 2
    with pytest.raises(RequestError, match="unknown item 'book-13'"):
        find_neighbourhood(bundle, book(13), 200, allowed)
    with pytest.raises(RequestError, match="unknown item 'nothing'"):
        find_neighbourhood(bundle, "nothing", 200)
