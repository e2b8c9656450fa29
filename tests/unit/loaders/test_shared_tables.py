"""Several types that read one table, and columns that link its rows."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.staging import stage_tables
from loaders import open_source

MOVIES = """
name = "films"
[nodes.movie]
label = "Movie"
key = "movieId"
name = "title"
table = "movies"
[nodes.genre]
label = "Genre"
key = "genre"
from_edges = true
[nodes.studio]
label = "Studio"
key = "studioId"
table = "studios"
[nodes.user]
label = "User"
key = "userId"
from_edges = true
[edges.has_genre]
source = "movie"
type = "HAS_GENRE"
target = "genre"
table = "movies"
target_column = "genres"
split = "|"
[edges.made_by]
source = "movie"
type = "MADE_BY"
target = "studio"
table = "movies"
[edges.sequel_of]
source = "movie"
type = "SEQUEL_OF"
target = "movie"
table = "movies"
target_column = "sequelOf"
[edges.rated]
source = "user"
type = "RATED"
target = "movie"
table = "ratings"
attributes = { rating = "float" }
[interaction]
edge = "rated"
weight = "rating"
"""
FILES = {
    "movies.csv": "MovieId, Title ,genres,studioId,sequelOf,url\n1,Sea,Drama| Comedy|Drama,7,,x\n"
    "2,Hill,Drama,NULL,1,y\n3,Lake,,8,,z\n",
    "studios.csv": "studioId\n7\n8\n",
    "ratings.csv": "userId,movieId,rating\na,1,5\nb,3,4\n",
}  # fmt: skip


@pytest.fixture
def load(tmp_path):
    def load(schema, files):
        for name, content in files.items():
            if isinstance(content, pa.Table):
                pq.write_table(content, tmp_path / name)
            else:
                (tmp_path / name).write_text(content)
        source = open_source("tabular", path=tmp_path, schema=CatalogueSchema.parse(schema), cache_dir=tmp_path)
        staged = stage_tables(source, tmp_path / ".staged", rejects=tmp_path / "rejects", max_rejects=1.0)
        return staged.to_tables(), (tmp_path / "rejects").read_text().splitlines()[1:]

    return load


def pairs(edges):
    return [(row["source"], row["target"]) for row in edges.to_pylist()]


def assert_linked(loaded):
    built, rejects = loaded
    assert rejects == []
    assert built.nodes["movie"].to_pylist() == [
        {"movieId": "1", "title": "Sea"}, {"movieId": "2", "title": "Hill"}, {"movieId": "3", "title": "Lake"},
    ]  # fmt: skip
    assert pairs(built.edges["has_genre"]) == [("1", "Drama"), ("1", "Comedy"), ("2", "Drama")]
    assert pairs(built.edges["made_by"]) == [("1", "7"), ("3", "8")]
    assert pairs(built.edges["sequel_of"]) == [("2", "1")]


def test_columns_of_a_node_table_become_edges(load):
    assert_linked(load(MOVIES, FILES))


@pytest.mark.parametrize(
    ("genres", "split"),
    [
        (('["Drama", "Comedy"]', '["Drama"]', "[]"), "[]"),
        (("['Drama', 'Comedy']", "['Drama']", ""), "[]"),
        (("[['Drama', 'Comedy'], ['Drama']]", "Drama", None), "[]"),
        (("Drama > Comedy", "Drama", None), ">"),
        (("Drama, Comedy", "Drama", None), ","),
        ((["Drama", "Comedy"], ["Drama"], None), "|"),
        (([["Drama", "Comedy"], ["Drama"]], [["Drama"]], []), "|"),
    ],
)
def test_lists_are_split_however_they_are_written(load, genres, split):
    columns = {
        "movieId": ["1", "2", "3"], "title": ["Sea", "Hill", "Lake"], "genres": genres, "studioId": [7, None, 8],
        "sequelOf": [None, 1.0, None],
    }  # fmt: skip
    files = {name: content for name, content in FILES.items() if name != "movies.csv"}
    assert_linked(
        load(MOVIES.replace('split = "|"', f'split = "{split}"'), {**files, "movies.parquet": pa.table(columns)})
    )


def test_a_text_that_is_no_list_is_rejected(load):
    files = {**FILES, "movies.csv": 'movieId,title,genres,studioId,sequelOf\n1,Sea,"[""Drama",7,\n'}
    built, rejects = load(MOVIES.replace('split = "|"', 'split = "[]"'), files)
    assert built.edges["has_genre"].num_rows == 0
    assert [line.split(",")[:4] for line in rejects if "has_genre" in line] == [
        ["movies.csv", "1", "has_genre", '"genres is not a list']
    ]


def test_parts_of_objects_are_linked(load):
    movies = [
        {"movieId": 1, "title": "Sea", "genres": [["Drama", "Comedy"], ["Drama"]], "studioId": 7, "rank": {"A": 1}},
        {"movieId": 2, "title": "Hill", "genres": [["Drama"]], "sequelOf": 1},
        {"movieId": 3, "title": "Lake", "studioId": 8},
    ]  # fmt: skip
    files = {name: content for name, content in FILES.items() if name != "movies.csv"}
    assert_linked(load(MOVIES, {**files, "movies.jsonl": "".join(json.dumps(one) + "\n" for one in movies)}))
    with pytest.raises(CatalogueError, match=r"no object has 'titel', which the schema names for 'movie'; .* 'title'"):
        load(MOVIES.replace('name = "title"', 'name = "titel"'), files)


SALES = """
name = "shop"
[nodes.product]
label = "Product"
key = "StockCode"
name = "Description"
table = "sales"
[nodes.customer]
label = "Customer"
key = "CustomerID"
table = "sales"
attributes = { Country = "string" }
[edges.bought]
source = "customer"
type = "BOUGHT"
target = "product"
table = "sales"
attributes = { Quantity = "int" }
[interaction]
edge = "bought"
weight = "Quantity"
repeats = "sum"
[tables.sales]
file = "Online Retail.csv"
"""
ROWS = """InvoiceNo,StockCode,Description,Quantity,CustomerID,Country
1,s1,Lamp,6,c1,UK
1,s2,Cup,1,c1,UK
2,s1,Lamp,2,c1,UK
3,s1,lamp,1,c2,France
4,s3,Pen,9,,UK
"""


def test_one_table_of_sales_is_users_items_and_interactions(load):
    built, rejects = load(SALES, {"Online Retail.csv": ROWS})
    assert built.nodes["product"].to_pylist() == [
        {"StockCode": "s1", "Description": "Lamp"}, {"StockCode": "s2", "Description": "Cup"},
        {"StockCode": "s3", "Description": "Pen"},
    ]  # fmt: skip
    assert built.nodes["customer"].to_pylist() == [
        {"CustomerID": "c1", "Country": "UK"}, {"CustomerID": "c2", "Country": "France"},
    ]  # fmt: skip
    assert sorted((row["source"], row["target"], row["Quantity"]) for row in built.interactions.to_pylist()) == [
        ("c1", "s1", 8), ("c1", "s2", 1), ("c2", "s1", 1),
    ]  # fmt: skip
    assert [line.split(",")[:4] for line in rejects] == [["Online Retail.csv", "5", "bought", "source is empty"]]


def test_repeated_rows_of_a_node_table_are_still_told(load):
    files = {**FILES, "movies.csv": FILES["movies.csv"] + "1,Again,,,,\n"}
    assert [line.split(",")[:4] for line in load(MOVIES, files)[1]] == [
        ["movies.csv", "4", "movie", "movieId is there twice; the first is kept"]
    ]


def test_tables_without_a_header_say_how_to_name_their_columns(load):
    schema = """
name = "x"
[nodes.item]
label = "Item"
key = "item_id"
[nodes.user]
label = "User"
key = "userID"
from_edges = true
[edges.liked]
source = "user"
type = "LIKED"
target = "item"
[edges.friend]
source = "user"
type = "FRIEND"
target = "user"
source_column = "userID"
target_column = "friendID"
[interaction]
edge = "liked"
"""
    files = {"friend.tsv": "1\t2\n2\t3\n", "item.csv": "item_id\n1\n", "liked.csv": "userID,item_id\n1,1\n"}
    with pytest.raises(
        CatalogueError,
        match=r'its first row looks like data, .1\\t2.*: \[tables.friend\] columns = \["userID", "friendID"\]',
    ):
        load(schema, files)
    built, rejects = load(schema + '[tables.friend]\ncolumns = ["userID", "friendID"]\n', files)
    assert (pairs(built.edges["friend"]), rejects) == ([("1", "2"), ("2", "3")], [])
    files["friend.tsv"] = "userID\tfreindID\n1\t2\n"
    with pytest.raises(CatalogueError, match=r"columns userID, friendID \(as source_column and target_column say\)"):
        load(schema, files)
    files["friend.tsv"] = "1 2 3\n2 3\n"
    with pytest.raises(CatalogueError, match=r"each line seems to be an id .*\[tables.friend\] lists = true, columns"):
        load(schema, files)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (SALES.replace("[tables.sales]", "[tables.sale]"), "no type reads the table 'sale' .* did you mean 'sales'"),
        (SALES.replace('file = "Online Retail.csv"', ""), "has no table for sales; expected sales.csv"),
        (SALES.replace("Country = ", "Contry = "), "missing: Contry; .* mean 'Country' by 'Contry'"),
        (SALES.replace("attributes = { Q", 'where = { Countri = "UK" }\nattributes = { Q'),
         r"has no column 'Countri', which where of \[edges.bought\] names; did you mean 'Country'"),
    ],
)  # fmt: skip
def test_typos_are_told_with_the_near_name(load, schema, message):
    with pytest.raises(CatalogueError, match=message):
        load(schema, {"Online Retail.csv": ROWS})


def test_a_type_that_names_no_table_is_told_rather_than_the_table_that_is_there(load):
    schema = SALES.replace('file = "Online Retail.csv"', 'delimiter = ","').replace('"sales"', '"sale"')
    with pytest.raises(
        CatalogueError, match=r"no table 'sale', which \[nodes.product\] reads; did you mean 'sales', which \[tables.s"
    ):
        load(schema, {"sales.csv": "a,b\n1,2\n"})
