"""MIND, the news of Microsoft, as unzipped: news.tsv and behaviors.tsv, in the folder or in its folders for each part.

A user's clicks are the history, once per user, and the impressions that end in "-1"; those shown and not clicked
("-0") are left out. A history has no times but an order: its clicks are dated one second apart, the last one second
before the user's first impressions, so that they stay before all others. Entities are those of titles and abstracts.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.sources import BrokenRow, RawBatch

NEWS, BEHAVIORS = "news.tsv", "behaviors.tsv"
NEWS_COLUMNS, BEHAVIOR_COLUMNS = 8, 5
_ENTITIES = (6, 7)  # the columns of news with the entities of the title and of the abstract
_TIME = "%m/%d/%Y %I:%M:%S %p"
_BATCH_LINES = 20_000


def open_source(
    path: Path | None, schema: CatalogueSchema | None, cache_dir: Path, encoding: str | None = None
) -> "MindSource":
    """Opens MIND.

    Args:
        path: a folder with news.tsv and behaviors.tsv, or with folders that have them, such as MINDsmall_train.
        schema: a schema to use instead of `graph_schema/catalogues/mind.toml`.
        cache_dir: not used.
        encoding: of the files; None for UTF-8.

    Raises:
        CatalogueError: the files are missing.
    """
    if path is None:
        raise CatalogueError(f"the source 'mind' needs --path DIR: a folder with {NEWS} and {BEHAVIORS}")
    parts = find_parts(path)
    if not parts:
        raise CatalogueError(f"{path} has no {NEWS} and {BEHAVIORS}; expected them there, or in folders of it")
    return MindSource(schema or CatalogueSchema.known("mind"), parts, encoding or "utf-8")


def find_parts(folder: Path) -> tuple[Path, ...]:
    """The folder, or those in it, that have both files."""
    folders = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())] if folder.is_dir() else []
    return tuple(one for one in folders if (one / NEWS).is_file() and (one / BEHAVIORS).is_file())


class MindSource:
    """The rows of MIND, read in blocks.

    Attributes:
        schema: their schema.
        parts: the folders with the files.
        encoding: of the files.
    """

    def __init__(self, schema: CatalogueSchema, parts: Sequence[Path], encoding: str) -> None:
        """Reads nothing yet."""
        self.schema = schema
        self.parts = tuple(parts)
        self.encoding = encoding

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """News, and the entities that they mention; each is given once, users come from clicks."""
        if node_type == "news":
            yield from self._read_news()
        elif node_type == "entity":
            yield from self._read_entities()

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """Clicks, or what news mention."""
        yield from self._read_clicks() if edge_type == "clicked" else self._read_mentions()

    def _read_news(self) -> Iterator[RawBatch]:
        known: set[str] = set()
        for file, numbers, rows, broken in self._read_rows(NEWS, NEWS_COLUMNS):
            kept = []
            for number, row in zip(numbers, rows, strict=True):
                if row[0] not in known:  # the parts share news
                    known.add(row[0])
                    kept.append((number, *row[:5]))
            names = ("news_id", "category", "subcategory", "title", "abstract")
            yield _to_batch(file, names, kept, broken)

    def _read_entities(self) -> Iterator[RawBatch]:
        known: set[str] = set()
        for file, numbers, rows, _ in self._read_rows(NEWS, NEWS_COLUMNS):
            kept = []
            for number, row in zip(numbers, rows, strict=True):
                for found, label in _parse_entities(row):
                    if found not in known:
                        known.add(found)
                        kept.append((number, found, label))
            yield _to_batch(file, ("wikidata_id", "label"), kept)

    def _read_mentions(self) -> Iterator[RawBatch]:
        for file, numbers, rows, _ in self._read_rows(NEWS, NEWS_COLUMNS):
            kept = [
                (number, row[0], found)
                for number, row in zip(numbers, rows, strict=True)
                for found, _ in dict(_parse_entities(row)).items()
            ]
            yield _to_batch(file, ("source", "target"), kept)

    def _read_clicks(self) -> Iterator[RawBatch]:
        first = self._find_first_times()
        told: set[str] = set()
        for file, numbers, rows, broken in self._read_rows(BEHAVIORS, BEHAVIOR_COLUMNS):
            clicks = []
            for number, (_, user, time, history, impressions) in zip(numbers, rows, strict=True):
                if user not in told and user in first:
                    told.add(user)
                    items = history.split()
                    start = first[user] - len(items)
                    clicks += [(number, user, item, str(start + place)) for place, item in enumerate(items)]
                at = _parse_time(time)
                written = time if at is None else str(at)  # a bad time is rejected by its text
                for impression in impressions.split():
                    item, _, clicked = impression.rpartition("-")
                    if clicked == "1":
                        clicks.append((number, user, item, written))
            yield _to_batch(file, ("source", "target", "clicked_at"), clicks, broken)

    def _find_first_times(self) -> dict[str, int]:
        """User -> the time of the first impressions, UTC seconds."""
        first: dict[str, int] = {}
        for _, _, rows, _ in self._read_rows(BEHAVIORS, BEHAVIOR_COLUMNS):
            for _, user, time, *_ in rows:
                at = _parse_time(time)
                if at is not None:
                    first[user] = min(first.get(user, at), at)
        return first

    def _read_rows(
        self, name: str, n_columns: int
    ) -> Iterator[tuple[str, list[int], list[list[str]], list[BrokenRow]]]:
        """The rows of a file in all parts, in blocks: file, places of the rows, rows, rows with another width."""
        for part in self.parts:
            file = f"{part.name}/{name}" if len(self.parts) > 1 else name
            with (part / name).open(encoding=self.encoding, newline="\n") as opened:
                lines = enumerate((line.rstrip("\r\n") for line in opened), 1)
                while block := list(islice(lines, _BATCH_LINES)):
                    split = [(number, line.split("\t")) for number, line in block if line]
                    good = [(number, row) for number, row in split if len(row) == n_columns]
                    broken = [
                        BrokenRow(number, f"has {len(row)} fields; expected {n_columns}", "\t".join(row))
                        for number, row in split
                        if len(row) != n_columns
                    ]
                    yield file, [number for number, _ in good], [row for _, row in good], broken


def _parse_entities(row: Sequence[str]) -> list[tuple[str, str]]:
    """The ids and labels of the entities of one news; none where a field is no JSON list of them."""
    found = []
    for place in _ENTITIES:
        try:
            entities = json.loads(row[place] or "[]")
        except ValueError:
            continue
        for one in entities if isinstance(entities, list) else []:
            if isinstance(one, dict) and one.get("WikidataId"):
                found.append((str(one["WikidataId"]), str(one.get("Label") or one["WikidataId"])))
    return found


def _parse_time(text: str) -> int | None:
    """UTC seconds; None where the text is no time such as "11/15/2019 8:55:22 AM"."""
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _to_batch(
    file: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]], broken: Sequence[BrokenRow] = ()
) -> RawBatch:
    """Rows, each after its place in the file, as a batch of text."""
    columns = [pa.array([row[place] or None for row in rows], pa.string()) for place in range(1, len(names) + 1)]
    batch = pa.RecordBatch.from_arrays(columns, names=list(names))
    return RawBatch(batch, file, np.array([row[0] for row in rows], dtype=np.int64), broken)
