"""Which items can be had."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from shop import SCHEMA, make_tables

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.base_errors import CatalogueError
from graph_schema.schema_toml import to_toml
from kgrec.graph.availability import read_available
from kgrec.ids import IdMap


def make_stocked(columns: dict[str, tuple[str, list[Any]]], available: str) -> GraphTables:
    """Three products with attributes, in another order than their rows."""
    attributes = ", ".join(f'{name} = "{kind}"' for name, (kind, _) in columns.items())
    own = f"[nodes.product]\nattributes = {{ {attributes} }}\navailable = {available}\n"
    schema = CatalogueSchema.parse(to_toml(SCHEMA).replace("[nodes.product]\n", own))
    rows = {"sku": ["c", "a", "b"], "title": ["C", "A", "B"]} | {name: found for name, (_, found) in columns.items()}
    product = pa.table(rows, schema.nodes["product"].arrow_schema)
    return GraphTables(schema, {**make_tables().nodes, "product": product}, make_tables().edges)


@pytest.mark.parametrize(
    ("columns", "available", "expected"),
    [
        ({"abgesagt": ("bool", [True, False, None])}, "{ abgesagt = false }", "ab"),  # without a value it can be had
        ({"stock": ("int", [0, 1, None])}, "{ stock = 1 }", "ab"),
        ({"state": ("string", ["on", "off", "on"])}, '{ state = "on" }', "bc"),
        ({"gone": ("bool", [False, False, True]), "weight": ("float", [2.0, 3.0, 2.0])}, "{ gone = false, weight = 2 }",
         "c"),
        ({"gone": ("bool", [True, True, True])}, "{}", "abc"),
    ],
)  # fmt: skip
def test_an_item_can_be_had_unless_a_value_says_otherwise(
    columns: dict[str, tuple[str, list[Any]]], available: str, expected: str
) -> None:
    found = read_available(make_stocked(columns, available), IdMap(("a", "b", "c")))
    assert "".join(np.array(["a", "b", "c"])[found]) == expected


@pytest.mark.parametrize(("kind", "value"), [("bool", "1"), ("int", '"1"'), ("string", "1"), ("list", '"a"')])
def test_a_value_of_another_type_than_its_attribute_is_refused(kind: str, value: str) -> None:
    with pytest.raises(CatalogueError, match="available: 'x' is a"):
        make_stocked({"x": (kind, [])}, f"{{ x = {value} }}")
