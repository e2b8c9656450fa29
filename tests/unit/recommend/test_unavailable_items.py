"""What cannot be had is in no answer, unless it is asked for by name."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from shop import CONFIG, SCHEMA, WordEncoder, make_tables, train_shop

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.schema_toml import to_toml
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.bundle.serialisation import FORMAT_VERSION, to_tensors
from kgrec.recommend import Recommender
from kgrec.store import open_store, read_tables
from kgrec.sync import preview_sync, sync_bundle
from kgrec.training.train_bundle import train_bundle

STOCKED = CatalogueSchema.parse(
    to_toml(SCHEMA).replace(
        "[nodes.product]\n", '[nodes.product]\nattributes = { sold_out = "bool" }\navailable = { sold_out = false }\n'
    )
)
USER = "c00"
GONE = set(Recommender(train_shop(), WordEncoder()).recommend(USER, k=3).ids)  # the best ones
ITEMS = train_shop().items.ids


def make_stocked(sold_out: Mapping[str, bool]) -> GraphTables:
    tables = make_tables()
    product = tables.nodes["product"]
    values = [sold_out.get(item) for item in product["sku"].to_pylist()]
    stocked = pa.table(
        {"sku": product["sku"], "title": product["title"], "sold_out": pa.array(values, pa.bool_())}
    ).select(STOCKED.nodes["product"].arrow_schema.names)
    nodes = {**tables.nodes, "product": stocked.cast(STOCKED.nodes["product"].arrow_schema)}
    return GraphTables(STOCKED, nodes, tables.edges)


@cache
def train_stocked() -> Bundle:
    tables = make_stocked({ITEMS[1]: False, **dict.fromkeys(GONE, True)})
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(tables, CONFIG, WordEncoder(), Path(folder), trained_at=0)


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_stocked(), WordEncoder())


def list_all(shop: Recommender) -> set[str]:
    """The items of all answers that name no candidates."""
    k = len(ITEMS)
    found = {*shop.recommend(USER, k=k, filter_seen=False).ids, *shop.recommend(text="tea", k=k).ids}
    found |= {*shop.recommend(k=k).ids, *shop.recommend(likes=[ITEMS[1]], k=k, tail=0.5, explain=True).ids}
    found |= {*shop.recommend_many([USER, "c01"], k=k)["item"].to_pylist()}
    for item in (ITEMS[0], ITEMS[1], *GONE):
        found |= {*shop.similar(item, k=k).ids}
    return found


def test_what_cannot_be_had_is_in_no_answer(shop: Recommender) -> None:
    assert {ITEMS[row] for row in np.flatnonzero(~shop.bundle.available)} == GONE
    assert list_all(shop) == set(ITEMS) - GONE
    assert list_all(Recommender(train_shop(), WordEncoder())) > GONE


def test_a_candidate_that_is_named_stays(shop: Recommender) -> None:
    named = sorted(GONE)
    assert set(shop.recommend(USER, candidates=named, k=3).ids) == GONE
    assert set(shop.recommend_many([USER], candidates=named, k=3)["item"].to_pylist()) == GONE
    assert set(shop.similar(named[0], candidates=named, k=3).ids) == GONE - {named[0]}


def test_a_new_item_can_be_had(shop: Recommender) -> None:
    shop.add_item("new", text="tea green")
    assert "new" in list_all(shop)
    assert not GONE & list_all(shop)


def test_it_is_kept_on_disk_and_a_bundle_without_it_has_all_items(tmp_path: Path) -> None:
    save_bundle(train_stocked(), tmp_path / "bundle")
    np.testing.assert_array_equal(load_bundle(tmp_path / "bundle").available, train_stocked().available)
    assert "unavailable" not in to_tensors(train_shop())  # as in older bundles of the format
    save_bundle(train_shop(), tmp_path / "older")
    assert load_bundle(tmp_path / "older").available.all()
    assert FORMAT_VERSION == 9


def test_a_sync_reads_it_anew(tmp_path: Path) -> None:
    back, *_ = sorted(GONE)
    sold_out = {item: item != back for item in GONE} | {ITEMS[1]: True}
    tables, bundle = make_stocked(sold_out), train_stocked()
    expected = tuple(item for item in ITEMS if item in (back, ITEMS[1]))
    assert preview_sync(bundle, tables, now=0).changes.nodes["product"].changed == expected
    synced, report = sync_bundle(bundle, tables, WordEncoder(), tmp_path, now=0)
    assert (report.changes.nodes["product"].changed, report.n_encoded, report.n_placed) == (expected, 0, 0)
    assert list_all(Recommender(synced, WordEncoder())) == set(ITEMS) - (GONE - {back}) - {ITEMS[1]}
    again, report = sync_bundle(synced, tables, WordEncoder(), tmp_path, now=0)
    assert not report.changes
    np.testing.assert_array_equal(again.available, synced.available)


def test_a_store_keeps_it(tmp_path: Path) -> None:
    tables = make_stocked(dict.fromkeys(GONE, True))
    with open_store(f"ladybug:{tmp_path / 'shop.db'}", mode="write") as store:
        store.ensure_schema(STOCKED)
        for node_type, nodes in tables.nodes.items():
            store.upsert_nodes(node_type, nodes)
        for edge_type, edges in tables.edges.items():
            store.upsert_edges(edge_type, edges)
        bundle, _ = sync_bundle(train_stocked(), read_tables(store), WordEncoder(), tmp_path, now=0)
    assert {ITEMS[row] for row in np.flatnonzero(~bundle.available)} == GONE
