"""Figures of the service on MovieLens 1M: latency, throughput, start, memory, a swap under load, adds, connections.

    python scripts/benchmarks/serve.py --bundle runs/ml-1m

Everything runs on this machine: the service, and what asks it, share its processors. A missing bundle is trained
first. Throughput is measured with wrk, beside a plain service with `implicit` (peers/implicit_service.py) and in turns
with it. The limits of the API key are lifted; everything else is as by default.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from constant_rate import Load, ask_at_rate
from ml1m import DEFAULT_DIR, build_ml1m
from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.bundle import load_bundle, save_bundle
from kgrec.bundle.folder import MANIFEST
from kgrec.config import TrainConfig
from kgrec.recommend import Recommender
from kgrec.service.caller import Scope
from kgrec.service.keys import KeyStore
from kgrec.training.train_bundle import fit_bundle

RATE, K, BATCH, CONNECTIONS = 200.0, 10, 100, 32
MOST_P99_MS, MOST_SWAP_P99_MS, MOST_START_S, LEAST_TIMES, LEAST_ADDS = 50.0, 150.0, 3.0, 3.0, 1000.0
N_IDLE, N_REPEATED = 10_000, 500
SETTINGS = "[limits]\nrequests_per_s = 1e9\nburst = 1000000000\nconcurrent = 100000\n"
WAIT_S = 120.0
PEER = Path(__file__).parent / "peers" / "implicit_service.py"
WRK_SCRIPT = """
local bodies, ids = {BODIES}, {IDS}
local headers = {["Authorization"] = "Bearer KEY", ["Content-Type"] = "application/json"}
math.randomseed(SEED)
function request()
  local body
  if #bodies > 0 then
    body = bodies[math.random(#bodies)]
  else
    body = string.format('{"likes":["%s","%s","%s"],"k":10}', ids[math.random(#ids)], ids[math.random(#ids)],
                         ids[math.random(#ids)])
  end
  return wrk.format("POST", "/recommend", headers, body)
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %d, "seconds": %f, "errors": %d}\\n', summary.requests,
           summary.duration / 1e6, errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Lengths:
    """How long each part runs."""

    rate_s: float = 60.0
    wrk_s: int = 10
    rounds: int = 3
    n_memory: int = 100_000
    swap_s: float = 30.0
    batches: int = 50
    n_starts: int = 3
    idle_s: float = 10.0


QUICK = Lengths(rate_s=5.0, wrk_s=2, rounds=1, n_memory=5_000, swap_s=10.0, batches=3, n_starts=1, idle_s=3.0)


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, and what is wanted."""

    what: str
    measured: str
    wanted: str = ""
    is_met: bool = True


@dataclass
class Running:
    """A service that runs."""

    port: int
    key: str
    process: subprocess.Popen[bytes]
    ready_s: float

    def client(self) -> httpx.Client:
        """A client with the key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=WAIT_S)

    def kill(self) -> None:
        """Kills all its processes, without warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def rss_mb(self) -> float:
        """Memory of the process and those it started, in MB; pages that they share count for each."""
        found, pids = 0.0, [self.process.pid]
        while pids:
            pid = pids.pop()
            status = Path(f"/proc/{pid}/status").read_text()
            found += int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found


@contextmanager
def serve(bundle: Path, folder: Path, port: int, workers: int) -> Iterator[Running]:
    """Runs a service until it is ready, and ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    key = KeyStore(folder / "keys.sqlite").create("benchmark", Scope.ADMIN, None, int(time.time()))
    config = folder.with_name(f"{folder.name}.toml")
    config.write_text(SETTINGS)
    command = [
        sys.executable, "-m", "kgrec.cli", "serve", bundle, "--data", folder, "--port", port, "--workers", workers,
        "--config", config,
    ]  # fmt: skip
    headers = {"Authorization": f"Bearer {key}"}
    with _run(command, folder.with_name(f"{folder.name}.log")) as (process, started):
        ready_s = _wait(process, f"http://127.0.0.1:{port}/ready", headers, started)
        yield Running(port, key, process, ready_s)


@contextmanager
def serve_peer(directory: Path, folder: Path, port: int) -> Iterator[Running]:
    """Runs the plain service with `implicit`."""
    command = [sys.executable, PEER, "--data", directory, "--port", port]
    with _run(command, folder / "implicit.log") as (process, started):
        yield Running(port, "", process, _wait(process, f"http://127.0.0.1:{port}/health", {}, started))


@contextmanager
def _run(command: Sequence[object], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    with log.open("wb") as opened:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=opened, stderr=opened, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        yield process, started
    finally:
        process.send_signal(signal.SIGTERM)  # to one that has ended already, nothing is sent
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], url: str, headers: dict[str, str], started: float) -> float:
    """Waits until it answers with 200; returns the seconds since it was started."""
    with httpx.Client(timeout=WAIT_S, headers=headers) as client:
        while time.perf_counter() - started < WAIT_S:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended with {process.returncode}")
            try:
                if client.get(url).status_code == HTTPStatus.OK:
                    return time.perf_counter() - started
            except httpx.TransportError:
                pass
            time.sleep(0.01)
    raise SystemExit(f"{process.args!r} did not become ready within {WAIT_S:g} s")


def ask_beside(pool: ProcessPoolExecutor, running: Running, ids: list[str], seconds: float) -> "Future[Load]":
    """Asks at the constant rate in a process of its own."""
    return pool.submit(ask_at_rate, running.port, running.key, ids, RATE, seconds)


def percentiles(latencies_s: Sequence[float]) -> tuple[float, float, float]:
    """The median, p95 and p99 in milliseconds."""
    p50, p95, p99 = np.percentile(latencies_s, [50, 95, 99]) * 1e3
    return float(p50), float(p95), float(p99)


def show_load(what: str, load: Load, most_ms: float) -> Iterator[Figure]:
    """Rows of a load at the constant rate."""
    p50, p95, p99 = percentiles(load.latencies_s)
    worst = max(load.latencies_s) * 1e3
    yield Figure(
        f"{what}: p50 · p95 · p99 · longest, ms", f"{p50:.1f} · {p95:.1f} · {p99:.1f} · {worst:.1f}",
        f"p99 <= {most_ms:g}", p99 <= most_ms,
    )  # fmt: skip
    yield Figure(
        f"{what}: answers · errors · asker's processor time, s",
        f"{load.statuses.total():,} · {load.n_errors} · {load.cpu_s:.1f}", "no error", load.n_errors == 0,
    )  # fmt: skip


def run_wrk(
    running: Running, ids: list[str], seconds: int, bodies: Sequence[str] = (), seed: int = 1
) -> dict[str, Any]:
    """Asks as fast as it is answered, over 32 connections."""
    lua = WRK_SCRIPT.replace("{BODIES}", _to_lua(bodies)).replace("{IDS}", _to_lua(ids))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua.replace("KEY", running.key).replace("SEED", str(seed)))
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "20s", "-s", script.name]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{running.port}"], check=True, capture_output=True, text=True
        )
    result: dict[str, Any] = json.loads(re.findall(r"RESULT (.*)", done.stdout)[0])
    return result


def _to_lua(texts: Sequence[str]) -> str:
    return "{" + ",".join(json.dumps(text) for text in texts) + "}"


def count_answers(running: Running) -> dict[str, float]:
    """Answers of the cache (hit) and computed ones (miss), by the metrics."""
    with running.client() as client:
        text = client.get("/metrics").text
    found = re.findall(r'kgrec_answers_total\{.*cache="(hit|miss)".*\} (\S+)', text)
    return {kind: sum(float(value) for name, value in found if name == kind) for kind in ("hit", "miss")}


def measure_throughput(
    servers: dict[str, Running], ids: list[str], lengths: Lengths, rng: np.random.Generator
) -> Iterator[Figure]:
    """Requests a second over 32 connections, in turns; medians."""
    bodies = [
        json.dumps({"likes": rng.choice(ids, 3, replace=False).tolist(), "k": K}, separators=(",", ":"))
        for _ in range(N_REPEATED)
    ]
    for name, chosen in (("random likes", []), (f"{N_REPEATED} requests again and again", bodies)):
        rates: dict[str, list[float]] = {server: [] for server in servers}
        errors = dict.fromkeys(servers, 0)
        before = {server: count_answers(running) for server, running in servers.items() if running.key}
        for turn in range(lengths.rounds):
            for server, running in servers.items():
                found = run_wrk(running, ids, lengths.wrk_s, chosen, seed=turn + 1)
                rates[server].append(found["requests"] / found["seconds"])
                errors[server] += found["errors"]
        peer = median(rates["implicit"])
        for server, running in servers.items():
            measured = f"{median(rates[server]):,.0f}"
            if not running.key:
                yield Figure(f"{name}: {server}, requests/s", measured, "", errors[server] == 0)
                continue
            after = count_answers(running)
            hits = after["hit"] - before[server]["hit"]
            share = hits / max(1.0, hits + after["miss"] - before[server]["miss"])
            times = median(rates[server]) / peer
            yield Figure(
                f"{name}: {server}, requests/s · times implicit · cache hits · errors",
                f"{measured} · {times:.2f} · {share:.0%} · {errors[server]}", f">= {LEAST_TIMES:g} times",
                times >= LEAST_TIMES and errors[server] == 0,
            )  # fmt: skip


def measure_memory(running: Running, ids: list[str], lengths: Lengths) -> Iterator[Figure]:
    """Memory over many requests, each a fifth of them."""
    sizes, n_asked, total = [], 0, lengths.n_memory
    for fifth in range(5):
        while n_asked < total * (fifth + 1) / 5:
            n_asked += run_wrk(running, ids, max(1, lengths.wrk_s // 5), seed=n_asked + 7)["requests"]
        sizes.append(running.rss_mb)
    yield Figure(
        f"memory after each fifth of {n_asked:,} requests, MB", " · ".join(f"{size:.0f}" for size in sizes),
        "flat: last <= first + 5%", sizes[-1] <= 1.05 * sizes[0],
    )  # fmt: skip


def measure_swap(
    pool: ProcessPoolExecutor, running: Running, bundle: Path, other: Path, ids: list[str], lengths: Lengths
) -> Iterator[Figure]:
    """Another bundle is copied over the one that is served, as a training does, under load."""
    future = ask_beside(pool, running, ids, lengths.swap_s)
    time.sleep(lengths.swap_s / 3)
    for file in sorted(other.iterdir(), key=lambda file: file.name == MANIFEST):  # the manifest last, in one step
        shutil.copyfile(file, bundle / f".new-{file.name}")
        (bundle / f".new-{file.name}").replace(bundle / file.name)
    load = future.result()
    yield from show_load(f"swap under {RATE:g} requests/s for {lengths.swap_s:g} s", load, MOST_SWAP_P99_MS)
    yield Figure(
        "swap: versions that answered",
        " · ".join(f"{n:,}" for n in load.versions.values()),
        "more than one",
        len(load.versions) > 1,
    )


def measure_adds(running: Running, ids: list[str], link: tuple[str, str], lengths: Lengths) -> Iterator[Figure]:
    """Batches of 100; after each one a request asks for what it added."""

    def like(n: int, i: int) -> dict[str, object]:
        return {"user": f"{mark}-like-{n}-{i}", "item": ids[(n * BATCH + i) % len(ids)], "weight": 5}

    mark = f"b{time.time_ns()}"
    makers: dict[str, tuple[str, Callable[[int], dict[str, object]], Callable[[int], dict[str, object]]]] = {
        "interactions": (
            "/interactions",
            lambda n: {"interactions": [like(n, i) for i in range(BATCH)]},
            lambda n: {"user": f"{mark}-like-{n}-{BATCH - 1}", "k": 1},
        ),
        "users": (
            "/users",
            lambda n: {"add": [{"user": f"{mark}-user-{n}-{i}", "likes": ids[i : i + 3]} for i in range(BATCH)]},
            lambda n: {"user": f"{mark}-user-{n}-{BATCH - 1}", "k": 1},
        ),
        "items with links": (
            "/items",
            lambda n: {"add": [{"item": f"{mark}-link-{n}-{i}", "links": [link]} for i in range(BATCH)]},
            lambda n: {"likes": [f"{mark}-link-{n}-{BATCH - 1}"], "k": 1},
        ),
        "items with names and texts": (
            "/items",
            lambda n: {
                "add": [
                    {"item": f"{mark}-text-{n}-{i}", "name": f"Film {n} {i}", "text": f"A film {i} about a voyage {n}."}
                    for i in range(BATCH)
                ]
            },
            lambda n: {"likes": [f"{mark}-text-{n}-{BATCH - 1}"], "k": 1},
        ),
    }  # fmt: skip
    with running.client() as client:
        for name, (route, make, ask) in makers.items():
            spent: list[float] = []
            n_seen = 0
            for number in range(lengths.batches + 1):
                body = make(number)
                started = time.perf_counter()
                written = client.post(route, json=body)
                if number:  # the first one loads what it needs, such as the text encoder
                    spent.append(time.perf_counter() - started)
                written.raise_for_status()
                answer = client.post("/recommend", json=ask(number))
                seen = answer.status_code == HTTPStatus.OK and not answer.json()["unknown"]
                n_seen += seen and answer.json()["seq"] >= written.json()["seq"]
            rate = BATCH * len(spent) / sum(spent)
            yield Figure(
                f"adds/s by batches of {BATCH}: {name} · seen by the next request",
                f"{rate:,.0f} · {n_seen} of {lengths.batches + 1}", f">= {LEAST_ADDS:,.0f}, all seen",
                rate >= LEAST_ADDS and n_seen == lengths.batches + 1,
            )  # fmt: skip


def measure_idle(pool: ProcessPoolExecutor, running: Running, ids: list[str], lengths: Lengths) -> Iterator[Figure]:
    """Answers while many connections are open on which nobody asks."""
    import resource
    import socket

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n_idle = N_IDLE if hard == resource.RLIM_INFINITY else min(N_IDLE, hard - 200)
    before = running.rss_mb
    opened = [socket.create_connection(("127.0.0.1", running.port), timeout=WAIT_S) for _ in range(n_idle)]
    try:
        load = ask_beside(pool, running, ids, lengths.idle_s).result()
        grown = running.rss_mb - before
    finally:
        for each in opened:
            each.close()
    yield from show_load(f"{n_idle:,} idle connections, {RATE:g} requests/s", load, MOST_P99_MS)
    yield Figure(f"{n_idle:,} idle connections: more memory, MB", f"{grown:.0f}")


def measure(bundle: Path, directory: Path, folder: Path, parts: Sequence[str], lengths: Lengths) -> Iterator[Figure]:
    """All figures, part by part."""
    served, other = folder / "bundle", folder / "other"
    shutil.copytree(bundle, served)
    recommender = Recommender(load_bundle(bundle))
    ids = list(recommender.bundle.items.ids)
    if "swap" in parts:
        recommender.remove_items(ids[-1:])
        save_bundle(recommender.bundle, other)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        if "start" in parts:
            found = []
            for number in range(lengths.n_starts + 1):
                with serve(served, folder / "start", 8310, 1) as running:
                    found.append((running.ready_s, running.rss_mb))
                    if number == 0:
                        yield Figure("start to ready, first time, s", f"{running.ready_s:.2f}")
            seconds = median(ready for ready, _ in found[1:])
            yield Figure(
                "start to ready, s · memory, MB", f"{seconds:.2f} · {found[-1][1]:.0f}", f"<= {MOST_START_S:g} s",
                seconds <= MOST_START_S,
            )  # fmt: skip
        if "throughput" in parts:
            with (
                serve(served, folder / "one", 8311, 1) as one,
                serve(served, folder / "two", 8312, 2) as two,
                serve_peer(directory, folder, 8313) as peer,
            ):
                servers = {"kgrec, 1 process": one, "implicit": peer, "kgrec, 2 processes": two}
                yield from measure_throughput(servers, ids, lengths, np.random.default_rng(0))
        if not set(parts) - {"start", "throughput"}:
            return
        with serve(served, folder / "service", 8314, 1) as running:
            if "rate" in parts:
                ask_beside(pool, running, ids, 2.0).result()
                load = ask_beside(pool, running, ids, lengths.rate_s).result()
                yield from show_load(f"{RATE:g} requests/s for {lengths.rate_s:g} s", load, MOST_P99_MS)
            if "memory" in parts:
                yield from measure_memory(running, ids, lengths)
            if "idle" in parts:
                yield from measure_idle(pool, running, ids, lengths)
            if "swap" in parts:
                yield from measure_swap(pool, running, served, other, ids[:-1], lengths)
            if "adds" in parts:
                yield from measure_adds(running, ids[:-1], find_link(recommender), lengths)


def find_link(recommender: Recommender) -> tuple[str, str]:
    """A link that new items can have: an edge type of items, and a node that it leads to."""
    bundle, schema = recommender.bundle, recommender.bundle.schema
    name = next(
        name for name, edge in schema.graph_edges.items() if edge.source == schema.item_type and not edge.derived
    )
    return name, str(bundle.ids[schema.graph_edges[name].target].ids[0])


PARTS = ("start", "throughput", "rate", "memory", "idle", "swap", "adds")


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a bundle of MovieLens 1M; trained if it is missing")
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR, help="the folder of MovieLens 1M")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="seconds for each part")
    arguments = parser.parse_args()
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    table = Table("what", "measured", "wanted", "", box=box.SIMPLE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = arguments.bundle or folder / "trained"
        if not (bundle / MANIFEST).exists():
            save_bundle(fit_bundle(build_ml1m(arguments.data), TrainConfig(), int(time.time()), console.print), bundle)
        for row in measure(bundle, arguments.data, folder, arguments.parts, QUICK if arguments.quick else Lengths()):
            console.print(f"{row.what}: {row.measured}")
            table.add_row(row.what, row.measured, row.wanted, "" if not row.wanted else "yes" if row.is_met else "NO")
    load = os.getloadavg()
    console.print(table)
    console.print(f"{os.cpu_count()} processors, shared by service and load; load average at the end {load[0]:.1f}")


if __name__ == "__main__":
    main()
