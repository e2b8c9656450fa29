"""Asks a service at a constant rate, whether it keeps up or not.

A request's time counts from when it was to be sent, so that a service which stalls is not asked less meanwhile and its
stall counts for all requests that fall into it ("coordinated omission").
"""

import asyncio
import gc
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop

CONNECTIONS = 64
_START_S = 0.2  # until the first request
_MOST_WAIT_S = 30.0  # for the last answers


@dataclass
class Load:
    """What came of a load.

    Attributes:
        latencies_s: of each answer, from when its request was to be sent.
        due_s: when that was, from the start.
        statuses: how many answers had each status; 0: a connection that broke.
        versions: how many answers each version gave.
        cpu_s: processor time of who asked.
    """

    latencies_s: list[float] = field(default_factory=list)
    due_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    @property
    def n_errors(self) -> int:
        """Answers that are none."""
        return self.statuses.total() - self.statuses[200]


def ask_at_rate(port: int, key: str, ids: list[str], rate: float, seconds: float, seed: int = 0) -> Load:
    """Asks for 10 items for 3 random likes, at a constant rate.

    Args:
        port: of the service on this machine.
        key: the API key.
        ids: of the items.
        rate: requests a second.
        seconds: how long.
        seed: of the likes.
    """
    gc.disable()
    return uvloop.run(_ask(port, make_asker(key, ids, seed), rate, seconds))


def make_asker(key: str, ids: list[str], seed: int = 0) -> Callable[[], bytes]:
    """A function that returns another request each time, as bytes."""
    draw = random.Random(seed)
    head = (
        f"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    )

    def ask() -> bytes:
        likes = '","'.join(draw.sample(ids, 3))
        body = f'{{"likes":["{likes}"],"k":10}}'
        return f"{head}{len(body.encode())}\r\n\r\n{body}".encode()

    return ask


class _Connection(asyncio.Protocol):
    """One connection; it asks one thing at a time."""

    def __init__(self, asker: "_Asker") -> None:
        self._asker, self._content = asker, b""
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._asker.take(self)

    def send(self, due: float, request: bytes) -> None:
        self._due, self._content = due, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._content += data
        head, mark, body = self._content.partition(b"\r\n\r\n")
        if not mark or self._due is None:
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) < int(length.partition(b"\r\n")[0]):
            return
        _, _, version = body.rpartition(b'"version":"')
        self._asker.note(self._due, int(head[9:12]), version[:12].decode(errors="replace"))
        self._due = None
        self._asker.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            self._asker.note(self._due, 0, "")
            self._due = None
        self._asker.lose(self)


class _Asker:
    """Gives what is due to a free connection; what finds none waits, and its time counts."""

    def __init__(self) -> None:
        self.load = Load()
        self.started_at = 0.0
        self._free: deque[_Connection] = deque()
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, connection: _Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def lose(self, connection: _Connection) -> None:
        if connection in self._free:
            self._free.remove(connection)

    def ask(self, due: float, request: bytes) -> None:
        if self._free:
            self._free.popleft().send(due, request)
        else:
            self._waiting.append((due, request))

    def note(self, due: float, status: int, version: str) -> None:
        self.load.latencies_s.append(time.perf_counter() - due)
        self.load.due_s.append(due - self.started_at)
        self.load.statuses[status] += 1
        self.load.versions[version] += 1


async def _ask(port: int, make_request: Callable[[], bytes], rate: float, seconds: float) -> Load:
    loop, asker = asyncio.get_running_loop(), _Asker()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Connection(asker), "127.0.0.1", port)
    n_requests = round(rate * seconds)
    asker.started_at = started = time.perf_counter() + _START_S
    started_cpu = time.process_time()
    for number in range(n_requests):
        due = started + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        asker.ask(due, make_request())
    until = time.perf_counter() + _MOST_WAIT_S
    while asker.load.statuses.total() < n_requests and time.perf_counter() < until:
        await asyncio.sleep(0.02)
    asker.load.cpu_s = time.process_time() - started_cpu
    asker.load.statuses[0] += n_requests - asker.load.statuses.total()  # never answered
    return asker.load
