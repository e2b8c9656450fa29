"""`kgrec preview` on the command line: of a folder, of a store, and of a graph that kgrec did not load."""

from conftest import SCHEMA, RunCommand, make_shop

from kgrec.store.neo4j.connection import Connection

GRAPH_SCHEMA = """
name = "shop"
[nodes.item]
label = "Thing"
key = "nr"
name = "name"
[nodes.user]
label = "Kunde"
key = "nr"
[edges.bought]
source = "user"
type = "BOUGHT"
target = "item"
attributes = { n = "int" }
[interaction]
edge = "bought"
weight = "n"
"""


def write_schema(folder):
    (folder / "schema.toml").write_text(SCHEMA)
    return folder / "schema.toml"


def test_a_folder_and_its_store_look_the_same(run: RunCommand, tmp_path) -> None:
    shop, schema, store = make_shop(tmp_path / "shop"), write_schema(tmp_path), f"ladybug:{tmp_path / 'x.db'}"
    of_folder = run("preview", shop, "--schema", schema)
    assert of_folder.code == 0, of_folder
    assert "likes" in of_folder.out and "maker: " in of_folder.out and "text" in of_folder.out
    assert "interactions are likes" in of_folder.out and "stars >= 4" in of_folder.out
    assert run("load", "tabular", "--path", shop, "--schema", schema, "--to", store).code == 0
    of_store = run("preview", store)
    assert of_store.code == 0, of_store
    line = "interactions are likes"
    assert [one for one in of_store.out.splitlines() if line in one] == [
        one for one in of_folder.out.splitlines() if line in one
    ]


def test_a_folder_without_a_schema_is_one_message(run: RunCommand, tmp_path) -> None:
    ran = run("preview", make_shop(tmp_path / "shop"))
    assert ran.code == 2 and "kgrec inspect" in ran.err and "Traceback" not in ran.err


def test_a_graph_that_kgrec_did_not_load(run: RunCommand, neo4j_url: str, tmp_path) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write("UNWIND range(1, 6) AS i CREATE (:Kunde {nr: i}), (:Thing {nr: i, name: 'Thing ' + i})")
        connection.write("MATCH (k:Kunde), (t:Thing) WHERE k.nr <> t.nr CREATE (k)-[:BOUGHT {n: t.nr - 1}]->(t)")
    file = tmp_path / "schema.toml"
    file.write_text(GRAPH_SCHEMA)
    ran = run("preview", neo4j_url, "--schema", file)
    assert ran.code == 0, ran
    assert "25 of 30 interactions are likes (83%): n > 0" in ran.out
    assert "Thing 6 (5)" in ran.out
    without = run("preview", neo4j_url)
    assert without.code == 2 and "--schema" in without.err
