"""Bundles on disk: saved whole, and read whole or refused."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from graph_schema import CatalogueSchema
from graph_schema.schema_differences import describe_differences
from kgrec.bundle.bundle import Bundle
from kgrec.bundle.folder import MANIFEST, WAIT_S, check_folder, name_tensors, open_tensors, read_manifest, write_folder
from kgrec.bundle.packing import pack_tensors, unpack_tensors
from kgrec.bundle.serialisation import (
    FORMAT,
    FORMAT_VERSION,
    describe_bundle,
    from_parts,
    share_tensors,
    to_tensors,
)
from kgrec.errors import BundleError

_log = logging.getLogger(__name__)
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
    """
    path = Path(path)
    _log.info("writing the bundle %s", path)
    check_folder(path)
    bundle = replace(bundle, model=bundle.model.weighed())
    tensors, same = share_tensors(to_tensors(bundle))
    content, layout = pack_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    name = name_tensors(digest)
    described = describe_bundle(bundle) | {
        "tensors": {"file": name, "sha256": digest, "bytes": len(content), "same": same, "layout": layout}
    }
    described = json.loads(json.dumps(described))  # as it is read back: keys are strings
    described["sha256"] = _hash_described(described)
    manifest = json.dumps(described, ensure_ascii=False).encode()
    write_folder(path, manifest, {name: content}, wait_s=wait_s)


def _hash_described(described: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's content but this hash: whitespace and the order of names do not count."""
    content = {name: value for name, value in described.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
    _log.info("reading the bundle %s", path)
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


def _check_schema(path: Path, own: CatalogueSchema, expected: CatalogueSchema) -> None:
    """Raises where a bundle was trained on other contents of a store, or on other likes of them."""
    differences = describe_differences(expected, own)
    likes = expected.interaction.describe_like(), own.interaction.describe_like()
    if not differences and likes[0] != likes[1]:
        differences = f"a like is {likes[0]}, the bundle has learned from {likes[1]}"
    if differences:
        raise BundleError(
            f"the bundle {path} was trained on the schema {own.name!r} ({own.digest[:8]}), expected {expected.name!r} "
            f"({expected.digest[:8]}): {differences.replace('the store', 'the bundle')}; train again, or name the "
            "bundle of this schema"
        )


def _load(path: Path, manifest: bytes, schema: CatalogueSchema | None) -> Bundle:
    described = _parse(path, manifest)
    try:
        own = CatalogueSchema.model_validate(described["schema"])
        if schema is not None:
            _check_schema(path, own, schema)
        tensors = _read_tensors(path, described["tensors"])
        return from_parts(described, own, tensors, str(path))
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError(f"the bundle {path} does not fit into memory; expected a machine with more") from error
    except Exception as error:  # a damaged file can raise anything
        raise BundleError(
            f"the bundle {path} is damaged: {type(error).__name__}: {error}; train again or restore it from a copy"
        ) from error


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
    if described.get("sha256") != _hash_described(described):
        raise BundleError(
            f"the bundle {path} is damaged: {MANIFEST} has another SHA-256 than it names; copy it again or train again"
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
