"""What an answer rests on, in sentences: nothing known of a user, few likes, likes that nobody shares."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec.model.knowledge import Knowledge
from kgrec.recommend.asked import Asked
from kgrec.recommend.noisy_likes import NOISY, describe_learned, is_noisy
from kgrec.recommend.reasons import describe_knowledge
from kgrec.recommend.requests import Request
from kgrec.recommend.state import State
from kgrec.recommend.user_reasons import counts_prior, describe_prior

_FEW_LIKES = 500  # in training; with fewer, answers carry a note


def note_few_likes(n_likes: int) -> str | None:
    """A note if training had few likes; None if it had enough."""
    if n_likes >= _FEW_LIKES:
        return None
    return f"only {n_likes} like{'' if n_likes == 1 else 's'} to learn from"


def note_unknown(ids: Sequence[str]) -> list[str]:
    """A note on ids of a request that the catalogue does not have; none where there are none."""
    if not ids:
        return []
    return [f"unknown ids, ignored: {', '.join(map(repr, ids[:10]))}{' ...' if ids[10:] else ''}"]


def note_no_likes(state: State, asked: Asked, request: Request, tail: float, *, filter_seen: bool) -> list[str]:
    """A note on what a list rests on without likes; none where a sentence says it."""
    who = "no likes are given" if asked.user is None else f"user {asked.user!r} has no likes"
    profile = describe_prior(state, request) if request.has_profile and counts_prior(state) else ""
    if profile:
        return [f"{who}: this rests on {'your words and ' if asked.text is not None else ''}the user's {profile}"]
    if asked.text is not None:
        return []
    if asked.links or asked.values:
        who += ", and the links and attributes have no effect"
    seen = ", without those the user has seen" if asked.user is not None and filter_seen else ""
    most = "this rests on how many people like an item" if tail > 0 else "these are the most liked items"
    most += f", {NOISY}" if is_noisy(state.bundle) else ""
    return [f"{who}: {most}{seen}"]


def note_basis(state: State, support: NDArray[np.int64], user: int | None) -> list[str]:
    """A note if a list does not rest on likes alone, or on likes that nobody shares."""
    model = state.bundle.model
    if len(support) and bool(model.cold[torch.from_numpy(support)].all()):
        if is_noisy(state.bundle):
            return [f"not among {describe_learned(state.bundle)}: texts and links place what you like"]
        return ["nobody liked these items in training: this rests on their texts and links"]
    if is_noisy(state.bundle):
        return []  # it is not for an answer to say who likes what, or how many likes there are
    few = note_few_likes(state.bundle.lineage.n_likes)
    if few and len(support):
        return [f"{few}: this rests on texts and links as well"]
    if len(support) and not _likes_more(state, support, user):
        only = "this item" if len(support) == 1 else "these items"
        known = Knowledge.name in model.names
        expect = f"this rests on {describe_knowledge(state)}" if known else "expect weak matches"
        return [f"nobody else who likes {only} likes another: {expect}"]
    return []


def _likes_more(state: State, support: NDArray[np.int64], user: int | None) -> bool:
    """Whether anybody else who likes one of some items likes an item beside them."""
    liked, by_item = state.bundle.liked, state.liked_by_item
    inside = np.zeros(liked.shape[1], np.bool_)
    inside[support] = True
    looked_at = {user}
    for item in support.tolist():
        for fan in by_item.indices[slice(*by_item.indptr[item : item + 2])].tolist():
            if fan not in looked_at and not inside[liked.indices[slice(*liked.indptr[fan : fan + 2])]].all():
                return True
            looked_at.add(fan)
    return False
