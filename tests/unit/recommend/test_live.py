"""Reasons read from the graph in a store: what it says now, and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from graph_deletions import delete_edges, delete_nodes
from linked_shop import LINKED, make_linked_tables, train_linked
from rounding import assert_same_but_for_rounding
from shop import SCHEMA, WordEncoder, make_tables, train_shop

from kgrec.errors import StoreError
from kgrec.recommend import Recommender, Share
from kgrec.recommend.live import read_path_index
from kgrec.recommend.value_links import link_values
from kgrec.store import GraphStore, open_store
from kgrec.store.contract import ItemLinks

USERS = train_shop().users.ids
TITLES = dict(zip(train_shop().items.ids, train_shop().names["product"], strict=True))


@pytest.fixture(params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    """The shop in a store."""
    url = f"ladybug:{tmp_path / 'shop.db'}" if request.param == "ladybug" else request.getfixturevalue("neo4j_url")
    tables = make_tables()
    with open_store(url, mode="write") as opened:
        opened.ensure_schema(SCHEMA)
        for node_type, nodes in tables.nodes.items():
            opened.upsert_nodes(node_type, nodes)
        for edge_type, edges in tables.edges.items():
            opened.upsert_edges(edge_type, edges)
        yield opened


@pytest.fixture
def live(store: GraphStore) -> Recommender:
    return Recommender(train_shop(), WordEncoder(), store)


def count_queries(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that gets an entry for every question that the store, or its server, is asked."""
    asked: list[object] = []
    on, name = (store.connection, "read") if hasattr(store, "connection") else (store, "item_links")
    ask = getattr(on, name)
    monkeypatch.setattr(on, name, lambda *given: [asked.append(given), ask(*given)][1])
    return asked


def share_of(recommender: Recommender, item: str, like: str) -> Share:
    found = recommender.explain(item, likes=[like])
    return next(share for share in found.shares if share.item == like)


@pytest.mark.slow
def test_a_graph_that_has_not_changed_says_the_same_at_one_query_an_answer(
    store: GraphStore, live: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = Recommender(train_shop(), WordEncoder())
    asked = count_queries(store, monkeypatch)
    requests = [*({"user": user} for user in USERS[:8]), {"likes": ["sku-00", "sku-02", "sku-05"], "text": "black tea"}]
    for n_asked, request in enumerate(requests, 1):
        expected = offline.recommend(**request, k=6, explain=True)
        assert_same_but_for_rounding(live.recommend(**request, k=6, explain=True), expected)
        assert len(asked) == n_asked
        assert any("same maker" in str(each.reason) for each in expected)
    asked.clear()
    likes = ["sku-05", "sku-07"]
    explained = offline.explain("sku-01", likes=likes)
    assert any(share.paths for share in explained.shares)
    assert_same_but_for_rounding(live.explain("sku-01", likes=likes), explained)
    assert len(asked) == 1
    asked.clear()
    expected_rows = offline.recommend_many(USERS, k=4, explain=True)
    assert expected_rows.num_rows == 4 * len(USERS)
    assert_same_but_for_rounding(live.recommend_many(USERS, k=4, explain=True), expected_rows)
    assert len(asked) == 1
    monkeypatch.setattr("kgrec.recommend.blocks._MOST_ROWS", 20)
    assert_same_but_for_rounding(live.recommend_many(USERS, k=4, explain=True), expected_rows)
    assert len(asked) == 1 + 3  # a query for each block of users
    asked.clear()
    answers: list[Callable[[], object]] = [
        lambda: live.recommend(USERS[0], k=6),
        lambda: live.recommend(k=6, explain=True),  # no likes, no paths
        lambda: live.recommend_many(USERS, k=4),
        lambda: live.similar("sku-00"),
        lambda: live.similar("sku-00", explain=True),
        lambda: live.similar_many(["sku-00", "sku-01"], explain=True),
    ]
    monkeypatch.undo()
    asked = count_queries(store, monkeypatch)
    for n_asked, answer in enumerate(answers, 1):
        answer()
        assert len(asked) == n_asked
    assert_same_but_for_rounding(live.similar("sku-00", explain=True), offline.similar("sku-00", explain=True))


def test_a_reason_is_what_the_graph_says_now(store: GraphStore, live: Recommender) -> None:
    def reason() -> str | None:
        return live.recommend(likes=["sku-02"], candidates=["sku-08"], k=1, explain=True)[0].reason

    def rename(node_type: str, id_: str, name: str) -> None:
        schema = SCHEMA.nodes[node_type].arrow_schema
        store.upsert_nodes(node_type, pa.table([[id_], [name]], schema))

    liked = f"{TITLES['sku-02']}, which you liked"
    without_a_path = (f"liked by people who like {liked}", f"near {liked}, by its text and links")
    assert reason() == f"same maker (House of m-tea-2) as {liked}"
    rename("maker", "m-tea-2", "Leaf & Co")
    rename("product", "sku-02", "Sencha")
    assert reason() == "same maker (Leaf & Co) as Sencha, which you liked"
    assert delete_edges(store, "made_by", [("sku-08", "m-tea-2")]) == 1
    assert reason() in without_a_path
    assert share_of(live, "sku-08", "sku-02").paths == ()
    # an edge that was not there in training
    edge = pa.table([["sku-08"], ["sku-02"]], SCHEMA.edges["spare_part_of"].arrow_schema)
    store.upsert_edges("spare_part_of", edge)
    assert reason() == "spare part of Sencha, which you liked"
    (path,) = share_of(live, "sku-02", "sku-08").paths
    assert path.sentence() == f"{TITLES['sku-08']} is spare part of this"
    assert delete_nodes(store, "product", ["sku-02"]) == 1
    assert reason() in without_a_path
    # what the bundle alone has is not told
    live.add_item("new", name="A new tea", text="herbal tea", links=[("made_by", "m-tea-2")])
    assert share_of(live, "new", "sku-14").paths == ()
    assert share_of(Recommender(live.bundle), "new", "sku-14").paths
    assert live.recommend(likes=["sku-14"], candidates=["new"], k=1, explain=True)[0].reason == (
        f"near {TITLES['sku-14']}, which you liked, by its text and links"
    )


@pytest.mark.parametrize("explain", [False, True])
def test_an_item_that_is_gone_from_the_store_is_in_no_answer(
    store: GraphStore, live: Recommender, explain: bool
) -> None:
    offline = Recommender(train_shop(), WordEncoder())
    user, like = USERS[0], "sku-02"
    gone = [*offline.recommend(user, k=3).ids, *offline.similar(like, k=2).ids]
    assert len(live.recommend(user, k=3, explain=explain)) == 3
    assert delete_nodes(store, "product", sorted(set(gone))) == len(set(gone))

    expected = offline.recommend(user, k=4, exclude=gone)
    found = live.recommend(user, k=4, explain=explain)
    assert (found.ids, [each.rank for each in found]) == (expected.ids, [1, 2, 3, 4])
    assert all((each.reason is not None) == explain for each in found)
    rest = [id_ for id_ in offline.bundle.items.ids if id_ not in gone]
    assert live.similar(like, k=3, explain=explain).ids == offline.similar(like, k=3, candidates=rest).ids
    many = live.recommend_many(USERS[:5], k=4, explain=explain)
    assert many["item"].to_pylist() == offline.recommend_many(USERS[:5], k=4, exclude=gone)["item"].to_pylist()
    # a seed that is gone is still answered, and an item that was added here need not be in the store
    assert live.similar(gone[0], k=1, explain=explain).ids
    live.add_item("new", name="A new tea", text="herbal tea", links=[("made_by", "m-tea-2")])
    assert live.recommend(likes=["sku-14"], candidates=["new", gone[0]], k=2, explain=explain).ids == ("new",)


def test_answers_go_on_below_many_items_that_are_gone(store: GraphStore, live: Recommender) -> None:
    offline = Recommender(train_shop(), WordEncoder())
    ranked = offline.recommend(USERS[0], k=1000).ids
    assert delete_nodes(store, "product", list(ranked[:-2])) == len(ranked) - 2
    assert live.recommend(USERS[0], k=2).ids == ranked[-2:]
    found = live.recommend(USERS[0], k=5)
    assert found.ids == ranked[-2:]
    assert "asked for 5 items, only 2 may be recommended" in found.notes


def test_a_store_of_another_graph_is_refused(store: GraphStore) -> None:
    assert delete_nodes(store, "product", train_shop().items.ids) == len(TITLES)
    with pytest.raises(StoreError, match=f"has none of {len(TITLES)} items of the bundle .* is another graph"):
        Recommender(train_shop(), store=store)
    schema = SCHEMA.nodes["product"].arrow_schema
    row = {**dict.fromkeys(schema.names), "sku": "sku-00"}
    store.upsert_nodes("product", pa.Table.from_pylist([row], schema))
    with pytest.raises(StoreError, match="has only 1 of"):
        Recommender(train_shop(), store=store)


def test_a_store_of_another_schema_is_refused(tmp_path: Path) -> None:
    other = SCHEMA.model_copy(update={"interaction": SCHEMA.interaction.model_copy(update={"repeats": "sum"})})
    folder = tmp_path / "bundle"
    Recommender(train_shop()).save(folder)
    with open_store(f"ladybug:{tmp_path / 'other.db'}", mode="write") as store:
        with pytest.raises(StoreError, match="holds no catalogue"):
            Recommender.load(folder, store=store)
        store.ensure_schema(other)
        with pytest.raises(StoreError, match=r"other.db holds the schema 'shop' .* the bundle was trained on 'shop'"):
            Recommender.load(folder, store=store)


def test_a_store_that_fails_is_said(tmp_path: Path) -> None:
    tables = make_tables()
    with open_store(f"ladybug:{tmp_path / 'shop.db'}", mode="write") as store:
        store.ensure_schema(SCHEMA)
        store.upsert_nodes("product", tables.nodes["product"])
        live = Recommender(train_shop(), store=store)
    for explain in (False, True):
        with pytest.raises(StoreError, match="is closed"):
            live.recommend(USERS[0], k=5, explain=explain)


def test_names_are_mended_as_by_a_load(monkeypatch: pytest.MonkeyPatch, store: GraphStore) -> None:
    ask = store.item_links

    def with_entities(items: Sequence[str]) -> ItemLinks:
        found = ask(items)
        return replace(found, names={node: name and f"{name} &amp; Sons" for node, name in found.names.items()})

    monkeypatch.setattr(store, "item_links", with_entities)
    index = read_path_index(store, SCHEMA, ["sku-02", "sku-08"])
    [path] = index.shared_paths("sku-08", "sku-02", 1)
    assert path.sentence().startswith("same maker (House of m-tea-2 & Sons) as ")


def test_values_that_items_share_are_reasons_with_a_store_as_well(tmp_path: Path) -> None:
    bundle, tables = train_linked(), make_linked_tables()
    with open_store(f"ladybug:{tmp_path / 'shop.db'}", mode="write") as store:
        store.ensure_schema(LINKED)
        for node_type, nodes in tables.nodes.items():
            store.upsert_nodes(node_type, nodes)
        for edge_type, edges in tables.edges.items():
            store.upsert_edges(edge_type, edges)
        offline, live = Recommender(bundle, WordEncoder()), Recommender(bundle, WordEncoder(), store)
        paths = []
        for item in bundle.items.ids[:6]:
            found = live.explain(item, likes=bundle.items.ids[6:9])
            assert_same_but_for_rounding(found, offline.explain(item, likes=bundle.items.ids[6:9]))
            paths += [path for share in found.shares for path in share.paths]
        assert any(path.steps[0].relation == "product.price" for path in paths)
        # what the store does not have any more has no values
        delete_nodes(store, "product", [bundle.items.ids[0]])
        index = read_path_index(store, bundle.schema, bundle.items.ids[:9], None, link_values(bundle))
        assert all(not index.shared_paths(bundle.items.ids[0], other) for other in bundle.items.ids[1:9])
