"""How a bundle stores the times of its likes."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.bundle.arrays import check
from kgrec.sequences import with_times

_FIRST, _AFTER, _TIMES = "first", "after", "times"
_MOST_AFTER = np.iinfo(np.uint32).max


def pack_times(liked_at: csr_array) -> dict[str, Tensor]:
    """Packs times: each user's first one, and how many seconds after it each like is, in 32 bits where these fit."""
    indptr, times = liked_at.indptr, liked_at.data
    has_likes = np.diff(indptr) > 0
    first = np.zeros(len(has_likes), np.int64)
    if len(times):
        first[has_likes] = np.minimum.reduceat(times, indptr[:-1][has_likes])
    after = times.astype(np.float64) - first.repeat(np.diff(indptr)).astype(np.float64)
    if (after > _MOST_AFTER).any():
        return {_TIMES: torch.from_numpy(times)}
    seconds = (times - first.repeat(np.diff(indptr))).astype(np.uint32)
    return {_FIRST: torch.from_numpy(first), _AFTER: torch.from_numpy(seconds)}


def unpack_times(parts: Mapping[str, Tensor], liked: csr_array) -> csr_array:
    """Unpacks the times of likes from `pack_times`.

    Raises:
        KeyError: a part is missing.
        ValueError: the parts do not fit the likes.
    """
    expected = f"{liked.nnz} int64 seconds"
    if _TIMES in parts:
        times = parts[_TIMES]
        check(times.dtype == torch.int64 and times.shape == (liked.nnz,), "liked_at", expected)
        return with_times(liked, times.numpy())
    first, after = parts[_FIRST], parts[_AFTER]
    check(first.dtype == torch.int64 and first.shape == liked.shape[:1], "liked_at", f"{liked.shape[0]} int64 seconds")
    check(after.dtype == torch.uint32 and after.shape == (liked.nnz,), "liked_at", f"{liked.nnz} uint32 seconds")
    return with_times(liked, first.numpy().repeat(np.diff(liked.indptr)) + after.numpy().astype(np.int64))
