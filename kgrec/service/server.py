"""Runs the service: one process, or several that share a port and a service folder."""

import errno
import os
import shutil
import socket
import ssl
import sys
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp

from kgrec.errors import BundleError, RequestError, StoreError
from kgrec.service.readiness import find_disk_problem
from kgrec.service.request_log import set_up_logs
from kgrec.service.settings import ServeSettings

_SETTINGS = "KGREC_SERVE_SETTINGS"  # the settings as JSON, for the processes of a service
_RUN = "KGREC_SERVE_RUN"  # as in `deployment`, which takes seconds to import
_SWITCH_S = 0.001  # how long a thread may keep the others waiting
_KEEP_ALIVE_S = 75
_MANIFEST = "bundle.json"  # as in `kgrec.bundle.folder`, which takes seconds to import
_MEMORY = Path("/dev/shm")
_LACKING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # of several addresses of a host, a machine need not have all


def run(settings: ServeSettings) -> None:
    """Serves until SIGTERM or Ctrl-C; requests in flight end first. `check_start` finds before what it can.

    Raises:
        KgrecError: the bundle or the service folder cannot be used.
    """
    import uvicorn

    from kgrec.service import drain
    from kgrec.service.http_guard import GuardedHttp
    from kgrec.service.service_metrics import prepare_folder

    if settings.workers > 1:
        prepare_folder(find_metrics_folder(settings.folder))
    os.environ[_SETTINGS] = settings.model_dump_json()
    os.environ[_RUN] = uuid4().hex
    config = uvicorn.Config(
        "kgrec.service.server:make_worker_app",
        factory=True,
        http=GuardedHttp,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        ssl_certfile=None if settings.tls_certificate is None else str(settings.tls_certificate),
        ssl_keyfile=None if settings.tls_key is None else str(settings.tls_key),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        forwarded_allow_ips=list(settings.proxies),
        proxy_headers=bool(settings.proxies),
        backlog=16_384,
        ws="none",
    )
    try:
        code = drain.run(config, settings.notice_s)
    finally:
        if settings.workers > 1:
            shutil.rmtree(find_metrics_folder(settings.folder), ignore_errors=True)
    if code:
        sys.exit(code)


def find_metrics_folder(folder: Path) -> Path:
    """Where processes share metrics: in memory, where the system has it.

    They write to mapped files, and who does so on a full disk is killed.
    """
    if os.access(_MEMORY, os.W_OK):
        return _MEMORY / f"kgrec-metrics-{blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()}"
    return folder / "metrics"


def make_worker_app() -> ASGIApp:
    """The application of one process, by the settings in the environment."""
    from kgrec.service import drain
    from kgrec.service.app import make_app

    set_up_logs()
    warnings.simplefilter("ignore", UserWarning)  # about ids in requests, which are in no log: answers name them
    sys.setswitchinterval(_SWITCH_S)
    return drain.keep_failure(make_app(ServeSettings.model_validate_json(os.environ[_SETTINGS])))


def check_start(settings: ServeSettings) -> None:
    """Checks in a moment what a start needs, and makes the service folder; the bundle is read later.

    Raises:
        RequestError: the address or a file for TLS cannot be used.
        BundleError: there is no bundle, and none was served before.
        StoreError: the service folder cannot be made or written.
    """
    _check_tls(settings)
    _check_address(settings.host, settings.port)
    _check_bundle(settings)
    folder = settings.folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        problem = find_disk_problem(folder, least_bytes=0)  # a full one still answers
    except OSError as error:
        problem = str(error)
    if problem is not None:
        raise StoreError(f"cannot use the service folder {folder}: {problem}; or name another one with --data")


def _check_bundle(settings: ServeSettings) -> None:
    if not (settings.bundle / _MANIFEST).is_file() and not any(settings.folder.glob(f"bundles/[!.]*/{_MANIFEST}")):
        raise BundleError(
            f"no bundle at {settings.bundle}: expected a folder with {_MANIFEST}, as `kgrec train` writes; nor has the "
            f"service folder {settings.folder} one that was served before"
        )


def _check_address(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            try:
                _try_to_bind(family, kind, protocol, address)
            except OSError as error:
                if error.errno not in _LACKING or len(found) == 1:
                    raise
    except OSError as error:
        to_do = "stop what listens there, or name another one with --port" if error.errno == errno.EADDRINUSE else (
            "name another one with --host and --port"
        )  # fmt: skip
        raise RequestError(f"cannot listen on {host}, port {port}: {error.strerror or error}; {to_do}") from error


def _try_to_bind(family: int, kind: int, protocol: int, address: Any) -> None:
    """Binds as asyncio does, and lets go again."""
    with socket.socket(family, kind, protocol) as opened:
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)


def _check_tls(settings: ServeSettings) -> None:
    files: tuple[Path | None, Path | None] = (settings.tls_certificate, settings.tls_key)
    if (files[0] is None) != (files[1] is None):
        raise RequestError("got one of the TLS certificate and the TLS key; expected both, or neither")
    for file in files:
        if file is not None and not file.is_file():
            raise RequestError(f"no file {file}; expected a PEM file for TLS")
    if settings.tls_certificate is not None:
        try:
            # The empty password: a key that has one would else be asked for on the terminal, by each process.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files, password="")  # type: ignore[arg-type]
        except OSError as error:
            raise RequestError(
                f"cannot use {files[0]} and {files[1]} for TLS: {error.strerror or error}; expected two PEM files, a "
                "certificate and its key without a password, which this account may read"
            ) from error
