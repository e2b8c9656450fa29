"""A catalogue in Neo4j: a node type is a label, an edge type is a relationship type between two labels.

In a graph that kgrec did not load a node type may be several labels, and an edge type a path over other nodes, whose
labels do not matter. Columns are properties of the same names. A key is a string where kgrec wrote it; in a graph that
was there before it may be a number, so that nodes are found by either (`to_keys`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graph_schema import CatalogueSchema, EdgeType, NodeType
from kgrec.store.neo4j.connection import quote

# What kgrec keeps in the database besides the catalogue
META_LABEL = "_Kgrec"  # nodes with `name` and `value`: the schema, the mark and the lease of a load
RELEASE_LABEL = "KgrecRelease"  # one node: which of the published versions is live
RELEASE_TYPES = ("SIMILAR_TO", "RECOMMENDED", "ITEM_VECTOR", "USER_VECTOR")
RELEASE_PREFIX = "kgrec_"  # of the properties and indexes that publishing makes
_MAX_INT = 2**63
_FRACTION = re.compile(r"-?\d+\.\d*[1-9]", re.ASCII)


@dataclass(frozen=True)
class NodePlace:
    """A node type, for Cypher.

    Attributes:
        label: its label, quoted, or an expression for any of several: a node with two of them matches it once.
        properties: its properties, quoted, the key first.
    """

    label: str
    properties: tuple[str, ...]

    @property
    def key(self) -> str:
        """The property that holds the id, quoted."""
        return self.properties[0]


@dataclass(frozen=True)
class Step:
    """One relationship of an edge type.

    Attributes:
        type: its type, quoted.
        is_backwards: whether it points towards the edge type's source.
    """

    type: str
    is_backwards: bool


def find_steps(edge: EdgeType) -> tuple[Step, ...]:
    """The relationships that lead from an edge type's source to its target."""
    if not edge.path:
        return (Step(quote(edge.type), edge.reverse),)
    return to_steps(edge.path)


def to_steps(path: Iterable[str]) -> tuple[Step, ...]:
    """The relationships of a path that is written as in `EdgeType.path`."""
    return tuple(Step(quote(step.removeprefix("<")), step.startswith("<")) for step in path)


def walk(steps: Sequence[Step], edge: str = "", *, from_end: bool = False) -> str:
    """The pattern of some relationships in a row, as it stands between the nodes at both ends.

    Args:
        steps: the relationships.
        edge: the name of the last one; those before it and the nodes between them are named after it (`name_parts`).
            Empty: none has a name.
        from_end: the pattern begins at the last step's end.
    """
    names = name_parts(edge, len(steps)) if edge else [""] * (2 * len(steps) - 1)
    parts = []
    for place, step in enumerate(reversed(steps)):  # as named: the last step first
        left, right = ("<-", "-") if step.is_backwards else ("-", "->")
        if from_end:
            left, right = ("-", "->") if step.is_backwards else ("<-", "-")
        parts.append(f"{left}[{names[2 * place]}:{step.type}]{right}")
        if place + 1 < len(steps):
            parts.append(f"({names[2 * place + 1]})")
    return "".join(parts if from_end else reversed(parts))


def name_parts(edge: str, n_steps: int) -> list[str]:
    """The names of a path's last step, the node before it, the step before that, and so on to the first step."""
    return [edge if place == 0 else f"{edge}{place}" for place in range(2 * n_steps - 1)]


def coalesce(parts: Sequence[str], name: str) -> str:
    """The expression for a property of the first part that has it; `name` is quoted."""
    values = ", ".join(f"{part}.{name}" for part in parts)
    return values if len(parts) == 1 else f"coalesce({values})"


def join_labels(node: NodeType) -> str:
    """The label of a node type, quoted, or the expression for any of its labels."""
    return "|".join(map(quote, node.all_labels))


@dataclass(frozen=True)
class EdgePlace:
    """An edge type, for Cypher.

    Attributes:
        steps: the relationships from the source to the target, one but for paths.
        source: the place of the nodes it comes from.
        target: the place of the nodes it leads to.
        properties: its properties, quoted.
    """

    steps: tuple[Step, ...]
    source: NodePlace
    target: NodePlace
    properties: tuple[str, ...]

    def pattern(self, edge: str = "") -> str:
        """The relationship, named `edge`, as it stands between its source on the left and its target on the right."""
        return walk(self.steps, edge)

    def pattern_from_target(self, edge: str = "") -> str:
        """The relationship as it stands between its target on the left and its source on the right."""
        return walk(self.steps, edge, from_end=True)

    @property
    def match(self) -> str:
        """The clause for every edge `r` from a source `a` to a target `b`."""
        return f"MATCH (a:{self.source.label}){self.pattern('r')}(b:{self.target.label})"

    @property
    def parts(self) -> str:
        """The expression for what holds the properties of an edge `r` that `match` found."""
        names = name_parts("r", len(self.steps))
        return names[0] if len(names) == 1 else f"[{', '.join(names)}]"

    def read_property(self, parts: str, name: str) -> str:
        """The expression for a property of an edge.

        Args:
            parts: the variable with the edge's `parts`.
            name: the property, quoted.
        """
        n_parts = len(name_parts("r", len(self.steps)))
        return f"{parts}.{name}" if n_parts == 1 else coalesce([f"{parts}[{i}]" for i in range(n_parts)], name)


@dataclass(frozen=True)
class Layout:
    """The places of a schema's types."""

    schema: CatalogueSchema

    @cached_property
    def nodes(self) -> dict[str, NodePlace]:
        """Node type -> its place."""
        return {
            name: NodePlace(join_labels(node), tuple(map(quote, node.columns)))
            for name, node in self.schema.nodes.items()
        }

    @cached_property
    def edges(self) -> dict[str, EdgePlace]:
        """Edge type -> its place."""
        return {
            name: EdgePlace(
                find_steps(edge),
                self.nodes[edge.source],
                self.nodes[edge.target],
                tuple(map(quote, edge.attributes)),
            )
            for name, edge in self.schema.edges.items()
        }


def to_keys(ids: Iterable[str]) -> list[str | int | float]:
    """The values that a node's key may have: each id, and the number that it is the decimal text of.

    Cypher finds the float 12.0 by the integer 12.
    """
    keys: list[str | int | float] = []
    for id_ in ids:
        keys.append(str(id_))
        digits = id_.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and str(int(id_)) == id_ and -_MAX_INT <= int(id_) < _MAX_INT:
            keys.append(int(id_))
        elif _FRACTION.fullmatch(id_) and str(float(id_)) == id_:
            keys.append(float(id_))
    return keys


def read_id(value: str) -> str:
    """The expression for the id that a key is: its text; of a float that is whole, without the ".0"."""
    # Cypher's toInteger() keeps within 64 bits, so that a greater float is its own text
    return (
        f"CASE WHEN {value} IS :: FLOAT NOT NULL AND {value} = toInteger({value}) "
        f"THEN toString(toInteger({value})) ELSE toStringOrNull({value}) END"
    )
