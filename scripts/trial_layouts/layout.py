"""A layout: how somebody publishes or exports a catalogue, made small."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trial_layouts.planting import Planted

Rows = Iterable[Sequence[object]]


@dataclass(frozen=True)
class Layout:
    """A folder of files in the form that people get it.

    Attributes:
        name: what `--only` takes.
        make: writes the files into an empty folder.
        likes_file: the ending of the file with the likes of new users, of a kind that the layout has, too.
    """

    name: str
    make: Callable[[Path], Planted]
    likes_file: Literal["csv", "tsv", "jsonl", "csv.gz"] = "csv"


@dataclass(frozen=True)
class GraphLayout:
    """A graph that somebody keeps in Neo4j.

    Attributes:
        name: what `--only` takes.
        make: what is right, and the writing queries with their parameters, for an empty database.
    """

    name: str
    make: Callable[[], tuple[Planted, Sequence[tuple[str, Mapping[str, Any]]]]]
    likes_file: Literal["csv"] = "csv"


def write_delimited(
    file: Path, rows: Rows, delimiter: str = ",", *, encoding: str = "utf-8", quoting: Literal[0, 1, 2, 3] = 0
) -> None:
    """Writes rows as CSV does, quoting where needed."""
    with file.open("w", newline="", encoding=encoding) as opened:
        csv.writer(opened, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)


def write_joined(file: Path, rows: Rows, delimiter: str, *, encoding: str = "utf-8") -> None:
    """Writes rows with a text of any length between the columns, and without quotes."""
    text = "".join(delimiter.join(map(str, row)) + "\n" for row in rows)
    file.write_bytes(text.encode(encoding))


def write_json_lines(file: Path, rows: Iterable[Mapping[str, Any]], write: Callable[[Any], str] = json.dumps) -> None:
    """Writes a JSON object per line, compressed if the file ends in .gz."""
    write_text(file, "".join(write(row) + "\n" for row in rows))


def write_text(file: Path, text: str) -> None:
    """Writes UTF-8 text, compressed if the file ends in .gz."""
    data = text.encode("utf-8")
    file.write_bytes(gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)


def write_likes(file: Path, likes: Iterable[tuple[str, str]]) -> None:
    """Writes users and items they like, as the ending of the file says."""
    rows = [("user", "item"), *likes]
    if ".jsonl" in file.suffixes:
        write_json_lines(file, ({"user": user, "item": item} for user, item in rows[1:]))
        return
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ".tsv" in file.suffixes else ",", lineterminator="\n").writerows(rows)
    write_text(file, text.getvalue())
