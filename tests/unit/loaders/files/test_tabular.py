import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueError, CatalogueSchema, NodeType
from graph_schema.checks.staging import stage_tables
from graph_schema.schema_types import Attribute, SourceTable
from loaders import SOURCES, open_source
from loaders.files import text_rows
from loaders.files.table_files import find_files

SCHEMA = CatalogueSchema.parse("""
name = "books"
[nodes.book]
label = "Book"
key = "isbn"
name = "title"
text = ["title"]
[nodes.reader]
label = "Reader"
key = "reader_id"
[edges.rated]
source = "reader"
type = "RATED"
target = "book"
attributes = { stars = "float", at = "time" }
[interaction]
edge = "rated"
weight = "stars"
at = "at"
repeats = "latest"
""")
FILES = {
    "book.csv": "isbn,title\n007,Alpha\n8,Beta\n",
    "reader.csv": "reader_id\nr1\nr2\n",
    "rated.csv": "reader_id,isbn,stars,at\nr1,007,5,2020-01-01\nr2,8,3.5,1577836801\n",
}
CUT_GZIP = gzip.compress(FILES["rated.csv"].encode() * 99, mtime=0)[:-30]
BOOKS = [{"isbn": "007", "title": "Alpha"}, {"isbn": "8", "title": "Beta"}]
RATED = [
    {"source": "r1", "target": "007", "stars": 5.0, "at": 1577836800},
    {"source": "r2", "target": "8", "stars": 3.5, "at": 1577836801},
]


@pytest.fixture
def write(tmp_path):
    """Writes the files of the catalogue, some of them replaced; None leaves one out."""

    def write(**changed):
        folder = tmp_path / "catalogue"
        folder.mkdir(exist_ok=True)
        for name, content in {**FILES, **{name.replace("__", "."): c for name, c in changed.items()}}.items():
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write


def load(folder, *, encoding=None, schema=SCHEMA, max_rejects=1.0):
    source = open_source("tabular", path=folder, schema=schema, cache_dir=folder, encoding=encoding)
    staged = stage_tables(source, folder / ".staged", rejects=folder / "rejects", max_rejects=max_rejects)
    with (folder / "rejects").open(newline="", encoding="utf-8") as file:
        rejects = [(r["file"], int(r["row"]), r["reason"], json.loads(r["content"])) for r in csv.DictReader(file)]
    return staged.to_tables(), rejects


def assert_whole(loaded):
    built, rejects = loaded
    assert rejects == []
    assert built.nodes["book"].to_pylist() == BOOKS
    assert built.interactions.to_pylist() == RATED


def test_csv_files_load_with_unchanged_ids(write):
    assert_whole(load(write()))


def test_ends_may_be_called_source_and_target(write):
    assert_whole(load(write(rated__csv=FILES["rated.csv"].replace("reader_id,isbn", "source,target"))))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_detected(write, delimiter):
    assert_whole(load(write(rated__csv=FILES["rated.csv"].replace(",", delimiter))))


@pytest.mark.parametrize(
    "content",
    [
        FILES["book.csv"].encode("utf-8-sig"),
        FILES["book.csv"].encode("utf-16"),
        FILES["book.csv"].replace("\n", "\r\n").encode(),
        b"\n".join(FILES["book.csv"].encode().split(b"\n")[:-1]),  # no newline at the end
        FILES["book.csv"].replace("8,", "\n\n8,").encode() + b"\n,\n",  # blank lines
        b'"isbn","title"\n"007","Alpha"\n8,"Beta"\n',
        b"title,isbn\nAlpha,007\nBeta,8\n",
    ],
    ids=["bom", "utf-16", "crlf", "no last newline", "blank lines", "quoted", "other order"],
)
def test_usual_forms_of_csv_load_the_same(write, content):
    assert_whole(load(write(book__csv=content)))


def test_quotes_and_line_breaks_in_a_field_are_kept(write):
    title = 'The "Tale", a\nlong\r\none'
    built, rejects = load(write(book__csv='isbn,title\n007,"The ""Tale"", a\nlong\r\none"\n8,Beta\n'))
    assert rejects == []
    assert built.nodes["book"]["title"].to_pylist() == [title, "Beta"]


def test_latin_1_must_be_named(write):
    folder = write(book__csv="isbn,title\n007,Café\n8,Beta\n".encode("latin-1"))
    with pytest.raises(
        CatalogueError, match=r"cannot decode .*book.csv: .*; name its encoding, as in --encoding latin-1"
    ):
        load(folder)
    assert load(folder, encoding="latin-1")[0].nodes["book"]["title"].to_pylist() == ["Café", "Beta"]
    with pytest.raises(CatalogueError, match=r"cannot decode .*book.csv: unknown encoding: klingon"):
        load(folder, encoding="klingon")


def test_invalid_utf8_deep_in_a_file_is_an_error(write):
    lines = "".join(f"{n},Title\n" for n in range(40_000)).encode()
    with pytest.raises(CatalogueError, match=r"book.csv: it is not UTF-8 .*--encoding latin-1 or encoding = 'cp1252'"):
        load(write(book__csv=b"isbn,title\n" + lines + b"x,Caf\xe9\n"))


def test_one_percent_broken_rows_are_rejected_by_their_row(write, monkeypatch):
    monkeypatch.setattr(text_rows, "BLOCK_BYTES", 2000)  # many blocks
    broken = {7: "r1,b3", 207: "r1,b3,4,100,extra", 208: "r2", 650: "r1,b3,4,100,,", 1000: "r1"}
    bad = {20: "r1,b3,lots,100", 21: "r9,b3,4,100", 999: "r1,b3,NaN,100"}
    rows = [
        (broken | bad).get(n, f"r{n % 2 + 1},b{n},4,{n}" if n % 50 else "") for n in range(1, 1001)
    ]  # some blank lines
    files = {
        "book__csv": "isbn,title\n" + "".join(f'b{n},"T\n{n}"\n' for n in range(1, 1001)),
        "rated__csv": "reader_id,isbn,stars,at\n" + "\n".join(rows) + "\n",
    }
    built, rejects = load(write(**files))
    assert {row: content for _, row, _, content in rejects if row in broken} == broken
    assert {row: ",".join(content.values()) for _, row, _, content in rejects if row in bad} == bad
    assert {row: reason for _, row, reason, _ in rejects} == {
        7: "has 2 fields; expected 4",
        20: "stars is not a float",
        21: "source is not in the reader table",
        207: "has 5 fields; expected 4",
        208: "has 1 fields; expected 4",
        650: "has 6 fields; expected 4",
        999: "stars is empty",
        1000: "has 1 fields; expected 4",
    }
    # rows keep their place: the time is the row's number
    blank = set(range(50, 1000, 50)) - set(broken)
    assert built.interactions["at"].to_pylist() == sorted(set(range(1, 1001)) - set(broken) - set(bad) - blank)
    assert built.nodes["book"].num_rows == 1000


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_an_unclosed_quote_rejects_its_row_alone(write, monkeypatch, block_bytes):
    monkeypatch.setattr(text_rows, "BLOCK_BYTES", block_bytes)
    lines = [f"r1,b{n},5,{n}" for n in range(50)]
    lines[10], lines[20] = 'r1,"b10,5,10', 'r1,"b20,5'
    folder = write(
        book__csv="isbn,title\n" + "".join(f"b{n},T\n" for n in range(50)),
        rated__csv="reader_id,isbn,stars,at\n" + "\n".join(lines),
    )
    built, rejects = load(folder)
    assert sorted((row, reason.split(":")[0]) for _, row, reason, _ in rejects) == [
        (11, "target is not in the book table"),
        (21, "has 3 fields; expected 4"),
    ]
    assert built.interactions["at"].to_pylist() == sorted(set(range(50)) - {10, 20})


def test_a_row_longer_than_a_block_is_an_error(write, monkeypatch):
    monkeypatch.setattr(text_rows, "BLOCK_BYTES", 1000)
    with pytest.raises(CatalogueError, match=r"a row is longer than .*; expected a closing quote before that"):
        load(write(book__csv="isbn,title\n007," + "never ends " * 1000))


def test_a_type_may_have_several_files_and_formats(write):
    folder = write(rated__csv=None)
    head, *lines = [line for line in FILES["rated.csv"].splitlines() if line]
    (folder / "rated").mkdir()
    (folder / "rated" / "one.csv").write_text(f"{head}\n{lines[0]}\n")
    (folder / "rated-2.csv.gz").write_bytes(gzip.compress(f"{head}\n{lines[1]}\n".encode()))
    (folder / "rated-10.tsv").write_text(head.replace(",", "\t") + "\n")
    pq.write_table(
        pa.table({"reader_id": ["r1"], "isbn": [8], "stars": [1], "at": pa.array([0], pa.timestamp("ms"))}),
        folder / "rated.3.parquet",
    )
    (folder / "notes.csv").write_text("of no type")
    built, rejects = load(folder)
    assert rejects == []
    assert sorted(built.interactions.to_pylist(), key=str) == sorted(
        [*RATED, {"source": "r1", "target": "8", "stars": 1.0, "at": 0}], key=str
    )


def test_lists_points_and_prices_are_read_from_csv_and_parquet(write):
    book = SCHEMA.nodes["book"]
    attributes = {name: Attribute(type=name) for name in ("list", "point", "float")}
    book = NodeType(label=book.label, key=book.key, attributes=attributes)
    schema = CatalogueSchema(
        name="books", nodes={**SCHEMA.nodes, "book": book}, edges=SCHEMA.edges, interaction=SCHEMA.interaction
    )
    text = 'isbn,list,point,float\n007,"a|b","59.9, 10.7","$1,299.50"\n8,,POINT(2 1),$3\n9,a,7,3 €\n'
    columns = {
        "isbn": ["007", "8", "9"],
        "list": [["a", "b"], [], ["a", "a"]],
        "point": [[59.9, 10.7], [1.0, 2.0], [7.0]],
        "float": ["$1,299.50", "$3", "3 €"],
    }
    folder = write(book__csv=text)
    for kind in ("csv", "parquet"):
        built, rejects = load(folder, schema=schema)
        assert [tuple(row.values()) for row in built.nodes["book"].to_pylist()] == [
            ("007", ["a", "b"], [59.9, 10.7], 1299.5), ("8", None, [1.0, 2.0], 3.0), ("9", ["a"], None, None),
        ], kind  # fmt: skip
        assert [(file, row, reason.split(" (")[0]) for file, row, reason, _ in rejects] == [
            (f"book.{kind}", 3, "point is not a point"),
            (f"book.{kind}", 3, "float has the unit '€': most rows have '$', left out of its row"),
        ]
        (folder / "book.csv").unlink(missing_ok=True)
        pq.write_table(pa.table(columns), folder / "book.parquet")


def test_parts_are_read_in_the_order_of_their_numbers(write):
    folder = write(rated__csv=None)
    for part in (10, 9, 2, 1):
        (folder / f"rated.{part}.csv").write_text(f"reader_id,isbn,stars,at\nr1,007,{part},5\n")
    assert load(folder)[0].interactions["stars"].to_pylist() == [10.0]  # of equal times the last is kept


def test_a_part_belongs_to_the_type_with_the_longest_matching_name(tmp_path):
    (tmp_path / "rated-old.1.csv").touch()
    (tmp_path / "rated-new.csv").touch()
    found = find_files(tmp_path, ["rated", "rated-old"])
    assert {name: [file.name for file in files] for name, files in found.items()} == {
        "rated": ["rated-new.csv"],
        "rated-old": ["rated-old.1.csv"],
    }


def test_duplicate_ids_and_dangling_edges_are_rejected_with_file_and_row(write):
    built, rejects = load(
        write(
            book__csv=FILES["book.csv"] + "007,Again\n,Nameless\n",
            rated__csv=FILES["rated.csv"] + "r1,7,5,0\nr1,,5,0\n",  # 7 is not 007
        )
    )
    assert rejects == [
        ("book.csv", 3, "isbn is there twice; the first is kept", {"isbn": "007", "title": "Again"}),
        ("book.csv", 4, "isbn is empty", {"isbn": None, "title": "Nameless"}),
        (
            "rated.csv",
            3,
            "target is not in the book table: there is an id that differs only by leading zeros",
            {"reader_id": "r1", "isbn": "7", "stars": "5", "at": "0"},
        ),
        ("rated.csv", 4, "target is empty", {"reader_id": "r1", "isbn": None, "stars": "5", "at": "0"}),
    ]
    assert built.nodes["book"].to_pylist() == BOOKS


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rated__csv": None}, r"no table for rated; expected rated.csv or rated.parquet; found book.csv, reader.csv"),
        ({"rated__csv": FILES["rated.csv"].replace(",", "^")},
         r"by one of , ; tab \| or ::; got 'reader_id\^isbn\^stars\^at'"),
        ({"rated__csv": ""}, "rated.csv: the first line is empty; expected a header"),
        ({"rated__csv": "reader_id,isbn,stars,at\n"}, "no interactions: the table 'rated' has no rows"),
        ({"rated__csv": "reader_id,isbn,stars\n"}, "missing: at"),
        ({"rated__csv": FILES["rated.csv"].replace("at\n", "at,note\n").replace("stars", "rating")},
         "unknown: rating, note"),
        ({"rated__csv": None, "rated__parquet": b"PAR1 not"}, "cannot read .*rated.parquet"),
        ({"rated__csv": None, "rated__csv__gz": CUT_GZIP}, "rated.csv.gz"),
        ({"rated__csv": None, "rated__csv__gz": b"not gzip"}, "rated.csv.gz"),
    ],
)  # fmt: skip
def test_an_error_that_stops_a_load_names_the_file(write, changed, message):
    with pytest.raises(CatalogueError, match=message):
        load(write(**changed))


def test_an_unreadable_file_is_an_error(write):
    folder = write(rated__csv=None)
    (folder / "rated.csv").symlink_to(folder / "gone")
    with pytest.raises(CatalogueError, match="no table for rated"):
        load(folder)
    (folder / "rated.csv").unlink()
    (folder / "rated").mkdir()
    (folder / "rated" / "part.csv").symlink_to(folder / "gone")
    with pytest.raises(CatalogueError, match=r"cannot read .*part.csv: .*; expected a CSV, JSON or Parquet file"):
        load(folder)


def test_opening_needs_a_folder_and_a_schema(tmp_path):
    for path, schema, message in (
        (None, SCHEMA, "needs --path DIR"),
        (tmp_path, None, "needs --schema FILE.toml"),
        (None, None, "needs --path DIR and --schema FILE.toml"),
        (tmp_path / "absent", SCHEMA, "no folder"),
    ):
        with pytest.raises(CatalogueError, match=message):
            open_source("tabular", path=path, schema=schema, cache_dir=tmp_path)
    with pytest.raises(CatalogueError, match=f"no source 'nowhere'; expected one of: {', '.join(SOURCES)}"):
        open_source("nowhere", path=tmp_path, cache_dir=tmp_path)


def test_the_template_describes_a_catalogue_that_loads(tmp_path):
    files = {
        "book": "isbn,title,blurb,year,price,in_stock,shelf\n0007,Alpha,A tale,1999,9.5,true,x\n",
        "author": "author_id,name\na1,Ann\n",
        "reader": "reader_id,country,age\nr1,NZ,31\nr2,NO,\n",
        "friend_of": "reader,friend\nr1,r2\n",
        "written_by": "isbn,author_id\n0007,a1\n",
        "has_tag": "isbn,tag\n0007,sea\n",
        "rated": "reader_id,isbn,stars,rated_at\nr1,0007,5,2024-05-01T10:00:00+02:00\n",
    }
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
    built, rejects = load(tmp_path, schema=CatalogueSchema.known("template"))
    assert rejects == []
    assert built.nodes["tag"].to_pylist() == [{"tag": "sea"}]
    assert built.nodes["book"].to_pylist() == [
        {"isbn": "0007", "title": "Alpha", "blurb": "A tale", "year": 1999, "price": 9.5, "in_stock": True}
    ]
    assert built.interactions["rated_at"].to_pylist() == [1714550400]
    assert built.nodes["reader"]["age"].to_pylist() == [31, None]
    assert built.edges["friend_of"].to_pylist() == [{"source": "r1", "target": "r2"}]


@settings(max_examples=40, deadline=None)
@given(
    titles=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=30
    ),
    broken=st.sets(st.integers(0, 29)),
    block_bytes=st.integers(200, 3000),
)
def test_rows_written_by_python_keep_their_row_numbers(tmp_path_factory, titles, broken, block_bytes):
    folder = tmp_path_factory.mktemp("catalogue")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    with (folder / "book.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["isbn", "title"])
        for place, title in enumerate(titles):
            writer.writerow([f"id{place}", title, "one too many"] if place in broken else [f"id{place}", title])
    source = open_source("tabular", path=folder, schema=SCHEMA, cache_dir=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "BLOCK_BYTES", block_bytes)
        batches = list(source.read_nodes("book"))
    read = {
        int(row): (isbn, title or "")
        for batch in batches
        for row, isbn, title in zip(batch.rows, *(column.to_pylist() for column in batch.columns.columns), strict=True)
    }
    assert read == {place + 1: (f"id{place}", title) for place, title in enumerate(titles) if place not in broken}
    assert {row.row for batch in batches for row in batch.broken} == {
        place + 1 for place in range(len(titles)) if place in broken
    }
    assert all(batch.rows.dtype == np.int64 for batch in batches)


def test_ids_are_read_without_the_spaces_around_them(write):
    folder = write(
        book__csv="isbn,title\n007 , Alpha\n 8,Beta\n",
        reader__csv="reader_id\nr1\n r2\n",
        rated__csv="reader_id,isbn,stars,at\nr1 ,007,5,2020-01-01\nr2, 8 ,3.5,1577836801\n  ,8,1,1\n",
    )
    built, rejects = load(folder)
    assert built.nodes["book"]["isbn"].to_pylist() == ["007", "8"]
    assert built.nodes["book"]["title"].to_pylist() == [" Alpha", "Beta"]  # texts stay as they are
    assert built.interactions.to_pylist() == RATED
    assert [(row, reason) for _, row, reason, _ in rejects] == [(3, "source is empty")]


def test_the_ids_with_spaces_are_counted_once_each(write):
    folder = write(book__csv="isbn,title\n007 ,Alpha\n 8,Beta\n", rated__csv="reader_id,isbn\nr1 ,007 \nr2, 8\n")
    schema = CatalogueSchema.parse("""
name = "books"
nodes.book = { label = "Book", key = "isbn", name = "title" }
nodes.reader = { label = "Reader", key = "reader_id", from_edges = true, table = "rated" }
edges.rated = { source = "reader", type = "RATED", target = "book" }
[interaction]
edge = "rated"
""")  # readers are read from the table of ratings, too
    source = open_source("tabular", path=folder, schema=schema, cache_dir=folder)
    assert source.describe_spaces() == ""
    stage_tables(source, folder / ".staged", rejects=None)
    assert source.describe_spaces() == "5 ids had spaces around them, which are left out"


def test_a_misspelt_column_of_json_is_told_with_the_near_one(write):
    folder = write(book__csv=None, book__jsonl='{"isbn": "007", "titel": "Alpha"}\n{"isbn": "8", "titel": "Beta"}\n')
    with pytest.raises(CatalogueError, match=r"missing: title; .* mean 'titel' by 'title'\? "):
        load(folder)


def test_an_empty_part_of_a_table_has_no_rows(write):
    folder = write(rated__1__csv="")
    (folder / "rated-2.csv").write_bytes(b"")
    assert_whole(load(folder))


def test_a_file_may_have_brackets_in_its_name(write):
    folder = write(rated__csv=None)
    (folder / "loans [2].csv").write_text(FILES["rated.csv"])
    tables = {"rated": SourceTable(file=("loans [2].csv",))}
    assert_whole(load(folder, schema=SCHEMA.model_copy(update={"tables": tables})))
