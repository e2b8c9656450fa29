"""Graphs as teams keep them in Neo4j: Northwind, people of several labels, names with signs, lists on nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trial_layouts.layout import GraphLayout
from trial_layouts.planting import Choice, Planted, count_from_one, grade, plant_taste, tell_planted, write_time
from trial_layouts.shop_layouts import group_into_orders, tell_order_times
from trial_layouts.themes import BOOKS, FILMS, GOODS

if TYPE_CHECKING:
    from kgrec.bundle import Bundle

Queries = Sequence[tuple[str, Mapping[str, Any]]]


def rate(choice: Choice) -> int:
    return int(grade(choice, (5, 4, 5), 3, (1, 2)))


def make_northwind() -> tuple[Planted, Queries]:
    """(Customer)-[:PURCHASED]->(Order)-[:ORDERS]->(Product), as Neo4j's guide makes it."""
    taste = plant_taste(GOODS, seed=31)

    def code(user: int) -> str:
        return f"CUS{chr(65 + user // 26)}{chr(65 + user % 26)}"

    categories = sorted({i.genres[0] for i in taste.items})
    customers = [
        {"customerID": code(u), "companyName": f"Company {u} Ltd", "contactName": f"Contact {u}",
         "contactTitle": ("Owner", "Sales Agent")[u % 2], "city": "Oslo", "country": "Norway"}
        for u in range(taste.n_users)
    ]  # fmt: skip
    products = [
        {"productID": str(i.place + 1), "productName": i.title, "unitPrice": 4.5 + i.place % 30,
         "unitsInStock": 17 + i.place, "discontinued": i.place % 12 == 0, "quantityPerUnit": "10 boxes x 20 bags",
         "category": str(categories.index(i.genres[0]) + 1), "supplier": str(taste.makers.index(i.maker) + 1)}
        for i in taste.items
    ]  # fmt: skip
    orders = group_into_orders(taste)
    headers, lines = [], []
    for n, (user, bought) in enumerate(orders):
        number = str(10248 + n)
        headers.append({"customer": code(user), "own": {
            "orderID": number, "orderDate": write_time(bought[0].at, "%Y-%m-%d 00:00:00.000"), "shipCountry": "Norway",
            "shipName": f"Company {user} Ltd", "freight": f"{12.5 + n % 60:.2f}",
        }})  # fmt: skip
        lines += [
            {"order": number, "product": str(c.item + 1), "own": {
                "unitPrice": f"{4.5 + c.item % 30:.2f}", "quantity": (5, 10, 20, 40)[(c.user + c.item) % 4],
                "discount": "0.15" if c.item % 3 else "0",
            }}
            for c in bought
        ]  # fmt: skip
    queries: Queries = [
        ("UNWIND $rows AS row CREATE (c:Customer) SET c = row", {"rows": customers}),
        ("UNWIND $rows AS row CREATE (:Category {categoryID: row[0], categoryName: row[1], description: row[2]})",
         {"rows": [[str(n + 1), name, f"All kinds of {name.lower()}"] for n, name in enumerate(categories)]}),
        ("UNWIND $rows AS row CREATE (:Supplier {supplierID: row[0], companyName: row[1], contactTitle: row[2]})",
         {"rows": [[str(n + 1), name, "Order Administrator"] for n, name in enumerate(taste.makers)]}),
        ("UNWIND $rows AS row MATCH (c:Category {categoryID: row.category}), (s:Supplier {supplierID: row.supplier}) "
         "CREATE (s)-[:SUPPLIES]->(p:Product)-[:PART_OF]->(c) SET p = row REMOVE p.category, p.supplier",
         {"rows": products}),
        ("UNWIND $rows AS row MATCH (c:Customer {customerID: row.customer}) "
         "CREATE (c)-[:PURCHASED]->(o:Order) SET o = row.own", {"rows": headers}),
        ("UNWIND $rows AS row MATCH (o:Order {orderID: row.order}), (p:Product {productID: row.product}) "
         "CREATE (o)-[r:ORDERS]->(p) SET r = row.own", {"rows": lines}),
    ]  # fmt: skip
    planted = tell_planted(
        taste, code, count_from_one, disliking=False, hubs=("order", "Norway", "Company"), least_likes=0.4,
        linked=("categor", "supplier"),
    )  # fmt: skip
    return replace(planted, times=tell_order_times(orders, code, count_from_one)), queries


def make_actors_and_directors() -> tuple[Planted, Queries]:
    """Every Person is an Actor, a Director or both; films have genres; users rate."""
    taste = plant_taste(FILMS, seed=32)
    people, acted, directed = [], [], []
    for group in range(3):
        for n in range(8):
            name = f"Person {group}-{n}"
            people.append({"name": name, "born": 1940 + n * 3, "actor": n < 6, "director": n >= 4})
    for i in taste.items:
        acted += [[i.place + 1, f"Person {i.group}-{n}"] for n in (i.place % 4, 4 + i.place % 2)]
        directed.append([i.place + 1, f"Person {i.group}-{4 + i.place % 4}"])
    queries: Queries = [
        ("UNWIND $rows AS row CREATE (p:Person {name: row.name, born: row.born}) "
         "FOREACH (_ IN CASE WHEN row.actor THEN [1] ELSE [] END | SET p:Actor) "
         "FOREACH (_ IN CASE WHEN row.director THEN [1] ELSE [] END | SET p:Director)", {"rows": people}),
        ("UNWIND $rows AS row CREATE (:Genre {name: row})", {"rows": taste.genres}),
        ("UNWIND $rows AS row CREATE (m:Movie {movieId: row.id, title: row.title, year: row.year, plot: row.plot}) "
         "WITH m, row UNWIND row.genres AS genre MATCH (g:Genre {name: genre}) CREATE (m)-[:IN_GENRE]->(g)",
         {"rows": [{"id": i.place + 1, "title": i.title, "year": i.year, "plot": i.about, "genres": list(i.genres)}
                   for i in taste.items]}),
        ("UNWIND $rows AS row MATCH (m:Movie {movieId: row[0]}), (p:Person {name: row[1]}) "
         "CREATE (p)-[:ACTED_IN {role: 'somebody'}]->(m)", {"rows": acted}),
        ("UNWIND $rows AS row MATCH (m:Movie {movieId: row[0]}), (p:Person {name: row[1]}) "
         "CREATE (p)-[:DIRECTED]->(m)", {"rows": directed}),
        ("UNWIND range(1, $n) AS id CREATE (:User {userId: id, name: 'Somebody ' + id})", {"n": taste.n_users}),
        ("UNWIND $rows AS row MATCH (u:User {userId: row[0]}), (m:Movie {movieId: row[1]}) "
         "CREATE (u)-[:RATED {rating: row[2], timestamp: row[3]}]->(m)",
         {"rows": [[c.user + 1, c.item + 1, float(rate(c)), c.at] for c in taste.choices]}),
    ]  # fmt: skip

    def find_faults(bundle: "Bundle") -> list[str]:
        counts = {bundle.schema.edges[name].type: rows.shape[1] for name, rows in bundle.edges.items()
                  if name in bundle.schema.edges}  # fmt: skip
        expected = {"DIRECTED": len(directed), "ACTED_IN": len(acted)}
        return [
            f"{counts.get(name, 0)} of {n} {name} relationships are there" for name, n in expected.items()
            if counts.get(name) != n
        ]  # fmt: skip

    return tell_planted(
        taste, count_from_one, count_from_one, linked=("genre", "acted", "directed"), timed=True, expects=find_faults
    ), queries


def make_guests_and_members() -> tuple[Planted, Queries]:
    """Users are a Guest or a Member, and both rate books; their key has one name."""
    taste = plant_taste(BOOKS, seed=33)

    def name_user(user: int) -> str:
        return f"{'m' if user % 2 else 'g'}{user:03}"

    def write_users(label: str, turn: int) -> tuple[str, Mapping[str, Any]]:
        rows = [name_user(user) for user in range(taste.n_users) if user % 2 == turn]
        return f"UNWIND $rows AS row CREATE (:{label} {{uid: row}})", {"rows": rows}

    queries: Queries = [
        write_users("Guest", 0),
        write_users("Member", 1),
        ("UNWIND $rows AS row MERGE (a:Author {name: row[2]}) "
         "CREATE (:Book {isbn: row[0], title: row[1]})-[:WRITTEN_BY]->(a)",
         {"rows": [[f"b{i.place:03}", i.title, i.maker] for i in taste.items]}),
        ("UNWIND $rows AS row MATCH (u:Guest|Member {uid: row[0]}), (b:Book {isbn: row[1]}) "
         "CREATE (u)-[:RATED {stars: row[2], at: datetime({epochSeconds: row[3]})}]->(b)",
         {"rows": [[name_user(c.user), f"b{c.item:03}", rate(c), c.at] for c in taste.choices]}),
    ]  # fmt: skip
    return tell_planted(taste, name_user, lambda place: f"b{place:03}", linked=("author",), timed=True), queries


def make_odd_labels() -> tuple[Planted, Queries]:
    """Labels and relationship types with a colon, a slash, a space, a digit in front, and a backtick."""
    taste = plant_taste(GOODS, seed=34)
    queries: Queries = [
        ("UNWIND range(0, $n) AS nr CREATE (:`Kunde:in` {nr: nr})", {"n": taste.n_users - 1}),
        ("UNWIND $rows AS row MERGE (m:`Büro/Möbel` {bezeichnung: row[2]}) MERGE (h:`3rd Party``s` {name: row[3]}) "
         "CREATE (:Artikel {artnr: row[0], titel: row[1]})-[:`gehört zu`]->(m) "
         "WITH row, h MATCH (a:Artikel {artnr: row[0]}) CREATE (a)-[:`2nd-hand:von`]->(h)",
         {"rows": [[i.place + 500, i.title, i.genres[0], i.maker] for i in taste.items]}),
        ("UNWIND $rows AS row MATCH (k:`Kunde:in` {nr: row[0]}), (a:Artikel {artnr: row[1]}) "
         "CREATE (k)-[:`HAT GEKAUFT` {am: date(row[2])}]->(a)",
         {"rows": [[c.user, c.item + 500, write_time(c.at, "%Y-%m-%d")] for c in taste.choices]}),
    ]  # fmt: skip
    return tell_planted(
        taste, str, lambda place: str(place + 500), disliking=False, linked=("möbel",), timed=True
    ), queries


def make_listed_genres() -> tuple[Planted, Queries]:
    """Genres are a list on each film; keys are floats, as pandas leaves them; 12.0 is asked for as 12."""
    taste = plant_taste(FILMS, seed=35)
    queries: Queries = [
        ("UNWIND $rows AS row CREATE (:Movie {movieId: row[0], title: row[1], genres: row[2]})",
         {"rows": [[i.place + 1.0, i.title, list(i.genres)] for i in taste.items]}),
        ("UNWIND range(1, $n) AS id CREATE (:Viewer {viewerId: toFloat(id)})", {"n": taste.n_users}),
        ("UNWIND $rows AS row MATCH (u:Viewer {viewerId: row[0]}), (m:Movie {movieId: row[1]}) "
         "CREATE (u)-[:WATCHED {rating: row[2]}]->(m)",
         {"rows": [[c.user + 1.0, c.item + 1.0, rate(c)] for c in taste.choices]}),
    ]  # fmt: skip
    return tell_planted(taste, count_from_one, count_from_one, linked=("genre",)), queries


LAYOUTS = (
    GraphLayout("northwind", make_northwind),
    GraphLayout("actors-and-directors", make_actors_and_directors),
    GraphLayout("guests-and-members", make_guests_and_members),
    GraphLayout("odd-labels", make_odd_labels),
    GraphLayout("listed-genres", make_listed_genres),
)
