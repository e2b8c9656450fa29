from pathlib import Path

import pyarrow as pa
import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.rejects import Fault, Reason, RejectLog, open_reject_log
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource

SCHEMA = CatalogueSchema.parse("""
name = "shelf"
[nodes.reader]
label = "Reader"
key = "id"
[nodes.book]
label = "Book"
key = "id"
attributes = { year = "int" }
[edges.read]
source = "reader"
type = "READ"
target = "book"
attributes = { stars = "float", at = "time" }
[interaction]
edge = "read"
weight = "stars"
at = "at"
""")


def stage(folder: Path, log: RejectLog | None, **read: list[object]) -> None:
    nodes = {
        "reader": pa.table({"id": ["r1", "r2", None, "r1", "", "r1", "r1"]}),
        "book": pa.table({"id": ["a", "b", "c"], "year": ["1999", "2001", "long ago"]}),
    }
    edges = {
        "read": pa.table(
            {
                "source": ["r1", "r1", "r1", "r2", "r2", "r2", None, "r2", "r2", "r1"],
                "target": ["a", "a", "a", "b", "b", "a", "b", "d", "b", "b"],
                "stars": ["1", "2", "3", "4", "5", None, "1", "1", "bad", "2"],
                "at": [3, 1, 2, 5, 4, 1, 1, 1, 1, 10**10],
            }
            | read
        )
    }
    source = MemorySource.from_tables(SCHEMA, nodes, edges)
    stage_tables(source, folder, rejects=log, max_rejects=1.0)


def test_a_log_counts_each_reason_by_its_kind(tmp_path: Path) -> None:
    log = RejectLog()
    stage(tmp_path, log)
    assert {(table, reason.fault, reason.column): count for (table, reason), count in log.counts.items()} == {
        ("reader", Fault.MISSING_KEY, "id"): 2,
        ("reader", Fault.REPEATED_KEY, "id"): 3,
        ("book", Fault.UNFIT_VALUE, "year"): 1,
        ("read", Fault.MISSING_END, "source"): 1,
        ("read", Fault.UNKNOWN_END, "target"): 1,
        ("read", Fault.MISSING_VALUE, "stars"): 1,
        ("read", Fault.UNFIT_VALUE, "stars"): 1,
        ("read", Fault.UNFIT_VALUE, "at"): 1,
    }
    assert log.n_rows == {"reader": 7, "book": 3, "read": 10}
    assert (log.n_rejects, log.n_incomplete) == (10, 1)


def test_a_log_keeps_the_first_three_rows_of_a_reason(tmp_path: Path) -> None:
    log = RejectLog()
    stage(tmp_path, log)
    repeated = Reason(Fault.REPEATED_KEY, "id", "id is there twice; the first is kept")
    assert log.examples["reader", repeated] == [{"id": "r1"}] * 3
    unfit = Reason(Fault.UNFIT_VALUE, "year", "year is not an int", keeps_row=True)
    assert log.examples["book", unfit] == [{"id": "c", "year": "long ago"}]
    assert max(map(len, log.examples.values())) == 3


def test_a_log_counts_repeated_edges(tmp_path: Path) -> None:
    log = RejectLog()
    stage(tmp_path, log)
    (edge_type,) = log.repeats
    assert edge_type == "read"
    assert (log.repeats["read"].n_pairs, log.repeats["read"].n_edges) == (2, 3)
    assert log.repeats["read"].examples == [("r1", "a"), ("r2", "b")]


def test_a_log_passed_by_the_caller_writes_its_file(tmp_path: Path) -> None:
    with open_reject_log(tmp_path / "rejects.csv") as log:
        stage(tmp_path / "staged", log)
    lines = (tmp_path / "rejects.csv").read_text().splitlines()
    assert len(lines) == 1 + log.n_rejects + log.n_incomplete
    assert """book,3,book,"year is not an int, left out of its row",""" in "\n".join(lines)
    assert lines[1] == 'reader,3,reader,id is empty,"{""id"": null}"'


def test_a_log_survives_a_failed_staging(tmp_path: Path) -> None:
    log = RejectLog()
    with pytest.raises(CatalogueError, match="no interactions"):
        stage(tmp_path, log, stars=["bad"] * 10)
    assert log.counts["read", Reason(Fault.UNFIT_VALUE, "stars", "stars is not a float")] == 9
