"""Northwind's graph, in which customers reach products over orders: from `inspect` on, without a hand-made edge."""

import json
from pathlib import Path

import pytest
from conftest import CONFIG, RunCommand
from northwind import CATALOGUE, CHEESES, build_northwind

from graph_schema import CatalogueSchema
from kgrec.recommend import Recommender
from kgrec.store.neo4j.connection import Connection

KINDS = {name: kind for kind, found in CATALOGUE.items() for names in found.values() for name in names}


@pytest.fixture
def northwind(neo4j_url: str) -> str:
    """The url of a database that holds Northwind."""
    with Connection(neo4j_url, "write") as connection:
        build_northwind(connection)
    return neo4j_url


def test_cheeses_are_similar_to_cheeses_and_no_order_is_a_reason(
    run: RunCommand, northwind: str, tmp_path: Path
) -> None:
    draft, bundle, config = tmp_path / "northwind.toml", tmp_path / "bundle", tmp_path / "config.toml"
    config.write_text(CONFIG)
    ran = run("inspect", northwind, "--out", draft)
    assert ran.code == 0, ran.err
    schema = CatalogueSchema.from_toml(draft)
    edge = schema.edges[schema.interaction.edge]
    assert (schema.user_type, edge.path, schema.item_type) == ("customer", ("PURCHASED", "ORDERS"), "product")
    assert (schema.interaction.weight, schema.interaction.at) == ("quantity", "orderDate")
    assert {node.label for node in schema.nodes.values()} == {"Customer", "Product", "Category", "Supplier"}
    assert schema.nodes["product"].name == "productName"
    ran = run("validate", northwind, "--schema", draft)
    assert ran.code == 0, ran.err
    ran = run("train", northwind, "--schema", draft, "--out", bundle, "--config", config)
    assert ran.code == 0, ran.err

    recommender = Recommender.load(bundle)
    ids = dict(zip(recommender.bundle.names["product"], recommender.bundle.items.ids, strict=True))
    found = {name: [each.title for each in recommender.similar(ids[name], k=5)] for name in sorted(CHEESES)}
    n_cheeses = sum(title in CHEESES for titles in found.values() for title in titles)
    assert n_cheeses >= 0.9 * 5 * len(CHEESES), found
    for cheese in ("Camembert Pierrot", "Gorgonzola Telino"):
        assert found[cheese][0] in CHEESES

    request = ("recommend", bundle, "--like", ids["Geitost"], "--like", ids["Queso Cabrales"], "-k", 5, "--explain")
    for store in ((), ("--store", northwind)):
        ran = run(*request, *store, "--format", "json")
        assert ran.code == 0, ran.err
        rows = json.loads(ran.out)
        assert sum(row["title"] in CHEESES for row in rows) >= 4, rows
        text = " ".join(str(row["reason"]) for row in rows)
        assert "order" not in text.lower()
        assert "Company " not in text  # no customer is named
        assert "Dairy Products" in text

    with Connection(northwind, "write") as connection:
        connection.write("MATCH (p:Product {productName: $name}) DETACH DELETE p", {"name": rows[0]["title"]})
    ran = run(*request, "--store", northwind, "--format", "json")
    assert rows[0]["title"] not in [row["title"] for row in json.loads(ran.out)]
    ran = run("sync", northwind, bundle)
    assert ran.code == 0, ran.err
    assert rows[0]["item"] not in Recommender.load(bundle).bundle.items


def test_a_relation_that_is_gone_since_training_is_told_by_sync(
    run: RunCommand, northwind: str, tmp_path: Path
) -> None:
    draft, bundle, config = tmp_path / "northwind.toml", tmp_path / "bundle", tmp_path / "config.toml"
    config.write_text(CONFIG)
    assert run("inspect", northwind, "--out", draft).code == 0
    assert run("train", northwind, "--schema", draft, "--out", bundle, "--config", config).code == 0
    with Connection(northwind, "write") as connection:
        connection.write("MATCH (p:Product)-[r:PART_OF]->(c) CREATE (p)-[:PARTOF]->(c) DELETE r")
    ran = run("sync", northwind, bundle)
    assert ran.code == 0, ran.err
    assert "edges.part_of: no relationship PART_OF; did you mean PARTOF?" in ran.err


@pytest.mark.parametrize("command", ["validate", "train"])
def test_a_typo_is_an_error_with_the_nearest_name(
    run: RunCommand, northwind: str, tmp_path: Path, command: str
) -> None:
    draft, bundle, config = tmp_path / "northwind.toml", tmp_path / "bundle", tmp_path / "config.toml"
    config.write_text(CONFIG)
    assert run("inspect", northwind, "--out", draft).code == 0
    text = draft.read_text(encoding="utf-8")
    draft.write_text(text.replace('"ORDERS"]', '"ODERS"]').replace('"SUPPLIES"', '"SUPPLIED"'), encoding="utf-8")
    options = ("--out", bundle, "--config", config) if command == "train" else ()
    ran = run(command, northwind, "--schema", draft, *options)
    assert "no relationship ODERS; it is a step of the path; did you mean ORDERS?" in ran.err
    assert "edges.supplies: no relationship SUPPLIED; did you mean SUPPLIES?" in ran.err
    assert ran.code == 2
    assert "Traceback" not in ran.err


GRAPHS = {
    "nothing": (),
    "only users": ("UNWIND range(1, 9) AS i CREATE (:User {id: i, name: 'User Number ' + i})",),
    "users who know users": (
        "UNWIND range(1, 9) AS i CREATE (:User {id: i, name: 'User Number ' + i})",
        "MATCH (a:User), (b:User) WHERE a.id < b.id CREATE (a)-[:KNOWS]->(b)",
    ),
    "digits and backticks": (
        "UNWIND range(1, 30) AS i CREATE (:`7up`:`a``b` {id: 'x' + i, n: i}), (:`9` {`key ``1`: i, n: i})",
        "MATCH (a:`7up`), (b:`9`) WHERE (a.n * 3 + b.n) % 4 = 0 CREATE (a)-[:`2 ``rated` {rating: 1 + a.n % 5}]->(b)",
    ),
    "other letters": (
        "UNWIND range(1, 30) AS i CREATE (:`Kunde:in` {nr: i}), "
        "(:`Büro/Möbel` {`Artikel-Nr.`: i, `Name (kurz)`: 'Stuhl ' + i})",
        "MATCH (a:`Kunde:in`), (b:`Büro/Möbel`) WHERE (a.nr * 3 + b.`Artikel-Nr.`) % 4 = 0 "
        "CREATE (a)-[:`kauft:e` {menge: 1 + a.nr % 3}]->(b)",
    ),
    "no properties": ("UNWIND range(1, 9) AS i CREATE (:User)-[:RATED]->(:Film)",),
    "no node with a key": ("UNWIND range(1, 9) AS i CREATE (:User {x: [1.5]})-[:RATED {stars: 3}]->(:Film {y: true})",),
    "float keys": (
        "UNWIND range(1, 30) AS i CREATE (:User {userId: toFloat(i)}), "
        "(:Film {filmId: toFloat(i), title: 'Film No ' + i})",
        "MATCH (u:User), (f:Film) WHERE (u.userId * 3 + f.filmId) % 4 = 0 "
        "CREATE (u)-[:RATED {stars: 1 + toInteger(f.filmId) % 5}]->(f)",
    ),
    "keys twice": (
        "UNWIND range(1, 30) AS i CREATE (:User {userId: i / 2}), (:Film {filmId: i / 2, title: 'Film No ' + i, n: i})",
        "MATCH (u:User), (f:Film) WHERE (u.userId * 3 + f.n) % 4 = 0 CREATE (u)-[:RATED {stars: 1 + f.n % 5}]->(f)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("graph", GRAPHS)
def test_no_graph_ends_in_a_traceback(run: RunCommand, neo4j_url: str, tmp_path: Path, graph: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        for query in GRAPHS[graph]:
            connection.write(query)
    draft = tmp_path / "draft.toml"
    ran = run("inspect", neo4j_url, "--out", draft)
    assert "Traceback" not in ran.err
    assert ran.code in (0, 1, 2) and ran.err.strip()
    if graph in ("digits and backticks", "other letters", "float keys"):
        assert ran.code == 0, ran.err
    if ran.code == 0:  # what is drafted can be read
        found = run("validate", neo4j_url, "--schema", draft, "--fail-on", "never")
        assert found.code == 0, found.err


def test_whole_floats_are_ids_without_a_fraction(run: RunCommand, neo4j_url: str, tmp_path: Path) -> None:
    with Connection(neo4j_url, "write") as connection:
        for query in GRAPHS["float keys"]:
            connection.write(query)
    draft, bundle, config = tmp_path / "draft.toml", tmp_path / "bundle", tmp_path / "config.toml"
    config.write_text(CONFIG)
    assert run("inspect", neo4j_url, "--out", draft).code == 0
    ran = run("train", neo4j_url, "--schema", draft, "--out", bundle, "--config", config)
    assert ran.code == 0, ran.err
    ran = run("recommend", bundle, "--user", "12", "-k", 3, "--store", neo4j_url, "--format", "json")
    assert ran.code == 0, ran.err
    assert len(json.loads(ran.out)) == 3
