"""A damaged or manipulated bundle raises a BundleError that names it, or loads unchanged."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_files import assert_equal, change_json, change_tensors, read_tensors, saved_of, tensors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import train_shop
from torch import Tensor

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.errors import BundleError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "bundle"
    save_bundle(train_shop(), path)
    return path


@pytest.fixture(scope="module")
def damaged(sound: Path) -> Path:
    """A folder that copies of the sound bundle replace."""
    return sound.parent / "damaged"


def copy_to(damaged: Path, sound: Path) -> None:
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(sound, damaged)


def load_or_refuse(path: Path) -> Bundle | None:
    """Loads a bundle; None where it is refused. Any exception but a BundleError fails the test."""
    try:
        return load_bundle(path)
    except BundleError as error:
        assert str(path) in str(error)
        return None


@given(data=st.data())
@settings(max_examples=120)
def test_flipped_and_truncated_bytes_are_detected(sound: Path, damaged: Path, data: st.DataObject) -> None:
    copy_to(damaged, sound)
    file = data.draw(st.sampled_from([damaged / "bundle.json", tensors_of(damaged)]))
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    file.write_bytes(content)
    found = load_or_refuse(damaged)
    if found is not None:
        assert_equal(found, saved_of(train_shop()))


def test_every_flipped_bit_of_the_manifest_is_detected(sound: Path, damaged: Path) -> None:
    copy_to(damaged, sound)
    described = json.loads((damaged / "bundle.json").read_text(encoding="utf-8"))
    described["lineage"]["n_likes"] += 1
    (damaged / "bundle.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(BundleError, match=r"bundle\.json has another SHA-256"):
        load_bundle(damaged)


def replace_tensor(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({name: tensor.contiguous()})


@pytest.mark.slow
def test_a_tensor_of_another_type_is_refused(sound: Path, damaged: Path) -> None:
    for name, tensor in read_tensors(sound).items():
        if name == "catalogue":
            continue  # bytes of JSON, which may have any integer type
        others = {torch.float32: torch.float16, torch.float16: torch.float64}
        for dtype in (others.get(tensor.dtype, torch.float32), torch.bool):
            if dtype == tensor.dtype:
                continue
            if name.endswith(".data") and dtype.is_floating_point:
                continue  # of a sparse matrix: float16 or float32
            copy_to(damaged, sound)
            change_tensors(damaged, replace_tensor(name, tensor.to(dtype)))
            assert load_or_refuse(damaged) is None, (name, dtype)


def shapes_of(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor with other shapes."""
    yield tensor[None]
    if tensor.ndim:
        yield torch.cat([tensor, tensor[:1]])
    if tensor.ndim == 2:
        yield tensor.T


@pytest.mark.slow
def test_a_tensor_of_another_shape_raises_only_bundle_errors(sound: Path, damaged: Path) -> None:
    for name, tensor in read_tensors(sound).items():
        for changed in shapes_of(tensor):
            if changed.shape == tensor.shape:
                continue
            copy_to(damaged, sound)
            change_tensors(damaged, replace_tensor(name, changed))
            found = load_or_refuse(damaged)
            is_checked = name.endswith((".items", ":scale", ":rows", ":shape", ".shape", "indptr", "indices", ".data"))
            if is_checked or name.startswith(("model.", "edges.", "liked.", "seen.")):
                assert found is None, (name, tuple(changed.shape))


@pytest.mark.parametrize("size", [-1, 2**31, 2**40, 2**62])
def test_a_huge_shape_is_refused_before_memory_is_allocated(sound: Path, damaged: Path, size: int) -> None:
    shapes = [name for name in read_tensors(sound) if name.endswith((":shape", ".shape"))]
    assert {"model.text:shape", "item_item.neighbours.shape"} <= set(shapes)
    for name in shapes:
        for place in (0, 1):
            copy_to(damaged, sound)
            shape = read_tensors(sound)[name]
            shape[place] = size
            change_tensors(damaged, replace_tensor(name, shape))
            with pytest.raises(BundleError, match=r"does not fit: expected") as error:
                load_bundle(damaged)
            assert str(damaged) in str(error.value)


@pytest.mark.parametrize("value", [-1, 10_000])
def test_entries_outside_their_matrix_are_refused(sound: Path, damaged: Path, value: int) -> None:
    names = ("indptr", "indices", ":rows")
    found = [name for name in read_tensors(sound) if name.endswith(names) or name.startswith("edges.")]
    assert len(found) > 10
    for name in found:
        tensor = read_tensors(sound)[name]
        if not tensor.numel():
            continue
        copy_to(damaged, sound)
        changed = tensor.numpy().copy()
        place = 0 if name.endswith("indices") else changed.size // 2  # indices are differences: the first is a column
        changed.reshape(-1)[place] = np.array(value).astype(changed.dtype)
        change_tensors(damaged, replace_tensor(name, torch.from_numpy(changed)))
        assert load_or_refuse(damaged) is None, name


def leaves_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all values in a manifest, without its hash."""
    if path and path != ("sha256",):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves_of(inner, (*path, key))


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=200)
def test_any_manifest_raises_only_bundle_errors(sound: Path, damaged: Path, data: st.DataObject) -> None:
    copy_to(damaged, sound)
    described = json.loads((sound / "bundle.json").read_text(encoding="utf-8"))
    *parents, last = data.draw(st.sampled_from(list(leaves_of(described))))
    value = data.draw(st.sampled_from(["delete", None, -1, 2**70, 0.5, "x", [], {}, [[0]], True]))

    def change(content: Any) -> None:
        for key in parents:
            content = content[key]
        if value == "delete":
            del content[last]
        else:
            content[last] = copy.deepcopy(value)

    change_json(damaged, change)
    load_or_refuse(damaged)
