"""The tables of a catalogue in the embedded database, and the clauses that find their rows.

A node type is a node table named by its label; an edge type is a relationship table named by its relationship type,
or by the edge type's own name where several edge types share one relationship type. Columns keep their names.
The database ignores case in names and reserves names that begin with an underscore: such names lose their underscores,
a backtick becomes an underscore, and names that would clash get `_2`, `_3`, ...
Names are the only part of a schema in a query's text, and they are always quoted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from graph_schema import CatalogueSchema
from graph_schema.schema_types import AttributeType

TYPES: dict[AttributeType, str] = {
    "string": "STRING",
    "int": "INT64",
    "float": "DOUBLE",
    "bool": "BOOL",
    "time": "INT64",
    "list": "STRING[]",
    "point": "DOUBLE[]",
    "vector": "FLOAT[]",
}
# An attribute named `from` or `to` would be filled with the ends' ids, `rowid` would read as the engine's own number
RESERVED = ("from", "to", "rowid")


@dataclass(frozen=True)
class NodeTable:
    """The table of a node type; in its clauses `x` is the node.

    Attributes:
        name: its name, quoted.
        properties: quoted column name -> type, the key first.
        arrow_schema: the columns of its rows in Arrow.
    """

    name: str
    properties: Mapping[str, str]
    arrow_schema: pa.Schema

    n_keys = 1

    @property
    def key(self) -> str:
        """The quoted name of the key."""
        return next(iter(self.properties))

    @property
    def create(self) -> str:
        """The statement that makes the table."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.properties.items())
        return f"CREATE NODE TABLE {self.name} ({columns}, PRIMARY KEY ({self.key}))"

    @property
    def match(self) -> str:
        """The clause for every node."""
        return f"MATCH (x:{self.name})"

    @property
    def find(self) -> str:
        """The clause for the node whose key is `c0`."""
        return f"MATCH (x:{self.name} {{{self.key}: c0}})"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The expression for each column of `arrow_schema`."""
        return tuple(f"x.{name}" for name in self.properties)


@dataclass(frozen=True)
class EdgeTable:
    """The table of an edge type; in its clauses `x` is the edge, `a` its source and `b` its target.

    Attributes:
        name: its name, quoted.
        source: the table of the nodes it starts at.
        target: the table of the nodes it ends at.
        properties: quoted attribute name -> type.
        arrow_schema: the columns of its rows in Arrow.
    """

    name: str
    source: NodeTable
    target: NodeTable
    properties: Mapping[str, str]
    arrow_schema: pa.Schema

    n_keys = 2

    @property
    def create(self) -> str:
        """The statement that makes the table."""
        ends = f"FROM {self.source.name} TO {self.target.name}"
        return f"CREATE REL TABLE {self.name} ({', '.join([ends, *map(' '.join, self.properties.items())])})"

    @property
    def match(self) -> str:
        """The clause for every edge."""
        return f"MATCH (a:{self.source.name})-[x:{self.name}]->(b:{self.target.name})"

    @property
    def find(self) -> str:
        """The clauses for the edge from the node whose key is `c0` to the one whose key is `c1`."""
        # one MATCH per end: both in one exhaust the memory
        return (
            f"MATCH (a:{self.source.name} {{{self.source.key}: c0}}) "
            f"MATCH (b:{self.target.name} {{{self.target.key}: c1}}) MATCH (a)-[x:{self.name}]->(b)"
        )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The expression for each column of `arrow_schema`."""
        return (f"a.{self.source.key}", f"b.{self.target.key}", *(f"x.{name}" for name in self.properties))


@dataclass(frozen=True)
class Layout:
    """All tables of a catalogue, by node type and edge type."""

    nodes: Mapping[str, NodeTable]
    edges: Mapping[str, EdgeTable]

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements that make the tables, in an order that works."""
        return (*(node.create for node in self.nodes.values()), *(edge.create for edge in self.edges.values()))


def lay_out(schema: CatalogueSchema, taken: Iterable[str] = ()) -> Layout:
    """Chooses the tables of a schema.

    Args:
        schema: the catalogue's schema.
        taken: names that its tables may not have.
    """
    types = [edge.type.casefold() for edge in schema.edges.values()]
    names = _quote_distinct(
        [
            *(node.label for node in schema.nodes.values()),
            *(e.type if types.count(e.type.casefold()) == 1 else name for name, e in schema.edges.items()),
        ],
        taken,
    )
    nodes = {
        node_type: NodeTable(name, _to_properties(node.columns), node.arrow_schema)
        for name, (node_type, node) in zip(names, schema.nodes.items(), strict=False)
    }
    edges = {
        edge_type: EdgeTable(
            name, nodes[edge.source], nodes[edge.target], _to_properties(edge.attributes), edge.arrow_schema
        )
        for name, (edge_type, edge) in zip(names[len(nodes) :], schema.edges.items(), strict=True)
    }
    return Layout(nodes, edges)


def _to_properties(columns: Mapping[str, AttributeType]) -> dict[str, str]:
    return dict(zip(_quote_distinct(columns, RESERVED), (TYPES[kind] for kind in columns.values()), strict=True))


def _quote_distinct(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    used = {name.casefold() for name in taken}
    quoted = []
    for name in names:
        base = name.replace("`", "_").lstrip("_ ") or "unnamed"
        distinct, n = base, 1
        while distinct.casefold() in used:
            n += 1
            distinct = f"{base}_{n}"
        used.add(distinct.casefold())
        quoted.append(f"`{distinct}`")
    return quoted
