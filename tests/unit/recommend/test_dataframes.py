"""DataFrames in and out."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from shop import WordEncoder, train_shop

from kgrec.errors import RequestError
from kgrec.recommend import Recommender


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


COLUMNS = {"user": ["ann", "ann", "bob"], "item": ["sku-01", "sku-03", "x"], "stars": [5, 2, 5]}


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS, index=["p", "q", "r"], dtype=object),
        pd.DataFrame(COLUMNS).astype({"user": "category", "item": "string", "stars": "Int64"}),
        pd.DataFrame({"source": COLUMNS["user"], "target": COLUMNS["item"], "stars": COLUMNS["stars"]}),
    ],
    ids=["plain", "objects", "categories", "source and target"],
)
def test_a_frame_of_interactions_is_as_the_table(shop: Recommender, frame: pd.DataFrame) -> None:
    by_table = Recommender(train_shop(), WordEncoder())
    assert shop.add_interactions(frame) == by_table.add_interactions(pa.table(COLUMNS)) == ("x",)
    assert shop.bundle.users.ids == by_table.bundle.users.ids
    for name in ("liked", "seen"):
        np.testing.assert_array_equal(getattr(shop.bundle, name).toarray(), getattr(by_table.bundle, name).toarray())
    assert len(shop.recommend("ann", k=5)) == 5
    assert shop.recommend("ann", k=5) == by_table.recommend("ann", k=5)


def test_ids_of_a_frame_are_texts_or_whole_numbers(shop: Recommender) -> None:
    shop.add_interactions(pd.DataFrame({"user": [7, 8], "item": ["sku-01", "sku-03"], "stars": [5, 5]}))
    assert {"7", "8"} <= set(shop.bundle.users.ids)
    before = shop.bundle
    with_gap = pd.DataFrame({"user": [7, None], "item": ["sku-01", "sku-03"], "stars": [5, 5]})
    for frame in (with_gap, with_gap.astype({"user": "Int64"})):  # pandas reads integers with a gap as floats
        with pytest.raises(RequestError, match="rows without 'user'"):
            shop.add_interactions(frame)
    with pytest.raises(RequestError, match="in row 1 user is not a whole number; expected text or whole numbers"):
        shop.add_interactions(with_gap.assign(user=[7.5, 8.0]))
    with pytest.raises(RequestError, match="user: ids of type double; expected text or whole numbers: convert the"):
        shop.add_interactions(with_gap.assign(user=[7.5, 8.5]))
    assert shop.bundle is before
    shop.add_interactions(with_gap.assign(user=[9.0, 10.0]))
    shop.add_interactions(with_gap.assign(user=[11, "ann"]))
    assert {"9", "10", "11", "ann"} <= set(shop.bundle.users.ids)
    empty = with_gap[:0]
    before = shop.bundle.users.ids
    assert shop.add_interactions(empty) == ()
    assert shop.bundle.users.ids == before


def test_frames_that_are_no_table(shop: Recommender) -> None:
    with pytest.raises(RequestError, match=r"lack the column 'item'; expected .*, got \['user', 'product'\]"):
        shop.add_interactions(pd.DataFrame({"user": ["ann"], "product": ["sku-01"]}))
    with pytest.raises(
        RequestError, match="interactions is of type Series; expected a pandas DataFrame or a pyarrow table"
    ):
        shop.add_interactions(pd.Series(["ann"]))


def test_columns_of_a_frame_are_lists_of_ids(shop: Recommender) -> None:
    frame = pd.DataFrame({"user": ["c00", "c01"], "item": ["sku-00", "sku-02"]})
    assert shop.recommend_many(frame["user"], k=3).equals(shop.recommend_many(["c00", "c01"], k=3))
    assert shop.recommend_many(frame["user"][:0], k=3).num_rows == 0
    liked = shop.recommend(likes=["sku-00", "sku-02"], k=3)
    assert shop.recommend(likes=frame["item"], k=3) == liked
    assert shop.recommend_many(likes={"ann": frame["item"]}, k=3)["item"].to_pylist() == list(liked.ids)


def test_many_answers_become_a_frame(shop: Recommender) -> None:
    table = shop.recommend_many(["c00", "c01"], k=3)
    frame = table.to_pandas()
    assert list(frame.columns) == ["user", "item", "rank", "score", "title"]
    assert frame.to_dict("records") == table.to_pylist()
    assert frame[frame["user"] == "c00"]["item"].tolist() == list(shop.recommend("c00", k=3).ids)
