"""Sets entries of sparse matrices at the cost of the rows that change, and of a copy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def set_pairs(
    matrix: csr_array,
    n_rows: int,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    there: NDArray[np.bool_],
    values: NDArray[np.int64] | None = None,
) -> csr_array:
    """Sets entries of a matrix and adds rows: an entry at each pair, or none where `there` is False.

    Only rows that change are rebuilt; the others are copied. An entry of 0 is an entry.

    Args:
        matrix: the matrix; its indices are sorted.
        n_rows: how many rows it has afterwards.
        rows: (n,) of the pairs, each once.
        columns: (n,) of the pairs.
        there: (n,) bool.
        values: (n,) of the entries; of one that was there the larger value counts. None: it is a matrix of 1s.
    """
    changed, place = np.unique(rows, return_inverse=True)
    starts = np.concatenate([matrix.indptr, np.full(n_rows - matrix.shape[0], matrix.indptr[-1])])
    own = csr_array(matrix[changed[changed < matrix.shape[0]]])  # new rows come last
    width = matrix.shape[1]
    before = np.repeat(np.arange(own.shape[0]), np.diff(own.indptr)) * width + own.indices
    added = place * width + columns
    order = np.argsort(added)
    added, there = added[order], there[order]
    now = np.ones(len(rows), matrix.dtype) if values is None else values[order].astype(matrix.dtype)
    at = np.searchsorted(added, before)
    is_set = np.zeros(len(before), np.bool_)
    inside = at < len(added)
    is_set[inside] = added[at[inside]] == before[inside]
    now[at[is_set]] = np.maximum(now[at[is_set]], own.data[is_set])
    codes = np.concatenate([before[~is_set], added[there]])
    order = np.argsort(codes)
    codes, data = codes[order], np.concatenate([own.data[~is_set], now[there]])[order]
    ends = np.searchsorted(codes, np.arange(len(changed) + 1) * width)
    sizes = np.diff(starts)
    sizes[changed] = np.diff(ends)
    indptr = np.concatenate([starts[:1], np.cumsum(sizes, dtype=starts.dtype)])
    columns = (codes % width).astype(matrix.indices.dtype)
    indices = _splice(matrix.indices, columns, starts, changed, ends)
    if values is None:
        all_data = np.ones(len(indices), matrix.dtype)
    else:
        all_data = _splice(matrix.data, data, starts, changed, ends)
    return csr_array((all_data, indices, indptr), shape=(n_rows, width))


def transpose_columns(matrix: csr_array, columns: NDArray[np.int64]) -> csr_array:
    """Some columns, (n,) each once, of a matrix of 1s as rows, (n, n_rows): at the cost of one look at each entry."""
    place = np.full(matrix.shape[1], -1, np.int32)
    place[columns] = np.arange(len(columns), dtype=np.int32)
    owner = place[matrix.indices]
    at = np.flatnonzero(owner >= 0)
    rows = np.searchsorted(matrix.indptr, at, side="right") - 1
    ones = np.ones(len(at), matrix.dtype)
    return csr_array((ones, (owner[at], rows)), shape=(len(columns), matrix.shape[0]))


def _splice(
    values: NDArray[Any], changed_values: NDArray[Any], starts: NDArray[np.integer], changed: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[Any]:  # fmt: skip
    """The values of a sparse matrix with those of some rows replaced.

    Args:
        values: (n,) of all entries.
        changed_values: (n_new,) of the entries of the changed rows, one row after the other.
        starts: (n_rows + 1,) where the entries of each row begin in `values`.
        changed: (n_changed,) those rows, ascending.
        ends: (n_changed + 1,) where theirs begin in `changed_values`.
    """
    parts, end = list[NDArray[Any]](), 0
    for row, first, last in zip(changed.tolist(), ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        parts += [values[end : starts[row]], changed_values[first:last]]
        end = starts[row + 1]
    return np.concatenate([*parts, values[end:]])
