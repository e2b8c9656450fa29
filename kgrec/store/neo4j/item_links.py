"""The knowledge graph around some items, read by one query."""

from collections.abc import Iterator, Sequence

from graph_schema import CatalogueSchema
from kgrec.store.contract import ItemLink, ItemLinks, NodeRef
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import Layout, read_id, to_keys


def read_item_links(connection: Connection, layout: Layout, items: Sequence[str]) -> ItemLinks:
    """Reads the edges of the knowledge graph at some items; see `GraphStore.item_links`.

    How many items share a node is the node's degree, which the server keeps, so that hubs cost nothing. It is counted
    edge by edge only over paths of several relationships, and where the schema has the same relationships between that
    node type and another one. In a graph that kgrec did not load, a degree takes in what the schema leaves out: edges
    that are there twice, and edges of that type from nodes of other labels.

    Args:
        connection: to the database.
        layout: the catalogue's labels and relationship types.
        items: the items' ids.

    Raises:
        StoreError: the database fails.
    """
    if not items:
        return ItemLinks([], {})
    schema = layout.schema
    ways = list(_iter_ways(schema))
    # In a map, the length of the list does not matter to the query plan, so that one plan (.1-1 s) serves all requests.
    rows = connection.read(_to_query(layout, ways), {"asked": {"keys": to_keys(dict.fromkeys(items))}})
    links: dict[tuple[str, str, bool, NodeRef], ItemLink] = {}
    names: dict[NodeRef, str | None] = {}
    for place, found in rows:
        edge_type, reverse, far_type = ways[place] if place >= 0 else ("", False, schema.item_type)
        for id_, name, n_items, near in found:
            if id_ is not None:
                node = NodeRef(far_type, id_)
                names[node] = name
                for item in near:
                    links[item, edge_type, reverse, node] = ItemLink(item, edge_type, reverse, node, n_items)
    return ItemLinks(list(links.values()), names)


def _iter_ways(schema: CatalogueSchema) -> Iterator[tuple[str, bool, str]]:
    """Every way to leave an item over the knowledge graph: (edge type, reverse, type of the other end)."""
    for edge_type, edge in schema.graph_edges.items():
        if edge.source == schema.item_type:
            yield edge_type, False, edge.target
        if edge.target == schema.item_type:
            yield edge_type, True, edge.source


def _to_query(layout: Layout, ways: Sequence[tuple[str, bool, str]]) -> str:
    """The query: a row for each way, [place in `ways`, [[id, name, n_items, ids of the items], ...]], -1 for the items.

    Each branch has its types in its text, which lets the server take a degree instead of counting.
    """
    schema = layout.schema
    item = layout.nodes[schema.item_type]
    branches = [
        f"UNWIND items AS i RETURN -1 AS way, collect({_to_columns(schema, schema.item_type, 'i')} + [0, []]) AS found"
    ]
    for place, (edge_type, reverse, far_type) in enumerate(ways):
        edge, far = layout.edges[edge_type], layout.nodes[far_type]
        there, back = edge.pattern(), edge.pattern_from_target()
        if reverse:
            there, back = back, there
        if len(edge.steps) > 1:
            count = f"COUNT {{ MATCH (m){back}(x:{item.label}) WHERE x <> m RETURN DISTINCT x }}"
        else:
            count = f"COUNT {{ (m){back}({f':{item.label}' if _is_shared(schema, edge_type, reverse) else ''}) }}"
            if far_type == schema.item_type:
                count += f" - COUNT {{ (m){back}(m) }}"
        branches.append(
            f"UNWIND items AS i MATCH (i){there}(m:{far.label}) WHERE m <> i "
            f"WITH m, collect(DISTINCT {read_id(f'i.{item.key}')}) AS near "
            f"WITH m, near, {count} AS n "
            f"RETURN {place} AS way, collect({_to_columns(schema, far_type, 'm')} + [n, near]) AS found"
        )
    union = "\nUNION ALL\n".join(branches)
    return (
        f"MATCH (i:{item.label}) WHERE i.{item.key} IN $asked.keys WITH collect(i) AS items "
        f"CALL (items) {{\n{union}\n}} RETURN way, found"
    )


def _to_columns(schema: CatalogueSchema, node_type: str, variable: str) -> str:
    node = schema.nodes[node_type]
    name = "null" if node.name is None else f"toStringOrNull({variable}.{quote(node.name)})"
    return f"[{read_id(f'{variable}.{quote(node.key)}')}, {name}]"


def _is_shared(schema: CatalogueSchema, edge_type: str, reverse: bool) -> bool:
    """Whether edges of another type are such relationships at the node type at the other end too."""
    this = schema.edges[edge_type]
    far_side = int(reverse == this.reverse)  # where the relationship has the other end: 0, its start, or 1, its end
    return any(
        name != edge_type and other.type == this.type and other.ends[far_side] == this.ends[far_side]
        for name, other in schema.edges.items()
    )
