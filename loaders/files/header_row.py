"""Whether the first row of a table without type declarations is a header or data."""

import re
from collections.abc import Callable, Sequence

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}[-/ ]\w{3}[-/ ]\d{2,4}")
_NOT_A_NAME = re.compile(r"https?://|[\[{<]")
_MOST_NAME = 60
_MOSTLY = 0.8
_AFTER = 51  # rows to compare with


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: it differs from what is below it.

    Args:
        rows: the first rows of a table, fields as text.
    """
    first = [cell.strip() for cell in rows[0]]
    below = [
        [row[place].strip() for row in rows[1:_AFTER] if len(row) > place and row[place].strip()]
        for place in range(len(first))
    ]
    if not any(below):
        return not any(_is_value(cell) for cell in first)
    of_values = [
        cell for cell, others in zip(first, below, strict=True) if _share(others, _is_value) >= _MOSTLY and cell
    ]
    if of_values:
        return sum(map(_is_value, of_values)) * 2 < len(of_values)
    return not any(_is_alike(cell, others) for cell, others in zip(first, below, strict=True) if cell)


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))


def _is_alike(cell: str, others: Sequence[str]) -> bool:
    """Whether a text is one more of the texts below it: of their shape, as N55528, or too long or odd for a name."""
    shape = re.sub(r"\d+", "9", cell)
    if shape != cell and others and _share(others, lambda one: re.sub(r"\d+", "9", one) == shape) >= _MOSTLY:
        return True
    return cell in others or len(cell) > _MOST_NAME or _NOT_A_NAME.match(cell) is not None


def _share(cells: Sequence[str], is_so: Callable[[str], bool]) -> float:
    return sum(map(is_so, cells)) / len(cells) if cells else 0.0
