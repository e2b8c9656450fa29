"""Names for the node types and edge types of a drafted schema, from labels, relationship types and tables."""

import re
from collections.abc import Collection, Sequence

from graph_schema.name_words import split_words
from graph_schema.profile import GraphProfile, Guess, RelationshipProfile
from graph_schema.schema_types import is_name


def name_nodes(profile: GraphProfile, labels: Sequence[str]) -> dict[str, str]:
    """Names a node type for each label: "FilmGenre" is film_genre. A table keeps its name, which is its file's."""
    if profile.is_tables:
        return {label: label for label in labels}
    names: dict[str, str] = {}
    for label in labels:
        names[label] = to_distinct(_to_snake(label), names.values())
    return names


def name_edges(
    profile: GraphProfile, labels: Sequence[str], taken: Collection[str]
) -> tuple[dict[RelationshipProfile, str], list[Guess]]:
    """Names an edge type for each relationship between some labels.

    Args:
        profile: the graph.
        labels: both ends of a relationship must be among them.
        taken: names that are in use.

    Returns:
        The names, and what to report about relationship types that become several edge types.
    """
    found = [one for one in profile.relationships if one.start in labels and one.end in labels]
    if profile.is_tables:
        return {one: one.type for one in found}, []
    names: dict[RelationshipProfile, str] = {}
    types = [_to_snake(one.type) for one in found]
    for one, name in zip(found, types, strict=True):
        whole = f"{_to_snake(one.start)}_{name}_{_to_snake(one.end)}" if types.count(name) > 1 else name
        names[one] = to_distinct(whole, {*taken, *names.values()})
    guesses = []
    for kind in dict.fromkeys(one.type for one in found):
        shared = [one for one in found if one.type == kind]
        if len(shared) > 1:
            ends = ", ".join(f"{one.start} to {one.end} ({one.count:,})" for one in shared)
            guesses.append(Guess(f":{kind}", f"{len(shared)} edge types", "sure", f"it links several labels: {ends}"))
    return names, guesses


def to_name(text: str) -> str:
    """A name for a catalogue, made of any text."""
    made = re.sub(r"[^\w .-]+|^[\W\d_]+", "-", text).strip("-. ")
    return made if is_name(made) else "catalogue"


def to_distinct(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken."""
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    return made


def _to_snake(name: str) -> str:
    made = "_".join(split_words(name))
    return made if is_name(made) else name
