"""The largest values of long rows match sorting."""

import numpy as np
import pytest
import torch

from kgrec.model.largest import find_largest


@pytest.mark.parametrize(("width", "k"), [(1, 1), (7, 7), (50, 3), (1000, 20), (1003, 20), (4000, 0)])
def test_the_largest_values_of_each_row_are_found_in_order(width: int, k: int) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(5, width)).astype(np.float32))
    values[0, width // 2 :] = -torch.inf  # of which fewer than k may remain
    values[1] = 1  # all are the same
    found = find_largest(values, k)
    assert found.shape == (5, k)
    torch.testing.assert_close(values.gather(1, found), values.sort(dim=1, descending=True).values[:, :k])
    assert all(len(set(row.tolist())) == k for row in found)


def test_columns_of_a_wider_matrix_are_read_in_place() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 900)).astype(np.float32))
    torch.testing.assert_close(find_largest(values[:, 100:], 5), values[:, 100:].topk(5, dim=1).indices)
