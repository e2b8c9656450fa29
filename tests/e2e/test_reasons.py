"""Reasons on the command line, from the current graph of a store."""

import json

import pytest
from conftest import RunCommand, Shop
from graph_deletions import delete_edges

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


def test_a_store_that_no_reason_is_read_from_is_refused(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--like", "sku-00", "--store", shop.store)
    assert ran.code == 2
    assert "add --explain, or leave --store out" in ran.err
    ran = run("explain", shop.bundle, "--like", "sku-00", "--item", "sku-04", "--store", f"{shop.store}.none")
    assert ran.code == 2
    assert "there is no database at" in ran.err
