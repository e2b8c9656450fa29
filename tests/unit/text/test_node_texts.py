import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, GraphTables
from kgrec.text.node_texts import build_node_texts

SCHEMA = """
name = "films"
[nodes.movie]
label = "Movie"
key = "movie_id"
name = "title"
text = ["title", "genres", "plot"]
[nodes.person]
label = "Person"
key = "person_id"
name = "full_name"
[nodes.saga]
label = "Saga"
key = "saga_id"
[nodes.user]
label = "User"
key = "user_id"
[edges.directed_by]
source = "movie"
type = "DIRECTED_BY"
target = "person"
phrase = "director"
[edges.acted_in]
source = "person"
type = "ACTED_IN"
target = "movie"
[edges.part_of]
source = "movie"
type = "PART_OF"
target = "saga"
[edges.rated]
source = "user"
type = "RATED"
target = "movie"
[interaction]
edge = "rated"
"""


def make_tables(
    schema: CatalogueSchema, nodes: dict[str, list[dict[str, object]]], edges: dict[str, str]
) -> GraphTables:
    """`edges`: edge type -> "source>target source>target ..."."""
    pairs = {name: [pair.split(">") for pair in edges.get(name, "").split()] for name in schema.edges}
    return GraphTables(
        schema,
        {
            name: pa.Table.from_pylist(nodes.get(name, []), schema=node.arrow_schema)
            for name, node in schema.nodes.items()
        },
        {
            name: pa.Table.from_pylist([{"source": s, "target": t} for s, t in pairs[name]], schema=edge.arrow_schema)
            for name, edge in schema.edges.items()
        },
    )


NODES: dict[str, list[dict[str, object]]] = {
    "movie": [
        {"movie_id": "m2", "title": "Heat", "genres": "Crime", "plot": " A thief and a cop. "},
        {"movie_id": "m1", "title": "Who?", "genres": "", "plot": None},
        {"movie_id": "m3", "title": None, "genres": " ", "plot": None},
        {"movie_id": "m4", "title": None, "genres": None, "plot": "Nobody knows."},
    ],
    "person": [{"person_id": "p1", "full_name": "Michael Mann"}, {"person_id": "p2"}, {"person_id": "p3"}],
    "saga": [{"saga_id": "s1"}, {"saga_id": "s2"}],
    "user": [{"user_id": "u1"}],
}
EDGES = {
    "directed_by": "m2>p1 m3>p1 m2>p2 m1>p2 m4>p2",
    "acted_in": "p2>m2 p1>m3",
    "part_of": "m3>s1",
    "rated": "u1>m3",
}


def test_texts_by_hand() -> None:
    texts = build_node_texts(make_tables(CatalogueSchema.parse(SCHEMA), NODES, EDGES))
    assert texts == {
        # m3 has no text of its own: both directions of edges give it one, with the phrase where there is one
        "movie": [
            "Heat. Crime. A thief and a cop.",
            "Who?",
            "director: Michael Mann. acted in: Michael Mann",
            "Nobody knows.",
        ],
        # p2 has no name: its films by id (m1, m2, m4), the nameless one by the start of its text
        "person": ["Michael Mann", "director of: Who?; Heat; Nobody knows. acted in: Heat", None],
        # s1 is linked to a film with neither name nor text, s2 to nothing: nothing is invented
        "saga": [None, None],
    }


def test_text_from_chooses_the_edges() -> None:
    schema = CatalogueSchema.parse(SCHEMA.replace('name = "full_name"', 'text_from = ["acted_in"]'))
    nodes = {**NODES, "person": [{"person_id": f"p{i}"} for i in (1, 2, 3)]}
    assert build_node_texts(make_tables(schema, nodes, EDGES))["person"] == [None, "acted in: Heat", None]


def test_interactions_are_not_described_unless_named() -> None:
    by_users = SCHEMA.replace('key = "saga_id"', 'key = "saga_id"\ntext_from = ["part_of"]').replace(
        'key = "user_id"', 'key = "user_id"\nname = "nick"'
    )
    nodes = {**NODES, "user": [{"user_id": "u1", "nick": "Ann"}]}
    plain = build_node_texts(make_tables(CatalogueSchema.parse(by_users), nodes, {"rated": "u1>m3"}))
    assert plain["movie"][2] is None
    asked = by_users.replace('text = ["title", "genres", "plot"]', 'text = ["title"]\ntext_from = ["rated"]')
    schema = CatalogueSchema.parse(
        asked.replace("[nodes.person]", '[nodes.movie.attributes]\ngenres = "string"\nplot = "string"\n[nodes.person]')
    )
    assert build_node_texts(make_tables(schema, nodes, {"rated": "u1>m3"}))["movie"][2] == "rated: Ann"


def test_users_with_texts_are_encoded() -> None:
    schema = CatalogueSchema.parse(SCHEMA.replace('key = "user_id"', 'key = "user_id"\ntext = ["about"]'))
    texts = build_node_texts(make_tables(schema, {**NODES, "user": [{"user_id": "u1", "about": "likes noir"}]}, EDGES))
    assert texts["user"] == ["likes noir"]


def test_a_user_without_a_text_is_described_neither_by_a_name_nor_by_others() -> None:
    described = SCHEMA.replace('key = "user_id"', 'key = "user_id"\nname = "nick"\ntext = ["about"]').replace(
        "[edges.part_of]", '[edges.knows]\nsource="user"\ntype="KNOWS"\ntarget="user"\n[edges.part_of]'
    )
    users = [{"user_id": "u1", "about": "likes noir", "nick": "Ann"}, {"user_id": "u2", "about": " ", "nick": "Bo"}]
    tables = make_tables(CatalogueSchema.parse(described), {**NODES, "user": users}, {"knows": "u2>u1 u1>u2"})
    assert build_node_texts(tables)["user"] == ["likes noir", None]


@pytest.mark.parametrize("turn", [1, -1])
def test_five_neighbours_by_id_whatever_the_order_of_the_tables(turn: int) -> None:
    movies = [{"movie_id": f"m{i}", "title": f"Film {i}"} for i in range(8)][::turn]
    edges = {"directed_by": " ".join([f"m{i}>p" for i in range(8)][::-turn])}
    texts = build_node_texts(
        make_tables(CatalogueSchema.parse(SCHEMA), {"movie": movies, "person": [{"person_id": "p"}]}, edges)
    )
    assert texts["person"] == ["director of: Film 0; Film 1; Film 2; Film 3; Film 4"]


def test_both_ends_of_the_same_type_describe_each_other() -> None:
    schema = CatalogueSchema.parse(
        SCHEMA.replace(
            "[edges.part_of]", '[edges.sequel_of]\nsource="movie"\ntype="SEQUEL_OF"\ntarget="movie"\n[edges.part_of]'
        )
    )
    nodes = {"movie": [{"movie_id": "a", "title": "Heat"}, {"movie_id": "b"}, {"movie_id": "c", "title": "Speed"}]}
    texts = build_node_texts(make_tables(schema, nodes, {"sequel_of": "b>a c>b"}))
    assert texts["movie"] == ["Heat", "sequel of: Heat. sequel of: Speed", "Speed"]


def test_an_empty_catalogue_has_empty_lists() -> None:
    assert build_node_texts(make_tables(CatalogueSchema.parse(SCHEMA), {}, {})) == {
        "movie": [],
        "person": [],
        "saga": [],
    }


def test_lists_and_categories_are_read_with_the_other_text_columns() -> None:
    schema = CatalogueSchema.parse(
        SCHEMA.replace(
            "[nodes.person]",
            '[nodes.movie.attributes]\ngenres = {type = "list", feature = true}\nplot = "string"\n[nodes.person]',
        )
    )
    movies = [
        {"movie_id": "a", "title": "Heat", "genres": ["Crime", "Drama"], "plot": "A thief."},
        {"movie_id": "b", "title": None, "genres": ["Drama"], "plot": None},
        {"movie_id": "c", "title": "Speed", "genres": None, "plot": " "},
        {"movie_id": "d", "title": None, "genres": None, "plot": None},
    ]
    texts = build_node_texts(make_tables(schema, {"movie": movies}, {}))
    assert texts["movie"] == ["Heat. Crime, Drama. A thief.", "Drama", "Speed", None]


def test_the_place_for_a_name_in_a_phrase_is_not_part_of_a_text() -> None:
    schema = CatalogueSchema.parse(SCHEMA.replace('phrase = "director"', 'phrase = "made by {}"'))
    nodes = {"movie": [{"movie_id": "a"}, {"movie_id": "b", "title": "Ran"}], "person": [{"person_id": "p"}]}
    nodes["person"].append({"person_id": "q", "full_name": "Mann"})
    texts = build_node_texts(make_tables(schema, nodes, {"directed_by": "a>q b>p"}))
    assert (texts["movie"], texts["person"]) == (["made by: Mann", "Ran"], ["directed by: Ran", "Mann"])
