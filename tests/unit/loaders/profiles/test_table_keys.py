"""Which columns name the rows of which tables."""

from pathlib import Path

import pytest

from graph_schema import CatalogueError
from graph_schema.drafts.profile import GraphProfile
from loaders import read_profile

WORDS = ("sea", "hill", "lake", "war", "love", "night", "river", "stone", "glass", "cloud")


def profile(folder: Path, **tables: list[tuple]) -> GraphProfile:
    folder.mkdir()
    for name, rows in tables.items():
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return read_profile(folder)


def ends(found: GraphProfile) -> dict[str, tuple[str, str]]:
    return {one.type: (one.start, one.end) for one in found.relationships}


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("isbn", lambda n: 9_780_000 + 7 * n),
        ("asin", lambda n: f"B00{n}"),
        ("sku", lambda n: n + 1),
        ("uri", lambda n: f"http://x/{WORDS[n % 10]}-{n}"),
        ("slug", lambda n: f"{WORDS[n % 10]}-{n}"),
        ("Item Nr", lambda n: n + 1),
    ],
)
def test_a_column_of_the_same_name_with_the_same_values_is_the_key(tmp_path, key, make):
    items = [(key, "title", "pages"), *((make(n), f"A Book {n}", 90 + n * 7 % 40) for n in range(40))]
    bought = [("user_id", key), *((f"u{n % 30}", make(n * 7 % 40)) for n in range(300))]
    found = profile(tmp_path / "shop", books=items, bought=bought)
    assert ends(found) == {"bought": ("user", "books")}
    assert found.nodes["books"].key == key and not found.nodes["books"].from_edges


def test_the_id_of_a_table_is_what_other_tables_name_after_it(tmp_path):
    movies = [("id", "title", "year"), *((n, f"A Film {n}", 1990 + n % 9) for n in range(1, 41))]
    seen = [("userId", "movie_ID"), *((n % 30 + 1, n * 7 % 40 + 1) for n in range(300))]
    found = profile(tmp_path / "films", movies=movies, seen=seen)
    assert ends(found) == {"seen": ("user", "movies")} and found.nodes["movies"].key == "id"


def test_numbers_that_merely_lie_within_the_ids_of_a_table_link_nothing(tmp_path):
    books = [
        ("book_id", "title", "year", "readers", "reader_count", "n_user", "score"),
        *((f"b{n}", f"A Book {n}", n % 40 + 1, n % 30 + 1, n % 20 + 1, n % 10 + 1, n % 5 + 1) for n in range(40)),
    ]
    readers = [("reader_id", "town"), *((n, WORDS[n % 10]) for n in range(1, 61))]
    loans = [("reader_id", "book_id"), *((n % 60 + 1, f"b{n * 7 % 40}") for n in range(300))]
    assert ends(profile(tmp_path / "library", books=books, readers=readers, loans=loans)) == {
        "loans": ("readers", "books")
    }


def test_ids_written_as_floats_are_told_and_still_load(tmp_path):
    users = [("user_id", "town"), *((n, WORDS[n % 10]) for n in range(1, 41))]
    seen = [("user_id", "item"), *((f"{n % 40 + 1}.0", f"i{n * 7 % 30}") for n in range(300))]
    found = profile(tmp_path / "log", users=users, seen=seen)
    assert ends(found) == {"seen": ("users", "item")} and found.nodes["users"].from_edges
    [guess] = [one for one in found.guesses if one.about == "seen.user_id"]
    assert guess.choice == "written unlike users.user_id" and guess.sure == "sure"
    assert guess.why.startswith("'1.0' here is '1' there: 0% of its ids are the same, 100% would be")


def test_repeated_and_missing_keys_are_told(tmp_path):
    items = [("sku", "title"), *((f"s{n}", f"A Lamp {n}") for n in range(60)), ("s1", "A Lamp 1"), ("", "No Lamp")]
    bought = [("customer", "sku"), *((f"c{n % 30}", f"s{n * 7 % 60}") for n in range(300)), ("NULL", "s1")]
    found = profile(tmp_path / "shop", lamps=items, bought=bought)
    assert ends(found) == {"bought": ("customer", "lamps")}
    guesses = {one.about: one.choice for one in found.guesses}
    assert guesses["lamps.sku"] == "the key, though 1 rows have none and 1 repeat another's"
    assert guesses["bought.customer"].startswith("missing in 0.3%")


@pytest.mark.parametrize(
    ("table", "second"), [("trusts", "trusted"), ("friend", "other"), ("user_friends", "friendID")]
)
def test_two_columns_of_users_are_user_to_user(tmp_path, table, second):
    rated = [("user", "item", "rating"), *((n % 40, n * 7 % 30, n % 5 + 1) for n in range(300))]
    friends = [("user", second), *((n % 40, (n * 7 + 3) % 40) for n in range(150))]
    found = profile(tmp_path / "log", ratings=rated, **{table: friends})
    assert set(ends(found)[table]) <= {"user", "friend"}  # the draft makes one of both


def test_the_type_of_an_end_that_no_table_has_is_named_by_edges(tmp_path):
    books = [("isbn", "title"), *((f"b{n}", f"A Book {n}") for n in range(30))]
    loans = [("member", "isbn"), *((f"m{n % 20}", f"b{n * 7 % 30}") for n in range(200))]
    shelves = [("isbn", "shelf_id"), *((f"b{n}", f"s{n % 4}") for n in range(30))]
    found = profile(tmp_path / "library", books=books, loans=loans, on_shelf=shelves)
    assert ends(found) == {"loans": ("member", "books"), "on_shelf": ("books", "shelf")}
    assert found.nodes["shelf"].from_edges and found.nodes["shelf"].key == "shelf_id"


def test_lists_of_ids_of_a_table_are_links(tmp_path):
    actors = [("actor_id", "name"), *((f"a{n}", f"Ann {WORDS[n % 10]}") for n in range(20))]
    films = [
        ("film_id", "title", "actor_ids"),
        *((f"f{n}", f"A Film {n}", f"a{n % 20}|a{(n + 3) % 20}") for n in range(30)),
    ]
    seen = [("user", "film_id"), *((f"u{n % 20}", f"f{n * 7 % 30}") for n in range(200))]
    found = profile(tmp_path / "films", actors=actors, films=films, seen=seen)
    [cast] = [one for one in found.relationships if one.end == "actors"]
    assert (cast.start, cast.table, cast.start_column, cast.end_column, cast.split) == (
        "films", "films", "film_id", "actor_ids", "|",
    )  # fmt: skip
    assert (cast.count, cast.n_starts, cast.n_ends) == (60, 30, 20)


@pytest.mark.parametrize(("n_named", "end"), [(40, "item_names"), (30, "item")])
def test_a_table_whose_key_is_called_alike_has_the_names_of_the_items(tmp_path, n_named, end):
    names = [("item", "title"), *((n, f"A Film {n}") for n in range(n_named))]
    likes = [("user_id", "item_id"), *((f"u{n % 30}", n * 7 % 40) for n in range(300))]
    assert ends(profile(tmp_path / "films", item_names=names, likes=likes))["likes"] == ("user", end)


def test_a_spreadsheet_is_told(tmp_path):
    (tmp_path / "Online Retail.xlsx").write_bytes(b"PK")
    with pytest.raises(CatalogueError, match=r"no tables but Online Retail\.xlsx: save each of its sheets as CSV"):
        read_profile(tmp_path)
    (tmp_path / "items.csv").write_text("id,title\n1,A\n2,B\n", encoding="utf-8")
    [left_out] = read_profile(tmp_path).left_out
    assert left_out == "Online Retail.xlsx: it is a spreadsheet; save each of its sheets as CSV"
