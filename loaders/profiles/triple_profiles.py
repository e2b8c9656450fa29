"""Profiles tables of triples: which relation starts at items, which at other entities."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graph_schema.drafts.profile import Guess, RelationshipProfile
from loaders.profiles.column_profile import Column, Hashes, find_share
from loaders.profiles.folder_tables import FolderTables
from loaders.profiles.relationship_profiles import Relationships
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End
from loaders.profiles.table_triples import (
    EntityLinks,
    Relation,
    TripleColumns,
    find_entity_links,
    find_triple_columns,
    read_relations,
    to_relation_name,
)

_MOSTLY = 0.9  # of the heads of a relation are items
_SOME = 0.1
ENTITY = "entity"


@dataclass
class TripleProfile:
    """What a table of triples becomes."""

    relationships: list[RelationshipProfile] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    partly: dict[str, float] = field(default_factory=dict)  # table of items -> the share of heads that it has


@dataclass(frozen=True)
class TripleTables:
    """The tables of triples of a folder.

    Attributes:
        read: the folder.
        columns: table of triples -> its columns.
        links: table of triples -> the table that says which item is which entity, where there is one.
        ids: table, or type that no table has -> hashes of the ids of its nodes, sorted.
    """

    read: FolderTables
    columns: Mapping[str, TripleColumns]
    links: Mapping[str, EntityLinks]
    ids: Mapping[str, Hashes]

    @property
    def tables(self) -> list[str]:
        """All tables that are read as triples, those of links among them."""
        return list(dict.fromkeys([*self.columns, *(one.table for one in self.links.values())]))

    def build(self, build: Relationships, name: str, taken: Collection[str], most: int) -> TripleProfile:
        """Profiles the relations of a table of triples; nothing for a table of links.

        Args:
            build: builds the profiles.
            name: the table.
            taken: names that no edge type may have.
            most: the most relations that become edge types, the largest.
        """
        found = TripleProfile()
        if name not in self.columns:
            return found
        columns = self.columns[name]
        relations = read_relations(self.read.files[name], build.tables[name].source, self.read.encoding, columns)
        if name in self.links:  # of a relation and its inverse the one that starts at items
            entities = build.tables[self.links[name].table].columns[self.links[name].entity].values
            relations.sort(key=lambda one: (-one.heads.n_rows, find_share(one.heads.values, entities) == 0))
        kept: list[Relation] = []
        for relation in relations:
            same = next((one for one in kept if relation.is_inverse(one)), None)
            if same is not None:
                found.left_out.append(f"the relation {relation.name} of {name}: it is {same.name} read backwards")
            elif len(kept) < most:
                kept.append(relation)
                used = [*taken, *(one.type for one in found.relationships)]
                found.relationships.append(self._build(build, name, relation, used, found))
        if len(relations) > most:
            found.left_out.append(f"the table {name}: its smaller relations, beyond {most}")
        how = f", joined through {self.links[name].table}" if name in self.links else ""
        found.guesses.append(
            Guess(
                name,
                "triples",
                "likely",
                f"{columns.head}, {columns.relation}, {columns.tail}: an edge type for each of the "
                f"{len(kept)} relations{how}",
            )
        )
        return found

    def _build(
        self, build: Relationships, name: str, relation: Relation, taken: Collection[str], found: TripleProfile
    ) -> RelationshipProfile:
        columns = self.columns[name]
        if name in self.links:
            links = self.links[name]
            entities = build.tables[links.table].columns[links.entity]
            heads, tails = (find_share(one.values, entities.values) for one in (relation.heads, relation.tails))
            if max(heads, tails) > 0:
                by_tail = tails > heads
                label = to_relation_name(relation.name, taken, by_tail=by_tail)
                return build.from_linked_relation(columns, name, relation, label, links, by_tail=by_tail)
            label = to_relation_name(relation.name, taken)
            return build.from_relation(columns, name, relation, label, (ENTITY, ENTITY))
        label = to_relation_name(relation.name, taken)
        shares = {one: self._find_items(relation, one) for one in ("heads", "tails")}
        ends = [ENTITY, ENTITY]
        for place, (table, known) in enumerate(shares.values()):
            if known >= _MOSTLY:
                ends[place] = table
                if known < 1 and table in build.tables:
                    found.partly[table] = min(found.partly.get(table, 1.0), known)
            elif known >= _SOME:
                found.guesses.append(
                    Guess(
                        label,
                        f"{ENTITY}, not {table}",
                        "a guess",
                        f"only {known:.0%} of the ids in {(columns.head, columns.tail)[place]} are in {table}",
                    )
                )
        return build.from_relation(columns, name, relation, label, (ends[0], ends[1]))

    def _find_items(self, relation: Relation, side: str) -> tuple[str, float]:
        """The table or type whose nodes most heads or tails are, and their share."""
        column: Column = getattr(relation, side)
        shares = {name: find_share(column.values, ids) for name, ids in self.ids.items()}
        best = max(shares, key=lambda name: shares[name], default="")
        return best, shares.get(best, 0.0)


def find_triples(
    read: FolderTables,
    tables: Mapping[str, TableColumns],
    ends: Mapping[str, Sequence[End]],
    keys: Mapping[str, str],
) -> TripleTables:
    """Finds tables of triples and the tables that link items to their entities.

    Args:
        read: the folder.
        tables: its tables that a schema can hold.
        ends: table -> its columns that name nodes.
        keys: table -> its key.
    """
    columns, links = {}, {}
    for name, table in tables.items():
        found = find_triple_columns(table, [end.column for end in ends[name]])
        if found is None:
            continue
        columns[name] = found
        for other, candidate in tables.items():
            items = {end.column: end.table for end in ends[other] if not end.is_user and end.table != ENTITY}
            linked = find_entity_links(candidate, table.columns[found.head], table.columns[found.tail], items)
            if other != name and linked is not None:
                links[name] = linked
    left = {*columns, *(one.table for one in links.values())}
    ids = {name: tables[name].columns[key].values for name, key in keys.items() if name not in left}
    for name, found_ends in ends.items():
        for end in found_ends:
            if name not in left and not end.key and not end.is_user:
                values = tables[name].columns[end.column].values
                ids[end.table] = np.union1d(ids[end.table], values) if end.table in ids else values
    return TripleTables(read, columns, links, ids)
