"""A bookshop whose readers are known by friends, from CSV files to answers: inspect, load, validate, train, sync."""

import json
import random
from pathlib import Path

from conftest import CONFIG, RunCommand, write_csv

from graph_schema import CatalogueSchema
from kgrec import Recommender
from kgrec.store.neo4j.connection import Connection

GRAPH = (  # as another program wrote it: reader r and book b are alike where r % 3 == b % 3
    """UNWIND ['Oslo', 'Bergen', 'Hamar'] AS t
    CREATE (:Town {name: t, population: 30000 * size(t), founded: date('1048-01-01')})""",
    """UNWIND range(0, 47) AS b CREATE (:Book {isbn: 9780000000000 + 7 * b, title: 'Volume ' + b,
    genres: [['Garden', 'Nature'], ['Crime', 'Thriller'], ['Planets']][b % 3], price: 5.25 + b * 7 % 31,
    published: date({year: 1950 + b})})""",
    """UNWIND range(0, 120) AS r MATCH (t:Town {name: ['Oslo', 'Bergen', 'Hamar'][r * 7 % 11 % 3]})
    CREATE (:Reader {readerId: 'r' + r, age: 20 + r % 40, hobbies: ['tea', 'h' + r % 5],
    home: point({latitude: 59.5 + r % 7 / 10.0, longitude: 10.5 + r % 5 / 10.0})})-[:LIVES_IN]->(t)""",
    """UNWIND range(0, 120) AS r UNWIND [3, 9, 24, 51] AS step MATCH (a:Reader {readerId: 'r' + r})
    MATCH (b:Reader {readerId: 'r' + (r + step) % 120}) CREATE (a)-[:KNOWS {since: date('2020-01-01')}]->(b)""",
    """UNWIND range(0, 119) AS r UNWIND range(0, 5) AS n MATCH (a:Reader {readerId: 'r' + r})
    MATCH (b:Book {isbn: 9780000000000 + 7 * ((r % 3 + 3 * ((r / 3 * 5 + n * 3) % 16)) % 48)})
    MERGE (a)-[:RATED {stars: 5, at: datetime({epochSeconds: 1600000000 + r * 1000 + n})}]->(b)""",
)
TASTES = {"garden": "Gardens|Nature", "murder": "Crime|Thriller", "space": "Planets|Rockets"}
N_BOOKS, N_READERS = 48, 120


def make_bookshop(folder: Path) -> Path:
    """Writes tables: reader r likes books b with b % 3 == r % 3, and so do all friends of theirs."""
    draw, kinds = random.Random(1), list(TASTES)
    folder.mkdir()
    isbns = [9_780_000_000_000 + 7 * b for b in range(N_BOOKS)]
    tables: dict[str, list[list[object]]] = {
        "books": [["isbn", "title", "about", "price", "year", "genres", "signed"]],
        "readers": [["reader_id", "name", "age", "gender", "town"]],
        "friends": [["user", "friend"]],
        "ratings": [["reader_id", "isbn", "rating", "at"]],
    }
    for b, isbn in enumerate(isbns):
        about = f"A long book that tells of {kinds[b % 3]} and of more"
        row = [f"{5 + draw.random() * 30:.2f}", 1950 + draw.randrange(70), TASTES[kinds[b % 3]]]
        tables["books"].append([isbn, f"Volume {b}", about, *row, draw.choice(["yes", "no"])])
    for r in range(N_READERS):
        town = draw.choice(["Oslo", "Bergen", "Hamar"])
        tables["readers"].append([f"r{r}", f"Reader {r}", draw.randrange(20, 70), draw.choice("mf"), town])
        alike = [f"r{other}" for other in range(r % 3, N_READERS, 3) if other != r]
        tables["friends"] += [[f"r{r}", friend] for friend in draw.sample(alike, 4)]
        for place, isbn in enumerate([*draw.sample(isbns[r % 3 :: 3], 6), *draw.sample(isbns[(r + 1) % 3 :: 3], 2)]):
            rating = 5 if place < 6 else 2
            tables["ratings"].append([f"r{r}", isbn, rating, 1_600_000_000 + draw.randrange(10**7)])
    tables["friends"] += [["lonely", f"r{r}"] for r in (0, 3, 6, 9)]
    tables["readers"].append(["lonely", "New Reader", 33, "f", ""])
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", [list(map(str, row)) for row in rows])
    return folder


def tastes_of(books: list[str]) -> list[int]:
    return [(int(book) - 9_780_000_000_000) // 7 % 3 for book in books]


def test_a_reader_known_by_friends_gets_their_books_through_all_commands(run: RunCommand, tmp_path: Path) -> None:
    shop, draft, config = make_bookshop(tmp_path / "shop"), tmp_path / "draft.toml", tmp_path / "tiny.toml"
    store, bundle = f"ladybug:{tmp_path / 'shop.db'}", tmp_path / "bundle"
    config.write_text(CONFIG)
    assert run("inspect", shop, "--out", draft).code == 0
    lines = [line.partition("  #")[0].rstrip() for line in draft.read_text().splitlines()]
    for line in (
        'age = {type = "int", sensitive = true}',
        'gender = {type = "string", sensitive = true}',
        'town = {type = "string", feature = true}',
        'text = ["title", "about"]',
        'price = {type = "float", feature = true}',
        'genres = {type = "list", feature = true}',
        'signed = {type = "bool", feature = true}',
        'source_column = "user"',
        'phrase = "friend"',
        'weight = "rating"',
        "positive = 4",
    ):
        assert line in lines, line
    schema = CatalogueSchema.from_toml(draft)
    assert (schema.user_type, schema.item_type, schema.nodes["books"].key) == ("readers", "books", "isbn")

    load = ("load", "tabular", "--path", shop, "--schema", draft, "--to", store)
    loaded = run(*load)
    assert loaded.code == 0 and "rejected" not in loaded.err, loaded
    checked = run("validate", store)
    assert checked.code == 0 and "warning" not in checked.out, checked.out
    trained = run("train", store, "--out", bundle, "--config", config)
    assert trained.code == 0, trained
    recommender = Recommender.load(bundle)
    assert recommender.bundle.model.user_prior is not None
    assert tastes_of(list(recommender.recommend(user="lonely", k=6).ids)) == [0] * 6
    asked = run("recommend", bundle, "--user", "lonely", "--explain")
    assert asked.code == 0 and "this rests on the user's friends" in asked.err
    assert "of your 4 friends like it" in asked.out

    # a reader and a book come, a price changes
    with (shop / "readers.csv").open("a") as file:
        file.write("novice,Novice,60,m,\n")
    with (shop / "friends.csv").open("a") as file:
        file.write("novice,r1\nnovice,r4\nnovice,r7\nnovice,novice\n")
    with (shop / "books.csv").open("a") as file:
        file.write(f"{9_780_000_000_000 + 7 * 49},New,A long book of murder,9.5,1999,Crime|Thriller,no\n")
    assert run(*load).code == 0
    assert "friends edges from a node to itself" in run("validate", store).out
    assert run("sync", store, bundle).code == 0
    synced = Recommender.load(bundle)
    assert tastes_of(list(synced.recommend(user="novice", k=5).ids)) == [1] * 5


def test_a_graph_of_another_program_trains_on_its_users_links_by_its_draft(
    run: RunCommand, neo4j_url: str, tmp_path: Path
) -> None:
    with Connection(neo4j_url, "write") as connection:
        for query in GRAPH:
            connection.write(query)
    draft, config, bundle = tmp_path / "draft.toml", tmp_path / "tiny.toml", tmp_path / "bundle"
    config.write_text(CONFIG)
    assert run("inspect", neo4j_url, "--out", draft).code == 0
    schema = CatalogueSchema.from_toml(draft)
    reader, book, town = (schema.nodes[name] for name in ("reader", "book", "town"))
    assert {name: reader.columns[name] for name in reader.features} == {"hobbies": "list", "home": "point"}
    assert reader.sensitive == ("age",)
    assert {name: book.columns[name] for name in book.features} == {
        "genres": "list", "price": "float", "published": "time",
    }  # fmt: skip
    assert {name: town.columns[name] for name in town.features} == {"founded": "time", "population": "int"}
    assert (schema.edges["knows"].phrase, schema.edges["lives_in"].phrase) == ("contact", "in {}")
    trained = run("train", neo4j_url, "--schema", draft, "--out", bundle, "--config", config)
    assert trained.code == 0, trained
    recommender = Recommender.load(bundle)
    assert recommender.bundle.model.user_prior is not None
    # r120 has no ratings; their friends are r3, r9, r24 and r51
    assert tastes_of(list(recommender.recommend(user="r120", k=3).ids)) == [0] * 3
    assert "this rests on the user's contacts" in run("recommend", bundle, "--user", "r120").err
    synced = run("sync", neo4j_url, bundle, "--dry-run", "--format", "json")
    assert json.loads(synced.out[synced.out.index("{") :])["changed"] is False
