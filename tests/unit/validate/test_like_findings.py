"""What is said about which interactions count as likes."""

import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema
from graph_schema.checks.rejects import RejectLog
from graph_schema.checks.staging import build_tables
from kgrec.validate import Finding, validate_tables
from kgrec.validate.queries import QueryDialect

SCHEMA = """
name = "shop"
[nodes.item]
label = "Item"
key = "id"
[nodes.user]
label = "User"
key = "id"
from_edges = true
[edges.bought]
source = "user"
type = "BOUGHT"
target = "item"
attributes = {{ quantity = "int" }}
[edges.disliked]
source = "user"
type = "DISLIKED"
target = "item"
[interaction]
edge = "bought"
weight = "quantity"
other_feedback = {{ disliked = -1 }}
{more}
"""


def check(quantities: list[int], more: str = "", disliked: str = "") -> dict[str, Finding]:
    schema = CatalogueSchema.parse(SCHEMA.format(more=more))
    items = [f"i{n}" for n in range(len(quantities))]
    against = [pair.split("-") for pair in disliked.split()]
    edges = {
        "bought": pa.table({"source": ["u"] * len(items), "target": items, "quantity": quantities}),
        "disliked": pa.table({"source": [a for a, _ in against], "target": [b for _, b in against]}),
    }
    tables = build_tables(schema, {"item": pa.table({"id": items})}, edges)
    dialect = QueryDialect.of_neo4j(schema)
    found = validate_tables(tables, dialect, now=0, rejects=RejectLog()).findings
    checks = ("no_likes", "all_likes", "liked_zeros", "zeros", "contradictions")
    return {one.check: one for one in found if one.check in checks}


@pytest.mark.parametrize(
    ("quantities", "more", "expected"),
    [
        ([1, 5, 3], "", {"all_likes": 3}),  # grades, of which the lowest counts as the highest
        ([1, 1, 1], "", {}),
        ([5, 4, 3], "positive = 4", {}),
        ([5, 4, 3], "positive = 3", {"all_likes": 3}),
        ([5, 4, 3], "positive = 6", {"no_likes": 3}),
        ([0, 0, -1], "", {"no_likes": 3, "zeros": 3}),
        ([1, 0, 0], "", {"zeros": 2}),
        ([2, -1, 0], "positive = 0", {"liked_zeros": 1, "zeros": 1}),
        ([2, -1, 0], "positive = -1", {"all_likes": 3, "liked_zeros": 2}),
        (list(range(1, 40)), "", {}),  # so many different weights are counts
    ],
)
def test_weights_that_say_nothing_are_told(quantities: list[int], more: str, expected: dict[str, int]) -> None:
    assert {name: one.count for name, one in check(quantities, more).items()} == expected


def test_the_condition_and_the_range_are_told() -> None:
    found = check([5, 4, 3], "positive = 6")["no_likes"]
    assert found.message == "bought edges, none of which is a like: quantity >= 6, and they have quantity 3 to 5"
    found = check([1, -2, 0], 'repeats = "sum"')["zeros"]
    assert found.message == "bought edges with a quantity of 0 or less (of several, their quantity is added up)"
    assert [one.about for one in found.examples] == ["quantity -2", "quantity 0"]


def test_a_like_of_what_the_user_dislikes_is_told() -> None:
    found = check([1, 0, 1], disliked="u-i0 u-i1 v-i2")["contradictions"]
    assert (found.count, found.total) == (1, 3)  # i1 is no like, and i2 is another user's
    assert [node.id for node in found.examples[0].nodes] == ["u", "i0"]
