"""`kgrec sync`: a store changes, and a bundle follows it."""

import csv
import json
from pathlib import Path

from conftest import RunCommand, Shop
from graph_deletions import delete_nodes

from kgrec import Recommender
from kgrec.store import open_store


def move_on(run: RunCommand, shop: Shop) -> None:
    """Loads a new product and a new customer, and deletes a product and a customer from the store."""
    for name, rows in (
        ("product", [["sku-90", "Oolong Tea 90", "a fine oolong tea, for tea lovers"]]),
        ("made_by", [["sku-90", "m/tea/0"]]),
        ("bought", [["c-900", "sku-90", "5", "1700000000"], ["c-900", "sku-02", "5", "1700000000"]]),
    ):
        with (shop.folder / f"{name}.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    assert run(*shop.load_args()).code == 0
    with open_store(shop.store, mode="write") as store:
        delete_nodes(store, "product", ["sku-03"])
        delete_nodes(store, "customer", ["c-001"])


def parse_report(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(text)
    return found


def test_a_bundle_follows_its_store(run: RunCommand, shop: Shop) -> None:
    n_liking = len(Recommender.load(shop.bundle).bundle.liked[:, [3]].nonzero()[0])
    move_on(run, shop)
    ran = run("sync", shop.store, shop.bundle)
    assert ran.code == 0, ran.err
    assert "No need to train again yet" in ran.out
    assert "encoded 1 text, placed 1 item by text and links" in ran.err
    recommender = Recommender.load(shop.bundle)
    found = recommender.recommend("c-900", k=23)
    assert "sku-90" not in found.ids
    assert "sku-03" not in found.ids
    assert {"sku-90", "sku-02"}.isdisjoint(found.ids)
    assert "sku-90" in recommender.recommend("c-000", k=15).ids
    assert "c-001" not in recommender.bundle.users
    assert (shop.bundle / "bundle.json").read_text(encoding="utf-8").find("c-001") == -1
    assert n_liking > 0

    ran = run("sync", shop.store, shop.bundle)
    assert ran.code == 0
    assert "nothing changed: the bundle stays as it is" in ran.err


def test_a_dry_run_reports_the_changes_and_writes_nothing(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    move_on(run, shop)
    before = {file.name: file.read_bytes() for file in shop.bundle.iterdir()}
    ran = run("sync", shop.store, shop.bundle, "--dry-run", "--format", "json", "--out", tmp_path / "other")
    assert ran.code == 0, ran.err
    found = parse_report(ran.out)
    assert found["nodes"] == {
        "product": {"now": 24, "added": 1, "changed": 0, "relinked": 0, "deleted": 1},
        "maker": {"now": 4, "added": 0, "changed": 0, "relinked": 0, "deleted": 0},
        "customer": {"now": 61, "added": 1, "changed": 0, "relinked": 0, "deleted": 1},
    }
    assert (found["texts_encoded"], found["items_placed"], found["retrain"]) == (1, 1, False)
    assert {file.name: file.read_bytes() for file in shop.bundle.iterdir()} == before
    assert not (tmp_path / "other").exists()


def test_writing_to_another_folder_keeps_the_bundle(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    move_on(run, shop)
    before = {file.name: file.read_bytes() for file in shop.bundle.iterdir()}
    assert run("sync", shop.store, shop.bundle, "--out", tmp_path / "other").code == 0
    assert {file.name: file.read_bytes() for file in shop.bundle.iterdir()} == before
    assert "sku-90" in Recommender.load(tmp_path / "other").bundle.items


def test_a_store_of_another_schema_is_refused(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(shop.schema.read_text().replace('name = "shop"', 'name = "market"'))
    store = f"ladybug:{tmp_path / 'other.db'}"
    assert run("load", "tabular", "--to", store, "--path", shop.folder, "--schema", other).code == 0
    ran = run("sync", store, shop.bundle)
    assert ran.code == 2
    assert "holds the schema 'market'" in ran.err
    assert "expected 'shop'" in ran.err


def test_a_foreign_folder_is_never_written_to(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    ran = run("sync", shop.store, shop.bundle, "--out", tmp_path / "photos")
    assert ran.code == 2
    assert "is no bundle" in ran.err


def test_a_bundle_follows_a_neo4j_graph(run: RunCommand, shop: Shop, neo4j_url: str) -> None:
    assert run(*shop.load_args(to=neo4j_url)).code == 0
    found = parse_report(run("sync", neo4j_url, shop.bundle, "--dry-run", "--format", "json").out)
    assert found["changed"] is False  # the same catalogue as in training, from another store
    with open_store(neo4j_url, mode="write") as store:
        delete_nodes(store, "product", ["sku-03"])
    ran = run("sync", neo4j_url, shop.bundle)
    assert ran.code == 0, ran.err
    assert "sku-03" not in Recommender.load(shop.bundle).bundle.items
