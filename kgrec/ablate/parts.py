"""The parts of a catalogue that an ablation leaves out one by one: relations, attributes, and the texts of users."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from graph_schema import CatalogueSchema, GraphTables
from kgrec.text.node_texts import read_own_texts

_COLD_USERS = ("cold_users_k0", "cold_users_k1", "cold_users_k3")


@dataclass(frozen=True)
class Part:
    """A relation, an attribute that the model reads, or the texts of users.

    Attributes:
        name: an edge type, "<node type>.<attribute>", or from `name_texts`.
        title: for people.
        unit: what it consists of: "links", "values" or "texts".
        size: the number of them.
        of_users: whether it describes users and not items; then verdicts are on cold users.
    """

    name: str
    title: str
    unit: str
    size: int
    of_users: bool

    def select_judged(self, decisive: Mapping[str, str]) -> Mapping[str, str]:
        """The slices that its verdict counts, name -> title, of those that are decisive."""
        of_users = {name: title for name, title in decisive.items() if name in _COLD_USERS}
        return of_users if self.of_users and of_users else decisive


def name_texts(node_type: str) -> str:
    """The name of the texts of a node type as a part."""
    return f"{node_type} texts"


def list_parts(tables: GraphTables) -> dict[str, Part]:
    """The parts of a catalogue, without derived types, by name, in the order of its schema."""
    schema = tables.schema
    user_type = schema.user_type
    parts = [
        Part(name, _title_relation(schema, name), "links", len(tables.edges[name]), _is_of_users(schema, edge.ends))
        for name, edge in schema.graph_edges.items()
    ]
    for node_type, node in schema.nodes.items():
        near = {end for edge in schema.graph_edges.values() if node_type in edge.ends for end in edge.ends}
        of_users = _is_of_users(schema, (*near, node_type))
        for attribute in node.features:
            title = f"{_to_owner(node_type)} {attribute.replace('_', ' ')}"
            n_values = pc.count(tables.nodes[node_type][attribute]).as_py()
            parts.append(Part(f"{node_type}.{attribute}", title, "values", n_values, of_users))
    if schema.nodes[user_type].text:
        title, n_texts = f"{_to_owner(user_type)} texts", pc.count(read_own_texts(tables, user_type)).as_py()
        parts.append(Part(name_texts(user_type), title, "texts", n_texts, of_users=True))
    return {part.name: part for part in parts}


def _is_of_users(schema: CatalogueSchema, node_types: tuple[str, ...]) -> bool:
    return schema.user_type in node_types and schema.item_type not in node_types


def _title_relation(schema: CatalogueSchema, name: str) -> str:
    """The name of a relation; of one of users, which often has a twin of items, with its ends."""
    edge = schema.edges[name]
    return f"{edge.source} -{name}-> {edge.target}" if schema.user_type in edge.ends else name


def _to_owner(node_type: str) -> str:
    """The plural of a node type with an apostrophe, as in "readers'"."""
    words = node_type.replace("_", " ")
    if words.endswith("y") and words[-2:-1] not in tuple("aeiou"):
        return f"{words[:-1]}ies'"
    return f"{words}'" if words.endswith("s") else f"{words}s'"
