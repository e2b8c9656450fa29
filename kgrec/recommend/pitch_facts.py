"""The facts for pitches: what the reasons of an answer rest on, and nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec.graph.paths import ReasonPath
from kgrec.pitch.facts import Fact, Facts, clean_name, cut_name
from kgrec.recommend.answers import Explanation, Share
from kgrec.recommend.item_relations import find_likeness
from kgrec.recommend.noisy_likes import is_noisy
from kgrec.recommend.reasons import (
    LEAST_SHARED,
    NOTABLE,
    REASON_LIKES,
    Weighed,
    count_shared,
    find_grounds,
    find_relation,
    has_texts,
    is_value,
    rank_path,
)
from kgrec.recommend.requests import Request
from kgrec.recommend.state import State
from kgrec.recommend.user_reasons import LEAST_COUNT

_PATHS_PER_LIKE = 8
_UNTOLD = 8  # a node without a name, or that two relations meet in, counts as if so many times as many items shared it


def find_facts(
    state: State, requests: Sequence[Request], rows: Sequence[NDArray[np.int64]], gone: set[str] | None = None
) -> list[list[tuple[str, Facts]]]:
    """The reason for each item of each user, and the facts for its pitch; see `find_reasons`."""
    grounds = find_grounds(state, requests, rows, REASON_LIKES, _PATHS_PER_LIKE, gone)
    return [[(told.reason, _to_facts(state, weighed, told)) for weighed, told in of_one] for of_one in grounds]


def _to_facts(state: State, weighed: Weighed, told: Explanation) -> Facts:
    """All that may be said of one item, the fact of its reason first."""
    likes = [share for share in told.shares if share.source == "like" and share.value > 0 and share.item != told.item]
    sentence = next((share.value for share in told.shares if share.source == "sentence" and weighed.fits), 0.0)
    of_user = weighed.user_reason
    facts = [of_user.fact] if of_user is not None and of_user.fact is not None and told.reason == of_user.words else []
    leads = sentence > max((share.value for share in likes), default=0.0)
    facts += [Fact("words")] if leads else []
    facts += _find_links(state, weighed, likes)
    item = _name(told.title, told.item)
    facts += [fact for like in weighed.searched for fact in _relate(state, weighed, like)]
    facts += [Fact("words")] if sentence > 0 and not leads else []
    # a noisy count is no fact
    facts.append(Fact("alike") if is_noisy(state.bundle) else _count(int(state.bundle.model.n_likes[weighed.row])))
    facts = [fact for fact in facts if fact.like is None or fact.like not in ("", item)]  # its namesakes say nothing
    return Facts(item, tuple(dict.fromkeys(facts)))


def _relate(state: State, weighed: Weighed, like: int) -> list[Fact]:
    """What relates an item to a like beside paths; nothing for a like without a name."""
    name, kind = _name(state.title(like), None), find_relation(state, weighed, like)
    if kind == "near" and not has_texts(state):  # names that are alike say little; links in common do
        shares = state.bundle.model.likeness_shares(np.array([weighed.row]), np.array([like]))
        kind = kind if float(shares["links"][0]) > max(float(shares["text"][0]), 0) else None
    facts = [] if kind is None else [Fact(kind, like=name)]
    if count_shared(state, weighed.row, like, weighed.user) >= LEAST_SHARED:
        facts.append(Fact("people", like=name))
    return facts


def _find_links(state: State, weighed: Weighed, likes: Sequence[Share]) -> list[Fact]:
    """What links an item to the likes that add most; values of attributes as reasons have them."""
    ids = state.bundle.items.ids
    known = {ids[like] for like, share in weighed.known.items() if share > NOTABLE}
    paths = [
        (path, share) for share in likes for path in share.paths if share.item in known or not is_value(state, path)
    ]

    def rank(found: tuple[ReasonPath, Share]) -> tuple[int, int]:
        path = found[0]
        is_told = len(path.steps) == 1 or (path.steps[0].node.name is not None and _is_shared(path))
        return rank_path(state, path), path.n_sharing * (1 if is_told else _UNTOLD)

    return [_to_fact(path, _name(share.title, None)) for path, share in sorted(paths, key=rank)]


def _to_fact(path: ReasonPath, like: str) -> Fact:
    first = path.steps[0]
    if len(path.steps) == 1:
        return Fact("direct", like, first.relation, first.phrase, first.forward)
    node = _name(first.node.name, None) or None
    is_title = first.node.node_type == path.start.node_type
    if not _is_shared(path):
        return Fact("linked", like, node=node, is_title=is_title)
    if not first.phrase:
        return Fact("value", like, node=node)
    return Fact("same", like, first.relation, first.phrase, first.forward, node, is_title)


def _name(title: str | None, id_: str | None) -> str:
    """The name of a node, cut if it is long, or its id."""
    return cut_name(clean_name(title or "") or clean_name(id_ or ""))


def _is_shared(path: ReasonPath) -> bool:
    """Whether both items reach the node in the middle by the same relation, in the same direction if it has one."""
    first, last = path.steps
    is_even = path.start.node_type == first.node.node_type and find_likeness(first.relation, first.phrase) is not None
    return first.relation == last.relation and (is_even or first.forward != last.forward)


def _count(n_likes: int) -> Fact:
    """How many people like an item, as reasons count them."""
    if n_likes >= LEAST_COUNT:
        return Fact("popular", count=n_likes)
    return Fact("few" if n_likes else "new")
