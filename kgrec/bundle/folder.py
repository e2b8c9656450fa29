"""A bundle's folder: its files are written so that no crash and no second saver breaks them, and opened with care.

The folder holds `bundle.json`, the file of packed tensors that it names, and the adapter's folder, if there is one. A
saver holds the lock `.lock`, writes into a folder `.writing-*`, moves the tensors and the adapter from there, and
replaces `bundle.json` last, in one step. All of it is on the disk before. Readers take no lock, since a bundle may lie
on a read-only disk.
"""

import errno
import hashlib
import io
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from kgrec.errors import BundleError
from kgrec.text.language_model import ADAPTER_FILE, ADAPTER_FILES

MANIFEST = "bundle.json"
_LOCK, _WRITING = ".lock", ".writing-"
_TENSORS, _ADAPTER = "tensors-{}.safetensors.zst", "adapter-{}"
_NAMES = {form: re.compile(re.escape(form).replace(r"\{\}", "[0-9a-f]{16}")) for form in (_TENSORS, _ADAPTER)}
_MAX_MANIFEST = 2**26  # bytes; it has some thousands
_COPY = "copy all of its files, or train again"
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


def check_folder(path: Path) -> None:
    """Checks that a bundle may be written to a folder: it is new, empty, a bundle's or left by an interrupted save.

    Raises:
        BundleError: it holds something else, is a file, or may not be read.
    """
    try:
        if not path.exists() or (path / MANIFEST).exists():
            return
        if path.is_dir() and all(map(_is_left, path.iterdir())):
            return
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error}; expected a folder that can be read and written") from error
    raise BundleError(f"{path} is there and is no bundle; expected a new folder, an empty one or a bundle's")


def _is_left(entry: Path) -> bool:
    return entry.name == _LOCK or entry.name.startswith(_WRITING) or _is_part(entry)


def _is_part(entry: Path) -> bool:
    return any(name.fullmatch(entry.name) for name in _NAMES.values())


def name_tensors(sha256: str) -> str:
    """The name of the file of tensors with a SHA-256."""
    return _TENSORS.format(sha256[:16])


def name_adapter(adapter: Path) -> str:
    """The name that the folder of an adapter has in a bundle, by the content of its files.

    Raises:
        OSError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for name in (ADAPTER_FILE, *ADAPTER_FILES):
        with (adapter / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return _ADAPTER.format(digest.hexdigest()[:16])


def write_folder(
    path: Path, manifest: bytes, tensors: tuple[str, bytes], adapter: tuple[str, Path] | None, wait_s: float
) -> None:
    """Writes the files of a bundle in place of those that are there.

    Args:
        path: the folder; it is made if it is missing.
        manifest: the content of `bundle.json`.
        tensors: the name and the content of the file of tensors.
        adapter: the adapter's name in the bundle, and the folder to copy it from; None: there is none.
        wait_s: how long to wait while another process writes the bundle, in seconds.

    Raises:
        BundleError: the folder cannot be written, or another process is still writing it.
    """
    try:
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in new:
            _sync_folder(folder.parent)
        with FileLock(path / _LOCK, timeout=wait_s):
            _replace_files(path, manifest, tensors, adapter)
    except Timeout as error:
        savers = " and ".join(map(_name_saver, _find_writing(path))) or "another process"
        raise BundleError(
            f"{savers} is still writing the bundle {path} after {wait_s:g} s; expected it to be done: wait for it to "
            f"end, or stop it, and save again"
        ) from error
    except OSError as error:
        raise BundleError(f"cannot write the bundle {path}: {error}; expected a folder that can be written") from error


def _find_writing(path: Path) -> list[Path]:
    return sorted(path.glob(f"{_WRITING}*"))


def _name_saver(writing: Path) -> str:
    host, _, pid = writing.name.removeprefix(_WRITING).rpartition("-")
    return f"process {pid} on {host}"


def _replace_files(path: Path, manifest: bytes, tensors: tuple[str, bytes], adapter: tuple[str, Path] | None) -> None:
    _remove(_find_writing(path))
    writing = path / f"{_WRITING}{platform.node()}-{os.getpid()}"  # tells those who wait whom they wait for
    writing.mkdir()
    try:
        name, content = tensors
        _write(writing / name, io.BytesIO(content))
        (writing / name).replace(path / name)
        kept = {name}
        if adapter is not None:
            _place_adapter(path, writing, *adapter)
            kept.add(adapter[0])
        _sync_folder(path)
        _write(writing / MANIFEST, io.BytesIO(manifest))
        (writing / MANIFEST).replace(path / MANIFEST)
        _sync_folder(path)
        _remove([entry for entry in path.iterdir() if _is_part(entry) and entry.name not in kept])
    finally:
        _remove([writing])


def _place_adapter(path: Path, writing: Path, name: str, source: Path) -> None:
    with suppress(OSError):  # it is not there, or not all of it
        if not (path / name).is_symlink() and name_adapter(path / name) == name:
            return
    (writing / name).mkdir()
    for file in (ADAPTER_FILE, *ADAPTER_FILES):
        with (source / file).open("rb") as content:
            _write(writing / name / file, content)
    _sync_folder(writing / name)
    _remove([path / name])
    (writing / name).replace(path / name)


def _write(file: Path, content: BinaryIO) -> None:
    with file.open("xb") as opened:
        shutil.copyfileobj(content, opened)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk, where that can be done."""
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
    """Removes what no bundle needs. The next saver removes what cannot go now, as Windows keeps a file that is read."""
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def read_manifest(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Reads `bundle.json`.

    Returns:
        Its content, and what differs once a saver has replaced it, even by an equal one.

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
        BundleError: it is not there, may not be read, or is no file of the bundle's own.
    """
    name = _check_name(path, name, _TENSORS)
    with _open(path / name, f"the bundle {path} is incomplete: no {name}; {_COPY}") as file:
        yield file


def find_adapter(path: Path, name: object) -> Path:
    """The folder of the adapter that a manifest names.

    Raises:
        BundleError: it is not whole, may not be read, or is no folder of the bundle's own.
    """
    adapter = path / _check_name(path, name, _ADAPTER)
    if adapter.is_symlink():
        raise _foreign(adapter)
    for file in (ADAPTER_FILE, *ADAPTER_FILES):
        with _open(adapter / file, f"the bundle {path} is incomplete: no adapter in {adapter}; {_COPY}"):
            pass
    return adapter


def _check_name(path: Path, name: object, form: str) -> str:
    if not isinstance(name, str) or not _NAMES[form].fullmatch(name):
        raise BundleError(
            f"the bundle {path} is incomplete: {MANIFEST} names {name!r}, expected a name such as "
            f"{form.format('0123456789abcdef')} in its own folder; {_COPY}"
        )
    return name


@contextmanager
def _open(file: Path, missing: str) -> Iterator[BinaryIO]:
    """Opens a file of the bundle's own; `missing` is the error where there is none."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise _foreign(file)
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


def _foreign(file: Path) -> BundleError:
    return BundleError(
        f"{file} is a link, or neither file nor folder; expected one of the bundle's own: put a copy in its place, "
        f"or train again"
    )
