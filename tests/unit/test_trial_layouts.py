"""The layouts of the trials: in the form that people get them, and with the taste that they claim to plant."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trial_layouts import FOLDERS, GRAPHS, Layout
from trial_layouts.layout import write_likes
from trial_layouts.planting import START, Choice, Planted, grade, plant_taste, write_american_time
from trial_layouts.themes import FILMS

MAKE = {layout.name: layout.make for layout in FOLDERS}
MOST_BYTES = 200_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Planted]]:
    """Makes a layout, once."""
    made: dict[str, tuple[Path, Planted]] = {}

    def make(name: str) -> tuple[Path, Planted]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = (folder, MAKE[name](folder))
        return made[name]

    return make


def read_lines(file: Path, encoding: str = "utf-8") -> list[str]:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return data.decode(encoding).splitlines()


def read_rows(file: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    with file.open(newline="", encoding=encoding) as opened:
        return list(csv.DictReader(opened))


def check_planted(planted: Planted) -> None:
    groups = {user: planted.groups[item] for user, item in planted.likes}
    assert all(planted.groups[item] == groups[user] for user, item in planted.likes)
    assert not planted.likes & planted.not_likes
    assert groups[planted.user] == 0
    assert 1 <= sum(user == planted.user for user, _ in planted.likes) <= 2
    assert {planted.groups[item] for item in planted.given} == {1}
    assert sorted(set(planted.groups.values())) == [0, 1, 2]
    assert set(planted.titles) in (set(), set(planted.groups))
    assert len(set(planted.titles.values())) == len(planted.titles)
    hubs = {hub.lower() for hub in planted.hubs}
    assert not any(hub in title.lower().split() for title in planted.titles.values() for hub in hubs)


def test_names_are_distinct() -> None:
    names = [layout.name for layout in (*FOLDERS, *GRAPHS)]
    assert len(set(names)) == len(names) >= 35


@pytest.mark.parametrize("layout", FOLDERS, ids=lambda layout: layout.name)
def test_a_folder_is_small_made_alike_each_time_and_plants_what_it_says(layout: Layout, tmp_path: Path) -> None:
    found = []
    for turn in ("one", "two"):
        (tmp_path / turn).mkdir()
        planted = layout.make(tmp_path / turn)
        found.append({file.name: file.read_bytes() for file in (tmp_path / turn).iterdir()})
    assert found[0] == found[1]
    assert 0 < sum(map(len, found[0].values())) < MOST_BYTES
    check_planted(planted)


@pytest.mark.parametrize("layout", GRAPHS, ids=lambda layout: f"graph of {layout.name}")
def test_a_graph_plants_what_it_says(layout) -> None:
    planted, queries = layout.make()
    check_planted(planted)
    assert all("CREATE" in query for query, _ in queries)


@pytest.mark.parametrize(
    ("name", "file", "first"),
    [
        ("movielens-100k", "u.user", "1|20|M|student|10000"),
        ("movielens-100k", "u.genre", "unknown|0"),
        ("movielens-1m", "users.dat", "1::F::1::0::10000"),
        ("movielens-latest-small", "ratings.csv", "userId,movieId,rating,timestamp"),
        ("book-crossing", "BX-Book-Ratings.csv", '"User-ID";"ISBN";"Book-Rating"'),
        ("hetrec-lastfm", "user_friends.dat", "userID\tfriendID"),
        ("instacart", "order_products__prior.csv", "order_id,product_id,add_to_cart_order,reordered"),
        ("recbole-atomic", "films.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
        ("retailrocket", "events.csv", "timestamp,visitorid,event,itemid,transactionid"),
        ("trusts", "trusts.csv", "user,trusted"),
        ("html-entities", "products.csv", "\ufeffproduct_id,name,category"),
    ],
)  # fmt: skip
def test_files_begin_as_published(make, name: str, file: str, first: str) -> None:
    assert read_lines(make(name)[0] / file)[0] == first


def test_movielens_100k_has_a_film_in_24_columns_and_latin_1(make) -> None:
    folder, planted = make("movielens-100k")
    lines = read_lines(folder / "u.item", "latin-1")
    assert {line.count("|") for line in lines} == {23}
    assert next(line.split("|")[1] for line in lines if "Éternel" in line) == "Éternel Nebula (1965)"
    with pytest.raises(UnicodeDecodeError):
        read_lines(folder / "u.item")
    ratings = [line.split("\t") for line in read_lines(folder / "u.data")]
    assert {(user, item) for user, item, rating, _ in ratings if int(rating) >= 4} == planted.likes


def test_book_crossing_escapes_quotes_and_rates_books_that_are_not_there(make) -> None:
    folder, planted = make("book-crossing")
    assert '"Dragon\'s Throne: \\"A Novel\\" &amp; More"' in read_lines(folder / "BX-Books.csv", "latin-1")[1]
    ratings = [line.replace('"', "").split(";") for line in read_lines(folder / "BX-Book-Ratings.csv")[1:]]
    unknown = sum(isbn not in planted.groups for _, isbn, _ in ratings)
    assert unknown / len(ratings) == pytest.approx(0.103, abs=0.002)
    assert {(user, isbn) for user, isbn, rating in ratings if int(rating) >= 8} >= planted.likes
    assert any(isbn.startswith("0") for isbn in planted.groups) and any(isbn.endswith("X") for isbn in planted.groups)


def test_online_retail_has_returns_and_lines_without_a_customer(make) -> None:
    folder, planted = make("online-retail")
    rows = read_rows(folder / "data.csv", "latin-1")
    assert sum(not row["CustomerID"] for row in rows) / len(rows) == pytest.approx(0.25, abs=0.01)
    bought: dict[tuple[str, str], int] = {}
    for row in rows:
        pair = (row["CustomerID"], row["StockCode"])
        bought[pair] = bought.get(pair, 0) + int(row["Quantity"])
    assert all(bought[pair] > 0 for pair in planted.likes)
    assert all(bought[pair] == 0 for pair in planted.not_likes)
    assert any(row["InvoiceNo"].startswith("C") and int(row["Quantity"]) < 0 for row in rows)


def test_amazons_metadata_is_python_in_2014_and_json_later(make) -> None:
    old = read_lines(make("amazon-2014")[0] / "meta_Home_and_Kitchen.json.gz")
    with pytest.raises(json.JSONDecodeError):
        json.loads(old[0])
    new = [json.loads(line) for line in read_lines(make("amazon-2023")[0] / "meta_Home_and_Kitchen.jsonl.gz")]
    reviews = [json.loads(line) for line in read_lines(make("amazon-2023")[0] / "Home_and_Kitchen.jsonl.gz")]
    assert {one["parent_asin"] for one in reviews} <= {one["parent_asin"] for one in new}
    assert not {one["asin"] for one in reviews} & {one["parent_asin"] for one in new}


def test_minds_clicks_are_in_histories_and_impressions(make) -> None:
    folder, planted = make("mind")
    clicks, ignored = set(), set()
    for line in read_lines(folder / "behaviors.tsv"):
        _, user, _, history, shown = line.split("\t")
        clicks |= {(user, item) for item in history.split()}
        clicks |= {(user, item.removesuffix("-1")) for item in shown.split() if item.endswith("-1")}
        ignored |= {(user, item.removesuffix("-0")) for item in shown.split() if item.endswith("-0")}
    assert clicks >= planted.likes and ignored >= planted.not_likes


def test_taste_keeps_to_groups_but_for_noise() -> None:
    taste = plant_taste(FILMS)
    assert [choice.at for choice in taste.choices] == sorted(choice.at for choice in taste.choices)
    for choice in taste.choices:
        assert (taste.items[choice.item].group == choice.user % 3) == (choice.liked is True)
    assert sum(taste.hub in item.genres for item in taste.items) > len(taste.items) / 2
    assert grade(Choice(1, 1, True, START), (5, 4), 3, (1,)) == 5
    assert grade(Choice(1, 2, None, START), (5, 4), 3, (1,)) == 3


def test_american_times() -> None:
    assert write_american_time(1_291_191_960) == "12/1/2010 8:26"
    assert write_american_time(1_573_462_758, seconds=True) == "11/11/2019 8:59:18 AM"
    assert write_american_time(1_573_430_400, seconds=True) == "11/11/2019 12:00:00 AM"


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("csv", "user,item\nann,7\n"),
        ("tsv", "user\titem\nann\t7\n"),
        ("csv.gz", "user,item\nann,7\n"),
        ("jsonl", '{"user": "ann", "item": "7"}\n'),
    ],
)  # fmt: skip
def test_likes_are_written_as_the_ending_says(tmp_path: Path, ending: str, expected: str) -> None:
    file = tmp_path / f"likes.{ending}"
    write_likes(file, [("ann", "7")])
    assert "".join(line + "\n" for line in read_lines(file)) == expected
