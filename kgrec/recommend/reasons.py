"""Explains recommendations and similar items: exact shares of a score, and paths in the graph."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kgrec.graph.paths import PathIndex, ReasonPath, rank_value
from kgrec.model.model import Contributions
from kgrec.recommend.answers import Explanation, Share
from kgrec.recommend.asked import Asked
from kgrec.recommend.item_relations import tell_path
from kgrec.recommend.live import read_path_index
from kgrec.recommend.noisy_likes import NOISY, is_noisy, is_popular
from kgrec.recommend.requests import Request, find_item, read_request, to_support
from kgrec.recommend.state import State, one_thread
from kgrec.recommend.user_reasons import UserReason, count_fans, describe_prior, find_user_reasons

REASON_LIKES = 5  # paths are searched for this many of the likes that add most
_PATHS_PER_LIKE = 3
NOTABLE = 0.5  # of the largest share; smaller shares are never the reason
_HUB = 0.5  # of all items; a node that more of them share says nothing about any two
LEAST_SHARED = 2  # other people who like two items, so that these are "liked by people who like" the other
_SOME = 0.2  # of a like's contribution; with as much from texts and links, an item is near the liked one by these


@dataclass(frozen=True)
class Weighed:
    """The contributions to an item's score.

    Attributes:
        row: the item's.
        user: the user's row; None: nobody of the bundle.
        likes: row of a like -> its contribution, the largest first.
        known: row of a like -> the share of its contribution that comes from texts and links, 0 to 1.
        followed: likewise from what people like after it.
        sentence: the sentence's contribution; None without a sentence.
        prior: the contribution of the user's own links, attributes and text; None: they say nothing.
        prior_words: what is known of the user: "friends and town".
        user_reason: why people like the user like it; None where `prior` is not the largest contribution.
        rest: everybody else's contribution.
        searched: the likes for which paths are searched.
        fits: whether the item's text fits the sentence.
    """

    row: int
    user: int | None
    likes: Mapping[int, float]
    known: Mapping[int, float]
    followed: Mapping[int, float]
    sentence: float | None
    prior: float | None
    prior_words: str
    user_reason: UserReason | None
    rest: float
    searched: Sequence[int]
    fits: bool


def explain_item(state: State, item: str, asked: Asked) -> Explanation:
    """Splits an item's score into shares; see `Recommender.explain`."""
    row = find_item(state, item)
    unknown: list[str] = []
    found = explain_items(state, [read_request(state, asked, unknown)], [np.array([row])])[0][0]
    return replace(found, unknown=tuple(unknown))


def find_reasons(
    state: State, requests: Sequence[Request], rows: Sequence[NDArray[np.int64]], gone: set[str] | None = None
) -> list[list[str]]:
    """The reason for each item, from fewer shares and paths than `explain_items` computes.

    Args:
        state: the current state.
        requests: the users' requests.
        rows: the items of each user.
        gone: gets the ids of those items that the store does not have any more.
    """
    found = explain_items(state, requests, rows, most_likes=REASON_LIKES, most_paths=1, gone=gone)
    return [[each.reason for each in of_one] for of_one in found]


def explain_items(
    state: State,
    requests: Sequence[Request],
    rows: Sequence[NDArray[np.int64]],
    most_likes: int | None = None,
    most_paths: int = _PATHS_PER_LIKE,
    gone: set[str] | None = None,
) -> list[list[Explanation]]:
    """Explains some items to each of some users; the paths of all of them are looked up together, as is who is gone."""
    grounds = find_grounds(state, requests, rows, most_likes, most_paths, gone)
    return [[explained for _, explained in of_one] for of_one in grounds]


def find_grounds(
    state: State,
    requests: Sequence[Request],
    rows: Sequence[NDArray[np.int64]],
    most_likes: int | None = None,
    most_paths: int = _PATHS_PER_LIKE,
    gone: set[str] | None = None,
) -> list[list[tuple[Weighed, Explanation]]]:
    """As `explain_items`, with the contributions that each explanation rests on."""
    weighed = [_weigh(state, request, wanted, most_likes) for request, wanted in zip(requests, rows, strict=True)]
    ids = state.bundle.items.ids
    pairs = {(ids[each.row], ids[like]) for of_one in weighed for each in of_one for like in each.searched}
    index = None
    if state.store is not None and (pairs or gone is not None):
        listed = {ids[each.row] for of_one in weighed for each in of_one}
        index = read_live_index(state, {id_ for pair in pairs for id_ in pair}, listed, gone)
    paths = _find_paths(state, pairs, most_paths, index)
    return [[(each, _explain_one(state, each, paths)) for each in of_one] for of_one in weighed]


def find_likeness_reasons(
    state: State, row: int, rows: NDArray[np.int64], by: str | None, index: PathIndex | None = None
) -> list[str | None]:
    """Why items are similar to another: the rarest node that they share, and whether the same people like both.

    Args:
        state: the current state.
        row: the row of the other item.
        rows: (n,) the items' rows.
        by: name only this source; None: any.
        index: the paths between all of them in the store; None: those of the bundle.

    Returns:
        A reason for each; None where there is nothing to say, as of items that people with similar tastes like, but
        not the same people.
    """
    if not len(rows):
        return []
    model, ids, liked = state.bundle.model, state.bundle.items.ids, state.bundle.liked
    shares = model.likeness_shares(np.full(len(rows), row), rows)
    people = np.unique(liked[:, [row]].nonzero()[0])
    by_them = np.asarray(liked[people].sum(axis=0)).ravel()  # (n_items,): how many of these people like each item
    paths = _find_paths(state, {(ids[found], ids[row]) for found in rows.tolist()}, 1, index)
    reasons: list[str | None] = []
    for place, found in enumerate(rows.tolist()):
        by_source = {source: float(values[place]) if by in (None, source) else 0.0 for source, values in shares.items()}
        most = max(1e-9, *by_source.values())
        parts = []
        shared = paths[ids[found], ids[row]]
        if shared and by_source["links"] > (NOTABLE * most if is_value(state, shared[0]) else 0):
            parts.append(tell_path(shared[0]))
        if by_source["likes"] > NOTABLE * most / 2 and by_them[found] >= LEAST_SHARED:
            parts.append("liked by the same people")
        if by_source["text"] > NOTABLE * most / 2:
            parts.append(_describe_content(state))
        if not parts and by_source["links"] > NOTABLE * most:
            parts.append(f"similar {_describe_links(state)}")
        if not parts and is_noisy(state.bundle) and by_source["likes"] > NOTABLE * most:
            parts.append(NOISY)
        reasons.append("; ".join(parts) or None)
    return reasons


def _weigh(state: State, request: Request, rows: NDArray[np.int64], most_likes: int | None) -> list[Weighed]:
    """Weighs the contributions to the scores of some items."""
    if not len(rows):
        return []
    with one_thread():
        found: Contributions = state.bundle.model.contributions(to_support(state, request), rows)
    fits = np.zeros(len(rows), np.bool_) if request.fits is None else request.fits[rows]
    by_prior = found.prior > np.maximum(found.likes.max(axis=0, initial=0), np.where(fits, found.sentence, 0))
    by_prior &= request.has_profile
    user_reasons = dict(zip(rows[by_prior].tolist(), find_user_reasons(state, request, rows[by_prior]), strict=True))
    words = "" if not request.has_profile else describe_prior(state, request)
    weighed = []
    for place, row in enumerate(rows.tolist()):
        shares = found.likes[:, place]
        first = np.argsort(-shares, kind="stable")[:most_likes]
        least = NOTABLE * float(shares.max(initial=0))
        likes = {int(request.likes[at]): float(shares[at]) for at in first.tolist()}
        top = islice(likes.items(), REASON_LIKES)
        searched = [like for like, share in top if share > 0 and share >= least and like != row]
        known, followed = (
            {int(request.likes[at]): float(part[at, place]) / max(float(shares[at]), 1e-9) for at in first.tolist()}
            for part in (found.known, found.followed)
        )
        sentence = None if request.sentence is None else float(found.sentence[place])
        prior = None if not request.has_profile else float(found.prior[place])
        reason, rest = user_reasons.get(row), float(found.rest[place])
        weighed.append(
            Weighed(
                row, request.user, likes, known, followed, sentence, prior, words, reason, rest, searched,
                bool(fits[place]),
            )
        )  # fmt: skip
    return weighed


def read_live_index(state: State, items: set[str], listed: set[str], gone: set[str] | None = None) -> PathIndex:
    """The paths between items in the store, by one query.

    Args:
        state: the current state; it has a store.
        items: ids of items.
        listed: ids of the items that an answer lists.
        gone: gets those of `listed` that the store does not have any more.
    """
    assert state.store is not None
    missing: set[str] = set()
    index = read_path_index(state.store, state.bundle.schema, sorted(items | listed), missing, state.value_links)
    if gone is not None:
        gone |= (missing & listed) - state.added
    return index


def _find_paths(
    state: State, pairs: Collection[tuple[str, str]], k: int, index: PathIndex | None
) -> dict[tuple[str, str], tuple[ReasonPath, ...]]:
    """The most informative paths between pairs of items, from an index, or else from the bundle.

    Paths through hubs, such as the country of most films, are left out.
    """
    if not pairs:
        return {}
    index = state.paths if index is None else index
    most = _HUB * len(state.bundle.items)
    return {
        pair: tuple(path for path in index.shared_paths(*pair, k) if path.n_sharing <= max(most, 2)) for pair in pairs
    }


def _explain_one(
    state: State, weighed: Weighed, paths: Mapping[tuple[str, str], tuple[ReasonPath, ...]]
) -> Explanation:
    ids = state.bundle.items.ids
    item = ids[weighed.row]
    shares = [
        Share("like", value, ids[like], state.title(like), paths[item, ids[like]] if like in weighed.searched else ())
        for like, value in weighed.likes.items()
    ]
    if weighed.sentence is not None:
        shares.append(Share("sentence", weighed.sentence))
    if weighed.prior is not None:
        shares.append(Share("profile", weighed.prior, title=weighed.prior_words))
    shares.append(Share("everybody", weighed.rest))
    shares.sort(key=lambda share: -share.value)
    score = float(sum(share.value for share in shares))
    of_user = weighed.user_reason
    has_likes = any(share.source == "like" and share.value > 0 and share.item != item for share in shares)
    is_by_user = of_user is not None and (of_user.is_telling or not has_likes)
    reason = of_user.words if of_user is not None and is_by_user else _format_reason(state, weighed, shares)
    return Explanation(item, state.title(weighed.row), score, tuple(shares), reason)


def _format_reason(state: State, weighed: Weighed, shares: Sequence[Share]) -> str:
    """The main share in words, from the graph and the scores alone. An item is never the reason for itself."""
    item = state.bundle.items.ids[weighed.row]
    likes = [share for share in shares if share.source == "like" and share.value > 0 and share.item != item]
    sentence = next((share for share in shares if share.source == "sentence" and weighed.fits), None)
    if sentence is not None and sentence.value > max((share.value for share in likes), default=0.0):
        return "fits your words"
    known = {state.bundle.items.ids[like] for like, share in weighed.known.items() if share > NOTABLE}
    # Among likes with similar shares, the one that shares the rarest node makes the best reason. Many items share the
    # value of an attribute: it is a reason only where likes count by what the graph says.
    notable = [share for share in likes if share.paths and (share.item in known or not is_value(state, share.paths[0]))]
    if notable:
        best = min(notable, key=lambda share: (rank_path(state, share.paths[0]), share.paths[0].n_sharing))
        return tell_path(best.paths[0], ", which you liked")
    for like in weighed.searched:
        told = _relate(state, weighed, like)
        if told is not None:
            return told
    if sentence is not None and sentence.value > 0:
        return "fits your words"
    return _count_likes(state, weighed.row)


def _relate(state: State, weighed: Weighed, like: int) -> str | None:
    """What relates an item to a like where no path does, in words: people or what is known of both; None: nothing."""
    title = state.title(like) or state.bundle.items.ids[like]
    name = f"{title}, which you liked"
    by = find_relation(state, weighed, like)
    if by == "followed":
        return f"people who liked {title} went on to like this"
    if by == "people":
        return f"liked by people who like {name}"
    return f"near {name}, by its {describe_knowledge(state)}" if by == "near" else None


def find_relation(state: State, weighed: Weighed, like: int) -> Literal["followed", "people", "near"] | None:
    """What relates an item to a like: people who like it next, or both, or what is known of both; None: nothing."""
    if weighed.followed[like] > NOTABLE and _count_following(state, weighed, like) >= LEAST_SHARED:
        return "followed"
    by_graph = weighed.known[like]
    if by_graph <= NOTABLE and count_shared(state, weighed.row, like, weighed.user) >= LEAST_SHARED:
        return "people"
    return "near" if by_graph >= _SOME else None


def count_shared(state: State, one: int, other: int, user: int | None) -> int:
    """Counts the people who like both items, except for the user of the request."""
    fans = state.liked_by_item
    of_one, of_other = (fans.indices[slice(*fans.indptr[row : row + 2])] for row in (one, other))
    both = np.intersect1d(of_one, of_other, assume_unique=True)
    return int((both != (-1 if user is None else user)).sum())


def _count_following(state: State, weighed: Weighed, like: int) -> int:
    """Counts the people, except for the user, who liked an item soon after another, as the model counts it."""
    by_item, reach = state.places_by_item, state.bundle.config.transition.reach
    fans, before = (slice(*by_item.indptr[row : row + 2]) for row in (weighed.row, like))
    places = np.zeros(by_item.shape[1], np.float32)
    places[by_item.indices[before]] = by_item.data[before]
    people = by_item.indices[fans]
    ahead = places[people] - by_item.data[fans]
    return int(((ahead > 0) & (ahead <= reach) & (people != (-1 if weighed.user is None else weighed.user))).sum())


def _count_likes(state: State, row: int) -> str:
    n_likes = int(state.bundle.model.n_likes[row])
    if is_noisy(state.bundle):  # a noisy count is no fact
        if not n_likes:
            return f"placed by its {describe_knowledge(state)}"
        return "popular" if is_popular(state.bundle, row) else NOISY
    return count_fans(n_likes) if n_likes else "new in the catalogue"


def describe_knowledge(state: State) -> str:
    """What the catalogue says of items, in words: "text and links", "embedding"; vectors go by their names."""
    item = state.bundle.schema.nodes[state.bundle.schema.item_type]
    links = _describe_links(state)
    parts = ["text"] if item.text else []
    parts += [name.replace("_", " ") for name in item.vectors]
    parts += [links] if links else []
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "text and links"


def _describe_links(state: State) -> str:
    """What items are linked by, in a word: "links" or "attributes"; empty: nothing."""
    schema = state.bundle.schema
    edges = [edge for edge in schema.graph_edges.values() if schema.item_type in (edge.source, edge.target)]
    return "links" if any(not edge.derived for edge in edges) else "attributes" if edges else ""


def has_texts(state: State) -> bool:
    """Whether items have texts beside their names."""
    item = state.bundle.schema.nodes[state.bundle.schema.item_type]
    return any(column != item.name for column in item.text)


def _describe_content(state: State) -> str:
    """How items are alike by their texts or, without any, by their vectors, or by the names that are read as texts."""
    item = state.bundle.schema.nodes[state.bundle.schema.item_type]
    names = " and ".join(name.replace("_", " ") for name in item.vectors)
    if has_texts(state):
        return "similar texts"
    if names:
        return f"alike by their {names}"
    return "similar names" if item.name else f"similar {_describe_links(state)}"


def rank_path(state: State, path: ReasonPath) -> int:
    """See `rank_value`, of the node in the middle of a path."""
    return rank_value(state.bundle.schema.edges[path.steps[0].relation])


def is_value(state: State, path: ReasonPath) -> bool:
    """Whether a path leads over the value of an attribute."""
    return rank_path(state, path) > 0
