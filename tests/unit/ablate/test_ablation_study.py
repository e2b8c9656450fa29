"""Whole ablations of catalogues with a planted answer."""

import datetime
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from book_club import CONFIG as CLUB_CONFIG
from book_club import SPLIT as CLUB_SPLIT
from book_club import make_club
from pydantic import TypeAdapter
from rich.console import Console
from shop import WordEncoder
from topics import CONFIG, N_BOOKS, N_TOPICS, SPLIT, draw_links, draw_readings, make_tables, topic_links

from graph_schema import GraphTables
from kgrec.ablate.ablation_page import write_ablation
from kgrec.ablate.ablation_report import Ablation
from kgrec.ablate.ablation_study import ablate_catalogue
from kgrec.ablate.ablation_tables import to_rich_tables
from kgrec.errors import KgrecError, RequestError

pytestmark = pytest.mark.slow

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
    """Topics decide who reads a book; printers and shelf neighbours are noise."""
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


def test_the_relation_with_the_signal_is_kept_and_noise_can_go(signal: Ablation):
    verdicts = {row.name: str(row.verdict) for row in signal.relations}
    assert verdicts == {"about": "keep", "printed_by": "drop", "stands_beside": "drop"}
    findings = "\n".join(signal.findings)
    (carrying,) = [finding for finding in signal.findings if finding.startswith("`about` carries “")]
    assert "without it NDCG@20 falls by 0." in carrying
    assert "“Cold items, among cold items”" in carrying
    assert "drop `printed_by`: without it no slice loses (more than " in findings
    assert "`printed_by`, `stands_beside` can go together: without them no slice loses" in findings
    assert findings.startswith("your graph helps: with its links shuffled NDCG@20 falls by 0.")
    about = next(row for row in signal.relations if row.name == "about")
    assert about.changes["cold_items"]["ndcg"].mean < -0.2
    assert [row.name for row in signal.controls] == ["no_links", "shuffled"]  # it has no texts
    assert signal.about.n_trainings == 3 + 2 + 3 + 1


def test_a_graph_that_is_noise_helps_no_more_than_a_shuffled_one(tmp_path: Path):
    rng = np.random.default_rng(100)
    links = {"about": draw_links(rng, "topic", N_TOPICS), "printed_by": draw_links(rng, "printer")}
    found = ablate(make_tables({"read": draw_readings(rng)} | links), tmp_path)
    assert re.match(r"your graph (helps no|is not shown to help) more than a shuffled one: ", found.findings[0])
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

    trained.clear()  # nothing changed, so nothing is trained
    (about,) = ablate(tables, kept, trained, tolerance=0.5, relations=["about"]).relations
    assert trained == []
    found, before = (row.changes["cold_items"]["ndcg"] for row in (about, signal.relations[0]))
    assert found.mean == before.mean
    assert before.low < found.low < found.high < before.high  # fewer simultaneous intervals are narrower
    (kept / "trainings" / "split-0" / "without-about.json").write_text(
        "{", encoding="utf-8"
    )  # a damaged training runs again
    ablate(tables, kept, trained, relations=["about"])
    assert trained == ["without about"]
    other = make_tables({"read": draw_readings(np.random.default_rng(9)), "about": topic_links()})
    trained.clear()
    ablate(other, kept, trained)
    assert trained == ["the whole catalogue"] * 3 + ["text only", "shuffled"]  # the only relation has all the links


def test_texts_without_links_are_the_only_control(tmp_path: Path):
    titles = [f"book on topic{book % N_TOPICS} no{book}" for book in range(N_BOOKS)]
    read = draw_readings(np.random.default_rng(1))
    alone = ablate(make_tables({"read": read}, titles=titles), tmp_path / "alone")
    assert [row.name for row in alone.controls] == ["no_texts"]
    assert alone.findings[0].startswith("texts: without them NDCG@20 falls by ")
    assert alone.controls[0].changes["cold_items"]["ndcg"].high < 0
    with pytest.raises(RequestError, match="nothing to ablate: 'library' has neither texts nor links besides 'read'"):
        ablate(make_tables({"read": read}), tmp_path / "none")


def test_wrong_relations_and_too_few_likes_are_refused(tmp_path: Path):
    tables = make_signal()
    with pytest.raises(RequestError, match="no relation 'abuot' in 'library'; expected some of: about, printed_by"):
        ablate(tables, tmp_path, relations=["abuot"])
    with pytest.raises(RequestError, match="no relation 'read'"):
        ablate(tables, tmp_path, relations=["read"])
    few = make_tables({"read": draw_readings(np.random.default_rng(0))[:40], "about": topic_links()})
    with pytest.raises(RequestError, match=r"too few likes to compare anything: .* 40 likes .* expected 20"):
        ablate(few, tmp_path)


def test_page_json_and_tables_agree(signal: Ablation, tmp_path: Path):
    page = write_ablation(signal, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Ablation).validate_json((tmp_path / "ablation.json").read_bytes()) == signal
    assert "http" not in page  # the page is self-contained
    assert "2024-05-06 07:08 UTC, 9 trainings, seed 0" in page
    assert re.search(r"<li><code>about</code> carries “", page)
    about = signal.relations[0]
    shown = f"{about.changes['cold_items']['ndcg'].mean:+.3f}"
    assert shown in page
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


@pytest.mark.parametrize(
    ("options", "got"),
    [({"n_splits": 0}, "0, 20 and 0.05"), ({"k": 0}, "1, 0 and 0.05"), ({"tolerance": 1.5}, "1, 20 and 1.5")],
)
def test_wrong_numbers_are_refused(options: dict[str, float], got: str, tmp_path: Path):
    expected = f"expected at least 1 split, k of at least 1 and a tolerance from 0 to 1, got {got}"
    with pytest.raises(RequestError, match=re.escape(expected)):
        ablate(make_signal(), tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_what_relations_and_attributes_of_users_are_worth(tmp_path: Path):
    names = ["friend_of", "reader.age", "book.genre"]
    found = ablate_catalogue(
        make_club(age_tells=False), CLUB_CONFIG, WordEncoder(), tmp_path / "cache", directory=tmp_path, ablated_at=AT,
        relations=names, split=CLUB_SPLIT, tolerance=0.5,
    )  # fmt: skip
    friends, age, genre = found.relations
    assert [row.title for row in found.relations] == ["reader -friend_of-> reader", "readers' age", "books' genre"]
    assert [row.of_users for row in found.relations] == [True, True, False]
    worth = {row.name: row.changes["cold_users_k0"]["ndcg"] for row in found.relations}
    assert worth["friend_of"].high < 0
    assert worth["friend_of"].mean < 5 * worth["reader.age"].mean
    assert friends.verdict == "keep"
    assert age.verdict != "keep"
    assert genre.changes["cold_items"]["ndcg"].high < 0
    carries = "`reader -friend_of-> reader` carries “Cold users, "
    assert re.match(rf"{carries}(known by|\d like).*”: without it \w+@20 falls by 0\.\d+ \[0\.", friends.finding)
    shuffled = next(row for row in found.controls if row.name == "shuffled")
    assert shuffled.changes["cold_users_k0"]["ndcg"].high < 0
    page = write_ablation(found, tmp_path).read_text(encoding="utf-8")
    assert "<th>readers&#39; age<small>240 values</small></th>" in page
    assert "Verdicts on what describes only users count the cold users with 0, 1 and 3 likes." in page
    console = Console(width=80, record=True, file=io.StringIO())
    for table in to_rich_tables(found):
        console.print(table)
    assert re.search(r"reader -friend_of-> +\d+ +-0\.\d+ ± 0\.\d+ .* keep", console.export_text())


def test_an_attribute_may_be_named_and_an_unknown_one_is_refused(tmp_path: Path):
    expected = "no relation 'reader.size' in 'book club'; expected some of: friend_of, lives_in, reader.age, "
    with pytest.raises(RequestError, match=re.escape(expected)):
        ablate(make_club(), tmp_path, relations=["reader.size"])
