"""Requests that are answered together have the answers that they have alone."""

from typing import Any

import pytest
from bookshop import book, reader, train_bookshop
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_shop import train_linked
from rounding import assert_same_but_for_rounding
from shop import WordEncoder, train_shop
from timed_shop import train_timed

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.model.model import Model
from kgrec.recommend import Recommendations, Recommender
from kgrec.recommend.blocks import to_blocks

BUNDLES = {"plain": train_shop, "linked": train_linked, "timed": train_timed}


def draw_requests(bundle: Bundle) -> st.SearchStrategy[list[dict[str, Any]]]:
    items, users = st.sampled_from([*bundle.items.ids, "nothing"]), st.sampled_from([*bundle.users.ids, "nobody"])
    request = st.fixed_dictionaries(
        {"user": st.none() | users, "k": st.integers(0, 40)},
        optional={
            "likes": st.lists(items, max_size=12),
            "exclude": st.lists(items, max_size=3),
            "candidates": st.lists(items, max_size=5),
            "tail": st.sampled_from([-0.5, 0.4, 1.0, 3.0]),
            "filter_seen": st.booleans(),
        },
    )
    return st.lists(request, max_size=8)


def answer_alone(bundle: Bundle, request: dict[str, Any]) -> Recommendations | RequestError:
    try:
        return Recommender(bundle, WordEncoder()).recommend(**request)
    except RequestError as error:
        return error


def assert_as_alone(bundle: Bundle, requests: list[dict[str, Any]]) -> None:
    found = Recommender(bundle, WordEncoder()).recommend_batch(requests)
    assert len(found) == len(requests)
    for one, request in zip(found, requests, strict=True):
        expected = answer_alone(bundle, request)
        if isinstance(expected, RequestError):
            assert isinstance(one, RequestError)
            assert str(one) == str(expected)
        else:
            assert_same_but_for_rounding(one, expected)


@pytest.mark.parametrize("name", BUNDLES)
@settings(max_examples=12)
@given(data=st.data())
def test_together_is_as_alone(name: str, data: st.DataObject) -> None:
    bundle = BUNDLES[name]()
    assert_as_alone(bundle, data.draw(draw_requests(bundle)))


def test_known_users_with_friends_links_and_none() -> None:
    bundle = train_bookshop()
    users = [{"user": user, "k": 5} for user in bundle.users.ids]
    given_links = {"links": [("friend_of", reader(1)), ("lives_in", "rome")], "attributes": {"age": 30}, "k": 5}
    assert_as_alone(bundle, [*users, {"likes": [book(0)]}, given_links, {}, {**given_links, "user": reader(2)}])


def test_all_kinds_of_requests_may_come_together() -> None:
    requests = [
        {"user": "c00", "k": 4},
        {"text": "black tea", "k": 4},
        {"user": "c01", "explain": True, "k": 4},
        {"user": "c01", "pitch": True, "k": 4},
        {"likes": ["sku-00"], "diversity": 0.5},
        {"likes": ["sku-00"], "at_most": {"maker": 1}},
        {"likes": ["sku-00"], "at_most": {"marker": 1}},
        {"sequence": [("sku-04", None), ("sku-06", None)]},
    ]
    assert_as_alone(train_shop(), requests)


def test_an_error_is_in_its_place_and_fails_no_other() -> None:
    shop = Recommender(train_shop(), WordEncoder())
    found = shop.recommend_batch([{"user": "nobody"}, {"user": "c00"}, {"k": 0}, {"likes": "sku-00"}, {"likes": ["x"]}])
    assert [isinstance(one, RequestError) for one in found] == [True, False, True, True, True]
    assert "unknown user 'nobody'" in str(found[0])
    assert shop.recommend_batch([]) == []
    with pytest.raises(TypeError, match="nonsense"):
        shop.recommend_batch([{"nonsense": 1}])


def test_one_product_scores_all_and_the_cache_the_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, scored = Recommender(train_shop(), WordEncoder()), list[int]()
    score = Model.score_support

    def count(model: Model, support: Any) -> Any:
        scored.append(support.likes.shape[0])
        return score(model, support)

    monkeypatch.setattr(Model, "score_support", count)
    users = [{"user": user} for user in shop.bundle.users.ids[:9]]
    first = shop.recommend_batch(users)
    assert scored == [9]
    assert shop.recommend("c03") is first[3]
    again = shop.recommend_batch([*users[4:6], {"user": "c11"}])
    assert again[:2] == first[4:6]
    assert scored == [9, 1]


def test_many_requests_are_scored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.recommend.batched_lists.to_blocks", lambda n, _: to_blocks(n, 1 << 20))
    assert_as_alone(train_shop(), [{"user": user, "k": 3} for user in train_shop().users.ids[:9]])


def test_a_state_after_a_change_answers_anew() -> None:
    shop = Recommender(train_shop(), WordEncoder())
    (before,) = shop.recommend_batch([{"user": "c00", "k": 30}])
    shop.add_item("pot", text="tea pot")
    (after,) = shop.recommend_batch([{"user": "c00", "k": 30}])
    assert isinstance(before, Recommendations)
    assert isinstance(after, Recommendations)
    assert set(after.ids) == {*before.ids, "pot"}
