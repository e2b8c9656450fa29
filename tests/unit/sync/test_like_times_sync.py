"""The times of likes follow the store."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from shop import WordEncoder
from shop_changes import with_edges, without_edges, without_nodes
from timed_shop import make_timed_tables, train_timed

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.recommend import Recommender
from kgrec.sync import report as reports
from kgrec.sync.update import SyncReport, sync_bundle

NOW = 1_800_000_000


def times_of(bundle: Bundle) -> dict[tuple[str, str], int]:
    at = bundle.liked_at
    assert at is not None
    np.testing.assert_array_equal(at.indices, bundle.liked.indices)
    np.testing.assert_array_equal(at.indptr, bundle.liked.indptr)
    users = np.repeat(np.arange(at.shape[0]), np.diff(at.indptr)).tolist()
    pairs = zip(users, at.indices.tolist(), at.data.tolist(), strict=True)
    return {(bundle.users.ids[user], bundle.items.ids[item]): time for user, item, time in pairs}


def sync(tables: GraphTables, folder: Path, bundle: Bundle | None = None) -> tuple[Bundle, SyncReport]:
    return sync_bundle(bundle or train_timed(), tables, WordEncoder(), folder, now=NOW)


@pytest.mark.parametrize("time", [0, NOW])
def test_a_new_time_of_a_like_is_a_change(time: int, tmp_path: Path) -> None:
    (user, item), before = next(iter(times_of(train_timed()).items()))
    tables = with_edges(
        without_edges(make_timed_tables(), "bought", {(user, item)}), "bought", [(user, item, 5.0, time)]
    )
    synced, report = sync(tables, tmp_path)
    assert times_of(synced) == times_of(train_timed()) | {(user, item): time}
    assert before != time
    assert report.changes
    assert (report.changes.n_moved, report.changes.likes.n_added, report.changes.likes.n_deleted) == (1, 0, 0)
    assert reports.describe_changes(report.changes) == "likes 1 at another time"
    told = json.loads(reports.to_json(report, train_timed(), store="s", now=NOW))
    assert (told["likes_at_another_time"], told["changed"]) == (1, True)
    with (console := Console(width=120)).capture() as shown:
        reports.print_report(report, console, store="s")
    assert next(line for line in shown.get().splitlines() if " likes " in line).split()[2] == "1"
    assert synced.lineage.synced_at == NOW
    assert not sync(tables, tmp_path, synced)[1].changes


def test_times_stay_with_their_likes(tmp_path: Path) -> None:
    assert not sync(make_timed_tables(), tmp_path)[1].changes
    before = times_of(train_timed())
    tables = without_nodes(without_nodes(make_timed_tables(), "product", {"sku-00"}), "customer", {"c03"})
    tables = with_edges(tables, "bought", [("newcomer", "sku-29", 5.0, 12), ("c00", "sku-29", 2.0, 13)])
    synced, report = sync(tables, tmp_path)
    kept = {(user, item): time for (user, item), time in before.items() if item != "sku-00" and user != "c03"}
    assert times_of(synced) == kept | {("newcomer", "sku-29"): 12}
    assert report.changes.n_moved == 0


def test_what_was_added_without_a_time_gets_that_of_the_store(tmp_path: Path) -> None:
    shop = Recommender(train_timed(), WordEncoder())
    shop.add_interactions(pa.table({"user": ["c00"], "item": ["sku-29"], "stars": [5]}))
    tables = with_edges(make_timed_tables(), "bought", [("c00", "sku-29", 5.0, 77)])
    synced, report = sync(tables, tmp_path, shop.bundle)
    assert times_of(synced)["c00", "sku-29"] == 77
    assert report.changes.n_moved == 1
