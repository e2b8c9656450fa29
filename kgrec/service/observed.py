"""The outermost layer of the service: request ids, latency, one log line a request, and errors that nobody expected."""

import logging
import re
import time
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kgrec.errors import KgrecError
from kgrec.service.problems import Problem
from kgrec.service.request_log import FIELDS
from kgrec.service.service_metrics import ServiceMetrics

HEADER = b"x-request-id"
GONE = 499  # not answered: the client left, or the time to drain was over; nginx writes it so
PAGE = "/page/"
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Observed:
    """Gives each request an id, measures it, logs it and answers what nobody expected as a problem.

    Layers inside read and set `scope["state"]`: `request_id` is set here; `caller` (a `Caller`), `kind` ("likes",
    "user", "text", ...) and `version` are read when the answer is complete, if they are there.

    Args:
        app: the next layer.
        metrics: where requests are counted.
        log: gets a line for each request.
        paths: the paths of the routes; others are logged as "other", and those of the page as "/page/*".
        clock: seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: ServiceMetrics,
        log: logging.Logger,
        paths: Collection[str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app, self._metrics, self._log, self._clock = app, metrics, log, clock
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        request_id = _find_id(scope) or uuid4().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0
        error: Exception | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != HEADER]
                message = {**message, "headers": [*headers, (HEADER, request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as caught:
            error = None if isinstance(caught, Problem | KgrecError) else caught
            if not status:  # an answer that has begun cannot be mended: the server closes its connection
                await as_problem(caught).response(request_id)(scope, receive, send_with_id)
        finally:
            self._note(scope, state, status or GONE, self._clock() - started, error)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float, error: Exception | None) -> None:
        route, method = name_route(scope, self._paths), name_method(scope)
        kind, version = state.get("kind", ""), state.get("version", "")
        self._metrics.note_request(route, method, status, seconds, kind)
        caller = state.get("caller")
        level = logging.ERROR if error or status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
        if not self._log.isEnabledFor(level):
            return
        fields = {
            "request_id": state["request_id"], "method": method, "route": route, "status": status,
            "ms": round(seconds * 1000, 3), "key": caller.key if caller else "", "kind": kind, "version": version,
        }  # fmt: skip
        exc_info = (type(error), error, error.__traceback__) if error else None
        # `Logger.log` would look for the line of code that calls it, which takes as long as all the rest.
        record = self._log.makeRecord(self._log.name, level, "", 0, "request", (), exc_info, extra={FIELDS: fields})
        self._log.handle(record)


def name_route(scope: Scope, paths: frozenset[str]) -> str:
    """The path of a request if it is one of the routes; whatever else it holds is left out."""
    path: str = scope["path"]
    return path if path in paths else f"{PAGE}*" if path.startswith(PAGE) else "other"


def name_method(scope: Scope) -> str:
    """The method of a request if it is a usual one."""
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def as_problem(error: Exception) -> Problem:
    """The problem of an error; of one that nobody expected, the message stays in the service."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, KgrecError):
        return Problem.of(error)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The service failed",
        to_do="try again; if it fails again, report the request id (instance), which the log of the service has",
    )


def answer_failure(request: Request, error: Exception) -> Response:
    """The handler of unexpected errors for FastAPI, which answers them in a layer of its own.

    Use it as `app.add_exception_handler(Exception, answer_failure)`. FastAPI raises the error again, for the log line.
    """
    return as_problem(error).response(request.scope["state"]["request_id"])


def _find_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == HEADER:
            return value.decode() if _ID.fullmatch(value) else None
    return None
