"""Whole ablations of catalogues whose right answer is planted."""

import datetime
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.console import Console
from shop import WordEncoder
from topics import CONFIG, N_BOOKS, N_TOPICS, SPLIT, draw_links, draw_readings, make_tables, topic_links

from graph_schema import GraphTables
from kgrec.ablate.report import Ablation, to_rich_tables, write_ablation
from kgrec.ablate.run import ablate_catalogue
from kgrec.errors import KgrecError, RequestError

AT = datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.UTC)


def ablate(tables: GraphTables, directory: Path, trained: list[str] | None = None, **options: object) -> Ablation:
    def note(what: str, done: int, total: int, left_s: float | None) -> None:
        if trained is not None:
            trained.append(what)

    arguments = {"split": SPLIT, "on_training": note} | options
    return ablate_catalogue(
        tables, CONFIG, WordEncoder(), directory / "cache", directory=directory, ablated_at=AT, **arguments
    )


def make_signal() -> GraphTables:
    """What a book is about tells who reads it; who printed it and what it stands beside tell nothing."""
    rng = np.random.default_rng(0)
    beside = [(f"b{book:03}", f"b{(book + int(rng.integers(1, 9))) % N_BOOKS:03}") for book in range(0, N_BOOKS, 20)]
    return make_tables(
        {
            "read": draw_readings(rng), "about": topic_links(), "printed_by": draw_links(rng, "printer"),
            "stands_beside": beside,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def signal(kept: Path) -> Ablation:
    return ablate(make_signal(), kept, tolerance=0.5)


def test_the_relation_that_tells_all_is_named_and_the_others_can_go(signal: Ablation):
    verdicts = {row.name: str(row.verdict) for row in signal.relations}
    assert verdicts == {"about": "keep", "printed_by": "drop", "stands_beside": "drop"}
    told = "\n".join(signal.findings)
    (carrying,) = [finding for finding in signal.findings if finding.startswith("`about` carries “")]
    assert "without it NDCG@20 falls by 0." in carrying
    assert "“Cold items, among cold items”" in carrying
    assert "drop `printed_by`: without it no slice loses (more than " in told
    assert "`printed_by`, `stands_beside` can go together: without them no slice loses" in told
    assert told.startswith("your graph helps: with its links shuffled NDCG@20 falls by 0.")
    about = next(row for row in signal.relations if row.name == "about")
    assert about.changes["cold_items"]["ndcg"].mean < -0.2
    assert [row.name for row in signal.controls] == ["no_links", "shuffled"]  # it has no texts
    assert signal.about.n_trainings == 3 + 2 + 3 + 1


def test_a_graph_that_is_noise_helps_no_more_than_a_shuffled_one(tmp_path: Path):
    rng = np.random.default_rng(100)
    links = {"about": draw_links(rng, "topic", N_TOPICS), "printed_by": draw_links(rng, "printer")}
    found = ablate(make_tables({"read": draw_readings(rng)} | links), tmp_path)
    assert "your graph helps no more than a shuffled one: with its links shuffled no slice" in found.findings[0]
    assert not any(row.verdict == "keep" for row in found.relations)
    assert "`stands_beside` has no links: nothing is lost without it" in found.findings


def test_an_interrupt_keeps_what_is_done(signal: Ablation, kept: Path, tmp_path: Path):
    class StopError(Exception):
        pass

    def stop(what: str, done: int, total: int, left_s: float | None) -> None:
        assert total == 8
        assert (left_s is None) == (done == 0)
        if done == 2:
            raise StopError

    tables = make_signal()
    with pytest.raises(StopError):
        ablate(tables, tmp_path, on_training=stop)
    trained: list[str] = []
    again = ablate(tables, tmp_path, trained, tolerance=0.5)
    assert trained[0] == "the whole catalogue"
    assert len(trained) == 9 - 2
    assert (again.relations, again.slices) == (signal.relations, signal.slices)

    trained.clear()  # nothing has changed: nothing is trained
    (about,) = ablate(tables, kept, trained, tolerance=0.5, relations=["about"]).relations
    assert trained == []
    found, before = (row.changes["cold_items"]["ndcg"] for row in (about, signal.relations[0]))
    assert found.mean == before.mean
    assert before.low < found.low < found.high < before.high  # fewer hold together, so that each is narrower
    (kept / "trainings" / "split-0" / "without-about.json").write_text(
        "{", encoding="utf-8"
    )  # a broken one is done anew
    ablate(tables, kept, trained, relations=["about"])
    assert trained == ["without about"]
    other = make_tables({"read": draw_readings(np.random.default_rng(9)), "about": topic_links()})
    trained.clear()
    ablate(other, kept, trained)
    assert trained == ["the whole catalogue"] * 3 + ["text only", "shuffled"]  # the one relation is all the links


def test_texts_and_links_are_told_apart(tmp_path: Path):
    titles = [f"book on topic{book % N_TOPICS} no{book}" for book in range(N_BOOKS)]
    read = draw_readings(np.random.default_rng(1))
    alone = ablate(make_tables({"read": read}, titles=titles), tmp_path / "alone")
    assert [row.name for row in alone.controls] == ["no_texts"]
    assert alone.findings[0].startswith("texts: without them NDCG@20 falls by ")
    assert alone.controls[0].changes["cold_items"]["ndcg"].high < 0
    with pytest.raises(RequestError, match="nothing to ablate: 'library' has neither texts nor links beside 'read'"):
        ablate(make_tables({"read": read}), tmp_path / "none")


def test_what_cannot_be_asked_is_refused(tmp_path: Path):
    tables = make_signal()
    with pytest.raises(RequestError, match="no relation 'abuot' in 'library'; expected some of: about, printed_by"):
        ablate(tables, tmp_path, relations=["abuot"])
    with pytest.raises(RequestError, match="no relation 'read'"):
        ablate(tables, tmp_path, relations=["read"])
    few = make_tables({"read": draw_readings(np.random.default_rng(0))[:40], "about": topic_links()})
    with pytest.raises(RequestError, match=r"too few likes to compare anything: .* 40 likes .* expected 20"):
        ablate(few, tmp_path)


def test_page_json_and_tables_say_the_same(signal: Ablation, tmp_path: Path):
    page = write_ablation(signal, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Ablation).validate_json((tmp_path / "ablation.json").read_bytes()) == signal
    assert "http" not in page  # it needs nothing beside it
    assert "2024-05-06 07:08 UTC, 9 trainings, seed 0" in page
    assert re.search(r"<li><code>about</code> carries “", page)
    about = signal.relations[0]
    told = f"{about.changes['cold_items']['ndcg'].mean:+.3f}"
    assert told in page
    console = Console(width=80, record=True, file=io.StringIO())
    for table in to_rich_tables(signal):
        console.print(table)
    shown = console.export_text()
    assert re.search(r"about +200 +-0\.\d+ ± 0\.\d+ +\w.* keep", shown)
    whole, bare = signal.slices[2].whole["ndcg"], signal.controls[0].changes["cold_items"]["ndcg"].mean
    assert re.search(rf"Cold items, among cold items +\d+ +{whole:.3f} +{whole + bare:.3f}", shown)


def test_names_are_escaped(signal: Ablation, tmp_path: Path):
    row = replace(signal.relations[0], finding="`<script>` & co")
    page = write_ablation(replace(signal, relations=(row,)), tmp_path).read_text(encoding="utf-8")
    assert "<code>&lt;script&gt;</code> &amp; co" in page
    with pytest.raises(KgrecError, match="cannot write the report"):
        write_ablation(signal, tmp_path / "ablation.html")
