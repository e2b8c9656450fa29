"""The pulse of a graph: it differs after what it is said to see, by counts and times, or by recorded changes."""

from collections.abc import Iterator
from typing import Any

import pytest

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.graph_pulse import read_pulse

SCHEMA = CatalogueSchema.parse("""
name = "orders"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
attributes = { made = "time" }
[nodes.customer]
label = "Customer"
labels = ["Customer", "Guest"]
key = "id"
[edges.bought]
source = "customer"
target = "product"
path = ["PURCHASED", "ORDERS"]
attributes = { ordered = "time" }
[interaction]
edge = "bought"
at = "ordered"
""")


@pytest.fixture
def graph(neo4j_url: str) -> Iterator[Connection]:
    with Connection(neo4j_url, "write") as connection:
        connection.write(
            "CREATE (:Customer {id: 'c'})-[:PURCHASED]->(:Order {ordered: date('2026-01-01')})"
            "-[:ORDERS]->(:Product {sku: 'p', title: 'Tea', made: 1})"
        )
        yield connection


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        ("CREATE (:Product {sku: 'q'})", True),
        ("MATCH (p:Product) SET p.made = 2", True),
        ("CREATE (:Guest {id: 'g'})", True),
        ("MATCH (o:Order), (p:Product) CREATE (o)-[:ORDERS]->(p)", True),
        ("MATCH (o:Order) SET o.ordered = date('2026-01-02')", True),
        ("MATCH (p:Product) SET p.title = 'Coffee', p.changed = datetime()", True),
        ("MATCH (p:Product) SET p.title = 'Coffee'", False),
        ("CREATE (:Other)", False),
        ("MATCH (p:Product) CREATE (p)-[:SIMILAR_TO {version: 'kgrec-1'}]->(p)", False),
    ],
)
def test_counts_and_times_are_seen(graph: Connection, change: str, is_seen: bool) -> None:
    before = read_pulse(graph, SCHEMA, None, "changed")
    assert read_pulse(graph, SCHEMA, before, "changed") == before
    graph.write(change)
    assert (read_pulse(graph, SCHEMA, before, "changed") != before) == is_seen


class Recorded:
    """A server that records changes: its answers to the procedures of change data capture."""

    def __init__(self) -> None:
        self.last, self.has_changes, self.asked = "id-1", False, dict[str, Any]()

    def read(self, query: str, parameters: dict[str, Any] | None = None) -> list[list[Any]]:
        if "db.cdc.current" in query:
            return [[self.last]]
        assert query.startswith("CALL db.cdc.query($last, $selectors) YIELD id")
        self.asked = parameters or {}
        if self.asked["last"] == "too old":
            raise StoreError("the id is gone from the log")
        return [["id-9"]] if self.has_changes else []


def test_recorded_changes_are_asked_for_by_label_and_type() -> None:
    server: Any = Recorded()
    before = read_pulse(server, SCHEMA, None, None)
    server.last = "id-2"  # somebody wrote what the schema does not name
    assert read_pulse(server, SCHEMA, before, None) == before
    assert server.asked["last"] == "id-1"
    assert server.asked["selectors"] == [
        *({"select": "n", "labels": [label]} for label in ("Product", "Customer", "Guest")),
        *({"select": "r", "type": kind} for kind in ("PURCHASED", "ORDERS")),
    ]
    server.has_changes = True
    after = read_pulse(server, SCHEMA, before, None)
    assert after != before
    assert "id-2" in after
    assert read_pulse(server, SCHEMA, '["cdc", "too old"]', None) == after
