"""Neo4j through the command line: a catalogue that kgrec loads, and an existing graph."""

import json
import re
from pathlib import Path

import pytest
from conftest import CONFIG, N_PRODUCTS, WORDS, RunCommand, Shop
from rounding import assert_same_but_for_rounding

from kgrec.errors import StoreError
from kgrec.recommend import Recommender
from kgrec.store import open_store, read_tables
from kgrec.store.neo4j.connection import Connection


def test_a_loaded_catalogue_is_trained_and_queried_by_cypher(
    run: RunCommand, shop: Shop, neo4j_url: str, tmp_path: Path
) -> None:
    assert run(*shop.load_args(to=neo4j_url)).code == 0
    assert "rows in" in run(*shop.load_args(to=neo4j_url)).err
    with open_store(shop.store, mode="read") as embedded, open_store(neo4j_url, mode="read") as store:
        expected, got = read_tables(embedded), read_tables(store)
    assert all(got.nodes[name].equals(expected.nodes[name]) for name in expected.nodes)
    assert all(got.edges[name].equals(expected.edges[name]) for name in expected.edges)

    bundles = []
    for name, url in (("embedded", shop.store), ("neo4j", neo4j_url)):
        ran = run("train", url, "--out", tmp_path / name, "--config", shop.config, "--seed", 1)
        assert ran.code == 0, ran.err
        bundles.append(Recommender.load(tmp_path / name))
    assert_same_but_for_rounding(*(bundle.recommend_many(bundle.bundle.users.ids, k=5) for bundle in bundles))

    assert run("validate", neo4j_url).code in (0, 1)
    ran = run("publish", tmp_path / "neo4j", "--to", neo4j_url, "--neighbours", 3, "--recommend", 3)
    assert ran.code == 0, ran.err
    with Connection(neo4j_url, "read") as connection:
        rows = connection.read(
            "MATCH (live:KgrecRelease) MATCH (c:Customer {customer_id: $id})-[r:RECOMMENDED]->(p:Product) "
            "WHERE r.version = live.version RETURN p.sku ORDER BY r.score DESC, p.sku",
            {"id": "c-000"},
        )
    assert [sku for (sku,) in rows] == list(bundles[1].recommend(user="c-000", k=3).ids)

    args = ("explain", tmp_path / "neo4j", "--user", "c-000", "--item", rows[0][0], "--store", neo4j_url)
    assert "maker" in run(*args).out
    with Connection(neo4j_url, "write") as connection:
        connection.write("MATCH (:Product)-[r:MADE_BY]->() DELETE r")
    assert "same maker" not in run(*args).out

    ran = run("sync", neo4j_url, tmp_path / "neo4j", "--format", "json")
    assert ran.code == 0, ran.err
    json.loads(ran.out)


def make_warehouse(connection: Connection) -> None:
    """The shop as a foreign graph: other names, integer keys, dates, lists, two labels, an invalid row."""
    kinds = list(WORDS)
    goods = [
        [nr, WORDS[kinds[nr % 2]][nr % 3].title(), kinds[nr % 2], ["neu", kinds[nr % 2]]] for nr in range(N_PRODUCTS)
    ]
    connection.write(
        "UNWIND $rows AS row MERGE (g:Warengruppe:Ding {kürzel: row[2]}) "
        "CREATE (a:Artikel:Ding {artnr: row[0], bezeichnung: row[1], merkmale: row[3]})-[:GEHÖRT_ZU]->(g)",
        {"rows": goods},
    )
    sales = [
        [customer, place]
        for customer in range(60)
        for place in range(customer % 2, N_PRODUCTS, 2)
        if (customer * 7 + place) % 5
    ]
    connection.write(
        "UNWIND range(0, 59) AS nr CREATE (:Kunde {nr: nr}) ",
    )
    connection.write(
        "UNWIND $rows AS row MATCH (k:Kunde {nr: row[0]}) MATCH (a:Artikel {artnr: row[1]}) "
        "WITH k, a, datetime({epochSeconds: 1700000000 + row[0] * 1000 + row[1]}) AS am, 1 + row[1] % 3 AS menge "
        "CREATE (k)-[:KAUFTE {am: am, menge: menge}]->(a)",
        {"rows": sales},
    )
    connection.write("CREATE (:Artikel:Ding {bezeichnung: 'ohne Nummer'})")


def count_all(connection: Connection) -> list[list[object]]:
    return connection.read(
        "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN labels(n), properties(n), count(r), elementId(n) AS id ORDER BY id"
    )


def test_a_graph_made_by_hand_is_inspected_trained_validated_explained_and_published_to(
    run: RunCommand, neo4j_url: str, tmp_path: Path
) -> None:
    with Connection(neo4j_url, "write") as connection:
        make_warehouse(connection)
        before = count_all(connection)
        draft, bundle, rejects = tmp_path / "warehouse.toml", tmp_path / "bundle", tmp_path / "rejects.csv"
        ran = run("inspect", neo4j_url, "--out", draft)
        assert ran.code == 0, ran.err
        for word in ("Artikel", "Kunde", "KAUFTE", "artnr"):
            assert word in draft.read_text(encoding="utf-8")
        ran = run("validate", neo4j_url, "--schema", draft, "--format", "json", "--fail-on", "never")
        assert ran.code == 0, ran.err
        config = tmp_path / "config.toml"
        config.write_text(CONFIG)
        ran = run("train", neo4j_url, "--schema", draft, "--out", bundle, "--config", config, "--rejects", rejects)
        assert ran.code == 0, ran.err
        assert "ohne Nummer" in rejects.read_text(encoding="utf-8")
        assert f"rejected: 1 of {N_PRODUCTS + 1} rows of 'artikel' (artnr is empty): see {rejects}" in ran.err
        assert count_all(connection) == before  # nothing was written

        answer = run(
            "recommend",
            bundle,
            "--like",
            "0",
            "--like",
            "2",
            "-k",
            3,
            "--format",
            "json",
            "--explain",
            "--store",
            neo4j_url,
        )
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)
        assert len(found) == 3
        assert all(int(row["item"]) % 2 == 0 for row in found)  # the same kind of product
        assert any(re.search("tea", row["reason"]) for row in found)

        ran = run("publish", bundle, "--to", neo4j_url, "--recommend", 2, "--neighbours", 2)
        assert ran.code == 0, ran.err
        rows = connection.read(
            "MATCH (live:KgrecRelease) MATCH (:Artikel {artnr: 4})-[s:SIMILAR_TO]->(other:Artikel) "
            "WHERE s.version = live.version RETURN toString(other.artnr) ORDER BY s.score DESC, other.artnr"
        )
        assert [nr for (nr,) in rows] == list(Recommender.load(bundle).similar("4", k=2).ids)

        connection.write("MATCH (a:Artikel) WHERE a.artnr IS NULL DELETE a")
        ran = run("sync", neo4j_url, bundle, "--dry-run", "--rejects", rejects)
        assert ran.code == 0, ran.err
        assert "rejected" not in ran.err  # the named file exists and has only its header
        assert len(rejects.read_text(encoding="utf-8").splitlines()) == 1


def test_a_catalogue_is_not_loaded_over_an_existing_graph(run: RunCommand, shop: Shop, neo4j_url: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write("UNWIND range(1, 3) AS n CREATE (:Product {sku: 'double'})")
        ran = run(*shop.load_args(to=neo4j_url))
        assert ran.code == 2
        assert "labelled `Product` that kgrec did not load" in ran.err
        assert connection.read("MATCH (n) RETURN count(n)") == [[3]]
        assert connection.read("SHOW CONSTRAINTS YIELD name") == []


@pytest.mark.parametrize("user", ["neo4j", "somebody"])
def test_a_wrong_password_or_user_is_an_error(
    run: RunCommand, neo4j_url: str, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("NEO4J_USERNAME", user)
    monkeypatch.setenv("NEO4J_PASSWORD", "not-it-at-all")
    ran = run("train", neo4j_url, "--out", "nowhere")
    assert ran.code == 2
    assert f"refused the user '{user}'" in ran.err
    assert "not-it-at-all" not in ran.err


def test_a_password_that_is_not_set_is_named(run: RunCommand, neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEO4J_PASSWORD")
    ran = run("train", neo4j_url, "--out", "nowhere")
    assert ran.code == 2
    assert "asks for a password, and NEO4J_PASSWORD is not set; set NEO4J_USERNAME and NEO4J_PASSWORD" in ran.err


def test_a_graph_without_a_schema_says_how_to_give_one(neo4j_url: str) -> None:
    with open_store(neo4j_url) as store, pytest.raises(StoreError, match=r"open_store\(url, schema='FILE.toml'\)"):
        store.read_schema()


def test_credentials_are_read_from_a_file(
    run: RunCommand, neo4j_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.txt"
    file.write_text("# of the hosted database\nNEO4J_USERNAME=neo4j\nNEO4J_PASSWORD='kgrec-test'\n")
    monkeypatch.delenv("NEO4J_PASSWORD")
    monkeypatch.setenv("NEO4J_CREDENTIALS_FILE", str(file))
    assert "holds no catalogue" in run("train", neo4j_url, "--out", tmp_path / "b").err
    file.write_text("NEO4J_USERNAME=neo4j\n")
    assert "has no line NEO4J_PASSWORD" in run("train", neo4j_url, "--out", tmp_path / "b").err
    file.unlink()
    assert "cannot read" in run("train", neo4j_url, "--out", tmp_path / "b").err


def test_credentials_in_a_url_are_refused_and_not_repeated(run: RunCommand) -> None:
    ran = run("train", "neo4j://neo4j:s3cret@localhost", "--out", "nowhere")
    assert ran.code == 2
    assert "may not hold a user name or a password" in ran.err
    assert "s3cret" not in ran.out + ran.err


def test_a_missing_database_is_an_error(run: RunCommand, neo4j_url: str) -> None:
    ran = run("train", f"{neo4j_url}/films", "--out", "nowhere")
    assert ran.code == 2
    assert "there is no database 'films'" in ran.err
