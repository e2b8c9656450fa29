"""Variants of a catalogue to train on: parts of it, or rewired links."""

import copy
import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from graph_schema import SOURCE, TARGET, Attribute, CatalogueSchema, GraphTables, NodeType

_SWEEPS = 20  # swaps tried per link; 10 are enough to randomise a graph


@dataclass(frozen=True)
class Variant:
    """The part of a catalogue that a training sees.

    Attributes:
        left_out: the names of the parts that are left out; see `kgrec.ablate.parts.Part`.
        texts: whether it sees texts.
        shuffled: whether the links are rewired at random, and the values of attributes permuted.
        training: 0 for the first seed; others are repeated trainings with other seeds.
    """

    left_out: frozenset[str] = frozenset()
    texts: bool = True
    shuffled: bool = False
    training: int = 0

    @property
    def file_stem(self) -> str:
        """A file name, unique for each variant."""
        names = sorted(self.left_out)
        many = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        parts = [
            *([f"without-{names[0] if len(names) == 1 else f'{len(names)}-relations-{many}'}"] if names else []),
            *([] if self.texts else ["without-texts"]),
            *(["shuffled"] if self.shuffled else []),
            *([f"again-{self.training}"] if self.training else []),
        ]
        return "-".join(parts) or "whole"


def leave_out(tables: GraphTables, parts: Collection[str]) -> GraphTables:
    """The catalogue without the links of some edge types; some attributes are no features. All nodes stay.

    Texts made from neighbours and the values of attributes are not part of the tables: building a heterograph of the
    result makes them again, without these links and attributes.

    Args:
        tables: the catalogue, without derived types.
        parts: names of parts; those of texts change nothing.
    """
    emptied = {name: table.slice(0, 0) if name in parts else table for name, table in tables.edges.items()}
    schema = tables.schema
    nodes = {
        node_type: _without_features(node, {name for name in node.features if f"{node_type}.{name}" in parts})
        for node_type, node in schema.nodes.items()
    }
    left = CatalogueSchema(name=schema.name, nodes=nodes, edges=schema.edges, interaction=schema.interaction)
    return GraphTables(left, tables.nodes, emptied)


def _without_features(node: NodeType, names: Collection[str]) -> NodeType:
    if not names:
        return node
    attributes = {
        name: Attribute(type=one.type, feature=one.feature and name not in names, sensitive=one.sensitive)
        for name, one in node.attributes.items()
    }
    return NodeType.model_validate({**node.model_dump(), "attributes": attributes})


def shuffle_links(tables: GraphTables, rng: np.random.Generator) -> GraphTables:
    """The catalogue with the links of each edge type but the interaction rewired at random.

    Every node keeps its number of links of each edge type, in each direction; see `rewire`. The values of each
    attribute that is a feature are permuted among the nodes of its type.
    """
    edges = dict(tables.edges)
    for edge_type, edge in tables.schema.graph_edges.items():
        table = edges[edge_type]
        _, sources = np.unique(table[SOURCE].to_numpy(), return_inverse=True)
        targets_of, targets = np.unique(table[TARGET].to_numpy(), return_inverse=True)
        if edge.source == edge.target:  # one numbering for both ends, so that a node is not linked to itself
            ids, places = np.unique(
                np.concatenate([table[SOURCE].to_numpy(), table[TARGET].to_numpy()]), return_inverse=True
            )
            sources, targets, targets_of = places[: len(table)], places[len(table) :], ids
        rewired = rewire(sources, targets, rng, may_loop=edge.source != edge.target)
        column = pa.array(targets_of[rewired], pa.string())
        edges[edge_type] = table.set_column(table.schema.get_field_index(TARGET), table.schema.field(TARGET), column)
    nodes = dict(tables.nodes)
    for node_type, node in tables.schema.nodes.items():
        for name in node.features:
            table = nodes[node_type]
            values = table[name].take(pa.array(rng.permutation(len(table))))
            nodes[node_type] = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return GraphTables(tables.schema, nodes, edges)


def rewire(
    sources: NDArray[np.int64], targets: NDArray[np.int64], rng: np.random.Generator, *, may_loop: bool = True
) -> NDArray[np.int64]:
    """Rewires links at random, keeping the number of links of each node, and without duplicate links.

    Two links (a, b) and (c, d) become (a, d) and (c, b) if neither exists, repeatedly (Maslov and
    Sneppen, Specificity and stability in topology of protein networks, 2002); a sweep tries disjoint pairs at once.

    Args:
        sources: (n,) rows.
        targets: (n,) rows; each (source, target) pair occurs once.
        rng: the source of the random swaps.
        may_loop: whether a source may link to the target of the same row, as with two different node types.

    Returns:
        (n,) the new target of each link.
    """
    found = targets.copy()
    if not len(found):
        return found
    width, half = int(found.max()) + 1, len(found) // 2
    for _ in range(_SWEEPS):
        order = rng.permutation(len(found))
        one, other = order[:half], order[half : 2 * half]
        wanted = np.concatenate([sources[one] * width + found[other], sources[other] * width + found[one]])
        _, place, count = np.unique(wanted, return_inverse=True, return_counts=True)
        refused = np.isin(wanted, sources * width + found) | (count[place] > 1)  # (2 half,)
        if not may_loop:
            refused |= np.concatenate([sources[one] == found[other], sources[other] == found[one]])
        kept = ~(refused[:half] | refused[half:])
        one, other = one[kept], other[kept]
        found[one], found[other] = found[other], found[one]
    return found


def without_texts(data: HeteroData, node_types: Collection[str]) -> HeteroData:
    """The heterograph without the text vectors of some node types; it shares links and interactions with `data`."""
    bare = copy.copy(data)
    for node_type in node_types:
        for attribute in ("x", "has_text"):
            if attribute in bare[node_type]:
                del bare[node_type][attribute]
    return bare
