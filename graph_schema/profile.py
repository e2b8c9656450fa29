"""What a graph or a folder of tables looks like: its labels, relationships and properties, counted and sampled.

`kgrec.store.neo4j.inspection` and `loaders.table_profile` read profiles; `graph_schema.roles` judges what their
properties may be for, and `graph_schema.draft` drafts a schema.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graph_schema.schema_types import SourceTable

# "list" holds text, "vector" numbers; "other" is what a schema has no type for (durations, maps)
Kind = Literal["string", "int", "float", "bool", "time", "list", "point", "vector", "other"]
Sureness = Literal["sure", "likely", "a guess"]
LabelSet = frozenset[str]
_MOST_LEFT_OUT = 0.05  # of a label's nodes, where more specific labels take its place


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


def find_covering_label(label_sets: Mapping[LabelSet, int], counts: Mapping[str, int]) -> str | None:
    """The most specific label that nearly all of these nodes have: the one that the fewest nodes of the graph have.

    Args:
        label_sets: the labels of the nodes at one end of a relationship type -> how many.
        counts: label -> how many nodes of the graph have it.
    """
    total = sum(label_sets.values())
    having = {label: sum(n for labels, n in label_sets.items() if label in labels) for label in counts}
    fitting = [label for label, n in having.items() if n >= total * (1 - _MOST_LEFT_OUT) and n]
    return min(fitting, key=lambda label: (counts[label], label), default=None)


def choose_labels(label_sets: Mapping[LabelSet, int], kept: Collection[str] = ()) -> tuple[list[str], list[Guess]]:
    """Chooses labels such that no node has two of them and nearly every node has one.

    Of two labels that share nodes, the wider one is dropped if other labels cover nearly all its nodes (:Movie and
    :Person cover :Entity); else the narrower one is dropped (:Actor within :Person).

    Args:
        label_sets: the labels of each node -> how many nodes have exactly these.
        kept: labels that stay in any case, such as the ends of the interaction.

    Returns:
        The labels, by name, and what to report about those that are not used.
    """
    counts = count_labels(label_sets)
    chosen = set(counts)
    guesses: list[Guess] = []
    for wide in sorted(counts, key=lambda label: (-counts[label], label)):
        if wide not in chosen:
            continue
        overlapping = [
            label
            for label in sorted(chosen - {wide}, key=lambda label: (-counts[label], label))
            if any({wide, label} <= labels for labels in label_sets)
        ]
        if not overlapping:
            continue
        own = {labels: n for labels, n in label_sets.items() if wide in labels}
        n_covered = sum(n for labels, n in own.items() if labels & set(overlapping))
        fixed = [label for label in overlapping if label in kept]
        # when an end of the interaction is within another label, that label is dropped, however much it leaves out
        wide_goes = wide not in kept and (bool(fixed) or n_covered >= counts[wide] * (1 - _MOST_LEFT_OUT))
        if wide_goes:
            chosen.discard(wide)
            n_lost = counts[wide] - n_covered
            lost = f"; {n_lost:,} nodes have only :{wide} and are left out" if n_lost else ""
            guesses.append(
                Guess(
                    f"label {wide}", "not used", "likely", f"its nodes are covered by {_name_labels(overlapping)}{lost}"
                )
            )
        else:
            narrow = [label for label in overlapping if label not in kept or wide in kept]
            chosen.difference_update(narrow)
            guesses.append(
                Guess(
                    f"label {wide}",
                    f"stands for {_name_labels(narrow)}",
                    "likely",
                    f"nodes with {'these labels' if len(narrow) > 1 else 'this label'} are :{wide} too, and a node may "
                    "be of one node type only",
                )
            )
    return sorted(chosen), guesses


def count_labels(label_sets: Mapping[LabelSet, int]) -> dict[str, int]:
    """Label -> how many nodes have it."""
    counts: dict[str, int] = {}
    for labels, n in label_sets.items():
        for label in labels:
            counts[label] = counts.get(label, 0) + n
    return counts


def _name_labels(labels: Iterable[str], most: int = 6) -> str:
    shown = [f":{label}" for label in labels]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
