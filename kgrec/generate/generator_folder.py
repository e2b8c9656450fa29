"""A generator's folder: written whole, and read whole or refused."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec.bundle.folder import WAIT_S, FolderKind, check_folder, write_folder
from kgrec.bundle.packing import pack_tensors, unpack_tensors
from kgrec.errors import BundleError
from kgrec.generate.generator import Generator
from kgrec.generate.item_space import ItemSpace
from kgrec.generate.semantic_ids import SemanticIds
from kgrec.generate.token_network import NetworkShape, build_network

GENERATOR_FILE = "generator.json"  # replaced last: it names the file of tensors
FORMAT, FORMAT_VERSION = "kgrec generator", 1
_TENSORS = re.compile(r"generator-[0-9a-f]{16}\.safetensors\.zst")
_KIND = FolderKind("generator", GENERATOR_FILE, lambda name: _TENSORS.fullmatch(name) is not None, BundleError)
_AGAIN = "copy all of its files again, or train it again with `kgrec train-generator`"


def digest_tokens(ids: SemanticIds) -> str:
    """SHA-256 of what tokens mean: the codebooks and the number of tokens of each level."""
    digest = hashlib.sha256(json.dumps([list(ids.sizes), [list(book.shape) for book in ids.codebooks]]).encode())
    for codebook in ids.codebooks:
        digest.update(np.ascontiguousarray(codebook, np.float32).tobytes())
    return digest.hexdigest()


def check_generator_folder(path: Path) -> None:
    """Checks that a generator may be written to a folder: it is new, empty, or a generator's.

    Raises:
        BundleError: it holds something else, is a file, or cannot be read.
    """
    check_folder(path, _KIND)


def save_generator(
    generator: Generator, path: Path, *, items: Sequence[str], about: Mapping[str, Any], wait_s: float = WAIT_S
) -> None:
    """Writes a generator to a folder, in place of one that is there.

    Args:
        generator: the generator; its item vectors are kept in half precision, to which training rounds them.
        path: the folder.
        items: the ids of the items, by row.
        about: what else is to be read back, as JSON values.
        wait_s: how long to wait while another process writes there, in seconds.

    Raises:
        BundleError: the folder cannot be written, holds something else, or another process is still writing it.
    """
    check_generator_folder(path)
    weights = {f"weight {name}": value.cpu().contiguous() for name, value in generator.network.state_dict().items()}
    content, layout = pack_tensors(
        weights
        | {f"space {field.name}": torch.from_numpy(getattr(generator.space, field.name)) for field in fields(ItemSpace)}
        | {
            "codes": torch.from_numpy(generator.ids.codes),
            "vectors": torch.from_numpy(generator.vectors).half(),
            "is_new": torch.from_numpy(generator.is_new),
            "items": torch.frombuffer(bytearray(json.dumps(list(items)).encode()), dtype=torch.uint8),
        }
    )
    digest = hashlib.sha256(content).hexdigest()
    name = f"generator-{digest[:16]}.safetensors.zst"
    described = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "about": dict(about),
        "tokens": digest_tokens(generator.ids),
        "shape": asdict(generator.network.shape),
        "tensors": {"file": name, "sha256": digest, "layout": layout},
    }
    write_folder(path, (json.dumps(described, indent=1) + "\n").encode(), {name: content}, _KIND, wait_s)


def load_generator(path: Path, *, device: str = "cpu") -> tuple[Generator, tuple[str, ...], Mapping[str, Any]]:
    """Reads a generator.

    Args:
        path: its folder.
        device: the torch device.

    Returns:
        The generator, the ids of its items, and what else was saved about it.

    Raises:
        BundleError: there is none, it is incomplete, damaged, foreign, newer than this kgrec, or of other tokens.
    """
    described = _read_described(path)
    try:
        return _restore(path, described, device)
    except BundleError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise BundleError(f"the generator {path} is damaged: {type(error).__name__}: {error}; {_AGAIN}") from error


def _read_described(path: Path) -> dict[str, Any]:
    try:
        described = json.loads((path / GENERATOR_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"no generator at {path}: expected a folder with {GENERATOR_FILE}; train one, or name its folder"
        ) from error
    except OSError as error:
        raise BundleError(f"cannot read the generator {path}: {error}; expected files that can be read") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"the generator {path} is damaged: {GENERATOR_FILE}: {error}; {_AGAIN}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise BundleError(
            f"{path} holds no generator: {GENERATOR_FILE} does not say format {FORMAT!r}; name another folder"
        )
    if described.get("version") != FORMAT_VERSION:
        raise BundleError(
            f"the generator {path} has format version {described.get('version')}; this kgrec reads version "
            f"{FORMAT_VERSION}: train it again, or install the kgrec that wrote it"
        )
    return described


def _restore(
    path: Path, described: Mapping[str, Any], device: str
) -> tuple[Generator, tuple[str, ...], Mapping[str, Any]]:
    about = described["tensors"]
    name = about["file"]
    if not isinstance(name, str) or _TENSORS.fullmatch(name) is None:
        raise BundleError(f"the generator {path} names the file {name!r}; expected one of its own folder: {_AGAIN}")
    try:
        content = (path / name).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"the generator {path} is incomplete: no {name}; {_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != about["sha256"]:
        raise BundleError(f"the generator {path} is damaged: {name} has another SHA-256; {_AGAIN}")
    tensors = unpack_tensors(content, about["layout"])
    weights = {key.removeprefix("weight "): value for key, value in tensors.items() if key.startswith("weight ")}
    shape = NetworkShape(**{**described["shape"], "sizes": tuple(described["shape"]["sizes"])})
    ids = _restore_ids(tensors["codes"], weights, shape)
    if digest_tokens(ids) != described["tokens"]:
        raise BundleError(
            f"the generator {path} has weights of other semantic ids: the digest of its codebooks is "
            f"{digest_tokens(ids)[:8]}, expected {str(described['tokens'])[:8]}; {_AGAIN}"
        )
    space = ItemSpace(**{field.name: tensors[f"space {field.name}"].numpy() for field in fields(ItemSpace)})
    network = build_network(ids, shape)
    network.load_state_dict(weights)
    vectors, is_new = tensors["vectors"].float().numpy(), tensors["is_new"].numpy()
    generator = Generator(space, ids, vectors, network.to(device).eval(), is_new)
    items = tuple(json.loads(tensors["items"].numpy().tobytes()))
    if len(set(items)) != generator.n_items:
        raise ValueError(f"{len(set(items))} ids for {generator.n_items} items")
    return generator, items, dict(described["about"])


def _restore_ids(codes: Tensor, weights: Mapping[str, Tensor], shape: NetworkShape) -> SemanticIds:
    codebooks = tuple(weights[f"codebook_{level}"].numpy() for level in range(len(shape.sizes) - 1))
    return SemanticIds(codebooks, codes.numpy(), shape.sizes)
