"""IdMap: the catalogue's own ids <-> contiguous rows."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import KgrecError

_ROWS = 1 << 31  # numbers drawn from ids are above all rows


def number_ids(ids: Sequence[str]) -> NDArray[np.int64]:
    """A number for each id, (n,) int64, the same wherever and whenever it is asked for; above all rows, below 2^48."""
    digests = (hashlib.blake2b(id_.encode(), digest_size=5).digest() for id_ in ids)
    return np.array([_ROWS + int.from_bytes(digest, "big") for digest in digests], np.int64)


@dataclass(frozen=True)
class IdMap:
    """An immutable map between ids and rows: `ids[row]` is the id of a row.

    Attributes:
        ids: the catalogue's ids, unique; the row of an id is its place here.

    Raises:
        KgrecError: an id is there twice.
    """

    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self._rows) != len(self.ids):
            raise KgrecError(f"expected unique ids, got {len(self.ids) - len(self._rows)} of {len(self.ids)} twice")

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self.ids)}

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.ids)

    def __contains__(self, id_: object) -> bool:
        """Whether the id has a row."""
        return id_ in self._rows

    def row(self, id_: str) -> int | None:
        """The row of an id; None when it is unknown."""
        return self._rows.get(id_)

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of ids, int64 of the same length; -1 where an id is unknown."""
        return np.fromiter((self._rows.get(id_, -1) for id_ in ids), dtype=np.int64)

    def extended(self, ids: Sequence[str]) -> "IdMap":
        """This map with further ids after its own."""
        return IdMap((*self.ids, *ids))
