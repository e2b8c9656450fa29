"""The watch command: syncs a bundle on a schedule."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import read_store
from kgrec.cli.options import WAIT_S, BundlePath, MaxRejects, Rejects, Store, Wait
from kgrec.terminal import count_of, say


@app.command()
def watch(
    store: Store,
    bundle: BundlePath,
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to look for changes.")
    ] = 60.0,
    at_least: Annotated[
        float,
        typer.Option("--at-least", min=1, metavar="SECONDS", help="Sync this often also where no change is seen."),
    ] = 3600.0,
    changed_at: Annotated[
        str | None,
        typer.Option("--changed-at", metavar="PROPERTY", help="A property of the graph with the time of a change."),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish to the store after each sync, as the live version was.")
    ] = False,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Keeps a bundle up to date with its store, until it is stopped.

    Syncs when the store has changed, and prints a line for each change.
    """
    from kgrec.bundle import load_bundle
    from kgrec.errors import KgrecError, RequestError
    from kgrec.store import NEO4J_SCHEMES
    from kgrec.sync.watching import Rhythm, make_look
    from kgrec.sync.watching import watch as watch_store

    if publish and store.partition(":")[0] not in NEO4J_SCHEMES:
        raise RequestError(f"got --publish with {store}; expected a Neo4j store to publish to")

    tell_rejects = tell_changes(report)

    def work() -> None:
        sync_folder(store, bundle, rejects, max_rejects, wait, tell_rejects)
        if publish:
            publish_folder(store, bundle, wait)

    def tell_failure(error: KgrecError, pause_s: float) -> None:
        report(f"{error}; the next try is in {pause_s:g} s")

    with hold_folder(bundle), stop_by_signal() as stop:
        look = make_look(store, load_bundle(bundle), changed_at=changed_at, wait_s=wait)
        seen = look(None)
        work()  # an error ends the command here; later ones are tried again
        report(f"watching {store} for {bundle}, every {every:g} s")
        watch_store(look, seen, work, Rhythm(every, at_least), stop, on_failure=tell_failure)
        report("stopped")


def sync_folder(
    store: str, bundle: Path, rejects: Path | None, max_rejects: float, wait: float, tell_rejects: Callable[[str], None]
) -> None:
    """Syncs a bundle in place; prints what changed."""
    from kgrec import cache_dir
    from kgrec.bundle import load_bundle, save_bundle
    from kgrec.sync import sync_bundle
    from kgrec.sync.report import describe_changes

    started = time.perf_counter()
    before = load_bundle(bundle)
    tables = read_store(store, before.schema, wait, rejects, max_rejects, tell_rejects)
    synced, found = sync_bundle(before, tables, None, cache_dir(), now=int(time.time()))
    if not found.changes:
        return
    save_bundle(synced, bundle)
    advice = f"; train again: {'; '.join(found.staleness.reasons)}" if found.staleness.reasons else ""
    report(f"synced in {time.perf_counter() - started:.1f} s: {describe_changes(found.changes)}{advice}")


def publish_folder(store: str, bundle: Path, wait: float) -> None:
    """Publishes a bundle as the live version was published, unless it is live already."""
    from kgrec.publish import NEIGHBOURS, publish_bundle
    from kgrec.recommend import Recommender
    from kgrec.store.neo4j.connection import Connection
    from kgrec.store.neo4j.release import read_release

    started = time.perf_counter()
    recommender = Recommender.load(bundle)
    with Connection(store, "write", wait_s=wait) as connection:
        live = read_release(connection).live
        about = {} if live is None else live.about
        lineage = recommender.bundle.lineage
        if about.get("trained_at") == recommender.bundle.trained_at and about.get("synced_at") == lineage.synced_at:
            return
        done = publish_bundle(
            recommender, connection, published_at=int(time.time()), neighbours=about.get("neighbours", NEIGHBOURS),
            recommend=about.get("recommend", 0), segments=about.get("segments", 0),
        )  # fmt: skip
    n = count_of(done.version.n_written, "relationship")
    report(f"published {done.version.name} in {time.perf_counter() - started:.1f} s: {n} written")


def report(line: str) -> None:
    """Prints a line with the time."""
    say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")


def tell_changes(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tells a sentence, but not twice in a row."""
    last: str | None = None

    def tell_change(sentence: str) -> None:
        nonlocal last
        if sentence != last:
            tell(sentence)
        last = sentence

    return tell_change


@contextmanager
def hold_folder(bundle: Path) -> Iterator[None]:
    """Keeps other watchers off a bundle.

    Raises:
        BundleError: another one watches it.
    """
    from filelock import FileLock, Timeout

    from kgrec.errors import BundleError

    lock = FileLock(bundle.with_name(f"{bundle.name}.watch.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BundleError(
            f"another `kgrec watch` keeps {bundle} up to date; expected one for each bundle: stop that one first"
        ) from error
    except OSError as error:
        raise BundleError(
            f"cannot write {lock.lock_file}: {error.strerror}; expected a folder that may be written"
        ) from error
    try:
        yield
    finally:
        # while it is held: another watcher that has opened it sees that it is gone, and makes a new one
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def stop_by_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second one ends the work at once, as Ctrl-C does elsewhere."""
    stop = threading.Event()

    def note(*_: int | FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
