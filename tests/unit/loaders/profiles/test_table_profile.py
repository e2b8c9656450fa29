"""Realistic folders of tables: each is drafted, and loads by its draft without losing a row."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.staging import stage_tables
from graph_schema.drafts.draft import draft_schema
from loaders import open_source, read_profile

USERS = [("user_id", "country"), *((f"u{n}", "NZ" if n % 2 else "DE") for n in range(30))]
PRODUCTS = [
    ("product_id", "title", "brand", "genres", "price", "zip", "active", "added"),
    *(
        (f"{n:03}", f"A Product {n}", "abc"[n % 3], "sea|fun", n / 2, f"0{n}", "yes", f"2020-01-{n + 1:02}")
        for n in range(20)
    ),
]
PURCHASES = [
    ("purchase_id", "user_id", "product_id", "quantity", "ts"),
    *((n, f"u{n % 30}", f"{n * 7 % 20:03}", 1 + n % 4, 1_600_000_000 + n) for n in range(300)),
]


def write(folder: Path, delimiter: str = ",", **tables):
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        text = "".join(delimiter.join(map(str, row)) + "\n" for row in rows)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def draft_and_load(folder: Path, tmp_path: Path):
    """Drafts a schema and loads by it; asserts that no row is rejected."""
    draft = draft_schema(read_profile(folder))
    assert draft.is_complete, draft.guesses
    schema = CatalogueSchema.parse(draft.toml)
    source = open_source("tabular", path=folder, schema=schema, cache_dir=tmp_path)
    staged = stage_tables(source, tmp_path / "staged", rejects=None, max_rejects=0)
    return draft, staged.to_tables()


def test_a_shop_with_unusual_names_loads_by_its_draft(tmp_path):
    folder = write(tmp_path / "my shop", users=USERS, products=PRODUCTS, purchases=PURCHASES)
    draft, tables = draft_and_load(folder, tmp_path)
    schema = draft.schema
    assert schema.name == "my shop"
    assert (schema.user_type, schema.item_type) == ("users", "products")
    chosen = schema.interaction
    assert (chosen.edge, chosen.weight, chosen.at, chosen.positive) == ("purchases", "quantity", "ts", None)
    assert schema.edges["purchases"].ignore == ("purchase_id",)
    product = schema.nodes["products"]
    assert (product.label, product.key, product.name, product.text) == (
        "Product", "product_id", "title", ("title",),
    )  # fmt: skip
    assert {name: one.type for name, one in product.attributes.items()} == {
        "brand": "string", "genres": "list", "price": "float", "zip": "string", "active": "bool", "added": "time",
    }  # fmt: skip
    assert product.features == ("brand", "genres", "price", "added")  # no two have the same zip
    assert product.available == {"active": True}
    assert schema.nodes["users"].features == ("country",)
    assert tables.nodes["products"]["zip"].to_pylist()[7] == "07"
    assert tables.interactions.num_rows == len({row[1:3] for row in PURCHASES[1:]})


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_columns_called_id_and_other_delimiters_are_recognised(tmp_path, delimiter):
    folder = write(
        tmp_path / "books",
        delimiter,
        books=[("id", "name"), *((n, f"Book {n}") for n in range(1, 21))],
        members=[("id", "since"), *((n, "2020-02-03") for n in range(1, 41))],
        loans=[("id", "member_id", "book_id", "source"), *((n, n % 40 + 1, n * 3 % 20 + 1, "web") for n in range(200))],
    )
    draft, tables = draft_and_load(folder, tmp_path)
    edge = draft.schema.edges["loans"]
    assert (edge.source, edge.source_column, edge.target, edge.target_column) == (
        "members", "member_id", "books", "book_id",
    )  # fmt: skip
    assert set(edge.ignore) == {"id", "source"}
    assert tables.interactions["source"].to_pylist()[:3] == ["1", "2", "3"]
    assert tables.interactions["target"].to_pylist()[:3] == ["1", "4", "7"]


def test_movielens_loads_by_its_draft(tmp_path):
    folder = write(
        tmp_path / "ml",
        movies=[("movieId", "title", "genres"), *((n, f"Film {n} (1999)", "Drama|War") for n in range(1, 31))],
        ratings=[("userId", "movieId", "rating", "timestamp"),
                 *((n % 25, n * 7 % 30 + 1, 0.5 + n % 10 / 2, 1_100_000_000 + n) for n in range(400))],
        tags=[("userId", "movieId", "tag", "timestamp"),
              *((n % 9, n % 30 + 1, "nice one", 1_100_000_000 + n) for n in range(30))],
        links=[("movieId", "imdbId"), *((n, f"00{n}") for n in range(1, 31))],
    )  # fmt: skip
    draft, tables = draft_and_load(folder, tmp_path)
    schema = draft.schema
    assert (schema.user_type, schema.item_type, schema.interaction.positive) == ("user", "movies", 4.0)
    assert schema.nodes["user"].from_edges and schema.nodes["user"].key == "userId"
    assert tables.nodes["user"].num_rows == 25
    assert schema.interaction.edge == "ratings"


def test_a_log_of_clicks_alone_loads_by_its_draft(tmp_path):
    rows = [("user", "item", "at"), *((f"u{n % 20}", f"i{n * 7 % 15}", 1_600_000_000_000 + n) for n in range(200))]
    draft, tables = draft_and_load(write(tmp_path / "log", clicks=rows), tmp_path)
    assert all(node.from_edges for node in draft.schema.nodes.values())
    assert draft.schema.edges["clicks"].milliseconds == ("at",)
    assert tables.interactions["at"].to_pylist()[:2] == [1_600_000_000, 1_600_000_000]
    assert any(guess.about == "text of items" for guess in draft.guesses)


def test_links_to_words_items_and_missing_tables_are_drafted(tmp_path):
    folder = write(
        tmp_path / "shop",
        users=USERS,
        products=PRODUCTS,
        purchases=PURCHASES,
        product_tag=[("product_id", "tag"), *((f"{n % 20:03}", ("sea", "fun", "old")[n * 7 % 3]) for n in range(40))],
        similar=[("source", "target"), *((f"{n % 20:03}", f"{(n + 3) % 20:03}") for n in range(40))],
        made_in=[("product_id", "factory_id"), *((f"{n:03}", f"f{n % 4}") for n in range(20))],
    )
    draft, tables = draft_and_load(folder, tmp_path)
    edges = {name: (edge.source, edge.target) for name, edge in draft.schema.edges.items()}
    assert edges == {
        "purchases": ("users", "products"),
        "product_tag": ("products", "tag"),
        "similar": ("products", "products"),
        "made_in": ("products", "factory"),
    }
    assert draft.schema.nodes["tag"].name == "tag" and draft.schema.nodes["factory"].from_edges
    assert sorted(tables.ids("tag").to_pylist()) == ["fun", "old", "sea"]


def test_unnamed_keys_and_triples_of_items_are_drafted(tmp_path):
    folder = write(
        tmp_path / "films",
        movies=[
            ("item", "title", "plot"),
            *((n, f"Film {n}", "A long story of some people in a place") for n in range(30)),
        ],
        users=[("user", "age"), *((n, 20 + n) for n in range(40))],
        ratings=[("user", "item", "rating"), *((n % 40, n * 7 % 30, 1 + n % 5) for n in range(400))],
        kg=[("item", "relation", "entity"), *((n % 30, ("genre", "actor")[n % 2], f"e{n % 11}") for n in range(90))],
    )
    draft, tables = draft_and_load(folder, tmp_path)
    schema = draft.schema
    assert (schema.user_type, schema.item_type) == ("users", "movies")
    assert (schema.nodes["movies"].key, schema.nodes["movies"].label) == ("item", "Movie")
    for relation in ("genre", "actor"):
        edge = schema.edges[relation]
        assert (edge.source, edge.target, edge.where) == ("movies", "entity", {"relation": relation})
        assert (edge.table, edge.source_column, edge.target_column) == ("kg", "item", "entity")
    assert tables.nodes["entity"].num_rows == 11
    assert tables.edges["genre"].num_rows + tables.edges["actor"].num_rows == len(
        {(n % 30, n % 2, n % 11) for n in range(90)}
    )


READERS = [
    ("reader_id", "town", "birth_year", "gender", "likes_tea"),
    *((n, ("Oslo", "Bergen", "Hamar")[n % 3], 1950 + n % 50, "mf"[n % 2], "yes") for n in range(60)),
]
BOOKS = [
    ("book_id", "title", "pages", "times_sold", "avg_rating", "subjects", "place"),
    *(
        (f"b{n}", f"Book {n}", 100 + n * 7, n * n, n % 5, "sea; war" if n % 3 else "love; war", f"59.{n}1 10.7{n}")
        for n in range(40)
    ),
]
BOUGHT = [
    ("reader_id", "book_id", "at"),
    *((n % 60, f"b{n * 7 % 40}", 1_600_000_000 + n) for n in range(600)),
]
FRIENDS = [(n % 60, (n * 7 + 1) % 60) for n in range(240)]


@pytest.mark.parametrize(
    "columns",
    [("user", "friend"), ("user1", "user2"), ("reader_id", "friend_id"), ("follower_id", "followee_id")],
)
@pytest.mark.parametrize("has_table", [True, False])
def test_friends_are_links_between_users(tmp_path, columns, has_table):
    tables = {"readers": READERS} if has_table else {}
    folder = write(tmp_path / "shop", books=BOOKS, bought=BOUGHT, friend=[columns, *FRIENDS], **tables)
    draft, loaded = draft_and_load(folder, tmp_path)
    schema = draft.schema
    assert schema.interaction.edge == "bought" and schema.user_type == ("readers" if has_table else "reader")
    friend = schema.edges["friend"]
    assert (friend.source, friend.target, friend.phrase) == (schema.user_type, schema.user_type, "friend")
    assert loaded.edges["friend"].num_rows == len({*FRIENDS})
    assert set(schema.nodes) == {schema.user_type, "books"}
    assert loaded.nodes[schema.user_type].num_rows == 60


def test_what_users_and_items_say_of_themselves_is_drafted(tmp_path):
    lives_in = [("reader_id", "town"), *((n, f"t{n % 7}") for n in range(60))]
    groups = [("reader_id", "club_id"), *((n, f"c{n % 4}") for n in range(60))]
    folder = write(
        tmp_path / "shop", readers=READERS, books=BOOKS, bought=BOUGHT, lives_in=lives_in, member_of=groups
    )  # fmt: skip
    draft, loaded = draft_and_load(folder, tmp_path)
    books, readers = draft.schema.nodes["books"], draft.schema.nodes["readers"]
    assert books.features == ("pages", "subjects", "place")
    assert {name: one.type for name, one in books.attributes.items()} == {
        "pages": "int", "times_sold": "int", "avg_rating": "int", "subjects": "list", "place": "point",
    }  # fmt: skip
    assert (readers.features, readers.sensitive) == (("town", "likes_tea"), ("birth_year", "gender"))
    assert draft.schema.edges["lives_in"].phrase == "in {}"
    assert draft.schema.edges["member_of"].phrase == "club"
    assert draft.toml.count("looks computed from interactions: not a feature") == 2
    assert draft.toml.count("sensitive: not read by the model unless you add feature = true") == 2
    assert "public" not in draft.toml
    assert loaded.nodes["books"]["subjects"].to_pylist()[:2] == [["love", "war"], ["sea", "war"]]


@pytest.mark.parametrize("key", ["isbn", "sku", "ean"])
def test_a_key_of_numbers_with_a_name_of_its_own_links_the_tables(tmp_path, key):
    books = [(key, "title", "pages"), *((9_780_000_000_000 + 7 * n, f"A Book {n}", 90 + n * 7 % 40) for n in range(40))]
    bought = [("user_id", key), *((f"u{n % 30}", books[1 + n * 7 % 40][0]) for n in range(300))]
    draft, tables = draft_and_load(write(tmp_path / "shop", users=USERS, books=books, purchases=bought), tmp_path)
    chosen = draft.schema.edges["purchases"]
    assert (chosen.source, chosen.target, draft.schema.nodes["books"].key) == ("users", "books", key)
    assert draft.schema.interaction.edge == "purchases"
    assert tables.interactions.num_rows == len(set(bought[1:]))


def test_a_number_called_id_in_two_tables_does_not_link_them(tmp_path):
    notes = [("id", "user_id", "words"), *((n, f"u{n % 30}", f"Some words {n}") for n in range(40))]
    books = [("id", "title"), *((n, f"A Book {n}") for n in range(40))]
    bought = [("user_id", "book_id"), *((f"u{n % 30}", n * 7 % 40) for n in range(300))]
    folder = write(tmp_path / "shop", users=USERS, books=books, purchases=bought, notes=notes)
    draft, _ = draft_and_load(folder, tmp_path)
    assert {
        (edge.source, edge.target) for edge in draft.schema.edges.values() if "notes" in (edge.source, edge.target)
    } == {("notes", "users")}  # notes.user_id


def test_users_that_the_table_lacks_are_added_from_edges(tmp_path):
    folder = write(tmp_path / "shop", users=USERS[:21], products=PRODUCTS, purchases=PURCHASES)
    draft, tables = draft_and_load(folder, tmp_path)
    assert draft.schema.nodes["users"].from_edges
    assert tables.nodes["users"].num_rows == 30
    assert any("only 66.7% of the ids" in guess.why for guess in draft.guesses)


def test_a_column_with_the_ids_of_a_table_links_to_it(tmp_path):
    products = [(*row, "brand_id" if n == 0 else f"b{n % 3}") for n, row in enumerate(PRODUCTS)]
    brands = [("brand_id", "name"), *((f"b{n}", f"Brand {n}") for n in range(3))]
    folder = write(tmp_path / "shop", users=USERS, products=products, purchases=PURCHASES, brands=brands)
    draft, tables = draft_and_load(folder, tmp_path)
    edge = draft.schema.edges["has_brand"]
    assert (edge.source, edge.target, edge.table) == ("products", "brands", "products")
    assert tables.edges["has_brand"].to_pylist()[:2] == [
        {"source": "000", "target": "b1"}, {"source": "001", "target": "b2"},
    ]  # fmt: skip


def test_parts_gzip_parquet_and_utf_16_are_read(tmp_path):
    folder = write(tmp_path / "shop", products=PRODUCTS)
    (folder / "users.csv.gz").write_bytes(
        gzip.compress(b"user_id,country\n" + b"".join(b"u%d,NZ\n" % n for n in range(30)))
    )
    head, *rows = PURCHASES
    for part in (1, 2):
        text = "\n".join(",".join(map(str, row)) for row in [head, *rows[part - 1 :: 2]])
        (folder / f"purchases-{part}.csv").write_text(text, encoding="utf-16")
    pq.write_table(
        pa.table(
            {"product_id": ["001"], "user_id": ["u1"], "at": pa.array([0], pa.timestamp("s")), "v": [[0.5, 0.25]]}
        ),
        folder / "viewed.parquet",
    )
    draft, tables = draft_and_load(folder, tmp_path)
    assert tables.interactions.num_rows > 50
    assert draft.schema.interaction.edge == "purchases"
    assert any("viewed.v" in text for text in draft.left_out)


def test_column_types_are_checked_on_every_row(tmp_path):
    rows = [(n, f"Film {n}", 1990 + n % 9, "true", 2.5) for n in range(5000)]
    rows[4999] = (4999, "Film", "unknown", "maybe", "n/a")
    folder = write(
        tmp_path / "films",
        films=[("film_id", "title", "year", "seen", "score"), *rows],
        watched=[("user_id", "film_id"), *((n % 40, n % 100) for n in range(900))],
    )
    films = read_profile(folder).nodes["films"].properties
    assert {name: list(one.kinds) for name, one in films.items()} == {
        "film_id": ["int"], "title": ["string"], "year": ["string"], "seen": ["string"], "score": ["string"],
    }  # fmt: skip
    assert films["film_id"].is_unique and films["title"].is_unique
    draft_and_load(folder, tmp_path)


def test_degrees_and_duplicates_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, [10, 7], (500, 2)).tolist()
    folder = write(tmp_path / "log", clicks=[("user_id", "item_id"), *pairs])
    [clicks] = read_profile(folder).relationships
    users, items = (np.bincount(ends) for ends in zip(*pairs, strict=True))
    assert (clicks.count, clicks.n_starts, clicks.n_ends) == (500, 10, 7)
    assert (clicks.max_out, clicks.max_in) == (users.max(), items.max())


def test_content_without_users_is_reported_with_the_table_to_add(tmp_path):
    folder = write(
        tmp_path / "films",
        films=[("film_id", "title"), *((n, f"Film {n}") for n in range(30))],
        film_genre=[("film_id", "genre"), *((n % 30, ("war", "love")[n % 7 % 2]) for n in range(50))],
    )
    draft = draft_schema(read_profile(folder))
    assert not draft.is_complete
    assert "interacted.csv" in draft.advice


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "has no tables"), ({"a.csv": ""}, "files without content: a.csv"),
     ({"a.csv": "\n\n"}, "first line is empty"), ({"a.parquet": "x"}, "cannot read .*a.parquet"),
     ({"a.csv": "a,b\n"}, "has no tables with rows .*the table a: it has no rows"),
     ({"a.csv": "a,a\n1,2\n"}, "two columns called 'a'")],
)  # fmt: skip
def test_folders_that_cannot_be_drafted_are_errors(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CatalogueError, match=message):
        draft_schema(read_profile(tmp_path))
