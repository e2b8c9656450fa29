from itertools import pairwise

import numpy as np
from generators import make_ids
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.generate.id_trie import AllowedLeaves, IdTrie


@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 3))
def test_the_mask_is_that_of_all_ids_with_the_prefix(n_items: int, n_codes: int, seed: int) -> None:
    ids = make_ids(n_items, n_codes=n_codes, seed=seed)
    trie = IdTrie.of(ids)
    nodes = trie.trace()
    for depth in range(trie.n_levels):
        masks = trie.mask(depth, nodes[:, depth], ids.sizes[depth])
        for item in range(n_items):
            alike = (ids.codes[:, :depth] == ids.codes[item, :depth]).all(axis=1)
            assert set(np.flatnonzero(masks[item])) == set(ids.tokens[alike, depth])


@given(st.integers(1, 25), st.integers(0, 1000))
def test_a_flag_covers_the_nodes_whose_items_all_have_it(n_items: int, seed: int) -> None:
    trie = IdTrie.of(make_ids(n_items))
    flags = np.random.default_rng(seed).random(n_items) < 0.7
    for leaves, covered in zip(trie.leaves, trie.cover(flags), strict=True):
        assert covered.tolist() == [flags[trie.items[first:end]].all() for first, end in pairwise(leaves)]


def test_leaves_are_items_in_the_order_of_codes() -> None:
    ids = make_ids(40)
    trie = IdTrie.of(ids)
    assert ids.codes[trie.items].tolist() == sorted(ids.codes.tolist())
    assert trie.leaves[-1].tolist() == list(range(41))


def test_an_empty_catalogue_has_no_leaves() -> None:
    ids = make_ids(5).with_items(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    assert len(IdTrie.of(ids).items) == 0


@given(st.integers(1, 25), st.data())
def test_allowed_leaves_are_counted_below_each_node(n_items: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    trie = IdTrie.of(make_ids(n_items))
    excluded = rng.random((3, n_items)) < 0.4
    candidates = None if data.draw(st.booleans()) else rng.random(n_items) < 0.6
    allowed = AllowedLeaves.of(trie, csr_array(excluded.astype(np.float32)), candidates)
    may = ~excluded & (True if candidates is None else candidates)
    for leaves in trie.leaves:
        first, end = leaves[:-1], leaves[1:]
        for user in range(3):
            counts = allowed.count(np.full(len(first), user), first, end)
            expected = [may[user, trie.items[a:b]].sum() for a, b in zip(first, end, strict=True)]
            assert counts.tolist() == expected
