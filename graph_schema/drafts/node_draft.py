"""Drafts a node type: its key, name, texts and attributes, with the reasons."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from graph_schema.drafts.attribute_draft import draft_attributes, find_available
from graph_schema.drafts.name_words import is_person_name, is_sensitive_name, is_street_name, split_words
from graph_schema.drafts.profile import Guess, NodeProfile, PropertyProfile, Sureness
from graph_schema.drafts.roles import find_kind, find_name, find_texts, is_category, is_list, is_vector
from graph_schema.drafts.source_columns import describe_values, find_ignored, find_milliseconds, find_time_formats
from graph_schema.drafts.usable_parts import find_usable_properties
from graph_schema.schema_toml import TomlPath, to_one_line
from graph_schema.schema_types import NodeType

Role = Literal["users", "items", "people", "others"]  # people: like users, but not those who choose
_HUB = 0.5  # a value that a larger share of the nodes have says little of each


@dataclass(frozen=True)
class DraftedNode:
    """A node type, comments for the TOML file, guesses, and what is left out, a sentence each."""

    node: NodeType
    comments: dict[TomlPath, str]
    guesses: tuple[Guess, ...]
    left_out: tuple[str, ...]


def draft_node(
    node: NodeProfile,
    name: str,
    key: tuple[str, Sureness, str],
    role: Role,
    linked: Collection[str],
    *,
    is_tables: bool,
) -> DraftedNode:
    """Drafts a node type.

    Args:
        node: the label or table.
        name: the node type.
        key: its key, how sure that is, and why.
        role: what its nodes are.
        linked: columns and properties with the ids of other nodes, which it is linked to; they are no attributes.
        is_tables: whether the data are tables.
    """
    key_name, sure, why = key
    is_person = role in ("users", "people")
    usable, left_out = find_usable_properties(node.name, node.properties, needed={key_name})
    title, texts = _find_title_and_texts(node, usable, key_name, role)
    hidden = {
        one: reason for one in usable if is_person and one not in (key_name, title) and (reason := _find_person(one))
    }
    left_out += [f"{node.name}.{to_one_line(one)}: {reason}" for one, reason in sorted(hidden.items())]
    others = [one for one in usable.values() if one.name not in {key_name, title, *texts, *hidden, *linked}]
    drafted = draft_attributes(others, n_nodes=node.count, is_user=is_person)
    attributes = {one: found.attribute for one, found in drafted.items()}
    available = {}
    if role == "items":
        found = {one: find_available(usable[one], kind.type) for one, kind in attributes.items()}
        available = {one: value for one, value in found.items() if value is not None}
    parts = [f"key {key_name}" if key_name != title else f"key and name {key_name}"]
    parts += [f"name {title}"] if title and title != key_name and title not in texts else []
    parts += [f"text {', '.join(texts)}"] if texts else []
    guesses = [Guess(node.name, "; ".join(parts), sure, why)]
    if role == "items":
        guesses += _find_hubs(node, [usable[one] for one in attributes])
    path = ("nodes", name)
    comments: dict[TomlPath, str] = {path: _describe_rows(node, role, is_tables), (*path, "key"): f"{sure}: {why}"}
    if available:
        comments[*path, "available"] = "a guess: the others are not recommended"
    for one, attribute in drafted.items():
        comments[*path, "attributes", one] = describe_values(usable[one], attribute.remark)
    types = {one: attribute.type for one, attribute in attributes.items()}
    label = node.label or node.name
    table = node.table or (node.name if is_tables and name != node.name and not node.from_edges else "")
    declared = {key_name, title, *texts, *drafted}
    made = NodeType(
        label=node.labels[0] if node.labels else label,
        labels=node.labels,
        key=key_name,
        name=title,
        text=tuple(texts),
        from_edges=node.from_edges,
        attributes=attributes,
        milliseconds=find_milliseconds(drafted, usable, is_tables=is_tables),
        time_formats=find_time_formats(types, usable),
        ignore=find_ignored([*node.properties, *node.ignore], declared, is_tables=is_tables),
        table=table or None,
        available=available,
    )
    return DraftedNode(made, comments, tuple(guesses), tuple(left_out))


def _find_title_and_texts(
    node: NodeProfile, usable: dict[str, PropertyProfile], key: str, role: Role
) -> tuple[str | None, list[str]]:
    """The name and the texts; what is sensitive or a street is neither, of people; only users' names are shown."""
    is_person = role in ("users", "people")
    unfit = {one for one in usable if is_person and one != key and (is_sensitive_name(one) or is_street_name(one))}
    described = {one: found for one, found in usable.items() if one not in unfit}
    shown = replace(node, properties=described)
    title = find_name(shown, key)
    texts = [
        text
        for text in find_texts(shown, key, title)
        if text == title or not (is_list(usable[text]) or is_category(usable[text]) or is_vector(usable[text]))
    ]
    if is_person:  # a user's name says nothing about taste
        texts = [text for text in texts if not (is_person_name(text) or split_words(text)[-1:] == ["name"])]
    return (None if role == "people" and title != key else title), texts


def _find_person(name: str) -> str | None:
    """Why a property tells who or where a person is, for people; None: it does not."""
    if is_person_name(name):
        return "it names a person, and says nothing about taste"
    return "it says where a person lives, and nothing about taste" if is_street_name(name) else None


def _find_hubs(node: NodeProfile, attributes: list[PropertyProfile]) -> list[Guess]:
    """Tells of values that most items have."""
    guesses = []
    for one in attributes:
        if one.commonest and one.common_share >= _HUB and find_kind(one) in ("string", "list"):
            n_having = round(one.common_share * node.count)
            why = (
                f"{n_having:,} of {node.count:,} items have {to_one_line(one.commonest, 30)!r}: it says little of each"
            )
            guesses.append(Guess(one.name, "a hub among its values", "likely", why))
    return guesses


def _describe_rows(node: NodeProfile, role: Role, is_tables: bool) -> str:
    rows = f"{node.count:,} {'rows' if is_tables else 'nodes'}"
    if node.from_edges:
        rows = f"{node.count:,} named by edges, no table of their own"
        if len(node.properties) > 1:
            rows = f"{node.count:,} rows, and any that only edges name"
    return f"the {role}, {rows}" if role in ("users", "items") else rows
