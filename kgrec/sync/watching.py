"""Syncs on a schedule: looks whether a store has changed, and works only where it has."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kgrec.bundle import Bundle
from kgrec.errors import KgrecError
from kgrec.store import NEO4J_SCHEMES, open_store

MOST_PAUSE_S = 1800.0  # between two tries after failures, if `every_s` is no longer
Look = Callable[[str | None], str]


@dataclass(frozen=True)
class Rhythm:
    """When a watcher looks and works.

    Attributes:
        every_s: seconds between two looks; they double with each failure in a row, up to MOST_PAUSE_S.
        at_least_s: seconds after which it works also where no change is seen: not every change is.
    """

    every_s: float = 60.0
    at_least_s: float = 3600.0

    def pause(self, n_failures: int) -> float:
        """Seconds until the next look, after some failures in a row."""
        return min(self.every_s * 2.0 ** min(n_failures, 30), max(MOST_PAUSE_S, self.every_s))


def watch(
    look: Look,
    seen: str,
    work: Callable[[], None],
    rhythm: Rhythm,
    stop: threading.Event,
    *,
    on_failure: Callable[[KgrecError, float], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Works whenever a look differs from the one before the last work, until it is stopped.

    Args:
        look: called with its last answer; returns a text that differs when there is something to do.
        seen: what it returned before the work that was done just now, so that what changed meanwhile is seen.
        work: does it.
        rhythm: when.
        stop: ends the watch; work that has begun is done first.
        on_failure: called with an error and the seconds until the next try.
        clock: the time in seconds.
    """
    worked_at, n_failures = clock(), 0
    while not stop.wait(rhythm.pause(n_failures)):
        try:
            found = look(seen)
            if found != seen or clock() - worked_at >= rhythm.at_least_s:
                work()
                seen, worked_at = found, clock()
            n_failures = 0
        except KgrecError as error:
            n_failures += 1
            on_failure(error, rhythm.pause(n_failures))


def make_look(url: str, bundle: Bundle, *, changed_at: str | None, wait_s: float) -> Look:
    """How to see whether a store has changed.

    An embedded store is seen by its files, which change with every write; a Neo4j server is asked.

    Args:
        url: the store.
        bundle: names the types that count.
        changed_at: see `kgrec.store.neo4j.graph_pulse.read_pulse`.
        wait_s: how long to wait for a server that does not answer.
    """
    scheme, _, place = url.partition(":")
    if scheme not in NEO4J_SCHEMES:
        return lambda _: _describe_files(Path(place))

    def look(before: str | None) -> str:
        from kgrec.store.neo4j.graph_pulse import read_pulse
        from kgrec.store.neo4j.store import Neo4jStore

        with open_store(url, mode="read", schema=bundle.schema, wait_s=wait_s) as store:
            assert isinstance(store, Neo4jStore)
            return read_pulse(store.connection, store.read_schema(), before, changed_at)

    return look


def _describe_files(path: Path) -> str:
    """The sizes and modification times of a database file and its write-ahead files."""
    files = sorted(path.parent.glob(f"{path.name}*"))
    found = [(file.name, file.stat()) for file in files if file.suffix != ".csv" and file.is_file()]
    return repr([(name, status.st_size, status.st_mtime_ns) for name, status in found])
