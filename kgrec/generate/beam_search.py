"""Beam search along the trie of semantic ids: every answer is an allowed item, none twice, as many as asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.generate.id_trie import AllowedLeaves, IdTrie

# Called with a level, (n,) int64 users and (n, level) int64 tokens so far; gives (n, size) float32 logits.
ScoreTokens = Callable[[int, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class FoundItems:
    """The items found for a block of users.

    Attributes:
        rows: (n_users, k) int64 item rows, the likeliest first; -1 where fewer than k are allowed.
        log_probs: (n_users, k) float32, of the items among the whole catalogue, with the bonus of those that have one;
            -inf where there is none.
    """

    rows: NDArray[np.int64]
    log_probs: NDArray[np.float32]


def search_beams(
    trie: IdTrie,
    score: ScoreTokens,
    allowed: AllowedLeaves,
    n_users: int,
    k: int,
    beams: int,
    bonuses: Sequence[NDArray[np.float64]] | None = None,
) -> FoundItems:
    """Finds the likeliest items of each user.

    A prefix is kept only if an allowed item is below it, so max(beams, k) kept prefixes hold k allowed items if there
    are any. A token's probability is its softmax among the legal next tokens of the whole catalogue, so that what a
    user has seen does not change the order of the rest. Equal probabilities are ordered by the items' codes.

    Args:
        trie: the ids of the catalogue.
        score: the logits of tokens.
        allowed: the items that each user may get.
        n_users: the number of users.
        k: the number of items of each.
        beams: the number of prefixes to keep at each level.
        bonuses: for each depth from 0, (n_nodes,) float64: added to the log-probability of a node when it is compared
            with others; None: nothing is.
    """
    beams = max(beams, k)
    users = np.arange(n_users)
    nodes = np.zeros(n_users, np.int64)
    log_probs = np.zeros(n_users)
    prefixes = np.zeros((n_users, 0), np.int64)
    if not len(trie.items):
        users, nodes, log_probs = users[:0], nodes[:0], log_probs[:0]
    for depth in range(trie.n_levels if len(trie.items) else 0):
        parents, children, tokens = trie.list_children(depth, nodes)
        branching = np.flatnonzero(trie.count_children(depth, nodes) > 1)  # an only child has probability 1
        logits = np.zeros(len(parents))
        if len(branching):
            place = np.full(len(nodes), -1)
            place[branching] = np.arange(len(branching))
            scored = score(depth, users[branching], prefixes[branching])
            of_branching = place[parents] >= 0
            logits[of_branching] = scored[place[parents[of_branching]], tokens[of_branching]]
        total = log_probs[parents] + _log_softmax(logits, parents)
        leaves = trie.leaves[depth + 1]
        ranked = total if bonuses is None else total + bonuses[depth + 1][children]
        open_ = np.flatnonzero(allowed.count(users[parents], leaves[children], leaves[children + 1]) > 0)
        order = open_[np.lexsort((children[open_], -ranked[open_], users[parents[open_]]))]
        kept = order[_number(users[parents[order]]) < beams]
        prefixes = np.column_stack([prefixes[parents[kept]], tokens[kept]])
        users, nodes, log_probs = users[parents[kept]], children[kept], total[kept]
    if bonuses is not None:
        log_probs = log_probs + bonuses[-1][nodes]
    return _to_lists(trie.items[nodes], log_probs, users, n_users, k)


def _log_softmax(logits: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) log-probabilities within adjacent groups, (n,), numbered from 0 without gaps."""
    if not len(logits):
        return logits
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    shifted = logits - np.maximum.reduceat(logits, firsts)[groups]
    return shifted - np.log(np.add.reduceat(np.exp(shifted), firsts))[groups]


def _number(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) int64: 0, 1, 2 ... within adjacent equal owners, (n,)."""
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.arange(len(owners)) - np.repeat(firsts, np.diff(firsts, append=len(owners)))


def _to_lists(
    rows: NDArray[np.int64], log_probs: NDArray[np.float64], users: NDArray[np.int64], n_users: int, k: int
) -> FoundItems:
    """Puts items, (n,) each, sorted by user and rank, into rows of k."""
    place = _number(users)
    kept = place < k
    found = np.full((n_users, k), -1, np.int64)
    scores = np.full((n_users, k), -np.inf, np.float32)
    found[users[kept], place[kept]] = rows[kept]
    scores[users[kept], place[kept]] = log_probs[kept]
    return FoundItems(found, scores)
