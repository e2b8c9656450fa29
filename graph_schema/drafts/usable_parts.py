"""The part of a profile that a schema can hold, and a sentence about each part that it cannot."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from graph_schema.drafts.name_words import is_personal
from graph_schema.drafts.profile import GraphProfile, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.drafts.roles import find_key, find_kind, is_vector
from graph_schema.schema_toml import to_one_line
from graph_schema.schema_types import is_label


@dataclass(frozen=True)
class Usable:
    """What a schema can hold.

    Attributes:
        profile: nodes with a key and a name that a schema can hold, and the relationships between them.
        keys: label -> its key, how sure that is, and why.
        left_out: what cannot be held, a sentence each.
    """

    profile: GraphProfile
    keys: Mapping[str, tuple[str, Sureness, str]]
    left_out: tuple[str, ...]


def find_usable(profile: GraphProfile) -> Usable:
    """Leaves out names that a schema cannot hold, empty relationships, and nodes without a key, with their links."""
    left_out = list(profile.left_out)
    nodes, keys = {}, {}
    for name, node in profile.nodes.items():
        usable = {key: one for key, one in node.properties.items() if is_label(key)}
        found = find_key(replace(node, properties=usable))
        place = describe_place(name, profile.is_tables)
        if not (is_label(name) and is_label(node.label or name)):
            left_out.append(f"{place}: a schema cannot hold that name ({node.count:,} rows)")
        elif found is None:
            advice = "" if profile.is_tables else f"; add one by MATCH (n:`{name}`) SET n.id = randomUUID()"
            left_out.append(f"{place}: its {node.count:,} nodes have no property that could be their key{advice}")
        else:
            nodes[name] = node
            keys[name] = found
    relationships = []
    for one in profile.relationships:
        if one.start not in nodes or one.end not in nodes:
            left_out.append(f"{describe_relationship(one)}: one of its ends is left out ({one.count:,})")
        elif not is_label(one.type):
            left_out.append(f"{describe_relationship(one)}: a schema cannot hold that name ({one.count:,})")
        else:
            relationships.append(one)
    kept = replace(profile, nodes=nodes, relationships=tuple(relationships), left_out=())
    return Usable(kept, keys, tuple(left_out))


def leave_out_middles(profile: GraphProfile, middles: Collection[str]) -> GraphProfile:
    """Leaves out what only stands between users and items, such as orders, with the other links of theirs."""
    if not middles:
        return profile
    left_out = list(profile.left_out)
    for name in middles:
        if name in profile.nodes:
            ends = [one for one in profile.relationships if not one.path and name in (one.start, one.end)]
            links = f"; with it goes {', '.join(map(describe_relationship, ends))}" if ends else ""
            left_out.append(f"{describe_place(name, profile.is_tables)}: it stands between users and items{links}")
    return replace(
        profile,
        nodes={name: node for name, node in profile.nodes.items() if name not in middles},
        relationships=tuple(one for one in profile.relationships if not {one.start, one.end} & {*middles}),
        left_out=tuple(left_out),
    )


def find_connected(profile: GraphProfile, first: Sequence[str]) -> tuple[list[str], list[str]]:
    """Finds the labels that are linked to the first ones, users and items, over any number of relationships.

    Returns:
        The labels: the first ones, then the others by count; and a sentence about each label that is not linked.
    """
    reached = set(first)
    grown = True
    while grown:
        ends = [{one.start, one.end} for one in profile.relationships]
        more = set().union(*(pair for pair in ends if pair & reached)) - reached
        reached |= more
        grown = bool(more)
    left_out = [
        f"{describe_place(name, profile.is_tables)}: nothing links it to {first[-1]} ({node.count:,} rows)"
        for name, node in profile.nodes.items()
        if name not in reached
    ]
    rest = sorted(reached - set(first), key=lambda name: (-profile.nodes[name].count, name))
    return [*first, *rest], left_out


def find_usable_properties(
    owner: str, properties: Mapping[str, PropertyProfile], needed: Collection[str] = (), ends: Collection[str] = ()
) -> tuple[dict[str, PropertyProfile], list[str]]:
    """Finds the properties that a schema can hold.

    Args:
        owner: the label or relationship type that has them.
        properties: by name.
        needed: those that are kept in any case, such as the key.
        ends: names that are kept for the ends of an edge; empty for a node.

    Returns:
        The properties, and a sentence about each of the others.
    """
    kept, left_out = {}, []
    for name, one in properties.items():
        reason = "" if name in needed else _find_reason_against(name, one, ends)
        if reason:
            left_out.append(f"{owner}.{to_one_line(name)}: {reason}")
        else:
            kept[name] = one
    return kept, left_out


def _find_reason_against(name: str, one: PropertyProfile, ends: Collection[str]) -> str:
    """Why a schema cannot hold a property; empty where it can."""
    if not is_label(name):
        return "a schema cannot hold that name"
    if name in ends:
        return "a schema keeps 'source' and 'target' for the ends of edges"
    if is_personal(name):
        return "it identifies a person or is a credential, and says nothing about taste"
    kind = find_kind(one)
    if kind is None:
        counted = sorted(one.kinds.items(), key=lambda found: -found[1])
        counts = ", ".join(f"{n:,} {of}" for of, n in counted if n)
        return f"its values are of several types ({counts} in the sample)" if one.kinds else "it has no values"
    hint = "" if ends else f': if they are vectors of one width, add {to_one_line(name)} = "vector" to its attributes'
    reasons = {
        "vector": "" if is_vector(one) and not ends else f"it holds lists of numbers{hint}",
        "point": "kgrec reads points of nodes only" if ends else "",
        "other": "a schema has no type for durations, times of day and nested values",
    }
    return reasons.get(kind, "")


def describe_relationship(found: RelationshipProfile) -> str:
    """A relationship as people write it: "(:User)-[:RATED]->(:Film)", or a table with its two columns."""
    if found.start_column:
        columns = f"({found.start_column} to {found.end_column})"
        return f"{' joined with '.join(found.path) or found.type} {columns}"
    if not found.path:
        return f"(:{found.start})-[:{found.type}]->(:{found.end})"
    via = found.via if len(found.via) == len(found.path) - 1 else ("",) * (len(found.path) - 1)
    text = f"(:{found.start})"
    for step, node in zip(found.path, (*via, found.end), strict=True):
        text += f"<-[:{step[1:]}]-" if step.startswith("<") else f"-[:{step}]->"
        text += f"(:{node})" if node else "()"
    return text


def describe_place(name: str, is_tables: bool) -> str:
    """A label or a table as people write it."""
    return f"the table {name}" if is_tables else f":{name}"
