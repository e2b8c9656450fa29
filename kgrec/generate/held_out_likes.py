"""The likes of a bundle in order, and the last like of some users, held out to validate a generator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle
from kgrec.config import GeneratorConfig, TransitionConfig
from kgrec.errors import RequestError
from kgrec.generate.item_sequences import ItemSequences
from kgrec.metrics import ndcg, recall, top_k
from kgrec.model.component import Scale, Support
from kgrec.model.transitions import Transitions, count_transitions
from kgrec.sequences import Sequences, find_order

LIST_LENGTH = 10
_BLOCK = 256  # users scored at once


def read_sequences(bundle: Bundle, seed: int = 0) -> Sequences:
    """The likes of a bundle in order; those of the same time in random order.

    Raises:
        RequestError: likes have no times.
    """
    if bundle.liked_at is None:
        raise RequestError(
            f"the likes of the catalogue {bundle.schema.name!r} have no times, so nobody knows what was liked after "
            f"what, which is all that there is to learn here; expected a schema whose interaction names its time "
            f"(`at`), or a DataFrame with a column of times: add it and train again"
        )
    times = bundle.liked_at
    users = np.repeat(np.arange(times.shape[0]), np.diff(times.indptr))
    rng = np.random.default_rng([seed, 3])
    return Sequences.of(users, times.indices.astype(np.int64), times.data, times.shape[0], rng)


@dataclass(frozen=True)
class HeldOut:
    """Likes to learn from, and the last like of some users, which comes after theirs.

    Attributes:
        train: the likes to learn from.
        next_items: (n_users,) int64 item rows, -1 for users who are not asked.
    """

    train: Sequences
    next_items: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequences, config: GeneratorConfig) -> "HeldOut":
        """Holds out the last like of as many users as validation asks; of users with one like, none."""
        lengths = np.diff(sequences.starts)
        users = np.random.default_rng([config.seed, 4]).permutation(np.flatnonzero(lengths > 1))
        users = users[: config.validation_users]
        last = sequences.starts[users + 1] - 1
        next_items = np.full(len(lengths), -1, np.int64)
        next_items[users] = sequences.items[last]
        kept = np.ones(len(sequences.items), np.bool_)
        kept[last] = False
        starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)[sequences.starts]
        return cls(Sequences(sequences.items[kept], starts, sequences.times[kept]), next_items)

    @property
    def users(self) -> NDArray[np.int64]:
        """(n,) int64: the users who are asked."""
        return np.flatnonzero(self.next_items >= 0)

    @property
    def asked(self) -> ItemSequences:
        """The sequences of the users who are asked."""
        return ItemSequences(self.train.items, self.train.starts).select(self.users)

    def measure(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Recall@10 and NDCG@10 of lists, (n, 10) item rows, for the users who are asked."""
        hits = rows == self.next_items[self.users][:, None]
        ones = np.ones(len(hits), np.int64)
        return tuple(float(metric(hits, ones)[:, -1].mean()) for metric in (recall, ndcg))  # type: ignore[return-value]

    def measure_baselines(self, n_items: int, config: TransitionConfig) -> Mapping[str, tuple[float, float]]:
        """The same of the most liked items, and of what others like after the last likes."""
        counts = np.bincount(self.train.items, minlength=n_items).astype(np.float32)
        factors = torch.zeros((n_items, 0))
        transitions = Transitions(
            count_transitions(self.train, n_items, config), factors, Scale.of(factors), config.recency, config.recent,
            config.half_life_days,
        )  # fmt: skip
        popular, following = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        for support in self._list_supports(n_items):
            seen = support.likes.toarray() > 0
            popular.append(top_k(np.where(seen, -np.inf, counts), LIST_LENGTH))
            scores = (transitions.weigh(support) @ transitions.neighbours).toarray()
            # What nothing leads to comes by popularity, behind the rest.
            scores = np.where(scores > 0, scores, (counts - counts.max(initial=0) - 1) * 1e-6)
            following.append(top_k(np.where(seen, -np.inf, scores), LIST_LENGTH))
        return {
            name: self.measure(np.concatenate(found))
            for name, found in (("popularity", popular), ("transitions", following))
        }

    def _list_supports(self, n_items: int) -> Iterator[Support]:
        """What blocks of the users who are asked like."""
        train, users = self.train, self.users
        ones = np.ones(len(train.items), np.float32)
        likes = csr_array((ones, train.items, train.starts), shape=(len(train.starts) - 1, n_items))
        times = csr_array((train.times, train.items, train.starts), shape=likes.shape)
        for start in range(0, len(users), _BLOCK):
            block = users[start : start + _BLOCK]
            yield Support(likes[block], order=find_order(likes[block], times[block].data))
