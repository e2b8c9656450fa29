"""The adaptation head: a user vector from a handful of likes, in closed form, trained on episodes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.config import HeadConfig
from kgrec.model.episodes import Logits, train_on_episodes
from kgrec.model.ials import solve_supports


@dataclass(frozen=True)
class Head:
    """Scores by w.z + popularity, w the ridge solution for a user's support set.

    w = argmin sum_{i in S} (1 - w.z_i)^2 + alpha sum_all (w.z_i)^2 + ridge |w - centre|^2,
    ridge = ridge_base + ridge_slope |S|. The solution is linear in the support, so each like's share is exact.

    Attributes:
        vectors: (n_items, dim) float32; an item without likes has its prior's vector.
        gram: (dim, dim) float32, the sum of z z' over the items with likes.
        centre: (dim,) float32, the vector of a user without likes.
        alpha: weight of all items.
        ridge_base, ridge_slope: see above.
        popularity_base, popularity_slope: log1p(likes) counts popularity_base + popularity_slope / (1 + |S|) times.
        to_head: (dim, dim) float32: a vector of the backbone's space times this is one of `vectors`' space.
    """

    vectors: Tensor
    gram: Tensor
    centre: Tensor
    alpha: float
    ridge_base: float
    ridge_slope: float
    popularity_base: float
    popularity_slope: float
    to_head: Tensor

    def ridge(self, n_likes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n,) float32: the ridge for supports of n_likes, (n,)."""
        return (self.ridge_base + self.ridge_slope * n_likes).astype(np.float32)

    def popularity_weight(self, n_likes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n,) float32: how many times log1p(likes) counts for supports of n_likes, (n,)."""
        return (self.popularity_base + self.popularity_slope / (1 + n_likes)).astype(np.float32)

    def solve(self, support: csr_array) -> Tensor:
        """The user vectors of supports (n, n_items): (n, dim)."""
        ridge = self.ridge(np.diff(support.indptr))
        return solve_supports(support, self.vectors, ridge, self.alpha, self.centre, self.gram)

    def shares(self, likes: Tensor) -> tuple[Tensor, Tensor]:
        """Takes a user vector apart.

        Args:
            likes: (n, dim) vectors of one user's support.

        Returns:
            (n, dim): what each like adds to the user vector, and (dim,): what is there without any.
        """
        ridge = self.ridge_base + self.ridge_slope * len(likes)
        left = likes.T @ likes + self.alpha * self.gram + ridge * torch.eye(likes.shape[1])
        factor = torch.linalg.cholesky(left)
        solved = torch.cholesky_solve(torch.cat([likes, ridge * self.centre[None]]).T, factor).T
        return solved[:-1], solved[-1]


class _Episodes(nn.Module):
    """The head's trained parts: a map of the item vectors, the centre, and a few scalars."""

    def __init__(self, vectors: Tensor, centre: Tensor, popularity: Tensor, start: Head | None) -> None:
        super().__init__()
        device = vectors.device
        self.vectors, self.logits = vectors, Logits(popularity)
        scalars, mapping = [5.0, 0.05, 0.3], torch.eye(vectors.shape[1])
        if start is not None:
            scalars = [start.ridge_base, start.ridge_slope, start.alpha]
            self.logits = Logits(popularity, (start.popularity_base, start.popularity_slope))
            mapping, centre = start.to_head, start.centre.to(device)
        self.map = nn.Parameter(mapping.to(device, copy=True))
        self.centre = nn.Parameter(centre.clone())
        # Log scale: ridge for no like, for each like, alpha.
        self.log_scalars = nn.Parameter(torch.tensor(scalars, device=device).log())

    def forward(self, index: Tensor, mask: Tensor) -> Tensor:
        """Logits (n, n_items) for supports given as padded columns (n, width) and their mask."""
        items = self.vectors @ self.map  # (n_items, dim)
        # not items[index], whose gradient several threads add up in any order
        shown = nn.functional.embedding(index, items) * mask[..., None]  # (n, width, dim)
        n_likes = mask.sum(dim=1)
        base, slope, alpha = self.log_scalars.exp()
        ridge = (base + slope * n_likes)[:, None]  # (n, 1)
        identity = torch.eye(items.shape[1], device=items.device)
        left = shown.transpose(1, 2) @ shown + alpha * (items.T @ items) + ridge[..., None] * identity
        users = torch.linalg.solve(left, shown.sum(dim=1) + ridge * self.centre)  # (n, dim)
        logits: Tensor = self.logits(users @ items.T + self.logits.offset(n_likes), n_likes)
        return logits


def fit_head(
    likes: csr_array,
    vectors: Tensor,
    users: Tensor,
    popularity: Tensor,
    config: HeadConfig,
    *,
    seed: int,
    device: str = "cpu",
    start: Head | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Head:
    """Trains the head on episodes; see `train_on_episodes`.

    Args:
        likes: (n_users, n_items) training likes.
        vectors: (n_items, dim) backbone vectors; rows of items without likes are ignored.
        users: (n_users, dim) backbone vectors; their mean is where the centre starts.
        popularity: (n_items,) log1p of likes.
        config: epochs and support sizes.
        seed: of the episodes.
        device: where to compute.
        start: a head of like vectors to go on from.
        on_epoch: told (epoch from 1, mean loss).
    """
    trained = popularity.to(device) > 0
    kept = torch.where(trained[:, None], vectors.to(device), 0.0)
    centre = users[torch.from_numpy(np.diff(likes.indptr) > 0).to(users.device)].mean(dim=0).to(device)
    episodes = _Episodes(kept, centre, popularity.to(device), start)
    train_on_episodes(episodes, likes, trained, config, seed=seed, on_epoch=on_epoch)
    with torch.no_grad():
        items = (kept @ episodes.map).cpu()
        base, slope, alpha = (float(value) for value in episodes.log_scalars.exp())
        often, often_slope = (float(value) for value in episodes.logits.popularity_weights)
        mapping = episodes.map.detach().cpu().clone()
        centre = episodes.centre.detach().cpu().clone()
        return Head(items, items.T @ items, centre, alpha, base, slope, often, often_slope, mapping)
