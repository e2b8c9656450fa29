"""Ranks items for users by their likes and sentences, and finds similar items and users."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.model.component import Support
from kgrec.model.knowledge import Knowledge
from kgrec.model.linked_likes import sum_likes_of_linked
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.argument_ids import to_ids
from kgrec.recommend.asked import Asked
from kgrec.recommend.batches import Batch, find_known_users, read_batch
from kgrec.recommend.blocks import to_blocks
from kgrec.recommend.live import answer_without_gone
from kgrec.recommend.notes import note_basis, note_no_likes
from kgrec.recommend.reasons import find_reasons
from kgrec.recommend.requests import (
    check_k,
    mask_items,
    read_request,
    select_row,
    to_support,
)
from kgrec.recommend.state import State, one_thread
from kgrec.recommend.tail import check_dial
from kgrec.recommend.user_reasons import counts_prior

if TYPE_CHECKING:
    import pandas as pd

_TIE = 1e-7  # scores that differ by less are equal
_ITEMS_COMPARED = 64  # first; they nearly always show a difference
_ABOUT = ("unknown_users", "unknown_items", "unknown_links", "by_profile", "without_likes")


def recommend(
    state: State,
    asked: Asked,
    k: int,
    candidates: Sequence[str] | None,
    exclude: Sequence[str],
    tail: float,
    *,
    filter_seen: bool,
    explain: bool,
) -> Recommendations:
    """Recommends items to one user; see `Recommender.recommend`."""
    unknown: list[str] = []
    notes: list[str] = []
    if asked.text is not None and not state.bundle.model.has_texts:
        notes.append("no item has a text to compare your words with: they have no effect")
        asked = replace(asked, text=None)
    request = read_request(state, asked, unknown)
    support = request.likes
    masked = mask_items(state, candidates, exclude, unknown)
    if filter_seen:
        known = np.concatenate([support, select_row(state.bundle.seen, request.user)])
        masked[known] = True
        masked[state.editions[known].indices] = True
    if request.fits is not None and not request.fits.any():
        notes.append("no item's text is close to your words: expect weak matches")
    if not len(support):
        notes += note_no_likes(state, asked, request, tail, filter_seen=filter_seen)
    known_by = to_support(state, request)
    scored = _score(state, known_by)  # (1, n_items)
    rests_on = _break_ties(state, scored, masked[None, :], known_by.likes)[0]
    notes += [rests_on] if rests_on else note_basis(state, support, request.user)

    def rank(n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        ranked = _rank(state, scored, masked[None, :], known_by.likes, n, tail, sentence=asked.text is not None)
        rows, scores = (found[0][ranked[0][0] >= 0] for found in ranked)
        return rows, scores

    def answer(gone: set[str]) -> tuple[NDArray[np.int64], NDArray[np.float32], Sequence[str | None]]:
        rows, scores = rank(k)
        if explain:
            return rows, scores, find_reasons(state, [request], [rows], gone)[0]
        gone |= state.find_gone(rows.tolist())
        return rows, scores, [None] * len(rows)

    def bar(gone: set[str]) -> None:
        masked[state.bundle.items.rows(list(gone))] = True

    rows, scores, reasons = answer_without_gone(
        answer, lambda factor: state.find_gone(rank(k * factor)[0].tolist()), bar
    )
    if len(rows) < k:
        notes.append(f"asked for {k} items, only {len(rows)} may be recommended")
    if unknown:
        notes.append(f"unknown ids, ignored: {', '.join(map(repr, unknown[:10]))}{' ...' if unknown[10:] else ''}")
    items = tuple(
        Recommendation(state.bundle.items.ids[row], place + 1, score, state.title(row), reason)
        for place, (row, score, reason) in enumerate(zip(rows.tolist(), scores.tolist(), reasons, strict=True))
    )
    return Recommendations(items, tuple(unknown), tuple(notes))


def recommend_many(
    state: State,
    users: Sequence[str] | None,
    likes: "Mapping[str, Sequence[str]] | pa.Table | pd.DataFrame | None",
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
    check_k(k)
    check_dial(tail)
    if (users is None) == (likes is None):
        raise RequestError("expected either users or likes; give one of them")
    unknown_items: list[str] = []
    allowed = None if candidates is None else to_ids(candidates, "candidates")
    masked = mask_items(state, allowed, to_ids(exclude, "exclude"), unknown_items)
    about: dict[str, list[str]] = {"unknown_users": [], "unknown_items": unknown_items, "unknown_links": []}
    if likes is None:
        batch, seen = find_known_users(state, to_ids(users, "users"), about)
    else:
        batch = read_batch(state, likes, about)
        seen = batch.support
    left_out = csr_array(seen + seen @ state.editions) if filter_seen else csr_array(seen.shape, dtype=np.float32)
    parts = []
    for block in to_blocks(len(batch.keys), len(state.bundle.items)):
        parts.append(_answer_block(state, batch.select(block), left_out[block], masked, k, tail, explain=explain))
        if on_users is not None:
            on_users(block.stop - block.start)
    has_prior = counts_prior(state)
    for place in np.flatnonzero(np.diff(batch.support.indptr) == 0).tolist():
        rests_on = "by_profile" if has_prior and batch.to_request(place).has_profile else "without_likes"
        about.setdefault(rests_on, []).append(batch.keys[place])
    about = {name: list(dict.fromkeys(about.get(name, []))) for name in _ABOUT}
    empty = _to_table(state, [], np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), [] if explain else None)
    table = pa.concat_tables(parts) if parts else empty
    return table.replace_schema_metadata({key: json.dumps(value) for key, value in about.items()})


def predict(state: State, asked: Asked, items: Sequence[str]) -> NDArray[np.float32]:
    """Scores given items for one user; see `Recommender.predict`."""
    if not state.bundle.model.has_texts:
        asked = replace(asked, text=None)
    scores = _score(state, to_support(state, read_request(state, asked, [])))[0]
    rows = state.bundle.items.rows(items)
    return np.where(rows >= 0, scores[rows], np.float32(np.nan))


def _score(state: State, known_by: Support) -> NDArray[np.float32]:
    """The scores of all items for one user, (1, n_items)."""
    model = state.bundle.model
    with one_thread():
        return model.score_support(known_by)


def _answer_block(
    state: State,
    batch: Batch,
    left_out: csr_array,
    masked: NDArray[np.bool_],
    k: int,
    tail: float,
    *,
    explain: bool,
) -> pa.Table:
    barred = np.tile(masked, (len(batch.keys), 1))
    barred[left_out.nonzero()] = True
    linked = None if batch.friends is None else sum_likes_of_linked(batch.friends, state.bundle.liked)
    scored = state.bundle.model.score(batch.support, batch.prior, linked)  # (n_users, n_items)
    _break_ties(state, scored, barred, batch.support)
    requests = [batch.to_request(place) for place in range(len(batch.keys))] if explain else []

    def rank(n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return _rank(state, scored, barred, batch.support, n, tail)

    def answer(gone: set[str]) -> tuple[NDArray[np.int64], NDArray[np.float32], list[str] | None]:
        rows, scores = rank(k)  # (n_users, k)
        if not explain:
            gone |= state.find_gone(np.unique(rows[rows >= 0]).tolist())
            return rows, scores, None
        found = find_reasons(state, requests, [user_rows[user_rows >= 0] for user_rows in rows], gone)
        return rows, scores, [reason for of_one in found for reason in of_one]

    def look_further(factor: int) -> set[str]:
        rows, _ = rank(k * factor)
        return state.find_gone(np.unique(rows[rows >= 0]).tolist())

    def bar(gone: set[str]) -> None:
        barred[:, state.bundle.items.rows(list(gone))] = True

    rows, scores, reasons = answer_without_gone(answer, look_further, bar)
    return _to_table(state, batch.keys, rows, scores, reasons)


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
    """The k best items that are not masked, and the scores they are sorted by; both (n_users, k)."""
    if tail:
        return state.dial.rank(scores, masked, support, tail, k, state.top_rows, sentence=sentence)
    allowed = np.where(masked, np.float32(-np.inf), scores)
    rows = state.top_rows(allowed, k)
    return rows, np.take_along_axis(allowed, np.maximum(rows, 0), axis=1)


def _break_ties(
    state: State, scores: NDArray[np.float32], masked: NDArray[np.bool_], support: csr_array
) -> list[str | None]:
    """Rescores, in place, users for whom all items tie: by texts and links, or else by popularity.

    Returns:
        For each user a note on what the list rests on; None if the scores are unchanged.
    """
    notes: list[str | None] = [None] * len(scores)
    model = state.bundle.model
    few = slice(None, None, max(scores.shape[1] // _ITEMS_COMPARED, 1))  # nearly always enough
    unsure = np.flatnonzero(_spread(scores[:, few], masked[:, few]) <= _TIE)
    spread = _spread(scores[unsure], masked[unsure])
    # below 0: every item is masked
    for user in unsure[(spread >= 0) & (spread <= _TIE)].tolist():
        known = model.component(Knowledge.name)
        by_knowledge = None
        if known is not None:
            by_knowledge = (known.users(Support(support[[user]])) @ known.items.T)[0].numpy()
        if by_knowledge is not None and np.ptp(by_knowledge[~masked[user]]) > _TIE:
            scores[user] = by_knowledge
            notes[user] = "the likes do not tell these items apart: this rests on texts and links"
        elif np.ptp(model.n_likes.numpy()[~masked[user]]) > 0:
            scores[user] = np.log1p(model.n_likes.numpy())
            notes[user] = "nothing tells these items apart for this user: the most liked come first"
    return notes


def _spread(scores: NDArray[np.float32], masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The largest minus the smallest score that is not masked, (n_users,); -inf where all are masked."""
    barred = np.float32(np.inf)
    found: NDArray[np.float32] = np.where(masked, -barred, scores).max(axis=1)
    found -= np.where(masked, barred, scores).min(axis=1)
    return found
