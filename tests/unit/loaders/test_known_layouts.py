"""Published layouts that are recognised and have a ready schema; the rows are made up."""

from pathlib import Path

import pytest

from graph_schema import CatalogueSchema
from graph_schema.checks.staging import stage_tables
from loaders import open_source
from loaders.known_layouts import KNOWN_LAYOUTS, find_layout

MOVIELENS_1M = {
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    "movies.dat": "1::Misérables, Les (1995)::Drama|Musical\n2::Sea: A Story (1995)::Comedy\n",
    "ratings.dat": "1::1::5::978300760\n1::2::3::978302109\n2::1::4::978301968\n",
    "README": "MovieLens and more\n",
}
BOOK_CROSSING = {
    "BX-Books.csv": (
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"\n'
        '"0195153448";"Sea &amp; Hill";"Ann Lake";"2002";"Oxford";"http://x/s";"http://x/m";"http://x/l"\n'
        '"002542730X";"Café \\"Rio\\"; a story";"Bob Hill";"0";"Prima";"http://x/s";"http://x/m";"http://x/l"\n'
    ),
    "BX-Users.csv": '"User-ID";"Location";"Age"\n"1";"oslo, , norway";NULL\n"2";"bergen, hordaland, norway";"18"\n',
    "BX-Book-Ratings.csv": (
        '"User-ID";"ISBN";"Book-Rating"\n"1";"0195153448";"0"\n"1";"002542730X";"8"\n"2";"0195153448";"9"\n"2";"0000000001";"5"\n'
    ),
}
LASTFM = {
    "artists.dat": "id\tname\turl\tpictureURL\n1\tMALICE\thttp://x/1\thttp://y/1\n2\tSea Power\thttp://x/2\thttp://y/2\n",
    "user_artists.dat": "userID\tartistID\tweight\n2\t1\t13883\n3\t1\t200\n3\t2\t5\n",
    "tags.dat": "tagID\ttagValue\n1\tmetal\n2\tcafé\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n2\t1\t1\t1\t4\t2009\n3\t1\t2\t1\t4\t2009\n",
    "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n2\t1\t1\t1238536800000\n",
    "user_friends.dat": "userID\tfriendID\n2\t3\n3\t2\n",
}
MOVIELENS_100K = {
    "u.data": "1\t1\t5\t881250949\n",
    "u.user": "1|24|M|writer|85711\n",
    "u.item": "1|Toy Story (1995)|01-Jan-1995||http://x|" + "|".join("0" * 19) + "\n",
    "u.genre": "unknown|0\n",
}
MIND = {
    "news.tsv": "N1\tsports\tgolf\tA title\tAn abstract\thttp://x\t[]\t[]\n",
    "behaviors.tsv": "1\tU1\t11/15/2019 8:55:22 AM\tN1\tN1-1\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


def load(folder: Path, tmp_path: Path):
    layout = find_layout(folder)
    schema = CatalogueSchema.from_toml(layout.schema_file)
    source = open_source(layout.source, path=folder, schema=schema, cache_dir=tmp_path)
    return stage_tables(source, tmp_path / "staged", rejects=None, max_rejects=0).to_tables()


@pytest.mark.parametrize(
    ("files", "name", "source"),
    [
        (MOVIELENS_100K, "movielens-100k", "movielens-100k"),
        (MOVIELENS_1M, "movielens-1m", "tabular"),
        (BOOK_CROSSING, "book-crossing", "tabular"),
        (LASTFM, "hetrec-lastfm", "tabular"),
        (MIND, "mind", "mind"),
    ],
)
def test_a_layout_is_known_by_its_files_and_their_first_lines(tmp_path, files, name, source):
    folder = write(tmp_path / "data", files)
    layout = find_layout(folder)
    assert layout is not None and (layout.name, layout.source) == (name, source)
    first = next(iter(layout.files))
    (folder / first).write_text("id,title\n1,One\n")
    assert find_layout(folder) is None  # the same name, another content
    (folder / first).unlink()
    assert find_layout(folder) is None


@pytest.mark.parametrize("layout", KNOWN_LAYOUTS, ids=lambda layout: layout.title)
def test_the_ready_schemas_describe_catalogues(layout):
    assert CatalogueSchema.from_toml(layout.schema_file).name == layout.name


def test_movielens_1m_loads_by_its_ready_schema(tmp_path):
    tables = load(write(tmp_path / "ml-1m", MOVIELENS_1M), tmp_path)
    assert tables.nodes["movie"].to_pylist() == [
        {"movie_id": "1", "title": "Misérables, Les (1995)", "genres": ["Drama", "Musical"]},
        {"movie_id": "2", "title": "Sea: A Story (1995)", "genres": ["Comedy"]},
    ]
    assert tables.nodes["user"].to_pylist()[0] == {"user_id": "1", "gender": "F", "age": 1, "occupation": "10"}
    assert tables.interactions.to_pylist()[2] == {"source": "2", "target": "1", "rating": 4, "rated_at": 978301968}
    assert tables.likes.num_rows == 2


def test_book_crossing_loads_by_its_ready_schema(tmp_path):
    tables = load(write(tmp_path / "bx", BOOK_CROSSING), tmp_path)
    titles = {row["ISBN"]: row["Book-Title"] for row in tables.nodes["book"].to_pylist()}
    assert titles["0195153448"] == "Sea & Hill"
    assert titles["002542730X"].startswith("Café") and titles["002542730X"].endswith("; a story")
    assert titles["0000000001"] is None  # rated, and in no table
    assert [row["Age"] for row in tables.nodes["user"].to_pylist()] == [None, 18]
    assert tables.interactions.num_rows == 4
    assert tables.likes.to_pydict()["source"] == ["1", "2"]  # a rating of 0 is no like


def test_hetrecs_lastfm_loads_by_its_ready_schema(tmp_path):
    tables = load(write(tmp_path / "lastfm", LASTFM), tmp_path)
    assert [row["name"] for row in tables.nodes["artist"].to_pylist()] == ["MALICE", "Sea Power"]
    assert [row["tagValue"] for row in tables.nodes["tag"].to_pylist()] == ["metal", "café"]
    assert tables.interactions["weight"].to_pylist() == [13883, 200, 5]
    assert {(row["source"], row["target"]) for row in tables.edges["tagged"].to_pylist()} == {("1", "1"), ("1", "2")}
    assert {(row["source"], row["target"]) for row in tables.edges["friend"].to_pylist()} == {("2", "3"), ("3", "2")}
