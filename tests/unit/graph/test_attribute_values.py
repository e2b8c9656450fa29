"""Attributes become links: near and equal values share value nodes, and nothing else does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_schema import SOURCE, TARGET, Attribute, CatalogueSchema, GraphTables, NodeType
from graph_schema.schema_types import ARROW_TYPES, AttributeType
from kgrec.graph.attribute_values import AttributeValues, derive_schema, fit_values, split_name, split_path
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.graph.value_codes import ValueCodes, fit_codes
from kgrec.ids import IdMap

Rows = Sequence[object]

_BOOKS = """
name = "books"
[nodes.book]
label = "Book"
key = "book_id"
{book}
[nodes.author]
label = "Author"
key = "author_id"
{author}
[nodes.reader]
label = "Reader"
key = "reader_id"
{reader}
[edges.written_by]
source = "book"
type = "WRITTEN_BY"
target = "author"
[edges.knows]
source = "author"
type = "KNOWS"
target = "reader"
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
"""


def make_schema(**types: Mapping[str, str]) -> CatalogueSchema:
    """Books, their authors and readers; for each of `book`, `author`, `reader` the types of its features."""

    def write(of_node: Mapping[str, str]) -> str:
        inside = ", ".join(f"'{name}' = {{ type = '{kind}', feature = true }}" for name, kind in of_node.items())
        return f"attributes = {{ {inside} }}" if inside else ""

    return CatalogueSchema.parse(
        _BOOKS.format(**{node: write(types.get(node, {})) for node in ("book", "author", "reader")})
    )


def make_tables(schema: CatalogueSchema, **columns: Rows | Mapping[str, Rows]) -> GraphTables:
    """Tables of as many nodes as the columns are long; edges are pairs of row numbers, as "b1" or "a0"."""
    nodes, edges = {}, {}
    for node_type, node in schema.nodes.items():
        own = columns.get(node_type, {})
        assert isinstance(own, Mapping)
        n = max((len(values) for values in own.values()), default=2)
        ids = [f"{node_type[0]}{row}" for row in range(n)]
        nodes[node_type] = pa.table(
            [
                pa.array(ids if name == node.key else own[name], ARROW_TYPES[kind])
                for name, kind in node.columns.items()
            ],
            node.arrow_schema,
        )
    for edge_type, edge in schema.edges.items():
        pairs = columns.get(edge_type, ())
        assert not isinstance(pairs, Mapping)
        edges[edge_type] = pa.table([[str(pair[side]) for pair in pairs] for side in (0, 1)], edge.arrow_schema)
    return GraphTables(schema, nodes, edges)


def make_books(kind: str, values: Rows, name: str = "size") -> GraphTables:
    """Books with one attribute."""
    return make_tables(make_schema(book={name: kind}), book={name: values})


def fit(kind: str, values: Rows, name: str = "size") -> ValueCodes:
    return fit_values(make_books(kind, values, name)).codes[f"book.{name}"]


def links_of(codes: ValueCodes, kind: str, values: Rows) -> list[set[str]]:
    """The value nodes that each value is linked to."""
    found: list[set[str]] = [set() for _ in values]
    rows, ids = codes.encode(pa.array(values, ARROW_TYPES[kind]))
    for row, id_ in zip(rows.tolist(), ids, strict=True):
        assert id_ not in found[row] or kind == "list"
        found[row].add(id_)
    return found


def names_of(codes: ValueCodes, kind: str, value: object, name: str = "size") -> list[str]:
    """How reasons name a value."""
    (links,) = links_of(codes, kind, [value])
    return [said for id_ in sorted(links) if (said := codes.name(id_, name)) is not None]


def edges_of(tables: GraphTables, edge_type: str) -> set[tuple[str, str]]:
    table = tables.edges[edge_type]
    pairs = list(zip(table[SOURCE].to_pylist(), table[TARGET].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs)), "each link once"
    return set(pairs)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_few_distinct_numbers_are_bins_of_their_own_with_windows_over_two() -> None:
    ages = [1, 18, 25, 35, 45, 50, 56]
    codes = fit("int", ages * 3)
    assert codes.labels == ("1", "18", "25", "35", "45", "50", "56")
    assert links_of(codes, "int", ages) == [
        {"0", "0-1"}, {"1", "0-1", "1-2"}, {"2", "1-2", "2-3"}, {"3", "2-3", "3-4"}, {"4", "3-4", "4-5"},
        {"5", "4-5", "5-6"}, {"6", "5-6"},
    ]  # fmt: skip
    assert names_of(codes, "int", 25, "age") == ["age 25"]
    # A number in between belongs to the nearest, one beyond them to the last.
    assert links_of(codes, "int", [20, 22, 99, -5]) == links_of(codes, "int", [18, 25, 56, 1])


def test_three_distinct_numbers_have_no_windows() -> None:
    codes = fit("float", [1.0, 2.0, 3.5, 1.0])
    assert links_of(codes, "float", [1.0, 2.0, 3.5]) == [{"0"}, {"1"}, {"2"}]
    assert names_of(codes, "float", 3.5) == ["size 3.5"]


def test_many_distinct_numbers_have_bins_of_equal_counts() -> None:
    codes = fit("int", [*range(100)])
    assert codes.cuts == tuple(10.0 * place - 0.5 for place in range(1, 10))
    assert codes.labels == tuple(f"{10 * place} to {10 * place + 9}" for place in range(10))
    assert links_of(codes, "int", [0, 9, 10, 55, 1000]) == [
        {"0", "0-1"}, {"0", "0-1"}, {"1", "0-1", "1-2"}, {"5", "4-5", "5-6"}, {"9", "8-9"},
    ]  # fmt: skip
    skewed = fit("int", [0] * 95 + [*range(1, 14)])  # most values are 0
    assert skewed.labels == ("0", "1 to 2", "3 to 13")


@pytest.mark.parametrize(
    ("numbers", "label"),
    [([1234.56, 5000.4], "1235 to 5000"), ([0.001234, 0.00246], "0.00123 to 0.00246"), ([-3.0, 12.75], "-3 to 12.8"),
     ([2.5e17, 1e300], "2.5e+17 to 1e+300")],
)  # fmt: skip
def test_labels_of_numbers_are_short(numbers: list[float], label: str) -> None:
    low, high = numbers
    steps = [low + (high - low) * step / 20 for step in range(21)]
    codes = fit("float", steps)
    assert f"{codes.labels[0].split(' to ')[0]} to {codes.labels[-1].split(' to ')[-1]}" == label


def test_years_over_a_long_span_are_decades() -> None:
    years = [1951, 1962, 1977, 1985, 1990, 1994, 1999, 2003]
    codes = fit("int", years, "year")
    assert codes.labels == ("1950s", "1960s", "1970s", "1980s", "1990s", "2000s")
    assert links_of(codes, "int", [1951, 1990, 1999, 2003, 2031]) == [
        {"0", "0-1"}, {"4", "3-4", "4-5"}, {"4", "3-4", "4-5"}, {"5", "4-5"}, {"5", "4-5"},
    ]  # fmt: skip
    assert names_of(codes, "int", 1994, "year") == ["from the 1990s"]


@pytest.mark.parametrize(
    ("years", "name"), [([1995, 1999, 2003, 2024], "year"), ([1951, 1990, 2003], "pages"), ([3, 1951, 2003], "year")]
)
def test_other_numbers_are_no_decades(years: list[int], name: str) -> None:
    assert fit("int", years, name).labels == tuple(map(str, years))


def test_times_have_a_bin_and_a_season() -> None:
    times = [at("2020-01-05"), at("2020-04-01"), at("2020-07-31T23:59:59"), at("2020-12-01")]
    codes = fit("time", times, "added")
    assert codes.labels == ("2020-01", "2020-04", "2020-07", "2020-12")
    assert links_of(codes, "time", times) == [
        {"0", "0-1", "season 0"}, {"1", "0-1", "1-2", "season 1"}, {"2", "1-2", "2-3", "season 2"},
        {"3", "2-3", "season 0"},
    ]  # fmt: skip
    assert names_of(codes, "time", times[3], "added") == ["added 2020-12", "added from December to February"]


def test_dates_of_which_the_year_alone_is_known_have_no_season() -> None:
    codes = fit("time", [at(f"{year}-01-01") for year in (1965, 1970, 1999, 2004)])
    assert not codes.seasons
    assert codes.labels == ("1965-01", "1970-01", "1999-01", "2004-01")
    assert links_of(codes, "time", [at("1964-12-31")]) == [{"0", "0-1"}]  # before 1970


def test_categories_and_lists_are_trimmed() -> None:
    assert links_of(fit("string", ["a"]), "string", ["drama", " drama\n", "", "  ", None, "missing"]) == [
        {"drama"}, {"drama"}, {"missing"}, {"missing"}, {"missing"}, {"missing"},
    ]  # fmt: skip
    lists = [["a", " b"], ["b", "b "], [], None, ["", None], ["c"]]
    expected = [{"a", "b"}, {"b"}, {"missing"}, {"missing"}, {"missing"}, {"c"}]
    codes = fit("list", lists)
    assert links_of(codes, "list", lists) == expected
    assert names_of(codes, "list", ["b", "a"]) == ["a", "b"]
    part = pa.array([["z"], *lists], pa.list_(pa.string())).slice(1)  # its offsets do not start at 0
    rows, ids = codes.encode(pa.chunked_array([part]))
    assert [{id_ for row_, id_ in zip(rows, ids, strict=True) if row_ == row} for row in range(6)] == expected


def test_a_boolean_is_named_by_its_attribute() -> None:
    codes = fit("bool", [True, False, None], "is_vegan")
    assert links_of(codes, "bool", [True, False, None]) == [{"yes"}, {"no"}, {"missing"}]
    assert [names_of(codes, "bool", value, "is_vegan") for value in (True, False, None)] == [["is vegan"], [], []]


def test_prices_at_either_end_are_cheap_or_expensive() -> None:
    codes = fit("float", [float(price) for price in range(1, 101)], "price")
    assert names_of(codes, "float", 3.0, "price") == ["cheap, price 1 to 10"]
    assert names_of(codes, "float", 30.0, "price") == ["cheap, price 21 to 30"]
    assert names_of(codes, "float", 50.0, "price") == ["price 41 to 50"]
    assert names_of(codes, "float", 95.0, "price") == ["expensive, price 91 to 100"]
    assert names_of(fit("float", [1.0, 2.0, 3.0], "price"), "float", 1.0, "price") == ["price 1"]  # too few to compare


@pytest.mark.parametrize(
    ("name", "is_price"),
    [("unit_price", True), ("Listenpreis", True), ("entry fee", True), ("costs", True), ("coffee", False),
     ("costume_size", False), ("height_feet", False)],
)  # fmt: skip
def test_a_price_is_known_by_its_name(name: str, is_price: bool) -> None:
    codes = fit("int", [1, 2, 3, 4, 5], name)
    assert names_of(codes, "int", 1, name)[0].startswith("cheap, ") == is_price


def test_points_have_cells_of_three_grids() -> None:
    places = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    codes = fit("point", places)
    assert codes.cell == 0.5  # a quarter of the middle half, 1 to 3
    assert links_of(codes, "point", [[0.4, 1.6], None, [math.nan, 1.0], [1.0], [math.inf, 0.0]]) == [
        {"0:0:3", "1:1:3", "2:1:3"}, {"missing"}, {"missing"}, {"missing"}, {"missing"},
    ]  # fmt: skip
    assert names_of(codes, "point", [0.4, 1.6], "place") == ["place around 0.25, 1.75"]
    metres = fit("point", [[6_649_000.0 + 40 * step, 597_000.0] for step in range(9)])
    assert metres.cell == 40
    assert names_of(metres, "point", [6_649_001.0, 597_000.0], "site") == ["site around 6649020, 597020"]
    assert fit("point", [[1.0, 2.0]] * 3).cell == 1.0  # all equal


FINITE = st.floats(-1e6, 1e6)


@given(st.lists(FINITE, min_size=5, max_size=40, unique=True), st.lists(FINITE, min_size=1, max_size=5))
def test_near_numbers_share_links_and_far_ones_do_not(numbers: list[float], others: list[float]) -> None:
    codes = fit("float", numbers)
    values = sorted({*numbers, *others})
    links = links_of(codes, "float", values)
    assert all(2 <= len(found) <= 3 for found in links), "a bin, and one or two windows"
    assert all(one & other for one, other in pairwise(links)), "neighbours share a bin or a window"
    assert not links[0] & links[-1], "the least and the largest share nothing"
    for low in range(len(values)):
        for high in range(low + 2, len(values)):
            if links[low] & links[high]:
                assert all(links[low] & links[high] <= links[between] for between in range(low, high))


@given(
    st.lists(st.tuples(FINITE, FINITE), min_size=4, max_size=9, unique=True),
    st.tuples(FINITE, FINITE),
    st.tuples(st.floats(-0.33, 0.33), st.floats(-0.33, 0.33)),
)
def test_near_points_share_a_cell_and_far_ones_do_not(
    points: list[tuple[float, float]], place: tuple[float, float], step: tuple[float, float]
) -> None:
    codes = replace(fit("point", points), cell=10.0)
    near = [place[axis] + step[axis] * codes.cell for axis in (0, 1)]
    one, other = links_of(codes, "point", [place, near])
    assert one & other, "points within a third of a cell"
    for axis in (0, 1):
        far = list(place)
        far[axis] += 1.01 * codes.cell
        assert not one & links_of(codes, "point", [far])[0], "points more than a cell apart"


def test_missing_nan_and_infinite_numbers_are_missing() -> None:
    numbers = [1.0, 2.0, math.nan, math.inf, -math.inf, None]
    codes = fit("float", numbers)
    assert codes.labels == ("1", "2")
    assert links_of(codes, "float", numbers) == [{"0"}, {"1"}, *[{"missing"}] * 4]
    assert names_of(codes, "float", None) == []


def test_integers_too_large_for_a_float_are_read() -> None:
    codes = fit("int", [2**62, 2**62 + 2**40, 3, 5])
    assert links_of(codes, "int", [3, 2**62 + 1]) == [{"0", "0-1"}, {"2", "1-2", "2-3"}]


@pytest.mark.parametrize("kind", ["string", "int", "float", "bool", "time", "list", "point"])
@pytest.mark.parametrize("values", [[], [None, None]], ids=["no rows", "all missing"])
def test_empty_columns(kind: str, values: Rows) -> None:
    tables = make_books(kind, values)
    found = fit_values(tables).derive(tables)
    n_nodes = 1 if values else 0
    assert found.nodes["book.size"].to_pylist() == [{"id": "missing", "name": None}] * n_nodes
    assert len(found.edges["book.size"]) == len(values)
    to_hetero(sort_tables(found))


def test_equal_values_are_one_node() -> None:
    tables = make_books("int", [7, 7, 7])
    found = fit_values(tables).derive(tables)
    assert found.nodes["book.size"].to_pylist() == [{"id": "0", "name": "size 7"}]
    assert edges_of(found, "book.size") == {("b0", "0"), ("b1", "0"), ("b2", "0")}


def test_a_value_of_one_node_is_no_node() -> None:
    tables = make_books("string", [f"isbn {row}" for row in range(50)])
    found = fit_values(tables).derive(tables)
    assert not len(found.nodes["book.size"])
    assert not len(found.edges["book.size"])
    tables = make_books("list", [["rare", "rare"], ["often"], ["often", "often"], ["x" * 10_000, "often"]])
    found = fit_values(tables).derive(tables)
    assert found.nodes["book.size"]["id"].to_pylist() == ["often"]
    assert edges_of(found, "book.size") == {("b1", "often"), ("b2", "often"), ("b3", "often")}


def test_tables_without_features_stay_as_they_are() -> None:
    tables = make_tables(make_schema())
    assert fit_values(tables).derive(tables) is tables
    assert derive_schema(tables.schema) is tables.schema


def make_authored() -> GraphTables:
    """Two books of one author, one of two, one of none; an author knows a reader."""
    schema = make_schema(book={"price": "float"}, author={"born": "int", "tags": "list"}, reader={"age": "int"})
    return make_tables(
        schema,
        book={"price": [1.0, 1.0, 2.0, 2.0]},
        author={"born": [30, 30, 40], "tags": [["poet"], ["poet", "judge"], ["judge"]]},
        reader={"age": [18, 18]},
        written_by=[("b0", "a0"), ("b1", "a0"), ("b2", "a1"), ("b2", "a2"), ("b1", "a1")],
        knows=[("a2", "r1")],
    )


def test_the_values_of_an_entity_reach_items_and_users_over_their_links() -> None:
    tables = make_authored()
    found = fit_values(tables).derive(tables)
    assert found.schema == derive_schema(tables.schema)
    assert edges_of(found, "author.tags") == {("a0", "poet"), ("a1", "poet"), ("a1", "judge"), ("a2", "judge")}
    assert edges_of(found, "written_by.author.tags") == {
        ("b0", "poet"), ("b1", "poet"), ("b1", "judge"), ("b2", "poet"), ("b2", "judge"),
    }  # fmt: skip
    assert edges_of(found, "knows.author.tags") == {("r1", "judge")}
    # 40 is the year of one author, so it is no value node.
    assert found.nodes["author.born"].to_pylist() == [{"id": "0", "name": "born 30"}]
    assert edges_of(found, "written_by.author.born") == {("b0", "0"), ("b1", "0"), ("b2", "0")}
    assert found.schema.edges["knows.author.born"].source == "reader"
    to_hetero(sort_tables(found))


def test_derived_types_are_found_by_their_names() -> None:
    schema = make_authored().schema
    assert split_name(schema, "author.born") == ("author", "born")
    assert split_path(schema, "written_by.author.born") == ("written_by", "author.born")
    with pytest.raises(KeyError):
        split_name(schema, "author.died")
    derived = derive_schema(schema)
    assert {name for name, node in derived.nodes.items() if node.derived} == {
        "book.price", "author.born", "author.tags", "reader.age",
    }  # fmt: skip
    assert [edge.phrase for edge in (derived.edges["author.tags"], derived.edges["author.born"])] == ["tag", ""]


def test_deriving_twice_changes_nothing() -> None:
    tables = make_authored()
    values = fit_values(tables)
    once = values.derive(tables)
    assert fit_values(once).codes == values.codes
    twice = values.derive(once)
    assert twice.schema == once.schema
    for name in once.edges:
        assert edges_of(twice, name) == edges_of(once, name)
    for name, table in once.nodes.items():
        assert twice.nodes[name].equals(table)


TAGS = st.lists(st.lists(st.sampled_from("abcde"), max_size=3), max_size=8)


@given(TAGS, TAGS)
def test_later_tables_have_the_known_values_and_no_others(before: list[list[str]], after: list[list[str]]) -> None:
    tables, later = (make_books("list", tags) for tags in (before, after))
    values = fit_values(tables)
    known = values.derive(tables).nodes["book.size"]["id"].to_pylist()
    found = AttributeValues(values.codes).derive(later, {"book.size": IdMap(tuple(known))})
    assert found.nodes["book.size"]["id"].to_pylist() == known
    expected = {(f"b{row}", tag) for row, tags in enumerate(after) for tag in tags or ["missing"] if tag in known}
    assert edges_of(found, "book.size") == expected


@pytest.mark.parametrize("value", ["false", "True", "no", "?", "unknown"])
def test_values_that_say_nothing_by_themselves_have_no_name(value: str) -> None:
    codes = fit_codes("smoker", "string", pa.array([value, "sometimes"]))
    assert (codes.name(value, "smoker"), codes.name("sometimes", "smoker")) == (None, "sometimes")


@pytest.mark.parametrize(
    ("attribute", "kind", "phrase"),
    [
        ("features", "list", "feature"),
        ("main_categories", "list", "main category"),
        ("colour", "string", "colour"),
        ("series", "string", "series"),
        ("brand.name", "string", "brand"),
        ("price.amount", "float", ""),
    ],
)
def test_a_phrase_names_one_shared_value(attribute: str, kind: AttributeType, phrase: str) -> None:
    schema = make_authored().schema
    book = schema.nodes["book"].model_copy(update={"attributes": {attribute: Attribute(type=kind, feature=True)}})
    nodes = {**schema.nodes, "book": NodeType.model_validate(book.model_dump())}
    derived = derive_schema(schema.model_copy(update={"nodes": nodes}))
    assert derived.edges[f"book.{attribute}"].phrase == phrase
