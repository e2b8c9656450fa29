"""The audit log: who wrote and administered what, one JSON line each, in a chain of hashes that shows any change.

A line has the hash of the line before it and of its own content. Who may write the file can still rewrite it whole, or
cut off its end: keep the last hash elsewhere to see that, too.
"""

import hashlib
import hmac
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from kgrec.errors import StoreError

TORN = "torn line"  # the act of a line about one that a crash cut off
_FIRST = "0" * 64  # the hash before the first line
_BLOCK = 64 * 1024  # bytes that are read at a time from the end
_POLL_S = 0.003  # while another process writes
_SECRET_BYTES, _HASH_LENGTH = 32, 32

Value = str | int | float | None


class AuditLine(BaseModel):
    """One line.

    Attributes:
        n: its number, from 1.
        at: UTC seconds.
        actor: the id of the key, or "command line".
        act: what was done.
        about: counts, hashes and settings; nothing personal.
        before: the hash of the line before.
        hash: SHA-256 of all of this as JSON, in this order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    n: int
    at: int
    actor: str
    act: str
    about: dict[str, Value]
    before: str
    hash: str

    def compute_hash(self) -> str:
        """The hash that the line must have."""
        content = json.dumps(self.model_dump(exclude={"hash"}), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


class AuditLog:
    """The audit log of a service folder; processes take turns.

    Attributes:
        path: the file; made at the first line, for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), mode=0o600, poll_interval=_POLL_S)

    def append(self, actor: str, act: str, at: int, about: Mapping[str, Value] | None = None) -> AuditLine:
        """Adds a line, which is on disk when this returns.

        Args:
            actor: the id of the key.
            act: what was done, such as "items".
            at: UTC seconds.
            about: counts, hashes and settings.

        Raises:
            StoreError: the file cannot be written; it is as before.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock, io.FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
                return _add_line(file, actor, act, at, dict(about or {}))
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror}; expected a file that may be written, and free space"
            ) from error

    def read_last(self, n: int) -> list[AuditLine]:
        """The last n lines, the latest last; what a crash cut off is left out.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                found = []
                for text in _read_backwards(file):
                    line = _parse(text)
                    if line is not None:
                        found.append(line)
                    if len(found) >= n:
                        break
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}; expected a file that may be read") from error
        return found[::-1][-n:] if n > 0 else []


def verify(path: Path) -> int | None:
    """The number of the first line in the file, from 1, that breaks the chain; None: it is whole.

    Raises:
        StoreError: the file cannot be read.
    """
    n, before = 0, _FIRST
    torn: list[bytes] = []
    place = 0
    try:
        with path.open("rb") as file:
            for place, text in enumerate(file, 1):
                line = _parse(text.rstrip(b"\n"))
                if line is None:
                    torn.append(text.rstrip(b"\n"))
                    continue
                if torn and (line.act != TORN or line.about != _describe(torn)):
                    return place - len(torn)
                if (line.n, line.before) != (n + 1, before) or line.hash != line.compute_hash():
                    return place
                n, before, torn = line.n, line.hash, []
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; expected a file that may be read") from error
    return place - len(torn) + 1 if torn else None


@dataclass(frozen=True)
class Pseudonyms:
    """Keyed hashes that stand for ids of users; without the secret in the service folder nobody can compute them.

    Attributes:
        folder: the service folder.
    """

    folder: Path

    def hash(self, user: str) -> str:
        """The hash of an id, 32 hex digits, always the same in this folder.

        Raises:
            StoreError: the secret cannot be read or made.
        """
        return hmac.new(self._secret, user.encode(), hashlib.sha256).hexdigest()[:_HASH_LENGTH]

    @cached_property
    def _secret(self) -> bytes:
        path = self.folder / "pseudonyms.secret"
        try:
            if not path.exists():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with FileLock(self.folder / "pseudonyms.lock", mode=0o600):
                    if not path.exists():
                        _write_whole(path, secrets.token_bytes(_SECRET_BYTES))
            secret = path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror}; expected a folder that may be written") from error
        if len(secret) != _SECRET_BYTES:
            raise StoreError(f"{path} has {len(secret)} bytes; expected {_SECRET_BYTES}: restore it from a copy")
        return secret


def _write_whole(path: Path, content: bytes) -> None:
    made = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)


def _make_line(n: int, at: int, actor: str, act: str, about: dict[str, Value], before: str) -> AuditLine:
    line = AuditLine(n=n, at=at, actor=actor, act=act, about=about, before=before, hash="")
    return line.model_copy(update={"hash": line.compute_hash()})


def _add_line(file: io.FileIO, actor: str, act: str, at: int, about: dict[str, Value]) -> AuditLine:
    size = file.seek(0, os.SEEK_END)
    torn: list[bytes] = []
    n, before = 0, _FIRST
    for text in _read_backwards(file):
        last = _parse(text)
        if last is not None:
            n, before = last.n, last.hash
            break
        torn.insert(0, text)
    lines = []
    if torn:
        lines.append(_make_line(n + 1, at, actor, TORN, _describe(torn), before))
        n, before = n + 1, lines[-1].hash
    lines.append(_make_line(n + 1, at, actor, act, about, before))
    left = b"".join(f"{line.model_dump_json()}\n".encode() for line in lines)
    file.seek(max(0, size - 1))
    if size and file.read(1) != b"\n":
        left = b"\n" + left
    try:
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise
    return lines[-1]


def _describe(torn: Sequence[bytes]) -> dict[str, Value]:
    text = b"\n".join(torn)
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}


def _parse(text: bytes) -> AuditLine | None:
    try:
        return AuditLine.model_validate_json(text)
    except ValidationError:
        return None


def _read_backwards(file: BinaryIO | io.FileIO) -> Iterator[bytes]:
    """The lines of a file, the last one first, without their ends."""
    place, rest = file.seek(0, os.SEEK_END), b""
    is_last = True
    while place:
        start = max(0, place - _BLOCK)
        file.seek(start)
        lines = (file.read(place - start) + rest).split(b"\n")
        place, rest = start, lines[0]
        for text in lines[:0:-1]:
            if text or not is_last:
                yield text
            is_last = False
    if rest or not is_last:
        yield rest
