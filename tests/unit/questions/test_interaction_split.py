import numpy as np
import pandas as pd
import pytest

from kgrec.config import SplitConfig
from kgrec.errors import RequestError
from kgrec.questions.interaction_split import InteractionSplit, split_interactions
from kgrec.questions.splits import Likes, split_likes

CONFIG = SplitConfig(cold_users=0.2, cold_items=0.2, warm=0.3, support_sizes=(1, 3), least_likes=4)


def draw_interactions(n_users: int = 40, n_items: int = 25) -> pd.DataFrame:
    users, items = np.nonzero(np.random.default_rng(2).random((n_users, n_items)) < 0.5)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.random.default_rng(3).permutation(len(users)), unit="h")
    rows = {"who": [f"u{user}" for user in users], "what": [f"i{item}" for item in items], "when": times, "stars": 5}
    return pd.DataFrame(rows, index=np.arange(len(users)) + 100)


def split(rows: pd.DataFrame, **options: object) -> InteractionSplit:
    return split_interactions(rows, CONFIG, user="who", item="what", time="when", **options)


def pairs(rows: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(rows["who"], rows["what"], strict=True))


def test_train_and_test_likes_come_from_the_rows_and_do_not_overlap() -> None:
    rows = draw_interactions()
    found = split(rows)
    assert {"warm", "cold_items", "cold_users_k1", "cold_users_k3"} <= set(found.slices)
    pd.testing.assert_frame_equal(found.train, rows.loc[found.train.index])
    train = pairs(found.train)
    for name, slice_ in found.slices.items():
        relevant = pairs(slice_.relevant)
        assert relevant
        assert relevant <= pairs(rows) - train - pairs(slice_.known)
        assert set(slice_.relevant["what"]) <= set(slice_.candidates)
        assert set(slice_.known["who"]) <= set(slice_.relevant["who"])
        if name.startswith("cold_users_"):
            assert not set(slice_.relevant["who"]) & set(found.train["who"])
            assert set(slice_.known.groupby("who").size()) == {int(name.rpartition("_k")[2])}
        else:
            assert pairs(slice_.known) <= (pairs(rows) if name.startswith("next") else train)
    assert not set(found.slices["cold_items"].relevant["what"]) & set(found.train["what"])
    cold = found.slices["cold_users_k1"]
    first = rows[rows["who"].isin(cold.known["who"]) & rows["what"].isin(found.train["what"])].sort_values("when")
    assert pairs(cold.known) == pairs(first.drop_duplicates("who"))  # a new user shows their first like


def test_the_slices_are_those_of_the_evaluation() -> None:
    rows = draw_interactions(n_users=12).sort_values("when")
    found = split(rows)
    assert found.train.index.equals(split(rows, seed=0).train.index)
    (users, user_ids), (items, item_ids) = (pd.factorize(rows[column]) for column in ("who", "what"))
    times = rows["when"].astype("datetime64[s]").astype("int64").to_numpy()
    likes = Likes(users, items, times, (len(user_ids), len(item_ids)))
    expected = split_likes(likes, CONFIG, np.random.default_rng(0)).slices
    assert found.slices.keys() == expected.keys()
    n_alone = 0
    for name, slice_ in expected.items():
        asked = np.diff(slice_.relevant.indptr)
        n_alone += (asked == 1).sum()  # users with one like to find count, too
        for matrix, ours in (
            (slice_.relevant, found.slices[name].relevant),
            (slice_.support, found.slices[name].known),
        ):
            pairs_of = zip(*(ends.tolist() for ends in matrix.nonzero()), strict=True)
            assert pairs(ours) == {(user_ids[user], item_ids[item]) for user, item in pairs_of if asked[user]}
        candidates = np.ones(len(item_ids), bool) if slice_.candidates is None else slice_.candidates
        assert set(found.slices[name].candidates) == set(item_ids[candidates])
    assert n_alone


def test_the_split_depends_on_the_seed_alone() -> None:
    rows = draw_interactions()
    pd.testing.assert_frame_equal(split(rows, seed=4).train, split(rows, seed=4).train)
    assert not split(rows, seed=4).train.index.equals(split(rows, seed=5).train.index)


def test_repeated_pairs_count_once() -> None:
    rows = draw_interactions()
    later = rows.assign(when=rows["when"] + pd.Timedelta(days=999), stars=4)
    found = split(pd.concat([later, rows], ignore_index=True))
    assert not found.train.duplicated(["who", "what"]).any()
    assert set(found.train["stars"]) == {4}  # the latest row of each pair


def test_slices_without_users_come_with_a_reason() -> None:
    found = split_interactions(pd.DataFrame({"user": [1, 2], "item": [1, 1]}))
    assert found.slices == {}
    assert "warm" in found.skipped
    assert found.skipped["warm_date"] == "the likes have no times"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pd.DataFrame({"user": [1], "film": [2]}), "no column 'item' in the interactions; got user, film"),
        (pd.DataFrame({"user": [], "item": []}), "expected one row per like, got no rows"),
        (pd.DataFrame({"user": [1, None], "item": [1, 2]}), "column 'user' has missing values"),
    ],
)
def test_wrong_frames_are_refused(rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        split_interactions(rows)


def test_times_must_be_numbers_or_datetimes() -> None:
    rows = draw_interactions()
    with pytest.raises(RequestError, match=r"column 'when' holds .*; expected numbers or datetimes"):
        split(rows.assign(when=rows["when"].astype(str)))
    seconds = rows.assign(when=rows["when"].astype("int64") // 10**9)
    assert split(seconds).train.index.equals(split(rows).train.index)
