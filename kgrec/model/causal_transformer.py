"""A small causal transformer over item vectors, trained to tell each next item of a sequence from others.

Self-attention over a user's items (SASRec: Kang and McAuley, "Self-attentive sequential recommendation", 2018), with
norms before each block, SwiGLU and a sampled softmax (eSASRec: Tikhonovich et al. 2025). Positions are rotary (Su et
al. 2021), so only the distance between two items counts.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kgrec.config import SequenceConfig
from kgrec.model.component import HALF
from kgrec.sequences import Sequences

_ROTARY_BASE = 100.0  # the longest wave has some 600 places
_INIT_WEIGHTS, _INIT_ITEMS = 0.02, 0.1
_WARM_UP = 50  # steps
_LEAST_RATE = 0.02  # of the learning rate, at the end
_BETAS = (0.9, 0.98)
_CLIP = 1.0
_HELD_USERS, _HELD_SHARE = 2000, 0.1
_LEAST_HELD = 20  # users: fewer tell nothing, and all epochs are trained
_LEAST_ITEMS = 3  # of a user whose last item is held out
_K = 10  # the length of the lists that validation judges
_BLOCK_USERS = 250
_TINY = 1e-9

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Transformer:
    """The weights of a causal transformer: tensors of one row for each layer.

    Attributes:
        attend: (layers, dim, 3 dim) float32: queries, keys and values.
        mix: (layers, dim, dim) float32, of what is attended to.
        widen: (layers, dim, 2 hidden) float32: gates and values of SwiGLU.
        narrow: (layers, hidden, dim) float32.
        norms: (2 layers + 1, dim) float32: scales of the RMS norms before each block and at the end.
        heads: the number of attention heads.
    """

    attend: Tensor = field(metadata=HALF)
    mix: Tensor = field(metadata=HALF)
    widen: Tensor = field(metadata=HALF)
    narrow: Tensor = field(metadata=HALF)
    norms: Tensor
    heads: int

    @classmethod
    def draw(cls, layers: int, dim: int, heads: int, generator: torch.Generator) -> "Transformer":
        """Weights to start training from."""
        shapes = (layers, dim, 3 * dim), (layers, dim, dim), (layers, dim, 4 * dim), (layers, 2 * dim, dim)
        attend, mix, widen, narrow = (torch.randn(shape, generator=generator) * _INIT_WEIGHTS for shape in shapes)
        return cls(attend, mix, widen, narrow, torch.ones(2 * layers + 1, dim), heads)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The weights, in the order of the fields."""
        return self.attend, self.mix, self.widen, self.narrow, self.norms

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Transformer":
        """The transformer with other weights, in the same order."""
        attend, mix, widen, narrow, norms = tensors
        return Transformer(attend, mix, widen, narrow, norms, self.heads)

    def states(self, vectors: Tensor, at: Tensor, bias: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """The state after each item of sequences, (n, length, dim).

        Args:
            vectors: (n, length, dim) of the items.
            at: (n, length) or (length,) float32: the items' positions, of which differences count.
            bias: (n, length, length), added to the attention of each item, second, to others, third; None: an item
                attends to itself and to those before it in the sequence.
            dropout: share of the entries left out, in training.
        """
        n, length, dim = vectors.shape
        width = dim // self.heads
        waves = _ROTARY_BASE ** (-torch.arange(0, width // 2, device=at.device) / max(width // 2, 1))
        angles = (at[..., None] * waves).reshape(-1, 1, length, width // 2)
        cosine, sine = angles.cos(), angles.sin()
        bias = None if bias is None else bias[:, None]
        state = nn.functional.dropout(vectors, dropout, dropout > 0)
        for layer in range(len(self.attend)):
            normed = nn.functional.rms_norm(state, (dim,), self.norms[2 * layer])
            found = (normed @ self.attend[layer]).view(n, length, 3, self.heads, width).permute(2, 0, 3, 1, 4)
            query, key, value = _turn(found[0], cosine, sine), _turn(found[1], cosine, sine), found[2]
            seen = nn.functional.scaled_dot_product_attention(query, key, value, bias, is_causal=bias is None)
            added = seen.transpose(1, 2).reshape(n, length, dim) @ self.mix[layer]
            state = state + nn.functional.dropout(added, dropout, dropout > 0)
            normed = nn.functional.rms_norm(state, (dim,), self.norms[2 * layer + 1])
            gate, wide = (normed @ self.widen[layer]).chunk(2, dim=-1)
            added = (nn.functional.silu(gate) * wide) @ self.narrow[layer]
            state = state + nn.functional.dropout(added, dropout, dropout > 0)
        return nn.functional.rms_norm(state, (dim,), self.norms[-1])


def _turn(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns pairs of entries of (n, heads, length, width) by angles, (1 or n, 1, length, width / 2)."""
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


@dataclass(frozen=True)
class TrainedTransformer:
    """What training finds.

    Attributes:
        transformer: the transformer.
        own: (n_items, dim) float32: the part of the item vectors that is learned for each item.
        from_content: (width, dim) float32: an item's content times this is the other part.
        quality: NDCG@10 of the last items of some users, which training left out.
        epochs: the epochs trained.
    """

    transformer: Transformer
    own: Tensor
    from_content: Tensor
    quality: float
    epochs: int


@dataclass(frozen=True)
class _Windows:
    """Stretches of sequences: each item but the last of a stretch predicts the one after it.

    Attributes:
        items: (n,) item rows, as in `Sequences`.
        starts, sizes: (n_windows,): where each begins, and the number of its items that predict.
    """

    items: Rows
    starts: Rows
    sizes: Rows

    @classmethod
    def of(cls, items: Rows, starts: Rows, ends: Rows, longest: int) -> "_Windows":
        """Cuts sequences from their ends; every item but a sequence's first is predicted once."""
        sizes = np.maximum(ends - starts - 1, 0)
        n_parts = -(-sizes // longest)
        part = np.arange(n_parts.sum()) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        end = np.repeat(ends - 1, n_parts) - part * longest
        start = np.maximum(end - longest, np.repeat(starts, n_parts))
        return cls(items, start, end - start)

    def batches(self, n_items: int, rng: np.random.Generator) -> Iterator[Rows]:
        """Windows of like sizes, n_items or less in each batch, in random order: next to nothing is padding."""
        order = np.argsort(self.sizes + rng.random(len(self.sizes)))
        found, start = [], 0
        while start < len(order):
            sizes = self.sizes[order[start : start + n_items]]
            n_read = np.arange(1, len(sizes) + 1) * sizes  # padding included
            end = start + max(int(np.searchsorted(n_read, n_items, "right")), 1)
            found.append(order[start:end])
            start = end
        yield from (found[place] for place in rng.permutation(len(found)))

    def read(self, rows: Rows) -> tuple[Rows, Rows, NDArray[np.bool_]]:
        """Items and their successors, (n, length), and where there are any; the rest is padding at the end."""
        length = self.sizes[rows].max()
        within = np.arange(length) < self.sizes[rows][:, None]
        places = np.where(within, self.starts[rows][:, None] + np.arange(length), self.starts[rows][:, None])
        return self.items[places], self.items[places + 1], within


class _Learner:
    """The tensors that are trained, and their optimiser."""

    def __init__(
        self, content: Tensor, config: SequenceConfig, seed: int, device: str, start: TrainedTransformer | None = None
    ) -> None:
        start = _draw_start(content, config, seed) if start is None else start
        self.config, self.content = config, content.to(device)
        self.own, self.mapping, *weights, norms = (
            part.to(device, copy=True).requires_grad_()
            for part in (start.own, start.from_content, *start.transformer.tensors)
        )
        self.transformer = start.transformer.with_tensors([*weights, norms])
        self.trained = [self.own, self.mapping, *weights, norms]
        # Decay draws an item's vector towards its content's, the more the fewer likes it has.
        groups = [
            {"params": self.trained[:-1], "weight_decay": config.weight_decay},
            {"params": [norms], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=True)

    def vectors(self, rows: Tensor) -> Tensor:
        """Vectors of some items, (n, dim)."""
        own = nn.functional.embedding(rows, self.own)
        return own + self.content[rows] @ self.mapping

    def copy(self) -> TrainedTransformer:
        """What is learned so far."""
        own, mapping, *weights = (
            part.detach().cpu().clone() for part in (self.own, self.mapping, *self.transformer.tensors)
        )
        return TrainedTransformer(self.transformer.with_tensors(weights), own, mapping, 0.0, 0)

    def step(self, loss: Tensor, rate: float) -> None:
        """A gradient step at a share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, _CLIP)
        self.optimiser.step()


def _draw_start(content: Tensor, config: SequenceConfig, seed: int) -> TrainedTransformer:
    """Weights and vectors at random to start training from."""
    generator = torch.Generator().manual_seed(seed)
    transformer = Transformer.draw(config.layers, config.dim, config.heads, generator)
    own = torch.randn((len(content), config.dim), generator=generator) * _INIT_ITEMS
    spread = _INIT_ITEMS / max(float(content.square().sum(dim=1).mean().sqrt()), _TINY)
    mapping = torch.randn((content.shape[1], config.dim), generator=generator) * spread
    return TrainedTransformer(transformer, own, mapping, 0.0, 0)


def train_transformer(
    sequences: Sequences,
    content: Tensor,
    config: SequenceConfig,
    *,
    seed: int,
    device: str = "cpu",
    start: TrainedTransformer | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> TrainedTransformer:
    """Trains a transformer and item vectors, so that the state after each item is nearest to the next item.

    The loss is a softmax over the next items of the batch and others drawn uniformly, the same for the whole batch,
    less the logarithm of the chance that an item is among them (Yi et al. 2019). The last items of some users are left
    out and decide when training stops.

    Args:
        sequences: of items; those that are in none are never drawn.
        content: (n_items, width) float32, of the items; width may be 0.
        config: the settings.
        seed: of all that is drawn.
        device: where to compute.
        start: trained on other sequences of the same items, to start from.
        on_epoch: called with (epoch from 1, mean loss).
    """
    rng = np.random.default_rng(seed)
    starts, ends, held = _hold_out(sequences, rng)
    items, n_likes = sequences.items, np.bincount(sequences.items, minlength=len(content))
    windows = _Windows.of(items, starts, ends, config.longest)
    counts = n_likes - np.bincount(items[ends[held]], minlength=len(content))
    liked, n_batches = np.flatnonzero(n_likes), sum(1 for _ in windows.batches(config.batch_items, rng))
    learner, clock = _Learner(content, config, seed, device, start), _Clock(config, n_batches)
    best, kept, since, epoch = -1.0, learner.copy(), 0, 0
    while epoch < config.epochs and since < config.patience and not clock.is_over:
        epoch += 1
        losses = []
        with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
            torch.manual_seed(seed + epoch)  # of the dropout
            for rows in windows.batches(config.batch_items, rng):
                loss = _measure_loss(learner, windows.read(rows), counts, liked, rng)
                learner.step(loss, clock.tick())
                losses.append(loss.detach())
                if clock.is_over:
                    break
        if on_epoch is not None:
            on_epoch(epoch, float(torch.stack(losses).mean()))
        quality = _validate(learner, items, starts[held], ends[held])
        is_better = quality > best or not len(held)
        since = 0 if is_better else since + 1
        if is_better:
            best, kept = quality, learner.copy()
    return replace(kept, quality=best, epochs=epoch)


def _hold_out(sequences: Sequences, rng: np.random.Generator) -> tuple[Rows, Rows, Rows]:
    """Where sequences start and end, and the users whose last item is left out."""
    starts, ends = sequences.starts[:-1], sequences.starts[1:].copy()
    able = np.flatnonzero(ends - starts >= _LEAST_ITEMS)
    n_held = min(_HELD_USERS, int(_HELD_SHARE * len(able)))
    held = np.sort(rng.choice(able, n_held if n_held >= _LEAST_HELD else 0, replace=False))
    ends[held] -= 1
    return starts, ends, held


class _Clock:
    """The share of the learning rate at each step: it rises, then falls along a cosine, to its end in time."""

    def __init__(self, config: SequenceConfig, n_steps: int) -> None:
        self.n_steps, self.budget_s = max(n_steps * config.epochs, 1), config.budget_s or math.inf
        self.step, self.started = 0, time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self.started >= self.budget_s

    def tick(self) -> float:
        """The share for the next step; the time counts only where it is too short for all steps."""
        done = max(self.step / self.n_steps, min((time.monotonic() - self.started) / self.budget_s, 1.0))
        self.step += 1
        falling = _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2
        return min(self.step / _WARM_UP, 1.0) * falling


def _measure_loss(
    learner: _Learner,
    read: tuple[Rows, Rows, NDArray[np.bool_]],
    counts: Rows,
    liked: Rows,
    rng: np.random.Generator,
) -> Tensor:
    """The mean cross-entropy of the next items among those of the batch and others drawn from the liked ones."""
    config, device = learner.config, learner.own.device
    shown, following, within = read
    targets = following[within]
    n_drawn = min(config.negatives, len(liked))
    among = np.union1d(targets, rng.choice(liked, n_drawn, replace=False))
    chance = counts[among] / counts.sum()
    missed = np.exp(-len(targets) * chance) * (1 - n_drawn / len(liked))
    offset = -np.log(np.maximum(1 - missed, _TINY)).astype(np.float32)

    rows = np.union1d(among, shown)  # each vector is computed once
    vectors = learner.vectors(torch.from_numpy(rows).to(device))
    places = torch.from_numpy(np.searchsorted(rows, shown)).to(device)
    at = torch.arange(shown.shape[1], dtype=torch.float32, device=device)
    states = learner.transformer.states(nn.functional.embedding(places, vectors), at, None, config.dropout)
    states = states[torch.from_numpy(within).to(device)] * len(vectors[0]) ** -0.5
    candidates = nn.functional.embedding(torch.from_numpy(np.searchsorted(rows, among)).to(device), vectors)
    logits = torch.addmm(torch.from_numpy(offset).to(device), states, candidates.T)
    return nn.functional.cross_entropy(logits, torch.from_numpy(np.searchsorted(among, targets)).to(device))


@torch.no_grad()
def _validate(learner: _Learner, items: Rows, starts: Rows, ends: Rows) -> float:
    """The mean NDCG@10 of the items after sequences, among all items that the sequence does not have."""
    if not len(starts):
        return 0.0
    config, gains = learner.config, []
    vectors = learner.vectors(torch.arange(len(learner.content), device=learner.own.device))
    order = np.argsort(ends - starts, kind="stable")
    for begin in range(0, len(order), _BLOCK_USERS):
        users = order[begin : begin + _BLOCK_USERS]
        sizes = np.minimum(ends[users] - starts[users], config.longest)
        at = np.arange(sizes.max())
        within = at < sizes[:, None]
        shown = items[np.where(within, (ends[users] - sizes)[:, None] + at, starts[users][:, None])]
        states = learner.transformer.states(vectors[torch.from_numpy(shown)], torch.from_numpy(at).to(vectors))
        scores = (states[torch.arange(len(users)), torch.from_numpy(sizes - 1)] @ vectors.T).cpu()
        own = scores[torch.arange(len(users)), torch.from_numpy(items[ends[users]])]
        above = scores > own[:, None]
        rows, columns = torch.from_numpy(np.nonzero(within)[0]), torch.from_numpy(shown[within])
        above[rows, columns] = False
        rank = above.sum(dim=1)
        gains.append(torch.where(rank < _K, 1 / torch.log2(rank + 2.0), 0.0))
    return float(torch.cat(gains).mean())
