"""The times of likes in a bundle: one for each like, and stored without loss."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_files import assert_equal, change_tensors, read_tensors, saved_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from shop import train_shop
from timed_shop import DAY, START, train_timed

from kgrec.bundle import load_bundle, save_bundle
from kgrec.bundle.like_times import pack_times, unpack_times
from kgrec.errors import BundleError
from kgrec.sequences import match_times, with_times

LEAST, MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def to_likes(liked: list[list[int]], n_items: int = 9) -> csr_array:
    columns, starts = np.array(list(chain(*liked)), np.int64), np.cumsum([0, *map(len, liked)])
    return csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(liked), n_items))


def test_the_latest_like_of_a_pair_counts_and_a_time_of_0_is_one() -> None:
    liked = to_likes([[1, 4], [], [0, 2]])
    users, items, times = np.array([2, 0, 0, 2, 0, 0]), np.array([2, 4, 1, 0, 4, 4]), np.array([-9, 5, 0, 7, 8, 6])
    found = match_times(liked, users, items, times)
    assert found.nnz == 4
    np.testing.assert_array_equal(found.data, [0, 8, 7, -9])
    np.testing.assert_array_equal(found.indices, liked.indices)
    assert found.dtype == np.int64


@given(st.lists(st.lists(st.integers(LEAST, MOST), max_size=4), max_size=5))
def test_any_times_are_stored_without_loss(times: list[list[int]]) -> None:
    liked = to_likes([list(range(len(own))) for own in times])
    packed = pack_times(with_times(liked, np.array(list(chain(*times)), np.int64)))
    found = unpack_times(packed, liked)
    np.testing.assert_array_equal(found.data, np.array(list(chain(*times)), np.int64))
    np.testing.assert_array_equal(found.indptr, liked.indptr)


@pytest.mark.parametrize(("last", "parts"), [(2**32 - 1, {"first", "after"}), (2**32, {"times"})])
def test_times_of_a_user_within_136_years_have_32_bits_each(last: int, parts: set[str]) -> None:
    liked = to_likes([[3], [0, 1]])
    packed = pack_times(with_times(liked, np.array([-(2**40), -5, last - 5])))
    assert set(packed) == parts
    np.testing.assert_array_equal(unpack_times(packed, liked).data, [-(2**40), -5, last - 5])


def test_training_keeps_the_time_of_each_like() -> None:
    bundle = train_timed()
    assert bundle.liked_at is not None
    for name in ("indices", "indptr"):
        np.testing.assert_array_equal(getattr(bundle.liked_at, name), getattr(bundle.liked, name))
    days = (bundle.liked_at.data - START) / DAY
    assert ((days >= 0) & (days < 30) & (days == days.round())).all()
    assert train_shop().liked_at is None


def extremes() -> NDArray[np.int64]:
    times = np.arange(train_timed().liked.nnz)
    times[:3] = 0, LEAST, MOST
    return times


@pytest.mark.parametrize("times", [None, extremes])
def test_a_bundle_with_times_reads_back_as_written(times: object, tmp_path: Path) -> None:
    bundle = train_timed()
    if callable(times):
        bundle = replace(bundle, liked_at=with_times(bundle.liked, times()))
    save_bundle(bundle, tmp_path / "bundle")
    assert_equal(load_bundle(tmp_path / "bundle"), saved_of(bundle))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("liked_at.after", None),
        ("liked_at.first", None),
        ("liked_at.after", torch.zeros(3, dtype=torch.uint32)),
        ("liked_at.after", torch.zeros(300, dtype=torch.int32)),
        ("liked_at.first", torch.zeros(2, dtype=torch.int64)),
        ("liked_at.times", torch.zeros(3, dtype=torch.int64)),
        ("liked_at.times", torch.zeros(train_timed().liked.nnz)),
    ],
)
def test_times_that_do_not_fit_the_likes_are_refused(name: str, value: torch.Tensor | None, tmp_path: Path) -> None:
    save_bundle(train_timed(), tmp_path / "bundle")
    assert "liked_at.after" in read_tensors(tmp_path / "bundle")

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value

    change_tensors(tmp_path / "bundle", change)
    with pytest.raises(BundleError, match=r"liked_at|after|first"):
        load_bundle(tmp_path / "bundle")
