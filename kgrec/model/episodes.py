"""Episodes: users who show some of their likes and are asked for the others, which a head is trained on."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.config import HeadConfig
from kgrec.model.ials import pad_rows

_LEAST_LIKES = 4  # fewer leave an episode nothing to show or nothing to ask for
_NEVER = -1e9


class Logits(nn.Module):
    """Makes a head's scores logits: what popularity adds, and how sharp they are, by the number of likes shown.

    Attributes:
        popularity: (n_items,) log1p of likes.
        popularity_weights: (2,) popularity counts the first + the second / (1 + n_likes) times.
        log_sharpness: (2,) the first + the second * log1p(n_likes).
    """

    def __init__(self, popularity: Tensor, popularity_weights: tuple[float, float] = (0.02, 0.0)) -> None:
        super().__init__()
        self.popularity = popularity
        self.popularity_weights = nn.Parameter(torch.tensor(popularity_weights, device=popularity.device))
        self.log_sharpness = nn.Parameter(torch.tensor([2.5, 0.0], device=popularity.device))

    def offset(self, n_likes: Tensor) -> Tensor:
        """What popularity adds to scores: (n, n_items) for n_likes (n,)."""
        often = self.popularity_weights[0] + self.popularity_weights[1] / (1 + n_likes)
        return often[:, None] * self.popularity

    def forward(self, scores: Tensor, n_likes: Tensor) -> Tensor:
        """Logits (n, n_items) from scores (n, n_items), which hold the offset."""
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
    """Trains a model on episodes: a user shows some likes, drawn at random, and is asked for all the others.

    The loss is softmax cross-entropy over all trained items, averaged over the likes asked for.

    Args:
        model: (index, mask) -> logits (n, n_items), for supports as padded columns (n, width) and their mask.
        likes: (n_users, n_items) training likes.
        trained: (n_items,) bool, on the model's device: items that may be asked for.
        config: epochs and support sizes.
        seed: of the episodes.
        on_epoch: told (epoch from 1, mean loss).
    """
    device = trained.device
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    rng = np.random.default_rng(seed)
    enough = np.flatnonzero(np.diff(likes.indptr) >= _LEAST_LIKES)
    for epoch in range(config.epochs if enough.size else 0):
        total, rows = 0.0, rng.permutation(enough)
        for start in range(0, len(rows), config.batch_size):
            shown, asked = draw_episodes(likes, rows[start : start + config.batch_size], config, rng)
            index, mask = (part.to(device) for part in pad_rows(shown, np.arange(shown.shape[0])))
            logits = model(index, mask).masked_fill(~trained, _NEVER)
            seen_rows, seen_items = (torch.from_numpy(part.astype(np.int64)).to(device) for part in shown.nonzero())
            logits = logits.index_put((seen_rows, seen_items), torch.tensor(_NEVER, device=device))
            share = 1 / np.diff(asked.indptr)
            asked_rows, asked_items = asked.nonzero()
            picked = torch.log_softmax(logits, dim=1)[
                torch.from_numpy(asked_rows.astype(np.int64)).to(device),
                torch.from_numpy(asked_items.astype(np.int64)).to(device),
            ]
            loss = -(picked * torch.from_numpy(share[asked_rows].astype(np.float32)).to(device)).sum() / len(share)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * len(share)
        if on_epoch is not None:
            on_epoch(epoch + 1, total / len(rows))


def draw_episodes(
    likes: csr_array, rows: NDArray[np.int64], config: HeadConfig, rng: np.random.Generator
) -> tuple[csr_array, csr_array]:
    """Splits each row's likes at random into those shown and those asked for: two (n, n_items) matrices."""
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
