"""Runs the service: one process, or several that share a port and a service folder."""

import logging
import os
import shutil
import sys
import warnings
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from starlette.types import ASGIApp

from kgrec.errors import RequestError
from kgrec.service.request_log import set_up_logs
from kgrec.service.settings import ServeSettings

_SETTINGS = "KGREC_SERVE_SETTINGS"  # the settings as JSON, for the processes of a service
_RUN = "KGREC_SERVE_RUN"  # as in `deployment`, which takes seconds to import
_SWITCH_S = 0.001  # how long a thread may keep the others waiting
_KEEP_ALIVE_S = 75
_MEMORY = Path("/dev/shm")
_log = logging.getLogger(__name__)


def run(settings: ServeSettings) -> None:
    """Serves until SIGTERM or Ctrl-C; requests in flight end first.

    Raises:
        KgrecError: the service folder cannot be used, or a TLS file is missing.
    """
    import uvicorn

    from kgrec.service import drain
    from kgrec.service.http_guard import GuardedHttp
    from kgrec.service.service_metrics import prepare_folder

    check_files(settings)
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
    code = drain.run(config, settings.notice_s)
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
    from kgrec.service.app import make_app

    set_up_logs()
    warnings.simplefilter("ignore", UserWarning)  # about ids in requests, which are in no log: answers name them
    sys.setswitchinterval(_SWITCH_S)
    return make_app(ServeSettings.model_validate_json(os.environ[_SETTINGS]))


def check_files(settings: ServeSettings) -> None:
    """Checks the files for TLS.

    Raises:
        RequestError: one is missing, or comes without the other.
    """
    files: tuple[Path | None, Path | None] = (settings.tls_certificate, settings.tls_key)
    if (files[0] is None) != (files[1] is None):
        raise RequestError("got one of the TLS certificate and the TLS key; expected both, or neither")
    for file in files:
        if file is not None and not file.is_file():
            raise RequestError(f"no file {file}; expected a PEM file for TLS")
