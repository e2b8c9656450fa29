"""A bundle: a trained model with all that answering needs, and how it is written to disk and read back.

On disk a bundle is a folder: `bundle.json` and one safetensors file that it names, with its size and SHA-256, and the
adapter of the text encoder, if it was trained with one. These are written first and `bundle.json` is replaced last, in
one step, so that a reader finds the old bundle or the new one, whole, whenever the writer stops.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor

from graph_schema import CatalogueSchema
from kgrec.config import ItemItemConfig, TrainConfig
from kgrec.errors import BundleError, KgrecError
from kgrec.ids import IdMap
from kgrec.model.content import Content
from kgrec.model.gnn import Architecture, GnnEncoder
from kgrec.model.head import Head
from kgrec.model.item_item import ItemItem
from kgrec.model.model import COMPONENTS, CONTENT, Gate, ItemHead, Model
from kgrec.model.prior import ItemEncoder, Prior
from kgrec.text.encoder import TextEncoder, load_config_encoder
from kgrec.text.language_model import ADAPTER_FILE, ADAPTER_FILES, hash_adapter, read_adapter

FORMAT, FORMAT_VERSION = "kgrec-bundle", 3
_WITH_CONTENT = 3  # the first version with the content component
_JSON, _TENSORS, _ADAPTER = "bundle.json", "tensors-{}.safetensors", "adapter-{}"


@dataclass(frozen=True)
class Lineage:
    """What training learned from, which later changes are measured against, and how often the bundle was synced since.

    Attributes:
        n_likes: likes that it learned from.
        n_items: items that anybody had interacted with, so that their vectors were learned.
        n_syncs: times that `kgrec sync` changed the bundle since.
        synced_at: UTC seconds of the last of them; None: never.
    """

    n_likes: int
    n_items: int
    n_syncs: int = 0
    synced_at: int | None = None

    @classmethod
    def of(cls, model: Model) -> "Lineage":
        """That of a model whose items are still those of its training."""
        return cls(int(model.n_training_likes.sum()), int((~model.cold).sum()))


@dataclass(frozen=True)
class Bundle:
    """All that a Recommender answers from.

    Attributes:
        schema: the catalogue's schema.
        ids: node type -> its ids and their rows.
        names: node type -> a name for people, or None, per row.
        edges: edge type of the graph -> rows of both ends, int64 (2, n).
        model: the trained model.
        relations: (edge type, whether the item is its source, node type at the other end) of the model's links.
        link_node: (n_codes,) int64: the node row of each link code, -1 for a node that is gone; its relation is
            `model.prior.relation`.
        vector_widths: the items' vector columns that the prior reads, in the order of the schema, and their widths.
        liked: (n_users, n_items): the likes, each user's support set.
        seen: (n_users, n_items): every interaction; never recommended.
        config: how it was trained.
        choices: what validation chose.
        encoder_name, encoder_revision: the encoder of the texts.
        trained_at: UTC seconds.
        lineage: what it was trained on, in numbers.
        contents: node type, users aside -> (n,) int64, a hash per row of what the model reads of a node, its name and
            texts; rows past its end, and all types of a bundle written before version 2, are unknown.
    """

    schema: CatalogueSchema
    ids: Mapping[str, IdMap]
    names: Mapping[str, Sequence[str | None]]
    edges: Mapping[str, NDArray[np.int64]]
    model: Model
    relations: tuple[tuple[str, bool, str], ...]
    link_node: NDArray[np.int64]
    vector_widths: Mapping[str, int]
    liked: csr_array
    seen: csr_array
    config: TrainConfig
    choices: Mapping[str, Any]
    encoder_name: str
    encoder_revision: str
    trained_at: int
    lineage: Lineage
    contents: Mapping[str, NDArray[np.int64]]

    @property
    def users(self) -> IdMap:
        """The users' ids."""
        return self.ids[self.schema.user_type]

    @property
    def items(self) -> IdMap:
        """The items' ids."""
        return self.ids[self.schema.item_type]


def check_folder(path: Path) -> None:
    """Checks that a bundle may be written to a folder: it is new, empty or a bundle's.

    Raises:
        BundleError: it holds something else, or is a file.
    """
    if path.exists() and not (path / _JSON).exists() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} is there and is no bundle; expected a new folder, an empty one or a bundle's")


def save_bundle(bundle: Bundle, path: Path) -> None:
    """Writes a bundle to a folder, in place of one that is there.

    Raises:
        BundleError: the folder cannot be written, or holds something else.
    """
    path = Path(path)
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path, prefix=".writing-") as folder:
            written = Path(folder) / "tensors"
            save_file(_to_tensors(bundle), written)
            digest = _hash(written)
            name = _TENSORS.format(digest[:16])
            size = written.stat().st_size
            written.replace(path / name)
            adapter = _copy_adapter(bundle.config, path, Path(folder))
            described = _to_json(bundle) | {
                "tensors": {"file": name, "sha256": digest, "bytes": size},
                "config": bundle.config.model_copy(update={"adapter": adapter}).model_dump(mode="json"),
            }
            manifest = Path(folder) / _JSON
            with manifest.open("w", encoding="utf-8") as file:
                json.dump(described, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            manifest.replace(path / _JSON)
        for old in path.glob(_TENSORS.format("*")):
            if old.name != name:
                old.unlink()
        for old in path.glob(_ADAPTER.format("*")):
            if old.name != adapter:
                shutil.rmtree(old)
    except OSError as error:
        raise BundleError(f"cannot write the bundle {path}: {error}; expected a folder that can be written") from error


def _copy_adapter(config: TrainConfig, path: Path, written: Path) -> str | None:
    """Copies the adapter that a config names into a bundle's folder; its name there, None: there is none."""
    if config.adapter is None:
        return None
    adapter = Path(config.adapter)
    read_adapter(adapter)
    name = _ADAPTER.format(hash_adapter(adapter)[:16])
    if not (path / name).exists():
        (written / name).mkdir()
        for file in (ADAPTER_FILE, *ADAPTER_FILES):
            shutil.copy(adapter / file, written / name)
        (written / name).replace(path / name)
    return name


def load_bundle(path: Path, schema: CatalogueSchema | None = None) -> Bundle:
    """Reads a bundle.

    Args:
        path: its folder.
        schema: the schema it must have; None: any.

    Raises:
        BundleError: there is none, it is truncated, foreign, newer than this kgrec, or of another schema.
    """
    path = Path(path)
    described = _read_json(path)
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
    except (KeyError, TypeError, ValueError, KgrecError) as error:  # a ValidationError is a ValueError
        raise BundleError(
            f"the bundle {path} is damaged: {type(error).__name__}: {error}; train again or restore it from a copy"
        ) from error
    if bundle.config.adapter is None:
        return bundle
    return replace(bundle, config=bundle.config.model_copy(update={"adapter": str(path / bundle.config.adapter)}))


def load_bundle_encoder(bundle: Bundle) -> TextEncoder:
    """Loads the text encoder that a bundle was trained with, its adapter included.

    Raises:
        TextError: it cannot be loaded.
    """
    # What it computes with is not the bundle's: who answers may have no GPU and none of the extras.
    own = {"encoder": bundle.encoder_name, "encoder_backend": "torch", "device": "cpu"}
    return load_config_encoder(bundle.config.model_copy(update=own))


def _read_json(path: Path) -> dict[str, Any]:
    manifest = path / _JSON
    if not manifest.is_file():
        raise BundleError(f"no bundle at {path}: expected a folder with {_JSON}, as `kgrec train --out {path}` writes")
    try:
        described = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"the bundle {path} is damaged: {_JSON}: {error}; train again or restore a copy") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise BundleError(f"{path} holds no kgrec bundle: {_JSON} does not say format {FORMAT!r}; name another folder")
    version = described.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle {path} has format version {version}, written by kgrec {described.get('kgrec')}; this kgrec "
            f"reads up to version {FORMAT_VERSION}: install a newer kgrec, or train again with this one"
        )
    return described


def _read_tensors(path: Path, about: Mapping[str, Any]) -> dict[str, Tensor]:
    file = path / str(about["file"])
    if file.parent != path or not file.is_file():
        raise BundleError(f"the bundle {path} is incomplete: no {about['file']}; copy all of its files, or train again")
    size = file.stat().st_size
    if size != about["bytes"]:
        raise BundleError(
            f"the bundle {path} is truncated: {file.name} has {size} bytes, expected {about['bytes']}; "
            f"copy it again or train again"
        )
    if _hash(file) != about["sha256"]:
        raise BundleError(
            f"the bundle {path} is damaged: {file.name} has another SHA-256; copy it again or train again"
        )
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"the bundle {path} is damaged: {file.name}: {error}; train again") from error


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
        "scalars": {
            **{
                f"{name}.{key}": value
                for name in _parts_of(model)
                for key, value in _scalars(getattr(model, name)).items()
            },
        },
        "ids": {node_type: list(ids.ids) for node_type, ids in bundle.ids.items()},
        "names": {node_type: list(names) for node_type, names in bundle.names.items() if any(names)},
    }


_HEADS = ("few_shot", "backbone")
_PARAMETER = "parameters."
_OPTIONAL = {"item_item": ItemItem, "item_item_few": ItemItem, "content": Content, "item_head": ItemHead}


def _parts_of(model: Model) -> list[str]:
    """The parts of a model that are more than one tensor."""
    return [*_HEADS, "prior", "gate", *(name for name in _OPTIONAL if getattr(model, name) is not None)]


def _scalars(value: object) -> dict[str, float]:
    return {f.name: getattr(value, f.name) for f in fields(value) if f.type in (float, "float")}  # type: ignore[arg-type]


def _arrays(value: object) -> dict[str, Tensor]:
    found = {f.name: getattr(value, f.name) for f in fields(value)}  # type: ignore[arg-type]
    return {
        name: torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        for name, array in found.items()
        if isinstance(array, np.ndarray | Tensor)
    }


def _to_tensors(bundle: Bundle) -> dict[str, Tensor]:
    model = bundle.model
    tensors = {"model.popularity": model.popularity, "model.cold": model.cold, "model.text": model.text}
    for name in _parts_of(model):
        tensors |= {f"{name}.{key}": value for key, value in _arrays(getattr(model, name)).items()}
    if isinstance(model.prior, GnnEncoder):
        tensors |= {f"prior.{_PARAMETER}{key}": value for key, value in model.prior.parameters.items()}
    tensors |= {f"edges.{name}": torch.from_numpy(ends) for name, ends in bundle.edges.items()}
    tensors |= {f"contents.{name}": torch.from_numpy(hashes) for name, hashes in bundle.contents.items()}
    tensors["link_node"] = torch.from_numpy(bundle.link_node)
    for name, matrix in (("liked", bundle.liked), ("seen", bundle.seen)):
        tensors[f"{name}.indptr"] = torch.from_numpy(matrix.indptr.astype(np.int64))
        tensors[f"{name}.indices"] = torch.from_numpy(matrix.indices.astype(np.int64))
    # Two names of one memory are refused by safetensors, and views would be written whole.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _from_parts(described: Mapping[str, Any], schema: CatalogueSchema, tensors: Mapping[str, Tensor]) -> Bundle:
    ids = {node_type: IdMap(tuple(found)) for node_type, found in described["ids"].items()}
    names = {node_type: described["names"].get(node_type) or [None] * len(found) for node_type, found in ids.items()}
    shape = (len(ids[schema.user_type]), len(ids[schema.item_type]))
    if len(tensors["model.popularity"]) != shape[1]:
        raise ValueError(f"{shape[1]} ids of items, {len(tensors['model.popularity'])} in the tensors")
    scalars = described["scalars"]

    def parts(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        found: dict[str, Any] = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        return found | {k.removeprefix(prefix): v for k, v in scalars.items() if k.startswith(prefix)}

    def arrays(name: str) -> dict[str, Any]:
        return {k: v.numpy() if isinstance(v, Tensor) else v for k, v in parts(name).items()}

    def optional(name: str) -> Any:
        part = _OPTIONAL[name]
        if f"model.{name}" in tensors:  # an item-item matrix, as versions 1 and 2 had it
            return ItemItem(tensors[f"model.{name}"])
        found = arrays(name) if part is Content else parts(name)
        return part(**found) if found else None

    def prior() -> ItemEncoder:
        if "network" not in described:
            return Prior(**arrays("prior"))
        found = parts("prior")
        learned = {k.removeprefix(_PARAMETER): found.pop(k) for k in list(found) if k.startswith(_PARAMETER)}
        architecture = Architecture(**{k: _to_tuple(v) for k, v in described["network"].items()})
        return GnnEncoder(architecture, learned, **{k: v.numpy() for k, v in found.items()})

    def gate() -> Gate:
        found = arrays("gate")
        if described["version"] < _WITH_CONTENT:  # versions 1 and 2 had one component less
            place = COMPONENTS.index(CONTENT)
            for key in ("warm", "cold", "sentence_warm", "sentence_cold"):
                found[key] = np.insert(found[key], place, 0, axis=-1)
        return Gate(**found)

    def config() -> TrainConfig:
        found = described["config"]
        if described["version"] < _WITH_CONTENT:  # versions 1 and 2 had settings of the item-item models that are gone
            kept = {key: value for key, value in found["item_item"].items() if key in ItemItemConfig.model_fields}
            found = {**found, "item_item": kept}
        return TrainConfig.model_validate(found)

    def matrix(name: str) -> csr_array:
        indptr, indices = (tensors[f"{name}.{part}"].numpy() for part in ("indptr", "indices"))
        return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=shape)

    model = Model(
        few_shot=Head(**parts("few_shot")),
        backbone=Head(**parts("backbone")),
        item_item=optional("item_item"),
        item_item_few=optional("item_item_few"),
        content=optional("content"),
        popularity=tensors["model.popularity"],
        cold=tensors["model.cold"],
        text=tensors["model.text"],
        prior=prior(),
        item_head=optional("item_head"),
        gate=gate(),
    )
    return Bundle(
        schema=schema,
        ids=ids,
        names=names,
        edges={name: ends.numpy() for name, ends in parts("edges").items()},
        model=model,
        relations=tuple((edge, bool(is_source), other) for edge, is_source, other in described["relations"]),
        link_node=tensors["link_node"].numpy(),
        vector_widths=described.get("vector_widths", {}),  # versions 1 and 2 had none
        liked=matrix("liked"),
        seen=matrix("seen"),
        config=config(),
        choices=described["choices"],
        encoder_name=described["encoder"]["name"],
        encoder_revision=described["encoder"]["revision"],
        trained_at=described["trained_at"],
        lineage=Lineage.of(model) if described["version"] == 1 else Lineage(**described["lineage"]),
        contents={name: hashes.numpy() for name, hashes in parts("contents").items()},
    )


def _to_tuple(value: Any) -> Any:
    """What JSON made a list of."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value
