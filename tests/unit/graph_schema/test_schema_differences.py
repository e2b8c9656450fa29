from graph_schema import CatalogueSchema
from graph_schema.schema_differences import describe_differences

SCHEMA = """
name = "films"
[nodes.film]
label = "Film"
key = "id"
text = ["title", "plot"]
attributes = { year = "int" }
[nodes.user]
label = "User"
key = "id"
[edges.rated]
source = "user"
type = "RATED"
target = "film"
attributes = { stars = "float", at = "time" }
[interaction]
edge = "rated"
weight = "stars"
"""
HELD = CatalogueSchema.parse(SCHEMA)


def test_what_a_schema_has_more_or_less_is_named():
    more = CatalogueSchema.parse(
        SCHEMA.replace('year = "int"', 'year = "float", country = "string"').replace(', at = "time"', "")
    )
    assert describe_differences(more, HELD) == (
        "nodes.film.attributes has year = float, the store has int; "
        "nodes.film.attributes has country = string, the store has none; "
        "edges.rated.attributes has no at, the store has time"
    )


def test_types_are_named_without_all_that_is_in_them():
    genre = '[nodes.genre]\nlabel = "Genre"\nkey = "name"\n'
    more = CatalogueSchema.parse(SCHEMA.replace("[edges.rated]", f"{genre}[edges.rated]"))
    assert describe_differences(more, HELD) == "nodes has genre, the store has none"
    assert describe_differences(HELD, more) == "nodes has no genre, the store has genre"


def test_the_first_three_are_named_and_the_others_counted():
    other = SCHEMA.replace('"films"', '"books"').replace('"Film"', '"Book"').replace('["title", "plot"]', '["title"]')
    described = describe_differences(CatalogueSchema.parse(other.replace("RATED", "READ").replace('"id"', '"k"')), HELD)
    assert described == (
        "the schema has name = books, the store has films; nodes.film has label = Book, the store has Film; "
        "nodes.film has key = k, the store has id; and 3 more"
    )


def test_what_needs_no_new_load_is_no_difference():
    said = CatalogueSchema.parse(SCHEMA + "positive = 4\n")
    assert describe_differences(said, HELD) == ""
    assert said.digest == HELD.digest
