import pytest

from graph_schema import CatalogueError
from graph_schema.schema_types import SourceTable
from loaders.files.table_files import find_files, find_suffix, find_tables


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"), ("A.CSV", ".CSV"), ("a.csv.gz", ".csv.gz"), ("a.jsonl.gz", ".jsonl.gz"), ("u.data", ".data"),
        ("ml.inter", ".inter"), ("a.parquet", ".parquet"), ("a.py", None), ("a.zip", None),
    ],
)  # fmt: skip
def test_the_ending_tells_tables(name, suffix):
    assert find_suffix(name) == suffix


def names_of(found):
    return {table: [file.name for file in files] for table, files in found.items()}


def test_files_that_differ_by_their_ending_are_tables_of_their_own(tmp_path):
    for name in ("ml-100k.inter", "ml-100k.item", "ml-100k.kg", "rated-2.csv", "rated-10.csv", "movies.csv", ".x.csv"):
        (tmp_path / name).touch()
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    assert names_of(find_tables(tmp_path)) == {
        "inter": ["ml-100k.inter"], "item": ["ml-100k.item"], "kg": ["ml-100k.kg"], "movies": ["movies.csv"],
        "rated": ["rated-2.csv", "rated-10.csv"],
    }  # fmt: skip
    assert names_of(find_files(tmp_path, ["inter", "Movies"])) == {"inter": ["ml-100k.inter"], "Movies": ["movies.csv"]}


def test_the_schema_names_files_and_patterns(tmp_path):
    for name in (
        "order_products__prior.csv",
        "order_products__train.csv",
        "BX-Books.csv",
        "rated.csv",
        "rated-old.csv",
    ):
        (tmp_path / name).touch()
    tables = {
        "lines": SourceTable(file=("order_products__*.csv",)),
        "book": SourceTable(file=("bx-books.csv",)),
        "old": SourceTable(file=("rated-old.csv",)),
    }
    assert names_of(find_files(tmp_path, ["lines", "book", "rated", "old"], tables)) == {
        "lines": ["order_products__prior.csv", "order_products__train.csv"],
        "book": ["BX-Books.csv"],
        "rated": ["rated.csv"],
        "old": ["rated-old.csv"],
    }
    with pytest.raises(CatalogueError, match=r"no file BX-Boks.csv, which \[tables.book\] .* mean 'BX-Books.csv'"):
        find_files(tmp_path, ["book"], {"book": SourceTable(file=("BX-Boks.csv",))})
