"""Splits users or items into blocks, so that intermediate matrices stay small."""

from collections.abc import Iterator

_MOST_ROWS = 512
_MOST_BYTES = 1 << 24  # of one float32 matrix


def to_blocks(n: int, width: int) -> Iterator[slice]:
    """Yields slices that cover n rows, each small enough for float32 matrices of this width."""
    step = max(min(_MOST_ROWS, _MOST_BYTES // (4 * max(width, 1))), 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
