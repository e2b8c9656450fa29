"""A user vector by a few gradient steps from a meta-learned start: the variant that the closed-form head replaces.

Model-agnostic meta-learning (Finn et al. 2017), as MeLU (Lee et al. 2019) does for new users: the start, a learning
rate for each step and direction (Li et al., Meta-SGD, 2017) and the item vectors are trained on episodes through the
steps. The gradients of both losses are written out, so training differentiates through them exactly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.config import HeadConfig
from kgrec.model.episodes import Logits, train_on_episodes
from kgrec.model.ials import pad_rows

InnerLoss = Literal["squared", "softmax"]

_FIRST_ALPHA, _FIRST_RIDGE, _FIRST_SHARPNESS = 0.3, 5.0, 10.0
_FIRST_PATIENCE = 20.0
_BLOCK = 512


@dataclass(frozen=True)
class GradientHead:
    """Scores by w.z + popularity, w the end of gradient steps on a user's support from a meta-learned start.

    w <- w - rates[t] * gradient / (1 + |S| / patience), of the squared loss
    1/2 sum_{i in S} (1 - w.z_i)^2 + alpha/2 sum_all (w.z_i)^2, or of the softmax loss
    - sum_{i in S} log softmax_all(sharpness (w.z + popularity))_i.

    Attributes:
        vectors: (n_items, dim) float32; trained: (n_items,) bool, those that the losses are over.
        centre: (dim,) float32, the start.
        rates: (n_steps, dim) float32.
        patience: a support of so many likes moves half as far as its likes one by one.
        alpha: weight of all items in the squared loss.
        sharpness: of the softmax.
        popularity: (n_items,) float32, log1p of likes.
        popularity_base, popularity_slope: log1p(likes) counts popularity_base + popularity_slope / (1 + |S|) times.
        to_head: (dim, dim) float32: a vector of the backbone's space times this is one of `vectors`' space.
        inner_loss: which loss.
    """

    vectors: Tensor
    trained: Tensor
    centre: Tensor
    rates: Tensor
    patience: float
    alpha: float
    sharpness: float
    popularity: Tensor
    popularity_base: float
    popularity_slope: float
    to_head: Tensor
    inner_loss: InnerLoss
    name: str = "MAML"

    @torch.inference_mode()
    def solve(self, support: csr_array) -> Tensor:
        """The user vectors of supports (n, n_items): (n, dim) float32."""
        solved = torch.empty((support.shape[0], len(self.centre)))
        gram = self.vectors[self.trained].T @ self.vectors[self.trained]
        for rows, index, mask in _blocks(support):
            shown = self.vectors[index] * mask[..., None]
            often = self._popularity_weight(mask.sum(dim=1))
            solved[rows] = adapt(
                self.centre, shown, mask, self.rates, torch.tensor(self.patience), self.inner_loss,
                alpha=torch.tensor(self.alpha), gram=gram, items=self.vectors, trained=self.trained,
                offset=often[:, None] * self.popularity, sharpness=torch.tensor(self.sharpness),
            )  # fmt: skip
        return solved

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """Scores all items, (n, n_items) float32, for supports (n, n_items)."""
        often = self._popularity_weight(torch.from_numpy(np.diff(support.indptr).astype(np.float32)))
        scores: NDArray[np.float32] = (self.solve(support) @ self.vectors.T + often[:, None] * self.popularity).numpy()
        return scores

    def _popularity_weight(self, n_likes: Tensor) -> Tensor:
        return self.popularity_base + self.popularity_slope / (1 + n_likes)


def adapt(
    start: Tensor,
    shown: Tensor,
    mask: Tensor,
    rates: Tensor,
    patience: Tensor,
    inner_loss: InnerLoss,
    *,
    alpha: Tensor,
    gram: Tensor,
    items: Tensor,
    trained: Tensor,
    offset: Tensor,
    sharpness: Tensor,
) -> Tensor:
    """Takes gradient steps on each user's support; see `GradientHead`.

    Args:
        start: (dim,).
        shown: (n, width, dim) the support's item vectors, 0 where padded.
        mask: (n, width), 0 where padded.
        rates: (n_steps, dim).
        patience: scalar.
        inner_loss: "squared" or "softmax".
        alpha: scalar, read by the squared loss, as is gram.
        gram: (dim, dim), the sum of z z' over trained items.
        items: (n_items, dim), read by the softmax, as is all that follows.
        trained: (n_items,) bool.
        offset: (n, n_items), what popularity adds to a user's scores.
        sharpness: scalar.

    Returns:
        (n, dim); a user who shows nothing stays at the start.
    """
    n_likes = mask.sum(dim=1)[:, None]  # (n, 1)
    users = start.expand(len(shown), -1)
    pull = shown.sum(dim=1)  # (n, dim)
    for rate in rates:
        if inner_loss == "squared":
            own = torch.einsum("nwd,nd->nw", shown, users)
            gradient = torch.einsum("nwd,nw->nd", shown, own) - pull + alpha * (users @ gram)
        else:
            logits = sharpness * (users @ items.T + offset)
            chances = logits.masked_fill(~trained, -torch.inf).softmax(dim=1)  # (n, n_items)
            gradient = sharpness * (n_likes * (chances @ items) - pull)
        users = users - torch.where(n_likes > 0, rate * gradient / (1 + n_likes / patience), 0.0)
    return users


class _Meta(nn.Module):
    """What is meta-learned: the start, the rates, a map of the item vectors, and a few scalars."""

    def __init__(
        self, vectors: Tensor, centre: Tensor, popularity: Tensor, inner_loss: InnerLoss, n_steps: int
    ) -> None:
        super().__init__()
        self.vectors, self.logits, self.inner_loss = vectors, Logits(popularity), inner_loss
        self.trained = popularity > 0
        # Along the axes of the Gram matrix, one rate for each direction is about what the closed form does: the first
        # step from 0 is (alpha Gram + ridge)^-1 times the sum of the likes.
        _, axes = torch.linalg.eigh(vectors.T @ vectors)
        self.map = nn.Parameter(axes)
        self.centre = nn.Parameter(centre @ axes)
        self.log_rates = nn.Parameter(torch.zeros((n_steps, len(axes)), device=vectors.device))
        device = vectors.device
        self.log_scalars = nn.Parameter(
            torch.tensor([_FIRST_PATIENCE, _FIRST_ALPHA, _FIRST_SHARPNESS, _FIRST_RIDGE], device=device).log()
        )

    def rates(self, gram: Tensor) -> Tensor:
        """(n_steps, dim): the learned rates, relative to the curvature along each direction, so that no step overshoots
        as the item vectors change.
        """
        _, alpha, sharpness, ridge = self.log_scalars.exp()
        curvature = alpha * gram.diagonal() + ridge
        rates: Tensor = self.log_rates.exp() / (curvature if self.inner_loss == "squared" else sharpness * curvature)
        return rates

    def forward(self, index: Tensor, mask: Tensor) -> Tensor:
        """Logits (n, n_items) for supports given as padded columns (n, width) and their mask."""
        items = self.vectors @ self.map  # (n_items, dim)
        shown = nn.functional.embedding(index, items) * mask[..., None]  # (n, width, dim)
        n_likes = mask.sum(dim=1)
        patience, alpha, sharpness, _ = self.log_scalars.exp()
        gram = items.T @ items
        offset = self.logits.offset(n_likes)
        users = adapt(
            self.centre, shown, mask, self.rates(gram), patience, self.inner_loss, alpha=alpha,
            gram=gram, items=items, trained=self.trained, offset=offset, sharpness=sharpness,
        )  # fmt: skip
        logits: Tensor = self.logits(users @ items.T + offset, n_likes)
        return logits


def fit_gradient_head(
    likes: csr_array,
    vectors: Tensor,
    users: Tensor,
    popularity: Tensor,
    config: HeadConfig,
    *,
    seed: int,
    n_steps: int = 3,
    inner_loss: InnerLoss = "squared",
    device: str = "cpu",
    on_epoch: Callable[[int, float], None] | None = None,
) -> GradientHead:
    """Trains the start and the rates on the episodes that `fit_head` is trained on.

    Args:
        likes: (n_users, n_items) training likes.
        vectors: (n_items, dim) backbone vectors; rows of items without likes are not learned from.
        users: (n_users, dim) backbone vectors; their mean is where the start begins.
        popularity: (n_items,) log1p of likes.
        config: epochs and support sizes.
        seed: of the episodes.
        n_steps: gradient steps for a user.
        inner_loss: what these steps descend on.
        device: where to compute.
        on_epoch: told (epoch from 1, mean loss).
    """
    trained = popularity.to(device) > 0
    kept = torch.where(trained[:, None], vectors.to(device), 0.0)
    known = torch.from_numpy(np.diff(likes.indptr) > 0).to(users.device)
    meta = _Meta(kept, users[known].mean(dim=0).to(device), popularity.to(device), inner_loss, n_steps)
    train_on_episodes(meta, likes, trained, config, seed=seed, on_epoch=on_epoch)
    with torch.no_grad():
        mapping, items = meta.map.cpu().clone(), kept @ meta.map
        rates = meta.rates(items.T @ items)
        patience, alpha, sharpness, _ = (float(value) for value in meta.log_scalars.exp())
        often, often_slope = (float(value) for value in meta.logits.popularity_weights)
        return GradientHead(
            vectors.cpu() @ mapping, trained.cpu(), meta.centre.cpu().clone(), rates.cpu(), patience,
            alpha, sharpness, popularity.cpu(), often, often_slope, mapping, inner_loss,
        )  # fmt: skip


def _blocks(support: csr_array) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for start in range(0, support.shape[0], _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, support.shape[0]))
        yield slice(start, int(rows[-1]) + 1), *pad_rows(support, rows)
