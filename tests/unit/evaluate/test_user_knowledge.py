"""Evaluations of a book club whose readers are known by their friends, ages and towns."""

import datetime
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from book_club import CONFIG, SPLIT, make_club
from rich.console import Console
from scipy.sparse import csr_array
from shop import WordEncoder

from graph_schema import GraphTables
from kgrec.evaluate.evaluation import evaluate_catalogue
from kgrec.evaluate.evaluation_page import write_report
from kgrec.evaluate.evaluation_report import Report, SliceReport
from kgrec.evaluate.evaluation_tables import to_rich_tables
from kgrec.evaluate.user_knowledge import name_user_knowledge, title_cold_users
from kgrec.questions.slices import Slice
from kgrec.training.dataset import build_graph

AT = datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.UTC)


def evaluate(tables: GraphTables, cache: Path) -> Report:
    graph = build_graph(tables, WordEncoder(), cache)
    return evaluate_catalogue(graph.data, graph.schema, CONFIG, split=SPLIT, seed=0, evaluated_at=AT, tables=tables)


def test_the_kinds_of_knowledge_are_named(tmp_path: Path):
    def name(tables: GraphTables) -> str | None:
        graph = build_graph(tables, WordEncoder(), tmp_path)
        return name_user_knowledge(graph.data, graph.schema)

    club = make_club()
    no_links = {edge_type: table.slice(0, 0) for edge_type, table in club.edges.items() if edge_type != "read"}
    assert name(make_club(about=True)) == "links, attributes and texts"
    assert name(club) == "links and attributes"
    assert name(replace(club, edges={**club.edges, **no_links})) == "attributes"


def test_titles_say_what_is_known_of_cold_users():
    nothing = csr_array((2, 2), dtype=np.float32)
    names = ("warm", "cold_users_k0", "cold_users_k1", "cold_users_k3", "cold_users_cold_items_k1")
    titled = title_cold_users({name: Slice(name, name, nothing, nothing) for name in names}, "links")
    assert [slice_.title for slice_ in titled.values()] == [
        "warm", "Cold users, known by their links alone", "Cold users, 1 like beside their links",
        "Cold users, 3 likes beside their links", "cold_users_cold_items_k1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return evaluate(make_club(), tmp_path_factory.mktemp("cache"))


def of(report: Report, name: str) -> SliceReport:
    return next(slice_ for slice_ in report.slices if slice_.name == name)


@pytest.mark.slow
def test_a_reader_sees_what_knowledge_of_users_is_worth(report: Report, tmp_path: Path):
    baselines = ["item kNN", "EASE", "iALS", "blend"]
    for k, more in ((0, ["linked users' likes"]), (1, []), (3, [])):
        slice_ = of(report, f"cold_users_k{k}")
        names = ["kgrec", "kgrec, likes alone", "popularity", *more, *baselines]
        assert [row.scorer for row in slice_.rows] == names
        assert slice_.differences["objective"].against not in ("kgrec, likes alone", "kgrec")
    recall = {row.scorer: row.intervals["recall"].mean for row in of(report, "cold_users_k0").rows}
    assert recall["kgrec"] > 2 * recall["popularity"]
    assert recall["kgrec"] > 2 * recall["kgrec, likes alone"]
    assert recall["linked users' likes"] > 2 * recall["popularity"]
    assert of(report, "cold_users_k0").title == "Cold users, known by their links and attributes alone"
    assert [row.scorer for row in of(report, "warm").rows] == ["kgrec", "popularity", *baselines]
    assert report.about.chosen["linked users' likes"].startswith("new users without likes: damping ")
    assert report.about.counts["attributes"] == 5
    assert report.about.counts["other nodes"] == 8  # the towns, not the values of attributes
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    assert "<h2>Cold users, known by their links and attributes alone</h2>" in page
    assert "<th>kgrec, likes alone</th>" in page
    assert "“kgrec, likes alone” is the same model without" in page
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich_tables(report))
    shown = console.export_text()
    assert "\nlikes alone  " in shown
    assert "\nlinked users  " in shown
    assert "likes alone: ours without what the catalogue knows of users besides likes" in shown


@pytest.mark.slow
def test_groups_and_audit_read_the_attributes_not_their_values(report: Report):
    (by_age,) = report.fairness
    assert by_age.attribute == "age"
    assert {slice_.name for slice_ in by_age.slices} == {"warm", "cold_users_k0", "cold_users_k1", "cold_users_k3"}
    assert report.audit is not None
    assert not report.audit.findings
