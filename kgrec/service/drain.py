"""The end of a server: clients learn of it, requests that were accepted are answered, and the exit code is 0.

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
from multiprocessing.queues import SimpleQueue
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE

from kgrec.errors import KgrecError, StoreError
from kgrec.service.problems import Problem

ON_DRAIN = "on_drain"  # in the state that the app's lifespan yields: a function to call when the draining begins
_FAILURE = "failure"  # in the same state: the error that ended the app's start
ARRIVING_S = 0.1  # for the request on a connection that was just accepted
LOOK_S = 0.5  # between two looks whether the end was asked for
RESTART_S = 1.0  # before a process that died is replaced, so that one that always dies does not use all of a CPU
_CLOSE = ("connection", "close")
_SPAWN = multiprocessing.get_context("spawn")
_log = logging.getLogger(__name__)


def run(config: Config, notice_s: float) -> int:
    """Serves until SIGTERM or Ctrl+C, and drains.

    Args:
        config: of uvicorn, not loaded yet; with several workers its app is a text, or can be pickled.
        notice_s: how long requests are taken after SIGTERM.

    Returns:
        The exit code: 0, or uvicorn's `STARTUP_FAILURE` after an error that is no fault of who started it; the log
        says where.

    Raises:
        KgrecError: the app cannot start.
    """
    if config.workers == 1:
        return _serve(config, notice_s, None)
    failures = _SPAWN.SimpleQueue()
    code = run_workers(partial(_serve_shared, config, notice_s, failures), [config.bind_socket()], config.workers)
    if code and not failures.empty():
        raise StoreError(failures.get())
    return code


def keep_failure(app: ASGIApp) -> ASGIApp:
    """An app whose start fails without a traceback as text in the log: the server has the error and reports it."""

    async def kept(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return

        async def send_briefly(message: Message) -> None:
            await send({"type": message["type"]} if message["type"] == "lifespan.startup.failed" else message)

        try:
            await app(scope, receive, send_briefly)
        except Exception as error:
            scope["state"][_FAILURE] = error
            raise

    return kept


def _serve(config: Config, notice_s: float, sockets: list[socket.socket] | None) -> int:
    """Runs one server in this process; as in `run`."""
    server = DrainingServer(config, notice_s)
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets)
    except SystemExit:  # so uvicorn ends a start that failed
        failure = server.failure
        if server.should_exit:
            return 0
        if isinstance(failure, Problem):
            raise StoreError(f"{failure.title}: {failure.document().detail}") from failure
        if isinstance(failure, KgrecError | OSError):
            raise failure from None
        if failure is not None:
            _log.error("the service cannot start", exc_info=failure)
        return STARTUP_FAILURE
    return 0


def _serve_shared(config: Config, notice_s: float, failures: "SimpleQueue[str]", sockets: list[socket.socket]) -> None:
    """Runs one of several processes; it leaves the message of an error to the first process."""
    try:
        sys.exit(_serve(config, notice_s, sockets))
    except (KgrecError, OSError) as error:
        if config.loaded:
            failures.put(str(error))
            sys.exit(STARTUP_FAILURE)
        _log.error("a process cannot start: %s", error)  # the folder cannot be used now; another one tries again
        sys.exit(1)


class DrainingServer(Server):
    """A server that drains.

    Args:
        config: with `timeout_graceful_shutdown`, the seconds that requests in flight may take.
        notice_s: how long it takes requests after SIGTERM.
    """

    def __init__(self, config: Config, notice_s: float) -> None:
        super().__init__(config)
        self._notice_s, self._draining = notice_s, False
        self.failure: Exception | None = None  # the error that ended the app's start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the app and listens."""
        try:
            await super().startup(sockets)
        finally:
            self.failure = self.lifespan.state.get(_FAILURE)

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
        """Lets the app and the clients know. It runs between two steps of the event loop, as handlers of signals do."""
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
        """Serves until the end is asked for, and through the notice."""
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


def run_workers(serve: Callable[[list[socket.socket]], object], sockets: list[socket.socket], n_workers: int) -> int:
    """Runs several processes that share sockets until SIGTERM or Ctrl+C; one that dies is replaced.

    Args:
        serve: what a process runs, with the sockets; it can be pickled, such as a `functools.partial` of a function.
        sockets: those to listen on; they are closed at the end.
        n_workers: processes.

    Returns:
        The exit code: 0, or that of a process that could not start.
    """
    stopping = threading.Event()

    def start() -> BaseProcess:
        process = _SPAWN.Process(target=serve, args=(sockets,))
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
