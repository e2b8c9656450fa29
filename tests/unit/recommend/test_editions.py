"""Who knows a thing is not recommended the same thing under another id."""

import numpy as np
import pytest
from shop import WordEncoder, train_shop

from kgrec.recommend import NewItem, Recommender
from kgrec.recommend.editions import find_editions

TEA = "sku-00"  # "tea green 0", made by m-tea-0


@pytest.fixture
def shop() -> Recommender:
    return Recommender(train_shop(), WordEncoder())


def editions_of(recommender: Recommender, item: str) -> set[str]:
    bundle = recommender.bundle
    row = bundle.items.row(item)
    assert row is not None
    return {bundle.items.ids[other] for other in find_editions(bundle)[[row]].indices}


def test_an_edition_has_the_name_a_link_and_the_text_of_another(shop: Recommender) -> None:
    assert find_editions(shop.bundle).nnz == 0
    maker, other_maker = [("made_by", "m-tea-0")], [("made_by", "m-tea-2")]
    shop.add_items(
        [
            NewItem("same", name="Tea, Green (0)", text="tea green 0", links=maker),
            NewItem("third", name="tea green 0", text="tea green 0", links=maker),
            NewItem("another maker", name="tea green 0", text="tea green 0", links=other_maker),
            NewItem("another number", name="tea green 1", text="tea green 0", links=maker),
            NewItem("another text", name="tea green 0", text="the story of a bell", links=maker),
        ]
    )
    assert editions_of(shop, TEA) == {"same", "third"}
    assert editions_of(shop, "third") == {"same", TEA}
    assert editions_of(shop, "another maker") == editions_of(shop, "another number") == set()
    assert editions_of(shop, "another text") == set()


def test_a_name_that_many_items_share_is_none(shop: Recommender) -> None:
    links = [("made_by", "m-tea-0")]
    shop.add_items([NewItem(f"new-{n}", name="Untitled", text="tea", links=links) for n in range(20)])
    assert find_editions(shop.bundle).nnz == 20 * 19
    shop.add_item("new-20", name="Untitled", text="tea", links=links)
    assert find_editions(shop.bundle).nnz == 0


@pytest.mark.parametrize("tail", [0.0, 0.5])
def test_editions_of_what_a_user_likes_or_has_seen_are_left_out(shop: Recommender, tail: float) -> None:
    shop.add_item("same", name="tea green 0", text="tea green 0", links=[("made_by", "m-tea-0")])
    everything = len(shop.bundle.items)
    assert "same" not in shop.recommend(likes=[TEA], k=everything, tail=tail).ids
    assert "same" in shop.recommend(likes=[TEA], k=everything, tail=tail, filter_seen=False).ids
    assert "same" in shop.recommend(likes=["sku-02"], k=everything, tail=tail).ids
    both = shop.recommend_many(likes={"a": [TEA], "b": ["sku-02"]}, k=everything, tail=tail).to_pandas()
    assert set(both[both["item"] == "same"]["user"]) == {"b"}
    shop.add_user("ann", likes=[TEA])
    assert "same" not in shop.recommend("ann", k=everything).ids
    assert "same" not in shop.recommend_many(["ann"], k=everything)["item"].to_pylist()


def test_editions_are_kept_while_items_stay(shop: Recommender) -> None:
    shop.recommend(likes=[TEA], k=1)
    before = shop._state.editions
    shop.add_user("ann", likes=[TEA])
    assert shop._state.editions is before
    shop.add_item("same", name="tea green 0", text="tea green 0", links=[("made_by", "m-tea-0")])
    np.testing.assert_array_equal(shop._state.editions.sum(axis=0).nonzero()[0], [0, len(shop.bundle.items) - 1])
