r"""Mends the quotes of delimited text, so that one stray quote does not swallow the rows after it.

Rows that a strict reader of CSV takes stay as they are. Of others, the reading that gives as many fields as the header
has is written anew as CSV: with backslashes before inner quotes ("a \"b\" c"), or with quotes as plain text (12" disc).
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

_QUOTE, _BACKSLASH, _LINE_FEED, _RETURN = b'"\\\n\r'
_USUALLY_QUOTED = (",", ";")  # files with other delimiters seldom have quotes that mean anything
_FEW_LINES = 3


def repair_quotes(
    blocks: Iterable[bytes],
    delimiter: str,
    n_fields: int,
    most_bytes: int,
    on_mended: Callable[[int], None] | None = None,
) -> Iterator[bytes]:
    """Mends the quotes of rows, block by block.

    Args:
        blocks: UTF-8 text without its header, in blocks of whole lines.
        delimiter: what is between fields, one character.
        n_fields: how many fields a row has.
        most_bytes: how far to look for the end of a quoted field that goes over several lines.
        on_mended: called at the end with the number of lines that were written anew, if there are any.
    """
    rows = _Rows(delimiter, n_fields)
    rest = b""
    for block in blocks:
        text = rest + block
        if b'"' in text:
            fixed, rest = rows.repair(text, is_last=len(text) > most_bytes)
            yield fixed
        else:
            yield text
            rest = b""
    if rest:
        yield rows.repair(rest, is_last=True)[0]
    if on_mended is not None and rows.n_mended:
        on_mended(rows.n_mended)


class _Rows:
    def __init__(self, delimiter: str, n_fields: int) -> None:
        self.delimiter, self.n_fields = delimiter, n_fields
        self.n_mended = 0  # lines

    def repair(self, text: bytes, *, is_last: bool) -> tuple[bytes, bytes]:
        """The mended text, and what may go on in the next block."""
        values = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero(values == _LINE_FEED) + 1
        if not len(ends) or ends[-1] < len(text):
            ends = np.append(ends, len(text))
        starts = np.append(0, ends[:-1])
        suspicious, odd = self._find_suspicious(values, ends)
        pieces: list[bytes] = []
        done = 0  # lines
        for line in suspicious.tolist():
            if line < done:
                continue
            pieces.append(text[starts[done] : starts[line]])
            row, joined, last = text[starts[line] : ends[line]], b"", line
            place = int(np.searchsorted(odd, line))
            if place < len(odd) and odd[place] == line:  # perhaps it goes on until the next odd line
                if place + 1 == len(odd) and not is_last:
                    return b"".join(pieces), text[starts[line] :]
                if place + 1 < len(odd):
                    last = int(odd[place + 1])
                    joined = text[starts[line] : ends[last]]
            mended, is_joined = self._read(row, joined)
            pieces.append(mended)
            done = (last if is_joined else line) + 1
            self.n_mended += mended is not row and mended is not joined
        if done < len(starts):
            pieces.append(text[starts[done] :])
        return b"".join(pieces), b""

    def _find_suspicious(
        self, values: NDArray[np.uint8], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The lines whose quotes may mean something else than in CSV, and those with an odd number of quotes."""
        places = np.flatnonzero(values == _QUOTE)
        lines = np.searchsorted(ends, places, side="right")
        odd = np.flatnonzero(np.bincount(lines, minlength=len(ends)) % 2)
        if self.delimiter not in _USUALLY_QUOTED:
            return np.unique(lines), odd
        before = np.where(places > 0, values[places - 1], _LINE_FEED)
        after = np.where(places + 1 < len(values), values[np.minimum(places + 1, len(values) - 1)], _LINE_FEED)
        is_break = np.zeros(256, dtype=bool)
        is_break[[ord(self.delimiter), _LINE_FEED]] = True
        opens, closes = is_break[before], is_break[after] | (after == _RETURN)
        inner = ~opens & ~closes & (before != _QUOTE) & (after != _QUOTE)
        # quotes that open and close fields take turns
        depth = np.cumsum(opens.astype(np.int64) - closes)
        first = np.searchsorted(lines, lines)
        depth -= np.where(first > 0, depth[first - 1], 0)
        is_bad = inner | (before == _BACKSLASH) | (depth < 0) | (depth > 1)
        return np.union1d(lines[is_bad], odd), odd

    def _read(self, row: bytes, joined: bytes) -> tuple[bytes, bool]:
        """A row as CSV: that of one line, or of this and the lines until the next odd one, if there is one."""
        if len(self._parse(row)) == self.n_fields:
            return row, False
        is_one = bool(joined) and not self._are_rows(joined)
        fields = self._parse(joined) if is_one else []
        if len(fields) == self.n_fields:
            return joined, True
        for lines, is_joined in ((row, False), (joined, True)):
            escaped = self._parse(lines, has_escapes=True) if is_one or not is_joined else []
            if len(escaped) == self.n_fields:
                return self._write(escaped), is_joined
        # with too many or too few fields it is one broken row, unless most of many lines are rows
        n_rows, n_lines = self._count_rows(joined)
        if fields and (n_lines < _FEW_LINES or n_rows * 2 <= n_lines):
            return joined, True
        return self._read_loosely(row), False

    def _are_rows(self, lines: bytes) -> bool:
        """Whether lines that seem to be one row are so many rows, the first and the last with a stray quote."""
        n_rows, n_lines = self._count_rows(lines)
        return n_rows == n_lines >= _FEW_LINES and self.n_fields >= _FEW_LINES

    def _count_rows(self, lines: bytes) -> tuple[int, int]:
        """The lines that have as many fields as a row, and all lines."""
        counts = [line.count(self.delimiter.encode()) + 1 for line in lines.splitlines()]
        return counts.count(self.n_fields), len(counts)

    def _read_loosely(self, row: bytes) -> bytes:
        """A line as CSV, however its quotes are; they do not reach the next line."""
        text = row.decode(errors="surrogateescape")
        found = list(csv.reader([text.rstrip("\r\n"), ""], delimiter=self.delimiter))
        is_closed = len(found) > 1 or not text.strip()
        plain = text.rstrip("\r\n").split(self.delimiter)
        if is_closed and len(plain) != self.n_fields:
            return row
        if is_closed and len(found[0]) == self.n_fields and self.delimiter in _USUALLY_QUOTED:
            return row
        return self._write(plain)

    def _parse(self, row: bytes, *, has_escapes: bool = False) -> list[str]:
        """The fields of one row of strict CSV; none: it is not one."""
        text = row.decode(errors="surrogateescape")
        escape = "\\" if has_escapes else None
        try:
            found = list(csv.reader([text], delimiter=self.delimiter, strict=True, escapechar=escape))
        except csv.Error:
            return []
        return found[0] if len(found) == 1 else []

    def _write(self, fields: list[str]) -> bytes:
        written = io.StringIO()
        csv.writer(written, delimiter=self.delimiter, lineterminator="\n").writerow(fields)
        return written.getvalue().encode(errors="surrogateescape")
