"""A placeholder for the interaction where the data have none, and how to bring interactions in."""

from dataclasses import dataclass

from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.drafts.type_names import to_distinct
from graph_schema.schema_toml import TomlPath
from graph_schema.schema_types import EdgeType, Interaction, NodeType

_USER, _USER_LABEL, _USER_KEY, _EDGE, _EDGE_TYPE = "user", "User", "user_id", "interacted", "INTERACTED"
_ITEM, _ITEM_LABEL, _ITEM_KEY, _ITEM_NAME = "item", "Item", "item_id", "name"


@dataclass(frozen=True)
class Placeholder:
    """A schema's types completed with an interaction to fill in.

    Attributes:
        nodes: the node types, with one for users and one for items where there were none.
        edges: the edge types, with the interaction.
        interaction: it.
        comments: comments on what is to be filled in.
        asides: the tables that are not true yet, and are written as comments.
    """

    nodes: dict[str, NodeType]
    edges: dict[str, EdgeType]
    interaction: Interaction
    comments: dict[TomlPath, str]
    asides: set[TomlPath]


def add_placeholder(
    nodes: dict[str, NodeType], edges: dict[str, EdgeType], user: str | None, item: str | None, *, is_tables: bool
) -> Placeholder:
    """Completes types by an interaction to fill in.

    Args:
        nodes: the node types.
        edges: the edge types.
        user: the node type of users; None: there is none.
        item: the node type of items; None: there is none.
        is_tables: whether the data are tables, where users need no table of their own.
    """
    comments: dict[TomlPath, str] = {}
    asides: set[TomlPath] = set()
    edge = to_distinct(_EDGE, {*nodes, *edges})
    if user is None:
        user = to_distinct(_USER, {*nodes, *edges, edge})
        label = to_distinct(_USER_LABEL, [label for node in nodes.values() for label in node.all_labels])
        nodes = {user: NodeType(label=label, key=_USER_KEY, from_edges=is_tables), **nodes}
        asides.add(("nodes", user))
        comments["nodes", user] = "to fill in: who chooses"
    if item is None:
        item = to_distinct(_ITEM, {*nodes, *edges, edge})
        label = to_distinct(_ITEM_LABEL, [label for node in nodes.values() for label in node.all_labels])
        nodes = {item: NodeType(label=label, key=_ITEM_KEY, name=_ITEM_NAME, text=(_ITEM_NAME,)), **nodes}
        asides.add(("nodes", item))
        comments["nodes", item] = "to fill in: what is chosen"
    added = EdgeType(source=user, type=_EDGE_TYPE, target=item, attributes={"weight": "float", "at": "time"})
    asides |= {("edges", edge), ("interaction",)}
    comments["edges", edge] = "to fill in: who chose what"
    interaction = Interaction(edge=edge, weight="weight", at="at")
    return Placeholder(nodes, {**edges, edge: added}, interaction, comments, asides)


def advise_graph(schema: CatalogueSchema, *, is_item_key_int: bool, has_items: bool) -> str:
    """How to add the interactions of a schema to a graph; `has_items`: it has a label of items."""
    edge = schema.edges[schema.interaction.edge]
    user, item = schema.nodes[edge.source], schema.nodes[edge.target]
    user_label, user_key, item_label, item_key, kind = map(
        _quote, (user.label, user.key, item.label, item.key, edge.type)
    )
    item_id = "toInteger(row.item)" if is_item_key_int else "row.item"
    first = "" if has_items else f"Add the items, nodes labelled {item.label} with {item.key} and {item.name}. Then:\n"
    return (
        f"{first}"
        "From a file interactions.csv with columns user, item, weight, at (ISO 8601) in the server's import folder:\n"
        "\n"
        f"  CREATE CONSTRAINT IF NOT EXISTS FOR (u:{user_label}) REQUIRE u.{user_key} IS UNIQUE;\n"
        "  LOAD CSV WITH HEADERS FROM 'file:///interactions.csv' AS row\n"
        "  CALL (row) {\n"
        f"    MATCH (i:{item_label} {{{item_key}: {item_id}}})\n"
        f"    MERGE (u:{user_label} {{{user_key}: row.user}})\n"
        f"    MERGE (u)-[r:{kind}]->(i)\n"
        "    SET r.weight = toFloat(row.weight), r.at = datetime(row.at)\n"
        "  } IN TRANSACTIONS OF 10000 ROWS;\n"
    )


def advise_tables(schema: CatalogueSchema, *, has_items: bool) -> str:
    """How to add the interactions of a schema to a folder of tables; `has_items`: it has a table of items."""
    item = schema.nodes[schema.item_type]
    return (
        f"{_advise_items(schema, has_items)}"
        f"Add a table {schema.interaction.edge}.csv with the columns source (a user's id), target ({item.key} of "
        f"{schema.item_type}),\nweight (a number) and at (epoch seconds or ISO 8601).\n"
    )


def _quote(name: str) -> str:
    """A name as Cypher takes it."""
    return f"`{name.replace('`', '``')}`"


def _advise_items(schema: CatalogueSchema, has_items: bool) -> str:
    item = schema.nodes[schema.item_type]
    return (
        "" if has_items else f"Add a table {schema.item_type}.csv of items with the columns {item.key}, {item.name}.\n"
    )
