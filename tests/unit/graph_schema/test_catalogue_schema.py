"""Tables and relationships whose layout differs from the catalogue's."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from graph_schema import Attribute, CatalogueError, CatalogueSchema, NodeType
from graph_schema.checks.staging import build_tables

SCHEMA = """
name = "shop"
[nodes.user]
label = "User"
key = "id"
from_edges = true
[nodes.item]
label = "Item"
key = "id"
from_edges = true
[edges.bought]
source = "user"
type = "BOUGHT"
target = "item"
attributes = { at = "time" }
%s
[interaction]
edge = "bought"
at = "at"
"""


def parse(more: str = "") -> CatalogueSchema:
    return CatalogueSchema.parse(SCHEMA % more)


def test_the_digest_depends_on_direction_and_not_on_table_layout():
    digest = parse().digest
    assert parse('milliseconds = ["at"]\nsource_column = "u"\ntarget_column = "i"\nignore = ["x"]').digest == digest
    assert parse("reverse = true").digest != digest


def test_a_reversed_relationship_starts_at_the_target():
    assert parse().edges["bought"].ends == ("user", "item")
    assert parse("reverse = true").edges["bought"].ends == ("item", "user")


def test_two_edge_types_may_not_be_the_same_relationships():
    again = '[edges.again]\nsource = "item"\ntype = "BOUGHT"\ntarget = "user"\nreverse = %s'
    CatalogueSchema.parse((SCHEMA % "") + again % "false")
    with pytest.raises(CatalogueError, match="must be used once"):
        CatalogueSchema.parse((SCHEMA % "") + again % "true")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('milliseconds = ["when"]', "bought: milliseconds names 'when'; expected an attribute of type 'time'"),
        ('source_column = "x"\ntarget_column = "x"', "both ends are in the column 'x'"),
    ],
)
def test_contradictory_schemas_are_errors(more, message):
    with pytest.raises(CatalogueError, match=message):
        parse(more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('text = ["n"]\nattributes = { n = "int" }', "nodes.item: text names 'n', a int; expected columns of type"),
        ('name = "n"\nattributes = { n = "list" }', "nodes.item: the name 'n' is a list"),
        ('attributes = { n = { type = "point", sensitive = true } }', "points have no groups to compare"),
        ("derived = true", "nodes.item: `derived` marks what kgrec makes of attributes"),
    ],
)
def test_columns_that_cannot_be_read_so_are_errors(more, message):
    with pytest.raises(CatalogueError, match=message):
        CatalogueSchema.parse((SCHEMA % "").replace("[nodes.item]", f"[nodes.item]\n{more}"))


def test_a_list_may_be_a_text_and_an_attribute():
    more = 'text = ["about", "tags"]\nattributes = { tags = { type = "list", feature = true } }'
    item = CatalogueSchema.parse((SCHEMA % "").replace("[nodes.item]", f"[nodes.item]\n{more}")).nodes["item"]
    assert list(item.columns.items())[1:] == [("about", "string"), ("tags", "list")]
    assert (item.text, item.features) == (("about", "tags"), ("tags",))


def test_what_is_derived_survives_json_and_a_feature_keeps_its_name():
    schema = parse()
    value = NodeType(label="item.year", key="id", derived=True)
    item = schema.nodes["item"].model_copy(update={"attributes": {"year": Attribute(type="int", feature=True)}})
    data = schema.model_copy(update={"nodes": {**schema.nodes, "item": item, "item.year": value}}).model_dump(
        mode="json"
    )
    assert CatalogueSchema.model_validate(data).nodes["item.year"].derived
    data["nodes"]["item.year"]["derived"] = False
    with pytest.raises(ValidationError, match="the feature 'year' of 'item' needs that name"):
        CatalogueSchema.model_validate(data)


def build(schema: CatalogueSchema, **columns) -> list[dict]:
    return build_tables(schema, {}, {"bought": pa.table(columns)}).interactions.to_pylist()


def test_edge_ends_are_read_from_the_columns_in_the_schema():
    schema = parse('source_column = "buyer"\ntarget_column = "what"\nignore = ["source", "target"]')
    rows = [{"source": "u", "target": "i", "at": 5}]
    assert build(schema, buyer=["u"], what=["i"], at=[5], source=["web"], target=["x"]) == rows
    assert build(schema, source=["u"], target=["i"], at=[5]) == rows  # as a database returns them
    with pytest.raises(CatalogueError, match=r"columns buyer, what, at.*missing: buyer;.*mean 'buy' by 'buyer'"):
        build(schema, buy=["u"], what=["i"], at=[5])


def test_milliseconds_become_seconds():
    schema = parse('milliseconds = ["at"]')
    times = ["1600000000999", "2020-09-13T12:26:40Z"]
    assert [row["at"] for row in build(schema, source=["u", "v"], target=["i", "i"], at=times)] == [1_600_000_000] * 2
    with pytest.raises(CatalogueError, match="looks like milliseconds"):
        build(parse(), source=["u"], target=["i"], at=[1_600_000_000_999])


def test_a_misspelt_name_gets_a_suggestion():
    text = (Path(__file__).parents[3] / "graph_schema/catalogues/movielens-100k.toml").read_text(encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"interaction\.postive is unknown: did you mean 'positive'\?"):
        CatalogueSchema.parse(text.replace("positive = 4", "postive = 4"))
    with pytest.raises(CatalogueError, match=r"nodes\.movie\.lable is unknown: did you mean 'label'\?"):
        CatalogueSchema.parse(text.replace('label = "Movie"', 'label = "Movie"\nlable = "Movie"'))


SHOP = """
name = "shop"
[nodes.item]
labels = ["Artikel", "Büro/Möbel"]
key = "artikel-nr (neu)"
available = { discontinued = false }
[nodes.item.attributes]
discontinued = "bool"
[nodes.customer]
label = "Kunde:in"
key = "id"
from_edges = true
[tables.lines]
file = "order_lines*.csv"
[edges.bought]
source = "customer"
path = ["PURCHASED", "<LINE_OF"]
target = "item"
attributes = { quantity = "int", at = "time" }
time_formats = { at = "%d/%m/%Y" }
[edges.viewed]
source = "customer"
type = "VIEWED"
target = "item"
[interaction]
edge = "bought"
weight = "quantity"
at = "at"
repeats = "sum"
other_feedback = { viewed = 0.2 }
"""


def test_a_graph_as_people_have_it_can_be_described():
    schema = CatalogueSchema.parse(SHOP)
    assert schema.nodes["item"].label == "Artikel"
    assert schema.nodes["item"].all_labels == ("Artikel", "Büro/Möbel")
    assert schema.edges["bought"].type == "PURCHASED_LINE_OF"
    assert schema.tables["lines"].file == ("order_lines*.csv",)
    assert list(schema.graph_edges) == []  # what people viewed is no knowledge about items


def test_what_a_store_holds_does_not_depend_on_how_its_source_looks():
    schema = CatalogueSchema.parse(SHOP)
    assert schema.stored.digest == schema.digest == schema.stored.stored.digest
    assert schema.stored.edges["bought"].path == ()
    assert schema.stored.nodes["item"].all_labels == ("Artikel",)
    assert not schema.stored.tables
    for changed in (
        SHOP.replace('repeats = "sum"', 'repeats = "sum"\npositive = 3'),
        SHOP.replace('type = "VIEWED"', 'type = "VIEWED"\nphrase = "look at"'),
        SHOP.replace("available = { discontinued = false }\n", ""),
        SHOP.replace('file = "order_lines*.csv"', 'file = "lines.csv"'),
    ):
        assert CatalogueSchema.parse(changed).digest == schema.digest
    assert CatalogueSchema.parse(SHOP.replace('repeats = "sum"', 'repeats = "latest"')).digest != schema.digest


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('path = ["PURCHASED", "<LINE_OF"]', 'path = ["PURCHASED"]', "path: expected two steps or more"),
        ('path = ["PURCHASED", "<LINE_OF"]', 'path = ["A", "B"]\nreverse = true', "neither reverse, split nor table"),
        ('path = ["PURCHASED", "<LINE_OF"]', 'path = ["A", "B"]\njoin = ["x", "y"]', "expected 1 columns"),
        ("discontinued = false", "stock = true", "available names 'stock'"),
        ("discontinued = false", "discontinued = 0", "'discontinued' is a bool, got 0"),
        ('"Büro/Möbel"', '"Artikel"', "labels: expected each once"),
        ('"%d/%m/%Y"', '"day first"', "expected how the text of 'at' is written"),
        ("viewed = 0.2", "seen = 0.2", "other_feedback names 'seen'"),
        ('weight = "quantity"\n', "", "repeats = 'sum' needs a weight"),
        ("[nodes.customer]", '[nodes."1st"]', "'1st' is not a name of a type"),
    ],
)
def test_what_cannot_be_is_an_error(before, after, message):
    with pytest.raises(CatalogueError, match=message):
        CatalogueSchema.parse(SHOP.replace(before, after))


def test_what_was_not_chosen_is_no_like():
    chosen = CatalogueSchema.parse(SHOP).interaction
    assert chosen.is_like(np.array([-2, 0, 1, 600])).tolist() == [False, False, True, True]
    assert chosen.model_copy(update={"positive": 2}).is_like(np.array([1, 2])).tolist() == [False, True]
    assert chosen.model_copy(update={"weight": None}).is_like(np.zeros(2)).tolist() == [True, True]
