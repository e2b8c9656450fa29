import datetime
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.console import Console
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.evaluate.evaluation import evaluate_catalogue, report_not_asked, report_slices
from kgrec.evaluate.evaluation_page import write_report
from kgrec.evaluate.evaluation_report import Report
from kgrec.evaluate.evaluation_tables import to_rich_tables
from kgrec.questions.slices import SkippedSlice
from kgrec.questions.splits import Likes, read_likes, split_likes

pytestmark = pytest.mark.slow

SCHEMA = CatalogueSchema.parse("""
name = "planted"
[nodes.reader]
label = "Reader"
key = "reader_id"
[nodes.book]
label = "Book"
key = "book_id"
[nodes.topic]
label = "Topic"
key = "topic_id"
[edges.about]
source = "book"
type = "ABOUT"
target = "topic"
[edges.read]
source = "reader"
type = "READ"
target = "book"
attributes = { stars = "float", read_at = "time" }
[interaction]
edge = "read"
weight = "stars"
at = "read_at"
positive = 4
""")
CONFIG = TrainConfig(
    device="cpu",
    embedding_dim=8,
    backbone=BackboneConfig(alphas=(0.1, 0.3), regularisations=(0.01,), epochs=4),
    item_item=ItemItemConfig(regularisation=1.0),
    prior=PriorConfig(links_dim=8, regularisations=(1.0, 10.0), gates=(0.0, 1.0), hidden=0),
    head=HeadConfig(epochs=1),
)
SPLIT = SplitConfig(cold_users=0.15, cold_items=0.15, warm=0.2, support_sizes=(0, 1, 3), least_likes=6)
AT = datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.UTC)
SEED = 3
N_USERS, N_ITEMS, N_TOPICS = 200, 80, 4


def plant() -> HeteroData:
    """Readers like books of one topic; a book's topic is a link, and its text gives the topic with noise."""
    rng = np.random.default_rng(11)
    topic_of_user, topic_of_item = np.arange(N_USERS) % N_TOPICS, np.arange(N_ITEMS) % N_TOPICS
    chance = np.where(topic_of_user[:, None] == topic_of_item, 0.7, 0.05)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < chance)
    data = HeteroData()
    data["reader"].num_nodes = N_USERS
    data["topic"].num_nodes = N_TOPICS
    x = np.eye(N_TOPICS)[topic_of_item] + rng.normal(0, 0.3, (N_ITEMS, N_TOPICS))
    data["book"].num_nodes = N_ITEMS
    data["book"].x = torch.from_numpy((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    data["book"].has_text = torch.ones(N_ITEMS, dtype=torch.bool)
    data["book", "about", "topic"].edge_index = torch.from_numpy(np.stack([np.arange(N_ITEMS), topic_of_item]))
    data["reader", "read", "book"].edge_index = torch.from_numpy(np.stack([users, items]))
    data["reader", "read", "book"].weight = torch.full((len(users),), 5.0)
    data["reader", "read", "book"].time = torch.from_numpy(rng.permutation(len(users)))
    return data


def evaluate(data: HeteroData, stages: list[str] | None = None) -> Report:
    return evaluate_catalogue(
        data,
        SCHEMA,
        CONFIG,
        split=SPLIT,
        seed=SEED,
        evaluated_at=AT,
        on_stage=None if stages is None else stages.append,
    )


@pytest.fixture(scope="module")
def planted() -> HeteroData:
    return plant()


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(planted: HeteroData, stages: list[str]) -> Report:
    return evaluate(planted, stages)


def ndcg(report: Report, slice_name: str) -> dict[str, float]:
    slice_ = next(found for found in report.slices if found.name == slice_name)
    return {row.scorer: row.intervals["ndcg"].mean for row in slice_.rows}


def test_the_report_has_every_slice_and_scorer(report: Report):
    assert [slice_.name for slice_ in report.slices] == [
        *("warm", "warm_latest", "warm_random", "warm_date", "next", "tail"),
        *("cold_items", "cold_items_all", "overall"),
        *("cold_users_k0", "cold_users_k1", "cold_users_k3"),
        *("few_items_n0", "few_items_n1", "few_items_n3", "few_items_n10"),
    ]
    assert [one.name for one in report.skipped_slices] == ["next_session"]  # all of a reader's likes are of one day
    for slice_ in report.slices:
        assert [row.scorer for row in slice_.rows] == [
            *("kgrec", "popularity", "item kNN", "EASE", "iALS", "blend", "text cosine"),
        ]


def test_kgrec_finds_the_planted_structure(report: Report):
    for slice_name in ("warm", "tail", "cold_items", "cold_items_all", "overall", "cold_users_k1", "cold_users_k3"):
        found = ndcg(report, slice_name)
        assert found["kgrec"] > 1.3 * found["popularity"], slice_name
    assert ndcg(report, "cold_items")["kgrec"] > 0.8  # the link reveals the topic
    known = ndcg(report, "warm")
    assert min(known["EASE"], known["iALS"], known["item kNN"]) > 1.3 * known["popularity"]
    nothing_known = ndcg(report, "cold_users_k0")
    for scorer in ("item kNN", "EASE", "iALS"):
        assert nothing_known[scorer] == nothing_known["popularity"]


def test_page_and_json_describe_the_run(report: Report, stages: list[str], tmp_path: Path):
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == report
    assert "2024-05-06 07:08 UTC" in page
    assert "20% of the other likes, half of them the latest of each user, half drawn at random" in page
    assert "The model knows cold items by their texts and links alone" in page
    assert re.search(r"<dt>kgrec</dt><dd>backbone: alpha 0\.\d, regularisation 0.01; prior: regularisation 1", page)
    for scorer in ("item kNN", "EASE", "iALS"):
        assert re.search(
            rf"<dt>{scorer}</dt><dd>known users: .* on validation: 0\.\d+\); new users with up to 3 likes: ", page
        )
    assert "<h2>New users, by how many likes are known</h2>" in page
    assert stages[-2:] == ["tuning the baselines", "ranking for the test users"]
    assert report.about.counts == {
        "users": N_USERS, "items": N_ITEMS, "likes": len(read_likes(plant(), SCHEMA)),
        "other nodes": N_TOPICS, "links": N_ITEMS,
    }  # fmt: skip


def swap_test_likes(data: HeteroData) -> HeteroData:
    """Moves test likes to other items; the training likes stay."""
    likes = read_likes(data, SCHEMA)
    split = split_likes(likes, SPLIT, np.random.default_rng(SEED))
    trained = set(zip(split.train.users.tolist(), split.train.items.tolist(), strict=True))
    pairs = list(zip(likes.users.tolist(), likes.items.tolist(), strict=True))
    in_test = np.array([pair not in trained for pair in pairs]) & ~split.cold_items[likes.items]
    items, taken = likes.items.copy(), set(pairs)
    for row, other in zip(np.flatnonzero(in_test), np.roll(likes.items[in_test], 1), strict=True):
        pair = (int(likes.users[row]), int(other))
        if pair not in taken:
            taken.add(pair)
            items[row] = other
    swapped = data.clone()
    swapped["reader", "read", "book"].edge_index = torch.from_numpy(np.stack([likes.users, items]))
    return swapped


def test_no_choice_depends_on_test_likes(planted: HeteroData, report: Report):
    swapped = swap_test_likes(planted)
    before, after = (
        split_likes(read_likes(data, SCHEMA), SPLIT, np.random.default_rng(SEED)) for data in (planted, swapped)
    )
    np.testing.assert_array_equal(before.train.users, after.train.users)
    np.testing.assert_array_equal(before.train.items, after.train.items)
    other = evaluate(swapped)
    assert other.about.chosen == report.about.chosen
    for slice_name in ("warm", "cold_users_k3"):
        assert ndcg(other, slice_name) != ndcg(report, slice_name)
    # No training like changed, so the same models answer.
    assert ndcg(other, "cold_items") == ndcg(report, "cold_items")


def test_the_report_has_the_slices_that_can_be_measured(planted: HeteroData):
    likes = read_likes(planted, SCHEMA)
    split = split_likes(likes, SPLIT.model_copy(update={"cold_items": 0.0}), np.random.default_rng(0))
    names = [slice_.name for slice_ in report_slices(split)]
    assert names == [
        "warm",
        "warm_latest",
        "warm_random",
        "warm_date",
        "next",
        "tail",
        "overall",
        "cold_users_k0",
        "cold_users_k1",
        "cold_users_k3",
    ]
    assert report_slices(replace(split, slices={})) == []
    assert [(one.name, one.reason) for one in report_not_asked(split)] == [
        ("next_session", "no user has held-out likes in a session after another one"),
        ("cold_items", "`cold_items` is 0: none are held out"),
        ("cold_items_all", "`cold_items` is 0: none are held out"),
    ]


def test_a_tail_slice_without_likes_is_named():
    users, items = np.repeat(np.arange(50), 2), np.tile([0, 1], 50)
    likes = Likes(users, items, None, (50, 20))
    split = split_likes(likes, SplitConfig(cold_users=0, cold_items=0), np.random.default_rng(0))
    assert "warm" in split.slices
    assert report_not_asked(split)[-1] == SkippedSlice(
        "tail", "Tail: items outside the most popular 20%", "all relevant items are among the most popular ones"
    )


def test_a_list_of_no_items_is_refused(planted: HeteroData):
    with pytest.raises(RequestError, match="expected k of at least 1, got 0"):
        evaluate_catalogue(planted, SCHEMA, CONFIG, split=SPLIT, seed=SEED, evaluated_at=AT, k=0)


def test_too_few_likes_are_refused():
    data = plant()
    store = data["reader", "read", "book"]
    first: NDArray[np.int64] = np.unique(store.edge_index[0].numpy(), return_index=True)[1][:3]
    store.edge_index = store.edge_index[:, first]
    store.weight, store.time = store.weight[first], store.time[first]
    with pytest.raises(RequestError, match="nothing to evaluate: none of 3 likes can be held out"):
        evaluate(data)


def test_the_tail_dial_is_in_the_report(report: Report, tmp_path: Path):
    rows = {slice_.name: slice_.rows[0] for slice_ in report.slices}
    assert [curve.slice_name for curve in report.dial] == ["warm", "overall"]
    for curve in report.dial:
        first, row = curve.points[0], rows[curve.slice_name]
        assert [point.tail for point in curve.points] == [place / 10 for place in range(11)]
        for metric in first.means:
            assert first.means[metric] == pytest.approx(row.intervals[metric].mean), metric
        assert (first.coverage, first.gini) == pytest.approx((row.coverage, row.gini))
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    section = page[page.index("<h2>The tail dial</h2>") :]
    assert section.count("against coverage") == 2
    for curve in report.dial:
        assert f"{100 * curve.own_tail_share:.1f}% are tail items" in section
        assert f"<td>{curve.points[-1].coverage:.3f}</td>" in section


def test_the_diversity_dial_is_in_the_report(report: Report, tmp_path: Path):
    rows = {slice_.name: slice_.rows[0] for slice_ in report.slices}
    assert [curve.slice_name for curve in report.diversity] == ["warm", "overall"]
    for curve in report.diversity:
        first, row = curve.points[0], rows[curve.slice_name]
        assert [point.diversity for point in curve.points] == [0, 0.25, 0.5, 0.75, 1]
        assert (first.recall, first.ndcg) == pytest.approx((row.intervals["recall"].mean, row.intervals["ndcg"].mean))
        assert first.coverage == pytest.approx(row.coverage)
        distances = [point.distance.mean for point in curve.points]
        assert distances == sorted(distances)
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    section = page[page.index("<h2>The diversity dial</h2>") :]
    assert section.count("against distance") == 2
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich_tables(report))
    shown = console.export_text()
    for curve in report.diversity:
        last = curve.points[-1]
        assert f"<td>{last.nearest:.3f}</td>" in section
        table = shown[shown.index(f"Diversity dial: {curve.slice_title}") :].splitlines()
        line = next(line for line in table if line.startswith("--diversity 1"))
        assert line.split()[2:] == [f"{v:.3f}" for v in (last.distance.mean, last.recall, last.ndcg, last.coverage)]


def test_new_items_rank_better_with_more_known_likes(report: Report, tmp_path: Path):
    none, *_, ten = (ndcg(report, f"few_items_n{n_shown}") for n_shown in (0, 1, 3, 10))
    assert none["kgrec"] > 1.2 * max(none[scorer] for scorer in ("popularity", "item kNN", "EASE", "iALS"))
    assert ten["kgrec"] >= 0.9 * none["kgrec"]  # links and texts suffice here
    for scorer in ("item kNN", "EASE", "iALS"):
        assert ten[scorer] > 1.2 * none[scorer]
    assert ten["text cosine"] == none["text cosine"]
    asked = {(slice_.n_users, slice_.n_relevant) for slice_ in report.slices if slice_.name.startswith("few_items")}
    assert len(asked) == 1
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    section = page[page.index('<section id="few_items">') :]
    assert section.count("<figure>") == 3
    assert "known likes of each item" in section
