"""Profiles of the relationships that tables hold: links, foreign keys, lists of ids, paths, triples."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.checks.column_texts import MISSING_WORDS, mend_entities
from graph_schema.checks.list_entries import split_entries
from graph_schema.drafts.name_words import split_id, split_words
from graph_schema.drafts.profile import RelationshipProfile
from graph_schema.drafts.type_names import to_distinct
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End
from loaders.profiles.table_links import TablePath
from loaders.profiles.table_triples import EntityLinks, Relation, TripleColumns

_MOST_SHOWN, _CUT = 3, 40  # properties of an example, characters of a value


@dataclass(frozen=True)
class Relationships:
    """Builds profiles of relationships.

    Attributes:
        tables: all tables.
        keys: table -> its key.
    """

    tables: Mapping[str, TableColumns]
    keys: Mapping[str, str]

    def from_links(
        self, table: TableColumns, pair: tuple[End, End], ignored: Collection[str], name: str = ""
    ) -> RelationshipProfile:
        """The rows of a table of links. An end that names another column than the key is reached over its table."""
        start, end = (table.columns[one.column] for one in pair)
        found = RelationshipProfile(
            start=pair[0].table,
            type=name or table.name,
            end=pair[1].table,
            count=min(start.n_values, end.n_values),
            n_starts=start.n_distinct,
            n_ends=end.n_distinct,
            max_out=int(start.counts.max(initial=0)),
            max_in=int(end.counts.max(initial=0)),
            properties=table.profile({start.name, end.name, *ignored}),
            start_column=start.name,
            end_column=end.name,
            ignore=(*table.unnamed, *ignored),
            table=table.name if name else "",
            example=self._show(table, pair, ignored),
            missing=1 - min(start.n_values, end.n_values) / max(table.n_rows, 1),
        )
        return self._over_other_keys(found, table.name, pair)

    def _over_other_keys(self, found: RelationshipProfile, table: str, pair: tuple[End, End]) -> RelationshipProfile:
        steps: list[str] = [table]
        joins: list[str] = []
        columns = [found.start_column, found.end_column]
        for place, end in enumerate(pair):
            key = self.keys.get(end.table)
            if not end.key or end.key == key or key is None:
                continue
            columns[place] = key
            if place == 0:
                steps.insert(0, end.table)
                joins.insert(0, _join(end.key, end.column))
            else:
                steps.append(end.table)
                joins.append(_join(end.column, end.key))
        if not joins:
            return found
        return replace(
            found, path=tuple(steps), join=tuple(joins), start_column=columns[0], end_column=columns[1], table=""
        )

    def from_column(self, table: TableColumns, end: End, name: str, split: str = "") -> RelationshipProfile:
        """A column of a table of things with the id, or a list of ids, of another table's rows."""
        column, key = table.columns[end.column], self.keys[table.name]
        n_each = 1.0
        if split and column.samples:
            shown = "|" if column.of_arrow == "list" else split  # how samples of lists are written
            n_each = max(len(split_entries(list(column.samples), shown)) / len(column.samples), 1.0)
        n_ends = len(column.entries) if split else column.n_distinct
        count = round(column.n_values * n_each)
        return RelationshipProfile(
            start=table.name,
            type=name,
            end=end.table,
            count=count,
            n_starts=column.n_values,
            n_ends=n_ends,
            max_out=max(round(n_each), 1) if split else 1,
            max_in=max(count // max(n_ends, 1), 1) if split else int(column.counts.max(initial=0)),
            properties={},
            start_column=key,
            end_column=end.column,
            ignore=tuple(one for one in table.columns if one not in (key, end.column)),
            table=table.name,
            split=split,
            example=self._show(table, (End(key, table.name, key, 1, ""), end), table.columns),
        )

    def from_path(self, path: TablePath, ignored: Collection[str]) -> RelationshipProfile:
        """A path over two tables, as from customers over orders to products."""
        first, last = self.tables[path.first], self.tables[path.last]
        user, item = first.columns[path.user.column], last.columns[path.item.column]
        properties = {
            **first.profile({path.user.column, *path.joined, *ignored}),
            **last.profile({path.item.column, *path.joined, *ignored}),
        }
        return RelationshipProfile(
            start=path.user.table,
            type=path.last,
            end=path.item.table,
            count=last.n_rows,
            n_starts=user.n_distinct,
            n_ends=item.n_distinct,
            max_out=max(int(user.counts.max(initial=0)), -(-last.n_rows // max(user.n_distinct, 1))),
            max_in=int(item.counts.max(initial=0)),
            properties=properties,
            start_column=user.name,
            end_column=item.name,
            ignore=(*first.unnamed, *last.unnamed, *ignored),
            path=(path.first, path.last),
            join=(path.join,),
            via=(path.first,),
            example=self._show_path(path),
        )

    def from_relation(
        self, columns: TripleColumns, table: str, relation: Relation, name: str, ends: tuple[str, str]
    ) -> RelationshipProfile:
        """The triples of one relation."""
        heads, tails = relation.heads, relation.tails
        sample = [next(iter(column.samples), "") for column in (heads, tails)]
        return RelationshipProfile(
            start=ends[0],
            type=name,
            end=ends[1],
            count=heads.n_rows,
            n_starts=heads.n_distinct,
            n_ends=tails.n_distinct,
            max_out=int(heads.counts.max(initial=0)),
            max_in=int(tails.counts.max(initial=0)),
            properties={},
            start_column=columns.head,
            end_column=columns.tail,
            ignore=tuple(one for one in self.tables[table].columns if one not in vars(columns).values()),
            table=table,
            where={columns.relation: relation.name},
            example=" -> ".join(value[:_CUT] for value in sample),
        )

    def from_linked_relation(
        self, columns: TripleColumns, table: str, relation: Relation, name: str, links: EntityLinks, *, by_tail: bool
    ) -> RelationshipProfile:
        """The triples of one relation from items, whose entities a table of its own says.

        Args:
            columns: the columns of the triples.
            table: their table.
            relation: the relation.
            name: a name for it.
            links: the table that says which item is which entity.
            by_tail: whether the items are its tails.
        """
        here, there = (columns.tail, columns.head) if by_tail else (columns.head, columns.tail)
        found = self.from_relation(columns, table, relation, name, (links.items, "entity"))
        ignored = [one for one in self.tables[links.table].columns if one not in (links.item, links.entity)]
        return replace(
            found,
            n_starts=found.n_ends if by_tail else found.n_starts,
            n_ends=found.n_starts if by_tail else found.n_ends,
            max_out=found.max_in if by_tail else found.max_out,
            max_in=found.max_out if by_tail else found.max_in,
            path=(links.table, table),
            join=(_join(links.entity, here),),
            start_column=links.item,
            end_column=there,
            table="",
            ignore=(*found.ignore, *ignored),
        )

    # -- examples ------------------------------------------------------------------------------------------------------

    def _show(self, table: TableColumns, pair: tuple[End, End], ignored: Collection[str]) -> str:
        """The first row in words: "u1 -> Toy Story, rating 5"."""
        row = _find_row(table.first_rows, {end.column for end in pair})
        if not row:
            return ""
        ends = [self._name(end, row[end.column]) for end in pair]
        left_out = {*ignored, *(end.column for end in pair)}
        return _say(ends, {name: value for name, value in row.items() if name not in left_out})

    def _show_path(self, path: TablePath) -> str:
        rows = self.tables[path.last].first_rows
        row = _find_row(rows, {path.item.column, path.joined[1]})
        joined = {path.joined[0]: row.get(path.joined[1]) or ""}
        first = _find_row(self.tables[path.first].first_rows, {path.user.column}, joined)
        if not row or not first:
            return ""
        ends = [self._name(path.user, first[path.user.column]), self._name(path.item, row[path.item.column])]
        left_out = {path.item.column, path.user.column, *path.joined}
        return _say(ends, {name: value for name, value in {**row, **first}.items() if name not in left_out})

    def _name(self, end: End, value: str | None) -> str:
        """The title of the row that an id names, or the id."""
        table = self.tables.get(end.table)
        if table is None or not end.key:
            return str(value)
        title = table.find_title(self.keys.get(end.table, ""))
        row = _find_row(table.first_rows, {title or end.key}, {end.key: value or ""})
        shown = row.get(title or end.key) or ""
        return str(value) if shown in MISSING_WORDS else mend_entities(pa.array([shown]))[0].as_py()


def name_column_edge(table: str, column: str, taken: Collection[str], *, is_list: bool) -> str:
    """A name for the edge type of a column: "studioId" gives has_studio, a list "also_buy" keeps its name."""
    words = split_id(column)[0] or split_words(column)
    plain = "_".join(words)
    made = plain if is_list and "_" in plain else f"has_{plain}"
    if made in taken:
        made = f"{table}_{made}"
    return to_distinct(made, taken)


def _join(column: str, other: str) -> str:
    return column if column == other else f"{column}={other}"


def _find_row(
    rows: pa.Table, needed: Collection[str | None], where: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """The first row that has some columns, and some values; empty where there is none."""
    if not {*needed, *(where or {})} <= {*rows.column_names}:
        return {}
    chosen = rows
    for column, value in (where or {}).items():
        chosen = chosen.filter(pc.equal(chosen[column], value))
    for one in needed:
        chosen = chosen.filter(pc.is_valid(chosen[one]))
    found: list[dict[str, str | None]] = chosen.slice(0, 1).to_pylist()
    return found[0] if found else {}


def _say(ends: Sequence[str], others: Mapping[str, str | None]) -> str:
    shown = [f"{name} {value[:_CUT]}" for name, value in others.items() if value][:_MOST_SHOWN]
    return ", ".join([" -> ".join(end[:_CUT] for end in ends), *shown])
