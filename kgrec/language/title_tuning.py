"""Tunes a language model with peft on the likes of users in order: prompts of titles, and the loss on the next ones."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kgrec.config import AdaptConfig
from kgrec.errors import CatalogueError, TextError
from kgrec.language.adapter_folder import check_adapter_folder, save_adapter
from kgrec.language.local_model import LocalLanguageModel
from kgrec.language.model_loading import ADAPTER_TASK
from kgrec.language.titles import MOST_TOKENS, TitlePrompt
from kgrec.language.tuned_weights import tune_few
from kgrec.sequences import Sequences
from kgrec.text.adapter import ADAPTER_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peft import PeftModel
    from torch import Tensor

_LARGEST_GRADIENT = 1.0
_WARMUP = 0.1  # of the steps


@dataclass(frozen=True)
class TitleTuning:
    """The settings.

    Attributes:
        prompt: how likes become a prompt.
        method: what is tuned: "lora" (Hu et al. 2022), "adalora" (Zhang et al. 2023) or "prefix" (Li and Liang 2021).
        rank: of LoRA's updates, and AdaLoRA's at the end.
        layers: the number of last layers that are tuned; 0: all.
        prefix_tokens: the length of a tuned prefix.
        steps: the most gradient steps.
        batch_size: users in a step.
        learning_rate: the largest, after a warm-up; it falls along a cosine.
        validate_every: steps between two validations.
        patience: validations without a better one before training stops.
        most_validated: users whose last like validation predicts.
        seed: of what is drawn.
    """

    prompt: TitlePrompt = field(default_factory=TitlePrompt)
    method: Literal["lora", "adalora", "prefix"] = "lora"
    rank: int = 16
    layers: int = 0
    prefix_tokens: int = 8
    steps: int = 200
    batch_size: int = 8
    learning_rate: float = 1e-3
    validate_every: int = 20
    patience: int = 3
    most_validated: int = 100
    seed: int = 0


@dataclass(frozen=True)
class TuningReport:
    """What a tuning found.

    Attributes:
        kept: whether validation kept the tuned weights.
        reason: why, as a sentence.
        losses: (step, loss on validation) of each validation, the first before any step: nats a token.
        steps: gradient steps done.
        seconds: how long it took.
    """

    kept: bool
    reason: str
    losses: tuple[tuple[int, float], ...]
    steps: int
    seconds: float


def tune_titles(
    model: LocalLanguageModel,
    titles: Sequence[str | None],
    sequences: Sequences,
    out: Path,
    tuning: TitleTuning | None = None,
    *,
    time_limit_s: float,
    on_step: Callable[[int, int], None] | None = None,
) -> TuningReport:
    """Tunes a model to write the title that a user likes next, and writes an adapter's folder.

    The last like of some users is held out; the weights with the smallest loss on these titles are kept. The model
    itself is the same afterwards; nothing else may use it meanwhile.

    Args:
        model: the language model, without an adapter.
        titles: of each item row.
        sequences: the likes to learn from, in order.
        out: the adapter's folder, for `LocalLanguageModel.load(source, adapter=out)`; one in it is replaced.
        tuning: the settings; None: the defaults.
        time_limit_s: seconds of training; a step that has begun is finished.
        on_step: called with (steps done, steps in total).

    Raises:
        CatalogueError: no user likes two items with titles.
        TextError: the folder holds something else, the model cannot be tuned by this method, or the loss is not finite.
    """
    tuning = TitleTuning() if tuning is None else tuning
    started = time.monotonic()
    check_adapter_folder(out)
    examples = TitleExamples.of(model, titles, sequences, tuning)
    config = AdaptConfig(
        method=tuning.method, rank=tuning.rank, layers=tuning.layers, prefix_tokens=tuning.prefix_tokens,
        steps=tuning.steps, seed=tuning.seed,
    )  # fmt: skip
    with warnings.catch_warnings(), _tuned(model, config) as tuned:
        warnings.simplefilter("ignore", FutureWarning)  # of names that peft still uses
        warnings.filterwarnings("ignore", "(?s).*invalid shape")  # of layers to which AdaLoRA gives no rank
        report = _train(model, tuned, examples, tuning, started + time_limit_s, started, on_step)
        described = {
            "format": "kgrec adapter",
            "version": ADAPTER_VERSION,
            "task": ADAPTER_TASK,
            "base": model.name,
            "base_revision": model.revision,
            "tokenizer_revision": model.tokenizer_revision,
            "kept": report.kept,
            "config": asdict(tuning),
            "report": asdict(report),
        }
        save_adapter(tuned if report.kept else None, described, out)
    return report


@contextmanager
def _tuned(model: LocalLanguageModel, config: AdaptConfig) -> "Iterator[PeftModel]":
    """The network with weights to tune; they are taken out of it again at the end."""
    tuned = tune_few(model, config, "CAUSAL_LM")
    try:
        yield tuned
    finally:
        if config.method != "prefix":  # a prefix is not in the network
            tuned.unload()


@dataclass(frozen=True)
class TitleExamples:
    """Prompts with titles to predict.

    Attributes:
        head: the tokens of a prompt without likes.
        titles: (n_items,) tokens of each title; the end only where there is none.
        histories: the item rows of each user, in order, without what is held out.
        held_out: pairs (item rows in order, the item that is liked next).
        n_likes: of a prompt.
        end: the token that pads.
    """

    head: list[int]
    titles: list[list[int]]
    histories: list[NDArray[np.int64]]
    held_out: list[tuple[NDArray[np.int64], int]]
    n_likes: int
    end: int

    @classmethod
    def of(
        cls, model: LocalLanguageModel, titles: Sequence[str | None], sequences: Sequences, tuning: TitleTuning
    ) -> "TitleExamples":
        """Reads the titles, and holds out the last like of some users."""
        read = model.read_titles([title or "" for title in titles])
        named = np.array([len(tokens) > 1 for tokens in read], np.bool_)
        head = tuning.prompt.build(model, [])
        n_likes = min(tuning.prompt.n_likes, (model.max_tokens - len(head)) // MOST_TOKENS - 1)
        users = [sequences.items[a:b] for a, b in zip(sequences.starts[:-1], sequences.starts[1:], strict=True)]
        users = [items[named[items]] for items in users]
        users = [items for items in users if len(items) > 1]
        if not users or n_likes < 1:
            raise CatalogueError(
                f"nothing to tune a language model on: {len(users)} users like two items with titles, and a prompt "
                f"holds {n_likes} likes; expected at least one of each"
            )
        rng = np.random.default_rng([tuning.seed, 1])
        held = set(rng.permutation(len(users))[: min(tuning.most_validated, max(1, len(users) // 5))].tolist())
        held_out = [(users[user][:-1], int(users[user][-1])) for user in sorted(held)]
        histories = [items[:-1] if user in held else items for user, items in enumerate(users)]
        trained = [items for items in histories if len(items) > 1] or users
        return cls(head, read, trained, held_out, n_likes, model.end)

    def draw(self, n: int, rng: np.random.Generator) -> list[tuple[list[int], int]]:
        """Draws prompts and how many of their first tokens are only read: windows of users' likes."""
        drawn = []
        for user in rng.integers(len(self.histories), size=n):
            items = self.histories[user]
            end = int(rng.integers(2, len(items) + 1))
            window = items[max(0, end - self.n_likes - 1) : end]
            drawn.append((self._write(window), len(self.head) + len(self.titles[window[0]])))
        return drawn

    def ask(self) -> list[tuple[list[int], int]]:
        """The same for what is held out: only its title is predicted."""
        return [
            (tokens := self._write([*items[-self.n_likes :], wanted]), len(tokens) - len(self.titles[wanted]))
            for items, wanted in self.held_out
        ]

    def _write(self, items: Sequence[int] | NDArray[np.int64]) -> list[int]:
        return self.head + [token for item in items for token in self.titles[item]]

    def pad(self, rows: Sequence[tuple[list[int], int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(n, longest) tokens, padded behind, and which of them are predicted."""
        lengths = np.array([len(tokens) for tokens, _ in rows])
        ids = np.full((len(rows), lengths.max()), self.end, np.int64)
        for row, (tokens, _) in enumerate(rows):
            ids[row, : len(tokens)] = tokens
        place = np.arange(ids.shape[1])
        return ids, (place >= np.array([given for _, given in rows])[:, None]) & (place < lengths[:, None])


def _train(
    model: LocalLanguageModel,
    tuned: "PeftModel",
    examples: TitleExamples,
    tuning: TitleTuning,
    due_s: float,
    started: float,
    on_step: Callable[[int, int], None] | None,
) -> TuningReport:
    """Trains until the last step, the end of the time or of the patience, and puts the best weights into `tuned`."""
    import torch

    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=tuning.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, tuning.learning_rate, total_steps=tuning.steps + 1, pct_start=_WARMUP, cycle_momentum=False
    )
    allocate: Any = getattr(tuned.base_model, "update_and_allocate", None)
    about: Any = tuned.active_peft_config
    losses = [(0, _validate(model, tuned, examples, tuning.batch_size))]
    best, kept, best_loss, since, step = 0, [w.detach().clone() for w in weights], losses[0][1], 0, 0
    while step < tuning.steps and since < tuning.patience and (now := time.monotonic()) < due_s:
        rows = examples.draw(tuning.batch_size, np.random.default_rng([tuning.seed, 2, step]))
        loss = _find_loss(model, tuned, *examples.pad(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(weights, _LARGEST_GRADIENT))
        if not math.isfinite(norm):
            raise TextError(
                f"the gradient is not finite after {step} steps; expected finite numbers: set a lower learning_rate"
            )
        optimizer.step()
        had_ranks = getattr(about, "rank_pattern", None)
        if allocate is not None:  # AdaLoRA moves its ranks to where they count
            allocate(step)
        optimizer.zero_grad()
        schedule.step()
        step += 1
        took = time.monotonic() - now
        if getattr(about, "rank_pattern", None) and not had_ranks:
            best, best_loss, since = 0, losses[0][1], 0  # earlier weights do not have the ranks that are saved
        if step % tuning.validate_every == 0 or step == tuning.steps or time.monotonic() + took >= due_s:
            found = _validate(model, tuned, examples, tuning.batch_size)
            losses.append((step, found))
            since += 1
            if found < best_loss:
                best, best_loss, since = step, found, 0
                kept = [weight.detach().clone() for weight in weights]
        if on_step is not None:
            on_step(step, tuning.steps)
    with torch.no_grad():
        for weight, value in zip(weights, kept, strict=True):
            weight.copy_(value)
    first = losses[0][1]
    reason = (
        f"the loss on held-out titles fell from {first:.3f} to {best_loss:.3f} nats a token in {best} steps"
        if best
        else f"no step improved the loss on held-out titles, {first:.3f} nats a token"
    )
    return TuningReport(best > 0, reason, tuple(losses), step, time.monotonic() - started)


def _find_loss(
    model: LocalLanguageModel, tuned: "PeftModel", ids: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> "Tensor":
    """The mean loss of the predicted tokens, in nats."""
    import torch

    tokens = torch.as_tensor(ids, device=model.device)
    scores = tuned(input_ids=tokens).logits[:, :-1]
    mask = torch.as_tensor(wanted[:, 1:], device=model.device)
    return torch.nn.functional.cross_entropy(scores[mask].float(), tokens[:, 1:][mask])


def _validate(model: LocalLanguageModel, tuned: "PeftModel", examples: TitleExamples, batch_size: int) -> float:
    import torch

    rows = sorted(examples.ask(), key=lambda row: len(row[0]))
    total = n_tokens = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            ids, wanted = examples.pad(rows[start : start + batch_size])
            count = int(wanted.sum())
            total += float(_find_loss(model, tuned, ids, wanted)) * count
            n_tokens += count
    return total / n_tokens
