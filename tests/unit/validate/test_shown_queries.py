"""Every query that a finding shows, run on real databases: it returns as many rows as the finding counts."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ladybug
import pytest
import test_attribute_findings as shops
from library import HOUR, N_BOOKS, NOW, SCHEMA, START, Library, book, link, make_library

from graph_schema import CatalogueSchema
from kgrec.errors import CatalogueError, StoreError
from kgrec.store import GraphStore, NodeRef, open_store
from kgrec.store.neo4j.connection import Connection
from kgrec.validate import CHECKS, Finding, Validation, validate_store
from kgrec.validate.findings import AT_LOADING
from kgrec.validate.queries import QueryDialect, to_literal

Run = Callable[[str], list[list[Any]]]
AROUND_ONE = ("disconnected_parts", "co_interaction_leakage")  # their queries show the surroundings of an example
HOSTILE = (
    "it's",
    'say "hi"',
    "ends in \\",
    "\\",
    "\\' OR true //",
    "\\u0027 OR 1 = 1 //",
    "\\\\u0027}) DETACH DELETE n //",
    "' OR true MATCH (m) DETACH DELETE m //",
    "`; $id {curly} /* */ // --",
    "line\nfeed\r\nand\ttab",
    "\x01\x08\x1b[31m\x7f",
    "\u2028 \ufeff \u00a0 \u200b",
    "größe 日本語 😀",
    "\\n \\t \\x41 \\U0001F600",
    "x" * 1_000,
)


def run_ladybug(path: Path) -> Iterator[Run]:
    database = ladybug.Database(path, read_only=True, buffer_pool_size=1 << 28, max_db_size=1 << 34)
    connection: Any = ladybug.Connection(database)

    def run(query: str) -> list[list[Any]]:
        result = connection.execute(query)
        rows = []
        while result.has_next():
            rows.append(result.get_next())
        return rows

    yield run
    connection.close()
    database.close()


def write(store: GraphStore, library: Library | shops.Shop) -> None:
    tables = library.to_tables()
    store.ensure_schema(tables.schema)
    store.begin_load()
    for name, nodes in tables.nodes.items():
        store.upsert_nodes(name, nodes)
    for name, edges in tables.edges.items():
        store.upsert_edges(name, edges)
    store.finish_load()


@pytest.fixture(params=["ladybug", "neo4j"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"ladybug:{tmp_path / 'graph.db'}" if request.param == "ladybug" else request.getfixturevalue("neo4j_url")


def open_runner(url: str) -> Iterator[Run]:
    if url.startswith("ladybug:"):
        yield from run_ladybug(Path(url.partition(":")[2]))
        return
    with Connection(url, "read") as connection:
        yield connection.read


def spoil(library: Library) -> None:
    """Creates every fault that a loaded graph can have."""
    for row, text in zip(library.nodes["book"], (None, "", " \n\t ", "\u00a0\u2003"), strict=False):
        row["title"] = row["blurb"] = text
    lone = book(7)
    for name in ("wrote", "has_tag", "cites"):
        library.edges[name] = [row for row in library.edges[name] if lone not in (row["source"], row["target"])]
    library.nodes["reader"] += [{"reader.id": "x"}, {"reader.id": "y"}]
    library.nodes["book"].append({"book-id": "new", "title": "New"})
    library.nodes["tag"].append({"tag": "book"})
    library.edges["has_tag"] += [link(book(b), "book") for b in range(110) if b != 7]
    library.nodes["author"] += [{"id": "press", "name": "The Press"}, {"id": "nobody"}, {"id": HOSTILE[6]}]
    library.edges["wrote"] += [link("press", book(b)) for b in range(110) if b != 7]
    library.edges["cites"] += [link(book(0), book(b)) for b in range(1, 115) if b not in (7, 30, 50, 70)]
    library.edges["cites"].append(link(book(9), book(9)))
    library.nodes["country"] += [{"id": "utopia"}, {"id": "atlantis"}]
    library.edges["lives_in"].append(link(HOSTILE[6], "utopia"))
    for at, row in zip((NOW + 1, 0, START - 900 * 24 * HOUR, NOW - 1), library.edges["read"][30:], strict=False):
        row["read_at"] = at
    reads = [(row["source"], row["target"]) for row in library.edges["read"]]
    library.edges["viewed"] = [link(*pair) for pair in reads[:200]]
    library.edges["sent_to"] = [link(target, source) for source, target in reads[200:220]]
    library.nodes["review"] = [{"id": f"v{place}"} for place in range(100)]
    library.edges["reviewed"] = [link(source, f"v{place}") for place, (source, _) in enumerate(reads[300:400])]
    library.edges["about"] = [link(f"v{place}", target) for place, (_, target) in enumerate(reads[300:400])]
    library.edges["similar"] = [link(book(b), book(b + near)) for b in range(N_BOOKS) for near in (-2, -1, 1, 2)]


EXPECTED = {
    ("items_without_text", "book"): 4,
    ("items_without_links", "book"): 1,  # similar counts as a link for book 7, but not for the new one
    ("users_without_interactions", "reader"): 2,
    ("items_without_interactions", "book"): 1,
    ("interactions_in_future", "read"): 1,
    ("interactions_before_1990", "read"): 1,
    ("interactions_far_off", "read"): 1,
    ("self_loops", "cites"): 1,
    ("hubs", "has_tag"): 1,
    ("hubs", "wrote"): 1,
    ("hubs", "cites"): 1,
    ("orphans", "author"): 1,
    ("orphans", "country"): 1,
    ("disconnected_parts", None): 2,
    ("label_leakage", "viewed"): 200,
    ("label_leakage", "sent_to"): 20,
    ("label_leakage", "reviewed"): 100,
    ("co_interaction_leakage", "similar"): 4 * N_BOOKS,
}


def check_queries(findings: Iterable[Finding], run: Run) -> None:
    counted = {
        (one.check, one.type, one.message): (one.count, len(run(one.query)))
        for one in findings
        if one.query is not None and one.check not in AROUND_ONE
    }
    assert {key: counts for key, counts in counted.items() if counts[0] != counts[1]} == {}


def test_shown_queries_return_as_many_rows_as_counted(place: str) -> None:
    library = make_library()
    spoil(library)
    with open_store(place, mode="write") as store:
        write(store, library)
    with open_store(place, mode="read") as store:
        found = validate_store(store, now=NOW)
    counts: dict[tuple[str, str | None], int] = {}
    for one in found.findings:
        key = one.check, one.type
        counts[key] = counts.get(key, 0) + one.count
    assert counts == EXPECTED | {("interactions_far_off", "read"): 2}  # one before the others, one after
    for run in open_runner(place):
        check_queries(found.findings, run)
        by_check = {one.check: one for one in found.findings}
        around = run(by_check["disconnected_parts"].query or "")
        assert [row[1]["id"] for row in around if row[1]["id"] != HOSTILE[6]] == ["utopia"]
        shared = run(by_check["co_interaction_leakage"].query or "")
        assert [linked for _, _, linked in shared[:4]] == [True] * 4
        assert all(shared[n][1] >= shared[n + 1][1] for n in range(len(shared) - 1))
        assert not any(linked for _, _, linked in shared[4:])


@pytest.mark.parametrize(
    ("spoils", "checks"),
    [
        (
            [shops.popular, shops.all_shelves_differ, shops.future_year, shops.future_time, shops.favourite_id],
            ["label_leakage", "distinct_features", "features_in_future", "features_in_future", "feature_leakage"],
        ),
        (
            [shops.all_subjects_differ, shops.favourite_title, shops.wished],
            ["label_leakage", "label_leakage", "distinct_features"],
        ),
        (
            [shops.without_words, shops.without_links_and_features],
            ["items_without_text", "items_without_links"],
        ),
        ([shops.common_subject, shops.one_shelf], ["common_values", "common_values"]),
    ],
)
def test_shown_queries_about_attributes_return_as_many_rows_as_counted(
    place: str, spoils: list[Callable[[shops.Shop], None]], checks: list[str]
) -> None:
    shop = shops.Shop()
    for spoil_one in spoils:
        spoil_one(shop)
    with open_store(place, mode="write") as store:
        write(store, shop)
    with open_store(place, mode="read") as store:
        found = validate_store(store, now=NOW).findings
    assert sorted(one.check for one in found) == sorted(checks)
    for run in open_runner(place):
        check_queries(found, run)


def test_a_hostile_id_in_a_shown_query_stays_text(place: str) -> None:
    library = make_library()
    library.nodes["author"] = [{"id": id_} for id_ in HOSTILE]
    library.edges["wrote"] = []
    library.nodes["country"] = [{"id": f"c{n}"} for n in range(len(HOSTILE))]
    library.edges["lives_in"] = [link(id_, f"c{n}") for n, id_ in enumerate(HOSTILE)]
    with open_store(place, mode="write") as store:
        write(store, library)
    dialect = QueryDialect.of_ladybug(SCHEMA) if place.startswith("ladybug:") else QueryDialect.of_neo4j(SCHEMA)
    for run in open_runner(place):
        around = [run(dialect.show_surroundings(NodeRef("author", id_), ["lives_in"], hops=1)) for id_ in HOSTILE]
        assert [[row[1]["id"] for row in rows] for rows in around] == [[f"c{n}"] for n in range(len(HOSTILE))]
        assert [run(f"RETURN {to_literal(id_)}") for id_ in HOSTILE] == [[[id_]] for id_ in HOSTILE]
        assert all(to_literal(id_).isprintable() for id_ in HOSTILE)


# -- a Neo4j graph changed from outside --------------------------------------------------------------------------------


def test_queries_find_every_fault_in_a_changed_graph(neo4j_url: str) -> None:
    library = make_library()
    with open_store(neo4j_url, mode="write") as store:
        write(store, library)
    with Connection(neo4j_url, "write") as connection:
        for change in (
            "CREATE (:Book {title: 'Nameless'}), (:Book {title: 'Blank', `book-id`: ''})",
            "MATCH (b:Book {`book-id`: 'b001'}) SET b.`first published` = 'long ago'",
            "MATCH (b:Book {`book-id`: 'b002'}) CREATE (b)-[:CITES]->(:Book {title: 'Lost'})",
            "MATCH (a:Book {`book-id`: 'b005'}), (b:Book {`book-id`: 'b035'}) CREATE (a)-[:CITES]->(b)",
        ):
            connection.write(change)
    with open_store(neo4j_url, mode="read") as store:
        found = validate_store(store, now=NOW)
    assert sorted((one.check, one.message, one.count) for one in found.findings) == [
        ("lost_edges", "cites edges whose target has no key", 1),
        ("missing_key", "book nodes without book-id", 3),
        ("repeated_edges", "pairs with more than one cites relationship, 1 too many in all", 1),
        ("unfit_value", "book: first published is not an int", 1),
    ]
    for run in open_runner(neo4j_url):
        check_queries(found.findings, run)


FOREIGN = CatalogueSchema.parse("""
name = "shop"
[nodes.customer]
label = "Customer"
key = "customerNumber"
[nodes.product]
label = "Product"
key = "no"
name = "name"
text = ["tags"]
[nodes.product.attributes]
price = "float"
stock = "int"
"on sale" = "bool"
since = "time"
[nodes.brand]
label = "Brand"
key = "no"
[edges.of_brand]
source = "product"
type = "OF"
target = "brand"
[edges.bought]
source = "customer"
type = "BOUGHT_BY"
target = "product"
reverse = true
attributes = { amount = "float", at = "time" }
milliseconds = ["at"]
[interaction]
edge = "bought"
weight = "amount"
at = "at"
positive = 2
""")

MAKE_SHOP = (
    "UNWIND range(1, 40) AS no CREATE (:Product:Thing {no: no, name: 'Product ' + no, tags: ['a', 'b'], price: 1.5})",
    "MATCH (p:Product {no: 31}) SET p.stock = 7, p.`on sale` = true, p.since = date('2024-01-01')",
    "UNWIND range(1, 40) AS no CREATE (:Customer {customerNumber: no})",
    "UNWIND range(1, 4) AS no CREATE (:Brand {no: 'brand ' + no})",
    "MATCH (p:Product), (b:Brand) WHERE b.no = 'brand ' + (p.no % 4 + 1) CREATE (p)-[:OF]->(b)",
    # each bought eight in a row; times of every kind
    """MATCH (c:Customer) UNWIND range(0, 7) AS n MATCH (p:Product {no: (c.customerNumber + n) % 40 + 1})
    WITH c, p, n, datetime('2024-03-01T10:00:00+01:00') + duration({days: c.customerNumber}) AS t
    CREATE (p)-[:BOUGHT_BY {amount: n + 1, at: CASE n WHEN 0 THEN t WHEN 1 THEN date(t) WHEN 2 THEN toString(t)
        WHEN 3 THEN localdatetime(t) WHEN 4 THEN t.epochMillis WHEN 5 THEN t.epochSeconds
        WHEN 6 THEN toString(t.epochSeconds) ELSE replace(toString(date(t)), 'T', ' ') + ' 11:12:13' END}]->(c)""",
)
LEFT_OUT = (  # rows that cannot be used
    "CREATE (:Product {name: 'no key'}), (:Product {no: '', name: 'empty key'}), (:Customer)",
    "CREATE (:Product {no: 5, name: 'two'}), (:Product {no: '5', name: 'as text'}), (:Product {no: 6, name: 'two'})",
    "MATCH (p:Product {no: 11}) SET p.price = 'cheap'",
    "MATCH (p:Product {no: 12}) SET p.price = [1.0, 2.0]",
    "MATCH (p:Product {no: 13}) SET p.price = ' '",  # missing, which is allowed
    "MATCH (p:Product {no: 14}) SET p.price = '1/0'",
    "MATCH (p:Product {no: 15}) SET p.price = 'inf'",
    "MATCH (p:Product {no: 16}) SET p.stock = 1.5",
    "MATCH (p:Product {no: 17}) SET p.stock = '7.0', p.`on sale` = 'Yes', p.price = ' 2.5 '",
    "MATCH (p:Product {no: 18}) SET p.`on sale` = 'maybe'",
    "MATCH (p:Product {no: 19}) SET p.since = 'some day'",
    "MATCH (p:Product {no: 20}) SET p.since = date('0800-01-01')",
    """MATCH (p:Product {no: 25}), (c:Customer {customerNumber: 30})
    CREATE (p)-[:BOUGHT_BY {at: 1700000000}]->(c), (p)-[:BOUGHT_BY {amount: 2.0}]->(c),
        (p)-[:BOUGHT_BY {amount: 'many', at: 1700000000}]->(c), (p)-[:BOUGHT_BY {amount: 2, at: 'then'}]->(c),
        (p)-[:BOUGHT_BY {amount: 2, at: -5}]->(c), (p)-[:BOUGHT_BY {amount: 2, at: datetime('2201-01-01')}]->(c),
        (p)-[:BOUGHT_BY {amount: 2, at: 99999999999}]->(c)""",
    """MATCH (p:Product {name: 'no key'}), (c:Customer {customerNumber: 2})
    CREATE (p)-[:BOUGHT_BY {amount: 1, at: 1700000000}]->(c)""",
    """MATCH (p:Product {no: 28}), (c:Customer) WHERE c.customerNumber IS NULL
    CREATE (p)-[:BOUGHT_BY {amount: 1, at: 1700000000}]->(c)""",
)
DOUBTFUL = (  # rows that can
    "CREATE (:Product {name: 'no key'}), (:Customer)",
    "MATCH (p:Product {no: 21}) SET p.tags = [' '], p.name = null",
    "MATCH (p:Product {no: 22}) SET p.tags = 5, p.name = ['', 'a']",
    "MATCH (p:Product {no: 23}) SET p.tags = [], p.name = [' ']",
    "MATCH (p:Product {no: 23})-[r:OF]->() DELETE r",
    "MATCH (:Product {no: 24})-[r:BOUGHT_BY]->() DELETE r",
    "CREATE (:Customer {customerNumber: 99}), (:Customer {customerNumber: '1\\'; DROP'}), (:Brand {no: 'lonely'})",
    """MATCH (p:Product {no: 20})
    UNWIND [[20, date('1985-01-01')], [21, '2031-05-05'], [22, 946684800000], [23, '1935619200000']] AS pair
    MATCH (c:Customer {customerNumber: pair[0]}) CREATE (p)-[:BOUGHT_BY {amount: '1', at: pair[1]}]->(c)""",
    "MATCH (p:Product {no: 27}), (b:Brand {no: 'brand 4'}) CREATE (p)-[:OF]->(b), (p)-[:OF]->(b)",
    "MATCH (p:Product {no: 28}), (c:Customer) WHERE c.customerNumber IS NULL CREATE (p)-[:OF]->(:Brand)<-[:OF]-(c)",
    "MATCH (p:Product {no: 29}) CREATE (p)-[:SIMILAR_TO]->(p), (:_Kgrec {name: 'none of the shop'})",
)


def make_shop(url: str, *changes: str) -> None:
    with Connection(url, "write") as connection:
        for statement in (*MAKE_SHOP, *changes):
            connection.write(statement)


def test_an_existing_graph_without_faults_has_no_findings(neo4j_url: str) -> None:
    make_shop(neo4j_url)
    found = validate_shop(neo4j_url)
    assert found.findings == ()
    assert set(found.passed) == set(CHECKS) - {"rejected_rows"}
    assert list(found.skipped) == ["rejected_rows"]  # nothing was loaded
    assert found.n_edges == {"of_brand": 40, "bought": 320}


def validate_shop(url: str, rejects: Path | None = None) -> Validation:
    with open_store(url, mode="read", schema=FOREIGN) as store:
        return validate_store(store, now=NOW, rejects=rejects)


def test_queries_find_the_rejected_rows_of_an_existing_graph(neo4j_url: str, tmp_path: Path) -> None:
    make_shop(neo4j_url, *LEFT_OUT)
    found = validate_shop(neo4j_url, tmp_path / "rejects.csv")
    findings = {one.message: one for one in found.findings if one.check in AT_LOADING}
    assert {message: one.count for message, one in findings.items()} == {
        "product nodes without no": 2,
        "customer nodes without customerNumber": 1,
        "product nodes with a no that another has": 3,
        "product: price is not a float": 3,
        "product: price is infinite": 1,
        "product: stock is not an int": 1,
        "product: on sale is not a bool (true or false, 1 or 0)": 1,
        "product: since is not a time (epoch seconds or ISO 8601)": 1,
        "product: since is out of range: expected 1000 to 2100": 1,
        "bought: amount is not a float": 1,
        "bought: at is not a time (epoch seconds or ISO 8601)": 1,
        "bought: at is out of range: expected 1970 to 2100": 3,
        "bought edges without amount": 1,
        "bought edges without at": 1,
        "bought edges whose target has no key": 1,
        "bought edges whose source has no key": 1,
    }
    assert all(one.query for one in findings.values())
    with Connection(neo4j_url, "read") as connection:
        check_queries(findings.values(), connection.read)
    n_rejects = sum(one.count for one in findings.values())
    assert (tmp_path / "rejects.csv").read_text().count("\n") == n_rejects + 1

    def examples(message: str) -> list[tuple[list[tuple[str, str]], str | None]]:
        return [([(node.type, node.id) for node in one.nodes], one.about) for one in findings[message].examples]

    assert examples("product: stock is not an int") == [([("product", "16")], 'stock = "1.5"')]
    assert examples("bought: amount is not a float") == [([("customer", "30"), ("product", "25")], 'amount = "many"')]
    assert examples("product nodes with a no that another has")[0][0] in ([("product", "5")], [("product", "6")])
    assert sorted(examples("product nodes without no"), key=str) == [
        ([], '{"name": "empty key"}'),
        ([], '{"name": "no key"}'),
    ]


TIMES = (  # every kind, good and bad: staging and the queries must read texts and numbers alike
    *(
        "'20240101'",
        "'20240230'",
        "'20230229'",
        "'20240229'",
        "'20241301'",
        "' 20240101 '",
        "'20240101.0'",
        "'18991231'",
    ),
    *(
        "20240101",
        "'99999999'",
        "'1'",
        "'1700000000.5'",
        "1700000000.5",
        "'1e9'",
        "'1e40'",
        "1e40",
        "'Infinity'",
        "'NaN'",
    ),
    *("'2024-02-30'", "'2023-02-29'", "'2024-02-29'", "'2000-02-29'", "'1900-02-29'", "'2024-04-31'", "'0000-01-01'"),
    *(
        "'2024-01-01T24:00'",
        "'2024-01-01T10'",
        "'2024-01-01 10:00'",
        "'2024-01-01T10:00:60'",
        "'2024-01-01T10:00+02:00'",
    ),
    *("'2024-01-01T10:00:00.123456789Z'", "'2024-01-01T10:00+0200'", "'31.12.2023'", "'soon'", "''", "true", "[1]"),
    *(
        "'0001-01-01'",
        "'9999-12-31T23:59:59-05:00'",
        "datetime({year: 12000})",
        "datetime({year: 0})",
        "date('0001-01-01')",
    ),
    *("datetime('2024-01-01T10:00:00[Europe/Paris]')", "'2024-01-01T10:00:00[Europe/Paris]'", "time('10:00')"),
    *("1700000000000", "'1700000000000'", "1700000000000000", "1700000000000000000", "'1700000000000000000'"),
    *("duration('P1D')", "point({x: 1, y: 2})", "localdatetime('2024-01-01T10:00:00')", "date('2101-01-01')"),
)


@pytest.mark.parametrize("milliseconds", [(), ("at",)])
def test_queries_find_the_rejected_times(neo4j_url: str, milliseconds: tuple[str, ...]) -> None:
    make_shop(neo4j_url)
    with Connection(neo4j_url, "write") as connection:
        for place, value in enumerate(TIMES):
            connection.write(f"CREATE (:Product {{no: $no, name: 'p', since: {value}}})", {"no": 1000 + place})
            connection.write(
                f"MATCH (p:Product {{no: $no}}), (c:Customer {{customerNumber: 1}}) "
                f"CREATE (p)-[:BOUGHT_BY {{amount: 1, at: {value}}}]->(c)",
                {"no": 1000 + place},
            )
    edges = {
        **FOREIGN.edges,
        "bought": FOREIGN.edges["bought"].model_copy(update={"milliseconds": milliseconds}),
    }
    with open_store(neo4j_url, mode="read", schema=FOREIGN.model_copy(update={"edges": edges})) as store:
        found = validate_store(store, now=NOW)
    unfit = [one for one in found.findings if one.check == "unfit_value"]
    assert {one.message.split(":")[0] for one in unfit} == {"product", "bought"}
    assert sum(one.count for one in unfit) > 40  # about half of the times, in two columns
    with Connection(neo4j_url, "read") as connection:
        check_queries([one for one in unfit if one.query is not None], connection.read)


def test_queries_find_the_suspicious_rows_of_an_existing_graph(neo4j_url: str) -> None:
    make_shop(neo4j_url, *DOUBTFUL)
    found = validate_shop(neo4j_url)
    assert {(one.check, one.type): one.count for one in found.findings} == {
        ("missing_key", "product"): 1,
        ("missing_key", "customer"): 1,
        ("lost_edges", "of_brand"): 1,
        ("items_without_text", "product"): 2,
        ("items_without_links", "product"): 1,
        ("users_without_interactions", "customer"): 2,
        ("items_without_interactions", "product"): 1,
        ("interactions_in_future", "bought"): 2,
        ("interactions_before_1990", "bought"): 1,
        ("interactions_far_off", "bought"): 1,
        ("repeated_edges", "of_brand"): 1,
        ("orphans", "brand"): 1,
        ("missing_key", "brand"): 1,
    }
    with Connection(neo4j_url, "read") as connection:
        check_queries(found.findings, connection.read)


def test_a_store_that_cannot_be_validated_is_an_error(neo4j_url: str, tmp_path: Path) -> None:
    with open_store(neo4j_url, mode="read") as store, pytest.raises(StoreError, match="holds no catalogue"):
        validate_store(store, now=NOW)
    make_shop(neo4j_url, "MATCH ()-[r:BOUGHT_BY]->() SET r.amount = 'some'")
    with (
        open_store(neo4j_url, mode="read", schema=FOREIGN) as store,
        pytest.raises(CatalogueError, match="no interactions"),
    ):
        validate_store(store, now=NOW)
    with open_store(f"ladybug:{tmp_path / 'half.db'}", mode="write") as store:
        store.ensure_schema(SCHEMA)
        store.begin_load()
        with pytest.raises(StoreError, match="half-written"):
            validate_store(store, now=NOW)
