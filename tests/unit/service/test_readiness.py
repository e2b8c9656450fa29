"""Why a service is not ready, and the probe that asks for it, against small real servers."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kgrec.messages import VersionStatus
from kgrec.service import readiness
from kgrec.service.probe import main
from kgrec.service.readiness import ServiceState, find_disk_problem, find_reasons

CURRENT = VersionStatus(version="0123456789ab", role="current", name="shop", trained_at=0)
READY = {"versions": (CURRENT,), "staleness_s": 60.0, "stale_after_s": 60.0, "journal_bytes": 99, "journal_limit": 100}
KEY = "kgrec_k1_secret"


def reasons_with(**changes: object) -> list[str]:
    return [reason.partition(":")[0] for reason in find_reasons(ServiceState(**{**READY, **changes}))]  # type: ignore[arg-type]


def test_each_reason_alone() -> None:
    assert reasons_with() == []
    assert reasons_with(staleness_s=None) == []
    assert reasons_with(versions=()) == ["no bundle"]
    assert reasons_with(versions=(CURRENT.model_copy(update={"role": "previous"}),)) == ["no bundle"]
    assert reasons_with(staleness_s=60.5) == ["stale"]
    assert reasons_with(journal_bytes=100) == ["journal full"]
    assert reasons_with(disk_problem="disk full: 0 bytes are free") == ["disk full"]
    assert reasons_with(draining=True) == ["draining"]


def test_all_reasons_at_once() -> None:
    found = reasons_with(versions=(), staleness_s=61.0, journal_bytes=101, disk_problem="disk full", draining=True)
    assert found == ["draining", "no bundle", "stale", "journal full", "disk full"]


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_disk_problem(tmp_path) is None
    free = shutil.disk_usage(tmp_path).free
    assert str(find_disk_problem(tmp_path, free * 2)).startswith("disk full")
    assert str(find_disk_problem(tmp_path / "missing")).startswith("no disk")
    monkeypatch.setattr(readiness.os, "access", lambda folder, mode: False)
    assert str(find_disk_problem(tmp_path)).startswith("disk read-only")


@pytest.mark.skipif(not Path("/proc/self/mounts").is_file(), reason="no list of mounts on this system")
def test_a_file_system_mounted_read_only_is_seen_by_root_too() -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    read_only = [Path(mount[1]) for mount in mounts if "ro" in mount[3].split(",") and Path(mount[1]).is_dir()]
    if not read_only:
        pytest.skip("nothing is mounted read-only here")
    assert str(find_disk_problem(read_only[0], 0)).startswith("disk read-only")


class Answering(BaseHTTPRequestHandler):
    """A service as the probe sees it."""

    ready, asked = True, []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.path == "/health":
            return self.answer(200, {"status": "alive"})
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer(401, {"title": "No key", "detail": "give a key"})
        return self.answer(200, {}) if self.ready else self.answer(503, {"got": "stale: 2; draining", "detail": "x"})

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.ready, Answering.asked = True, []
    found = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def environment(server: ThreadingHTTPServer, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key").write_text(f"{KEY}\n")
    return {"KGREC_URL": f"http://127.0.0.1:{server.server_port}", "KGREC_KEY_FILE": str(tmp_path / "key")}


def test_the_probe_of_a_ready_service(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], environment) == 0
    assert capsys.readouterr().err == ""


def test_the_probe_says_why_a_service_is_not_ready(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Answering.ready = False
    assert main([], environment) == 1
    assert capsys.readouterr().err == "HTTP status 503: stale: 2; draining\n"


def test_the_probe_needs_the_right_key_but_not_for_health(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(environment["KGREC_KEY_FILE"]).write_text("another")
    assert main([], environment) == 1
    assert capsys.readouterr().err == "HTTP status 401: give a key\n"
    assert main(["--health"], environment) == 0
    assert Answering.asked[-1] == ("/health", None)  # the key is not sent where none is needed


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://127.0.0.1", "nonsense", "http://127.0.0.1:port"])
def test_the_probe_without_a_service(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "--health"], {}) == 1
    assert url in capsys.readouterr().err


def test_the_probe_without_its_key_file(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {**environment, "KGREC_KEY_FILE": "/nowhere/key"}) == 1
    assert "/nowhere/key" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not installed")
def test_the_probe_over_tls(
    server: ThreadingHTTPServer, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine", "others"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example",
             "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "mine.pem", tmp_path / "mine.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    environment = {**environment, "KGREC_URL": f"https://127.0.0.1:{server.server_port}"}
    assert main([], environment) == 0
    assert main([], {**environment, "KGREC_CA_FILE": str(tmp_path / "mine.pem")}) == 0
    assert main([], {**environment, "KGREC_CA_FILE": str(tmp_path / "others.pem")}) == 1
    assert "certificate" in capsys.readouterr().err.lower()


def test_the_probe_imports_the_standard_library_alone_and_starts_fast(environment: dict[str, str]) -> None:
    code = (
        "import sys; from kgrec.service.probe import main; code = main();"
        "heavy = {'torch', 'numpy', 'pydantic', 'starlette', 'fastapi', 'uvicorn', 'httpx', 'rich', 'typer'};"
        "sys.exit(code or sorted(heavy & set(sys.modules)) or None)"
    )
    took = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        took.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert min(took) < 1  # it takes some 0.1 s; importing torch alone takes more than a second
