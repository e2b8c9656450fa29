"""The end of a server: who sends requests is told, those that were accepted are answered, and the exit code is 0.

After SIGTERM a server still takes requests for a while, in which GET /ready says that it is draining and each answer
closes its connection; so load balancers and clients move elsewhere. Then it listens no more, closes idle connections
and ends what is in flight. Ctrl+C has no such while, and a second Ctrl+C waits for nothing.
"""

import asyncio
import logging
import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE

ON_DRAIN = "on_drain"  # in the state that the app's lifespan yields: a function to call when the draining begins
ARRIVING_S = 0.1  # for the request on a connection that was just accepted
LOOK_S = 0.5  # between two looks whether the end was asked for
RESTART_S = 1.0  # before a process that died is replaced, so that one that always dies does not use all of a CPU
_CLOSE = ("connection", "close")
_log = logging.getLogger(__name__)


def run(config: Config, notice_s: float) -> int:
    """Serves until SIGTERM or Ctrl+C, and drains.

    Args:
        config: of uvicorn, not loaded yet; with several workers its app is a text, or can be pickled.
        notice_s: how long requests are taken after SIGTERM.

    Returns:
        The exit code: 0, or uvicorn's `STARTUP_FAILURE`.
    """
    if config.workers > 1:
        return run_workers(partial(_serve, config, notice_s), [config.bind_socket()], config.workers)
    return _serve(config, notice_s, None)


def _serve(config: Config, notice_s: float, sockets: list[socket.socket] | None) -> int:
    server = DrainingServer(config, notice_s)
    with suppress(KeyboardInterrupt):
        server.run(sockets)
    if not server.started and not server.should_exit:
        if sockets is not None:
            sys.exit(STARTUP_FAILURE)
        return STARTUP_FAILURE
    return 0


class DrainingServer(Server):
    """A server that drains.

    Args:
        config: with `timeout_graceful_shutdown`, the seconds that requests in flight may take.
        notice_s: how long it takes requests after SIGTERM.
    """

    def __init__(self, config: Config, notice_s: float) -> None:
        super().__init__(config)
        self._notice_s, self._draining = notice_s, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to drain. Unlike in uvicorn, the signal is not raised again at the end: the exit code is 0."""
        if sig == signal.SIGINT and self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGINT or not self.started or not self._notice_s:
            self._start_draining()
            self.should_exit = True
        elif not self._draining:
            self._start_draining()

    def _start_draining(self) -> None:
        """Tells the app and the clients. It runs between two steps of the event loop, as handlers of signals do."""
        if self._draining:
            return
        self._draining = True
        _log.info("draining")
        self.config.headers.append(_CLOSE)
        self.config.encoded_headers.append((_CLOSE[0].encode(), _CLOSE[1].encode()))
        self.server_state.default_headers = [*self.server_state.default_headers, self.config.encoded_headers[-1]]
        on_drain = self.lifespan.state.get(ON_DRAIN) if self.started else None
        if on_drain is not None:
            on_drain()

    async def main_loop(self) -> None:
        """Serves until it is told to end, and through the notice."""
        drained_at: float | None = None
        counter = 0
        now = asyncio.get_running_loop().time
        while not await self.on_tick(counter):
            if self._draining and drained_at is None:
                drained_at = now() + self._notice_s
            if drained_at is not None and now() >= drained_at:
                self.should_exit = True
                continue
            counter = (counter + 1) % 864_000
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends: listens no more, answers what was accepted, closes what is idle."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(ARRIVING_S)
        await super().shutdown(sockets)


def run_workers(serve: Callable[[list[socket.socket]], int], sockets: list[socket.socket], n_workers: int) -> int:
    """Runs several processes that share sockets until SIGTERM or Ctrl+C; one that dies is replaced.

    Args:
        serve: what a process runs, with the sockets; it can be pickled, such as a `functools.partial` of a function.
        sockets: those to listen on; they are closed at the end.
        n_workers: processes.

    Returns:
        The exit code: 0, or that of a process that could not start.
    """
    context = multiprocessing.get_context("spawn")
    stopping = threading.Event()

    def start() -> BaseProcess:
        process = context.Process(target=serve, args=(sockets,))
        process.start()
        return process

    before = {sig: signal.signal(sig, lambda *_: stopping.set()) for sig in (signal.SIGTERM, signal.SIGINT)}
    processes: list[BaseProcess] = []
    code = 0
    try:
        processes = [start() for _ in range(n_workers)]
        while not stopping.is_set():
            connection.wait([process.sentinel for process in processes], timeout=LOOK_S)
            if stopping.is_set():
                break
            for place, process in enumerate(processes):
                if process.exitcode is None:
                    continue
                if process.exitcode == STARTUP_FAILURE:  # it would fail again
                    code = STARTUP_FAILURE
                    stopping.set()
                    break
                _log.error("a process ended with the exit code %d; another one takes its place", process.exitcode)
                stopping.wait(RESTART_S)
                processes[place] = start()
    finally:
        for listener in sockets:  # else clients could connect for as long as any process drains
            listener.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        for sig, handler in before.items():
            signal.signal(sig, handler)
    return code
