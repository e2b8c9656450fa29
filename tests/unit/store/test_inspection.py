"""Profiles of foreign graphs on a Neo4j server, and the drafts made from them."""

import pytest

from graph_schema import CatalogueSchema, Interaction
from graph_schema.base_errors import CatalogueError
from graph_schema.drafts.draft import Draft, draft_schema
from kgrec.store import open_store
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.inspection import read_profile
from kgrec.store.neo4j.store import has_catalogue

SHOP = (
    "CREATE CONSTRAINT FOR (k:Kunde) REQUIRE k.kundennr IS UNIQUE",
    "UNWIND range(1, 90) AS i CREATE (:Kunde {kundennr: 'K' + i, email: 'k' + i + '@x.de'})",
    "UNWIND range(1, 40) AS i CREATE (:Artikel {nr: 1000 + i, bezeichnung: 'Schöner Artikel ' + i, preis: i * 1.5, "
    "worte: ['gut', 'rot'], bild: [0.5, i], ort: point({x: i, y: 1}), seit: date('2020-01-01'), "
    "bunt: CASE WHEN i % 2 = 0 THEN i ELSE 'x' END, kgrec_vector: [1.0]})",
    "UNWIND range(1, 4) AS i CREATE (:Warengruppe {name: 'Gruppe ' + i})",
    "MATCH (a:Artikel), (w:Warengruppe {name: 'Gruppe ' + (1 + a.nr % 4)}) CREATE (a)-[:IN]->(w)",
    "MATCH (k:Kunde), (a:Artikel) WHERE (toInteger(substring(k.kundennr, 1)) * 31 + a.nr * 17) % 5 = 0 "
    "CREATE (k)-[:KAUFTE {am: datetime('2023-01-01T00:00:00Z') + duration({hours: a.nr}), menge: 1 + a.nr % 3}]->(a)",
    "CREATE ()",
    "CREATE (:Einzeln {id: 1})",
)


@pytest.fixture
def build(neo4j_url: str):
    def build(*queries: str) -> Draft:
        with Connection(neo4j_url, "write") as connection:
            for query in queries:
                connection.run_alone(query)
        return inspect()

    def inspect() -> Draft:
        with Connection(neo4j_url, "read") as connection:
            counts = "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN count(DISTINCT n), count(r)"
            before = connection.read(counts)
            draft = draft_schema(read_profile(connection))
            assert connection.read(counts) == before
        return draft

    return build


def test_a_german_shop_is_drafted(build):
    draft = build(*SHOP)
    schema = CatalogueSchema.parse(draft.toml)
    assert schema.interaction == Interaction(edge="kaufte", weight="menge", at="am", repeats="sum")
    assert (schema.user_type, schema.item_type) == ("kunde", "artikel")
    assert schema.nodes["kunde"].columns == {"kundennr": "string"}
    item = schema.nodes["artikel"]
    assert (item.key, item.name, item.text) == ("nr", "bezeichnung", ("bezeichnung",))
    assert {name: one.type for name, one in item.attributes.items()} == {
        "bild": "vector", "ort": "point", "preis": "float", "seit": "time", "worte": "list",
    }  # fmt: skip
    assert item.features == ("ort", "preis", "seit", "worte")
    assert schema.edges["in"].target == "warengruppe"
    left_out = "\n".join(draft.left_out)
    for name in ("Artikel.bunt", "Kunde.email", ":Einzeln", "without a label (1)"):
        assert name in left_out
    assert "kgrec_vector" not in draft.toml + left_out
    [kunde] = [guess for guess in draft.guesses if guess.about == "Kunde"]
    assert kunde.sure == "sure" and "database keeps it unique" in kunde.why


def test_the_profile_counts_nodes_and_relationships(build, neo4j_url):
    build(*SHOP)
    with Connection(neo4j_url, "read") as connection:
        profile = read_profile(connection)
        ((n, users, items, most_of_user, most_of_item),) = connection.read(
            "MATCH (k:Kunde)-[r:KAUFTE]->(a) "
            "WITH count(r) AS n, count(DISTINCT k) AS users, count(DISTINCT a) AS items "
            "CALL () { MATCH (k:Kunde)-[:KAUFTE]->() WITH k, count(*) AS d RETURN max(d) AS of_user } "
            "CALL () { MATCH ()-[:KAUFTE]->(a) WITH a, count(*) AS d RETURN max(d) AS of_item } "
            "RETURN n, users, items, of_user, of_item"
        )
    [bought] = [found for found in profile.relationships if found.type == "KAUFTE"]
    assert (bought.count, bought.n_starts, bought.n_ends) == (n, users, items)
    assert (bought.max_out, bought.max_in) == (most_of_user, most_of_item)
    assert (bought.properties["menge"].low, bought.properties["menge"].high) == (1, 3)
    nr = profile.nodes["Artikel"].properties["nr"]
    assert (nr.coverage, nr.is_unique, nr.is_constrained, nr.low, nr.high) == (1.0, True, False, 1001, 1040)
    assert profile.nodes["Artikel"].properties["bunt"].kinds == {"int": 20, "string": 20}


def test_users_and_film_makers_with_one_label_are_told_apart(build):
    schema = build(
        "UNWIND range(1, 50) AS i CREATE (:Movie {title: 'The Movie ' + i, released: 1970 + i})",
        "UNWIND range(1, 60) AS i CREATE (:Person {name: 'Person Number ' + i, born: 1930 + i})",
        "UNWIND range(1, 40) AS i CREATE (:User {userId: toString(i)})",
        "MATCH (m:Movie), (p:Person) WHERE (p.born * 7 + m.released) % 11 = 0 "
        "CREATE (p)-[:ACTED_IN {roles: ['A', 'B']}]->(m)",
        "MATCH (m:Movie), (p:Person) WHERE (p.born * 3 + m.released) % 17 = 0 CREATE (p)-[:DIRECTED]->(m)",
        "MATCH (m:Movie), (u:User) WHERE (toInteger(u.userId) * 3 + m.released) % 5 = 0 CREATE "
        "(u)-[:RATED {rating: 0.5 * (1 + (m.released + toInteger(u.userId)) % 10), "
        "timestamp: 1200000000 + m.released}]->(m)",
    ).schema
    assert schema.interaction == Interaction(edge="rated", weight="rating", at="timestamp", positive=4.0)
    assert set(schema.edges) == {"acted_in", "directed", "rated"}
    assert schema.edges["acted_in"].attributes == {"roles": "string"}
    assert (schema.nodes["movie"].key, schema.nodes["movie"].name) == ("title", "title")


def test_content_without_users_gives_an_incomplete_draft(build):
    draft = build(
        "UNWIND range(1, 30) AS i CREATE (:Movie {movieId: i, title: 'The Movie ' + i})",
        "UNWIND range(1, 30) AS i CREATE (:Person {name: 'Person Number ' + i, n: i})",
        "MATCH (m:Movie), (p:Person) WHERE (p.n * 7 + m.movieId) % 4 = 0 CREATE (p)-[:ACTED_IN]->(m)",
    )
    assert not draft.is_complete
    assert "{`movieId`: toInteger(row.item)}" in draft.advice


def test_several_labels_reversed_direction_milliseconds_and_missing_keys(build):
    draft = build(
        "UNWIND range(1, 40) AS i "
        "CREATE (:Thing:Product {sku: CASE WHEN i < 37 THEN 'p' + i END, n: i, title: 'A fine ' + i})",
        "UNWIND range(1, 20) AS i CREATE (:Thing:Brand {name: 'Brand ' + i, n: i})",
        "CREATE (:Thing {n: 0})",
        "UNWIND range(1, 50) AS i CREATE (:Person:Shopper {uid: i})",
        "UNWIND range(1, 50) AS i CREATE (:Person {uid: -i})",
        "MATCH (p:Product), (b:Brand) WHERE p.n % 20 = b.n - 1 CREATE (p)-[:OF]->(b)",
        "MATCH (p:Product), (s:Shopper) WHERE (p.n * 7 + s.uid * 3) % 5 = 0 "
        "CREATE (p)-[:BOUGHT_BY {at: 1600000000000 + p.n}]->(s)",
        "MATCH (b:Brand), (s:Shopper) WHERE (b.n * 7 + s.uid * 3) % 9 = 0 CREATE (s)-[:OF]->(b)",
    )
    schema = draft.schema
    assert {node.label for node in schema.nodes.values()} == {"Product", "Brand", "Shopper"}
    bought = schema.edges["bought_by"]
    assert (bought.source, bought.target, bought.reverse) == ("shopper", "product", True)
    assert schema.interaction.at == "at"
    assert {"product_of_brand", "shopper_of_brand"} < set(schema.edges)
    assert any(guess.about == "label Thing" and "1 nodes have only :Thing" in guess.why for guess in draft.guesses)


def test_a_person_who_acts_and_directs_keeps_both_kinds_of_links(build, neo4j_url):
    draft = build(
        "UNWIND range(1, 40) AS i CREATE (:Movie {movieId: toString(i), title: 'The Movie ' + i, n: i})",
        "UNWIND range(1, 40) AS i CREATE (:Person:Actor {tmdbId: i, name: 'Person Number ' + i, n: i})",
        "MATCH (p:Person) WHERE p.n > 20 SET p:Director",
        "UNWIND range(41, 60) AS i CREATE (:Person:Director {tmdbId: i, name: 'Person Number ' + i, n: i})",
        "UNWIND range(1, 40) AS i CREATE (:User {userId: toString(i)})",
        "MATCH (m:Movie), (p:Actor) WHERE (p.n * 7 + m.n) % 11 = 0 CREATE (p)-[:ACTED_IN {role: 'x'}]->(m)",
        "MATCH (m:Movie), (p:Director) WHERE (p.n * 3 + m.n) % 17 = 0 CREATE (p)-[:DIRECTED]->(m)",
        "MATCH (m:Movie), (u:User) WHERE (toInteger(u.userId) * 3 + m.n) % 5 = 0 "
        "CREATE (u)-[:RATED {rating: 1.0 + (m.n + toInteger(u.userId)) % 5, timestamp: 1200000000 + m.n}]->(m)",
    )
    assert {node.label for node in draft.schema.nodes.values()} == {"Movie", "Person", "User"}
    with Connection(neo4j_url, "read") as connection:
        n_directed = connection.read("MATCH ()-[r:DIRECTED]->() RETURN count(r)")[0][0]
    assert f"{n_directed} relationships" in draft.toml
    assert not any("DIRECTED" in text for text in draft.left_out)
    [person] = [guess for guess in draft.guesses if guess.about == "label Person"]
    assert person.choice == "stands for :Actor, :Director"


BUYERS = (
    "UNWIND range(1, 30) AS i CREATE (:Guest {uid: 'g' + i, n: i})",
    "UNWIND range(31, 60) AS i CREATE (:Member {uid: 'm' + i, n: i})",
    "UNWIND range(1, 40) AS i CREATE (:Product {sku: 'p' + i, title: 'A fine thing ' + i, n: i})",
    "MATCH (p:Product), (u:Guest|Member) WHERE (p.n * 7 + u.n * 3) % 5 = 0 "
    "CREATE (u)-[:PURCHASED {qty: 1 + p.n % 3}]->(p)",
)


def test_users_of_several_labels_are_one_node_type(build, neo4j_url):
    schema = build(*BUYERS).schema
    users = schema.nodes[schema.user_type]
    assert (set(users.labels), users.key) == ({"Guest", "Member"}, "uid")
    with Connection(neo4j_url, "read") as connection:
        (bought,) = read_profile(connection).relationships
        assert connection.read("MATCH (:Guest|Member)-[r]->() RETURN count(r)") == [[bought.count]]
    assert (bought.n_starts, bought.n_ends) == (60, 40)
    with open_store(neo4j_url, schema=schema) as store:
        assert store.counts().nodes[schema.user_type] == 60


def test_labels_without_a_key_in_common_stay_apart(build):
    schema = build(*BUYERS, "MATCH (m:Member) SET m.memberId = m.uid, m.n = m.n - 30 REMOVE m.uid").schema
    assert all(not node.labels for node in schema.nodes.values())


ORDERS = (
    "UNWIND range(1, 40) AS i CREATE (:Customer {customerID: 'c' + i, n: i, companyName: 'Company ' + i})",
    "UNWIND range(1, 30) AS i CREATE (:Product {productID: i, productName: 'A fine thing ' + i})",
    "UNWIND range(1, 5) AS i CREATE (:Category {categoryName: 'Kind ' + i, n: i})",
    "MATCH (p:Product), (c:Category) WHERE p.productID % 5 = c.n - 1 CREATE (p)-[:PART_OF]->(c)",
    "MATCH (c:Customer) UNWIND range(1, 5) AS i "
    "CREATE (c)-[:PURCHASED]->(:Order {orderID: c.n * 100 + i, "
    "orderDate: '0' + i + '/12/2024 10:30', freight: 1.5 * i})",
    "MATCH (o:Order), (p:Product) WHERE (o.orderID + p.productID * 7) % 11 = 0 "
    "CREATE (o)-[:ORDERS {quantity: 1 + p.productID % 9}]->(p)",
)


def test_a_path_over_orders_is_the_interaction(build, neo4j_url):
    schema = build(*ORDERS).schema
    edge = schema.edges[schema.interaction.edge]
    assert (edge.source, edge.path, edge.target) == ("customer", ("PURCHASED", "ORDERS"), "product")
    assert (schema.interaction.weight, schema.interaction.at) == ("quantity", "orderDate")
    assert set(schema.nodes) == {"customer", "product", "category"}
    with Connection(neo4j_url, "read") as connection:
        profile = read_profile(connection)
        counts = "MATCH (a:Customer)-[:PURCHASED]->()-[:ORDERS]->(b) WITH DISTINCT a, b RETURN "
        ((n, users, items),) = connection.read(f"{counts} count(*), count(DISTINCT a), count(DISTINCT b)")
    [path] = [one for one in profile.relationships if one.path == ("PURCHASED", "ORDERS")]
    assert (path.start, path.via, path.end, path.type) == ("Customer", ("Order",), "Product", "PURCHASED_ORDERS")
    assert (path.count, path.n_starts, path.n_ends) == (n, users, items)
    assert set(path.properties) == {"quantity", "orderID", "orderDate", "freight"}
    assert path.properties["orderDate"].time_format == "%m/%d/%Y %H:%M"
    assert path.example.startswith("Company ") and " -> A fine thing " in path.example
    assert "quantity " in path.example and "orderDate " in path.example
    # each order has one customer, but a product has many orders: no path leads over products from customers
    assert {one.via for one in profile.relationships if one.path and one.start == "Customer"} == {("Order",)}


def test_the_profile_has_percentiles_widths_and_the_commonest_value(build, neo4j_url):
    build(
        "UNWIND range(1, 200) AS i CREATE (:Film {id: 'f' + i, year: 1900 + i, genre: CASE WHEN i % 4 = 0 THEN 'Noir' "
        "ELSE 'Drama' END, tags: ['all', 't' + i], vector: [0.5, i / 7.0], genres: range(0, i % 3), "
        "odd: CASE WHEN i % 2 = 0 THEN [0.5] ELSE [0.5, 0.5] END})"
    )
    with Connection(neo4j_url, "read") as connection:
        film = read_profile(connection).nodes["Film"].properties
    spread = film["year"].spread
    assert (len(spread), spread[0], spread[50], spread[100]) == (101, 1901, 2000, 2100)
    assert sorted(spread) == [*spread]
    assert (film["genre"].commonest, film["genre"].common_share) == ("Drama", 0.75)
    assert (film["tags"].commonest, film["tags"].common_share) == ("all", 1.0)
    assert film["vector"].kinds == {"vector": 200}
    assert film["genres"].kinds == {"list": 200}  # numbers of several widths may be ids
    assert film["odd"].kinds == {"other": 200}


@pytest.mark.parametrize(
    "queries",
    [
        (),
        ("CREATE ()",),
        ("UNWIND range(1, 9) AS i CREATE (:User {id: i})",),
        (
            "UNWIND range(1, 9) AS i CREATE (:User {id: i})",
            "MATCH (a:User), (b:User) WHERE a.id < b.id CREATE (a)-[:KNOWS]->(b)",
        ),
        ("UNWIND range(1, 9) AS i CREATE (:`7up`:`a``b` {id: 'x' + i})-[:`1`]->(:`Büro/Möbel` {`key 1`: i + 0.0})",),
        ("UNWIND range(1, 9) AS i CREATE (:`Kunde:in`)-[:`kaufte/lieh` {am: date()}]->(:Buch)",),
        ("UNWIND range(1, 9) AS i CREATE (:User {id: i / 2})-[:RATED]->(:Film {id: i / 3})",),
        ("CREATE (:A {x: duration('P1D')})-[:R {p: point({x: 1, y: 2})}]->(:B {y: [true]})-[:R]->(:A:B)",),
        ("UNWIND range(1, 9) AS i CREATE (a:Page {url: i}) CREATE (a)-[:LINKS]->(a)",),
    ],
)  # fmt: skip
def test_any_graph_has_a_profile(build, neo4j_url, queries):
    with Connection(neo4j_url, "write") as connection:
        for query in queries:
            connection.run_alone(query)
        profile = read_profile(connection)
        n_nodes = connection.read("MATCH (n) WHERE size(labels(n)) > 0 RETURN count(n)")[0][0]
    assert sum(node.count for node in profile.nodes.values()) == n_nodes
    try:
        draft_schema(profile)
    except CatalogueError as error:
        assert "expected" in str(error) or "correct that" in str(error)


def test_names_are_quoted(build):
    draft = build(
        "CREATE (:`La``bel`)-[:`RE`` L`]->(:`x'}) DETACH DELETE n //` {`p`` \\u005c`: 1})",
        *SHOP[1:6],
    )
    assert any("DETACH DELETE" in text for text in draft.left_out)
    assert draft.schema.interaction.edge == "kaufte"


def test_a_foreign_similar_to_stays_and_kgrecs_own_is_left_out(build):
    draft = build(
        *SHOP[1:6],
        "MATCH (a:Artikel), (b:Artikel) WHERE b.nr = a.nr + 1 "
        "CREATE (a)-[:SIMILAR_TO {version: 'kgrec-2026', score: 1.0}]->(b)",
        "CREATE (:KgrecRelease {name: 'release'}), (:_Kgrec {name: 'loading'})",
    )
    assert "similar_to" not in draft.schema.edges and len(draft.schema.nodes) == 3
    draft = build("MATCH (a:Artikel), (b:Artikel) WHERE b.nr = a.nr + 2 CREATE (a)-[:SIMILAR_TO {by: 'hand'}]->(b)")
    assert draft.schema.edges["similar_to"].attributes == {"by": "string"}
    assert "38 relationships" in draft.toml


def test_the_same_graph_has_the_same_draft(build):
    first = build(
        *SHOP,
        "UNWIND range(1, 9000) AS i CREATE (:Kunde {kundennr: 'N' + i, alter: i % 90})",
    )
    assert build().toml == first.toml
    assert "alter" in first.schema.nodes["kunde"].attributes


def test_a_catalogue_that_kgrec_loaded_is_recognised(build, neo4j_url):
    build("CREATE (:Film {id: 1})")
    with Connection(neo4j_url, "write") as connection:
        assert not has_catalogue(connection)
        connection.write("CREATE (:_Kgrec {name: 'schema', value: '{}'})")
        assert has_catalogue(connection)
