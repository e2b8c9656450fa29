"""Reasons on the command line, from the current graph of a store."""

import json

import pytest
from conftest import RunCommand, Shop
from graph_deletions import delete_edges, delete_nodes

from kgrec.store import open_store


@pytest.fixture(params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, run: RunCommand, shop: Shop) -> str:
    """The url of a store that holds the shop."""
    if request.param == "ladybug":
        return shop.store
    url: str = request.getfixturevalue("neo4j_url")
    assert run(*shop.load_args(to=url)).code == 0
    return url


def test_a_removed_edge_is_in_no_reason(run: RunCommand, shop: Shop, store: str) -> None:
    def explain(*options: object) -> str | None:
        ran = run("explain", shop.bundle, "--like", "sku-00", "--item", "sku-04", *options, "--format", "json")
        path: str | None = next(share["path"] for share in json.loads(ran.out) if share["source"] == "like")
        return path

    def recommend(*options: object) -> str:
        request = ["--like", "sku-00", "--candidates", shop.folder / "one.csv", "-k", 1, "--explain"]
        return str(json.loads(run("recommend", shop.bundle, *request, *options, "--format", "jsonl").out)["reason"])

    (shop.folder / "one.csv").write_text("item\nsku-04\n")
    reason = "same maker (Tea House 0) as Green Tea 0"
    assert explain() == explain("--store", store) == reason
    assert recommend() == recommend("--store", store) == f"{reason}, which you liked"
    with open_store(store, mode="write") as opened:
        assert delete_edges(opened, "made_by", [("sku-04", "m/tea/0")]) == 1
    assert explain("--store", store) is None
    assert recommend("--store", store) == "liked by people who like Green Tea 0, which you liked"
    assert explain() == reason


def test_an_item_that_is_gone_is_not_listed(run: RunCommand, shop: Shop, store: str) -> None:
    def list_items(*args: object) -> list[str]:
        ran = run(*args, "-k", 5, "--format", "json")
        assert ran.code == 0, ran.err
        return [str(row["item"]) for row in json.loads(ran.out)]

    requests = [("recommend", shop.bundle, "--like", "sku-00"), ("similar", shop.bundle, "sku-00")]
    before = [list_items(*request) for request in requests]
    gone = sorted({found[0] for found in before})
    assert [list_items(*request, "--store", store) for request in requests] == before
    with open_store(store, mode="write") as opened:
        assert delete_nodes(opened, "product", gone) == len(gone)
    for request, found in zip(requests, before, strict=True):
        now = list_items(*request, "--store", store)
        assert len(now) == 5 and not set(now) & set(gone)
        assert [item for item in now if item in found] == [item for item in found if item not in gone]
        assert list_items(*request) == found


def test_a_store_that_is_not_there_or_of_another_graph_is_refused(run: RunCommand, shop: Shop) -> None:
    ran = run("explain", shop.bundle, "--like", "sku-00", "--item", "sku-04", "--store", f"{shop.store}.none")
    assert ran.code == 2
    assert "there is no database at" in ran.err
    for name in ("product", "made_by", "bought"):
        file = shop.folder / f"{name}.csv"
        file.write_text(file.read_text().replace(",sku-", ",other-").replace("\nsku-", "\nother-"))
    other = f"ladybug:{shop.folder / 'other.db'}"
    assert run(*shop.load_args(to=other)).code == 0
    ran = run("recommend", shop.bundle, "--like", "sku-00", "--store", other)
    assert ran.code == 2
    assert "has none of 24 items of the bundle" in ran.err
