"""MovieLens 100K with its Freebase knowledge graph, from the RecBole wheel or your own copy.

Two layouts are read: RecBole's (ml-100k.inter, .user, .item, .kg, .link) and GroupLens' own (u.data, u.user, u.item,
u.genre), which has no knowledge graph beyond genres. How the knowledge graph is read:

- RecBole's ml-100k.link names films by the ids of later MovieLens sets (1M, 20M), which differ from those of 100K: read
  unchanged, it turns Titanic into "The Swan Princess" (github.com/RUCAIBox/RecSysDatasets/issues/130).
  `movielens_ids.csv` translates 1,480 of the 1,682 films, matched by title and year. Any other link file is read
  unchanged.
- Every entity but the films keeps its Freebase id.
- A relation and its inverse (film.film.directed_by, film.director.film) are one edge type, each pair once.
- Triples of films without a link are left out, and so are sequels unless both films have one.
- The genre "unknown" is left out, and a year that is not a number ("unkonwn", "V") is missing.
"""

import csv
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.sources import MemorySource, RawBatch, split_table

WHEEL = "recbole-1.2.1-py3-none-any.whl"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
# of the sorted lines "item entity": the link file whose ids are those of MovieLens 20M
RECBOLE_LINK_SHA256 = "ea68250907927741032746bebc327ee671c1cbf6fe5ce44232099168447d8fbc"
RECBOLE_FILES = ("ml-100k.inter", "ml-100k.user", "ml-100k.item", "ml-100k.kg", "ml-100k.link")
GROUPLENS_FILES = ("u.data", "u.user", "u.item", "u.genre")
USER_COLUMNS = ["user_id", "age", "gender", "occupation"]

# Freebase relation -> (edge type, whether the film is the head)
RELATIONS = {
    "film.film.actor": ("has_actor", True),
    "film.actor.film": ("has_actor", False),
    "film.film.directed_by": ("directed_by", True),
    "film.director.film": ("directed_by", False),
    "film.film.written_by": ("written_by", True),
    "film.writer.film": ("written_by", False),
    "film.film.produced_by": ("produced_by", True),
    "film.producer.film": ("produced_by", False),
    "film.film.cinematography": ("shot_by", True),
    "film.cinematographer.film": ("shot_by", False),
    "film.film.production_companies": ("made_by", True),
    "film.production_company.films": ("made_by", False),
    "film.film.country": ("made_in", True),
    "film.film.language": ("in_language", True),
    "film.film.rating": ("has_content_rating", True),
    "film.content_rating.film": ("has_content_rating", False),
    "film.film.subjects": ("is_about", True),
    "film.film_subject.films": ("is_about", False),
    "film.film.award_won": ("won", True),
    "film.film.award_nomination": ("nominated_for", True),
    "film.film.genre": ("has_freebase_genre", True),
    "film.film_genre.films_in_this_genre": ("has_freebase_genre", False),
    "film.film.sequel": ("has_sequel", True),
    "film.film.prequel": ("has_sequel", False),
}

Folder = Path | zipfile.Path
Tables = dict[str, Sequence[RawBatch]]


def open_source(
    path: Path | None, schema: CatalogueSchema | None, cache_dir: Path, encoding: str | None = None
) -> MemorySource:
    """Opens MovieLens 100K.

    Args:
        path: a folder with the files of either layout; None fetches RecBole's with pip, once.
        schema: a schema to use instead of `graph_schema/catalogues/movielens-100k.toml`.
        cache_dir: where the fetched wheel is kept.
        encoding: not used: both layouts have their own.

    Raises:
        CatalogueError: files are missing or unreadable, or cannot be fetched.
    """
    schema = schema or CatalogueSchema.known("movielens-100k")
    if path is None:
        return _read_recbole(zipfile.Path(fetch_wheel(cache_dir), WHEEL_FOLDER), schema)
    if (path / "u.data").exists():
        _check_files(path, GROUPLENS_FILES)
        return _read_grouplens(path, schema)
    _check_files(path, RECBOLE_FILES)
    return _read_recbole(path, schema)


def fetch_wheel(cache_dir: Path) -> Path:
    """The path of the RecBole wheel in the cache; fetches it with pip if it is missing.

    Raises:
        CatalogueError: pip cannot fetch it, or fetched another file.
    """
    wheel = cache_dir / WHEEL
    if wheel.is_file() and _hash_file(wheel) == WHEEL_SHA256:
        return wheel
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", temporary, "recbole==1.2.1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(temporary, WHEEL)
        if done.returncode or not fetched.is_file():
            output = (done.stderr or done.stdout).strip().splitlines()
            raise CatalogueError(
                "cannot fetch MovieLens 100K: pip download recbole==1.2.1 failed "
                f"({output[-1] if output else 'no output'}); "
                "connect to a package index, or give your own copy by --path DIR"
            )
        digest = _hash_file(fetched)
        if digest != WHEEL_SHA256:
            raise CatalogueError(
                f"pip fetched a {WHEEL} with SHA-256 {digest}; expected {WHEEL_SHA256}: "
                "check the package index, or give your own copy by --path DIR"
            )
        fetched.replace(wheel)
    return wheel


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_files(folder: Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CatalogueError(
            f"{folder} has no {', '.join(missing)}; expected a folder with {', '.join(RECBOLE_FILES)} "
            f"or with {', '.join(GROUPLENS_FILES)}"
        )


def _read_recbole(folder: Folder, schema: CatalogueSchema) -> MemorySource:
    movies = _read_file(folder, "ml-100k.item")
    kg = _read_file(folder, "ml-100k.kg")
    link = _read_file(folder, "ml-100k.link")
    users = _read_file(folder, "ml-100k.user")
    ratings = _read_file(folder, "ml-100k.inter").rename_columns(
        {"user_id": "source", "item_id": "target", "timestamp": "rated_at"}
    )
    ids = movies["item_id"].to_pylist()
    years = [year if year and year.isdigit() else None for year in movies["release_year"].to_pylist()]
    genres = [[name for name in (names or "").split() if name != "unknown"] for names in movies["class"].to_pylist()]
    nodes = {
        **_list_nodes(ids, movies["movie_title"].to_pylist(), years, genres, file="ml-100k.item"),
        "user": split_table(users.select(USER_COLUMNS), "ml-100k.user"),
    }
    edges = {
        "rated": split_table(ratings, "ml-100k.inter"),
        "has_genre": _list_genre_edges(ids, genres, "ml-100k.item"),
        **_fold_triples(kg, _link_movies(link)),
    }
    return MemorySource(schema, nodes, edges)


def _read_grouplens(folder: Folder, schema: CatalogueSchema) -> MemorySource:
    genre_rows = _read_file(folder, "u.genre", delimiter="|", columns=["name", "place"]).to_pylist()
    names = [row["name"] for row in sorted(genre_rows, key=lambda row: int(row["place"]))]
    columns = ["movie_id", "title", "released", "video_released", "url", *names]
    movies = _read_file(folder, "u.item", delimiter="|", columns=columns, encoding="latin-1").to_pylist()
    users = _read_file(folder, "u.user", delimiter="|", columns=[*USER_COLUMNS, "zip_code"])
    ratings = _read_file(folder, "u.data", columns=["source", "target", "rating", "rated_at"])
    ids = [movie["movie_id"] for movie in movies]
    titles, years = zip(*(_split_title(movie["title"]) for movie in movies), strict=True)
    genres = [[name for name in names if movie[name] == "1" and name != "unknown"] for movie in movies]
    nodes = {
        **_list_nodes(ids, titles, years, genres, file="u.item"),
        "user": split_table(users.select(USER_COLUMNS), "u.user"),
    }
    no_triples: Tables = {edge_type: [] for edge_type, _ in RELATIONS.values()}
    edges = {
        **no_triples,
        "rated": split_table(ratings, "u.data"),
        "has_genre": _list_genre_edges(ids, genres, "u.item"),
    }
    return MemorySource(schema, nodes, edges)


def _read_file(
    folder: Folder, name: str, *, delimiter: str = "\t", columns: list[str] | None = None, encoding: str = "utf-8"
) -> pa.Table:
    """Reads a whole file as text columns; without `columns` it has RecBole's header: `name:type`, separated by tabs."""
    try:
        data = (folder / name).read_bytes()
        if columns is None:
            header, _, data = data.partition(b"\n")
            columns = [column.split(":")[0] for column in header.decode().strip().split(delimiter)]
        return pv.read_csv(
            pa.BufferReader(data),
            read_options=pv.ReadOptions(column_names=columns, encoding=encoding),
            parse_options=pv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise CatalogueError(f"cannot read {folder / name}: {error}; expected {name} of MovieLens 100K") from error


def _split_title(title: str | None) -> tuple[str | None, str | None]:
    found = re.fullmatch(r"(.*\S)\s*\((\d{4})\)\s*", title or "")
    return (found[1], found[2]) if found else (title, None)


def _list_nodes(
    ids: Sequence[str],
    titles: Sequence[str | None],
    years: Sequence[str | None],
    genres: Sequence[Sequence[str]],
    *,
    file: str,
) -> Tables:
    movies = {
        "movie_id": pa.array(ids, pa.string()),
        "title": pa.array(titles, pa.string()),
        "genres": pa.array([", ".join(names) or None for names in genres], pa.string()),
        "year": pa.array(years, pa.string()),
    }
    distinct = pa.array(sorted({name for names in genres for name in names}), pa.string())
    return {
        "movie": split_table(pa.table(movies), file),
        "genre": split_table(pa.table({"genre_id": distinct, "name": distinct}), file),
    }


def _list_genre_edges(ids: Sequence[str], genres: Sequence[Sequence[str]], file: str) -> list[RawBatch]:
    edges = [(id_, name, row) for row, (id_, names) in enumerate(zip(ids, genres, strict=True), 1) for name in names]
    return [_to_batch(edges, file)]


def _link_movies(link: pa.Table) -> dict[str, list[str]]:
    """Freebase id of a film -> ids of its movies; a few films are in MovieLens 100K twice."""
    pairs = list(zip(link["item_id"].to_pylist(), link["entity_id"].to_pylist(), strict=True))
    lines = "\n".join(sorted(f"{item} {entity}" for item, entity in pairs))
    if hashlib.sha256(lines.encode()).hexdigest() == RECBOLE_LINK_SHA256:
        entity_of = dict(pairs)
        with Path(__file__).with_name("movielens_ids.csv").open(newline="", encoding="utf-8") as file:
            pairs = [(row["ml_100k"], entity_of[row["ml_20m"]]) for row in csv.DictReader(file)]
    movies_of: dict[str, list[str]] = {}
    for movie, entity in pairs:
        movies_of.setdefault(entity, []).append(movie)
    return movies_of


def _fold_triples(kg: pa.Table, movies_of: Mapping[str, Sequence[str]]) -> Tables:
    """Edges (movie, entity) per edge type, each pair once and with the row of its first triple."""
    folded: dict[str, dict[tuple[str, str], int]] = {edge_type: {} for edge_type, _ in RELATIONS.values()}
    triples = zip(*(kg[column].to_pylist() for column in ("head_id", "relation_id", "tail_id")), strict=True)
    for row, (head, relation, tail) in enumerate(triples, 1):
        if relation not in RELATIONS:
            raise CatalogueError(f"ml-100k.kg row {row}: no relation {relation!r}; expected {', '.join(RELATIONS)}")
        edge_type, film_is_head = RELATIONS[relation]
        film, other = (head, tail) if film_is_head else (tail, head)
        targets = movies_of.get(other, ()) if edge_type == "has_sequel" else (other,)
        for pair in product(movies_of.get(film, ()), targets):
            folded[edge_type].setdefault(pair, row)
    return {
        edge_type: [_to_batch([(*pair, row) for pair, row in pairs.items()], "ml-100k.kg")]
        for edge_type, pairs in folded.items()
    }


def _to_batch(edges: Sequence[tuple[str, str, int]], file: str) -> RawBatch:
    columns = pa.record_batch(
        {
            "source": pa.array([source for source, _, _ in edges], pa.string()),
            "target": pa.array([target for _, target, _ in edges], pa.string()),
        }
    )
    return RawBatch(columns, file, np.array([row for _, _, row in edges], dtype=np.int64))
