"""The training loop: gradient steps, validation on the way, checkpoints, and the best weights at the end."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from kgrec.adapt.text_graph import TextGraph
from kgrec.adapt.training_batches import TrainingBatches
from kgrec.adapt.training_state import Progress, TrainingState, ValidationScore
from kgrec.config import AdaptConfig
from kgrec.errors import TextError
from kgrec.language.tuned_weights import scale_change
from kgrec.questions.splits import Likes
from kgrec.text.encoder import has_bf16
from kgrec.text.language_model import LanguageModel
from kgrec.training.logging import OnMetric

if TYPE_CHECKING:
    from peft import PeftModel

_WARMUP_STEPS = 10
_LEAST_RATE = 0.05  # of the learning rate, at the end
_LARGEST_GRADIENT = 1.0
_WEIGHT_DECAY = 0.01
_CHECKPOINT_STEPS = 10


def train(
    model: LanguageModel,
    tuned: "PeftModel",
    graph: TextGraph,
    likes: Likes,
    config: AdaptConfig,
    validate: Callable[[LanguageModel], float],
    checkpoint: Path,
    *,
    fingerprint: str,
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
) -> Progress:
    """Trains the tuned weights until the last step or until validation stops improving, and restores the best.

    Each step draws its batch by (seed, step), so a training resumed from its checkpoint ends with the same weights.

    Args:
        model: the language model; its network is the tuned one.
        tuned: the network, from `tune_few`.
        graph: the texts.
        likes: the training likes.
        config: the settings.
        validate: the quality of a model's vectors.
        checkpoint: the checkpoint's file; one of the same run is resumed.
        fingerprint: of the run.
        on_step: called with (steps done, steps in total).
        on_metric: called with (name, value, step).

    Raises:
        TextError: the gradient is not finite.
    """
    from peft.helpers import disable_input_dtype_casting

    casts = has_bf16(model.device.type) and config.method in {"lora", "adalora"}  # the other methods lack this switch
    batches = TrainingBatches.of(model, graph, likes, config).fit_temperatures(model, on_metric)
    relation_head = nn.Linear(2 * model.dim, len(graph.relations) + 1)
    nn.init.zeros_(relation_head.weight)
    nn.init.zeros_(relation_head.bias)
    relation_head.to(model.device)
    weights = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    trained = [*weights.values(), *relation_head.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=_WEIGHT_DECAY)
    state = TrainingState(weights, relation_head, optimizer, tuned, {})
    allocate: Any = getattr(tuned.base_model, "update_and_allocate", None)
    progress = state.load(checkpoint, fingerprint)
    if progress is None:
        first = ValidationScore(0, validate(model))
        progress = Progress(0, (first,), first)
        state.keep_best()
    while not progress.done:
        step = progress.step
        rate = _schedule(step, config.steps)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        with disable_input_dtype_casting(tuned) if casts else nullcontext():  # autocast casts already
            losses = batches.compute_losses(model, relation_head, np.random.default_rng([config.seed, 2, step]))
        _check_gradient(float(torch.nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT)), step, losses)
        optimizer.step()
        if allocate is not None:  # AdaLoRA moves its ranks to where they count
            allocate(step)
        optimizer.zero_grad()
        if on_metric is not None:
            for name, loss in losses.items():
                on_metric(f"loss/{name}", loss, step)
        step += 1
        progress = replace(progress, step=step)
        if step % config.validate_every == 0 or step == config.steps:
            seen = ValidationScore(step, validate(model))
            scores = (*progress.scores, seen)
            best = max(scores, key=lambda one: one.quality)  # the first of equals
            if best is seen:
                state.keep_best()
            if on_metric is not None:
                on_metric("validation/quality", seen.quality, step)
            since = sum(one.step > best.step for one in scores)
            progress = Progress(step, scores, best, step >= config.steps or since >= config.patience)
        if progress.done or step % _CHECKPOINT_STEPS == 0:
            state.save(checkpoint, progress, fingerprint)
        if on_step is not None:
            on_step(step, config.steps)
    state.restore_best()
    return progress if progress.best.step == 0 else _choose_strength(model, tuned, state, config, validate, progress)


def _check_gradient(norm: float, step: int, losses: dict[str, float]) -> None:
    """Stops before a step that would make the weights, and their checkpoint, NaN."""
    if not math.isfinite(norm):
        raise TextError(
            f"the gradient is not finite after {step} steps: losses {losses}; expected finite numbers: "
            f"set a lower learning_rate"
        )


def _choose_strength(
    model: LanguageModel,
    tuned: "PeftModel",
    state: TrainingState,
    config: AdaptConfig,
    validate: Callable[[LanguageModel], float],
    progress: Progress,
) -> Progress:
    """Keeps the share of the tuned change with the best validation score."""
    found = {1.0: progress.best.quality}
    for strength in config.strengths if config.method != "prefix" else ():
        if strength not in found:
            state.restore_best()
            scale_change(tuned, strength)
            found[strength] = validate(model)
    chosen = max(found, key=lambda strength: found[strength])
    state.restore_best()
    scale_change(tuned, chosen)
    return replace(progress, best=ValidationScore(progress.best.step, found[chosen]), strength=chosen)


def _schedule(step: int, steps: int) -> float:
    """The learning rate as a share of the largest: a warm-up, then a cosine down to the least rate."""
    fallen = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min((step + 1) / _WARMUP_STEPS, 1.0) * (_LEAST_RATE + (1 - _LEAST_RATE) * fallen)
