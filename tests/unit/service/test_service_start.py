"""What is checked before a service starts: one message each, with what to do."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from kgrec.errors import BundleError, RequestError, StoreError
from kgrec.service import drain, server
from kgrec.service.server import check_start
from kgrec.service.settings import ServeSettings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "shop.kgrec"
    path.mkdir()
    (path / "bundle.json").write_text("{}")  # the rest is read later
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened.getsockname()[1]


def check(bundle: Path, **settings: Any) -> None:
    check_start(ServeSettings(**{"bundle": bundle, "port": 0, **settings}))


def test_the_service_folder_is_made(bundle: Path, tmp_path: Path) -> None:
    check(bundle)
    check(bundle, data=tmp_path / "a" / "b", host="localhost")
    assert (tmp_path / "shop.kgrec.service").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").is_dir()


def test_a_missing_bundle_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*none: expected .*bundle\.json"):
        check(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_was_served_before_is_served_again(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    half = folder / "bundles" / ".opening-7"
    half.mkdir(parents=True)
    (half / "bundle.json").touch()
    with pytest.raises(BundleError, match="no bundle at"):
        check(tmp_path / "none", data=folder)
    half.rename(folder / "bundles" / "0123456789ab")
    check(tmp_path / "none", data=folder)


def test_a_port_that_is_taken(bundle: Path, taken: int) -> None:
    with pytest.raises(RequestError, match=rf"cannot listen on 127\.0\.0\.1, port {taken}: .*--port"):
        check(bundle, port=taken)
    with pytest.raises(RequestError, match=rf"port {taken}: "):
        check(bundle, host="0.0.0.0", port=taken)


def test_an_address_of_another_machine(bundle: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot listen on 192\.0\.2\.1, port 0: .*--host"):
        check(bundle, host="192.0.2.1")  # RFC 5737: of no machine


def test_a_service_folder_that_cannot_be_used(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(StoreError, match=rf"cannot use the service folder {re.escape(str(folder))}: .*--data"):
            check(bundle, data=folder)
    monkeypatch.setattr(server, "find_disk_problem", lambda folder, least_bytes: "disk read-only")
    with pytest.raises(StoreError, match=r"service folder .*: disk read-only; .*--data"):
        check(bundle)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not installed")
def test_files_for_tls(bundle: Path, tmp_path: Path) -> None:
    key, certificate, locked = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "locked.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*make, "-nodes", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    lock = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", key, "-out", locked]
    subprocess.run(lock, check=True, capture_output=True)
    check(bundle, tls_certificate=certificate, tls_key=key)
    with pytest.raises(RequestError, match="expected both, or neither"):
        check(bundle, tls_certificate=certificate)
    with pytest.raises(RequestError, match=r"no file .*none\.pem"):
        check(bundle, tls_certificate=certificate, tls_key=tmp_path / "none.pem")
    for wrong in (bundle / "bundle.json", certificate, locked):
        with pytest.raises(RequestError, match=rf"cannot use .*{wrong.name} for TLS: .*PEM files"):
            check(bundle, tls_certificate=certificate, tls_key=wrong)


def test_a_start_that_fails_is_kept_without_a_traceback() -> None:
    class Broken:
        async def __aenter__(self) -> None:
            raise BundleError("what is wrong")

        async def __aexit__(self, *_: object) -> None: ...

    sent: list[Any] = []
    scope: dict[str, Any] = {"type": "lifespan", "app": None, "state": {}}

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    app = drain.keep_failure(Starlette(lifespan=lambda app: Broken()))  # type: ignore[arg-type, return-value]
    with pytest.raises(BundleError):
        asyncio.run(app(scope, receive, send))
    assert sent == [{"type": "lifespan.startup.failed"}]
    assert str(scope["state"]["failure"]) == "what is wrong"
