"""Waiting for a server that takes connections and never answers ends in time."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kgrec.errors import StoreError
from kgrec.store.neo4j import connection as connections
from kgrec.store.neo4j.connection import Connection

BOLT_5_4 = b"\x00\x00\x04\x05"  # the answer to the handshake


@pytest.fixture(params=["silent", "after the handshake"])
def black_hole(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that takes connections, answers the handshake at most, and is silent then."""
    listening = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            opened.append(taken)
            if request.param != "silent":
                taken.recv(20)
                taken.sendall(BOLT_5_4)

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    for one in (listening, *opened):
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_a_server_that_never_answers_is_waited_for_no_longer_than_asked(
    black_hole: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LEAST_WAIT_S", 0.5)
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"did not answer within 1 s: it takes connections, and is silent"):
        Connection(f"{scheme}://127.0.0.1:{black_hole}", "read", wait_s=1)
    assert time.monotonic() - start < 30  # and not for ever
