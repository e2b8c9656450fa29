"""Reasons from what the graph says of a user: what people who like an item share with the user.

Nobody is named unless the schema says that users are `public`, and counts below three are not told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.model.user_prior import UserPrior
from kgrec.recommend.requests import Request
from kgrec.recommend.state import State

LEAST_TOLD = 3  # people; fewer could be recognised
_MOST_NAMED = 2
_LINKING_WORDS = ("of", "with", "by", "to")
_PLACING_WORDS = ("in", "at", "from", "near", "on")
_MOST_WORDS = 3


@dataclass(frozen=True)
class _Group:
    """People whom a user is linked to, or who share a link with the user.

    Attributes:
        people: (n,) rows of users, ascending.
        friends: what they are to the user: "friend"; None: they share a node.
        place: the words for the node that they share: "in Oslo", "age 25 to 34"; None for friends.
    """

    people: NDArray[np.int64]
    friends: str | None
    place: str | None


def counts_prior(state: State) -> bool:
    """Whether the links, attributes and texts of users without likes count."""
    model = state.bundle.model
    return UserPrior.name in model.names and bool(model.gate.warm[0][model.names.index(UserPrior.name)])


def describe_prior(state: State, request: Request) -> str:
    """What is known of a user, in words: "the user's friends, town and age"."""
    relations = dict.fromkeys(_relations(state)[request.links].tolist())
    words = [_name_relation(state, place) for place in relations]
    found = list(dict.fromkeys(words))[:_MOST_WORDS] or ["text"]
    return "the user's " + (found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}")


def find_user_reasons(state: State, request: Request, rows: NDArray[np.int64]) -> list[str]:
    """For each of some items, what a user shares with the people who like it, where that stands out most."""
    groups, liked, n_users = list(_find_groups(state, request)), state.liked_by_item, max(len(state.bundle.users), 1)
    least = 1 if state.bundle.schema.nodes[state.bundle.schema.user_type].public else LEAST_TOLD
    reasons = []
    for row in rows.tolist():
        fans = liked.indices[liked.indptr[row] : liked.indptr[row + 1]]
        best, reason = 0.0, "liked by people like you" if len(fans) else "near what people like you like"
        for group in groups:
            theirs = np.intersect1d(group.people, fans, assume_unique=True)
            lift = len(theirs) / len(group.people) - len(fans) / n_users
            if len(theirs) >= least and lift > best:
                best, reason = lift, _say(state, group, theirs)
        reasons.append(reason)
    return reasons


def _find_groups(state: State, request: Request) -> Iterator[_Group]:
    """The people whom a user's links lead to; those of one relation to users are one group."""
    bundle = state.bundle
    relations, nodes = _relations(state), bundle.user_link_node
    friends: dict[str, list[int]] = {}
    for code in request.links.tolist():
        edge_type, _, far_type = bundle.user_relations[relations[code]]
        if far_type == bundle.schema.user_type:
            friends.setdefault(_name_relation(state, int(relations[code])), []).append(int(nodes[code]))
        elif far_type != bundle.schema.item_type:
            name, edge = bundle.names[far_type][nodes[code]], bundle.schema.edges[edge_type]
            holders = state.users_by_link.indices[slice(*state.users_by_link.indptr[code : code + 2])]
            if name is not None and len(holders) and (not edge.derived or edge_type == far_type):
                yield _Group(holders.astype(np.int64), None, _place(state, edge_type, name))
    for word, people in friends.items():
        yield _Group(np.unique(people), word, None)


def _say(state: State, group: _Group, people: NDArray[np.int64]) -> str:
    """The reason in words, given the people of a group who like the item."""
    bundle = state.bundle
    user_type = bundle.schema.user_type
    if group.friends is None:
        return f"liked by {len(people):,} {'person' if len(people) == 1 else 'people'} {group.place}"
    if not bundle.schema.nodes[user_type].public:
        return f"{len(people):,} of your {len(group.people):,} {group.friends} like it"
    named = [bundle.names[user_type][row] or bundle.users.ids[row] for row in people[:_MOST_NAMED].tolist()]
    if len(people) > len(named):
        return f"{', '.join(named)} and {len(people) - len(named):,} more of your {group.friends} like it"
    return f"{' and '.join(named)}, your {group.friends}, like{'s' if len(named) == 1 else ''} it"


def _place(state: State, edge_type: str, name: str) -> str:
    """The words for a node that people share: "in Oslo", "with the same club (Chess)"."""
    edge = state.bundle.schema.edges[edge_type]
    phrase = edge.phrase if edge.phrase is not None else edge_type.replace("_", " ")
    if "{}" in phrase:
        return phrase.format(name)
    if not phrase:  # a bin of numbers says what it is
        return f"like you ({name})"
    last = phrase.split(" ")[-1]
    return f"{last} {name}" if last in _PLACING_WORDS else f"with the same {_noun(state, edge_type)} ({name})"


def _relations(state: State) -> NDArray[np.int64]:
    """(n_codes,) the place in `user_relations` of each link feature of users."""
    encoder = state.bundle.model.user_prior
    return np.zeros(0, np.int64) if encoder is None else encoder.relation


def _name_relation(state: State, place: int) -> str:
    """The plural of what a relation leads to for users and items ("friends"), else the word for the node ("town")."""
    edge_type, _, far_type = state.bundle.user_relations[place]
    noun = _noun(state, edge_type)
    if far_type in (state.bundle.schema.user_type, state.bundle.schema.item_type):
        return noun if noun.endswith("s") else f"{noun}s"
    return noun


def _noun(state: State, edge_type: str) -> str:
    """The schema's phrase, or the words of the edge type or of the node type at its end."""
    edge = state.bundle.schema.edges[edge_type]
    if edge.derived:
        return edge_type.rsplit(".", 1)[-1].replace("_", " ")
    words = (edge.phrase or edge_type.replace("_", " ")).split(" ")
    if edge.source == edge.target:
        return " ".join(words[:-1] if words[-1] in _LINKING_WORDS and len(words) > 1 else words)
    if edge.phrase and not {"{}", *_PLACING_WORDS, *_LINKING_WORDS} & set(words):
        return edge.phrase
    far_type = edge.target if edge.source == state.bundle.schema.user_type else edge.source
    return far_type.replace("_", " ")
