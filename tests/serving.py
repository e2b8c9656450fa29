"""Real servers for tests: `kgrec serve` in a process of its own, on a free port of this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from kgrec.service.caller import Scope, Tenant
from kgrec.service.keys import KeyStore

READY_S = 60.0


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
    process: subprocess.Popen[bytes]
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
    command = [sys.executable, "-m", "kgrec.cli", "serve", str(bundle), "--data", str(folder), "--port", str(port)]
    with log.open("ab") as opened:
        process = subprocess.Popen(
            [*command, *options], stdout=opened, stderr=opened, env={**os.environ, **(environment or {})}
        )
    server = Server(f"{scheme}://127.0.0.1:{port}", folder, process, log)
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
    config.write_text(_to_toml({"notice_s": 0, **settings}), encoding="utf-8")
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
