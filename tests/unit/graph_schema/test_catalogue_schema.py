"""Tables and relationships whose layout differs from the catalogue's."""

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from graph_schema import Attribute, CatalogueError, CatalogueSchema, NodeType
from graph_schema.staging import build_tables

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
    assert (
        digest == "bdd38a0204a63da7d585c02fee65fb52cd3415b0235e39379f6438e461790640"
    )  # of existing bundles and stores
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
    with pytest.raises(CatalogueError, match=r"missing: source.*unknown: buy"):
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
