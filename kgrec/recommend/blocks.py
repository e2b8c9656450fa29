"""Blocks of users or items, so that what is computed for all of them at once stays small."""

from collections.abc import Iterator

_MOST_ROWS = 512
_MOST_BYTES = 1 << 24  # of one float32 matrix


def to_blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of n rows, such that matrices of this width stay small."""
    step = max(min(_MOST_ROWS, _MOST_BYTES // (4 * max(width, 1))), 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
