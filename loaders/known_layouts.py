"""Published data sets whose files are always the same: they have a ready schema, and nothing is guessed."""

from dataclasses import dataclass
from pathlib import Path

from graph_schema.catalogue_schema import CATALOGUES_DIR

_START_BYTES = 4096


@dataclass(frozen=True)
class KnownLayout:
    """A layout of files that is known beforehand.

    Attributes:
        name: of its schema, `graph_schema/catalogues/<name>.toml`.
        title: for people.
        source: what `kgrec load` reads it with, one of `loaders.SOURCES`.
        files: the files that it has -> what must be in the first line of each, in this order; empty: anything.
    """

    name: str
    title: str
    source: str
    files: dict[str, tuple[str, ...]]

    @property
    def schema_file(self) -> Path:
        """Its schema, with comments."""
        return CATALOGUES_DIR / f"{self.name}.toml"


KNOWN_LAYOUTS = (
    KnownLayout(
        "movielens-100k",
        "MovieLens 100K",
        "movielens-100k",
        {"u.data": ("\t",) * 3, "u.user": ("|",) * 4, "u.item": ("|",) * 23, "u.genre": ("|",)},
    ),
    KnownLayout(
        "movielens-100k",
        "MovieLens 100K of RecBole",
        "movielens-100k",
        {
            "ml-100k.inter": ("user_id", "item_id"),
            "ml-100k.user": ("user_id",),
            "ml-100k.item": ("item_id", "movie_title"),
            "ml-100k.kg": ("head_id", "relation_id", "tail_id"),
            "ml-100k.link": ("item_id", "entity_id"),
        },
    ),
    KnownLayout(
        "movielens-1m",
        "MovieLens 1M",
        "tabular",
        {"users.dat": ("::",) * 4, "movies.dat": ("::",) * 2, "ratings.dat": ("::",) * 3},
    ),
    KnownLayout(
        "book-crossing",
        "Book-Crossing",
        "tabular",
        {
            "BX-Books.csv": ("ISBN", ";", "Book-Title", "Book-Author"),
            "BX-Users.csv": ("User-ID", ";", "Location", "Age"),
            "BX-Book-Ratings.csv": ("User-ID", ";", "ISBN", "Book-Rating"),
        },
    ),
    KnownLayout(
        "hetrec-lastfm",
        "Last.fm of HetRec 2011",
        "tabular",
        {
            "artists.dat": ("id", "name", "url", "pictureURL"),
            "tags.dat": ("tagID", "tagValue"),
            "user_artists.dat": ("userID", "artistID", "weight"),
            "user_taggedartists.dat": ("userID", "artistID", "tagID"),
            "user_friends.dat": ("userID", "friendID"),
        },
    ),
    KnownLayout("mind", "MIND", "mind", {"news.tsv": ("\t",) * 7, "behaviors.tsv": ("\t",) * 4}),
)


def find_layout(folder: Path) -> KnownLayout | None:
    """The layout that a folder has; None: it is not a known one, and its tables are to be profiled."""
    return next((layout for layout in KNOWN_LAYOUTS if _has_layout(folder, layout)), None)


def _has_layout(folder: Path, layout: KnownLayout) -> bool:
    if not all((folder / name).is_file() for name in layout.files):
        return False
    return all(_has_in_order(_read_first_line(folder / name), words) for name, words in layout.files.items())


def _read_first_line(file: Path) -> str:
    with file.open("rb") as opened:
        start = opened.read(_START_BYTES)
    return start.decode("latin-1").splitlines()[0] if start.strip() else ""


def _has_in_order(line: str, words: tuple[str, ...]) -> bool:
    place = 0
    for word in words:
        found = line.find(word, place)
        if found < 0:
            return False
        place = found + len(word)
    return True
