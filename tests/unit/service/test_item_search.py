"""Searches by name: typing errors, accents, ids, and changes of the catalogue."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from planted_catalogue import train_planted

from kgrec.bundle import load_bundle
from kgrec.ids import IdMap
from kgrec.messages import SearchBody
from kgrec.recommend import Recommender
from kgrec.service.deployment import Served
from kgrec.service.item_search import NameIndex, NameSearch, fold, index_names
from kgrec.service.page_routes import find_names

FILMS = {
    "1": "Toy Story (1995)", "2": "Amélie", "3": "Star Wars", "4": "Stargate", "5": "Heat", "6": "Cheatin' Hearts",
    "7": None, "sku-8": "The Łódź Affair",
}  # fmt: skip
KNOWN = np.array([50, 5, 90, 20, 10, 80, 1, 2])
names = st.text("abcé ÅZ'-", max_size=12) | st.none()


def make_index(films: dict[str, str | None], before: NameIndex | None = None) -> NameIndex:
    return index_names(IdMap(tuple(films)), list(films.values()), before)


def search(text: str, k: int = 3, allowed: np.ndarray | None = None) -> list[str]:
    found = make_index(FILMS).find(text, k, KNOWN, allowed)
    return [list(FILMS)[each.row] for each in found]


def test_typing_errors_accents_case_and_punctuation_are_forgiven() -> None:
    assert search("toy stroy")[0] == "1"
    assert search("AMELIE") == ["2"]
    assert search("the lodz affair")[0] == "sku-8"
    assert search("toy story 1995")[0] == "1"


def test_whole_names_come_before_names_that_start_so_and_the_best_known_first() -> None:
    assert search("star")[:2] == ["3", "4"]  # whole words, then beginnings
    assert search("heat")[0] == "5"  # though the other is better known
    assert search("sta")[:2] == ["3", "4"]  # both begin so: the better known one


def test_ids_are_found() -> None:
    assert search("7")[0] == "7"
    assert search("SKU-8")[0] == "sku-8"
    assert search("1")[0] == "1"


def test_what_matches_nothing_finds_nothing() -> None:
    assert search("qqqqxxxx") == []
    assert search("...") == []


def test_only_allowed_items_are_found() -> None:
    allowed = np.array([id_ != "3" for id_ in FILMS])
    assert "3" not in search("star wars", 8, allowed)
    assert search("3", 8, allowed) == []


def test_folding_is_told_in_the_docstring() -> None:
    assert fold("Amélie (2001)") == "amelie 2001"
    assert fold("ＳＴＲＡＳＳＥ Straße") == "strasse strasse"  # noqa: RUF001


@given(st.dictionaries(st.sampled_from("abcdefgh"), names), st.dictionaries(st.sampled_from("abcdefgh"), names))
def test_an_index_that_follows_changes_is_the_one_that_is_made_anew(
    before: dict[str, str | None], after: dict[str, str | None]
) -> None:
    followed, anew = make_index(after, make_index(before)), make_index(after)
    assert list(followed.folded) == list(anew.folded)
    assert (followed.groups != anew.groups).nnz == 0
    known = np.zeros(len(after))
    for name in after.values():
        assert followed.find(name or "a", 5, known) == anew.find(name or "a", 5, known)


def test_a_tenant_finds_only_nodes_that_its_items_are_linked_to() -> None:
    recommender = Recommender.load(train_planted())
    served = Served("v", "b", recommender, 0)
    mask = np.array([item.endswith(("0", "2", "4", "6", "8")) for item in recommender.bundle.items.ids])

    def find(allowed: NDArray[np.bool_] | None, **asked: object) -> list[str]:
        body = SearchBody.model_validate({"link": "shop", **asked})
        return sorted(found.item for found in find_names(NameSearch(), served, body, allowed).items)

    assert find(None, items=["s0", "s1"]) == ["s0", "s1"]
    assert find(mask, items=["s0", "s1"]) == ["s0"]
    assert find(mask, text="s1") in ([], ["s0"])


BOOKS = {
    "got": ("A Game of Thrones (A Song of Ice and Fire, #1)", 300),
    "azkaban": ("Harry Potter and the Prisoner of Azkaban (Harry Potter, #3)", 900),
    "phoenix": ("Harry Potter and the Order of the Phoenix (Harry Potter, #5)", 850),
    "gatsby": ("The Great Gatsby", 400),
    "expectations": ("Great Expectations", 500),
    "hobbit": ("The Hobbit", 600),
    "it": ("It", 700),
    "wheel": ("The Eye of the World (The Wheel of Time, #1)", 200),
    "huck": ("Adventures of Huckleberry Finn", 350),
    "sherlock": ("The Adventures of Sherlock Holmes", 360),
    "who": ("Who Moved My Cheese?", 100),
}


def search_books(text: str, k: int = 5) -> list[str]:
    index = index_names(IdMap(tuple(BOOKS)), [name for name, _ in BOOKS.values()])
    found = index.find(text, k, np.array([known for _, known in BOOKS.values()]))
    return [list(BOOKS)[each.row] for each in found]


@pytest.mark.parametrize(
    ("text", "book"),
    [
        ("gmae of thrones", "got"),
        ("game of trones", "got"),
        ("game of thro", "got"),
        ("great gatzby", "gatsby"),
        ("great gatsbi", "gatsby"),
        ("eye of the wrld", "wheel"),
        ("eyeof the world", "wheel"),
        ("hobit", "hobbit"),
        ("huckelbery fin", "huck"),
        ("prisoner of azkban", "azkaban"),
        ("hary poter azkaban", "azkaban"),
        ("it", "it"),
    ],
)
def test_typing_errors_in_titles_of_several_words_are_forgiven(text: str, book: str) -> None:
    assert search_books(text)[0] == book


def test_a_shared_common_word_is_no_match() -> None:
    assert search_books("gmae of thrones") == ["got"]
    assert search_books("great gatzby") == ["gatsby"]
    assert search_books("eye of the wrld") == ["wheel"]
    assert search_books("hobit") == ["hobbit"]
    assert search_books("war of the roses") == []


def test_items_are_found_by_the_names_of_what_they_are_linked_to() -> None:
    bundle = load_bundle(train_planted())
    shop_type = bundle.schema.graph_edges["shop"].target
    s1 = bundle.ids[shop_type].row("s1")
    shop_names = ["Fyodor Dostoyevsky" if row == s1 else None for row in range(len(bundle.ids[shop_type]))]
    bundle = replace(bundle, names={**bundle.names, shop_type: shop_names})
    items, shops = bundle.edges["shop"]
    linked = set(items[shops == s1].tolist())
    found = NameSearch().find_items(bundle, "dostoevsky", 100)
    assert {each.row for each in found} == linked
    likes = [int(bundle.model.n_likes[each.row]) for each in found]
    assert likes == sorted(likes, reverse=True)
    assert max(each.match for each in found) < 90
    allowed = np.ones(len(bundle.items), np.bool_)
    allowed[found[0].row] = False
    assert {each.row for each in NameSearch().find_items(bundle, "dostoevsky", 100, allowed)} == linked - {found[0].row}
    allowed[list(linked)] = False  # nobody who asks has a book of his
    assert NameSearch().find_items(bundle, "dostoevsky", 100, allowed) == []
