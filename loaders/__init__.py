"""Raw sources of catalogues: each yields the rows that `graph_schema.checks.staging` checks and stages."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.drafts.profile import GraphProfile
from graph_schema.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa

# name -> module; each has open_source(path, schema, cache_dir, encoding)
SOURCES = {
    "mind": "loaders.mind",
    "movielens-100k": "loaders.movielens",
    "tabular": "loaders.files.tabular",
}


def open_source(
    name: str,
    *,
    path: Path | None = None,
    schema: CatalogueSchema | None = None,
    cache_dir: Path,
    encoding: str | None = None,
) -> Source:
    """Opens a source by its name.

    Args:
        name: one of `SOURCES`.
        path: the folder of the raw files; None if the source can fetch them itself.
        schema: the schema of the rows; None if the source has its own.
        cache_dir: the folder to keep fetched files in.
        encoding: the encoding of text files that the schema says none of; None for UTF-8, or UTF-16 with a mark.

    Raises:
        CatalogueError: the name is unknown, or the files are missing or unreadable.
    """
    if name not in SOURCES:
        raise CatalogueError(f"no source {name!r}; expected one of: {', '.join(SOURCES)}")
    opener: Callable[[Path | None, CatalogueSchema | None, Path, str | None], Source]
    opener = import_module(SOURCES[name]).open_source
    try:
        return opener(path, schema, cache_dir, encoding)
    except OSError as error:
        raise CatalogueError(f"cannot read {path or cache_dir}: {error}; expected a readable folder") from error


def describe_spaces(source: Source) -> str:
    """How many ids of a source's files, read so far, had spaces around them, as a sentence; empty where none had."""
    from loaders.files.tabular import TabularSource

    return source.describe_spaces() if isinstance(source, TabularSource) else ""


def read_profile(
    folder: Path, encoding: str | None = None, on_rows: Callable[[str, int], None] | None = None
) -> GraphProfile:
    """Profiles a folder of tables; see `loaders.profiles.table_profile`."""
    from loaders.profiles import table_profile

    return table_profile.read_profile(folder, encoding, on_rows)


def read_rows(file: Path, columns: Sequence[str]) -> "pa.Table":
    """Reads a whole file that has some columns; see `loaders.files.table_reading`."""
    from loaders.files import table_reading

    return table_reading.read_rows(file, columns)


__all__ = ["SOURCES", "describe_spaces", "open_source", "read_profile", "read_rows"]
