import numpy as np
import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, GraphTables
from kgrec.evaluate.user_groups import UserGroups, group_values, read_user_groups
from kgrec.graph.hetero import sort_tables


def names_of(groups: UserGroups) -> list[str]:
    return [groups.names[place] for place in groups.group_of]


def test_categories_and_missing_values():
    values = pa.chunked_array([["m", None, "f", " f "], ["", "missing", "m", "10", "9"]])
    groups = group_values("gender", values, "string")
    assert names_of(groups) == ["m", "missing", "f", "f", "missing", "missing", "m", "10", "9"]
    assert groups.names == ("f", "m", "9", "10", "other", "missing")


def test_booleans_and_lists():
    assert names_of(group_values("member", pa.chunked_array([[True, None, False]]), "bool")) == ["yes", "missing", "no"]
    languages = pa.chunked_array([[["no", "en"], ["en", "no"], [], None, ["en"]]])
    assert names_of(group_values("languages", languages, "list")) == ["en, no", "en, no", "missing", "missing", "en"]


def test_rare_categories_are_other():
    values = [f"town{number:02d}" for number in range(40) for _ in range(40 - number)]
    groups = group_values("town", pa.chunked_array([values]), "string")
    assert groups.names == (*(f"town{number:02d}" for number in range(29)), "other", "missing")
    assert names_of(groups).count("other") == sum(40 - number for number in range(29, 40))


def test_few_numbers_are_groups_of_their_own():
    ages = [1, 56, 18, 25, 35, 45, 50, None, 1]
    groups = group_values("age", pa.chunked_array([ages]), "int")
    assert groups.names == ("1", "18", "25", "35", "45", "50", "56", "missing")
    assert names_of(groups) == ["1", "56", "18", "25", "35", "45", "50", "missing", "1"]


def test_many_numbers_are_five_groups_of_users():
    ages = [None, *range(20, 70)]
    groups = group_values("age", pa.chunked_array([pa.array(ages)]), "int")
    assert groups.names == ("20 to 29", "30 to 39", "40 to 49", "50 to 59", "60 to 69", "missing")
    assert names_of(groups)[:2] == ["missing", "20 to 29"]
    assert np.bincount(groups.group_of).tolist() == [10] * 5 + [1]


def test_a_number_that_most_have_is_one_group():
    visits = [0] * 90 + list(range(1, 11))
    groups = group_values("visits", pa.chunked_array([visits]), "int")
    assert groups.names == ("0", "1 to 10", "missing")
    assert np.bincount(groups.group_of).tolist() == [90, 10]


def test_numbers_that_are_not_finite_are_missing_and_names_are_short():
    values = [float("nan"), float("inf"), None, *np.linspace(1000.123456, 2000.123456, 10)]
    groups = group_values("income", pa.chunked_array([pa.array(values, pa.float64())]), "float")
    assert names_of(groups)[:3] == ["missing"] * 3
    assert groups.names[0] == "1000.1 to 1111.2"
    assert groups.names[-2] == "1889 to 2000.1"


def test_times_are_days():
    day = 86_400
    few = group_values("joined", pa.chunked_array([[0, day - 1, day, None, -1]]), "time")
    assert names_of(few) == ["1970-01-01", "1970-01-01", "1970-01-02", "missing", "1969-12-31"]
    many = group_values("joined", pa.chunked_array([[day * number for number in range(10)]]), "time")
    assert many.names == (*(f"1970-01-{2 * n + 1:02d} to 1970-01-{2 * n + 2:02d}" for n in range(5)), "missing")


@pytest.mark.parametrize("kind", ["int", "float", "time", "string", "bool", "list"])
def test_an_attribute_without_values_is_missing(kind: str):
    types = {"string": pa.string(), "bool": pa.bool_(), "list": pa.list_(pa.string()), "float": pa.float64()}
    groups = group_values("any", pa.chunked_array([pa.nulls(3, types.get(kind, pa.int64()))]), kind)
    assert names_of(groups) == ["missing"] * 3


SCHEMA = CatalogueSchema.parse("""
name = "readers"
[nodes.reader]
label = "Reader"
key = "reader_id"
attributes = { age = { type = "int", sensitive = true }, town = "string", club = { type = "string", sensitive = true } }
[nodes.book]
label = "Book"
key = "book_id"
attributes = { price = { type = "float", sensitive = true } }
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")


def test_the_sensitive_attributes_of_users_are_read_in_row_order():
    reader, book, read = (
        one.arrow_schema for one in (SCHEMA.nodes["reader"], SCHEMA.nodes["book"], SCHEMA.edges["read"])
    )
    tables = GraphTables(
        SCHEMA,
        {
            "reader": pa.table([["r3", "r1", "r2"], [30, 10, None], ["Oslo"] * 3, ["c", "a", "b"]], schema=reader),
            "book": pa.table([["b1"], [9.5]], schema=book),
        },
        {"read": pa.table([["r1"], ["b1"]], schema=read)},
    )
    age, club = read_user_groups(sort_tables(tables))
    assert (age.attribute, club.attribute) == ("age", "club")
    assert names_of(age) == ["10", "missing", "30"]
    assert names_of(club) == ["a", "b", "c"]
