"""API keys: made once, kept as argon2 hashes in SQLite, and known to a process after their first use."""

import hashlib
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from kgrec.errors import RequestError, StoreError
from kgrec.service.caller import Caller, Scope, Tenant

_TOKEN = re.compile(r"kgrec_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
# OWASP's least: a key has 256 random bits, which no stretching of a hash adds to; a service must check many a key
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_LOOK_S = 0.5  # between two looks whether another process has changed the file
_BLIND_S = 5.0  # after so long without a look, remembered keys are forgotten
_CHANGE_COUNTER = slice(24, 28)  # of SQLite's file header: each commit counts it up
_LONGEST_NAME = 200
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, scope INTEGER NOT NULL, tenant_kind TEXT, tenant_node TEXT,
    hash TEXT, created_at INTEGER NOT NULL, revoked_at INTEGER
)
"""


@dataclass(frozen=True)
class KeyEntry:
    """A key as it is listed, without its secret.

    Attributes:
        caller: who has it, and what it allows.
        created_at: UTC seconds.
        revoked_at: UTC seconds; None: it is valid.
    """

    caller: Caller
    created_at: int
    revoked_at: int | None


class KeyStore:
    """The keys of a service, in a file that several processes share.

    `find` takes tens of milliseconds for a key that this process has not seen, because argon2 does; `recall` takes
    microseconds and knows only keys that `find` has found before. A revocation counts within a second everywhere.

    Args:
        path: the SQLite file; made when missing, for its owner only.

    Raises:
        StoreError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seed = secrets.token_bytes(32)  # keys are remembered by a hash that no other process can compute
        self._dummy = _HASHER.hash(secrets.token_urlsafe(32))
        self._known: dict[bytes, Caller] = {}
        self._changing = threading.Lock()  # of what is known
        self._looked_at = time.monotonic()
        if not path.exists():
            with _naming(path):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's journal gets the same mode
                with self._open() as file:
                    file.execute(_TABLE)
        self._stamp = self._read_stamp()

    def create(self, name: str, scope: Scope, tenant: Tenant | None, now: int) -> str:
        """Makes a key.

        Args:
            name: what to call it, for people.
            scope: what it allows.
            tenant: the items that exist for it; None: all.
            now: UTC seconds.

        Returns:
            The key. It is not kept and cannot be shown again.

        Raises:
            RequestError: the name is empty, long or not printable, or a key with a tenant would be an admin's.
            StoreError: the file cannot be written.
        """
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise RequestError(f"expected the name of a key as 1 to {_LONGEST_NAME} printable characters, got {name!r}")
        if tenant is not None and scope >= Scope.ADMIN:
            raise RequestError(
                f"a key for {tenant.kind}={tenant.node} alone cannot have the scope admin, which is for all items; "
                "expected read or write"
            )
        key, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        kind, node = (None, None) if tenant is None else (tenant.kind, tenant.node)
        with _naming(self._path), self._open() as file:
            file.execute(
                "INSERT INTO keys (id, name, scope, tenant_kind, tenant_node, hash, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, name, int(scope), kind, node, _HASHER.hash(secret), now),
            )
        return f"kgrec_{key}_{secret}"

    def list(self) -> list[KeyEntry]:
        """All keys, the oldest first, with those that are revoked.

        Raises:
            StoreError: the file cannot be read.
        """
        with _naming(self._path), self._open() as file:
            rows = file.execute(
                "SELECT id, name, scope, tenant_kind, tenant_node, created_at, revoked_at FROM keys "
                "ORDER BY created_at, rowid"
            ).fetchall()
        return [KeyEntry(_to_caller(*row[:5]), *row[5:]) for row in rows]

    def revoke(self, key: str, now: int) -> bool:
        """Makes a key invalid, by its id; whether there was such a valid key.

        Raises:
            StoreError: the file cannot be written.
        """
        with _naming(self._path), self._open() as file:
            changed = file.execute(
                "UPDATE keys SET revoked_at = ?, hash = NULL WHERE id = ? AND revoked_at IS NULL", (now, key)
            ).rowcount
        self._keep(lambda caller: caller.key != key)
        return changed > 0

    def recall(self, token: str) -> Caller | None:
        """The owner of a key that `find` has found before in this process and that is still valid; else None."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_S:
            self._look(now)
        return self._known.get(self._digest(token))

    def find(self, token: str) -> Caller | None:
        """The owner of a valid key; else None. It takes as long for an unknown id as for a wrong secret.

        Raises:
            StoreError: the file cannot be read.
        """
        matched = _TOKEN.fullmatch(token)
        if matched is None:
            return None
        key, secret = matched.groups()
        row = self._read(key)
        try:
            _HASHER.verify(self._dummy if row is None else row[-1], secret)
        except VerifyMismatchError:
            return None
        if row is None:
            return None
        caller = _to_caller(*row[:5])
        with self._changing:
            self._known[self._digest(token)] = caller
        if self._read(key) is None:  # revoked meanwhile; what is revoked from now on, `recall` sees
            self._keep(lambda caller: caller.key != key)
            return None
        return caller

    def _read(self, key: str) -> tuple[str, str, int, str | None, str | None, str] | None:
        with _naming(self._path), self._open() as file:
            row: tuple[str, str, int, str | None, str | None, str] | None = file.execute(
                "SELECT id, name, scope, tenant_kind, tenant_node, hash FROM keys WHERE id = ? AND revoked_at IS NULL",
                (key,),
            ).fetchone()
        return row

    def _look(self, now: float) -> None:
        """Forgets keys that another process has revoked."""
        try:
            stamp = self._read_stamp()
            if stamp != self._stamp:
                with _naming(self._path), self._open(wait_s=0) as file:
                    valid = {key for (key,) in file.execute("SELECT id FROM keys WHERE revoked_at IS NULL")}
                self._keep(lambda caller: caller.key in valid)
                self._stamp = stamp
            self._looked_at = now
        except StoreError:
            if now - self._looked_at > _BLIND_S:
                self._keep(lambda _: False)

    def _keep(self, is_valid: Callable[[Caller], bool]) -> None:
        with self._changing:
            self._known = {digest: caller for digest, caller in self._known.items() if is_valid(caller)}

    def _read_stamp(self) -> tuple[int, bytes]:
        with _naming(self._path), self._path.open("rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_ino, file.read(_CHANGE_COUNTER.stop)[_CHANGE_COUNTER]

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), key=self._seed, digest_size=16).digest()

    @contextmanager
    def _open(self, wait_s: float = 5.0) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: processes, threads and a replaced file need no care."""
        with closing(sqlite3.connect(self._path, timeout=wait_s)) as file, file:
            yield file


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Names the file in an error."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"cannot use the keys in {path}: {error}; expected an SQLite file that this user may read and write"
        ) from error


def _to_caller(key: str, name: str, scope: int, kind: str | None, node: str | None) -> Caller:
    return Caller(key, name, Scope(scope), None if kind is None or node is None else Tenant(kind, node))
