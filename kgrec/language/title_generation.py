"""Writes titles token by token where only tokens that lead to an allowed title are legal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.language.local_model import LocalLanguageModel
from kgrec.language.time_limit import Deadline
from kgrec.language.title_trie import TitleTrie
from kgrec.language.titles import TitlePrompt


@dataclass(frozen=True)
class GeneratedItems:
    """Items whose titles a model wrote.

    Attributes:
        items: (n,) int64 item rows, the best first, no item twice.
        scores: (n,) log-probabilities of their titles; items of one title share it.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float64]


def generate_items(
    model: LocalLanguageModel,
    trie: TitleTrie,
    liked: Sequence[str],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    n_beams: int = 20,
    prompt: TitlePrompt | None = None,
    time_limit_s: float,
) -> GeneratedItems:
    """Writes the next titles by beam search over a trie.

    A title's score is the model's probability of all of its tokens, its end included; tokens that lead to no allowed
    title are never followed. There are always k answers where k items with titles are allowed.

    Args:
        model: the language model.
        trie: the titles, made with this model's tokens.
        liked: titles of the user's likes, the earliest first.
        k: the number of items.
        allowed: (n_items,) bool: the items that may be written; None: all. Seen items and exclusions are not.
        n_beams: titles that are followed at once; at least k are.
        prompt: how likes become a prompt; None: the default.
        time_limit_s: seconds until the call returns.

    Returns:
        k items, or all allowed ones with a title where they are fewer.

    Raises:
        RequestError: k is below 1.
        LanguageModelTooSlow: the time is over.
        TextError: the model fails.
    """
    if k < 1:
        raise RequestError(f"expected k of at least 1, got {k}")
    legal = trie if allowed is None else trie.select(allowed)
    tokens = (TitlePrompt() if prompt is None else prompt).build(model, liked)
    if not len(legal.tokens):
        return GeneratedItems(np.zeros(0, np.int64), np.zeros(0))
    titles, scores = model.within(time_limit_s, lambda due: _search(model, legal, tokens, k, max(k, n_beams), due))
    counts = legal.starts[titles + 1] - legal.starts[titles]
    items = np.concatenate([legal.items[legal.starts[title] : legal.starts[title + 1]] for title in titles])
    return GeneratedItems(items[:k], np.repeat(scores, counts)[:k])


def _search(
    model: LocalLanguageModel, trie: TitleTrie, prompt: Sequence[int], k: int, n_beams: int, deadline: Deadline
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The best titles and their log-probabilities, the best first.

    Each of the `n_beams` open prefixes leads to a title of its own, so at least k are done in the end. Probabilities
    only fall along a title: the search stops when no open prefix is better than the k-th done title.
    """
    import torch

    reading = model.read(prompt, deadline)
    first, end, score = np.zeros(1, np.int64), np.array([len(trie.tokens)]), np.zeros(1)
    done, done_score = np.zeros(0, np.int64), np.zeros(0)
    depth = 0
    while len(first):
        parents, token, first, end = trie.list_children(depth, first, end)
        at = torch.as_tensor(parents, device=model.device), torch.as_tensor(token, device=model.device)
        likely = reading.scores[at] - reading.scores.logsumexp(1)[at[0]]
        score = score[parents] + likely.double().cpu().numpy()
        depth += 1
        ends = token == model.end
        done, done_score = np.append(done, first[ends]), np.append(done_score, score[ends])
        best = np.argsort(-done_score, kind="stable")[:n_beams]
        done, done_score = done[best], done_score[best]
        bound = done_score[k - 1] if len(done) >= k else -np.inf
        open_ = np.flatnonzero(~ends & (score > bound))
        open_ = open_[np.argsort(-score[open_], kind="stable")[:n_beams]]
        parents, token, first, end = parents[open_], token[open_], first[open_], end[open_]
        score = score[open_]
        if len(open_):
            reading.cache.reorder_cache(torch.as_tensor(parents, device=model.device))
            reading.scores = model.read_on(reading.cache, token[:, None], deadline)[:, -1]
    return done, done_score
