"""Likes of an item that nobody had met in training: they place it at once, in any order, and can be taken back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rounding import STORED
from shop import WordEncoder, train_shop

from kgrec.bundle import load_bundle
from kgrec.model.component import Support
from kgrec.recommend import Recommender

ITEMS, USERS = train_shop().items.ids, train_shop().users.ids
TEA, BIKE = USERS[:50:2], USERS[1:50:2]
COLD, COLD_TOO = ITEMS[-1], "sku-98"  # the one is of the training, a bicycle part by its text; the other is added
SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
some_likes = st.lists(
    st.tuples(st.sampled_from([*USERS, "guest", "visitor"]), st.sampled_from([COLD, COLD_TOO, "sku-00", "sku-01"])),
    unique=True, min_size=1, max_size=12,
)  # fmt: skip


@pytest.fixture
def shop() -> Recommender:
    return make_shop()


def make_shop() -> Recommender:
    found = Recommender(train_shop(), WordEncoder())
    found.add_item(COLD_TOO, text="tea green late")
    return found


def like(shop: Recommender, *pairs: tuple[str, str]) -> None:
    users, items = zip(*pairs, strict=True)
    shop.add_interactions(pa.table({"user": users, "item": items, "stars": [5.0] * len(pairs)}))


def vectors(shop: Recommender) -> np.ndarray:
    few_shot = shop.bundle.model.component("few_shot")
    assert few_shot is not None
    return torch.cat([few_shot.items, shop.bundle.model.backbone.items], dim=1).numpy()


def test_likes_of_one_taste_move_an_item_to_it(shop: Recommender) -> None:
    def place() -> int:
        """Among what the vectors, whatever the gate makes of them, recommend to one who likes bicycle parts."""
        rows = [shop.bundle.users.row(BIKE[20])]
        backbone = shop.bundle.model.backbone
        scores = (backbone.users(Support(shop.bundle.liked[rows])) @ backbone.items.T)[0]
        return int((scores > scores[-1]).sum())

    before, old = place(), vectors(shop)
    like(shop, *((user, COLD_TOO) for user in BIKE[:10]))
    assert place() < before  # though its text speaks of tea
    moved = np.flatnonzero((vectors(shop) != old).any(axis=1))
    assert [shop.bundle.items.ids[row] for row in moved] == [COLD_TOO]


def test_what_is_not_liked_moves_nothing(shop: Recommender) -> None:
    old = vectors(shop)
    shop.add_interactions(pa.table({"user": TEA[:3], "item": [COLD] * 3, "stars": [1.0] * 3}))
    like(shop, (TEA[0], "sku-01"), ("guest", COLD))  # of the guest nothing else is known
    np.testing.assert_allclose(vectors(shop), old, atol=1e-6)


@SETTINGS
@given(pairs=some_likes, data=st.data())
def test_the_order_of_likes_does_not_matter(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    one, other = make_shop(), make_shop()
    like(one, *pairs)
    for pair in data.draw(st.permutations(pairs)):
        like(other, pair)
    np.testing.assert_allclose(vectors(other), vectors(one), atol=STORED)


@SETTINGS
@given(pairs=some_likes, taken=st.sampled_from([*USERS, "guest"]))
def test_who_is_forgotten_was_never_there(pairs: list[tuple[str, str]], taken: str) -> None:
    with_them, without = make_shop(), make_shop()
    like(with_them, *pairs, (taken, COLD), (taken, "sku-05"))
    with_them.forget(taken)
    kept = [pair for pair in pairs if pair[0] != taken]
    if kept:
        like(without, *kept)
    np.testing.assert_allclose(vectors(with_them), vectors(without), atol=STORED)


def test_a_saved_bundle_keeps_where_items_are(shop: Recommender, tmp_path: Path) -> None:
    like(shop, *((user, COLD) for user in TEA[:4]))
    shop.save(tmp_path / "bundle")
    loaded = Recommender(load_bundle(tmp_path / "bundle"), WordEncoder())
    np.testing.assert_array_equal(vectors(loaded), vectors(shop))
    for each in (shop, loaded):
        like(each, (BIKE[0], COLD), (BIKE[1], COLD_TOO))
    np.testing.assert_array_equal(vectors(loaded), vectors(shop))
