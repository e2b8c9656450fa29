"""A cache of text vectors on disk, by encoder, computation and text: only new texts are encoded."""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kgrec.text.batching import split_texts
from kgrec.text.encoder import Encoder, OnTexts, are_unit, check_texts

Result = TypeVar("Result")

CACHE_FILE = "text_vectors.sqlite"
MOST_BYTES = 8 << 30
_KEPT_SHARE = 0.9  # stays when the cache is full, so that not every call evicts

_LOG = logging.getLogger(__name__)
_KEYS_PER_QUERY = 500
_WAIT_S = 60.0  # for another process that is writing
_RETRY_S = 0.05
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, used INTEGER NOT NULL, vector BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
"""


def encode_cached(
    encoder: Encoder,
    texts: Sequence[str],
    cache_dir: Path,
    on_texts: OnTexts | None = None,
    *,
    most_bytes: int = MOST_BYTES,
) -> NDArray[np.float32]:
    """Encodes texts, reading from `cache_dir` what was encoded before.

    Vectors are stored chunk by chunk, so an interrupt loses little; several processes may share the folder, with one
    encoder or with several. The least recently used vectors are evicted when the cache is full. A cache that cannot be
    read or written (the disk is full) is a warning, never an error: the texts are encoded anyway.

    Args:
        encoder: the encoder; its revision and computation are part of each key, so vectors of another model, backend,
            precision or library version are never mixed in.
        texts: n texts, none of them blank.
        cache_dir: a folder; it is made when it is missing.
        on_texts: called with (texts encoded so far, texts to encode); cached texts do not count.
        most_bytes: the largest size of the cache.

    Returns:
        Float32 (n, dim), in the order of the texts.

    Raises:
        TextError: a text is blank or cannot be encoded.
    """
    check_texts(texts)
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = np.empty((len(rows), encoder.dim), dtype=np.float32)
    keys = [hashlib.sha256(f"{encoder.revision}\0{encoder.computation}\0{text}".encode()).digest() for text in rows]

    path = cache_dir / CACHE_FILE
    found = _use(path, lambda cache: _read(cache, keys, vectors, most_bytes)) if keys else None
    is_usable = found is not None
    # Longest first, so that a chunk's texts are of like length.
    missing = sorted(
        (text for text, row in rows.items() if found is None or not found[row]), key=lambda text: (-len(text), text)
    )
    done = 0
    for chunk in split_texts(missing):
        places = [rows[text] for text in chunk]
        vectors[places] = encoder.encode(chunk)
        if is_usable:  # one warning is enough
            write = partial(_write, keys=keys, vectors=vectors, places=places, most_bytes=most_bytes)
            is_usable = _use(path, write) is not None
        done += len(chunk)
        if on_texts is not None:
            on_texts(done, len(missing))
    return vectors[[rows[text] for text in texts]] if texts else vectors


def _use(path: Path, action: Callable[[sqlite3.Connection], Result]) -> Result | None:
    """Opens the cache, or makes it, and runs an action on it; None when it cannot be used."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=_WAIT_S)) as cache:
                _prepare(cache)
                with cache:
                    return action(cache)
        except (OSError, sqlite3.OperationalError) as error:  # no folder, read-only, full or locked
            _LOG.warning("the text cache %s is not used: %s", path, error)
            return None
        except sqlite3.DatabaseError as error:
            _LOG.warning("the text cache %s is damaged (%s): it is deleted and built again", path, error)
            try:
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            except OSError as held:  # Windows deletes no file that another process has open
                _LOG.warning("the text cache %s is not used: %s", path, held)
                return None
    return None


def _prepare(cache: sqlite3.Connection) -> None:
    """Makes the tables of a new cache and lets readers and a writer work at once; a kill breaks nothing.

    SQLite does not wait for its locks while the journal mode changes, so this waits for other processes that open the
    same new cache.
    """
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            cache.execute("PRAGMA journal_mode = WAL")
            cache.execute("PRAGMA synchronous = NORMAL")
            cache.executescript(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(_RETRY_S)


def _read(
    cache: sqlite3.Connection, keys: list[bytes], vectors: NDArray[np.float32], most_bytes: int
) -> NDArray[np.bool_]:
    """Fills the rows of `vectors` (n, dim) whose keys are cached, and returns which, bool (n,)."""
    found = np.zeros(len(keys), dtype=np.bool_)
    row = {key: i for i, key in enumerate(keys)}
    n_bytes = vectors.shape[1] * vectors.itemsize
    # Uses are recorded once half the room is taken; before that no eviction is near, and reading need not write.
    use = _next_use(cache) if _size(cache) > most_bytes // 2 else None
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        chunk = keys[start : start + _KEYS_PER_QUERY]
        marks = ", ".join("?" * len(chunk))
        hits = cache.execute(
            f"SELECT key, vector FROM vectors WHERE key IN ({marks}) AND length(vector) = {n_bytes}", chunk
        ).fetchall()
        if use is not None:
            cache.execute(f"UPDATE vectors SET used = ? WHERE key IN ({marks})", [use, *chunk])
            cache.commit()  # other processes write between two chunks
        places = np.array([row[key] for key, _ in hits], dtype=np.int64)
        values = np.frombuffer(b"".join(vector for _, vector in hits), dtype=np.float32)
        values = values.reshape(len(hits), vectors.shape[1])
        sound = are_unit(values)
        vectors[places[sound]] = values[sound]
        found[places[sound]] = True
    return found


def _write(
    cache: sqlite3.Connection, keys: list[bytes], vectors: NDArray[np.float32], places: list[int], most_bytes: int
) -> bool:
    use = _next_use(cache)
    cache.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
        [(keys[place], use, vectors[place].tobytes()) for place in places],
    )
    if (size := _size(cache)) > most_bytes:
        (n_rows,) = cache.execute("SELECT count(*) FROM vectors").fetchone()
        n_out = n_rows - int(n_rows * _KEPT_SHARE * most_bytes / size)
        cache.execute(
            "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY used, rowid LIMIT ?)", (n_out,)
        )
    return True


def _next_use(cache: sqlite3.Connection) -> int:
    (last,) = cache.execute("SELECT max(used) FROM vectors").fetchone()
    return int(last or 0) + 1


def _size(cache: sqlite3.Connection) -> int:
    """Bytes of the pages in use."""
    (n_pages,) = cache.execute("PRAGMA page_count").fetchone()
    (n_free,) = cache.execute("PRAGMA freelist_count").fetchone()
    (page,) = cache.execute("PRAGMA page_size").fetchone()
    return int((n_pages - n_free) * page)
