"""IdMap: the catalogue's own ids <-> contiguous rows."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import KgrecError

_ROWS = 1 << 31  # numbers hashed from ids are above all rows
_EXTENDING = Lock()


def number_ids(ids: Sequence[str]) -> NDArray[np.int64]:
    """A number for each id, (n,) int64, the same on every machine and in every run; above all rows, below 2^48."""
    digests = (hashlib.blake2b(id_.encode(), digest_size=5).digest() for id_ in ids)
    return np.array([_ROWS + int.from_bytes(digest, "big") for digest in digests], np.int64)


@dataclass(frozen=True)
class IdMap:
    """An immutable map between ids and rows: `ids[row]` is the id of a row.

    Attributes:
        ids: the catalogue's ids, unique; the row of an id is its place here.

    Raises:
        KgrecError: an id is repeated.
    """

    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self._rows) != len(self.ids):
            raise KgrecError(f"expected unique ids, got {len(self.ids) - len(self._rows)} of {len(self.ids)} twice")

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Id -> row. Maps that extend this one share it, so it may also hold rows past the end of this one."""
        return {id_: row for row, id_ in enumerate(self.ids)}

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.ids)

    def __contains__(self, id_: object) -> bool:
        """Whether the id has a row."""
        return self._rows.get(id_, len(self.ids)) < len(self.ids)  # type: ignore[call-overload, no-any-return]

    def row(self, id_: str) -> int | None:
        """The row of an id; None when it is unknown."""
        row = self._rows.get(id_, len(self.ids))
        return row if row < len(self.ids) else None

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of ids, int64 of the same length; -1 where an id is unknown."""
        rows = np.fromiter((self._rows.get(id_, -1) for id_ in ids), dtype=np.int64)
        rows[rows >= len(self.ids)] = -1
        return rows

    def extended(self, ids: Sequence[str]) -> "IdMap":
        """This map with further ids after its own.

        The cost is that of the new ids, and of copying references to the old ones.

        Raises:
            KgrecError: an id is repeated.
        """
        n_before = len(self.ids)
        new = {id_: n_before + place for place, id_ in enumerate(ids)}
        n_twice = len(ids) - len(new) + sum(id_ in self for id_ in new)
        if n_twice:
            raise KgrecError(f"expected unique ids, got {n_twice} of {n_before + len(ids)} twice")
        with _EXTENDING:
            rows = self._rows
            if len(rows) > n_before:  # another map extends this one already
                rows = dict(zip(self.ids, range(n_before), strict=True))
            rows |= new
        extended = object.__new__(IdMap)
        vars(extended).update(ids=(*self.ids, *ids), _rows=rows)
        return extended
