"""`kgrec watch`: a store changes, and the bundle, and what is published of it, follow by themselves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import RunCommand, Shop
from graph_deletions import delete_nodes

from kgrec import Recommender
from kgrec.errors import StoreError
from kgrec.store import open_store
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import read_release

LIMIT_S = 120


class Watcher:
    """A running `kgrec watch` and the lines that it has printed."""

    def __init__(self, *arguments: object) -> None:
        command = [Path(sys.executable).with_name("kgrec"), "watch", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += iter(self.process.stderr.readline, "")

    def await_line(self, part: str) -> str:
        wait_until(lambda: any(part in line for line in self.lines) or self.process.poll() is not None)
        return next(line for line in self.lines if part in line)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@contextmanager
def watching(*arguments: object) -> Iterator[Watcher]:
    watcher = Watcher(*arguments)
    try:
        yield watcher
    finally:
        watcher.process.kill()
        watcher.process.wait()


def delete_product(store: str, product: str) -> bool:
    """Whether it could: an embedded store may be open in the watcher."""
    try:
        with open_store(store, mode="write") as opened:
            delete_nodes(opened, "product", [product])
    except StoreError:
        return False
    return True


def test_a_bundle_follows_an_embedded_store_until_it_is_stopped(run: RunCommand, shop: Shop) -> None:
    with watching(shop.store, shop.bundle, "--every", 0.2) as watcher:
        watcher.await_line("watching")
        refused = run("watch", shop.store, shop.bundle)
        assert refused.code == 2
        assert "another `kgrec watch` keeps" in refused.err
        wait_until(lambda: delete_product(shop.store, "sku-03"))
        assert "product 1 deleted" in watcher.await_line("synced in")
        assert "sku-03" not in Recommender.load(shop.bundle).bundle.items
        watcher.process.send_signal(signal.SIGTERM)
        assert watcher.process.wait(LIMIT_S) == 0
        watcher.await_line("stopped")
    assert run("watch", shop.store, shop.bundle, "--publish").code == 2  # an embedded store has no Cypher for others


def test_what_is_published_follows_a_server(run: RunCommand, shop: Shop, neo4j_url: str) -> None:
    assert run(*shop.load_args(to=neo4j_url)).code == 0
    assert run("publish", shop.bundle, "--to", neo4j_url, "--neighbours", 4, "--recommend", 2).code == 0
    with Connection(neo4j_url, "write") as connection:
        first = read_release(connection).live
        with watching(neo4j_url, shop.bundle, "--every", 0.2, "--publish") as watcher:
            watcher.await_line("watching")
            connection.write("MATCH (p:Product {sku: 'sku-03'}) DETACH DELETE p")
            assert "product 1 deleted" in watcher.await_line("synced in")
            watcher.await_line("published kgrec-")
            watcher.process.send_signal(signal.SIGINT)
            assert watcher.process.wait(LIMIT_S) == 0
        found = read_release(connection)
        assert found.previous == first
        assert found.live is not None
        assert (found.live.about["neighbours"], found.live.about["recommend"]) == (4, 2)
        assert found.live.n_written < sum(found.live.n_edges.values())
