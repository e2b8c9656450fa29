import io
import re
from pathlib import Path

import numpy as np
import pytest
from checkerboard import Board
from pydantic import TypeAdapter
from rich.console import Console

from kgrec.evaluate.audit import CHECKS, Audit, Effect, Finding
from kgrec.evaluate.audited import Example
from kgrec.evaluate.baseline_scorers import fit_ease, fit_item_knn, fit_popularity
from kgrec.evaluate.evaluation_page import write_report
from kgrec.evaluate.evaluation_report import MEANS, METRICS, About, Report, build_report
from kgrec.evaluate.evaluation_tables import to_rich_audit, to_rich_tables
from kgrec.questions.slices import evaluate_slice
from kgrec.store.contract import NodeRef

AUDIT = Audit(
    findings=(
        Finding(
            check="duplicate_items",
            message="pairs of ids with the same text and links",
            count=1200,
            total=40_000,
            of="items",
            examples=(Example((NodeRef("book", "<b1>"), NodeRef("book", "b2")), "Heat & Dust: 7 and 3 likes"),),
            effects=(
                Effect("warm", "Warm", 412, None, 5000, {"EASE": 0.31, "iALS": 0.3}, {"EASE": 0.29, "iALS": 0.2999}),
                Effect("tail", "Tail", 2, None, 900, {"EASE": 0.12, "iALS": 0.11}, {"EASE": 0.12, "iALS": 0.11}),
            ),
        ),
        Finding(
            check="relations_from_likes",
            message="similar links that go to the items with most users in common",
            count=90,
            total=100,
            of="links looked at",
            examples=(),
            effects=(Effect("cold_items", "Cold items", 70, 9, 70, {"EASE": 0.5}, {}),),
        ),
    ),
    passed={"duplicate_users": CHECKS["duplicate_users"].looked_for},
    skipped={"later_nodes": "likes have no times"},
)


def compare(board: Board, audit: Audit | None = AUDIT, ours: str = "popularity") -> Report:
    scorers = (fit_popularity(board.train), fit_item_knn(board.train), fit_ease(board.train))
    results = [evaluate_slice(scorer, board.warm, 10, popularity=board.popularity) for scorer in scorers]
    about = About(catalogue="board", counts={}, split="hidden", seed=7, evaluated_at=0, ours=ours)
    return build_report(
        results, about, popularity=board.popularity, rng=np.random.default_rng(0), n_resamples=200, audit=audit
    )


def show(table: object) -> list[str]:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table)
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.fixture(scope="module")
def report(board: Board) -> Report:
    return compare(board)


def test_page_shows_findings_and_their_effects(report: Report, tmp_path: Path):
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == report
    section = page[page.index('<section id="audit">') :]
    assert "<b>1,200 pairs of ids with the same text and links</b>" in section
    assert "(of 40,000 items)" in section
    assert "<li>book &lt;b1&gt; and book b2: Heat &amp; Dust: 7 and 3 likes</li>" in section
    assert re.search(
        r"<th>Warm</th><td>412</td><td>5,000</td>\s*<td>EASE 0.310 → 0.290<br>iALS 0.300 → 0.300</td>", section
    )
    assert re.search(r"<th>Cold items</th><td>70</td><td>9</td><td>70</td>\s*<td>EASE 0.500 → none left</td>", section)
    assert CHECKS["duplicate_items"].advice in section
    assert re.search(r">nothing found</dt><dd>one user under two ids", section)
    assert re.search(r">skipped</dt><dd>nodes and links that are newer.*: likes have no times</dd>", section)


def test_page_without_an_audit_does_not_mention_it(board: Board, tmp_path: Path):
    report = compare(board, audit=None)
    assert '<section id="audit">' not in write_report(report, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()).audit is None


def test_terminal_shows_the_audit(report: Report):
    lines = show(to_rich_audit(report))
    assert all(len(line) <= 80 for line in lines)
    shown = " ".join(" ".join(lines).split())
    assert (
        "found 1,200 pairs of ids with the same text and links (of 40,000 items) book <b1> and book b2: Heat" in shown
    )
    assert "Warm: Recall@10 EASE 0.310 → 0.290, iALS 0.300 → 0.300 without 412 leaked of 5,000 test likes" in shown
    assert "Tail:" not in shown  # its figures stay the same
    assert "Cold items: all 70 test likes leak (by chance 9): none is left to measure without them" in shown
    assert "none one user under two ids" in shown
    assert "skipped nodes and links that are newer" in shown


def test_difference_to_the_best_other_is_shown_with_its_interval(report: Report, tmp_path: Path):
    lines = show(to_rich_tables(report))
    assert all(len(line) <= 80 for line in lines)
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    slice_ = report.slices[0]
    rows = {row.scorer: row for row in slice_.rows}
    means, errors, against = (
        next(line for line in lines if start in line) for start in ("ours - best", "std. e", "best o")
    )
    for metric in MEANS:
        difference = slice_.differences[metric]
        best = max(
            (row for row in slice_.rows if row.scorer != "popularity"), key=lambda row: row.intervals[metric].mean
        )
        assert difference.against == best.scorer
        expected = rows["popularity"].intervals[metric].mean - best.intervals[metric].mean
        interval = difference.interval
        assert interval.mean == pytest.approx(expected)
        assert interval.low < interval.mean < interval.high < 0  # popularity is far behind
        if metric in METRICS:
            assert f"{interval.mean:+.3f}" in means
            assert f"{difference.error:.3f}" in errors
            assert best.scorer in against
        shown = f"{interval.mean:+.3f} ± {difference.error:.3f}"
        assert f'<span class="bad">{shown}</span><small>{interval.low:+.3f} to {interval.high:+.3f}' in page
        assert f"against {best.scorer}" in page
    assert "which favours it" in page


def test_intervals_of_differences_are_paired_by_user(board: Board):
    report = compare(board, ours="EASE")
    rows = {row.scorer: row for row in report.slices[0].rows}
    interval = report.slices[0].differences["recall"].interval
    # Users differ far more than the two scorers do on one user.
    width = rows["EASE"].intervals["recall"].high - rows["EASE"].intervals["recall"].low
    assert interval.high - interval.low <= width
