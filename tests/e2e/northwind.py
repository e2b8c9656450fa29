"""Northwind as a graph, small and true to its shape: customers purchased orders, which order products.

Products, categories and suppliers are those of the well-known sample database; customers and their orders are drawn
here. A customer has one or two categories to their taste, which most of what they order is of.
"""

import numpy as np

from kgrec.store.neo4j.connection import Connection

# category -> supplier -> its products
CATALOGUE = {
    "Beverages": {
        "Exotic Liquids": ["Chai", "Chang"],
        "Refrescos Americanas LTDA": ["Guaraná Fantástica"],
        "Bigfoot Breweries": ["Sasquatch Ale", "Steeleye Stout", "Laughing Lumberjack Lager"],
        "Aux joyeux ecclésiastiques": ["Côte de Blaye", "Chartreuse verte"],
        "Leka Trading": ["Ipoh Coffee"],
        "Pavlova, Ltd.": ["Outback Lager"],
        "Plutzer Lebensmittelgroßmärkte AG": ["Rhönbräu Klosterbier"],
        "Karkki Oy": ["Lakkalikööri"],
    },
    "Condiments": {
        "Exotic Liquids": ["Aniseed Syrup"],
        "New Orleans Cajun Delights": [
            "Chef Anton's Cajun Seasoning",
            "Chef Anton's Gumbo Mix",
            "Louisiana Fiery Hot Pepper Sauce",
            "Louisiana Hot Spiced Okra",
        ],
        "Grandma Kelly's Homestead": ["Grandma's Boysenberry Spread", "Northwoods Cranberry Sauce"],
        "Mayumi's": ["Genen Shouyu"],
        "Leka Trading": ["Gula Malacca"],
        "Forêts d'érables": ["Sirop d'érable"],
        "Pavlova, Ltd.": ["Vegie-spread"],
        "Plutzer Lebensmittelgroßmärkte AG": ["Original Frankfurter grüne Soße"],
    },
    "Confections": {
        "Pavlova, Ltd.": ["Pavlova"],
        "Specialty Biscuits, Ltd.": [
            "Teatime Chocolate Biscuits", "Sir Rodney's Marmalade", "Sir Rodney's Scones", "Scottish Longbreads",
        ],
        "Heli Süßwaren GmbH & Co. KG": ["NuNuCa Nuß-Nougat-Creme", "Gumbär Gummibärchen", "Schoggi Schokolade"],
        "Zaanse Snoepfabriek": ["Zaanse koeken", "Chocolade"],
        "Karkki Oy": ["Maxilaku", "Valkoinen suklaa"],
        "Forêts d'érables": ["Tarte au sucre"],
    },
    "Dairy Products": {
        "Cooperativa de Quesos 'Las Cabras'": ["Queso Cabrales", "Queso Manchego La Pastora"],
        "Formaggi Fortini s.r.l.": ["Gorgonzola Telino", "Mascarpone Fabioli", "Mozzarella di Giovanni"],
        "Norske Meierier": ["Geitost", "Gudbrandsdalsost", "Flotemysost"],
        "Gai pâturage": ["Raclette Courdavault", "Camembert Pierrot"],
    },
    "Grains/Cereals": {
        "PB Knäckebröd AB": ["Gustaf's Knäckebröd", "Tunnbröd"],
        "Leka Trading": ["Singaporean Hokkien Fried Mee"],
        "G'day, Mate": ["Filo Mix"],
        "Pasta Buttini s.r.l.": ["Gnocchi di nonna Alice", "Ravioli Angelo"],
        "Plutzer Lebensmittelgroßmärkte AG": ["Wimmers gute Semmelknödel"],
    },
    "Meat/Poultry": {
        "Tokyo Traders": ["Mishi Kobe Niku"],
        "Pavlova, Ltd.": ["Alice Mutton"],
        "Plutzer Lebensmittelgroßmärkte AG": ["Thüringer Rostbratwurst"],
        "G'day, Mate": ["Perth Pasties"],
        "Ma Maison": ["Tourtière", "Pâté chinois"],
    },
    "Produce": {
        "Grandma Kelly's Homestead": ["Uncle Bob's Organic Dried Pears"],
        "Mayumi's": ["Tofu"],
        "Plutzer Lebensmittelgroßmärkte AG": ["Rössle Sauerkraut"],
        "G'day, Mate": ["Manjimup Dried Apples"],
        "Tokyo Traders": ["Longlife Tofu"],
    },
    "Seafood": {
        "Tokyo Traders": ["Ikura"],
        "Mayumi's": ["Konbu"],
        "Pavlova, Ltd.": ["Carnarvon Tigers"],
        "Nord-Ost-Fisch Handelsgesellschaft mbH": ["Nord-Ost Matjeshering"],
        "Svensk Sjöföda AB": ["Inlagd Sill", "Gravad lax", "Röd Kaviar"],
        "New England Seafood Cannery": ["Boston Crab Meat", "Jack's New England Clam Chowder"],
        "Lyngbysild": ["Rogede sild", "Spegesild"],
        "Escargots Nouveaux": ["Escargots de Bourgogne"],
    },
}  # fmt: skip
DESCRIPTIONS = {
    "Beverages": "Soft drinks, coffees, teas, beers, and ales",
    "Condiments": "Sweet and savory sauces, relishes, spreads, and seasonings",
    "Confections": "Desserts, candies, and sweet breads",
    "Dairy Products": "Cheeses",
    "Grains/Cereals": "Breads, crackers, pasta, and cereal",
    "Meat/Poultry": "Prepared meats",
    "Produce": "Dried fruit and bean curd",
    "Seafood": "Seaweed and fish",
}
CHEESES = frozenset(name for products in CATALOGUE["Dairy Products"].values() for name in products)
CITIES = ("Berlin", "London", "México D.F.", "Luleå", "Mannheim", "Strasbourg", "Madrid", "Marseille", "Tsawassen")
_TASTE = 0.9  # of what a customer orders, the share of their categories
_DAY_S = 86_400
_FIRST_S = 836_438_400  # 1996-07-04


def build_northwind(connection: Connection, *, n_customers: int = 91, n_orders: int = 830, seed: int = 5) -> None:
    """Writes the graph into an empty database, without constraints or indexes."""
    rng = np.random.default_rng(seed)
    categories = list(CATALOGUE)
    suppliers = list(dict.fromkeys(name for found in CATALOGUE.values() for name in found))
    products = [
        (name, category, supplier)
        for category, found in CATALOGUE.items()
        for supplier, names in found.items()
        for name in names
    ]
    connection.write(
        "UNWIND $rows AS row CREATE (:Category {categoryID: row[0], categoryName: row[1], description: row[2]})",
        {"rows": [[str(nr), name, DESCRIPTIONS[name]] for nr, name in enumerate(categories, 1)]},
    )
    connection.write(
        "UNWIND $rows AS row CREATE (:Supplier {supplierID: row[0], companyName: row[1], contactTitle: row[2], "
        "city: row[3], phone: row[4]})",
        {
            "rows": [
                [str(nr), name, ("Sales Manager", "Owner", "Marketing Manager")[nr % 3], CITIES[nr % 9], f"555-{nr:04}"]
                for nr, name in enumerate(suppliers, 1)
            ]
        },
    )
    connection.write(
        "UNWIND $rows AS row MATCH (c:Category {categoryName: row[2]}) MATCH (s:Supplier {companyName: row[3]}) "
        "CREATE (s)-[:SUPPLIES]->(:Product {productID: row[0], productName: row[1], unitPrice: row[4], "
        "quantityPerUnit: row[5], unitsInStock: row[6], reorderLevel: row[7], discontinued: row[8], "
        "categoryID: c.categoryID, supplierID: s.supplierID})-[:PART_OF]->(c)",
        {
            "rows": [
                [
                    str(nr), *product, round(float(rng.lognormal(3, 0.7)), 2), f"{int(rng.integers(4, 50))} boxes",
                    int(rng.integers(0, 120)), int(rng.integers(0, 6)) * 5, bool(rng.random() < 0.1),
                ]
                for nr, product in enumerate(products, 1)
            ]
        },
    )  # fmt: skip
    tastes = [rng.choice(len(categories), 1 + nr % 2, replace=False) for nr in range(n_customers)]
    ids = [_make_id(nr) for nr in range(n_customers)]
    connection.write(
        "UNWIND $rows AS row CREATE (:Customer {customerID: row[0], companyName: row[1], contactName: row[2], "
        "contactTitle: row[3], city: row[4], phone: row[5]})",
        {
            "rows": [
                [id_, f"Company {id_.title()}", f"Contact {nr}", "Owner", CITIES[nr % 9], f"030-00{nr:03}"]
                for nr, id_ in enumerate(ids)
            ]
        },
    )
    orders, lines = [], []
    by_category = [[nr for nr, one in enumerate(products) if one[1] == name] for name in categories]
    for nr in range(n_orders):
        customer = nr % n_customers if nr < 2 * n_customers else int(rng.integers(n_customers))
        at = _FIRST_S + int(rng.integers(660)) * _DAY_S
        day = str(np.datetime64(at, "s"))[:10]
        orders.append([str(10_248 + nr), ids[customer], f"{day} 00:00:00.000", round(float(rng.lognormal(4, 1)), 2)])
        chosen = set()
        for _ in range(int(rng.integers(1, 6))):
            liked = [one for category in tastes[customer] for one in by_category[category]]
            chosen.add(int(rng.choice(liked) if rng.random() < _TASTE else rng.integers(len(products))))
        lines += [[str(10_248 + nr), str(1 + one), int(rng.integers(1, 60)), 0.0] for one in sorted(chosen)]
    connection.write(
        "UNWIND $rows AS row MATCH (c:Customer {customerID: row[1]}) "
        "CREATE (c)-[:PURCHASED]->(:Order {orderID: row[0], customerID: row[1], orderDate: row[2], freight: row[3], "
        "shipCountry: 'Germany'})",
        {"rows": orders},
    )
    connection.write(
        "UNWIND $rows AS row MATCH (o:Order {orderID: row[0]}) MATCH (p:Product {productID: row[1]}) "
        "CREATE (o)-[:ORDERS {orderID: row[0], productID: row[1], quantity: row[2], discount: row[3], "
        "unitPrice: p.unitPrice}]->(p)",
        {"rows": lines},
    )


def _make_id(nr: int) -> str:
    """Five letters, as Northwind names its customers."""
    letters = []
    for place in range(5):
        letters.append(chr(65 + (nr * (7 + 4 * place) + 3 * place + nr // 26 * place) % 26))
    return "".join(letters[:3]) + f"{chr(65 + nr // 26)}{chr(65 + nr % 26)}"
