"""A cache of propagated features on disk, under a hash of all that they are made of."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Record = Mapping[str, NDArray[np.generic] | str | int | None]

FOLDER = "features"
MOST_BYTES = 2 << 30
_FORMAT = 1  # one more whenever other features are made of the same
_FILE = "{}.safetensors"

_LOG = logging.getLogger(__name__)


def hash_parts(parts: Iterable[NDArray[np.generic] | str | int | None]) -> str:
    """Hashes arrays, with their types and shapes, and plain values."""
    digest = hashlib.blake2b(str(_FORMAT).encode(), digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"\0{part.dtype} {part.shape}\0".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"\0{part!r}\0".encode())
    return digest.hexdigest()


def keep_records(
    key: str, build: Callable[[], list[Record]], cache_dir: Path, *, most_bytes: int = MOST_BYTES
) -> list[Record]:
    """Reads what was built before under a key, or builds it and keeps it.

    A file is whole or not there, so several processes may share the folder. What was read or written least recently
    goes when it is full. A cache that cannot be read or written (the disk is full) is a warning, never an error.

    Args:
        key: of `hash_parts`: whatever changes the records must be in it.
        build: makes the records.
        cache_dir: the user's cache folder.
        most_bytes: how much may be kept.
    """
    file = cache_dir / FOLDER / _FILE.format(key)
    try:
        records = _read(file)
        os.utime(file)
        return records
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        _LOG.warning("the propagated features in %s cannot be read and are made anew: %s", file, error)
    records = build()
    try:
        _write(file, records)
        _make_room(file.parent, most_bytes)
    except (OSError, SafetensorError) as error:
        _LOG.warning("propagated features cannot be kept in %s: %s", file.parent, error)
    return records


def _read(file: Path) -> list[Record]:
    with safe_open(file, "np") as opened:
        described = json.loads((opened.metadata() or {})["records"])
        arrays = {f"{place} {name}" for place, one in enumerate(described) for name in one["arrays"]}
        if arrays != set(opened.keys()):
            raise ValueError("other arrays than it says")
        return [
            one["values"] | {name: opened.get_tensor(f"{place} {name}") for name in one["arrays"]}
            for place, one in enumerate(described)
        ]


def _write(file: Path, records: list[Record]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {}
    described = []
    for place, record in enumerate(records):
        own = {name: value for name, value in record.items() if isinstance(value, np.ndarray)}
        arrays |= {f"{place} {name}": np.ascontiguousarray(value) for name, value in own.items()}
        described.append({"arrays": list(own), "values": {k: v for k, v in record.items() if k not in own}})
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".writing-") as folder:
        written = Path(folder) / file.name
        save_file(arrays, written, {"records": json.dumps(described)})
        written.replace(file)


def _make_room(folder: Path, most_bytes: int) -> None:
    """Throws out what was used least recently; another process may throw out the same."""
    found = []
    for file in folder.glob(_FILE.format("*")):
        try:
            about = file.stat()
        except FileNotFoundError:
            continue
        found.append((about.st_mtime_ns, about.st_size, file))
    size = sum(n_bytes for _, n_bytes, _ in found)
    for _, n_bytes, file in sorted(found):
        if size <= most_bytes:
            return
        file.unlink(missing_ok=True)
        size -= n_bytes
