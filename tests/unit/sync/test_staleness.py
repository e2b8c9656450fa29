"""How stale a bundle is, in numbers worked by hand, and when it says to train again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from shop import WordEncoder, make_tables, train_shop
from shop_changes import with_edges, with_nodes, without_nodes

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.sync import Staleness, preview_sync, sync_bundle
from kgrec.sync.report import print_report

DAY_S = 86_400
TRAINED_AT = train_shop().trained_at
N_LIKES, N_LEARNED = 300, 29  # 50 customers like 6 products each; of the 30 products nobody has met the last


def measure(tables: GraphTables, bundle: Bundle | None = None) -> Staleness:
    return preview_sync(bundle or train_shop(), tables, now=TRAINED_AT + 5 * DAY_S).staleness


def test_what_training_learned_from() -> None:
    lineage = train_shop().lineage
    assert (lineage.n_likes, lineage.n_items, lineage.n_syncs, lineage.synced_at) == (N_LIKES, N_LEARNED, 0, None)
    np.testing.assert_array_equal(train_shop().model.n_likes, train_shop().liked.sum(axis=0))


def test_new_likes_and_new_items() -> None:
    tables = with_nodes(make_tables(), "product", [("sku-98", "tea one"), ("sku-99", "tea two")])
    likes = [("newcomer", f"sku-{place:02}", 5.0) for place in range(20)]
    tables = with_edges(tables, "bought", [*likes, ("newcomer", "sku-98", 5.0), ("lurker", "sku-99", 1.0)])
    found = measure(tables)
    assert found.age_s == 5 * DAY_S
    assert found.new_likes == pytest.approx(21 / 321)
    liked = int((train_shop().model.n_likes > 0).sum()) + 1  # sku-99 is not liked
    assert found.placed_items == pytest.approx(1 / liked)
    assert (found.gone_likes, found.gone_items) == (0, 0)
    assert not found.reasons


def test_gone_items_take_their_likes_with_them() -> None:
    likes = train_shop().model.n_likes.numpy()
    found = measure(without_nodes(make_tables(), "product", ["sku-00", "sku-07", "sku-29"]))
    assert found.gone_items == pytest.approx(2 / N_LEARNED)  # nothing was learned of sku-29
    assert found.gone_likes == pytest.approx((likes[0] + likes[7]) / N_LIKES)
    assert found.new_likes == 0


def test_gone_users_take_their_likes_with_them() -> None:
    found = measure(without_nodes(make_tables(), "customer", ["c00", "c01", "c02", "lurker"]))
    assert found.gone_likes == pytest.approx(18 / N_LIKES)
    assert (found.new_likes, found.gone_items, found.placed_items) == (0, 0, 0)


def test_syncs_add_up_against_the_training(tmp_path: Path) -> None:
    tables, bundle = make_tables(), train_shop()
    for n_users in range(1, 9):
        tables = without_nodes(tables, "customer", [f"c{n_users:02}"])
        tables = with_nodes(tables, "product", [(f"sku-9{n_users}", "tea")])
        tables = with_edges(tables, "bought", [("newcomer", f"sku-9{n_users}", 5.0)])
        bundle, report = sync_bundle(bundle, tables, WordEncoder(), tmp_path, now=TRAINED_AT + n_users)
        assert report.staleness.gone_likes == pytest.approx(6 * n_users / N_LIKES)
        assert report.staleness.new_likes == pytest.approx(n_users / (N_LIKES - 5 * n_users))
        assert (bundle.lineage.n_syncs, bundle.lineage.synced_at) == (n_users, TRAINED_AT + n_users)
    assert (bundle.lineage.n_likes, bundle.lineage.n_items) == (N_LIKES, N_LEARNED)


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("new_likes", 0.1, "of the likes came after the training"),
        ("placed_items", 0.1, "of the items with likes are placed by text and links alone"),
        ("gone_likes", 0.1, "of the likes trained on are gone"),
    ],
)
def test_each_share_is_a_reason_of_its_own(name: str, limit: float, words: str) -> None:
    fresh = Staleness(10**9, new_likes=0, gone_likes=0, placed_items=0, gone_items=0.9)
    assert fresh.reasons == ()  # neither age nor items that are gone
    assert replace(fresh, **{name: limit - 1e-6}).reasons == ()
    assert replace(fresh, **{name: limit}).reasons == (f"{limit:.0%} {words}",)


def test_the_report_that_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    tables = without_nodes(make_tables(), "product", [f"sku-{place:02}" for place in range(0, 26, 2)])
    tables = with_nodes(tables, "maker", [("m-new", "House of Novelty")])
    report = preview_sync(train_shop(), tables, now=TRAINED_AT + 5 * DAY_S)
    print_report(report, Console(width=100), store="ladybug:[shop].db")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["ladybug:[shop].db", "compared", "with", "the", "bundle"]
    assert ["node", "product", "13", "17"] in lines
    assert ["node", "maker", "1", "7"] in lines
    assert ["Staleness,", "5", "days", "after", "the", "training"] in lines
    assert lines[-1][:2] == ["Train", "again:"]
    gone = int(train_shop().model.n_likes[:26:2].sum()) / N_LIKES
    assert f"{gone:.0%} of the likes trained on are gone" in " ".join(lines[-1])
