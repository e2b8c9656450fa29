"""Layouts of shops: orders with lines, returns, events, several kinds of feedback."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trial_layouts.layout import Layout, write_delimited
from trial_layouts.planting import (
    Choice,
    Planted,
    Taste,
    count_from_one,
    plant_taste,
    tell_planted,
    write_american_time,
    write_time,
)
from trial_layouts.themes import GOODS

if TYPE_CHECKING:
    from kgrec.bundle import Bundle


def group_into_orders(taste: Taste, most: int = 3) -> list[tuple[int, list[Choice]]]:
    """Splits each user's choices into orders of a few lines: (user, lines), by time of the first line."""
    orders = []
    for user in range(taste.n_users):
        mine = [choice for choice in taste.choices if choice.user == user]
        orders += [(user, mine[start : start + most]) for start in range(0, len(mine), most)]
    return sorted(orders, key=lambda order: order[1][0].at)


def tell_order_times(
    orders: Sequence[tuple[int, Sequence[Choice]]], name_user: Callable[[int], str], name_item: Callable[[int], str]
) -> dict[tuple[str, str], int]:
    """(user, item) -> when it was ordered: an order has the time of its first line."""
    return {(name_user(user), name_item(c.item)): lines[0].at for user, lines in orders for c in lines}


def make_online_retail(folder: Path) -> Planted:
    """UCI's Online Retail: one table, returns as negative quantities, a quarter of the lines without a customer."""
    taste = plant_taste(GOODS, seed=14)

    def code(place: int) -> str:
        return f"{84000 + place * 13}{'ABC'[place % 3] if place % 2 else ''}"

    rows: list[tuple[object, ...]] = []
    orders = group_into_orders(taste)
    for number, (user, lines) in enumerate(orders):
        invoice, at = 536365 + number, write_american_time(lines[0].at)
        for choice in lines:
            item, country = taste.items[choice.item], "EIRE" if user % 13 == 0 else "United Kingdom"
            about = "" if choice.item % 7 == 0 and choice.user % 6 == 5 else item.title.upper()
            price = f"{1.25 + item.place % 8:.2f}"
            quantity = (6, 12, 24, 600)[(user + item.place) % 4] if choice.liked else 1
            who = 12346 + user
            rows.append((invoice, code(item.place), about, quantity, at, price, who, country))
            returned = quantity if choice.liked is False else 1 if choice.item % 8 == 0 else 0
            if returned:
                back = write_american_time(lines[0].at + 86_400)
                rows.append((f"C{invoice}", code(item.place), item.title.upper(), -returned, back, price, who, country))
        if number % 9 == 0:
            rows.append((invoice, "POST", "POSTAGE", 1, at, "18.00", 12346 + user, "United Kingdom"))
    rng = np.random.default_rng(3)
    for number in range(len(rows) // 3):  # 25% of all rows
        item = taste.items[int(rng.integers(len(taste.items)))]
        about = ("", "damages", "check", item.title.upper())[number % 4]
        at = write_american_time(taste.choices[number].at)
        quantity, price = (-10, "0") if about in ("damages", "check") else (2, f"{1.25 + item.place % 8:.2f}")
        rows.append((560000 + number, code(item.place), about, quantity, at, price, "", "United Kingdom"))
    rows.append((570000, "M", "Manual £5 off", -1, "9/9/2011 10:00", "5.00", 12347, "United Kingdom"))
    header = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
    write_delimited(folder / "data.csv", [header, *rows], encoding="latin-1")
    planted = tell_planted(
        taste, lambda user: str(12346 + user), code, hubs=("United Kingdom", "order", "invoice"), least_likes=0.4
    )
    titles = {item: title.upper() for item, title in planted.titles.items()}
    return replace(planted, titles=titles, times=tell_order_times(orders, lambda user: str(12346 + user), code))


def make_instacart(folder: Path) -> Planted:
    taste = plant_taste(GOODS, seed=15)
    aisles, departments = taste.genres, ["fresh", "outdoors", "paper goods"]
    products = [(i.place + 1, i.title, aisles.index(i.genres[0]) + 1, i.group + 1) for i in taste.items]
    orders: list[tuple[object, ...]] = []
    lines: dict[str, list[tuple[object, ...]]] = {"prior": [], "train": []}
    numbers = dict.fromkeys(range(taste.n_users), 0)
    of_user = [user for user, _ in group_into_orders(taste)]
    for place, (user, bought) in enumerate(group_into_orders(taste)):
        numbers[user] += 1
        last = user not in of_user[place + 1 :] and numbers[user] > 1
        kind, since = "train" if last else "prior", "" if numbers[user] == 1 else f"{7 + place % 23}.0"
        orders.append((2539000 + place, user + 1, kind, numbers[user], place % 7, f"{place % 24:02}", since))
        for turn, choice in enumerate(bought):
            lines[kind].append((2539000 + place, choice.item + 1, turn + 1, int(numbers[user] > 1 and turn == 0)))
    orders += [(2600000 + user, user + 1, "test", numbers[user] + 1, 2, "09", "4.0") for user in range(0, 60, 3)]
    write_delimited(folder / "products.csv", [("product_id", "product_name", "aisle_id", "department_id"), *products])
    write_delimited(folder / "aisles.csv", [("aisle_id", "aisle"), *((n + 1, name) for n, name in enumerate(aisles))])
    write_delimited(
        folder / "departments.csv",
        [("department_id", "department"), *((n + 1, name) for n, name in enumerate(departments))],
    )
    header = (
        "order_id", "user_id", "eval_set", "order_number", "order_dow", "order_hour_of_day", "days_since_prior_order",
    )  # fmt: skip
    write_delimited(folder / "orders.csv", [header, *orders])
    for kind, rows in lines.items():
        write_delimited(
            folder / f"order_products__{kind}.csv",
            [("order_id", "product_id", "add_to_cart_order", "reordered"), *rows],
        )
    # the lines of "train" may or may not be read beside those of "prior"
    return tell_planted(
        taste, count_from_one, count_from_one, disliking=False, hubs=("order", "eval_set"), least_likes=0.6,
        linked=("aisle", "department"),
    )  # fmt: skip


def make_northwind_files(folder: Path) -> Planted:
    """Northwind as CSV: a customer is linked to a product over orders and their lines."""
    taste = plant_taste(GOODS, seed=16)
    suppliers, categories = taste.makers, sorted({i.genres[0] for i in taste.items})

    def code(user: int) -> str:
        return f"{('ALF', 'ANA', 'BER')[user % 3]}{chr(65 + user // 26)}{chr(65 + user % 26)}"

    write_delimited(folder / "customers.csv", [
        ("customerID", "companyName", "contactName", "contactTitle", "city", "country"),
        *((code(u), f"Company {u} Ltd", f"Contact {u}", ("Owner", "Sales Agent")[u % 2], "Oslo", "Norway")
          for u in range(taste.n_users)),
    ])  # fmt: skip
    orders = group_into_orders(taste)
    write_delimited(folder / "orders.csv", [
        ("orderID", "customerID", "employeeID", "orderDate", "shippedDate", "shipVia", "freight", "shipName",
         "shipCountry"),
        *((10248 + n, code(user), n % 9 + 1, write_time(lines[0].at, "%Y-%m-%d 00:00:00.000"),
           "NULL" if n % 20 == 0 else write_time(lines[0].at + 259_200, "%Y-%m-%d 00:00:00.000"), n % 3 + 1,
           f"{12.5 + n % 60:.2f}", f"Company {user} Ltd", "Norway")
          for n, (user, lines) in enumerate(orders)),
    ])  # fmt: skip
    write_delimited(folder / "order_details.csv", [
        ("orderID", "productID", "unitPrice", "quantity", "discount"),
        *((10248 + n, c.item + 1, 4.5 + c.item % 30, (5, 10, 20, 40)[(c.user + c.item) % 4], 0.15 if c.item % 3 else 0)
          for n, (_, lines) in enumerate(orders) for c in lines),
    ])  # fmt: skip
    write_delimited(folder / "products.csv", [
        ("productID", "productName", "supplierID", "categoryID", "quantityPerUnit", "unitPrice", "unitsInStock",
         "discontinued"),
        *((i.place + 1, i.title, suppliers.index(i.maker) + 1, categories.index(i.genres[0]) + 1, "10 boxes x 20 bags",
           4.5 + i.place % 30, 17 + i.place, int(i.place % 12 == 0)) for i in taste.items),
    ])  # fmt: skip
    write_delimited(folder / "categories.csv", [
        ("categoryID", "categoryName", "description"),
        *((n + 1, name, f"All kinds of {name.lower()}") for n, name in enumerate(categories)),
    ])  # fmt: skip
    write_delimited(folder / "suppliers.csv", [
        ("supplierID", "companyName", "contactName", "contactTitle", "country"),
        *((n + 1, name, f"Seller {n}", "Order Administrator", "Italy") for n, name in enumerate(suppliers)),
    ])  # fmt: skip
    write_delimited(folder / "employees.csv", [
        ("employeeID", "lastName", "firstName", "title", "reportsTo"),
        *((n, f"Clerk{n}", "Ann", "Sales Representative", "NULL" if n == 2 else 2) for n in range(1, 10)),
    ])  # fmt: skip
    planted = tell_planted(
        taste, code, count_from_one, disliking=False, hubs=("order", "Norway", "employee"), least_likes=0.4,
        linked=("categor", "supplier"),
    )  # fmt: skip
    return replace(planted, times=tell_order_times(orders, code, count_from_one))


def make_events(folder: Path) -> Planted:
    """Retailrocket: a log of events, properties of items in rows, codes instead of names."""
    taste = plant_taste(GOODS, seed=17)
    rng = np.random.default_rng(5)

    def visitor(user: int) -> str:
        return str(1000 + user * 17)

    def item_id(place: int) -> str:
        return str(200 + place * 11)

    events: list[tuple[object, ...]] = []
    for number, c in enumerate(taste.choices):
        at = c.at * 1000 + 187
        events.append((at, visitor(c.user), "view", item_id(c.item), ""))
        if c.liked:
            events.append((at + 61_000, visitor(c.user), "addtocart", item_id(c.item), ""))
            if c.user == 0 or c.item % 2:
                events.append((at + 122_000, visitor(c.user), "transaction", item_id(c.item), 4000 + number))
    for user in range(1, taste.n_users):
        for place in rng.choice(len(taste.items), 2, replace=False):
            at = taste.choices[0].at * 1000 + int(rng.integers(10**9))
            events.append((at, visitor(user), "view", item_id(int(place)), ""))
    write_delimited(
        folder / "events.csv",
        [
            ("timestamp", "visitorid", "event", "itemid", "transactionid"),
            *sorted(events, key=lambda row: int(str(row[0]))),
        ],
    )
    properties: list[tuple[object, ...]] = []
    for i in taste.items:
        for week in (0, 1):
            at = (taste.choices[0].at + week * 604_800) * 1000
            properties.append((at, item_id(i.place), "categoryid", 300 + i.group * 3 + i.place % 2))
            properties.append((at, item_id(i.place), "available", (i.place + week) % 2))
            properties.append((at, item_id(i.place), "790", f"n{12000 + i.place * 10}.000"))
            properties.append((at, item_id(i.place), "888", f"{1116713 + i.group} 960601 n{277 + i.place}.200"))
    header = ("timestamp", "itemid", "property", "value")
    half = len(properties) // 2
    write_delimited(folder / "item_properties_part1.csv", [header, *properties[:half]])
    write_delimited(folder / "item_properties_part2.csv", [header, *properties[half:]])
    tree = [(300 + group * 3 + place, 500 + group) for group in range(3) for place in (0, 1)]
    write_delimited(
        folder / "category_tree.csv", [("categoryid", "parentid"), *tree, *((500 + n, "") for n in range(3))]
    )
    bought = frozenset((str(row[1]), str(row[3])) for row in events if row[2] == "transaction")
    return replace(
        tell_planted(taste, visitor, item_id, titled=False, disliking=False, linked=("categor",), timed=True),
        likes=bought,
    )


def make_feedback(folder: Path) -> Planted:
    """Three tables of feedback; what is viewed is six times as much as what is bought, and at random."""
    taste = plant_taste(GOODS, seed=18)
    rng, tables = np.random.default_rng(6), {"viewed": [], "bought": [], "disliked": []}  # type: ignore[var-annotated]
    for c in taste.choices:
        if c.liked is not None:
            tables["bought" if c.liked else "disliked"].append(
                (c.user + 1, f"sku{c.item:03}", write_time(c.at, "%Y-%m-%d"))
            )
    for user in range(1, taste.n_users):
        for place in rng.choice(len(taste.items), 40, replace=False):
            tables["viewed"].append((user + 1, f"sku{place:03}", "2024-05-0" + str(1 + place % 9)))
    for name, rows in tables.items():
        write_delimited(folder / f"{name}.csv", [("customer_id", "sku", "date"), *rows])
    products = [(f"sku{i.place:03}", i.title, "; ".join(i.genres), i.maker) for i in taste.items]
    write_delimited(folder / "products.csv", [("sku", "name", "tags", "brand"), *products])
    write_delimited(
        folder / "customers.csv",
        [("customer_id", "country"), *((user + 1, "Norway") for user in range(taste.n_users))],
    )

    def find_faults(bundle: "Bundle") -> list[str]:
        interaction = bundle.schema.interaction
        kinds = {interaction.edge, *interaction.other_feedback}
        wrong = [f"{name} is neither the interaction nor other feedback" for name in tables if name not in kinds]
        if interaction.edge != "bought":
            wrong.append(f"the interaction is {interaction.edge!r}, not what was bought")
        return wrong

    return tell_planted(
        taste,
        count_from_one,
        lambda place: f"sku{place:03}",
        hubs=("Norway",),
        linked=("tag", "brand"),
        timed=True,
        expects=find_faults,
    )


def make_impressions(folder: Path) -> Planted:
    """What was shown, with a column of 0 and 1 for what was clicked."""
    taste = plant_taste(GOODS, seed=19)
    rng = np.random.default_rng(8)
    shown = {(c.user, c.item): int(c.liked is True) for c in taste.choices}
    for user in range(1, taste.n_users):
        for place in rng.choice(len(taste.items), 12, replace=False):
            if place % 3 != user % 3:
                shown.setdefault((user, int(place)), 0)
    rows = [(f"u{user}", f"a{place}", clicked) for (user, place), clicked in shown.items()]
    write_delimited(folder / "impressions.csv", [("user_id", "ad_id", "clicked"), *rows])
    write_delimited(folder / "ads.csv", [("ad_id", "headline"), *((f"a{i.place}", i.title) for i in taste.items)])
    planted = tell_planted(taste, lambda user: f"u{user}", lambda place: f"a{place}")
    return replace(planted, not_likes=frozenset((str(user), str(item)) for user, item, clicked in rows if not clicked))


LAYOUTS = (
    Layout("online-retail", make_online_retail),
    Layout("instacart", make_instacart),
    Layout("northwind-files", make_northwind_files),
    Layout("retailrocket", make_events),
    Layout("viewed-bought-disliked", make_feedback),
    Layout("clicked-impressions", make_impressions),
)
