"""Reads paths between items from the current graph in a store."""

from collections.abc import Iterable

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.graph.paths import PathIndex, build_path_index_around
from kgrec.store.contract import GraphStore


def check_schema(store: GraphStore, schema: CatalogueSchema) -> None:
    """Checks that a store holds a bundle's catalogue.

    Raises:
        StoreError: it holds another schema or none.
    """
    held = store.read_schema()
    if held.digest != schema.digest:
        raise StoreError(
            f"{store.url} holds the schema {held.name!r} ({held.digest[:8]}), the bundle was trained on "
            f"{schema.name!r} ({schema.digest[:8]}): name the store that it was trained from, or train from this one"
        )


def read_path_index(store: GraphStore, schema: CatalogueSchema, items: Iterable[str]) -> PathIndex:
    """Reads the paths between some items from a store, by one query.

    Args:
        store: a store with this schema.
        schema: the catalogue's schema.
        items: the items' ids; an id that is not in the store has no paths.

    Raises:
        StoreError: the store fails.
    """
    asked = list(dict.fromkeys(items))
    found = store.item_links(asked)
    names: dict[str, dict[str, str | None]] = {node_type: {} for node_type in schema.nodes}
    names[schema.item_type] = dict.fromkeys(asked)
    for node, name in found.names.items():
        names[node.type][node.id] = name
    links = [(link.item, link.edge, link.reverse, link.node.id, link.n_items) for link in found.links]
    return build_path_index_around(schema, names, links)
