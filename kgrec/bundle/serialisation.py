"""A bundle's content as JSON and named tensors, and back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graph_schema import CatalogueSchema
from kgrec.bundle.arrays import (
    check,
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
from kgrec.bundle.bundle import Bundle, Lineage
from kgrec.bundle.like_times import pack_times, unpack_times
from kgrec.config import TrainConfig
from kgrec.graph.attribute_values import AttributeValues
from kgrec.graph.value_codes import ValueCodes
from kgrec.ids import IdMap
from kgrec.model.backbone import ItemHead
from kgrec.model.component import Component, round_text
from kgrec.model.gate import Gate
from kgrec.model.gnn import Architecture, GnnEncoder
from kgrec.model.likeness import Likeness
from kgrec.model.model import Model
from kgrec.model.prior import ItemEncoder, Prior
from kgrec.model.registry import COMPONENTS
from kgrec.text.adapter import Adapter

FORMAT, FORMAT_VERSION = "kgrec-bundle", 9
_MOST_COLUMNS = 2**16  # of the text and other vectors of an item


def round_model(model: Model) -> Model:
    """Rounds a model to what a bundle stores of it: some numbers are stored in fewer bits."""
    text = round_text(model.text)
    return replace(
        model,
        components=tuple(_share_text(round_stored(component), text) for component in model.components),
        text=text,
        columns=model.columns.half().float(),
        likeness=round_stored(model.likeness),
        prior=round_stored(model.prior) if isinstance(model.prior, Prior) else model.prior,
        user_prior=round_stored(model.user_prior) if isinstance(model.user_prior, Prior) else model.user_prior,
        item_head=round_stored(model.item_head),
    )


def _share_text(component: Component, text: Tensor) -> Component:
    """The component with the model's own text vectors in place of equal ones, so that memory holds them once."""
    of_text = {
        field.name: text
        for field in fields(component)  # type: ignore[arg-type]
        if isinstance(values := getattr(component, field.name), Tensor) and torch.equal(values, text)
    }
    return replace(component, **of_text) if of_text else component  # type: ignore[type-var]


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """What of a bundle goes into its manifest, as JSON has it; its tensors are described elsewhere."""
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
        "user_relations": bundle.user_relations,
        "values": {name: asdict(codes) for name, codes in bundle.values.codes.items()},
        "vector_widths": dict(bundle.vector_widths),
        "networks": {
            name: asdict(encoder.architecture)
            for name, encoder in _encoders(model).items()
            if isinstance(encoder, GnnEncoder)
        },
        "components": list(model.names),
        # The adapter is stored among the tensors; its path on this machine is nobody's business.
        "config": bundle.config.model_copy(update={"adapter": None}).model_dump(mode="json"),
    }


_PRIOR, _USER_PRIOR, _PARAMETERS = "prior", "prior_of_users", "parameters"
_UNAVAILABLE = "unavailable"  # the rows of items that cannot be had; left out where all can
_KINDS: dict[str, type] = {kind.name: kind for kind in COMPONENTS}


def to_tensors(bundle: Bundle) -> dict[str, Tensor]:
    """What of a bundle is stored as named tensors."""
    model = bundle.model
    tensors = {"model.n_likes": model.n_likes, "model.n_disliked": model.n_disliked}
    tensors |= pack_rows(model.text, "model.text")
    tensors["model.columns"] = model.columns.half()
    for component in model.components:
        tensors |= to_arrays(component, component.name)
    for name, part in (("gate", model.gate), ("likeness", model.likeness), ("item_head", model.item_head)):
        tensors |= to_arrays(part, name)
    for name, encoder in _encoders(model).items():
        if isinstance(encoder, GnnEncoder):
            tensors |= {f"{name}.{_PARAMETERS}.{key}": value for key, value in encoder.parameters.items()}
            arrays = {key: part for key, part in vars(encoder).items() if isinstance(part, np.ndarray)}
            tensors |= {f"{name}.{key}": torch.from_numpy(part) for key, part in arrays.items()}
        else:
            tensors |= to_arrays(encoder, name)
    tensors |= pack_rows(bundle.user_text, "user_text")
    tensors["user_link_node"] = torch.from_numpy(bundle.user_link_node)
    tensors |= {f"edges.{name}": _narrow_ends(ends) for name, ends in bundle.edges.items()}
    tensors |= {f"contents.{name}": torch.from_numpy(hashes) for name, hashes in bundle.contents.items()}
    tensors["link_node"] = torch.from_numpy(bundle.link_node)
    if not bundle.available.all():
        tensors[_UNAVAILABLE] = torch.from_numpy(np.flatnonzero(~bundle.available))
    tensors |= {f"seen.{key}": part for key, part in pack_pattern(bundle.seen).items()}
    tensors |= {f"liked.{key}": part for key, part in pack_part(bundle.liked, bundle.seen).items()}
    if bundle.liked_at is not None:
        tensors |= {f"liked_at.{key}": part for key, part in pack_times(bundle.liked_at).items()}
    if bundle.adapter is not None:
        described = json.dumps(dict(bundle.adapter.described)).encode()
        parts = {"described": described, "config": bundle.adapter.config, "weights": bundle.adapter.weights}
        tensors |= {f"adapter.{name}": _from_bytes(content) for name, content in parts.items()}
    catalogue = {
        "ids": {node_type: list(ids.ids) for node_type, ids in bundle.ids.items()},
        "names": {node_type: list(names) for node_type, names in bundle.names.items() if any(names)},
    }
    tensors["catalogue"] = _from_bytes(json.dumps(catalogue, ensure_ascii=False).encode())
    # safetensors refuses tensors that share memory, and writes views whole.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _encoders(model: Model) -> dict[str, ItemEncoder]:
    found = {_PRIOR: model.prior}
    return found if model.user_prior is None else {**found, _USER_PRIOR: model.user_prior}


def _from_bytes(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def share_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Drops tensors that equal an earlier one: those that stay, and name -> its twin for the others."""
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


def from_parts(
    described: Mapping[str, Any], schema: CatalogueSchema, tensors: Mapping[str, Tensor], source: str
) -> Bundle:
    """A bundle from its manifest and tensors.

    Args:
        described: from `describe_bundle`.
        schema: the catalogue's schema.
        tensors: from `to_tensors`.
        source: where they were read from, for error messages.

    Raises:
        KeyError, TypeError, ValueError: something is missing or does not fit.
    """
    catalogue = json.loads(tensors["catalogue"].numpy().tobytes())
    ids = {node_type: IdMap(tuple(found)) for node_type, found in catalogue["ids"].items()}
    names = {node_type: catalogue["names"].get(node_type) or [None] * len(found) for node_type, found in ids.items()}
    shape = (len(ids[schema.user_type]), len(ids[schema.item_type]))
    n_codes = len(tensors["link_node"]) + len(tensors["user_link_node"])
    check_sizes(tensors, sum(map(len, ids.values())) + n_codes + _MOST_COLUMNS)

    def parts(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}

    def read_prior(name: str) -> ItemEncoder:
        if name not in described["networks"]:
            return from_arrays(Prior, tensors, name)
        learned = parts(f"{name}.{_PARAMETERS}")
        found = {key: value.numpy() for key, value in parts(name).items() if not key.startswith(f"{_PARAMETERS}.")}
        architecture = Architecture(**{k: _to_tuple(v) for k, v in described["networks"][name].items()})
        return GnnEncoder(architecture, learned, **found)

    unknown = [name for name in described["components"] if name not in _KINDS]
    if unknown:
        raise ValueError(f"unknown components {unknown}; this kgrec knows {list(_KINDS)}")
    text, seen = unpack(tensors, "model.text"), unpack_pattern(parts("seen"), shape)
    liked = unpack_part(parts("liked"), seen)
    model = Model(
        components=tuple(
            _share_text(from_arrays(_KINDS[name], tensors, name), text) for name in described["components"]
        ),
        gate=from_arrays(Gate, tensors, "gate"),
        n_likes=tensors["model.n_likes"],
        n_disliked=tensors["model.n_disliked"],
        text=text,
        columns=tensors["model.columns"].float(),
        likeness=from_arrays(Likeness, tensors, "likeness"),
        prior=read_prior(_PRIOR),
        user_prior=read_prior(_USER_PRIOR) if parts(_USER_PRIOR) else None,
        item_head=from_arrays(ItemHead, tensors, "item_head"),
    )
    check(tensors["model.columns"].dtype == torch.float16, "model.columns", "float16 values")
    _check_items(model, shape[1])
    user_text = unpack(tensors, "user_text")
    check(len(user_text) == shape[0], "user_text", f"{shape[0]} rows, got {list(user_text.shape)}")
    hashes, link_node, user_link_node = parts("contents"), tensors["link_node"], tensors["user_link_node"]
    for name, tensor in {"link_node": link_node, "user_link_node": user_link_node, **hashes}.items():
        check(tensor.dtype == torch.int64 and tensor.ndim == 1, name, "an int64 vector")
    return Bundle(
        schema=schema,
        ids=ids,
        names=names,
        edges={name: _read_ends(ends, name, schema, ids) for name, ends in parts("edges").items()},
        model=model,
        relations=tuple((edge, bool(is_source), other) for edge, is_source, other in described["relations"]),
        link_node=link_node.numpy(),
        user_relations=tuple((edge, bool(is_source), other) for edge, is_source, other in described["user_relations"]),
        user_link_node=user_link_node.numpy(),
        user_text=user_text,
        values=AttributeValues({name: _read_codes(codes) for name, codes in described["values"].items()}),
        vector_widths=described["vector_widths"],
        liked=liked,
        seen=seen,
        config=TrainConfig.model_validate(described["config"]),
        choices=described["choices"],
        encoder_name=described["encoder"]["name"],
        encoder_revision=described["encoder"]["revision"],
        trained_at=described["trained_at"],
        lineage=Lineage(**described["lineage"]),
        contents={name: tensor.numpy() for name, tensor in hashes.items()},
        available=_read_available(tensors, shape[1]),
        liked_at=None if schema.interaction.at is None else unpack_times(parts("liked_at"), liked),
        adapter=_read_adapter(parts("adapter"), source),
    )


def _check_items(model: Model, n_items: int) -> None:
    """Checks that all parts of a model have a row for each item, and the gate a column for each component."""
    matrices = {"model.text": model.text, "model.columns": model.columns, "item_head.centres": model.item_head.centres}
    matrices |= {f"{component.name}.items": component.items for component in model.components}
    for name, matrix in matrices.items():
        check(matrix.ndim == 2 and len(matrix) == n_items, name, f"{n_items} rows, got {list(matrix.shape)}")  # noqa: PLR2004
    for name, counts in (("model.n_likes", model.n_likes), ("model.n_disliked", model.n_disliked)):
        check(counts.dtype == torch.int64 and counts.shape == (n_items,), name, f"{n_items} int64 counts")
    for name, weights in (("gate.warm", model.gate.warm), ("gate.cold", model.gate.cold)):
        shape = (len(model.gate.least_likes), len(model.components))
        check(weights.shape == shape, name, f"the shape {shape}, got {weights.shape}")


def _read_ends(ends: Tensor, name: str, schema: CatalogueSchema, ids: Mapping[str, IdMap]) -> NDArray[np.int64]:
    source, _, target = schema.edge_triple(name)
    check(ends.dtype in (torch.int32, torch.int64) and ends.ndim == 2 and len(ends) == 2, name, "both ends of edges")  # noqa: PLR2004
    rows: NDArray[np.int64] = ends.numpy().astype(np.int64)
    limits = np.array([[len(ids[source])], [len(ids[target])]])
    check(bool(((rows >= 0) & (rows < limits)).all()), name, f"rows below {limits.ravel().tolist()}")
    return rows


def _read_available(tensors: Mapping[str, Tensor], n_items: int) -> NDArray[np.bool_]:
    available = np.ones(n_items, np.bool_)
    if _UNAVAILABLE in tensors:
        rows = tensors[_UNAVAILABLE]
        check(rows.dtype == torch.int64 and rows.ndim == 1, _UNAVAILABLE, "an int64 vector")
        check(bool(((rows >= 0) & (rows < n_items)).all()), _UNAVAILABLE, f"rows below {n_items}")
        available[rows.numpy()] = False
    return available


def _read_adapter(parts: Mapping[str, Tensor], source: str) -> Adapter | None:
    if not parts:
        return None
    described, config, weights = (parts[name].numpy().tobytes() for name in ("described", "config", "weights"))
    return Adapter(source, json.loads(described), config, weights)


def _read_codes(described: Mapping[str, Any]) -> ValueCodes:
    return ValueCodes(**{key: _to_tuple(value) for key, value in described.items()})


def _to_tuple(value: Any) -> Any:
    """Lists from JSON as tuples again."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value
