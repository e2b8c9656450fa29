"""Any sequence of additions and removals leaves the bundle that a sync with the final tables makes."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_shop import FANS, LINKED, TOWNS, make_linked_tables, train_linked
from shop import WordEncoder
from shop_changes import with_edges, with_nodes, without_nodes

from graph_schema import GraphTables
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.graph.attribute_values import derive_schema
from kgrec.recommend import NewItem, NewUser, Recommender
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.sync import sync_bundle

OLD_ITEMS, OLD_USERS = [f"sku-{place:02}" for place in range(30)], [f"c{place:02}" for place in range(12)]
MAKERS = [f"m-{kind}-{place}" for place, kind in enumerate(["tea", "bike"] * 3)]
WORDS = ("tea green", "tea black", "bike bell", "bike saddle")
ABOUT = (None, "i like tea", "the bike shops")
AGES, HOBBIES = (None, 21, 64, 400), (None, [], ["racing"], ["knitting", "reading", "fishing"])
PRICES = (None, 2.5, 11.0, 999.0)
STEP = 1 / 127  # of a number stored in 8 bits, relative to the largest of its row
ITSELF, FIRST = "itself", "the first of them"  # whom a new customer follows


changes = st.lists(
    st.one_of(
        st.tuples(st.just("items"), st.lists(st.tuples(
            st.sampled_from(WORDS), st.sampled_from(MAKERS), st.sampled_from([None, *FANS]), st.sampled_from(OLD_ITEMS),
            st.sampled_from(PRICES),
        ), min_size=1, max_size=3)),
        st.tuples(st.just("users"), st.lists(st.tuples(
            st.lists(st.sampled_from(OLD_ITEMS), max_size=4, unique=True),
            st.sampled_from([None, ITSELF, FIRST, *OLD_USERS]), st.sampled_from([None, *TOWNS]), st.sampled_from(AGES),
            st.sampled_from(HOBBIES), st.sampled_from(ABOUT),
        ), min_size=1, max_size=3)),
        st.tuples(st.just("strangers"), st.lists(st.sampled_from(OLD_ITEMS), min_size=1, max_size=2, unique=True)),
        st.tuples(st.just("rate"), st.lists(st.tuples(
            st.integers(0, 30), st.integers(0, 60), st.sampled_from([1.0, 3.0, 4.0, 5.0]),
        ), min_size=1, max_size=5)),
        st.tuples(st.just("forget"), st.lists(st.integers(0, 30), min_size=1, max_size=3)),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def apply(steps: list[tuple[str, list]]) -> tuple[Bundle, GraphTables]:
    """The bundle after some changes, and the tables that have them."""
    recommender, tables = Recommender(train_linked(), WordEncoder()), make_linked_tables()
    n_new = 0
    for kind, rows in steps:
        users, items = recommender.bundle.users.ids, recommender.bundle.items.ids
        there = set(users)
        if kind == "items":
            new = []
            for words, maker, fan, part_of, price in rows:
                n_new += 1
                links = [("made_by", maker), ("spare_part_of", part_of)]
                links += [("dedicated_to", fan)] if fan in there else []
                given_ = None if price is None else {"price": price}
                new.append(NewItem(f"new-{n_new:02}", name=f"{words} {n_new}", links=links, attributes=given_))
            recommender.add_items(new)
            rows_ = [(item.item, item.name, (item.attributes or {}).get("price")) for item in new]
            tables = with_nodes(tables, "product", rows_)
            for edge_type in ("made_by", "spare_part_of", "dedicated_to"):
                pairs = [(item.item, far) for item in new for name, far in item.links if name == edge_type]
                tables = with_edges(tables, edge_type, pairs) if pairs else tables
        elif kind == "users":
            new_users = []
            first = f"u-{n_new + 1:02}"
            for likes, follows, town, age, hobbies, about in rows:
                n_new += 1
                user = f"u-{n_new:02}"
                friend = {ITSELF: user, FIRST: first}.get(follows or "", follows)
                links = [("follows", friend)] if friend in {*there, user, first} else []
                links += [("lives_in", town)] if town else []
                given_ = {name: value for name, value in (("age", age), ("hobbies", hobbies)) if value is not None}
                new_users.append(NewUser(user, likes=likes, links=links, attributes=given_ or None, text=about))
            recommender.add_users(new_users)
            tables = with_nodes(tables, "customer", [
                (user.user, user.text, *((user.attributes or {}).get(name) for name in ("age", "hobbies")))
                for user in new_users
            ])  # fmt: skip
            bought = [(user.user, item, 5.0) for user in new_users for item in user.likes]
            tables = with_edges(tables, "bought", bought) if bought else tables
            for edge_type in ("follows", "lives_in"):
                pairs = [(user.user, far) for user in new_users for name, far in user.links if name == edge_type]
                tables = with_edges(tables, edge_type, pairs) if pairs else tables
        elif kind == "strangers":
            n_new += 1
            given_ = [(f"s-{n_new:02}", item, 5.0) for item in rows]
            recommender.add_interactions(pd.DataFrame(given_, columns=["user", "item", "stars"]))
            tables = with_nodes(tables, "customer", [(f"s-{n_new:02}", None, None, None)])
            tables = with_edges(tables, "bought", given_)
        elif kind == "rate":
            latest = {(users[user % len(users)], items[-1 - item % len(items)]): stars for user, item, stars in rows}
            given_ = [(*pair, stars) for pair, stars in latest.items()]
            recommender.add_interactions(pd.DataFrame(given_, columns=["user", "item", "stars"]))
            tables = with_edges(tables, "bought", given_)
        else:
            gone = {users[place % len(users)] for place in rows}
            recommender.forget(gone)
            tables = without_nodes(tables, "customer", gone)
    return recommender.bundle, tables


def to_pairs(bundle: Bundle, pairs: np.ndarray, source: str, target: str) -> set[tuple[str, str]]:
    sources, targets = bundle.ids[source].ids, bundle.ids[target].ids
    return {(sources[first], targets[second]) for first, second in pairs.T.tolist()}


def assert_same_knowledge(found: Bundle, expected: Bundle) -> None:
    """The same nodes, names, edges, likes and factors, whatever the order of the rows."""
    for node_type in expected.ids:
        one, other = (
            dict(zip(each.ids[node_type].ids, each.names[node_type], strict=True)) for each in (found, expected)
        )
        assert one == other
    for name, edge in expected.schema.graph_edges.items():
        ends = edge.source, edge.target
        assert to_pairs(found, found.edges[name], *ends) == to_pairs(expected, expected.edges[name], *ends)
    for which in ("liked", "seen"):
        one, other = (np.stack(getattr(each, which).nonzero()) for each in (found, expected))
        assert to_pairs(found, one, "customer", "product") == to_pairs(expected, other, "customer", "product")
    rows = found.items.rows(expected.items.ids)
    for ours, theirs in zip(found.model.components, expected.model.components, strict=True):
        one, other = ours.items.numpy()[rows], theirs.items.numpy()
        step = STEP * np.abs(other).max(axis=1, keepdims=True, initial=0) + 1e-5
        assert (np.abs(one - other) <= step).all(), ours.name  # a number at a rounding's edge may go either way
        assert (np.abs(one - other) > 1e-5).mean() < 0.02 if one.size else True, ours.name
        if theirs.neighbours is not None:
            near, expected_near = ours.neighbours.toarray()[np.ix_(rows, rows)], theirs.neighbours.toarray()
            np.testing.assert_allclose(near, expected_near, atol=2e-3 * max(np.abs(expected_near).max(), 1e-9))
    np.testing.assert_allclose(found.model.likeness.links[rows], expected.model.likeness.links, atol=1e-5)
    np.testing.assert_allclose(found.model.text.numpy()[rows], expected.model.text.numpy(), atol=1e-5)
    rows = found.users.rows(expected.users.ids)
    np.testing.assert_allclose(found.user_text.numpy()[rows], expected.user_text.numpy(), atol=1e-5)
    assert known_links(found) == known_links(expected)
    np.testing.assert_allclose(place_users(found)[rows], place_users(expected), rtol=1e-3, atol=1e-5)


def known_links(bundle: Bundle) -> set[tuple[str, bool, str]]:
    """The links of users that the model has features for."""
    assert bundle.model.user_prior is not None
    pairs = zip(bundle.model.user_prior.relation.tolist(), bundle.user_link_node.tolist(), strict=True)
    named = [(*bundle.user_relations[relation], row) for relation, row in pairs if row >= 0]
    return {(edge_type, is_source, bundle.ids[far].ids[row]) for edge_type, is_source, far, row in named}


def place_users(bundle: Bundle) -> np.ndarray:
    """(n_users, dim): what the graph says of each user."""
    placed = State(bundle, SentenceEncoder(WordEncoder())).user_priors
    assert placed is not None
    return placed


def linked_users(bundle: Bundle) -> list[str]:
    """The customers, sorted, whom products are dedicated to, as the model's link codes have them."""
    relation = bundle.relations.index(("dedicated_to", True, "customer"))
    codes = (bundle.model.prior.relation == relation) & (bundle.link_node >= 0)
    return sorted(bundle.users.ids[row] for row in bundle.link_node[codes])


@settings(max_examples=25, deadline=None)
@given(changes)
def test_changes_leave_what_a_sync_with_the_final_tables_makes(steps: list[tuple[str, list]]) -> None:
    bundle, tables = apply(steps)
    with tempfile.TemporaryDirectory() as folder:
        synced, _ = sync_bundle(train_linked(), tables, WordEncoder(), Path(folder), now=0)
    assert_same_knowledge(bundle, synced)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_new_product_dedicated_to_somebody_who_is_forgotten_is_placed_without_it(gone: int) -> None:
    steps = [
        ("items", [("tea green", MAKERS[0], FANS[gone], OLD_ITEMS[0], 2.5)]),
        ("forget", [gone]),
        (
            "items",
            [
                ("bike bell", MAKERS[1], FANS[2], OLD_ITEMS[1], None),
                ("tea black", MAKERS[0], FANS[1 - gone], OLD_ITEMS[2], 11.0),
            ],
        ),
    ]
    bundle, tables = apply(steps)
    assert FANS[gone] not in bundle.users
    assert linked_users(train_linked()) == FANS
    with tempfile.TemporaryDirectory() as folder:
        synced, _ = sync_bundle(train_linked(), tables, WordEncoder(), Path(folder), now=0)
    assert linked_users(bundle) == linked_users(synced) == [fan for fan in FANS if fan != FANS[gone]]
    assert_same_knowledge(bundle, synced)


def sync(tables: GraphTables) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        return sync_bundle(train_linked(), tables, WordEncoder(), Path(folder), now=0)[0]


def test_the_linked_shop_has_what_the_changes_change() -> None:
    bundle = train_linked()
    assert bundle.schema == derive_schema(LINKED)
    assert {relation[0] for relation in bundle.user_relations} == {
        "dedicated_to", "follows", "lives_in", "customer.age", "customer.hobbies",
    }  # fmt: skip
    assert bundle.user_text.any()
    assert place_users(bundle).any(axis=1).sum() > 40
    assert "missing" in bundle.ids["customer.age"]


def test_friends_who_are_forgotten_leave_their_friends_links() -> None:
    before = train_linked()
    friend, fan = "c04", "c02"  # the second follows the first
    bundle, tables = apply([("forget", [before.users.row(friend)])])
    assert ("follows", True, friend) in known_links(before)
    assert friend not in {id_ for _, _, id_ in known_links(bundle)}
    moved = place_users(bundle)[bundle.users.row(fan)] - place_users(before)[before.users.row(fan)]
    assert np.abs(moved).max() > 1e-4
    assert_same_knowledge(bundle, sync(tables))


def test_hubs_cycles_and_friends_of_themselves_sync_as_they_are_added() -> None:
    recommender, users = Recommender(train_linked(), WordEncoder()), train_linked().users.ids
    hub = NewUser("hub", links=[("follows", user) for user in users], likes=["sku-02"])
    ring = [NewUser(f"r{place}", links=[("follows", f"r{(place + 1) % 3}")]) for place in range(3)]
    alone = NewUser("alone", links=[("follows", "alone")])
    new = [hub, *ring, alone]
    recommender.add_users(new)
    tables = with_nodes(make_linked_tables(), "customer", [(user.user, None, None, None) for user in new])
    tables = with_edges(tables, "follows", [(user.user, far) for user in new for _, far in user.links])
    tables = with_edges(tables, "bought", [("hub", "sku-02", 5.0)])
    bundle = recommender.bundle
    assert_same_knowledge(bundle, sync(tables))
    placed = dict(zip(bundle.users.ids, place_users(bundle), strict=True))
    # Training knew none of the users in the ring, so it says no more than that everything else is missing.
    np.testing.assert_allclose(placed["r0"], placed["alone"], atol=1e-6)
    assert np.isfinite(placed["hub"]).all()
    assert np.abs(placed["hub"] - placed["alone"]).max() > 1e-4


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("hobbies", HOBBIES)
def test_attributes_of_a_request_count_as_those_of_the_tables(age: int | None, hobbies: list[str] | None) -> None:
    given_ = {name: value for name, value in (("age", age), ("hobbies", hobbies)) if value is not None}
    links = [("follows", "c01"), ("lives_in", "Assam"), ("lives_in", "Atlantis")]
    asked = Recommender(train_linked(), WordEncoder()).recommend(links=links, attributes=given_, k=30)
    tables = with_nodes(make_linked_tables(), "customer", [("new", None, age, hobbies)])
    for edge_type, far in links[:2]:
        tables = with_edges(tables, edge_type, [("new", far)])
    expected = Recommender(sync(tables), WordEncoder()).recommend(user="new", k=30)
    assert "Atlantis" in asked.unknown
    assert asked.ids == expected.ids
    np.testing.assert_allclose([r.score for r in asked], [r.score for r in expected], rtol=1e-4, atol=1e-5)


def test_answers_are_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    recommender = Recommender(train_linked(), WordEncoder())
    recommender.add_user("new", links=[("follows", "c01"), ("lives_in", "Assam")], attributes={"age": 66}, text="tea")
    recommender.forget(["c03"])
    recommender.add_item("sku-99", name="tea", attributes={"price": 4.0}, links=[("made_by", "m-tea-0")])
    save_bundle(recommender.bundle, tmp_path / "shop")
    again = Recommender(load_bundle(tmp_path / "shop", LINKED), WordEncoder())
    assert known_links(again.bundle) == known_links(recommender.bundle)
    np.testing.assert_array_equal(place_users(again.bundle), place_users(recommender.bundle))
    for request in (
        {"user": "new"}, {"user": "c05"}, {"links": [("lives_in", "Turin")], "attributes": {"age": 22}},
        {"likes": ["sku-03"], "text": "a bell", "attributes": {"hobbies": ["racing", "reading"]}},
    ):  # fmt: skip
        ours, theirs = (one.recommend(**request, k=30) for one in (recommender, again))
        assert [(r.item, r.score) for r in ours] == [(r.item, r.score) for r in theirs]
