"""FileLock: who has a database file open, across processes and within this one."""

import os
import sys
from pathlib import Path
from typing import Literal

from kgrec.errors import StoreError

if sys.platform != "win32":
    import fcntl

Mode = Literal["read", "write"]

# (device, inode) of the files that this process has open, and how. To open and close a file that it writes once more
# would drop the database's own lock (that is how POSIX locks work), so such a handle is refused untouched.
_held: dict[tuple[int, int], list[Mode]] = {}


class FileLock:
    """Holds a file open for many readers or for one writer, until closed.

    It is advisory (flock) and comes on top of the database's own lock, which keeps out neither a reader while a writer
    is at work nor a second writer in the same process. Where there is no flock (Windows) it guards one process.

    Args:
        path: the file; a writer makes it, and its folder, when missing.
        mode: "read" or "write".

    Raises:
        StoreError: the file cannot be opened, or is open elsewhere in a way that excludes this.
    """

    def __init__(self, path: Path, mode: Mode) -> None:
        held = _held.get(_identity(path.stat()), []) if path.exists() else []
        if "write" in held or (held and mode == "write"):
            raise StoreError(
                f"{path} is open in this process already, to {held[0]}; expected it to be free: close that store first"
            )
        try:
            if mode == "write":
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT if mode == "write" else os.O_RDONLY, 0o666)
        except OSError as error:
            raise StoreError(
                f"cannot open {path} to {mode}: {error.strerror}; expected a file that may be "
                + ("written" if mode == "write" else "read")
            ) from error
        self._identity = _identity(os.fstat(self._file))
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, (fcntl.LOCK_EX if mode == "write" else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._file)
                if isinstance(error, BlockingIOError):
                    raise in_use(path) from error
                raise StoreError(
                    f"cannot lock {path}: {error.strerror}; keep it on a file system with locks"
                ) from error
        self._mode = mode
        _held.setdefault(self._identity, []).append(mode)

    def close(self) -> None:
        """Lets go of the file; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _held[self._identity].remove(self._mode)


def in_use(path: Path) -> StoreError:
    """The error for a database that another process has open."""
    return StoreError(
        f"{path} is open in another process; expected it to be free: wait for that one to end, or stop it"
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
