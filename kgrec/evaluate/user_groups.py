"""Groups of users by the sensitive attributes of a schema."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import GraphTables

MISSING, OTHER = "missing", "other"
_MOST_SINGLE_VALUES = 8  # numbers with more distinct values are cut into quantiles
_QUANTILES = (0.2, 0.4, 0.6, 0.8)
_MOST_CATEGORIES = 30
_DIGITS = 5  # of floats in the name of a group
_DAY_S = 86_400


@dataclass(frozen=True)
class UserGroups:
    """The users of a catalogue, grouped by one attribute.

    Attributes:
        attribute: its name.
        names: the names of the groups, in the order shown.
        group_of: (n_users,) int64: the group of each user.
    """

    attribute: str
    names: tuple[str, ...]
    group_of: NDArray[np.int64]


def read_user_groups(tables: GraphTables) -> tuple[UserGroups, ...]:
    """Groups the users by each sensitive attribute of the schema.

    Args:
        tables: the catalogue, its rows in the order of the heterograph's (`kgrec.graph.hetero.sort_tables`).
    """
    users, declared = tables.nodes[tables.schema.user_type], tables.schema.nodes[tables.schema.user_type]
    return tuple(group_values(name, users[name], declared.columns[name]) for name in declared.sensitive)


def group_values(attribute: str, values: pa.ChunkedArray, kind: str) -> UserGroups:
    """Groups users by their values of one attribute.

    Categories, booleans and lists give a group for each value; beyond the 29 most frequent ones they are "other".
    Numbers and dates give a group for each value, or five by quantiles if there are more than eight values. Users
    without a value are "missing".

    Args:
        attribute: its name.
        values: (n_users,) one value a user, or null.
        kind: its type in the schema.
    """
    if kind in ("int", "float", "time"):
        group_of, names = _group_numbers(values, kind)
    else:
        group_of, names = _group_categories(values)
    return UserGroups(attribute, names, group_of)


def _group_numbers(values: pa.ChunkedArray, kind: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    answered = pc.fill_null(pc.is_finite(values), fill_value=False).to_numpy()  # (n_users,)
    numbers = pc.fill_null(values, 0).to_numpy()[answered]
    name_of: Callable[[np.generic], str] = str
    if kind == "time":
        numbers, name_of = numbers // _DAY_S, lambda day: str(np.datetime64(int(day), "D"))
    elif kind == "float":
        numbers = np.array([float(f"{number:.{_DIGITS}g}") for number in numbers])  # or two groups might have one name
        name_of = "{:g}".format
    if len(np.unique(numbers)) <= _MOST_SINGLE_VALUES:
        cuts = np.unique(numbers)
    else:
        cuts = np.unique(np.quantile(numbers, _QUANTILES, method="lower"))
    _, codes = np.unique(np.searchsorted(cuts, numbers, side="left"), return_inverse=True)
    names = []
    for group in range(codes.max(initial=-1) + 1):
        ends = [name_of(end) for end in (numbers[codes == group].min(), numbers[codes == group].max())]
        names.append(" to ".join(dict.fromkeys(ends)))
    group_of = np.full(len(answered), len(names), np.int64)
    group_of[answered] = codes
    return group_of, (*names, MISSING)


def _group_categories(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    labels = np.array([_to_label(value) for value in values.to_pylist()], dtype=object)
    found, counts = np.unique(labels[labels != MISSING].astype(str), return_counts=True)
    if len(found) > _MOST_CATEGORIES:
        found = found[np.argsort(-counts, kind="stable")[: _MOST_CATEGORIES - 1]]
    kept = sorted({*found.tolist()} - {OTHER}, key=lambda name: (name.isdecimal() * len(name), name))
    names = (*kept, OTHER, MISSING)
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(label, places[OTHER]) for label in labels], np.int64), names


def _to_label(value: str | bool | Sequence[object] | None) -> str:
    """The name of a category: "yes", "a, b" for a list, "missing" for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else ", ".join(sorted(map(str, value or ())))
    return text.strip() or MISSING
