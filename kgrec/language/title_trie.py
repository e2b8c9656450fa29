"""The titles of a catalogue as a trie of tokens: sorted rows of tokens, where each prefix is a range of rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kgrec.language.local_model import LocalLanguageModel


@dataclass(frozen=True)
class TitleTrie:
    """Titles as tokens.

    Titles differ in length and read tokens of a whole vocabulary, so a node is no entry of its own: it is a range of
    sorted titles and a depth, and its children are the runs of equal tokens at that depth.

    Attributes:
        tokens: (n_titles, longest) int32: distinct titles in ascending order, each with its end, -1 behind.
        items: (n,) int64 item rows; those of a title are adjacent and ascending.
        starts: (n_titles + 1,) int64: where the items of each title begin, and the end.
    """

    tokens: NDArray[np.int32]
    items: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, model: LocalLanguageModel, titles: Sequence[str | None]) -> "TitleTrie":
        """Reads the titles of a catalogue, by item row; items without a title are left out."""
        read = model.read_titles([title or "" for title in titles])
        items = np.array([row for row, tokens in enumerate(read) if len(tokens) > 1], np.int64)
        lengths = np.array([len(read[row]) for row in items], np.int64)
        tokens = np.full((len(items), lengths.max(initial=1)), -1, np.int32)
        tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = [token for row in items for token in read[row]]
        distinct, title = np.unique(tokens, axis=0, return_inverse=True)
        return cls._group(distinct, title.ravel(), items)

    @classmethod
    def _group(cls, tokens: NDArray[np.int32], title: NDArray[np.int64], items: NDArray[np.int64]) -> "TitleTrie":
        order = np.lexsort((items, title))
        starts = np.concatenate([[0], np.cumsum(np.bincount(title, minlength=len(tokens)))]).astype(np.int64)
        return cls(tokens, items[order], starts)

    def select(self, allowed: NDArray[np.bool_]) -> "TitleTrie":
        """The trie of the allowed items only; `allowed` is by item row, (n_items,)."""
        kept = allowed[self.items]
        below = np.concatenate([[0], np.cumsum(kept)])
        counts = below[self.starts[1:]] - below[self.starts[:-1]]
        some = counts > 0
        starts = np.concatenate([[0], np.cumsum(counts[some])]).astype(np.int64)
        return replace(self, tokens=self.tokens[some], items=self.items[kept], starts=starts)

    def list_children(
        self, depth: int, first: NDArray[np.int64], end: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The children of nodes of one depth, a node's adjacent, in ascending order of their tokens.

        Args:
            depth: of the nodes: how many tokens their titles share.
            first: (n,) int64, each node's first title.
            end: (n,) int64, the title behind each node's last.

        Returns:
            (n_children,) each: the place of the parent in `first`, the token, and the child's first and end.
        """
        sizes = end - first
        parents = np.repeat(np.arange(len(first)), sizes)
        rows = np.arange(len(parents)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + first[parents]
        tokens = self.tokens[rows, depth].astype(np.int64)
        changed = np.ones(len(rows), np.bool_)
        changed[1:] = (tokens[1:] != tokens[:-1]) | (parents[1:] != parents[:-1])
        at = np.flatnonzero(changed)
        run = np.diff(np.append(at, len(rows)))
        return parents[at], tokens[at], rows[at], rows[at] + run
