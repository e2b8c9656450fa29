"""Items that are changed or removed answer as if they had always been so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bookshop import book, train_bookshop
from linked_shop import train_linked
from rounding import assert_same_as_stored, assert_same_but_for_rounding
from shop import N_ITEMS, WordEncoder, make_tables, train_shop
from shop_changes import with_edges, with_nodes, without_edges, without_nodes

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.recommend import NewItem, Recommender
from kgrec.sync import sync_bundle

NOW = 1_700_000_000
ITEMS, USERS = train_shop().items.ids, train_shop().users.ids
COLD = ITEMS[-1]  # nobody likes it in training
LEARNED = "sku-02"
LIKES = [f"sku-{place:02}" for place in (4, 7, 8)]


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


def sync(tables: GraphTables, folder: Path) -> Bundle:
    return sync_bundle(train_shop(), tables, WordEncoder(), folder, now=NOW)[0]


def maker_of(item: str) -> str:
    return next(row["target"] for row in make_tables().edges["made_by"].to_pylist() if row["source"] == item)


def assert_same_answers(found: Bundle, expected: Bundle, alike: Sequence[str] = ()) -> None:
    """Every kind of request is answered alike, to everybody."""
    assert found.items.ids == expected.items.ids
    assert found.names == expected.names
    assert {name: sorted(ends.T.tolist()) for name, ends in found.edges.items()} == {
        name: sorted(ends.T.tolist()) for name, ends in expected.edges.items()
    }
    np.testing.assert_array_equal(found.link_node, expected.link_node)
    np.testing.assert_array_equal(found.seen.toarray(), expected.seen.toarray())
    np.testing.assert_array_equal(found.available, expected.available)
    one, other = Recommender(found, WordEncoder()), Recommender(expected, WordEncoder())
    k, likes = len(expected.items), [item for item in (*LIKES, *expected.items.ids[:2]) if item in expected.items]
    for ask in ({"users": sorted(expected.users.ids)}, {"likes": {"u": likes}}):
        assert_same_but_for_rounding(*(each.recommend_many(k=k, **ask) for each in (one, other)))  # type: ignore[arg-type]
    assert_same_but_for_rounding(*(each.recommend(likes=likes, k=k, explain=True) for each in (one, other)))
    if expected.model.has_texts:
        assert_same_but_for_rounding(*(each.recommend(text="black tea", k=k) for each in (one, other)))
    for item in (*alike, expected.items.ids[-1]):
        assert_same_but_for_rounding(one.similar(item, k), other.similar(item, k))


# -- remove ------------------------------------------------------------------------------------------------------------


def test_a_removed_new_item_was_never_there(shop: Recommender) -> None:
    new = [
        NewItem("pot", text="tea green pot", name="Pot", links=[("made_by", "m-tea-0"), ("spare_part_of", "sku-04")]),
        NewItem("lid", name="Lid", links=[("spare_part_of", "pot")]),
    ]
    shop.add_items(new)
    shop.add_interactions(pa.table({"user": [USERS[0]] * 2, "item": ["pot", "lid"], "stars": [5, 2]}))
    shop.recommend(USERS[0], explain=True)  # so that there are values to keep
    assert shop.bundle.liked.nnz == train_shop().liked.nnz + 1
    shop.remove_items(["lid", "pot"])
    assert_same_answers(shop.bundle, train_shop(), [COLD, LEARNED])


def test_rows_that_move_keep_their_answers(shop: Recommender) -> None:
    """Of three new items the middle one goes: the last moves up, with its likes and links."""
    new = [NewItem(f"n{place}", text=f"tea black {place}", links=[("made_by", "m-tea-0")]) for place in range(3)]
    likes = pa.table({"user": ["c00", "c02"], "item": ["n2", "n2"], "stars": [5, 5]})
    shop.add_items(new)
    shop.add_interactions(likes)
    shop.remove_items("n1")
    other = Recommender(train_shop(), WordEncoder())
    other.add_items([new[0], new[2]])
    other.add_interactions(likes)
    assert_same_answers(shop.bundle, other.bundle, ["n2"])


def test_removed_learned_items_are_removed_as_by_a_sync(shop: Recommender, tmp_path: Path) -> None:
    gone = {"sku-00", "sku-05", COLD}
    shop.recommend("c00", explain=True)
    shop.remove_items(sorted(gone))
    assert_same_answers(shop.bundle, sync(without_nodes(make_tables(), "product", gone), tmp_path))
    assert not gone & set(shop.recommend("c00", k=N_ITEMS, filter_seen=False).ids)
    for name, hashes in sync(without_nodes(make_tables(), "product", gone), tmp_path).contents.items():
        np.testing.assert_array_equal(shop.bundle.contents[name], hashes)


def test_a_bundle_without_some_items_is_saved_and_read(shop: Recommender, tmp_path: Path) -> None:
    shop.remove_items(["sku-00", "sku-11"])
    shop.save(tmp_path / "bundle")
    assert_same_answers(Recommender.load(tmp_path / "bundle").bundle, shop.bundle)


def test_links_and_times_of_users_to_removed_items_are_gone() -> None:
    shop = Recommender(train_bookshop(), WordEncoder())
    for user in shop.bundle.users.ids[:5]:
        shop.recommend(user, k=3, explain=True)
    gone = [book(0), book(3)]
    shop.remove_items(gone)
    fresh = Recommender(shop.bundle, WordEncoder())  # computes all that the changed one has kept
    for user in shop.bundle.users.ids[:8]:
        found = shop.recommend(user, k=5, explain=True)
        assert not set(gone) & set(found.ids)
        assert_same_but_for_rounding(found, fresh.recommend(user, k=5, explain=True))


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["sku-00", "nothing"], "unknown item 'nothing': not among the 30 items"),
        (["no", "nothing", "sku-00"], "unknown item 'no' and 1 more"),
        (ITEMS, "cannot remove all 30 items"),
        ({"sku-00": None}.items(), "each of items"),
        (None, "unknown item 'None'"),
    ],
)
def test_all_are_removed_or_none(shop: Recommender, items: Sequence[str], said: str) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=said):
        shop.remove_items(["None"] if items is None else items)
    assert shop.bundle is before
    shop.remove_items([])
    assert shop.bundle is before


# -- change ------------------------------------------------------------------------------------------------------------


def test_a_learned_item_is_changed_as_by_a_sync(shop: Recommender, tmp_path: Path) -> None:
    tables = with_nodes(make_tables(), "product", [(LEARNED, "bike bell loud")])
    tables = with_edges(
        without_edges(tables, "made_by", [(LEARNED, maker_of(LEARNED))]), "made_by", [(LEARNED, "m-bike-1")]
    )
    tables = with_edges(tables, "spare_part_of", [(LEARNED, COLD)])
    synced = sync(tables, tmp_path)
    shop.recommend("c00", explain=True)
    links = [("made_by", "m-bike-1"), ("spare_part_of", COLD)]
    assert shop.change_items([NewItem(LEARNED, text="bike bell loud", name="bike bell loud", links=links)]) == {}
    assert_same_answers(shop.bundle, synced, [LEARNED, COLD])
    assert shop.recommend("c01", candidates=[LEARNED]).items[0].title == "bike bell loud"
    before = train_shop().model.backbone.items[ITEMS.index(LEARNED)]
    np.testing.assert_array_equal(shop.bundle.model.backbone.items[ITEMS.index(LEARNED)], before)


def test_a_placed_item_is_changed_as_by_a_sync(shop: Recommender, tmp_path: Path) -> None:
    tables = with_nodes(make_tables(), "product", [(COLD, "green tea pot")])
    tables = without_edges(tables, "made_by", [(COLD, maker_of(COLD))])
    shop.change_items([NewItem(COLD, text="green tea pot", name="green tea pot")])
    assert_same_answers(shop.bundle, sync(tables, tmp_path), [COLD])


def test_a_sync_after_a_change_brings_back_what_the_store_says(shop: Recommender, tmp_path: Path) -> None:
    """Where only the text differs, names and links do not tell that the item changed."""
    row = ITEMS.index(COLD)
    name = train_shop().names["product"][row]
    shop.change_items([NewItem(COLD, text="bike", name=name, links=[("made_by", maker_of(COLD))])])
    assert not np.allclose(shop.bundle.model.text[row], train_shop().model.text[row], atol=1e-2)
    synced, report = sync_bundle(shop.bundle, make_tables(), WordEncoder(), tmp_path, now=NOW)
    assert report.changes.nodes["product"].changed == (COLD,)
    np.testing.assert_array_equal(synced.model.text, train_shop().model.text)
    found, expected = (Recommender(each, WordEncoder()) for each in (synced, train_shop()))
    for ask in ({"text": "black tea"}, {"likes": LIKES}):
        assert_same_as_stored(*(each.recommend(**ask, k=N_ITEMS) for each in (found, expected)))  # type: ignore[arg-type]


def test_a_change_is_removal_and_addition_for_new_items(shop: Recommender) -> None:
    old = NewItem("pot", text="tea green pot", name="Pot", links=[("made_by", "m-tea-0"), ("spare_part_of", COLD)])
    new = NewItem("pot", text="bike bell", name="Bell", links=[("made_by", "m-bike-1"), ("made_by", "nobody")])
    shop.add_items([old])
    other = shop.branch()
    assert shop.change_items([new]) == {"pot": ("nobody",)}
    other.remove_items("pot")
    other.add_items([new])
    assert_same_answers(shop.bundle, other.bundle, ["pot", COLD])


def test_values_and_links_of_a_changed_item() -> None:
    """A price, dedications to users, and values of the maker, as of an item that was added so."""
    shop = Recommender(train_linked(), WordEncoder())
    old = NewItem(
        "pot", text="tea pot", links=[("made_by", "m-bike-1"), ("dedicated_to", "c00")], attributes={"price": 29}
    )
    new = NewItem(
        "pot", text="tea pot", links=[("made_by", "m-tea-0"), ("dedicated_to", "c02")], attributes={"price": 3}
    )
    other = shop.branch()
    shop.add_items([old])
    shop.recommend("c00", k=3, explain=True, at_most={"maker": 1})
    shop.change_items([new])
    other.add_items([new])
    assert_same_answers(shop.bundle, other.bundle, ["pot"])
    for kept in (shop, Recommender(shop.bundle, WordEncoder())):
        found = kept.recommend("c02", k=10, explain=True, at_most={"maker": 1})
        assert_same_but_for_rounding(found, other.recommend("c02", k=10, explain=True, at_most={"maker": 1}))


def test_links_of_users_and_of_other_items_stay(shop: Recommender) -> None:
    shop.change_items([NewItem("sku-05", text="bike", name="bike")])  # sku-01 is a spare part of it
    row = [ITEMS.index(item) for item in ("sku-01", "sku-05")]
    assert row in shop.bundle.edges["spare_part_of"].T.tolist()
    assert ITEMS.index("sku-05") not in shop.bundle.edges["made_by"][0]
    np.testing.assert_array_equal(shop.bundle.liked.toarray(), train_shop().liked.toarray())


def test_a_placed_item_keeps_its_likes_when_it_changes(shop: Recommender) -> None:
    likes = pa.table({"user": ["c00", "c02", "c04"], "item": [COLD] * 3, "stars": [5] * 3})
    new = NewItem(COLD, text="bike chain", links=[("made_by", "m-bike-1")])
    other = shop.branch()
    shop.add_interactions(likes)
    shop.change_items([new])
    other.change_items([new])
    other.add_interactions(likes)
    assert_same_answers(shop.bundle, other.bundle, [COLD])


def test_an_item_is_described_by_the_new_names_of_its_neighbours(shop: Recommender) -> None:
    links = [("spare_part_of", "sku-04")]
    shop.change_items([NewItem(LEARNED, links=links), NewItem("sku-04", text="x", name="oolong")])
    expected = WordEncoder().encode(["spare part of: oolong"])[0]
    np.testing.assert_allclose(shop.bundle.model.text[ITEMS.index(LEARNED)], expected, atol=5e-3)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([NewItem(LEARNED, text="tea"), NewItem("nothing", text="tea")], "unknown item 'nothing'"),
        ([NewItem(LEARNED, text="tea"), NewItem(LEARNED, text="bike")], "'sku-02' is given twice"),
        ([NewItem(LEARNED, text="tea"), NewItem(COLD)], "item 2 of 2, 'sku-29': cannot place item"),
        ([NewItem(LEARNED, text="tea", links=[("bought", "c00")])], "no edge type 'bought'"),
        ([NewItem(LEARNED, text=" ")], "expected a text with words"),
        ([NewItem(LEARNED, text="tea", vectors={"photo": [1.0]})], "was not trained on vectors 'photo'"),
    ],
)
def test_all_are_changed_or_none(shop: Recommender, bad: list[NewItem], said: str) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=said):
        shop.change_items(bad)
    assert shop.bundle is before
    assert shop.change_items([]) == {}


# -- branches ----------------------------------------------------------------------------------------------------------


def test_changes_of_a_branch_and_of_its_origin_are_apart(shop: Recommender) -> None:
    before = shop.bundle
    branch = shop.branch()
    branch.add_item("pot", text="tea pot")
    branch.remove_items("sku-00")
    assert shop.bundle is before
    assert "pot" not in shop.bundle.items
    shop.add_item("cup", text="tea cup")
    shop.add_item("pot", text="bike chain")
    assert (branch.bundle.items.row("cup"), "sku-00" in branch.bundle.items) == (None, False)
    other = Recommender(replace(before), WordEncoder())
    other.add_item("cup", text="tea cup")
    other.add_item("pot", text="bike chain")
    assert_same_answers(shop.bundle, other.bundle, ["pot"])
