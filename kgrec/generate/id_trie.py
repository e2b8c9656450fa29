"""The trie of semantic ids as arrays, and which of its nodes lead to an allowed item."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.generate.semantic_ids import SemanticIds


@dataclass(frozen=True)
class IdTrie:
    """A trie: its leaves are the items in the order of their codes, so each node covers adjacent leaves.

    Attributes:
        items: (n_items,) int64: the item row of each leaf.
        tokens: for each depth from 1, (n_nodes,) int64: the token that leads to the node.
        leaves: for each depth from 0, (n_nodes + 1,) int64: the first leaf below each node, and the end.
        children: for each depth from 0 but the last, (n_nodes + 1,) int64: each node's first child, and the end.
    """

    items: NDArray[np.int64]
    tokens: tuple[NDArray[np.int64], ...]
    leaves: tuple[NDArray[np.int64], ...]
    children: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, ids: SemanticIds) -> "IdTrie":
        """Sorts items by their codes and marks where each prefix begins."""
        n_levels = ids.codes.shape[1]
        items = np.lexsort(ids.codes.T[::-1]).astype(np.int64)
        codes, tokens = ids.codes[items], ids.tokens[items]
        changed = np.zeros(len(items), np.bool_)
        changed[:1] = True
        firsts = [np.flatnonzero(changed)]  # one list of first leaves for each depth
        for level in range(n_levels):
            changed = changed.copy()
            changed[1:] |= codes[1:, level] != codes[:-1, level]
            firsts.append(np.flatnonzero(changed))
        leaves = tuple(np.append(first, len(items)).astype(np.int64) for first in firsts)
        children = tuple(np.searchsorted(below[:-1], above).astype(np.int64) for above, below in pairwise(leaves))
        return cls(items, tuple(tokens[first, level] for level, first in enumerate(firsts[1:])), leaves, children)

    @property
    def n_levels(self) -> int:
        """The number of tokens of an id."""
        return len(self.tokens)

    def count_children(self, depth: int, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) int64: the number of children of nodes, (n,), of one depth."""
        first = self.children[depth]
        return first[nodes + 1] - first[nodes]

    def list_children(
        self, depth: int, nodes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The children of nodes of one depth, a node's adjacent, in the order of their tokens.

        Args:
            depth: of the nodes.
            nodes: (n,) int64.

        Returns:
            (n_children,) int64 each: the place in `nodes` of the parent, the child, and its token.
        """
        sizes = self.count_children(depth, nodes)
        parents = np.repeat(np.arange(len(nodes)), sizes)
        offsets = np.arange(len(parents)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        children = self.children[depth][nodes[parents]] + offsets
        return parents, children, self.tokens[depth][children]

    def mask(self, depth: int, nodes: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
        """(n, size) bool: the legal next tokens at nodes, (n,), of one depth; `size` is the number of tokens there."""
        parents, _, tokens = self.list_children(depth, nodes)
        legal = np.zeros((len(nodes), size), np.bool_)
        legal[parents, tokens] = True
        return legal

    def cover(self, flags: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
        """For each depth from 0, (n_nodes,) bool: whether all items below a node have a flag, (n_items,) by row."""
        before = np.concatenate([[0], np.cumsum(flags[self.items])])
        return tuple(np.diff(before[leaves]) == np.diff(leaves) for leaves in self.leaves)

    def trace(self) -> NDArray[np.int64]:
        """(n_items, levels + 1) int64: the node of each item's prefix at each depth but the last, by item row."""
        nodes = np.empty((len(self.items), self.n_levels), np.int64)
        for depth in range(self.n_levels):
            first = self.leaves[depth]
            nodes[self.items, depth] = np.repeat(np.arange(len(first) - 1), np.diff(first))
        return nodes


@dataclass(frozen=True)
class AllowedLeaves:
    """How many allowed items are below a node, for each of a block of users.

    Attributes:
        shared: (n_items + 1,) int64: the number of candidates among the first leaves.
        excluded: (n,) int64, ascending: user * n_items + leaf of the candidates that a user may not get.
    """

    shared: NDArray[np.int64]
    excluded: NDArray[np.int64]

    @classmethod
    def of(cls, trie: IdTrie, excluded: csr_array, candidates: NDArray[np.bool_] | None = None) -> "AllowedLeaves":
        """Counts along the leaves.

        Args:
            trie: the trie.
            excluded: (n_users, n_items), an entry for each item that a user may not get.
            candidates: (n_items,) bool: the items that anyone may get; None: all.
        """
        n_items = len(trie.items)
        open_ = np.ones(n_items, np.bool_) if candidates is None else candidates[trie.items]  # by leaf
        leaf = np.empty(n_items, np.int64)
        leaf[trie.items] = np.arange(n_items)
        users = np.repeat(np.arange(excluded.shape[0]), np.diff(excluded.indptr))
        leaves = leaf[excluded.indices]
        keys = np.unique((users * n_items + leaves)[open_[leaves]])
        return cls(np.concatenate([[0], np.cumsum(open_)]), keys)

    def count(self, users: NDArray[np.int64], first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) int64: the allowed leaves from `first` up to `end`, (n,) each, of users, (n,)."""
        base = users * (len(self.shared) - 1)
        hidden = np.searchsorted(self.excluded, base + end) - np.searchsorted(self.excluded, base + first)
        return self.shared[end] - self.shared[first] - hidden
