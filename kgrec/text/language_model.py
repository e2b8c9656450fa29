"""Language models: texts -> tokens -> unit vectors; only this module imports transformers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError
from kgrec.text.adapter import Adapter, apply_adapter, check_base, join_networks, load_adapter
from kgrec.text.model_files import (
    DEFAULT_MODEL,
    find_folder,
    hash_files,
    hash_parts,
    read_json,
    read_modules,
    read_prompt,
)
from kgrec.text.pooling import Pooling, load_layers

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "int8"]
Embed = Callable[["Tensor", "Tensor"], NDArray[np.float32]]  # tokens and mask (n, longest) -> vectors (n, dim)

MAX_TOKENS = 512  # for models that give no limit of their own


@dataclass(frozen=True)
class LanguageModel:
    """A transformer, its tokenizer, and how its tokens become one vector.

    Attributes:
        name: how a person names it.
        network: the transformer (or peft's wrapper of it), in evaluation mode; its call gives `last_hidden_state`.
        tokenizer: its tokenizer.
        pooling: which tokens a text's vector is made of: their mean, the last, or the first.
        layers: the Dense layers of a sentence-transformers folder, behind the pooling; the output is normalised.
        max_tokens: how many tokens of a text are read.
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
        return [tokens or [unknown] for tokens in read["input_ids"]]  # most tokenizers drop a NUL

    def pad(self, tokens: Sequence[Sequence[int]]) -> tuple["Tensor", "Tensor"]:
        """Puts tokens into a matrix, padded on the right even where the tokenizer pads on the left.

        Padding behind a text shifts none of its positions.

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
        hidden = hidden[:, -ids.shape[1] :]  # prefix tuning of some models returns the prefix too
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
    adapter: Path | Adapter | None = None,
    pooling: Pooling | None = None,
    prefix: str | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Loads a language model: a sentence encoder, or any encoder or decoder-only model.

    Args:
        name: a folder with a sentence-transformers or a transformers model, or its name on the model hub. None and
            "all-MiniLM-L6-v2" are the default model, read from an installed package without any network. A model of
            the hub that is in the local hub cache is read from there.
        device: the torch device.
        adapter: an adapter that `kgrec adapt` trained for this model, or its folder; it is merged into the weights
            where its method allows.
        pooling: None: the adapter's, or else that of the folder's sentence-transformers modules; without them the mean
            of an encoder's tokens and the last token of a decoder-only model.
        prefix: put before each text. None: the adapter's, or else the folder's default prompt, or nothing.
        trust_remote_code: whether the folder may bring Python code of its own that is run.

    Raises:
        TextError: no such folder or model, the hub cannot be reached, the files are incomplete, of an architecture
            that gives no hidden states or want to run code of their own, or the adapter is of another model.
    """
    folder = find_folder(name, trust_remote_code)
    modules = read_modules(folder)
    base_revision = hash_files(folder, [path for path, _ in modules], trust_remote_code)
    if isinstance(adapter, Path):
        adapter = load_adapter(adapter)
    if adapter is not None:
        check_base(adapter, folder, base_revision)
    network, tokenizer = _load_network(modules[0][0], device, trust_remote_code)
    folder_pooling, layers, dim = load_layers(folder, modules[1:], network, device)
    folder_prefix = read_prompt(folder)
    described = {} if adapter is None else adapter.described
    default_pooling, default_prefix = described.get("pooling", folder_pooling), described.get("prefix", folder_prefix)
    used_pooling = default_pooling if pooling is None else pooling
    used_prefix = default_prefix if prefix is None else prefix
    revision = base_revision
    if adapter is not None:
        if (used_pooling, used_prefix) != (default_pooling, default_prefix):
            raise TextError(
                f"the adapter {adapter.source} was trained with pooling {default_pooling!r} and the prefix "
                f"{default_prefix!r}; got {used_pooling!r} and {used_prefix!r}: leave both out, or leave out the "
                f"adapter"
            )
        weight = described["ensemble_weight"]
        frozen = deepcopy(network) if weight else None
        network = apply_adapter(network, adapter)
        if frozen is not None:
            network, layers, dim = *join_networks(network, frozen, layers, weight), 2 * dim
        revision = hash_parts([revision, used_pooling, used_prefix, str(weight), adapter.digest])
    if (used_pooling, used_prefix) != (folder_pooling, folder_prefix):
        revision = hash_parts([revision, used_pooling, used_prefix])
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


def _load_network(folder: Path, device: str, trust_remote_code: bool) -> tuple["nn.Module", Any]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    described = read_json(folder, "config.json")
    known = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            config = AutoConfig.from_pretrained(folder, **known)
            # Only the encoder of an encoder-decoder model is needed.
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
    except Exception as error:  # a damaged file can make the libraries raise anything
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
    # transformers draws missing weights at random with a mere warning. BERT's own pooler is not used.
    lacking = {key for key in report["missing_keys"] if "pooler" not in key} | {
        str(key) for key in report["mismatched_keys"]
    }
    if lacking:
        raise TextError(
            f"the text encoder in {folder} lacks some of its weights: {len(lacking)}, the first {min(lacking)}; "
            f"expected a whole model: copy or download it again"
        )
    return network, tokenizer


def _read_max_tokens(folder: Path, network: "nn.Module", tokenizer: Any) -> int:
    """The folder's own limit, within what the positions and the tokenizer allow."""
    config: Any = network.config
    described = read_json(folder, "sentence_bert_config.json", "sentence_roberta_config.json")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        positions -= 2  # their positions start behind the padding token
    limits = [int(described.get("max_seq_length") or MAX_TOKENS), int(tokenizer.model_max_length)]
    return min([*limits, positions] if positions and positions > 0 else limits)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers while it is open."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # we raise what it would warn about
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
