"""Changes of what a recommender knows, without training: from a bundle and what is new to the next bundle."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from graph_schema import SOURCE, TARGET, CatalogueSchema
from graph_schema.columns import convert_ids
from kgrec.bundle import Bundle
from kgrec.errors import CatalogueError, RequestError
from kgrec.graph.propagation import join_vectors
from kgrec.ids import number_ids
from kgrec.model.component import round_text
from kgrec.model.model import Model


@dataclass(frozen=True)
class AddedItem:
    """A bundle with one item more.

    Attributes:
        bundle: it.
        links: (edge type, id of the node at the other end): those that the catalogue knows.
        unknown: the ids of the ends that it does not know.
    """

    bundle: Bundle
    links: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]


def add_item(
    bundle: Bundle,
    item: str,
    text: NDArray[np.float32] | None,
    links: Iterable[tuple[str, str]],
    vectors: Mapping[str, Sequence[float]],
    name: str | None,
) -> AddedItem:
    """Adds an item; see `Recommender.add_item`.

    Args:
        bundle: what is known so far.
        item: its id.
        text: (text_dim,) float32, the vector of its text.
        links: (edge type, id of the node at the other end).
        vectors: vector column of the schema -> its vector.
        name: how people call it.

    Raises:
        RequestError: the id is taken, an edge type or a vector column is no item's, a vector does not fit, or nothing
            known is said of the item.
    """
    _check_text(item, "an item's id")
    if item in bundle.items:
        raise RequestError(f"item {item!r} is there already; expected a new id")
    if name is not None:
        _check_text(name, "an item's name")
    known: list[tuple[str, str]] = []
    ends: list[tuple[str, bool, int]] = []
    unknown: list[str] = []
    for relation, far_id in _read_links(links):
        is_source, other = _far_end(bundle.schema, relation)
        far_row = bundle.ids[other].row(far_id)
        if far_row is None:
            unknown.append(far_id)
        else:
            known.append((relation, far_id))
            ends.append((relation, is_source, far_row))
    own_vectors = _join_vectors(bundle, vectors)
    if text is None and not known and not vectors:
        raise RequestError(
            f"nothing known is said of item {item!r}: expected a text, links to nodes of the catalogue, or vectors"
            + (f"; unknown: {', '.join(map(repr, unknown))}" if unknown else "")
        )
    edges = dict(bundle.edges)
    row = len(bundle.items)
    for relation, is_source, far_row in ends:
        pair = (row, far_row) if is_source else (far_row, row)
        edges[relation] = np.hstack([edges[relation], np.array(pair, np.int64)[:, None]])
    item_type = bundle.schema.item_type
    shape = (len(bundle.users), row + 1)
    grown = replace(
        bundle,
        ids={**bundle.ids, item_type: bundle.items.extended([item])},
        names={**bundle.names, item_type: [*bundle.names[item_type], name]},
        edges=edges,
        model=_add_to_model(bundle.model, item, text, _find_codes(bundle, ends), own_vectors),
        liked=_reshape(bundle.liked, shape),
        seen=_reshape(bundle.seen, shape),
    )
    return AddedItem(grown, tuple(known), tuple(unknown))


def add_interactions(bundle: Bundle, interactions: pa.Table) -> tuple[Bundle, tuple[str, ...]]:
    """Adds interactions; see `Recommender.add_interactions`.

    Returns:
        The bundle with them, and the ids of items that the catalogue does not know.

    Raises:
        RequestError: it is no table, a column is missing, or an id is, or a weight is no number.
    """
    if not isinstance(interactions, pa.Table):
        raise RequestError(f"expected interactions as a pyarrow table, got {type(interactions).__name__}")
    chosen = bundle.schema.interaction
    columns = interactions.column_names
    user_column, item_column = (SOURCE, TARGET) if SOURCE in columns else ("user", "item")
    needed = [user_column, item_column]
    if chosen.positive is not None and chosen.weight is not None:
        needed.append(chosen.weight)
    missing = [name for name in needed if name not in columns]
    if missing:
        raise RequestError(f"interactions lack the column {missing[0]!r}; expected {needed}, got {columns}")
    user_ids, item_ids = (_read_ids(interactions, column) for column in (user_column, item_column))
    items = bundle.items.rows(item_ids)
    known = items >= 0
    unknown = list(dict.fromkeys(id_ for id_, ok in zip(item_ids, known, strict=True) if not ok))
    positive = known.copy()
    if chosen.positive is not None and chosen.weight is not None:
        weights = _read_weights(interactions, chosen.weight)
        positive &= weights >= chosen.positive
    new = [id_ for id_ in dict.fromkeys(user_ids) if id_ not in bundle.users]
    users = bundle.users.extended(new) if new else bundle.users
    rows = users.rows(user_ids)
    user_type = bundle.schema.user_type
    liked = _with_pairs(bundle.liked, rows[positive], items[positive], len(users))
    grown = replace(
        bundle,
        ids={**bundle.ids, user_type: users},
        names={**bundle.names, user_type: [*bundle.names[user_type], *[None] * len(new)]},
        model=_place_liked(bundle.model, liked, np.unique(liked[np.unique(rows[positive])].indices)),
        liked=liked,
        seen=_with_pairs(bundle.seen, rows[known], items[known], len(users)),
    )
    return grown, tuple(unknown)


def forget_user(bundle: Bundle, user: str, row: int) -> Bundle:
    """Forgets a user; see `Recommender.forget`.

    Args:
        bundle: what is known so far.
        user: the user's id.
        row: the user's row.
    """
    kept = np.flatnonzero(np.arange(len(bundle.users)) != row)
    user_type = bundle.schema.user_type
    names, liked = bundle.names[user_type], bundle.liked[kept]
    return replace(
        bundle,
        ids={**bundle.ids, user_type: type(bundle.users)(tuple(id_ for id_ in bundle.users.ids if id_ != user))},
        names={**bundle.names, user_type: [names[place] for place in kept.tolist()]},
        edges={name: _without_user(bundle, name, row) for name in bundle.edges},
        model=_place_liked(bundle.model, liked, bundle.liked[[row]].indices.astype(np.int64)),
        liked=liked,
        seen=bundle.seen[kept],
    )


def _without_user(bundle: Bundle, edge_type: str, row: int) -> NDArray[np.int64]:
    """The rows of an edge type's ends once a user's row is gone."""
    edge, ends = bundle.schema.edges[edge_type], bundle.edges[edge_type]
    kept = np.ones(ends.shape[1], np.bool_)
    moved = ends.copy()
    for side, node_type in ((0, edge.source), (1, edge.target)):
        if node_type == bundle.schema.user_type:
            kept &= ends[side] != row
            moved[side] -= ends[side] > row
    return moved[:, kept]


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


def _read_ids(interactions: pa.Table, column: str) -> list[str]:
    """The ids in a column, as the catalogue's files have them: text, or integers."""
    try:
        ids, problems = convert_ids(interactions[column].combine_chunks())
    except CatalogueError as error:
        raise RequestError(f"interactions: {column}: {error}") from error
    for rows, reason in problems:
        if rows.any():
            raise RequestError(f"interactions: in row {int(np.flatnonzero(rows)[0]) + 1} {column} {reason}")
    if ids.null_count:
        raise RequestError(f"interactions have rows without {column!r}; expected an id in every row")
    found: list[str] = ids.to_pylist()
    return found


def _read_weights(interactions: pa.Table, name: str) -> NDArray[np.float64]:
    """The weights of interactions, (n,), NaN where there is none."""
    try:
        weights = interactions[name].cast(pa.float64())
    except pa.ArrowException as error:
        raise RequestError(f"interactions have a {name} that is no number: {error}; expected numbers alone") from error
    found: NDArray[np.float64] = weights.to_numpy(zero_copy_only=False)
    return found


def _add_to_model(
    model: Model,
    item: str,
    text: NDArray[np.float32] | None,
    codes: NDArray[np.int64],
    vectors: NDArray[np.float32] | None,
) -> Model:
    """The model with one more item, placed by its prior; see `ItemEncoder.place`."""
    known = text is not None and model.text.shape[1] > 0
    text = None if text is None else round_text(torch.from_numpy(text)[None])[0].numpy()
    own = torch.from_numpy(text)[None] if text is not None and known else torch.zeros((1, model.text.shape[1]))
    placed = model.prior.place(text, codes, vectors)[None]  # (1, dim)
    kept, row = np.arange(model.n_items), np.array([model.n_items])
    none = np.full(model.columns.shape[1], np.nan, np.float32)
    columns = torch.cat([model.columns, torch.from_numpy(none if vectors is None or not len(none) else vectors)[None]])
    return model.with_items(kept, torch.cat([model.text, own]), row, placed, [codes], columns, number_ids([item]))


def _place_liked(model: Model, liked: csr_array, rows: NDArray[np.int64]) -> Model:
    """The model with those of some items that nobody had met in training placed by who likes them now."""
    return model.with_likes(rows, csr_array(liked[:, rows].T.tocsr()), liked)


def _reshape(matrix: csr_array, shape: tuple[int, int]) -> csr_array:
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=shape)


def _with_pairs(matrix: csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64], n_rows: int) -> csr_array:
    """The matrix with more rows and entries."""
    n_more = n_rows - matrix.shape[0]
    taller = (
        vstack([matrix, csr_array((n_more, matrix.shape[1]), dtype=np.float32)], format="csr") if n_more else matrix
    )
    added = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=taller.shape)
    total = (taller + added).tocsr()
    total.data[:] = 1
    total.sort_indices()
    return total
