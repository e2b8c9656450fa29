"""Names for the columns of tables whose files have no header, by their values."""

import re
from collections.abc import Mapping

from graph_schema.drafts.name_words import is_known_word, is_user_name, split_id, split_words, to_singulars
from graph_schema.drafts.roles import find_unit
from loaders.profiles.column_profile import Column
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import is_prose
from loaders.profiles.table_keys import find_known_share, is_almost_unique

_TRIPLES = ("kg", "triple", "triples", "triplet", "triplets", "kb", "graph")
_MOST_RELATIONS = 100
_MOST_GRADE = 100
_MOSTLY = 0.9
_FIRST_S, _LAST_S = 600_000_000, 4_102_444_800  # 1989 to 2100, as epoch seconds


def name_columns(tables: Mapping[str, TableColumns]) -> dict[str, tuple[str, ...]]:
    """Names the columns of tables without a header: table -> the names, in order.

    Tables of things have a unique first column and a title. In others the first two columns that are no time name a
    user and an item, unless a table of things has their ids.

    Args:
        tables: the tables without a header; their columns may have any names.
    """
    things = {name: table for name, table in tables.items() if _lists_things(table)}
    named = {name: _name_things(table) for name, table in things.items()}
    keys = {named[name][0]: next(iter(table.columns.values())) for name, table in things.items()}
    for name, table in tables.items():
        if name not in things:
            named[name] = _name_triples(table) or _name_links(table, keys)
    return named


def _lists_things(table: TableColumns) -> bool:
    first, *others = table.columns.values()
    has_text = any(column.kind == "string" and not column.is_coded for column in others)
    return has_text and is_almost_unique(first, table) and first.is_unique is not False


def _name_things(table: TableColumns) -> tuple[str, ...]:
    singulars = sorted((one for one in to_singulars(table.name) if one.isidentifier()), key=len, reverse=True)
    known = [one for one in singulars if is_known_word(one)]
    names = [f"{next(iter([*known[-1:], *singulars[1:], *singulars]), 'row')}_id"]
    has_title = False
    for place, column in enumerate(list(table.columns.values())[1:], 2):
        if is_time(column):
            names.append("date" if "date" not in names else f"column_{place}")
        elif (
            column.kind == "string"
            and not has_title
            and not is_prose(column)
            and column.n_distinct * 2 > column.n_values
        ):
            names.append("title")
            has_title = True
        elif column.kind == "string" and is_prose(column) and "text" not in names:
            names.append("text")
        else:
            names.append(f"column_{place}")
    return tuple(names)


def _name_triples(table: TableColumns) -> tuple[str, ...]:
    columns = list(table.columns.values())
    is_called = any(word in _TRIPLES for word in split_words(table.name))
    if not is_called or len(columns) != 3 or columns[1].n_distinct > _MOST_RELATIONS:  # noqa: PLR2004
        return ()
    return ("head_id", "relation_id", "tail_id")


def _name_links(table: TableColumns, keys: Mapping[str, Column]) -> tuple[str, ...]:
    columns = list(table.columns.values())
    may_be_ends = [one for one in columns if not is_time(one) and one.kind in ("string", "int") and not is_prose(one)]
    ends = dict(zip((one.name for one in may_be_ends), ("user_id", "item_id"), strict=False))
    for key, ids in keys.items():
        # ids of one table may lie within those of another: the columns must cover each other
        shares = {name: _find_overlap(table.columns[name], ids) for name in ends}
        is_of_users = is_user_name(split_id(key)[0])
        order = list(ends) if is_of_users else list(reversed(ends))
        best = max(order, key=lambda name: shares[name], default=None)
        if best is not None and find_known_share(table.columns[best], ids) >= _MOSTLY:
            ends[best] = key
    names: list[str] = []
    for place, column in enumerate(columns, 1):
        name = f"column_{place}"
        if column.name in ends:
            name = ends[column.name]
        elif is_time(column):
            name = "timestamp"
        elif column.kind in ("int", "float"):
            name = "rating" if column.numbers.high <= _MOST_GRADE else "count"
        names.append(name if name not in names else f"column_{place}")
    return tuple(names)


def _find_overlap(column: Column, ids: Column) -> float:
    return find_known_share(column, ids) * find_known_share(ids, column)


def is_time(column: Column) -> bool:
    """Whether a column holds times, whatever it is called."""
    profile = column.profile()
    if find_unit(profile) is not None or profile.time_format:
        return True
    low, high = column.numbers.low, column.numbers.high
    is_epoch = any(_FIRST_S * unit <= low <= high < _LAST_S * unit for unit in (1, 1000))  # seconds or milliseconds
    is_date = bool(column.samples) and all(re.match(r"(19|20)\d\d-\d\d-\d\d", text) for text in column.samples)
    return column.kind in ("int", "float", "time", "string") and (is_date or (is_epoch and column.kind != "string"))
