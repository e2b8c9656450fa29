"""Packs named tensors into one compressed file, without loss.

The bytes of a tensor are regrouped by significance, the lowest byte of all numbers first, since bytes of the same
significance are similar. The result is a safetensors file compressed by Zstandard (RFC 8878).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load, save
from torch import Tensor

_CODEC, _LEVEL = "zstd", 9
_DTYPES = {"bool", "float16", "float32", "float64"} | {f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)}
_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_RATIO = 2**15  # a block has at least 4 bytes and unpacks to at most 128 KiB
_MAX_BYTES = 2**63 - 1  # of an array


def pack_tensors(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, Any]]:
    """Packs tensors: the content of a file, and the layout that `unpack_tensors` needs, as JSON values."""
    shapes = {name: [str(tensor.numpy().dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    planes = {name: _split(tensor) for name, tensor in tensors.items()}
    content = save(planes)
    packed: bytes = pa.Codec(_CODEC, compression_level=_LEVEL).compress(content, asbytes=True)
    return packed, {"unpacked_bytes": len(content), "tensors": shapes}


def unpack_tensors(packed: bytes, about: Mapping[str, Any]) -> dict[str, Tensor]:
    """Unpacks tensors; the sizes are checked before any memory is allocated.

    Raises:
        OSError, SafetensorError: it is damaged.
        KeyError, TypeError, ValueError: it does not match `about`.
    """
    size = about["unpacked_bytes"]
    _check_size(size, packed, about["tensors"])
    content = pa.Codec(_CODEC).decompress(packed, size, asbytes=True)
    planes = load(content)
    return {name: _join(planes[name], np.dtype(dtype), shape) for name, (dtype, shape) in about["tensors"].items()}


def _check_size(size: Any, packed: bytes, layout: Mapping[str, Any]) -> None:
    """Checks that the layout, the size in the manifest and the size in the frame's header agree."""
    least = sum(_count_bytes(name, dtype, shape) for name, (dtype, shape) in layout.items())
    header = 1024 + sum(256 + 6 * len(name) for name in layout)  # of safetensors: each name, as JSON, with its place
    if type(size) is not int or not least <= size <= least + header:
        raise ValueError(f"tensors of {size} bytes; expected {least} by their shapes, and at most {header} more")
    framed = _read_frame_size(packed)
    if framed != size:
        raise ValueError(f"the compressed tensors unpack to {framed} bytes; expected {size}")
    if size > _MAX_RATIO * len(packed):
        raise ValueError(f"{len(packed)} compressed bytes cannot hold {size}")


def _count_bytes(name: str, dtype: object, shape: Any) -> int:
    if dtype not in _DTYPES:
        raise ValueError(f"{name} has the type {dtype!r}; expected one of {sorted(_DTYPES)}")
    itemsize: int = np.dtype(str(dtype)).itemsize
    if not all(type(n) is int and n >= 0 for n in shape) or itemsize * math.prod(n or 1 for n in shape) > _MAX_BYTES:
        raise ValueError(f"{name} has the shape {shape}; expected whole numbers, and an array that memory can hold")
    return itemsize * int(math.prod(shape))


def _read_frame_size(packed: bytes) -> int:
    """The unpacked size of a Zstandard frame, from its header (RFC 8878, 3.1.1.1)."""
    if not packed.startswith(_MAGIC):
        raise ValueError("the tensors are not compressed by Zstandard")
    header = packed[len(_MAGIC) :][:15]
    descriptor = header[0] if header else 0
    is_single = descriptor >> 5 & 1
    width, base = ((is_single, 0), (2, 256), (4, 0), (8, 0))[descriptor >> 6]
    start = 2 - is_single + (0, 1, 2, 4)[descriptor & 3]  # behind the window's size and the dictionary's number
    field = header[start : start + width]
    if not field or len(field) < width:
        raise ValueError("the compressed tensors do not give their size")
    return base + int.from_bytes(field, "little")


def _split(tensor: Tensor) -> Tensor:
    """(itemsize, n) uint8."""
    values = np.ascontiguousarray(tensor.numpy()).reshape(-1)
    return torch.from_numpy(np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T))


def _join(planes: Tensor, dtype: np.dtype[Any], shape: list[int]) -> Tensor:
    values = np.ascontiguousarray(planes.numpy().T).reshape(-1).view(dtype)
    return torch.from_numpy(values.reshape(shape))
