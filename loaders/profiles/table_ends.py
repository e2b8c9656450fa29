"""Which columns of a table name nodes: the rows of another table, or things that no table has."""

from collections.abc import Mapping
from dataclasses import dataclass

from graph_schema.drafts.name_words import (
    NAMES,
    is_entity_name,
    is_item_name,
    is_user_name,
    split_id,
    split_words,
)
from loaders.profiles.column_profile import Column, find_share
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_keys import (
    find_known_share,
    is_almost_unique,
    is_measure,
    is_same_name,
    names_alike,
    names_table,
)

PAIRS = (("source", "target"), ("src", "dst"), ("from", "to"), ("head", "tail"), ("start", "end"))
_ITEM_CODES = ("isbn", "isbn13", "isbn10", "asin", "sku", "ean", "gtin", "uri", "slug")
_KIND_WORDS = ("event", "behav", "action", "activit", "interaction")
_MOST_KINDS = 12
_LONG = 40  # characters per value from which text is prose
_SAYS_NOTHING = 0.5  # a share of known ids below this, beside other names
_MOSTLY, _NEARLY_ALL, _SEVERAL = 0.9, 0.95, 5


@dataclass(frozen=True)
class End:
    """A column that names nodes.

    Attributes:
        column: its name.
        table: the table, or type, of the nodes.
        key: the column of that table with the ids; empty where there is no such table.
        known: the share of its distinct values that are ids of that table; 1 if there is no such table.
        near: that share, were all ids written plainly: "12" for "12.0", " 12" and "012".
        why: the evidence.
    """

    column: str
    table: str
    key: str
    known: float
    why: str
    near: float = 0.0

    @property
    def is_user(self) -> bool:
        """Whether it names users."""
        return is_user_name(split_id(self.column)[0]) or is_user_name(split_words(self.table))

    @property
    def is_called(self) -> bool:
        """Whether its name says what it names."""
        return self.why == BY_NAME


BY_NAME, BY_VALUES = "by its name", "by its values"


def find_ends(table: TableColumns, tables: Mapping[str, TableColumns], keys: Mapping[str, str]) -> list[End]:
    """Finds the columns that name nodes, in the order of the table.

    Args:
        table: the table.
        tables: all tables.
        keys: table -> its key.
    """
    ends = []
    for column in table.named.values():
        if not column.n_values:
            continue
        end = _find_known(table, column, tables, keys)
        if end is None and column.name != keys.get(table.name) and is_naming(column):
            words = split_id(column.name)[0]
            end = End(column.name, "_".join(words) or "item", "", 1.0, "no table has these ids")
        if end is not None:
            ends.append(end)
    return ends


def is_naming(column: Column) -> bool:
    """Whether a column names things by what it is called: an id, or a usual word for users, items and the like."""
    words, is_id = split_id(column.name)
    if column.kind not in ("string", "int") or names_kinds(column):
        return False
    if not words:  # an isbn or a sku names items, "id" names nothing
        return is_id and split_words(column.name)[-1] in _ITEM_CODES and column.is_unique is False
    # readers = 12 counts them
    if column.kind == "int" and not is_id and words[-1].endswith("s") and not words[-1].endswith(("ss", "us", "is")):
        return False
    is_thing = (is_user_name(words) or is_item_name(words) or is_entity_name(words)) and words[-1] not in NAMES
    return is_id or (is_thing and column.is_unique is False and not is_prose(column))


def names_kinds(column: Column) -> bool:
    """Whether a column says what a user did with an item, as event = view, cart or buy."""
    is_called = any(word.startswith(_KIND_WORDS) for word in split_words(column.name)) and not split_id(column.name)[1]
    return is_called and column.kind == "string" and 1 < column.n_distinct <= _MOST_KINDS


def is_prose(column: Column) -> bool:
    """Whether a column holds texts longer than names."""
    return column.length / max(column.n_values, 1) > _LONG


def is_end_word(name: str) -> bool:
    """Whether a column is called as the ends of edges usually are: source, target, from, to."""
    return any(name.lower() in pair for pair in PAIRS)


def find_list(column: Column, tables: Mapping[str, TableColumns], keys: Mapping[str, str]) -> End | None:
    """The table whose ids a column has lists of."""
    if not column.separator or not len(column.entries):
        return None
    words = split_words(column.name)
    best: End | None = None
    for name, key in keys.items():
        ids = tables[name].columns[key]
        known = find_share(column.entries, ids.values)
        is_named = names_table(split_id(column.name)[0], name) or bool({*words} & {*split_words(name)})
        is_worded = _has_letters(ids) and len(column.entries) >= _SEVERAL
        # lists such as also_bought hold ids of no table by their name: the values must say so
        if known >= (_SAYS_NOTHING if is_named else _MOSTLY) and (is_named or is_worded or column.kind == "list"):
            found = End(column.name, name, key, known, BY_NAME if is_named else BY_VALUES)
            if best is None or (found.is_called, found.known) > (best.is_called, best.known):
                best = found
    return best


def _find_known(
    table: TableColumns, column: Column, tables: Mapping[str, TableColumns], keys: Mapping[str, str]
) -> End | None:
    """The table, and the column of it, that a column names."""
    own = keys.get(table.name)
    if column.name == own and names_table(split_id(column.name)[0], table.name):
        return None
    found = []
    for name in keys:
        for key in _list_keys(tables[name], keys[name]):
            if name == table.name and column.name in (key, own):
                continue
            end = _compare(table, column, tables[name], key, is_main=key == keys[name])
            if end is not None:
                found.append((end.is_called, end.known, key == keys[name], end))
    if not found:
        return None
    return max(found, key=lambda one: one[:3])[3]


def _list_keys(table: TableColumns, key: str) -> list[str]:
    """The key of a table, and its other columns that are unique and called an id."""
    others = [
        name
        for name, column in table.named.items()
        if name != key and split_id(name)[1] and column.is_unique is not False and is_almost_unique(column, table)
    ]
    return [key, *others]


def _compare(table: TableColumns, column: Column, other: TableColumns, key: str, *, is_main: bool) -> End | None:
    """Compares a column with the ids of a table; None: it does not name them."""
    if column.kind not in ("string", "int", "float"):
        return None
    ids = other.columns[key]
    known = find_known_share(column, ids)
    near = max(known, find_share(column.plain, ids.plain))
    words, is_id = split_id(column.name)
    is_same = is_same_name(column.name, key) and split_words(key) != ["id"]
    says_it = is_same or (names_table(words, other.name) and (is_main or split_words(key) == ["id"]))
    says_it = says_it or (is_main and known >= _MOSTLY and names_alike(column.name, key))
    if not is_same and (is_measure(column) or (column.kind == "float" and not len(column.odd))):
        says_it = False
    if column.kind != "string" and not (is_same or is_id or is_naming(column)):
        says_it = False
    if other is table and not (is_id or is_end_word(column.name)):
        return None
    if says_it and near > 0 and (is_main or known >= _MOSTLY):
        return End(column.name, other.name, key, known, BY_NAME, near)
    # small numbers occur in many columns: they prove nothing without a matching name
    is_telling = column.kind == "string" and _has_letters(ids) and column.n_distinct >= _SEVERAL
    if is_main and ((is_telling and known >= _NEARLY_ALL) or (is_end_word(column.name) and known >= _MOSTLY)):
        return End(column.name, other.name, key, known, BY_VALUES, near)
    return None


def _has_letters(column: Column) -> bool:
    return sum(any(char.isalpha() for char in text) for text in column.samples) * 2 > len(column.samples)
