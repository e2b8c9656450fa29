"""The best items for users, from what their likes and words say, and the items most like one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.metrics import top_k
from kgrec.model.component import Support
from kgrec.model.knowledge import Knowledge
from kgrec.model.likeness import SOURCES
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.reasons import find_likeness_reasons, find_reasons
from kgrec.recommend.requests import (
    Request,
    check_k,
    find_item,
    find_items,
    find_user,
    mask_items,
    select_row,
    to_ids,
    to_matrix,
    to_request,
    to_support,
)
from kgrec.recommend.state import State, one_thread
from kgrec.recommend.tail import check_dial

BLOCK_USERS = 512
_TIE = 1e-7  # scores that differ by less are alike
_ITEMS_COMPARED = 64  # before all are
_FEW_LIKES = 500  # in training: with fewer an answer says so
_BY = {None: "by likes, text or links", "likes": "by likes", "text": "by text", "links": "by links"}


def recommend(
    state: State,
    user: str | None,
    likes: Sequence[str],
    text: str | None,
    k: int,
    candidates: Sequence[str] | None,
    exclude: Sequence[str],
    tail: float,
    *,
    filter_seen: bool,
    explain: bool,
) -> Recommendations:
    """Recommends items to one user; see `Recommender.recommend`."""
    check_dial(tail)
    unknown: list[str] = []
    notes: list[str] = []
    user_row = None if user is None else find_user(state, user)
    if text is not None and not state.bundle.model.has_texts:
        notes.append("no item has a text to compare your words with: they say nothing here")
        text = None
    liked = find_items(state, likes, "like", unknown)
    support = select_row(state.bundle.liked, user_row)
    if len(liked):
        support = np.union1d(liked, support)
    masked = mask_items(state, candidates, exclude, unknown)
    if filter_seen:
        masked[support] = True
        masked[select_row(state.bundle.seen, user_row)] = True
    request = to_request(state, support, text)
    if request.fits is not None and not request.fits.any():
        notes.append("no item's text is near your words: this rests on little")
    if not len(support) and text is None:
        notes.append(
            "no likes to go by: these are the items that are liked most"
            if user is None
            else f"user {user!r} has no likes: these are the items that are liked most"
            + (", less what the user has seen" if filter_seen else "")
        )
    known_by = to_support(state, request)
    model = state.bundle.model
    with one_thread():  # (1, n_items)
        scored = model.score(known_by.likes) if known_by.text is None else model.score_sentence(known_by)
    rests_on = _break_ties(state, scored, masked[None, :], known_by.likes)[0]
    notes += [rests_on] if rests_on else _note_basis(state, support)
    ranked = _rank(state, scored, masked[None, :], known_by.likes, k, tail, sentence=text is not None)
    rows, scores = (found[0][ranked[0][0] >= 0] for found in ranked)
    if len(rows) < k:
        notes.append(f"asked for {k}, {len(rows)} items may be recommended")
    if unknown:
        notes.append(f"unknown, and left aside: {', '.join(map(repr, unknown[:10]))}{' ...' if unknown[10:] else ''}")
    reasons = find_reasons(state, [request], [rows])[0] if explain else [None] * len(rows)
    items = tuple(
        Recommendation(state.bundle.items.ids[row], place + 1, score, state.title(row), reason)
        for place, (row, score, reason) in enumerate(zip(rows.tolist(), scores.tolist(), reasons, strict=True))
    )
    return Recommendations(items, tuple(unknown), tuple(notes))


def recommend_many(
    state: State,
    users: Sequence[str] | None,
    likes: Mapping[str, Sequence[str]] | None,
    k: int,
    candidates: Iterable[str] | None,
    exclude: Iterable[str] | None,
    tail: float,
    *,
    filter_seen: bool,
    explain: bool,
    on_users: Callable[[int], None] | None,
) -> pa.Table:
    """Recommends items to many users; see `Recommender.recommend_many`."""
    check_k(state, k)
    check_dial(tail)
    if (users is None) == (likes is None):
        raise RequestError("expected either users or likes; give one of them")
    unknown_items: list[str] = []
    allowed = None if candidates is None else to_ids(candidates, "candidates")
    masked = mask_items(state, allowed, to_ids(exclude, "exclude"), unknown_items)
    if likes is not None:
        keys, unknown_users = list(likes), []
        given = [to_ids(likes[key], "likes") for key in keys]
        wanted = [state.bundle.items.rows(ids) for ids in given]
        for ids, rows in zip(given, wanted, strict=True):
            unknown_items += [id_ for id_, row in zip(ids, rows, strict=True) if row < 0]
        found = [np.unique(rows[rows >= 0]) for rows in wanted]
        support = seen = to_matrix(found, len(state.bundle.items))
    else:
        asked = list(dict.fromkeys(() if users is None else users))
        rows = state.bundle.users.rows(asked)
        unknown_users = [id_ for id_, row in zip(asked, rows, strict=True) if row < 0]
        keys = [id_ for id_, row in zip(asked, rows, strict=True) if row >= 0]
        support, seen = state.bundle.liked[rows[rows >= 0]], state.bundle.seen[rows[rows >= 0]]
    left_out = seen if filter_seen else csr_array(seen.shape, dtype=np.float32)
    parts = []
    for start in range(0, len(keys), BLOCK_USERS):
        block = slice(start, min(start + BLOCK_USERS, len(keys)))
        parts.append(
            _answer_block(state, keys[block], support[block], left_out[block], masked, k, tail, explain=explain)
        )
        if on_users is not None:
            on_users(block.stop - block.start)
    without = [key for key, size in zip(keys, np.diff(support.indptr), strict=True) if not size]
    about = {
        "unknown_users": unknown_users,
        "unknown_items": list(dict.fromkeys(unknown_items)),
        "without_likes": without,
    }
    empty = _to_table(state, [], np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), [] if explain else None)
    table = pa.concat_tables(parts) if parts else empty
    return table.replace_schema_metadata({key: json.dumps(value) for key, value in about.items()})


def find_similar(state: State, item: str, k: int, by: str | None, *, explain: bool) -> Recommendations:
    """Finds the items that are most like one; see `Recommender.similar`."""
    check_k(state, k)
    if by is not None and by not in SOURCES:
        raise RequestError(f"expected `by` to be one of {', '.join(SOURCES)}, or left out, got {by!r}")
    row = find_item(state, item)
    model = state.bundle.model
    vectors = model.likeness_vectors(by)
    likeness = vectors @ vectors[row]  # (n_items,)
    likeness[~vectors.any(axis=1)] = -np.inf
    likeness[row] = -np.inf
    rows = _top_rows(state, likeness[None, :], k)[0] if vectors[row].any() else np.zeros(0, np.int64)
    rows = rows[rows >= 0]
    rows = rows[likeness[rows] > _TIE]
    reasons = find_likeness_reasons(state, row, rows, by) if explain else [None] * len(rows)
    items = tuple(
        Recommendation(state.bundle.items.ids[found], place + 1, float(likeness[found]), state.title(found), reason)
        for place, (found, reason) in enumerate(zip(rows.tolist(), reasons, strict=True))
    )
    notes = []
    if not vectors[row].any():
        notes.append(f"nothing is known of {item!r} {_BY[by]}: it is like no other item")
    elif len(items) < k:
        notes.append(f"asked for {k}, {len(items)} other items are like it {_BY[by]}")
    if by is None and vectors[row].any() and not int(model.n_likes[row]):
        notes.append(f"nobody liked {item!r} in training: this rests on its text and links")
    return Recommendations(items, (), tuple(notes))


def note_few_likes(n_likes: int) -> str | None:
    """Says so where there are few likes to learn from; None: there are enough."""
    if n_likes >= _FEW_LIKES:
        return None
    return f"only {n_likes} like{'' if n_likes == 1 else 's'} to learn from"


def _answer_block(
    state: State,
    keys: Sequence[str],
    support: csr_array,
    left_out: csr_array,
    masked: NDArray[np.bool_],
    k: int,
    tail: float,
    *,
    explain: bool,
) -> pa.Table:
    barred = np.tile(masked, (len(keys), 1))
    barred[left_out.nonzero()] = True
    scored = state.bundle.model.score(support)  # (n_users, n_items)
    _break_ties(state, scored, barred, support)
    rows, scores = _rank(state, scored, barred, support, k, tail)  # (n_users, k)
    reasons: list[str] | None = None
    if explain:
        requests = [Request(select_row(support, place)) for place in range(len(keys))]
        found = find_reasons(state, requests, [user_rows[user_rows >= 0] for user_rows in rows])
        reasons = [reason for of_one in found for reason in of_one]
    return _to_table(state, keys, rows, scores, reasons)


def _to_table(
    state: State, keys: Sequence[str], rows: NDArray[np.int64], scores: NDArray[np.float32], reasons: list[str] | None
) -> pa.Table:
    found = rows >= 0  # (n_users, k)
    owners, places = np.nonzero(found)
    items = rows[found]
    titles = state.bundle.names[state.bundle.schema.item_type]
    columns = {
        "user": pa.array([keys[owner] for owner in owners.tolist()], pa.string()),
        "item": pa.array([state.bundle.items.ids[row] for row in items.tolist()], pa.string()),
        "rank": pa.array(places + 1, pa.int64()),
        "score": pa.array(scores[found].astype(np.float64)),
        "title": pa.array([titles[row] for row in items.tolist()], pa.string()),
    }
    return pa.table(columns | ({} if reasons is None else {"reason": pa.array(reasons, pa.string())}))


def _rank(
    state: State,
    scores: NDArray[np.float32],
    masked: NDArray[np.bool_],
    support: csr_array,
    k: int,
    tail: float,
    *,
    sentence: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best of what is not masked, and the scores they are sorted by; both (n_users, k)."""
    if tail:
        return state.dial.rank(scores, masked, support, tail, k, partial(_top_rows, state), sentence=sentence)
    allowed = np.where(masked, np.float32(-np.inf), scores)
    rows = _top_rows(state, allowed, k)
    return rows, np.take_along_axis(allowed, np.maximum(rows, 0), axis=1)


def _top_rows(state: State, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The rows of the k best items, (n_users, k); equal scores by ascending id, also where items were added."""
    by_id = state.by_id
    if by_id is None:
        return top_k(scores, k)
    places = top_k(scores[:, by_id], k)
    return np.where(places >= 0, by_id[places], -1)


def _break_ties(
    state: State, scores: NDArray[np.float32], masked: NDArray[np.bool_], support: csr_array
) -> list[str | None]:
    """Gives users for whom all items score alike, in place, scores by texts and links, or else by popularity.

    Returns:
        For each user what the list rests on then; None: on the model, as always.
    """
    notes: list[str | None] = [None] * len(scores)
    model = state.bundle.model
    few = slice(None, None, max(scores.shape[1] // _ITEMS_COMPARED, 1))  # nearly always enough to tell
    unsure = np.flatnonzero(_spread(scores[:, few], masked[:, few]) <= _TIE)
    spread = _spread(scores[unsure], masked[unsure])
    # below 0: of users who may not be recommended anything
    for user in unsure[(spread >= 0) & (spread <= _TIE)].tolist():
        known = model.component(Knowledge.name)
        by_knowledge = None
        if known is not None:
            by_knowledge = (known.users(Support(support[[user]])) @ known.items.T)[0].numpy()
        if by_knowledge is not None and np.ptp(by_knowledge[~masked[user]]) > _TIE:
            scores[user] = by_knowledge
            notes[user] = "likes say nothing here: this rests on texts and links"
        elif np.ptp(model.n_likes.numpy()[~masked[user]]) > 0:
            scores[user] = np.log1p(model.n_likes.numpy())
            notes[user] = "nothing tells these items apart for this user: the most liked come first"
    return notes


def _note_basis(state: State, support: NDArray[np.int64]) -> list[str]:
    """What a list rests on where it is not on who likes what."""
    model = state.bundle.model
    if len(support) and bool(model.cold[torch.from_numpy(support)].all()):
        return ["nobody liked these items in training: this rests on their texts and links"]
    few = note_few_likes(state.bundle.lineage.n_likes)
    return [f"{few}: this rests on texts and links as well"] if few and len(support) else []


def _spread(scores: NDArray[np.float32], masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The largest less the smallest score that is not masked, (n_users,); -inf where all are."""
    barred = np.float32(np.inf)
    found: NDArray[np.float32] = np.where(masked, -barred, scores).max(axis=1)
    found -= np.where(masked, barred, scores).min(axis=1)
    return found
