"""Dataclasses as named tensors: what is kept exactly, what is rounded, and by how much."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array
from torch import Tensor

from kgrec.bundle.arrays import (
    check_sizes,
    from_arrays,
    pack_part,
    pack_pattern,
    pack_rows,
    round_stored,
    to_arrays,
    unpack,
    unpack_part,
    unpack_pattern,
)
from kgrec.bundle.packing import pack_tensors, unpack_tensors
from kgrec.model.component import COARSE_HALF, HALF, INT8, SYMMETRIC, round_int8


@dataclass(frozen=True)
class Inner:
    count: int
    share: float


@dataclass(frozen=True)
class Outer:
    exact: Tensor
    half: Tensor = field(metadata=HALF)
    eighth: Tensor = field(metadata=INT8)
    square: Tensor = field(metadata=SYMMETRIC)
    array: NDArray[np.int64]
    matrix: csr_array
    rounded: csr_array = field(metadata=HALF)
    inner: Inner
    missing: Inner | None = None


def draw(seed: int, shape: tuple[int, int] = (7, 5)) -> Outer:
    rng = np.random.default_rng(seed)

    def dense() -> Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    def sparse() -> csr_array:
        return csr_array(random_array(shape, density=0.3, rng=rng, dtype=np.float32))

    half_square = dense()
    square = half_square.T @ half_square
    square = (square + square.T) / 2
    inner = Inner(int(rng.integers(10**12)), float(rng.normal()))
    return Outer(dense(), dense(), dense(), square, rng.integers(-(2**40), 2**40, 3), sparse(), sparse(), inner)


@given(st.integers(0, 2**32), st.tuples(st.integers(0, 6), st.integers(0, 6)), st.booleans())
@settings(deadline=None, max_examples=40)
def test_exact_fields_stay_and_rounding_is_idempotent(seed: int, shape: tuple[int, int], present: bool) -> None:
    value = draw(seed, shape)
    if present:
        value = Outer(**{**vars(value), "missing": Inner(3, 0.1)})
    arrays = to_arrays(value, "x")
    assert any(name.startswith("x.missing") for name in arrays) == present
    assert arrays["x.square:triangle"].numel() == shape[1] * (shape[1] + 1) // 2
    found = from_arrays(Outer, arrays, "x")
    assert torch.equal(found.exact, value.exact)
    np.testing.assert_array_equal(found.array, value.array)
    assert (found.inner, found.missing) == (value.inner, value.missing)
    np.testing.assert_array_equal(found.matrix.toarray(), value.matrix.toarray())
    np.testing.assert_array_equal(found.matrix.indices, value.matrix.indices)
    assert torch.equal(found.square, value.square)
    assert torch.equal(found.eighth, round_int8(value.eighth))
    assert torch.equal(found.half, value.half.half().float())
    np.testing.assert_array_equal(found.rounded.data, value.rounded.data.astype(np.float16).astype(np.float32))
    again = round_stored(found)
    for name in ("exact", "half", "eighth", "square"):
        assert torch.equal(getattr(again, name), getattr(found, name)), name
    np.testing.assert_array_equal(again.rounded.toarray(), found.rounded.toarray())


def test_eight_bits_lose_less_than_a_hundredth_of_a_rows_maximum() -> None:
    value = draw(0, (50, 20))
    rows = torch.cat([value.eighth, torch.zeros((1, 20)), 1e4 * value.eighth[:1]])
    arrays = to_arrays(Outer(**{**vars(value), "eighth": rows}), "x")
    assert arrays["x.eighth"].dtype == torch.int8
    assert arrays["x.half"].dtype == torch.float16
    found = from_arrays(Outer, arrays, "x").eighth
    lost = (found - rows).abs().amax(dim=1)
    assert (lost <= rows.abs().amax(dim=1) / 250).all()
    assert not found[50].any()


@dataclass(frozen=True)
class Half:
    weights: csr_array = field(metadata=HALF)


@dataclass(frozen=True)
class Coarse:
    weights: csr_array = field(metadata=COARSE_HALF)


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=40)
def test_six_bits_lose_less_than_a_sixtieth_of_each_number(seed: int, size: float) -> None:
    weights = size * np.random.default_rng(seed).normal(size=(4, 9)).astype(np.float32)
    weights[np.abs(weights) < 1e-3] = 1.0  # below 2^-14 half precision has fewer bits
    found = round_stored(Coarse(csr_array(weights)))
    np.testing.assert_allclose(found.weights.toarray(), weights, rtol=1 / 60)
    np.testing.assert_array_equal(round_stored(found).weights.data, found.weights.data)


def test_six_bit_weights_make_a_file_smaller() -> None:
    value = draw(0, (300, 200)).rounded
    whole, coarse = (pack_tensors(to_arrays(kind, "x"))[0] for kind in (Half(value), Coarse(value)))
    assert len(coarse) < 0.9 * len(whole)


def test_column_indices_take_two_bytes_where_they_fit() -> None:
    for width, dtype in ((65_535, torch.uint16), (70_000, torch.int32)):
        matrix = csr_array((np.ones(2, np.float32), np.array([0, width - 1]), np.array([0, 2])), shape=(1, width))
        packed = pack_pattern(matrix)
        assert packed["indices"].dtype == dtype
        assert (unpack_pattern(packed, matrix.shape) != matrix).nnz == 0


@given(st.integers(0, 2**32), st.floats(1e-30, 1e30))
@settings(deadline=None, max_examples=60)
def test_eight_bit_rounding_is_idempotent(seed: int, size: float) -> None:
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(40, 9)).astype(np.float32)) * size
    once = round_int8(values)
    assert torch.equal(round_int8(once), once)
    largest = values.abs().amax(dim=1, keepdim=True)
    assert ((once - values).abs() <= largest.clamp(min=1e-12) / 250).all()


@given(st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=40)
def test_a_subset_of_a_pattern_takes_one_bit_per_entry(seed: int, is_part: bool) -> None:
    rng = np.random.default_rng(seed)
    whole = csr_array((rng.random((5, 30)) < 0.4).astype(np.float32))
    part = csr_array(whole.multiply(rng.random((5, 30)) < 0.5))
    part.eliminate_zeros()
    if not is_part:
        part = csr_array((rng.random((5, 30)) < 0.4).astype(np.float32))
    packed = pack_part(part, whole)
    found = unpack_part(packed, whole)
    np.testing.assert_array_equal(found.indptr, part.indptr)
    np.testing.assert_array_equal(found.indices, part.indices)
    np.testing.assert_array_equal(found.data, part.data)
    if is_part:
        assert packed["of"].numel() == -(-whole.nnz // 8)


def test_tensors_survive_packing_and_unpacking() -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=7).astype(np.float16), rng.integers(-9, 9, (2, 3)),
        rng.integers(0, 99, 5).astype(np.uint16), rng.random(4) < 0.5, np.zeros((0, 3), np.float32), np.array(2.5),
        np.full(3, np.nan),
    ]  # fmt: skip
    tensors = {str(place): torch.from_numpy(array) for place, array in enumerate(arrays)}
    packed, about = pack_tensors(tensors)
    found = unpack_tensors(packed, about)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy())
    assert pack_tensors(tensors) == (packed, about)


@pytest.mark.parametrize("n", [1, 250, 70_000])  # the size in the header takes 1, 2 and 4 bytes
def test_packed_tensors_of_all_sizes_are_read_back(n: int) -> None:
    tensors = {"x": torch.arange(n, dtype=torch.int32)}
    assert torch.equal(unpack_tensors(*pack_tensors(tensors))["x"], tensors["x"])


def test_a_field_that_is_missing_is_named() -> None:
    arrays = to_arrays(draw(0), "x")
    for name in ("x.exact", "x.inner.share", "x.matrix.indptr"):
        with pytest.raises(KeyError, match=name):
            from_arrays(Outer, {key: value for key, value in arrays.items() if key != name}, "x")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 2), "columns below 2"),
        ((1, 3), "2 row ends, got 3"),
        ((3, 3), "4 row ends, got 3"),
        ((-1, 3), "a shape of"),
    ],
)
def test_a_sparse_matrix_holds_no_entry_outside_its_shape(shape: tuple[int, int], message: str) -> None:
    arrays = to_arrays(Half(csr_array(np.array([[0, 0, 1], [1, 0, 0]], np.float32))), "x")
    assert from_arrays(Half, arrays, "x").weights.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match=f"'x.weights' does not fit: expected {message}"):
        from_arrays(Half, arrays | {"x.weights.shape": torch.tensor(shape)}, "x")


@pytest.mark.parametrize("ends", [[0, 1, 1], [0, 1, 3], [1, 1, 2], [0, 3, 2], [0, -1, 2]])
def test_row_ends_rise_from_0_to_the_number_of_entries(ends: list[int]) -> None:
    arrays = to_arrays(Half(csr_array(np.array([[0, 0, 1], [1, 0, 0]], np.float32))), "x")
    with pytest.raises(ValueError, match="expected row ends from 0 to 2"):
        from_arrays(Half, arrays | {"x.weights.indptr": torch.tensor(ends, dtype=torch.int32)}, "x")


@pytest.mark.parametrize("rows", [[0, 3], [-1, 2], [1, 1], [2, 0]])
def test_the_rows_of_an_int8_matrix_rise_within_its_shape(rows: list[int]) -> None:
    matrix = torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.5, 0.25]])
    arrays = pack_rows(matrix, "x")
    assert arrays["x:rows"].tolist() == [0, 2]
    torch.testing.assert_close(unpack(arrays, "x"), matrix, atol=1 / 250, rtol=0)
    with pytest.raises(ValueError, match="increasing rows below 3"):
        unpack(arrays | {"x:rows": torch.tensor(rows, dtype=torch.int32)}, "x")


def test_a_triangle_has_w_times_w_plus_1_halves_of_numbers() -> None:
    found = unpack({"x:triangle": torch.tensor([1.0, 2.0, 3.0])}, "x")
    assert found.tolist() == [[1, 2], [2, 3]]
    for size in (2, 4, 5):
        with pytest.raises(ValueError, match=r"a vector of w \(w \+ 1\) / 2 numbers"):
            unpack({"x:triangle": torch.zeros(size)}, "x")


@pytest.mark.parametrize("n_bytes", [1, 3])
def test_a_part_has_a_bit_for_each_entry_of_the_whole(n_bytes: int) -> None:
    whole = csr_array(np.ones((3, 3), np.float32))  # 9 bits take two bytes
    assert unpack_part({"of": torch.tensor([128, 128], dtype=torch.uint8)}, whole).indices.tolist() == [0, 2]
    with pytest.raises(ValueError, match="expected 9 bits"):
        unpack_part({"of": torch.zeros(n_bytes, dtype=torch.uint8)}, whole)


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        ("x:shape", [7, 10**9], True),  # the columns of a dense matrix are stored anyway
        ("x:shape", [8, 1], False),
        ("x:shape", [-1, 1], False),
        ("x.shape", [7, 7], True),
        ("x.shape", [7, 8], False),
        ("x.shape", [8, 7], False),
        ("x.shape", [0, 0], True),
        ("x.shape", [7, 7, 7], False),
        ("x.shape", [7.0, 7.0], False),
        ("x.indices", [9, 9], True),
    ],
)
def test_the_largest_shapes(name: str, shape: list[int], fits: bool) -> None:
    if fits:
        check_sizes({name: torch.tensor(shape)}, 7)
    else:
        with pytest.raises(ValueError, match=f"'{name}' does not fit"):
            check_sizes({name: torch.tensor(shape)}, 7)
