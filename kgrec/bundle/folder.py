"""Folders that are replaced whole: no crash and no second process leaves or reads half of one.

A folder holds a manifest and the files that it names, whose names contain a hash of their content. A saver holds the
lock `.lock`, writes into a folder `.writing-*`, moves the named files from there, and replaces the manifest last, in
one step. Each file is flushed to the disk before it is moved. Readers take no lock, since the disk may be read-only.
"""

import errno
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from kgrec.errors import BundleError, KgrecError

MANIFEST = "bundle.json"
WAIT_S = 60.0  # for another process that writes the same folder: a save takes a second or two
_TRIES = 20  # to move a file
_LOCK, _WRITING = ".lock", ".writing-"
_TENSORS = "tensors-{}.safetensors.zst"
_TENSORS_NAME = re.compile(re.escape(_TENSORS).replace(r"\{\}", "[0-9a-f]{16}"))
_MAX_MANIFEST = 2**26  # bytes; it has some thousands
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that is replaced whole.

    Attributes:
        name: what people call it.
        manifest: the name of its manifest.
        is_named_file: whether a file has a name that only a manifest gives.
        error: what is raised.
        leftovers: names that an interrupted run may leave in the folder.
    """

    name: str
    manifest: str
    is_named_file: Callable[[str], bool]
    error: type[KgrecError]
    leftovers: tuple[str, ...] = ()


def _is_tensors(name: str) -> bool:
    return _TENSORS_NAME.fullmatch(name) is not None


BUNDLE = FolderKind("bundle", MANIFEST, _is_tensors, BundleError)


def check_folder(path: Path, kind: FolderKind = BUNDLE) -> None:
    """Checks that a folder may be written to: it is new, empty, of this kind, or left by an interrupted save.

    Raises:
        KgrecError: it holds something else, is a file, or cannot be read.
    """
    try:
        if not path.exists() or (path / kind.manifest).exists():
            return
        if path.is_dir() and all(_is_left(entry.name, kind) for entry in path.iterdir()):
            return
    except OSError as error:
        raise kind.error(f"cannot read {path}: {error}; expected a folder that can be read and written") from error
    raise kind.error(f"{path} exists and is no {kind.name}; expected a new folder, an empty one or a {kind.name}'s own")


def _is_left(name: str, kind: FolderKind) -> bool:
    return name == _LOCK or name.startswith(_WRITING) or kind.is_named_file(name) or name in kind.leftovers


def write_folder(
    path: Path, manifest: bytes, files: Mapping[str, bytes], kind: FolderKind = BUNDLE, wait_s: float = WAIT_S
) -> None:
    """Replaces the content of a folder.

    Args:
        path: the folder; it is made if it is missing.
        manifest: the content of its manifest.
        files: name -> content of the files that the manifest names.
        kind: of the folder.
        wait_s: how long to wait while another process writes there, in seconds.

    Raises:
        KgrecError: the folder cannot be written, or another process is still writing it.
    """
    try:
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in new:
            _sync_folder(folder.parent)
        with FileLock(path / _LOCK, timeout=wait_s):
            _replace_files(path, manifest, files, kind)
    except Timeout as error:
        savers = " and ".join(map(_name_saver, _find_writing(path))) or "another process"
        raise kind.error(
            f"{savers} is still writing the {kind.name} {path} after {wait_s:g} s; expected it to be done: wait for it "
            f"to end, or stop it, and save again"
        ) from error
    except OSError as error:
        raise kind.error(
            f"cannot write the {kind.name} {path}: {error}; expected a folder that can be written"
        ) from error


def _find_writing(path: Path) -> list[Path]:
    return sorted(path.glob(f"{_WRITING}*"))


def _name_saver(writing: Path) -> str:
    host, _, pid = writing.name.removeprefix(_WRITING).rpartition("-")
    return f"process {pid} on {host}"


def _replace_files(path: Path, manifest: bytes, files: Mapping[str, bytes], kind: FolderKind) -> None:
    _remove(_find_writing(path))
    writing = path / f"{_WRITING}{platform.node()}-{os.getpid()}"  # shown to savers that wait
    writing.mkdir()
    try:
        for name, content in files.items():
            _write(writing / name, content)
            _move(writing / name, path / name)
        _sync_folder(path)
        _write(writing / kind.manifest, manifest)
        _move(writing / kind.manifest, path / kind.manifest)
        _sync_folder(path)
        _remove([entry for entry in path.iterdir() if kind.is_named_file(entry.name) and entry.name not in files])
    finally:
        _remove([writing])


def _write(file: Path, content: bytes) -> None:
    with file.open("xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _move(source: Path, target: Path) -> None:
    """Moves a file over another. Windows refuses while a reader has the other open, so this tries for a second."""
    for _ in range(_TRIES - 1):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(1 / _TRIES)
    source.replace(target)


def _sync_folder(folder: Path) -> None:
    """Flushes a folder's entries to the disk, where the system can."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # Windows opens no folders, and a parent folder may be one that cannot be listed
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(opened)


def _remove(entries: Iterable[Path]) -> None:
    """Removes what no manifest names. Windows keeps a file that is being read; the next saver removes it."""
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def name_tensors(sha256: str) -> str:
    """The name of the file of tensors with a SHA-256."""
    return _TENSORS.format(sha256[:16])


def read_manifest(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Reads `bundle.json`.

    Returns:
        Its content, and a stamp that changes when a saver replaces it, even by an equal one.

    Raises:
        BundleError: there is none, it cannot be read, or is far too large.
    """
    missing = f"no bundle at {path}: expected a folder with {MANIFEST}, as `kgrec train --out {path}` writes"
    with _open(path / MANIFEST, missing) as file:
        status = os.fstat(file.fileno())
        if status.st_size > _MAX_MANIFEST:
            raise BundleError(
                f"the bundle {path} is damaged: {MANIFEST} has {status.st_size} bytes, expected at most "
                f"{_MAX_MANIFEST}; train again or restore a copy"
            )
        return file.read(_MAX_MANIFEST), (status.st_ino, status.st_mtime_ns)


@contextmanager
def open_tensors(path: Path, name: object) -> Iterator[BinaryIO]:
    """Opens the file of tensors that a manifest names.

    Raises:
        BundleError: it is missing, cannot be read, or lies outside the bundle.
    """
    if not isinstance(name, str) or not _is_tensors(name):
        raise BundleError(
            f"the bundle {path} is incomplete: {MANIFEST} names {name!r}, expected a name such as "
            f"{name_tensors('0123456789abcdef')} in its own folder; copy all of its files, or train again"
        )
    missing = f"the bundle {path} is incomplete: no {name}; copy all of its files, or train again"
    with _open(path / name, missing) as file:
        yield file


@contextmanager
def _open(file: Path, missing: str) -> Iterator[BinaryIO]:
    """Opens a regular file of a bundle; `missing` is the message where there is none."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise BundleError(
                f"{file} is a link, or neither file nor folder; expected a file of the bundle: put a copy in its "
                f"place, or train again"
            )
        with file.open("rb") as opened:
            yield opened
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(missing) from error
    except PermissionError as error:
        raise BundleError(
            f"{file} may not be read by this account; expected a bundle that may: ask its owner to allow it, as with "
            f"`chmod -R a+rX {file.parent}`"
        ) from error
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error}; expected a file that can be read: use a copy") from error
