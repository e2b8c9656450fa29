"""Published versions on a real server: what is written, switched, rolled back and removed, and what never is."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, NodeType
from graph_schema.schema_types import Attribute
from kgrec.errors import StoreError
from kgrec.store.neo4j import publish_lease
from kgrec.store.neo4j.backend_queries import describe_queries
from kgrec.store.neo4j.connection import Connection, Parameters, TransactionTooLarge, quote
from kgrec.store.neo4j.release import RECOMMENDED, SIMILAR_TO, Version, read_release, roll_back
from kgrec.store.neo4j.version_writing import Draft

SCHEMA = CatalogueSchema.parse(
    """
name = "films"
[nodes.film]
label = "Film `x` \\\\u0060"
key = "film id"
attributes = { in_stock = "bool" }
[nodes.viewer]
label = "Viewer"
key = "viewer_id"
[edges.saw]
source = "viewer"
type = "SAW"
target = "film"
[interaction]
edge = "saw"
""".replace("Film `x` \\\\u0060", "Film.x y")
)
FILM, KEY = quote("Film.x y"), quote("film id")
FILMS = [f"f{n}" for n in range(8)]
VIEWERS = ["v0", "v1", "v2"]
ANGLES = np.array([0.12 * n + 0.01 * n**2 for n in range(len(FILMS))])  # growing gaps, so no two distances are equal
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


@pytest.fixture
def graph(neo4j_url: str) -> Iterator[Connection]:
    with Connection(neo4j_url, "write") as connection:
        connection.write(f"UNWIND $ids AS id CREATE (:{FILM} {{{KEY}: id, in_stock: id <> 'f2'}})", {"ids": FILMS})
        connection.write("UNWIND $ids AS id CREATE (:Viewer {viewer_id: id})", {"ids": VIEWERS})
        yield connection


def to_lists(lists: dict[str, list[str]]) -> pa.Table:
    rows = [
        (source, target, place + 1, 1 / (place + 1)) for source, of in lists.items() for place, target in enumerate(of)
    ]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(("source", "target", "rank", "score"), map(list, columns), strict=True)))


def neighbours(shift: int) -> dict[str, list[str]]:
    """For each film the next three, `shift` films further."""
    return {film: [FILMS[(n + shift + step) % len(FILMS)] for step in range(3)] for n, film in enumerate(FILMS)}


def publish(connection: Connection, shift: int, *, published_at: int = 0, users: bool = False) -> Version:
    with Draft(connection, SCHEMA, published_at=published_at) as draft:
        draft.write_vectors("item", FILMS, np.roll(VECTORS, -shift, axis=0))
        draft.write_lists(SIMILAR_TO, "item", [to_lists(neighbours(shift))])
        if users:
            draft.write_vectors("user", VIEWERS, VECTORS[: len(VIEWERS)])
            draft.write_lists(RECOMMENDED, "user", [to_lists({"v0": ["f5", "f1"], "v1": ["f2"]})])
        draft.finish({"shift": shift})
    return draft.version


def queries(connection: Connection) -> dict[str, str]:
    live = read_release(connection).live
    assert live is not None
    return describe_queries(SCHEMA, live, connection.version)


def ask(connection: Connection, what: str, **parameters: Any) -> list[str]:
    (query,) = [query for title, query in queries(connection).items() if what in title]
    return [row[0] for row in connection.read(query, {"k": 3, "n": 8, **parameters})]


def published(connection: Connection) -> tuple[set[str], set[str], set[str]]:
    """The versions on edges, kgrec's properties of nodes, and its indexes."""
    edges = connection.read("MATCH ()-[s:SIMILAR_TO|RECOMMENDED]->() RETURN DISTINCT s.version")
    properties = connection.read(
        "MATCH (n) UNWIND keys(n) AS key WITH key WHERE key STARTS WITH 'kgrec_' RETURN DISTINCT key"
    )
    indexes = connection.read("SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' RETURN name")
    return {row[0] for row in edges}, {row[0] for row in properties}, {row[0] for row in indexes}


def test_the_queries_find_what_is_published(graph: Connection) -> None:
    version = publish(graph, 1, users=True)
    assert ask(graph, "in stock", item="f0") == ["f1", "f3"]  # f2 is not
    assert ask(graph, "vector index", item="f2") == ["f1", "f3", "f0"]
    assert ask(graph, "people", user="v0") == ["v1", "v2"]
    assert ask(graph, "recommended", user="v0") == ["f5", "f1"]
    graph.write(f"MATCH (u:Viewer {{viewer_id: 'v0'}}), (f:{FILM} {{{KEY}: 'f5'}}) CREATE (u)-[:SAW]->(f)")
    assert ask(graph, "recommended", user="v0") == ["f1"]
    assert ask(graph, "vector index", item="unknown") == []
    assert version.n_published == {"items": 8, "users": 3, "similar": 24, "recommended": 3}
    edges = graph.read(
        f"MATCH (:{FILM} {{{KEY}: 'f6'}})-[s:SIMILAR_TO]->(o) "
        f"RETURN o.{KEY}, s.rank, s.score, s.version ORDER BY s.rank"
    )
    assert edges == [
        ["f7", 1, 1.0, version.name],
        ["f0", 2, 0.5, version.name],
        ["f1", 3, pytest.approx(1 / 3), version.name],
    ]


def test_the_scores_of_the_vector_index_are_the_cosines(graph: Connection) -> None:
    publish(graph, 0)
    (query,) = [query for title, query in queries(graph).items() if "vector index" in title]
    found = dict(graph.read(query, {"item": "f0", "k": 8, "n": 8}))
    expected = {film: (1 + np.cos(angle)) / 2 for film, angle in zip(FILMS, ANGLES, strict=True)}
    del expected["f0"], expected["f2"]  # itself; not in stock
    assert found == pytest.approx(expected, abs=1e-6)


def test_live_and_previous_are_kept_and_a_rollback_swaps_them(graph: Connection) -> None:
    names = [publish(graph, shift, users=shift == 2).name for shift in (1, 2, 3)]
    found = read_release(graph)
    assert [version.name for version in found.versions] == names[1:]
    assert found.live is not None and (found.live.name, found.live.about) == (names[2], {"shift": 3})
    assert not found.is_publishing
    stamps = [name.removeprefix("kgrec-") for name in names[1:]]
    assert published(graph) == (
        set(names[1:]),
        {f"kgrec_items_{stamps[0]}", f"kgrec_users_{stamps[0]}", f"kgrec_items_{stamps[1]}"},
        {f"kgrec_items_{stamps[0]}", f"kgrec_users_{stamps[0]}", f"kgrec_items_{stamps[1]}"},
    )
    assert ask(graph, "in stock", item="f0") == ["f3", "f4", "f5"]
    back = roll_back(graph)
    assert back == read_release(graph)
    assert ask(graph, "in stock", item="f0") == ["f3", "f4"]  # f2, f3, f4 of the second version
    assert ask(graph, "people", user="v0") == ["v1", "v2"]
    roll_back(graph)
    assert ask(graph, "in stock", item="f0") == ["f3", "f4", "f5"]
    assert "people like you" not in queries(graph)


def test_a_rollback_without_a_previous_version_is_an_error(graph: Connection) -> None:
    assert read_release(graph).live is None
    with pytest.raises(StoreError, match="nothing is published"):
        roll_back(graph)
    publish(graph, 1)
    with pytest.raises(StoreError, match="only version"):
        roll_back(graph)


def test_foreign_data_is_never_touched(graph: Connection) -> None:
    graph.write(
        f"MATCH (a:{FILM} {{{KEY}: 'f0'}}), (b:{FILM} {{{KEY}: 'f1'}}), (u:Viewer) "
        "CREATE (a)-[:SIMILAR_TO {score: 9}]->(b), (a)-[:SIMILAR_TO {version: 7}]->(b), "
        "(a)-[:SIMILAR_TO {version: '2.0'}]->(b), (u)-[:RECOMMENDED {by: 'editor'}]->(a) SET a.embedding = [1.0, 2.0]"
    )
    graph.write(f"CREATE VECTOR INDEX own FOR (n:{FILM}) ON (n.embedding)")
    for shift in (1, 2, 3):
        publish(graph, shift, users=True)
        assert len(ask(graph, "in stock", item="f0")) <= 3
    own = graph.read(
        "MATCH (a)-[s:SIMILAR_TO|RECOMMENDED]->() WHERE NOT coalesce(toString(s.version) STARTS WITH 'kgrec-', false) "
        "RETURN type(s), properties(s), a.embedding"
    )
    assert sorted(own, key=str) == sorted(
        [["RECOMMENDED", {"by": "editor"}, None]] * len(VIEWERS)
        + [["SIMILAR_TO", about, [1.0, 2.0]] for about in ({"score": 9}, {"version": 7}, {"version": "2.0"})]
        * len(VIEWERS),
        key=str,
    )
    assert "own" in published(graph)[2]
    properties = graph.read("MATCH (n) WHERE n:Viewer RETURN [k IN keys(n) WHERE NOT k STARTS WITH 'kgrec_']")
    assert properties == [[["viewer_id"]]] * len(VIEWERS)


def test_an_interrupted_publish_keeps_the_live_version_and_is_cleaned_up_by_the_next(graph: Connection) -> None:
    live = publish(graph, 1)
    with pytest.raises(ZeroDivisionError), Draft(graph, SCHEMA, published_at=0) as draft:
        draft.write_vectors("item", FILMS, VECTORS)
        draft.write_lists(SIMILAR_TO, "item", [to_lists(neighbours(4))])
        raise ZeroDivisionError
    found = read_release(graph)
    assert found.live == live
    assert [found.state(version) for version in found.versions] == ["live", "cut off"]
    assert ask(graph, "in stock", item="f0") == ["f1", "f3"]
    with Draft(graph, SCHEMA, published_at=0):
        edges, properties, indexes = published(graph)
    assert edges == {live.name}
    assert indexes == {live.vectors("item")}
    assert properties == {live.vectors("item")}


def test_remains_are_found_without_the_release_node(graph: Connection) -> None:
    for shift in (1, 2):
        publish(graph, shift, users=True)
    graph.write("MATCH (r:KgrecRelease) DELETE r")
    version = publish(graph, 3, published_at=2_000_000_000)
    assert published(graph) == (
        {version.name},
        {version.vectors("item")},
        {version.vectors("item")},
    )


def test_a_second_publish_is_refused_and_an_expired_one_cannot_continue(
    graph: Connection, neo4j_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_lease, "LEASE_S", 0.5)
    with Connection(neo4j_url, "write") as other, Draft(graph, SCHEMA, published_at=0) as slept:
        with pytest.raises(StoreError, match="another publish is at work"):
            Draft(other, SCHEMA, published_at=0)
        assert read_release(other).is_publishing
        threading.Event().wait(0.6)
        version = publish(other, 1)
        with pytest.raises(StoreError, match="took over"):
            slept.write_vectors("item", FILMS, VECTORS)
        with pytest.raises(StoreError, match="took over"):
            slept.finish({})
    assert read_release(graph).live == version
    assert published(graph)[0] == {version.name}
    assert ask(graph, "in stock", item="f0") == ["f1", "f3"]


def test_a_reader_sees_a_whole_version_at_any_time(graph: Connection, neo4j_url: str) -> None:
    publish(graph, 1)
    by_lists, by_vectors = (query for query in queries(graph).values())
    seen: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    stop = threading.Event()

    def read() -> None:
        with Connection(neo4j_url, "read") as reader:
            parameters = {"item": "f0", "k": 3, "n": 4}
            while not stop.is_set():
                answers = (reader.read(query, parameters) for query in (by_lists, by_vectors))
                lists, vectors = (tuple(row[0] for row in rows) for rows in answers)
                seen.append((lists, vectors))

    thread = threading.Thread(target=read)
    thread.start()
    for shift in (4, 1, 4, 1):
        publish(graph, shift)
    stop.set()
    thread.join()
    assert {lists for lists, _ in seen} == {("f1", "f3"), ("f4", "f5", "f6")}
    assert {vectors for _, vectors in seen} == {
        ("f7", "f1"),
        ("f7", "f1", "f6"),
    }  # of the four nearest, those in stock
    assert len(seen) > 50


def test_a_graph_that_was_there_before_with_integer_keys(neo4j_url: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(f"UNWIND range(0, 7) AS id CREATE (:{FILM} {{{KEY}: id}})")
        connection.write(
            f"CREATE (:{FILM} {{{KEY}: 3}}), (:{FILM} {{{KEY}: 1.5}}), (:{FILM} {{{KEY}: true}}), (:{FILM})"
        )
        ids = [str(number) for number in range(8)]
        with Draft(connection, SCHEMA, published_at=0) as draft:
            nodes = draft.nodes("item")
            draft.write_vectors("item", ids, VECTORS)
            draft.write_lists(SIMILAR_TO, "item", [to_lists({"3": ["4", "0"]})])
            draft.finish({})
        assert (set(nodes.elements), nodes.n_repeated, nodes.n_without_id) == (set(ids), 1, 3)
        assert ask(connection, "in stock", item=3) == [4, 0]
        assert ask(connection, "vector index", item=0) == [1, 2, 3]
        assert connection.read("MATCH ()-[s:SIMILAR_TO]->() RETURN count(*)") == [[2]]


def test_version_names_are_increasing_times(graph: Connection) -> None:
    names = [publish(graph, 1, published_at=at).name for at in (60, 60, 0)]
    assert names == ["kgrec-19700101T000100", "kgrec-19700101T000101", "kgrec-19700101T000102"]


def test_an_unreadable_release_node_is_an_error(graph: Connection) -> None:
    publish(graph, 1)
    graph.write('MATCH (r:KgrecRelease) SET r.versions = [\'{"of": "the future"}\']')
    with pytest.raises(StoreError, match="not understood"):
        read_release(graph)


def test_vectors_too_wide_for_an_index_are_refused(graph: Connection) -> None:
    with Draft(graph, SCHEMA, published_at=0) as draft, pytest.raises(StoreError, match="at most 4096"):
        draft.write_vectors("item", FILMS[:1], np.ones((1, 4097), np.float32))


def test_newer_servers_get_the_search_clause() -> None:
    version = Version("kgrec-19700101T000100", {"item": "Film.x y", "user": "Viewer"}, True, {"item": 8})
    asked = describe_queries(SCHEMA, version, (2026, 1, 3))
    (query,) = [query for title, query in asked.items() if "vector index" in title]
    assert query.startswith("CYPHER 25\n")
    assert (
        "MATCH (other:`Film.x y`)\n  SEARCH other IN (VECTOR INDEX kgrec_items_19700101T000100 "
        "FOR i.kgrec_items_19700101T000100 LIMIT $n) SCORE AS score\n"
    ) in query
    assert all("SEARCH" not in text for text in describe_queries(SCHEMA, version, (2025, 12, 0)).values())
    assert list(describe_queries(SCHEMA, replace(version, n_vectors={}), (5, 26, 0))) == [
        "similar items that are in stock"
    ]


def test_the_filter_is_in_stock_where_the_schema_has_it_for_items(graph: Connection) -> None:
    version = publish(graph, 1)
    film = SCHEMA.nodes["film"]
    for attributes in ({}, {"in_stock": Attribute(type="string")}):
        nodes = {
            **SCHEMA.nodes,
            "film": NodeType(label=film.label, key=film.key, name=film.name, attributes=attributes),
        }
        without = SCHEMA.model_copy(update={"nodes": nodes})
        by_lists, by_vectors = describe_queries(without, version, graph.version).items()
        assert by_lists[0] == "similar items"
        assert "in_stock" not in by_lists[1] + by_vectors[1]
        assert [row[0] for row in graph.read(by_lists[1], {"item": "f0", "k": 3})] == ["f1", "f2", "f3"]
        assert [row[0] for row in graph.read(by_vectors[1], {"item": "f1", "k": 3, "n": 8})] == ["f0", "f2", "f7"]


def test_batches_are_halved_until_they_fit_a_transaction(graph: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    most, sizes, write = 3, [], graph.write

    def write_few(query: str, parameters: Parameters | None = None) -> list[list[Any]]:
        rows = (parameters or {}).get("rows", [])
        assert isinstance(rows, list)
        sizes.append(len(rows))
        if len(rows) > most:
            raise TransactionTooLarge("too much")
        return write(query, parameters)

    monkeypatch.setattr(graph, "write", write_few)
    version = publish(graph, 1)
    assert version.n_published == {"items": 8, "users": 0, "similar": 24, "recommended": 0}
    assert [size for size in sizes if size] == [8, 4, 2, 2, 2, 2] * 2  # vectors, then lists
    assert ask(graph, "in stock", item="f0") == ["f1", "f3"]
    most = 0
    with pytest.raises(TransactionTooLarge):
        publish(graph, 2)
    assert read_release(graph).live == version
