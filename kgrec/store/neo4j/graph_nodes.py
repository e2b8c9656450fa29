"""The nodes of a type in somebody's database: their ids, and how their keys are stored."""

from collections.abc import Mapping
from dataclasses import dataclass

from graph_schema import NodeType
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import join_labels, read_id

KEY_TYPES = ("STRING", "INTEGER", "FLOAT")


@dataclass(frozen=True)
class GraphNodes:
    """The nodes of a type that are in the graph.

    Attributes:
        label: the label of all of them, for Cypher.
        elements: id -> the node's element id.
        key_types: which of KEY_TYPES their keys are, in that order.
        n_repeated: further nodes with the id of another; they are left alone.
        n_without_id: nodes without a key, or with one that is neither text nor a number.
    """

    label: str
    elements: Mapping[str, str]
    key_types: tuple[str, ...]
    n_repeated: int
    n_without_id: int


def read_graph_nodes(connection: Connection, node: NodeType) -> GraphNodes:
    """Reads the ids of the nodes of a type; ids of whole numbers are the same whether they are stored as float or not.

    Raises:
        StoreError: the database fails.
    """
    key, label = f"n.{quote(node.key)}", join_labels(node)
    elements: dict[str, str] = {}
    found: set[str] = set()
    n_without_id = n_nodes = 0
    query = f"MATCH (n:{label}) RETURN {read_id(key)}, split(valueType({key}), ' ')[0], elementId(n)"
    for id_, kind, element in connection.read(query):
        n_nodes += 1
        if kind not in KEY_TYPES or not id_:
            n_without_id += 1
        else:
            found.add(kind)
            elements.setdefault(id_, element)
    types = tuple(kind for kind in KEY_TYPES if kind in found)
    return GraphNodes(label, elements, types, n_nodes - n_without_id - len(elements), n_without_id)
