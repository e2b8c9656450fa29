"""Every kind of request on a planted shop: what may be recommended, that scores come apart exactly, and changes."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from bookshop import N_BOOKS, N_READERS, book, reader, train_bookshop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import assert_same_but_for_rounding
from shop import KINDS, LURKER, N_ITEMS, N_USERS, NEWCOMER, WordEncoder, kind_of, make_tables, read_unpacked, train_shop

from kgrec.bundle import Bundle, load_bundle
from kgrec.errors import RequestError
from kgrec.ids import IdMap
from kgrec.model.likeness import SOURCES, join_content
from kgrec.recommend import Recommendations, Recommender
from kgrec.text.encoder import OnTexts

ITEMS = train_shop().items.ids
USERS = train_shop().users.ids
BUYERS = [user for user in USERS if user not in (NEWCOMER, LURKER)]
TEA, BIKE = BUYERS[0], BUYERS[1]
SEEN: dict[str, set[str]] = {user: set() for user in USERS}
LIKES: dict[str, set[str]] = {user: set() for user in USERS}
for row in make_tables().interactions.to_pylist():
    SEEN[row["source"]].add(row["target"])
    if row["stars"] >= 4:
        LIKES[row["source"]].add(row["target"])
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
some_items = st.lists(st.sampled_from(ITEMS), unique=True, max_size=8)


@pytest.fixture
def shop() -> Recommender:
    """A recommender of its own for each test; the bundle under it is never changed."""
    return Recommender(train_shop(), WordEncoder())


def assert_same(found: Recommendations, expected: Recommendations) -> None:
    assert found.ids == expected.ids != ()
    np.testing.assert_allclose([f.score for f in found], [e.score for e in expected], rtol=1e-5, atol=1e-5)


def answers(recommender: Recommender, users: list[str]) -> list[Recommendations]:
    """Answers of every kind, none of them empty."""
    found = [
        *(recommender.recommend(user, k=5) for user in users),
        recommender.recommend(likes=ITEMS[:3], k=5),
        recommender.recommend(text="black tea", k=5),
        recommender.recommend(k=5),
        recommender.similar(ITEMS[4], 5),
    ]
    assert all(len(answer) == 5 for answer in found)
    return found


# -- what may be recommended -------------------------------------------------------------------------------------------


@SETTINGS
@given(
    user=st.none() | st.sampled_from(USERS),
    likes=some_items,
    text=st.none() | st.sampled_from(["green tea", "bike bell"]),
    candidates=st.none() | st.lists(st.sampled_from(ITEMS), min_size=1),
    exclude=some_items,
    k=st.integers(1, N_ITEMS),
)
def test_an_answer_holds_exactly_what_it_may(
    shop: Recommender,
    user: str | None,
    likes: list[str],
    text: str | None,
    candidates: list[str] | None,
    exclude: list[str],
    k: int,
) -> None:
    found = shop.recommend(user, likes, text, k=k, candidates=candidates, exclude=exclude)
    may = set(ITEMS if candidates is None else candidates) - set(exclude) - set(likes) - SEEN.get(user or "", set())
    assert len(found) == min(k, len(may))
    assert len(set(found.ids)) == len(found)
    assert set(found.ids) <= may
    assert [each.rank for each in found] == list(range(1, len(found) + 1))
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert any(f"asked for {k}" in note for note in found.notes) == (len(may) < k)


def test_people_get_what_their_kind_likes(shop: Recommender) -> None:
    for user, kind in ((TEA, "tea"), (BIKE, "bike")):
        assert {kind_of(item) for item in shop.recommend(user, k=5).ids} == {kind}
    assert {kind_of(item) for item in shop.recommend(likes=["sku-01", "sku-03"], k=5).ids} == {"bike"}
    assert {kind_of(item) for item in shop.recommend(text="herbal tea", k=5).ids} == {"tea"}


def test_every_user_in_a_batch_is_answered_as_alone(shop: Recommender) -> None:
    table = shop.recommend_many(USERS, k=6)
    assert table.column_names == ["user", "item", "rank", "score", "title"]
    for user in USERS:
        alone = shop.recommend(user, k=6)
        rows = [row for row in table.to_pylist() if row["user"] == user]
        assert [row["item"] for row in rows] == list(alone.ids)
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([row["score"] for row in rows], [each.score for each in alone], atol=1e-5)


def test_reasons_in_a_batch_are_those_told_alone(shop: Recommender) -> None:
    """Users share likes and items, and a like that speaks softly for one may be the reason of another."""
    rows = shop.recommend_many(USERS, k=N_ITEMS, explain=True).to_pylist()
    alone = [(user, each.item, each.reason) for user in USERS for each in shop.recommend(user, k=N_ITEMS, explain=True)]
    assert [(row["user"], row["item"], row["reason"]) for row in rows] == alone


def test_batches_of_likes_are_answered_as_alone(shop: Recommender) -> None:
    likes = {"a": ["sku-00", "sku-02", "sku-02"], TEA: ["sku-01"], "c": [], "d": ["sku-??", "sku-05"]}
    table = shop.recommend_many(likes=likes, k=4, candidates=ITEMS[:20], exclude=["sku-07"], explain=True)
    for user, items in likes.items():
        alone = shop.recommend(likes=items, k=4, candidates=ITEMS[:20], exclude=["sku-07"], explain=True)
        rows = [row for row in table.to_pylist() if row["user"] == user]
        assert [(row["item"], row["reason"]) for row in rows] == [(each.item, each.reason) for each in alone]
    about = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}
    assert about == {
        "unknown_users": [],
        "unknown_items": ["sku-??"],
        "unknown_links": [],
        "by_profile": [],
        "without_likes": ["c"],
    }


def test_batches_go_by_blocks(shop: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shop.recommend_many(USERS, k=3)
    monkeypatch.setattr("kgrec.recommend.blocks._MOST_ROWS", 7)
    told: list[int] = []
    table = shop.recommend_many(USERS, k=3, on_users=told.append)
    assert sum(told) == len(USERS)
    assert max(told) == 7
    assert table.num_rows == 3 * len(USERS)
    assert table.drop_columns(["score"]).equals(whole.drop_columns(["score"]))


def test_unknown_users_and_repeated_ones_in_a_batch(shop: Recommender) -> None:
    table = shop.recommend_many(["nobody", TEA, TEA, LURKER], k=2, explain=True)
    assert table["user"].to_pylist() == [TEA, TEA, LURKER, LURKER]
    assert json.loads(table.schema.metadata[b"unknown_users"]) == ["nobody"]
    assert json.loads(table.schema.metadata[b"without_likes"]) == [LURKER]
    nobody = shop.recommend_many(["nobody"], k=2)
    assert nobody.num_rows == 0
    assert nobody.column_names == ["user", "item", "rank", "score", "title"]


def test_likes_of_a_user_and_further_ones_combine(shop: Recommender) -> None:
    known = sorted(LIKES[TEA])
    may = [item for item in ITEMS if item not in SEEN[TEA]]
    assert_same(shop.recommend(TEA, k=5), shop.recommend(likes=known, k=5, candidates=may))
    more = may[:2]
    assert_same(
        shop.recommend(TEA, more, "green tea", k=5),
        shop.recommend(None, known + more, "green tea", k=5, candidates=may),
    )
    assert_same(shop.recommend(TEA, known, k=5), shop.recommend(TEA, k=5))  # told twice, counted once


def test_a_sentence_moves_the_answer_to_what_it_says(shop: Recommender) -> None:
    def rank(found: Recommendations) -> float:
        return float(np.mean([each.rank for each in found if kind_of(each.item) == "bike"]))

    plain, said = shop.recommend(TEA, k=20), shop.recommend(TEA, text="bike bell", k=20)
    assert rank(said) <= rank(plain)
    assert said.ids != shop.recommend(TEA, text="herbal tea", k=20).ids


@SETTINGS
@given(likes=st.lists(st.sampled_from(ITEMS), min_size=1, max_size=12), seed=st.randoms())
def test_the_order_and_repetition_of_likes_do_not_matter(shop: Recommender, likes: list[str], seed: object) -> None:
    shuffled = [*likes, likes[0]]
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    found = shop.recommend(likes=likes, k=10, explain=True)
    assert len(found) == 10
    assert shop.recommend(likes=shuffled, k=10, explain=True) == found


def test_unknown_ids_are_reported_and_change_nothing(shop: Recommender) -> None:
    found = shop.recommend(likes=["sku-00", "x"], candidates=[*ITEMS[:9], "y"], exclude=["z"], k=3)
    assert len(found) == 3
    assert found.unknown == ("x", "y", "z")
    assert "unknown ids, ignored: 'x', 'y', 'z'" in found.notes
    assert found.items == shop.recommend(likes=["sku-00"], candidates=ITEMS[:9], k=3).items


def test_one_unknown_like_fails_no_request_that_has_others(shop: Recommender) -> None:
    known = shop.recommend(likes=["sku-00"], k=5, explain=True)
    assert len(known) == 5
    found = shop.recommend(likes=["x", "sku-00"], k=5, explain=True)
    assert (found.items, found.unknown) == (known.items, ("x",))
    explained = shop.explain("sku-29", likes=["x", "sku-00", "x"])
    assert {share.item for share in explained.shares if share.source == "like"} == {"sku-00"}
    assert explained == replace(shop.explain("sku-29", likes=["sku-00"]), unknown=("x",))
    assert shop.explain("sku-29", likes=["sku-00"]).unknown == ()
    assert shop.explain("sku-29", user=TEA, likes=["y", "sku-01"]).unknown == ("y",)


@pytest.mark.parametrize(
    "request_", [{"user": TEA}, {"likes": ["sku-00", "sku-02"]}, {"user": BIKE, "likes": ["sku-00"], "text": "bell"}]
)
def test_what_is_liked_or_seen_may_be_recommended_too(shop: Recommender, request_: dict[str, Any]) -> None:
    new, whole = shop.recommend(**request_, k=N_ITEMS), shop.recommend(**request_, k=N_ITEMS, filter_seen=False)
    assert sorted(whole.ids) == sorted(ITEMS)
    assert tuple(item for item in whole.ids if item in new.ids) == new.ids
    for each in whole:
        assert each.score == pytest.approx(shop.explain(each.item, **request_).score, abs=1e-4)
    few = shop.recommend(**request_, k=3, filter_seen=False, candidates=ITEMS[:6], exclude=["sku-04"])
    assert few.ids == tuple(item for item in whole.ids if item in ITEMS[:6] and item != "sku-04")[:3]
    assert shop.recommend(**request_, k=N_ITEMS) == new


def test_what_a_user_has_seen_may_be_recommended_in_a_batch_too(shop: Recommender) -> None:
    by_user = shop.recommend_many(USERS, k=N_ITEMS, filter_seen=False).to_pylist()
    for user in (TEA, LURKER, NEWCOMER):
        alone = shop.recommend(user, k=N_ITEMS, filter_seen=False)
        assert [row["item"] for row in by_user if row["user"] == user] == list(alone.ids)
    likes = {"a": ["sku-00", "sku-02"], "b": []}
    by_likes = shop.recommend_many(likes=likes, k=4, filter_seen=False, candidates=ITEMS[:4], explain=True).to_pylist()
    for user, items in likes.items():
        alone = shop.recommend(likes=items, k=4, filter_seen=False, candidates=ITEMS[:4], explain=True)
        assert [(row["item"], row["reason"]) for row in by_likes if row["user"] == user] == [
            (each.item, each.reason) for each in alone
        ]


def test_no_item_is_the_reason_for_itself(shop: Recommender) -> None:
    for each in shop.recommend(TEA, k=N_ITEMS, filter_seen=False, explain=True):
        assert f"{each.title}, which you liked" not in str(each.reason)
    alone = shop.recommend(likes=["sku-00"], k=1, candidates=["sku-00"], filter_seen=False, explain=True)
    n_likes = train_shop().model.n_likes[train_shop().items.row("sku-00")]
    assert alone[0].reason == f"liked by {n_likes} people"


def test_the_note_for_a_user_without_likes_says_what_is_left_out(shop: Recommender) -> None:
    said = f"user '{LURKER}' has no likes: these are the most liked items"
    assert shop.recommend(LURKER).notes[0] == f"{said}, without those the user has seen"
    found = shop.recommend(LURKER, k=N_ITEMS, filter_seen=False)
    assert found.notes[0] == said
    assert "sku-00" in found.ids


def test_without_likes_the_answer_is_what_is_popular_and_says_so(shop: Recommender) -> None:
    anybody = shop.recommend(k=10)
    assert "no likes are given" in anybody.notes[0]
    counts = train_shop().model.n_likes.numpy()
    popular = [counts[train_shop().items.row(item)] for item in anybody.ids]
    assert np.mean(popular) > counts.mean()
    assert_same(shop.recommend(NEWCOMER, k=10), anybody)
    assert f"user '{NEWCOMER}' has no likes" in shop.recommend(NEWCOMER).notes[0]
    assert "sku-00" not in shop.recommend(LURKER, k=N_ITEMS).ids
    assert shop.recommend(text="tea").notes == ()
    (note,) = shop.recommend(TEA).notes
    assert note.startswith(f"only {sum(map(len, LIKES.values()))} likes to learn from")


def flatten(bundle: Bundle) -> Bundle:
    """A bundle whose gate gives every component the weight 0: all items score alike."""
    gate = bundle.model.gate
    zeros = {
        field.name: np.zeros_like(value) if isinstance(value, np.ndarray) else 0.0
        for field in fields(gate)
        if field.name != "least_likes"
        for value in [getattr(gate, field.name)]
    }
    return replace(bundle, model=replace(bundle.model, gate=replace(gate, **zeros)))


def test_what_scores_alike_goes_by_texts_and_links_then_by_likes_then_by_id() -> None:
    tied = Recommender(flatten(train_shop()), WordEncoder())
    n_likes = dict(zip(ITEMS, train_shop().model.n_likes.tolist(), strict=True))
    anybody = tied.recommend(k=N_ITEMS)
    assert anybody.ids == tuple(sorted(ITEMS, key=lambda item: (-n_likes[item], item)))
    assert anybody.notes[1] == "nothing tells these items apart for this user: the most liked come first"
    for item in ("zzz", "sku-299", "aaa"):  # added last, but sorted where they belong
        tied.add_item(item, text="tea")
    last = ["aaa", "sku-29", "sku-299", "zzz"]  # nobody likes these
    assert list(tied.recommend(k=N_ITEMS + 3).ids[-4:]) == last
    assert tied.recommend_many([NEWCOMER], k=N_ITEMS + 3)["item"].to_pylist()[-4:] == last
    for like, kind in (("sku-00", "tea"), ("sku-01", "bike")):
        found = tied.recommend(likes=[like], k=10, candidates=ITEMS)
        assert found.notes[0] == "the likes do not tell these items apart: this rests on texts and links"
        assert {kind_of(item) for item in found.ids} == {kind}
        assert tied.recommend_many(likes={"a": [like]}, k=10, candidates=ITEMS)["item"].to_pylist() == list(found.ids)


def test_a_k_above_the_number_of_items_lists_them_all(shop: Recommender) -> None:
    k = 10**12
    left = N_ITEMS - len(SEEN[TEA])
    for tail in (0.0, 0.5, -0.5):
        found = shop.recommend(TEA, k=k, tail=tail)
        assert found.ids == shop.recommend(TEA, k=N_ITEMS, tail=tail).ids
        assert len(found) == left
        assert found.notes[-1] == f"asked for {k} items, only {left} may be recommended"
        assert shop.recommend_many([TEA], k=k, tail=tail)["item"].to_pylist() == list(found.ids)
    assert shop.similar("sku-00", k).ids == shop.similar("sku-00", N_ITEMS).ids
    assert shop.similar_users(TEA, k).num_rows == shop.similar_users(TEA, 100).num_rows


def test_requests_that_cannot_be_answered(shop: Recommender) -> None:
    with pytest.raises(RequestError, match=r"unknown user 'nobody'.*give the user's likes"):
        shop.recommend("nobody")
    with pytest.raises(RequestError, match=r"none of the 2 ids given as like .* 'x', 'y'; expected .* 'sku-00'"):
        shop.recommend(likes=["x", "y"])
    with pytest.raises(RequestError, match="none of the 1 ids given as candidates"):
        shop.recommend(TEA, candidates=["x"])
    with pytest.raises(RequestError, match="candidates is empty"):
        shop.recommend(TEA, candidates=[])
    with pytest.raises(RequestError, match="expected a text with words in it"):
        shop.recommend(text=" ")
    with pytest.raises(RequestError, match="either users or likes"):
        shop.recommend_many()
    with pytest.raises(RequestError, match="either users or likes"):
        shop.recommend_many([TEA], likes={"a": ["sku-00"]})
    with pytest.raises(RequestError, match="unknown item 'x'"):
        shop.similar("x")
    with pytest.raises(RequestError, match="unknown item 'x'"):
        shop.explain("x", user=TEA)


def test_a_sentence_needs_the_encoder_of_the_training() -> None:
    other = WordEncoder()
    other.revision = "words-2"
    with pytest.raises(RequestError, match=r"has revision words-2, the bundle was trained with words-1"):
        Recommender(train_shop(), other).recommend(text="tea")


# -- reasons -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [{"user": TEA}, {"likes": ITEMS[:3]}, {"text": "green tea"}, {"user": BIKE, "text": "bell"}, {}]
)
def test_shares_add_up_to_the_score(shop: Recommender, request_: dict[str, object]) -> None:
    recommended = shop.recommend(**request_, k=12)  # type: ignore[arg-type]
    assert len(recommended) == 12
    for each in recommended:
        found = shop.explain(each.item, **request_)  # type: ignore[arg-type]
        assert sum(share.value for share in found.shares) == pytest.approx(each.score, abs=1e-4)
        assert found.score == pytest.approx(each.score, abs=1e-4)
        values = [share.value for share in found.shares]
        assert values == sorted(values, reverse=True)


@SETTINGS
@given(
    user=st.none() | st.sampled_from([reader(place) for place in range(N_READERS)]),
    likes=st.lists(st.sampled_from([book(place) for place in range(N_BOOKS)]), unique=True, max_size=5),
    text=st.none() | st.sampled_from(["Title", "book-03 gardens"]),
    links=st.lists(
        st.sampled_from([("friend_of", reader(4)), ("lives_in", "rome"), ("member_of", "chess"), ("lives_in", "?")])
    ),
    age=st.none() | st.integers(0, 100),
)
def test_shares_with_links_and_attributes_add_up_to_the_score(
    user: str | None, likes: list[str], text: str | None, links: list[tuple[str, str]], age: int | None
) -> None:
    shop = Recommender(train_bookshop(), WordEncoder())
    asked: dict[str, Any] = {"user": user, "likes": likes, "text": text, "links": links, "attributes": {"age": age}}
    recommended = shop.recommend(**asked, k=5, filter_seen=False)
    for each in recommended:
        found = shop.explain(each.item, **asked)
        assert sum(share.value for share in found.shares) == pytest.approx(each.score, abs=1e-3)
        profile = [share for share in found.shares if share.source == "profile"]
        assert len(profile) <= 1
        if user is not None:
            assert profile[0].title
    assert len(recommended) == 5


def test_every_like_has_its_share(shop: Recommender) -> None:
    found = shop.explain("sku-29", user=TEA, likes=["sku-01"], text="tea")
    assert {share.item for share in found.shares if share.source == "like"} == LIKES[TEA] | {"sku-01"}
    assert [share.source for share in found.shares].count("sentence") == 1
    assert [share.source for share in found.shares].count("everybody") == 1


def test_paths_are_edges_of_the_catalogue(shop: Recommender) -> None:
    edges = {
        name: set(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))
        for name, table in make_tables().edges.items()
    }
    n_paths = 0
    for user in BUYERS[:10]:
        for item in shop.recommend(user, k=5).ids:
            for share in shop.explain(item, user=user).shares:
                for path in share.paths:
                    at = path.start.id
                    assert at == item
                    for step in path.steps:
                        pair = (at, step.node.id) if step.forward else (step.node.id, at)
                        assert pair in edges[step.relation]
                        at = step.node.id
                    assert at == share.item
                    n_paths += 1
    assert n_paths > 20


def test_reasons_name_a_like_and_what_is_shared(shop: Recommender) -> None:
    makers = dict(zip(*(make_tables().edges["made_by"][end].to_pylist() for end in ("source", "target")), strict=True))
    titles = dict(zip(ITEMS, train_shop().names["product"], strict=True))
    recommended = shop.recommend(likes=["sku-02"], k=3, explain=True, candidates=["sku-08", "sku-14", "sku-20"])
    assert len(recommended) == 3
    for each in recommended:
        assert makers[each.item] == makers["sku-02"]
        assert each.reason is not None
        assert f"same maker (House of {makers['sku-02']}) as {titles['sku-02']}, which you liked" in each.reason
        assert each.title == titles[each.item]
    assert shop.recommend(TEA, k=1)[0].reason is None
    reasons = [each.reason for each in shop.recommend(NEWCOMER, k=N_ITEMS, explain=True)]
    assert reasons
    assert all(reasons)


def test_where_no_item_has_a_text_a_sentence_says_nothing_and_a_note_says_so(shop: Recommender) -> None:
    model = shop.bundle.model
    silent = Recommender(replace(shop.bundle, model=replace(model, text=torch.zeros_like(model.text))), WordEncoder())
    found = silent.recommend(text="tea", k=3, explain=True)
    assert found.notes[0] == "no item has a text to compare your words with: they have no effect"
    assert found.ids == silent.recommend(k=3).ids != ()
    assert not any("your words" in str(each.reason) for each in found)


def test_similar_items_are_of_the_same_kind(shop: Recommender) -> None:
    for item in ("sku-00", "sku-01"):
        found = shop.similar(item, 5)
        assert len(found) == 5
        assert item not in found.ids
        assert {kind_of(other) for other in found.ids} == {kind_of(item)}
    everything = shop.similar("sku-00", N_ITEMS)
    assert 0 < len(everything) < N_ITEMS  # what is not like it at all is not listed
    assert everything.notes == (
        f"asked for {N_ITEMS} items, only {len(everything)} are similar by likes, text or links",
    )


@pytest.mark.parametrize("by", [None, *SOURCES])
def test_similar_is_the_order_of_likeness(shop: Recommender, by: str | None) -> None:
    model = shop.bundle.model
    content = join_content(model.text.numpy(), [model.columns.numpy()])
    vectors = model.likeness.vectors(content, by).astype(np.float64)
    known = vectors.any(axis=1)
    for row in range(N_ITEMS):
        found = shop.similar(ITEMS[row], N_ITEMS, by=by)
        likeness = dict(zip(ITEMS, (vectors @ vectors[row]).tolist(), strict=True))
        alike = {item for item, value in likeness.items() if value > 1e-4} - {ITEMS[row]}
        unlike = {item for item, value in likeness.items() if value < 0}
        assert alike <= set(found.ids) if known[row] else not found.ids
        assert not unlike & set(found.ids)
        scores = [each.score for each in found]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([likeness[item] for item in found.ids], abs=1e-5)


def test_reasons_of_similar_items_name_what_counted_alone(shop: Recommender) -> None:
    words = {"likes": "liked by the same people", "text": "similar names", "links": "same maker"}
    makers = dict(zip(*(make_tables().edges["made_by"][end].to_pylist() for end in ("source", "target")), strict=True))
    for by in SOURCES:
        said = [str(each.reason) for each in shop.similar("sku-00", 10, by=by, explain=True)]
        assert any(words[by] in reason for reason in said)
        assert not any(words[other] in reason for other in SOURCES if other != by for reason in said)
    for each in shop.similar("sku-00", N_ITEMS, explain=True):
        assert ("same maker" in str(each.reason)) <= (makers[each.item] == makers["sku-00"])
    new = shop.similar("sku-29", N_ITEMS, explain=True)  # nobody has bought it
    assert not any("same people" in str(each.reason) for each in new)
    assert shop.similar("sku-00")[0].reason is None


def test_an_item_that_nobody_has_liked_is_like_others_by_its_text_and_links(shop: Recommender) -> None:
    found = shop.similar("sku-29", 5)  # a bicycle part
    assert {kind_of(item) for item in found.ids} == {"bike"}
    assert found.notes == ("nobody liked 'sku-29' in training: this rests on its text and links",)
    shop.add_item("teapot", text="tea green")
    shop.add_item("lamp", text="bike bell chain")
    assert {kind_of(item) for item in shop.similar("teapot", 5).ids if item in ITEMS} == {"tea"}
    assert "sku-29" in shop.similar("lamp", 16).ids
    assert shop.similar("teapot", 5, by="likes").items == ()


def test_an_item_of_which_nothing_is_known_is_like_nothing(shop: Recommender) -> None:
    shop.add_item("part", text="tea green")
    shop.add_item("riddle", links=[("spare_part_of", "part")])  # which has no name
    found = shop.similar("riddle", 5, by="text")
    assert found.items == ()
    assert found.notes == ("'riddle' has no text to compare: no items are similar to it",)
    alike = shop.similar("sku-00", N_ITEMS + 1, by="text").ids
    assert "part" in alike
    assert "riddle" not in alike
    likes = shop.similar("sku-29", 3, by="likes")
    assert (likes.items, likes.notes) == ((), ("'sku-29' has no likes to compare: no items are similar to it",))


def test_items_like_each_of_several(shop: Recommender) -> None:
    for by in (None, *SOURCES):
        found = shop.similar_many(["sku-04", "sku-29", "sku-04"], 5, by=by, explain=True)
        assert list(found) == ["sku-04", "sku-29"]
        for item, alike in found.items():
            assert_same_but_for_rounding(alike, shop.similar(item, 5, by=by, explain=True))
    assert shop.similar_many([]) == {}
    with pytest.raises(RequestError, match="unknown item 'x'"):
        shop.similar_many(["sku-00", "x"])
    with pytest.raises(RequestError, match=r"expected a list of ids as items, got the text 'sku-00'"):
        shop.similar_many("sku-00")


def test_similar_by_something_else(shop: Recommender) -> None:
    with pytest.raises(RequestError, match="`by` to be one of likes, text, links, or left out, got 'price'"):
        shop.similar("sku-00", by="price")


# -- changes -----------------------------------------------------------------------------------------------------------


def test_an_added_item_is_recommendable_at_once(shop: Recommender) -> None:
    before = shop.recommend(TEA, k=5)
    assert shop.add_item("new", text="tea green 99", links=[("made_by", "m-tea-0")], name="Tea 99") == ()
    for ask in ({"user": TEA}, {"likes": ["sku-00"]}, {"text": "tea"}, {}):
        found = shop.recommend(**ask, k=1, candidates=["new"], explain=True)  # type: ignore[arg-type]
        assert found.ids == ("new",)
        assert found[0].title == "Tea 99"
        assert found[0].reason
    assert shop.recommend_many([TEA], k=1, candidates=["new"])["item"].to_pylist() == ["new"]
    assert "new" in shop.recommend(TEA, k=N_ITEMS).ids
    assert len(shop.recommend(k=N_ITEMS + 1)) == N_ITEMS + 1
    others = [item for item in ITEMS if item not in SEEN[TEA]]
    assert_same(shop.recommend(TEA, k=5, candidates=others), before)  # the others' scores stay


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("links", lambda kind: {"links": [("made_by", f"m-{kind}-{KINDS.index(kind)}")]}),
        ("text", lambda kind: {"text": f"{kind} green" if kind == "tea" else f"{kind} bell"}),
    ],
    ids=["links", "text"],
)
def test_links_and_text_place_an_added_item(shop: Recommender, by: str, said: object) -> None:
    for kind in KINDS:
        shop.add_item(f"new {kind}", **said(kind))  # type: ignore[operator]
    n_right = 0
    for place, user in enumerate(BUYERS):
        best = shop.recommend(user, k=1, candidates=[f"new {kind}" for kind in KINDS])[0].item
        n_right += best == f"new {KINDS[place % 2]}"
    assert n_right >= 0.9 * N_USERS
    assert kind_of(next(item for item in shop.similar("new tea", 3, by=by).ids if item in ITEMS)) == "tea"


def test_a_reason_for_an_added_item_goes_along_its_links(shop: Recommender) -> None:
    shop.recommend(TEA, explain=True)  # so that there is an index of paths to add to
    shop.add_item("new", links=[("made_by", "m-tea-0"), ("made_by", "m-tea-0"), ("spare_part_of", "sku-06")])
    like = next(share for share in shop.explain("new", likes=["sku-06"]).shares if share.source == "like")
    found = {tuple((step.relation, step.forward, step.node.id) for step in path.steps) for path in like.paths}
    assert found <= {
        (("spare_part_of", True, "sku-06"),),
        (("made_by", True, "m-tea-0"), ("made_by", False, "sku-06")),
    }
    assert (("spare_part_of", True, "sku-06"),) in found
    assert (shop.bundle.edges["made_by"][0] == N_ITEMS).sum() == 1


def test_a_reason_for_an_added_item_claims_no_likes(shop: Recommender) -> None:
    shop.add_item("new", text="tea green 99")  # no links, so there is no path to tell
    (found,) = shop.recommend(TEA, k=1, candidates=["new"], explain=True)
    assert found.reason is not None
    assert found.reason.endswith(", by its text and links") or found.reason == "new in the catalogue"


def test_an_added_item_counts_as_a_like(shop: Recommender) -> None:
    shop.add_item("new", text="bike bell", links=[("made_by", "m-bike-1")])
    found = shop.recommend(likes=["new"], k=5)
    assert "new" not in found.ids
    assert shop.explain(found[0].item, likes=["new"]).score == pytest.approx(found[0].score, abs=1e-4)
    shop.add_interactions(pa.table({"user": ["ann"], "item": ["new"], "stars": [5.0]}))
    assert_same(shop.recommend("ann", k=5), found)


def test_what_cannot_be_added(shop: Recommender) -> None:
    assert shop.add_item("new", links=[("made_by", "nobody"), ("made_by", "m-tea-0")]) == ("nobody",)
    with pytest.raises(RequestError, match="'new' exists already"):
        shop.add_item("new", text="again")
    with pytest.raises(RequestError, match=r"no edge type 'directed_by' of the node type 'product'; .*'made_by'"):
        shop.add_item("other", links=[("directed_by", "m-tea-0")])
    with pytest.raises(RequestError, match="no edge type 'bought'"):
        shop.add_item("other", links=[("bought", TEA)])
    with pytest.raises(RequestError, match=r"cannot place item 'other'.*unknown: 'nobody'"):
        shop.add_item("other", links=[("made_by", "nobody")])
    with pytest.raises(RequestError, match="words in it"):
        shop.add_item("other", text="")
    assert "other" not in shop.bundle.items
    assert len(shop.bundle.items) == N_ITEMS + 1


def test_interactions_of_a_new_user_count_as_likes(shop: Recommender) -> None:
    table = pa.table(
        {"source": ["ann", "ann", "bob", "ann"], "target": ["sku-01", "sku-03", "x", "sku-05"], "stars": [5, 4, 5, 1]}
    )
    assert shop.add_interactions(table) == ("x",)
    may = [item for item in ITEMS if item not in ("sku-01", "sku-03", "sku-05")]
    assert_same(shop.recommend("ann", k=8), shop.recommend(likes=["sku-01", "sku-03"], k=8, candidates=may))
    assert_same(shop.recommend("bob", k=8), shop.recommend(k=8))
    assert_same(shop.recommend(TEA, k=8), Recommender(train_shop()).recommend(TEA, k=8))


def test_interactions_of_a_known_user_add_to_the_likes(shop: Recommender) -> None:
    more = [item for item in ITEMS if item not in SEEN[BIKE]][:3]
    expected = shop.recommend(BIKE, more, k=8)
    again = [*more, *sorted(LIKES[BIKE])[:2], more[0]]  # what is there already, and told twice, counts once
    shop.add_interactions(pa.table({"user": [BIKE] * 6, "item": again, "stars": [5.0] * 6}))
    assert_same(shop.recommend(BIKE, k=8), expected)
    assert shop.bundle.liked.data.max() == shop.bundle.seen.data.max() == 1


def test_fits_your_words_is_said_of_items_whose_text_does(shop: Recommender) -> None:
    for text, kind in (("bike bell", "bike"), ("herbal tea", "tea")):
        for user in (TEA, BIKE):
            found = shop.recommend(user, text=text, k=15, explain=True)
            assert {kind_of(each.item) for each in found if each.reason == "fits your words"} <= {kind}
        alone = shop.recommend(text=text, k=3, explain=True)
        assert [each.reason for each in alone] == ["fits your words"] * 3


def test_words_that_no_text_is_near_get_a_note_and_are_no_reason() -> None:
    class Foreign(WordEncoder):
        """Its vectors of sentences stand across from those of the catalogue's texts."""

        def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
            return -super().encode(["tea bike"] * len(texts), on_texts)

    note = "no item's text is close to your words: expect weak matches"
    shop, foreign = Recommender(train_shop(), WordEncoder()), Recommender(train_shop(), Foreign())
    assert note not in shop.recommend(text="herbal tea", k=3).notes
    found = foreign.recommend(TEA, text="mortgage", k=15, explain=True)
    assert len(found) == 15
    assert note in found.notes
    assert not any(each.reason == "fits your words" for each in found)


def test_one_id_in_place_of_a_list_of_likes(shop: Recommender) -> None:
    with pytest.raises(RequestError, match=r"expected a list of ids as likes, got the text 'sku-01'"):
        shop.recommend(likes="sku-01")
    for ask in (
        lambda: shop.explain("sku-29", likes="sku-01"),
        lambda: shop.recommend_many(likes={"ann": "sku-01"}),
        lambda: shop.recommend(TEA, candidates="sku-01"),
        lambda: shop.recommend_many([TEA], exclude="sku-01"),
    ):
        with pytest.raises(RequestError, match=r"expected a list of ids as \w+, got the text 'sku-01'"):
            ask()


@pytest.mark.parametrize("k", [0, -1, 2.5, "5", True])
def test_a_k_that_is_no_number_of_items(shop: Recommender, k: Any) -> None:
    for ask in (shop.recommend, lambda k: shop.recommend_many([TEA], k=k), lambda k: shop.similar("sku-01", k=k)):
        with pytest.raises(RequestError, match="expected k of at least 1, a whole number, got"):
            ask(k=k)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([7.5]), "user: ids of type double; expected text or whole numbers"),
        (pa.array([""]), "rows without 'user'"),
        (pa.array(["x" * 100_000]), "in row 1 user is an id of more than"),
        (pa.array([b"\xff\xfe"]), "in row 1 user is not valid UTF-8"),
    ],
)
def test_ids_of_interactions_that_no_file_would_give(shop: Recommender, column: pa.Array, said: str) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=said):
        shop.add_interactions(pa.table({"user": column, "item": ["sku-01"], "stars": [5.0]}))
    assert shop.bundle is before


def test_integer_ids_are_those_of_their_digits(shop: Recommender) -> None:
    shop.add_interactions(pa.table({"user": [7, 7], "item": ["sku-01", "sku-03"], "stars": [5, 5]}))
    assert shop.recommend("7", k=3).ids == shop.recommend(likes=["sku-01", "sku-03"], k=3).ids != ()


@pytest.mark.parametrize(
    ("item", "name", "links", "said"),
    [
        ("\ud800", None, [], "an item's id is not valid Unicode"),
        ("", None, [], "expected an item's id as a text"),
        (7.0, None, [], "expected an item's id as a text or an integer, got 7.0"),
        ("new", "\ud800", [], "an item's name is not valid Unicode"),
        ("new", None, [("made_by",)], r"expected each link as \(edge type"),
        ("new", None, [("made_by", None)], r"expected each link as \(edge type"),
        ("new", None, ["made_by"], r"expected each link as \(edge type"),
    ],
)
def test_an_item_that_could_not_be_stored(
    shop: Recommender, item: str, name: str | None, links: Any, said: str
) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=said):
        shop.add_item(item, text="tea", name=name, links=links)
    assert shop.bundle is before


def test_interactions_that_lack_something(shop: Recommender) -> None:
    with pytest.raises(
        RequestError, match="interactions is of type list; expected a pandas DataFrame or a pyarrow table"
    ):
        shop.add_interactions([("ann", "sku-01", 5)])  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="lack the column 'item'"):
        shop.add_interactions(pa.table({"user": ["ann"], "product": ["sku-01"]}))
    with pytest.raises(RequestError, match="lack the column 'stars'"):
        shop.add_interactions(pa.table({"user": ["ann"], "item": ["sku-01"]}))
    with pytest.raises(RequestError, match="rows without 'user'"):
        shop.add_interactions(pa.table({"user": ["ann", None], "item": ["sku-01", "sku-03"], "stars": [5, 5]}))
    with pytest.raises(RequestError, match="in row 1 stars is not a float: got 'five'"):
        shop.add_interactions(pa.table({"user": ["ann"], "item": ["sku-01"], "stars": ["five"]}))
    assert "ann" not in shop.bundle.users


def without_user(bundle: Bundle, user: str) -> Bundle:
    """The bundle as it would be had the user's clicks never been there as support."""
    kept = [place for place, id_ in enumerate(bundle.users.ids) if id_ != user]
    return replace(
        bundle,
        ids={**bundle.ids, "customer": IdMap(tuple(bundle.users.ids[place] for place in kept))},
        names={**bundle.names, "customer": [None] * len(kept)},
        liked=bundle.liked[kept],
        seen=bundle.seen[kept],
    )


@pytest.mark.parametrize("user", [BUYERS[0], BUYERS[17], USERS[-1]])
def test_a_forgotten_user_is_as_one_never_seen(shop: Recommender, tmp_path: Path, user: str) -> None:
    never = Recommender(without_user(train_shop(), user), WordEncoder())
    shop.save(tmp_path / "bundle")
    assert f'"{user}"'.encode() in read_unpacked(tmp_path / "bundle")
    shop.forget(user)
    shop.save(tmp_path / "bundle")
    others = [other for other in USERS if other != user]
    for forgot in (shop, Recommender.load(tmp_path / "bundle", encoder=WordEncoder())):
        assert_same_but_for_rounding(answers(forgot, others), answers(never, others))
        many = forgot.recommend_many(others, k=4)
        assert many.num_rows == 4 * len(others)
        assert_same_but_for_rounding(many, never.recommend_many(others, k=4))
        with pytest.raises(RequestError, match=f"unknown user '{user}'"):
            forgot.recommend(user)
        with pytest.raises(RequestError, match=f"unknown user '{user}'"):
            forgot.forget(user)
    assert f'"{user}"'.encode() not in read_unpacked(tmp_path / "bundle")
    kept = load_bundle(tmp_path / "bundle")
    assert kept.seen.nnz == train_shop().seen.nnz - len(SEEN[user])
    assert kept.liked.nnz == train_shop().liked.nnz - len(LIKES[user])
    assert kept.liked.shape == kept.seen.shape == (len(others), N_ITEMS)


def test_a_forgotten_user_may_come_back(shop: Recommender) -> None:
    shop.forget(TEA)
    shop.add_interactions(pa.table({"user": [TEA], "item": ["sku-01"], "stars": [5]}))
    assert_same(shop.recommend(TEA, k=5), shop.recommend(likes=["sku-01"], k=5))


def test_a_saved_recommender_answers_the_same(shop: Recommender, tmp_path: Path) -> None:
    users = list(USERS)
    makers = dict(zip(*(make_tables().edges["made_by"][end].to_pylist() for end in ("source", "target")), strict=True))
    for change in (
        lambda: None,
        lambda: shop.add_item("new", text="tea green", links=[("made_by", "m-tea-0")], name="New tea"),
        lambda: shop.add_item("a first one", links=[("spare_part_of", "sku-01")]),
        lambda: shop.add_interactions(pa.table({"user": ["ann", TEA], "item": ["new", "sku-01"], "stars": [5, 5]})),
        lambda: (shop.forget(BIKE), users.remove(BIKE)),
    ):
        change()
        shop.save(tmp_path / "bundle")
        loaded = Recommender.load(tmp_path / "bundle", encoder=WordEncoder())
        assert_same_but_for_rounding(answers(loaded, users), answers(shop, users))
        # paths of an added item count who shares a node as of the time of building
        ranked = shop.recommend(users[0], k=N_ITEMS).ids
        item = next(item for item in ranked if item in ITEMS and makers.get(item) != "m-tea-0")
        explained = shop.explain(item, user=users[0])
        assert any(share.source == "like" for share in explained.shares)
        assert_same_but_for_rounding(loaded.explain(item, user=users[0]), explained)
    assert loaded.recommend("ann", k=N_ITEMS).ids == shop.recommend("ann", k=N_ITEMS).ids
    assert loaded.recommend(TEA, k=1, candidates=["a first one"], explain=True)[0].item == "a first one"


def test_changes_leave_the_bundle_of_others_alone(shop: Recommender) -> None:
    other = Recommender(shop.bundle, WordEncoder())
    before = answers(other, BUYERS[:3])
    shop.add_item("new", text="tea")
    shop.add_interactions(pa.table({"user": [TEA], "item": ["sku-01"], "stars": [5]}))
    shop.forget(BIKE)
    assert answers(other, BUYERS[:3]) == before
    assert len(other.bundle.items) == N_ITEMS
