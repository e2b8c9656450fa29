"""Names in a schema that an existing graph does not have are reported with the nearest name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store import open_store, read_tables
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.graph_check import check_graph

SCHEMA = """
name = "films"
[nodes.film]
label = "Film"
key = "id"
name = "title"
text = ["plot"]
attributes = { released = "int" }
[nodes.star]
labels = ["Actor", "Director"]
key = "no"
[nodes.fan]
label = "Fan"
key = "id"
[edges.acted]
source = "star"
type = "ACTED_IN"
target = "film"
attributes = { role = "string" }
[edges.based]
source = "film"
type = "BASED_ON"
target = "film"
[edges.saw]
source = "fan"
path = ["BOUGHT", "<ADMITS"]
target = "film"
attributes = { seats = "int", price = "float" }
[interaction]
edge = "saw"
"""


@pytest.fixture
def connection(neo4j_url: str) -> Iterator[Connection]:
    """Films, their stars, and fans who bought tickets, to which films admit."""
    with Connection(neo4j_url, "write") as opened:
        opened.write(
            "CREATE (f:Film {id: 1, title: 'One', plot: 'A plot', released: 1999, kgrec_vector: [1.0]}), "
            "(:Actor {no: 1})-[:ACTED_IN {role: 'Hero'}]->(f), (:Director {no: 2}), (:Actor:Director {no: 3}), "
            "(f)-[:BASED_ON]->(:Film {id: 2}), (:Fan {id: 'a', nick: 'x'})-[:BOUGHT]->(t:Ticket {seats: 2}), "
            "(f)-[:ADMITS {price: 9.5}]->(t), (:Fan)-[:LIKES]->(f)"
        )
        # what kgrec published is no name for a schema
        opened.write("CREATE (:KgrecRelease {name: 'release'})")
        opened.write("MATCH (f:Film) CREATE (f)-[:ITEM_VECTOR]->(f), (f)-[:SIMILAR_TO]->(f)")
        yield opened


def find_problems(connection: Connection, *changes: tuple[str, str]) -> list[str]:
    text = SCHEMA
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    with pytest.raises(StoreError) as raised:
        check_graph(connection, CatalogueSchema.parse(text))
    first, *told, last = str(raised.value).split("\n")
    assert first == f"the schema 'films' names what {connection.url} does not have:"
    assert "correct the schema" in last
    return [line.strip() for line in told]


def test_a_schema_of_what_is_there_passes(connection: Connection) -> None:
    check_graph(connection, CatalogueSchema.parse(SCHEMA))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"ACTED_IN"', '"ACTEDIN"', "edges.acted: no relationship ACTEDIN; did you mean ACTED_IN?"),
        ('"Fan"', '"Zzz"', "nodes.fan: no node is labelled Zzz; expected one of: Actor, Director, Fan, Film, Ticket"),
        (
            '"ACTED_IN"',
            '"Zzz"',
            "edges.acted: no relationship Zzz; expected one of: ACTED_IN, ADMITS, BASED_ON, BOUGHT, LIKES",
        ),
        ('label = "Film"', 'label = "Flim"', "nodes.film: no node is labelled Flim; did you mean Film?"),
        ('"Director"]', '"Directr"]', "nodes.star: no node is labelled Directr; did you mean Director?"),
        ('key = "no"', 'key = "nr"', "nodes.star: no Actor|Director has the key nr; expected one of: no"),
        ('name = "title"', 'name = "titel"', "nodes.film: no Film has the name titel; did you mean title?"),
        ('["plot"]', '["plott"]', "nodes.film: no Film has the text plott; did you mean plot?"),
        ("released", "relased", "nodes.film: no Film has the property relased; did you mean released?"),
        ("role =", "rolle =", "edges.acted: no ACTED_IN has the property rolle; did you mean role?"),
        ("seats =", "seat =", "edges.saw: no BOUGHT and ADMITS or a node between them has the property seat; did you "),
        ('"BOUGHT"', '"BOUHGT"', "edges.saw: no relationship BOUHGT; it is a step of the path; did you mean BOUGHT?"),
        ('"<ADMITS"', '"ADMITS"', "edges.saw: the path breaks at ADMITS, which goes the other way behind fan"),
        ('["BOUGHT", "<ADMITS"]', '["LIKES", "BOUGHT"]', "edges.saw: the path breaks at BOUGHT: none leads on from"),
        ('"<ADMITS"]', '"<ADMITS", "<ACTED_IN"]', "edges.saw: the path from Fan ends at Actor, not at Film"),
        ('"ACTED_IN"', '"ACTED_IN"\nreverse = true', "edges.acted: ACTED_IN goes from Actor|Director to Film there: "),
        ('"BASED_ON"\ntarget = "film"', '"BASED_ON"\ntarget = "fan"', "edges.based: no BASED_ON links Film and Fan; "),
    ],
)  # fmt: skip
def test_a_name_that_matches_nothing_is_told(connection: Connection, before: str, after: str, said: str) -> None:
    problems = find_problems(connection, (before, after))
    assert len(problems) == 1
    assert problems[0].lower().startswith(said.lower())


def test_a_relationship_that_points_the_other_way_is_told(connection: Connection) -> None:
    turned = 'source = "film"\ntype = "ACTED_IN"\ntarget = "star"'
    (problem,) = find_problems(connection, ('source = "star"\ntype = "ACTED_IN"\ntarget = "film"', turned))
    assert problem == "edges.acted: ACTED_IN goes from Actor|Director to Film there: write reverse = true"


def test_names_that_are_left_over_in_the_database_match_nothing(connection: Connection) -> None:
    connection.write("CREATE (:Actress {born: 1})-[:PLAYED {by: 1}]->(:Actress)")
    connection.write("MATCH (n:Actress) DETACH DELETE n")
    problems = find_problems(
        connection, ('"ACTED_IN"', '"PLAYED"'), ('"Actor"', '"Actress"'), ("released", "born"), ('"id"\n[e', '"by"\n[e')
    )
    assert [problem.split(";")[0] for problem in problems] == [
        "nodes.star: no node is labelled Actress",
        "nodes.film: no Film has the property born",
        "nodes.fan: no Fan has the key by",
        "edges.acted: no relationship PLAYED",
    ]
    assert "kgrec_vector" not in "".join(problems)  # which publishing wrote


def test_edges_that_were_all_deleted_are_told_where_the_schema_is_known_to_fit(connection: Connection) -> None:
    connection.write("MATCH ()-[r:BASED_ON]->() DELETE r")
    schema, told = CatalogueSchema.parse(SCHEMA), list[str]()
    check_graph(connection, schema, told.append)
    assert [sentence.split(";")[0] for sentence in told] == ["edges.based: no relationship BASED_ON"]
    with open_store(connection.url, schema=schema, on_empty=told.append) as store:
        assert read_tables(store, max_rejects=0.2).edges["based"].num_rows == 0
    assert len(told) == 2
    with pytest.raises(StoreError, match="no Film has the property relased"):
        check_graph(connection, CatalogueSchema.parse(SCHEMA.replace("released", "relased")), told.append)


@pytest.mark.parametrize(
    "use", [read_tables, lambda store: store.counts(), lambda store: store.read_nodes("film")], ids=["all", "n", "one"]
)
def test_a_store_that_is_opened_with_a_typo_says_so(connection: Connection, use: Any) -> None:
    schema = CatalogueSchema.parse(SCHEMA.replace("ACTED_IN", "ACTEDIN"))
    with (
        open_store(connection.url, schema=schema) as store,
        pytest.raises(StoreError, match=re.escape("did you mean ACTED_IN?")),
    ):
        use(store)
