"""Reads interactions from tables and DataFrames, by the rules of the catalogue's files."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema
from graph_schema.checks.column_texts import Problem
from graph_schema.checks.columns import convert_column, convert_ids
from graph_schema.checks.repeated_edges import gather_weights
from graph_schema.frames.frame_columns import read_columns
from graph_schema.schema_types import AttributeType
from kgrec.errors import CatalogueError, RequestError
from kgrec.recommend.asked import Asked, freeze_values
from kgrec.recommend.sequence_argument import find_impossible

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interactions:
    """Interactions: one for each pair of user and item.

    Attributes:
        users: (n,) ids.
        items: (n,) ids.
        positive: (n,) bool: whether each is a like.
        places: (n,) int64: the row of each in the table; of several of one pair, of the one that counts.
        times: (n,) int64 UTC seconds of each; None: the table has no times.
    """

    users: list[str]
    items: list[str]
    positive: NDArray[np.bool_]
    places: NDArray[np.int64]
    times: NDArray[np.int64] | None


def read_interactions(interactions: "pa.Table | pd.DataFrame", schema: CatalogueSchema) -> Interactions:
    """Reads a table of interactions; see `Recommender.add_interactions`.

    Raises:
        RequestError: the argument is neither a table nor a DataFrame, a column or an id is missing, a column is not
            read, a weight is not a number, or a time is before 1970 or in the future.
    """
    table, chosen = _read(interactions), schema.interaction
    own = schema.edges[chosen.edge].attributes
    is_count = chosen.repeat_rule == "count"
    weight = chosen.weight if not is_count and (chosen.positive is not None or chosen.weight in table) else None
    ends = _find_columns(table, *[weight] if weight else [])
    _refuse_unknown("interactions", [name for name in table if name not in (*ends, *own)], ends, schema)
    users, items = (_read_ids(table, column) for column in ends)
    weights = np.ones(len(users)) if weight is None else _read_numbers(table, weight, "float")
    order, times = np.arange(len(users)), None
    if chosen.at is not None and chosen.at in table:
        form = find_time_format(schema)
        times = _read_numbers(table, chosen.at, "time", form).astype(np.int64)
        _check_times(table, chosen.at, times.tolist())
        order = np.argsort(times, kind="stable")
    latest = {(users[row], items[row]): row for row in order.tolist()}
    rows = list(latest.values())
    gathered = weights[rows]
    if chosen.repeat_rule != "latest" and rows:
        codes = {pair: code for code, pair in enumerate(latest)}
        pairs = np.array([codes[pair] for pair in zip(users, items, strict=True)])
        gathered = gather_weights(pairs, weights, np.isin(np.arange(len(users)), rows), chosen.repeat_rule)
        gathered = gathered[np.searchsorted(np.sort(rows), rows)]  # they came in the order of the rows
    positive = chosen.is_like(gathered) if weight is not None or is_count else np.ones(len(rows), np.bool_)
    places = np.array(rows, np.int64)
    return Interactions(
        [users[row] for row in rows], [items[row] for row in rows], positive, places,
        None if times is None else times[places],
    )  # fmt: skip


def read_many(likes: "pa.Table | pd.DataFrame", schema: CatalogueSchema) -> dict[str, Asked]:
    """The users of a batch, from a table with the columns user and item, or source and target.

    Further columns are named as edge types of users, with ids of linked nodes, or as features of users. The rows of a
    user belong together; an empty field says nothing. Of the interaction's own attributes only the time is read: likes
    come in its order, or else in that of the rows.

    Returns:
        User id -> the user's request; `Asked.user` is None, so that only the table counts.

    Raises:
        RequestError: the argument is neither a table nor a DataFrame, a column or an id is missing, the model does not
            read a column, a value cannot be read, a time is before 1970 or in the future, or a user has two values of
            an attribute that is no list.
    """
    table, node = _read(likes), schema.nodes[schema.user_type]
    own, liked = _find_columns(table)
    known = (own, liked, *schema.edges[schema.interaction.edge].attributes)
    edge_types = {
        name for name, edge in schema.graph_edges.items() if schema.user_type in edge.ends and not edge.derived
    }
    links = [name for name in table if name in edge_types and name not in known]
    values = [name for name in table if name in node.features and name not in (*known, *links)]
    unknown = [name for name in table if name not in (*known, *links, *values)]
    _refuse_unknown("the likes", unknown, (own, liked), schema, [*edge_types, *node.features])
    users = _read_ids(table, own)
    likes_of, links_of = defaultdict[str, list[str]](list), defaultdict[str, dict[tuple[str, str], None]](dict)
    values_of, times_of = defaultdict[str, dict[str, Any]](dict), defaultdict[str, list[int | None]](list)
    times = _read_like_times(table, schema)
    for user, item, time in zip(users, _read_ids(table, liked, optional=bool(links or values)), times, strict=True):
        if item is not None:
            likes_of[user].append(item)
            times_of[user].append(time)
    for name in links:
        for user, id_ in zip(users, _read_ids(table, name, optional=True), strict=True):
            if id_ is not None:
                links_of[user][name, id_] = None
    for name in values:
        for user, value in zip(users, _read_values(table, name, node.columns[name]), strict=True):
            before = values_of[user].get(name)
            if value is not None and before is not None and node.columns[name] == "list":
                before.extend(value)
            elif value is not None and before not in (None, value):
                raise RequestError(f"user {user!r} has {name} {before!r} and {value!r}; expected one value for a user")
            elif value is not None:
                values_of[user][name] = value
    return {
        user: Asked(
            likes=tuple(likes_of[user]),
            links=tuple(links_of[user]),
            values=freeze_values(values_of[user]),
            times=tuple(times_of[user]),
        )
        for user in dict.fromkeys(users)
    }


def find_time_format(schema: CatalogueSchema) -> str | None:
    """How the texts in the interaction's own time column are written, as the schema says; None: as in ISO 8601."""
    at, edge = schema.interaction.at, schema.edges[schema.interaction.edge]
    return None if at is None else edge.time_formats.get(at)


def read_times(column: pa.Array, schema: CatalogueSchema | None) -> tuple[list[int | None], list[tuple[int, str]]]:
    """The times of likes, UTC seconds, None where there is none, and (row, what is wrong) of the first bad one.

    Args:
        column: the values as the source has them.
        schema: says how the texts of its own time column are written; None: as in ISO 8601.

    Raises:
        CatalogueError: the column's type can never be read as times.
    """
    form = None if schema is None else find_time_format(schema)
    values, problems = convert_column(column, "time", time_format=form)
    bad = [(int(np.flatnonzero(rows)[0]), reason) for rows, reason in problems if rows.any()]
    times: list[int | None] = values.to_pylist()
    return times, bad or find_impossible(times)


def _read_like_times(table: Mapping[str, pa.Array], schema: CatalogueSchema) -> list[int | None]:
    """When the like in each row of a table was, UTC seconds; None where no time is given."""
    column = schema.interaction.at
    if column is None or column not in table:
        return [None] * len(next(iter(table.values())))
    times: list[int | None] = _convert(table, column, "time", find_time_format(schema)).to_pylist()
    _check_times(table, column, times)
    return times


def _check_times(table: Mapping[str, pa.Array], column: str, times: Sequence[int | None]) -> None:
    """Raises for the first time that is before 1970, after 2100 or in the future."""
    for row, reason in find_impossible(times):
        value = table[column][row].as_py()
        raise RequestError(f"interactions: in row {row + 1} {column} {reason}: got {value!r}; leave it out")


def _refuse_unknown(
    what: str,
    columns: Sequence[str],
    ends: Sequence[str],
    schema: CatalogueSchema,
    about_users: Sequence[str] | None = None,
) -> None:
    """Raises for a column that is not read.

    Args:
        what: what the table is called.
        columns: the columns that are not read.
        ends: the columns of users and items.
        schema: says where times and weights are.
        about_users: names of links and features of users that are read; None: none is, but weights are.
    """
    if not columns:
        return
    chosen = schema.interaction
    own = [] if chosen.at is None else [chosen.at]
    parts = [*map(repr, ends), *(f"{name!r} (the time)" for name in own)]
    if about_users is not None:
        parts.append(f"links or features of users: {sorted(about_users)}")
    elif chosen.weight is not None:
        own.append(chosen.weight)
        parts.append(f"{chosen.weight!r} (the weight)")
    near = get_close_matches(columns[0], [*own, *(about_users or ())], n=1)
    raise RequestError(
        f"{what} have a column {columns[0]!r}, which the model does not read; "
        + (f"did you mean {near[0]!r}? Expected " if near else "expected ")
        + f"{', '.join(parts[:-1])} and {parts[-1]}"
        + ("" if chosen.at else "; the schema's interaction has no time")
        + ": rename the column or leave it out"
    )


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


def _read_ids(interactions: Mapping[str, pa.Array], column: str, *, optional: bool = False) -> list[Any]:
    """The ids in a column, text or integers, read as in the catalogue's files; None where `optional` ones are empty."""
    try:
        ids, problems = convert_ids(interactions[column])
    except CatalogueError as error:
        raise RequestError(f"interactions: {column}: {error}") from error
    _refuse(interactions, column, problems)
    if ids.null_count and not optional:
        raise RequestError(f"interactions have rows without {column!r}; expected an id in every row")
    found: list[Any] = ids.to_pylist()
    return found


def _read_values(interactions: Mapping[str, pa.Array], column: str, kind: AttributeType) -> list[Any]:
    """The values of an attribute, read as in the catalogue's files; None where there is none."""
    found: list[Any] = _convert(interactions, column, kind).to_pylist()
    return [None if value == "" else value for value in found]


def _read_numbers(
    interactions: Mapping[str, pa.Array], column: str, kind: Literal["float", "time"], time_format: str | None = None
) -> NDArray[np.float64]:
    """A column's weights or times (UTC seconds), (n,), read as in the catalogue's files."""
    values = _convert(interactions, column, kind, time_format)
    if values.null_count:
        row = values.is_null().to_numpy(zero_copy_only=False).argmax() + 1
        raise RequestError(f"interactions: row {row} has no {column}; expected one in every row")
    found: NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _convert(
    interactions: Mapping[str, pa.Array], column: str, kind: AttributeType, time_format: str | None = None
) -> pa.Array:
    try:
        values, problems = convert_column(interactions[column], kind, time_format=time_format)
    except CatalogueError as error:
        raise RequestError(f"interactions: {column}: {error}") from error
    _refuse(interactions, column, problems)
    return values
