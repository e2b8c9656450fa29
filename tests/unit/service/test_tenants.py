"""Tenants: which items exist for a key, by a link, a kind of node, or a value."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from book_club import CONFIG, make_club
from linked_shop import train_linked
from shop import WordEncoder, train_shop

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.messages import ItemPart
from kgrec.recommend import Recommender
from kgrec.recommend.new_items import NewItem
from kgrec.service.caller import Tenant
from kgrec.service.problems import Problem
from kgrec.service.tenants import allowed_items, check_new_item, check_tenant, read_tenant
from kgrec.training.train_bundle import train_bundle


@cache
def train_club() -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_club(), CONFIG, WordEncoder(), Path(folder), trained_at=0)


def ids(bundle: Bundle, tenant: Tenant) -> list[str]:
    return [bundle.items.ids[row] for row in np.flatnonzero(allowed_items(bundle, tenant))]


@pytest.mark.parametrize("kind", ["made_by", "maker"])
def test_a_maker_has_its_items(kind: str) -> None:
    bundle = train_shop()
    assert ids(bundle, Tenant(kind, "m-tea-0")) == ["sku-00", "sku-06", "sku-12", "sku-18", "sku-24"]
    assert check_tenant(bundle, Tenant(kind, "m-tea-0")) == 5


@pytest.mark.parametrize("tenant", [
    Tenant("made_by", "m-none"), Tenant("shop", "m-tea-0"), Tenant("spare_part_of", "sku-05"), Tenant("bought", "c00"),
    Tenant("product", "sku-05"), Tenant("customer", "c00"), Tenant("", ""),
])  # fmt: skip
def test_nothing_exists_for_an_unknown_node_or_kind(tenant: Tenant) -> None:
    assert ids(train_shop(), tenant) == []


def test_links_to_users_and_numbers_are_no_tenants() -> None:
    bundle = train_linked()
    for tenant in (Tenant("dedicated_to", "c00"), Tenant("price", "3"), Tenant("product.price", "3")):
        assert ids(bundle, tenant) == []
        with pytest.raises(Problem):
            check_tenant(bundle, tenant)


def test_a_value_has_its_items() -> None:
    bundle = train_club()
    for genre in range(4):
        assert ids(bundle, Tenant("genre", f"genre {genre}")) == [f"b{row:03}" for row in range(genre, 80, 4)]
    assert ids(bundle, Tenant("genre", "missing")) == []
    assert ids(bundle, Tenant("genre", "genre 9")) == []


def test_an_unknown_kind_is_told_with_what_there_is() -> None:
    with pytest.raises(Problem) as caught:
        check_tenant(train_shop(), Tenant("makers", "m-tea-0"))
    assert caught.value.status == 422
    assert caught.value.expected == "one of ['maker', 'made_by']"
    assert caught.value.to_do == "did you mean 'maker'?"
    with pytest.raises(Problem) as caught:
        check_tenant(train_club(), Tenant("shop", "s-7"))
    assert caught.value.expected == "one of ['genre']"


def test_an_unknown_node_of_a_known_kind_has_no_items_yet() -> None:
    assert check_tenant(train_shop(), Tenant("maker", "m-none")) == 0


def test_added_items_are_the_tenants() -> None:
    recommender = Recommender(train_shop(), WordEncoder())
    recommender.add_items([NewItem("new", links=[("made_by", "m-bike-1")])])
    assert ids(recommender.bundle, Tenant("maker", "m-bike-1"))[-2:] == ["sku-25", "new"]


@pytest.mark.parametrize(
    ("tenant", "item", "is_own"),
    [
        (Tenant("maker", "m-tea-0"), ItemPart(item="new", links=[("made_by", "m-tea-0")]), True),
        (Tenant("made_by", "m-tea-0"), ItemPart(item="new", links=[("made_by", "m-tea-0")]), True),
        (Tenant("made_by", "m-tea-0"), ItemPart(item="new", links=[("made_by", "m-bike-1")]), False),
        (Tenant("made_by", "m-tea-0"), ItemPart(item="new", links=[("spare_part_of", "m-tea-0")]), False),
        (Tenant("made_by", "m-tea-0"), ItemPart(item="m-tea-0", text="m-tea-0"), False),
        (Tenant("shop", "m-tea-0"), ItemPart(item="new", links=[("shop", "m-tea-0")]), False),
    ],
)
def test_a_tenant_adds_items_with_its_link(tenant: Tenant, item: ItemPart, is_own: bool) -> None:
    assert check_new_item(tenant, train_shop().schema, item) is is_own


@pytest.mark.parametrize(
    ("value", "is_own"),
    [
        (["genre 1"], True),
        (["genre 2", " genre 1 "], True),
        ("genre 1", True),
        (["genre 2"], False),
        (1, False),
        (None, False),
    ],
)
def test_a_tenant_adds_items_with_its_value(value: object, is_own: bool) -> None:
    attributes = None if value is None else {"genre": value}
    item = ItemPart.model_validate({"item": "new", "attributes": attributes})
    assert check_new_item(Tenant("genre", "genre 1"), train_club().schema, item) is is_own


def test_a_tenant_is_read() -> None:
    assert read_tenant("shop=s=7") == Tenant("shop", "s=7")
    for wrong in ("shop", "shop=", "=s-7", ""):
        with pytest.raises(RequestError, match="KIND=ID"):
            read_tenant(wrong)
