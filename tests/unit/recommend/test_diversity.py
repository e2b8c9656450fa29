"""The diversity dial: what it picks, by hand and against a search of all, and in every kind of request."""

import tempfile
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shop import CONFIG, SCHEMA, WordEncoder

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.metrics import top_k
from kgrec.recommend import Recommender
from kgrec.recommend.diversity import Ranked, diversify, pick, rank_varied
from kgrec.training.train_bundle import train_bundle

N_SERIES, N_PARTS, N_USERS = 12, 6, 60
ITEMS = [f"sku-{place:02}" for place in range(N_SERIES * N_PARTS)]
USERS = [f"c{place:02}" for place in range(N_USERS)]
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def to_unit(rows: object) -> NDArray[np.float32]:
    vectors = np.asarray(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@cache
def train_series() -> Bundle:
    """Products in series: those of a series have one maker and one word; a customer buys from three series."""
    rng = np.random.default_rng(3)
    bought = []
    for user in USERS:
        for series in rng.choice(N_SERIES, 3, replace=False).tolist():
            parts = rng.choice(N_PARTS, 3, replace=False) + series * N_PARTS
            bought += [(user, ITEMS[item], 5.0) for item in parts.tolist()]
    makers = [f"m-{series}" for series in range(N_SERIES)]

    def to_table(schema: pa.Schema, *columns: object) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    nodes, edges = SCHEMA.nodes, SCHEMA.edges
    tables = GraphTables(
        SCHEMA,
        {
            "product": to_table(nodes["product"].arrow_schema, ITEMS, [f"word{series_of(item)}" for item in ITEMS]),
            "maker": to_table(nodes["maker"].arrow_schema, makers, makers),
            "customer": to_table(nodes["customer"].arrow_schema, USERS),
        },
        {
            "made_by": to_table(edges["made_by"].arrow_schema, ITEMS, [makers[series_of(item)] for item in ITEMS]),
            "spare_part_of": to_table(edges["spare_part_of"].arrow_schema, [], []),
            "bought": to_table(edges["bought"].arrow_schema, *zip(*bought, strict=True)),
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(tables, CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)


def series_of(item: str) -> int:
    return int(item[-2:]) // N_PARTS


@pytest.fixture
def store() -> Recommender:
    return Recommender(train_series(), WordEncoder())


def distance_within(items: tuple[str, ...]) -> float:
    bundle = train_series()
    vectors = bundle.model.likeness_vectors()[bundle.items.rows(items)]
    return float(1 - (vectors @ vectors.T)[np.triu_indices(len(items), 1)].mean())


# -- by hand -----------------------------------------------------------------------------------------------------------


def pick_from(scores: object, vectors: NDArray[np.float32], k: int, weight: float) -> list[int]:
    return pick(np.asarray(scores, np.float32), lambda place: vectors @ vectors[place], k, weight)


def test_picks_by_hand() -> None:
    """Of two near twins, with a cosine of .96, the second waits where that costs more than the third is behind it."""
    vectors = to_unit([[1, 0, 0], [0.96, 0.28, 0], [0, 0, 1], [0, 1, 0]])
    scores = [2.0, 1.8, 1.0, 0.0]
    assert pick_from(scores, vectors, 4, 0.0) == [0, 1, 2, 3]
    assert pick_from(scores, vectors, 4, 0.8) == [0, 1, 2, 3]  # 1.8 - .8 * .96 > 1
    assert pick_from(scores, vectors, 4, 0.9) == [0, 2, 1, 3]  # 1.8 - .9 * .96 < 1
    assert pick_from(scores, vectors, 4, 2.0) == [0, 2, 3, 1]  # 1.8 - 2 * .96 < 0
    assert pick_from(scores, vectors, 2, 2.0) == [0, 2]


def test_items_that_differ_by_more_than_a_right_angle_gain_nothing() -> None:
    assert pick_from([3.0, 2.0, 1.9], to_unit([[1, 0], [0, 1], [-1, 0.1]]), 3, 100.0) == [0, 1, 2]


@pytest.mark.parametrize("spread", [0.0, 1e-8])
def test_scores_that_tie_leave_the_choice_to_the_distance(spread: float) -> None:
    vectors = to_unit([[1, 0], [1, 0.1], [0, 1]])
    tied = (0.1 - spread * np.arange(3)).astype(np.float32)
    assert diversify(tied, vectors, 3, 1.0, np.arange(3)) == [0, 2, 1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.0, 0.5, 2.0, 20.0]))
@settings(max_examples=50, deadline=None)
def test_each_pick_is_the_best_of_all_that_are_left(seed: int, k: int, weight: float) -> None:
    """Against the definition: of all lists, a greedy one has the largest gains, the first pick's counting first."""
    rng = np.random.default_rng(seed)
    vectors, scores = to_unit(rng.normal(size=(6, 3))), np.sort(rng.normal(size=6))[::-1]

    def gains(order: tuple[int, ...]) -> list[float]:
        nearest = [max([0.0, *(float(vectors[at] @ vectors[one]) for one in order[:n])]) for n, at in enumerate(order)]
        return [float(scores[at]) - weight * near for at, near in zip(order, nearest, strict=True)]

    picked = pick_from(scores, vectors, k, weight)
    assert len(set(picked)) == k
    best = max(permutations(range(6), k), key=lambda order: [round(gain, 5) for gain in gains(order)])
    np.testing.assert_allclose(gains(tuple(picked)), gains(best), atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_the_dial_is_a_share_of_the_way_to_the_farthest_list(seed: int, diversity: float) -> None:
    """Items in clusters of clones, where a small weight changes all, and in none, where it takes a large one."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(to_unit(rng.normal(size=(20, 30))), 5, axis=0)
    vectors = to_unit(centres + rng.choice([0.0, 0.02, 0.2]) * rng.normal(size=centres.shape))
    scores = np.sort(rng.normal(size=100))[::-1].astype(np.float32)

    def distance(dial: float) -> float:
        listed = vectors[diversify(scores, vectors, 10, dial, np.arange(100))]
        return float(1 - (listed @ listed.T)[np.triu_indices(10, 1)].mean())

    start, end = distance(0), distance(1)
    assert end >= start - 1e-5
    step = (distance(diversity) - start) / max(end - start, 1e-9)
    assert end - start < 0.02 or abs(step - diversity) < 0.4  # at most half of the largest exchange


# -- properties --------------------------------------------------------------------------------------------------------


def make_ranker(scores: NDArray[np.float32], asked: list[int]) -> object:
    def rank(n: int) -> Ranked:
        asked.append(n)
        rows = top_k(scores, n)
        return rows, np.take_along_axis(scores, np.maximum(rows, 0), axis=1)

    return rank


def test_at_0_nothing_is_computed() -> None:
    asked: list[int] = []

    def no_vectors() -> NDArray[np.float32]:
        raise AssertionError

    scores = np.array([[3.0, 1.0, 2.0]], np.float32)
    rows, kept = rank_varied(make_ranker(scores, asked), 2, 3, 0.0, no_vectors, None)  # type: ignore[arg-type]
    assert (rows.tolist(), kept.tolist(), asked) == ([[0, 2]], [[3.0, 2.0]], [2])


@pytest.mark.parametrize(("k", "pool"), [(1, 200), (20, 200), (50, 500), (200, 1100), (5000, 5900)])
def test_the_pool_is_bounded(k: int, pool: int) -> None:
    asked: list[int] = []
    scores = -np.arange(6000, dtype=np.float32)[None, :]
    vectors = np.ones((6000, 1), np.float32)
    if k < 1000:
        rank_varied(make_ranker(scores, asked), k, 6000, 0.5, lambda: vectors, None)  # type: ignore[arg-type]
        assert asked == [pool]
    rank_varied(make_ranker(scores, few := []), min(k, 7), 8, 0.5, lambda: vectors, None)  # type: ignore[arg-type]
    assert few == [8]


@SETTINGS
@given(
    user=st.none() | st.sampled_from(USERS),
    likes=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    text=st.none() | st.sampled_from(["word1", "word2 sku-07"]),
    candidates=st.none() | st.lists(st.sampled_from(ITEMS), min_size=1),
    exclude=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    k=st.integers(1, 20),
    diversity=st.floats(0, 1),
    tail=st.sampled_from([0.0, 0.5]),
)
def test_an_answer_holds_exactly_what_it_may_at_every_dial(
    store: Recommender,
    user: str | None,
    likes: list[str],
    text: str | None,
    candidates: list[str] | None,
    exclude: list[str],
    k: int,
    diversity: float,
    tail: float,
) -> None:
    asked = {"candidates": candidates, "exclude": exclude, "tail": tail}
    found = store.recommend(user, likes, text, k=k, diversity=diversity, **asked)  # type: ignore[arg-type]
    plain = store.recommend(user, likes, text, k=len(ITEMS), **asked)  # type: ignore[arg-type]
    assert len(found) == min(k, len(plain))
    assert len(set(found.ids)) == len(found)
    assert [each.rank for each in found] == list(range(1, len(found) + 1))
    scores = {each.item: each.score for each in plain}  # what may be listed, with the scores of the plain answer
    np.testing.assert_allclose([each.score for each in found], [scores[item] for item in found.ids], atol=1e-5)
    assert found.ids[:1] == plain.ids[:1]
    longer = store.recommend(user, likes, text, k=20, diversity=diversity, **asked)  # type: ignore[arg-type]
    assert longer.ids[: len(found)] == found.ids  # up to 20, a shorter answer is the beginning of a longer one


def test_at_0_the_answer_is_the_models_bit_by_bit(store: Recommender) -> None:
    for asked in ({"user": USERS[0]}, {"likes": ITEMS[:3]}, {"text": "word2"}, {}, {"user": USERS[1], "tail": 0.5}):
        assert store.recommend(**asked, k=20, diversity=0) == store.recommend(**asked, k=20)  # type: ignore[arg-type]
    assert store.recommend_many(USERS, k=20, diversity=0).equals(store.recommend_many(USERS, k=20))


@pytest.mark.parametrize("diversity", DIALS[1:])
def test_every_user_in_a_batch_is_answered_as_alone(store: Recommender, diversity: float) -> None:
    rows = store.recommend_many(USERS, k=8, diversity=diversity).to_pylist()
    for user in USERS[::7]:
        alone, own = store.recommend(user, k=8, diversity=diversity), [row for row in rows if row["user"] == user]
        assert [row["item"] for row in own] == list(alone.ids)
        np.testing.assert_allclose([row["score"] for row in own], [each.score for each in alone], atol=1e-4)


# -- what it is for ----------------------------------------------------------------------------------------------------


def test_the_farther_the_more_different_and_still_ones_own(store: Recommender) -> None:
    found = [store.recommend_many(USERS, k=8, diversity=diversity).to_pylist() for diversity in DIALS]
    lists = [[tuple(row["item"] for row in rows if row["user"] == user) for user in USERS] for rows in found]
    distances = [float(np.mean([distance_within(items) for items in each])) for each in lists]
    assert distances == sorted(distances)
    assert distances[-1] > distances[0] + 0.1
    half = (distances[2] - distances[0]) / (distances[-1] - distances[0])
    assert 0.35 < half < 0.65  # the dial is about even
    n_series = [float(np.mean([len({series_of(item) for item in items}) for items in each])) for each in lists]
    assert n_series[-1] > n_series[0] + 1


def test_reasons_and_shares_stay(store: Recommender) -> None:
    plain = {each.item: each.reason for each in store.recommend(USERS[2], k=len(ITEMS), explain=True)}
    varied = store.recommend(USERS[2], k=10, diversity=0.7, explain=True)
    assert len(varied) == 10
    assert [each.reason for each in varied] == [plain[item] for item in varied.ids]


def test_answers_are_cached_by_what_was_asked(store: Recommender) -> None:
    asked = {"user": USERS[3], "k": 10}
    lists = [store.recommend(**asked, diversity=diversity).ids for diversity in (0.0, 1.0, 0.0, 1.0)]  # type: ignore[arg-type]
    assert lists[0] == lists[2] != lists[1] == lists[3]


@pytest.mark.parametrize("diversity", [-0.01, 1.01, float("nan"), float("inf"), "much", None, True])
def test_a_diversity_that_cannot_be(store: Recommender, diversity: object) -> None:
    with pytest.raises(RequestError, match=r"expected diversity from 0 .* to 1 .*, got"):
        store.recommend(USERS[0], diversity=diversity)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"expected diversity"):
        store.recommend_many(USERS, diversity=diversity)  # type: ignore[arg-type]
