"""Frozen dataclasses of tensors, arrays, sparse matrices and numbers as named tensors, and back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isqrt
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.component import to_int8

_SCALE = ":scale"  # the scale of each row of an int8 tensor
_ROWS, _SHAPE = ":rows", ":shape"  # the rows that are not zeros, and the shape with the others
_TRIANGLE = ":triangle"
_SPARE_BITS = 5  # of the 11 significant bits of half precision
_MATRIX = ("indptr", "indices", "data", "shape")

Value = TypeVar("Value")


def to_arrays(value: object, prefix: str) -> dict[str, Tensor]:
    """Turns the fields of a dataclass into tensors named `<prefix>.<field>`; fields that are None are left out.

    A field's metadata chooses how it is stored: in half precision with all or with 6 significant bits, as int8 with a
    scale for each row, or as one triangle of a symmetric matrix.
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
    """Builds a dataclass from the tensors of `to_arrays`.

    Raises:
        KeyError: a field is missing.
        ValueError: a tensor has another type than its field, or does not fit its other parts.
    """
    hints = get_type_hints(kind)
    values = {
        field.name: _read_field(hints[field.name], field.metadata.get("stored"), arrays, f"{prefix}.{field.name}")
        for field in fields(kind)  # type: ignore[arg-type]
    }
    return kind(**values)


def _read_field(hint: Any, stored: str | None, arrays: Mapping[str, Tensor], name: str) -> Any:
    if isinstance(hint, UnionType):
        if not any(key == name or key.startswith(f"{name}.") for key in arrays):
            return None
        hint = next(one for one in get_args(hint) if one is not type(None))
    if is_dataclass(hint):
        return from_arrays(hint, arrays, name)  # type: ignore[arg-type]
    if hint is csr_array:
        return _to_matrix(arrays, name)
    if hint in (float, int):
        value = arrays[name]
        check(value.numel() == 1 and value.dtype == (torch.float64 if hint is float else torch.int64), name, "a number")
        return hint(value.item())
    tensor = unpack(arrays, name)
    is_half = name in arrays and arrays[name].dtype == torch.float16
    check(is_half == (stored == "half"), name, f"{'half' if stored == 'half' else 'another'} precision")
    expected = np.dtype(np.float32 if hint is Tensor else get_args(get_args(hint)[1])[0])
    check(tensor.numpy().dtype == expected, name, f"{expected} values, got {tensor.dtype}")
    return tensor if hint is Tensor else tensor.numpy()


def check(is_right: bool, name: str, expected: str) -> None:
    """Raises a ValueError that names a stored tensor, unless a condition holds."""
    if not is_right:
        raise ValueError(f"the tensor {name!r} does not fit: expected {expected}")


def check_sizes(arrays: Mapping[str, Tensor], most_rows: int) -> None:
    """Checks the sizes of all stored shapes before any memory is allocated for them.

    Args:
        arrays: all tensors of a bundle.
        most_rows: more than any of its matrices has.

    Raises:
        ValueError: a shape is too large, or is none.
    """
    for name, tensor in arrays.items():
        if name.endswith((_SHAPE, ".shape")):
            check(tensor.dtype == torch.int64 and tensor.shape == (2,), name, "two int64 numbers")
            # The columns of a dense matrix are stored, so only its rows can be too many.
            limited = tensor[:1] if name.endswith(_SHAPE) else tensor
            check(
                bool(((limited >= 0) & (limited <= most_rows)).all()), name, f"0 to {most_rows}, got {limited.tolist()}"
            )


def round_stored(value: Value) -> Value:
    """Rounds a dataclass to what is stored of it."""
    return from_arrays(type(value), to_arrays(value, "value"), "value")


def pack_rows(tensor: Tensor, name: str) -> dict[str, Tensor]:
    """Packs the rows of a matrix that are not zeros as int8, with a scale for each."""
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
    """Unpacks a tensor.

    Raises:
        KeyError: a part of it is missing.
        ValueError: its parts do not fit each other.
    """
    if name + _TRIANGLE in arrays:
        triangle = arrays[name + _TRIANGLE]
        width = isqrt(2 * triangle.numel())
        check(triangle.shape == (width * (width + 1) // 2,), name, "a vector of w (w + 1) / 2 numbers")
        row, column = torch.tril_indices(width, width)
        matrix = torch.empty((width, width), dtype=triangle.dtype)
        matrix[row, column] = matrix[column, row] = triangle
        return matrix
    tensor = arrays[name]
    if name + _SCALE in arrays:
        scale, rows, shape = (arrays[name + part] for part in (_SCALE, _ROWS, _SHAPE))
        check(tensor.dtype == torch.int8 and tensor.ndim == 2, name, "an int8 matrix")  # noqa: PLR2004
        check(scale.dtype == torch.float32 and scale.shape == (len(tensor), 1), name, "a float32 scale for each row")
        n_rows, width = shape.tolist() if shape.dtype == torch.int64 and shape.shape == (2,) else (-1, -1)
        check(n_rows >= 0 and width == tensor.shape[1], name, f"a shape (n, {tensor.shape[1]})")
        check(rows.dtype == torch.int32 and rows.shape == (len(tensor),), name, "an int32 number for each row")
        check(_is_increasing(rows.numpy(), n_rows), name, f"increasing rows below {n_rows}")
        whole = torch.zeros((n_rows, width))
        whole[rows.long()] = tensor.float() * scale
        return whole
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _is_increasing(numbers: NDArray[np.integer], end: int) -> bool:
    inside = len(numbers) == 0 or (numbers[0] >= 0 and numbers[-1] < end)
    return bool(inside and (numbers[1:] > numbers[:-1]).all())


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
    """Rounds half precision to 6 significant bits; the other bits are 0 and compress well."""
    bits: NDArray[np.uint16] = values.numpy().view(np.uint16)
    rounded = ((bits + np.uint16(1 << (_SPARE_BITS - 1))) >> _SPARE_BITS << _SPARE_BITS).astype(np.uint16)
    return torch.from_numpy(rounded.view(np.float16))


def _narrow(indices: NDArray[np.integer], size: int) -> Tensor:
    """The differences between columns, in 16 bits where they fit: small numbers, which compress well."""
    kind = np.int32 if size <= np.iinfo(np.int32).max else np.int64
    narrow = indices.astype(np.uint16 if size <= np.iinfo(np.uint16).max else kind)
    return torch.from_numpy(np.diff(narrow, prepend=narrow.dtype.type(0)))  # 16 bits wrap around, here and back


def _widen(steps: NDArray[np.integer]) -> NDArray[np.integer]:
    """Reverses `_narrow`."""
    return np.cumsum(steps, dtype=steps.dtype)


def _to_matrix(arrays: Mapping[str, Tensor], name: str) -> csr_array:
    indptr, indices, data, shape = (arrays[f"{name}.{key}"].numpy() for key in _MATRIX)
    check(data.dtype in (np.float16, np.float32) and data.ndim == 1, name, "a vector of floats")
    check(shape.dtype == np.int64 and shape.shape == (2,) and bool((shape >= 0).all()), name, "a shape of two numbers")
    index = np.int32 if shape.max(initial=0) <= np.iinfo(np.int32).max else np.int64
    return _build_matrix(name, data.astype(np.float32), indices, indptr, (int(shape[0]), int(shape[1])), index)


def _build_matrix(
    name: str,
    data: NDArray[np.float32],
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    shape: tuple[int, int],
    index: type[np.signedinteger[Any]],
) -> csr_array:
    """A sparse matrix whose entries are checked to be inside it, which scipy's own code does not check again."""
    for part in (indices, indptr):
        check(np.issubdtype(part.dtype, np.integer) and part.ndim == 1, name, "vectors of whole numbers")
    check(len(indptr) == shape[0] + 1, name, f"{shape[0] + 1} row ends, got {len(indptr)}")
    check(len(indices) == len(data), name, f"{len(data)} columns, got {len(indices)}")
    columns = _widen(indices).astype(index)
    starts = indptr.astype(np.int64)
    fits = starts[0] == 0 and starts[-1] == len(columns) and bool((np.diff(starts) >= 0).all())
    check(bool(fits), name, f"row ends from 0 to {len(columns)}")
    fits = not len(columns) or (columns.min() >= 0 and columns.max() < shape[1])
    check(bool(fits), name, f"columns below {shape[1]}")
    return csr_array((data, columns, indptr.astype(index)), shape=shape)


def pack_pattern(matrix: csr_array) -> dict[str, Tensor]:
    """Packs the places of the entries of a matrix of 1s."""
    return {
        "indptr": torch.from_numpy(matrix.indptr.astype(np.int64)),
        "indices": _narrow(matrix.indices, matrix.shape[1]),
    }


def unpack_pattern(arrays: Mapping[str, Tensor], shape: tuple[int, int]) -> csr_array:
    """Unpacks a float32 matrix of 1s from `pack_pattern`.

    Raises:
        KeyError: a part is missing.
        ValueError: the parts do not fit each other or the shape.
    """
    indptr, indices = arrays["indptr"].numpy(), arrays["indices"].numpy()
    return _build_matrix("indices", np.ones(indices.shape[:1], np.float32), indices, indptr, shape, np.int64)


def pack_part(part: csr_array, whole: csr_array) -> dict[str, Tensor]:
    """Packs a matrix of 1s as a bit for each entry of another that has them all, or else by `pack_pattern`."""
    ours, theirs = _number(part), _number(whole)
    chosen = np.isin(theirs, ours)
    if not np.array_equal(theirs[chosen], ours):
        return pack_pattern(part)
    return {"of": torch.from_numpy(np.packbits(chosen))}


def unpack_part(arrays: Mapping[str, Tensor], whole: csr_array) -> csr_array:
    """Unpacks a float32 matrix of 1s from `pack_part`.

    Raises:
        KeyError: a part is missing.
        ValueError: the parts do not fit the other matrix.
    """
    if "of" not in arrays:
        return unpack_pattern(arrays, whole.shape)
    bits = arrays["of"]
    check(bits.dtype == torch.uint8 and bits.shape == (-(-whole.nnz // 8),), "of", f"{whole.nnz} bits")
    chosen = np.unpackbits(arrays["of"].numpy(), count=whole.nnz).astype(bool)
    starts = np.concatenate([[0], np.cumsum(chosen)]).astype(np.int64)
    indices = whole.indices[chosen].astype(np.int64)
    return csr_array((np.ones(len(indices), np.float32), indices, starts[whole.indptr]), shape=whole.shape)


def _number(matrix: csr_array) -> NDArray[np.int64]:
    """Numbers the entries of a matrix by their places."""
    owner = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    numbers: NDArray[np.int64] = owner * matrix.shape[1] + matrix.indices
    return numbers
