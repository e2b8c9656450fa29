"""What a graph or a folder of tables looks like: its labels, relationships and properties, counted and sampled.

`kgrec.store.neo4j.inspection` and `loaders.profiles.table_profile` read profiles; `roles` judges what their properties
may be for, and `draft` drafts a schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graph_schema.schema_types import SourceTable

# "list" holds text, "vector" numbers; "other" is what a schema has no type for (durations, maps)
Kind = Literal["string", "int", "float", "bool", "time", "list", "point", "vector", "other"]
Sureness = Literal["sure", "likely", "a guess"]


@dataclass(frozen=True)
class Guess:
    """A conclusion that the data suggest but do not state.

    Attributes:
        about: its subject, in a word or two.
        choice: the conclusion.
        sure: how sure it is.
        why: the reasons, and what else it could be.
    """

    about: str
    choice: str
    sure: Sureness
    why: str


@dataclass(frozen=True)
class PropertyProfile:
    """One property of a label or a relationship, or one column of a table.

    Attributes:
        name: its name.
        kinds: kind -> how many values of the sample are of it.
        coverage: the share of nodes, relationships or rows that have it, 0 to 1.
        distinct: distinct values / values, in the sample.
        is_unique: whether all values are distinct, not only those of the sample; None: not counted.
        is_constrained: whether a constraint of the database keeps it unique.
        mean_length: characters per value, of text.
        low: the least number; None where there are none.
        high: the greatest.
        samples: distinct values as text, the first ones.
        n_duplicates: values that repeat another one; None: not counted.
        spread: of numbers: their percentiles, the least first and the greatest last (101 of them); empty: not counted.
        time_format: how text that holds times is written, as `datetime.strptime` takes it; empty: ISO 8601, or no time.
        separator: what is between the entries of text that holds lists, "|" say, or "[]" for lists as JSON or Python
            write them; empty: it holds no lists.
        commonest: the most frequent value, of lists the most frequent entry; empty: not counted.
        common_share: the share of nodes, relationships or rows that have it, 0 to 1.
    """

    name: str
    kinds: Mapping[Kind, int]
    coverage: float
    distinct: float
    is_unique: bool | None = None
    is_constrained: bool = False
    mean_length: float = 0.0
    low: float | None = None
    high: float | None = None
    samples: tuple[str, ...] = ()
    n_duplicates: int | None = None
    spread: tuple[float, ...] = ()
    time_format: str = ""
    separator: str = ""
    commonest: str = ""
    common_share: float = 0.0


@dataclass(frozen=True)
class NodeProfile:
    """The nodes of a label, or the rows of a table.

    Attributes:
        name: the label, or the table's name.
        count: how many there are.
        properties: by name.
        label: their label in a graph database; empty: the name.
        key: the column that tables of links name the rows by; empty where that is not known.
        from_edges: they have no table, only edges name them.
        ignore: columns that a schema cannot name.
        labels: where its nodes have one of several labels: these, the first is `label`; else empty.
        table: the table that has these rows; empty: the one named as they are.
    """

    name: str
    count: int
    properties: Mapping[str, PropertyProfile]
    label: str = ""
    key: str = ""
    from_edges: bool = False
    ignore: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    table: str = ""


@dataclass(frozen=True, eq=False)  # compared by identity, to be the key of a dictionary
class RelationshipProfile:
    """The relationships of one type from one label to another, or the rows of a table of edges.

    Attributes:
        start: the label or table that they start at.
        type: the relationship type, or the table's name.
        end: the label or table that they end at.
        count: how many there are.
        n_starts: distinct nodes that one starts at.
        n_ends: distinct nodes that one ends at.
        max_out: the most that start at one node.
        max_in: the most that end at one node.
        properties: by name, the ends' columns left out.
        start_column: of a table: the column that names the starts; else empty.
        end_column: likewise, of the ends.
        ignore: columns that a schema cannot name.
        path: of a relationship over other nodes: its steps, as in `EdgeType.path`; the properties are those of all
            steps and of the nodes between them.
        join: of a path through tables, as in `EdgeType.join`.
        via: the labels or tables of the nodes between the steps of a path.
        table: the table that has these rows; empty: the one named after the type.
        split: as in `EdgeType.split`.
        where: as in `EdgeType.where`.
        example: one row or edge in words, "Anna -> Toy Story, rating 5"; empty: none was read.
        missing: the share of the rows of a table that lack an end, 0 to 1: a load rejects them.
    """

    start: str
    type: str
    end: str
    count: int
    n_starts: int
    n_ends: int
    max_out: int
    max_in: int
    properties: Mapping[str, PropertyProfile]
    start_column: str = ""
    end_column: str = ""
    ignore: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    table: str = ""
    split: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    missing: float = 0.0


@dataclass(frozen=True)
class GraphProfile:
    """A whole graph or folder.

    Attributes:
        place: its url or path.
        name: a name for the catalogue.
        nodes: by name; no node is of two of them.
        relationships: both ends are among `nodes`.
        guesses: what was concluded from reading it.
        left_out: what the profile leaves out, a sentence each.
        is_tables: a folder of tables, not a graph.
        tables: of a folder: table -> how it looks, for those that need it said.
    """

    place: str
    name: str
    nodes: Mapping[str, NodeProfile]
    relationships: tuple[RelationshipProfile, ...]
    guesses: tuple[Guess, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    is_tables: bool = False
    tables: Mapping[str, SourceTable] = field(default_factory=dict)
