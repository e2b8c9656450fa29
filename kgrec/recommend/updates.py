"""Updates a bundle without training. Each function is pure, from bundle to bundle."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle
from kgrec.model.model import Model
from kgrec.recommend.dropped_nodes import drop_nodes
from kgrec.recommend.interactions import Interactions
from kgrec.recommend.link_features import read_link_features
from kgrec.recommend.links import add_edges, group_edges, read_attributes, resolve_links
from kgrec.recommend.sparse_entries import set_pairs, transpose_columns


def add_interactions(bundle: Bundle, interactions: Interactions, now: int) -> tuple[Bundle, tuple[str, ...]]:
    """Adds interactions; see `Recommender.add_interactions`.

    Args:
        bundle: the current bundle.
        interactions: the interactions.
        now: UTC seconds, for likes without a time.

    Returns:
        The new bundle, and the item ids that are not in the catalogue.
    """
    items = bundle.items.rows(interactions.items)
    known = items >= 0
    unknown = dict.fromkeys(id_ for id_, ok in zip(interactions.items, known, strict=True) if not ok)
    users = bundle.users.extended([id_ for id_ in dict.fromkeys(interactions.users) if id_ not in bundle.users])
    rows, items = users.rows(interactions.users)[known], items[known]
    user_type = bundle.schema.user_type
    new_rows = range(len(bundle.users), len(users))
    values, _ = read_attributes(bundle, user_type, None) if new_rows else ([], [])  # all are missing
    resolved = [link for row in new_rows for link in resolve_links(bundle, user_type, row, values, {})[0]]
    text_width = bundle.user_text.shape[1]
    positive, places = interactions.positive[known], interactions.places[known]
    times = None if interactions.times is None else interactions.times[known]
    liked, liked_at = set_likes(bundle, len(users), rows, items, positive, times, places, now)
    grown = replace(
        bundle,
        edges=add_edges(bundle.edges, group_edges(resolved)) if resolved else bundle.edges,
        user_text=torch.cat([bundle.user_text, torch.zeros((len(new_rows), text_width))]),
        ids={**bundle.ids, user_type: users},
        names={**bundle.names, user_type: [*bundle.names[user_type], *[None] * (len(users) - len(bundle.users))]},
        liked=liked,
        liked_at=liked_at,
        seen=set_pairs(bundle.seen, len(users), rows, items, np.ones(len(rows), np.bool_)),
    )
    return place_likes_of(grown, bundle, np.unique(rows)), tuple(unknown)


def forget_users(bundle: Bundle, rows: NDArray[np.int64]) -> Bundle:
    """Forgets users; see `Recommender.forget`.

    Args:
        bundle: the current bundle.
        rows: (n,) the users' rows.
    """
    dropped = drop_nodes(bundle, bundle.schema.user_type, rows)
    kept = dropped.kept
    shrunk = replace(
        dropped.bundle,
        user_text=bundle.user_text[torch.from_numpy(kept)],
        liked=bundle.liked[kept],
        liked_at=None if bundle.liked_at is None else bundle.liked_at[kept],
        seen=bundle.seen[kept],
    )
    liked = np.unique(bundle.liked[rows].indices).astype(np.int64)
    shrunk = replace(shrunk, model=place_by_likes(shrunk.model, shrunk.liked, liked))
    return place_linked(shrunk, dropped.unlinked)


def place_linked(bundle: Bundle, items: NDArray[np.int64]) -> Bundle:
    """Places some items again by their changed links; items that were liked in training keep their vectors.

    Args:
        bundle: the bundle, with current links and likes.
        items: (n,) rows.
    """
    model = bundle.model
    cold = np.unique(items[model.cold.numpy()[items]])
    if not len(cold):
        return bundle
    codes = read_link_features(bundle, bundle.edges, cold)
    model = model.with_items(np.arange(model.n_items), model.text, cold, codes, model.columns)
    return replace(bundle, model=place_by_likes(model, bundle.liked, cold))


def place_by_likes(model: Model, liked: csr_array, items: NDArray[np.int64]) -> Model:
    """Places some items that nobody liked in training by the users who like them now.

    Args:
        model: the model, which has these items.
        liked: (n_users, n_items), the current likes.
        items: (n,) rows, each once; items that were liked in training keep their vectors.
    """
    items = items[model.cold.numpy()[items]]
    return model.with_likes(items, transpose_columns(liked, items), liked) if len(items) else model


def place_likes_of(bundle: Bundle, before: Bundle, users: NDArray[np.int64]) -> Bundle:
    """Places again the items that some users, (n,) rows, like now or liked before."""
    were = users[users < len(before.users)]
    items = np.concatenate([bundle.liked[users].indices, before.liked[were].indices]).astype(np.int64)
    items = np.unique(items[bundle.model.cold.numpy()[items]])
    return replace(bundle, model=place_by_likes(bundle.model, bundle.liked, items))


def set_likes(
    bundle: Bundle,
    n_users: int,
    rows: NDArray[np.int64],
    items: NDArray[np.int64],
    positive: NDArray[np.bool_],
    times: NDArray[np.int64] | None,
    places: NDArray[np.int64],
    now: int,
) -> tuple[csr_array, csr_array | None]:
    """The likes and their times after some pairs, each once, are set.

    A like that was there keeps the later one of its times. Without times, likes come after all that their users liked
    before, in the order of their places, and the last one now, or else a second apart.

    Args:
        bundle: the current bundle.
        n_users: the number of users afterwards.
        rows: (n,) of the pairs.
        items: (n,) of the pairs.
        positive: (n,) bool: whether each is a like from now on.
        times: (n,) UTC seconds; None: not known.
        places: (n,) the order of the pairs.
        now: UTC seconds.

    Returns:
        (n_users, n_items) each, as `Bundle.liked` and `Bundle.liked_at`.
    """
    before = bundle.liked_at
    if before is None:
        return set_pairs(bundle.liked, n_users, rows, items, positive), None
    times = _count_times(before, rows, places, now) if times is None else times
    liked_at = set_pairs(before, n_users, rows, items, positive, times)
    ones = np.ones(liked_at.nnz, np.float32)
    return csr_array((ones, liked_at.indices, liked_at.indptr), shape=liked_at.shape), liked_at


def _count_times(
    liked_at: csr_array, users: NDArray[np.int64], places: NDArray[np.int64], now: int
) -> NDArray[np.int64]:
    """Times, a second apart, for new likes of some users, in the order of their places; the last one is now or later.

    Args:
        liked_at: (n_users, n_items) the times before.
        users: (n,) the user of each.
        places: (n,) their order.
        now: UTC seconds.
    """
    order = np.lexsort((places, users))
    own, starts, sizes = np.unique(users[order], return_index=True, return_counts=True)
    first = now + 1 - sizes
    for place, user in enumerate(own.tolist()):
        if user < liked_at.shape[0]:
            before = liked_at.data[liked_at.indptr[user] : liked_at.indptr[user + 1]]
            first[place] = max(first[place], before.max(initial=before[0]) + 1) if len(before) else first[place]
    times = np.empty(len(users), np.int64)
    times[order] = np.arange(len(users)) + np.repeat(first - starts, sizes)
    return times
