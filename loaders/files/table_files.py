"""Which files of a folder are tables, and which table each belongs to."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from graph_schema import CatalogueError
from graph_schema.near_names import find_near_name
from graph_schema.schema_types import SourceTable

# what these files hold is said by their ending alone, as in ml-100k.inter and ml-100k.item
_KINDS = (".inter", ".data", ".user", ".users", ".item", ".items", ".kg", ".link", ".net")
_TEXT = (".csv", ".tsv", ".txt", ".dat", *_KINDS, ".jsonl", ".ndjson", ".json")
SUFFIXES = (*_TEXT, *(f"{suffix}.gz" for suffix in _TEXT), ".parquet")
EXPECTED = "CSV, TSV, text, JSON, JSON lines or Parquet (.csv, .tsv, .txt, .dat, .json, .jsonl, .parquet, also .csv.gz)"
_MOST_SHOWN = 20


def find_suffix(name: str) -> str | None:
    """The ending that makes a file a table, as the file has it; None: the file is not a table."""
    found = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default=None)
    return None if found is None else name[-len(found) :]


def number_order(file: Path) -> list[tuple[int, str]]:
    """Sorts part 2 before part 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Table -> its files.

    "rated-2" and "rated.2024" are parts of "rated", a folder's tables are parts of its name. Where files differ by
    their ending alone, such as ml-100k.inter and ml-100k.item, that is the table's name: inter, item.
    """
    found: dict[str, list[Path]] = {}
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".") and entry.exists()]
    endings: dict[str, set[str]] = {}  # stem -> the endings of its files that say what they hold
    for entry in entries:
        stem, suffix = _split_name(entry)
        if suffix.removesuffix(".gz") in _KINDS:
            endings.setdefault(stem, set()).add(suffix.removesuffix(".gz"))
    for entry in entries:
        stem, suffix = _split_name(entry)
        ending = suffix.removesuffix(".gz")
        if entry.is_dir():
            parts = [part for part in entry.iterdir() if find_suffix(part.name) is not None]
            if parts:
                found.setdefault(entry.name, []).extend(parts)
        elif ending in _KINDS and len(endings[stem]) > 1:
            found.setdefault(ending.removeprefix("."), []).append(entry)
        elif suffix:
            found.setdefault(re.sub(r"([.-]\d+)+$", "", stem) or stem, []).append(entry)
    return {name: sorted(parts, key=number_order) for name, parts in sorted(found.items())}


def find_files(
    folder: Path, names: Sequence[str], tables: Mapping[str, SourceTable] | None = None
) -> dict[str, list[Path]]:
    """The files of each table, in the order in which they are read.

    They are those that the schema names, else those named after the table; a file such as rated-old.csv belongs to the
    longest name that fits.

    Args:
        folder: the folder.
        names: the tables to find.
        tables: table -> what the schema says of it.

    Raises:
        CatalogueError: the schema names a file that is not there.
    """
    files: dict[str, list[Path]] = {name: [] for name in names}
    looks = tables or {}
    for name in names:
        for pattern in looks[name].file if name in looks else ():
            files[name] += [file for file in _find_named(folder, name, pattern) if file not in files[name]]
    taken = {file for found in files.values() for file in found}
    open_names = [name for name in names if not files[name]]
    for entry in folder.iterdir():
        suffix = find_suffix(entry.name)
        if entry.is_dir() and entry.name in open_names:
            files[entry.name] += [part for part in entry.iterdir() if find_suffix(part.name) is not None]
        elif entry.is_file() and suffix is not None and entry not in taken:
            stem = entry.name.removesuffix(suffix).casefold()
            fitting = [name for name in open_names if _is_part(stem, name.casefold())]
            if fitting:
                files[max(fitting, key=len)].append(entry)
    by_ending = find_tables(folder)
    return {name: sorted(found or by_ending.get(name, []), key=number_order) for name, found in files.items()}


def list_tables(folder: Path) -> str:
    """The tables and folders of a folder, for messages."""
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() or find_suffix(entry.name) is not None)
    return ", ".join(found[:_MOST_SHOWN]) or "no tables"


def drop_empty(files: Sequence[Path]) -> list[Path]:
    """The files that have any content, and those that cannot be read."""
    return [file for file in files if not file.exists() or file.stat().st_size]


def _is_part(stem: str, name: str) -> bool:
    return stem == name or stem.startswith((f"{name}.", f"{name}-"))


def _split_name(entry: Path) -> tuple[str, str]:
    suffix = "" if entry.is_dir() else find_suffix(entry.name) or ""
    return entry.name.removesuffix(suffix), suffix.lower()


def _find_named(folder: Path, name: str, pattern: str) -> list[Path]:
    exact = folder / pattern  # a name such as "loans [2].csv" is no pattern
    found = [exact] if exact.is_file() else [file for file in folder.glob(pattern) if file.is_file()]
    if not found:
        every = [file for file in folder.iterdir() if file.is_file()]
        found = [file for file in every if fnmatch(file.name.casefold(), pattern.casefold())]
        if not found:
            near = find_near_name(pattern, [file.name for file in every])
            advice = f"; did you mean {near!r}?" if near else f"; found {list_tables(folder)}"
            raise CatalogueError(f"{folder} has no file {pattern}, which [tables.{name}] names{advice}")
    return sorted(found, key=number_order)
