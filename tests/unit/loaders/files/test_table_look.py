import gzip

import pytest

from graph_schema import CatalogueError
from graph_schema.schema_types import SourceTable
from loaders.files.table_look import find_look
from loaders.files.text_encoding import find_encoding


@pytest.fixture
def look(tmp_path):
    def look(name, content, table=None, **given):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return find_look(file, table, **given)

    return look


@pytest.mark.parametrize(
    ("content", "delimiter", "columns"),
    [
        ("id,title\n1,a; b\n2,c\n", ",", ("id", "title")),
        ("id;title\n1;a, b\n2;c\n", ";", ("id", "title")),
        ('id\ttitle, long\n1\t"a, b"\n', "\t", ("id", "title, long")),
        ("id::title\n1::a: b, c|d\n", "::", ("id", "title")),
        (' userId ,"Book  Title "\n1,2\n', ",", ("userId", "Book Title")),
        ('id,"Price\n(EUR)",,c\n1,2,3,4\n', ",", ("id", "Price (EUR)", "column_3", "c")),
        ("userId\n1\n2\n", ",", ("userId",)),
    ],
)
def test_the_delimiter_and_the_header_are_found(look, content, delimiter, columns):
    found = look("a.csv", content)
    assert (found.delimiter, found.columns, found.has_header) == (delimiter, columns, True)


@pytest.mark.parametrize(
    ("content", "delimiter", "n_columns"),
    [
        ("1::Toy Story (1995)::Animation|Comedy\n2::Heat: A, B::Action\n", "::", 3),
        ("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "\t", 4),
        ("1|Toy Story|01-Jan-1995||http://x/?a,b|0|1\n2|GoldenEye|01-Jan-1995||http://y|1|1\n", "|", 7),
        ("A3SGXH7AUHU8GW,0001,5.0,1393545600\nA1E3OFU8GW,0002,4.0,1393545601\n", ",", 4),
        ("0 0 1\n1 0 2\n1 2 2\n", " ", 3),
        ('N55528\tnews\tThe Brands\t[{"a": "b"}]\nN19639\tnews\tWorst "Habits"\t[]\n', "\t", 4),
        ("7,2\n", ",", 2),
    ],
)
def test_a_first_row_of_data_is_no_header(look, content, delimiter, n_columns):
    found = look("a.txt", content)
    assert (found.delimiter, len(found.columns), found.has_header) == (delimiter, n_columns, False)
    assert found.columns[0] == "column_1"
    names = tuple(f"c{place}" for place in range(n_columns))
    named = look("a.txt", content, SourceTable(columns=names))
    assert (named.delimiter, named.columns, named.has_header, named.n_header_lines) == (delimiter, names, True, 0)


def test_a_header_is_known_by_the_names_of_the_schema(look):
    content = "1,2\n3,4\n"
    assert not look("a.csv", content).has_header
    assert look("a.csv", content, known=["2"]).has_header
    # columns that the file has as its header, too
    assert look("a.csv", "A,b\n3,4\n", SourceTable(columns=("a", "b"))).n_header_lines == 1


def test_the_number_of_columns_must_be_right(look):
    with pytest.raises(CatalogueError, match="names 2 columns, a, b; the first row has 3 fields: '1,2,3'"):
        look("a.csv", "1,2,3\n", SourceTable(columns=("a", "b")))


def test_recbole_headers_declare_types(look):
    found = look("ml.item", "item_id:token\tyear:float\tclass:token_seq\n1\t1995\tAnimation Comedy\n")
    assert (found.columns, found.sequences, found.has_header) == (("item_id", "year", "class"), ("class",), True)


def test_lists_of_ids_are_found(look):
    content = "0 1 2 3\n1 4\n2\n"
    assert look("train.txt", content).lists
    found = look("train.txt", content, SourceTable(columns=("user", "item"), lists=True))
    assert (found.lists, found.columns, found.delimiter) == (True, ("user", "item"), " ")


def test_prose_is_no_table(look):
    text = "MovieLens 100K\n\nThese are ratings, made by users.\nSee the licence, and do not share it.\n"
    assert look("README.txt", text) is None
    assert look("words.txt", "alpha\nbeta\n").columns == ("alpha",)


def test_json_is_told_by_its_name_or_first_line(look):
    assert look("a.json.gz", gzip.compress(b"{}")).kind == "json"
    assert look("a.txt", '{"a": 1}\n').kind == "json"
    assert look("a.parquet", b"").kind == "parquet"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("id,Café\n".encode(), "utf-8"),
        ("id,Café\n".encode("utf-8-sig"), "utf-8-sig"),
        ("id,Café\n".encode("utf-16"), "utf-16"),
        ("id,Caf\n".encode("utf-16-le"), "utf-16-le"),
        (b"id\n" * 100_000 + "Café “x”\n".encode("cp1252"), "cp1252"),
        (b"id\n\xe9\x81\n", "latin-1"),
    ],
)
def test_the_encoding_is_found(tmp_path, content, encoding):
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    assert find_encoding(tmp_path / "a.csv") == encoding
    assert find_encoding(tmp_path / "a.csv.gz") == encoding
