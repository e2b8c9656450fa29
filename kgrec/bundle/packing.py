"""Named tensors as one compressed file, and back: nothing is lost.

The bytes of numbers are stored by their place, first the lowest byte of all numbers, since bytes of one place are
alike; this makes a safetensors file, which is compressed by Zstandard (RFC 8878).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load, save
from torch import Tensor

_CODEC, _LEVEL = "zstd", 9


def pack_tensors(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, Any]]:
    """The content of a file, and what `unpack_tensors` needs to read it, as JSON has it."""
    shapes = {name: [str(tensor.numpy().dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    planes = {name: _split(tensor) for name, tensor in tensors.items()}
    content = save(planes)
    packed: bytes = pa.Codec(_CODEC, compression_level=_LEVEL).compress(content, asbytes=True)
    return packed, {"unpacked_bytes": len(content), "tensors": shapes}


def unpack_tensors(packed: bytes, about: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file's content.

    Raises:
        OSError, SafetensorError: it is damaged.
        KeyError, ValueError: it is not what `about` says.
    """
    content = pa.Codec(_CODEC).decompress(packed, about["unpacked_bytes"], asbytes=True)
    planes = load(content)
    return {name: _join(planes[name], np.dtype(dtype), shape) for name, (dtype, shape) in about["tensors"].items()}


def _split(tensor: Tensor) -> Tensor:
    """(itemsize, n) uint8."""
    values = np.ascontiguousarray(tensor.numpy()).reshape(-1)
    return torch.from_numpy(np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T))


def _join(planes: Tensor, dtype: np.dtype[Any], shape: list[int]) -> Tensor:
    values = np.ascontiguousarray(planes.numpy().T).reshape(-1).view(dtype)
    return torch.from_numpy(values.reshape(shape))
