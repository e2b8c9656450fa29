from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueSchema
from graph_schema.schema_toml import to_toml, write_schema
from graph_schema.schema_types import Attribute

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
