"""Matches lines that a language model wrote to the titles of a catalogue."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.language.titles import clean_title

CLOSE = 90.0  # the least similarity of a close match, of 100 (2 * matching characters / all characters)
_SHORTEST_CLOSE = 8  # characters: shorter titles differ by one letter and are others, as Alien and Aliens
_YEARS = 2  # that a title may be misdated by; another year is another work
_MARKER = re.compile(r"^(?:[-*•–>]+|#?\d{1,3}\s*[.)]|\(\d{1,3}\))\s*")  # noqa: RUF001
_QUOTED = re.compile(r"^[\"“«*_]+(.+?)[\"”»*_]+(?=$|[\s.,;:(\-–—])")  # noqa: RUF001
_ASIDE = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")  # a year or an original title behind the title
_YEAR = re.compile(r"[(\[]((?:1[89]|20)\d\d)[)\]]")
_COUNT = re.compile(r"\d+|\b[ivx]+\b")  # tells the parts of a series apart
_TAIL = re.compile(r"\s+(?:[-–—]\s|[Bb]y\s+[A-Z]\S*\s+[A-Z]|\().*$")  # noqa: RUF001  # a comment after a title


@dataclass(frozen=True)
class Matches:
    """What lines were matched to.

    Attributes:
        items: (n,) int64 item rows, in the order of the lines, none twice.
        not_allowed: lines that name an item of the catalogue that may not be recommended, or one for the second time.
        unmatched: lines that name nothing in the catalogue.
    """

    items: NDArray[np.int64]
    not_allowed: tuple[str, ...]
    unmatched: tuple[str, ...]


@dataclass(frozen=True)
class TitleIndex:
    """The titles of a catalogue, to be found by how people write them.

    Attributes:
        exact: normalised title -> item rows.
        short: the same without what stands in brackets at the end.
        keys: the normalised titles without brackets, for close matches.
        years: (n_items,) int64: the year in brackets in each title; 0: none.
    """

    exact: dict[str, list[int]]
    short: dict[str, list[int]]
    keys: tuple[str, ...]
    years: NDArray[np.int64]

    @classmethod
    def of(cls, titles: Sequence[str | None]) -> "TitleIndex":
        """Reads the titles of a catalogue, by item row."""
        exact: dict[str, list[int]] = {}
        short: dict[str, list[int]] = {}
        for row, title in enumerate(titles):
            for known, key in ((exact, normalise(title or "")), (short, normalise(_drop_aside(title or "")))):
                if key:
                    known.setdefault(key, []).append(row)
        return cls(exact, short, tuple(short), np.array([_read_year(title or "") for title in titles], np.int64))

    def match(self, lines: Sequence[str], allowed: NDArray[np.bool_]) -> Matches:
        """Matches lines, one title each: as written, then without brackets, then by close likeness.

        Where several items have the title, the first that is allowed and not taken is meant.

        Args:
            lines: from `read_lines`.
            allowed: (n_items,) bool: the items that may be recommended.
        """
        items: list[int] = []
        refused: list[str] = []
        unmatched: list[str] = []
        for line in lines:
            rows = self._find(line)
            free = [row for row in rows if allowed[row] and row not in items]
            if free:
                items.append(free[0])
            else:
                (refused if rows else unmatched).append(line)
        return Matches(np.array(items, np.int64), tuple(refused), tuple(unmatched))

    def _find(self, line: str) -> list[int]:
        year = _read_year(line)
        for text in dict.fromkeys((line, _TAIL.sub("", line))):
            if rows := self.exact.get(normalise(text)):
                return rows
            key = normalise(_drop_aside(text))
            rows = self.short.get(key) or self._find_close(key)
            if dated := [row for row in rows if _agree(year, int(self.years[row]))]:
                return dated
        return []

    def _find_close(self, key: str) -> list[int]:
        from rapidfuzz import fuzz, process

        if len(key) < _SHORTEST_CLOSE:
            return []
        counts = _COUNT.findall(key)
        close = process.extract(key, self.keys, scorer=fuzz.ratio, score_cutoff=CLOSE, limit=None)
        for found, _, _ in close:  # the closest first
            if _COUNT.findall(found) == counts:
                return self.short[found]
        return []


def read_lines(answer: str) -> list[str]:
    """The titles in an answer, one a line: without bullets, numbers, quotes and comments."""
    lines = []
    for line in answer.splitlines():
        text = clean_title(line.replace("**", "").replace("__", ""))
        while (bare := _MARKER.sub("", text)) != text:
            text = bare
        if quoted := _QUOTED.match(text):
            text = quoted[1]
        text = text.strip(' "“”«»*')
        if text and not text.endswith(":"):
            lines.append(text)
    return list(dict.fromkeys(lines))


def normalise(title: str) -> str:
    """A title without case, accents and punctuation, its article in front.

    "Lion King, The (1994)" becomes "the lion king 1994".
    """
    folded = unicodedata.normalize("NFKD", clean_title(title).casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c)).replace("&", " and ").replace("'", "")
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


def _drop_aside(title: str) -> str:
    """A title without what stands in brackets at its end, unless nothing else is left."""
    shorter = title
    while (bare := _ASIDE.sub("", shorter)) != shorter and bare.strip():
        shorter = bare
    return shorter


def _agree(year: int, other: int) -> bool:
    return not year or not other or abs(year - other) <= _YEARS


def _read_year(title: str) -> int:
    """The last year in brackets; 0: none."""
    found = _YEAR.findall(title)
    return int(found[-1]) if found else 0
