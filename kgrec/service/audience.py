"""Who would get an item: at which rank each user has it, for an item of the catalogue or one that is only described."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.messages import AudienceAnswer, ItemPart, Listener, Recommended
from kgrec.model.linked_likes import sum_likes_of_linked
from kgrec.recommend import Recommendations, Recommender
from kgrec.recommend.batches import Batch, find_known_users
from kgrec.recommend.blocks import to_blocks
from kgrec.recommend.state import State
from kgrec.service.replay import to_new_item

FIRST = 10  # ranks that count as getting the item
_RANKS = (FIRST, 20, 50, 100)
_N_SIMILAR = 5
_MOST_SCORES = 20_000_000  # users x items; more users than that are a sample
_LEAST_USERS = 500
_SEED = 0  # of the sample: the same users each time


def find_audience(
    recommender: Recommender,
    item: str | ItemPart,
    k: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
    shows_users: bool = True,
) -> AudienceAnswer:
    """Finds the users who would get an item; the recommender stays as it is.

    Users without likes are not asked: they all get the same.

    Args:
        recommender: the current one.
        item: the id of an item, or the description of one that need not be in the catalogue.
        k: the most users to list.
        allowed: (n_items,) bool: the items that the caller may see; only likes of these count. None: all.
        shows_users: whether to list users; without it they are only counted.

    Returns:
        The users by rank, then by score; who has the item is left out.

    Raises:
        RequestError: the item is unknown or, where it is described, cannot be placed or exists already.
        TextError: the text encoder cannot be loaded.
    """
    notes: list[str] = []
    if isinstance(item, ItemPart):
        recommender = recommender.branch()
        unknown = recommender.add_items([to_new_item(item)]).get(item.item, ())
        notes += [f"unknown, so without effect: {', '.join(map(repr, unknown))}"] if unknown else []
        allowed = None if allowed is None else np.append(allowed, True)
        item = item.item
    state = recommender.state
    bundle = state.bundle
    row = bundle.items.row(item)
    if row is None or (allowed is not None and not allowed[row]):
        raise RequestError(f"unknown item {item!r}: not among the items of this bundle")
    users = _find_users(state, allowed)
    asked = _draw(users, len(bundle.items))
    if len(asked) < len(users):
        notes.append(f"{len(asked):,} of {len(users):,} users were asked, drawn at random")
    ranks, scores = _rank(state, asked, row, allowed)
    without = ranks > 0  # who does not have it
    asked, ranks, scores = asked[without], ranks[without], scores[without]
    order = np.lexsort((asked, -scores, ranks))[: k if shows_users else 0]
    names = bundle.names[bundle.schema.user_type]
    listed = [
        Listener(user=bundle.users.ids[user], name=names[user], rank=int(rank), score=float(score))
        for user, rank, score in zip(asked[order].tolist(), ranks[order], scores[order], strict=True)
    ]
    if not shows_users:
        notes.append("this key sees how many users would get the item, not who they are")
    return AudienceAnswer(
        users=listed,
        n_asked=len(asked),
        n_within=int((ranks <= FIRST).sum()),
        within={str(most): int((ranks <= most).sum()) for most in _RANKS},
        similar=_to_messages(_find_similar(recommender, item, allowed)),
        notes=notes,
    )


def _find_users(state: State, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """The rows of the users with likes, ascending."""
    liked = state.bundle.liked if allowed is None else _keep_columns(state.bundle.liked, allowed)
    return np.flatnonzero(np.diff(liked.indptr)).astype(np.int64)


def _draw(users: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """The users who are asked, ascending: all, or a sample."""
    most = max(_MOST_SCORES // max(n_items, 1), _LEAST_USERS)
    return users if len(users) <= most else np.sort(np.random.default_rng(_SEED).choice(users, most, replace=False))


def _rank(
    state: State, users: NDArray[np.int64], row: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rank of an item for some users, 0 for those who have it, and its score; users x items is never dense."""
    bundle, ids = state.bundle, state.bundle.users.ids
    ranks, scores = np.zeros(len(users), np.int64), np.zeros(len(users), np.float32)
    place = np.arange(len(bundle.items)) if state.by_id is None else np.argsort(state.by_id)
    masked = ~bundle.available if allowed is None else ~(bundle.available & allowed)
    masked[row] = False
    for block in to_blocks(len(users), len(bundle.items)):
        batch, seen = find_known_users(state, [ids[user] for user in users[block].tolist()], {"unknown_users": []})
        if allowed is not None:  # links of users, and the order of likes of other items, are not the tenant's
            batch = Batch(batch.keys, _keep_columns(batch.support, allowed))
        linked = None if batch.friends is None else sum_likes_of_linked(batch.friends, bundle.liked)
        scored = bundle.model.score(batch.support, batch.prior, linked, batch.order)  # (n_users, n_items)
        own = scored[:, row].copy()
        barred = csr_array(seen + seen @ state.editions)
        has_it = np.asarray(barred[:, [row]].todense()).ravel() > 0
        scored[:, masked] = -np.inf
        scored[barred.nonzero()] = -np.inf
        before = (scored > own[:, None]) | ((scored == own[:, None]) & (place < place[row]))
        ranks[block] = np.where(has_it, 0, 1 + before.sum(axis=1))
        scores[block] = own
    return ranks, scores


def _keep_columns(matrix: csr_array, kept: NDArray[np.bool_]) -> csr_array:
    """A matrix with the entries of some columns alone."""
    found = csr_array(matrix.multiply(kept[None, :].astype(matrix.dtype)))
    found.eliminate_zeros()
    return csr_array(found)


def _find_similar(recommender: Recommender, item: str, allowed: NDArray[np.bool_] | None) -> Recommendations:
    ids = recommender.bundle.items.ids
    candidates = None if allowed is None else [ids[row] for row in np.flatnonzero(allowed).tolist()]
    return recommender.similar(item, _N_SIMILAR, candidates=candidates, explain=True)


def _to_messages(found: Recommendations) -> list[Recommended]:
    return [
        Recommended(item=each.item, rank=each.rank, score=each.score, title=each.title, reason=each.reason)
        for each in found
    ]
