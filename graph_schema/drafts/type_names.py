"""Names for the node types and edge types of a drafted schema, from labels, relationship types and tables."""

import re
from collections.abc import Collection, Sequence

from graph_schema.drafts.name_words import split_words
from graph_schema.drafts.profile import GraphProfile, Guess, RelationshipProfile
from graph_schema.schema_types import is_name


def name_nodes(profile: GraphProfile, labels: Sequence[str]) -> dict[str, str]:
    """Names a node type for each label: "FilmGenre" is film_genre. A table keeps its name where that can be one."""
    names: dict[str, str] = {}
    for label in labels:
        made = to_name(label, "node") if profile.is_tables else _to_snake(label, "node")
        names[label] = to_distinct(made, names.values())
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
    names: dict[RelationshipProfile, str] = {}
    if profile.is_tables:
        for one in found:
            names[one] = to_distinct(to_name(one.type, "edge"), {*taken, *names.values()})
        return names, []
    types = [_to_snake(one.type, "edge") for one in found]
    for one, name in zip(found, types, strict=True):
        whole = f"{_to_snake(one.start, 'node')}_{name}_{_to_snake(one.end, 'node')}"
        names[one] = to_distinct(whole if types.count(name) > 1 else name, {*taken, *names.values()})
    guesses = []
    for kind in dict.fromkeys(one.type for one in found):
        shared = [one for one in found if one.type == kind]
        if len(shared) > 1:
            ends = ", ".join(f"{one.start} to {one.end} ({one.count:,})" for one in shared)
            guesses.append(Guess(f":{kind}", f"{len(shared)} edge types", "sure", f"it links several labels: {ends}"))
    return names, guesses


def to_name(text: str, default: str = "catalogue") -> str:
    """A name for a catalogue or a type, made of any text; `default` where nothing of it can be in a name."""
    if is_name(text):
        return text
    made = re.sub(r"[^\w .-]+|^[\W\d_]+", "-", text).strip("-. ")
    return made if is_name(made) else default


def to_distinct(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken."""
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    return made


def _to_snake(name: str, default: str) -> str:
    made = re.sub(r"^[\d_]+", "", "_".join(split_words(name)))
    return made if is_name(made) else to_name(name, default)
