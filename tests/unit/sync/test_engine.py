"""Any sequence of additions and removals leaves the bundle that a sync with the final tables makes."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import CONFIG, SCHEMA, WordEncoder, make_tables
from shop_changes import with_edges, with_nodes, without_nodes

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.schema_toml import to_toml
from kgrec.bundle import Bundle
from kgrec.recommend import NewItem, NewUser, Recommender
from kgrec.sync import sync_bundle
from kgrec.training.train_bundle import train_bundle

LINKED = CatalogueSchema.parse(
    to_toml(SCHEMA)
    + """
[edges.dedicated_to]
source = "product"
type = "DEDICATED_TO"
target = "customer"
[edges.follows]
source = "customer"
type = "FOLLOWS"
target = "customer"
"""
)
FANS = [f"c{place:02}" for place in range(6)]  # products are dedicated to them
OLD_ITEMS, OLD_USERS = [f"sku-{place:02}" for place in range(30)], [f"c{place:02}" for place in range(12)]
MAKERS = [f"m-{kind}-{place}" for place, kind in enumerate(["tea", "bike"] * 3)]
WORDS = ("tea green", "tea black", "bike bell", "bike saddle")
STEP = 1 / 127  # of a number stored in 8 bits, relative to the largest of its row


def make_linked_tables() -> GraphTables:
    """The shop, with a new product of each kind, products dedicated to customers, and customers who follow others."""
    tables = make_tables()
    edges = {
        name: pa.Table.from_pylist([dict(zip(("source", "target"), pair, strict=True)) for pair in pairs],
                                   LINKED.edges[name].arrow_schema)
        for name, pairs in {
            "dedicated_to": [(item, FANS[place % 6]) for place, item in enumerate(OLD_ITEMS) if place % 4],
            "follows": [("c00", "c02"), ("c02", "c04"), ("c01", "c03")],
        }.items()
    }  # fmt: skip
    return GraphTables(LINKED, tables.nodes, {**tables.edges, **edges})


@cache
def train_linked() -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_linked_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=0)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("items"), st.lists(st.tuples(
            st.sampled_from(WORDS), st.sampled_from(MAKERS), st.sampled_from([None, *FANS]), st.sampled_from(OLD_ITEMS),
        ), min_size=1, max_size=3)),
        st.tuples(st.just("users"), st.lists(st.tuples(
            st.lists(st.sampled_from(OLD_ITEMS), max_size=4, unique=True), st.sampled_from([None, *OLD_USERS]),
        ), min_size=1, max_size=3)),
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
            for words, maker, fan, part_of in rows:
                n_new += 1
                links = [("made_by", maker), ("spare_part_of", part_of)]
                links += [("dedicated_to", fan)] if fan in there else []
                new.append(NewItem(f"new-{n_new:02}", name=f"{words} {n_new}", links=links))
            recommender.add_items(new)
            tables = with_nodes(tables, "product", [(item.item, item.name) for item in new])
            for edge_type in ("made_by", "spare_part_of", "dedicated_to"):
                pairs = [(item.item, far) for item in new for name, far in item.links if name == edge_type]
                tables = with_edges(tables, edge_type, pairs) if pairs else tables
        elif kind == "users":
            new_users = []
            for likes, friend in rows:
                n_new += 1
                links = [("follows", friend)] if friend in there else []
                new_users.append(NewUser(f"u-{n_new:02}", likes=likes, links=links))
            recommender.add_users(new_users)
            tables = with_nodes(tables, "customer", [(user.user,) for user in new_users])
            bought = [(user.user, item, 5.0) for user in new_users for item in user.likes]
            tables = with_edges(tables, "bought", bought) if bought else tables
            followed = [(user.user, far) for user in new_users for _, far in user.links]
            tables = with_edges(tables, "follows", followed) if followed else tables
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
    for name, edge in LINKED.graph_edges.items():
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
        ("items", [("tea green", MAKERS[0], FANS[gone], OLD_ITEMS[0])]),
        ("forget", [gone]),
        (
            "items",
            [("bike bell", MAKERS[1], FANS[2], OLD_ITEMS[1]), ("tea black", MAKERS[0], FANS[1 - gone], OLD_ITEMS[2])],
        ),
    ]
    bundle, tables = apply(steps)
    assert FANS[gone] not in bundle.users
    assert linked_users(train_linked()) == FANS
    with tempfile.TemporaryDirectory() as folder:
        synced, _ = sync_bundle(train_linked(), tables, WordEncoder(), Path(folder), now=0)
    assert linked_users(bundle) == linked_users(synced) == [fan for fan in FANS if fan != FANS[gone]]
    assert_same_knowledge(bundle, synced)
