"""An edge type that leads through several tables: customers over orders to products."""

import json

import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.staging import stage_tables
from loaders import open_source
from loaders.files.tabular import TabularSource

SCHEMA = """
name = "shop"
[nodes.product]
label = "Product"
key = "ProductID"
name = "Name"
table = "products"
ignore = ["CategoryID"]
[nodes.customer]
label = "Customer"
key = "CustomerID"
from_edges = true
[edges.bought]
source = "customer"
target = "product"
path = ["orders", "order_lines"]
attributes = { Quantity = "int", OrderDate = "time" }
%s
[interaction]
edge = "bought"
weight = "Quantity"
at = "OrderDate"
repeats = "sum"
"""
FILES = {
    "products.csv": "ProductID,Name,CategoryID\np1,Brie,c1\np2,Gouda,c1\np3,Ale,c2\n",
    "orders.csv": "OrderID,CustomerID,OrderDate,Status\n1,ann,2020-01-01,sent\n2,bob,2020-01-02,sent\n"
    "3,ann,2020-01-03,lost\n4,cy,2020-01-04,sent\n",
    "order_lines.csv": "LineID,OrderID,ProductID,Quantity\na,1,p1,2\nb,1,p2,1\nc,2,p1,4\nd,3,p1,8\ne,9,p3,1\nf,,p3,1\n",
}  # fmt: skip
LINES = [("ann", "p1", 10, "2020-01-03"), ("ann", "p2", 1, "2020-01-01"), ("bob", "p1", 4, "2020-01-02")]


@pytest.fixture
def load(tmp_path):
    def load(schema="", files=FILES, base=SCHEMA):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        parsed = CatalogueSchema.parse(base.replace("%s", schema))
        source = open_source("tabular", path=tmp_path, schema=parsed, cache_dir=tmp_path)
        staged = stage_tables(source, tmp_path / ".staged", rejects=tmp_path / "rejects", max_rejects=1.0)
        lines = (tmp_path / "rejects").read_text().splitlines()[1:]
        return staged.to_tables(), [line.split(",")[:4] for line in lines]

    return load


def weighed(edges):
    return [(row["source"], row["target"], row["Quantity"]) for row in edges.to_pylist()]


@pytest.mark.parametrize("join", ["", 'join = ["OrderID"]', 'join = ["orderid = OrderID"]'])
def test_order_lines_become_purchases(load, join):
    built, rejects = load(join)
    assert sorted(weighed(built.interactions)) == [(user, item, n) for user, item, n, _ in LINES]
    assert built.interactions.schema.names == ["source", "target", "Quantity", "OrderDate"]
    assert sorted(built.nodes["customer"]["CustomerID"].to_pylist()) == ["ann", "bob"]
    assert rejects == [
        ["order_lines.csv", "5", "bought", "OrderID is in no row of orders"],
        ["order_lines.csv", "6", "bought", "OrderID is empty"],
    ]


@pytest.mark.parametrize("streamed", ["orders", "order_lines"])
def test_whichever_table_is_streamed_the_result_is_the_same(load, monkeypatch, streamed):
    monkeypatch.setattr(TabularSource, "_find_size", lambda self, table: table == streamed)
    files = {**FILES, "orders.csv": FILES["orders.csv"] + "5,dan\n"}
    built, rejects = load(files=files)
    assert sorted(weighed(built.interactions)) == [(user, item, n) for user, item, n, _ in LINES]
    assert sorted(rejects) == [  # but an order may have no line
        ["order_lines.csv", "5", "bought", "OrderID is in no row of orders"],
        ["order_lines.csv", "6", "bought", "OrderID is empty"],
        ["orders.csv", "5", "bought", "has 2 fields; expected 4"],
    ]


def test_where_takes_some_rows(load):
    built, rejects = load('where = { Status = "sent" }')
    assert sorted(weighed(built.interactions)) == [("ann", "p1", 2), ("ann", "p2", 1), ("bob", "p1", 4)]
    assert rejects == []


def test_a_path_may_go_on_behind_the_lines(load, monkeypatch):
    product = 'key = "ProductID"\nname = "Name"\ntable = "products"\nignore = ["CategoryID"]'
    base = SCHEMA.replace(product, 'key = "CategoryID"\nfrom_edges = true')
    base = base.replace('["orders", "order_lines"]', '["orders", "order_lines", "products"]')
    path = 'join = ["OrderID", "ProductID"]'
    for streamed in ("orders", "order_lines", "products"):
        monkeypatch.setattr(TabularSource, "_find_size", lambda self, table, chosen=streamed: table == chosen)
        built, _ = load(path, base=base)
        assert sorted(weighed(built.interactions)) == [("ann", "c1", 11), ("bob", "c1", 4)], streamed


TRIPLES = {
    "item.csv": "item_id\n1\n2\n3\n",
    "inter.csv": "user_id,item_id\nu,1\n",
    "link.csv": "item_id,entity_id\n1,e1\n2,e2\n3,e3\n",
    "kg.csv": "head_id,relation_id,tail_id\ne1,directed_by,p1\ne2,directed_by,p1\n"
    "e1,set_in,c1\ne8,directed_by,p2\np1,made,e3\n",
}
TRIPLE_SCHEMA = """
name = "films"
[nodes.item]
label = "Item"
key = "item_id"
[nodes.user]
label = "User"
key = "user_id"
from_edges = true
[nodes.entity]
label = "Entity"
key = "entity_id"
from_edges = true
[edges.inter]
source = "user"
type = "INTER"
target = "item"
[edges.directed_by]
source = "item"
target = "entity"
type = "DIRECTED_BY"
path = ["link", "kg"]
join = ["entity_id=head_id"]
where = { relation_id = "directed_by" }
target_column = "tail_id"
[edges.made_by]
source = "item"
target = "entity"
type = "MADE_BY"
path = ["link", "kg"]
join = ["entity_id=tail_id"]
where = { relation_id = "made" }
target_column = "head_id"
[interaction]
edge = "inter"
"""


def test_triples_are_edges_of_items_over_their_links(load):
    built, rejects = load(files=TRIPLES, base=TRIPLE_SCHEMA)
    assert built.edges["directed_by"].to_pylist() == [{"source": "1", "target": "p1"}, {"source": "2", "target": "p1"}]
    assert built.edges["made_by"].to_pylist() == [{"source": "3", "target": "p1"}]
    assert rejects == []  # triples of entities that are no items


@pytest.mark.parametrize(
    ("schema", "files", "message"),
    [
        (
            'join = ["OrderId=Order"]',
            {},
            r"\[edges.bought\]: join names 'Order', no column of order_lines; did you mean 'OrderID'",
        ),
        ("", {"orders.csv": "OrderID,ProductID,CustomerID,OrderDate\n"}, "in common: OrderID, ProductID; say by which"),
        ("", {"orders.csv": "No,CustomerID,OrderDate\n"}, r"in common: none; .* such as join = \[\"order_id\"\]"),
        ("", {"orders.csv": "OrderID,Customer,OrderDate\n"}, "has the column 'CustomerID': .* Did you mean 'Customer'"),
        ('where = { State = "x" }', {}, "has the column 'State': .* Did you mean 'Status'"),
    ],
)
def test_a_column_that_is_not_there_is_an_error(load, schema, files, message):
    with pytest.raises(CatalogueError, match=message):
        load(schema, {**FILES, **files})


def test_objects_of_json_are_joined_with_a_csv(load):
    orders = [{"id": n, "who": {"name": who}} for n, who in ((1, "ann"), (2, "bob"), (3, "ann"))]
    files = {name: content for name, content in FILES.items() if name != "orders.csv"}
    files["orders.json"] = json.dumps(orders)
    base = SCHEMA.replace(', OrderDate = "time"', "").replace('at = "OrderDate"\n', "")
    built, _ = load('join = ["id=OrderID"]\nsource_column = "who.name"', files, base)
    assert sorted(weighed(built.interactions)) == [("ann", "p1", 10), ("ann", "p2", 1), ("bob", "p1", 4)]


def test_tables_are_joined_by_ids_without_the_spaces_around_them(load):
    files = FILES | {
        "orders.csv": FILES["orders.csv"].replace("\n1,ann,", "\n1 ,ann ,").replace("\n3,", "\n 3,"),
        "order_lines.csv": FILES["order_lines.csv"].replace("c,2,p1,", "c, 2, p1 ,"),
    }
    assert load(files=files)[0].interactions.to_pylist() == load()[0].interactions.to_pylist()
