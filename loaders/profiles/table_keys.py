"""Which column of a table holds the ids of its own rows, and which other columns may name them."""

from collections.abc import Mapping

from graph_schema.drafts.name_words import GRADES, WEIGHTS, split_id, split_words, to_singulars
from graph_schema.drafts.profile import NodeProfile
from graph_schema.drafts.roles import find_key, find_unit
from loaders.profiles.column_profile import Column, find_share
from loaders.profiles.table_columns import TableColumns

_MEASURES = ("year", "number", "n", "num", "nr", "total", "sum", "avg", "average", "price", "age", "size", "rank")
_MOSTLY = 0.9  # share of a column's distinct values that another column must have
_ALMOST = 0.95  # of the rows of a table have its key, and of these keys are distinct


def find_table_keys(tables: Mapping[str, TableColumns]) -> dict[str, str]:
    """Finds the key column of each table; tables without one are left out."""
    keys: dict[str, str] = {}
    for name, table in tables.items():
        found = find_key(NodeProfile(name, table.n_rows, table.profile()))
        shared = {key: _count_naming(key, table, tables) for key in table.named}
        best = max(shared, key=lambda key: shared[key], default="")
        if shared.get(best):
            keys[name] = best
        elif found is not None and found[1] != "a guess":
            keys[name] = found[0]
    for name in list(keys):
        if _is_borrowed(name, keys, tables):
            del keys[name]
    return keys


def names_table(words: list[str], table: str) -> bool:
    """Whether the words of a column, such as user of "user_id", name the rows of a table, such as users."""
    return bool(words) and bool({"_".join(words), words[-1]} & to_singulars(table))


def is_same_name(one: str, other: str) -> bool:
    """Whether two columns are called the same, as movieId and movie_id are."""
    return split_words(one) == split_words(other)


def names_alike(naming: str, key: str) -> bool:
    """Whether two columns name the same things, as item_id and item do."""
    words, own = split_id(naming)[0], split_id(key)[0]
    return bool(words) and words == own


def is_almost_unique(column: Column, table: TableColumns) -> bool:
    """Whether nearly every row of a table has an id of its own in a column."""
    is_there = column.n_values >= _ALMOST * max(table.n_rows, 1)
    return is_there and column.kind in ("string", "int") and column.n_duplicates <= (1 - _ALMOST) * column.n_values


def find_known_share(column: Column, key: Column) -> float:
    """The share of a column's distinct values that are among those of another column, 0 to 1."""
    return find_share(column.values, key.values)


def is_measure(column: Column) -> bool:
    """Whether a column is called like a number that counts or measures."""
    words = {word for one in split_words(column.name) for word in (one, one.removesuffix("s"))}
    return not split_id(column.name)[1] and bool(words & {*WEIGHTS, *GRADES, *_MEASURES})


def _count_naming(name: str, table: TableColumns, tables: Mapping[str, TableColumns]) -> int:
    """The rows of other tables that name this table's rows by a column: called alike, with values that it has."""
    column = table.columns[name]
    if not is_almost_unique(column, table) or is_measure(column) or find_unit(table.profile()[name]) is not None:
        return 0
    n_rows = 0
    for other in tables.values():
        for naming in other.named.values():
            is_naming = naming.is_unique is False and not is_almost_unique(naming, other)
            is_alike = is_same_name(naming.name, name) or _is_id_of(naming.name, name, table.name)
            is_alike = is_alike or names_alike(naming.name, name)
            if other is not table and is_naming and is_alike and find_known_share(naming, column) >= _MOSTLY:
                n_rows += naming.n_values
    return n_rows


def _is_id_of(naming: str, name: str, table: str) -> bool:
    """Whether "movie_id" names the column "id" of the table movies."""
    words, is_id = split_id(naming)
    return is_id and split_words(name) == ["id"] and names_table(words, table)


def _is_borrowed(name: str, keys: Mapping[str, str], tables: Mapping[str, TableColumns]) -> bool:
    """Whether a table's key column holds the ids of another table's rows, and so is not its own key, though unique."""
    key = keys[name]
    words = split_id(key)[0]
    for other, other_key in keys.items():
        is_named = names_table(words, other) and not names_table(words, name)
        # of two tables with the same key, the one that describes its rows better owns it
        is_alike = is_same_name(other_key, key) and split_words(key) != ["id"]
        is_alike = is_alike and not names_table(words, name) and _rank(tables[other]) > _rank(tables[name])
        if other != name and (is_named or is_alike):
            column, other_column = tables[name].columns[key], tables[other].columns[other_key]
            if find_known_share(column, other_column):
                return True
    return False


def _rank(table: TableColumns) -> tuple[bool, int, int]:
    return table.find_title() is not None, len(table.columns), table.n_rows
