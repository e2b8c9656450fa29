"""The Cypher that findings about attributes show."""

from kgrec.validate.queries import QueryDialect, join_clauses, where


def list_interactions_by_value(dialect: QueryDialect, column: str) -> str:
    """The items with a value, the greatest first, and how many interactions each has."""
    item_type = dialect.schema.item_type
    value = f"n.{dialect.node_columns[item_type][column]}"
    interactions = f"COUNT {{ MATCH {dialect.edge(dialect.schema.interaction.edge, 'user', 'n')} }}"
    return join_clauses(
        f"MATCH (n:{dialect.labels[item_type]})",
        where([*dialect.has_key("n", item_type), f"{value} IS NOT NULL"]),
        f"RETURN {dialect.key('n', item_type)} AS id, {value} AS value, {interactions} AS interactions",
        "ORDER BY value DESC",
    )


def list_lone_values(dialect: QueryDialect, node_type: str, column: str) -> str | None:
    """The values that one node alone has; None for lists that may be written as text."""
    return _list_values(dialect, node_type, column, "nodes = 1", "RETURN value")


def list_common_values(dialect: QueryDialect, node_type: str, column: str, least: int) -> str | None:
    """The values that at least `least` nodes have; None for lists that may be written as text."""
    return _list_values(dialect, node_type, column, f"nodes >= {least}", "RETURN value, nodes")


def _list_values(dialect: QueryDialect, node_type: str, column: str, condition: str, result: str) -> str | None:
    value = f"n.{dialect.node_columns[node_type][column]}"
    is_list = dialect.schema.nodes[node_type].columns[column] == "list"
    if is_list and dialect.is_foreign:
        return None
    return join_clauses(
        f"MATCH (n:{dialect.labels[node_type]})",
        where([*dialect.has_key("n", node_type), f"{value} IS NOT NULL"]),
        f"UNWIND {value} AS value" if is_list else f"WITH {value} AS value",
        "WITH value, count(*) AS nodes",
        f"WHERE {condition}",
        result,
    )


def list_named_items(dialect: QueryDialect, column: str) -> str | None:
    """The items that users interact with and that an attribute of the users names; None where texts may differ."""
    if dialect.is_foreign:
        return None
    user_type, item_type = dialect.schema.user_type, dialect.schema.item_type
    user, item = dialect.schema.nodes[user_type], dialect.schema.nodes[item_type]
    value = f"user.{dialect.node_columns[user_type][column]}"
    names = [f"item.{dialect.node_columns[item_type][name]}" for name in dict.fromkeys([item.key, item.name]) if name]
    is_list = user.columns[column] == "list"
    conditions = " OR ".join(f"{name} IN {value}" if is_list else f"{value} = {name}" for name in names)
    return join_clauses(
        f"MATCH {dialect.edge(dialect.schema.interaction.edge, 'user', 'item')}",
        where([f"({conditions})"]),
        f"RETURN DISTINCT {dialect.key('user', user_type)} AS source, {dialect.key('item', item_type)} AS target",
    )
