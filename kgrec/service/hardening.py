"""Hardening: the headers of every answer, and what is refused before anybody looks at it."""

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kgrec.service.problems import Problem
from kgrec.service.settings import LimitSettings

BATCH_PATH, REPORT_PATH, PAGE_PATH = "/recommend/batch", "/report", "/page/"
FRAME_PATH = "/page/report_frame.html"
_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}){0,8}/?")  # no dots first, no NUL, nothing encoded twice
_JSON = re.compile(rb'application/json\s*(?:;\s*charset="?utf-?8"?\s*)?', re.IGNORECASE)
_LINES = re.compile(rb'application/(?:x-)?(?:ndjson|jsonl(?:ines)?)\s*(?:;\s*charset="?utf-?8"?\s*)?', re.IGNORECASE)
_WRITING = frozenset(["POST", "PUT", "PATCH", "DELETE"])
_LINGER_S = 2.0  # what a refused client still sends is read for so long, so that it reads the answer

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OF_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_REPORT = (  # one file with its styles and plots in it, which no script of its own may run
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
_OF_FRAME = (  # an empty document that the page fills with the report; scripts are out of place in it
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
_TLS = (b"strict-transport-security", b"max-age=31536000")
_NO_STORE = (b"cache-control", b"no-store")
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, X-Request-ID",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = (b"access-control-expose-headers", b"X-Request-ID, Retry-After, Idempotency-Replayed")
_VARY = (b"vary", b"Origin")

Headers = list[tuple[bytes, bytes]]


class Hardened:
    """Adds security headers, answers CORS preflights, and refuses odd paths and bodies that are long, slow or no JSON.

    A body is read when the application asks for it, thus of clients with a key alone.

    Args:
        app: the application behind it.
        limits: the longest body, and how long it may take.
        origins: origins of pages elsewhere that may call the service (CORS); empty: none.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, origins: Sequence[str] = ()) -> None:
        self._app, self._limits = app, limits
        self._origins = frozenset(origin.encode() for origin in origins)
        self._page = _to_headers(_OF_PAGE, "DENY")
        self._report = _to_headers(_OF_REPORT, "SAMEORIGIN")
        self._frame = _to_headers(_OF_FRAME, "SAMEORIGIN")
        self._answer = _to_headers(_NOTHING, "DENY")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        exchange = _Exchange(receive, send, self._choose_headers(scope, given.get(b"origin")), self._limits)
        try:
            self._check(scope, given)
            if scope["method"] == "OPTIONS":
                await exchange.send_preflight(self._allow(given))
                return
            if scope["path"] == BATCH_PATH:
                exchange.most = None
        except Problem as problem:
            exchange.refused = problem
        else:
            await exchange.run(self._app, scope)
        if exchange.refused is not None:
            await exchange.refuse(scope)

    def _choose_headers(self, scope: Scope, origin: bytes | None) -> Headers:
        path: str = scope["path"]
        if path == REPORT_PATH:
            headers = self._report
        elif path == FRAME_PATH:
            headers = self._frame
        elif path == "/" or path.startswith(PAGE_PATH):
            headers = self._page
        else:
            headers = self._answer
        if scope.get("scheme") == "https":
            headers = [*headers, _TLS]
        if self._origins:
            headers = [*headers, _VARY]
            if origin in self._origins:
                headers += [(b"access-control-allow-origin", origin), _EXPOSED]
        return headers

    def _check(self, scope: Scope, given: dict[bytes, bytes]) -> None:
        path: str = scope["path"]
        if _PATH.fullmatch(path) is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such path", expected="a path that /openapi.json lists")
        if scope["method"] not in _WRITING:
            return
        length = given.get(b"content-length")
        if length is not None and path != BATCH_PATH and int(length) > self._limits.body_bytes:
            raise self._too_long(f"{int(length)} bytes")
        if b"transfer-encoding" not in given and (length is None or not int(length)):
            return
        kind, form, name = given.get(b"content-type", b""), _JSON, "application/json"
        if path == BATCH_PATH:
            form, name = _LINES, "application/x-ndjson"
        if form.fullmatch(kind) is None or given.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "The body has the wrong type",
                got=kind.decode("latin-1") or "a body without Content-Type",
                expected=f"Content-Type: {name}, in UTF-8 and not compressed",
                to_do=f"send the header Content-Type: {name}",
            )

    def _too_long(self, got: str) -> Problem:
        return _too_long(got, self._limits.body_bytes)

    def _allow(self, given: dict[bytes, bytes]) -> dict[str, str]:
        """The headers that answer a preflight."""
        if given.get(b"origin") not in self._origins or b"access-control-request-method" not in given:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "Pages of this origin may not call the service",
                got=given.get(b"origin", b"no origin").decode("latin-1"),
                expected="an origin that the setting `origins` names",
                to_do="start the service with this origin, or call it from your own server",
            )
        return _PREFLIGHT


class _Exchange:
    """One request and its answer.

    Attributes:
        most: the longest body; None: the application limits it.
        refused: why the request is refused; None: it is not.
    """

    def __init__(self, receive: Receive, send: Send, headers: Headers, limits: LimitSettings) -> None:
        self._receive, self._send, self._headers = receive, send, headers
        self._patience = limits.body_s
        self._deadline: float | None = None
        self._n_bytes = 0
        self._whole = self._started = False
        self.most: int | None = limits.body_bytes
        self.refused: Problem | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Lets the application answer. Whatever it makes of a body that ends early, `refused` says more."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self.refused is None or self._started:
                raise
        if self._started:
            self.refused = None

    async def receive(self) -> Message:
        """Receives a part of the body.

        Raises:
            HTTPException: it is too long or too slow.
        """
        if self._whole:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._deadline is None or self.most is None:  # of a batch, each part has its time
            self._deadline = now + self._patience
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise self._stop(
                Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    "The body is too slow",
                    got=f"{self._n_bytes} bytes in {self._patience:g} s",
                    expected=f"a whole body in {self._patience:g} s",
                    to_do="send it again",
                )
            ) from None
        self._n_bytes += len(message.get("body", b""))
        if self.most is not None and self._n_bytes > self.most:
            raise self._stop(_too_long(f"more than {self.most} bytes", self.most))
        self._whole = not message.get("more_body", False)
        return message

    def _stop(self, problem: Problem) -> HTTPException:
        self.refused = problem
        return HTTPException(problem.status, problem.title)

    async def send(self, message: Message) -> None:
        """Sends a part of the application's answer; nothing where the request is refused."""
        if self.refused is not None and not self._started:
            return
        if message["type"] == "http.response.start":
            self._started = True
            headers = [*message.get("headers", ()), *self._headers]
            if all(name != b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            message = {**message, "headers": headers}
        await self._send(message)

    async def send_preflight(self, allowed: dict[str, str]) -> None:
        """Answers a CORS preflight."""
        raw = [(name.lower().encode(), value.encode()) for name, value in allowed.items()]
        await self.send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": raw})
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, scope: Scope) -> None:
        """Answers with the problem, reads for a moment what the client still sends, and ends the connection."""
        assert self.refused is not None
        response = self.refused.response(scope.get("state", {}).get("request_id"))
        headers = [*response.raw_headers, *self._headers, _NO_STORE, (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": self.refused.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body, "more_body": True})
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self._whole:
                    message = await self._receive()
                    self._whole = not message.get("more_body", False)
        except TimeoutError:
            pass
        await self._send({"type": "http.response.body", "body": b""})


def _too_long(got: str, most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too long",
        got=got,
        expected=f"at most {most} bytes",
        to_do="send it in several requests, or as lines to /recommend/batch",
    )


def _to_headers(policy: str, frames: str) -> Headers:
    headers = {**_ALWAYS, "content-security-policy": policy, "x-frame-options": frames}
    return [(name.encode(), value.encode()) for name, value in headers.items()]
