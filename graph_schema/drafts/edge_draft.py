"""Drafts an edge type: its ends, its columns or its path, and how reasons name it."""

from collections.abc import Mapping
from dataclasses import dataclass

from graph_schema.drafts.interaction_candidates import is_user_label
from graph_schema.drafts.link_phrases import find_doer, phrase_link
from graph_schema.drafts.name_words import split_id, split_words
from graph_schema.drafts.profile import GraphProfile, Guess, RelationshipProfile
from graph_schema.drafts.roles import find_type
from graph_schema.drafts.source_columns import describe_values, find_ignored, find_milliseconds, find_time_formats
from graph_schema.drafts.type_names import to_name
from graph_schema.drafts.usable_parts import describe_relationship, find_usable_properties
from graph_schema.drafts.user_links import phrase_user_link
from graph_schema.schema_toml import TomlPath, to_one_line
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType

_HUB = 0.5  # of the nodes at one end, from which a node at the other end says little of each
_LEAST_LINKED = 20


@dataclass(frozen=True)
class Place:
    """Where a relationship stands in a schema.

    Attributes:
        name: its edge type.
        types: label -> node type.
        nodes: node type -> what its nodes are.
        user: the label of the users; None: there are none.
        item: the label of the items.
        is_feedback: it says what users choose, and is no knowledge of items.
        is_turned: it points from what may be items to what may be users, though it is drafted as knowledge.
    """

    name: str
    types: Mapping[str, str]
    nodes: Mapping[str, NodeType]
    user: str | None
    item: str
    is_feedback: bool
    is_turned: bool = False


@dataclass(frozen=True)
class DraftedEdge:
    """An edge type, comments for the TOML file, guesses, and what is left out, a sentence each."""

    edge: EdgeType
    comments: dict[TomlPath, str]
    guesses: tuple[Guess, ...]
    left_out: tuple[str, ...]


def draft_edge(profile: GraphProfile, found: RelationshipProfile, place: Place) -> DraftedEdge:
    """Drafts an edge type; feedback goes from users to items, whichever way the relationship points."""
    is_tables = profile.is_tables
    usable, left_out = find_usable_properties(found.type, found.properties, ends={SOURCE, TARGET})
    attributes = {
        one.name: kind
        for one in usable.values()
        if (kind := find_type(one)) is not None and not (found.path and split_id(one.name)[1])
    }
    turned = found.start == place.item if place.is_feedback else place.is_turned
    source, target = (found.end, found.start) if turned else (found.start, found.end)
    columns = (found.end_column, found.start_column) if turned else (found.start_column, found.end_column)
    path = _turn(found.path, is_tables=is_tables) if turned else found.path
    join = tuple("=".join(reversed(pair.split("="))) for pair in reversed(found.join)) if turned else found.join
    toml_path = ("edges", place.name)
    what = "relationships" if not is_tables else "edges" if found.split or found.path else "rows"
    comments: dict[TomlPath, str] = {toml_path: f"{found.count:,} {what}"}
    for name in attributes:
        comments[*toml_path, "attributes", name] = describe_values(usable[name])
    edge = EdgeType(
        source=place.types[source],
        type=_name_type(found, place.name, is_tables=is_tables),
        target=place.types[target],
        reverse=turned and not is_tables and not path,
        path=path,
        join=join,
        phrase=None if place.is_feedback else _find_phrase(profile, found, place),
        attributes=attributes,
        milliseconds=find_milliseconds(attributes, usable, is_tables=is_tables),
        time_formats=find_time_formats(attributes, usable),
        table=None if path else _find_table(found, place.name, is_tables=is_tables),
        split=found.split or None,
        where=dict(found.where),
        **_find_columns(found, columns, place, is_tables=is_tables),
        ignore=find_ignored([*found.properties, *found.ignore], {*attributes, *found.where}, is_tables=is_tables),
    )
    guesses = () if place.is_feedback else tuple(_find_hubs(profile, found, place.item))
    return DraftedEdge(edge, comments, guesses, tuple(left_out))


def _name_type(found: RelationshipProfile, name: str, *, is_tables: bool) -> str:
    if is_tables:
        return to_name("_".join(split_words(name)).upper(), "LINK")
    return "_".join(step.removeprefix("<") for step in found.path) if found.path else found.type


def _find_table(found: RelationshipProfile, name: str, *, is_tables: bool) -> str | None:
    """The table that the edges are read from, where it is not called as they are."""
    table = found.table or found.type
    return table if is_tables and table != name else None


def _find_columns(
    found: RelationshipProfile, columns: tuple[str, str], place: Place, *, is_tables: bool
) -> dict[str, str | None]:
    """The columns with the ends; None where a table of their own calls them as the ends' keys, or source and target."""
    if is_tables:
        swap = columns != (found.start_column, found.end_column)
        ends = (found.end, found.start) if swap else (found.start, found.end)
        keys = tuple(place.nodes[place.types[end]].key for end in ends)
        there = {*columns, *found.properties, *found.ignore}
        is_plain = columns == keys and len(set(keys)) > 1 and not there & {SOURCE, TARGET}
        if (
            found.path
            or _find_table(found, place.name, is_tables=True)
            or not (is_plain or columns == (SOURCE, TARGET))
        ):
            return {"source_column": columns[0] or None, "target_column": columns[1] or None}
    return {}


def _turn(path: tuple[str, ...], *, is_tables: bool) -> tuple[str, ...]:
    if is_tables:
        return path[::-1]
    return tuple(step[1:] if step.startswith("<") else f"<{step}" for step in reversed(path))


def _find_phrase(profile: GraphProfile, found: RelationshipProfile, place: Place) -> str | None:
    """The name of what nodes share, where one relationship leads there; None: people read the type's own name."""
    ends = {found.start, found.end}
    users = {place.user} if place.user else {name for name in ends if is_user_label(profile.nodes[name])}
    is_parallel = sum({one.start, one.end} == ends for one in profile.relationships) > 1
    if found.start == found.end:
        return phrase_user_link(profile, found, found.start) if ends <= users else None
    words = split_words(found.type)
    if place.user and ends == {place.user, place.item}:
        return find_doer(words)
    if ends & users:
        is_plain = not is_parallel and words[-1:] != ["by"]
        return phrase_user_link(profile, found, min(ends & users)) if is_plain else None
    node = profile.nodes[found.start if found.end == place.item else found.end]
    return phrase_link(found.type, node.label or node.name, is_only=not is_parallel)


def _find_hubs(profile: GraphProfile, found: RelationshipProfile, item: str) -> list[Guess]:
    """Tells of a node that most items are linked to."""
    if item not in (found.start, found.end) or found.start == found.end:
        return []
    n_most = found.max_in if found.start == item else found.max_out
    other = profile.nodes[found.end if found.start == item else found.start]
    n_items = profile.nodes[item].count
    n_others = found.n_ends if found.start == item else found.n_starts
    if n_items < _LEAST_LINKED or n_most <= _HUB * n_items or n_others <= 1:
        return []
    name = to_one_line(other.label or other.name)
    why = f"one {name} is linked to {n_most:,} of {n_items:,} items: it says little of each"
    return [Guess(describe_relationship(found), "has a hub", "likely", why)]
