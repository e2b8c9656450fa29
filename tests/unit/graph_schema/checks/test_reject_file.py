from pathlib import Path

import pyarrow as pa
import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.reject_file import read_reject_file
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource

SCHEMA = CatalogueSchema.parse("""
name = "shelf"
[nodes.book]
label = "Book"
key = "id"
attributes = { year = "int", pages = "int" }
[nodes.reader]
label = "Reader"
key = "id"
from_edges = true
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")


def test_a_reject_file_is_read_back_by_table(tmp_path: Path) -> None:
    books = pa.table({"id": ["a", "b", "c"], "year": ["1999", "old", "x"], "pages": ["7", "many", "9"]})
    read = {"source": ["r", 'r "1",\nr', "r2", None], "target": ["a", "z", "z", "a"]}
    source = MemorySource.from_tables(SCHEMA, {"book": books}, {"read": pa.table(read)})
    staged = stage_tables(source, tmp_path / "staged", rejects=tmp_path / "rejects.csv", max_rejects=1.0)
    found = read_reject_file(tmp_path / "rejects.csv")
    assert {name: (rows.n_rejects, rows.n_incomplete) for name, rows in found.items()} == {
        "book": (0, 2),
        "read": (3, 0),
    }
    assert (staged.n_rejects, staged.n_incomplete) == (3, 2)
    assert found["read"].reasons == {"target is not in the book table": 2, "source is empty": 1}
    assert found["read"].examples[0] == '{"source": "r \\"1\\",\\nr", "target": "z"}'


def test_a_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for path in (tmp_path / "other.csv", tmp_path / "absent.csv"):
        with pytest.raises(CatalogueError, match="cannot read the reject file"):
            read_reject_file(path)
