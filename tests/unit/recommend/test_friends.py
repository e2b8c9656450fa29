"""What friends like now counts in every kind of request."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bookshop import N_BOOKS, SCHEMA, book, reader, train_bookshop
from shop import WordEncoder

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.recommend import NewUser, Recommender
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.recommend.tail import draw_reference

ALL = {"k": N_BOOKS, "filter_seen": False}


def heed_friends() -> Bundle:
    """The shop with a model that heeds friends' likes alone, for any number of likes."""
    bundle = train_bookshop()
    model = bundle.model
    alone = np.tile(np.array([name == "linked_likes" for name in model.names], np.float32), (len(model.gate.warm), 1))
    gate = replace(model.gate, warm=0 * alone, cold=0 * alone, known=alone)
    return replace(bundle, model=replace(model, gate=gate))


def shop() -> Recommender:
    return Recommender(heed_friends(), WordEncoder())


def scores_of(found: object) -> dict[str, float]:
    return {each.item: each.score for each in found}  # type: ignore[attr-defined]


def assert_scores(found: object, expected: dict[str, float]) -> None:
    ours = scores_of(found)
    assert set(ours) == set(expected)
    np.testing.assert_allclose([ours[id_] for id_ in expected], list(expected.values()), rtol=1e-4, atol=1e-4)


def by_hand(bundle: Bundle, friends: list[str], *, asker_is_new: bool = True) -> dict[str, float]:
    """The standardised sum of friends' likes, each friend weighing (number of their friends, with the asker)^-.5."""
    ends = bundle.edges["friend_of"].T.tolist()
    liked = bundle.liked.toarray()
    total = np.zeros(len(bundle.items))
    for friend in friends:
        row = bundle.users.row(friend)
        theirs = {far for pair in ends for far in pair if row in pair and far != row}
        total += liked[row] * (len(theirs) + asker_is_new) ** -0.5
    warm = ~bundle.model.cold.numpy()
    values = (total - total[warm].mean()) / total[warm].std()
    return dict(zip(bundle.items.ids, values.tolist(), strict=True))


def test_friends_who_are_named_count_as_those_of_an_added_user() -> None:
    recommender, friends = shop(), [reader(3), reader(8)]
    links = [("friend_of", friend) for friend in friends]
    asked = recommender.recommend(links=[*links, ("friend_of", "nobody")], **ALL)
    assert_scores(asked, by_hand(recommender.bundle, friends))
    recommender.add_user("new", links=links)
    assert_scores(recommender.recommend("new", **ALL), scores_of(asked))
    assert_scores(recommender.recommend("new", **ALL), by_hand(recommender.bundle, friends, asker_is_new=False))
    # a friend who is named again counts once, and a user is no friend of itself
    again = recommender.recommend("new", links=[links[0], ("friend_of", "new")], **ALL)
    assert_scores(again, scores_of(asked))


def test_a_friends_like_counts_at_once_and_ones_own_never() -> None:
    recommender = shop()
    recommender.add_users([NewUser("ann", likes=[book(0)], links=[("friend_of", "bob")]), NewUser("bob")])
    before = scores_of(recommender.recommend("bob", **ALL))
    assert max(before, key=before.__getitem__) == book(0)
    none = recommender.predict("ann", items=[book(0), book(1)])
    np.testing.assert_array_equal(none, none[0])  # bob likes nothing
    recommender.add_interactions(pd.DataFrame({"user": ["bob", "ann"], "item": [book(1), book(2)]}))
    twice = recommender.predict("bob", items=[book(0), book(1), book(2)])
    assert twice[0] == pytest.approx(twice[2], rel=1e-5)
    assert twice[1] < 0 < twice[0] < before[book(0)]
    scores = recommender.predict("ann", items=[book(0), book(1)])
    assert scores[1] > 1 > scores[0]
    recommender.forget(["ann"])
    np.testing.assert_array_equal(*recommender.predict("bob", items=[book(0), book(1)]))


def test_batches_answer_as_alone() -> None:
    recommender = shop()
    users = [reader(place) for place in range(5)]
    many = recommender.recommend_many(users, k=6).to_pylist()
    for user in users:
        alone = scores_of(recommender.recommend(user, k=6))
        found = {row["item"]: row["score"] for row in many if row["user"] == user}
        np.testing.assert_allclose(sorted(found.values()), sorted(alone.values()), rtol=1e-4, atol=1e-4)
        assert found[book_of(alone)] == pytest.approx(alone[book_of(alone)], rel=1e-4)
    frame = pd.DataFrame({"user": ["x", "x", "y"], "item": [None] * 3, "friend_of": [reader(3), reader(8), reader(1)]})
    many = recommender.recommend_many(likes=frame, k=N_BOOKS).to_pylist()
    for user, friends in (("x", [reader(3), reader(8)]), ("y", [reader(1)])):
        found = {row["item"]: row["score"] for row in many if row["user"] == user}
        expected = by_hand(recommender.bundle, friends)
        np.testing.assert_allclose([found[id_] for id_ in expected], list(expected.values()), rtol=1e-4, atol=1e-4)


def book_of(scores: dict[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def test_explanations_and_lists_agree_and_say_what_the_list_rests_on() -> None:
    recommender = shop()
    links = [("friend_of", reader(3))]
    first = recommender.recommend(links=links, k=1)[0]
    explained = recommender.explain(first.item, links=links)
    (profile,) = (share.value for share in explained.shares if share.source == "profile")
    assert profile > 0
    assert sum(share.value for share in explained.shares) == pytest.approx(first.score, rel=1e-3)
    assert "friends" in recommender.recommend(links=links, k=1).notes[0]


def test_the_tail_dial_knows_the_reference_users_friends() -> None:
    state = State(heed_friends(), SentenceEncoder(WordEncoder()))
    references = draw_reference(state.bundle.liked)
    weights = state.weigh_friends(references)
    assert weights is not None
    expected = weights.toarray() @ state.bundle.liked.toarray()
    assert state.dial._linked is not None
    np.testing.assert_allclose(state.dial._linked.toarray(), expected, rtol=1e-5)
    assert state.dial.is_of(state.bundle.model, state.bundle.liked, weights)
    assert not state.dial.is_of(state.bundle.model, state.bundle.liked, 2 * weights)
    assert not state.dial.is_of(state.bundle.model, state.bundle.liked)


def test_answers_are_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    recommender = shop()
    recommender.add_user("new", links=[("friend_of", reader(3)), ("friend_of", reader(8))])
    save_bundle(recommender.bundle, tmp_path / "shop")
    again = Recommender(load_bundle(tmp_path / "shop", SCHEMA), WordEncoder())
    for request in ({"user": "new"}, {"user": reader(1)}, {"links": [("friend_of", reader(2))]}):
        assert_scores(again.recommend(**request, **ALL), scores_of(recommender.recommend(**request, **ALL)))
