"""Helpers for tests of bundles: compare bundles, and read and change their files."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.bundle import Bundle
from kgrec.bundle.packing import pack_tensors, unpack_tensors


def flatten(value: Any, path: str = "bundle") -> Iterator[tuple[str, Any]]:
    """Every leaf of a bundle with its place; arrays and tensors as NumPy arrays."""
    if isinstance(value, csr_array):
        yield path, value.toarray()
    elif isinstance(value, Tensor | np.ndarray):
        yield path, np.asarray(value)
    elif is_dataclass(value):
        for field in fields(value):
            yield from flatten(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from flatten(value[key], f"{path}.{key}")
    elif isinstance(value, list | tuple) and any(map(is_dataclass, value)):
        for place, part in enumerate(value):
            yield from flatten(part, f"{path}.{place}")
    elif isinstance(value, list | tuple):
        yield path, tuple(value)
    else:
        yield path, value


def assert_equal(found: Bundle, expected: Bundle) -> None:
    leaves = dict(flatten(expected))
    assert leaves.keys() == dict(flatten(found)).keys()
    for path, value in flatten(found):
        if isinstance(value, np.ndarray):
            assert value.dtype == leaves[path].dtype, path
            np.testing.assert_array_equal(value, leaves[path], err_msg=path)
        else:
            assert value == leaves[path], path


def saved_of(bundle: Bundle) -> Bundle:
    """The parts of a bundle that a save writes."""
    return replace(bundle, model=bundle.model.weighed())


def tensors_of(path: Path) -> Path:
    (file,) = path.glob("*.safetensors.zst")
    return file


def read_tensors(path: Path) -> dict[str, Tensor]:
    layout = json.loads((path / "bundle.json").read_text(encoding="utf-8"))["tensors"]["layout"]
    return unpack_tensors(tensors_of(path).read_bytes(), layout)


def names_in(path: Path) -> list[str]:
    """The names of a bundle's files, without the lock, which may stay."""
    return sorted(entry.name for entry in path.iterdir() if entry.name != ".lock")


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a manifest and updates its hash, as an attacker would."""
    described = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    change(described)
    described.pop("sha256", None)
    described["sha256"] = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    (path / "bundle.json").write_text(json.dumps(described), encoding="utf-8")


def change_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Changes the tensors of a bundle and updates their hash."""
    tensors = read_tensors(path)
    change(tensors)
    content, layout = pack_tensors(tensors)
    tensors_of(path).write_bytes(content)
    about = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "layout": layout}
    change_json(path, lambda described: described["tensors"].update(about))
