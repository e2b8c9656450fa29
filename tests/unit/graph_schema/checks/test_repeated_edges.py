"""Several interactions of one user with one item, worked by hand."""

import pyarrow as pa
import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.rejects import RejectLog
from graph_schema.checks.repeated_edges import describe_repeats
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource, split_table

SCHEMA = """
name = "shop"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
[nodes.customer]
label = "Customer"
key = "customer"
from_edges = true
[edges.bought]
source = "customer"
type = "BOUGHT"
target = "product"
attributes = {{ quantity = "{kind}", at = "time", shop = "string" }}
[interaction]
edge = "bought"
weight = "quantity"
at = "at"
repeats = "{repeats}"
"""
PRODUCTS = pa.table({"sku": ["A1", "B2", "C3"], "title": ["Lamp", "Rug", "Cup"]})
# twelve lamps bought, one returned; z only returned a cup
BOUGHT = {
    "customer": ["x", "y", "x", "y", "x", "z", "z"],
    "sku": ["A1", "A1", "A1", "B2", "A1", "B2", "C3"],
    "quantity": [6, 5, -1, 1, 6, 2, -2],
    "at": ["2026-01-01", "2026-01-01", "2026-03-01", "2026-01-02", "2026-02-01", "2026-01-03", "2026-01-04"],
    "shop": list("abcdefg"),
}
MARCH = 1772323200


def stage(folder, repeats, *, kind="int", batch_rows=100, **changed):
    schema = CatalogueSchema.parse(SCHEMA.format(repeats=repeats, kind=kind))
    columns = {name: values for name, values in {**BOUGHT, **changed}.items() if values is not None}
    bought = split_table(pa.table(columns), "bought", batch_rows)
    source = MemorySource(schema, {"product": split_table(PRODUCTS, "product")}, {"bought": bought})
    log = RejectLog()
    return stage_tables(source, folder, rejects=log), log


@pytest.mark.parametrize("batch_rows", [2, 100])
@pytest.mark.parametrize(
    ("repeats", "lamps"), [("latest", -1), ("greatest", 6), ("sum", 11), ("count", 3)]
)  # fmt: skip
def test_the_weight_of_repeated_purchases(tmp_path, repeats, lamps, batch_rows):
    staged, _ = stage(tmp_path, repeats, batch_rows=batch_rows)
    rows = {(row["source"], row["target"]): row for row in staged.to_tables().interactions.to_pylist()}
    assert rows["x", "A1"] == {"source": "x", "target": "A1", "quantity": lamps, "at": MARCH, "shop": "c"}
    others = {pair: row["quantity"] for pair, row in rows.items() if pair != ("x", "A1")}
    counted = repeats == "count"
    assert others == {
        ("y", "A1"): 1 if counted else 5,
        ("y", "B2"): 1,
        ("z", "B2"): 1 if counted else 2,
        ("z", "C3"): 1 if counted else -2,
    }
    assert staged.repeats == {"bought": 2}


def test_what_was_bought_and_partly_returned_is_liked_and_what_was_only_returned_is_not(tmp_path):
    likes = stage(tmp_path, "sum")[0].to_tables().likes
    assert sorted(zip(likes["source"].to_pylist(), likes["target"].to_pylist(), strict=True)) == [
        ("x", "A1"), ("y", "A1"), ("y", "B2"), ("z", "B2"),
    ]  # fmt: skip


def test_large_and_broken_numbers_are_added_up_exactly(tmp_path):
    staged, _ = stage(tmp_path / "int", "sum", quantity=[2**60, 0, 1, 0, 0, 0, 0])
    assert 2**60 + 1 in staged.to_tables().interactions["quantity"].to_pylist()
    staged, _ = stage(tmp_path / "float", "sum", kind="float", quantity=[0.5, 0, 0.25, 0, 0.125, 0, 0])
    assert 0.875 in staged.to_tables().interactions["quantity"].to_pylist()


def test_a_count_needs_no_column_and_reads_none(tmp_path):
    for folder, quantity in (("none", None), ("bad", ["six"] * 7)):
        staged, log = stage(tmp_path / folder, "count", quantity=quantity)
        assert sorted(staged.to_tables().interactions["quantity"].to_pylist()) == [1, 1, 1, 1, 3]
        assert not log.counts
    with pytest.raises(CatalogueError, match="missing: quantity"):
        stage(tmp_path / "sum", "sum", quantity=None)


@pytest.mark.parametrize(
    ("repeats", "described"),
    [
        ("latest", "the latest of each is kept"),
        ("greatest", "the greatest quantity of each is kept"),
        ("sum", "their quantity is added up"),
        ("count", "their number is kept as quantity"),
    ],
)
def test_what_becomes_of_repeats_is_said(repeats, described):
    assert describe_repeats(CatalogueSchema.parse(SCHEMA.format(repeats=repeats, kind="int")), "bought") == described
