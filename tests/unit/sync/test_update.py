"""A synced bundle answers as the one that was changed by hand, and never from what the store no longer holds."""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rounding import assert_same_as_stored, assert_same_but_for_rounding
from shop import CONFIG, LURKER, NEWCOMER, SCHEMA, WordEncoder, make_tables, read_unpacked, train_shop
from shop_changes import with_edges, with_nodes, without_edges, without_nodes

from graph_schema import CatalogueSchema, EdgeType, GraphTables
from kgrec.bundle import Bundle, save_bundle
from kgrec.errors import BundleError, RequestError
from kgrec.recommend import Recommender
from kgrec.sync import SyncReport, preview_sync, sync_bundle
from kgrec.text.encoder import Encoder
from kgrec.training.train_bundle import train_bundle

NOW = 1_700_000_000 + 3 * 86_400
ITEMS, USERS, MAKERS = (train_shop().ids[node_type].ids for node_type in ("product", "customer", "maker"))
TEA, BIKE = USERS[0], USERS[1]
COLD = ITEMS[-1]  # nobody has met it
LIKED = {user: {ITEMS[item] for item in train_shop().liked[[row]].indices} for row, user in enumerate(USERS)}
SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "texts"


def sync(tables: GraphTables, cache: Path, bundle: Bundle | None = None) -> tuple[Bundle, SyncReport]:
    return sync_bundle(bundle or train_shop(), tables, WordEncoder(), cache, now=NOW)


def assert_same_answers(found: Bundle, expected: Bundle) -> None:
    """Every kind of request is answered alike, to everybody."""
    assert set(found.users.ids) == set(expected.users.ids)
    assert set(found.items.ids) == set(expected.items.ids)
    one, other = Recommender(found, WordEncoder()), Recommender(expected, WordEncoder())
    k, users = len(expected.items), sorted(expected.users.ids)
    assert_same_but_for_rounding(*(each.recommend_many(users, k=k) for each in (one, other)))
    likes = [item for item in ("sku-04", "sku-07", "sku-08") if item in expected.items]
    assert_same_but_for_rounding(*(each.recommend(likes=likes, k=k, explain=True) for each in (one, other)))
    assert_same_but_for_rounding(*(each.recommend(text="black tea", k=k) for each in (one, other)))
    for item in expected.items.ids[-2:]:
        assert_same_but_for_rounding(one.similar(item, k), other.similar(item, k))


def assert_same_but_for_storing(found: Bundle, expected: Bundle) -> None:
    """As `assert_same_answers`, where an item that nobody liked in training was moved and placed again."""
    one, other = Recommender(found, WordEncoder()), Recommender(expected, WordEncoder())
    k, users = len(expected.items), sorted(expected.users.ids)
    assert_same_as_stored(*(each.recommend_many(users, k=k) for each in (one, other)))
    assert_same_as_stored(*(each.recommend(text="black tea", k=k) for each in (one, other)))
    for item in expected.items.ids[-2:]:
        assert_same_as_stored(one.similar(item, k), other.similar(item, k))


def assert_same_files(found: Bundle, expected: Bundle, folder: Path) -> None:
    for name, bundle in (("found", found), ("expected", expected)):
        save_bundle(bundle, folder / name)
    files = {
        name: {file.name: file.read_bytes() for file in (folder / name).iterdir()} for name in ("found", "expected")
    }
    assert files["found"] == files["expected"] != {}


# -- other feedback ----------------------------------------------------------------------------------------------------


@functools.cache
def with_views() -> GraphTables:
    """The shop, where TEA has viewed two products, beside what people bought."""
    viewed = EdgeType(source="customer", type="VIEWED", target="product")
    schema = CatalogueSchema(
        name=SCHEMA.name,
        nodes=SCHEMA.nodes,
        edges={"viewed": viewed, **SCHEMA.edges},
        interaction=SCHEMA.interaction.model_copy(update={"other_feedback": {"viewed": 0.2}}),
    )
    views = pa.table([pa.array([TEA, TEA]), pa.array(ITEMS[:2])], viewed.arrow_schema)
    tables = make_tables()
    return GraphTables(schema, tables.nodes, {"viewed": views, **tables.edges})


def test_other_feedback_is_no_edge_of_the_bundle_and_changes_nothing(cache: Path) -> None:
    tables = with_views()
    bundle = train_bundle(tables, CONFIG, WordEncoder(), cache, trained_at=NOW)
    assert set(bundle.edges) == {"made_by", "spare_part_of"}
    synced, report = sync(tables, cache, bundle)
    assert not report.changes
    assert set(report.changes.edges) == {"made_by", "spare_part_of", "bought"}
    _, seen_less = sync(without_edges(tables, "viewed", [(TEA, ITEMS[0])]), cache, synced)
    assert not seen_less.changes
    _, bought_less = sync(without_edges(tables, "bought", [(TEA, min(LIKED[TEA]))]), cache, synced)
    assert (bought_less.changes.edges["bought"].n_deleted, bought_less.changes.likes.n_deleted) == (1, 1)


# -- the same as by hand -----------------------------------------------------------------------------------------------


def test_an_unchanged_store_changes_nothing(cache: Path, tmp_path: Path) -> None:
    synced, report = sync(make_tables(), cache)
    assert not report.changes
    assert (report.n_encoded, report.n_placed) == (0, 0)
    assert_same_files(synced, train_shop(), tmp_path)


def test_the_order_of_the_tables_does_not_matter(cache: Path, tmp_path: Path) -> None:
    tables = with_nodes(make_tables(), "product", [("sku-99", "tea green late"), ("sku-98", "bike bell late")])
    tables = with_edges(tables, "bought", [(TEA, "sku-99", 5.0)])
    rng = np.random.default_rng(0)
    shuffled = GraphTables(
        SCHEMA,
        {name: table.take(rng.permutation(len(table))) for name, table in tables.nodes.items()},
        {name: table.take(rng.permutation(len(table))) for name, table in tables.edges.items()},
    )
    assert_same_files(sync(shuffled, cache)[0], sync(tables, cache)[0], tmp_path)


def test_a_new_item_is_placed_as_by_hand(cache: Path) -> None:
    tables = with_nodes(make_tables(), "product", [("sku-99", "tea green late")])
    tables = with_edges(tables, "made_by", [("sku-99", MAKERS[-1])])
    tables = with_edges(tables, "spare_part_of", [("sku-99", "sku-05")])
    synced, report = sync(tables, cache)
    by_hand = Recommender(train_shop(), WordEncoder())
    links = [("made_by", MAKERS[-1]), ("spare_part_of", "sku-05")]
    by_hand.add_item("sku-99", text="tea green late", links=links, name="tea green late")
    assert_same_answers(synced, by_hand.bundle)
    assert report.changes.nodes["product"].added == ("sku-99",)
    assert (report.n_encoded, report.n_placed) == (1, 1)
    assert "sku-99" in Recommender(synced).recommend(TEA, k=20).ids


def test_interactions_count_as_by_hand(cache: Path) -> None:
    rows = [(NEWCOMER, "sku-00", 5.0), (NEWCOMER, "sku-02", 4.0), (TEA, "sku-01", 2.0), ("guest", "sku-03", 5.0)]
    synced, report = sync(with_edges(with_nodes(make_tables(), "customer", [("guest",)]), "bought", rows), cache)
    by_hand = Recommender(train_shop(), WordEncoder())
    users, items, stars = (list(column) for column in zip(*rows, strict=True))
    by_hand.add_interactions(pa.table({"user": users, "item": items, "stars": stars}))
    assert_same_answers(synced, by_hand.bundle)
    assert report.changes.edges["bought"].n_added == 4
    assert (report.changes.likes.n_added, report.changes.likes.n_deleted) == (3, 0)
    assert report.changes.nodes["customer"].added == ("guest",)


def test_a_deleted_user_is_forgotten_as_by_hand(cache: Path, tmp_path: Path) -> None:
    synced, report = sync(without_nodes(make_tables(), "customer", [TEA]), cache)
    by_hand = Recommender(train_shop(), WordEncoder())
    by_hand.forget(TEA)
    assert_same_files(replace(synced, lineage=train_shop().lineage), by_hand.bundle, tmp_path)
    assert report.changes.nodes["customer"].deleted == (TEA,)
    saved = read_unpacked(tmp_path / "found")
    assert (f'"{TEA}"'.encode() in saved, f'"{BIKE}"'.encode() in saved) == (False, True)
    with pytest.raises(RequestError, match="unknown user"):
        Recommender(synced).recommend(TEA)


def test_a_withdrawn_like_is_gone(cache: Path) -> None:
    item = sorted(LIKED[TEA])[0]
    synced, report = sync(without_edges(make_tables(), "bought", [(TEA, item)]), cache)
    rest = Recommender(train_shop()).recommend(likes=sorted(LIKED[TEA] - {item}), k=5, exclude=SEEN_ONLY)
    assert item in Recommender(synced).recommend(TEA, k=len(ITEMS) - 6).ids  # it is no longer seen
    assert_same_but_for_rounding(Recommender(synced).recommend(TEA, k=5, candidates=rest.ids), rest)
    assert (report.changes.edges["bought"].n_deleted, report.changes.likes.n_deleted) == (1, 1)


SEEN_ONLY = [ITEMS[item] for item in train_shop().seen[[0]].indices]


def test_a_like_that_becomes_a_dislike(cache: Path) -> None:
    item = sorted(LIKED[TEA])[0]
    synced, report = sync(with_edges(make_tables(), "bought", [(TEA, item, 1.0)]), cache)
    assert (report.changes.edges["bought"].n_added, report.changes.edges["bought"].n_deleted) == (0, 0)
    assert (report.changes.likes.n_added, report.changes.likes.n_deleted) == (0, 1)
    assert report.changes
    assert (synced.liked.nnz, synced.seen.nnz) == (train_shop().liked.nnz - 1, train_shop().seen.nnz)


def test_no_interactions_are_left(cache: Path) -> None:
    tables = make_tables()
    synced, report = sync(tables.with_interactions(tables.interactions.slice(0, 0)), cache)
    assert synced.liked.nnz == synced.seen.nnz == 0
    assert "most liked" in Recommender(synced).recommend(TEA).notes[0]
    assert (report.staleness.new_likes, report.staleness.gone_likes) == (0, 1)


# -- what is gone is gone ----------------------------------------------------------------------------------------------


def test_a_deleted_item_is_never_seen_again(cache: Path) -> None:
    gone = {"sku-00", "sku-05", COLD}
    synced, report = sync(without_nodes(make_tables(), "product", gone), cache)
    k = len(ITEMS) - len(gone)
    answering, before = Recommender(synced, WordEncoder()), Recommender(train_shop(), WordEncoder())
    assert set(synced.items.ids) == set(ITEMS) - gone
    assert report.changes.nodes["product"].deleted == ("sku-00", "sku-05", COLD)
    assert report.changes.nodes["product"].relinked == ("sku-01",)  # a spare part of sku-05
    for user in USERS:
        found = answering.recommend(user, k=k)
        assert not gone & set(found.ids)
        if not gone & LIKED[user]:
            expected = before.recommend(user, k=len(ITEMS), exclude=gone)
        else:  # its like counts no more
            seen = {ITEMS[item] for item in train_shop().seen[[USERS.index(user)]].indices}
            expected = before.recommend(likes=sorted(LIKED[user] - gone), k=len(ITEMS), exclude=gone | seen)
        # the others have hardly moved: what neighbours say is measured against the items that are there
        assert set(found.ids) == set(expected.ids)
        scores = [dict(zip(each.ids, (one.score for one in each), strict=True)) for each in (found, expected)]
        assert np.corrcoef(*([each[item] for item in found.ids] for each in scores))[0, 1] > 0.98
    assert not gone & set(answering.similar("sku-02", k).ids)
    assert not gone & {share.item for share in answering.explain("sku-02", user=TEA).shares}
    with pytest.raises(RequestError, match="none of the 1 ids"):
        answering.recommend(likes=["sku-00"])


def test_deleted_entities_leave_reasons_and_placing(cache: Path) -> None:
    maker = next(row["target"] for row in make_tables().edges["made_by"].to_pylist() if row["source"] == COLD)
    synced, report = sync(without_nodes(make_tables(), "maker", [maker]), cache)
    reasons = [each.reason for each in Recommender(synced).recommend(likes=["sku-05"], k=20, explain=True)]
    assert not any(maker in str(reason) for reason in reasons)
    assert COLD in report.changes.nodes["product"].relinked
    row = ITEMS.index(COLD)
    text = WordEncoder().encode([str(synced.names["product"][row])])[0]
    placed = train_shop().model.prior.place(text, np.zeros(0, np.int64))
    np.testing.assert_allclose(synced.model.backbone.items[row].numpy(), placed, atol=2e-2)  # in 8 bits
    warm = ~train_shop().model.cold.numpy()
    np.testing.assert_array_equal(synced.model.backbone.items[warm], train_shop().model.backbone.items[warm])


def test_a_link_to_a_deleted_entity_is_not_taken_for_one_to_a_new_entity(cache: Path) -> None:
    maker = next(row["target"] for row in make_tables().edges["made_by"].to_pylist() if row["source"] == "sku-07")
    tables = with_nodes(without_nodes(make_tables(), "maker", [maker]), "maker", [("m-new", "House of Novelty")])
    tables = with_edges(tables, "made_by", [("sku-06", "m-new")])  # the row before that of sku-07
    changes = sync(tables, cache)[1].changes
    found = changes.edges["made_by"]
    assert (found.n_added, found.n_deleted, found.n_now) == (1, 5, len(ITEMS) - 5 + 1)
    assert changes.nodes["product"].relinked == ("sku-01", "sku-06", "sku-07", "sku-13", "sku-19", "sku-25")


def test_new_entities_are_told_in_reasons(cache: Path) -> None:
    tables = with_nodes(make_tables(), "maker", [("m-new", "House of Novelty")])
    tables = with_nodes(tables, "product", [("sku-98", "tea one"), ("sku-99", "tea two")])
    tables = with_edges(tables, "made_by", [("sku-98", "m-new"), ("sku-99", "m-new")])
    synced, _ = sync(tables, cache)
    found = Recommender(synced).recommend(likes=["sku-98"], candidates=["sku-99"], k=1, explain=True)
    assert found[0].reason == "same maker (House of Novelty) as tea one, which you liked"


# -- items that change -------------------------------------------------------------------------------------------------


def test_a_changed_text(cache: Path) -> None:
    titles = {"sku-02": "oolong", COLD: "green tea pot"}
    synced, report = sync(with_nodes(make_tables(), "product", list(titles.items())), cache)
    before, model = train_shop().model, synced.model
    assert report.changes.nodes["product"].changed == ("sku-02", COLD)
    assert (report.n_encoded, report.n_placed) == (2, 1)
    for item, title in titles.items():
        row = ITEMS.index(item)
        assert synced.names["product"][row] == title
        np.testing.assert_allclose(model.text[row], WordEncoder().encode([title])[0], atol=5e-3)
    np.testing.assert_array_equal(model.backbone.items[:-1], before.backbone.items[:-1])  # learned ones stay
    by_hand = Recommender(sync(without_nodes(make_tables(), "product", [COLD]), cache)[0], WordEncoder())
    maker = next(row["target"] for row in make_tables().edges["made_by"].to_pylist() if row["source"] == COLD)
    by_hand.add_item(COLD, text=titles[COLD], links=[("made_by", maker)])
    np.testing.assert_allclose(model.backbone.items[-1], by_hand.bundle.model.backbone.items[-1], atol=1e-6)


def test_an_item_without_a_text_is_told_from_its_neighbours(cache: Path) -> None:
    tables = with_nodes(make_tables(), "product", [("sku-99", None)])
    tables = with_edges(tables, "made_by", [("sku-99", MAKERS[0])])
    synced, _ = sync(tables, cache)
    np.testing.assert_allclose(
        synced.model.text[-1], WordEncoder().encode([f"maker: House of {MAKERS[0]}"])[0], atol=5e-3
    )
    renamed = with_nodes(tables, "maker", [(MAKERS[0], "Mill")])
    again, report = sync(renamed, cache, synced)
    assert report.changes.nodes["maker"].changed == (MAKERS[0],)
    assert report.changes.nodes["product"].changed == ("sku-99",)
    np.testing.assert_allclose(again.model.text[-1], WordEncoder().encode(["maker: Mill"])[0], atol=5e-3)
    silent = without_edges(renamed, "made_by", [("sku-99", MAKERS[0])])
    last, report = sync(silent, cache, again)
    assert report.changes.nodes["product"].relinked == ("sku-99",)
    assert not last.model.text[-1].any()
    placed = last.model.prior.place(None, np.zeros(0, np.int64))
    np.testing.assert_allclose(last.model.backbone.items[-1], placed, atol=2e-2)


def test_the_encoder_is_loaded_only_for_a_text(cache: Path) -> None:
    tables = with_edges(make_tables(), "bought", [(NEWCOMER, "sku-00", 5.0)])
    synced, report = sync_bundle(train_shop(), tables, None, cache, now=NOW)  # there is no encoder called "words"
    assert report.changes.likes.n_added == 1
    assert synced.liked.nnz == train_shop().liked.nnz + 1


@functools.cache
def train_without_texts() -> Bundle:
    """A bundle of the shop whose nodes have neither names nor texts."""
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(silence(make_tables()), CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)


def silence(tables: GraphTables) -> GraphTables:
    """The tables as a catalogue has them that knows no names and texts."""
    silent = CatalogueSchema.parse("""
    name = "silent shop"
    [nodes.product]
    label = "Product"
    key = "sku"
    [nodes.maker]
    label = "Maker"
    key = "maker_id"
    [nodes.customer]
    label = "Customer"
    key = "customer_id"
    [edges.made_by]
    source = "product"
    type = "MADE_BY"
    target = "maker"
    [edges.spare_part_of]
    source = "product"
    type = "SPARE_PART_OF"
    target = "product"
    [edges.bought]
    source = "customer"
    type = "BOUGHT"
    target = "product"
    attributes = { stars = "float" }
    [interaction]
    edge = "bought"
    weight = "stars"
    positive = 4
    """)
    nodes = {name: table.select([silent.nodes[name].key]) for name, table in tables.nodes.items()}
    return GraphTables(silent, nodes, tables.edges)


def test_a_catalogue_whose_items_had_no_texts(cache: Path) -> None:
    bundle = train_without_texts()
    assert bundle.model.text.shape == (len(ITEMS), 0)
    tables = with_nodes(make_tables(), "product", [("sku-99", "tea green late")])
    tables = silence(with_edges(tables, "made_by", [("sku-99", MAKERS[0])]))
    synced, report = sync_bundle(bundle, tables, None, cache, now=NOW)  # no encoder is asked
    assert (report.n_encoded, report.n_placed) == (0, 1)
    by_hand = Recommender(bundle, WordEncoder())
    by_hand.add_item("sku-99", links=[("made_by", MAKERS[0])])
    for user in USERS[:4]:
        found, expected = (each.recommend(user, k=20) for each in (Recommender(synced), by_hand))
        assert_same_but_for_rounding(found, expected)
    assert_same_but_for_rounding(Recommender(synced).similar("sku-99", 5), by_hand.similar("sku-99", 5))


def test_a_bundle_without_texts_encodes_none_that_came_later(cache: Path) -> None:
    bundle = replace(train_without_texts(), schema=SCHEMA)  # whose items and makers have names and texts by now
    synced, report = sync_bundle(bundle, make_tables(), None, cache, now=NOW)
    assert (report.n_encoded, report.changes.nodes["product"].changed) == (0, ITEMS)
    assert synced.model.text.shape == (len(ITEMS), 0)


# -- several syncs -----------------------------------------------------------------------------------------------------

some_users = st.sets(st.sampled_from(USERS), max_size=5)
some_bought = st.dictionaries(
    st.tuples(st.sampled_from([*USERS, "u-new"]), st.sampled_from([*ITEMS, "sku-97", "sku-98"])),
    st.sampled_from([1.0, 5.0]),
    max_size=12,
)


def change(
    gone_users: set[str], bought: dict[tuple[str, str], float], makers: dict[str, str], gone_items: set[str]
) -> GraphTables:
    """The shop with new products, a new customer and a new maker, other makers and other purchases."""
    tables = with_nodes(make_tables(), "product", [("sku-97", "tea black fine"), ("sku-98", "bike bell small")])
    tables = with_nodes(with_nodes(tables, "customer", [("u-new",)]), "maker", [("m-new", "House of Novelty")])
    for item, maker in makers.items():
        old = [(r["source"], r["target"]) for r in tables.edges["made_by"].to_pylist() if r["source"] == item]
        tables = with_edges(without_edges(tables, "made_by", old), "made_by", [(item, maker)])
    tables = with_edges(tables, "bought", [(*ends, stars) for ends, stars in bought.items()])
    return without_nodes(without_nodes(tables, "customer", gone_users), "product", gone_items)


changes = st.builds(
    change,
    some_users,
    some_bought,
    st.dictionaries(st.sampled_from([*ITEMS, "sku-97", "sku-98"]), st.sampled_from([*MAKERS, "m-new"]), max_size=4),
    st.sets(st.sampled_from([*ITEMS[:4], "sku-97"]), max_size=2),
)


@SETTINGS
@given(tables=changes)
def test_twice_is_once(cache: Path, tables: GraphTables) -> None:
    once, _ = sync(tables, cache)
    twice, report = sync(tables, cache, once)
    assert not report.changes
    assert (report.n_encoded, report.n_placed) == (0, 0)
    assert twice.lineage == once.lineage
    assert_same_answers(twice, once)


@SETTINGS
@given(first=changes, second=changes)
def test_by_steps_is_at_once(cache: Path, first: GraphTables, second: GraphTables) -> None:
    """But for learned items that were gone for a while: what was learned of them is lost."""
    lost = set(second.ids("product").to_pylist()) & (set(ITEMS) - set(first.ids("product").to_pylist()))
    second = without_nodes(second, "product", lost)
    by_steps, report = sync(second, cache, sync(first, cache)[0])
    at_once, expected = sync(second, cache)
    if links_of(first, COLD) == links_of(make_tables(), COLD) and not likes_unlearned(first, second):
        assert_same_answers(by_steps, at_once)
    else:  # items were placed before their numbers were stored, and are now placed again by those that are
        assert_same_but_for_storing(by_steps, at_once)
    assert report.staleness == expected.staleness


def likes_unlearned(*changed: GraphTables) -> bool:
    """Whether anybody likes an item that nobody liked in training; it is placed by its likes."""
    learned = set(ITEMS) - {COLD}
    return any(set(tables.edges["bought"]["target"].to_pylist()) - learned for tables in changed)


def links_of(tables: GraphTables, item: str) -> set[str]:
    return {row["target"] for row in tables.edges["made_by"].to_pylist() if row["source"] == item}


@SETTINGS
@given(tables=changes)
def test_there_and_back_again(cache: Path, tables: GraphTables) -> None:
    gone = set(ITEMS) - set(tables.ids("product").to_pylist())
    tables = with_nodes(tables, "product", [(item, "any") for item in gone])
    back, report = sync(make_tables(), cache, sync(tables, cache)[0])
    assert_same_but_for_storing(back, train_shop())
    assert (report.staleness.new_likes, report.staleness.gone_likes, report.staleness.gone_items) == (0, 0, 0)
    assert back.lineage == replace(train_shop().lineage, n_syncs=2, synced_at=NOW)


def test_an_item_added_by_hand_and_to_the_store(cache: Path) -> None:
    by_hand = Recommender(train_shop(), WordEncoder())
    by_hand.add_item("sku-99", text="tea", links=[("made_by", MAKERS[1])], name="tea green late")
    tables = with_nodes(make_tables(), "product", [("sku-99", "tea green late")])
    tables = with_edges(tables, "made_by", [("sku-99", MAKERS[0])])
    synced, report = sync(tables, cache, by_hand.bundle)
    assert_same_answers(synced, sync(tables, cache)[0])  # the store is the truth
    assert report.changes.nodes["product"].relinked == ("sku-99",)
    gone, report = sync(make_tables(), cache, by_hand.bundle)
    assert report.changes.nodes["product"].deleted == ("sku-99",)
    assert_same_answers(gone, train_shop())


# -- what cannot be synced ---------------------------------------------------------------------------------------------


def test_a_preview_is_the_report_of_the_sync(cache: Path) -> None:
    tables = change({TEA}, {(BIKE, "sku-97"): 5.0}, {"sku-97": "m-new"}, {"sku-02"})
    preview = preview_sync(train_shop(), tables, now=NOW)
    products = preview.changes.nodes["product"]
    assert (products.added, products.deleted) == (("sku-97", "sku-98"), ("sku-02",))
    assert preview == sync(tables, cache)[1]


def test_a_catalogue_of_another_schema(cache: Path) -> None:
    other = CatalogueSchema.model_validate(SCHEMA.model_dump() | {"name": "market"})
    tables = make_tables()
    with pytest.raises(BundleError, match=r"schema 'shop' \(.*the catalogue has 'market' .*train again"):
        sync(GraphTables(other, tables.nodes, tables.edges), cache)


def test_a_catalogue_with_other_items(cache: Path) -> None:
    tables = with_nodes(without_nodes(make_tables(), "product", ITEMS), "product", [("B-1", "beans")])
    with pytest.raises(BundleError, match=r"none of the bundle's 30 items .* which has 1: name the store"):
        sync(tables, cache)


def test_another_encoder(cache: Path) -> None:
    class Newer(WordEncoder):
        revision = "words-2"

    encoder: Encoder = Newer()
    tables = with_nodes(make_tables(), "product", [("sku-99", "tea")])
    with pytest.raises(BundleError, match=r"'words' has revision words-2, .* trained with words-1"):
        sync_bundle(train_shop(), tables, encoder, cache, now=NOW)


def test_a_user_who_has_seen_but_not_liked_stays_so(cache: Path) -> None:
    synced, _ = sync(make_tables(), cache)
    assert "sku-00" not in Recommender(synced).recommend(LURKER, k=len(ITEMS) - 1).ids
