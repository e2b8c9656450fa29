"""Titles written under a trie: only titles of the catalogue, exactly k, none twice, the planted one first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_language_model import N_TITLES, TITLES, follow

from kgrec.errors import RequestError
from kgrec.language import LocalLanguageModel
from kgrec.language.time_limit import LanguageModelTooSlow
from kgrec.language.title_generation import generate_items
from kgrec.language.title_trie import TitleTrie
from kgrec.language.titles import TitlePrompt

LIMIT_S = 60.0
WORDS = st.lists(st.sampled_from(["alpha", "beta", "a", "b", "c", "[END]", "zzz"]), max_size=5).map(" ".join)


def test_the_planted_next_title_is_first(fitted: LocalLanguageModel) -> None:
    trie = TitleTrie.of(fitted, TITLES)
    for first in range(N_TITLES):
        likes = [first, follow(first), follow(follow(first))]
        found = generate_items(fitted, trie, [TITLES[like] for like in likes], k=3, time_limit_s=LIMIT_S)
        assert found.items[0] == follow(likes[-1])


@given(
    titles=st.lists(WORDS | st.none(), min_size=1, max_size=20),
    k=st.integers(1, 8),
    n_beams=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_exactly_k_allowed_items_none_twice(
    tiny: LocalLanguageModel, titles: list[str | None], k: int, n_beams: int, seed: int
) -> None:
    trie = TitleTrie.of(tiny, titles)
    allowed = np.random.default_rng(seed).random(len(titles)) < 0.7
    found = generate_items(tiny, trie, TITLES[:2], k=k, allowed=allowed, n_beams=n_beams, time_limit_s=LIMIT_S)
    may = {row for row, title in enumerate(titles) if title and allowed[row]}
    assert set(found.items.tolist()) <= may
    assert len(set(found.items.tolist())) == len(found.items) == min(k, len(may))
    assert (np.diff(found.scores) <= 1e-9).all()


@given(titles=st.lists(WORDS, min_size=1, max_size=12, unique=True))
@settings(max_examples=30)
def test_with_enough_beams_the_order_is_exact(tiny: LocalLanguageModel, titles: list[str]) -> None:
    trie = TitleTrie.of(tiny, titles)
    head = TitlePrompt().build(tiny, TITLES[:2])
    read = {row: tuple(tokens) for row, tokens in enumerate(tiny.read_titles(titles)) if len(tokens) > 1}
    found = generate_items(tiny, trie, TITLES[:2], k=len(titles), n_beams=100, time_limit_s=LIMIT_S)
    expected = tiny.within(LIMIT_S, lambda due: tiny.score(head, list(read.values()), due))
    likely = dict(zip(read, expected.tolist(), strict=True))
    assert sorted(found.items.tolist()) == sorted(read)
    np.testing.assert_allclose(found.scores, [likely[item] for item in found.items.tolist()], atol=1e-4)
    best = generate_items(tiny, trie, TITLES[:2], k=2, n_beams=100, time_limit_s=LIMIT_S)  # the search stops early
    np.testing.assert_allclose(best.scores, found.scores[:2], atol=1e-4)


def test_a_title_that_begins_another_and_items_of_one_title(tiny: LocalLanguageModel) -> None:
    titles = ["a b", "a", "a b c", "a b", None, "[END]\n"]
    found = generate_items(tiny, TitleTrie.of(tiny, titles), ["b"], k=9, time_limit_s=LIMIT_S)
    assert sorted(found.items.tolist()) == [0, 1, 2, 3, 5]  # "[END]" is text like any other
    places = found.items.tolist()
    assert places.index(3) == places.index(0) + 1
    assert found.scores[places.index(0)] == found.scores[places.index(3)]


def test_a_selected_trie_is_the_trie_of_what_is_left(tiny: LocalLanguageModel) -> None:
    titles = ["a b", "a", "beta", "a b", "c"]
    allowed = np.array([False, True, False, True, True])
    selected = TitleTrie.of(tiny, titles).select(allowed)
    expected = TitleTrie.of(tiny, [title if may else None for title, may in zip(titles, allowed, strict=True)])
    np.testing.assert_array_equal(selected.tokens, expected.tokens)
    np.testing.assert_array_equal(selected.items, expected.items)
    np.testing.assert_array_equal(selected.starts, expected.starts)


def test_nothing_is_allowed(tiny: LocalLanguageModel) -> None:
    trie = TitleTrie.of(tiny, TITLES)
    nothing = np.zeros(N_TITLES, np.bool_)
    assert not len(generate_items(tiny, trie, ["a"], k=3, allowed=nothing, time_limit_s=LIMIT_S).items)
    assert not len(generate_items(tiny, TitleTrie.of(tiny, []), ["a"], k=3, time_limit_s=LIMIT_S).items)


def test_k_and_the_limit_of_time(tiny: LocalLanguageModel) -> None:
    trie = TitleTrie.of(tiny, TITLES)
    with pytest.raises(RequestError, match="k of at least 1, got 0"):
        generate_items(tiny, trie, ["a"], k=0, time_limit_s=LIMIT_S)
    with pytest.raises(LanguageModelTooSlow):
        generate_items(tiny, trie, ["a"], k=3, time_limit_s=1e-6)
