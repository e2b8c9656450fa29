"""Profiles a folder of tables to draft a schema from: which tables list things, and which link them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graph_schema import CatalogueError
from graph_schema.drafts.name_words import is_entity_name, is_place_name, split_id
from graph_schema.drafts.profile import GraphProfile, Guess, NodeProfile, RelationshipProfile, Sureness
from graph_schema.drafts.roles import find_key
from graph_schema.schema_types import is_name
from loaders.profiles.described_ends import find_described
from loaders.profiles.event_kinds import find_kinds, profile_kinds
from loaders.profiles.folder_tables import FolderTables, read_folder
from loaders.profiles.id_forms import describe_ids, describe_keys
from loaders.profiles.node_profiles import Nodes
from loaders.profiles.relationship_profiles import Relationships, name_column_edge
from loaders.profiles.table_columns import OnRows, TableColumns
from loaders.profiles.table_ends import End, find_ends, find_list, is_end_word
from loaders.profiles.table_keys import find_table_keys, is_almost_unique
from loaders.profiles.table_links import TablePath, choose_pair, find_paths
from loaders.profiles.triple_profiles import TripleTables, find_triples

_MOST_TRIPLE_TYPES = 60
_ABOUT_ITEMS = ("tag", "genre", "keyword", "topic", "categor", "subject")  # what a user may say of an item


def read_profile(folder: Path, encoding: str | None = None, on_rows: OnRows | None = None) -> GraphProfile:
    """Profiles a folder of tables.

    Args:
        folder: the folder.
        encoding: the encoding of text files; None: found by their bytes.
        on_rows: called with a table's name and the number of its rows just read.

    Raises:
        CatalogueError: the folder is missing or has no tables, or a file cannot be read.
    """
    if not folder.is_dir():
        raise CatalogueError(f"no folder {folder}; expected one with tables, such as CSV, JSON lines or Parquet files")
    return _Sorting(folder, read_folder(folder, encoding, on_rows)).run()


@dataclass
class _Sorting:
    """Sorts tables into tables of things, tables of links, paths and triples."""

    folder: Path
    read: FolderTables
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # table -> its key column
    more: dict[str, str] = field(default_factory=dict)  # type without a table -> the name of its key
    described: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # such a type -> a table, its columns
    partly: dict[str, float] = field(default_factory=dict)  # table -> the smallest share of an end's ids it holds
    relationships: list[RelationshipProfile] = field(default_factory=list)
    unused: set[str] = field(default_factory=set)  # tables that are neither things nor links

    def run(self) -> GraphProfile:
        self.guesses += self.read.guesses
        self.left_out += self.read.left_out
        tables = {name: table for name, table in self.read.tables.items() if self._is_usable(table)}
        self.keys = find_table_keys(tables)
        ends = {name: find_ends(table, tables, self.keys) for name, table in tables.items()}
        triples = find_triples(self.read, tables, ends, self.keys)
        for name in triples.tables:
            del ends[name]
            self.keys.pop(name, None)
        paths = find_paths(tables, ends, self.keys)
        links = self._find_links(tables, ends, paths)
        build = Relationships(tables, self.keys)
        for path in paths:
            self._add_path(build, path)
        used = {*self.unused, *triples.tables, *links, *(one for path in paths for one in (path.first, path.last))}
        for name, pair in links.items():
            self._add_links(build, tables[name], pair, ends[name])
        things = [name for name in tables if name not in used]
        self._add_triples(build, triples)
        for name in things:
            self._add_columns(build, tables[name], ends.get(name, []), things)
        nodes = self._build_nodes(tables, things)
        return GraphProfile(
            place=str(self.folder),
            name=self.folder.resolve().name,
            nodes=nodes,
            relationships=tuple(self.relationships),
            guesses=tuple(self.guesses),
            left_out=tuple(self.left_out),
            is_tables=True,
            tables={name: one for name, one in self.read.sources.items() if name in tables},
        )

    def _is_usable(self, table: TableColumns) -> bool:
        reason = ""
        if table.repeated:
            reason = f"it has two columns called {', '.join(map(repr, table.repeated))}: rename one"
        elif table.n_rows == 0:
            reason = "it has no rows"
        if reason:
            self.left_out.append(f"the table {table.name}: {reason}")
        if table.n_broken:
            rows, fit = ("1 row", "does") if table.n_broken == 1 else (f"{table.n_broken:,} rows", "do")
            self.left_out.append(f"{rows} of the table {table.name}, which {fit} not fit the others")
        return not reason

    # -- links ---------------------------------------------------------------------------------------------------------

    def _find_links(
        self, tables: Mapping[str, TableColumns], ends: Mapping[str, Sequence[End]], paths: Sequence[TablePath]
    ) -> dict[str, tuple[End, End]]:
        named = {end.table for name, found in ends.items() for end in found if end.table != name}
        users = [tables[name].columns[end.column] for name, found in ends.items() for end in found if end.is_user]
        steps = {one for path in paths for one in (path.first, path.last)}
        links = {}
        for name, found in ends.items():
            if name in steps:
                continue
            table, key = tables[name], self.keys.get(name)
            pair = choose_pair(table, found, key, users, is_named=name in named)
            if pair is not None and _is_crosswalk(table, pair):
                self.left_out.append(
                    f"the table {name}: each {pair[0].column} has one {pair[1].column} of its own, which links nothing"
                )
                self.unused.add(name)
            elif pair is not None:
                links[name] = pair
            elif key is None and find_key(table.as_things()) is None:
                self.left_out.append(f"the table {name}: no column is unique, and no two columns name things")
        return links

    def _add_path(self, build: Relationships, path: TablePath) -> None:
        user, item = self._resolve(path.user), self._resolve(path.item)
        first = build.tables[path.first]
        self.guesses.append(
            Guess(
                path.first,
                f"a step from {user.table} to {item.table}",
                "likely",
                f"{path.first}.{user.column} names {user.table}, and {path.last}, joined by {path.join}, names "
                f"{item.table}; {path.first} is no node",
            )
        )
        own = self.keys.get(path.last)
        ignored = [own] if own is not None and own not in (item.column, *path.joined) else []
        self.relationships.append(build.from_path(replace(path, user=user, item=item), ignored))
        for end, table in ((user, first), (item, build.tables[path.last])):
            self._note_ids(build, table, end)

    def _add_links(self, build: Relationships, table: TableColumns, pair: tuple[End, End], ends: Sequence[End]) -> None:
        start, end = (self._resolve(one) for one in pair)
        columns = {start.column, end.column}
        sure: Sureness = "likely" if start.is_called and end.is_called else "a guess"
        why = ", ".join(f"{one.column} names {one.table} ({one.why})" for one in (start, end))
        self.guesses.append(Guess(table.name, "a table of links", sure, why))
        unknown = [one for one in (start, end) if not one.key]
        kinds = find_kinds(table, (start, end))
        described = find_described(table, unknown, {*columns, kinds}) if start.table != end.table else {}
        for one in unknown:
            if described.get(one.column) and one.table not in self.described:
                self.described[one.table] = (table.name, described[one.column])
                listed = ", ".join(described[one.column])
                self.guesses.append(
                    Guess(one.table, f"in the table {table.name}", "likely", f"each {one.column} has one {listed}")
                )
        taken = {name for names in described.values() for name in names}
        # a number per row, such as an order number, carries no information
        own = self.keys.get(table.name)
        ignored = [own] if own is not None and split_id(own)[1] and own not in columns else []
        more = [one for one in ends if one.column not in columns | taken and one.column != own]
        whole = build.from_links(table, (start, end), [*ignored, *sorted(taken)])
        if kinds:
            self.relationships += profile_kinds(self.read, build, whole, kinds, self._find_taken())
            choice = f"an edge type for each {kinds}"
            self.guesses.append(Guess(table.name, choice, "likely", f"{kinds} says what a user did with an item"))
        else:
            self.relationships.append(whole)
        for one in (start, end):
            self._note_ids(build, table, one)
        rest = []
        for one in more:
            if start.is_user and not one.is_user and self._is_knowledge(one):
                self._add_knowledge(build, table, end, one)
            else:
                rest.append(one.column)
        if rest:
            choice = f"{', '.join(rest)}: no end"
            self.guesses.append(Guess(table.name, choice, "likely", "an edge has two ends; it stays an attribute"))

    @staticmethod
    def _is_knowledge(end: End) -> bool:
        """Whether a further end of an interaction, such as the tag that a user gave, says something about the item."""
        words = split_id(end.column)[0]
        if not is_entity_name(words) or is_place_name(words):
            return False
        return bool(end.key) or words[-1].startswith(_ABOUT_ITEMS)

    def _add_knowledge(self, build: Relationships, table: TableColumns, item: End, other: End) -> None:
        to = self._resolve(other)
        name = name_column_edge(table.name, to.column, self._find_taken(), is_list=False)
        ignored = [one for one in table.named if one not in (item.column, to.column)]
        self.relationships.append(build.from_links(table, (item, to), ignored, name))
        choice = f"{item.table} to {to.table} too"
        self.guesses.append(Guess(table.name, choice, "likely", f"{to.column} is about items"))

    def _add_columns(
        self, build: Relationships, table: TableColumns, ends: Sequence[End], things: Sequence[str]
    ) -> None:
        """Adds the foreign keys and lists of ids of a table of things."""
        key = self.keys.get(table.name)
        if key is None:
            return
        for end in ends:
            if end.column == key or not end.key or end.table not in things:
                continue
            name = name_column_edge(table.name, end.column, self._find_taken(), is_list=False)
            self.relationships.append(build.from_column(table, end, name))
            self._note_ids(build, table, end)
        named = {end.column for end in ends}
        kept = {name: one for name, one in self.keys.items() if name in things}
        for column in table.named.values():
            if column.name == key or column.name in named:
                continue
            listed = find_list(column, build.tables, kept)
            if listed is not None:
                name = name_column_edge(table.name, column.name, self._find_taken(), is_list=True)
                self.relationships.append(build.from_column(table, listed, name, column.separator or ""))
                if listed.known < 1:
                    self.partly[listed.table] = min(self.partly.get(listed.table, 1.0), listed.known)

    def _add_triples(self, build: Relationships, triples: TripleTables) -> None:
        for name in triples.tables:
            found = triples.build(build, name, self._find_taken(), _MOST_TRIPLE_TYPES)
            self.relationships += found.relationships
            self.guesses += found.guesses
            self.left_out += found.left_out
            if any("entity" in (one.start, one.end) for one in found.relationships):
                self.more.setdefault("entity", "entity_id")
            for table, known in found.partly.items():
                self.partly[table] = min(self.partly.get(table, 1.0), known)

    def _find_taken(self) -> list[str]:
        """The names of tables and edges: an edge type may not have them."""
        return [*self.read.tables, *self.more, *(one.type for one in self.relationships)]

    def _resolve(self, end: End) -> End:
        """An end whose type no table has gets a type of its own, which no table may be called as."""
        if end.key:
            return end
        is_free = is_name(end.table) and end.table not in self.read.tables
        name = end.table if is_free else f"{end.table}_node"
        self.more.setdefault(name, f"{name}_id" if is_end_word(end.column) else end.column)
        return replace(end, table=name)

    def _note_ids(self, build: Relationships, table: TableColumns, end: End) -> None:
        """Notes ids that are missing, written in another way, or not in the table that they name."""
        self.guesses += describe_ids(table, end, build.tables.get(end.table) if end.key else None)
        if end.key and end.known < 1:
            self.partly[end.table] = min(self.partly.get(end.table, 1.0), end.known)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _build_nodes(self, tables: Mapping[str, TableColumns], things: Sequence[str]) -> dict[str, NodeProfile]:
        build = Nodes(tables, self.described)
        linked = {end for one in self.relationships for end in (one.start, one.end)}
        nodes = {}
        for name in things:
            key = self.keys.get(name, "") if name in linked else ""
            nodes[name] = build.from_table(name, key, from_edges=name in self.partly)
            self.guesses += describe_keys(tables[name], key) if key else []
            if name in self.partly:
                self.guesses.append(
                    Guess(
                        name,
                        "from_edges = true",
                        "likely",
                        f"only {self.partly[name]:.1%} of the ids that edges name are in the table: the others are "
                        "added without attributes",
                    )
                )
        for name, key in self.more.items():
            links = [one for one in self.relationships if name in (one.start, one.end)]
            nodes[name] = build.from_links(name, key, links)
        return nodes


def _is_crosswalk(table: TableColumns, pair: tuple[End, End]) -> bool:
    """Whether a table only gives things a second id, as links.csv gives films the ids of another site."""
    is_one_each = all(is_almost_unique(table.columns[end.column], table) for end in pair)
    return is_one_each and not any(end.is_user for end in pair) and not all(end.key for end in pair)
