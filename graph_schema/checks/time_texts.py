"""Times as people write them: "12/31/2024 9:05 PM", "31.12.2024". The pattern of a column is found, or given."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.checks.column_texts import MISSING_WORDS, Problem, is_missing_word, parse_each, to_mask, to_string

_LEAST_SHARE = 0.9  # of a column's texts, that a pattern reads
_MOST_TRIED, _TRIED_FIRST = 1_000, 10
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?\s*(Z|[+-]\d\d(:?\d\d)?)?)?")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?")  # since 1970, or eight digits, which are read without a pattern
_DAY_LAST = tuple(f"%Y{mark}%m{mark}%d" for mark in "-/.")
_DAY_FIRST = tuple(f"%d{mark}%m{mark}%{year}" for mark in "/-." for year in "Yy")
_MONTH_FIRST = ("%m %d, %Y", *(f"%m{mark}%d{mark}%{year}" for mark in "/-." for year in "Yy"))
_NAMED = tuple(
    pattern.replace("%b", month)
    for pattern in (
        "%d %b %Y",
        "%d %b, %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d/%b/%Y",
        "%b %d, %Y",
        "%b %d %Y",
        "%a, %d %b %Y",
    )
    for month in ("%b", "%B")
)
_CLOCKS = (
    "", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%I:%M:%S%p", "%H:%M:%S %z",
    "%H:%M:%S%z",
)  # fmt: skip
_MARKS = ("am", "pm", "t", "z", "utc", "gmt")
_DAYS_AND_MONTHS = (
    "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_JOINTS = (" ", ", ", "T", ":")
_WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%I:%M:%S %p %m/%d/%Y", "%H:%M:%S %d/%m/%Y")


def find_time_format(texts: Sequence[str]) -> str:
    """Finds how a column's times are written.

    A value above 12 decides whether the day or the month comes first. Where none is there, it is the month after which
    there is a slash ("5/3/2024", most often American), else the day ("05.03.2024"). A wrong choice does not stay
    unseen: of other rows of the column more than half would not fit.

    Args:
        texts: samples of the column, of many rows; missing ones are passed over.

    Returns:
        The pattern, as `datetime.strptime` takes it; "" where times are read without one (ISO 8601, seconds since 1970,
        eight digits such as 20260101) and where the texts are no times.
    """
    tried = [text.strip() for text in texts[:_MOST_TRIED] if text.strip() not in MISSING_WORDS]
    least = _LEAST_SHARE * len(tried)
    if not tried or sum(bool(_ISO.fullmatch(text) or _NUMBER.fullmatch(text)) for text in tried) >= least:
        return ""
    if sum(map(_may_be_time, tried)) < least:
        return ""
    is_slashed = sum("/" in text for text in tried) >= least
    ambiguous = (*_MONTH_FIRST, *_DAY_FIRST) if is_slashed else (*_DAY_FIRST, *_MONTH_FIRST)
    best, most = "", 0
    for pattern in _iter_patterns((*_DAY_LAST, *ambiguous, *_NAMED)):
        if not _count_read(tried[:_TRIED_FIRST], pattern, more_than=0):
            continue
        n_read = _count_read(tried, pattern, more_than=max(most, int(least) - 1))
        if n_read > most:
            best, most = pattern, n_read
        if most == len(tried):
            break
    return best if most >= least else ""


def _may_be_time(text: str) -> bool:
    """Whether a text has two numbers or more, and no words but those of dates: most columns need no trying."""
    words = (word.lower() for word in re.findall(r"[^\W\d_]+", text))
    return len(re.findall(r"\d+", text)) > 1 and all(word in _MARKS or word[:3] in _DAYS_AND_MONTHS for word in words)


def parse_times(column: pa.Array, pattern: str) -> tuple[pa.Array, list[Problem]]:
    """Parses texts of one pattern to UTC seconds; without a time zone they are taken as UTC.

    Args:
        column: text, decoded; empty text and words for a missing value are null.
        pattern: as `datetime.strptime` takes it.

    Returns:
        int64 [rows], null where a text does not fit, and the rows that do not fit.
    """
    import pandas as pd

    text, problems = to_string(column)
    text = pc.utf8_trim_whitespace(text)
    text = pc.if_else(is_missing_word(text), pa.scalar(None, pa.string()), text)
    try:
        moments = pd.to_datetime(text.to_pandas(), format=pattern, errors="coerce", utc=True)
        values = pa.Array.from_pandas(moments).cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())
    except ValueError:  # a pattern that pandas does not know
        values = pa.nulls(len(text), pa.int64())
    # pandas has no years before 1677
    left = np.flatnonzero(to_mask(pc.and_(pc.is_valid(text), pc.is_null(values))))
    bad = np.zeros(len(text), dtype=bool)
    if len(left):
        found, unread = parse_each(text.take(pa.array(left)), lambda one: _to_seconds(one, pattern), pa.int64())
        bad[left] = unread
        mask = np.zeros(len(text), dtype=bool)
        mask[left] = True
        values = pc.replace_with_mask(values, pa.array(mask), found)
    example = datetime(2024, 12, 31, 21, 5, 59, tzinfo=UTC).strftime(pattern)
    return values, [*problems, (bad, f"is not a time as {pattern!r} reads it, such as {example!r}")]


def _iter_patterns(dates: Iterable[str]) -> Iterator[str]:
    for date, clock in product(dates, _CLOCKS):
        if clock:
            yield from (f"{date}{joint}{clock}" for joint in _JOINTS)
        else:
            yield date
    yield from _WHOLE


def _count_read(texts: Sequence[str], pattern: str, more_than: int) -> int:
    """How many texts a pattern reads; it gives up where it cannot be more than `more_than`."""
    n_unread = 0
    for text in texts:
        try:
            _to_seconds(text, pattern)
        except ValueError:
            n_unread += 1
            if len(texts) - n_unread <= more_than:
                return 0
    return len(texts) - n_unread


def _to_seconds(text: str, pattern: str) -> int:
    moment = datetime.strptime(text, pattern)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)
