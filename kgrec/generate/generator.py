"""The generator: semantic ids and a network that writes the next item of a sequence token by token."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.errors import RequestError
from kgrec.generate.beam_search import FoundItems, search_beams
from kgrec.generate.id_trie import AllowedLeaves, IdTrie
from kgrec.generate.item_sequences import ItemSequences, batch_users
from kgrec.generate.item_space import ItemSpace
from kgrec.generate.semantic_ids import SemanticIds
from kgrec.generate.token_network import TokenNetwork

BEAMS = 20
# The least that puts new items above kNN on content. On beauty, 5% of the items new, Recall@10 on validation goes from
# .029 to .078 for new items and from .108 to .100 for the others: scripts/benchmarks/generated_items.py --cold.
NEW_BONUS = 1.0
_POSITIONS = 8192  # read at once
_BLOCK_BEAMS = 8192  # scored at once
_BLOCK_ITEMS = 65536


@dataclass(frozen=True)
class Generator:
    """A trained generator.

    Attributes:
        space: places new items.
        ids: the items' semantic ids.
        vectors: (n_items, dim) float32: what the ids were made of; an item's input beside its tokens.
        network: in evaluation mode.
        is_new: (n_items,) bool: the items in no training sequence.
    """

    space: ItemSpace
    ids: SemanticIds
    vectors: NDArray[np.float32]
    network: TokenNetwork
    is_new: NDArray[np.bool_]

    @property
    def n_items(self) -> int:
        """The number of items."""
        return self.ids.n_items

    @cached_property
    def trie(self) -> IdTrie:
        """The trie of the ids."""
        return IdTrie.of(self.ids)

    @cached_property
    def new_nodes(self) -> tuple[NDArray[np.bool_], ...] | None:
        """The nodes of the trie with new items alone below them, as in `IdTrie.cover`; None: no item is new."""
        return self.trie.cover(self.is_new) if self.is_new.any() else None

    @cached_property
    def read_items(self) -> Tensor:
        """(n_items, width) float32: each item as the network reads it."""
        tokens, vectors = torch.from_numpy(self.ids.tokens), torch.from_numpy(self.vectors)
        device = self.network.begin.device
        blocks = [slice(start, start + _BLOCK_ITEMS) for start in range(0, max(self.n_items, 1), _BLOCK_ITEMS)]
        with torch.inference_mode():
            return torch.cat(
                [self.network.read_items(tokens[block].to(device), vectors[block].to(device)) for block in blocks]
            )

    def with_items(self, kept: NDArray[np.int64], content: NDArray[np.float32]) -> "Generator":
        """The generator after a change of the catalogue: some items are gone, new ones come last.

        The other items' ids stay; a new item gets one by its content.

        Args:
            kept: (n_kept,) int64 rows of the items that stay, in their new order.
            content: (n_new, content_dim) float32, as in `fit_item_space`.
        """
        vectors = self.space.place(content)
        return replace(
            self,
            ids=self.ids.with_items(kept, vectors),
            vectors=np.concatenate([self.vectors[kept], vectors]),
            is_new=np.concatenate([self.is_new[kept], np.ones(len(vectors), np.bool_)]),
        )

    def read(self, sequences: ItemSequences) -> Tensor:
        """(n_users, state_dim) float32: the states after the last items; of long sequences the last items are read."""
        device = self.network.begin.device
        states = torch.empty(sequences.n_users, self.network.state_dim, device=device)
        lengths = np.minimum(sequences.lengths, self.network.shape.most_items)
        with torch.inference_mode():
            for users in batch_users(lengths, _POSITIONS):
                padded = sequences.select(users, self.network.shape.most_items).pad()
                vectors = torch.from_numpy(self.vectors[padded]).to(device)  # what fills up is not read
                after = self.network.read(self.read_items[torch.from_numpy(padded).to(device)], vectors)
                states[users] = after[torch.arange(len(users)), torch.from_numpy(lengths[users])]
        return states


def generate(
    generator: Generator,
    sequences: ItemSequences,
    k: int,
    *,
    beams: int = BEAMS,
    hide_seen: bool = True,
    excluded: csr_array | None = None,
    candidates: NDArray[np.bool_] | None = None,
    new_bonus: float = NEW_BONUS,
) -> FoundItems:
    """Writes the next items of sequences.

    Args:
        generator: the generator.
        sequences: the users' items; an empty one gets what sequences begin with.
        k: the number of items, at least 1; where fewer are allowed, all of these.
        beams: the number of prefixes to keep, at least k of them are; more find likelier items and take longer.
        hide_seen: whether the items of a user's sequence are left out, also those before the last that are read.
        excluded: (n_users, n_items), an entry for each other item that a user may not get; None: none.
        candidates: (n_items,) bool: the items that anyone may get; None: all.
        new_bonus: added to the log-probability of items in no training sequence, which are undervalued.

    Raises:
        RequestError: k or beams is less than 1, or a sequence has a row that is no item's.
    """
    n_items = generator.n_items
    if k < 1 or beams < 1:
        raise RequestError(f"k is {k} and beams is {beams}; expected numbers of 1 and more")
    if len(sequences.items) and not 0 <= sequences.items.min() <= sequences.items.max() < n_items:
        raise RequestError(
            f"rows from {sequences.items.min()} to {sequences.items.max()}; expected rows of the {n_items} items"
        )
    hidden = sequences.mark(n_items) if hide_seen else csr_array((sequences.n_users, n_items), dtype=np.float32)
    if excluded is not None:
        hidden = csr_array(hidden + abs(excluded))
    bonuses = None
    if generator.new_nodes is not None:
        bonuses = [np.where(only_new, new_bonus, 0.0) for only_new in generator.new_nodes]
    block = max(1, _BLOCK_BEAMS // max(beams, k))
    found = []
    for start in range(0, sequences.n_users, block):
        users = np.arange(start, min(start + block, sequences.n_users))
        states = generator.read(sequences.select(users))
        allowed = AllowedLeaves.of(generator.trie, hidden[users], candidates)
        score = _Scorer(generator.network, states)
        found.append(search_beams(generator.trie, score, allowed, len(users), k, beams, bonuses))
    if not found:
        return FoundItems(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
    return FoundItems(np.concatenate([one.rows for one in found]), np.concatenate([one.log_probs for one in found]))


@dataclass(frozen=True)
class _Scorer:
    """Scores the tokens that may follow prefixes of the users of a block; see `ScoreTokens`."""

    network: TokenNetwork
    states: Tensor

    def __call__(self, level: int, users: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float32]:
        device = self.states.device
        with torch.inference_mode():
            states = self.states[torch.from_numpy(users).to(device)]
            scores: NDArray[np.float32] = (
                self.network.score(level, states, torch.from_numpy(prefixes).to(device)).float().cpu().numpy()
            )
        return scores
