"""Real servers for tests: `kgrec serve` in a process of its own, on a free port of this machine."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx

from kgrec import cli
from kgrec.service.caller import Scope, Tenant
from kgrec.service.keys import KeyStore

READY_S = 60.0
QUICK = {"notice_s": 0, "warm_texts": False}  # for tests, which start many


# A process of its own has imported what takes seconds; each service begins as a fork of it.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["kgrec.cli", "kgrec.service.app", "uvicorn", "uvicorn.loops.uvloop"])


@dataclass(frozen=True)
class Process:
    """The process of a service."""

    process: BaseProcess

    @property
    def pid(self) -> int:
        """Its id."""
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code; None: it runs."""
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"it did not end within {timeout} s"
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it without warning."""
        self.process.kill()


def _run(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Runs a command of kgrec, with its output in a file."""
    os.environ.update(environment)
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(opened, stream)
    sys.argv = ["kgrec", *command]
    cli.main()


@dataclass
class Server:
    """A running service.

    Attributes:
        url: where it listens.
        folder: the service folder.
        process: its process, or the parent of its workers.
        log: its log.
    """

    url: str
    folder: Path
    process: Process
    log: Path

    def key(self, scope: Scope = Scope.ADMIN, tenant: Tenant | None = None) -> str:
        """A new key."""
        return make_key(self.folder, scope, tenant)

    def client(self, scope: Scope = Scope.ADMIN, tenant: Tenant | None = None) -> httpx.Client:
        """A client with a new key."""
        headers = {"Authorization": f"Bearer {self.key(scope, tenant)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30.0)

    def kill(self) -> None:
        """Kills it without warning."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=READY_S)


def make_key(folder: Path, scope: Scope = Scope.ADMIN, tenant: Tenant | None = None) -> str:
    """A new key of a service folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return KeyStore(folder / "keys.sqlite").create("test", scope, tenant, int(time.time()))


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def start(
    bundle: Path,
    folder: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    scheme: str = "http",
    wait: bool = True,
) -> Server:
    """Starts a service, and waits until it answers."""
    port = find_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    if "--config" not in options:
        config = folder.with_name(f"{folder.name}.quick.toml")
        config.write_text(_to_toml(QUICK), encoding="utf-8")
        options = [*options, "--config", str(config)]
    command = ["serve", str(bundle), "--data", str(folder), "--port", str(port), *options]
    process = _FORKS.Process(target=_run, args=(command, log, {**os.environ, **(environment or {})}))
    process.start()
    server = Server(f"{scheme}://127.0.0.1:{port}", folder, Process(process), log)
    if wait:
        wait_until_alive(server)
    return server


def wait_until_alive(server: Server) -> None:
    """Waits until a service answers."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if server.process.poll() is not None:
            break
        try:
            httpx.get(f"{server.url}/health", timeout=5.0, verify=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    server.kill()
    raise AssertionError(f"the service did not start: {server.log.read_text()[-3000:]}")


@contextmanager
def serve(bundle: Path, folder: Path, options: Sequence[str] = (), **settings: Any) -> Iterator[Server]:
    """A service for the time of a test; settings as in `ServeSettings` go through a file."""
    config = folder.with_name(f"{folder.name}.toml")
    config.write_text(_to_toml({**QUICK, **settings}), encoding="utf-8")
    server = start(bundle, folder, [*options, "--config", str(config)])
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def _to_toml(settings: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, values in settings.items():
        if isinstance(values, Mapping):
            lines += [f"[{name}]", *(f"{inner} = {json.dumps(value)}" for inner, value in values.items())]
    return "\n".join(lines)
