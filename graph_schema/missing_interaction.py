"""A placeholder for the interaction where the data have none, and how to bring interactions in."""

from dataclasses import dataclass

from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.schema_toml import TomlPath
from graph_schema.schema_types import EdgeType, Interaction, NodeType
from graph_schema.type_names import to_distinct

_USER, _USER_LABEL, _USER_KEY, _EDGE, _EDGE_TYPE = "user", "User", "user_id", "interacted", "INTERACTED"


@dataclass(frozen=True)
class Placeholder:
    """A schema's types completed with an interaction to fill in.

    Attributes:
        nodes: the node types, with one for users where there was none.
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
    nodes: dict[str, NodeType], edges: dict[str, EdgeType], user: str | None, item: str, *, is_tables: bool
) -> Placeholder:
    """Completes types by an interaction to fill in.

    Args:
        nodes: the node types.
        edges: the edge types.
        user: the node type of users; None: there is none.
        item: the node type of items.
        is_tables: whether the data are tables, where users need no table of their own.
    """
    comments: dict[TomlPath, str] = {}
    asides: set[TomlPath] = set()
    edge = to_distinct(_EDGE, {*nodes, *edges})
    if user is None:
        user = to_distinct(_USER, {*nodes, *edges, edge})
        label = to_distinct(_USER_LABEL, [node.label for node in nodes.values()])
        nodes = {user: NodeType(label=label, key=_USER_KEY, from_edges=is_tables), **nodes}
        asides.add(("nodes", user))
        comments["nodes", user] = "to fill in: who chooses"
    added = EdgeType(source=user, type=_EDGE_TYPE, target=item, attributes={"weight": "float", "at": "time"})
    asides |= {("edges", edge), ("interaction",)}
    comments["edges", edge] = "to fill in: who chose what"
    interaction = Interaction(edge=edge, weight="weight", at="at")
    return Placeholder(nodes, {**edges, edge: added}, interaction, comments, asides)


def advise_graph(schema: CatalogueSchema, *, is_item_key_int: bool) -> str:
    """How to add the interactions of a schema to a graph."""
    edge = schema.edges[schema.interaction.edge]
    user, item = schema.nodes[edge.source], schema.nodes[edge.target]
    item_id = "toInteger(row.item)" if is_item_key_int else "row.item"
    return (
        "From a file interactions.csv with columns user, item, weight, at (ISO 8601) in the server's import folder:\n"
        "\n"
        f"  CREATE CONSTRAINT IF NOT EXISTS FOR (u:`{user.label}`) REQUIRE u.`{user.key}` IS UNIQUE;\n"
        "  LOAD CSV WITH HEADERS FROM 'file:///interactions.csv' AS row\n"
        "  CALL (row) {\n"
        f"    MATCH (i:`{item.label}` {{`{item.key}`: {item_id}}})\n"
        f"    MERGE (u:`{user.label}` {{`{user.key}`: row.user}})\n"
        f"    MERGE (u)-[r:`{edge.type}`]->(i)\n"
        "    SET r.weight = toFloat(row.weight), r.at = datetime(row.at)\n"
        "  } IN TRANSACTIONS OF 10000 ROWS;\n"
    )


def advise_tables(schema: CatalogueSchema) -> str:
    """How to add the interactions of a schema to a folder of tables."""
    item = schema.nodes[schema.item_type]
    return (
        f"Add a table {schema.interaction.edge}.csv with the columns source (a user's id), target ({item.key} of "
        f"{schema.item_type}),\nweight (a number) and at (epoch seconds or ISO 8601).\n"
    )
