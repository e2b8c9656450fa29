"""Traces for OpenTelemetry, by the extra `kgrec[telemetry]`: one span a request, without ids and addresses.

The attributes that instrumentations add by themselves have addresses, whole paths and queries; these have none.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kgrec.errors import RequestError
from kgrec.service.observed import name_method, name_route

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_EXPORT_S = 5
_SERVER_ERROR = 500


def trace(app: ASGIApp, endpoint: str, paths: Collection[str]) -> "Traced":
    """Makes spans of the requests of an app, around `Observed`; see `Traced` and `open_traces`.

    Raises:
        RequestError: the extra is not installed, or the endpoint is no URL.
    """
    return Traced(app, open_traces(endpoint), paths)


def open_traces(endpoint: str) -> "TracerProvider":
    """Opens the way of traces to a collector, in the process that serves.

    Args:
        endpoint: where OTLP is taken over HTTP, as http://collector:4318.

    Raises:
        RequestError: the extra is not installed, or the endpoint is no URL.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RequestError(f"--traces needs its packages ({error}): pip install 'kgrec[telemetry]'") from error
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise RequestError(
            f"--traces: got {endpoint!r}, expected the URL of a collector, such as http://localhost:4318"
        )
    url = endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
    provider = TracerProvider(resource=Resource.create({"service.name": "kgrec"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=_EXPORT_S)))
    return provider


class Traced:
    """Makes a span of each request, around `Observed`; it goes on with the trace of a `traceparent` header.

    Args:
        app: the next layer.
        provider: where spans go; it is closed at the end of the app's lifespan.
        paths: the paths of the routes, as `Observed` has them.
    """

    def __init__(self, app: ASGIApp, provider: "TracerProvider", paths: Collection[str]) -> None:
        self._app, self._provider, self._paths = app, provider, frozenset(paths)
        self._tracer = provider.get_tracer("kgrec.service")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await asyncio.to_thread(self._provider.shutdown)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = TraceContextTextMapPropagator().extract(carrier)
        method, route = name_method(scope), name_route(scope, self._paths)
        status = 0

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # An error's message may have ids, so errors are no events of the span.
        with self._tracer.start_as_current_span(
            f"{method} {route}", context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            await self._app(scope, receive, send_and_see)
            state = scope.get("state", {})
            span.set_attributes(
                {
                    "http.request.method": method, "http.route": route, "http.response.status_code": status,
                    "kgrec.request_id": state.get("request_id", ""), "kgrec.kind": state.get("kind", ""),
                    "kgrec.version": state.get("version", ""),
                }
            )  # fmt: skip
            if status >= _SERVER_ERROR or not status:
                span.set_status(StatusCode.ERROR)
