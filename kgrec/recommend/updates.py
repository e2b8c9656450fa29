"""Changes of what a recommender knows, without training: from a bundle and what is new to the next bundle."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from graph_schema import SOURCE, TARGET
from graph_schema.columns import convert_ids
from kgrec.bundle import Bundle
from kgrec.errors import CatalogueError, RequestError
from kgrec.model.model import Model

if TYPE_CHECKING:
    import pandas as pd


def add_interactions(bundle: Bundle, interactions: "pa.Table | pd.DataFrame") -> tuple[Bundle, tuple[str, ...]]:
    """Adds interactions; see `Recommender.add_interactions`.

    Returns:
        The bundle with them, and the ids of items that the catalogue does not know.

    Raises:
        RequestError: it is neither table nor DataFrame, a column or an id is missing, or a weight is no number.
    """
    interactions = _to_table(interactions)
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


def _to_table(interactions: "pa.Table | pd.DataFrame") -> pa.Table:
    if isinstance(interactions, pa.Table):
        return interactions
    import pandas as pd

    if not isinstance(interactions, pd.DataFrame):
        raise RequestError(
            f"expected interactions as a pyarrow table or a pandas DataFrame, got {type(interactions).__name__}"
        )
    try:
        return pa.Table.from_pandas(interactions, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise RequestError(
            f"interactions: {error}; expected columns of one type each: convert the column or leave it out"
        ) from error


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


def _place_liked(model: Model, liked: csr_array, rows: NDArray[np.int64]) -> Model:
    """The model with those of some items that nobody had met in training placed by who likes them now."""
    return model.with_likes(rows, csr_array(liked[:, rows].T.tocsr()), liked)


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
