"""Folders in the layouts of public data sets are profiled, drafted and loaded; the rows are made up."""

import csv
import json
from pathlib import Path

import pytest

from graph_schema import CatalogueSchema
from graph_schema.checks.staging import stage_tables
from graph_schema.drafts.draft import draft_schema
from graph_schema.drafts.profile import GraphProfile, RelationshipProfile
from loaders import open_source, read_profile

WORDS = ("sea", "hill", "lake", "war", "love", "night", "river", "stone", "glass", "cloud")
GENRES = ("Drama", "Comedy", "War", "Romance", "Action")


def write(folder: Path, name: str, *rows: tuple, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return folder


def write_lines(folder: Path, name: str, rows: list[dict]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def say(n: int) -> str:
    return f"The {WORDS[n % 10]} and the {WORDS[n * 7 % 10]} {n}"


def list_genres(n: int, separator: str) -> str:
    return separator.join(GENRES[(n + more) % 5] for more in range(n % 3 + 1))


def make_ratings(n_users: int, n_items: int, n: int) -> list[tuple[int, int, int]]:
    """(user, item, grade) from 1 on, each pair once."""
    pairs = [
        (user, (user * 7 + step * 3) % n_items + 1) for step in range(n // n_users) for user in range(1, n_users + 1)
    ]
    return [(user, item, (user + item) % 5 + 1) for user, item in dict.fromkeys(pairs)]


def load(folder: Path, tmp_path: Path, max_rejects: float = 0):
    profile = read_profile(folder)
    draft = draft_schema(profile)
    assert draft.is_complete, draft.advice
    schema = CatalogueSchema.parse(draft.toml)
    source = open_source("tabular", path=folder, schema=schema, cache_dir=tmp_path)
    staged = stage_tables(source, tmp_path / "staged", rejects=None, max_rejects=max_rejects)
    return profile, schema, staged.to_tables()


def find(profile: GraphProfile, name: str) -> RelationshipProfile:
    [found] = [one for one in profile.relationships if one.type == name]
    return found


def test_orders_lead_from_customers_to_products(tmp_path):
    folder, sent = tmp_path / "northwind", ("NULL", "1996-09-01")
    write(
        folder,
        "customers.csv",
        ("customerID", "companyName", "city"),
        *((f"C{n}", f"Shop {n}", WORDS[n % 3]) for n in range(20)),
    )
    write(
        folder, "orders.csv", ("orderID", "customerID", "employeeID", "orderDate", "shippedDate", "shipName"),
        *((100 + n, f"C{n % 20}", n % 4 + 1, f"1996-07-{n % 28 + 1:02}", sent[n % 9 > 0], "Shop") for n in range(80)),
    )  # fmt: skip
    lines = [(100 + n, (n * 3 + line * 7) % 30 + 1, 9.5, n % 12 + 1) for n in range(80) for line in range(3)]
    write(folder, "order-details.csv", ("orderID", "productID", "unitPrice", "quantity"), *lines)
    write(
        folder, "products.csv", ("productID", "productName", "supplierID", "categoryID", "unitPrice"),
        *((n, say(n), n % 6 + 1, n % 4 + 1, n + 0.5) for n in range(1, 31)),
    )  # fmt: skip
    write(folder, "categories.csv", ("categoryID", "categoryName"), *((n, f"Kind {n}") for n in range(1, 5)))
    write(folder, "suppliers.csv", ("supplierID", "companyName"), *((n, f"Maker {n}") for n in range(1, 7)))
    write(
        folder,
        "employees.csv",
        ("employeeID", "lastName", "title"),
        *((n, f"Name {n}", "Sales Manager") for n in range(1, 5)),
    )
    profile, schema, tables = load(folder, tmp_path)
    path = find(profile, "order-details")
    assert (path.start, path.end) == ("customers", "products")
    assert (path.path, path.join, path.via) == (("orders", "order-details"), ("orderID",), ("orders",))
    assert (path.start_column, path.end_column) == ("customerID", "productID")
    assert {"quantity", "orderDate", "unitPrice"} <= set(path.properties)
    assert (path.count, path.n_starts, path.n_ends) == (240, 20, 30)
    assert path.example.startswith("Shop 0 -> The hill and the stone 1, unitPrice 9.5")
    assert set(profile.nodes) == {"customers", "products", "categories", "suppliers", "employees"}
    assert (schema.user_type, schema.item_type) == ("customers", "products")
    assert {(edge.source, edge.target) for edge in schema.graph_edges.values()} == {
        ("products", "categories"), ("products", "suppliers"),
    }  # fmt: skip
    assert tables.edges["has_category"].to_pylist()[0] == {"source": "1", "target": "2"}
    bought = {(f"C{(order - 100) % 20}", str(product)) for order, product, *_ in lines}
    assert {(row["source"], row["target"]) for row in tables.interactions.to_pylist()} == bought


def test_order_lines_in_two_files_are_one_table(tmp_path):
    folder = tmp_path / "instacart"
    orders = [(2000 + n, n % 30 + 1, "train" if n % 5 == 4 else "prior", n // 30 + 1) for n in range(150)]
    write(folder, "orders.csv", ("order_id", "user_id", "eval_set", "order_number"), *orders)
    for part in ("prior", "train"):
        lines = [
            (o, (o * 11 + k * 7) % 40 + 1, k + 1, k % 2) for o, _, kept, _ in orders if kept == part for k in range(3)
        ]
        write(
            folder, f"order_products__{part}.csv", ("order_id", "product_id", "add_to_cart_order", "reordered"), *lines
        )
    write(
        folder,
        "products.csv",
        ("product_id", "product_name", "aisle_id"),
        *((n, say(n), n % 7 + 1) for n in range(1, 41)),
    )
    write(folder, "aisles.csv", ("aisle_id", "aisle"), *((n, f"{WORDS[n]} goods") for n in range(1, 8)))
    profile, schema, tables = load(folder, tmp_path)
    assert profile.tables["order_products"].file == ("order_products__prior.csv", "order_products__train.csv")
    assert find(profile, "order_products").path == ("orders", "order_products")
    assert (schema.user_type, schema.item_type) == ("user", "products")
    assert tables.nodes["user"].num_rows == 30
    assert tables.interactions.num_rows == len(
        {(u, (o * 11 + k * 7) % 40 + 1) for o, u, *_ in orders for k in range(3)}
    )


def test_sales_describe_their_products_and_customers(tmp_path):
    header = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
    rows = []
    for n in range(500):
        invoice, item = n // 5, (n * 7 + n // 50) % 40
        customer = "" if invoice % 10 == 3 else 12_000 + invoice % 37
        country = "France" if invoice % 37 % 5 == 0 else "United Kingdom"
        when = f"12/{n // 40 + 1}/2010 {n % 12 + 8}:{n % 60:02}"
        quantity = -1 if n % 50 == 7 else n % 24 + 1
        rows.append(
            (536_365 + invoice, f"85{item:03}A", say(item).upper(), quantity, when, 2.5 + item, customer, country)
        )
    folder = write(tmp_path / "retail", "Online Retail.csv", header, *rows)
    profile, schema, tables = load(folder, tmp_path, max_rejects=0.2)
    assert {name: (node.key, node.table) for name, node in profile.nodes.items()} == {
        "customer": ("CustomerID", "Online Retail"), "stock": ("StockCode", "Online Retail"),
    }  # fmt: skip
    assert set(profile.nodes["stock"].properties) == {"StockCode", "Description", "UnitPrice"}
    assert set(profile.nodes["customer"].properties) == {"CustomerID", "Country"}
    assert profile.nodes["stock"].properties["Description"].is_unique
    [missing] = [guess for guess in profile.guesses if guess.about == "Online Retail.CustomerID"]
    assert missing.choice == "missing in 10.0% of the rows" and "--max-rejects 0.11" in missing.why
    assert (schema.user_type, schema.item_type, schema.interaction.at) == ("customer", "stock", "InvoiceDate")
    stock = {row["StockCode"]: row["Description"] for row in tables.nodes["stock"].to_pylist()}
    assert stock == {f"85{n:03}A": say(n).upper() for n in range(40)}


def test_films_with_tags_and_ids_of_other_sites(tmp_path):
    folder = tmp_path / "ml-latest-small"
    ratings = make_ratings(30, 40, 600)
    write(
        folder,
        "movies.csv",
        ("movieId", "title", "genres"),
        *((n, f"{say(n)} (1999)", list_genres(n, "|")) for n in range(1, 41)),
    )
    write(
        folder,
        "ratings.csv",
        ("userId", "movieId", "rating", "timestamp"),
        *((*row, 1_260_759_144 + n) for n, row in enumerate(ratings)),
    )
    tags = [(n % 9 + 1, n * 5 % 40 + 1, WORDS[n * 3 % 10], 1_260_759_144) for n in range(60)]
    write(folder, "tags.csv", ("userId", "movieId", "tag", "timestamp"), *tags)
    write(
        folder, "links.csv", ("movieId", "imdbId", "tmdbId"), *((n, f"0{114_709 + n}", 862 + n) for n in range(1, 41))
    )
    profile, schema, tables = load(folder, tmp_path)
    assert profile.nodes["movies"].properties["genres"].separator == "|"
    assert {(one.start, one.end) for one in profile.relationships} == {("user", "movies"), ("movies", "tag")}
    assert find(profile, "ratings").properties["rating"].spread[50] == 3
    assert any("the table links: each movieId has one imdbId of its own" in text for text in profile.left_out)
    assert (schema.interaction.edge, schema.interaction.weight, schema.interaction.at) == (
        "ratings",
        "rating",
        "timestamp",
    )
    assert schema.nodes["movies"].features == ("genres",)
    linked = {(row["source"], row["target"]) for row in tables.edges["has_tag"].to_pylist()}
    assert linked == {(str(movie), tag) for _, movie, tag, _ in tags}


def test_tags_that_name_books_by_another_id_are_joined(tmp_path):
    folder = tmp_path / "goodbooks"
    header = (
        "book_id",
        "goodreads_book_id",
        "work_id",
        "books_count",
        "isbn",
        "authors",
        "original_publication_year",
        "title",
    )
    names = [", ".join(f"{WORDS[(n + k) % 10].title()} Smith" for k in range(n % 3 + 1)) for n in range(1, 41)]
    books = [
        (n, 2_767_052 + n * 37, 91 * n, n % 20 + 1, f"0{43_902 + n}", names[n - 1], 1990 + n % 9, say(n))
        for n in range(1, 41)
    ]
    write(folder, "books.csv", header, *books)
    write(folder, "ratings.csv", ("user_id", "book_id", "rating"), *make_ratings(30, 40, 600))
    write(folder, "to_read.csv", ("user_id", "book_id"), *((n % 20 + 1, n * 7 % 40 + 1) for n in range(100)))
    write(folder, "tags.csv", ("tag_id", "tag_name"), *((n, f"{WORDS[n % 10]}-{n}") for n in range(20)))
    tagged = [(books[n % 40][1], (n * 7 + n // 40) % 20, 100 - n) for n in range(80)]
    write(folder, "book_tags.csv", ("goodreads_book_id", "tag_id", "count"), *tagged)
    profile, schema, tables = load(folder, tmp_path)
    found = find(profile, "book_tags")
    assert (found.start, found.end, found.path, found.join, found.via) == (
        "books", "tags", ("books", "book_tags"), ("goodreads_book_id",), (),
    )  # fmt: skip
    assert (found.start_column, found.end_column) == ("book_id", "tag_id")
    assert profile.nodes["books"].key == "book_id"
    assert profile.nodes["books"].properties["authors"].separator == ", "
    assert schema.interaction.edge == "ratings"
    assert {(row["source"], row["target"]) for row in tables.edges["book_tags"].to_pylist()} == {
        (str(books[n % 40][0]), str(tag)) for n, (_, tag, _) in enumerate(tagged)
    }
    assert tables.nodes["books"]["authors"].to_pylist()[1] == ["Lake Smith", "War Smith", "Love Smith"]


def test_ratings_of_minus_one_and_comma_lists(tmp_path):
    folder = tmp_path / "anime"
    header = ("anime_id", "name", "genre", "type", "episodes", "rating", "members")
    write(
        folder,
        "anime.csv",
        header,
        *((32_281 + n, say(n), list_genres(n, ", "), ("TV", "Movie")[n % 2], 12, 6.5, n * 9) for n in range(1, 41)),
    )
    ratings = [(user, 32_281 + item, (-1, 7, 8, 10, 5)[grade - 1]) for user, item, grade in make_ratings(30, 40, 600)]
    write(folder, "rating.csv", ("user_id", "anime_id", "rating"), *ratings)
    profile, _, tables = load(folder, tmp_path)
    rating = find(profile, "rating").properties["rating"]
    assert (rating.low, rating.spread[0], rating.spread[10], rating.spread[-1]) == (-1, -1, -1, 10)
    assert profile.nodes["anime"].properties["genre"].separator == ", "
    assert tables.nodes["anime"]["genre"].to_pylist()[1] == ["War", "Romance", "Action"]
    assert tables.likes.num_rows == sum(grade >= 7 for *_, grade in ratings)


@pytest.mark.parametrize("is_new", [False, True])
def test_reviews_in_json_lines_with_the_products_metadata(tmp_path, is_new):
    folder = tmp_path / "beauty"
    rows, metadata = [], []
    for n, (user, item, grade) in enumerate(make_ratings(30, 40, 600)):
        review = {
            "overall": float(grade),
            "reviewText": f"I liked it {n}",
            "summary": "Good",
            "unixReviewTime": 1_390_000_000 + n,
        }
        old = {
            "reviewerID": f"A{user}",
            "asin": f"B{item:03}",
            "reviewerName": f"Name {user}",
            "helpful": [1, 2],
            **review,
        }
        new = {
            "rating": float(grade), "title": "Good", "text": f"I liked it {n}", "images": [], "asin": f"C{item:03}",
            "parent_asin": f"B{item:03}", "user_id": f"A{user}", "timestamp": 1_590_000_000_000 + n,
        }  # fmt: skip
        rows.append(new if is_new else old)
    for n in range(1, 41):
        one = {"title": say(n), "price": n * 1.5, "description": ["It smells of the sea.", "It is blue."]}
        old = {
            "asin": f"B{n:03}",
            **one,
            "brand": f"Brand {n % 6}",
            "related": {"also_bought": [f"B{(n + k) % 40 + 1:03}" for k in range(3)]},
        }
        new = {**one, "store": f"Brand {n % 6}", "categories": ["Beauty", GENRES[n % 5]], "parent_asin": f"B{n:03}"}
        metadata.append(new if is_new else old)
    write_lines(folder, "Beauty.jsonl", rows)
    write_lines(folder, "meta_Beauty.jsonl", metadata)
    profile, schema, tables = load(folder, tmp_path)
    user, key = ("user", "parent_asin") if is_new else ("reviewer", "asin")
    assert (schema.user_type, schema.item_type, schema.nodes["meta_Beauty"].key) == (user, "meta_Beauty", key)
    assert (schema.interaction.edge, schema.interaction.weight) == ("Beauty", "rating" if is_new else "overall")
    assert schema.interaction.at == ("timestamp" if is_new else "unixReviewTime")
    assert tables.interactions.num_rows == len(rows)
    assert tables.nodes["meta_Beauty"]["description"].to_pylist()[0] == "It smells of the sea. It is blue."
    if not is_new:
        bought = find(profile, "related_also_bought")
        assert (bought.start, bought.end, bought.table, bought.split) == (
            "meta_Beauty",
            "meta_Beauty",
            "meta_Beauty",
            "[]",
        )
        assert tables.edges["related_also_bought"].num_rows == 120
        assert set(profile.nodes["reviewer"].properties) == {"reviewerID", "reviewerName"}


def test_recboles_files_with_triples_joined_to_items(tmp_path):
    folder = tmp_path / "ml"
    ratings = [(*row, 881_250_949 + n) for n, row in enumerate(make_ratings(30, 40, 600))]
    write(
        folder,
        "ml.inter",
        ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
        *ratings,
        delimiter="\t",
    )
    write(
        folder,
        "ml.item",
        ("item_id:token", "movie_title:token_seq", "class:token_seq"),
        *((n, say(n), list_genres(n, " ")) for n in range(1, 41)),
        delimiter="\t",
    )
    write(
        folder, "ml.link", ("item_id:token", "entity_id:token"), *((n, f"m.{n}") for n in range(1, 37)), delimiter="\t"
    )
    directed = [(f"m.{n}", "film.film.directed_by", f"p{n % 7}") for n in range(1, 37)]
    triples = [
        *directed,
        *((tail, "film.director.film", head) for head, _, tail in directed[:20]),
        *((f"m.{n}", "film.film.genre", f"g{n % 5}") for n in range(1, 37)),
        ("m.stranger", "film.film.genre", "g1"),
        *((f"p{n}", "people.person.nationality", f"c{n % 3}") for n in range(7)),
    ]
    write(folder, "ml.kg", ("head_id:token", "relation_id:token", "tail_id:token"), *triples, delimiter="\t")
    profile, _, tables = load(folder, tmp_path)
    found = find(profile, "directed_by")
    assert (found.start, found.end, found.path, found.join) == (
        "item",
        "entity",
        ("link", "kg"),
        ("entity_id=head_id",),
    )
    assert (found.where, found.start_column, found.end_column) == (
        {"relation_id": "film.film.directed_by"}, "item_id", "tail_id",
    )  # fmt: skip
    assert {(one.start, one.type, one.end) for one in profile.relationships} == {
        ("user", "inter", "item"), ("item", "directed_by", "entity"), ("item", "genre", "entity"),
        ("entity", "nationality", "entity"),
    }  # fmt: skip
    assert any(
        "film.director.film of kg: it is film.film.directed_by read backwards" in text for text in profile.left_out
    )
    assert tables.nodes["item"]["movie_title"].to_pylist()[0] == say(1)
    assert {(row["source"], row["target"]) for row in tables.edges["directed_by"].to_pylist()} == {
        (head.removeprefix("m."), tail) for head, _, tail in directed
    }
    assert tables.edges["genre"].num_rows == 36


def test_lists_of_ids_and_triples_without_a_header(tmp_path):
    folder = tmp_path / "kgat"
    folder.mkdir()
    for part, least in (("train", 6), ("test", 1)):
        lines = [
            [user, *range(user % 9 + (part == "test") * 20, user % 9 + (part == "test") * 20 + least + user % 3)]
            for user in range(30)
        ]
        (folder / f"{part}.txt").write_text(
            "".join(" ".join(map(str, line)) + "\n" for line in lines), encoding="utf-8"
        )
    write(folder, "kg_final.txt", *((n % 16, n % 3, 100 + n * 7 % 13) for n in range(90)), delimiter=" ")
    profile, schema, tables = load(folder, tmp_path)
    assert profile.tables["interactions"].lists and profile.tables["interactions"].file == ("test.txt", "train.txt")
    assert profile.tables["kg_final"].columns == ("head_id", "relation_id", "tail_id")
    assert {(one.start, one.end) for one in profile.relationships} == {("user", "item"), ("item", "entity")}
    assert {edge.where["relation_id"] for edge in schema.graph_edges.values()} == {"0", "1", "2"}
    assert tables.nodes["user"].num_rows == 30
    assert tables.interactions.num_rows == sum(7 + user % 3 * 2 for user in range(30))


def test_files_without_a_header_get_names_by_their_values(tmp_path):
    folder = tmp_path / "plain"
    write(folder, "movies.csv", *((n, say(n), list_genres(n, "|")) for n in range(1, 41)))
    write(folder, "ratings.csv", *((*row, 1_260_759_144 + n) for n, row in enumerate(make_ratings(30, 40, 600))))
    profile, schema, tables = load(folder, tmp_path)
    assert profile.tables["ratings"].columns == ("user_id", "movie_id", "rating", "timestamp")
    assert profile.tables["movies"].columns == ("movie_id", "title", "column_3")
    assert (schema.item_type, schema.nodes["movies"].name, schema.interaction.weight) == ("movies", "title", "rating")
    assert tables.nodes["movies"].num_rows == 40


def test_events_of_several_kinds_are_an_edge_type_each(tmp_path):
    rows = [
        (user, item, ("view", "view", "cart", "buy", "view")[grade - 1], 1_511_544_070 + n)
        for n, (user, item, grade) in enumerate(make_ratings(30, 40, 600))
    ]
    folder = write(tmp_path / "shop", "events.csv", ("user_id", "item_id", "behavior", "ts"), *rows)
    profile, schema, tables = load(folder, tmp_path)
    assert {one.type: (one.where["behavior"], one.count, one.table) for one in profile.relationships} == {
        kind: (kind, sum(row[2] == kind for row in rows), "events") for kind in ("view", "cart", "buy")
    }
    assert schema.interaction.edge == "buy" and set(schema.interaction.other_feedback) == {"view", "cart"}
    assert tables.edges["view"].num_rows == sum(row[2] == "view" for row in rows)
