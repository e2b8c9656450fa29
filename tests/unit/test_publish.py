"""From a bundle into a real graph: the published queries answer as the Recommender does, and no publish is partial."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bookshop import train_bookshop
from shop import N_ITEMS, NEWCOMER, WordEncoder, kind_of, make_tables, train_shop

from graph_schema import NodeType
from kgrec.errors import RequestError, StoreError
from kgrec.ids import IdMap
from kgrec.model.backbone import user_vectors
from kgrec.model.component import Support
from kgrec.publish import PublishReport, find_segments, publish_bundle
from kgrec.recommend import Recommender
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import read_release

BUNDLE = train_shop()
ITEMS, USERS = BUNDLE.items.ids, BUNDLE.users.ids
KILLED = """
import sys, time
from kgrec.publish import publish_bundle
from kgrec.recommend import Recommender
from kgrec.store.neo4j import publish_lease, release
from kgrec.store.neo4j.connection import Connection

publish_lease.LEASE_S = 0.5

def stop(what, n_rows):
    if what == release.SIMILAR_TO:
        time.sleep(publish_lease.LEASE_S)
        print(what, flush=True)
        time.sleep(60)

with Connection(sys.argv[2], "write") as connection:
    publish_bundle(Recommender.load(sys.argv[1]), connection, published_at=0, on_rows=stop)
"""


@pytest.fixture
def shop() -> Recommender:
    return Recommender(BUNDLE, WordEncoder())


@pytest.fixture
def graph(neo4j_url: str) -> Iterator[Connection]:
    """The shop's products and customers, with what they bought."""
    with Connection(neo4j_url, "write") as connection:
        write_shop(connection, ITEMS)
        yield connection


def write_shop(connection: Connection, items: tuple[str, ...]) -> None:
    connection.write("UNWIND $ids AS id CREATE (:Product {sku: id})", {"ids": items})
    connection.write("UNWIND $ids AS id CREATE (:Customer {customer_id: id})", {"ids": USERS})
    connection.write(
        "UNWIND $rows AS row MATCH (c:Customer {customer_id: row.source}), (p:Product {sku: row.target}) "
        "CREATE (c)-[:BOUGHT {stars: row.stars}]->(p)",
        {"rows": make_tables().interactions.to_pylist()},
    )


def ask(connection: Connection, report: PublishReport, what: str, **parameters: Any) -> list[tuple[str, float]]:
    (query,) = [query for title, query in report.queries.items() if what in title]
    return [(id_, score) for id_, score in connection.read(query, {"n": N_ITEMS, **parameters})]


# -- vectors -----------------------------------------------------------------------------------------------------------


def test_item_vectors_find_exactly_what_is_similar(shop: Recommender) -> None:
    vectors = BUNDLE.model.likeness_vectors().astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for row, item in enumerate(ITEMS):
        found = shop.similar(item, 10)
        cosines = vectors @ vectors[row]
        cosines[row] = -np.inf
        best = np.sort(cosines)[::-1]
        np.testing.assert_allclose(cosines[BUNDLE.items.rows(found.ids)], best[: len(found)], atol=1e-6)
        assert len(found) == 10 or best[len(found)] < 1e-4  # what is not alike is not listed


def test_user_vectors_are_the_cosines_of_what_is_predicted() -> None:
    backbone = BUNDLE.model.backbone
    found = user_vectors(backbone, BUNDLE.liked)
    trained = ~BUNDLE.model.cold
    scores = (backbone.users(Support(BUNDLE.liked)) @ backbone.items[trained].T).numpy()
    has_likes = np.diff(BUNDLE.liked.indptr) > 0
    assert not found[~has_likes].any() and (~has_likes).any()
    scores = scores[has_likes] / np.linalg.norm(scores[has_likes], axis=1, keepdims=True)
    np.testing.assert_allclose(found[has_likes] @ found[has_likes].T, scores @ scores.T, atol=1e-2)


# -- on a server -------------------------------------------------------------------------------------------------------


def test_the_queries_answer_what_the_recommender_does(shop: Recommender, graph: Connection) -> None:
    counts: dict[str, int] = {}

    def count(what: str, n: int) -> None:
        counts[what] = counts.get(what, 0) + n

    report = publish_bundle(shop, graph, published_at=0, neighbours=10, recommend=4, on_rows=count)
    for item in (ITEMS[0], ITEMS[7], ITEMS[-1]):
        similar = [found for found in shop.similar(item, 10) if found.score > 0]
        answer = ask(graph, report, "similar items", item=item, k=10)
        assert [other for other, _ in answer] == [found.item for found in similar]
        assert [score for _, score in answer] == pytest.approx([found.score for found in similar])
    wanted = shop.recommend_many(USERS, k=4).to_pylist()
    for user in USERS[::7]:
        expected = [row for row in wanted if row["user"] == user]
        answer = ask(graph, report, "recommended for you", user=user, k=4)
        assert [item for item, _ in answer] == [row["item"] for row in expected]
        assert [score for _, score in answer] == pytest.approx([row["score"] for row in expected])
    edges = graph.read("MATCH (c)-[s:RECOMMENDED]->(p) RETURN c.customer_id, p.sku")
    assert sorted(edges) == sorted([row["user"], row["item"]] for row in wanted)
    for user, kind in ((USERS[0], "tea"), (USERS[1], "bike")):
        alike = [other for other, _ in ask(graph, report, "people like you", user=user, k=10)]
        assert user not in alike and len(alike) == 10
        assert {kind_of(other.replace("c", "sku-")) for other in alike} == {kind}
    assert ask(graph, report, "people like you", user=NEWCOMER, k=10) == []  # no likes, no taste
    assert counts["SIMILAR_TO"] == report.version.n_published["similar"] > N_ITEMS
    assert counts["RECOMMENDED"] == report.version.n_published["recommended"] == 4 * len(USERS)
    assert report.items == replace(report.items, n_both=N_ITEMS, n_not_in_graph=0, n_not_in_bundle=0)


def test_the_vector_index_agrees_with_similar(shop: Recommender, graph: Connection) -> None:
    report = publish_bundle(shop, graph, published_at=0)
    assert report.agreement == 1
    assert all("in_stock" not in query for query in report.queries.values())
    for item in ITEMS:
        similar = [found.item for found in shop.similar(item, 5)]
        assert [other for other, _ in ask(graph, report, "vector index", item=item, k=5)] == similar


def test_items_that_cannot_be_had_are_left_out_where_the_schema_says_so(graph: Connection) -> None:
    item_type = BUNDLE.schema.item_type
    product = BUNDLE.schema.nodes[item_type].model_dump()
    product = NodeType.model_validate(
        {**product, "attributes": {"discontinued": "bool"}, "available": {"discontinued": False}}
    )
    schema = BUNDLE.schema.model_copy(update={"nodes": {**BUNDLE.schema.nodes, item_type: product}})
    shop = Recommender(replace(BUNDLE, schema=schema), WordEncoder())
    report = publish_bundle(shop, graph, published_at=0)
    graph.write("MATCH (p:Product) WHERE p.sku ENDS WITH '2' SET p.discontinued = true")
    left = [found.item for found in shop.similar(ITEMS[0], N_ITEMS) if not found.item.endswith("2")]
    for what in ("that are available", "vector index"):
        assert [other for other, _ in ask(graph, report, what, item=ITEMS[0], k=5)] == left[:5]


@pytest.mark.parametrize("changed", [1, 20])
def test_a_changed_bundle_is_published_as_a_whole_one_would_be(
    shop: Recommender, graph: Connection, changed: int
) -> None:
    publish_bundle(shop, graph, published_at=0, neighbours=6, recommend=4)
    text = BUNDLE.model.text.clone()
    text[:changed] = text[range(changed, 0, -1)]
    model = replace(BUNDLE.model, text=text)
    other = Recommender(replace(BUNDLE, model=model), WordEncoder())
    report = publish_bundle(other, graph, published_at=0, neighbours=6, recommend=4)
    for item in ITEMS:
        similar = [(found.item, found.score) for found in other.similar(item, 6)]
        answer = ask(graph, report, "similar items", item=item, k=6)
        assert [one for one, _ in answer] == [one for one, _ in similar]
        assert [score for _, score in answer] == pytest.approx([score for _, score in similar], abs=1e-4)
        nearest = [found.item for found in other.similar(item, 3)]
        assert [one for one, _ in ask(graph, report, "vector index", item=item, k=3)] == nearest
    shared = report.version.indexes == {f"{side}": f"kgrec_{side}s_19700101T000000" for side in ("item", "user")}
    assert shared == (changed == 1)
    back = publish_bundle(other, graph, published_at=0, neighbours=6, recommend=4)
    assert back.version.n_written == 0 and back.version.n_published == report.version.n_published


def test_items_that_only_one_side_has_are_reported_and_leave_no_gaps(shop: Recommender, neo4j_url: str) -> None:
    absent = set(ITEMS[::3])
    present = tuple(item for item in ITEMS if item not in absent)
    with Connection(neo4j_url, "write") as connection:
        write_shop(connection, (*present, "new-1", "new-2"))
        connection.write("MATCH (c:Customer {customer_id: $id}) DETACH DELETE c", {"id": USERS[3]})
        report = publish_bundle(shop, connection, published_at=0, neighbours=5, recommend=3)
        assert (report.items.n_both, report.items.n_not_in_graph, report.items.n_not_in_bundle) == (
            len(present),
            len(absent),
            2,
        )
        assert report.users is not None and report.users.n_not_in_graph == 1
        assert any(note.startswith("2 items of the graph are not in the bundle") for note in report.notes)
        similar = [found.item for found in shop.similar(ITEMS[1], N_ITEMS) if found.score > 0]
        expected = [item for item in similar if item not in absent][:5]
        assert [item for item, _ in ask(connection, report, "similar items", item=ITEMS[1], k=9)] == expected
        wanted = shop.recommend_many([USERS[0]], k=3, candidates=present)["item"].to_pylist()
        assert [item for item, _ in ask(connection, report, "recommended", user=USERS[0], k=9)] == wanted


@pytest.mark.parametrize(("key", "cast"), [("id", "toInteger($item)"), ("toFloat(id)", "toFloat($item)")])
def test_a_graph_that_was_there_before_has_keys_that_are_numbers(neo4j_url: str, key: str, cast: str) -> None:
    schema = BUNDLE.schema
    ids = {**BUNDLE.ids, schema.item_type: IdMap(tuple(str(1000 + row) for row in range(N_ITEMS)))}
    foreign = Recommender(replace(BUNDLE, ids=ids), WordEncoder())
    with Connection(neo4j_url, "write") as connection:
        connection.write(f"UNWIND range(1000, 1029) AS id CREATE (:Product:Thing {{sku: {key}}})")
        report = publish_bundle(foreign, connection, published_at=0)
        similar = [float(found.item) for found in foreign.similar("1002", 5)]
        for item in (1002, "1002"):
            answer = ask(connection, report, "similar items", item=item, k=5)
            assert [other for other, _ in answer] == similar
        assert all(cast in query for query in report.queries.values())
        kind = "an integer" if key == "id" else "a float"
        assert report.parameters[0].startswith(f"$item: Product.sku is {kind} in the graph")


def test_a_graph_of_something_else_is_refused_and_left_as_it_was(shop: Recommender, neo4j_url: str) -> None:
    def read_all(connection: Connection) -> list[list[list[Any]]]:
        return [
            connection.read("MATCH (n) RETURN labels(n), properties(n)"),
            connection.read("CALL db.labels()"),
            connection.read("SHOW CONSTRAINTS YIELD name"),
            connection.read("SHOW INDEXES YIELD name"),
        ]

    with Connection(neo4j_url, "write") as connection:
        connection.write("CREATE (:Product {sku: 'another'})")
        before = read_all(connection)
        with pytest.raises(StoreError, match="none of the 30 items"):
            publish_bundle(shop, connection, published_at=0)
        with pytest.raises(RequestError, match="at least 1"):
            publish_bundle(shop, connection, published_at=0, neighbours=0)
        with pytest.raises(RequestError, match="expected 0 to 100"):
            publish_bundle(shop, connection, published_at=0, segments=101)
        assert read_all(connection) == before
        connection.write("CREATE (:Product {sku: $id})", {"id": ITEMS[0]})
        with pytest.raises(StoreError, match=r"only 1 of the 30 items .* name the graph that the bundle was trained"):
            publish_bundle(shop, connection, published_at=0)
        connection.write("CREATE (:Product {sku: $id})", {"id": ITEMS[1]})  # 2 of 30 are more than a twentieth
        assert publish_bundle(shop, connection, published_at=0, recommend=2).items.n_both == 2


def test_items_that_nothing_in_the_graph_is_like_are_published_without_neighbours(
    shop: Recommender, neo4j_url: str
) -> None:
    vectors = BUNDLE.model.likeness_vectors()
    other = ITEMS[int(np.argmin(vectors @ vectors[1]))]
    with Connection(neo4j_url, "write") as connection:
        write_shop(connection, (ITEMS[1], other))
        report = publish_bundle(shop, connection, published_at=0)
        assert report.items.n_both == 2 and math.isnan(report.agreement)


def test_what_cannot_be_had_is_recommended_to_nobody(graph: Connection) -> None:
    available = np.arange(N_ITEMS) % 2 == 0
    some = Recommender(replace(BUNDLE, available=available), WordEncoder())
    publish_bundle(some, graph, published_at=0, recommend=4)
    listed = {item for (item,) in graph.read("MATCH ()-[:RECOMMENDED]->(p) RETURN DISTINCT p.sku")}
    assert listed and listed <= {item for item, can in zip(ITEMS, available, strict=True) if can}


# -- segments ----------------------------------------------------------------------------------------------------------


def test_segments_are_groups_of_like_taste_named_by_their_links() -> None:
    found = find_segments(BUNDLE, USERS, 2)
    kinds = [{"tea" if int(user[1:]) % 2 == 0 else "bike" for user in one.users} for one in found]
    assert sorted(map(sorted, kinds)) == [["bike"], ["tea"]]
    assert [one.number for one in found] == [1, 2]
    for one, kind in zip(found, kinds, strict=True):
        assert all(f"m-{kind.copy().pop()}" in mark for mark in one.name.split(", "))
    assert sum(len(one.users) for one in found) == int((np.diff(BUNDLE.liked.indptr) > 0).sum())
    assert find_segments(BUNDLE, USERS, 2) == found
    assert find_segments(BUNDLE, [NEWCOMER], 5) == ()
    assert len(find_segments(BUNDLE, USERS[:4], 100)) <= 4


def test_a_range_of_numbers_names_no_segment() -> None:
    bundle = train_bookshop()
    words = {word for one in find_segments(bundle, bundle.users.ids, 3) for word in one.name.split(", ")}
    assert words and not words & {*bundle.names["book.year"]}


def test_segments_are_written_on_request_and_asked_by_a_query(shop: Recommender, graph: Connection) -> None:
    report = publish_bundle(shop, graph, published_at=0, segments=2)
    segments = report.segments
    for one in segments:
        rows = ask(graph, report, "segment", segment=one.number, k=99)
        assert rows == [(user, one.name) for user in sorted(one.users)]
    rows = graph.read("MATCH (c:Customer) WHERE c.kgrec_segment IS NOT NULL RETURN count(*)")
    assert rows == [[sum(len(one.users) for one in segments)]]
    assert "people like you" not in report.queries  # vectors of users come with --recommend


def test_a_publish_that_is_killed_leaves_what_is_live(shop: Recommender, graph: Connection, tmp_path: Path) -> None:
    report = publish_bundle(shop, graph, published_at=0, neighbours=5)
    before = ask(graph, report, "similar items", item=ITEMS[0], k=5)
    shop.save(tmp_path / "bundle")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path / "bundle", graph.url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "SIMILAR_TO\n"  # these are written, and nothing after them
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = read_release(graph)
    assert found.live == report.version and len(found.versions) == 2
    assert graph.read("MATCH ()-[s:SIMILAR_TO]->() RETURN count(DISTINCT s.version)") == [[2]]
    assert ask(graph, report, "similar items", item=ITEMS[0], k=5) == before
    again = publish_bundle(shop, graph, published_at=0, neighbours=3)
    assert [version.name for version in again.release.versions] == [report.version.name, again.version.name]
    versions = {row[0] for row in graph.read("MATCH ()-[s:SIMILAR_TO]->() RETURN DISTINCT s.version")}
    assert versions == {report.version.name}  # the second only leaves out what is past the third neighbour
    properties = {row[0] for row in graph.read("MATCH (n:Product) UNWIND keys(n) AS key RETURN DISTINCT key")}
    assert properties == {"sku"}
    assert ask(graph, again, "similar items", item=ITEMS[0], k=9) == before[:3]


def test_the_command_line(shop: Recommender, graph: Connection, tmp_path: Path) -> None:
    shop.save(tmp_path / "bundle")

    def run(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [Path(sys.executable).with_name("kgrec"), "publish", "--to", graph.url, *arguments],
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = run(str(tmp_path / "bundle"), "--recommend", "3", "--neighbours", "4")
    assert status == 0, err
    live = read_release(graph).live
    assert live is not None and out.startswith(f"{live.name} is live in {graph.url}\n")
    assert live.about["neighbours"] == 4 and live.n_published["recommended"] == 3 * len(USERS)
    assert "// people like you\nMATCH (r:KgrecRelease)\n" in out
    status, out, err = run(str(tmp_path / "bundle"), "--segments", "2", "--neighbours", "4")
    assert status == 0, err
    assert "Segments of users" in out and "House of m-tea" in out
    assert run(str(tmp_path / "bundle"), "--segments", "some")[0] == 2
    n_all = live.n_vectors["item"] + live.n_edges["SIMILAR_TO"]
    n_liking = int((np.diff(BUNDLE.liked.indptr) > 0).sum())
    assert f"written: the segments of {n_liking} users; all {n_all:,} relationships are as they were" in err
    status, _, err = run(str(tmp_path / "bundle"), "--recommend", "3", "--neighbours", "4")
    live = read_release(graph).live
    assert live is not None
    publish_bundle(shop, graph, published_at=0)
    assert run("--rollback")[0] == 0
    assert read_release(graph).live == live
    status, out, _ = run("--status")
    assert status == 0 and len([line for line in out.splitlines() if live.name in line and "live" in line]) == 1
    assert run()[0] == 2
    graph.write("MATCH (p:Product) DETACH DELETE p")
    status, out, err = run("--status")
    assert status == 0 and f"0 of {N_ITEMS}" in out and "deleted since" in err
    status, _, err = run("--remove")
    assert status == 0 and "the KgrecRelease node" in err
    assert graph.read("MATCH (n) WHERE any(key IN keys(n) WHERE key STARTS WITH 'kgrec') RETURN 1") == []
    assert "nothing is published" in run("--remove")[2]


def test_notes_state_how_far_the_vectors_agree() -> None:
    from kgrec.publish import Coverage
    from kgrec.store.neo4j.release import Release, Version

    coverage = Coverage(n_both=2, n_not_in_graph=0, n_not_in_bundle=0, n_repeated=1, n_without_id=0)
    version = Version("kgrec-19700101T000100", {})
    report = PublishReport(version, Release(version, None, (version,), False), coverage, None, 0.934, {})
    found = "asked for 200, the vector index finds {} of each item's first 10 of SIMILAR_TO"
    assert report.notes == (
        f"{found.format('93%')}, less than 95%: no query for it is printed; ask SIMILAR_TO, which has them all",
        "1 nodes repeat the key of another of the items: they are not changed",
    )
    assert len(replace(report, agreement=math.nan).notes) == 1
    assert replace(report, agreement=0.95).notes[0] == found.format("95%")
