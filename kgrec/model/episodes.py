"""Episodes to train a head on: a user shows some likes, and the head predicts the others."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.config import HeadConfig
from kgrec.model.ials import pad_rows

_LEAST_LIKES = 4  # fewer leave nothing to show or nothing to predict
_NEVER = -1e9
_MOST_CANDIDATES = 6000  # items that a step ranks; of more, each step draws a sample
_MOST_EPISODES = 20_000  # users in an epoch; of more, each epoch draws a sample


class Logits(nn.Module):
    """Turns a head's scores into logits: the weight of popularity and the sharpness depend on the number of likes
    shown.

    Attributes:
        popularity: (n_items,) log1p of likes.
        popularity_weights: (2,) the weight of popularity is the first + the second / (1 + n_likes).
        log_sharpness: (2,) the log sharpness is the first + the second * log1p(n_likes).
    """

    def __init__(self, popularity: Tensor, popularity_weights: tuple[float, float] = (0.02, 0.0)) -> None:
        super().__init__()
        self.popularity = popularity
        self.popularity_weights = nn.Parameter(torch.tensor(popularity_weights, device=popularity.device))
        self.log_sharpness = nn.Parameter(torch.tensor([2.5, 0.0], device=popularity.device))

    def offset(self, n_likes: Tensor, candidates: Tensor) -> Tensor:
        """The popularity added to scores of candidates, (n_candidates,) rows: (n, n_candidates) for n_likes (n,)."""
        often = self.popularity_weights[0] + self.popularity_weights[1] / (1 + n_likes)
        return often[:, None] * self.popularity[candidates]

    def forward(self, scores: Tensor, n_likes: Tensor) -> Tensor:
        """Logits (n, n_candidates) from scores (n, n_candidates) that include the offset."""
        sharpness = (self.log_sharpness[0] + self.log_sharpness[1] * torch.log1p(n_likes)).exp()
        return scores * sharpness[:, None]


def train_on_episodes(
    model: nn.Module,
    likes: csr_array,
    trained: Tensor,
    config: HeadConfig,
    *,
    seed: int,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Trains a model on episodes: a user shows some likes, drawn at random, and the model predicts all the others.

    The loss is softmax cross-entropy over the trained items, averaged over the likes to predict. To bound the cost, a
    step ranks its users' items among others drawn at random if there are many items, and an epoch draws a sample of
    users if there are many users.

    Args:
        model: (index, mask, candidates) -> logits (n, n_candidates), for supports as padded columns (n, width) and
            their mask, and the rows of candidate items.
        likes: (n_users, n_items) training likes.
        trained: (n_items,) bool, on the model's device: items that may have to be predicted.
        config: epochs and support sizes.
        seed: the seed of the episodes.
        on_epoch: called with (epoch from 1, mean loss).
    """
    device = trained.device
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    rng = np.random.default_rng(seed)
    enough = np.flatnonzero(np.diff(likes.indptr) >= _LEAST_LIKES)
    rankable = np.flatnonzero(trained.cpu().numpy())
    for epoch in range(config.epochs if enough.size else 0):
        total, rows = 0.0, rng.permutation(enough)[:_MOST_EPISODES]
        for start in range(0, len(rows), config.batch_size):
            shown, asked = draw_episodes(likes, rows[start : start + config.batch_size], config, rng)
            candidates = _draw_candidates(rankable, shown, asked, rng)
            index, mask = (part.to(device) for part in pad_rows(shown, np.arange(shown.shape[0])))
            logits = model(index, mask, torch.from_numpy(candidates).to(device))
            seen_rows, seen_places = _places(shown, candidates)
            never = torch.tensor(_NEVER, device=device)
            logits = logits.index_put((seen_rows.to(device), seen_places.to(device)), never)
            asked_rows, asked_places = _places(asked, candidates)
            share = torch.from_numpy((1 / np.diff(asked.indptr)).astype(np.float32))
            picked = torch.log_softmax(logits, dim=1)[asked_rows.to(device), asked_places.to(device)]
            loss = -(picked * share[asked_rows].to(device)).sum() / len(share)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * len(share)
        if on_epoch is not None:
            on_epoch(epoch + 1, total / len(rows))


def _draw_candidates(
    rankable: NDArray[np.int64], shown: csr_array, asked: csr_array, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The items that a step ranks, ascending: all, or its users' items and others drawn at random."""
    if len(rankable) <= _MOST_CANDIDATES:
        return rankable
    own = np.union1d(shown.indices, asked.indices).astype(np.int64)
    drawn = rng.choice(rankable, max(_MOST_CANDIDATES - len(own), _MOST_CANDIDATES // 2), replace=False)
    return np.union1d(own, drawn)


def _places(pairs: csr_array, candidates: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Rows and places among the candidates of the entries of a matrix, (n,) int64 each."""
    rows, items = pairs.nonzero()
    return torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(np.searchsorted(candidates, items))


def draw_episodes(
    likes: csr_array, rows: NDArray[np.int64], config: HeadConfig, rng: np.random.Generator
) -> tuple[csr_array, csr_array]:
    """Splits each row's likes at random into those shown and those to predict: two (n, n_items) matrices."""
    chosen = likes[rows]
    sizes = np.diff(chosen.indptr)
    n_shown = np.minimum(rng.choice(config.support_sizes, len(rows)), sizes - 2)
    owners = np.repeat(np.arange(len(rows)), sizes)
    order = np.lexsort((rng.random(len(owners)), owners))
    place = np.empty(len(owners), np.int64)
    place[order] = np.arange(len(owners)) - chosen.indptr[:-1][owners[order]]
    shown = place < n_shown[owners]
    parts = []
    for part in (shown, ~shown):
        values = np.ones(int(part.sum()), np.float32)
        parts.append(csr_array((values, (owners[part], chosen.indices[part])), shape=chosen.shape))
    return parts[0], parts[1]
