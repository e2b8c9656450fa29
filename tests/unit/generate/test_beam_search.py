import numpy as np
import pytest
import torch
from generators import make_generator, make_ids
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.generate.beam_search import search_beams
from kgrec.generate.generator import Generator, generate
from kgrec.generate.id_trie import AllowedLeaves, IdTrie
from kgrec.generate.item_sequences import ItemSequences

GENERATOR = make_generator()


def score_all(generator: Generator, sequences: ItemSequences) -> NDArray[np.float64]:
    """(n_users, n_items) log-probabilities: each token's softmax among the tokens that follow its prefix."""
    ids = generator.ids
    states = generator.read(sequences)
    scores = np.zeros((sequences.n_users, ids.n_items))
    for item in range(ids.n_items):
        for level in range(ids.codes.shape[1]):
            alike = (ids.codes[:, :level] == ids.codes[item, :level]).all(axis=1)
            followers = np.unique(ids.codes[alike, level])
            prefix = torch.from_numpy(ids.tokens[item, :level]).expand(sequences.n_users, -1)
            with torch.inference_mode():
                logits = generator.network.score(level, states, prefix).double()[:, followers]
            here = int(np.flatnonzero(followers == ids.codes[item, level])[0])
            scores[:, item] += logits.log_softmax(dim=1)[:, here].numpy()
    return scores


@pytest.mark.parametrize("new_bonus", [0.0, 2.0])
def test_wide_beams_are_exact(new_bonus: float) -> None:
    sequences = ItemSequences.of([[3, 4], [0], [], [7, 7, 7, 29]])
    scores = score_all(GENERATOR, sequences)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=1e-5)
    assert 0 < GENERATOR.is_new.sum() < 30
    scores[:, GENERATOR.is_new] += new_bonus
    found = generate(GENERATOR, sequences, 30, beams=30, hide_seen=False, new_bonus=new_bonus)
    np.testing.assert_allclose(found.log_probs, -np.sort(-scores, axis=1), atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(scores, found.rows, axis=1), found.log_probs, atol=1e-4)


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_lists_have_k_allowed_items_none_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = GENERATOR.n_items
    users = [rng.integers(0, n, rng.integers(0, 9)).tolist() for _ in range(4)]
    candidates = None if rng.random() < 0.3 else rng.random(n) < rng.random()
    excluded = None if rng.random() < 0.3 else csr_array((rng.random((4, n)) < rng.random()).astype(np.float32))
    hide_seen = bool(rng.random() < 0.7)
    k, beams = int(rng.integers(1, n + 3)), int(rng.integers(1, 12))
    found = generate(
        GENERATOR,
        ItemSequences.of(users),
        k,
        beams=beams,
        hide_seen=hide_seen,
        excluded=excluded,
        candidates=candidates,
    )
    for user, seen in enumerate(users):
        may = set(range(n) if candidates is None else np.flatnonzero(candidates).tolist())
        may -= set(seen) if hide_seen else set()
        may -= set() if excluded is None else set(excluded[[user]].indices.tolist())
        rows = found.rows[user]
        own = rows[rows >= 0].tolist()
        assert len(own) == len(set(own)) == min(k, len(may))
        assert set(own) <= may
        assert (rows[len(own) :] == -1).all()
        assert np.isneginf(found.log_probs[user, len(own) :]).all()
        assert (np.diff(found.log_probs[user, : len(own)]) <= 0).all()


def test_a_hidden_item_leaves_the_order_of_the_others() -> None:
    sequence = ItemSequences.of([[3, 4]])
    everything = generate(GENERATOR, sequence, 30, beams=30, hide_seen=False).rows[0].tolist()
    hidden = csr_array((np.ones(1), ([0], [everything[0]])), shape=(1, 30))
    rest = generate(GENERATOR, sequence, 29, beams=30, hide_seen=False, excluded=hidden).rows[0].tolist()
    assert rest == everything[1:]


def test_ties_are_ordered_by_codes() -> None:
    ids = make_ids(20)
    trie = IdTrie.of(ids)
    allowed = AllowedLeaves.of(trie, csr_array((2, 20)))

    def favour_none(level: int, users: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.zeros((len(users), ids.sizes[level]), np.float32)

    found = search_beams(trie, favour_none, allowed, 2, 20, 20)
    assert (found.rows[0] == found.rows[1]).all()
    same = found.log_probs[0][:-1] == found.log_probs[0][1:]
    leaf = np.argsort(trie.items)[found.rows[0]]
    assert same.any()
    assert (leaf[:-1][same] < leaf[1:][same]).all()


def test_users_in_one_call_do_not_change_each_other() -> None:
    users = [[1, 2, 3], [4], [], [5, 6, 7, 8, 9, 10, 11]]
    together = generate(GENERATOR, ItemSequences.of(users), 5).rows
    for user, own in enumerate(users):
        assert (generate(GENERATOR, ItemSequences.of([own]), 5).rows[0] == together[user]).all()


def test_no_users_get_no_lists() -> None:
    assert generate(GENERATOR, ItemSequences.of([]), 5).rows.shape == (0, 5)
