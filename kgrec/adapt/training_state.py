"""The state of an adaptation's training: what a step changes, its best weights, and checkpoints on disk."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kgrec.errors import TextError

if TYPE_CHECKING:
    from peft import PeftModel

_FORMAT = "2"


@dataclass(frozen=True)
class ValidationScore:
    """The quality that validation measured after some steps."""

    step: int
    quality: float


@dataclass(frozen=True)
class Progress:
    """The progress of a training.

    Attributes:
        step: steps done.
        scores: of validation, the first before any step.
        best: the best of them; the weights return to it at the end.
        done: whether the training is over.
        strength: the share of the tuned change that is kept.
    """

    step: int
    scores: tuple[ValidationScore, ...]
    best: ValidationScore
    done: bool = False
    strength: float = 1.0


@dataclass(frozen=True)
class TrainingState:
    """Everything that a step changes."""

    weights: dict[str, nn.Parameter]
    relation_head: nn.Linear
    optimizer: torch.optim.Optimizer
    tuned: "PeftModel"
    best: dict[str, Tensor]

    def keep_best(self) -> None:
        """Remembers the present weights as the best."""
        self.best.update({name: weight.detach().clone() for name, weight in self.weights.items()})

    def restore_best(self) -> None:
        """Brings the best weights back."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.best[name])

    def _allocator(self) -> Any:
        return getattr(self.tuned.base_model, "rankallocator", None)

    def save(self, file: Path, progress: Progress, fingerprint: str) -> None:
        """Writes a checkpoint, in place of an earlier one.

        Raises:
            TextError: it cannot be written.
        """
        tensors = {f"weight {name}": weight.detach() for name, weight in self.weights.items()}
        tensors |= {f"best {name}": weight for name, weight in self.best.items()}
        tensors |= {f"relation_head {name}": weight for name, weight in self.relation_head.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moment {number} {name}": value for name, value in moments.items()}
        allocator = self._allocator()
        for what in ("ipt", "exp_avg_ipt", "exp_avg_unc") if allocator is not None else ():
            tensors |= {f"{what} {name}": value for name, value in getattr(allocator, what).items()}
        about: Any = self.tuned.active_peft_config
        metadata = {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "progress": json.dumps(asdict(progress)),
            "ranks": json.dumps(getattr(about, "rank_pattern", None)),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".writing")
        try:
            save_file({name: value.cpu().contiguous().clone() for name, value in tensors.items()}, written, metadata)
            written.replace(file)
        except (OSError, SafetensorError) as error:
            written.unlink(missing_ok=True)
            raise TextError(
                f"cannot write the checkpoint {file}: {error}; expected a writable folder with free space"
            ) from error

    def load(self, file: Path, fingerprint: str) -> Progress | None:
        """Restores a checkpoint; None where this run has none."""
        if not file.is_file():
            return None
        try:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata() or {}
            if (metadata.get("format"), metadata.get("fingerprint")) != (_FORMAT, fingerprint):
                return None
            tensors = load_file(file)
        except (OSError, SafetensorError):
            return None

        def named(what: str) -> dict[str, Tensor]:
            return {name.removeprefix(f"{what} "): v for name, v in tensors.items() if name.startswith(f"{what} ")}

        with torch.no_grad():
            for name, value in named("weight").items():
                self.weights[name].copy_(value)
        device = next(iter(self.weights.values())).device
        self.best.update({name: value.to(device) for name, value in named("best").items()})
        self.relation_head.load_state_dict(named("relation_head"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in named("moment").items():
            number, name = key.split(" ")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if (allocator := self._allocator()) is not None:
            for what in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
                getattr(allocator, what).update({name: value.to(device) for name, value in named(what).items()})
            about: Any = self.tuned.active_peft_config
            about.rank_pattern = json.loads(metadata["ranks"])
        found = json.loads(metadata["progress"])
        scores = tuple(ValidationScore(**one) for one in found["scores"])
        return Progress(found["step"], scores, ValidationScore(**found["best"]), found["done"])
