"""How the tokens of a text become one vector: the pooling, and the dense layers behind it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgrec.errors import TextError
from kgrec.text.model_files import incomplete, read_json

if TYPE_CHECKING:
    from torch import nn

Pooling = Literal["mean", "last", "cls"]

_POOLINGS: dict[str, Pooling] = {"mean": "mean", "lasttoken": "last", "cls": "cls"}
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def load_layers(
    folder: Path, modules: list[tuple[Path, str]], network: "nn.Module", device: str
) -> tuple[Pooling, "nn.Sequential", int]:
    """The pooling, the layers behind it, and the width of the vectors.

    Raises:
        TextError: a module is unknown, or its files are incomplete.
    """
    from torch import nn

    config: Any = network.config
    width = int(getattr(config, "hidden_size", None) or config.d_model)
    pooling: Pooling = "last" if _is_decoder(config) else "mean"
    layers: list[nn.Module] = []
    for path, kind in modules:
        if kind == "Pooling":
            pooling = _read_pooling(path)
        elif kind == "Dense":
            layers.append(_load_dense(path))
            width = read_json(path, "config.json")["out_features"]
        elif kind != "Normalize":
            raise TextError(
                f"the model in {folder} has a module {kind}; expected Transformer, Pooling, Dense and Normalize: "
                f"use another model"
            )
    return pooling, nn.Sequential(*layers).to(device).eval(), width


def _is_decoder(config: Any) -> bool:
    """Whether a plain folder holds a decoder-only model, by the architecture that it was trained as."""
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or ()) or (
        getattr(config, "is_decoder", False) is True
    )


def _read_pooling(path: Path) -> Pooling:
    described = read_json(path, "config.json")
    modes = described.get("pooling_mode") or [mode for key, mode in _OLD_POOLINGS.items() if described.get(key)]
    modes = [modes] if isinstance(modes, str) else list(modes) or ["mean"]
    if len(modes) != 1 or modes[0] not in _POOLINGS or described.get("include_prompt", True) is not True:
        raise TextError(
            f"the model in {path.parent} pools its tokens by {' and '.join(modes)}"
            f"{'' if described.get('include_prompt', True) else ' without the prompt'}; expected one of "
            f"{', '.join(_POOLINGS)}: use another model, or name the pooling"
        )
    return _POOLINGS[modes[0]]


def _load_dense(path: Path) -> "nn.Module":
    import torch
    from safetensors.torch import load_file
    from torch import nn

    described = read_json(path, "config.json")
    activation = str(described.get("activation_function") or "torch.nn.Identity")
    kind = getattr(nn, activation.rpartition(".")[2], None)
    try:
        with torch.random.fork_rng(devices=[]):
            layer = nn.Linear(described["in_features"], described["out_features"], bias=described.get("bias", True))
        if described.get("use_residual") or not activation.startswith("torch.nn.") or kind is None:
            raise ValueError(
                f"a dense layer with {activation}{' and a residual' * bool(described.get('use_residual'))}"
            )
        weights = load_file(path / "model.safetensors")
        layer.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
        return nn.Sequential(layer, kind())
    except Exception as error:
        raise incomplete(path, f"{type(error).__name__}: {error}") from error
