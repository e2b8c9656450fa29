"""Profiles a folder of tables to draft a schema from: which tables list things, and which link them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graph_schema import CatalogueError
from graph_schema.name_words import (
    is_entity_name,
    is_item_name,
    is_known_word,
    is_user_name,
    split_id,
    split_words,
    to_singulars,
)
from graph_schema.profile import GraphProfile, Guess, NodeProfile, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.roles import find_key, find_name, find_texts
from graph_schema.schema_types import is_name
from loaders.column_profile import Column, OnRows, TableColumns, find_tables, read_table
from loaders.table_keys import find_known_share, find_table_keys, names_table
from loaders.tabular import SUFFIXES

_ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("head", "tail"), ("start", "end"))
_MOST_EDGE_COLUMNS = 4  # in a table that links an id to a word


def read_profile(folder: Path, encoding: str | None = None, on_rows: OnRows | None = None) -> GraphProfile:
    """Profiles a folder of CSV or Parquet tables.

    Args:
        folder: the folder.
        encoding: the encoding of CSV files; None for UTF-8, or UTF-16 with a byte order mark.
        on_rows: called with a table's name and the number of its rows just read.

    Raises:
        CatalogueError: the folder is missing or has no tables, or a file cannot be read.
    """
    if not folder.is_dir():
        raise CatalogueError(f"no folder {folder}; expected one with CSV or Parquet files")
    files = find_tables(folder)
    if not files:
        raise CatalogueError(f"{folder} has no tables; expected files that end in {', '.join(SUFFIXES)}")
    tables = {name: read_table(name, parts, encoding, on_rows) for name, parts in files.items()}
    return _Sorting(folder, tables).run()


@dataclass(frozen=True)
class _End:
    """A column that names nodes.

    Attributes:
        column: its name.
        table: the table, or type, of the nodes.
        known: the share of its distinct values that are keys of that table; 1 if there is no such table.
        why: the evidence.
    """

    column: str
    table: str
    known: float
    why: str


@dataclass
class _Sorting:
    """Sorts tables into tables of things and tables of links."""

    folder: Path
    tables: Mapping[str, TableColumns]
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # table -> its key column
    more: dict[str, str] = field(default_factory=dict)  # type without a table -> the name of its key

    def run(self) -> GraphProfile:
        usable = {name: table for name, table in self.tables.items() if self._is_usable(table)}
        self.keys = find_table_keys(usable)
        ends = {name: self._find_ends(table, usable) for name, table in usable.items()}
        named = {end.table for name, found in ends.items() for end in found if end.table != name}
        links: dict[str, tuple[_End, _End]] = {}
        for name, table in usable.items():
            pair = self._choose_pair(table, ends[name], is_named=name in named)
            if pair is not None:
                links[name] = pair
        nodes, relationships = {}, []
        linked = {end.table for pair in links.values() for end in pair}
        partly: dict[str, float] = {}  # table -> the smallest share of an end's ids that it holds
        for name, pair in links.items():
            relationships.append(self._build_edge(usable[name], pair, ends[name]))
            for end in pair:
                if end.table in usable and end.known < 1:
                    partly[end.table] = min(partly.get(end.table, 1.0), end.known)
        for name, table in usable.items():
            if name in links:
                continue
            self._note_unlinked(table, ends[name])
            if name in partly:
                self.guesses.append(
                    Guess(
                        name,
                        "from_edges = true",
                        "likely",
                        f"only {partly[name]:.1%} of the ids that edges name are in the table: the others are added "
                        "without attributes",
                    )
                )
            nodes[name] = NodeProfile(
                name,
                table.n_rows,
                table.profile(),
                label=self._to_label(name),
                key=self.keys.get(name, "") if name in linked else "",
                from_edges=name in partly,
                ignore=table.unnamed,
            )
        for name, key in self.more.items():
            naming = [
                usable[edge].columns[end.column] for edge, pair in links.items() for end in pair if end.table == name
            ]
            n, samples = max(column.n_distinct for column in naming), tuple(naming[0].samples)
            one = PropertyProfile(key, {"string": n}, 1.0, 1.0, is_unique=True, samples=samples)
            nodes[name] = NodeProfile(name, n, {key: one}, label=self._to_label(name), key=key, from_edges=True)
        return GraphProfile(
            place=str(self.folder),
            name=self.folder.resolve().name,
            nodes=nodes,
            relationships=tuple(relationships),
            guesses=tuple(self.guesses),
            left_out=tuple(self.left_out),
            is_tables=True,
        )

    def _is_usable(self, table: TableColumns) -> bool:
        reason = ""
        if table.repeated:
            reason = f"it has two columns called {', '.join(map(repr, table.repeated))}: rename one"
        elif table.n_rows == 0:
            reason = "it has no rows"
        elif not is_name(table.name):
            reason = "a schema cannot hold that name: it must begin with a letter; rename the file"
        if reason:
            self.left_out.append(f"the table {table.name}: {reason}")
        if table.n_broken:
            self.left_out.append(f"the table {table.name}: {table.n_broken:,} rows that do not fit its header")
        return not reason

    # -- what columns name ---------------------------------------------------------------------------------------------

    def _find_ends(self, table: TableColumns, usable: Mapping[str, TableColumns]) -> list[_End]:
        """The columns that name nodes, each with the table or type that it names."""
        ends = [
            end
            for column in table.named.values()
            if column.n_values and (end := self._find_end(table, column, usable)) is not None
        ]
        own = self.keys.get(table.name)
        unresolved = {end.column for end in ends}
        for column in table.named.values():
            words, is_id = split_id(column.name)
            is_thing = is_user_name(words) or is_item_name(words) or is_entity_name(words)
            if column.name in unresolved or column.name == own or not words or column.kind not in ("string", "int"):
                continue
            if is_id or (is_thing and column.is_unique is False and not _is_prose(column)):
                ends.append(_End(column.name, "_".join(words), 1.0, "no table has these ids"))
        return sorted(ends, key=lambda end: list(table.columns).index(end.column))

    def _find_end(self, table: TableColumns, column: Column, usable: Mapping[str, TableColumns]) -> _End | None:
        words, is_id = split_id(column.name)
        is_end = any(column.name.lower() in pair for pair in _ENDS)
        if column.name == self.keys.get(table.name) and names_table(words, table.name):
            return None
        best: tuple[float, float, _End] | None = None
        for name, key in self.keys.items():
            if name == table.name and column.name == key:
                continue
            known = find_known_share(column, usable[name].columns[key])
            same_name = column.name == key and split_words(key) != ["id"]
            says_it = same_name or names_table(words, name)
            # small numbers occur in many columns: they prove nothing without a matching name
            is_telling = (column.kind == "string" and column.n_distinct >= 5 and known >= 0.95) or is_end  # noqa: PLR2004
            if name == table.name and not (is_id or is_end):
                continue
            if (says_it and known > 0) or (is_telling and known >= 0.9):  # noqa: PLR2004
                why = "by its name" if says_it else "by its values"
                end = _End(column.name, name, known, why)
                if best is None or (says_it, known) > best[:2]:
                    best = says_it, known, end
        return None if best is None else best[2]

    def _choose_pair(self, table: TableColumns, ends: Sequence[_End], *, is_named: bool) -> tuple[_End, _End] | None:
        """The two ends of a table of links; None: it is a table of things."""
        key = self.keys.get(table.name)
        things = NodeProfile(table.name, table.n_rows, table.profile())
        title = find_name(things, key or "")
        has_text = title is not None or bool(find_texts(things, key or "", title))
        of_users = [end for end in ends if self._is_user(end)]
        pair: tuple[_End, _End] | None = None
        if is_named and not of_users:
            pair = None
        elif len(ends) >= 2:  # noqa: PLR2004
            # a thing with its own name that refers to others is not a link
            if not is_named and (of_users or not (key is not None and has_text)):
                pair = self._order(of_users, ends)
        elif len(ends) == 1 and key is None and len(table.columns) <= _MOST_EDGE_COLUMNS:
            pair = self._with_word(table, ends[0])
        if pair is None and key is None:
            fallback = find_key(things)
            if fallback is None:
                self.left_out.append(f"the table {table.name}: no column is unique, and no two columns name things")
        if pair is None:
            return None
        for end in pair:
            if end.table not in self.tables or end.table not in self.keys:
                self._add_type(table, end)
        resolved = [self._resolve(end) for end in pair]
        sure: Sureness = "likely" if all(end.why == "by its name" for end in pair) else "a guess"
        why = ", ".join(f"{end.column} names {end.table} ({end.why})" for end in resolved)
        self.guesses.append(Guess(table.name, "a table of links", sure, why))
        if len(ends) > 2:  # noqa: PLR2004
            rest = ", ".join(end.column for end in ends if end not in pair)
            self.guesses.append(
                Guess(table.name, f"{rest}: no end", "likely", "an edge has two ends; it stays an attribute")
            )
        return resolved[0], resolved[1]

    def _order(self, of_users: Sequence[_End], ends: Sequence[_End]) -> tuple[_End, _End]:
        if not of_users:
            return ends[0], ends[1]
        others = [end for end in ends if end not in of_users]
        items = [end for end in others if is_item_name(split_id(end.column)[0]) or is_item_name(split_words(end.table))]
        return (of_users[0], (items or others)[0]) if others else (of_users[0], of_users[1])

    def _with_word(self, table: TableColumns, end: _End) -> tuple[_End, _End] | None:
        """A link from an id to a word, such as the tag of a film."""
        words = [
            column
            for column in table.named.values()
            if column.name != end.column and column.kind == "string" and not _is_prose(column)
        ]
        if len(words) != 1 or table.columns[end.column].is_unique is not False or words[0].is_unique is not False:
            return None
        return end, _End(words[0].name, words[0].name, 1.0, "no table has these words")

    def _is_user(self, end: _End) -> bool:
        return is_user_name(split_id(end.column)[0]) or is_user_name(split_words(end.table))

    def _add_type(self, table: TableColumns, end: _End) -> None:
        name = end.table if is_name(end.table) and end.table not in self.tables else f"{end.table}_node"
        is_end = any(end.column.lower() in pair for pair in _ENDS)
        self.more.setdefault(name, f"{name}_id" if is_end else end.column)

    def _resolve(self, end: _End) -> _End:
        if end.table in self.keys or end.table in self.more:
            return end
        return _End(end.column, f"{end.table}_node", end.known, end.why)

    # -- profiles ------------------------------------------------------------------------------------------------------

    def _build_edge(self, table: TableColumns, pair: tuple[_End, _End], ends: Sequence[_End]) -> RelationshipProfile:
        start, end = (table.columns[one.column] for one in pair)
        own = self.keys.get(table.name)
        # a number per row, such as an order number, carries no information
        ignored = [own] if own is not None and split_id(own)[1] and own not in (start.name, end.name) else []
        return RelationshipProfile(
            start=pair[0].table,
            type=table.name,
            end=pair[1].table,
            count=table.n_rows,
            n_starts=start.n_distinct,
            n_ends=end.n_distinct,
            max_out=int(start.counts.max(initial=0)),
            max_in=int(end.counts.max(initial=0)),
            properties=table.profile({start.name, end.name, *ignored}),
            start_column=start.name,
            end_column=end.name,
            ignore=(*table.unnamed, *ignored),
        )

    def _note_unlinked(self, table: TableColumns, ends: Sequence[_End]) -> None:
        key = self.keys.get(table.name)
        for end in ends:
            if key is not None and end.table in self.keys and end.column != key:
                self.left_out.append(
                    f"{table.name}.{end.column} names {end.table}, but links need a table of their own: write one with "
                    f"the columns {key}, {end.column} to link them; here it stays an attribute"
                )

    def _to_label(self, name: str) -> str:
        """A label such as `Product` for the table products."""
        *first, last = split_words(name) or [name]
        words = {split_id(column)[0][-1] for t in self.tables.values() for column in t.columns if split_id(column)[0]}
        known = sorted((one for one in to_singulars(last) - {last} if one in words or is_known_word(one)), key=len)
        if last in words or not last.endswith("s") or last.endswith(("ss", "us", "is", "series")):
            single = last
        elif known:
            single = known[-1]
        elif last.endswith("ies"):
            single = f"{last[:-3]}y"
        else:
            single = last[:-2] if last.endswith(("ses", "xes", "ches", "shes")) else last[:-1]
        return "".join(word[:1].upper() + word[1:] for word in (*first, single))


def _is_prose(column: Column) -> bool:
    return column.length / max(column.n_values, 1) > 40  # noqa: PLR2004
