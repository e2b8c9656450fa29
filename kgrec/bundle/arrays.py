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

from kgrec.model.component import to_int8

_SCALE = ":scale"  # names the scales of the rows of an int8 tensor
_ROWS, _SHAPE = ":rows", ":shape"  # name the rows that are not zeros, and the shape with the others
_TRIANGLE = ":triangle"
_SPARE_BITS = 5  # of the 11 significant ones of half precision
_MATRIX = ("indptr", "indices", "data", "shape")

Value = TypeVar("Value")


def to_arrays(value: object, prefix: str) -> dict[str, Tensor]:
    """The fields of a dataclass as tensors, by `<prefix>.<field>`; fields that are None are left out.

    A field's metadata may say that it is stored in half precision, whole or of 6 significant bits, as int8 with a scale
    for each row, or as one triangle of a symmetric matrix.
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
    tensor = unpack(arrays, name)
    return tensor if hint is Tensor else tensor.numpy()


def round_stored(value: Value) -> Value:
    """The dataclass as it is when it has been stored and read back."""
    return from_arrays(type(value), to_arrays(value, "value"), "value")


def pack_rows(tensor: Tensor, name: str) -> dict[str, Tensor]:
    """The rows of a matrix that are not zeros as int8, with a scale for each."""
    rows = torch.nonzero(tensor.any(dim=1)).squeeze(1)
    kept = tensor[rows]
    whole, scale = to_int8(kept) if len(rows) else (kept.to(torch.int8), torch.zeros((0, 1)))
    shape = torch.tensor(tensor.shape)
    return {name: whole, name + _SCALE: scale, name + _ROWS: rows.to(torch.int32), name + _SHAPE: shape}


def _pack(tensor: Tensor, name: str, stored: str | None) -> dict[str, Tensor]:
    tensor = tensor.detach().cpu()
    if stored == "half":
        return {name: tensor.half()}
    if stored == "int8" and tensor.numel():
        return pack_rows(tensor, name)
    if stored == "symmetric":
        row, column = torch.tril_indices(*tensor.shape)
        return {name + _TRIANGLE: tensor[row, column]}
    return {name: tensor}


def unpack(arrays: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor from what was made of it.

    Raises:
        KeyError: it is missing.
    """
    if name + _TRIANGLE in arrays:
        triangle = arrays[name + _TRIANGLE]
        width = int((2 * len(triangle)) ** 0.5)  # of width (width + 1) / 2 numbers
        row, column = torch.tril_indices(width, width)
        matrix = torch.empty((width, width), dtype=triangle.dtype)
        matrix[row, column] = matrix[column, row] = triangle
        return matrix
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
        "data": _coarsen(data.half()) if stored == "coarse half" else data.half() if stored == "half" else data,
    }
    return {f"{name}.{key}": part for key, part in parts.items()}


def _coarsen(values: Tensor) -> Tensor:
    """Half precision numbers to the nearest of 6 significant bits; the others are 0, which takes no room in a file."""
    bits: NDArray[np.uint16] = values.numpy().view(np.uint16)
    rounded = ((bits + np.uint16(1 << (_SPARE_BITS - 1))) >> _SPARE_BITS << _SPARE_BITS).astype(np.uint16)
    return torch.from_numpy(rounded.view(np.float16))


def _narrow(indices: NDArray[np.integer], size: int) -> Tensor:
    """Columns less the one before, in 16 bits where they fit: small numbers, which take little room in a file."""
    kind = np.int32 if size <= np.iinfo(np.int32).max else np.int64
    narrow = indices.astype(np.uint16 if size <= np.iinfo(np.uint16).max else kind)
    return torch.from_numpy(np.diff(narrow, prepend=narrow.dtype.type(0)))  # 16 bits wrap around, here and back


def _widen(steps: NDArray[np.integer]) -> NDArray[np.integer]:
    """The columns that `_narrow` was given."""
    return np.cumsum(steps, dtype=steps.dtype)


def _to_matrix(arrays: Mapping[str, Tensor], name: str) -> csr_array:
    indptr, indices, data, shape = (arrays[f"{name}.{key}"].numpy() for key in _MATRIX)
    index = np.int32 if shape.max(initial=0) <= np.iinfo(np.int32).max else np.int64
    parts = data.astype(np.float32), _widen(indices).astype(index), indptr.astype(index)
    return csr_array(parts, shape=tuple(shape.tolist()))


def pack_pattern(matrix: csr_array) -> dict[str, Tensor]:
    """Where a matrix of 1s has its entries."""
    return {
        "indptr": torch.from_numpy(matrix.indptr.astype(np.int64)),
        "indices": _narrow(matrix.indices, matrix.shape[1]),
    }


def unpack_pattern(arrays: Mapping[str, Tensor], shape: tuple[int, int]) -> csr_array:
    """A matrix of 1s, float32, from what `pack_pattern` made of one."""
    indptr, indices = arrays["indptr"].numpy().astype(np.int64), _widen(arrays["indices"].numpy()).astype(np.int64)
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=shape)


def pack_part(part: csr_array, whole: csr_array) -> dict[str, Tensor]:
    """Where a matrix of 1s has its entries: a bit for each of another's, if it has them all, or else `pack_pattern`."""
    ours, theirs = _number(part), _number(whole)
    chosen = np.isin(theirs, ours)
    if not np.array_equal(theirs[chosen], ours):
        return pack_pattern(part)
    return {"of": torch.from_numpy(np.packbits(chosen))}


def unpack_part(arrays: Mapping[str, Tensor], whole: csr_array) -> csr_array:
    """A matrix of 1s, float32, from what `pack_part` made of one."""
    if "of" not in arrays:
        return unpack_pattern(arrays, whole.shape)
    chosen = np.unpackbits(arrays["of"].numpy(), count=whole.nnz).astype(bool)
    starts = np.concatenate([[0], np.cumsum(chosen)]).astype(np.int64)
    indices = whole.indices[chosen].astype(np.int64)
    return csr_array((np.ones(len(indices), np.float32), indices, starts[whole.indptr]), shape=whole.shape)


def _number(matrix: csr_array) -> NDArray[np.int64]:
    """A number for each entry, by its place."""
    owner = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    numbers: NDArray[np.int64] = owner * matrix.shape[1] + matrix.indices
    return numbers
