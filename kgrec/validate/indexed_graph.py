"""A catalogue with rows in place of ids, as the checks read it, and findings about its rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.repeated_edges import describe_repeats
from kgrec.store.contract import NodeRef
from kgrec.validate.findings import CHECKS, Example, Finding
from kgrec.validate.queries import QueryDialect

N_EXAMPLES = 3

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class IndexedGraph:
    """The tables with rows in place of ids.

    Attributes:
        tables: the catalogue.
        dialect: of the database, for the queries that findings show.
        now: UTC seconds.
    """

    tables: GraphTables
    dialect: QueryDialect
    now: int
    _ends: dict[str, tuple[Rows, Rows]] = field(default_factory=dict)

    @property
    def schema(self) -> CatalogueSchema:
        """The schema of the tables."""
        return self.tables.schema

    def size(self, node_type: str) -> int:
        """The number of nodes of a type."""
        return int(self.tables.nodes[node_type].num_rows)

    def ends(self, edge_type: str) -> tuple[Rows, Rows]:
        """The rows of the sources and of the targets, each int64 (n_edges,)."""
        if edge_type not in self._ends:
            edge, table = self.schema.edges[edge_type], self.tables.edges[edge_type]
            source, target = (
                pc.index_in(table[end], value_set=self.tables.ids(node_type).combine_chunks())
                .to_numpy()
                .astype(np.int64)
                for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target))
            )
            self._ends[edge_type] = source, target
        return self._ends[edge_type]

    def touched(self, node_type: str, edge_types: Iterable[str]) -> NDArray[np.bool_]:
        """Which nodes of a type have an edge of some types, bool (n_nodes,)."""
        has = np.zeros(self.size(node_type), dtype=bool)
        for name in edge_types:
            edge = self.schema.edges[name]
            for rows, end in zip(self.ends(name), (edge.source, edge.target), strict=True):
                if end == node_type:
                    has[rows] = True
        return has

    def node(self, node_type: str, row: int) -> NodeRef:
        """A node by its row."""
        return NodeRef(node_type, self.tables.ids(node_type)[row].as_py())

    def example(self, node_type: str, row: int, about: str | None = None) -> Example:
        """A node with its name."""
        column = self.schema.nodes[node_type].name
        name = None if column is None else self.tables.nodes[node_type][column][row].as_py()
        node = self.node(node_type, row)
        parts = [part for part in (None if name == node.id else name, about) if part and part.strip()]
        return Example((node,), ", ".join(parts) or None)

    def edge_example(self, edge_type: str, place: int, about: str | None = None) -> Example:
        """An edge by its ends."""
        edge, (source, target) = self.schema.edges[edge_type], self.ends(edge_type)
        ends = ((edge.source, source[place]), (edge.target, target[place]))
        return Example(tuple(self.node(node_type, int(row)) for node_type, row in ends), about)

    def find_nodes(self, check: str, node_type: str, rows: Rows, query: str, message: str) -> Iterator[Finding]:
        """A finding about some nodes of a type, if there are any."""
        examples = [self.example(node_type, int(row)) for row in rows[:N_EXAMPLES]]
        yield from report_finding(
            check, node_type, message, len(rows), self.size(node_type), f"{node_type} nodes", examples, query
        )

    def find_edges(
        self,
        check: str,
        edge_type: str,
        places: Rows,
        query: str | None,
        message: str,
        about: Callable[[int], str] | None = None,
    ) -> Iterator[Finding]:
        """A finding about some edges of a type, if there are any."""
        examples = [
            self.edge_example(edge_type, int(place), None if about is None else about(int(place)))
            for place in places[:N_EXAMPLES]
        ]
        total = self.tables.edges[edge_type].num_rows
        yield from report_finding(check, edge_type, message, len(places), total, f"{edge_type} edges", examples, query)

    def find_repeats(
        self, edge_type: str, n_pairs: int, n_surplus: int, examples: Sequence[Example]
    ) -> Iterator[Finding]:
        """A finding about pairs with more than one edge of a type, if there are any."""
        chosen = self.schema.interaction
        check, message = "repeated_edges", f"pairs with more than one {edge_type} relationship"
        if edge_type == chosen.edge and chosen.repeat_rule != "latest":
            check, message = "repeated_interactions", f"{message}: {describe_repeats(self.schema, edge_type)}"
        else:
            message = f"{message}, {n_surplus:,} too many in all"
        total = self.tables.edges[edge_type].num_rows
        query = self.dialect.list_repeats(edge_type)
        yield from report_finding(check, edge_type, message, n_pairs, total, f"{edge_type} pairs", examples, query)


def report_finding(
    check: str,
    type_: str | None,
    message: str,
    count: int,
    total: int,
    of: str,
    examples: Sequence[Example],
    query: str | None,
) -> Iterator[Finding]:
    """A finding, if `count` is not 0."""
    if count:
        severity = CHECKS[check].severity(count / total)
        yield Finding(check, severity, type_, message, int(count), int(total), of, tuple(examples[:N_EXAMPLES]), query)


def to_date(seconds: int) -> str:
    """A UTC time for people, such as 2024-01-31 09:30."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M")
