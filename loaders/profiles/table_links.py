"""Which tables are links, and between what; which are steps of a path from users to items."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graph_schema.drafts.name_words import (
    is_document_name,
    is_entity_name,
    is_gathering_name,
    is_item_name,
    is_place_name,
    split_id,
    split_words,
)
from loaders.profiles.column_profile import Column, find_share
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End, is_end_word, is_prose

_MOST_LINK_COLUMNS = 4  # in a table that links an id to a word
_MOST_PAIR_COLUMNS = 4  # in a table that links users to users
_LEAST_SHARED = 0.5  # of the ids of a second column that are ids of the first, where both name users
_SOCIAL = ("friend", "trust", "follow", "contact", "social", "network", "know", "freund")


@dataclass(frozen=True)
class TablePath:
    """Two tables that lead from users to items: orders, and their lines.

    Attributes:
        first: the table that names the user.
        last: the table that names the item.
        join: as in `EdgeType.join`, between the two.
        user: the end in the first table.
        item: the end in the last table.
        joined: the columns of `first` and `last` that are joined.
    """

    first: str
    last: str
    join: str
    user: End
    item: End
    joined: tuple[str, str]


def find_paths(
    tables: Mapping[str, TableColumns], ends: Mapping[str, Sequence[End]], keys: Mapping[str, str]
) -> list[TablePath]:
    """Finds the pairs of tables that lead from users to items over orders or the like.

    Args:
        tables: all tables.
        ends: table -> its columns that name nodes.
        keys: table -> its key.
    """
    paths = []
    for last, found in ends.items():
        if any(end.is_user for end in found):
            continue
        for via in found:
            first = via.table
            if first == last or first not in keys or via.key != keys[first]:
                continue
            items = [end for end in found if end is not via and end.table != first]
            user = _find_user(first, ends[first])
            if user is None or not items:
                continue
            item = choose_item(items)
            if not _gathers(tables[first], tables, keys, item):
                continue
            join = via.key if via.key == via.column else f"{via.key}={via.column}"
            paths.append(TablePath(first, last, join, user, item, (via.key, via.column)))
    return paths


def _find_user(table: str, ends: Sequence[End]) -> End | None:
    """The end that names the user of an order; where none is called so, the only one that may."""
    named = next((end for end in ends if end.is_user), None)
    if named is not None or not is_document_name(split_words(table)):
        return named
    others = [end for end in ends if end.key and not _is_other(end) and not is_item_name(split_words(end.table))]
    return others[0] if len(others) == 1 else None


def _gathers(table: TableColumns, tables: Mapping[str, TableColumns], keys: Mapping[str, str], item: End) -> bool:
    """Whether the rows of a table gather what one user chose: by its name, or since they have no name of their own."""
    words = split_words(table.name)
    if is_gathering_name(words):
        return True
    if table.find_title(keys[table.name]) is not None:
        return False
    has_title = bool(item.key) and tables[item.table].find_title(keys[item.table]) is not None
    return not is_item_name(words) or (has_title and not _is_other(item))


def _is_other(end: End) -> bool:
    """Whether an end is called like what items are linked to, or like a place."""
    words = split_id(end.column)[0]
    return is_entity_name(words) or is_place_name(words)


def choose_item(ends: Sequence[End]) -> End:
    """The end that most likely names items: of a table that is there, called like an item, no order, no place."""

    def worth(end: End) -> tuple[bool, bool, bool, bool]:
        words, names = split_id(end.column)[0], split_words(end.table)
        is_item = is_item_name(words) or is_item_name(names) or not words
        is_other = _is_other(end)
        return not is_gathering_name(words), bool(end.key) and not is_other, is_item, not is_other

    return max(ends, key=worth)


def choose_pair(
    table: TableColumns, ends: Sequence[End], key: str | None, users: Sequence[Column], *, is_named: bool
) -> tuple[End, End] | None:
    """The two ends of a table of links; None: it is a table of things.

    Args:
        table: the table.
        ends: its columns that name nodes.
        key: its key; None: it has none.
        users: the columns of all tables that name users.
        is_named: whether a column of another table names its rows.
    """
    of_users = [end for end in ends if end.is_user]
    if is_named and not of_users:
        return None
    if len(ends) >= 2:  # noqa: PLR2004
        # a thing with its own name that refers to others is no link
        is_thing = is_named or (not of_users and key is not None and table.find_title(key) is not None)
        return None if is_thing else _order(of_users, ends)
    if len(ends) == 1 and key is None:
        if of_users and (friend := _find_friend(table, of_users[0], users)) is not None:
            return of_users[0], friend
        return _find_word(table, ends[0])
    if not ends and key is None:
        return _find_bare_pair(table)
    return None


def _order(of_users: Sequence[End], ends: Sequence[End]) -> tuple[End, End]:
    if not of_users:
        return ends[0], ends[1]
    others = [end for end in ends if end not in of_users]
    return (of_users[0], choose_item(others)) if others else (of_users[0], of_users[1])


def _find_friend(table: TableColumns, user: End, users: Sequence[Column]) -> End | None:
    """The second column of users in a table such as trusts(user, trusted), whose name does not say so."""
    others = [
        column
        for column in table.named.values()
        if column.name != user.column and column.kind == table.columns[user.column].kind and not is_prose(column)
    ]
    if len(table.columns) > _MOST_PAIR_COLUMNS or not others:
        return None
    first, second = split_words(table.name)[-1:], split_words(others[0].name)[-1:]
    is_social = any(word.startswith(_SOCIAL) for word in (*split_words(table.name), *second))
    is_alike = bool(first and second) and first[0][:4] == second[0][:4]
    known = max((find_share(others[0].values, ids.values) for ids in users), default=0.0)
    if not (is_social or is_alike) or known < _LEAST_SHARED:
        return None
    return replace(user, column=others[0].name, why=f"{known:.0%} of its ids are users")


def _find_word(table: TableColumns, end: End) -> tuple[End, End] | None:
    """A link from an id to a word, such as the tag of a film."""
    words = [
        column
        for column in table.named.values()
        if column.name != end.column and column.kind == "string" and not is_prose(column)
    ]
    if len(table.columns) > _MOST_LINK_COLUMNS or len(words) != 1:
        return None
    if table.columns[end.column].is_unique is not False or words[0].is_unique is not False:
        return None
    return end, End(words[0].name, words[0].name, "", 1.0, "no table has these words")


def _find_bare_pair(table: TableColumns) -> tuple[End, End] | None:
    """The ends of a table of two columns that no table and no usual word explains, such as source and target."""
    columns = list(table.named.values())
    if len(columns) != 2 or any(column.is_unique is not False or is_prose(column) for column in columns):  # noqa: PLR2004
        return None
    if any(column.kind not in ("string", "int") for column in columns):
        return None
    first, second = columns
    shared = find_share(first.values, second.values)
    if is_end_word(first.name) and shared >= _LEAST_SHARED:
        name = re.sub(r"s$", "", table.name)
        return tuple(End(one.name, f"{name}_end", "", 1.0, "both columns share ids") for one in columns)  # type: ignore[return-value]
    return tuple(End(one.name, one.name, "", 1.0, "no table has these ids") for one in columns)  # type: ignore[return-value]
