"""Which column of a table holds the ids of its own rows."""

from collections.abc import Mapping

import numpy as np

from graph_schema.name_words import split_id, split_words, to_singulars
from graph_schema.profile import NodeProfile
from graph_schema.roles import find_key, find_name, find_texts
from loaders.column_profile import Column, TableColumns

_MOSTLY = 0.9  # share of a column's distinct values that another column must have


def find_table_keys(tables: Mapping[str, TableColumns]) -> dict[str, str]:
    """Finds the key column of each table; tables without one are left out."""
    keys: dict[str, str] = {}
    for name, table in tables.items():
        found = find_key(NodeProfile(name, table.n_rows, table.profile()))
        shared = next((key for key in table.named if _is_shared_key(key, table, tables)), None)
        if shared is not None:
            keys[name] = shared
        elif found is not None and found[1] != "a guess":
            keys[name] = found[0]
    for name in list(keys):
        if _is_borrowed(name, keys, tables):
            del keys[name]
    return keys


def names_table(words: list[str], table: str) -> bool:
    """Whether the words of a column, such as user of "user_id", name the rows of a table, such as users."""
    return bool(words) and bool({"_".join(words), words[-1]} & to_singulars(table))


def find_known_share(column: Column, key: Column) -> float:
    """The share of a column's distinct values that are among those of another column, 0 to 1."""
    if not column.n_distinct:
        return 0.0
    return float(np.isin(column.values, key.values, assume_unique=True).mean())


def _is_shared_key(name: str, table: TableColumns, tables: Mapping[str, TableColumns]) -> bool:
    """Whether a column is unique and another table has a column of the same name with such values."""
    column = table.columns[name]
    if column.is_unique is False or column.n_values < table.n_rows or column.kind not in ("string", "int"):
        return False
    return any(
        name in other.columns
        and other.columns[name].is_unique is False
        and find_known_share(other.columns[name], column) >= _MOSTLY
        for other in tables.values()
    )


def _is_borrowed(name: str, keys: Mapping[str, str], tables: Mapping[str, TableColumns]) -> bool:
    """Whether a table's key column holds the ids of another table's rows, and so is not its own key, though unique."""
    key = keys[name]
    words = split_id(key)[0]
    for other, other_key in keys.items():
        is_named = names_table(words, other) and not names_table(words, name)
        # of two tables with the same key, the one that describes its rows better owns it
        is_alike = other_key == key and split_words(key) != ["id"] and _rank(tables[other]) > _rank(tables[name])
        if other != name and (is_named or is_alike):
            column, other_column = tables[name].columns[key], tables[other].columns[other_key]
            if find_known_share(column, other_column):
                return True
    return False


def _rank(table: TableColumns) -> tuple[bool, int, int]:
    things = NodeProfile(table.name, table.n_rows, table.profile())
    title = find_name(things, "")
    return title is not None or bool(find_texts(things, "", title)), len(table.columns), table.n_rows
