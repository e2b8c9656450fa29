"""Many readers at once, from a table with their likes, links and attributes."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bookshop import N_BOOKS, book, reader, train_bookshop
from rounding import assert_same_but_for_rounding
from shop import WordEncoder

from kgrec.errors import RequestError
from kgrec.model.model import Model
from kgrec.recommend import Recommender

SHOP = Recommender(train_bookshop(), WordEncoder())
WHO = [  # a table's rows, and what they say of each user
    ("ann", book(1), reader(2), "oslo", 31, None),
    ("ann", None, reader(3), None, None, "crime"),
    ("bob", None, None, "rome", None, None),
    ("ann", book(4), None, None, 31, "space"),
    ("cat", book(7), None, None, None, None),
    ("dan", None, None, None, 48.0, None),
    ("eve", None, None, None, None, None),
    ("ann", None, "nobody", None, None, None),
]
ASKED = {
    "ann": {
        "likes": [book(1), book(4)],
        "links": [("friend_of", reader(2)), ("friend_of", reader(3)), ("lives_in", "oslo")],
        "attributes": {"age": 31, "interests": ["crime", "space"]},
    },
    "bob": {"links": [("lives_in", "rome")]},
    "cat": {"likes": [book(7)]},
    "dan": {"attributes": {"age": 48}},
    "eve": {},
}
COLUMNS = ["user", "item", "friend_of", "lives_in", "age", "interests"]


def lists_of(table: pa.Table) -> dict[str, list[str]]:
    return {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}


def test_every_user_of_a_table_is_answered_as_alone() -> None:
    frame = pd.DataFrame(WHO, columns=COLUMNS)
    table = SHOP.recommend_many(likes=frame, k=6, explain=True)
    assert lists_of(table) == {
        "unknown_users": [], "unknown_items": [], "unknown_links": ["nobody"], "by_profile": ["bob", "dan"],
        "without_likes": ["eve"],
    }  # fmt: skip
    for user, asked in ASKED.items():
        rows = table.filter(pa.array([one == user for one in table["user"].to_pylist()]))
        alone = SHOP.recommend(**asked, k=6, explain=True)  # type: ignore[arg-type]
        assert rows["reason"].to_pylist() == [each.reason for each in alone]
        assert_same_but_for_rounding(rows["item"].to_pylist(), list(alone.ids))
        np.testing.assert_allclose(rows["score"].to_pylist(), [each.score for each in alone], rtol=1e-4, atol=1e-5)
    assert any("Oslo" in reason or "you" in reason for reason in table["reason"].to_pylist())


def test_all_users_are_placed_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    place, calls = Model.place_users, list[int]()

    def count(model: Model, text: object, incidence: object) -> object:
        calls.append(incidence.shape[0])  # type: ignore[attr-defined]
        return place(model, text, incidence)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "place_users", count)
    monkeypatch.setattr("kgrec.recommend.blocks._MOST_ROWS", 2)
    SHOP.recommend_many(likes=pd.DataFrame(WHO, columns=COLUMNS), k=3)
    assert calls == [5]
    SHOP.recommend_many(likes={"ann": [book(1)]}, k=3)
    assert calls == [5]  # likes alone place nobody


def test_known_users_in_a_batch_have_the_reasons_that_they_have_alone() -> None:
    users = [reader(place) for place in range(12)]
    rows = SHOP.recommend_many(users, k=8, explain=True).to_pylist()
    for user in users:
        alone = [each.reason for each in SHOP.recommend(user, k=8, explain=True)]
        assert [row["reason"] for row in rows if row["user"] == user] == alone


def test_what_the_bundle_has_of_the_users_of_a_table_does_not_count() -> None:
    frame = pd.DataFrame({"user": [reader(0), "new"], "item": [book(1)] * 2, "lives_in": ["rome"] * 2})
    rows = SHOP.recommend_many(likes=frame, k=N_BOOKS, explain=True).to_pandas()
    one, other = (rows[rows["user"] == user].drop(columns="user").reset_index(drop=True) for user in (reader(0), "new"))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"friends_of": [reader(1)]}, r"'friends_of', which the model does not read; did you mean 'friend_of'\?"),
        ({"ages": [3]}, r"did you mean 'age'\? Expected 'user', 'item' and links or features of users: \['age',"),
        ({"reader_name": ["Ann"]}, "a column 'reader_name', which the model does not read"),
        ({"age": ["old"]}, "in row 1 age is not an int: got 'old'"),
        ({"age": [31, 32], "user": ["a", "a"], "item": [None, None]}, "user 'a' has age 31 and 32; expected one value"),
        ({"item": [None]}, "rows without 'item'; expected an id in every row"),
        ({"user": [None], "age": [3]}, "rows without 'user'; expected an id in every row"),
    ],
)  # fmt: skip
def test_columns_and_values_that_cannot_be_read(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        SHOP.recommend_many(likes=pd.DataFrame({"user": ["a"], "item": [book(1)]} | columns))


def test_a_file_of_text_is_read_as_numbers_and_lists() -> None:
    texts = {"user": ["a", "b"], "item": ["", book(1)], "age": ["31", ""], "interests": ["crime|space", ""]}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in texts.items()})
    alone = SHOP.recommend(attributes={"age": 31, "interests": ["crime", "space"]}, k=4)
    found = SHOP.recommend_many(likes=table, k=4)
    assert found["item"].to_pylist()[:4] == list(alone.ids)
    assert found["item"].to_pylist()[4:] == list(SHOP.recommend(likes=[book(1)], k=4).ids)
