"""Ranks items for users by their likes and sentences, and finds similar items and users."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import KgrecError, RequestError
from kgrec.model.component import Support
from kgrec.model.linked_likes import sum_likes_of_linked
from kgrec.pitch import Facts, Pitches
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.argument_ids import to_ids
from kgrec.recommend.asked import Asked
from kgrec.recommend.batched_lists import recommend_together
from kgrec.recommend.batches import Batch, find_known_users, read_batch
from kgrec.recommend.blocks import to_blocks
from kgrec.recommend.diversity import Ranked, Variety, rank_varied
from kgrec.recommend.limits import describe_limits
from kgrec.recommend.list_request import ListRequest
from kgrec.recommend.live import answer_without_gone
from kgrec.recommend.notes import note_basis, note_no_likes, note_unknown
from kgrec.recommend.pitch_facts import find_facts
from kgrec.recommend.ranked_scores import break_ties, rank_scores
from kgrec.recommend.reasons import find_reasons
from kgrec.recommend.requests import (
    check_k,
    mask_items,
    mask_known,
    read_request,
    to_support,
)
from kgrec.recommend.state import State, one_thread
from kgrec.recommend.tail import check_dial
from kgrec.recommend.user_reasons import counts_prior

if TYPE_CHECKING:
    import pandas as pd

_ABOUT = ("unknown_users", "unknown_items", "unknown_links", "by_profile", "without_likes")
_LIMITED, _PITCHES = "limited_users", "pitches"
Vary = Callable[[Callable[[int], Ranked], int], Ranked]


def answer_request(state: State, wanted: ListRequest) -> Recommendations:
    """Answers one request; see `Recommender.recommend`."""
    (found,) = answer_requests(state, [wanted])
    if isinstance(found, KgrecError):
        raise found
    return found


def answer_requests(state: State, wanted: Sequence[ListRequest | KgrecError]) -> list[Recommendations | KgrecError]:
    """Answers several requests, plain ones together; see `Recommender.recommend_batch`.

    Args:
        state: the current state.
        wanted: the requests; an error stays in its place.
    """
    found: dict[int, Recommendations | KgrecError] = {}
    together, keys = [], {}
    for place, one in enumerate(wanted):
        if isinstance(one, KgrecError):
            found[place] = one
            continue
        key = None if state.store is not None else one.key
        kept = None if key is None else state.recent.get(key)
        if kept is not None:
            found[place] = kept
            continue
        keys[place] = key
        if one.is_plain and state.store is None:
            together.append((place, one))
            continue
        try:
            found[place] = _recommend(state, one)
        except KgrecError as error:
            found[place] = error
    answers = recommend_together(state, [one for _, one in together])
    found |= zip((place for place, _ in together), answers, strict=True)
    for place, key in keys.items():
        answer = found[place]
        if key is not None and isinstance(answer, Recommendations):
            state.recent.keep(key, answer)
    return [found[place] for place in range(len(wanted))]


def _recommend(state: State, wanted: ListRequest) -> Recommendations:
    """Answers a request that is not plain, or from a store."""
    asked, variety, pitches, explain = wanted.asked, wanted.variety, wanted.pitches, wanted.explain
    k, tail, filter_seen = wanted.k, wanted.tail, wanted.filter_seen
    unknown: list[str] = []
    notes: list[str] = []
    if asked.text is not None and not state.bundle.model.has_texts:
        notes.append("no item has a text to compare your words with: they have no effect")
        asked = replace(asked, text=None)
    request = read_request(state, asked, unknown)
    support = request.likes
    masked = mask_items(state, wanted.candidates, wanted.exclude, unknown)
    vary = _make_varied(state, variety)
    if filter_seen:
        mask_known(state, request, masked)
    if request.fits is not None and not request.fits.any():
        notes.append("no item's text is close to your words: expect weak matches")
    if not len(support):
        notes += note_no_likes(state, asked, request, tail, filter_seen=filter_seen)
    known_by = to_support(state, request)
    scored = _score(state, known_by)  # (1, n_items)
    rests_on = break_ties(state, scored, masked[None, :], known_by.likes)[0]
    notes += [rests_on] if rests_on else note_basis(state, support, request.user)

    def rank(n: int) -> Ranked:
        return rank_scores(state, scored, masked[None, :], known_by.likes, n, tail, sentence=asked.text is not None)

    facts: list[Facts] = []

    def answer(gone: set[str]) -> tuple[NDArray[np.int64], NDArray[np.float32], Sequence[str | None]]:
        listed = vary(rank, k)
        rows, scores = (found[0][listed[0][0] >= 0] for found in listed)
        if pitches is not None:
            told = find_facts(state, [request], [rows], gone)[0]
            facts[:] = [of_item for _, of_item in told]
            return rows, scores, [reason if explain else None for reason, _ in told]
        if explain:
            return rows, scores, find_reasons(state, [request], [rows], gone)[0]
        gone |= state.find_gone(rows.tolist())
        return rows, scores, [None] * len(rows)

    def bar(gone: set[str]) -> None:
        masked[state.bundle.items.rows(list(gone))] = True

    rows, scores, reasons = answer_without_gone(
        answer, lambda factor: state.find_gone(_list_rows(rank(k * factor)[0])), bar
    )
    if len(rows) < k:
        limited = f" with {describe_limits(variety.at_most)}" if len(rows) < np.count_nonzero(~masked) else ""
        notes.append(f"asked for {k} items, only {len(rows)} may be recommended{limited}")
    written: Sequence[str | None] = [None] * len(rows)
    if pitches is not None:
        written, about_pitches = pitches.write(facts)
        notes += about_pitches
    notes += note_unknown(unknown)
    items = tuple(
        Recommendation(state.bundle.items.ids[row], place + 1, score, state.title(row), reason, pitch)
        for place, (row, score, reason, pitch) in enumerate(
            zip(rows.tolist(), scores.tolist(), reasons, written, strict=True)
        )
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
    variety: Variety,
    *,
    filter_seen: bool,
    explain: bool,
    pitches: Pitches | None,
    on_users: Callable[[int], None] | None,
) -> pa.Table:
    """Recommends items to many users; see `Recommender.recommend_many`."""
    check_k(k)
    check_dial(tail)
    if (users is None) == (likes is None):
        raise RequestError("expected either users or likes; give one of them")
    vary = _make_varied(state, variety)
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
        asked = batch.select(block)
        listed, reasons, short = _answer_block(
            state, asked, left_out[block], masked, k, tail, vary, explain=explain, pitches=pitches
        )
        written = None if pitches is None else _write_pitches(pitches, listed[0], reasons, about)
        told = [reason for reason, _ in reasons] if explain else None
        parts.append(_to_table(state, asked.keys, *listed, told, written))
        about.setdefault(_LIMITED, []).extend(short)
        if on_users is not None:
            on_users(block.stop - block.start)
    has_prior = counts_prior(state)
    for place in np.flatnonzero(np.diff(batch.support.indptr) == 0).tolist():
        rests_on = "by_profile" if has_prior and batch.to_request(place).has_profile else "without_likes"
        about.setdefault(rests_on, []).append(batch.keys[place])
    names = [*_ABOUT, *([_LIMITED] if variety.at_most else []), *([_PITCHES] if about.get(_PITCHES) else [])]
    about = {name: list(dict.fromkeys(about.get(name, []))) for name in names}
    nothing = np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    empty = _to_table(state, [], *nothing, [] if explain else None, None if pitches is None else [])
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
    vary: Vary,
    *,
    explain: bool,
    pitches: Pitches | None,
) -> tuple[Ranked, list[tuple[str, Facts | None]], list[str]]:
    """The lists of some users, reasons and facts for pitches, and the users whose lists are short because of limits."""
    barred = np.tile(masked, (len(batch.keys), 1))
    barred[left_out.nonzero()] = True
    linked = None if batch.friends is None else sum_likes_of_linked(batch.friends, state.bundle.liked)
    scored = state.bundle.model.score(batch.support, batch.prior, linked, batch.order)  # (n_users, n_items)
    break_ties(state, scored, barred, batch.support)
    is_told = explain or pitches is not None
    requests = [batch.to_request(place) for place in range(len(batch.keys))] if is_told else []

    def rank(n: int) -> Ranked:
        return rank_scores(state, scored, barred, batch.support, n, tail)

    def answer(gone: set[str]) -> tuple[Ranked, list[tuple[str, Facts | None]]]:
        rows, scores = vary(rank, k)  # (n_users, k)
        if not is_told:
            gone |= state.find_gone(_list_rows(rows))
            return (rows, scores), []
        listed = [user_rows[user_rows >= 0] for user_rows in rows]
        if pitches is None:
            reasons = find_reasons(state, requests, listed, gone)
            return (rows, scores), [(reason, None) for of_one in reasons for reason in of_one]
        facts = find_facts(state, requests, listed, gone)
        return (rows, scores), [told for of_one in facts for told in of_one]

    def look_further(factor: int) -> set[str]:
        return state.find_gone(_list_rows(rank(k * factor)[0]))

    def bar(gone: set[str]) -> None:
        barred[:, state.bundle.items.rows(list(gone))] = True

    (rows, scores), reasons = answer_without_gone(answer, look_further, bar)
    short = (rows >= 0).sum(axis=1) < np.minimum(k, (~barred).sum(axis=1))
    return (rows, scores), reasons, [batch.keys[user] for user in np.flatnonzero(short).tolist()]


def _write_pitches(
    pitches: Pitches,
    rows: NDArray[np.int64],
    reasons: Sequence[tuple[str, Facts | None]],
    about: dict[str, list[str]],
) -> list[str]:
    """The pitches of the lists of some users, (n_users, k) rows; `about` gets the notes on them."""
    facts, written, start = [of_item for _, of_item in reasons if of_item is not None], list[str](), 0
    for n_items in (rows >= 0).sum(axis=1).tolist():
        texts, notes = pitches.write(facts[start : start + n_items])
        written += texts
        about.setdefault(_PITCHES, []).extend(notes)
        start += n_items
    return written


def _make_varied(state: State, variety: Variety) -> Vary:
    """Makes lists of k from a ranking as varied as a request asks.

    Raises:
        RequestError: items have no such links as `variety.at_most` names.
    """
    limits = state.link_kinds.limit(variety.at_most)
    n_items, vectors = len(state.bundle.items), state.bundle.model.likeness_vectors
    return lambda rank, k: rank_varied(rank, k, n_items, variety.diversity, vectors, limits)


def _list_rows(rows: NDArray[np.int64]) -> list[int]:
    """The different items of some lists, (n_users, k) with -1 for none."""
    found: list[int] = np.unique(rows[rows >= 0]).tolist()
    return found


def _to_table(
    state: State,
    keys: Sequence[str],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    reasons: list[str] | None,
    pitches: list[str] | None,
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
    texts = {"reason": reasons, "pitch": pitches}
    told = {name: pa.array(column, pa.string()) for name, column in texts.items() if column is not None}
    return pa.table(columns | told)
