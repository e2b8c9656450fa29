"""A graph that kgrec did not load, read by a schema with paths, several labels and odd names."""

from pathlib import Path

import pytest

from graph_schema import CatalogueSchema
from kgrec.store import open_store, read_tables
from kgrec.store.contract import ItemLink, NodeRef
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.foreign import describe_edge
from kgrec.store.neo4j.layout import Layout, find_steps, to_keys, walk

SHOP_TOML = """
name = "shop"
[nodes.buyer]
labels = ["Guest", "Member"]
key = "nr"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
[nodes.brand]
label = "Brand"
key = "name"
name = "name"
[edges.bought]
source = "buyer"
path = ["PLACED", "<IN_ORDER", "OF"]
target = "product"
attributes = { quantity = "int", at = "time", note = "string" }
[edges.sold_by]
source = "product"
path = ["MADE_AT", "<RUNS"]
target = "brand"
phrase = "maker"
[interaction]
edge = "bought"
weight = "quantity"
at = "at"
repeats = "sum"
"""
SHOP = CatalogueSchema.parse(SHOP_TOML)
GRAPH = """
CREATE (g:Guest {nr: 1.0}), (m:Member {nr: 2}), (both:Guest:Member {nr: '3'}), (:Other {nr: 4}),
       (tea:Product {sku: 'tea', title: 'Tea'}), (pot:Product {sku: 'pot', title: 'Pot'}), (:Product {sku: 'new'}),
       (g)-[:PLACED {at: date('2024-01-01'), note: 'on the first step'}]->(one:Order {at: date('2024-05-05')}),
       (one)<-[:IN_ORDER {note: 'on the second'}]-(:Line {quantity: 2})-[:OF]->(tea),
       (one)<-[:IN_ORDER]-(:Line {quantity: 1})-[:OF {quantity: 5}]->(pot),
       (g)-[:PLACED {at: date('2024-01-03')}]->(two:Order)<-[:IN_ORDER]-(:Line {quantity: 3})-[:OF]->(tea),
       (m)-[:PLACED {at: date('2024-01-04')}]->(:Order)<-[:IN_ORDER]-(:Line {quantity: 1})-[:OF]->(tea),
       (both)-[:PLACED {at: date('2024-01-05')}]->(:Order)<-[:IN_ORDER]-(:Line {quantity: 1})-[:OF]->(pot),
       (tea)-[:MADE_AT]->(site:Site {name: 'Leeds'})<-[:RUNS]-(leaf:Brand {name: 'Leaf'}), (pot)-[:MADE_AT]->(site),
       (pot)-[:MADE_AT]->(:Site {name: 'York'})<-[:RUNS]-(leaf),
       (:Order)<-[:IN_ORDER]-(:Line {quantity: 9})-[:OF]->(tea)
"""
DAY = 86_400
NEW_YEAR = 1_704_067_200  # 2024


@pytest.mark.parametrize("n_edges", [25_000, 1])
def test_a_path_is_read_with_the_properties_of_its_parts(
    neo4j_url: str, monkeypatch: pytest.MonkeyPatch, n_edges: int
) -> None:
    monkeypatch.setattr("kgrec.store.neo4j.export.PIECE_EDGES", n_edges)
    with Connection(neo4j_url, "write") as connection:
        connection.write(GRAPH)
    with open_store(neo4j_url, schema=SHOP) as store:
        counts, tables = store.counts(), read_tables(store)
    assert (counts.nodes["buyer"], counts.edges) == (3, {"bought": 5, "sold_by": 3})
    assert tables.nodes["buyer"]["nr"].to_pylist() == ["1", "2", "3"]  # one of them has two labels, one a float key
    # of a property that several parts have the one nearest to the target counts
    assert tables.interactions.to_pylist() == [
        {"source": "1", "target": "pot", "quantity": 5, "at": NEW_YEAR + 125 * DAY, "note": "on the first step"},
        {"source": "1", "target": "tea", "quantity": 5, "at": NEW_YEAR + 125 * DAY, "note": "on the second"},
        {"source": "2", "target": "tea", "quantity": 1, "at": NEW_YEAR + 3 * DAY, "note": None},
        {"source": "3", "target": "pot", "quantity": 1, "at": NEW_YEAR + 4 * DAY, "note": None},
    ]
    assert tables.edges["sold_by"].to_pylist() == [
        {"source": "pot", "target": "Leaf"},
        {"source": "tea", "target": "Leaf"},
    ]


def test_one_type_is_read_from_a_graph_of_others(neo4j_url: str, tmp_path: Path) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(GRAPH)
    (tmp_path / "shop.toml").write_text(SHOP_TOML)
    with open_store(neo4j_url, schema=tmp_path / "shop.toml") as store:
        (products,) = store.read_nodes("product")
        assert sorted(products["sku"].to_pylist()) == ["new", "pot", "tea"]
        assert sum(map(len, store.read_edges("bought"))) == 4


def test_links_of_items_go_over_paths_and_never_to_what_is_between(neo4j_url: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(GRAPH)
    with open_store(neo4j_url, schema=SHOP) as store:
        found = store.item_links(["tea", "pot", "new", "none"])
    leaf = NodeRef("brand", "Leaf")
    assert sorted(found.links, key=lambda link: link.item) == [
        ItemLink("pot", "sold_by", False, leaf, 2),  # over two sites, and counted once
        ItemLink("tea", "sold_by", False, leaf, 2),
    ]
    assert found.names == {
        NodeRef("product", "tea"): "Tea", NodeRef("product", "pot"): "Pot", NodeRef("product", "new"): None,
        leaf: "Leaf",
    }  # fmt: skip


def test_a_store_that_kgrec_loads_holds_one_edge_where_the_source_has_a_path(neo4j_url: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(GRAPH)
    with open_store(neo4j_url, schema=SHOP) as store:
        tables = read_tables(store)
    with Connection(neo4j_url, "write") as connection:
        connection.write("MATCH (n) DETACH DELETE n")
    with open_store(neo4j_url, mode="write") as store:
        store.ensure_schema(SHOP.stored)
        for name, nodes in tables.nodes.items():
            store.upsert_nodes(name, nodes)
        for name, edges in tables.edges.items():
            store.upsert_edges(name, edges)
    with open_store(neo4j_url, schema=SHOP) as store:
        loaded = read_tables(store)
        assert store.counts().edges == {"bought": 4, "sold_by": 2}
        assert store.connection.read("MATCH ()-[r:PLACED_IN_ORDER_OF]->() RETURN count(r)") == [[4]]
    assert all(loaded.nodes[name].equals(tables.nodes[name]) for name in tables.nodes)
    assert all(loaded.edges[name].equals(tables.edges[name]) for name in tables.edges)


def test_any_label_type_and_property_can_be_read(neo4j_url: str) -> None:
    told = SHOP.model_dump()
    odd = {"buyer": ["Kunde:in", "`7`"], "product": ["Büro/Möbel"], "brand": ["1"]}
    for node_type, labels in odd.items():
        told["nodes"][node_type] |= {"label": labels[0], "labels": labels if len(labels) > 1 else []}
    told["nodes"]["product"] |= {"key": "Artikel-Nr.", "name": "Name (kurz)"}
    told["edges"]["bought"] |= {"path": ["<von:Kunde", "Pos. `x`"], "attributes": {"Menge %": "int"}}
    del told["edges"]["sold_by"], told["nodes"]["brand"]
    told["interaction"] |= {"weight": "Menge %", "at": None}
    with Connection(neo4j_url, "write") as connection:
        connection.write(
            "CREATE (a:`Kunde:in` {nr: 1}), (b:```7``` {nr: 2}), "
            "(p:`Büro/Möbel` {`Artikel-Nr.`: 7, `Name (kurz)`: 'Stuhl'}), "
            "(a)<-[:`von:Kunde`]-(:Auftrag)-[:`Pos. ``x``` {`Menge %`: 3}]->(p), "
            "(b)<-[:`von:Kunde`]-(:Auftrag {`Menge %`: 4})-[:`Pos. ``x```]->(p)"
        )
    with open_store(neo4j_url, schema=CatalogueSchema.model_validate(told)) as store:
        tables = read_tables(store)
    assert tables.nodes["product"].to_pylist() == [{"Artikel-Nr.": "7", "Name (kurz)": "Stuhl"}]
    assert tables.interactions.to_pylist() == [
        {"source": "1", "target": "7", "Menge %": 3},
        {"source": "2", "target": "7", "Menge %": 4},
    ]


def test_a_path_is_drawn_from_both_ends() -> None:
    steps = find_steps(SHOP.edges["bought"])
    assert walk(steps) == "-[:`PLACED`]->()<-[:`IN_ORDER`]-()-[:`OF`]->"
    assert walk(steps, from_end=True) == "<-[:`OF`]-()-[:`IN_ORDER`]->()<-[:`PLACED`]-"
    assert walk(steps, "r") == "-[r4:`PLACED`]->(r3)<-[r2:`IN_ORDER`]-(r1)-[r:`OF`]->"
    assert describe_edge(SHOP, "bought") == "(:Guest|Member)-[:PLACED]->()<-[:IN_ORDER]-()-[:OF]->(:Product)"
    place = Layout(SHOP).edges["bought"]
    assert place.read_property("p", "`at`") == "coalesce(p[0].`at`, p[1].`at`, p[2].`at`, p[3].`at`, p[4].`at`)"


def test_keys_are_found_as_text_or_as_numbers() -> None:
    assert to_keys(["a", "12", "012", "-3", "1.5", "1.50", "12.0"]) == [
        "a", "12", 12, "012", "-3", -3, "1.5", 1.5, "1.50", "12.0",
    ]  # fmt: skip
