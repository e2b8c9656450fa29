"""The end of a real server under load: what it accepted is answered, load balancers learn of it, the exit code is 0."""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Server, serve, start

N_CLIENTS = 6
BEFORE_S = 1.0  # of load before the server is asked to end
NOTICE_S = 3.0  # in which clients must see that it drains, on slow machines, too
TOO_LONG_S = 600.0
BODY = {"likes": ["sku-00", "sku-02"], "k": 3}
Shop = Any


@dataclass
class Load:
    """What clients saw: request id -> status of a whole answer, or the error instead of one and when."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: dict[str, tuple[str, float]] = field(default_factory=dict)
    closed: int = 0
    lines: list[int] = field(default_factory=list)
    not_ready: list[str] = field(default_factory=list)


def requests_in(log: Path) -> dict[str, int]:
    """The requests that a server began, by its log: request id -> status."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["request_id"]: line["status"] for line in lines if line["message"] == "request"}


async def ask_on(client: httpx.AsyncClient, name: str, load: Load, balanced: bool) -> None:
    """Asks again and again: a balanced client until the service says that it drains, others until nobody listens."""
    for number in range(1_000_000):
        if balanced and load.not_ready:
            return
        request = f"{name}-{number}"
        try:
            answer = await client.post("/recommend", json=BODY, headers={"X-Request-ID": request})
        except httpx.TransportError as error:
            load.failed[request] = (type(error).__name__, time.monotonic())
            if isinstance(error, httpx.ConnectError):
                return
        else:
            load.answered[request] = answer.status_code
            load.closed += answer.headers.get("connection") == "close"
            assert len(answer.json()["items"]) == 3


async def look_on(client: httpx.AsyncClient, load: Load) -> None:
    """Looks whether the service is ready, as a load balancer does."""
    while not load.not_ready:
        answer = await client.get("/ready", headers={"Connection": "close"})
        if answer.status_code == 503:
            load.not_ready.append(answer.json()["got"])
        await asyncio.sleep(0.05)


async def stream(client: httpx.AsyncClient, load: Load, seconds: float) -> None:
    """Sends a batch slowly, so that it is in flight when the server is asked to end."""

    async def lines() -> AsyncIterator[bytes]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield json.dumps(BODY).encode() + b"\n"
            await asyncio.sleep(0.05)

    headers = {"Content-Type": "application/x-ndjson", "X-Request-ID": "batch"}
    async with client.stream("POST", "/recommend/batch", content=lines(), headers=headers) as answer:
        load.answered["batch"] = answer.status_code
        async for line in answer.aiter_lines():
            load.lines.append(len(json.loads(line)["items"]))


async def drain(server: Server, *, balanced: bool, sig: int = signal.SIGTERM) -> tuple[Load, float, int]:
    """Puts load on a server and ends it; returns what clients saw, when the end was asked for, and the exit code."""
    load = Load()
    headers = {"Authorization": f"Bearer {server.key()}"}
    limits = httpx.Limits(max_keepalive_connections=N_CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, headers=headers, limits=limits, timeout=30.0) as client:
        tasks = [asyncio.create_task(ask_on(client, f"client-{number}", load, balanced)) for number in range(N_CLIENTS)]
        tasks.append(asyncio.create_task(stream(client, load, BEFORE_S + NOTICE_S + 1.0)))
        if balanced:
            tasks.append(asyncio.create_task(look_on(client, load)))
        await asyncio.sleep(BEFORE_S)
        told_at = time.monotonic()
        server.process.send_signal(sig)
        await asyncio.gather(*tasks)
    code = await asyncio.to_thread(server.process.wait, 60)
    return load, told_at, code


def check(load: Load, told_at: float, server: Server) -> None:
    """What was accepted is answered, and nothing failed before the end."""
    began = requests_in(server.log)
    asked = {request: status for request, status in began.items() if request.startswith(("client-", "batch"))}
    assert set(load.answered.values()) == {200}
    assert asked == load.answered  # whatever the server began came back whole, and the other way round
    assert load.lines
    assert set(load.lines) == {3}
    assert all(at >= told_at for _, at in load.failed.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_behind_a_load_balancer(made_shop: Shop, tmp_path: Path, workers: int) -> None:
    with serve(made_shop.bundle, tmp_path / "service", ["--workers", str(workers)], notice_s=NOTICE_S) as server:
        load, told_at, code = asyncio.run(drain(server, balanced=True))
    check(load, told_at, server)
    assert code == 0
    assert load.failed == {}
    assert len(load.answered) > N_CLIENTS
    assert load.not_ready[0].startswith("draining")


def test_requests_that_were_accepted_are_answered_though_clients_go_on(made_shop: Shop, tmp_path: Path) -> None:
    with serve(made_shop.bundle, tmp_path / "service", ["--workers", "2"], notice_s=0.5) as server:
        load, told_at, code = asyncio.run(drain(server, balanced=False))
    check(load, told_at, server)
    assert code == 0
    assert load.closed >= N_CLIENTS  # each answer of the notice closes its connection
    assert {name for name, _ in load.failed.values()} <= {"ConnectError", "ReadError", "RemoteProtocolError"}


def test_a_request_that_takes_longer_than_the_drain_is_cut_off(made_shop: Shop, tmp_path: Path) -> None:
    async def ask(server: Server) -> None:
        headers = {"Authorization": f"Bearer {server.key()}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=TOO_LONG_S) as client:
            task = asyncio.create_task(stream(client, Load(), TOO_LONG_S))
            await asyncio.sleep(BEFORE_S)
            assert await asyncio.to_thread(server.stop) == 0  # it waits for less than the request takes
            with pytest.raises(httpx.TransportError):
                await task

    with serve(made_shop.bundle, tmp_path / "service", notice_s=0.1, drain_s=1.0) as server:
        asyncio.run(ask(server))


def test_ctrl_c_waits_for_neither_the_notice_nor_idle_connections(made_shop: Shop, tmp_path: Path) -> None:
    waits = {"notice_s": TOO_LONG_S, "drain_s": TOO_LONG_S}
    with serve(made_shop.bundle, tmp_path / "service", **waits) as server, server.client() as client:
        assert client.get("/ready").status_code == 200  # its connection stays open
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_without_a_bundle_that_can_be_read_is_one_message(
    made_shop: Shop, tmp_path: Path, workers: int
) -> None:
    damaged = Path(shutil.copytree(made_shop.bundle, tmp_path / "damaged"))
    (tensors,) = damaged.glob("tensors-*")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
    server = start(damaged, tmp_path / "service", ["--workers", str(workers)], wait=False)
    assert server.process.wait(timeout=60) == 2
    lines = server.log.read_text().splitlines()
    (told,) = [line for line in lines if line.startswith("kgrec: error: ")]
    assert "damaged: " in told
    assert str(damaged) in told
    assert lines[-1] == told
    assert "Traceback" not in server.log.read_text()
    errors = [json.loads(line) for line in lines if line.startswith("{") and json.loads(line)["level"] == "error"]
    assert {error["message"] for error in errors} == {"Application startup failed. Exiting."}
