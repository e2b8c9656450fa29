"""`kgrec inspect` on the command line: it writes the draft and shows its guesses."""

import pytest
from conftest import RunCommand, make_shop
from typer.testing import CliRunner

from graph_schema import CatalogueSchema
from graph_schema.schema_toml import to_toml
from kgrec.cli import app
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


KINDS = {
    "users": "user_id,age\n" + "".join(f"u{u},{20 + u}\n" for u in range(12)),
    "items": "item_id,title\n" + "".join(f"i{i},Thing {i}\n" for i in range(12)),
    "bought": "user_id,item_id\n" + "".join(f"u{u},i{(u + n) % 12}\n" for u in range(12) for n in range(3)),
    "viewed": "user_id,item_id\n" + "".join(f"u{u},i{(u + n) % 12}\n" for u in range(12) for n in range(9)),
}


def write_kinds(folder):
    folder.mkdir()
    for name, text in KINDS.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_several_kinds_of_feedback_are_shown_with_numbers_and_an_example(run: RunCommand, tmp_path) -> None:
    ran = run("inspect", write_kinds(tmp_path / "shop"), "--out", tmp_path / "draft.toml")
    assert ran.code == 0, ran
    schema = CatalogueSchema.from_toml(tmp_path / "draft.toml")
    assert (schema.interaction.edge, schema.interaction.other_feedback) == ("bought", {"viewed": 0.2})
    assert "what it may be" in ran.out and "viewed (user_id to item_id)" in ran.out and "108" in ran.out
    assert '# edge = "viewed"' in (tmp_path / "draft.toml").read_text()
    shown = ran.out.index("kgrec preview"), ran.out.index("kgrec load tabular")
    assert shown[0] < shown[1]


@pytest.mark.parametrize(("answers", "edge"), [("", "bought"), ("\n\n\n", "bought"), ("2\n", "viewed")])
def test_a_person_can_choose_and_enter_takes_the_first(tmp_path, answers, edge) -> None:
    folder, file = write_kinds(tmp_path / "shop"), tmp_path / "draft.toml"
    ran = CliRunner().invoke(app, ["inspect", str(folder), "--out", str(file), "--ask"], input=answers)
    assert ran.exit_code == 0, ran.output
    assert "Which is the interaction?" in ran.output
    schema = CatalogueSchema.from_toml(file)
    assert schema.interaction.edge == edge and len(schema.interaction.other_feedback) == 1


def test_a_number_that_is_no_choice_is_asked_for_again(tmp_path) -> None:
    folder, file = write_kinds(tmp_path / "shop"), tmp_path / "draft.toml"
    ran = CliRunner().invoke(app, ["inspect", str(folder), "--out", str(file), "--ask"], input="7\nx\n2\n")
    assert ran.exit_code == 0, ran.output
    assert CatalogueSchema.from_toml(file).interaction.edge == "viewed"


@pytest.mark.parametrize(("answers", "code", "edge"), [("", 1, None), ("1\n", 0, "genre")])
def test_where_nothing_looks_like_an_interaction_a_person_can_name_one(tmp_path, answers, code, edge) -> None:
    shop, file = tmp_path / "shop", tmp_path / "draft.toml"
    shop.mkdir()
    (shop / "movies.csv").write_text("movie_id,title\n" + "".join(f"m{n},The Film {n}\n" for n in range(9)))
    (shop / "genre.csv").write_text("movie_id,genre_id\n" + "".join(f"m{n},g{n % 3}\n" for n in range(9)))
    ran = CliRunner().invoke(app, ["inspect", str(shop), "--out", str(file), "--ask"], input=answers)
    assert ran.exit_code == code and "none of these" in ran.output, ran.output
    if edge:
        assert CatalogueSchema.from_toml(file).interaction.edge == edge


def test_a_folder_with_only_users_has_a_draft_to_fill_in(run: RunCommand, tmp_path) -> None:
    (tmp_path / "users.csv").write_text("user_id,age\n1,20\n2,30\n3,40\n")
    ran = run("inspect", tmp_path)
    assert ran.code == 1 and ran.out.startswith("# NOT COMPLETE") and "Traceback" not in ran.err
    assert "# [nodes.item]" in ran.out


def test_a_known_layout_has_a_ready_schema(run: RunCommand, tmp_path) -> None:
    lines = {
        "users.dat": "1::F::1::10::48067",
        "movies.dat": "1::Toy Story (1995)::Animation|Comedy\n2::Heat (1995)::Action",
        "ratings.dat": "1::1::5::978300760\n1::2::2::978300761",
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(f"{text}\n")
    ran = run("inspect", tmp_path, "--out", tmp_path / "draft.toml")
    assert ran.code == 0 and "MovieLens 1M: a ready schema, nothing is guessed" in ran.out, ran
    assert CatalogueSchema.from_toml(tmp_path / "draft.toml") == CatalogueSchema.known("movielens-1m")
    ran = run("preview", tmp_path)
    assert ran.code == 0 and "Toy Story (1995) (5, 2000-12-31)" in ran.out, ran
    assert "1 of 2 interactions are likes (50%)" in ran.out


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


def test_a_file_is_no_folder_and_its_folder_is_named(run: RunCommand, tmp_path) -> None:
    file = make_shop(tmp_path / "my shop") / "bought.csv"
    ran = run("inspect", file)
    assert (ran.code, ran.out) == (2, "")
    assert f"{file} is a file; name its folder: kgrec inspect '{file.parent}'" in " ".join(ran.err.split())
