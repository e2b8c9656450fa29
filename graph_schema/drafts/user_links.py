"""Links of users: columns that name other users, and phrases for what users are linked to."""

import re
from dataclasses import replace

from graph_schema.drafts.interaction_candidates import is_user_label
from graph_schema.drafts.name_words import (
    SMALL_LINK_WORDS,
    is_place_name,
    is_user_name,
    leads_to_place,
    split_id,
    split_words,
)
from graph_schema.drafts.profile import GraphProfile, Guess, NodeProfile, RelationshipProfile

_NOUNS = {  # of relations called by a verb, or in a language whose plurals differ
    "follow": "followed user",
    "trust": "trusted user",
    "know": "contact",
    "freund": "friend",
    "amig": "friend",
    "kontakt": "contact",
}


def join_users(profile: GraphProfile) -> GraphProfile:
    """Joins the users that tables name by other columns, such as friend or user2, to the users.

    A type without a table joins them if it is called like users and only linked to users. The users then have
    `from_edges`, as some may be named by such links alone.
    """
    columns = {
        end: split_id(column)[0]
        for one in profile.relationships
        for end, column in ((one.start, one.start_column), (one.end, one.end_column))
    }
    users = [name for name, node in profile.nodes.items() if is_user_label(node) or is_user_name(columns.get(name, []))]
    links = [one for one in profile.relationships if one.start in users and one.end in users]
    others = {end for one in profile.relationships if one not in links for end in (one.start, one.end)}
    named = [end for one in links for end in (one.start, one.end)]
    joined = [name for name in dict.fromkeys(named) if name not in others and _is_only_named(profile.nodes[name])]
    kept = [name for name in users if name not in joined]
    if not joined or not kept:
        return profile
    main = max(kept, key=lambda name: (name in others, profile.nodes[name].count))
    nodes = {name: node for name, node in profile.nodes.items() if name not in joined}
    nodes[main] = replace(nodes[main], from_edges=True)
    relationships = tuple(
        replace(
            one,
            start=main if one.start in joined else one.start,
            end=main if one.end in joined else one.end,
        )
        for one in profile.relationships
    )
    guesses = tuple(
        Guess(one.type, f"links {main} to {main}", "likely", f"{one.start_column} and {one.end_column} both name users")
        for one in links
        if {one.start, one.end} & {*joined}
    )
    return replace(profile, nodes=nodes, relationships=relationships, guesses=(*profile.guesses, *guesses))


def phrase_user_link(profile: GraphProfile, found: RelationshipProfile, user: str) -> str | None:
    """How a reason names what a link of users leads to: "friend", "in {}" for a place, "book club".

    Args:
        profile: the graph.
        found: a relationship that starts or ends at users.
        user: the label of the users.
    """
    words = split_words(found.type)
    if found.start == found.end:
        return _to_noun(words)
    other = profile.nodes[found.start if found.end == user else found.end]
    label = split_words(other.label or other.name)
    column = found.start_column if found.end == user else found.end_column
    if is_place_name(label) or leads_to_place(words) or leads_to_place(split_words(column)):
        return "in {}"
    return " ".join(label)


def _is_only_named(node: NodeProfile) -> bool:
    return node.from_edges and len(node.properties) == 1


def _to_noun(words: list[str]) -> str:
    """The noun in the name of a relation between users: "IS_FRIEND_OF" and "user_friends" are about a friend."""
    kept = [word for word in words if word not in SMALL_LINK_WORDS and word not in ("has", "have", "user", "users")]
    if not kept:
        return " ".join(words)
    verb = next((noun for verb, noun in _NOUNS.items() if kept[-1].startswith(verb)), None)
    *first, last = kept
    return verb or " ".join([*first, re.sub(r"(?:ships?|(?<=[^s])s)$", "", last)])
