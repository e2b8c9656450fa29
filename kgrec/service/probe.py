"""Asks a service whether it is ready or alive, for health checks of containers: `python -m kgrec.service.probe`.

It exits with 0 or 1, with the reasons on stderr. The environment names what it asks:

- KGREC_URL: the service; http://127.0.0.1:8000 by default.
- KGREC_KEY_FILE: a file with an API key of any scope; /health needs none.
- KGREC_CA_FILE: for https, the certificates to check the service's by. Without it, that of a loopback address is
  taken as it is: such a service is on this machine, and its certificate is for another name.

It needs the standard library alone, and starts fast: it runs every few seconds.
"""

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

URL = "http://127.0.0.1:8000"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_OK, _NOT_READY = 200, 503
_MOST_BYTES = 65_536


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Asks the service, and prints why it is not ready.

    Args:
        arguments: of the command line; None: those of this process.
        environment: the variables.

    Returns:
        The exit code: 0 if it is ready (with --health: alive), else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m kgrec.service.probe", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--health", action="store_true", help="ask whether it is alive, not whether it is ready")
    parser.add_argument("--url", default=environment.get("KGREC_URL") or URL, help="the service; default: %(default)s")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS", help="default: %(default)s")
    asked = parser.parse_args(arguments)
    path = "/health" if asked.health else "/ready"
    try:
        reasons = ask(asked.url, path, environment, asked.timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reasons = [f"no answer from {asked.url}{path}: {error or type(error).__name__}"]
    for reason in reasons:
        print(reason, file=sys.stderr)
    return 1 if reasons else 0


def ask(url: str, path: str, environment: Mapping[str, str], timeout: float) -> list[str]:
    """Why a service is not ready or not alive; empty: it is.

    Raises:
        OSError: the service does not answer, or a file cannot be read.
        ValueError: the URL is not one of http or https.
        HTTPException: the answer is not HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"KGREC_URL or --url: got {url!r}, expected http://HOST:PORT or https://HOST:PORT")
    headers = {"Connection": "close", "User-Agent": "kgrec-probe"}
    key_file = environment.get("KGREC_KEY_FILE")
    if key_file and path != "/health":
        headers["Authorization"] = f"Bearer {Path(key_file).read_text(encoding='utf-8').strip()}"
    if parts.scheme == "https":
        trusted = _make_context(parts.hostname, environment.get("KGREC_CA_FILE"))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=trusted
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read(_MOST_BYTES)
    finally:
        connection.close()
    return [] if answer.status == _OK else _read_reasons(answer.status, content)


def _make_context(host: str, ca_file: str | None) -> "ssl.SSLContext":
    import ssl

    context = ssl.create_default_context(cafile=ca_file or None)
    if host in _LOOPBACK:
        context.check_hostname = False
        if not ca_file:
            context.verify_mode = ssl.CERT_NONE
    return context


def _read_reasons(status: int, content: bytes) -> list[str]:
    """The reasons in a problem document: what was got where the service is not ready, else the detail."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    reason = body.get("got" if status == _NOT_READY else "detail") if isinstance(body, dict) else None
    return [f"HTTP status {status}: {reason}" if isinstance(reason, str) and reason else f"HTTP status {status}"]


if __name__ == "__main__":
    sys.exit(main())
