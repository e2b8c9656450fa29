"""A catalogue in Neo4j: a node type is a label, an edge type is a relationship type between two labels.

Columns are properties of the same names. A key is a string where kgrec wrote it; in a graph that was there before it
may be an integer, so that nodes are found by either (`to_keys`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from graph_schema import CatalogueSchema
from kgrec.store.neo4j.connection import quote

# What kgrec keeps in the database besides the catalogue
META_LABEL = "_Kgrec"  # nodes with `name` and `value`: the schema, the mark and the lease of a load
RELEASE_LABEL = "KgrecRelease"  # one node: which of the published versions is live
RELEASE_TYPES = ("SIMILAR_TO", "RECOMMENDED")
RELEASE_PREFIX = "kgrec_"  # of the properties and indexes that publishing makes
_MAX_INT = 2**63


@dataclass(frozen=True)
class NodePlace:
    """A node type, for Cypher.

    Attributes:
        label: its label, quoted.
        properties: its properties, quoted, the key first.
    """

    label: str
    properties: tuple[str, ...]

    @property
    def key(self) -> str:
        """The property that holds the id, quoted."""
        return self.properties[0]


@dataclass(frozen=True)
class EdgePlace:
    """An edge type, for Cypher.

    Attributes:
        type: its relationship type, quoted.
        reverse: whether the relationship points from the target to the source.
        source: the place of the nodes it comes from.
        target: the place of the nodes it leads to.
        properties: its properties, quoted.
    """

    type: str
    reverse: bool
    source: NodePlace
    target: NodePlace
    properties: tuple[str, ...]

    def pattern(self, edge: str = "") -> str:
        """The relationship, named `edge`, as it stands between its source on the left and its target on the right."""
        return f"<-[{edge}:{self.type}]-" if self.reverse else f"-[{edge}:{self.type}]->"

    def pattern_from_target(self, edge: str = "") -> str:
        """The relationship as it stands between its target on the left and its source on the right."""
        return f"-[{edge}:{self.type}]->" if self.reverse else f"<-[{edge}:{self.type}]-"

    @property
    def match(self) -> str:
        """The clause for every edge `r` from a source `a` to a target `b`."""
        return f"MATCH (a:{self.source.label}){self.pattern('r')}(b:{self.target.label})"


@dataclass(frozen=True)
class Layout:
    """The places of a schema's types."""

    schema: CatalogueSchema

    @cached_property
    def nodes(self) -> dict[str, NodePlace]:
        """Node type -> its place."""
        return {
            name: NodePlace(quote(node.label), tuple(map(quote, node.columns)))
            for name, node in self.schema.nodes.items()
        }

    @cached_property
    def edges(self) -> dict[str, EdgePlace]:
        """Edge type -> its place."""
        return {
            name: EdgePlace(
                quote(edge.type),
                edge.reverse,
                self.nodes[edge.source],
                self.nodes[edge.target],
                tuple(map(quote, edge.attributes)),
            )
            for name, edge in self.schema.edges.items()
        }


def to_keys(ids: Iterable[str]) -> list[str | int]:
    """The values that a node's key may have: each id, and the integer that it is the decimal text of."""
    keys: list[str | int] = []
    for id_ in ids:
        keys.append(str(id_))
        digits = id_.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and str(int(id_)) == id_ and -_MAX_INT <= int(id_) < _MAX_INT:
            keys.append(int(id_))
    return keys
