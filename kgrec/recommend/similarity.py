"""The items most like others, and the users most like one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex
from kgrec.model.likeness import SOURCES
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.argument_ids import to_id
from kgrec.recommend.blocks import to_blocks
from kgrec.recommend.live import answer_without_gone
from kgrec.recommend.noisy_likes import describe_learned, is_noisy, note_directions
from kgrec.recommend.reasons import find_likeness_reasons, read_live_index
from kgrec.recommend.requests import check_k, find_item, find_user, mask_items
from kgrec.recommend.state import State

_TIE = 1e-7  # likenesses that differ by less are equal
_BY = {None: "likes, text or links", "likes": "likes", "text": "text", "links": "links"}


def find_similar_many(
    state: State, items: Sequence[str], k: int, by: str | None, candidates: Sequence[str] | None, *, explain: bool
) -> dict[str, Recommendations]:
    """Finds the items most similar to each of several; see `Recommender.similar_many`."""
    check_k(k)
    if by is not None and by not in SOURCES:
        raise RequestError(f"expected `by` to be one of {', '.join(SOURCES)}, or left out, got {by!r}")
    rows = {to_id(item, "item"): find_item(state, item) for item in items}
    masked = mask_items(state, candidates, (), [])
    ids, vectors = list(rows), state.bundle.model.likeness_vectors(by)
    masked |= ~vectors.any(axis=1)
    answers = {}
    for block in to_blocks(len(ids), len(vectors)):
        asked = np.array([rows[id_] for id_ in ids[block]], np.int64)
        likeness = vectors[asked] @ vectors.T  # (n, n_items)
        likeness[:, masked] = -np.inf
        likeness[np.arange(len(asked)), asked] = -np.inf
        nearest, paths = _find_nearest(state, asked, likeness, k, explain=explain)
        for id_, own, found in zip(ids[block], likeness, nearest, strict=True):
            near = found[found >= 0]
            similar = near[own[near] > _TIE]
            reasons = find_likeness_reasons(state, rows[id_], similar, by, paths) if explain else [None] * len(similar)
            answers[id_] = _answer_similar(state, rows[id_], similar, own, reasons, k, by)
    return answers


def _find_nearest(
    state: State, asked: NDArray[np.int64], likeness: NDArray[np.float32], k: int, *, explain: bool
) -> tuple[NDArray[np.int64], PathIndex | None]:
    """The k items most like each of some, (n, k), of those that are not gone from the store; and its paths, if asked.

    Those that are gone are barred, in place, from the likeness.
    """
    ids = state.bundle.items.ids

    def list_rows(nearest: NDArray[np.int64]) -> list[int]:
        return [row for row in np.unique(nearest).tolist() if row >= 0]

    def answer(gone: set[str]) -> tuple[NDArray[np.int64], PathIndex | None]:
        nearest = state.top_rows(likeness, k)
        if state.store is None:
            return nearest, None
        listed = list_rows(nearest)
        if explain:
            near = {ids[row] for row in asked.tolist()}
            return nearest, read_live_index(state, near, {ids[row] for row in listed}, gone)
        gone |= state.find_gone(listed)
        return nearest, None

    def bar(gone: set[str]) -> None:
        likeness[:, state.bundle.items.rows(list(gone))] = -np.inf

    def look_further(factor: int) -> set[str]:
        return state.find_gone(list_rows(state.top_rows(likeness, k * factor)))

    return answer_without_gone(answer, look_further, bar)


def find_similar_users(state: State, user: str, k: int) -> pa.Table:
    """Finds the users most similar to one; see `Recommender.similar_users`."""
    check_k(k)
    row, ids = find_user(state, user), state.bundle.users.ids
    vectors = state.user_vectors
    scores = vectors @ vectors[row]
    others = np.flatnonzero(vectors.any(axis=1) & (np.arange(len(ids)) != row))
    if not vectors[row].any():
        others = others[:0]
    if len(others) > k:  # those that may be among the first k, ties included
        others = others[scores[others] >= np.partition(scores[others], -k)[-k]]
    first = sorted(others.tolist(), key=lambda other: (-scores[other], ids[other]))[:k]
    return pa.table(
        {
            "user": pa.array([ids[other] for other in first], pa.string()),
            "rank": pa.array(range(1, len(first) + 1), pa.int64()),
            "score": pa.array(scores[first].astype(np.float64)),
        }
    )


def _answer_similar(
    state: State,
    row: int,
    rows: NDArray[np.int64],
    likeness: NDArray[np.float32],
    reasons: Sequence[str | None],
    k: int,
    by: str | None,
) -> Recommendations:
    """The answer of `find_similar_many` for one item, from the rows of the items similar to it."""
    model, item, noisy = state.bundle.model, state.bundle.items.ids[row], is_noisy(state.bundle)
    found = tuple(
        Recommendation(state.bundle.items.ids[other], place + 1, float(likeness[other]), state.title(other), reason)
        for place, (other, reason) in enumerate(zip(rows.tolist(), reasons, strict=True))
    )
    notes = []
    known = model.likeness_vectors(by)[row].any()
    if noisy and not known and by == "likes":
        notes.append(f"no taste for {item!r} stands out of the noise of likes: no items are similar to it by them")
    elif not known:
        notes.append(f"{item!r} has no {_BY[by]} to compare: no items are similar to it")
    elif len(found) < k:
        notes.append(f"asked for {k} items, only {len(found)} are similar by {_BY[by]}")
    outside = not int(model.n_likes[row])
    if noisy and outside and by in (None, "likes"):
        placed = ": its text and links place it" if by is None else ""
        notes.append(f"{item!r} is not among {describe_learned(state.bundle)}{placed}")
    elif by is None and known and outside:
        notes.append(f"nobody liked {item!r} in training: this rests on its text and links")
    if noisy and by == "likes" and found:
        notes.append(note_directions(state.bundle))
    return Recommendations(found, (), tuple(notes))
