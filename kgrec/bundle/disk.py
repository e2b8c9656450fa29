"""What of a bundle is written to disk, and how it is read back; `kgrec.bundle.folder` has the files."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graph_schema import CatalogueSchema
from kgrec.bundle.arrays import (
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
from kgrec.bundle.bundle import Bundle, Lineage
from kgrec.bundle.folder import (
    MANIFEST,
    check_folder,
    find_adapter,
    name_adapter,
    name_tensors,
    open_tensors,
    read_manifest,
    write_folder,
)
from kgrec.bundle.packing import pack_tensors, unpack_tensors
from kgrec.config import TrainConfig
from kgrec.errors import BundleError
from kgrec.ids import IdMap
from kgrec.model.backbone import ItemHead
from kgrec.model.component import round_text
from kgrec.model.gate import Gate
from kgrec.model.gnn import Architecture, GnnEncoder
from kgrec.model.likeness import Likeness
from kgrec.model.model import Model
from kgrec.model.prior import ItemEncoder, Prior
from kgrec.model.registry import COMPONENTS
from kgrec.text.language_model import read_adapter

FORMAT, FORMAT_VERSION = "kgrec-bundle", 6
WAIT_S = 60.0  # for another process that writes the same bundle: to write one takes a second or two
_TRIES = 20  # to read a bundle that is replaced meanwhile


def save_bundle(bundle: Bundle, path: Path, *, wait_s: float = WAIT_S) -> None:
    """Writes a bundle to a folder, in place of one that is there.

    Components that the gate never weighs are left out: the bundle answers the same without them. Processes that save to
    one folder take turns; processes that read it find the old bundle or the new one, whole.

    Args:
        bundle: the bundle.
        path: the folder.
        wait_s: how long to wait while another process writes there, in seconds.

    Raises:
        BundleError: the folder cannot be written, holds something else, or another process is still writing it.
        TextError: the adapter that the bundle was trained with is gone.
    """
    path = Path(path)
    check_folder(path)
    bundle = replace(bundle, model=bundle.model.weighed())
    tensors, same = _share(_to_tensors(bundle))
    content, layout = pack_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    name = name_tensors(digest)
    adapter = _name_adapter(bundle.config)
    described = _to_json(bundle) | {
        "tensors": {"file": name, "sha256": digest, "bytes": len(content), "same": same, "layout": layout},
        "config": bundle.config.model_copy(update={"adapter": adapter and adapter[0]}).model_dump(mode="json"),
    }
    manifest = json.dumps(described, ensure_ascii=False).encode()
    write_folder(path, manifest, (name, content), adapter, wait_s)


def _name_adapter(config: TrainConfig) -> tuple[str, Path] | None:
    """The name in a bundle of the adapter that a config names, and its folder."""
    if config.adapter is None:
        return None
    adapter = Path(config.adapter)
    read_adapter(adapter)
    try:
        return name_adapter(adapter), adapter
    except OSError as error:
        raise BundleError(f"cannot read the adapter {adapter}: {error}; expected one that validation kept") from error


def load_bundle(path: Path, schema: CatalogueSchema | None = None) -> Bundle:
    """Reads a bundle.

    Args:
        path: its folder.
        schema: the schema it must have; None: any.

    Raises:
        BundleError: there is none, it is truncated, foreign, newer than this kgrec, of another schema, or may not be
            read.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for _ in range(_TRIES):
        try:
            return _load(path, manifest[0], schema)
        except BundleError:
            newer = read_manifest(path)
            if newer == manifest:
                raise
            manifest = newer  # a saver has replaced the bundle, and removed the tensors that the old manifest named
    return _load(path, manifest[0], schema)


def _load(path: Path, manifest: bytes, schema: CatalogueSchema | None) -> Bundle:
    described = _parse(path, manifest)
    try:
        own = CatalogueSchema.model_validate(described["schema"])
        if schema is not None and schema.digest != own.digest:
            raise BundleError(
                f"the bundle {path} was trained on the schema {own.name!r} ({own.digest[:8]}), "
                f"expected {schema.name!r} ({schema.digest[:8]}): train again, or name the bundle of this schema"
            )
        tensors = _read_tensors(path, described["tensors"])
        bundle = _from_parts(described, own, tensors)
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError(f"the bundle {path} does not fit into memory; expected a machine with more") from error
    except Exception as error:  # a foreign file may hold anything
        raise BundleError(
            f"the bundle {path} is damaged: {type(error).__name__}: {error}; train again or restore it from a copy"
        ) from error
    if bundle.config.adapter is None:
        return bundle
    adapter = find_adapter(path, bundle.config.adapter)
    return replace(bundle, config=bundle.config.model_copy(update={"adapter": str(adapter)}))


def _parse(path: Path, manifest: bytes) -> dict[str, Any]:
    try:
        described = json.loads(manifest.decode())
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"the bundle {path} is damaged: {MANIFEST}: {error}; train again or restore a copy"
        ) from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise BundleError(
            f"{path} holds no kgrec bundle: {MANIFEST} does not say format {FORMAT!r}; name another folder"
        )
    version = described.get("version")
    if isinstance(version, int) and version < FORMAT_VERSION:
        raise BundleError(
            f"the bundle {path} has format version {version}, written by kgrec {described.get('kgrec')}; this kgrec "
            f"has another model and reads version {FORMAT_VERSION}: train again"
        )
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle {path} has format version {version}, written by kgrec {described.get('kgrec')}; this kgrec "
            f"reads version {FORMAT_VERSION}: install a newer kgrec, or train again with this one"
        )
    return described


def _read_tensors(path: Path, about: Mapping[str, Any]) -> dict[str, Tensor]:
    name = about["file"]
    with open_tensors(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size != about["bytes"]:
            raise BundleError(
                f"the bundle {path} is truncated: {name} has {size} bytes, expected {about['bytes']}; "
                f"copy it again or train again"
            )
        content = file.read()
    if hashlib.sha256(content).hexdigest() != about["sha256"]:
        raise BundleError(f"the bundle {path} is damaged: {name} has another SHA-256; copy it again or train again")
    tensors = unpack_tensors(content, about["layout"])
    return tensors | {name: tensors[twin] for name, twin in about.get("same", {}).items()}


def round_model(model: Model) -> Model:
    """A model as it is when it has been stored and read back: some of its numbers are stored in fewer bits."""
    return replace(
        model,
        components=tuple(round_stored(component) for component in model.components),
        text=round_text(model.text),
        columns=model.columns.half().float(),
        likeness=round_stored(model.likeness),
        prior=round_stored(model.prior) if isinstance(model.prior, Prior) else model.prior,
        item_head=round_stored(model.item_head),
    )


def _to_json(bundle: Bundle) -> dict[str, Any]:
    from importlib.metadata import version

    model = bundle.model
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "kgrec": version("kgrec"),
        "trained_at": bundle.trained_at,
        "lineage": asdict(bundle.lineage),
        "schema": bundle.schema.model_dump(mode="json"),
        "schema_digest": bundle.schema.digest,
        "encoder": {"name": bundle.encoder_name, "revision": bundle.encoder_revision},
        "choices": dict(bundle.choices),
        "relations": bundle.relations,
        "vector_widths": dict(bundle.vector_widths),
        **({"network": asdict(model.prior.architecture)} if isinstance(model.prior, GnnEncoder) else {}),
        "components": list(model.names),
    }


_PARAMETER = "prior.parameters."
_KINDS: dict[str, type] = {kind.name: kind for kind in COMPONENTS}


def _to_tensors(bundle: Bundle) -> dict[str, Tensor]:
    model = bundle.model
    tensors = {"model.n_likes": model.n_likes, "model.n_disliked": model.n_disliked}
    tensors |= pack_rows(model.text, "model.text")
    tensors["model.columns"] = model.columns.half()
    for component in model.components:
        tensors |= to_arrays(component, component.name)
    for name, part in (("gate", model.gate), ("likeness", model.likeness), ("item_head", model.item_head)):
        tensors |= to_arrays(part, name)
    if isinstance(model.prior, GnnEncoder):
        tensors |= {f"{_PARAMETER}{key}": value for key, value in model.prior.parameters.items()}
        arrays = {key: part for key, part in vars(model.prior).items() if isinstance(part, np.ndarray)}
        tensors |= {f"prior.{key}": torch.from_numpy(part) for key, part in arrays.items()}
    else:
        tensors |= to_arrays(model.prior, "prior")
    tensors |= {f"edges.{name}": _narrow_ends(ends) for name, ends in bundle.edges.items()}
    tensors |= {f"contents.{name}": torch.from_numpy(hashes) for name, hashes in bundle.contents.items()}
    tensors["link_node"] = torch.from_numpy(bundle.link_node)
    tensors |= {f"seen.{key}": part for key, part in pack_pattern(bundle.seen).items()}
    tensors |= {f"liked.{key}": part for key, part in pack_part(bundle.liked, bundle.seen).items()}
    catalogue = {
        "ids": {node_type: list(ids.ids) for node_type, ids in bundle.ids.items()},
        "names": {node_type: list(names) for node_type, names in bundle.names.items() if any(names)},
    }
    written = json.dumps(catalogue, ensure_ascii=False).encode()
    tensors["catalogue"] = torch.from_numpy(np.frombuffer(written, np.uint8).copy())
    # Two names of one memory are refused by safetensors, and views would be written whole.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _share(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, and by which name those that are left out are there: name -> its twin."""
    kept: dict[str, Tensor] = {}
    twins: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    for name, tensor in tensors.items():
        content = hashlib.sha256(tensor.numpy().tobytes()).digest()
        twin = twins.setdefault((tensor.dtype, tuple(tensor.shape), content), name)
        if twin == name:
            kept[name] = tensor
        else:
            same[name] = twin
    return kept, same


def _narrow_ends(ends: NDArray[np.int64]) -> Tensor:
    """Rows of both ends, as 32 bits where they fit."""
    return torch.from_numpy(ends.astype(np.int32 if ends.max(initial=0) <= np.iinfo(np.int32).max else np.int64))


def _from_parts(described: Mapping[str, Any], schema: CatalogueSchema, tensors: Mapping[str, Tensor]) -> Bundle:
    catalogue = json.loads(tensors["catalogue"].numpy().tobytes())
    ids = {node_type: IdMap(tuple(found)) for node_type, found in catalogue["ids"].items()}
    names = {node_type: catalogue["names"].get(node_type) or [None] * len(found) for node_type, found in ids.items()}
    shape = (len(ids[schema.user_type]), len(ids[schema.item_type]))
    if len(tensors["model.n_likes"]) != shape[1]:
        raise ValueError(f"{shape[1]} ids of items, {len(tensors['model.n_likes'])} in the tensors")

    def parts(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}

    def prior() -> ItemEncoder:
        if "network" not in described:
            return from_arrays(Prior, tensors, "prior")
        learned = parts(_PARAMETER.removesuffix("."))
        found = {key: value.numpy() for key, value in parts("prior").items() if not key.startswith("parameters.")}
        architecture = Architecture(**{k: _to_tuple(v) for k, v in described["network"].items()})
        return GnnEncoder(architecture, learned, **found)

    unknown = [name for name in described["components"] if name not in _KINDS]
    if unknown:
        raise ValueError(f"unknown components {unknown}; this kgrec knows {list(_KINDS)}")
    text, seen = unpack(tensors, "model.text"), unpack_pattern(parts("seen"), shape)
    model = Model(
        components=tuple(from_arrays(_KINDS[name], tensors, name) for name in described["components"]),
        gate=from_arrays(Gate, tensors, "gate"),
        n_likes=tensors["model.n_likes"],
        n_disliked=tensors["model.n_disliked"],
        text=text,
        columns=tensors["model.columns"].float(),
        likeness=from_arrays(Likeness, tensors, "likeness"),
        prior=prior(),
        item_head=from_arrays(ItemHead, tensors, "item_head"),
    )
    return Bundle(
        schema=schema,
        ids=ids,
        names=names,
        edges={name: ends.numpy().astype(np.int64) for name, ends in parts("edges").items()},
        model=model,
        relations=tuple((edge, bool(is_source), other) for edge, is_source, other in described["relations"]),
        link_node=tensors["link_node"].numpy(),
        vector_widths=described["vector_widths"],
        liked=unpack_part(parts("liked"), seen),
        seen=seen,
        config=TrainConfig.model_validate(described["config"]),
        choices=described["choices"],
        encoder_name=described["encoder"]["name"],
        encoder_revision=described["encoder"]["revision"],
        trained_at=described["trained_at"],
        lineage=Lineage(**described["lineage"]),
        contents={name: hashes.numpy() for name, hashes in parts("contents").items()},
    )


def _to_tuple(value: Any) -> Any:
    """What JSON made a list of."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value
