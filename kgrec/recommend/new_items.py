"""Adds new items to a bundle and places them by their texts, links and vectors, without training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex
from kgrec.graph.propagation import join_vectors
from kgrec.ids import number_ids
from kgrec.model.component import round_text
from kgrec.model.model import Model
from kgrec.recommend.state import check_words


@dataclass(frozen=True)
class NewItem:
    """An item to add; see `Recommender.add_items`.

    Attributes:
        item: its id.
        text: what it is, in words, as the schema's text fields would tell it.
        links: (edge type, id of the node at the other end).
        vectors: vector column of the schema -> its vector, as wide as those of the training.
        name: how people call it.
    """

    item: str
    _: KW_ONLY
    text: str | None = None
    links: Iterable[tuple[str, str]] = ()
    vectors: Mapping[str, Sequence[float]] | None = None
    name: str | None = None


@dataclass(frozen=True)
class AddedItems:
    """A bundle with more items.

    Attributes:
        bundle: it.
        links: item -> (edge type, id of the node at the other end): those that the catalogue knows.
        unknown: item -> the ids of the ends that it does not know; only items that have such.
    """

    bundle: Bundle
    links: Mapping[str, Sequence[tuple[str, str]]]
    unknown: Mapping[str, tuple[str, ...]]


def check_items(items: Iterable[NewItem]) -> tuple[NewItem, ...]:
    """Checks what can be checked without a bundle, and reads the links, each once.

    Raises:
        RequestError: something is no `NewItem`, or an id, a name, a text or a link cannot be stored.
    """
    given, checked = tuple(items), []
    for place, new in enumerate(given):
        if not isinstance(new, NewItem):
            raise RequestError(f"expected items as a list of NewItem, got {type(new).__name__} at place {place + 1}")
        with _naming(given, place):
            _check_text(new.item, "an item's id")
            if new.name is not None:
                _check_text(new.name, "an item's name")
            if new.text is not None:
                check_words(new.text)
            checked.append(replace(new, links=_read_links(new.links)))
    return tuple(checked)


def add_items(bundle: Bundle, items: Sequence[NewItem], texts: Sequence[NDArray[np.float32] | None]) -> AddedItems:
    """Adds items; see `Recommender.add_items`.

    Args:
        bundle: what is known so far.
        items: at least one, as `check_items` returns them.
        texts: (text_dim,) float32 for each: the vector of its text; None: it has none.

    Raises:
        RequestError: an id is taken, an edge type or a vector column is no item's, a vector does not fit, or nothing
            known is said of an item.
    """
    item_type = bundle.schema.item_type
    rows: dict[str, int] = {}  # of the items before
    pairs: dict[str, list[tuple[int, int]]] = {}  # edge type -> the rows of both ends
    codes, vectors = [], []
    links: dict[str, list[tuple[str, str]]] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    for place, (new, text) in enumerate(zip(items, texts, strict=True)):
        with _naming(items, place):
            if new.item in bundle.items or new.item in rows:
                raise RequestError(f"item {new.item!r} is there already; expected a new id")
            row = len(bundle.items) + place
            known: list[tuple[str, str]] = []
            ends: list[tuple[str, bool, int]] = []
            not_found: list[str] = []
            for relation, far_id in new.links:
                is_source, other = _far_end(bundle.schema, relation)
                far_row = bundle.ids[other].row(far_id)
                if far_row is None and other == item_type:
                    far_row = rows.get(far_id)
                if far_row is None:
                    not_found.append(far_id)
                    continue
                known.append((relation, far_id))
                ends.append((relation, is_source, far_row))
                pairs.setdefault(relation, []).append((row, far_row) if is_source else (far_row, row))
            vectors.append(_join_vectors(bundle, new.vectors or {}))
            if text is None and not known and not new.vectors:
                raise RequestError(
                    f"nothing known is said of item {new.item!r}: expected a text, links to nodes of the catalogue, "
                    f"or vectors" + (f"; unknown: {', '.join(map(repr, not_found))}" if not_found else "")
                )
        codes.append(_find_codes(bundle, ends))
        rows[new.item] = row
        links[new.item] = known
        if not_found:
            unknown[new.item] = tuple(not_found)
    added = {name: np.hstack([bundle.edges[name], np.array(new, np.int64).T]) for name, new in pairs.items()}
    shape = (len(bundle.users), len(bundle.items) + len(items))
    grown = replace(
        bundle,
        ids={**bundle.ids, item_type: bundle.items.extended(list(rows))},
        names={**bundle.names, item_type: [*bundle.names[item_type], *(new.name for new in items)]},
        edges={**bundle.edges, **added},
        model=_grow_model(bundle.model, list(rows), texts, codes, vectors),
        liked=_reshape(bundle.liked, shape),
        seen=_reshape(bundle.seen, shape),
    )
    return AddedItems(grown, links, unknown)


def extend_paths(paths: PathIndex | None, items: Sequence[NewItem], added: AddedItems) -> PathIndex | None:
    """The paths with one item more; None where they are to be found anew: for several items, or for links to new ones.

    Args:
        paths: those before; None: they are not found yet.
        items: the new items.
        added: what became of them.
    """
    if paths is None or len(items) > 1:
        return None
    (new,) = items
    links = added.links[new.item]
    if any(far_id not in paths.ids[_far_end(paths.schema, relation)[1]] for relation, far_id in links):
        return None
    return paths.with_item(new.item, new.name, links)


def _grow_model(
    model: Model,
    ids: Sequence[str],
    texts: Sequence[NDArray[np.float32] | None],
    codes: Sequence[NDArray[np.int64]],
    vectors: Sequence[NDArray[np.float32]],
) -> Model:
    """The model with more items, placed by its prior; see `ItemEncoder.place`."""
    rounded = [None if text is None else round_text(torch.from_numpy(text)[None])[0].numpy() for text in texts]
    placed = [model.prior.place(*said) for said in zip(rounded, codes, vectors, strict=True)]  # each (dim,)
    own = torch.zeros((len(ids), model.text.shape[1]))
    for place, text in enumerate(rounded):
        if text is not None and model.text.shape[1]:
            own[place] = torch.from_numpy(text)
    width = model.columns.shape[1]
    columns = torch.from_numpy(np.stack(vectors)) if width else torch.zeros((len(ids), 0))
    kept, rows = np.arange(model.n_items), model.n_items + np.arange(len(ids))
    return model.with_items(
        kept,
        torch.cat([model.text, own]),
        rows,
        np.stack(placed),
        codes,
        torch.cat([model.columns, columns]),
        number_ids(ids),
    )


@contextmanager
def _naming(items: Sequence[NewItem], place: int) -> Iterator[None]:
    """Names the item in an error, where there are several."""
    try:
        yield
    except RequestError as error:
        if len(items) == 1:
            raise
        raise RequestError(f"item {place + 1} of {len(items)}, {items[place].item!r}: {error}") from error


def _join_vectors(bundle: Bundle, vectors: Mapping[str, Sequence[float]]) -> NDArray[np.float32]:
    """An item's vectors as the prior reads them, (sum of the widths,) float32."""
    widths, columns = bundle.vector_widths, {}
    for column, given in vectors.items():
        if column not in widths:
            raise RequestError(
                f"no vectors {column!r} of a {bundle.schema.item_type} were learned from; "
                + (f"expected one of {list(widths)}" if widths else "expected a text or links")
            )
        try:
            vector = np.asarray(given, np.float32)
        except (TypeError, ValueError) as error:
            raise RequestError(f"the vector {column!r} is no numbers: {error}") from error
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise RequestError(
                f"the vector {column!r} has shape {vector.shape}"
                + ("" if np.isfinite(vector).all() else " and is not finite")
                + f"; expected {widths[column]} finite numbers"
            )
        columns[column] = vector[None]
    joined: NDArray[np.float32] = join_vectors(columns, widths, 1)[0]
    return joined


def _find_codes(bundle: Bundle, ends: Sequence[tuple[str, bool, int]]) -> NDArray[np.int64]:
    """The model's link codes of an item's links; a link that no item had in training has none."""
    places = {(edge_type, is_source): place for place, (edge_type, is_source, _) in enumerate(bundle.relations)}
    codes = []
    for edge_type, is_source, far_row in ends:
        place = places.get((edge_type, is_source))
        relation = bundle.model.prior.relation
        codes.append(np.flatnonzero((relation == place) & (bundle.link_node == far_row)))
    return np.unique(np.concatenate([np.zeros(0, np.int64), *codes]))


def _far_end(schema: CatalogueSchema, relation: str) -> tuple[bool, str]:
    """Whether an item is the source of a relation, and the node type at its other end."""
    edge = schema.graph_edges.get(relation)
    if edge is None or schema.item_type not in (edge.source, edge.target):
        of_items = [name for name, e in schema.graph_edges.items() if schema.item_type in (e.source, e.target)]
        raise RequestError(f"no edge type {relation!r} of a {schema.item_type}; expected one of {of_items}")
    is_source = edge.source == schema.item_type
    return is_source, edge.target if is_source else edge.source


def _check_text(text: str, what: str) -> None:
    """Refuses what a bundle cannot store as a text."""
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"expected {what} as a text with characters in it, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{what} is no valid Unicode: {text!r}; expected text without lone surrogates") from error


def _read_links(links: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The links of an item, each once."""
    found: dict[tuple[str, str], None] = {}
    for link in links:
        pair = tuple(link) if isinstance(link, tuple | list) else (link,)
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):  # noqa: PLR2004
            raise RequestError(f"expected each link as (edge type, id of the node at the other end), got {link!r}")
        found[pair[0], pair[1]] = None
    return list(found)


def _reshape(matrix: csr_array, shape: tuple[int, int]) -> csr_array:
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=shape)
