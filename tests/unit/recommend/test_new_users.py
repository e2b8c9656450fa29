"""Users added with their likes and links, users who are alike, and scores of given items."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rounding import assert_same_but_for_rounding
from shop import LURKER, NEWCOMER, WordEncoder, train_shop

from kgrec.errors import RequestError
from kgrec.recommend import NewUser, Recommender

TEA, BIKE = ["sku-00", "sku-02"], ["sku-01", "sku-03"]


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


# -- add_user ----------------------------------------------------------------------------------------------------------


def test_an_added_user_is_answered_as_somebody_with_these_likes(shop: Recommender) -> None:
    assert shop.add_user("late", likes=[*TEA, "sku-77"], name="Late L.") == ("sku-77",)
    found = shop.recommend("late", k=5)
    assert len(found) == 5
    assert [(each.item, each.score) for each in found] == [
        (each.item, each.score) for each in shop.recommend(likes=TEA, k=5)
    ]
    assert not set(found.ids) & set(TEA)


def test_users_added_together_are_as_one_after_the_other(shop: Recommender) -> None:
    other = Recommender(train_shop(), WordEncoder())
    assert shop.add_users([NewUser("one", likes=TEA), NewUser("two", likes=["sku-29"])]) == {}
    other.add_user("one", likes=TEA)
    other.add_user("two", likes=["sku-29"])  # which nobody had liked: it is placed by this like
    assert shop.bundle.users.ids == other.bundle.users.ids
    found = shop.recommend_many(["one", "two", "c00"], k=8)
    assert found.num_rows == 24
    assert_same_but_for_rounding(found, other.recommend_many(["one", "two", "c00"], k=8))


def test_all_users_are_added_or_none(shop: Recommender) -> None:
    before = shop.bundle
    for users, message in (
        ([NewUser("one"), NewUser("c00")], "'c00' exists already"),
        ([NewUser("one"), NewUser("one")], "'one' is given twice"),
        (
            [NewUser("one", links=[("made_by", "m-tea-0")])],
            "no edge type 'made_by' of the node type 'customer'; nodes of this type have no links",
        ),
        ([NewUser("")], "expected a user's id as a text that is not blank"),
        ([NewUser("one", likes="sku-00")], r"expected a list of ids as likes, got the text 'sku-00'"),
        (["one"], "expected users as a list of NewUser, got str at place 1"),
    ):
        with pytest.raises(RequestError, match=message):
            shop.add_users(users)  # type: ignore[arg-type]
    assert shop.bundle is before
    assert shop.add_users([]) == {}
    assert shop.bundle is before


def test_several_users_are_forgotten_at_once(shop: Recommender) -> None:
    other = Recommender(train_shop(), WordEncoder())
    shop.forget(["c00", "c07"])
    other.forget("c00")
    other.forget("c07")
    assert shop.bundle.users.ids == other.bundle.users.ids
    np.testing.assert_array_equal(shop.bundle.liked.toarray(), other.bundle.liked.toarray())
    before = shop.bundle
    with pytest.raises(RequestError, match="unknown user 'nobody'"):
        shop.forget(["c01", "nobody"])
    assert shop.bundle is before


# -- what counts of several interactions -------------------------------------------------------------------------------


def test_a_low_rating_takes_back_an_earlier_like(shop: Recommender) -> None:
    shop.add_interactions(pd.DataFrame({"user": ["new"] * 2, "item": TEA, "stars": [5, 5]}))
    shop.add_interactions(pd.DataFrame({"user": ["new"], "item": TEA[:1], "stars": [1]}))
    row = shop.bundle.users.row("new")
    liked, seen = ({shop.bundle.items.ids[item] for item in matrix[[row]].indices} for matrix in (
        shop.bundle.liked, shop.bundle.seen
    ))  # fmt: skip
    assert liked == {TEA[1]}
    assert seen == set(TEA)


def test_of_the_interactions_of_one_call_the_last_counts(shop: Recommender) -> None:
    shop.add_interactions(pd.DataFrame({"user": ["new"] * 3, "item": ["sku-00"] * 3, "stars": [5, 1, 5]}))
    shop.add_interactions(pd.DataFrame({"user": ["other"] * 3, "item": ["sku-00"] * 3, "stars": [5, 5, 1]}))
    liked = shop.bundle.liked.toarray()[shop.bundle.users.rows(["new", "other"])]
    assert liked.sum(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("stars", "message"),
    [
        (["five"], "in row 1 stars is not a float"),
        ([None], "row 1 has no stars; expected one in every row"),
        ([float("nan")], "row 1 has no stars"),
    ],
)
def test_a_weight_that_is_not_a_number(shop: Recommender, stars: list[object], message: str) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=message):
        shop.add_interactions(pd.DataFrame({"user": ["new"], "item": ["sku-00"], "stars": stars}))
    assert shop.bundle is before
    shop.add_interactions(pd.DataFrame({"user": ["new"], "item": ["sku-00"], "stars": ["5"]}))  # as a file has it
    assert shop.bundle.liked[[shop.bundle.users.row("new")]].nnz == 1


# -- integers as ids ---------------------------------------------------------------------------------------------------


def test_integers_stand_for_their_digits_in_every_call(shop: Recommender) -> None:
    shop.add_item(196, text="tea green", links=[("made_by", "m-tea-0")])  # type: ignore[arg-type]
    shop.add_user(7, likes=[196, "sku-00"])  # type: ignore[list-item, arg-type]
    assert len(shop.recommend(user="7", k=3)) == 3
    assert shop.recommend(user=7, k=3) == shop.recommend(user="7", k=3)  # type: ignore[arg-type]
    assert shop.recommend(likes=[np.int64(196)], k=3) == shop.recommend(likes=["196"], k=3)  # type: ignore[list-item]
    assert len(shop.similar("196", 3)) == 3
    assert shop.similar(196, 3) == shop.similar("196", 3)  # type: ignore[arg-type]
    assert shop.explain(196, user=7).item == "196"  # type: ignore[arg-type]
    assert set(shop.recommend_many(pd.Series([7]), k=2)["user"].to_pylist()) == {"7"}  # type: ignore[arg-type]
    shop.forget(7)  # type: ignore[arg-type]
    assert "7" not in shop.bundle.users


@pytest.mark.parametrize("user", [7.0, True, b"c00", ("c00",)])
def test_what_is_no_id(shop: Recommender, user: object) -> None:
    with pytest.raises(RequestError, match="as a text or an integer, got"):
        shop.recommend(user=user)  # type: ignore[arg-type]


def test_users_and_likes_that_are_no_lists(shop: Recommender) -> None:
    with pytest.raises(RequestError, match=r"expected a list of ids as users, got the text 'c00'; give \['c00'\]"):
        shop.recommend_many("c00")
    with pytest.raises(RequestError, match="expected a list of ids as likes, got 3"):
        shop.recommend(likes=3)  # type: ignore[arg-type]


def test_a_frame_of_likes_is_as_a_mapping(shop: Recommender) -> None:
    frame = pd.DataFrame({"user": ["a", "b", "a"], "item": [TEA[0], BIKE[0], TEA[1]]})
    expected = shop.recommend_many(likes={"a": TEA, "b": BIKE[:1]}, k=4)
    assert expected["user"].to_pylist() == ["a"] * 4 + ["b"] * 4
    assert shop.recommend_many(likes=frame, k=4).equals(expected)
    assert shop.recommend_many(likes=pa.Table.from_pandas(frame), k=4).equals(expected)
    with pytest.raises(RequestError, match="lack the column 'item'"):
        shop.recommend_many(likes=frame[["user"]])


# -- predict -----------------------------------------------------------------------------------------------------------


def test_predicted_scores_are_those_of_the_answers(shop: Recommender) -> None:
    whole = {each.item: each.score for each in shop.recommend("c00", k=30, filter_seen=False)}
    scores = shop.predict("c00", ["sku-05", "sku-99", "sku-00", "sku-05"])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [whole["sku-05"], np.nan, whole["sku-00"], whole["sku-05"]], rtol=1e-5)
    by_text = {each.item: each.score for each in shop.recommend(text="black tea", likes=BIKE, k=30, filter_seen=False)}
    found = shop.predict(None, list(by_text), text="black tea", likes=BIKE)
    np.testing.assert_allclose(found, list(by_text.values()), rtol=1e-5)
    with pytest.raises(RequestError, match="unknown user"):
        shop.predict("nobody", ["sku-00"])


# -- similar_users -----------------------------------------------------------------------------------------------------


def test_similar_users_like_the_same_kind(shop: Recommender) -> None:
    found = shop.similar_users("c00", k=10).to_pylist()
    assert [each["rank"] for each in found] == list(range(1, 11))
    assert all(int(each["user"][1:]) % 2 == 0 for each in found)  # tea drinkers have even numbers
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1 + 1e-6


def test_a_user_with_the_same_likes_is_the_most_similar(shop: Recommender) -> None:
    bundle = shop.bundle
    shop.add_user("twin", likes=[bundle.items.ids[item] for item in bundle.liked[[0]].indices])
    first = shop.similar_users(bundle.users.ids[0], k=1).to_pylist()[0]
    assert first["user"] == "twin"
    assert first["score"] == pytest.approx(1, abs=1e-5)


def test_users_without_likes_are_like_nobody(shop: Recommender) -> None:
    assert shop.similar_users(NEWCOMER).num_rows == 0
    everybody = shop.similar_users("c00", k=100)["user"].to_pylist()
    assert len(everybody) == 49
    assert not {NEWCOMER, LURKER, "c00"} & set(everybody)
    for k in (0, 1.5, True):
        with pytest.raises(RequestError, match="expected k of at least 1"):
            shop.similar_users("c00", k)  # type: ignore[arg-type]


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_what_no_call_takes_is_one_clear_error(shop: Recommender) -> None:
    before = shop.bundle
    for call, message in (
        (lambda: shop.recommend(text=["a", "b"], k=3), r"expected a text with words in it, got \['a', 'b'\]"),
        (lambda: shop.recommend("c00", tail=[1]), "tail"),
        (lambda: shop.forget(None), "expected user as a text or an integer, got None"),
        (lambda: shop.recommend_many(pd.DataFrame({"user": ["c00"]})), "got a DataFrame; give one of its columns"),
        (lambda: shop.add_item("x" * 5000, text="tea"), "an item's id has 5,000 bytes; expected at most 4,096"),
        (lambda: shop.add_user("é" * 2049), "a user's id has 4,098 bytes; expected at most 4,096"),
    ):
        with pytest.raises(RequestError, match=message):
            call()
    assert shop.bundle is before


def test_a_recommender_says_what_it_answers_from(shop: Recommender) -> None:
    assert repr(shop) == "Recommender('shop': 30 items, 52 users)"
