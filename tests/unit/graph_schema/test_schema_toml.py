from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueSchema
from graph_schema.schema_toml import to_toml, write_interaction, write_schema
from graph_schema.schema_types import Attribute, EdgeType, Interaction, NodeType, SourceTable, is_label, is_name

SHOP = """name = "shop"

[nodes.item]
label = "Item"
key = "id"

[nodes.item.attributes]
colour = {type = "string", feature = true, sensitive = true}
year = {type = "int", feature = true}
place = {type = "point", feature = true}

[nodes.user]
label = "User"
key = "id"
public = true

[edges.rated]
source = "user"
type = "RATED"
target = "item"

[interaction]
edge = "rated"
"""


def with_attributes(attributes: dict[str, Attribute]) -> CatalogueSchema:
    schema = CatalogueSchema.parse(SHOP)
    item = schema.nodes["item"].model_copy(update={"attributes": attributes})
    return schema.model_copy(update={"nodes": {**schema.nodes, "item": item}})


def test_an_attribute_is_written_as_a_type_or_an_inline_table() -> None:
    assert to_toml(CatalogueSchema.parse(SHOP)) == SHOP


def test_a_comment_stands_behind_an_inline_table() -> None:
    comments = {("nodes", "item", "attributes", "year"): "from 1990 to 2020"}
    text = write_schema(CatalogueSchema.parse(SHOP), comments, ())
    assert 'year = {type = "int", feature = true}     # from 1990 to 2020\n' in text
    assert CatalogueSchema.parse(text) == CatalogueSchema.parse(SHOP)


names = st.from_regex(r"[A-Za-z][\w .-]{0,4}[a-z]", fullmatch=True).filter(lambda name: name != "id")
scalars = st.sampled_from(["string", "int", "float", "bool", "time", "list"])
attributes = (
    st.builds(Attribute, type=scalars, feature=st.booleans(), sensitive=st.booleans())
    | st.builds(Attribute, type=st.just("point"), feature=st.booleans())
    | st.just(Attribute(type="vector"))
)


@settings(deadline=None)
@given(st.dictionaries(names, attributes, max_size=6))
def test_any_attributes_survive_toml(chosen: dict[str, Attribute]) -> None:
    schema = with_attributes(chosen)
    assert CatalogueSchema.parse(to_toml(schema)) == schema


any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
labels = any_text.filter(is_label)
plain_names = st.from_regex(r"[A-Za-z][a-z0-9 ._-]{0,6}", fullmatch=True).filter(is_name)
formats = st.sampled_from(["%d/%m/%Y", "%m/%d/%y %H:%M"])


@st.composite
def sources(draw) -> CatalogueSchema:
    """Schemas of graphs and files that kgrec did not make."""
    first, second, time = draw(st.lists(labels, min_size=3, max_size=3, unique=True))
    user = NodeType(labels=(first, second), key=first, table=draw(st.none() | any_text))
    item = NodeType(
        label=time,
        key=second,
        attributes={first: Attribute(type="bool"), time: Attribute(type="time")},
        time_formats={time: draw(formats)},
        available={first: draw(st.booleans())},
        from_edges=draw(st.booleans()),
    )
    ends = {"source": "user", "target": "item"}
    bought = EdgeType(
        **ends, path=(first, f"<{second}"), join=draw(st.sampled_from([(), ("a", ), ("a=b",)])),
        attributes={"n": "float", "at": "time"}, time_formats={"at": draw(formats)},
    )  # fmt: skip
    seen = EdgeType(
        **ends, type=draw(labels), table=draw(any_text), split=draw(any_text), where={draw(labels): draw(any_text)},
        source_column=draw(labels) + "1", target_column="2",
    )  # fmt: skip
    return CatalogueSchema(
        name="x",
        nodes={"user": user, "item": item},
        edges={"bought": bought, "seen": seen},
        interaction=Interaction(
            edge="bought",
            weight="n",
            at="at",
            positive=draw(st.none() | st.floats(allow_nan=False)),
            repeats=draw(st.sampled_from(["latest", "greatest", "sum", "count"])),
            other_feedback={"seen": draw(st.floats(allow_nan=False, allow_infinity=False))},
        ),
        tables=draw(
            st.dictionaries(
                plain_names,
                st.builds(
                    SourceTable,
                    file=st.lists(any_text, max_size=2).map(tuple),
                    columns=st.just(tuple(dict.fromkeys(("a", first)))) | st.just(()),
                    delimiter=st.none() | any_text,
                    encoding=st.none() | any_text,
                ),
                max_size=3,
            )
        ),
    )


@settings(deadline=None, max_examples=60)
@given(sources())
def test_any_source_survives_toml(schema: CatalogueSchema) -> None:
    assert CatalogueSchema.parse(to_toml(schema)) == schema


def test_the_tables_of_files_are_written_last() -> None:
    schema = CatalogueSchema.parse(
        SHOP + '\n[tables.rated]\nfile = ["r.dat"]\ncolumns = ["u", "i"]\ndelimiter = "::"\n'
    )
    assert to_toml(schema).endswith('[tables.rated]\nfile = ["r.dat"]\ncolumns = ["u", "i"]\ndelimiter = "::"\n')


def test_whole_numbers_are_written_without_a_fraction() -> None:
    lines = write_interaction(
        Interaction(edge="rated", weight="n", positive=4.0, other_feedback={"no": -1.0, "a": 0.5})
    )
    assert lines[3:] == ["positive = 4", "other_feedback = {no = -1, a = 0.5}"]
