"""Frozen dataclasses of tensors, arrays, sparse matrices and numbers, as named tensors and back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.component import INT8_LEVELS

_SCALE = ":scale"  # names the scales of the rows of an int8 tensor
_ROWS, _SHAPE = ":rows", ":shape"  # name the rows that are not zeros, and the shape with the others
_MATRIX = ("indptr", "indices", "data", "shape")

Value = TypeVar("Value")


def to_arrays(value: object, prefix: str) -> dict[str, Tensor]:
    """The fields of a dataclass as tensors, by `<prefix>.<field>`; fields that are None are left out.

    A field's metadata may say that it is stored in half precision, or as int8 with a scale for each row.
    """
    arrays: dict[str, Tensor] = {}
    for field in fields(value):  # type: ignore[arg-type]
        name, own = f"{prefix}.{field.name}", getattr(value, field.name)
        stored = field.metadata.get("stored")
        if own is None:
            continue
        if is_dataclass(own):
            arrays |= to_arrays(own, name)
        elif isinstance(own, csr_array):
            arrays |= _from_matrix(own, name, stored)
        elif isinstance(own, Tensor | np.ndarray):
            arrays |= _pack(torch.from_numpy(own) if isinstance(own, np.ndarray) else own, name, stored)
        else:
            arrays[name] = torch.tensor(own, dtype=torch.float64 if isinstance(own, float) else torch.int64)
    return arrays


def from_arrays(kind: type[Value], arrays: Mapping[str, Tensor], prefix: str) -> Value:
    """A dataclass from the tensors that `to_arrays` made of one.

    Raises:
        KeyError: a field is missing.
    """
    hints, found = get_type_hints(kind), {}
    for field in fields(kind):  # type: ignore[arg-type]
        found[field.name] = _read_field(hints[field.name], arrays, f"{prefix}.{field.name}")
    return kind(**found)


def _read_field(hint: Any, arrays: Mapping[str, Tensor], name: str) -> Any:
    if isinstance(hint, UnionType):
        if not any(key == name or key.startswith(f"{name}.") for key in arrays):
            return None
        hint = next(one for one in get_args(hint) if one is not type(None))
    if is_dataclass(hint):
        return from_arrays(hint, arrays, name)  # type: ignore[arg-type]
    if hint is csr_array:
        return _to_matrix(arrays, name)
    if hint in (float, int):
        return hint(arrays[name].item())
    tensor = _unpack(arrays, name)
    return tensor if hint is Tensor else tensor.numpy()


def round_stored(value: Value) -> Value:
    """The dataclass as it is when it has been stored and read back."""
    return from_arrays(type(value), to_arrays(value, "value"), "value")


def _pack(tensor: Tensor, name: str, stored: str | None) -> dict[str, Tensor]:
    tensor = tensor.detach().cpu()
    if stored == "half":
        return {name: tensor.half()}
    if stored == "int8" and tensor.numel():
        rows = torch.nonzero(tensor.any(dim=1)).squeeze(1)  # those of zeros are left out
        kept = tensor[rows]
        scale = kept.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / INT8_LEVELS
        return {
            name: (kept / scale).round().to(torch.int8), name + _SCALE: scale, name + _ROWS: rows.to(torch.int32),
            name + _SHAPE: torch.tensor(tensor.shape),
        }  # fmt: skip
    return {name: tensor}


def _unpack(arrays: Mapping[str, Tensor], name: str) -> Tensor:
    tensor = arrays[name]
    if name + _SCALE in arrays:
        whole = torch.zeros(tuple(arrays[name + _SHAPE].tolist()))
        whole[arrays[name + _ROWS].long()] = tensor.float() * arrays[name + _SCALE]
        return whole
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _from_matrix(matrix: csr_array, name: str, stored: str | None) -> dict[str, Tensor]:
    index = torch.int32 if max(matrix.nnz, *matrix.shape) < torch.iinfo(torch.int32).max else torch.int64
    data = torch.from_numpy(np.asarray(matrix.data))
    parts = {
        "indptr": torch.from_numpy(matrix.indptr.astype(np.int64)).to(index),
        "indices": _narrow(matrix.indices, matrix.shape[1]),
        "shape": torch.tensor(matrix.shape, dtype=torch.int64),
        "data": data.half() if stored == "half" else data,
    }
    return {f"{name}.{key}": part for key, part in parts.items()}


def _narrow(indices: NDArray[np.integer], size: int) -> Tensor:
    """Columns as 16 bits where they fit."""
    if size <= np.iinfo(np.uint16).max:
        return torch.from_numpy(indices.astype(np.uint16))
    return torch.from_numpy(indices.astype(np.int32 if size <= np.iinfo(np.int32).max else np.int64))


def _to_matrix(arrays: Mapping[str, Tensor], name: str) -> csr_array:
    indptr, indices, data, shape = (arrays[f"{name}.{key}"].numpy() for key in _MATRIX)
    index = np.int32 if shape.max(initial=0) <= np.iinfo(np.int32).max else np.int64
    parts = data.astype(np.float32), indices.astype(index), indptr.astype(index)
    return csr_array(parts, shape=tuple(shape.tolist()))


def pack_pattern(matrix: csr_array) -> dict[str, Tensor]:
    """Where a matrix of 1s has its entries."""
    return {
        "indptr": torch.from_numpy(matrix.indptr.astype(np.int64)),
        "indices": _narrow(matrix.indices, matrix.shape[1]),
    }


def unpack_pattern(arrays: Mapping[str, Tensor], shape: tuple[int, int]) -> csr_array:
    """A matrix of 1s, float32, from what `pack_pattern` made of one."""
    indptr, indices = (arrays[name].numpy().astype(np.int64) for name in ("indptr", "indices"))
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
