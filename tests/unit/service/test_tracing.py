"""Spans of requests: what they have, what they never have, and a collector that gets them."""

import asyncio
import builtins
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from kgrec.errors import RequestError
from kgrec.service.observed import Observed
from kgrec.service.request_log import REQUESTS
from kgrec.service.service_metrics import ServiceMetrics
from kgrec.service.tracing import Traced, open_traces

SECRET = "user-4711"
PATHS = {"/recommend", "/fails"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/fails":
        raise ValueError(SECRET)
    scope["state"] |= {"kind": "likes", "version": "0123456789ab"}
    await JSONResponse({})(scope, receive, send)


def trace(provider: TracerProvider) -> Traced:
    return Traced(Observed(answer, ServiceMetrics(), logging.getLogger(REQUESTS), PATHS), provider, PATHS)


def post(app: Traced, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.post(
                path, json={"user": SECRET}, headers={"traceparent": PARENT, "X-Request-ID": "r-1"}
            )

    return asyncio.run(ask())


def test_a_span_has_the_route_and_goes_on_with_the_callers_trace() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    post(trace(provider), f"/recommend?user={SECRET}")
    (span,) = exporter.get_finished_spans()
    assert span.name == "POST /recommend"
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST", "http.route": "/recommend", "http.response.status_code": 200,
        "kgrec.request_id": "r-1", "kgrec.kind": "likes", "kgrec.version": "0123456789ab",
    }  # fmt: skip
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]


def test_no_span_has_an_id_of_the_catalogue() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = trace(provider)
    assert post(app, "/fails").status_code == 500
    post(app, f"/users/{SECRET}")
    failed, unknown = exporter.get_finished_spans()
    assert failed.status.status_code == StatusCode.ERROR
    assert unknown.name == "POST other"
    assert SECRET not in failed.to_json() + unknown.to_json()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    class Collect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collect)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_the_collector_has_the_spans_when_the_lifespan_ends(collector: tuple[str, list[tuple[str, bytes]]]) -> None:
    endpoint, got = collector

    async def end(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    provider = open_traces(endpoint)
    post(trace(provider), "/recommend")
    asyncio.run(Traced(end, provider, PATHS)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    ((path, content),) = got
    assert path == "/v1/traces"
    request = ExportTraceServiceRequest.FromString(content)
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "POST /recommend"


def test_a_missing_extra_and_a_wrong_endpoint_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="got 'collector:4318', expected the URL"):
        open_traces("collector:4318")
    found = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RequestError, match=r"kgrec\[telemetry\]"):
        open_traces("http://collector:4318")
