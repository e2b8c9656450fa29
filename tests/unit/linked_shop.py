"""The shop with more knowledge: customers with friends, towns, ages, hobbies and texts; products with prices."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from shop import CONFIG, KINDS, N_USERS, SCHEMA, WordEncoder, make_tables

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.schema_toml import to_toml
from kgrec.bundle import Bundle
from kgrec.training.train_bundle import train_bundle

_OF_NODES = {
    "product": "attributes = { price = { type = 'float', feature = true } }",
    "maker": "attributes = { founded = { type = 'int', feature = true } }",
    "customer": "text = ['about']\n"
    "attributes = { age = { type = 'int', feature = true }, hobbies = { type = 'list', feature = true } }",
}


def _extend(text: str) -> CatalogueSchema:
    for node_type, more in _OF_NODES.items():
        text = text.replace(f"[nodes.{node_type}]\n", f"[nodes.{node_type}]\n{more}\n")
    return CatalogueSchema.parse(
        text
        + """
[nodes.town]
label = "Town"
key = "town"
[edges.dedicated_to]
source = "product"
type = "DEDICATED_TO"
target = "customer"
[edges.follows]
source = "customer"
type = "FOLLOWS"
target = "customer"
[edges.lives_in]
source = "customer"
type = "LIVES_IN"
target = "town"
"""
    )


LINKED = _extend(to_toml(SCHEMA))
FANS = [f"c{place:02}" for place in range(6)]  # products are dedicated to them
TOWNS = ("Delft", "Assam", "Turin")
HOBBIES = {"tea": ["reading", "knitting"], "bike": ["racing", "camping"]}


def make_linked_tables() -> GraphTables:
    """The shop, where tea drinkers live in Assam and are old, cyclists live in Turin and are young."""
    tables, rng = make_tables(), np.random.default_rng(7)
    n_items, n_makers, n_users = (len(tables.nodes[name]) for name in ("product", "maker", "customer"))
    kind, users = [KINDS[user % 2] for user in range(n_users)], range(n_users)
    columns = {
        "product": {"price": np.round(rng.uniform(2, 30, n_items), 2).tolist()},
        "maker": {"founded": [1900 + 10 * (maker % 4) for maker in range(n_makers)]},
        "customer": {
            "about": [None if user % 3 else f"i like {kind[user]} shops" for user in users],
            "age": [None if user % 7 == 0 else (60 if kind[user] == "tea" else 20) + user % 15 for user in users],
            "hobbies": [HOBBIES[kind[user]][: user % 3] for user in users],
        },
    }  # fmt: skip
    nodes = {"town": pa.table([list(TOWNS)], LINKED.nodes["town"].arrow_schema)}
    for name, table in tables.nodes.items():
        declared = LINKED.nodes[name].arrow_schema
        more = {column: pa.array(values, declared.field(column).type) for column, values in columns[name].items()}
        nodes[name] = pa.table([more.get(c.name, table[c.name] if c.name in table.column_names else None)
                                for c in declared], declared)  # fmt: skip
    names = [f"c{user:02}" for user in range(N_USERS)]
    pairs = {
        "dedicated_to": [(f"sku-{place:02}", FANS[place % 6]) for place in range(n_items) if place % 4],
        "follows": [(name, names[(row + 2 * step) % N_USERS]) for row, name in enumerate(names) for step in (1, 3)
                    if row % 5] + [("c01", "c01")],
        "lives_in": [(name, TOWNS[1 + row % 2]) for row, name in enumerate(names) if row % 4] + [("c00", "Delft")],
    }  # fmt: skip
    edges = {
        name: pa.table([[pair[side] for pair in ends] for side in (0, 1)], LINKED.edges[name].arrow_schema)
        for name, ends in pairs.items()
    }
    return GraphTables(LINKED, nodes, {**tables.edges, **edges})


@cache
def train_linked() -> Bundle:
    """A bundle of it; immutable, so all tests may have it."""
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_linked_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=0)
