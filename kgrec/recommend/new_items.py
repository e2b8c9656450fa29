"""Adds new items to a bundle and places them by their texts, links and vectors, without training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex
from kgrec.graph.propagation import join_vectors
from kgrec.ids import number_ids
from kgrec.model.component import round_text
from kgrec.recommend.argument_ids import check_new_id, check_text
from kgrec.recommend.link_features import read_link_features
from kgrec.recommend.links import (
    add_edges,
    add_paths_to_values,
    find_far_end,
    find_item_ends,
    group_edges,
    read_attributes,
    read_links,
    resolve_links,
    warn_of_unknown,
)
from kgrec.recommend.state import check_words
from kgrec.recommend.updates import place_linked
from kgrec.text.node_texts import describe_node

_MOST_AT_ONCE = 16_384  # items that are placed together: more need more memory and are no faster


@dataclass(frozen=True)
class NewItem:
    """An item to add; see `Recommender.add_items`.

    Attributes:
        item: its id.
        text: the content of the text fields that the schema names.
        links: pairs (edge type, id of the linked node).
        vectors: vector column of the schema -> the item's vector, as wide as in training.
        attributes: attribute -> value; those that the schema marks as features are read.
        name: the name to show to people.
    """

    item: str
    _: KW_ONLY
    text: str | None = None
    links: Iterable[tuple[str, str]] = ()
    attributes: Mapping[str, object] | None = None
    vectors: Mapping[str, Sequence[float]] | None = None
    name: str | None = None


@dataclass(frozen=True)
class AddedItems:
    """A bundle with new items.

    Attributes:
        bundle: the bundle with the new items.
        links: item -> (edge type, id of the node at the other end), for links to nodes of the catalogue.
        unknown: item -> the linked ids that are not in the catalogue; only items with such ids.
    """

    bundle: Bundle
    links: Mapping[str, Sequence[tuple[str, str]]]
    unknown: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ReadItem:
    """What a new item says of itself, in rows of the catalogue.

    Attributes:
        resolved: its links and values, as from `resolve_links`.
        links: (edge type, id of the node at the other end) of the same.
        lost: (id of the item, edge type, id) of links to nodes that the catalogue does not have.
        unknown: the linked ids and the values that the catalogue does not have.
        vectors: (sum of the widths,) float32, its vector columns side by side, NaN where it has none.
    """

    resolved: list[tuple[str, str, tuple[int, int]]]
    links: list[tuple[str, str]]
    lost: list[tuple[str, str, str]]
    unknown: tuple[str, ...]
    vectors: NDArray[np.float32]


def check_items(items: Iterable[NewItem]) -> tuple[NewItem, ...]:
    """Checks new items as far as possible without a bundle, and drops repeated links.

    Raises:
        RequestError: an element is not a `NewItem`, or an id, a name, a text or a link cannot be stored.
    """
    given, checked = tuple(items), []
    for place, new in enumerate(given):
        if not isinstance(new, NewItem):
            raise RequestError(f"expected items as a list of NewItem, got {type(new).__name__} at place {place + 1}")
        with naming_item(given, place):
            item = check_new_id(new.item, "an item's id")
            if new.name is not None:
                check_text(new.name, "an item's name")
            if new.text is not None:
                check_words(new.text)
            checked.append(replace(new, item=item, links=read_links(new.links)))
    return tuple(checked)


def describe_items(bundle: Bundle, items: Sequence[NewItem]) -> list[str | None]:
    """The text that places each item, as in training: its own text, its name, or the names of its neighbours.

    Args:
        bundle: the current bundle; neighbours are its nodes or other new items.
        items: as `check_items` returns them.

    Returns:
        A text for each item; None for an item without any of these, and for all items if training had no item texts.
    """
    if not bundle.model.text.shape[1]:
        return [None] * len(items)
    item_type, name_of = bundle.schema.item_type, dict[str, str | None]()  # of the new items so far
    texts: list[str | None] = []
    for place, new in enumerate(items):
        named: dict[tuple[str, bool], list[tuple[str, str]]] = {}
        for edge_type, far_id in () if new.text or new.name else new.links:
            with naming_item(items, place):
                is_source, far_type = find_far_end(bundle.schema, edge_type, item_type)
            row = bundle.ids[far_type].row(far_id)
            name = None if row is None else bundle.names[far_type][row]
            if row is None and far_type == item_type:
                name = name_of.get(far_id)
            if name is not None:
                named.setdefault((edge_type, is_source), []).append((far_id, name))
        texts.append(new.text or new.name or describe_node(bundle.schema, item_type, named))
        name_of[new.item] = new.name
    return texts


def read_item(bundle: Bundle, new: NewItem, row: int, new_rows: Mapping[str, int], *, has_text: bool) -> ReadItem:
    """Reads an item's links, attributes and vectors.

    Args:
        bundle: the current bundle.
        new: the item, as `check_items` returns it.
        row: its row.
        new_rows: the rows of other new items that it may be linked to.
        has_text: whether a text places it.

    Raises:
        RequestError: an edge type, an attribute or a vector column does not belong to items, a vector has another width
            or is not finite, or nothing places the item.
    """
    item_type = bundle.schema.item_type
    found, not_found = resolve_links(bundle, item_type, row, new.links, new_rows)
    lost = [(new.item, edge_type, far_id) for edge_type, far_id in new.links if far_id in not_found]
    values, no_values = read_attributes(bundle, item_type, new.attributes)
    vectors = _join_vectors(bundle, new.vectors or {})
    not_found += no_values
    if not has_text and not new.text and not found and not new.vectors and not new.attributes:
        raise RequestError(
            f"cannot place item {new.item!r}: expected a text, a name, attributes, links to nodes of the "
            f"catalogue, or vectors" + (f"; unknown: {', '.join(map(repr, not_found))}" if not_found else "")
        )
    return ReadItem(
        [*found, *resolve_links(bundle, item_type, row, values, new_rows)[0]],
        [(edge_type, far_id) for edge_type, far_id, _ in found] + values,
        lost,
        tuple(not_found),
        vectors,
    )


def add_items(bundle: Bundle, items: Sequence[NewItem], texts: Sequence[NDArray[np.float32] | None]) -> AddedItems:
    """Adds items; see `Recommender.add_items`.

    Args:
        bundle: the current bundle.
        items: at least one, as `check_items` returns them.
        texts: for each item, the (text_dim,) float32 vector of its text from `describe_items`; None without a text.

    Raises:
        RequestError: an id exists already, an edge type or a vector column does not belong to items, a vector has
            another width or is not finite, or an item has no text, name, known links or vectors.
    """
    model, item_type = bundle.model, bundle.schema.item_type
    row_of: dict[str, int] = {}  # of the new items so far
    links: dict[str, list[tuple[str, str]]] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    lost: list[tuple[str, str, str]] = []
    vectors, resolved = [], []
    for place, (new, text) in enumerate(zip(items, texts, strict=True)):
        with naming_item(items, place):
            if new.item in bundle.items or new.item in row_of:
                raise RequestError(f"item {new.item!r} exists already; expected a new id")
            row = model.n_items + place
            read = read_item(bundle, new, row, row_of, has_text=text is not None)
        resolved += read.resolved
        lost += read.lost
        vectors.append(read.vectors)
        row_of[new.item] = row
        links[new.item] = read.links
        if read.unknown:
            unknown[new.item] = read.unknown
    ids, rows = list(row_of), np.array(list(row_of.values()), np.int64)
    own = torch.zeros((len(ids), model.text.shape[1]))
    for place, text in enumerate(texts):
        if text is not None and model.text.shape[1]:
            own[place] = torch.from_numpy(text)
    own = round_text(own)
    edges = add_paths_to_values(bundle, group_edges(resolved))
    shape = (len(bundle.users), model.n_items + len(ids))
    grown = replace(
        bundle,
        ids={**bundle.ids, item_type: bundle.items.extended(ids)},
        names={**bundle.names, item_type: [*bundle.names[item_type], *(new.name for new in items)]},
        edges=add_edges(bundle.edges, edges),
        liked=_reshape(bundle.liked, shape),
        liked_at=None if bundle.liked_at is None else _reshape(bundle.liked_at, shape),
        seen=_reshape(bundle.seen, shape),
        available=np.concatenate([bundle.available, np.ones(len(ids), np.bool_)]),
    )
    codes = read_link_features(grown, edges, rows)
    columns, number = torch.from_numpy(np.stack(vectors)), number_ids(ids)
    for start in range(0, len(ids), _MOST_AT_ONCE):
        block = slice(start, start + _MOST_AT_ONCE)
        model = model.with_items(
            np.arange(model.n_items),
            torch.cat([model.text, own[block]]),
            rows[block],
            codes[block],
            torch.cat([model.columns, columns[block]]),
            number[block],
        )
    warn_of_unknown(bundle, item_type, lost)
    linked = find_item_ends(bundle.schema, edges)
    grown = place_linked(replace(grown, model=model), linked[linked < len(bundle.items)])
    return AddedItems(grown, links, unknown)


def extend_paths(paths: PathIndex | None, items: Sequence[NewItem], added: AddedItems) -> PathIndex | None:
    """Extends the paths by one new item; None if they must be recomputed: for several items, or links to unknown nodes.

    Args:
        paths: the paths so far; None: they are not computed yet.
        items: the new items.
        added: the result of `add_items`.
    """
    if paths is None or len(items) > 1:
        return None
    (new,) = items
    links = added.links[new.item]
    item_type = paths.schema.item_type
    if any(far_id not in paths.ids[find_far_end(paths.schema, name, item_type)[1]] for name, far_id in links):
        return None
    return paths.with_item(new.item, new.name, links)


@contextmanager
def naming_item(items: Sequence[NewItem], place: int) -> Iterator[None]:
    """Names the item in an error if there are several."""
    try:
        yield
    except RequestError as error:
        if len(items) == 1:
            raise
        raise RequestError(f"item {place + 1} of {len(items)}, {items[place].item!r}: {error}") from error


def _join_vectors(bundle: Bundle, vectors: Mapping[str, Sequence[float]]) -> NDArray[np.float32]:
    """Joins an item's vectors for the prior, (sum of the widths,) float32."""
    widths, columns = bundle.vector_widths, {}
    for column, given in vectors.items():
        if column not in widths:
            raise RequestError(
                f"the model was not trained on vectors {column!r} of the node type {bundle.schema.item_type!r}; "
                + (f"expected one of {list(widths)}" if widths else "expected a text or links")
            )
        try:
            vector = np.asarray(given, np.float32)
        except (TypeError, ValueError) as error:
            raise RequestError(f"the vector {column!r} is not a list of numbers: {error}") from error
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise RequestError(
                f"the vector {column!r} has shape {vector.shape}"
                + ("" if np.isfinite(vector).all() else " and is not finite")
                + f"; expected {widths[column]} finite numbers"
            )
        columns[column] = vector[None]
    joined: NDArray[np.float32] = join_vectors(columns, widths, 1)[0]
    return joined


def _reshape(matrix: csr_array, shape: tuple[int, int]) -> csr_array:
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=shape)
