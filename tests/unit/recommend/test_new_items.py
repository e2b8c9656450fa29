"""Many items added at once are as the same items added one by one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from rounding import assert_same_but_for_rounding
from shop import N_ITEMS, WordEncoder, make_tables, train_shop
from shop_changes import with_edges, with_nodes

from kgrec import NewItem
from kgrec.errors import RequestError
from kgrec.recommend import Recommender
from kgrec.text.encoder import OnTexts
from kgrec.text.node_texts import build_node_texts


class CountingEncoder(WordEncoder):
    """Keeps the texts of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return super().encode(texts, on_texts)


UNKNOWN = {"pot": ("nobody",), "lid": ("cup", "lid")}


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


def make_items() -> list[NewItem]:
    """The items, with links that are read once."""
    links = {
        "pot": [("made_by", "m-tea-0"), ("made_by", "nobody")],
        "lid": [("spare_part_of", "pot"), ("spare_part_of", "cup"), ("spare_part_of", "lid")],
        "bell": [("made_by", "m-bike-1")],
    }
    texts = {"pot": "tea green pot", "cup": "tea black cup", "bell": "bike bell"}
    names = {"pot": "Pot", "cup": "Cup"}
    return [
        NewItem(item, text=texts.get(item), links=iter(links.get(item, [])), name=names.get(item))
        for item in ("pot", "lid", "cup", "bell")
    ]


def test_many_at_once_are_as_one_by_one(shop: Recommender, tmp_path: Path) -> None:
    by_hand = Recommender(train_shop(), WordEncoder())
    found = {
        new.item: by_hand.add_item(new.item, text=new.text, links=new.links, name=new.name) for new in make_items()
    }
    assert shop.add_items(make_items()) == UNKNOWN == {item: ends for item, ends in found.items() if ends}
    assert shop.bundle.items.ids == by_hand.bundle.items.ids
    assert shop.bundle.names["product"][N_ITEMS:] == ["Pot", None, "Cup", None]
    for name, ends in by_hand.bundle.edges.items():
        np.testing.assert_array_equal(shop.bundle.edges[name], ends)
    shop.save(tmp_path / "bundle")
    for grown in (shop, Recommender.load(tmp_path / "bundle", encoder=WordEncoder())):
        for ask in ({"user": "c00"}, {"likes": ["pot", "sku-01"]}, {"text": "tea"}, {}):
            expected = by_hand.recommend(**ask, k=N_ITEMS, explain=True)  # type: ignore[arg-type]
            assert len(expected) > 20
            assert_same_but_for_rounding(grown.recommend(**ask, k=N_ITEMS, explain=True), expected)  # type: ignore[arg-type]
        for item in found:
            alike = grown.similar(item, N_ITEMS)
            assert len(alike) > 0
            assert_same_but_for_rounding(alike, by_hand.similar(item, N_ITEMS))
    shop.add_interactions(pa.table({"user": ["ann"], "item": ["cup"], "stars": [5]}))
    assert shop.recommend("ann", k=3).ids == shop.recommend(likes=["cup"], k=3).ids


def test_texts_are_encoded_in_one_call() -> None:
    encoder = CountingEncoder()
    Recommender(train_shop(), encoder).add_items(make_items())
    assert encoder.calls == [["tea green pot", "spare part of: Pot", "tea black cup", "bike bell"]]
    Recommender(train_shop(), encoder).add_items([NewItem("new", links=[("spare_part_of", "sku-00")], name="New")])
    assert encoder.calls[1:] == [["New"]]


def test_an_item_without_a_text_is_described_as_in_training() -> None:
    """By its name, or else by the names of its neighbours, as `build_node_texts` has them."""
    encoder = CountingEncoder()
    links = [("made_by", "m-tea-0"), ("made_by", "m-bike-1"), ("spare_part_of", "sku-06")]
    Recommender(train_shop(), encoder).add_items([NewItem("new", links=links)])
    tables = with_nodes(make_tables(), "product", [("new", None)])
    for edge_type in ("made_by", "spare_part_of"):
        tables = with_edges(tables, edge_type, [("new", far) for name, far in links if name == edge_type])
    row = tables.ids("product").to_pylist().index("new")
    assert encoder.calls == [[build_node_texts(tables)["product"][row]]]
    assert encoder.calls[0][0] == "maker: House of m-bike-1; House of m-tea-0. spare part of: tea green 6"


@pytest.mark.parametrize("at_once", [True, False])
def test_reasons_go_along_links_between_new_items(shop: Recommender, at_once: bool) -> None:
    shop.recommend("c00", explain=True)  # so that there is an index of paths to add to
    items = [NewItem("pot", text="tea pot"), NewItem("lid", text="tea lid", links=[("spare_part_of", "pot")])]
    if at_once:
        shop.add_items(items)
    else:
        shop.add_item("pot", text="tea pot")
        shop.add_item("lid", text="tea lid", links=[("spare_part_of", "pot")])
    share = next(share for share in shop.explain("lid", likes=["pot"]).shares if share.item == "pot")
    assert share.value > 0
    assert [path.sentence() for path in share.paths] == ["spare part of pot"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"item": "sku-00", "text": "tea"}, "'sku-00': item 'sku-00' exists already"),
        ({"item": "first", "text": "tea"}, "'first': item 'first' exists already"),
        ({"item": "new"}, "'new': cannot place item 'new'"),
        ({"item": "new", "links": [("made_by", "nobody")]}, r"'new': cannot place item.*; unknown: 'nobody'"),
        ({"item": "new", "links": [("bought", "c00")]}, "'new': no edge type 'bought' of the node type 'product'"),
        ({"item": "new", "links": ["made_by"]}, r"'new': expected each link as \(edge type"),
        ({"item": "new", "text": " "}, "'new': expected a text with words in it, got ' '"),
        ({"item": "new", "text": 7}, "'new': expected a text with words in it, got 7"),
        ({"item": "new", "name": ""}, "'new': expected an item's name as a text"),
        ({"item": 7.0, "text": "tea"}, "7.0: expected an item's id as a text or an integer"),
        (
            {"item": "new", "vectors": {"photo": [1.0]}},
            "'new': the model was not trained on vectors 'photo' of the node type 'product'",
        ),
    ],
)
def test_all_are_added_or_none(shop: Recommender, bad: dict[str, Any], said: str) -> None:
    before = shop.bundle
    with pytest.raises(RequestError, match=f"^item 2 of 3, {said}"):
        shop.add_items([NewItem("first", text="tea"), NewItem(**bad), NewItem("last", text="tea")])
    assert shop.bundle is before
    with pytest.raises(RequestError) as alone:
        shop.add_items([NewItem(**(bad | {"item": "sku-00"}))])
    assert not str(alone.value).startswith("item 1 of")


def test_what_is_no_list_of_items(shop: Recommender) -> None:
    with pytest.raises(RequestError, match="expected items as a list of NewItem, got dict at place 2"):
        shop.add_items([NewItem("new", text="tea"), {"item": "other", "text": "tea"}])  # type: ignore[list-item]
    before = shop.bundle
    assert shop.add_items([]) == {}
    assert shop.bundle is before


@pytest.mark.parametrize(
    ("far_id", "message"),
    [
        ("nobody", "no maker has the id 'nobody': the link 'made_by' of 'new' has no effect"),
        (" M-TEA-0", r"no maker has the id .* \(did you mean 'm-tea-0'\?\): the link"),
    ],
)
def test_a_link_to_nobody_is_told(shop: Recommender, far_id: str, message: str) -> None:
    with pytest.warns(UserWarning, match=message) as told:
        assert shop.add_item("new", name="New", links=[("made_by", far_id)]) == (far_id,)
    assert told[0].filename.endswith("recommender.py") or told[0].filename == __file__
    with pytest.warns(UserWarning, match="'a' has no effect; nor have 2 more links"):
        shop.add_items([NewItem("a", name="A", links=[("made_by", "x"), ("made_by", "y")]),
                        NewItem("b", name="B", links=[("made_by", "z")])])  # fmt: skip
