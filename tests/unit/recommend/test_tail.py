"""The tail dial: what it does to scores and lists, by hand and by its properties, and in every kind of request."""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import assert_same_but_for_rounding
from scipy.sparse import csr_array
from shop import CONFIG, SCHEMA, WordEncoder, kind_of

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.metrics import top_k
from kgrec.recommend import Recommender
from kgrec.recommend.tail import TailDial, Usual, blend, correct_scores, draw_reference, lift_tail, measure_usual
from kgrec.training.train_bundle import train_bundle

N_ITEMS, N_USERS = 60, 80
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
POPULAR = (-1.0, -0.5)
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ITEMS = [f"sku-{place:02}" for place in range(N_ITEMS)]
USERS = [f"c{place:02}" for place in range(N_USERS)]


@cache
def train_bestsellers() -> Bundle:
    """Two kinds of customers, as in the shop, but some products of each kind are bought by nearly all of them."""
    rng = np.random.default_rng(8)
    chance = 1 / (1 + np.arange(N_ITEMS) // 2)  # of sku-00 and sku-01 highest
    bought = [(user, ITEMS[0], 1.0) for user in USERS[:1]]
    for place, user in enumerate(USERS):
        own = np.arange(place % 2, N_ITEMS, 2)
        drawn = rng.choice(own, 9, replace=False, p=chance[own] / chance[own].sum())
        bought += [(user, ITEMS[item], 5.0) for item in drawn]

    def to_table(schema: pa.Schema, *columns: object) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    nodes, edges = SCHEMA.nodes, SCHEMA.edges
    makers = [f"m-{place}" for place in range(6)]
    tables = GraphTables(
        SCHEMA,
        {
            "product": to_table(nodes["product"].arrow_schema, ITEMS, [f"{kind_of(item)} {item}" for item in ITEMS]),
            "maker": to_table(nodes["maker"].arrow_schema, makers, makers),
            "customer": to_table(nodes["customer"].arrow_schema, USERS),
        },
        {
            "made_by": to_table(edges["made_by"].arrow_schema, ITEMS, [makers[p % 6] for p in range(N_ITEMS)]),
            "spare_part_of": to_table(edges["spare_part_of"].arrow_schema, [], []),
            "bought": to_table(edges["bought"].arrow_schema, *zip(*bought, strict=True)),
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(tables, CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)


@pytest.fixture
def store() -> Recommender:
    return Recommender(train_bestsellers(), WordEncoder())


def popularity_of(items: tuple[str, ...]) -> float:
    bundle = train_bestsellers()
    return float(np.mean(bundle.model.n_likes.numpy()[bundle.items.rows(items)]))


def store_dial(store: Recommender) -> TailDial:
    return TailDial(store.bundle.model, store.bundle.liked)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_what_is_usual_by_hand() -> None:
    """Standardised, both users' scores are +-1; the first two items part them, the others do not."""
    usual = measure_usual([np.array([[5, 1, 5, 1]], np.float32), np.array([[10, 30, 30, 10]], np.float32)], 4)
    np.testing.assert_allclose(usual.mean, [0, 0, 1, -1], atol=1e-6)
    # the deviations are 1, 1, 0, 0, their median .5; to each a twentieth of it is added
    np.testing.assert_allclose(usual.gain, np.array([0.525 / 1.025] * 2 + [21.0] * 2), rtol=1e-6)


def test_corrected_scores_by_hand() -> None:
    """The mean is 3 and the deviation the root of 5."""
    usual = Usual(np.array([0, 0, 0.5, 1.5], np.float32), np.array([1, 1, 2, 0.5], np.float32))
    scores = np.array([[0, 2, 4, 6]], np.float32)
    root = 5**0.5
    full = [0, 2, 3 + 2 * (1 - 0.5 * root), 3 + 0.5 * (3 - 1.5 * root)]
    np.testing.assert_allclose(correct_scores(scores, usual)[0], full, rtol=1e-6)
    np.testing.assert_allclose(
        blend(scores, np.array([full], np.float32), 0.25)[0], 0.75 * scores[0] + 0.25 * np.array(full)
    )


def test_users_who_score_all_items_alike_are_no_numbers_astray() -> None:
    flat = np.full((3, 4), 7, np.float32)
    np.testing.assert_array_equal(correct_scores(flat, measure_usual([flat], flat.shape[1])), flat)
    np.testing.assert_array_equal(measure_usual([], 4).gain, np.ones(4))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, [0, 1, 2, 7, 3, 4]),
        (0.2, [0, 1, 2, 7, 3, 4]),  # the first five need one, and have it
        (0.34, [0, 1, 7, 2, 3, 8]),  # three places need one, six need two
        (0.5, [0, 7, 1, 8, 2, 9]),
        (1.0, [7, 8, 9, 0, 1, 2]),  # there are three and no more
    ],
)
def test_lifted_lists_by_hand(share: float, expected: list[int]) -> None:
    tail = np.arange(10) >= 7
    best, best_tail = np.array([[0, 1, 2, 7, 3, 4]]), np.array([[7, 8, 9, -1, -1, -1]])
    assert lift_tail(best, best_tail, tail, np.array([share]))[0].tolist() == expected


def test_a_users_share_of_tail_items_by_hand() -> None:
    """Each user counts as if five more likes had everybody's share."""
    bundle = train_bestsellers()
    dial = TailDial(bundle.model, bundle.liked)
    everybody = dial.tail[bundle.liked.indices].mean()
    in_tail, in_head = np.flatnonzero(dial.tail), np.flatnonzero(~dial.tail)
    assert len(in_head) == 12
    support = csr_array(
        (np.ones(5), [in_tail[0], in_tail[1], in_tail[2], in_head[0], in_head[1]], [0, 4, 5, 5]), shape=(3, N_ITEMS)
    )
    expected = [(3 + 5 * everybody) / 9, 5 * everybody / 6, everybody]
    np.testing.assert_allclose(dial.own_shares(support), expected)


@pytest.mark.parametrize(("n_users", "stride"), [(0, 1), (1, 1), (511, 1), (512, 2), (1023, 2), (1024, 4)])
def test_reference_users_are_every_second_or_fourth_user_with_likes(n_users: int, stride: int) -> None:
    liked = np.eye(7, dtype=np.float32)[np.arange(n_users) % 7]
    liked[::3] = 0
    found = liked[draw_reference(csr_array(liked))]
    expected = liked[::stride]
    np.testing.assert_array_equal(found, expected[expected.any(axis=1)])


# -- properties --------------------------------------------------------------------------------------------------------


def lift_slowly(scores: NDArray[np.float32], tail: NDArray[np.bool_], share: float, k: int) -> list[int]:
    left = [item for item in np.lexsort((np.arange(len(scores)), -scores)).tolist() if scores[item] > -np.inf]
    found: list[int] = []
    while left and len(found) < k:
        n_due = np.floor(share * (len(found) + 1) + 1e-9)
        due = [item for item in left if tail[item]] if tail[found].sum() < n_due else []
        found.append((due or left)[0])
        left.remove(found[-1])
    return found + [-1] * (k - len(found))


@SETTINGS
@given(
    scores=st.lists(
        st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0, 3.0, 4.5]), min_size=9, max_size=9), min_size=1, max_size=4
    ),
    in_tail=st.lists(st.booleans(), min_size=9, max_size=9),
    share=st.floats(0, 1),
    k=st.integers(1, 9),
)
def test_lifting_is_taking_what_is_due_first(
    scores: list[list[float]], in_tail: list[bool], share: float, k: int
) -> None:
    values, tail = np.array(scores, np.float32), np.array(in_tail)
    shares = np.linspace(share, 0, len(values))
    best, best_tail = top_k(values, k), top_k(np.where(tail, values, np.float32(-np.inf)), k)
    found = lift_tail(best, best_tail, tail, shares)
    assert found.tolist() == [lift_slowly(*each, k) for each in zip(values, [tail] * len(values), shares, strict=True)]


@SETTINGS
@given(
    user=st.none() | st.sampled_from(USERS),
    likes=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    text=st.none() | st.sampled_from(["tea", "bike sku-07"]),
    candidates=st.none() | st.lists(st.sampled_from(ITEMS), min_size=1),
    exclude=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    k=st.integers(1, N_ITEMS),
    tail=st.floats(-1, 1),
)
def test_an_answer_holds_exactly_what_it_may_at_every_dial(
    store: Recommender,
    user: str | None,
    likes: list[str],
    text: str | None,
    candidates: list[str] | None,
    exclude: list[str],
    k: int,
    tail: float,
) -> None:
    asked = {"k": k, "candidates": candidates, "exclude": exclude, "tail": tail}
    found = store.recommend(user, likes, text, **asked)  # type: ignore[arg-type]
    seen = set() if user is None else {ITEMS[row] for row in train_bestsellers().seen[[USERS.index(user)]].indices}
    may = set(ITEMS if candidates is None else candidates) - set(exclude) - set(likes) - seen
    assert len(found) == min(k, len(may))
    assert len(set(found.ids)) == len(found)
    assert set(found.ids) <= may
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()
    longer = store.recommend(user, likes, text, **{**asked, "k": N_ITEMS})  # type: ignore[arg-type]
    assert longer.ids[: len(found)] == found.ids  # a shorter answer is the beginning of a longer one


def test_at_0_the_answer_is_the_models(store: Recommender) -> None:
    for asked in ({"user": USERS[0]}, {"likes": ITEMS[:3]}, {"text": "tea"}, {}, {"user": USERS[1], "text": "bike"}):
        turned = store.recommend(**asked, k=20, tail=0.0, explain=True)
        assert len(turned) == 20
        assert_same_but_for_rounding(turned, store.recommend(**asked, k=20, explain=True))
    many = store.recommend_many(USERS, k=20, tail=0)
    assert many.num_rows == 20 * N_USERS
    assert_same_but_for_rounding(many, store.recommend_many(USERS, k=20))
    corrected = [each.score for each in store.recommend(USERS[0], k=20, tail=1e-6)]
    np.testing.assert_allclose(corrected, [each.score for each in store.recommend(USERS[0], k=20)], atol=1e-3)


@pytest.mark.parametrize("tail", (*POPULAR, *DIALS))
def test_every_user_in_a_batch_is_answered_as_alone_at_every_dial(store: Recommender, tail: float) -> None:
    rows = store.recommend_many(USERS, k=8, tail=tail).to_pylist()
    for user in USERS[::7]:
        alone, own = store.recommend(user, k=8, tail=tail), [row for row in rows if row["user"] == user]
        assert len(alone) == 8
        assert [row["item"] for row in own] == list(alone.ids)
        np.testing.assert_allclose([row["score"] for row in own], [each.score for each in alone], atol=1e-4)
    likes = {"a": ITEMS[:1], "b": ITEMS[3:9], "c": [], "d": ITEMS[10:50]}
    table = store.recommend_many(likes=likes, k=8, tail=tail, exclude=ITEMS[50:])
    for key, items in likes.items():
        alone = store.recommend(likes=items, k=8, tail=tail, exclude=ITEMS[50:])
        assert len(alone) == 8
        assert [row["item"] for row in table.to_pylist() if row["user"] == key] == list(alone.ids)
    assert json.loads(table.schema.metadata[b"without_likes"]) == ["c"]


# -- what it is for ----------------------------------------------------------------------------------------------------


def test_the_farther_the_less_known_and_still_ones_own(store: Recommender) -> None:
    found = [store.recommend_many(USERS, k=5, tail=tail).to_pylist() for tail in DIALS]
    means = [popularity_of(tuple(row["item"] for row in rows)) for rows in found]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.75 * means[0]
    covered = [len({row["item"] for row in rows}) for rows in found]
    assert covered[-1] >= covered[0]
    for rows in found:
        own = [kind_of(row["item"]) == kind_of(ITEMS[USERS.index(row["user"]) % 2]) for row in rows]
        assert np.mean(own) > 0.9


def test_below_0_what_is_popular_among_people_like_this(store: Recommender) -> None:
    found = [store.recommend_many(USERS, k=5, tail=tail).to_pylist() for tail in (0.0, *reversed(POPULAR))]
    means = [popularity_of(tuple(row["item"] for row in rows)) for rows in found]
    assert means == sorted(means)
    assert means[-1] > 1.1 * means[0]
    for rows in found:
        own = [kind_of(row["item"]) == kind_of(ITEMS[USERS.index(row["user"]) % 2]) for row in rows]
        assert np.mean(own) > 0.75  # it stays personal: the other half of the shop is as popular


def test_each_beginning_has_the_users_share_of_tail_items(store: Recommender) -> None:
    bundle, dial = store.bundle, store_dial(store)
    for tail in DIALS[1:]:
        items = store.recommend_many(USERS, k=10, tail=tail)["item"].to_pylist()
        n_tail = np.cumsum(dial.tail[bundle.items.rows(items)].reshape(N_USERS, 10), axis=1)
        due = tail * dial.own_shares(bundle.liked)[:, None] * np.arange(1, 11)
        assert (n_tail >= np.floor(due + 1e-9)).all()


def test_without_likes_what_is_liked_most_makes_room_for_tail_items(store: Recommender) -> None:
    bundle, dial = store.bundle, store_dial(store)
    plain, turned = (store.recommend(k=20, tail=tail).ids for tail in (0.0, 1.0))
    everybody = dial.tail[bundle.liked.indices].mean()
    assert dial.tail[bundle.items.rows(turned)].sum() == max(
        np.floor(20 * everybody), dial.tail[bundle.items.rows(plain)].sum()
    )
    heads = [item for item in turned if not dial.tail[bundle.items.row(item)]]
    assert heads == [item for item in plain if item in heads]  # as the model ranks them


def test_sentences_and_new_items_have_the_dial_too(store: Recommender) -> None:
    for tail in DIALS:
        said = store.recommend(text="tea", k=8, tail=tail)
        assert np.mean([kind_of(item) == "tea" for item in said.ids]) > 0.8
    store.add_item("new", text="tea sku-08", links=[("made_by", "m-0")])
    bestsellers = [item for item, in_tail in zip(ITEMS, store_dial(store).tail[:-1], strict=True) if not in_tail]
    plain, turned = (
        store.recommend(likes=ITEMS[20:30:2], k=len(bestsellers) + 1, tail=tail, candidates=[*bestsellers, "new"]).ids
        for tail in (0.0, 1.0)
    )
    assert len(plain) == len(turned) == len(bestsellers) + 1
    assert turned.index("new") <= plain.index("new")
    assert turned.index("new") < 4  # all of these likes are tail items: half of what is shown should be


def test_what_is_usual_follows_what_is_known(store: Recommender) -> None:
    store.recommend(USERS[5], tail=0.5)  # so that there is a dial to outdate
    store.add_interactions(pa.table({"user": ["n"] * 3, "item": ITEMS[20:23], "stars": [5.0] * 3}))
    store.forget(USERS[0])
    fresh = Recommender(store.bundle, WordEncoder())
    for user in (USERS[5], "n"):
        found = store.recommend(user, k=20, tail=0.5)
        assert len(found) == 20
        assert_same_but_for_rounding(found, fresh.recommend(user, k=20, tail=0.5))


def test_explanations_take_the_models_score_apart(store: Recommender) -> None:
    plain = {each.item: each.reason for each in store.recommend(USERS[2], k=N_ITEMS - 9, explain=True)}
    farther = store.recommend(USERS[2], k=10, tail=0.6, explain=True)
    assert len(farther) == 10
    for each in farther:
        assert each.reason == plain[each.item]


@pytest.mark.parametrize("tail", [-1.01, 1.01, float("nan"), float("inf"), -float("inf"), "far", None])
def test_a_dial_that_cannot_be(store: Recommender, tail: object) -> None:
    with pytest.raises(RequestError, match=r"expected a tail dial from -1 .* to 1 .*, got"):
        store.recommend(USERS[0], tail=tail)
    with pytest.raises(RequestError, match=r"expected a tail dial"):
        store.recommend_many(USERS, tail=tail)
