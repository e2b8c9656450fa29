"""Why an item is recommended, or like another: exact shares of its score, and real paths of the graph."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kgrec.graph.paths import ReasonPath
from kgrec.model.model import Contributions
from kgrec.recommend.answers import Explanation, Share
from kgrec.recommend.live import read_path_index
from kgrec.recommend.requests import Request, find_item, find_items, find_user, select_row, to_request, to_support
from kgrec.recommend.state import State, one_thread

_REASON_LIKES = 5  # of the likes that add most, so many are searched for a path worth telling
_PATHS_PER_LIKE = 3
_LOUD = 0.5  # of the largest share: what is less is not told as the reason


@dataclass(frozen=True)
class _Weighed:
    """What adds to an item's score.

    Attributes:
        row: the item's.
        likes: row of a like -> what it adds, the largest first.
        known: row of a like -> the share of that which texts and links say, 0 to 1.
        sentence: what the sentence adds, if there is one.
        rest: what everybody else adds.
        searched: the likes for which a path is looked for.
        fits: whether the item's text fits the sentence.
    """

    row: int
    likes: Mapping[int, float]
    known: Mapping[int, float]
    sentence: float | None
    rest: float
    searched: Sequence[int]
    fits: bool


def explain_item(state: State, item: str, user: str | None, likes: Sequence[str], text: str | None) -> Explanation:
    """Takes the score of an item apart; see `Recommender.explain`."""
    row = find_item(state, item)
    unknown: list[str] = []
    liked = find_items(state, likes, "like", unknown)
    support = np.union1d(
        liked, select_row(state.bundle.liked, None if user is None else find_user(state, user))
    ).astype(np.int64)
    found = explain_items(state, [to_request(state, support, text)], [np.array([row])])[0][0]
    return replace(found, unknown=tuple(unknown))


def find_reasons(state: State, requests: Sequence[Request], rows: Sequence[NDArray[np.int64]]) -> list[list[str]]:
    """The reason of each item, found from fewer shares and paths than `explain_items` gives."""
    found = explain_items(state, requests, rows, most_likes=_REASON_LIKES, most_paths=1)
    return [[each.reason for each in of_one] for of_one in found]


def explain_items(
    state: State,
    requests: Sequence[Request],
    rows: Sequence[NDArray[np.int64]],
    most_likes: int | None = None,
    most_paths: int = _PATHS_PER_LIKE,
) -> list[list[Explanation]]:
    """Explains some items to each of some users; the paths of all of them are looked up together."""
    weighed = [_weigh(state, request, wanted, most_likes) for request, wanted in zip(requests, rows, strict=True)]
    ids = state.bundle.items.ids
    pairs = {(ids[each.row], ids[like]) for of_one in weighed for each in of_one for like in each.searched}
    paths = _find_paths(state, pairs, most_paths)
    return [[_explain_one(state, each, paths) for each in of_one] for of_one in weighed]


def find_likeness_reasons(state: State, row: int, rows: NDArray[np.int64], by: str | None) -> list[str]:
    """Why items are like another: the rarest thing that they share, and whether the same people like both.

    Only what counted is named: with `by`, that source alone.
    """
    if not len(rows):
        return []
    model, ids, liked = state.bundle.model, state.bundle.items.ids, state.bundle.liked
    shares = model.likeness_shares(np.full(len(rows), row), rows)
    people = np.unique(liked[:, [row]].nonzero()[0])
    by_them = np.asarray(liked[people].sum(axis=0)).ravel()  # (n_items,): how many of them like each item
    paths = _find_paths(state, {(ids[found], ids[row]) for found in rows.tolist()}, 1)
    reasons = []
    for place, found in enumerate(rows.tolist()):
        said = {source: float(values[place]) if by in (None, source) else 0.0 for source, values in shares.items()}
        most = max(1e-9, *said.values())
        parts = []
        shared = paths[ids[found], ids[row]]
        if shared and said["links"] > 0:
            parts.append(shared[0].sentence())
        if said["likes"] > _LOUD * most / 2 and by_them[found]:
            parts.append("liked by the same people")
        if said["text"] > _LOUD * most / 2:
            parts.append("alike in words")
        reasons.append("; ".join(parts) or "alike")
    return reasons


def _weigh(state: State, request: Request, rows: NDArray[np.int64], most_likes: int | None) -> list[_Weighed]:
    """What adds to the scores of some items."""
    if not len(rows):
        return []
    with one_thread():
        found: Contributions = state.bundle.model.contributions(to_support(state, request), rows)
    fits = np.zeros(len(rows), np.bool_) if request.fits is None else request.fits[rows]
    weighed = []
    for place, row in enumerate(rows.tolist()):
        shares = found.likes[:, place]
        first = np.argsort(-shares, kind="stable")[:most_likes]
        least = _LOUD * float(shares.max(initial=0))
        likes = {int(request.likes[at]): float(shares[at]) for at in first.tolist()}
        top = islice(likes.items(), _REASON_LIKES)
        searched = [like for like, share in top if share > 0 and share >= least and like != row]
        known = {
            int(request.likes[at]): float(found.known[at, place]) / max(float(shares[at]), 1e-9)
            for at in first.tolist()
        }
        said = None if request.sentence is None else float(found.sentence[place])
        weighed.append(_Weighed(row, likes, known, said, float(found.rest[place]), searched, bool(fits[place])))
    return weighed


def _find_paths(
    state: State, pairs: Collection[tuple[str, str]], k: int
) -> dict[tuple[str, str], tuple[ReasonPath, ...]]:
    """The most telling paths of pairs of items: the bundle's, or else those that the store has now."""
    if not pairs:
        return {}
    if state.store is None:
        index = state.paths
    else:
        items = sorted({id_ for pair in pairs for id_ in pair})
        index = read_path_index(state.store, state.bundle.schema, items)
    return {pair: tuple(index.shared_paths(*pair, k)) for pair in pairs}


def _explain_one(
    state: State, weighed: _Weighed, paths: Mapping[tuple[str, str], tuple[ReasonPath, ...]]
) -> Explanation:
    ids = state.bundle.items.ids
    item = ids[weighed.row]
    shares = [
        Share("like", value, ids[like], state.title(like), paths[item, ids[like]] if like in weighed.searched else ())
        for like, value in weighed.likes.items()
    ]
    if weighed.sentence is not None:
        shares.append(Share("sentence", weighed.sentence))
    shares.append(Share("everybody", weighed.rest))
    shares.sort(key=lambda share: -share.value)
    score = float(sum(share.value for share in shares))
    return Explanation(item, state.title(weighed.row), score, tuple(shares), _format_reason(state, weighed, shares))


def _format_reason(state: State, weighed: _Weighed, shares: Sequence[Share]) -> str:
    """The most telling share in words: only what the graph and the scores say. An item is no reason for itself."""
    item = state.bundle.items.ids[weighed.row]
    likes = [share for share in shares if share.source == "like" and share.value > 0 and share.item != item]
    said = next((share for share in shares if share.source == "sentence"), None)
    if not weighed.fits:
        said = None
    if said is not None and said.value > max((share.value for share in likes), default=0.0):
        return "fits your words"
    # Of the likes that speak for it about as loudly, the one that shares the rarest thing is the most telling.
    loud = [share for share in likes if share.paths]
    if loud:
        telling = min(loud, key=lambda share: share.paths[0].n_sharing)
        return f"{telling.paths[0].sentence()}, which you liked"
    if likes:
        like = f"{likes[0].title or likes[0].item}, which you liked"
        row = state.bundle.items.row(likes[0].item or "")
        if weighed.known.get(-1 if row is None else row, 0.0) > _LOUD:
            return f"near {like}, by its text and links"
        return f"liked by people who like {like}"
    if said is not None and said.value > 0:
        return "fits your words"
    n_likes = int(state.bundle.model.n_likes[weighed.row])
    return f"liked by {n_likes:,} people" if n_likes else "new in the catalogue"
