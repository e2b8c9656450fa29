"""Remarks on the ids of an end: missing ones, repeated keys, and the same ids written in two ways, as 12 and 12.0."""

import math

from graph_schema.drafts.profile import Guess
from loaders.files.id_spaces import describe_spaces
from loaders.profiles.column_profile import Column, to_plain
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End

_LEAST_NEAR = 0.3  # of the ids are only known when written plainly


def describe_ids(table: TableColumns, end: End, other: TableColumns | None) -> list[Guess]:
    """What a person should know of an end's ids.

    Args:
        table: the table with the end.
        end: the end.
        other: the table that it names; None: there is none.
    """
    column = table.columns[end.column]
    guesses = _describe_spaces(table, column)
    n_missing = table.n_rows - column.n_values
    if n_missing:
        share = n_missing / table.n_rows
        guesses.append(
            Guess(
                f"{table.name}.{column.name}",
                f"missing in {share:.1%} of the rows",
                "sure",
                f"rows without an id are rejected; to load with that many, give --max-rejects {_round_up(share)}",
            )
        )
    if other is None:
        return guesses
    key = other.columns[end.key]
    if end.near - end.known >= _LEAST_NEAR:
        guesses.append(
            Guess(
                f"{table.name}.{column.name}",
                f"written unlike {other.name}.{key.name}",
                "sure",
                f"{_show_form(column, key)}: {end.known:.0%} of its ids are the same, {end.near:.0%} would be if both "
                "were written alike; ids are compared as text, so write them alike in the files",
            )
        )
    return guesses


def describe_keys(table: TableColumns, key: str) -> list[Guess]:
    """What a person should know of the key of a table: rows that lack it or repeat it, spaces around it."""
    column = table.columns[key]
    guesses = _describe_spaces(table, column)
    n_missing, n_repeated = table.n_rows - column.n_values, 0 if column.is_capped else column.n_duplicates
    parts = [
        f"{n_missing:,} rows have none" if n_missing else "",
        f"{n_repeated:,} repeat another's" if n_repeated else "",
    ]
    wrong = " and ".join(part for part in parts if part)
    if wrong:
        choice, why = f"the key, though {wrong}", "such rows are rejected by a load"
        guesses.append(Guess(f"{table.name}.{key}", choice, "likely", why))
    return guesses


def _describe_spaces(table: TableColumns, column: Column) -> list[Guess]:
    if not column.n_spaced:
        return []
    told = describe_spaces(column.n_spaced)
    return [Guess(f"{table.name}.{column.name}", "ids without the spaces around them", "sure", told)]


def _show_form(column: Column, key: Column) -> str:
    """Two ids that are the same when written plainly, if the samples have some."""
    plain = {to_plain(text): text for text in key.samples}
    odd = next((text for text in column.samples if text not in key.samples and to_plain(text) in plain), None)
    if odd is None:
        return f"one has ids such as {next(iter(column.samples), '')!r}, the other {next(iter(key.samples), '')!r}"
    return f"{odd!r} here is {plain[to_plain(odd)]!r} there"


def _round_up(share: float) -> float:
    return min(math.ceil(share * 100 + 1) / 100, 1.0)
