"""Every format gives the same rows, to `kgrec load` and to `recommend --likes`."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph_schema import CatalogueError
from graph_schema.schema_types import SourceTable
from loaders import read_rows
from loaders.files import json_rows, text_rows
from loaders.files.table_reading import read_table

ROWS = [("u1", "007", "5"), ("u2", "8", "3.5"), ("u1", "9", None)]
NAMED = SourceTable(columns=("user", "item", "stars"))


def to_text(delimiter, header=True, rows=ROWS):
    lines = [("user", "item", "stars")] * header + [tuple(cell or "" for cell in row) for row in rows]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def read(file, table=None, **given):
    batches = list(read_table([file], table, **given))
    columns = list(dict.fromkeys(name for batch in batches for name in batch.columns.schema.names))
    rows = [tuple(row.get(name) for name in columns) for batch in batches for row in batch.columns.to_pylist()]
    places = [int(place) for batch in batches for place in batch.rows]
    broken = [(one.row, one.reason) for batch in batches for one in batch.broken]
    return columns, rows, places, broken


FORMATS = {
    "a.csv": (to_text(","), None),
    "b.csv": (to_text(";"), None),
    "a.tsv": (to_text("\t"), None),
    "a.txt": (to_text("|"), None),
    "a.dat": (to_text("::"), None),
    "b.dat": (to_text("::", header=False), NAMED),
    "c.dat": (to_text("^", header=False), SourceTable(columns=NAMED.columns, delimiter="^")),
    "u.data": (to_text("\t", header=False), NAMED),
    "d.csv": (to_text(",").encode("utf-16"), None),
    "e.csv": (to_text(",").encode("utf-8-sig"), None),
    "f.csv": (to_text(",").encode("cp037"), SourceTable(encoding="cp037")),
    "g.csv": (to_text(",").replace("\n", "\r").encode(), None),
    "a.csv.gz": (gzip.compress(to_text(",").encode(), mtime=0), None),
    "a.txt.gz": (gzip.compress(to_text("::", header=False).encode(), mtime=0), NAMED),
    "ml.inter": (to_text("\t").replace("user\titem\tstars", "user:token\titem:token\tstars:float"), None),
}


@pytest.mark.parametrize("name", FORMATS)
def test_text_is_read_as_text(tmp_path, name):
    content, table = FORMATS[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(tmp_path / name, table) == (["user", "item", "stars"], ROWS, [1, 2, 3], [])


OBJECTS = [dict(zip(NAMED.columns, row, strict=True)) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "".join(json.dumps(one) + "\n" for one in OBJECTS)),
        ("a.json", json.dumps(OBJECTS)),
        ("b.json", json.dumps(OBJECTS, indent=2)),
        ("c.json", "\n".join(json.dumps(one, indent=1) for one in OBJECTS)),
        ("d.json", "".join(f"{one}\n" for one in OBJECTS)),  # as Python prints dictionaries
        ("a.json.gz", gzip.compress("".join(json.dumps(one) + "\n" for one in OBJECTS).encode(), mtime=0)),
    ],
)
def test_objects_of_json_are_rows(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(json_rows, "_BLOCK_BYTES", 7)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(tmp_path / name) == (["user", "item", "stars"], ROWS, [1, 2, 3], [])


def test_parquet_keeps_its_types(tmp_path):
    pq.write_table(pa.table({"user": [1, 2], "tags": [["a"], None]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (["user", "tags"], [(1, ["a"]), (2, None)], [1, 2], [])


def test_objects_within_objects_and_lists(tmp_path):
    lines = [
        {"asin": "01", "n": 7, "price": 12.0, "related": {"also_viewed": ["x", "y"]}, "on": True,
         "categories": [["Books", "Sea"], ["Books", "War"]], "genres": [{"id": 1, "name": "Drama"}, {"id": 2}]},
        "no object",
        {"asin": 2, "n": None, "price": float("nan"), "helpful": [0, 1], "related": None},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (batch,) = read_table([tmp_path / "a.json"])
    assert batch.columns.to_pylist() == [
        {"asin": "01", "n": 7, "price": 12.0, "related.also_viewed": ["x", "y"], "on": True, "helpful": None,
         "categories": ["Books", "Sea", "War"], "genres.id": [1, 2], "genres.name": ["Drama"]},
        {"asin": "2", "n": None, "price": None, "related.also_viewed": None, "on": None, "helpful": [0, 1],
         "categories": None, "genres.id": None, "genres.name": None},
    ]  # fmt: skip
    assert batch.columns.schema.field("price").type == pa.float64()
    assert [(one.row, one.reason, one.content) for one in batch.broken] == [(2, "is not a JSON object", '"no object"')]
    assert batch.rows.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a"', "ends within its array or an object, after 1 objects"),
        ('[{"a": 1}, 7]', "expected an object after 1 others, got '7]'"),
        ("hello\n", "expected JSON objects, line by line or in an array; got 'hello'"),
        (b'{"a": "\xe9"}\n', r"cannot decode .*latin-1 or encoding = 'cp1252'"),
    ],
)
def test_what_is_no_json_is_an_error(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CatalogueError, match=message):
        read(tmp_path / "a.json")


def test_sequences_of_recbole_are_lists(tmp_path):
    (tmp_path / "ml.item").write_text("item_id:token\tclass:token_seq\n1\tAnimation Comedy\n2\t\n")
    assert read(tmp_path / "ml.item")[1] == [("1", ["Animation", "Comedy"]), ("2", None)]


def test_lists_of_ids_are_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(text_rows, "BLOCK_BYTES", 5)
    (tmp_path / "train.txt").write_text("0 10 11\n\n1 12\n2\n3 10 13\n")
    found = read(tmp_path / "train.txt", SourceTable(columns=("user", "item"), lists=True))
    assert found[1:3] == ([("0", "10"), ("0", "11"), ("1", "12"), ("3", "10"), ("3", "13")], [1, 1, 3, 5, 5])


def test_a_delimiter_of_two_characters_stands_where_text_has_others(tmp_path):
    (tmp_path / "movies.dat").write_bytes(
        '1::Toy, Story: "A" | B (1995)::Animation|Comedy\n2::Caf\xe9\n3::x:::Drama\n'.encode("latin-1")
    )
    table = SourceTable(columns=("id", "title", "genres"), encoding="latin-1")
    _, rows, places, broken = read(tmp_path / "movies.dat", table)
    assert rows == [("1", 'Toy, Story: "A" | B (1995)', "Animation|Comedy"), ("3", "x", ":Drama")]
    assert (places, broken) == ([1, 3], [(2, "has 2 fields; expected 3")])


def test_likes_are_read_from_any_format(tmp_path):
    for name, (content, table) in FORMATS.items():
        if table is None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            assert [tuple(row.values()) for row in read_rows(tmp_path / name, ("User", "ITEM")).to_pylist()] == ROWS, (
                name
            )
            assert read_rows(tmp_path / name, ("User", "ITEM")).column_names == ["User", "ITEM", "stars"]
    (tmp_path / "l.jsonl").write_text('{"user": 1, "item": "a"}\n{"user": 2, "item": "b"}\n')
    assert read_rows(tmp_path / "l.jsonl", ("user", "item")).to_pylist() == [
        {"user": 1, "item": "a"}, {"user": 2, "item": "b"},
    ]  # fmt: skip
    (tmp_path / "l.csv").write_bytes("user,item\nJos\xe9,a\n".encode("cp1252"))
    assert read_rows(tmp_path / "l.csv", ("user", "item"))["user"].to_pylist() == ["José"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n2,3\n", "has no header: its first row looks like data, '1,2'; expected a first row with .*: user, item"),
        ("user,item\n1,2\n3\n", "row 2 has 1 fields; expected 2: '3'; correct it"),
        ("", "the first line is empty"),
    ],
)
def test_likes_that_cannot_be_read_are_an_error(tmp_path, content, message):
    (tmp_path / "likes.csv").write_text(content)
    with pytest.raises(CatalogueError, match=message):
        read_rows(tmp_path / "likes.csv", ("user", "item"))
