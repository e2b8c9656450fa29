"""Sparse matrices after some of their pairs are set, compared with a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.recommend.sparse_entries import set_pairs, transpose_columns

PAIRS = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.integers(-3, 3), max_size=14)


def to_matrix(pairs: dict[tuple[int, int], int], n_rows: int) -> csr_array:
    rows, columns = (np.array([pair[end] for pair in sorted(pairs)], np.int64) for end in (0, 1))
    values = np.array([pairs[pair] for pair in sorted(pairs)], np.int64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
    return csr_array((values, columns, starts), shape=(n_rows, 6))


def to_pairs(matrix: csr_array) -> dict[tuple[int, int], int]:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)).tolist()
    assert all(
        (np.diff(matrix.indices[start:end]) > 0).all()
        for start, end in zip(matrix.indptr, matrix.indptr[1:], strict=False)
    )
    return dict(zip(zip(rows, matrix.indices.tolist(), strict=True), matrix.data.tolist(), strict=True))


@given(PAIRS, PAIRS, st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=14), st.integers(0, 2))
def test_pairs_are_set_removed_or_stay(
    before: dict[tuple[int, int], int], now: dict[tuple[int, int], int], gone: set[tuple[int, int]], n_more: int
) -> None:
    pairs = [*dict.fromkeys([*now, *gone])]
    pairs = [pair for pair in pairs if pair[0] < 5 + n_more]
    rows, columns = (np.array([pair[end] for pair in pairs], np.int64) for end in (0, 1))
    there = np.array([pair not in gone for pair in pairs], np.bool_)
    values = np.array([now.get(pair, 9) for pair in pairs], np.int64)
    matrix = to_matrix(before, 5)
    expected = before | {pair: max(now[pair], before.get(pair, now[pair])) for pair in now}
    expected = {pair: value for pair, value in expected.items() if pair not in gone}
    found = set_pairs(matrix, 5 + n_more, rows, columns, there, values)
    assert found.shape == (5 + n_more, 6)
    assert found.dtype == np.int64
    assert to_pairs(found) == expected
    assert to_pairs(matrix) == before
    ones = csr_array((np.ones(matrix.nnz, np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    assert to_pairs(set_pairs(ones, 5 + n_more, rows, columns, there)) == dict.fromkeys(expected, 1.0)


def test_new_rows_come_last() -> None:
    found = set_pairs(
        to_matrix({(1, 2): 7}, 5), 7, np.array([6, 0]), np.array([3, 3]), np.ones(2, bool), np.array([0, -1])
    )
    assert to_pairs(found) == {(0, 3): -1, (1, 2): 7, (6, 3): 0}


@given(
    pairs=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=20),
    columns=st.lists(st.integers(0, 7), unique=True),
)
def test_columns_as_rows(pairs: set[tuple[int, int]], columns: list[int]) -> None:
    dense = np.zeros((6, 8), np.float32)
    for pair in pairs:
        dense[pair] = 1
    found = transpose_columns(csr_array(dense), np.array(columns, np.int64))
    np.testing.assert_array_equal(found.toarray(), dense[:, columns].T)
    assert found.has_sorted_indices
