"""Limits on linked nodes: no list breaks one, and a list is short only where no full one can be had."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from graph_deletions import delete_nodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linked_shop import train_linked
from numpy.typing import NDArray
from scipy.sparse import csr_array
from shop import SCHEMA, WordEncoder, make_tables, train_shop

from kgrec.errors import RequestError
from kgrec.metrics import top_k
from kgrec.recommend import Recommendations, Recommender
from kgrec.recommend.diversity import Ranked, rank_varied
from kgrec.recommend.limits import Limits, find_fullest, read_at_most
from kgrec.store import open_store

ITEMS, USERS = train_shop().items.ids, train_shop().users.ids
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def maker_of(item: str) -> int:
    return int(item[-2:]) % 6  # as the shop links them


def count_makers(items: tuple[str, ...] | list[str]) -> int:
    """The most items of one maker."""
    return int(np.bincount([maker_of(item) for item in items], minlength=1).max())


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


# -- lists from any scores and any links -------------------------------------------------------------------------------


def list_items(
    scores: NDArray[np.float32], links: NDArray[np.bool_], most: NDArray[np.int64], k: int, diversity: float
) -> list[list[int]]:
    def rank(n: int) -> Ranked:
        rows = top_k(scores, n)
        return rows, np.take_along_axis(scores, np.maximum(rows, 0), axis=1)

    limits = Limits(csr_array(links.astype(np.float32)), most)
    vectors = np.random.default_rng(0).normal(size=(len(links), 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows, found = rank_varied(rank, k, len(links), diversity, lambda: vectors, limits)
    lists = [[row for row in of_one if row >= 0] for of_one in rows.tolist()]
    for own, of_one, kept in zip(lists, scores, found, strict=True):
        assert of_one[own].tolist() == kept[: len(own)].tolist()
    return lists


def keeps(items: tuple[int, ...] | list[int], links: NDArray[np.bool_], most: NDArray[np.int64]) -> bool:
    return bool((links[list(items)].sum(axis=0) <= most).all())


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.05, 0.2, 0.5]),
    k=st.integers(1, 6),
    diversity=st.sampled_from([0.0, 0.6]),
)
def test_lists_are_as_full_as_any_list_that_keeps_the_limits(
    seed: int, density: float, k: int, diversity: float
) -> None:
    rng = np.random.default_rng(seed)
    links, most = rng.random((9, 4)) < density, rng.integers(1, 3, 4)
    scores = rng.normal(size=(2, 9)).astype(np.float32)
    scores[0, rng.random(9) < 0.3] = -np.inf
    for own, of_one in zip(list_items(scores, links, most, k, diversity), scores, strict=True):
        allowed = np.flatnonzero(of_one > -np.inf).tolist()
        assert len(set(own)) == len(own)
        assert set(own) <= set(allowed)
        assert keeps(own, links, most)
        more = combinations(allowed, min(len(own) + 1, k))
        assert len(own) == k or not any(len(one) > len(own) and keeps(one, links, most) for one in more)


def test_a_list_takes_the_best_that_keep_the_limits_by_hand() -> None:
    links = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0, 0], [0, 1]], bool)
    scores = -np.arange(6, dtype=np.float32)[None, :]
    assert list_items(scores, links, np.array([1, 1]), 3, 0) == [[0, 2, 4]]
    assert list_items(scores, links, np.array([2, 1]), 6, 0) == [[0, 1, 2, 4]]  # no more can be had
    assert list_items(scores, links, np.array([3, 2]), 6, 0) == [[0, 1, 2, 3, 4, 5]]


def test_an_item_with_two_authors_makes_room_for_two_items_with_one() -> None:
    links = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]], bool)
    scores = -np.arange(5, dtype=np.float32)[None, :]
    most = np.ones(3, np.int64)
    assert list_items(scores, links, most, 2, 0) == [[0, 4]]
    assert list_items(scores, links, most, 3, 0) == [[1, 2, 4]]  # with the first, only two can be had
    limits = Limits(csr_array(links.astype(np.float32)), most)
    assert find_fullest([3, 2, 1, 0, 4], limits, 3) == [0, 2, 4]  # places: items 3, 1, 4, better ranked than 2, 1, 4


def test_limits_go_down_the_whole_ranking_and_not_only_the_pool() -> None:
    """The first 900 of 1,000 items have one node; the first list of the ranking has no others."""
    links = (np.arange(1000) < 900)[:, None]
    scores = -np.arange(1000, dtype=np.float32)[None, :]
    for diversity in (0.0, 0.5):
        (found,) = list_items(scores, links, np.array([2]), 10, diversity)
        assert found[0] == 0
        assert sorted(found)[2:] == list(range(900, 908))


# -- requests ----------------------------------------------------------------------------------------------------------


@SETTINGS
@given(
    likes=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    candidates=st.none() | st.lists(st.sampled_from(ITEMS), min_size=1, unique=True),
    exclude=st.lists(st.sampled_from(ITEMS), unique=True, max_size=8),
    k=st.integers(1, 30),
    n_items=st.integers(1, 6),
    diversity=st.sampled_from([0.0, 0.4, 1.0]),
    tail=st.sampled_from([-0.5, 0.0, 0.8]),
    kind=st.sampled_from(["maker", "made_by"]),
    filter_seen=st.booleans(),
)
def test_a_limit_combines_with_everything(
    shop: Recommender,
    likes: list[str],
    candidates: list[str] | None,
    exclude: list[str],
    k: int,
    n_items: int,
    diversity: float,
    tail: float,
    kind: str,
    filter_seen: bool,
) -> None:
    asked = {"k": k, "candidates": candidates, "exclude": exclude, "tail": tail, "filter_seen": filter_seen}
    found = shop.recommend(likes=likes, **asked, diversity=diversity, at_most={kind: n_items})  # type: ignore[arg-type]
    may = set(ITEMS if candidates is None else candidates) - set(exclude) - (set(likes) if filter_seen else set())
    can_be_had = sum(min(n_items, len([item for item in may if maker_of(item) == maker])) for maker in range(6))
    assert set(found.ids) <= may
    assert len(set(found.ids)) == len(found) == min(k, can_be_had)
    assert not found or count_makers(found.ids) <= n_items
    of_each = f"only {len(found)} may be recommended with at most {n_items} of each {kind}"
    assert any(of_each in note for note in found.notes) == (len(found) < min(k, len(may)))


def test_a_limit_that_no_list_could_break_changes_nothing(shop: Recommender) -> None:
    plain = shop.recommend(USERS[0], k=12)
    assert shop.recommend(USERS[0], k=12, at_most={"maker": 10**30}) == plain
    assert shop.recommend(USERS[0], k=12, at_most={}) == plain
    assert shop.recommend(USERS[0], k=12, at_most={"maker": 12}) == plain
    assert count_makers(plain.ids) > 1
    assert shop.recommend(USERS[0], k=12, at_most={"maker": 1}) != plain


def test_every_user_in_a_batch_is_answered_as_alone_under_limits(shop: Recommender) -> None:
    asked = {"k": 5, "at_most": {"maker": 1}, "diversity": 0.3}
    table = shop.recommend_many(USERS, **asked, exclude=ITEMS[3:25:6])  # type: ignore[arg-type]
    lists: dict[str, list[str]] = {}
    for row in table.to_pylist():
        lists.setdefault(row["user"], []).append(row["item"])
    for user in USERS:
        assert lists[user] == list(shop.recommend(user, **asked, exclude=ITEMS[3:25:6]).ids)  # type: ignore[arg-type]
        assert count_makers(lists[user]) == 1
    assert json.loads(table.schema.metadata[b"limited_users"]) == []
    few = shop.recommend_many(USERS[:2], k=8, at_most={"maker": 1})
    assert json.loads(few.schema.metadata[b"limited_users"]) == list(USERS[:2])
    assert b"limited_users" not in shop.recommend_many(USERS[:2], k=30).schema.metadata


def test_several_kinds_and_categories_and_what_a_missing_value_is() -> None:
    linked = Recommender(train_linked(), WordEncoder())
    both = linked.recommend(USERS[0], k=6, at_most={"maker": 2, "made_by": 1})
    assert len(both) == 6
    assert count_makers(both.ids) == 1
    with pytest.raises(RequestError, match="'price'"):  # numbers have bins, which say little in a limit
        linked.recommend(USERS[0], at_most={"price": 1})
    with pytest.raises(RequestError, match="'dedicated_to'"):  # links to users
        linked.recommend(USERS[0], at_most={"dedicated_to": 1})


def test_added_items_and_new_links_count(shop: Recommender) -> None:
    asked = {"likes": ["sku-00", "sku-06"], "k": 6, "at_most": {"maker": 1}}
    before = shop.recommend(**asked)  # type: ignore[arg-type]
    shop.add_item("twin", text="tea green 12", links=[("made_by", "m-tea-0")])
    shop.add_item("free", text="tea green 12")
    found = shop.recommend(**{**asked, "k": 7})  # type: ignore[arg-type]
    assert "free" in found.ids
    assert len(found) == len(before) + 1
    assert sum(item == "twin" or (item != "free" and maker_of(item) == 0) for item in found.ids) == 1


def test_items_that_are_gone_from_the_store_make_room(tmp_path: Path) -> None:
    tables = make_tables()
    with open_store(f"ladybug:{tmp_path / 'shop.db'}", mode="write") as store:
        store.ensure_schema(SCHEMA)
        for node_type, nodes in tables.nodes.items():
            store.upsert_nodes(node_type, nodes)
        for edge_type, edges in tables.edges.items():
            store.upsert_edges(edge_type, edges)
        live = Recommender(train_shop(), WordEncoder(), store)

        def ask() -> Recommendations:
            return live.recommend(likes=["sku-02"], k=6, at_most={"maker": 1}, diversity=0.4)

        before = ask()
        assert len(before) == 6
        gone = list(before.ids[:3])
        delete_nodes(store, "product", gone)
        after = ask()
        assert len(after) == 6
        assert count_makers(after.ids) == 1
        assert not set(after.ids) & set(gone)
        many = live.recommend_many(likes={"a": ["sku-02"]}, k=6, at_most={"maker": 1}, diversity=0.4)
        assert tuple(many["item"].to_pylist()) == after.ids


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_an_unknown_kind_is_named_with_its_near_one(shop: Recommender) -> None:
    expected = (
        r"at_most names 'makr', but items have no such links \(did you mean 'maker'\?\); "
        r"expected one of \['maker', 'made_by'\]"
    )
    with pytest.raises(RequestError, match=expected):
        shop.recommend(USERS[0], at_most={"makr": 1})
    with pytest.raises(RequestError, match=expected):
        shop.recommend_many(USERS, at_most={"maker": 2, "makr": 1})
    for kind in ("customer", "product", "bought", ""):
        with pytest.raises(RequestError, match=r"but items have no such links.*; expected one of"):
            shop.recommend(USERS[0], at_most={kind: 1})


def test_links_between_items_cannot_be_limited(shop: Recommender) -> None:
    expected = (
        r"at_most names 'spare_part_of', but links between items cannot be limited; "
        r"expected one of \['maker', 'made_by'\]"
    )
    with pytest.raises(RequestError, match=expected):
        shop.recommend(USERS[0], at_most={"spare_part_of": 1})


@pytest.mark.parametrize("n_items", [0, -1, 1.5, 2.0, "2", None, True, float("nan")])
def test_a_limit_that_cannot_be(n_items: object) -> None:
    with pytest.raises(RequestError, match=r"expected at_most of 'maker' as a whole number of at least 1, got"):
        read_at_most({"maker": n_items})  # type: ignore[dict-item]


@pytest.mark.parametrize("at_most", [["maker"], "maker", 2, {("maker",): 1}, pa.table({"maker": [1]})])
def test_limits_that_are_no_mapping(shop: Recommender, at_most: object) -> None:
    with pytest.raises(RequestError, match=r"expected at_most as a mapping from a node type or an edge type to"):
        shop.recommend(USERS[0], at_most=at_most)  # type: ignore[arg-type]


def test_numbers_of_other_libraries_are_whole_numbers(shop: Recommender) -> None:
    asked = {"user": USERS[0], "k": 6}
    found = shop.recommend(**asked, at_most={"maker": np.int64(1)})  # type: ignore[arg-type,dict-item]
    assert found == shop.recommend(**asked, at_most={"maker": 1})  # type: ignore[arg-type]
