"""Finds the rows of a table in memory by a column that need not be unique."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class RowLookup:
    """The rows of a table by an id.

    Args:
        table: the rows.
        key: the column with the ids, text; rows without one are found by none.
    """

    def __init__(self, table: pa.Table, key: str) -> None:
        self.rows = table.drop_columns(key).combine_chunks()
        encoded = table[key].combine_chunks().dictionary_encode()
        self._ids = encoded.dictionary
        codes = encoded.indices.fill_null(len(self._ids)).to_numpy(zero_copy_only=False)
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._order], np.arange(len(self._ids) + 1))
        self._n_found = np.zeros(len(self._ids), dtype=np.int64)  # how often each id was looked up

    @property
    def is_unique(self) -> bool:
        """Whether each id has one row."""
        return bool((np.diff(self._starts) == 1).all())

    @property
    def is_found_once(self) -> bool:
        """Whether no id was looked up twice."""
        return bool((self._n_found <= 1).all())

    def list_unfound(self) -> Iterator[tuple[int, str | None]]:
        """The rows whose id was not looked up, in their order: the place of each, and its id."""
        first = self._starts[:-1][self._n_found == 0]
        sizes = np.diff(self._starts)[self._n_found == 0]
        ids = np.flatnonzero(self._n_found == 0)
        unfound = {
            int(self._order[start + one]): self._ids[int(code)].as_py()
            for start, size, code in zip(first, sizes, ids, strict=True)
            for one in range(size)
        }
        without = dict.fromkeys(self._order[self._starts[-1] :].tolist())
        yield from sorted((unfound | without).items())

    def find(self, ids: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finds the rows of ids, all of each.

        Args:
            ids: text.

        Returns:
            The places in `ids`, increasing, those with several rows several times; the row of each, -1: it has none.
        """
        codes = pc.index_in(ids, value_set=self._ids, skip_nulls=True).fill_null(-1).to_numpy(zero_copy_only=False)
        self._n_found += np.bincount(codes[codes >= 0], minlength=len(self._ids))
        sizes = np.append(np.diff(self._starts), 1)[codes]  # -1 stands for the last
        places = np.repeat(np.arange(len(codes)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        known = codes[places] >= 0
        rows = np.full(len(places), -1, dtype=np.int64)
        rows[known] = self._order[self._starts[codes[places[known]]] + within[known]]
        return places, rows
