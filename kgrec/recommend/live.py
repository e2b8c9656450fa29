"""The current graph in a store: paths between items, and which items are gone from it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pyarrow as pa

from graph_schema import CatalogueSchema
from graph_schema.checks.column_texts import mend_entities
from kgrec.errors import StoreError
from kgrec.graph.paths import PathIndex, build_path_index_around
from kgrec.recommend.value_links import ValueLinks
from kgrec.store.contract import GraphStore, NodeRef

_SAMPLED = 200  # items of a bundle that are looked up in its store
_LEAST_THERE = 0.05  # of them; a store that has fewer is that of another graph
_FURTHER = 4  # times as many items are looked up at once, where some of an answer's are gone
Answer = TypeVar("Answer")


def check_store(store: GraphStore, schema: CatalogueSchema, items: Sequence[str]) -> None:
    """Checks that a store holds a bundle's catalogue: its schema, and of a sample of its items more than a few.

    Args:
        store: the store.
        schema: the bundle's schema.
        items: the ids of the bundle's items.

    Raises:
        StoreError: it holds another schema or none, or hardly any of the items.
    """
    held = store.read_schema()
    if held.digest != schema.digest:
        raise StoreError(
            f"{store.url} holds the schema {held.name!r} ({held.digest[:8]}), the bundle was trained on "
            f"{schema.name!r} ({schema.digest[:8]}): name the store that it was trained from, or train from this one"
        )

    sample = items[:: max(len(items) // _SAMPLED, 1)]
    n_there = len(sample) - len(find_gone(store, sample))
    if is_another_graph(n_there, len(sample)):
        of_them = "none" if n_there == 0 else f"only {n_there}"
        raise StoreError(
            f"{store.url} has {of_them} of {len(sample)} items of the bundle that were looked up, such as "
            f"{sample[0]!r}: it is another graph, or an empty one; name the store that the bundle was trained from, or "
            "train from this one"
        )


def is_another_graph(n_there: int, n_asked: int) -> bool:
    """Whether a graph has so few of a bundle's items that it is not the one that the bundle was trained from.

    Args:
        n_there: how many of the items that were asked for are in the graph.
        n_asked: how many were asked for.
    """
    return n_there <= _LEAST_THERE * n_asked


def find_gone(store: GraphStore, items: Iterable[str]) -> set[str]:
    """The items that a store does not have (any more), by one query.

    Raises:
        StoreError: the store fails.
    """
    asked = list(dict.fromkeys(items))
    found, item_type = store.item_links(asked), store.read_schema().item_type
    return {id_ for id_ in asked if NodeRef(item_type, id_) not in found.names}


def answer_without_gone(
    answer: Callable[[set[str]], Answer],
    look_further: Callable[[int], set[str]],
    bar: Callable[[set[str]], None],
) -> Answer:
    """Answers until no item of the answer is gone from the store: mostly at once.

    Args:
        answer: ranks and gives the answer; adds those of its items that are gone to the set.
        look_further: which of this many times as many items, by rank, are gone.
        bar: leaves items out of all further answers.
    """
    factor = _FURTHER
    while True:
        gone: set[str] = set()
        found = answer(gone)
        if not gone:
            return found
        bar(gone)
        bar(look_further(factor))
        factor *= _FURTHER


def read_path_index(
    store: GraphStore,
    schema: CatalogueSchema,
    items: Iterable[str],
    gone: set[str] | None = None,
    values: ValueLinks | None = None,
) -> PathIndex:
    """Reads the paths between some items from a store, by one query.

    Args:
        store: a store with this schema.
        schema: the catalogue's schema.
        items: the items' ids; an id that is not in the store has no paths.
        gone: gets the ids that are not in the store.
        values: the values of items, which the store does not have as nodes; None: there are none.

    Raises:
        StoreError: the store fails.
    """
    asked = list(dict.fromkeys(items))
    found = store.item_links(asked)
    names: dict[str, dict[str, str | None]] = {node_type: {} for node_type in schema.nodes}
    names[schema.item_type] = dict.fromkeys(asked)
    mended = mend_entities(pa.array(found.names.values(), pa.string())).to_pylist()  # as a load does
    for node, name in zip(found.names, mended, strict=True):
        names[node.type][node.id] = name
    there = [id_ for id_ in asked if NodeRef(schema.item_type, id_) in found.names]
    if gone is not None:
        gone.update(set(asked).difference(there))
    links = [(link.item, link.edge, link.reverse, link.node.id, link.n_items) for link in found.links]
    if values is not None:
        named, valued = values.find(there)
        names |= named
        links += valued
    return build_path_index_around(schema, names, links)
