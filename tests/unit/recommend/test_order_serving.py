"""Every kind of request counts likes in their order, on a shop where order counts for everybody."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from shop import NEWCOMER, WordEncoder
from timed_shop import DAY, START, train_timed

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.model.model import Model
from kgrec.recommend import Recommender
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.sequences import Order, with_times

SETTINGS = settings(max_examples=20, deadline=None)
ITEMS = train_timed().items.ids
SHOP = Recommender(train_timed(), WordEncoder())
TEA = ["sku-02", "sku-14", "sku-06", "sku-20"]
UNKNOWN = "sku-unknown"
ids = st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8, unique=True)


def likes_of(bundle: Bundle, user: str) -> list[tuple[str, int]]:
    """A user's likes and their times, the earliest first."""
    row = bundle.users.row(user)
    assert row is not None and bundle.liked_at is not None
    own = slice(*bundle.liked_at.indptr[row : row + 2])
    pairs = zip(bundle.liked_at.indices[own].tolist(), bundle.liked_at.data[own].tolist(), strict=True)
    return [(bundle.items.ids[item], time) for item, time in sorted(pairs, key=lambda pair: pair[1])]


def scores(shop: Recommender = SHOP, **asked: Any) -> np.ndarray:
    return shop.predict(asked.pop("user", None), ITEMS, **asked)


def in_seconds() -> Recommender:
    """The shop whose customers bought their products within seconds, so that no like is older than another."""
    bundle = train_timed()
    assert bundle.liked_at is not None
    return Recommender(replace(bundle, liked_at=with_times(bundle.liked, bundle.liked_at.data // DAY)), WordEncoder())


def test_the_last_like_counts_most() -> None:
    forward, backward = scores(likes=TEA), scores(likes=TEA[::-1])
    assert np.abs(forward - backward).max() > 0.1
    np.testing.assert_array_equal(scores(likes=[TEA[3], *TEA]), forward)  # its last place counts
    np.testing.assert_array_equal(scores(likes=[*TEA, TEA[3]]), forward)
    moved = scores(likes=[*TEA, TEA[0]])
    np.testing.assert_array_equal(moved, scores(likes=[*TEA[1:], TEA[0]]))
    assert np.abs(moved - forward).max() > 0.1


@pytest.mark.parametrize("user", ["c00", "c07"])
def test_a_known_user_is_as_somebody_with_the_same_likes(user: str) -> None:
    own = likes_of(SHOP.bundle, user)
    np.testing.assert_allclose(scores(sequence=own[::-1]), scores(user=user), rtol=1e-6)
    soon = in_seconds()
    np.testing.assert_allclose(scores(soon, likes=[item for item, _ in own]), scores(soon, user=user), rtol=1e-4)
    seen = SHOP.bundle.seen[[SHOP.bundle.users.row(user)]].indices
    as_given = SHOP.recommend(sequence=own, k=5, exclude=[ITEMS[row] for row in seen.tolist()])
    assert SHOP.recommend(user, k=5).ids == as_given.ids


def test_given_likes_follow_a_users_own_and_move_them() -> None:
    soon = in_seconds()
    own = [item for item, _ in likes_of(soon.bundle, "c00")]
    more = ["sku-29", own[0]]
    expected = scores(soon, likes=[*own[1:], *more])
    np.testing.assert_allclose(scores(soon, user="c00", likes=more), expected, rtol=1e-4)
    last = likes_of(SHOP.bundle, "c00")[-1][1]
    between = scores(user="c00", sequence=[("sku-29", last - DAY // 2)])
    np.testing.assert_allclose(
        between, scores(sequence=[("sku-29", last - DAY // 2), *likes_of(SHOP.bundle, "c00")]), rtol=1e-6
    )
    assert np.abs(between - scores(user="c00", likes=["sku-29"])).max() > 0.01


def rows_of(table: pa.Table, user: str) -> tuple[list[str], list[float], list[str]]:
    rows = [row for row in table.to_pylist() if row["user"] == user]
    return [row["item"] for row in rows], [row["score"] for row in rows], [row["reason"] for row in rows]


def test_many_users_are_answered_as_alone() -> None:
    users = [f"c{place:02}" for place in range(9)]
    known = SHOP.recommend_many(users, k=6, explain=True)
    in_table = pa.table(
        {"user": ["a", "b"] * 4, "item": [item for pair in zip(TEA, TEA[::-1], strict=True) for item in pair]}
    )
    given_ = SHOP.recommend_many(likes={"a": TEA, "b": TEA[::-1]}, k=6, explain=True)
    assert SHOP.recommend_many(likes=in_table, k=6, explain=True).equals(given_)
    for table, user, asked in [
        *((known, user, {"user": user}) for user in users),
        (given_, "a", {"likes": TEA}),
        (given_, "b", {"likes": TEA[::-1]}),
    ]:
        alone = SHOP.recommend(**asked, k=6, explain=True)  # type: ignore[arg-type]
        items, found, reasons = rows_of(table, user)
        assert items == list(alone.ids)
        np.testing.assert_allclose(found, [each.score for each in alone], rtol=1e-4)
        assert reasons == [each.reason for each in alone]


def test_a_table_with_times_is_in_their_order() -> None:
    times = {item: START + DAY * place for place, item in enumerate(TEA)}
    table = pa.table({"user": ["a"] * 4, "item": TEA[::-1], "bought_at": [times[item] for item in TEA[::-1]]})
    alone = SHOP.recommend(sequence=list(times.items()), k=6)
    found = SHOP.recommend_many(likes=table, k=6)
    np.testing.assert_allclose(found["score"].to_pylist(), [each.score for each in alone], rtol=1e-4)
    gaps = table.set_column(2, "bought_at", pa.array([None, times[TEA[2]], None, times[TEA[0]]], pa.int64()))
    alone = SHOP.recommend(
        sequence=[(TEA[3], None), (TEA[2], times[TEA[2]]), (TEA[1], None), (TEA[0], times[TEA[0]])], k=6
    )
    found = SHOP.recommend_many(likes=gaps, k=6)
    np.testing.assert_allclose(found["score"].to_pylist(), [each.score for each in alone], rtol=1e-4)
    future = table.set_column(2, "bought_at", pa.array([START, START, START, 4_000_000_000], pa.int64()))
    with pytest.raises(RequestError, match="in row 4 bought_at is in the future"):
        SHOP.recommend_many(likes=future)


@SETTINGS
@given(liked=ids, random=st.randoms())
def test_the_listing_of_a_sequence_says_nothing(liked: list[str], random: Any) -> None:
    sequence = [(item, START + DAY * place) for place, item in enumerate(liked)]
    shuffled = sequence.copy()
    random.shuffle(shuffled)
    np.testing.assert_array_equal(scores(sequence=sequence), scores(sequence=shuffled))


@SETTINGS
@given(liked=ids, item=st.sampled_from(ITEMS), user=st.sampled_from([None, "c00", "c05"]))
def test_shares_add_up(liked: list[str], item: str, user: str | None) -> None:
    for asked in ({"likes": liked}, {"sequence": [(one, START + DAY * len(one)) for one in liked]}):
        told = SHOP.explain(item, user=user, **asked)  # type: ignore[arg-type]
        expected = SHOP.predict(user, [item], **asked)[0]  # type: ignore[arg-type]
        assert sum(share.value for share in told.shares) == pytest.approx(expected, rel=1e-3, abs=2e-3)
        assert told.score == pytest.approx(expected, rel=1e-3, abs=2e-3)


def test_a_sentence_beside_likes_keeps_their_order() -> None:
    said = [scores(likes=likes, text="green tea") for likes in (TEA, TEA[::-1])]
    assert np.abs(said[0] - said[1]).max() > 0.1


def test_unknown_items_of_a_sequence_are_told() -> None:
    known = [("sku-02", START), ("sku-06", START + DAY)]
    answer = SHOP.recommend(sequence=[(UNKNOWN, START + 1), *known, (UNKNOWN, None)])
    assert answer.unknown == (UNKNOWN,)
    assert any(UNKNOWN in note for note in answer.notes)
    assert [each.score for each in answer] == [each.score for each in SHOP.recommend(sequence=known)]
    beside = scores(sequence=[known[0], (UNKNOWN, START + DAY), ("sku-06", None)])  # its time is known still
    np.testing.assert_array_equal(beside, scores(sequence=known))
    with pytest.raises(RequestError, match="none of the 1 ids given as sequence is an item"):
        SHOP.recommend(sequence=[(UNKNOWN, START)])
    with pytest.raises(RequestError, match="none of the 1 ids given as sequence is an item"):
        SHOP.recommend(sequence=[(UNKNOWN, None)])
    with pytest.raises(RequestError, match="none of the 1 ids given as like is an item"):
        SHOP.recommend(likes=[UNKNOWN])
    assert SHOP.explain("sku-04", sequence=[*known, (UNKNOWN, 5)]).unknown == (UNKNOWN,)


def test_an_empty_sequence_is_no_like_at_all() -> None:
    nothing = SHOP.recommend(sequence=[])
    assert nothing.ids == SHOP.recommend().ids
    assert nothing.notes == SHOP.recommend().notes
    one = SHOP.recommend(sequence=[("sku-02", None)])
    assert one.ids == SHOP.recommend(likes=["sku-02"]).ids


def test_a_long_sequence() -> None:
    long = [(ITEMS[place % 20], START + place) for place in range(10_000)]
    np.testing.assert_array_equal(scores(sequence=long), scores(sequence=long[-20:]))


def test_answers_to_other_orders_are_not_taken_from_the_cache() -> None:
    asked: list[dict[str, Any]] = [
        {"likes": TEA},
        {"likes": TEA[::-1]},
        {"sequence": [(item, START + place * 200 * DAY) for place, item in enumerate(TEA)]},
    ]
    first = [[each.score for each in SHOP.recommend(**each_)] for each_ in asked]
    assert first == [[each.score for each in SHOP.recommend(**each_)] for each_ in asked]
    assert first[0] != first[1] != first[2] != first[0]


def test_where_no_part_of_the_model_reads_the_order_none_is_made() -> None:
    bundle = train_timed()
    gate, place = bundle.model.gate, bundle.model.names.index("transitions")
    warm = gate.warm.copy()
    warm[:, place] = 0
    deaf = replace(bundle.model, gate=replace(gate, warm=warm, recency=np.ones_like(gate.recency)))
    for quiet in (replace(bundle, model=deaf), replace(bundle, liked_at=None)):
        state = State(quiet, SentenceEncoder(WordEncoder()))
        assert state.find_order(np.arange(3)) is None
        shop = Recommender(quiet, WordEncoder())
        np.testing.assert_array_equal(scores(shop, likes=TEA), scores(shop, likes=TEA[::-1]))
        assert shop.recommend_many(["c00"], k=3)["item"].to_pylist() == list(shop.recommend("c00", k=3).ids)
    for one in (replace(bundle.model, gate=replace(gate, warm=warm)), bundle.model):
        assert State(replace(bundle, model=one), SentenceEncoder(WordEncoder())).find_order(np.arange(3)) is not None


@pytest.mark.parametrize("tail", [0.6, -0.5])
def test_the_dial_compares_with_users_in_their_order(tail: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[csr_array, Order | None]] = []
    score = Model.score

    def note(model: Model, support: csr_array, *given_: Any) -> Any:
        seen.append((support, given_[2]))
        return score(model, support, *given_)

    shop = Recommender(train_timed(), WordEncoder())
    alone = shop.recommend("c03", k=8, tail=tail)
    monkeypatch.setattr(Model, "score", note)
    assert shop.recommend_many(["c03"], k=8, tail=tail)["item"].to_pylist() == list(alone.ids)
    few = shop.recommend(likes=TEA[:2], k=8, tail=tail)
    assert len(few) == 8
    assert len(seen) >= (2 if tail > 0 else 1)
    for support, order in seen:
        assert order is not None
        for user in range(support.shape[0]):
            own = slice(*support.indptr[user : user + 2])
            assert sorted(order.places.data[own].tolist()) == list(range(1, own.stop - own.start + 1))
            assert order.ages.data[own].min() == 1


def test_a_reason_says_what_people_went_on_to_like() -> None:
    reasons = {
        each.item: each.reason for each in SHOP.recommend(likes=["sku-02", "sku-14", "sku-06"], k=8, explain=True)
    }
    bundle = SHOP.bundle
    title = "people who liked {} went on to like this"
    told = [(item, like) for item, reason in reasons.items() for like in ("sku-02", "sku-14", "sku-06")
            if reason == title.format(bundle.names["product"][bundle.items.row(like) or 0])]  # fmt: skip
    assert told
    for item, like in told:
        both = [dict(likes_of(bundle, user)) for user in bundle.users.ids if user != NEWCOMER]
        assert sum(own[item] > own[like] for own in both if item in own and like in own) >= 2
    alone = replace(bundle, liked_at=with_times(bundle.liked, np.zeros(bundle.liked.nnz, np.int64)))
    for each in Recommender(alone, WordEncoder()).recommend(likes=["sku-02", "sku-14", "sku-06"], k=8, explain=True):
        assert "went on" not in (each.reason or "")  # nobody has liked anything after anything


def same_entries(bundle: Bundle) -> bool:
    at = bundle.liked_at
    return at is not None and all(
        np.array_equal(getattr(at, name), getattr(bundle.liked, name)) for name in ("indices", "indptr")
    )


def add(shop: Recommender, rows: Sequence[tuple[Any, ...]], *, timed: bool = True) -> None:
    names = ["user", "item", "stars", *(["bought_at"] if timed else [])]
    shop.add_interactions(pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)}))
    assert same_entries(shop.bundle)


def test_interactions_keep_their_times_and_the_latest_like_is_the_last(tmp_path: Any) -> None:
    shop = Recommender(train_timed(), WordEncoder())
    before = likes_of(shop.bundle, "c00")
    last = before[-1][1]
    add(shop, [("c00", "sku-29", 5, last + DAY), (NEWCOMER, "sku-01", 5, 0), ("c00", before[0][0], 5, last + 2 * DAY)])
    assert likes_of(shop.bundle, "c00") == [*before[1:], ("sku-29", last + DAY), (before[0][0], last + 2 * DAY)]
    assert likes_of(shop.bundle, NEWCOMER) == [("sku-01", 0)]
    add(shop, [("c00", "sku-29", 1, last + 3 * DAY), ("c00", before[0][0], 5, 7)])  # withdrawn; known to be later
    assert likes_of(shop.bundle, "c00") == [*before[1:], (before[0][0], last + 2 * DAY)]
    for user in ("c01", "c49"):
        assert likes_of(shop.bundle, user) == likes_of(train_timed(), user)
    np.testing.assert_array_equal(scores(shop, user="c00"), scores(shop, sequence=likes_of(shop.bundle, "c00")))
    shop.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle", encoder=WordEncoder())
    assert likes_of(again.bundle, "c00") == likes_of(shop.bundle, "c00")
    with pytest.raises(RequestError, match="bought_at is out of range"):
        add(shop, [("c00", "sku-29", 5, 10**15)])


def test_interactions_without_times_are_the_latest_in_the_order_of_their_rows() -> None:
    shop = Recommender(train_timed(), WordEncoder())
    before = likes_of(shop.bundle, "c02")
    add(shop, [("c02", "sku-29", 5), ("ann", "sku-07", 5), ("c02", before[1][0], 5), ("ann", "sku-01", 5),
               ("c02", "sku-29", 4)], timed=False)  # fmt: skip
    now = likes_of(shop.bundle, "c02")
    assert [item for item, _ in now] == [item for item, _ in [before[0], *before[2:]]] + [before[1][0], "sku-29"]
    assert [item for item, _ in likes_of(shop.bundle, "ann")] == ["sku-07", "sku-01"]
    ahead = int(time.time()) + 14 * 3600  # a clock that is ahead
    add(shop, [("ann", "sku-03", 5, ahead)])
    add(shop, [("ann", "sku-05", 5)], timed=False)
    assert likes_of(shop.bundle, "ann")[-2:] == [("sku-03", ahead), ("sku-05", ahead + 1)]
    shop.add_user("bob", likes=["sku-09", "sku-01", "sku-09", UNKNOWN])
    assert [item for item, _ in likes_of(shop.bundle, "bob")] == ["sku-01", "sku-09"]
    assert same_entries(shop.bundle)
    np.testing.assert_allclose(scores(shop, user="bob"), scores(shop, likes=["sku-01", "sku-09"]), rtol=1e-4)


def test_times_stay_with_their_likes_when_users_go_and_items_come() -> None:
    shop = Recommender(train_timed(), WordEncoder())
    kept = {user: likes_of(shop.bundle, user) for user in ("c01", "c03", "c49")}
    shop.add_item("sku-99", text="tea", links=[("made_by", "m-tea-0")])
    assert same_entries(shop.bundle)
    add(shop, [("c01", "sku-99", 5, 0)])  # a time of 0 is a time
    shop.forget(["c00", "c02"])
    assert same_entries(shop.bundle)
    assert likes_of(shop.bundle, "c01") == [("sku-99", 0), *kept["c01"]]
    assert {user: likes_of(shop.bundle, user) for user in ("c03", "c49")} == {
        user: kept[user] for user in ("c03", "c49")
    }
    table = shop.recommend_many(["c01", "c49"], k=5)
    assert json.loads(table.schema.metadata[b"unknown_users"]) == []
    assert rows_of(table.append_column("reason", pa.nulls(len(table), pa.string())), "c01")[0] == list(
        shop.recommend("c01", k=5).ids
    )
