"""The input of the leak audit, and the results of its checks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import GraphTables
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, Split
from kgrec.store.contract import NodeRef
from kgrec.text.node_texts import read_own_texts

N_EXAMPLES = 3

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """An example of a finding: one node or nodes that belong together, with a note."""

    nodes: tuple[NodeRef, ...]
    about: str | None = None


Leaks = Callable[[Slice, Rows, Rows], Mask]  # slice, users and items of pairs -> which pairs are leaked


@dataclass(frozen=True)
class Suspect:
    """A possible leak, found by a check.

    Attributes:
        message, count, total, of, examples: as in `kgrec.evaluate.audit.Finding`.
        leaks: marks the (user, item) pairs of a slice that it leaks.
        by_chance: whether to count its leaks by chance, too.
    """

    message: str
    count: int
    total: int
    of: str
    examples: tuple[Example, ...]
    leaks: Leaks
    by_chance: bool = False


@dataclass(frozen=True)
class Audited:
    """The catalogue and the split that the checks read.

    Attributes:
        tables: the catalogue, its rows in the order of the heterograph's.
        data: the heterograph.
        likes: all likes.
        split: the split into training and test likes.
        rng: the random source of the hashing that finds twins.
        now: UTC seconds; texts that name later years are ignored.
    """

    tables: GraphTables
    data: HeteroData
    likes: Likes
    split: Split
    rng: np.random.Generator
    now: datetime

    @property
    def n_items(self) -> int:
        """The number of items."""
        return self.likes.shape[1]

    @cached_property
    def learned_until(self) -> int:
        """UTC seconds of the last training like."""
        times = self.split.train.times
        return int(times.max()) if times is not None and len(times) else 0

    @cached_property
    def train(self) -> csr_array:
        """The training likes, (n_users, n_items)."""
        return self.split.train.to_matrix()

    def ends(self, edge_type: str) -> tuple[Rows, Rows]:
        """The rows of the sources and of the targets, each int64 (n_edges,)."""
        source, target = self.data[self.tables.schema.edge_triple(edge_type)].edge_index.numpy()
        return source, target

    def size(self, node_type: str) -> int:
        """The number of nodes of a type."""
        return int(self.data[node_type].num_nodes)

    def node(self, node_type: str, row: int) -> NodeRef:
        """A node by its row."""
        return NodeRef(node_type, self.tables.ids(node_type)[int(row)].as_py())

    def item(self, row: int) -> NodeRef:
        """An item by its row."""
        return self.node(self.tables.schema.item_type, row)

    def name(self, node_type: str, row: int) -> str | None:
        """The name of a node, None without one."""
        column = self.tables.schema.nodes[node_type].name
        return None if column is None else self.tables.nodes[node_type][column][int(row)].as_py()

    def names(self, node_type: str) -> list[str]:
        """The name of each node, '' without one."""
        table, column = self.tables.nodes[node_type], self.tables.schema.nodes[node_type].name
        return [""] * table.num_rows if column is None else [name or "" for name in table[column].to_pylist()]

    def texts(self, node_type: str) -> list[str]:
        """The text of each node, without its neighbours' texts; '' without one."""
        found: list[str] = read_own_texts(self.tables, node_type).fill_null("").to_pylist()
        return found

    def items_near(self, node_type: str, rows: Rows) -> Mask:
        """Marks the given items, or the items linked to the given nodes of another type: (n_items,) bool."""
        schema = self.tables.schema
        marked = np.zeros(self.size(node_type), np.bool_)
        marked[rows] = True
        if node_type == schema.item_type:
            return marked
        near = np.zeros(self.n_items, np.bool_)
        for name, edge in schema.graph_edges.items():
            ends = self.ends(name)
            for this, other, here, there in (
                (edge.source, edge.target, *ends),
                (edge.target, edge.source, *ends[::-1]),
            ):
                if this == node_type and other == schema.item_type:
                    near[there[marked[here]]] = True
        return near


def format_example(example: Example) -> str:
    """An example by the ids of its nodes."""
    nodes = " and ".join(f"{node.type} {node.id}" for node in example.nodes)
    return nodes if example.about is None else f"{nodes}: {example.about}"


def leak_items(marked: Mask) -> Leaks:
    """A leak of every test like of some items, (n_items,) bool."""

    def leaks(slice_: Slice, users: Rows, items: Rows) -> Mask:
        leaked: Mask = marked[items]
        return leaked

    return leaks
