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
