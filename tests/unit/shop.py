"""A shop with two kinds of customers, as tables, and a recommender trained on it once."""

import hashlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema, GraphTables
from kgrec.bundle import Bundle
from kgrec.config import (
    BackboneConfig,
    HeadConfig,
    ItemItemConfig,
    PriorConfig,
    SequenceConfig,
    SplitConfig,
    TrainConfig,
)
from kgrec.text.encoder import OnTexts
from kgrec.training.train_bundle import train_bundle

SCHEMA = CatalogueSchema.parse("""
name = "shop"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
text = ["title"]
[nodes.maker]
label = "Maker"
key = "maker_id"
name = "maker_name"
[nodes.customer]
label = "Customer"
key = "customer_id"
[edges.made_by]
source = "product"
type = "MADE_BY"
target = "maker"
phrase = "maker"
[edges.spare_part_of]
source = "product"
type = "SPARE_PART_OF"
target = "product"
[edges.bought]
source = "customer"
type = "BOUGHT"
target = "product"
attributes = { stars = "float" }
[interaction]
edge = "bought"
weight = "stars"
positive = 4
""")
CONFIG = TrainConfig(
    embedding_dim=8,
    device="cpu",
    validation=SplitConfig(cold_users=0.3, least_likes=4),
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=3),
    item_item=ItemItemConfig(regularisation=1.0, few_regularisation=1.0),
    prior=PriorConfig(path_dim=4, links_dim=8, regularisation=1.0, regularisations=(), gates=(), hidden=4, steps=3),
    head=HeadConfig(epochs=1, batch_size=16),
    sequence=SequenceConfig(dim=8, epochs=1),
)
KINDS = ("tea", "bike")
WORDS = {"tea": ("green", "black", "herbal"), "bike": ("saddle", "bell", "chain")}
N_ITEMS, N_USERS, N_MAKERS = 30, 50, 6
NEWCOMER, LURKER = "newcomer", "lurker"  # has seen nothing; has seen sku-00 and not liked it


def kind_of(item: str) -> str:
    """Even products are tea, odd ones bicycle parts."""
    return KINDS[int(item[-2:]) % 2]


class WordEncoder:
    """An encoder whose vectors are sums of a random vector per word: texts with common words are alike."""

    name = "words"
    revision = "words-1"
    computation = "sums"
    dim = 16

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        rows = [np.sum([self._draw(word) for word in text.lower().split()], axis=0) for text in texts]
        vectors = np.array(rows, np.float32).reshape(-1, self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _draw(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=self.dim)


def make_tables() -> GraphTables:
    """Tea drinkers like tea, cyclists like bicycle parts; a maker makes one or the other; the last product is new."""
    rng = np.random.default_rng(5)
    items = [f"sku-{place:02}" for place in range(N_ITEMS)]
    users = [f"c{place:02}" for place in range(N_USERS)]
    titles = [f"{kind_of(item)} {WORDS[kind_of(item)][place % 3]} {place}" for place, item in enumerate(items)]
    bought = [(LURKER, items[0], 1.0)]
    for place, user in enumerate(users):
        for n, item in enumerate(rng.permutation([item for item in items[:-1] if kind_of(item) == KINDS[place % 2]])):
            if n < 7:
                bought.append((user, str(item), 5.0 if n else 2.0))
    makers = [f"m-{KINDS[place % 2]}-{place}" for place in range(N_MAKERS)]

    def to_table(schema: pa.Schema, *columns: Sequence[object]) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    nodes, edges = SCHEMA.nodes, SCHEMA.edges
    return GraphTables(
        SCHEMA,
        {
            "product": to_table(nodes["product"].arrow_schema, items, titles),
            "maker": to_table(nodes["maker"].arrow_schema, makers, [f"House of {maker}" for maker in makers]),
            "customer": to_table(nodes["customer"].arrow_schema, [*users, NEWCOMER, LURKER]),
        },
        {
            "made_by": to_table(
                edges["made_by"].arrow_schema, items, [makers[place % N_MAKERS] for place in range(N_ITEMS)]
            ),
            "spare_part_of": to_table(edges["spare_part_of"].arrow_schema, ["sku-01", "sku-03"], ["sku-05", "sku-07"]),
            "bought": to_table(edges["bought"].arrow_schema, *zip(*bought, strict=True)),
        },
    )


def read_unpacked(bundle: Path) -> bytes:
    """All that a saved bundle's files hold, unpacked."""
    return b"".join(pa.input_stream(file).read() for file in sorted(bundle.iterdir()) if file.name != ".lock")


@cache
def train_shop() -> Bundle:
    """A bundle of the shop; immutable, so all tests may have it."""
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)
