"""Answers plain requests together: one product scores all of their users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.model.component import Support
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.blocks import to_blocks
from kgrec.recommend.diversity import Ranked
from kgrec.recommend.list_request import ListRequest
from kgrec.recommend.notes import note_basis, note_no_likes, note_unknown
from kgrec.recommend.ranked_scores import break_ties, rank_scores
from kgrec.recommend.requests import Request, mask_items, mask_known, read_request, to_support
from kgrec.recommend.state import State, one_thread


@dataclass(frozen=True)
class _Read:
    """A request in rows, with the unknown ids and the notes so far."""

    wanted: ListRequest
    request: Request
    unknown: list[str]
    notes: list[str]


def recommend_together(state: State, requests: Sequence[ListRequest]) -> list[Recommendations | RequestError]:
    """The answer to each request, as if it was alone; the error of one that cannot be answered.

    Args:
        state: the current state; it has no store.
        requests: plain requests; see `ListRequest.is_plain`.
    """
    found: list[Recommendations | RequestError] = []
    for block in to_blocks(len(requests), len(state.bundle.items)):
        found += _answer(state, requests[block])
    return found


def _answer(state: State, requests: Sequence[ListRequest]) -> list[Recommendations | RequestError]:
    read: list[_Read | RequestError] = []
    masks = list[NDArray[np.bool_]]()
    for wanted in requests:
        try:
            one, mask = _read(state, wanted)
        except RequestError as error:
            read.append(error)
        else:
            read.append(one)
            masks.append(mask)
    ready = [one for one in read if isinstance(one, _Read)]
    answers = iter(_rank(state, ready, np.stack(masks)) if ready else ())
    return [one if isinstance(one, RequestError) else next(answers) for one in read]


def _read(state: State, wanted: ListRequest) -> tuple[_Read, NDArray[np.bool_]]:
    """A request in rows, and (n_items,) bool, the items that may not be recommended."""
    unknown: list[str] = []
    request = read_request(state, wanted.asked, unknown)
    masked = mask_items(state, wanted.candidates, wanted.exclude, unknown)
    if wanted.filter_seen:
        mask_known(state, request, masked)
    notes: list[str] = []
    if not len(request.likes):
        notes += note_no_likes(state, wanted.asked, request, wanted.tail, filter_seen=wanted.filter_seen)
    return _Read(wanted, request, unknown, notes), masked


def _rank(state: State, read: Sequence[_Read], masked: NDArray[np.bool_]) -> list[Recommendations]:
    """The answers; `masked` is (n_requests, n_items)."""
    support = to_support(state, *(one.request for one in read))
    with one_thread():
        scores = state.bundle.model.score_support(support)  # (n_requests, n_items)
    rests_on = break_ties(state, scores, masked, support.likes)
    answers = []
    for one, note, listed in zip(read, rests_on, _list(state, read, scores, masked, support), strict=True):
        rows, values = (part[listed[0] >= 0] for part in listed)
        notes = [*one.notes, *([note] if note else note_basis(state, one.request.likes, one.request.user))]
        if len(rows) < one.wanted.k:
            notes.append(f"asked for {one.wanted.k} items, only {len(rows)} may be recommended")
        answers.append(
            Recommendations(
                tuple(
                    Recommendation(state.bundle.items.ids[row], place, score, state.title(row))
                    for place, (row, score) in enumerate(zip(rows.tolist(), values.tolist(), strict=True), 1)
                ),
                tuple(one.unknown),
                (*notes, *note_unknown(one.unknown)),
            )
        )
    return answers


def _list(
    state: State, read: Sequence[_Read], scores: NDArray[np.float32], masked: NDArray[np.bool_], support: Support
) -> list[Ranked]:
    """The rows and the scores of each list, (k,) each; lists without a dial are ranked at once."""
    listed: dict[int, Ranked] = {}
    plain = [place for place, one in enumerate(read) if not one.wanted.tail]
    for place, one in enumerate(read):
        if one.wanted.tail:
            own, likes = slice(place, place + 1), support.likes[[place]]
            rows, values = rank_scores(state, scores[own], masked[own], likes, one.wanted.k, one.wanted.tail)
            listed[place] = rows[0], values[0]
    if plain:
        chosen: slice | list[int] = slice(None) if len(plain) == len(read) else plain
        most = max(read[place].wanted.k for place in plain)
        rows, values = rank_scores(state, scores[chosen], masked[chosen], support.likes, most, 0.0)
        for row, place in enumerate(plain):
            k = read[place].wanted.k
            listed[place] = rows[row, :k], values[row, :k]
    return [listed[place] for place in range(len(read))]
