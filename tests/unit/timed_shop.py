"""The shop with the times of its purchases: customers buy the products of their kind one after the other."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from shop import CONFIG, SCHEMA, WordEncoder, make_tables

from graph_schema import CatalogueSchema, GraphTables
from kgrec.bundle import Bundle
from kgrec.training.train_bundle import train_bundle

START, DAY = 1_600_000_000, 86_400
_described = SCHEMA.model_dump(mode="json")
_described["edges"]["bought"]["attributes"]["bought_at"] = "time"
_described["interaction"]["at"] = "bought_at"
TIMED = CatalogueSchema.model_validate(_described)


def make_timed_tables() -> GraphTables:
    """The shop's tables; each customer buys a product a day, in the order of their numbers from a random one on."""
    tables, rng = make_tables(), np.random.default_rng(2)
    bought = tables.edges["bought"].to_pylist()
    first = {user: int(rng.integers(30)) for user in dict.fromkeys(row["source"] for row in bought)}
    days = [(int(row["target"][-2:]) - first[row["source"]]) % 30 for row in bought]
    times = pa.array([START + DAY * day for day in days], pa.int64())
    table = tables.edges["bought"].append_column("bought_at", times)
    timed = table.select(TIMED.edges["bought"].arrow_schema.names).cast(TIMED.edges["bought"].arrow_schema)
    return GraphTables(TIMED, tables.nodes, {**tables.edges, "bought": timed})


@cache
def train_timed() -> Bundle:
    """A bundle of it, in which order counts for everybody; immutable, so all tests may have it."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = train_bundle(make_timed_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)
    model = bundle.model
    gate, place = model.gate, model.names.index("transitions")
    warm = gate.warm.copy()
    warm[1:, place] = 1.0
    recency = np.full_like(gate.recency, 0.7)
    return replace(bundle, model=replace(model, gate=replace(gate, warm=warm, recency=recency)))
