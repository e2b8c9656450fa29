"""Embedding texts with gradients: chunks of like length, mixed precision, attention that can be trained through."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kgrec.adapt.frozen_layers import FrozenStates
from kgrec.text.batching import CUDA_TOKENS_PER_BATCH
from kgrec.text.encoder import has_bf16
from kgrec.text.language_model import LanguageModel

_CPU_CHUNK_TOKENS = 2048  # embedded at once: larger chunks overflow a CPU's cache


def embed_texts(model: LanguageModel, tokens: Sequence[list[int]], frozen: FrozenStates | None = None) -> Tensor:
    """Embeds texts in chunks of like length; gradients flow.

    Args:
        model: the language model.
        tokens: of n texts.
        frozen: their states above the frozen layers; None: every layer is computed.

    Returns:
        Float32 (n, dim) unit rows.
    """
    chunks, parts = chunk_rows(tokens, model.device), []
    for rows in chunks:
        with autocast(model.device), nullcontext() if frozen is None else frozen.select(rows).standing_in():
            parts.append(model.embed([tokens[row] for row in rows]))
    order = torch.from_numpy(np.concatenate(chunks)).to(parts[0].device)
    return torch.cat(parts)[order.argsort()]


def chunk_rows(tokens: Sequence[list[int]], device: torch.device) -> list[NDArray[np.int64]]:
    """Groups rows of like length into chunks that are embedded at once."""
    lengths = np.array([len(row) for row in tokens])
    order = np.argsort(lengths, kind="stable")
    most = CUDA_TOKENS_PER_BATCH if device.type == "cuda" else _CPU_CHUNK_TOKENS
    chunks, start = [], 0
    while start < len(order):
        padded = lengths[order[start:]] * np.arange(1, len(order) - start + 1)  # tokens of a chunk that ends here
        end = start + max(int(np.searchsorted(padded, most, "right")), 1)
        chunks.append(order[start:end])
        start = end
    return chunks


def autocast(device: torch.device) -> Any:
    """Mixed precision for training: bfloat16 where the device has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device.type))


@contextmanager
def training_attention(network: nn.Module) -> Iterator[None]:
    """Switches attention to a kernel that can be trained through, while it is open.

    On a CPU that is the eager one, which is faster with gradients. On CUDA it is any but cuDNN's: for masked texts of
    64 tokens, our default, its backward pass gives NaN once all their logits are low (pytorch issue 196678).
    """
    config: Any = network.config
    before: Any = config._attn_implementation
    set_attention: Any = getattr(network, "set_attn_implementation", None)
    if set_attention is not None and next(network.parameters()).device.type == "cpu":
        set_attention("eager")
    try:
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            yield
    finally:
        if set_attention is not None:
            set_attention(before)
