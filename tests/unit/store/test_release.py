"""Published versions on a real server: what is written, switched, rolled back and removed, and what never is."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, EdgeType, NodeType
from kgrec.errors import StoreError
from kgrec.store.neo4j import publish_lease
from kgrec.store.neo4j.backend_queries import describe_queries
from kgrec.store.neo4j.connection import Connection, Parameters, TransactionTooLarge, quote
from kgrec.store.neo4j.graph_nodes import GraphNodes, read_graph_nodes
from kgrec.store.neo4j.list_changes import batch_lists, compare_lists
from kgrec.store.neo4j.old_versions import remove_release
from kgrec.store.neo4j.published_state import count_left
from kgrec.store.neo4j.release import OPEN, RECOMMENDED, SIMILAR_TO, USER_VECTOR, Version, read_release, roll_back
from kgrec.store.neo4j.version_writing import Draft

SCHEMA = CatalogueSchema.parse(
    """
name = "films"
[nodes.film]
label = "Film `x` \\\\u0060"
key = "film id"
attributes = { in_stock = "bool" }
available = { in_stock = true }
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
    rows = [(source, target, 1 / (place + 1)) for source, of in lists.items() for place, target in enumerate(of)]
    return pa.table(dict(zip(("source", "target", "score"), map(list, zip(*rows, strict=True)), strict=True)))


def neighbours(shift: int) -> dict[str, list[str]]:
    """For each film the next three, `shift` films further."""
    return {film: [FILMS[(n + shift + step) % len(FILMS)] for step in range(3)] for n, film in enumerate(FILMS)}


def read_nodes(connection: Connection) -> tuple[GraphNodes, GraphNodes]:
    """The films and the viewers."""
    films, viewers = (read_graph_nodes(connection, SCHEMA.nodes[name]) for name in ("film", "viewer"))
    return films, viewers


def publish(connection: Connection, shift: int, *, published_at: int = 0, users: bool = False) -> Version:
    films, viewers = read_nodes(connection)
    with Draft(connection, SCHEMA, published_at=published_at) as draft:
        draft.write_vectors("item", films, FILMS, np.roll(VECTORS, -shift, axis=0))
        draft.write_lists(SIMILAR_TO, films, films, [to_lists(neighbours(shift))])
        if users:
            draft.write_vectors("user", viewers, VIEWERS, VECTORS[: len(VIEWERS)])
            draft.write_lists(RECOMMENDED, viewers, films, [to_lists({"v0": ["f5", "f1"], "v1": ["f2"]})])
        else:
            for kind in (USER_VECTOR, RECOMMENDED):
                draft.end_lists(kind, draft.before.sizes(kind))
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
    """The versions that wrote relationships, the properties that hold vectors, and the vector indexes."""
    edges = connection.read("MATCH ()-[s:SIMILAR_TO|RECOMMENDED]->() RETURN DISTINCT s.version")
    properties = connection.read(
        "MATCH ()-[v]->() UNWIND keys(v) AS key WITH key WHERE key STARTS WITH 'kgrec_' RETURN DISTINCT key"
    )
    indexes = connection.read("SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' RETURN name")
    return {row[0] for row in edges}, {row[0] for row in properties}, {row[0] for row in indexes}


def read_all(connection: Connection) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """All nodes and relationships, the constraints and the indexes of a database."""
    return (
        sorted(connection.read("MATCH (n) RETURN labels(n), properties(n)"), key=str),
        sorted(
            connection.read("MATCH (a)-[r]->(b) RETURN elementId(a), type(r), properties(r), elementId(b)"), key=str
        ),
        sorted(connection.read("SHOW CONSTRAINTS YIELD name")),
        sorted(connection.read("SHOW INDEXES YIELD name")),
    )


def test_the_queries_find_what_is_published(graph: Connection) -> None:
    version = publish(graph, 1, users=True)
    assert ask(graph, "are available", item="f0") == ["f1", "f3"]  # f2 is not
    assert ask(graph, "vector index", item="f2") == ["f1", "f3", "f0"]
    assert ask(graph, "people", user="v0") == ["v1", "v2"]
    assert ask(graph, "recommended", user="v0") == ["f5", "f1"]
    graph.write(f"MATCH (u:Viewer {{viewer_id: 'v0'}}), (f:{FILM} {{{KEY}: 'f5'}}) CREATE (u)-[:SAW]->(f)")
    assert ask(graph, "recommended", user="v0") == ["f1"]
    assert ask(graph, "vector index", item="unknown") == []
    assert version.n_published == {"items": 8, "users": 3, "similar": 24, "recommended": 3}
    edges = graph.read(
        f"MATCH (:{FILM} {{{KEY}: 'f6'}})-[s:SIMILAR_TO]->(o) "
        f"RETURN o.{KEY}, s.score, s.version, s.until ORDER BY s.score DESC"
    )
    assert edges == [
        ["f7", 1.0, version.name, OPEN],
        ["f0", 0.5, version.name, OPEN],
        ["f1", pytest.approx(1 / 3), version.name, OPEN],
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
    assert ask(graph, "are available", item="f0") == ["f3", "f4", "f5"]
    back = roll_back(graph)
    assert back == read_release(graph)
    assert ask(graph, "are available", item="f0") == ["f3", "f4"]  # f2, f3, f4 of the second version
    assert ask(graph, "people", user="v0") == ["v1", "v2"]
    roll_back(graph)
    assert ask(graph, "are available", item="f0") == ["f3", "f4", "f5"]
    assert "people like you" not in queries(graph)


def test_a_release_is_removed_without_a_trace(graph: Connection) -> None:
    graph.write(f"MATCH (a:{FILM} {{{KEY}: 'f0'}}) CREATE (a)-[:SIMILAR_TO {{score: 9}}]->(a)")
    before = read_all(graph)
    assert remove_release(graph) is None
    assert read_all(graph) == before
    publish(graph, 1, users=True)
    publish(graph, 2, users=True)
    films, viewers = read_nodes(graph)
    with Draft(graph, SCHEMA, published_at=0) as draft:
        draft.write_vectors("item", films, FILMS, VECTORS)
        draft.write_segments(viewers, {"v0": (1, "Drama"), "v1": (1, "Drama")})
        draft.finish({})
    with Draft(graph, SCHEMA, published_at=0) as draft:
        draft.write_segments(viewers, {"v0": (1, "Horror")})
        draft.finish({})
    found = remove_release(graph)
    assert found is not None and found.n_users == 2
    assert found.n_indexes == 1  # the last version has no vectors, the one before it those of items
    assert found.n_edges[SIMILAR_TO] == 3 * len(FILMS) and found.n_edges[RECOMMENDED] == 3
    assert read_all(graph) == before
    assert read_release(graph).versions == ()
    assert remove_release(graph) is None
    publish(graph, 1)
    assert ask(graph, "are available", item="f0") == ["f1", "f3"]


def test_a_release_is_removed_also_where_its_node_is_not_understood_or_gone(graph: Connection) -> None:
    before = read_all(graph)
    publish(graph, 1, users=True)
    graph.write("MATCH (r:KgrecRelease) SET r.versions = ['{']")
    assert remove_release(graph) is not None
    assert read_all(graph) == before
    publish(graph, 1)
    graph.write("MATCH (r:KgrecRelease) DELETE r")
    assert remove_release(graph) is not None
    assert read_all(graph) == before


def test_a_release_is_not_removed_while_a_publish_is_at_work(graph: Connection) -> None:
    live = publish(graph, 1)
    with Draft(graph, SCHEMA, published_at=0), pytest.raises(StoreError, match="another publish is at work"):
        remove_release(graph)
    assert read_release(graph).live == live


def test_what_is_left_of_a_version_is_counted(graph: Connection) -> None:
    version = publish(graph, 1)
    assert count_left(graph, version) == version.n_published
    graph.write(f"MATCH (n:{FILM}) WHERE n.{KEY} <> 'f0' DETACH DELETE n")
    assert count_left(graph, version) == {"items": 1, "users": 0, "similar": 0, "recommended": 0}


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
        assert len(ask(graph, "are available", item="f0")) <= 3
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


@pytest.mark.parametrize("is_first", [True, False])
def test_a_publish_that_fails_leaves_the_database_as_it_was(graph: Connection, is_first: bool) -> None:
    if not is_first:
        publish(graph, 1, users=True)
    before = read_all(graph)
    films, _ = read_nodes(graph)
    with pytest.raises(ZeroDivisionError), Draft(graph, SCHEMA, published_at=0) as draft:
        draft.write_vectors("item", films, FILMS, VECTORS)
        draft.write_lists(SIMILAR_TO, films, films, [to_lists(neighbours(4))])
        assert read_all(graph) != before
        raise ZeroDivisionError
    assert read_all(graph) == before
    if not is_first:
        assert ask(graph, "are available", item="f0") == ["f1", "f3"]


def test_what_was_cut_off_is_cleaned_up_by_the_next(graph: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    live = publish(graph, 1)
    before = read_all(graph)[1]
    films, _ = read_nodes(graph)
    monkeypatch.setattr(Draft, "__exit__", lambda draft, *_: draft.close())  # as if it had been killed
    with pytest.raises(ZeroDivisionError), Draft(graph, SCHEMA, published_at=0) as draft:
        draft.write_vectors("item", films, FILMS, VECTORS)
        draft.write_lists(SIMILAR_TO, films, films, [to_lists(neighbours(4))])
        raise ZeroDivisionError
    monkeypatch.undo()
    found = read_release(graph)
    assert found.live == live
    assert [found.state(version) for version in found.versions] == ["live", "cut off"]
    assert ask(graph, "are available", item="f0") == ["f1", "f3"]
    with Draft(graph, SCHEMA, published_at=0):
        assert read_all(graph)[1] == before
        assert published(graph)[2] == {live.indexes["item"]}


def test_only_what_changed_is_written_and_each_version_stays_whole(graph: Connection) -> None:
    def publish_lists(lists: dict[str, list[str]], vectors: Any) -> Version:
        films, _ = read_nodes(graph)
        with Draft(graph, SCHEMA, published_at=0) as draft:
            draft.write_vectors("item", films, list(lists), vectors)
            draft.write_lists(SIMILAR_TO, films, films, [to_lists(lists)])
            draft.end_lists(SIMILAR_TO, [films.elements[film] for film in FILMS if film not in lists])
            draft.finish({})
        return draft.version

    first = publish_lists(neighbours(1), VECTORS)
    assert (first.n_written, first.n_published["similar"]) == (8 + 24, 24)
    moved = VECTORS.copy()
    moved[7] = np.cos(-0.3), np.sin(-0.3)
    second = publish_lists({**neighbours(1), "f4": ["f5", "f0", "f7"], "f6": ["f7"]}, moved)
    assert second.indexes == first.indexes
    assert (second.n_written, second.n_published["similar"]) == (1 + 1, 22)  # the vector of f7, f4 to f0
    assert ask(graph, "are available", item="f4") == ["f5", "f0", "f7"]
    assert ask(graph, "are available", item="f6") == ["f7"]
    assert ask(graph, "vector index", item="f7")[0] == "f0"
    roll_back(graph)
    assert ask(graph, "are available", item="f4") == ["f5", "f6", "f7"]
    assert ask(graph, "are available", item="f6") == ["f7", "f0", "f1"]
    assert ask(graph, "vector index", item="f7")[0] == "f6"
    third = publish_lists(
        {film: others for film, others in neighbours(1).items() if film != "f1"}, VECTORS[[0, *range(2, 8)]]
    )
    assert third.n_written == 1 + 3  # compared with the second, which was the newest: f7, f4 to f6, f6 to f0 and f1
    assert ask(graph, "are available", item="f4") == ["f5", "f6", "f7"]
    assert ask(graph, "are available", item="f1") == []
    assert ask(graph, "vector index", item="f1") == []
    roll_back(graph)
    assert [version.name for version in read_release(graph).versions] == [first.name, third.name]
    assert ask(graph, "are available", item="f4") == ["f5", "f6", "f7"]
    assert ask(graph, "are available", item="f1") == ["f3", "f4"]
    wrote = graph.read("MATCH ()-[s:SIMILAR_TO]->() RETURN s.version, count(*) ORDER BY s.version")
    assert wrote == [[first.name, 24], [third.name, 3]]  # what the second alone held is gone


def test_lists_are_compared_entry_by_entry() -> None:
    before = {"a": 0.9, "b": 0.8, "c": 0.7}
    assert compare_lists({}, [("a", 0.9)]) == ([], [("a", 0.9)])
    assert compare_lists(before, [("a", 0.9), ("b", 0.8), ("c", 0.7)]) == ([], [])
    assert compare_lists(before, [("a", 0.9), ("d", 0.85), ("b", 0.8)]) == (["c"], [("d", 0.85)])
    assert compare_lists(before, [("a", 0.9), ("b", 0.8 + 1e-7), ("c", 0.5)]) == (["c"], [("c", 0.5)])
    near = {"a": 0.9, "b": 0.9 - 1e-7}
    assert compare_lists(near, [("b", 0.9), ("a", 0.9 - 1e-7)]) == (["a", "b"], [("b", 0.9), ("a", 0.9 - 1e-7)])


def test_lists_are_batched_whole_and_no_lists_are_no_batch() -> None:
    elements = {film: f"e{film}" for film in FILMS}
    table = to_lists({"f0": ["f1", "f2"], "f3": ["f4"]})
    found = list(batch_lists([table.slice(0, 0), table], elements, elements, 2))
    assert found == [[("ef0", [("ef1", 1.0), ("ef2", 0.5)])], [("ef3", [("ef4", 1.0)])]]


def test_remains_are_found_without_the_release_node(graph: Connection) -> None:
    for shift in (1, 2):
        publish(graph, shift, users=True)
    graph.write("MATCH (r:KgrecRelease) DELETE r")
    version = publish(graph, 3, published_at=2_000_000_000)
    assert published(graph) == (
        {version.name},
        {version.indexes["item"]},
        {version.indexes["item"]},
    )


def test_a_second_publish_is_refused_and_an_expired_one_cannot_continue(
    graph: Connection, neo4j_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_lease, "LEASE_S", 0.5)
    films, _ = read_nodes(graph)
    with Connection(neo4j_url, "write") as other, Draft(graph, SCHEMA, published_at=0) as slept:
        with pytest.raises(StoreError, match="another publish is at work"):
            Draft(other, SCHEMA, published_at=0)
        assert read_release(other).is_publishing
        threading.Event().wait(0.6)
        version = publish(other, 1)
        with pytest.raises(StoreError, match="took over"):
            slept.write_vectors("item", films, FILMS, VECTORS)
        with pytest.raises(StoreError, match="took over"):
            slept.finish({})
    assert read_release(graph).live == version
    assert published(graph)[0] == {version.name}
    assert ask(graph, "are available", item="f0") == ["f1", "f3"]


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


@pytest.mark.parametrize(
    ("keys", "types", "asked"),
    [
        ("id", ("INTEGER",), "toInteger($item)"),
        ("toFloat(id)", ("FLOAT",), "toFloat($item)"),
        (
            "CASE WHEN id % 2 = 0 THEN toString(id) ELSE toFloat(id) END",
            ("STRING", "FLOAT"),
            "IN [toString($item), toFloat($item)]",
        ),
    ],
)
def test_a_graph_that_was_there_before_with_keys_of_any_type(
    neo4j_url: str, keys: str, types: tuple[str, ...], asked: str
) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(f"UNWIND range(0, 7) AS id CREATE (:{FILM} {{{KEY}: {keys}}})")
        connection.write(f"CREATE (:{FILM} {{{KEY}: 3.0}}), (:{FILM} {{{KEY}: true}}), (:{FILM})")
        ids = [str(number) for number in range(8)]
        films, _ = read_nodes(connection)
        with Draft(connection, SCHEMA, published_at=0) as draft:
            draft.write_vectors("item", films, ids, VECTORS)
            draft.write_lists(SIMILAR_TO, films, films, [to_lists({"3": ["4", "0"]})])
            draft.finish({})
        assert (set(films.elements), films.n_repeated, films.n_without_id) == (set(ids), 1, 2)
        own = tuple(kind for kind in films.key_types if kind in types)
        assert own == types
        printed = describe_queries(SCHEMA, draft.version, connection.version, {"item": types})
        assert all(asked in query for query in printed.values())
        by_list, by_index = printed.values()
        for item in ("3", 3, 3.0):
            if types[0] != "STRING" or item == "3":
                assert [float(row[0]) for row in connection.read(by_list, {"item": item, "k": 3})] == [4, 0]
        near = connection.read(by_index, {"item": "0", "k": 3, "n": 8})
        assert [float(row[0]) for row in near] == [1, 2, 3]
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
    films, _ = read_nodes(graph)
    with Draft(graph, SCHEMA, published_at=0) as draft, pytest.raises(StoreError, match="at most 4096"):
        draft.write_vectors("item", films, FILMS[:1], np.ones((1, 4097), np.float32))


def test_newer_servers_get_the_search_clause() -> None:
    labels = {"item": "`Film.x y`", "user": "`Viewer`"}
    version = Version("kgrec-19700101T000100", labels, True, {"item": "kgrec_items_19700101T000000"}, {"item": 8})
    asked = describe_queries(SCHEMA, version, (2026, 1, 3))
    (query,) = [query for title, query in asked.items() if "vector index" in title]
    assert query.startswith("CYPHER 25\nMATCH (r:KgrecRelease)\nWITH r.version AS live\n")
    assert (
        "MATCH ()-[near:ITEM_VECTOR]->()\n  SEARCH near IN (VECTOR INDEX kgrec_items_19700101T000000 "
        "FOR own.kgrec_items_19700101T000000 LIMIT $n) SCORE AS score\n"
    ) in query
    assert all("SEARCH" not in text for text in describe_queries(SCHEMA, version, (2025, 12, 0)).values())
    assert list(describe_queries(SCHEMA, replace(version, indexes={}), (5, 26, 0))) == [
        "similar items that are available"
    ]


@pytest.mark.parametrize(
    ("available", "left"),
    [
        ({"in_stock": True}, ["f1", "f3"]),
        ({"gone": False}, ["f2", "f3"]),
        ({"state": "for 'sale'", "gone": False}, ["f3"]),
        ({}, ["f1", "f2", "f3"]),
    ],
)
def test_items_that_cannot_be_had_are_left_out_as_the_schema_says(
    graph: Connection, available: dict[str, Any], left: list[str]
) -> None:
    version = publish(graph, 1)
    graph.write(f"MATCH (f:{FILM}) WHERE f.{KEY} = 'f1' SET f.gone = true")
    graph.write(f"MATCH (f:{FILM}) SET f.state = CASE f.{KEY} WHEN 'f2' THEN 'sold' ELSE \"for 'sale'\" END")
    attributes = {"in_stock": "bool", "gone": "bool", "state": "string"}
    film = NodeType.model_validate(
        {**SCHEMA.nodes["film"].model_dump(), "attributes": attributes, "available": available}
    )
    schema = SCHEMA.model_copy(update={"nodes": {**SCHEMA.nodes, "film": film}})
    by_lists, by_vectors = describe_queries(schema, version, graph.version).items()
    assert by_lists[0] == ("similar items that are available" if available else "similar items")
    assert [row[0] for row in graph.read(by_lists[1], {"item": "f0", "k": 3})] == left
    found = [row[0] for row in graph.read(by_vectors[1], {"item": "f0", "k": 8, "n": 8})]
    assert set(left) == set(found) & {"f1", "f2", "f3"}


def test_what_a_user_met_over_a_path_is_left_out(graph: Connection) -> None:
    version = publish(graph, 1, users=True)
    graph.write(
        f"MATCH (u:Viewer {{viewer_id: 'v0'}}), (f:{FILM} {{{KEY}: 'f5'}}) CREATE (u)-[:HAS]->(:Ticket)<-[:FOR]-(f)"
    )
    saw = EdgeType(source="viewer", target="film", path=("HAS", "<FOR"))
    schema = SCHEMA.model_copy(update={"edges": {"saw": saw}})
    (query,) = [query for title, query in describe_queries(schema, version, graph.version).items() if "recomm" in title]
    assert "-[:HAS]->()<-[:FOR]-" in query
    assert [row[0] for row in graph.read(query, {"user": "v0", "k": 3})] == ["f1"]


def test_segments_are_versioned_in_properties_of_users(graph: Connection) -> None:
    def publish_segments(names: list[str]) -> Version:
        _, viewers = read_nodes(graph)
        with Draft(graph, SCHEMA, published_at=0) as draft:
            found = {
                viewer: (place + 1, name) for place, (viewer, name) in enumerate(zip(VIEWERS, names, strict=False))
            }
            if names:
                draft.write_segments(viewers, found)
            draft.finish({})
        return draft.version

    def ask_segments(n: int) -> list[list[Any]]:
        asked = [query for title, query in queries(graph).items() if "segment" in title]
        return graph.read(asked[0], {"segment": n, "k": 9}) if asked else []

    def read_properties() -> set[str]:
        rows = graph.read("MATCH (v:Viewer) UNWIND keys(v) AS key RETURN DISTINCT key")
        return {row[0] for row in rows} - {"viewer_id"}

    publish_segments(["Drama", "Horror", "Drama, Meg Ryan"])
    assert read_properties() == {"kgrec_segment", "kgrec_segment_name"}
    assert ask_segments(3) == [["v2", "Drama, Meg Ryan"]]
    publish_segments(["Comedy"])
    assert ask_segments(1) == [["v0", "Comedy"]]
    assert ask_segments(3) == []
    roll_back(graph)
    assert ask_segments(3) == [["v2", "Drama, Meg Ryan"]]
    publish_segments([])
    assert ask_segments(3) == []
    assert read_properties() == {"kgrec_segment", "kgrec_segment_name"}
    publish_segments([])
    assert read_properties() == set()


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
    assert ask(graph, "are available", item="f0") == ["f1", "f3"]
    most = 0
    with pytest.raises(TransactionTooLarge):
        publish(graph, 2)
    assert read_release(graph).live == version
