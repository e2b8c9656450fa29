"""Planted faults in attributes and in users' links: each gives its finding only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, GraphTables
from kgrec.validate import Finding, validate_tables
from kgrec.validate.attribute_findings import USER_HUB
from kgrec.validate.queries import QueryDialect

SCHEMA = """
name = "bookshop"
[nodes.reader]
label = "Reader"
key = "reader id"
[nodes.reader.attributes]
gender = { type = "string", sensitive = true }
favourite = { type = "string", feature = true }
wishes = { type = "list", feature = true }
joined = { type = "time", feature = true }
[nodes.book]
label = "Book"
key = "book_id"
name = "title"
[nodes.book.attributes]
pages = { type = "int", feature = true }
price = { type = "float", feature = true }
"times sold" = "int"
year = { type = "int", feature = true }
shelf = { type = "string", feature = true }
subjects = { type = "list", feature = true }
[nodes.author]
label = "Author"
key = "id"
[nodes.club]
label = "Club"
key = "id"
from_edges = true
[edges.friend]
source = "reader"
type = "FRIEND"
target = "reader"
[edges.member]
source = "reader"
type = "MEMBER"
target = "club"
[edges.wrote]
source = "author"
type = "WROTE"
target = "book"
[edges.bought]
source = "reader"
type = "BOUGHT"
target = "book"
attributes = { stars = "float" }
[interaction]
edge = "bought"
weight = "stars"
"""
N_READERS, N_BOOKS = 100, 80
NOW = 1_800_000_000  # 2027-01-15
RNG = np.random.default_rng(5)
# book b is bought by 1 + b readers, and its grades rise with 7 b % 80
BOUGHT = [(int(r), b, 1 + (b * 7 % N_BOOKS) / 20) for b in range(N_BOOKS) for r in RNG.permutation(N_READERS)[: 1 + b]]


@dataclass
class Shop:
    schema: str = SCHEMA
    readers: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {
                "reader id": f"r{r}",
                "gender": "mf"[r % 2],
                "favourite": f"colour {r % 5}",
                "wishes": ["tea", f"c{r % 4}"],
            }
            for r in range(N_READERS)
        ]
    )
    books: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"book_id": f"b{b}", "title": f"Book {b}", "pages": 100 + b * 13 % 80, "price": 5.0 + b * 37 % 80,
             "times sold": b, "year": 1950 + b % 70, "shelf": f"shelf {b % 9}",
             "subjects": ["sea", f"s{b % 6}"][b % 2 :]}
            for b in range(N_BOOKS)
        ]
    )  # fmt: skip
    friends: list[tuple[int, int]] = field(default_factory=lambda: [(r, (r + 3) % 100) for r in range(N_READERS)])
    clubs: list[tuple[int, int]] = field(default_factory=lambda: [(r, r % 4) for r in range(N_READERS)])

    first_written: int = 0  # books before this one have no author

    def mark(self, old: str, new: str) -> None:
        assert old in self.schema
        self.schema = self.schema.replace(old, new)

    def to_tables(self) -> GraphTables:
        schema = CatalogueSchema.parse(self.schema)
        ends = {
            "friend": [(f"r{a}", f"r{b}") for a, b in self.friends],
            "member": [(f"r{a}", f"c{b}") for a, b in self.clubs],
            "wrote": [(f"a{b % 11}", f"b{b}") for b in range(self.first_written, N_BOOKS)],
            "bought": [(f"r{r}", f"b{b}") for r, b, _ in BOUGHT],
        }
        edges = {name: [{"source": s, "target": t} for s, t in pairs] for name, pairs in ends.items()}
        edges["bought"] = [row | {"stars": stars} for row, (_, _, stars) in zip(edges["bought"], BOUGHT, strict=True)]
        nodes = {
            "reader": self.readers,
            "book": self.books,
            "author": [{"id": f"a{n}"} for n in range(11)],
            "club": [{"id": one} for one in sorted({target for _, target in ends["member"]})],
        }
        return GraphTables(
            schema,
            {name: pa.Table.from_pylist(nodes[name], node.arrow_schema) for name, node in schema.nodes.items()},
            {name: pa.Table.from_pylist(edges[name], edge.arrow_schema) for name, edge in schema.edges.items()},
        )


def check(shop: Shop) -> tuple[Finding, ...]:
    tables = shop.to_tables()
    return validate_tables(tables, QueryDialect.of_neo4j(tables.schema), now=NOW).findings


def popular(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["pages"] = int(np.exp(b / 8))  # any rising function of the number of interactions


def unpopular(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["price"] = -float(b + b % 3)
    shop.books[0]["price"] = None


def well_rated(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["price"] = b * 7 % N_BOOKS / 3.0


def named(shop: Shop) -> None:
    shop.mark('"times sold" = "int"', '"times sold" = { type = "int", feature = true }')
    for b, row in enumerate(shop.books):
        row["times sold"] = b * 37 % 80


def barely_related(shop: Shop) -> None:
    for b, row in enumerate(shop.books):  # rank correlation .87
        row["price"] = float(b if b % 16 else 80 - b)


def sold_but_no_feature(shop: Shop) -> None:
    assert [row["times sold"] for row in shop.books] == list(range(N_BOOKS))


def few_items_have_it(shop: Shop) -> None:
    popular(shop)
    for row in shop.books[:31]:
        row["pages"] = None


def all_shelves_differ(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["shelf"] = f"shelf {b // 2 if b < 6 else b}"


def half_the_shelves_differ(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["shelf"] = f"shelf {b // 2 * 2 if b < 40 else b}"


def all_subjects_differ(shop: Shop) -> None:
    for b, row in enumerate(shop.books):
        row["subjects"] = [f"s{b}", f"t{b}"]


def common_subject(shop: Shop) -> None:
    for book in shop.books[1:42:2]:  # with those that have it, 61 of 80
        book["subjects"] = ["sea", *book["subjects"]]


def one_shelf(shop: Shop) -> None:
    for book in shop.books:
        book["shelf"] = "shop"


def future_year(shop: Shop) -> None:
    shop.books[3]["year"] = 2028
    shop.books[4]["year"] = 2027


def future_time(shop: Shop) -> None:
    shop.readers[7]["joined"] = NOW + 60
    shop.readers[8]["joined"] = NOW - 60


def asked_for(shop: Shop) -> None:
    shop.mark("sensitive = true", "sensitive = true, feature = true")
    shop.readers[0]["gender"] = None


def self_friend(shop: Shop) -> None:
    shop.friends += [(4, 4)]


def favourite_id(shop: Shop) -> None:
    first = {r: b for r, b, _ in reversed(BOUGHT)}
    for r, row in enumerate(shop.readers):
        row["favourite"] = f"b{first[r]}" if r % 3 else None


def favourite_title(shop: Shop) -> None:
    first = {r: b for r, b, _ in reversed(BOUGHT)}
    for r, row in enumerate(shop.readers):
        row["favourite"] = f"Book {first[r]}"


def wished(shop: Shop) -> None:
    for r, row in enumerate(shop.readers):
        row["wishes"] = ["tea", *(f"b{b}" for reader, b, _ in BOUGHT if reader == r)][:4]


def seldom_bought_wishes(shop: Shop) -> None:  # what readers wish for and do not buy is no leak
    bought = {(r, b) for r, b, _ in BOUGHT}
    for r, row in enumerate(shop.readers):
        row["wishes"] = [f"b{b}" for b in range(N_BOOKS) if (r, b) not in bought][:5]


def without_words(shop: Shop) -> None:
    shop.mark('name = "title"', 'name = "title"\ntext = ["subjects"]')
    shop.books[2]["title"] = shop.books[2]["subjects"] = shop.books[3]["title"] = None
    shop.books[4]["subjects"] = None


def without_links_and_features(shop: Shop) -> None:
    shop.first_written = 6  # the others are known by their features
    shop.books[5] = {"book_id": "b5", "title": "Book 5", "times sold": 3}


FAULTS: dict[Callable[[Shop], None], list[tuple[object, ...]]] = {
    popular: [("feature_leakage", "warning", "book", 80, 80, "b79")],
    unpopular: [("feature_leakage", "warning", "book", 79, 80, "b1")],
    well_rated: [("feature_leakage", "warning", "book", 80, 80, "b57")],
    named: [("feature_leakage", "warning", "book", 80, 80, "b67")],
    barely_related: [],
    sold_but_no_feature: [],
    few_items_have_it: [],
    all_shelves_differ: [("distinct_features", "warning", "book", 74, 80, "b6")],
    half_the_shelves_differ: [],
    all_subjects_differ: [("distinct_features", "warning", "book", 160, 160, "b0")],
    future_year: [("features_in_future", "warning", "book", 1, 80, "b3")],
    future_time: [("features_in_future", "warning", "reader", 1, 100, "r7")],
    asked_for: [("sensitive_features", "note", "reader", 99, 100)],
    self_friend: [("self_loops", "warning", "friend", 1, 101, "r4", "r4")],
    favourite_id: [("label_leakage", "error", "reader", 66, 66, "r1")],
    favourite_title: [("label_leakage", "error", "reader", 100, 100, "r0")],
    wished: [("label_leakage", "error", "reader", 300, 300, "r0")],
    seldom_bought_wishes: [],
    without_words: [("items_without_text", "note", "book", 1, 80, "b2")],
    without_links_and_features: [("items_without_links", "note", "book", 1, 80, "b5")],
    common_subject: [("common_values", "note", "book", 1, 7)],
    one_shelf: [("common_values", "note", "book", 1, 1)],
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_each_fault_of_an_attribute_gives_its_finding_only(spoil: Callable[[Shop], None]) -> None:
    shop = Shop()
    spoil(shop)
    summaries = []
    for one in check(shop):
        nodes = one.examples[0].nodes if one.examples else ()
        shown = nodes[:1] if one.check == "label_leakage" else nodes
        summaries.append((one.check, one.severity, one.type, one.count, one.total, *(node.id for node in shown)))
    assert summaries == FAULTS[spoil]


def test_a_shop_with_nothing_wrong_has_no_findings() -> None:
    assert check(Shop()) == ()


def test_messages_say_what_a_feature_repeats() -> None:
    shop = Shop()
    for spoil in (unpopular, named):
        spoil(shop)
    messages = {one.message: one.examples[0].about for one in check(shop)}
    assert messages == {
        "book nodes whose price repeats the number of bought edges: rank correlation -1.00": "Book 1, price -2, "
        "interactions 2",
        "book nodes whose times sold repeats bought edges, by its name": "Book 67, times sold 79, interactions 68",
    }
    shop = Shop()
    well_rated(shop)
    [found] = check(shop)
    assert found.message.startswith("book nodes whose price repeats the mean stars of bought edges: rank")


def test_a_hub_among_the_links_of_users_is_noted() -> None:
    shop = Shop()
    shop.readers += [{"reader id": f"r{r}"} for r in range(N_READERS, USER_HUB + 2)]
    shop.friends = [(r, 0) for r in range(1, USER_HUB + 2)] + [(0, 1)]  # 10,001 friends
    shop.clubs = [(r, r % 2) for r in range(USER_HUB + 2)]
    found = {one.type: one for one in check(shop) if one.check == "user_hubs"}
    assert {type_: (one.count, one.severity, one.examples[0].nodes[0].id) for type_, one in found.items()} == {
        "friend": (1, "note", "r0")
    }  # each club has exactly half of them
    assert found["friend"].examples[0].about == "10,001"
    shop.clubs.append((1, 0))
    assert {one.type for one in check(shop) if one.check == "user_hubs"} == {"friend", "member"}


def test_what_over_half_of_ten_or_more_users_are_linked_to_is_a_hub() -> None:
    shop = Shop()
    shop.clubs = [(r, 0) for r in range(N_READERS // 2 + 1)] + [(r, 1) for r in range(N_READERS // 2)]
    [found] = [one for one in check(shop) if one.check == "user_hubs"]
    assert (found.type, found.count, found.examples[0].nodes[0].id) == ("member", 1, "c0")
    assert found.message == f"club nodes with {N_READERS // 2 + 1:,} or more neighbours (member)"


def test_a_common_value_is_shown_with_its_share() -> None:
    shop = Shop()
    common_subject(shop)
    (found,) = check(shop)
    assert found.message == "values of subjects that more than half of all book nodes have"
    assert [one.about for one in found.examples] == ["sea (76%)"]
