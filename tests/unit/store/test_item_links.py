"""Links of items in an existing Neo4j graph: other directions, other types of keys, hubs."""

import time
from collections.abc import Iterator

import pytest

from graph_schema import CatalogueSchema
from kgrec.store.contract import ItemLink, NodeRef
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.item_links import read_item_links
from kgrec.store.neo4j.layout import Layout

SCHEMA = CatalogueSchema.parse("""
name = "a graph made by hand"
[nodes.film]
label = "Film"
key = "no"
name = "Title"
[nodes.star]
label = "Star"
key = "id"
name = "called"
[nodes.fan]
label = "Fan"
key = "id"
[nodes.series]
label = "Series"
key = "id"
[edges.features]
source = "film"
type = "STARS_IN"
target = "star"
reverse = true
[edges.follows]
source = "film"
type = "FOLLOWED_BY"
target = "film"
reverse = true
[edges.tagged]
source = "film"
type = "TAG"
target = "star"
[edges.series_tagged]
source = "series"
type = "TAG"
target = "star"
[edges.saw]
source = "fan"
type = "SAW"
target = "film"
[interaction]
edge = "saw"
""")
N_HUB = 30_000


@pytest.fixture
def connection(neo4j_url: str) -> Iterator[Connection]:
    with Connection(neo4j_url, "write") as opened:
        yield opened


def test_links_of_a_hand_made_graph_are_read(connection: Connection) -> None:
    connection.write(
        """
        CREATE (one:Film {no: 1, Title: 'One'}), (two:Film:Classic {no: 2, Title: 1984}), (three:Film {no: '3'}),
               (star:Star {id: 7, called: ['Stella', 'Starr']}), (other:Star {id: 'b', called: 'B'}), (lost:Star),
               (star)-[:STARS_IN]->(one), (star)-[:STARS_IN]->(two), (other)-[:STARS_IN]->(one),
               (one)-[:STARS_IN]->(other), (lost)-[:STARS_IN]->(one), (star)-[:STARS_IN]->(:Play {no: 1}),
               (one)-[:FOLLOWED_BY]->(two), (one)-[:FOLLOWED_BY]->(one), (:Fan {id: 1})-[:SAW]->(one),
               (one)-[:TAG]->(star), (three)-[:TAG]->(star), (:Series {id: 1})-[:TAG]->(star)
        """
    )
    found = read_item_links(connection, Layout(SCHEMA), ["1", "2", "3", "4", "01"])
    star, other = NodeRef("star", "7"), NodeRef("star", "b")
    one, two, three = (NodeRef("film", id_) for id_ in "123")
    assert set(found.links) == {
        ItemLink("1", "features", False, star, 3),  # the play counts: the degree does not distinguish plays from films
        ItemLink("1", "features", False, other, 1),
        ItemLink("2", "features", False, star, 3),
        ItemLink("2", "follows", False, one, 1),  # but a film that follows itself does not count
        ItemLink("1", "follows", True, two, 1),
        ItemLink("1", "tagged", False, star, 2),  # but series do not count: the schema has them
        ItemLink("3", "tagged", False, star, 2),
    }
    assert len(found.links) == 7
    assert found.names == {one: "One", two: "1984", three: None, star: None, other: "B"}


def test_hubs_are_counted_once(connection: Connection) -> None:
    connection.write("CREATE CONSTRAINT FOR (f:Film) REQUIRE f.no IS UNIQUE")
    connection.write("CREATE (:Star {id: 'hub', called: 'Hub'})")
    connection.run_alone(
        f"UNWIND range(1, {N_HUB}) AS no CALL (no) {{ MATCH (s:Star) CREATE (s)-[:STARS_IN]->(:Film {{no: no}}) }} "
        "IN TRANSACTIONS OF 10000 ROWS"
    )
    items = [str(no) for no in range(1, 31)]

    def ask() -> float:
        started = time.perf_counter()
        found = read_item_links(connection, Layout(SCHEMA), items)
        took = time.perf_counter() - started
        assert {link.n_items for link in found.links} == {N_HUB}
        assert {link.item for link in found.links} == set(items)
        return took

    def count() -> float:
        started = time.perf_counter()
        connection.read("MATCH (s:Star)-[:STARS_IN]->(f:Film) WHERE f.no >= 0 RETURN count(f)")
        return time.perf_counter() - started

    # counting the hub's edges per item would take 30 times as long
    assert min(ask() for _ in range(10)) < 2 * min(count() for _ in range(5))
