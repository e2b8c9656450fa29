"""Recommendations by a language model without training: a prompt of likes, and its answer matched to the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.language.local_model import LocalLanguageModel
from kgrec.language.title_matching import TitleIndex, read_lines
from kgrec.language.titles import TitlePrompt, clean_title

_TOKENS_PER_LINE = 16  # that are written for each title that is asked for


@dataclass(frozen=True)
class ZeroShotAnswer:
    """What a language model recommends by itself.

    Attributes:
        items: (n,) int64 item rows, the best first, none twice; at most k, and often fewer.
        not_allowed: titles of the answer that may not be recommended, such as those that the user knows, and repeats.
        unmatched: titles of the answer that are not in the catalogue.
        text: the answer as written.
    """

    items: NDArray[np.int64]
    not_allowed: tuple[str, ...]
    unmatched: tuple[str, ...]
    text: str


def ask_for_items(
    model: LocalLanguageModel,
    index: TitleIndex,
    liked: Sequence[str],
    *,
    k: int,
    allowed: NDArray[np.bool_],
    prompt: TitlePrompt | None = None,
    time_limit_s: float,
) -> ZeroShotAnswer:
    """Asks a model what else somebody would like, and matches its answer to the catalogue.

    The prompt holds this user's likes and nothing of anybody else's.

    Args:
        model: the language model; one that follows instructions.
        index: the catalogue's titles.
        liked: titles of the user's likes, the earliest first.
        k: the number of titles that are asked for.
        allowed: (n_items,) bool: the items that may be recommended.
        prompt: the name of the items, and how many likes to list; None: the default.
        time_limit_s: seconds until the call returns.

    Raises:
        RequestError: k is below 1, or no like has a title.
        LanguageModelTooSlow: the time is over.
        TextError: the model fails.
    """
    if k < 1:
        raise RequestError(f"expected k of at least 1, got {k}")
    text = model.generate(
        write_request(liked, k, prompt), max_new_tokens=_TOKENS_PER_LINE * k, time_limit_s=time_limit_s
    )
    found = index.match(read_lines(text), allowed)
    return ZeroShotAnswer(found.items[:k], found.not_allowed, found.unmatched, text)


def write_request(liked: Sequence[str], k: int, prompt: TitlePrompt | None = None) -> str:
    """The message to the model: the last likes, and what is wanted.

    Raises:
        RequestError: no like has a title.
    """
    about = TitlePrompt() if prompt is None else prompt
    kind = clean_title(about.kind)
    titles = [title for title in map(clean_title, liked[-about.n_likes :]) if title]
    if not titles:
        raise RequestError(f"got {len(liked)} likes, none with a title; expected at least one: like something")
    listed = "\n".join(f"- {title}" for title in titles)
    return (
        f"Somebody likes these {kind}:\n{listed}\n\n"
        f"Recommend {k} other {kind} that this person would like. Write only their titles, one per line."
    )
