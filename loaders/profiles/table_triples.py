"""Triples of a knowledge graph: a table of head, relation and tail, which becomes one edge type for each relation."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.checks.column_texts import decode
from graph_schema.drafts.name_words import split_id, split_words
from graph_schema.schema_types import SourceTable
from loaders.files.table_reading import read_table
from loaders.profiles.column_profile import Column, find_share
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_keys import is_almost_unique

_HEADS = ("head", "subject", "subj", "h", "source", "src", "from", "start", "entity1", "e1")
_RELATIONS = ("relation", "rel", "predicate", "pred", "relationship", "r", "edge", "property", "attribute")
_TAILS = ("tail", "object", "obj", "t", "target", "dst", "to", "end", "entity2", "e2", "entity", "value")
_MOST_RELATIONS = 100
_MOSTLY = 0.9


@dataclass(frozen=True)
class TripleColumns:
    """The three columns of a table of triples."""

    head: str
    relation: str
    tail: str


@dataclass
class Relation:
    """One relation of a table of triples: its heads and tails."""

    name: str
    heads: Column = field(default_factory=lambda: Column("head"))
    tails: Column = field(default_factory=lambda: Column("tail"))
    pairs: Column = field(default_factory=lambda: Column("pair"))  # head and tail
    turned: Column = field(default_factory=lambda: Column("turned"))  # tail and head

    def is_inverse(self, other: "Relation") -> bool:
        """Whether its triples are those of another relation, read backwards."""
        is_as_large = self.pairs.n_distinct <= other.pairs.n_distinct
        return is_as_large and find_share(self.turned.values, other.pairs.values) >= _MOSTLY


@dataclass(frozen=True)
class EntityLinks:
    """A table that says which item is which entity of the triples.

    Attributes:
        table: its name.
        item: its column of items.
        entity: its column of entities.
        items: the table or type of the items.
    """

    table: str
    item: str
    entity: str
    items: str


def find_triple_columns(table: TableColumns, naming: Sequence[str]) -> TripleColumns | None:
    """The columns of a table of triples; None: it is none.

    Args:
        table: the table.
        naming: its columns that name nodes.
    """
    names = list(table.named)
    relations = [name for name in names if split_id(name)[0][-1:] in [[word] for word in _RELATIONS]]
    if len(relations) != 1 or len(names) > 4:  # noqa: PLR2004 a weight may be there too
        return None
    relation = relations[0]
    column = table.columns[relation]
    others = [name for name in names if name != relation and (_is_one(name, (*_HEADS, *_TAILS)) or name in naming)]
    is_few = 0 < column.n_distinct <= _MOST_RELATIONS and (column.n_distinct * 2 <= column.n_values)
    if len(others) != 2 or not is_few:  # noqa: PLR2004
        return None
    is_turned = _is_one(others[0], _TAILS[:-1]) and not _is_one(others[1], _TAILS)
    head, tail = reversed(others) if is_turned else others
    return TripleColumns(head, relation, tail)


def read_relations(
    files: Sequence[Path], source: SourceTable, encoding: str | None, columns: TripleColumns
) -> list[Relation]:
    """Reads the triples of each relation, the largest relation first."""
    relations: dict[str, Relation] = {}
    for batch in read_table(files, source, encoding=encoding):
        rows = pa.table({name: decode(batch.columns[name]).cast(pa.string()) for name in vars(columns).values()})
        for name in pc.unique(rows[columns.relation]).drop_null().to_pylist():
            chosen = rows.filter(pc.equal(rows[columns.relation], name))
            found = relations.setdefault(name, Relation(name))
            heads, tails = (chosen[one].combine_chunks() for one in (columns.head, columns.tail))
            found.heads.add(heads)
            found.tails.add(tails)
            found.pairs.add(pc.binary_join_element_wise(heads, tails, "\t"))
            found.turned.add(pc.binary_join_element_wise(tails, heads, "\t"))
    return sorted(relations.values(), key=lambda one: (-one.heads.n_rows, one.name))


def find_entity_links(table: TableColumns, head: Column, tail: Column, items: Mapping[str, str]) -> EntityLinks | None:
    """Whether a table says which items are which entities: an item's id and an entity's, one each.

    Args:
        table: the table.
        head: the heads of the triples.
        tail: their tails.
        items: its columns that name nodes -> the table or type that they name.
    """
    names = list(table.named)
    if len(names) != 2 or not all(is_almost_unique(column, table) for column in table.columns.values()):  # noqa: PLR2004
        return None
    for entity, item in (names, reversed(names)):
        column = table.columns[entity]
        known = max(find_share(column.values, head.values), find_share(column.values, tail.values))
        is_named = split_id(entity)[0][-1:] in (["entity"], ["node"], ["freebase"])
        if item in items and known > 0 and (is_named or known >= _MOSTLY) and items.get(entity) != items[item]:
            return EntityLinks(table.name, item, entity, items[item])
    return None


def to_relation_name(relation: str, taken: Collection[str], *, by_tail: bool = False) -> str:
    """A name for the edge type of a relation: "film.film.directed_by" and "http://x/directedBy" are directed_by.

    Args:
        relation: as the triples have it.
        taken: names that are in use.
        by_tail: the items are its tails: "film.director.film" is director.
    """
    parts = [part for part in re.split(r"[/#.:]", relation.strip("<>/ ")) if split_words(part)]
    words = split_words(parts[-2] if by_tail and len(parts) > 1 else parts[-1]) if parts else []
    name = "_".join(words)
    if not name or not name[0].isalpha():
        name = f"relation_{name or 'unnamed'}"
    if name in taken:
        name = "_".join(split_words(relation))
        name = name if name[:1].isalpha() else f"relation_{name}"
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    return made


def _is_one(name: str, words: Sequence[str]) -> bool:
    found = split_id(name)[0] or split_words(name)
    return len(found) == 1 and found[0] in words
