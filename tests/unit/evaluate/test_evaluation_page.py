import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from checkerboard import Board, to_csr
from pydantic import TypeAdapter
from rich.console import Console
from scipy.sparse import csr_array

from kgrec.errors import KgrecError
from kgrec.evaluate.baseline_scorers import fit_ease, fit_item_knn, fit_popularity
from kgrec.evaluate.evaluation_page import write_report
from kgrec.evaluate.evaluation_report import About, Report, build_report
from kgrec.evaluate.evaluation_tables import to_rich_tables
from kgrec.questions.slice_results import SliceResult, paired_difference
from kgrec.questions.slices import Scorer, SkippedSlice, Slice, evaluate_slice

ABOUT = About(
    catalogue="<b>Board</b> & $x_1$",
    counts={"users": 60, "items": 40},
    split="30% hidden",
    seed=7,
    evaluated_at=1_700_000_000,
    ours="EASE",
    chosen={"EASE": "regularisation 300"},
    skipped={"text cosine": "no <text>"},
)


def evaluate(board: Board, slices: list[Slice]) -> list[SliceResult]:
    scorers: tuple[Scorer, ...] = (fit_popularity(board.train), fit_item_knn(board.train), fit_ease(board.train))
    return [evaluate_slice(scorer, s, 10, popularity=board.popularity) for s in slices for scorer in scorers]


@pytest.fixture(scope="module")
def report(board: Board) -> Report:
    shape = board.train.shape
    likes = to_csr((board.train + board.test).toarray() > 0)
    one = csr_array((np.ones(shape[0], dtype=np.float32), (np.arange(shape[0]), np.arange(shape[0]) % 2)), shape=shape)
    slices = [
        board.warm,
        Slice("cold_users_k0", "No likes", csr_array(shape, dtype=np.float32), likes),
        Slice("cold_users_k1", "One like", one, to_csr((likes - one).toarray() > 0)),
        Slice("empty", "Nobody", board.train, csr_array(shape, dtype=np.float32)),
    ]
    results = evaluate(board, slices)
    return build_report(results, ABOUT, popularity=board.popularity, rng=np.random.default_rng(0), n_resamples=200)


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(report, tmp_path_factory.mktemp("report") / "new").read_text(encoding="utf-8")


def test_figures_match_the_results(report: Report, board: Board):
    warm = report.slices[0]
    results = {result.scorer: result for result in evaluate(board, [board.warm])}
    assert [row.scorer for row in warm.rows] == ["EASE", "popularity", "item kNN"]  # ours first
    for row in warm.rows:
        result = results[row.scorer]
        for metric, interval in row.intervals.items():
            assert interval.mean == pytest.approx(result.per_user(metric).mean())
            assert interval.low <= interval.mean <= interval.high
            if metric != "objective":
                assert row.curves[metric][9] == pytest.approx(interval.mean)
        assert row.intervals["objective"].mean == pytest.approx(result.objective)
        assert (row.coverage, row.gini, row.overlap) == (result.coverage, result.gini, result.overlap)
        assert result.popular_in_first is not None
        assert row.popular_in_first == result.popular_in_first.mean()
        found = sum(bucket.recall * bucket.n_relevant for bucket in row.by_popularity)
        assert found == pytest.approx(result.hits[:, :10].sum())
        assert sum(bucket.n_relevant for bucket in row.by_popularity) == warm.n_relevant == board.test.nnz
    assert warm.best("ndcg") == {"EASE", "item kNN"}
    assert warm.differences["ndcg"].against == "item kNN"
    assert warm.differences["ndcg"].interval.mean == warm.differences["ndcg"].error == 0
    difference, error = paired_difference(results["EASE"], results[warm.differences["objective"].against])
    assert warm.differences["objective"].interval.mean == pytest.approx(difference)
    assert warm.differences["objective"].error == pytest.approx(error)


def test_with_few_likes_popularity_is_not_the_best_baseline(report: Report):
    assert report.slices[2].name == "cold_users_k1"
    assert {found.against for found in report.slices[2].differences.values()} == {"item kNN"}


def test_buckets_split_the_likes_by_popularity():
    popularity = np.array([0, 2, 2, 5])
    slice_ = Slice("warm", "Warm", csr_array((2, 4), dtype=np.float32), to_csr([[1, 1, 0, 0], [0, 0, 1, 1]]))

    class Popular:
        name = "popular"

        def score(self, support: csr_array) -> np.ndarray:
            return np.tile(popularity.astype(np.float32), (support.shape[0], 1))

    result = evaluate_slice(Popular(), slice_, 3, popularity=popularity)  # both lists have everything but item 0
    built = build_report([result], ABOUT, popularity=popularity, rng=np.random.default_rng(0))
    buckets = [(b.lowest, b.highest, b.n_relevant, b.recall) for b in built.slices[0].rows[0].by_popularity]
    assert buckets == [(0, 0, 1, 0.0), (1, 2, 2, 1.0), (3, 9, 1, 1.0)]
    assert not built.slices[0].differences  # kgrec's row is missing


def test_json_round_trip(report: Report, tmp_path: Path):
    write_report(report, tmp_path)
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == report
    plain = json.loads((tmp_path / "report.json").read_text())
    assert plain["about"]["catalogue"] == ABOUT.catalogue
    assert plain["slices"][0]["rows"][0]["intervals"]["ndcg"]["mean"] == report.slices[0].rows[0].intervals["ndcg"].mean


def test_same_input_same_page(report: Report, page: str, tmp_path: Path):
    assert write_report(report, tmp_path).read_text(encoding="utf-8") == page


def test_page_is_self_contained(page: str):
    assert not re.search(r"""(src|href|action)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"@import|url\((?!#)|<script|<link|<img", page)
    assert set(re.findall(r'href="(.)', page)) <= {"#"}


def test_page_escapes_names(page: str):
    assert "<b>Board" not in page
    assert "&lt;b&gt;Board&lt;/b&gt; &amp; $x_1$" in page
    assert "no &lt;text&gt;" in page


def test_page_shows_every_slice_with_its_plots(report: Report, page: str):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Warm",
        "How it is measured",
        "No likes",
        "One like",
        "Nobody",
        "New users, by how many likes are known",
    ]
    assert "nothing to measure" in page
    assert "2023-11-14 22:13 UTC" in page
    best = report.slices[0].rows[0].intervals["ndcg"].mean
    assert f"<b>{best:.3f}</b>" in page
    plots = re.findall(r"<figure>.*?(<svg.*?</svg>)", page, flags=re.DOTALL)
    assert len(plots) == 3 * 3 - sum(len(s.rows[0].by_popularity) == 1 for s in report.slices if s.rows) + 3
    for plot in plots:
        ElementTree.fromstring(plot)
        assert "currentColor" in plot
        assert "var(--series-0)" in plot
        assert not re.search(r"#00(aa\d\d|beef)", plot)


def test_terminal_table_fits_and_marks_the_best(report: Report):
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(to_rich_tables(report))
    shown = console.export_text(styles=True)
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    titles = ("Recall@10", "NDCG@10", "MRR@10", "Strat.@10", "cover", "same", "top20")
    assert all(word in plain for word in (*titles, "EASE", "item kNN"))
    assert "…" not in plain
    assert all(f"{slice_.title} ({slice_.n_users} users)" in plain for slice_ in report.slices)  # titles on one line
    mean = report.slices[0].rows[0].intervals["ndcg"].mean
    assert re.search(rf"\x1b\[1m{mean:.3f}", shown)


def test_slices_that_could_not_be_measured_are_named_with_the_reason(report: Report, page: str, tmp_path: Path):
    assert 'id="skipped_slices"' not in page
    missing = SkippedSlice("cold_users_k10", "Cold users, 10 likes", "no user <held out> has more than 10 likes")
    short = replace(report, skipped_slices=(missing, SkippedSlice("warm_date", "By date", "the likes have no times")))
    page = write_report(short, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == short
    assert "<dt>Cold users, 10 likes</dt><dd>no user &lt;held out&gt; has more than 10 likes</dd>" in page
    assert page.index("<h2>Warm</h2>") < page.index('id="skipped_slices"') < page.index('id="support_size"')
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(to_rich_tables(short))
    lines = console.export_text().splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    last = [line.rstrip() for line in lines if line.strip()][-2:]
    assert last == [
        "left out: Cold users, 10 likes: no user <held out> has more than 10 likes",
        "left out: By date: the likes have no times",
    ]


def test_a_report_from_before_left_out_slices_is_read(report: Report, tmp_path: Path):
    write_report(report, tmp_path)
    plain = json.loads((tmp_path / "report.json").read_text())
    del plain["skipped_slices"]
    (tmp_path / "report.json").write_text(json.dumps(plain))
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == report


def test_results_that_do_not_match_are_refused(board: Board):
    results = evaluate(board, [board.warm])
    arguments = {"about": ABOUT, "popularity": board.popularity, "rng": np.random.default_rng(0)}
    with pytest.raises(KgrecError, match="one list length, got none"):
        build_report([], **arguments)
    with pytest.raises(KgrecError, match=r"one list length, got \[5, 10\]"):
        build_report([results[0], replace(results[1], k=5)], **arguments)
    with pytest.raises(KgrecError, match="each scorer once"):
        build_report([results[0], results[0]], **arguments)
    first_user_only = csr_array(board.test.toarray() * (np.arange(60) == 0)[:, None])
    fewer = replace(board.warm, relevant=first_user_only)
    with pytest.raises(KgrecError, match="different users"):
        build_report([results[0], *evaluate(board, [fewer])[1:]], **arguments)


def test_an_unwritable_folder_is_named(report: Report, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(KgrecError, match="cannot write the report"):
        write_report(report, tmp_path / "file")
