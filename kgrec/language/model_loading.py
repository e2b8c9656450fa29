"""Loads causal language models and checks them; of this package only this module imports transformers."""

from contextlib import nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from kgrec.errors import TextError
from kgrec.language.model_source import ModelSource
from kgrec.text.adapter import Adapter, apply_adapter, check_base, load_adapter
from kgrec.text.encoder import has_bf16
from kgrec.text.language_model import quiet
from kgrec.text.model_files import hash_parts

if TYPE_CHECKING:
    from torch import nn

ADAPTER_TASK = "titles"  # of the adapters that `tune_titles` trains
_MOST_TOKENS = 4096  # read, however many a model could
_SAME = 1e-2  # the largest change of a score by a later token, of scores of about 10


def load_parts(
    source: ModelSource, device: str | None, adapter: Path | Adapter | None, precision: Literal["fp32", "bf16"] | None
) -> dict[str, Any]:
    """Loads the fields of a LocalLanguageModel; see `LocalLanguageModel.load`."""
    import torch

    adapter = load_adapter(adapter) if isinstance(adapter, Path) else adapter
    used_device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = has_bf16(used_device) if precision is None else precision == "bf16"
    if adapter is not None and adapter.described.get("task") != ADAPTER_TASK:
        raise TextError(
            f"the adapter {adapter.source} was trained for a text encoder; expected one that was tuned on titles: "
            f"name another"
        )
    network, tokenizer = _load_network(source, used_device, torch.bfloat16 if bf16 else torch.float32)
    n_virtual, prefix = 0, None
    if adapter is not None:
        _check_adapter(adapter, source, tokenizer)
        network, prefix, n_virtual = _adapt(network, adapter)
    config: Any = network.config
    own = tokenizer.eos_token_id
    generation = getattr(network, "generation_config", None)
    given = getattr(generation, "eos_token_id", None) or getattr(config, "eos_token_id", None)
    stops = frozenset({*(given if isinstance(given, list) else [given]), own} - {None})
    line_end = tokenizer("\n", add_special_tokens=False)["input_ids"]
    if not line_end and own is None:
        raise TextError(
            f"the tokenizer of {source.name} has no token for the end of a line or of a text; expected one of them: "
            f"use another model"
        )
    positions = getattr(config, "max_position_embeddings", None) or _MOST_TOKENS
    return {
        "name": source.name,
        "source": source,
        "network": network.eval(),
        "tokenizer": tokenizer,
        "start": _find_start(tokenizer),
        "end": line_end[-1] if line_end else own,
        "stops": stops,
        "max_tokens": min(int(positions), int(tokenizer.model_max_length), _MOST_TOKENS) - n_virtual,
        "prefix": prefix,
    }


def _load_network(source: ModelSource, device: str, dtype: Any) -> tuple["nn.Module", Any]:
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    known: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    packed: dict[str, Any] = {}
    if source.gguf_file is not None:
        known["gguf_file"] = source.gguf_file
        if hasattr(transformers, "GgufConfig"):  # newer ones may leave the weights packed, which cannot be tuned
            packed["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        silent = redirect_stderr(StringIO()) if source.gguf_file is not None else nullcontext()  # its progress bar
        with silent, quiet(), torch.random.fork_rng(devices=[]):
            config = AutoConfig.from_pretrained(source.folder, **known)
            tokenizer = AutoTokenizer.from_pretrained(source.folder, config=config, **known)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source.folder,
                config=config,
                use_safetensors=source.gguf_file is None,
                dtype=dtype,
                output_loading_info=True,
                **packed,
                **known,
            )
            network, report = loaded[0].to(device).eval(), loaded[1]
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise TextError(
            f"cannot load the language model {source.name} on device {device!r}: {type(error).__name__}: {error}; "
            f"expected a whole causal language model: copy or download it again, or use another"
        ) from error
    # transformers draws missing weights at random with a mere warning.
    lacking = {str(key) for key in (*report["missing_keys"], *report["mismatched_keys"])}
    if lacking:
        raise TextError(
            f"the language model {source.name} lacks {len(lacking)} of its weights, the first {min(lacking)}; "
            f"expected a whole causal language model: copy or download it again, or use another"
        )
    _check_tokenizer(source, network, tokenizer)
    _check_causal(source, network)
    return network, tokenizer


def _check_tokenizer(source: ModelSource, network: Any, tokenizer: Any) -> None:
    """Refuses a tokenizer that cannot be the model's; embeddings are padded, but not to twice their number.

    Special tokens that were only added to the tokenizer do not count: no text becomes one.
    """
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    largest = max((number for number in tokenizer.get_vocab().values() if number not in added), default=-1) + 1
    rows = int(network.get_input_embeddings().weight.shape[0])
    if not rows / 2 <= largest <= rows:
        raise TextError(
            f"the tokenizer of {source.name} has {largest:,} tokens and its model {rows:,}; expected the tokenizer of "
            f"the same model: copy the folder again"
        )


def _check_causal(source: ModelSource, network: Any) -> None:
    """Refuses a model whose scores depend on later tokens."""
    import torch

    try:
        with torch.inference_mode():
            ids = torch.tensor([[0, 1, 1], [0, 1, 0]], device=next(network.parameters()).device)
            scores = network(input_ids=ids).logits[:, :2].float()
        causal = bool((scores[0] - scores[1]).abs().max() <= _SAME * max(1.0, float(scores.abs().max())))
    except Exception as error:  # a damaged model can raise anything
        raise TextError(
            f"the language model {source.name} cannot be run: {type(error).__name__}: {error}; expected a whole causal "
            f"language model: copy or download it again, or use another"
        ) from error
    if not causal:
        raise TextError(
            f"{source.name} ({type(network).__name__}) reads a text from both sides; expected a causal language "
            f"model: use another"
        )


def _check_adapter(adapter: Adapter, source: ModelSource, tokenizer: Any) -> None:
    expected, got = str(adapter.described.get("tokenizer_revision")), hash_tokenizer(tokenizer)
    if expected != got:
        raise TextError(
            f"the adapter {adapter.source} was trained with a tokenizer of revision {expected[:12]}; got that of "
            f"{source.name}, {got[:12]}: name the model that it was trained for, or train another"
        )
    check_base(adapter, source.folder, source.hash())


def hash_tokenizer(tokenizer: Any) -> str:
    """A hash of a tokenizer's vocabulary."""
    return hash_parts([f"{token}\0{number}" for token, number in sorted(tokenizer.get_vocab().items())])


def _adapt(network: "nn.Module", adapter: Adapter) -> tuple["nn.Module", Any, int]:
    """The network with an adapter's weights; a tuned prefix becomes cached states, and their number."""
    import torch
    from peft import PeftModel

    adapted = apply_adapter(network, adapter)
    if not isinstance(adapted, PeftModel):
        return adapted, None, 0
    with torch.inference_mode():
        prefix: Any = adapted.get_prompt(batch_size=1)
    return network, prefix, int(prefix.get_seq_length())


def _find_start(tokenizer: Any) -> tuple[int, ...]:
    """The tokens that a tokenizer puts before a text."""
    whole = list(tokenizer("a")["input_ids"])
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    for place in range(len(whole) - len(plain) + 1):
        if plain and whole[place : place + len(plain)] == plain:
            return tuple(whole[:place])
    return ()


def fill_chat_template(tokenizer: Any, message: str, lock: Lock) -> tuple[list[int], list[int]] | None:
    """The tokens that a chat template puts before and behind a user's message; None: there is no template.

    Args:
        tokenizer: the tokenizer.
        message: stands in for the message; it is found again in the filled template.
        lock: held while the tokenizer reads special tokens.

    Raises:
        TextError: the template fails.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        filled = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # of models that think aloud first; the others' templates do not read it
        )
        before, found, behind = str(filled).partition(message)
        if not found:
            raise ValueError("it leaves out the message")
    except Exception as error:  # a template is a program
        raise TextError(
            f"the chat template of the language model fails: {type(error).__name__}: {error}; expected one that takes "
            f"a user's message: use another model"
        ) from error
    with lock:
        read = tokenizer(
            [before, behind], add_special_tokens=False, split_special_tokens=False, return_attention_mask=False
        )
    return tuple(list(tokens) for tokens in read["input_ids"])  # type: ignore[return-value]


def make_cache(network: Any) -> Any:
    """An empty cache for what a network reads."""
    from transformers import DynamicCache

    return DynamicCache(config=network.config)
