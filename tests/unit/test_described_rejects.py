"""What the command line says about rows that were left out: how many of which type, and why."""

import pyarrow as pa

from graph_schema import CatalogueSchema
from graph_schema.checks.rejects import RejectLog
from graph_schema.sources import MemorySource
from kgrec.cli.command_inputs import describe_rejects
from kgrec.store import read_tables

SCHEMA = CatalogueSchema.parse("""
name = "festival"
[nodes.visitor]
label = "Visitor"
key = "id"
[nodes.concert]
label = "Concert"
key = "id"
attributes = { seats = "int" }
[edges.bought]
source = "visitor"
type = "BOUGHT"
target = "concert"
attributes = { at = "time" }
[interaction]
edge = "bought"
at = "at"
""")


class ForeignStore:
    """A graph that kgrec did not load: of five tickets two have no date, one is for a concert that is not there."""

    def read_schema(self) -> CatalogueSchema:
        return SCHEMA

    def foreign_rows(self) -> MemorySource:
        nodes = {
            "visitor": pa.table({"id": ["v1", "v2", None]}),
            "concert": pa.table({"id": ["a", "b", "c", "d"], "seats": ["10", "many", "few", "5"]}),
        }
        tickets = {
            "source": ["v1", "v1", "v2", "v2", "v2"],
            "target": ["a", "b", "a", "b", "x"],
            "at": [1, None, 3, None, 5],
        }
        return MemorySource.from_tables(SCHEMA, nodes, {"bought": pa.table(tickets)})


def test_rejects_are_told_by_type_with_the_commonest_reason_those_of_likes_first() -> None:
    log = RejectLog()
    read = read_tables(ForeignStore(), rejects=log, max_rejects=1)  # type: ignore[arg-type] # what is read of a store
    assert read.edges["bought"].num_rows == 2
    assert describe_rejects(log, "bought") == (
        "rejected: 3 of 5 rows of 'bought', which likes come from (at is empty, in 2); "
        "2 of 4 rows of 'concert' (seats is not an int, left out of its row); 1 of 3 rows of 'visitor' (id is empty)"
    )
