"""`kgrec inspect` on the command line: it writes the draft and shows its guesses."""

import pytest
from conftest import RunCommand, make_shop

from graph_schema import CatalogueSchema
from graph_schema.schema_toml import to_toml
from kgrec.store.neo4j.connection import Connection

GRAPH = (
    "UNWIND range(1, 40) AS i CREATE (:Kunde {nr: i})",
    "UNWIND range(1, 20) AS i CREATE (:Artikel {artikelnr: i, titel: 'Ein Artikel ' + i})",
    "MATCH (k:Kunde), (a:Artikel) WHERE (k.nr * 3 + a.artikelnr) % 4 = 0 CREATE (k)-[:KAUFTE {menge: k.nr}]->(a)",
)


def test_a_folder_loads_by_its_unedited_draft(run: RunCommand, tmp_path) -> None:
    shop, file, store = make_shop(tmp_path / "shop"), tmp_path / "draft.toml", f"ladybug:{tmp_path / 'x.db'}"
    ran = run("inspect", shop, "--out", file)
    assert ran.code == 0, ran
    assert "bought (customer_id to sku)" in ran.out and "a guess" in ran.out
    assert f"kgrec load tabular --path {shop} --schema {file}" in ran.out
    schema = CatalogueSchema.from_toml(file)
    assert (schema.user_type, schema.item_type) == ("customer", "product")
    loaded = run("load", "tabular", "--path", shop, "--schema", file, "--to", store)
    assert loaded.code == 0, loaded
    assert "rejected" not in loaded.err

    # the schema of a store that kgrec loaded is not guessed
    held = run("inspect", store)
    assert held.code == 0 and held.out == to_toml(schema)
    assert "nothing is guessed" in held.err


def test_a_bookshop_with_ages_towns_and_friends_loads_and_validates_by_its_draft(run: RunCommand, tmp_path) -> None:
    shop, file, store = tmp_path / "bookshop", tmp_path / "draft.toml", f"ladybug:{tmp_path / 'x.db'}"
    shop.mkdir()
    towns, n_readers, n_books = ("Oslo", "Bergen", "Hamar"), 60, 55
    bought = [(r, b) for r in range(n_readers) for b in range(n_books) if r <= b]  # the later a book, the more readers
    tables = {
        "readers": [("reader_id", "age", "language"),
                    *((r, 20 + r % 40, ("no", "en")[r % 2]) for r in range(n_readers))],
        "books": [("book_id", "title", "price", "copies", "times_sold"),
                  *((f"b{b}", f"Book {b}", 5 + b * 31 % 55, 7 + 2 * b, b) for b in range(n_books))],
        "lives_in": [("reader_id", "town_id"), *((r, towns[r % 3]) for r in range(n_readers))],
        "friend": [("user", "friend"), (3, 3),
                   *((r, (r + step) % n_readers) for r in range(n_readers) for step in (1, 5))],
        "bought": [("reader_id", "book_id", "at"), *((r, f"b{b}", 1_600_000_000 + b) for r, b in bought)],
    }  # fmt: skip
    for name, rows in tables.items():
        (shop / f"{name}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    ran = run("inspect", shop, "--out", file)
    assert ran.code == 0, ran
    schema = CatalogueSchema.from_toml(file)
    readers, books = schema.nodes["readers"], schema.nodes["books"]
    assert (readers.features, readers.sensitive, books.features) == (("language",), ("age",), ("price", "copies"))
    assert (schema.edges["friend"].phrase, schema.edges["lives_in"].phrase) == ("friend", "in {}")
    assert "times_sold" in file.read_text() and "looks computed from interactions" in file.read_text()
    loaded = run("load", "tabular", "--path", shop, "--schema", file, "--to", store)
    assert loaded.code == 0 and "rejected" not in loaded.err, loaded
    ran = run("validate", store)
    assert "books nodes whose copies repeats the number of bought edges: rank correlation +1.00" in ran.out
    assert "friend edges from a node to itself" in ran.out
    assert "times_sold repeats" not in ran.out  # it is no feature


def test_a_draft_can_be_redirected_and_never_overwrites(run: RunCommand, tmp_path) -> None:
    shop, file = make_shop(tmp_path / "shop"), tmp_path / "draft.toml"
    ran = run("inspect", shop)
    assert CatalogueSchema.parse(ran.out).item_type == "product"  # stdout is the file and nothing else
    assert "how sure" in ran.err
    file.write_text("mended = 'by hand'")
    again = run("inspect", shop, "--out", file)
    assert again.code == 2 and "exists and may have been edited" in again.err
    assert file.read_text() == "mended = 'by hand'"


def test_a_folder_without_interactions_has_status_1_and_shows_what_to_add(run: RunCommand, tmp_path) -> None:
    shop = make_shop(tmp_path / "shop")
    (shop / "bought.csv").unlink()
    ran = run("inspect", shop, "--out", tmp_path / "draft.toml")
    assert ran.code == 1
    assert "interacted.csv" in ran.out and "interacted.csv" in (tmp_path / "draft.toml").read_text()


def test_an_existing_graph_trains_by_its_draft(run: RunCommand, neo4j_url: str, tmp_path) -> None:
    with Connection(neo4j_url, "write") as connection:
        for query in GRAPH:
            connection.write(query)
    ran = run("inspect", neo4j_url, "--out", tmp_path / "draft.toml")
    assert ran.code == 0, ran
    assert f"kgrec train {neo4j_url} --schema {tmp_path / 'draft.toml'} --out BUNDLE" in ran.out
    schema = CatalogueSchema.from_toml(tmp_path / "draft.toml")
    assert schema.interaction.weight == "menge"
    with Connection(neo4j_url, "write") as connection:
        connection.write("MATCH ()-[r:KAUFTE]->() DELETE r")
    ran = run("inspect", neo4j_url)
    assert ran.code == 1
    assert "LOAD CSV" in ran.err and ran.out.startswith("# NOT COMPLETE")


@pytest.mark.parametrize("place", ["nowhere", "ladybug:", "bolt://u:p@host"])
def test_an_unusable_place_is_one_message(run: RunCommand, tmp_path, place) -> None:
    ran = run("inspect", place)
    assert ran.code == 2
    assert ran.err.count("kgrec: error:") == 1 and "Traceback" not in ran.err
