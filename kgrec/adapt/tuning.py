"""The few weights that are tuned, by peft, and the folder they are kept in."""

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.config import AdaptConfig
from kgrec.errors import TextError
from kgrec.text.language_model import ADAPTER_FILE, ADAPTER_FILES, LanguageModel

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn

_LINEAR = ("Linear", "Conv1D")
_LORA_SCALE = 2  # alpha over rank
_ADALORA_START = 1.5  # ranks to begin with, over those to end with
_ADALORA_WARMUP, _ADALORA_END = 0.15, 0.35  # shares of the steps before the ranks begin and after they cease to fall


def tune_few(model: LanguageModel, config: AdaptConfig) -> "PeftModel":
    """Puts the weights to tune into a language model's network; the others are frozen, and nothing is dropped out.

    Where the network does not keep its layers in one list, all of them are tuned, whatever `config.layers` says.

    Raises:
        TextError: the method cannot be used with this architecture.
    """
    import torch
    from peft import AdaLoraConfig, IA3Config, LoraConfig, PrefixTuningConfig, TaskType, get_peft_model

    task: Any = {"task_type": TaskType.FEATURE_EXTRACTION}
    stack = list_layers(model.network)
    last = stack[-config.layers :] if 0 < config.layers < len(stack) else []
    inside = {id(part) for layer in last for part in layer.modules()}
    linear = [
        name
        for name, part in model.network.named_modules()
        if type(part).__name__ in _LINEAR and (id(part) in inside or not last) and "pooler" not in name  # is not used
    ]
    start = max(config.rank + 1, round(config.rank * _ADALORA_START))
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft still asks of transformers by an old name
            torch.manual_seed(config.seed)
            if config.method == "lora":
                chosen: Any = LoraConfig(
                    r=config.rank, lora_alpha=_LORA_SCALE * config.rank, lora_dropout=0.0, target_modules=linear, **task
                )
            elif config.method == "adalora":
                chosen = AdaLoraConfig(
                    init_r=start, target_r=config.rank, lora_alpha=_LORA_SCALE * config.rank, lora_dropout=0.0,
                    tinit=round(_ADALORA_WARMUP * config.steps), tfinal=round(_ADALORA_END * config.steps), deltaT=5,
                    total_step=config.steps, target_modules=linear, **task,
                )  # fmt: skip
            elif config.method == "prefix":
                chosen = PrefixTuningConfig(num_virtual_tokens=config.prefix_tokens, **task)
            else:
                chosen = IA3Config(**task)
            network: Any = model.network
            tuned: PeftModel = get_peft_model(network, chosen)
    except Exception as error:  # whatever an architecture that peft does not know makes it raise
        raise TextError(
            f"cannot tune {model.name!r} by {config.method}: {type(error).__name__}: {error}; expected a method for "
            f"this architecture: use lora, which fits any"
        ) from error
    tuned.eval()
    about: Any = tuned.active_peft_config
    about.base_model_name_or_path = model.name  # where the base lies on this machine is nobody's business
    if getattr(about, "target_modules", None):
        about.target_modules = sorted(about.target_modules)  # a set is written in another order each time
    return tuned


def list_layers(network: "nn.Module") -> "list[nn.Module]":
    """The layers of a network, the first one first; none where it does not keep them in one list."""
    from torch import nn

    depth = getattr(network.config, "num_hidden_layers", 0)
    stacks = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return list(stacks[0]) if len(stacks) == 1 else []


def weaken(tuned: "PeftModel", strength: float) -> None:
    """Takes a share of the tuned change: between the frozen weights, 0, and the tuned ones, 1."""
    import torch

    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.mul_(strength)
            elif "ia3_l" in name:
                weight.sub_(1).mul_(strength).add_(1)


def save_adapter(tuned: "PeftModel | None", described: Mapping[str, Any], path: Path) -> None:
    """Writes an adapter's folder: peft's files and what kgrec says of it, which comes last.

    Args:
        tuned: the tuned network; None: validation kept none, and only the description is written.
        described: what `ADAPTER_FILE` holds.
        path: the folder; what `check_adapter_folder` lets be overwritten.

    Raises:
        TextError: the folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path, prefix=".writing-") as folder:
            if tuned is not None:
                tuned.save_pretrained(folder, save_embedding_layers=False)
            written = Path(folder) / ADAPTER_FILE
            written.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            (path / ADAPTER_FILE).unlink(missing_ok=True)  # until all is there, there is no adapter
            for old in ADAPTER_FILES:
                (path / old).unlink(missing_ok=True)
                if tuned is not None:
                    (Path(folder) / old).replace(path / old)
            written.replace(path / ADAPTER_FILE)
    except OSError as error:
        raise TextError(f"cannot write the adapter {path}: {error}; expected a folder that can be written") from error


def check_adapter_folder(path: Path, checkpoints: Path) -> None:
    """Checks that an adapter may be written to a folder: it is new, empty, an adapter's or an interrupted one's.

    Raises:
        TextError: it holds something else, or is a file.
    """
    known = (path / ADAPTER_FILE).exists() or checkpoints.exists()
    if path.exists() and not known and (not path.is_dir() or any(path.iterdir())):
        raise TextError(f"{path} is there and is no adapter; expected a new folder, an empty one or an adapter's")


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a run that is done."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logging.getLogger(__name__).warning("the checkpoints in %s are left there: %s", folder, error)
