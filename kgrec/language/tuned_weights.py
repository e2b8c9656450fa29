"""The few weights of a network that are tuned, by peft."""

import warnings
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kgrec.config import AdaptConfig
from kgrec.errors import TextError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn

_LINEAR = ("Linear", "Conv1D")
_LORA_SCALE = 2  # alpha divided by the rank
_ADALORA_START = 1.5  # first ranks divided by final ranks
_ADALORA_WARMUP, _ADALORA_END = 0.15, 0.35  # shares of the steps before and after the ranks fall


class Tunable(Protocol):
    """A language model, of texts to vectors or of texts to texts."""

    @property
    def name(self) -> str:
        """How a person names it."""

    @property
    def network(self) -> "nn.Module":
        """The network."""


def tune_few(
    model: Tunable, config: AdaptConfig, task: Literal["FEATURE_EXTRACTION", "CAUSAL_LM"] = "FEATURE_EXTRACTION"
) -> "PeftModel":
    """Adds the weights to tune to a language model's network; the others are frozen, and dropout is off.

    All layers are tuned, whatever `config.layers`, where the network does not keep them in one list.

    Args:
        model: the language model; its network is changed.
        config: the settings.
        task: peft's name of what the network gives, hidden states or scores of the next token.

    Raises:
        TextError: the method cannot be used with this architecture.
    """
    import torch
    from peft import AdaLoraConfig, IA3Config, LoraConfig, PrefixTuningConfig, TaskType, get_peft_model

    given: Any = {"task_type": TaskType[task]}
    stack = list_layers(model.network)
    last = stack[-config.layers :] if 0 < config.layers < len(stack) else []
    inside = {id(part) for layer in last for part in layer.modules()}
    scores = getattr(model.network, "get_output_embeddings", lambda: None)()  # often one with the input embeddings
    linear = [
        name
        for name, part in model.network.named_modules()
        if type(part).__name__ in _LINEAR
        and (id(part) in inside or not last)
        and part is not scores
        and "pooler" not in name  # its output is not read
    ]
    start = max(config.rank + 1, round(config.rank * _ADALORA_START))
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that peft still uses
            torch.manual_seed(config.seed)
            if config.method == "lora":
                chosen: Any = LoraConfig(
                    r=config.rank,
                    lora_alpha=_LORA_SCALE * config.rank,
                    lora_dropout=0.0,
                    target_modules=linear,
                    **given,
                )
            elif config.method == "adalora":
                chosen = AdaLoraConfig(
                    init_r=start, target_r=config.rank, lora_alpha=_LORA_SCALE * config.rank, lora_dropout=0.0,
                    tinit=round(_ADALORA_WARMUP * config.steps), tfinal=round(_ADALORA_END * config.steps), deltaT=5,
                    total_step=config.steps, target_modules=linear, **given,
                )  # fmt: skip
            elif config.method == "prefix":
                chosen = PrefixTuningConfig(num_virtual_tokens=config.prefix_tokens, **given)
            else:
                chosen = IA3Config(**given)
            network: Any = model.network
            tuned: PeftModel = get_peft_model(network, chosen)
    except Exception as error:  # an unknown architecture can make peft raise anything
        raise TextError(
            f"cannot tune {model.name!r} by {config.method}: {type(error).__name__}: {error}; expected a method for "
            f"this architecture: use lora, which fits any"
        ) from error
    tuned.eval()
    about: Any = tuned.active_peft_config
    about.base_model_name_or_path = model.name  # not its path on this machine
    if getattr(about, "target_modules", None):
        about.target_modules = sorted(about.target_modules)  # a set has another order each time
    return tuned


def list_layers(network: "nn.Module") -> "list[nn.Module]":
    """The layers of a network in order; none where it does not keep them in one list."""
    from torch import nn

    depth = getattr(network.config, "num_hidden_layers", 0)
    stacks = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return list(stacks[0]) if len(stacks) == 1 else []


def scale_change(tuned: "PeftModel", strength: float) -> None:
    """Scales the tuned change: 0 gives the frozen weights, 1 the tuned ones."""
    import torch

    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.mul_(strength)
            elif "ia3_l" in name:
                weight.sub_(1).mul_(strength).add_(1)
