"""Splits a DataFrame of likes into training likes and test slices, with the splitter of `kgrec evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kgrec.config import SplitConfig
from kgrec.errors import RequestError
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, split_likes


@dataclass(frozen=True)
class HeldOutLikes:
    """One slice of test likes.

    Attributes:
        title: what the slice tests, in words.
        known: the likes of the test users that a model may see; columns user and item.
        relevant: the likes to find; columns user and item.
        candidates: the items that may be recommended, except the known ones of each user.
    """

    title: str
    known: pd.DataFrame
    relevant: pd.DataFrame
    candidates: NDArray[np.object_]


@dataclass(frozen=True)
class InteractionSplit:
    """Training likes and test slices.

    Attributes:
        train: the rows to train on, with all columns of the input.
        slices: name -> test likes, by the names of `kgrec.questions.splits.Split`: "warm", "cold_items",
            "cold_users_k3" and so on; only slices with users.
        skipped: name of a slice without users -> the reason.
    """

    train: pd.DataFrame
    slices: Mapping[str, HeldOutLikes]
    skipped: Mapping[str, str]


def split_interactions(
    interactions: pd.DataFrame,
    config: SplitConfig | None = None,
    *,
    seed: int = 0,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
) -> InteractionSplit:
    """Holds out whole users, whole items, and a share of the likes of every other user.

    Args:
        interactions: one row per like; drop rows that are no likes, such as low ratings, before. Of a repeated pair of
            user and item, the latest row counts (without times the first).
        config: the shares to hold out and the numbers of known likes of new users; None: the defaults.
        seed: of the random draws.
        user: name of the column of users.
        item: name of the column of items.
        time: name of the column of times, numbers or datetimes; half of the held-out likes of known users are then
            their latest. None: all are drawn at random.

    Returns:
        The split. No row of `train` is relevant in any slice.

    Raises:
        RequestError: a column is missing or has missing values, or there are no rows.
    """
    columns = [user, item, *([] if time is None else [time])]
    missing = [name for name in columns if name not in interactions.columns]
    if missing:
        raise RequestError(f"no column {missing[0]!r} in the interactions; got {', '.join(map(str, interactions))}")
    if not len(interactions):
        raise RequestError("expected one row per like, got no rows")
    holes = interactions[columns].isna().any()
    if holes.any():
        raise RequestError(f"column {holes.idxmax()!r} has missing values; expected one in every row")
    rows = interactions if time is None else interactions.sort_values(time, kind="stable")
    rows = rows.drop_duplicates([user, item], keep="first" if time is None else "last")
    users, user_ids = pd.factorize(rows[user])
    items, item_ids = pd.factorize(rows[item])
    times = None if time is None else _to_seconds(rows[time], time)
    likes = Likes(users.astype(np.int64), items.astype(np.int64), times, (len(user_ids), len(item_ids)))
    split = split_likes(likes, config or SplitConfig(), np.random.default_rng(seed))
    n_items = len(item_ids)
    trained = np.isin(likes.users * n_items + likes.items, split.train.users * n_items + split.train.items)
    user_values, item_values = np.asarray(user_ids, object), np.asarray(item_ids, object)

    def to_test(slice_: Slice) -> HeldOutLikes:
        tested = np.diff(slice_.relevant.indptr) > 0  # (n_users,)
        known, relevant = (
            pd.DataFrame({user: user_values[pairs.row[kept]], item: item_values[pairs.col[kept]]})
            for pairs, kept in ((one, tested[one.row]) for one in (slice_.support.tocoo(), slice_.relevant.tocoo()))
        )
        candidates = item_values if slice_.candidates is None else item_values[slice_.candidates]
        return HeldOutLikes(slice_.title, known, relevant, candidates)

    return InteractionSplit(
        rows[trained].sort_index(),
        {name: to_test(slice_) for name, slice_ in split.slices.items()},
        {one.name: one.reason for one in split.skipped_slices},
    )


def _to_seconds(times: pd.Series, name: str) -> NDArray[np.int64]:
    if pd.api.types.is_datetime64_any_dtype(times):
        times = (times - pd.Timestamp(0, tz=times.dt.tz)) // pd.Timedelta(seconds=1)
    elif not pd.api.types.is_numeric_dtype(times):
        raise RequestError(f"column {name!r} holds {times.dtype}; expected numbers or datetimes")
    seconds: NDArray[np.int64] = times.to_numpy().astype(np.int64)
    return seconds
