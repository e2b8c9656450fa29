"""Ranks items by their scores, and tells apart those that tie."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.model.component import Support
from kgrec.model.knowledge import Knowledge
from kgrec.recommend.diversity import Ranked
from kgrec.recommend.state import State

_TIE = 1e-7  # scores that differ by less are equal
_ITEMS_COMPARED = 64  # first; they nearly always show a difference


def rank_scores(
    state: State,
    scores: NDArray[np.float32],
    masked: NDArray[np.bool_],
    support: csr_array,
    k: int,
    tail: float,
    *,
    sentence: bool = False,
) -> Ranked:
    """The k best items that are not masked, and the scores they are sorted by; both (n_users, k)."""
    if tail:
        return state.dial.rank(scores, masked, support, tail, k, state.top_rows, sentence=sentence)
    allowed = np.where(masked, np.float32(-np.inf), scores)
    rows = state.top_rows(allowed, k)
    return rows, np.take_along_axis(allowed, np.maximum(rows, 0), axis=1)


def break_ties(
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
