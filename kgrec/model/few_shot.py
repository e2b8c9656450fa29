"""Few-shot head: a user vector from a handful of likes, in closed form, trained on episodes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.config import HeadConfig
from kgrec.model.component import INT8, DefaultWeights, ItemChange, Scale, Shares, Support, round_int8, solve_each
from kgrec.model.episodes import Logits, train_on_episodes
from kgrec.model.ials import share_fold_in, solve_supports
from kgrec.model.inputs import FitInputs


@dataclass(frozen=True)
class FewShot:
    """Scores by w.z, w = argmin sum_{i in S} c_i (1 - w.z_i)^2 + alpha sum_all (w.z_i)^2 + ridge |w - centre|^2.

    The ridge is ridge_base + ridge_slope |S|. The solution is linear in the support, so each like's share is exact.

    Attributes:
        items: (n_items, dim) float32; an item without likes has its prior's vector.
        gram: (dim, dim) float32, the sum of z z' over the items with likes.
        centre: (dim,) float32, the vector of a user without likes.
        alpha: weight of all items.
        ridge_base, ridge_slope: see above.
        to_head: (dim, dim) float32: a vector of the backbone's space times this is one of `items`' space.
        warm_scale: of the items with likes.
        cold_scale: of the same items, placed by the prior.
    """

    name: ClassVar[str] = "few_shot"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(cold=0.3, none_cold=1.0, sentence_cold=0.1, less_popular=1.5)
    neighbours = None
    reference = None
    items: Tensor = field(metadata=INT8)
    gram: Tensor
    centre: Tensor
    alpha: float
    ridge_base: float
    ridge_slope: float
    to_head: Tensor
    warm_scale: Scale
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "FewShot":
        """Trains the head on episodes over the backbone's vectors, starting from an earlier head if there is one."""
        start = inputs.start.get(cls.name)
        assert start is None or isinstance(start, FewShot)
        vectors, n_likes = inputs.vectors, torch.from_numpy(inputs.n_likes)
        config = inputs.config.head
        if start is not None:
            config = config.model_copy(update={"epochs": config.more_epochs})
        trained = train_head(
            inputs.likes, vectors.items, vectors.users, torch.log1p(n_likes.float()), config,
            seed=inputs.config.seed, device=inputs.device, start=start, on_epoch=inputs.on_epoch,
        )  # fmt: skip
        liked = n_likes > 0
        items = torch.where(liked[:, None], vectors.items, vectors.placed) @ trained.to_head
        cold_scale = Scale.of(vectors.placed[liked] @ trained.to_head)
        return replace(trained, items=items, warm_scale=Scale.of(items[liked]), cold_scale=cold_scale)

    def users(self, support: Support) -> Tensor:
        """Solves for the users' vectors; a sentence counts as a like of an item with the sentence's vector."""
        if support.placed is not None:
            return solve_each(self, support)
        ridge = (self.ridge_base + self.ridge_slope * support.n_likes).astype(np.float32)
        return solve_supports(support.likes, self.items, ridge, self.alpha, self.centre, self.gram)

    def shares(self, support: Support) -> Shares:
        """Splits a user's vector by likes and sentence; the rest comes from the centre."""
        shown = self.items[torch.from_numpy(support.likes.indices.astype(np.int64))]  # (n_likes, dim)
        weights = torch.from_numpy(support.likes.data)
        if support.placed is not None:
            shown = torch.cat([shown, support.placed @ self.to_head])
            weights = torch.cat([weights, torch.ones(1)])
        own, rest = share_fold_in(
            shown, weights, self.gram, alpha=self.alpha, ridge=self.ridge_base + self.ridge_slope * len(shown),
            centre=self.centre,
        )  # fmt: skip
        n_likes = support.likes.nnz
        return Shares(own[:n_likes], own[n_likes:].sum(dim=0), rest)

    def with_items(self, change: ItemChange) -> "FewShot":
        """Gives new items the prior's vectors."""
        placed = torch.from_numpy(change.placed) @ self.to_head
        return replace(self, items=change.carry(self.items, placed, round_int8))

    def with_vectors(self, rows: Tensor, vectors: Tensor) -> "FewShot":
        """The head with some items, (n,) rows, at other vectors of the backbone's space, (n, dim)."""
        return replace(self, items=self.items.index_copy(0, rows, round_int8(round_int8(vectors) @ self.to_head)))


class _Episodes(nn.Module):
    """The head's trained parts: a map of the item vectors, the centre, and a few scalars."""

    def __init__(self, vectors: Tensor, centre: Tensor, popularity: Tensor, start: FewShot | None) -> None:
        super().__init__()
        device = vectors.device
        self.vectors, self.gram, self.logits = vectors, vectors.T @ vectors, Logits(popularity)
        scalars, mapping = [5.0, 0.05, 0.3], torch.eye(vectors.shape[1])
        if start is not None:
            scalars = [start.ridge_base, start.ridge_slope, start.alpha]
            mapping, centre = start.to_head, start.centre.to(device)
        self.map = nn.Parameter(mapping.to(device, copy=True))
        self.centre = nn.Parameter(centre.clone())
        # Logarithms of: the ridge without likes, the ridge per like, alpha.
        self.log_scalars = nn.Parameter(torch.tensor(scalars, device=device).log())

    def forward(self, index: Tensor, mask: Tensor, candidates: Tensor) -> Tensor:
        """Logits (n, n_candidates) for supports given as padded columns (n, width) and their mask."""
        # Not vectors[index]: threads add up its gradient in any order.
        shown = nn.functional.embedding(index, self.vectors) @ self.map * mask[..., None]  # (n, width, dim)
        n_likes = mask.sum(dim=1)
        base, slope, alpha = self.log_scalars.exp()
        ridge = (base + slope * n_likes)[:, None]  # (n, 1)
        gram = self.map.T @ self.gram @ self.map
        identity = torch.eye(gram.shape[0], device=gram.device)
        left = shown.transpose(1, 2) @ shown + alpha * gram + ridge[..., None] * identity
        users = torch.linalg.solve(left, shown.sum(dim=1) + ridge * self.centre)  # (n, dim)
        among = nn.functional.embedding(candidates, self.vectors) @ self.map
        logits: Tensor = self.logits(users @ among.T + self.logits.offset(n_likes, candidates), n_likes)
        return logits


def train_head(
    likes: csr_array,
    vectors: Tensor,
    users: Tensor,
    popularity: Tensor,
    config: HeadConfig,
    *,
    seed: int,
    device: str = "cpu",
    start: FewShot | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> FewShot:
    """Trains the head on episodes; see `train_on_episodes`.

    Popularity is part of the logits in training, so that the vectors need not learn it, but not of the scores.

    Args:
        likes: (n_users, n_items) training likes.
        vectors: (n_items, dim) backbone vectors; rows of items without likes are ignored.
        users: (n_users, dim) backbone vectors; their mean is where the centre starts.
        popularity: (n_items,) log1p of likes.
        config: epochs and support sizes.
        seed: of the episodes.
        device: where to compute.
        start: a head of similar vectors to start from.
        on_epoch: called with (epoch from 1, mean loss).
    """
    trained = popularity.to(device) > 0
    kept = torch.where(trained[:, None], vectors.to(device), 0.0)
    centre = users[torch.from_numpy(np.diff(likes.indptr) > 0).to(users.device)].mean(dim=0).to(device)
    episodes = _Episodes(kept, centre, popularity.to(device), start)
    train_on_episodes(episodes, likes, trained, config, seed=seed, on_epoch=on_epoch)
    with torch.no_grad():
        items = (kept @ episodes.map).cpu()
        base, slope, alpha = (float(value) for value in episodes.log_scalars.exp())
        mapping, centre = (part.detach().cpu().clone() for part in (episodes.map, episodes.centre))
        scale = Scale.of(items)
        return FewShot(items, items.T @ items, centre, alpha, base, slope, mapping, scale, scale)
