"""Reads interactions from tables and DataFrames, by the rules of the catalogue's files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema
from graph_schema.column_texts import Problem
from graph_schema.columns import convert_column, convert_ids
from graph_schema.frame_columns import read_columns, to_whole
from kgrec.errors import CatalogueError, RequestError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interactions:
    """Interactions: the latest one for each pair of user and item.

    Attributes:
        users: (n,) ids.
        items: (n,) ids.
        positive: (n,) bool: whether each is a like.
    """

    users: list[str]
    items: list[str]
    positive: NDArray[np.bool_]


def read_interactions(interactions: "pa.Table | pd.DataFrame", schema: CatalogueSchema) -> Interactions:
    """Reads a table of interactions; see `Recommender.add_interactions`.

    Raises:
        RequestError: the argument is neither a table nor a DataFrame, a column or an id is missing, or a weight is not
            a number.
    """
    table, chosen = _read(interactions), schema.interaction
    weight = None if chosen.positive is None else chosen.weight
    users, items = (_read_ids(table, column) for column in _find_columns(table, *[weight] if weight else []))
    positive = np.ones(len(users), np.bool_)
    if weight is not None and chosen.positive is not None:
        positive = _read_numbers(table, weight, "float") >= chosen.positive
    order = np.arange(len(users))
    if chosen.at is not None and chosen.at in table:
        order = np.argsort(_read_numbers(table, chosen.at, "time"), kind="stable")
    latest = {(users[row], items[row]): row for row in order.tolist()}
    rows = list(latest.values())
    return Interactions([users[row] for row in rows], [items[row] for row in rows], positive[rows])


def read_likes(likes: "pa.Table | pd.DataFrame") -> dict[str, list[str]]:
    """The likes of each user, from a table with the columns user and item, or source and target.

    Raises:
        RequestError: the argument is neither a table nor a DataFrame, or a column or an id is missing.
    """
    table = _read(likes)
    by_user: dict[str, list[str]] = {}
    for user, item in zip(*(_read_ids(table, column) for column in _find_columns(table)), strict=True):
        by_user.setdefault(user, []).append(item)
    return by_user


def _find_columns(table: Mapping[str, pa.Array], *more: str) -> list[str]:
    """Finds the user and item columns, and checks that the other columns exist."""
    columns = list(table)
    needed = [SOURCE, TARGET] if SOURCE in columns else ["user", "item"]
    missing = [name for name in (*needed, *more) if name not in columns]
    if missing:
        raise RequestError(f"interactions lack the column {missing[0]!r}; expected {[*needed, *more]}, got {columns}")
    return needed


def _read(interactions: "pa.Table | pd.DataFrame") -> Mapping[str, pa.Array]:
    try:
        return read_columns("interactions", interactions)
    except CatalogueError as error:
        raise RequestError(str(error)) from error


def _refuse(interactions: Mapping[str, pa.Array], column: str, problems: list[Problem]) -> None:
    """Raises for the first invalid row, if there is one."""
    for rows, reason in problems:
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            value = interactions[column][row].as_py()
            raise RequestError(
                f"interactions: in row {row + 1} {column} {reason}: got {value!r}; correct the row or leave it out"
            )


def _read_ids(interactions: Mapping[str, pa.Array], column: str) -> list[str]:
    """The ids in a column, text or integers, read as in the catalogue's files."""
    try:
        ids, problems = convert_ids(to_whole(interactions[column]))
    except CatalogueError as error:
        raise RequestError(f"interactions: {column}: {error}") from error
    _refuse(interactions, column, problems)
    if ids.null_count:
        raise RequestError(f"interactions have rows without {column!r}; expected an id in every row")
    found: list[str] = ids.to_pylist()
    return found


def _read_numbers(
    interactions: Mapping[str, pa.Array], column: str, kind: Literal["float", "time"]
) -> NDArray[np.float64]:
    """A column's weights or times (UTC seconds), (n,), read as in the catalogue's files."""
    try:
        values, problems = convert_column(interactions[column], kind)
    except CatalogueError as error:
        raise RequestError(f"interactions: {column}: {error}") from error
    _refuse(interactions, column, problems)
    if values.null_count:
        row = values.is_null().to_numpy(zero_copy_only=False).argmax() + 1
        raise RequestError(f"interactions: row {row} has no {column}; expected one in every row")
    found: NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found
