"""Reasons from what the graph says of a user: what people who like an item share with the user.

Nobody is named and no count below three is given, unless the schema says that users are `public`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.graph.value_codes import MISSING
from kgrec.model.linked_likes import LinkedLikes
from kgrec.model.user_prior import UserPrior
from kgrec.pitch.facts import Fact
from kgrec.recommend.requests import Request
from kgrec.recommend.state import State

LEAST_COUNT = 3  # people; of fewer, each could be recognised
_MOST_NAMED = 2
_MOST_WORDS = 4
_MOST_GROUPS = 12  # the smallest are compared
_MOST_SHARING = 1 / 3  # of all users; a node or a value that more of them share says nothing of any
_FRIENDS_FIRST = 0.5  # of the largest lift; friends with as much are the reason
_LINKING_WORDS = ("of", "with", "by", "to")
_ENGLISH = ("acquaintance", "associate", "colleague", "employee", "mate", "one", "people", "relative")
_FOREIGN = re.compile(r".*(?:[aeiou]|en|[^a-z ])", re.IGNORECASE)  # as "Freunde", which is a plural already
_PLACING_WORDS = ("in", "at", "from", "near", "on")
_DONE = re.compile(r".*[^e]ed|bought|seen|read|met")  # what one did, as viewed and saved


@dataclass(frozen=True)
class _Links:
    """The nodes that a user is linked to by one relation.

    Attributes:
        place: its place in `Bundle.user_relations`.
        edge_type, is_source, far_type: the relation.
        nodes: (n,) rows.
    """

    place: int
    edge_type: str
    is_source: bool
    far_type: str
    nodes: NDArray[np.int64]


@dataclass(frozen=True)
class _Group:
    """People whom a user is linked to, or who share a link with the user.

    Attributes:
        members: (n_users,) bool, without the user.
        size: how many they are.
        friends: what they are to the user, "friend"; "" where the schema has no noun for it; None: they share a node.
        words: what they share: "in Oslo"; the edge type's words for people whom the user is linked to.
        node: the name of what they share; None: it has none.
    """

    members: NDArray[np.bool_]
    size: int
    friends: str | None
    words: str
    node: str | None = None


@dataclass(frozen=True)
class _Liking:
    """How much a group likes an item.

    Attributes:
        lift: the share of the group that likes it, minus the share of everybody.
        group: the group.
        fans: (n,) rows of those in the group who like it.
    """

    lift: float
    group: _Group
    fans: NDArray[np.int64]


@dataclass(frozen=True)
class UserReason:
    """Why people like a user like an item.

    Attributes:
        words: the reason.
        is_telling: it says what the user has in common with them, not only how many they are.
        fact: the same as a fact; None where it is only a count.
    """

    words: str
    is_telling: bool
    fact: Fact | None = None


def counts_prior(state: State) -> bool:
    """Whether the links, attributes and texts of users without likes count."""
    model, gate = state.bundle.model, state.bundle.model.gate
    weights = gate.warm if gate.known is None else gate.known
    places = [place for place, name in enumerate(model.names) if name in (UserPrior.name, LinkedLikes.name)]
    return any(bool(weights[0][place]) for place in places)


def describe_prior(state: State, request: Request) -> str:
    """What is known of a user, in words: "friends, town and age"; empty: nothing."""
    bundle, schema = state.bundle, state.bundle.schema
    words: dict[str, None] = {}
    for link in _find_linked(state, request):
        edge = schema.edges[link.edge_type]
        ids = bundle.ids[link.far_type].ids
        is_missing = edge.derived and all(ids[node] == MISSING for node in link.nodes.tolist())
        if edge.derived and (is_missing or link.edge_type != link.far_type):
            continue  # a value of a linked node goes with the node
        noun = _noun(state, link.edge_type)
        of_many = link.far_type == schema.user_type or (link.far_type == schema.item_type and not link.is_source)
        words[_plural(noun) if of_many and _has_plural(noun) else noun or "links"] = None
    if request.user is not None and bundle.user_text.shape[1] and bool(bundle.user_text[request.user].any()):
        words["text"] = None
    listed = list(words)
    if len(listed) > _MOST_WORDS:
        listed = [*listed[: _MOST_WORDS - 1], "more"]
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def find_user_reasons(state: State, request: Request, rows: NDArray[np.int64]) -> list[UserReason]:
    """For each of some items, what a user shares with the people who like it, where that stands out most."""
    if not len(rows):
        return []
    wished = _find_wished(state, request)
    friends, others = _find_friends(state, request), _find_sharing(state, request)
    n_others = max(len(state.bundle.users) - (request.user is not None), 1)
    reasons = []
    for row in rows.tolist():
        fans = state.liked_by_item.indices[slice(*state.liked_by_item.indptr[row : row + 2])]
        fans = fans[fans != request.user]
        usual = len(fans) / n_others
        best = _find_best(state, friends, fans, usual)
        sharing = _find_best(state, others, fans, usual)
        if best is None or (sharing is not None and best.lift < _FRIENDS_FIRST * sharing.lift):
            best = sharing
        if row in wished:
            reasons.append(UserReason(wished[row], True, Fact("wished", words=wished[row])))
        elif best is not None:
            words = _say(state, best.group, best.fans)
            reasons.append(UserReason(words, True, _to_fact(state, best.group, best.fans, words)))
        else:
            words = count_fans(len(fans)) if len(fans) else "similar to what people like you like"
            reasons.append(UserReason(words, False, None if len(fans) else Fact("alike")))
    return reasons


def count_fans(n_people: int) -> str:
    """How many people like an item, in words, where some do."""
    return f"liked by {n_people:,} people" if n_people >= LEAST_COUNT else "liked by few people"


def _find_best(state: State, groups: Sequence[_Group], fans: NDArray[np.int64], usual: float) -> _Liking | None:
    """The group that likes an item most, compared with the share of everybody; None: no group does.

    Args:
        state: the current state.
        groups: the groups.
        fans: (n,) rows of the users who like the item.
        usual: their share of everybody.
    """
    schema = state.bundle.schema
    least = 1 if schema.nodes[schema.user_type].public else LEAST_COUNT
    best = None
    for group in groups:
        theirs = fans[group.members[fans]]
        lift = len(theirs) / group.size - usual
        if len(theirs) >= least and lift > (best.lift if best else 0):
            best = _Liking(lift, group, theirs)
    return best


def _find_linked(state: State, request: Request) -> list[_Links]:
    """The nodes that a user is linked to, by relation."""
    linked = request.linked
    if linked is None:
        linked = np.zeros((2, 0), np.int64) if request.user is None else state.linked_nodes.find(request.user)
    places, starts = np.unique(linked[0], return_index=True)
    found = []
    for place, nodes in zip(places.tolist(), np.split(linked[1], starts[1:]), strict=False):  # one part without places
        edge_type, is_source, far_type = state.bundle.user_relations[place]
        found.append(_Links(place, edge_type, is_source, far_type, nodes))
    return found


def _to_group(
    state: State,
    request: Request,
    people: NDArray[np.int64],
    friends: str | None,
    words: str,
    node: str | None = None,
) -> _Group:
    members = np.zeros(len(state.bundle.users), np.bool_)
    members[people[people != request.user]] = True
    return _Group(members, int(members.sum()), friends, words, node)


def _find_wished(state: State, request: Request) -> dict[int, str]:
    """The items that a user is linked to, such as those on a wish list -> how: "on your wish list"."""
    wished: dict[int, str] = {}
    for link in _find_linked(state, request):
        if link.is_source and link.far_type == state.bundle.schema.item_type:
            wished |= dict.fromkeys(link.nodes.tolist(), _say_wished(_noun(state, link.edge_type)))
    return wished


def _find_friends(state: State, request: Request) -> list[_Group]:
    """The people whom a user is linked to; those of one kind are one group."""
    friends: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
    for link in _find_linked(state, request):
        if link.far_type == state.bundle.schema.user_type:
            noun = _noun(state, link.edge_type)
            friends.setdefault((noun, "" if noun else link.edge_type.replace("_", " ")), []).append(link.nodes)
    return [_to_group(state, request, np.concatenate(people), *names) for names, people in friends.items()]


def _find_sharing(state: State, request: Request) -> list[_Group]:
    """The people who share a link or a value with a user, and those who like what is on a wish list."""
    bundle, schema, found = state.bundle, state.bundle.schema, list[tuple[NDArray[np.int64], str, str | None]]()
    for link in _find_linked(state, request):
        of_items = link.far_type == schema.item_type
        is_derived = schema.edges[link.edge_type].derived
        if link.far_type == schema.user_type or (of_items and not link.is_source):
            continue
        for node in link.nodes.tolist():
            name = bundle.names[link.far_type][node]
            if of_items:
                people = state.liked_by_item.indices[slice(*state.liked_by_item.indptr[node : node + 2])]
                words = f"who like {name or bundle.items.ids[node]}, {_say_wished(_noun(state, link.edge_type))}"
                found.append((people.astype(np.int64), words, None))
            elif not is_derived or (link.edge_type == link.far_type and name):  # values that reasons name
                people = state.linked_nodes.find_users(link.place, node)
                if len(people) <= _MOST_SHARING * len(bundle.users):
                    # the name of an attribute's value may be words of kgrec, such as "age 30 to 40"
                    words = _describe_shared(state, link.edge_type, name)
                    found.append((people, words, None if is_derived else name))
    found.sort(key=lambda each: len(each[0]))
    groups = (_to_group(state, request, people, None, words, node) for people, words, node in found[:_MOST_GROUPS])
    return [group for group in groups if group.size]


def _say(state: State, group: _Group, people: NDArray[np.int64]) -> str:
    """The reason in words, given the people of a group who like the item."""
    schema, n_people = state.bundle.schema, len(people)
    if group.friends is None:
        return f"liked by {n_people:,} {'person' if n_people == 1 else 'people'} {group.words}"
    if schema.nodes[schema.user_type].public:
        return _name_friends(state, group, people)
    # "all of your friends" would tell what each of them likes
    is_most = n_people == group.size
    if not group.friends or not _has_plural(group.friends):
        some = "most of the" if is_most else f"{n_people:,} of the {group.size:,}"
        return f"{some} people linked to you ({group.friends or group.words}) like it"
    some = "most of your" if is_most else f"{n_people:,} of your {group.size:,}"
    return f"{some} {_plural(group.friends)} like it"


def _to_fact(state: State, group: _Group, people: NDArray[np.int64], words: str) -> Fact:
    """The reason of `_say` as a fact."""
    if group.friends is None:
        return Fact("sharing", count=len(people), node=group.node, words=words)
    if state.bundle.schema.nodes[state.bundle.schema.user_type].public:
        return Fact("named_friends", names=_names(state, people), words=words)
    if len(people) == group.size:
        return Fact("most_friends", words=words)
    return Fact("friends", count=len(people), total=group.size, words=words)


def _names(state: State, people: NDArray[np.int64]) -> tuple[str, ...]:
    """The names of the first people, or their ids."""
    names = state.bundle.names[state.bundle.schema.user_type]
    return tuple(names[row] or state.bundle.users.ids[row] for row in people[:_MOST_NAMED].tolist())


def _name_friends(state: State, group: _Group, people: NDArray[np.int64]) -> str:
    """The reason with names of friends who like the item."""
    friend, names = group.friends if group.friends and _has_plural(group.friends) else "link", _names(state, people)
    if len(people) > len(names):
        return f"{', '.join(names)} and {len(people) - len(names):,} more of your {_plural(friend)} like it"
    if len(names) == 1:
        return f"{names[0]}, your {friend}, likes it"
    return f"{' and '.join(names)}, your {_plural(friend)}, like it"


def _describe_shared(state: State, edge_type: str, name: str | None) -> str:
    """The words for a node that people share: "in Oslo", "who share your club (Chess)", "like you (age 70 to 78)"."""
    edge = state.bundle.schema.edges[edge_type]
    phrase = edge.phrase if edge.phrase is not None else edge_type.replace("_", " ")
    if not phrase:  # the name of a number's bin says what it is
        return f"like you ({name})"
    if "{}" in phrase and name:
        return phrase.format(name)
    noun, last = _noun(state, edge_type), phrase.split(" ")[-1]
    if last in _PLACING_WORDS:
        return f"{last} {name}" if name else f"{last} the same {noun}"
    return f"who share your {noun} ({name})" if name else f"who share your {noun}"


def _say_wished(noun: str) -> str:
    """How a user is linked to an item, by the words of the link: "on your wish list", "viewed by you"."""
    last = noun.rsplit(" ", 1)[-1]
    if last in (*_PLACING_WORDS, *_LINKING_WORDS):
        return f"linked to you ({noun})"
    return f"{noun} by you" if _DONE.fullmatch(last) else f"on your {noun}"


def _noun(state: State, edge_type: str) -> str:
    """What a relation leads to, in the singular: "friend", "town"; empty where an edge between users has no noun."""
    schema = state.bundle.schema
    edge = schema.edges[edge_type]
    if edge.derived:
        return edge_type.rsplit(".", 1)[-1].replace("_", " ")
    words = (edge.phrase or edge_type.replace("_", " ")).split(" ")
    if edge.phrase and not {"{}", *_PLACING_WORDS, *_LINKING_WORDS} & set(words):
        return edge.phrase
    if edge.source == edge.target:
        return " ".join(words[:-1]) if words[-1] in _LINKING_WORDS else ""
    if edge.source == schema.user_type and edge.target == schema.item_type:
        return edge_type.replace("_", " ")
    return (edge.target if edge.source == schema.user_type else edge.source).replace("_", " ")


def _has_plural(noun: str) -> bool:
    """Whether a noun has an English plural; "Freunde" and "Kollegen" have none."""
    return noun.endswith(_ENGLISH) or not _FOREIGN.fullmatch(noun)


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
