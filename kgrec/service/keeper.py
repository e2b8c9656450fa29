"""What a service does by itself: it looks for new bundles, syncs, writes snapshots, and reads what others changed."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from filelock import FileLock, Timeout

from kgrec.errors import KgrecError
from kgrec.service.deployment import Deployment, Served
from kgrec.service.problems import Problem
from kgrec.service.syncing import sync_now

_log = logging.getLogger(__name__)


class Keeper:
    """A thread that keeps one process up to date; of several processes one does the work for all.

    Args:
        deployment: what is served.
        on_change: called in the thread when a version was read.
    """

    def __init__(self, deployment: Deployment, on_change: Callable[[], None]) -> None:
        self._deployment, self._on_change = deployment, on_change
        self._settings = deployment.settings
        self._stop = threading.Event()
        self._lock = FileLock(self._settings.folder / "keeper.lock", thread_local=False)
        self._next_sync, self._n_failures, self._seen = 0.0, 0, ""
        self._unsaved_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="kgrec-keeper", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()
        if self._settings.warm_texts:
            threading.Thread(target=self._warm_texts, name="kgrec-warm", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, after the work that it has begun, and writes the last snapshot."""
        self._stop.set()
        self._thread.join()
        if self._has_work():
            with suppress(KgrecError, Problem, OSError, sqlite3.Error):
                self._deployment.snapshot()
            self._lock.release()

    def _warm_texts(self) -> None:
        with suppress(KgrecError):
            self._deployment.warm_texts()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.look_every_s):
            try:
                self._work()
            except (KgrecError, Problem, OSError, sqlite3.Error) as error:
                _log.warning("%s", error)
            except Exception:
                _log.exception("the keeper failed, and goes on")  # without it no bundle and no sync would be seen

    def _work(self) -> None:
        deployment = self._deployment
        if self._has_work():
            deployment.look()
            deployment.finish_forgetting()
            if self._settings.store is not None and time.monotonic() >= self._next_sync:
                self._sync()
            current = deployment.current
            if current is not None:
                self._write_snapshot(current)
        if deployment.is_behind:
            deployment.catch_up()
        if deployment.serving.generation != deployment.read_serving().generation:
            deployment.reload()
            self._on_change()

    def _write_snapshot(self, current: Served) -> None:
        """Writes a snapshot after many entries, or where some have waited for long."""
        unsaved = current.seq - self._deployment.stored.last_snapshot(current.base)
        if unsaved <= 0:
            self._unsaved_since = None
            return
        self._unsaved_since = self._unsaved_since or time.monotonic()
        waited = time.monotonic() - self._unsaved_since
        if unsaved >= self._settings.snapshot_every or waited >= self._settings.snapshot_after_s:
            self._deployment.snapshot()
            self._unsaved_since = None

    def _has_work(self) -> bool:
        """Whether this process is the one that works for all."""
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        return True

    def _sync(self) -> None:
        """Syncs where the store has changed, or has not been read for long; after failures it waits longer."""
        from kgrec.sync.watching import Rhythm, make_look

        store, current = self._settings.store, self._deployment.current
        if store is None or current is None:
            return
        rhythm = Rhythm(self._settings.sync_every_s, self._settings.stale_after_s / 2)
        now = int(time.time())
        try:
            look = make_look(store, current.recommender.bundle, changed_at=None, wait_s=5.0)
            seen = look(self._seen or None)
            last = self._deployment.read_serving().synced_at
            if seen != self._seen or last is None or now - last >= rhythm.at_least_s:
                sync_now(self._deployment, now)
                self._on_change()
            else:
                self._deployment.finish_sync(now, self._deployment.read_serving().stale, changed=False)
            self._seen, self._n_failures = seen, 0
        except KgrecError as error:
            self._n_failures += 1
            self._deployment.note("sync", f"the last sync failed: {error}")
        self._next_sync = time.monotonic() + rhythm.pause(self._n_failures)
