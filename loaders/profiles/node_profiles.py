"""Profiles of nodes: the rows of tables, and what only links name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graph_schema.drafts.name_words import split_id, split_words, to_singular
from graph_schema.drafts.profile import NodeProfile, PropertyProfile, RelationshipProfile
from loaders.profiles.described_ends import profile_described
from loaders.profiles.table_columns import TableColumns


@dataclass(frozen=True)
class Nodes:
    """Builds profiles of nodes.

    Attributes:
        tables: all tables.
        described: types that no table has -> the table of links that describes them, and its columns that do.
    """

    tables: Mapping[str, TableColumns]
    described: Mapping[str, tuple[str, Sequence[str]]]

    def from_table(self, name: str, key: str, *, from_edges: bool) -> NodeProfile:
        """The rows of a table of things."""
        table = self.tables[name]
        return NodeProfile(
            name,
            table.n_rows,
            table.profile(),
            label=self._to_label(name),
            key=key,
            from_edges=from_edges,
            ignore=table.unnamed,
        )

    def from_links(self, name: str, key: str, links: Sequence[RelationshipProfile]) -> NodeProfile:
        """The nodes that only links name."""
        n = max((one.n_starts if one.start == name else one.n_ends for one in links), default=0)
        table, columns = self.described.get(name, ("", []))
        samples = next((tuple(one.columns[key].samples) for one in self.tables.values() if key in one.columns), ())
        properties = {key: PropertyProfile(key, {"string": n}, 1.0, 1.0, is_unique=True, samples=samples)}
        ignored: tuple[str, ...] = ()
        if table:
            properties |= profile_described(self.tables[table], key, columns)
            ignored = tuple(column for column in self.tables[table].columns if column not in properties)
        return NodeProfile(
            name,
            n,
            properties,
            label=self._to_label(name),
            key=key,
            from_edges=not table,
            ignore=ignored,
            table=table,
        )

    def _to_label(self, name: str) -> str:
        """A label such as `Product` for the table products."""
        *first, last = split_words(name) or [name]
        tables = self.tables.values()
        words = {split_id(column)[0][-1] for table in tables for column in table.columns if split_id(column)[0]}
        single = to_singular(last, words)
        return "".join(word[:1].upper() + word[1:] for word in (*first, single))
