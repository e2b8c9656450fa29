"""Adapters of language models: a folder that `kgrec adapt` wrote, read whole, and its weights put into a network."""

import hashlib
import json
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kgrec.errors import TextError
from kgrec.text.model_files import read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

ADAPTER_FILE = "kgrec_adapter.json"  # replaced last: it names the files with peft's settings and weights
ADAPTER_VERSION = 3  # 2 kept the files under peft's names, so that a reader could find half of them replaced
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"  # peft's names
_FILE_NAME = re.compile(r"adapter_(?:config|model)-([0-9a-f]{16})\.(?:json|safetensors)")
_TRIES = 20  # to read an adapter that is replaced meanwhile


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory, so that it stays usable when its folder changes.

    Attributes:
        source: where it was read from, for error messages.
        described: the content of `ADAPTER_FILE`.
        config: the content of peft's `CONFIG_FILE`.
        weights: the content of peft's `WEIGHTS_FILE`.
    """

    source: str
    described: Mapping[str, Any]
    config: bytes
    weights: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the settings and weights. The report does not count, since no vector depends on it."""
        parts = [hashlib.sha256(content).hexdigest() for content in (self.config, self.weights)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def name_files(config: bytes, weights: bytes) -> dict[str, str]:
    """Names an adapter's files by their content: peft's name -> the name in the folder."""
    return {
        name: f"{Path(name).stem}-{hashlib.sha256(content).hexdigest()[:16]}{Path(name).suffix}"
        for name, content in ((CONFIG_FILE, config), (WEIGHTS_FILE, weights))
    }


def is_named_file(name: str) -> bool:
    """Whether a file has a name that `name_files` gives."""
    return _FILE_NAME.fullmatch(name) is not None


def read_adapter(folder: Path) -> Mapping[str, Any]:
    """Reads an adapter's description: its base model, its pooling, its report, and whether validation kept it.

    Raises:
        TextError: there is none, it is damaged, or another version of kgrec wrote it.
    """
    described = read_json(Path(folder), ADAPTER_FILE)
    if "base_revision" not in described:
        raise _missing(folder)
    if described.get("version") != ADAPTER_VERSION:
        raise TextError(
            f"the adapter {folder} has version {described.get('version')}; expected {ADAPTER_VERSION}: train it again "
            f"with this kgrec, or install the one that wrote it"
        )
    return described


def load_adapter(folder: Path) -> Adapter:
    """Reads an adapter whole; while another process replaces it, the old one or the new one.

    Raises:
        TextError: there is none, validation did not keep it, or a file is missing or damaged.
    """
    folder = Path(folder)
    described = read_adapter(folder)
    for _ in range(_TRIES):
        try:
            return _read_files(folder, described)
        except OSError as error:
            newer = read_adapter(folder)
            if newer == described:
                raise _missing(folder) from error
            described = newer  # its old files are gone
    return _read_files(folder, described)


def _read_files(folder: Path, described: Mapping[str, Any]) -> Adapter:
    if not described.get("kept", True):
        raise TextError(
            f"the adapter {folder} was not kept: {described['report']['reason']}; expected one that validation kept: "
            f"use the model without it, or train another"
        )
    contents = []
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        own = str(described.get("files", {}).get(name))
        match = _FILE_NAME.fullmatch(own)
        if match is None:
            raise TextError(f"the adapter {folder} names no {name} of its own, got {own!r}: copy it again")
        content = (folder / own).read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] != match[1]:
            raise TextError(
                f"the adapter {folder} is damaged: {own} has another SHA-256 than its name; copy it again, or train "
                f"another"
            )
        contents.append(content)
    return Adapter(str(folder), described, *contents)


def _missing(folder: Path) -> TextError:
    return TextError(
        f"no adapter in {folder}: expected a folder that `kgrec adapt` wrote, with {ADAPTER_FILE} and the files that "
        f"it names: check the path, copy all of its files, or train one"
    )


def check_base(adapter: Adapter, folder: Path, base_revision: str) -> None:
    """Checks that an adapter was trained for the model in a folder.

    Raises:
        TextError: it was trained for another model.
    """
    expected = str(adapter.described["base_revision"])
    if expected != base_revision:
        raise TextError(
            f"the adapter {adapter.source} was trained for a model of revision {expected[:12]}; got the model in "
            f"{folder}, {base_revision[:12]}: name the model that it was trained for, or train another"
        )


def apply_adapter(network: "nn.Module", adapter: Adapter) -> "nn.Module":
    """Puts an adapter's weights into a network, merged where the method allows.

    Raises:
        TextError: it does not fit the network.
    """
    from peft import PeftModel, PeftType, get_peft_model_state_dict
    from safetensors.torch import load

    try:
        saved = load(adapter.weights)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, warnings.catch_warnings():
            folder = Path(name)  # peft reads files only
            (folder / CONFIG_FILE).write_bytes(adapter.config)
            (folder / WEIGHTS_FILE).write_bytes(adapter.weights)
            warnings.simplefilter("ignore")  # of names that peft still uses; missing weights are an error below
            adapted = PeftModel.from_pretrained(network, folder, is_trainable=False)
        applied = get_peft_model_state_dict(adapted, save_embedding_layers=False)  # "auto" asks the hub
    except Exception as error:
        raise TextError(
            f"cannot apply the adapter {adapter.source}: {type(error).__name__}: {error}; expected one of this model's "
            f"architecture: copy it again, or train another"
        ) from error
    if saved.keys() != applied.keys():
        raise TextError(
            f"the adapter {adapter.source} does not fit the model: {len(saved.keys() - applied.keys())} of its weights "
            f"have no place and {len(applied.keys() - saved.keys())} places no weight; expected one of this model's "
            f"architecture: copy it again, or train another"
        )
    if adapted.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
        return adapted  # nothing to merge: the prefix goes in front of every layer's keys and values
    merged: nn.Module = adapted.merge_and_unload()
    return merged


def join_networks(
    adapted: "nn.Module", frozen: "nn.Module", layers: "nn.Sequential", weight: float
) -> tuple["nn.Module", "nn.Sequential"]:
    """Joins the adapted and the frozen network: hidden states side by side, each half of a vector scaled to its weight.

    The cosine of two texts is then the weighted mean of the two networks' cosines; `weight` is the frozen one's.
    """
    import torch

    class Joined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adapted, self.frozen, self.config = adapted, frozen, frozen.config

        def forward(self, input_ids: "Tensor", attention_mask: "Tensor") -> SimpleNamespace:
            both = [
                network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, -input_ids.shape[1] :]
                for network in (self.adapted, self.frozen)
            ]
            return SimpleNamespace(last_hidden_state=torch.cat(both, dim=2))

        def set_attn_implementation(self, name: str) -> None:
            for network in (self.adapted, self.frozen):
                network.set_attn_implementation(name)  # type: ignore[operator]

    class Halves(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, pooled: "Tensor") -> "Tensor":
            halves = [torch.nn.functional.normalize(self.layers(half), dim=1) for half in pooled.chunk(2, dim=1)]
            return torch.cat([halves[0] * (1 - weight) ** 0.5, halves[1] * weight**0.5], dim=1)

    return Joined(), torch.nn.Sequential(Halves())
