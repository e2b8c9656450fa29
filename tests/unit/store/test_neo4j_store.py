"""Behaviour of the Neo4j store alone; tests/contracts/test_store.py has what every store must do."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueSchema
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource
from kgrec.errors import StoreError
from kgrec.store import load_staged, open_store, read_tables
from kgrec.store.neo4j import connection as connections
from kgrec.store.neo4j import export, writing
from kgrec.store.neo4j.connection import Address, Connection, TransactionTooLarge, quote
from kgrec.store.neo4j.foreign import ForeignGraph
from kgrec.store.neo4j.layout import Layout, to_keys

SCHEMA = CatalogueSchema.parse("""
name = "films"
[nodes.film]
label = "Film"
key = "id"
name = "title"
attributes = { year = "int" }
[nodes.fan]
label = "Fan"
key = "id"
[edges.seen]
source = "fan"
type = "SEEN"
target = "film"
attributes = { stars = "int", at = "time" }
[interaction]
edge = "seen"
weight = "stars"
at = "at"
""")


# -- where a database is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "server", "database"),
    [
        ("neo4j://graph", "neo4j://graph", None),
        ("bolt+s://graph.example.org:7688/films", "bolt+s://graph.example.org:7688", "films"),
        ("neo4j+ssc://[::1]:7687/", "neo4j+ssc://[::1]:7687", None),
    ],
)
def test_an_address_is_a_server_and_a_database(url: str, server: str, database: str | None) -> None:
    assert Address.parse(url) == Address(server, database)


@pytest.mark.parametrize(
    "url", ["neo4j://", "neo4j://graph/a/b", "bolt://graph?x=1", "bolt://graph:port", "bolt://a#b"]
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"expected neo4j://HOST\[:PORT\]\[/DATABASE\]"):
        Address.parse(url)


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(StoreError, match="may not hold a user name or a password") as raised:
        Address.parse("neo4j://somebody:s3cret@graph/films")
    assert "s3cret" not in str(raised.value)


def test_a_server_of_another_version_is_refused(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LEAST_VERSION", (9999, 1))
    with pytest.raises(StoreError, match=r"is Neo4j \d+\.[\d.]+; expected 9999\.1 or later"):
        Connection(neo4j_url, "read")


def test_a_reader_changes_nothing(neo4j_url: str) -> None:
    with Connection(neo4j_url, "read") as connection:
        with pytest.raises(StoreError, match="was opened to read"):
            connection.write("CREATE (:Film)")
        with pytest.raises(StoreError, match="read access mode"):
            connection.read("CREATE (:Film)")
        assert connection.read("MATCH (n) RETURN count(n)") == [[0]]


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = [
    "`",
    "a`b",
    "``",
    "\\u0060) DETACH DELETE n //",
    "\\",
    "\\\\u0060",
    "x\ny",
    "😀",
    "'",
    "`) MATCH (n) DETACH DELETE n //",
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_quoted(neo4j_url: str, name: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(f"CREATE (:{quote(name)} {{{quote(name)}: 1}})-[:{quote(name)}]->()")
        found = connection.read("MATCH (n)-[r]->() RETURN labels(n), keys(n), type(r)")
        assert found == [[[name], [name], name]]
        assert connection.read(f"MATCH (n:{quote(name)})-[:{quote(name)}]->() RETURN n.{quote(name)}") == [[1]]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_name_round_trips(neo4j_url: str, name: str) -> None:
    with Connection(neo4j_url, "read") as connection:
        assert connection.read(f"WITH {{{quote(name)}: 1}} AS m RETURN keys(m)") == [[[name]]]


def test_values_are_never_read_as_cypher(neo4j_url: str, tmp_path: Path) -> None:
    hostile = ["'}) DETACH DELETE n //", "$rows", "`", "\\u0027", "\0", "x" * 4096, "{{}}", "é\u0301😀"]
    films = pa.table({"id": hostile[:4] + hostile[5:], "title": ["y" * 1_000_000, *["\0"] * 6], "year": [1] * 7})
    with open_store(neo4j_url, mode="write") as store:
        store.ensure_schema(SCHEMA)
        store.upsert_nodes("film", films)
        assert read_tables(store).nodes["film"].equals(films.sort_by("id").cast(SCHEMA.nodes["film"].arrow_schema))


# -- loads -------------------------------------------------------------------------------------------------------------


def make_rows(pairs: list[tuple[str, str]], stars: int = 3) -> pa.Table:
    fans, films = zip(*pairs, strict=True)
    columns = [pa.array(fans), pa.array(films), pa.array([stars] * len(pairs)), pa.array(range(len(pairs)))]
    return pa.Table.from_arrays(columns, schema=SCHEMA.edges["seen"].arrow_schema)


def make_nodes(store, n_fans: int, n_films: int) -> None:
    store.ensure_schema(SCHEMA)
    store.upsert_nodes("fan", pa.table({"id": [f"u{n}" for n in range(n_fans)]}))
    films = [f"f{n}" for n in range(n_films)]
    store.upsert_nodes("film", pa.table({"id": films, "title": films, "year": [None] * n_films}))


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    queries: list[str] = []
    write = Connection.write

    def counted(self, query, parameters=None):
        queries.append(query)
        return write(self, query, parameters)

    monkeypatch.setattr(Connection, "write", counted)
    return queries


def test_unchanged_rows_are_not_written_again(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows([(f"u{n}", f"f{m}") for n in range(5) for m in range(5)])
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 5, 5)
        store.upsert_edges("seen", rows)
        queries = count_writes(monkeypatch)
        store.upsert_edges("seen", rows)
        store.upsert_nodes("fan", pa.table({"id": [f"u{n}" for n in range(5)]}))
        assert queries == []
        changed = rows.slice(0, 2).set_column(2, SCHEMA.edges["seen"].arrow_schema.field("stars"), pa.array([1, 1]))
        store.upsert_edges("seen", changed)
        assert len(queries) == 1
        assert read_tables(store).edges["seen"]["stars"].to_pylist() == [1, 1, *[3] * 23]


def test_a_few_edges_at_hubs_are_merged_without_reading_the_hubs(
    neo4j_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 2, 60)
        store.upsert_edges("seen", make_rows([("u0", f"f{n}") for n in range(50)]))
        monkeypatch.setattr(writing, "_read_known_edges", None)  # would fail if it were called
        store.upsert_edges("seen", make_rows([("u0", "f3"), ("u0", "f55"), ("u0", "f3")], stars=5))
        seen = read_tables(store).edges["seen"]
        assert len(seen) == 51
        assert [
            film
            for film, stars in zip(seen["target"].to_pylist(), seen["stars"].to_pylist(), strict=True)
            if stars == 5
        ] == ["f3", "f55"]


def test_a_violated_foreign_constraint_is_reported(neo4j_url: str, tmp_path: Path) -> None:
    nodes = {
        "film": pa.table({"id": ["1", "2"], "title": ["Heat", "Heat"], "year": [1995, 1986]}),
        "fan": pa.table({"id": ["u"]}),
    }
    edges = {"seen": make_rows([("u", "1")])}
    staged = stage_tables(MemorySource.from_tables(SCHEMA, nodes, edges), tmp_path / "staged", rejects=None)
    with open_store(neo4j_url, mode="write") as store:
        store.connection.write("CREATE CONSTRAINT titles FOR (f:Film) REQUIRE f.title IS UNIQUE")
        with pytest.raises(StoreError, match=r"existing data is in the way: .*Heat.*drop the constraint"):
            load_staged(store, staged)
        store.connection.write("DROP CONSTRAINT titles")
        load_staged(store, staged)  # by the same handle, and whole
        assert store.counts().nodes == {"film": 2, "fan": 1}


def test_nodes_duplicated_from_outside_are_reported(neo4j_url: str) -> None:
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 2, 2)
        for (name,) in store.connection.read(
            "SHOW CONSTRAINTS YIELD name, labelsOrTypes WHERE 'Film' IN labelsOrTypes RETURN name"
        ):
            store.connection.write(f"DROP CONSTRAINT {quote(name)}")
        store.connection.write("CREATE (:Film {id: 'f1', title: 'twice'})")
        with pytest.raises(StoreError, match=r"existing data is in the way: .*f1"):
            store.ensure_schema(SCHEMA)


# -- exports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_chunks_of_any_size_export_every_edge_once(neo4j_url: str, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    pairs = [("u0", f"f{n}") for n in range(20)] + [(f"u{n}", "f0") for n in range(1, 15)] + [("u3", "f3")]
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 16, 20)
        store.upsert_edges("seen", make_rows(pairs))
        monkeypatch.setattr(export, "PIECE_EDGES", piece)
        monkeypatch.setattr(export, "PIECE_NODES", piece)
        batches = list(store.read_edges("seen"))
        assert max(map(len, batches)) <= max(piece, 1)
        rows = pa.Table.from_batches(batches)
        assert sorted(zip(rows["source"].to_pylist(), rows["target"].to_pylist(), strict=True)) == sorted(pairs)
        assert sum(map(len, store.read_nodes("film"))) == 20


def test_a_chunk_that_is_too_large_for_the_server_is_halved(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"u{n}", f"f{m}") for n in range(4) for m in range(10)]
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 4, 10)
        store.upsert_edges("seen", make_rows(pairs))
        read = Connection.read

        def starve(self, query, parameters=None):
            asked = (parameters or {}).get("nodes", [])
            if sum(node[2] - node[1] for node in asked) > 4:
                raise TransactionTooLarge("too much")
            return read(self, query, parameters)

        monkeypatch.setattr(Connection, "read", starve)
        batches = list(store.read_edges("seen"))
        assert max(map(len, batches)) <= 4
        assert sum(map(len, batches)) == 40


def test_an_edge_to_a_node_added_during_the_export_is_left_out(neo4j_url: str) -> None:
    with open_store(neo4j_url, mode="write") as store, Connection(neo4j_url, "write") as other:
        make_nodes(store, 2, 2)
        store.upsert_edges("seen", make_rows([("u0", "f0")]))

        def add(name: str, n_rows: int) -> None:
            if name == "fan":
                other.write(
                    "MATCH (f:Fan {id: 'u1'}) MERGE (n:Film {id: 'new'}) MERGE (f)-[:SEEN {stars: 1, at: 1}]->(n)"
                )

        tables = read_tables(store, add)
        assert tables.ids("film").to_pylist() == ["f0", "f1"]
        assert tables.edges["seen"]["target"].to_pylist() == ["f0"]


# -- an existing graph -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id_", "keys"),
    [
        ("50", ["50", 50]),
        ("050", ["050"]),
        ("-3", ["-3", -3]),
        ("٣", ["٣"]),
        ("x", ["x"]),
        ("9" * 30, ["9" * 30]),
        ("", [""]),
    ],
)
def test_keys_are_looked_up_as_text_and_as_integers(id_: str, keys: list[object]) -> None:
    assert to_keys([id_]) == keys


def make_foreign(connection: Connection) -> None:
    connection.write(
        "CREATE (h:Film:Thing {id: 7, title: ['Heat', 'II'], year: 1995}), (o:Film {id: 'old', year: 'long ago'}), "
        "(:Film {title: 'no key'}), (a:Fan {id: 1}), (b:Fan {id: 'b'}), "
        "(a)-[:SEEN {stars: 5, at: datetime('2020-01-01T00:00:00Z')}]->(h), "
        "(a)-[:SEEN {stars: 2, at: datetime('2021-01-01T00:00:00Z')}]->(h), "
        "(b)-[:SEEN {stars: 4.0, at: 1577836800000}]->(o), "
        "(b)-[:SEEN {at: date('2020-01-01')}]->(h), (b)-[:SEEN {stars: 1, at: '2020-01-01'}]->(h)"
    )


def test_a_foreign_graph_is_read_by_its_schema(neo4j_url: str, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    with Connection(neo4j_url, "write") as connection:
        make_foreign(connection)
    with open_store(neo4j_url, mode="read", schema=SCHEMA) as store:
        tables = read_tables(store, rejects=rejects, max_rejects=0.5)
        assert tables.nodes["film"].to_pylist() == [
            {"id": "7", "title": "Heat, II", "year": 1995},
            {"id": "old", "title": None, "year": None},
        ]
        assert tables.ids("fan").to_pylist() == ["1", "b"]
        assert tables.edges["seen"].to_pylist() == [
            {"source": "1", "target": "7", "stars": 7, "at": 1609459200},  # two, of 5 and 2 stars
            {"source": "b", "target": "7", "stars": 1, "at": 1577836800},
            {"source": "b", "target": "old", "stars": 4, "at": 1577836800},
        ]
        assert store.counts().nodes == {"film": 3, "fan": 2}
    rejected = rejects.read_text()
    for word in ("(:Film)", "(:Fan)-[:SEEN]->(:Film)", "long ago", "no key"):
        assert word in rejected


def test_a_foreign_graph_is_never_written_to(neo4j_url: str) -> None:
    with Connection(neo4j_url, "write") as connection:
        make_foreign(connection)
        before = connection.read("MATCH (n) RETURN elementId(n) AS id, properties(n) ORDER BY id")
        with open_store(neo4j_url, mode="write", schema=SCHEMA) as store:
            for change in (
                store.begin_load,
                lambda: store.ensure_schema(SCHEMA),
                lambda: store.upsert_nodes("fan", pa.table({"id": ["c"]})),
                lambda: store.upsert_edges("seen", make_rows([("1", "7")])),
            ):
                with pytest.raises(StoreError, match="kgrec did not load"):
                    change()
        assert connection.read("MATCH (n) RETURN elementId(n) AS id, properties(n) ORDER BY id") == before


def test_a_reversed_relationship_is_read_from_source_to_target(neo4j_url: str) -> None:
    schema = SCHEMA.model_copy(
        update={"edges": {"seen": SCHEMA.edges["seen"].model_copy(update={"reverse": True, "type": "SEEN_BY"})}}
    )
    with Connection(neo4j_url, "write") as connection:
        connection.write("CREATE (:Film {id: 'f'})-[:SEEN_BY {stars: 5, at: 0}]->(:Fan {id: 'u'})")
        (_, batch) = ForeignGraph(connection, schema).read_edges("seen")
        assert batch.columns.to_pylist() == [{"source": "u", "target": "f", "stars": 5, "at": 0}]
        assert batch.file == "(:Film)-[:SEEN_BY]->(:Fan)"
        assert Layout(schema).edges["seen"].match == "MATCH (a:`Fan`)<-[r:`SEEN_BY`]-(b:`Film`)"


def test_a_schema_other_than_the_stored_one_is_refused(neo4j_url: str) -> None:
    with open_store(neo4j_url, mode="write") as store:
        make_nodes(store, 1, 1)
    other = CatalogueSchema.model_validate({**SCHEMA.model_dump(), "name": "another"})
    with (
        open_store(neo4j_url, mode="read", schema=other) as store,
        pytest.raises(StoreError, match="expected 'another'"),
    ):
        store.counts()
