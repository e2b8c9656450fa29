"""Likes for outsiders: k-anonymous, true, and told what is left out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from shop import train_shop
from typer.testing import CliRunner

from kgrec.anonymous import count_alike, export_anonymous
from kgrec.anonymous.grouping import group_users
from kgrec.anonymous.periods import find_common_period, name_period
from kgrec.bundle import Bundle, save_bundle
from kgrec.cli import app
from kgrec.errors import RequestError

DAY = 86_400


def _make_bundle(likes: np.ndarray, times: np.ndarray | None = None) -> Bundle:
    """The shop's bundle with other users, who like some of its 30 items, (n_users, n <= 30) of 1s."""
    bundle = train_shop()
    whole = np.zeros((len(likes), 30), np.float32)
    whole[:, : likes.shape[1]] = likes
    liked = csr_array(whole)
    at = None
    if times is not None:
        rows, columns = liked.nonzero()
        at = csr_array((times[rows, columns].astype(np.int64), liked.indices, liked.indptr), shape=liked.shape)
    return replace(bundle, liked=liked, liked_at=at)


def _draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    likes = (rng.random((rng.integers(6, 40), 12)) < rng.random((1, 12))).astype(np.float32)
    likes[0, 0] = 1
    return likes, rng.integers(0, 900 * DAY, likes.shape)


@given(st.integers(0, 2**32), st.integers(2, 6), st.sampled_from(["week", "month", "year", "none"]))
@settings(max_examples=40, deadline=None)
def test_every_record_is_that_of_k_users_and_true(seed: int, k: int, finest: str) -> None:
    likes, times = _draw(seed)
    bundle, n_users = _make_bundle(likes, times), int(likes.any(axis=1).sum())
    if k > n_users:
        with pytest.raises(RequestError, match=f"got k = {k}"):
            export_anonymous(bundle, k, finest=finest)
        return
    found = export_anonymous(bundle, k, finest=finest)
    rows = [tuple(row.values()) for row in found.table.to_pylist()]
    assert count_alike(rows) == found.k
    assert not rows or found.k >= k
    records: dict[str, set[tuple[str, str | None]]] = {}
    for user, item, period in rows:
        records.setdefault(user, set()).add((item, period))
    own = [
        {(bundle.items.ids[item], int(times[user, item])) for item in np.flatnonzero(likes[user])}
        for user in range(len(likes))
    ]
    for record in records.values():  # at least k real users have all of it, at these times
        fits = [
            all(
                any(item == liked and (period is None or period in _names(at)) for liked, at in mine)
                for item, period in record
            )
            for mine in own
        ]
        assert sum(fits) >= k
    assert found.n_users == n_users
    assert found.n_users_left_out == n_users - len(records)
    assert found.n_likes_left_out == likes.sum() - len(rows)


def _names(at: int) -> set[str | None]:
    return {name_period(at, period) for period in ("week", "month", "year")}


def test_groups_by_hand() -> None:
    likes = csr_array(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32))
    groups = [(sorted(users.tolist()), items.tolist()) for users, items in group_users(likes, 2)]
    assert groups == [([0, 1], [0, 1]), ([2, 3], [3])]


def test_a_user_with_nothing_in_common_is_left_out_and_others_are_not() -> None:
    likes = csr_array(np.array([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]], np.float32))
    ((users, items),) = group_users(likes, 2)
    assert sorted(users.tolist()) == [1, 2]
    assert items.tolist() == [4]


def test_users_are_grouped_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.anonymous.grouping._BLOCK_USERS", 3)
    likes = csr_array(np.ones((10, 2), np.float32))
    groups = group_users(likes, 2)
    assert sorted(row for users, _ in groups for row in users.tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("records", "k"),
    [
        ([], 0),
        ([("a", "x", None)], 1),
        ([("a", "x", None), ("b", "x", None)], 2),
        ([("a", "x", None), ("b", "x", "1998")], 1),  # another time is another record
        ([("a", "x", None), ("b", "x", None), ("b", "y", None)], 1),  # and so is one like more
        ([("a", "x", "1"), ("b", "x", "1"), ("a", "y", "2"), ("b", "y", "2"), ("c", "z", "1")], 1),
    ],
)
def test_the_checker_by_hand(records: list[tuple[str, str, str | None]], k: int) -> None:
    assert count_alike(records) == k


@pytest.mark.parametrize(
    ("at", "period", "name"),
    [
        (0, "week", "1970-W01"),
        (0, "month", "1970-01"),
        (0, "year", "1970"),
        (0, "none", None),
        (1_104_537_600, "week", "2004-W53"),  # 1 January 2005
        (-1, "month", "1969-12"),
    ],
)
def test_periods_by_hand(at: int, period: str, name: str | None) -> None:
    assert name_period(at, period) == name


def test_times_are_as_fine_as_a_group_agrees_on() -> None:
    assert find_common_period([0, DAY], "week") == "1970-W01"
    assert find_common_period([0, 20 * DAY], "week") == "1970-01"
    assert find_common_period([0, 60 * DAY], "week") == "1970"
    assert find_common_period([0, 400 * DAY], "week") is None
    assert find_common_period([0, DAY], "year") == "1970"


def test_pseudonyms_are_new_each_time_and_are_no_ids() -> None:
    bundle = _make_bundle(np.ones((4, 3)))
    one, other = (set(export_anonymous(bundle, 2).table["user"].to_pylist()) for _ in range(2))
    assert len(one) == len(other) == 4
    assert one.isdisjoint(other)
    assert one.isdisjoint(bundle.users.ids)


@pytest.mark.parametrize("k", [1, 0, -3, True, 2.5])
def test_a_k_that_hides_nobody_is_refused(k: int) -> None:
    with pytest.raises(RequestError, match="expected a whole number of at least 2"):
        export_anonymous(_make_bundle(np.ones((4, 3))), k)


def test_a_bundle_without_users_and_an_unknown_period_are_refused() -> None:
    with pytest.raises(RequestError, match="has no users with likes"):
        export_anonymous(_make_bundle(np.zeros((4, 3))), 2)
    with pytest.raises(RequestError, match="expected one of week, month, year, none"):
        export_anonymous(_make_bundle(np.ones((4, 3))), 2, finest="day")


def test_the_command_writes_a_table_and_tells_what_is_left_out(tmp_path: Path) -> None:
    save_bundle(train_shop(), tmp_path / "bundle")
    runner, out = CliRunner(), tmp_path / "likes.csv"
    ran = runner.invoke(app, ["export", str(tmp_path / "bundle"), "--anonymous", "--k", "3", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    table = pa_csv.read_csv(out)
    assert table.column_names == ["user", "item", "period"]
    assert count_alike(zip(*(table[name].to_pylist() for name in table.column_names), strict=True)) >= 3
    as_json = tmp_path / "likes.json"
    ran = runner.invoke(app, ["export", str(tmp_path / "bundle"), "--anonymous", "--k", "3", "--out", str(as_json)])
    assert json.loads(as_json.read_text(encoding="utf-8"))[0].keys() == {"user", "item", "period"}


def test_the_command_refuses_to_export_ids(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "likes.csv")])
    assert isinstance(ran.exception, RequestError)
    assert "without --anonymous" in str(ran.exception)


def test_the_summary_says_which_periods_were_released() -> None:
    likes = np.ones((2, 4), np.float32)
    times = np.array([[0, 0, 0, 0], [DAY, 20 * DAY, 60 * DAY, 400 * DAY]])
    found = export_anonymous(_make_bundle(likes, times), 2, finest="week")
    assert found.describe_periods() == "2 by week, 2 by month, 2 by year, 2 without a time"
    assert export_anonymous(_make_bundle(likes), 2).describe_periods() == "8 without a time"
