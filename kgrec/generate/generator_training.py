"""Trains a generator: cross-entropy on the tokens of next items, until validation stops improving or time is up."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kgrec.config import GeneratorConfig
from kgrec.errors import RequestError
from kgrec.generate.generator import Generator, generate
from kgrec.generate.item_sequences import NO_ITEM, ItemSequences, batch_users
from kgrec.generate.item_space import ItemSpace, fit_item_space
from kgrec.generate.semantic_ids import SemanticIds, fit_semantic_ids
from kgrec.generate.token_network import NetworkShape, TokenNetwork, build_network
from kgrec.metrics import ndcg

_WARMUP = 0.03  # of the steps
_LEAST_RATE = 0.02  # of the learning rate, at the end
_LARGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.98)
_LEAST_TRAINING = 0.2  # of the time that is left after the ids, whatever measuring takes
_PROBED = 100  # users, to see how long validation takes
_LIST_LENGTH = 10  # of the lists that validation scores

OnMetric = Callable[[str, float, int], None]  # called with (name, value, step)


def train_generator(
    content: NDArray[np.float32],
    sequences: ItemSequences,
    config: GeneratorConfig,
    next_items: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> Generator:
    """Fits semantic ids to items' content and order, and trains a network on sequences of them.

    The result depends on the arguments alone, unless time runs out.

    Args:
        content: (n_items, content_dim) float32, finite: texts and links side by side, each of length 1 times what it
            counts, zeros where an item has none; content_dim may be 0.
        sequences: the training sequences; items of one time are in random order, not in the order of a file.
        config: the settings.
        next_items: (n_users,) int64: the item that validation expects after each sequence, -1 for none; the weights
            with the best NDCG@10 are kept. None: the last weights are.
        device: the torch device.
        on_step: called with (steps done, steps in total).
        on_metric: called with (name, value, step): "generator/loss", and "generator/ndcg" of validation.
        clock: returns seconds.
        started: when `config.seconds` begin, by the clock; None: now. They cover all that follows, and leave time for
            the caller to measure the result on the same users.

    Raises:
        RequestError: there are no items or no sequences, a number of the content is not finite, the loss
            is not, or time is up before the first step.
    """
    if not len(content) or not len(sequences.items):
        raise RequestError(
            f"a generator for {len(content)} items and {len(sequences.items)} likes in order; expected some of both"
        )
    if not np.isfinite(content).all():
        raise RequestError("items' content has NaN or infinity; expected finite numbers, zeros where there are none")
    end = (clock() if started is None else started) + config.seconds
    space, vectors = fit_item_space(content, sequences, config.seed)
    vectors = vectors.astype(np.float16).astype(np.float32)  # as a folder keeps them
    ids = fit_semantic_ids(vectors, levels=config.levels, n_codes=config.codes, seed=config.seed)
    is_new = np.bincount(sequences.items, minlength=len(content)) == 0
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        trainer = _Trainer.of(space, ids, vectors, is_new, config, device)
        question = None if next_items is None else _Question.draw(sequences, next_items, config)
        reserved = 0.0 if question is None else question.reserve(trainer.generator, clock)
        begun = clock()
        if begun >= end:
            raise RequestError(
                f"the generator's {config.seconds:g} s are over before training begins; expected more: give a larger "
                f"--seconds, GeneratorConfig(seconds=...), or seconds in [generator]"
            )
        end -= min(reserved, (1 - _LEAST_TRAINING) * (end - begun))
        users = np.flatnonzero(sequences.lengths)
        trainer.train(sequences.select(users), question, (clock, end), on_step, on_metric)
    return trainer.generator


@dataclass(frozen=True)
class _Question:
    """What validation asks: which item comes after each sequence."""

    sequences: ItemSequences
    next_items: NDArray[np.int64]
    beams: int

    @classmethod
    def draw(cls, sequences: ItemSequences, next_items: NDArray[np.int64], config: GeneratorConfig) -> "_Question":
        """Draws the users that validation asks."""
        users = np.random.default_rng([config.seed, 2]).permutation(np.flatnonzero(next_items >= 0))
        users = np.sort(users[: config.validation_users])
        return cls(sequences.select(users), next_items[users], config.beams)

    def reserve(self, generator: Generator, clock: Callable[[], float]) -> float:
        """Seconds that the last validation and the caller's measuring take, by the time that a few users take."""
        few, began = np.arange(min(_PROBED, self.sequences.n_users)), clock()
        if not len(few):
            return 0.0
        generator.network.eval()
        replace(self, sequences=self.sequences.select(few), next_items=self.next_items[few]).score(replace(generator))
        return 2 * (clock() - began) * self.sequences.n_users / len(few)

    def score(self, generator: Generator) -> float:
        """NDCG@10. An item that comes again is not hidden."""
        found = generate(generator, self.sequences, _LIST_LENGTH, beams=self.beams)
        hits = found.rows == self.next_items[:, None]
        return float(ndcg(hits, np.ones(len(hits), np.int64))[:, -1].mean()) if len(hits) else 0.0


@dataclass(frozen=True)
class _Trainer:
    """What training needs.

    Attributes:
        generator: with the network that is trained.
        optimizer: of its weights.
        config: the settings.
        tokens: (n_items, levels + 1) int64.
        nodes: (n_items, levels + 1) int64: the node of the trie before each token.
        branches: (n_items, levels + 1) bool: whether another token could follow there. A sole token teaches nothing.
    """

    generator: Generator
    optimizer: torch.optim.Optimizer
    config: GeneratorConfig
    tokens: NDArray[np.int64]
    nodes: NDArray[np.int64]
    branches: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        space: ItemSpace,
        ids: SemanticIds,
        vectors: NDArray[np.float32],
        is_new: NDArray[np.bool_],
        config: GeneratorConfig,
        device: str,
    ) -> "_Trainer":
        """A network with random weights and its optimizer."""
        shape = NetworkShape(
            sizes=ids.sizes,
            vector_dim=vectors.shape[1],
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            head_layers=config.head_layers,
            most_items=config.most_items,
            dropout=config.dropout,
        )
        network = build_network(ids, shape).to(device)
        generator = Generator(space, ids, vectors, network, is_new)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=_BETAS, weight_decay=config.weight_decay, fused=True
        )
        nodes = generator.trie.trace()
        counts = [generator.trie.count_children(depth, nodes[:, depth]) for depth in range(nodes.shape[1])]
        return cls(generator, optimizer, config, ids.tokens, nodes, np.stack(counts, axis=1) > 1)

    def train(
        self,
        sequences: ItemSequences,
        question: _Question | None,
        time_limit: tuple[Callable[[], float], float],
        on_step: Callable[[int, int], None] | None,
        on_metric: OnMetric | None,
    ) -> None:
        """Trains until the last step, the time limit or the end of validation's patience; restores the best weights."""
        config, network, rng = self.config, self.generator.network, np.random.default_rng([self.config.seed, 1])
        clock, end = time_limit
        begun, lengths = clock(), np.minimum(sequences.lengths, config.most_items)
        steps = config.epochs * len(batch_users(lengths, config.batch_positions))
        step, since, best, best_weights = 0, 0, -math.inf, None
        for epoch in range(1, config.epochs + 1):
            losses = []
            for batch in batch_users(lengths, config.batch_positions, rng):
                done = max(step / steps, (clock() - begun) / max(end - begun, 1e-9))
                if done >= 1:
                    break
                windows = _cut_windows(sequences.select(batch), config.most_items, rng)
                losses.append(self._take_step(windows.pad(), _schedule(step, steps, done), rng))
                step += 1
                if on_step is not None:
                    on_step(step, steps)
            if on_metric is not None and losses:
                on_metric("generator/loss", float(np.mean(losses)), step)
            is_last = step == steps or clock() >= end
            if question is not None and (is_last or epoch % config.validate_every == 0):
                network.eval()
                quality = question.score(replace(self.generator))  # anew, since a generator keeps its read items
                if on_metric is not None:
                    on_metric("generator/ndcg", quality, step)
                since += 1
                if quality > best:
                    best, since = quality, 0
                    best_weights = {name: weight.clone() for name, weight in network.state_dict().items()}
            if is_last or since >= config.patience:
                break
        if best_weights is not None:
            network.load_state_dict(best_weights)
        network.eval()

    def _take_step(self, padded: NDArray[np.int64], rate: float, rng: np.random.Generator) -> float:
        """One step of the optimizer; gives the loss per item."""
        network = self.generator.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.config.learning_rate
        loss = self._compute_loss(network, padded, rng)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT))
        if not math.isfinite(norm):
            raise RequestError(
                f"the generator's gradient has length {norm:g} at the loss {loss.item():g}; expected finite numbers: "
                f"set a lower learning_rate in [generator]"
            )
        self.optimizer.step()
        return loss.item()

    def _compute_loss(self, network: TokenNetwork, padded: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Cross-entropy of all items of sequences, (n_users, length), among the items of the catalogue."""
        users, places = np.nonzero(padded != NO_ITEM)
        items = padded[users, places]
        states = self._read(network, padded, rng)[torch.from_numpy(users), torch.from_numpy(places)]
        total = states.new_zeros(())
        for level, size in enumerate(self.generator.ids.sizes):
            asked = np.flatnonzero(self.branches[items, level])
            if len(asked):
                legal = self.generator.trie.mask(level, self.nodes[items[asked], level], size)
                tokens = torch.from_numpy(self.tokens[items[asked]]).to(states.device)
                logits = network.score(level, states[torch.from_numpy(asked)], tokens[:, :level])
                logits = logits.masked_fill(~torch.from_numpy(legal).to(states.device), -torch.inf)
                total = total + functional.cross_entropy(logits, tokens[:, level], reduction="sum")
        return total / len(items)

    def _read(self, network: TokenNetwork, padded: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """(n_users, length + 1, state_dim): the states before and after each item of partly hidden sequences."""
        rows = np.where(padded != NO_ITEM, padded, 0)
        tokens, vectors = torch.from_numpy(self.tokens[rows]), torch.from_numpy(self.generator.vectors[rows])
        shows_tokens = torch.from_numpy((rng.random(rows.shape) >= self.config.forget_tokens).astype(np.float32))
        shown = torch.from_numpy((rng.random(rows.shape) >= self.config.forget_items).astype(np.float32))
        device = network.begin.device
        vectors = vectors.to(device)
        items = network.read_items(tokens.to(device), vectors, shows_tokens.to(device))
        return network.read(items * shown.to(device)[..., None], vectors)


def _schedule(step: int, steps: int, done: float) -> float:
    """The learning rate as a share of the largest: a warm-up, then a cosine; `done` is the share of steps or time."""
    fallen = 0.5 * (1 + math.cos(math.pi * done))
    return min(1.0, (step + 1) / max(_WARMUP * steps, 1)) * (_LEAST_RATE + (1 - _LEAST_RATE) * fallen)


def _cut_windows(sequences: ItemSequences, most: int, rng: np.random.Generator) -> ItemSequences:
    """Random windows of at most `most` items."""
    lengths = sequences.lengths
    sizes = np.minimum(lengths, most)
    firsts = sequences.starts[:-1] + rng.integers(0, lengths - sizes + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    places = np.arange(starts[-1]) + np.repeat(firsts - starts[:-1], sizes)
    return ItemSequences(sequences.items[places], starts)
