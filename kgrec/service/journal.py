"""The journal: what was added over HTTP, on disk before it is answered, so that a crash loses nothing.

It is an SQLite file in WAL mode, flushed at each commit; several processes may share it. It holds the latest entry of
each item, each user and each pair of user and item, so that it grows with what was added, not with how often. Deleted
content is overwritten.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from filelock import FileLock

from kgrec.service.problems import Problem

About = Literal["item", "removed", "user", "interaction", "forgotten"]
BUSY_S = 30.0  # to wait for another process that writes
_DAY_S = 86_400
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, about TEXT NOT NULL, subject TEXT NOT NULL,
    item TEXT NOT NULL DEFAULT '', body TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS entries_subject ON entries (subject, item);
CREATE INDEX IF NOT EXISTS entries_item ON entries (item);
CREATE TABLE IF NOT EXISTS feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS feedback_user ON feedback (user);
CREATE TABLE IF NOT EXISTS answered (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, at INTEGER NOT NULL, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS serving (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """One entry of the journal.

    Attributes:
        about: "item" (added or changed), "removed" (an item), "user" (added), "interaction", or "forgotten" (a user,
            by a keyed hash).
        subject: the id of the item or the user, or the hash.
        item: the item of an interaction.
        body: what was added, as JSON.
        at: UTC seconds.
        seq: its number, ascending; 0 until it is written.
    """

    about: About
    subject: str
    item: str = ""
    body: str = ""
    at: int = 0
    seq: int = 0


class Journal:
    """The journal of a service folder.

    A damaged file is renamed and kept; a new one begins with what can be read of it.

    Args:
        path: the file.
        most_bytes: the largest size; a full one takes no writes.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path, self._most_bytes = path, most_bytes
        with FileLock(path.with_name(f"{path.name}.lock"), mode=0o600):  # else two processes mend one file
            self.damaged = _mend(path)
            self._connection = _connect(path)
        self._watching = _connect(path)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        self._watching.close()

    def stamp(self) -> int:
        """A number that changes when any process has written; it takes microseconds."""
        found: int = self._watching.execute("PRAGMA data_version").fetchone()[0]
        return found

    @property
    def n_bytes(self) -> int:
        """The size of the file and of what is not yet merged into it."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    @property
    def last_seq(self) -> int:
        """The number of the last entry; 0 for none."""
        return _last_seq(self._connection)

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """Holds the journal for a write: nobody else writes meanwhile, and all of it is kept, or nothing.

        Raises:
            Problem: 507 when the disk or the journal is full, 503 when it cannot be written.
        """
        with _as_problem():
            if self.n_bytes > self._most_bytes:
                raise Problem(
                    HTTPStatus.INSUFFICIENT_STORAGE, "The journal is full", got=f"a journal of {self.n_bytes:,} bytes",
                    expected=f"at most {self._most_bytes:,}", to_do="train again, or set a larger journal_bytes",
                )  # fmt: skip
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Writing(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def read(self, after: int) -> list[Entry]:
        """The entries after a number, ascending."""
        return _read(self._watching, after)

    def find_answer(self, key: str) -> tuple[str, str] | None:
        """The hash of the request with an idempotency key, and its answer as JSON; None: there was none."""
        found = self._watching.execute("SELECT request, answer FROM answered WHERE key = ?", (key,)).fetchone()
        return None if found is None else (found[0], found[1])

    def read_forgotten(self) -> frozenset[str]:
        """The hashes of the users who were forgotten."""
        found = self._watching.execute("SELECT subject FROM entries WHERE about = 'forgotten'").fetchall()
        return frozenset(subject for (subject,) in found)

    def read_serving(self) -> dict[str, str]:
        """Which versions are served; see `Deployment`."""
        return dict(self._watching.execute("SELECT name, value FROM serving").fetchall())

    def count_traces(self, user: str) -> dict[str, int]:
        """How many entries, and how many events of feedback, name a user."""
        counted = "SELECT count(*) FROM entries WHERE about IN ('user', 'interaction') AND subject = ?"
        entries = self._watching.execute(counted, (user,)).fetchone()[0]
        feedback = self._watching.execute("SELECT count(*) FROM feedback WHERE user = ?", (user,)).fetchone()[0]
        return {"journal": entries, "feedback": feedback}

    def compact(self) -> None:
        """Merges the write-ahead log into the file, so that no deleted content is left in it.

        Raises:
            Problem: 503 when another process reads it for too long, or it cannot be written.
        """
        with _as_problem():
            is_held = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if is_held:
                raise sqlite3.OperationalError("another process holds the journal")

    def remove_damaged(self) -> None:
        """Removes damaged files that were kept beside the journal."""
        for file in self.path.parent.glob(f"{self.path.stem}.damaged-*"):
            file.unlink(missing_ok=True)
        self.damaged = None

    def begin_after(self, seq: int) -> None:
        """Gives new entries numbers above one, such as that of a snapshot which knows entries that a damage took.

        Raises:
            Problem: the journal cannot be written.
        """
        if self.last_seq < seq:
            with self.writing() as writing:
                writing.begin_after(seq)


class Writing:
    """A write that is not committed yet."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, after: int) -> list[Entry]:
        """The entries after a number, ascending."""
        return _read(self._connection, after)

    def append(self, entries: Iterable[Entry], since: int = 0) -> int:
        """Adds entries, each in place of older ones about the same; returns the number of the last entry.

        An item that is removed and added again has both entries: what it was before stays removed.

        Args:
            entries: what is added.
            since: UTC seconds; the entries get a later time, also where the clock went back.
        """
        last: int = self._connection.execute("SELECT coalesce(max(at), 0) FROM entries").fetchone()[0]
        now = max(int(time.time()), last, since + 1)
        for entry in entries:
            kinds = ("item", "removed") if entry.about == "removed" else (entry.about,)
            self._connection.execute(
                f"DELETE FROM entries WHERE subject = ? AND item = ? AND about IN ({', '.join('?' * len(kinds))})",
                (entry.subject, entry.item, *kinds),
            )
            if entry.about == "removed":
                self._keep_users_of(entry.subject, now)
                self._connection.execute("DELETE FROM entries WHERE item = ?", (entry.subject,))
            self._connection.execute(
                "INSERT INTO entries (at, about, subject, item, body) VALUES (?, ?, ?, ?, ?)",
                (entry.at or now, entry.about, entry.subject, entry.item, entry.body),
            )
        return _last_seq(self._connection)

    def _keep_users_of(self, item: str, now: int) -> None:
        """Gives users who would have no entry without their interactions with an item one of their own."""
        users = self._connection.execute(
            "SELECT DISTINCT subject FROM entries AS own WHERE item = ? AND NOT EXISTS"
            " (SELECT 1 FROM entries WHERE subject = own.subject AND about = 'user')",
            (item,),
        ).fetchall()
        self._connection.executemany(
            "INSERT INTO entries (at, about, subject, body) VALUES (?, 'user', ?, ?)",
            [(now, user, json.dumps({"user": user}, ensure_ascii=False)) for (user,) in users],
        )

    def add_feedback(self, events: Iterable[tuple[int, str, str]]) -> None:
        """Keeps events: (UTC seconds, user or "", JSON)."""
        self._connection.executemany("INSERT INTO feedback (at, user, body) VALUES (?, ?, ?)", events)

    def erase_user(self, user: str) -> None:
        """Deletes what names a user."""
        self._connection.execute("DELETE FROM entries WHERE about IN ('user', 'interaction') AND subject = ?", (user,))
        self._connection.execute("DELETE FROM feedback WHERE user = ?", (user,))
        in_answers = json.dumps(user, ensure_ascii=False)[1:-1]
        self._connection.execute("DELETE FROM answered WHERE instr(answer, ?) > 0", (in_answers,))

    def keep_answer(self, key: str, request: str, answer: str) -> None:
        """Keeps the answer to a request with an idempotency key, for a day."""
        now = int(time.time())
        self._connection.execute("DELETE FROM answered WHERE at < ?", (now - _DAY_S,))
        self._connection.execute("INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?)", (key, request, now, answer))

    def write_serving(self, values: dict[str, str]) -> None:
        """Changes which versions are served; see `Deployment`."""
        self._connection.executemany("INSERT OR REPLACE INTO serving VALUES (?, ?)", values.items())

    def begin_after(self, seq: int) -> None:
        """Gives new entries numbers above one."""
        _begin_after(self._connection, seq)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.executescript(_TABLES)
    return connection


def _mend(path: Path) -> Path | None:
    """Moves a damaged file away, and copies what can be read of it into a new one; returns where it is now."""
    if not path.exists():
        return None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
                return None
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return None  # locked, or not readable: opening it says so
    except sqlite3.DatabaseError:
        pass
    damaged = path.with_name(f"{path.stem}.damaged-{int(time.time())}.sqlite")
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(damaged.with_name(damaged.name + ending))
    path.rename(damaged)
    new = _connect(path)
    old = sqlite3.connect(damaged, isolation_level=None)
    new.execute("BEGIN")
    for table in ("entries", "feedback", "answered", "serving"):
        for order in ("", " ORDER BY rowid DESC"):  # from both ends, up to what cannot be read
            with suppress(sqlite3.DatabaseError):
                for row in old.execute(f"SELECT * FROM {table}{order}"):
                    new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    with suppress(sqlite3.DatabaseError):
        _begin_after(new, _last_seq(old))
    new.execute("COMMIT")
    new.close()
    old.close()
    return damaged


def _last_seq(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return 0 if found is None else int(found[0])


def _begin_after(connection: sqlite3.Connection, seq: int) -> None:
    if _last_seq(connection) < seq:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'entries'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('entries', ?)", (seq,))


def _read(connection: sqlite3.Connection, after: int) -> list[Entry]:
    found = connection.execute(
        "SELECT about, subject, item, body, at, seq FROM entries WHERE seq > ? ORDER BY seq", (after,)
    )
    return [Entry(*row) for row in found]


@contextmanager
def _as_problem() -> Iterator[None]:
    """Turns errors of the file into problems."""
    try:
        yield
    except sqlite3.Error as error:
        full = "full" in str(error)
        raise Problem(
            HTTPStatus.INSUFFICIENT_STORAGE if full else HTTPStatus.SERVICE_UNAVAILABLE,
            "The journal cannot be written",
            got=str(error),
            expected="a disk with free space that may be written",
            to_do="nothing was changed: free space or mend the disk, and send the request again",
            headers={"Retry-After": "5"},
        ) from error
