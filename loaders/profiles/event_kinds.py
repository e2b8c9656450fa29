"""Tables of events of several kinds, such as view, cart and buy: an edge type for each."""

from collections.abc import Collection
from dataclasses import replace

from graph_schema.drafts.profile import RelationshipProfile
from loaders.profiles.folder_tables import FolderTables
from loaders.profiles.relationship_profiles import Relationships
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End, names_kinds
from loaders.profiles.table_triples import TripleColumns, read_relations, to_relation_name


def find_kinds(table: TableColumns, pair: tuple[End, End]) -> str:
    """The column that says what a user did with an item, such as event = view; empty: there is none."""
    if not pair[0].is_user or pair[1].is_user:
        return ""
    ends = (pair[0].column, pair[1].column)
    return next((one.name for one in table.named.values() if one.name not in ends and names_kinds(one)), "")


def profile_kinds(
    read: FolderTables,
    build: Relationships,
    whole: RelationshipProfile,
    kinds: str,
    taken: Collection[str],
) -> list[RelationshipProfile]:
    """Profiles the events of each kind, the most frequent first.

    Args:
        read: the folder.
        build: builds the profiles.
        whole: all events.
        kinds: the column that says of which kind an event is.
        taken: names that no edge type may have.
    """
    table = build.tables[whole.type]
    columns = TripleColumns(whole.start_column, kinds, whole.end_column)
    profiles: list[RelationshipProfile] = []
    for relation in read_relations(read.files[table.name], table.source, read.encoding, columns):
        name = to_relation_name(relation.name, [*taken, *(one.type for one in profiles)])
        found = build.from_relation(columns, table.name, relation, name, (whole.start, whole.end))
        properties = {one: profile for one, profile in whole.properties.items() if one != kinds}
        ignore = tuple(dict.fromkeys([*whole.ignore, kinds]))
        profiles.append(replace(found, properties=properties, ignore=ignore, missing=whole.missing))
    return profiles
