"""Request ids, log lines and unexpected errors of the outermost layer, around a FastAPI app and around bare ones."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from kgrec.errors import RequestError
from kgrec.service.caller import Caller
from kgrec.service.caller import Scope as KeyScope
from kgrec.service.observed import Observed, answer_failure
from kgrec.service.problems import Problem
from kgrec.service.readiness import ServiceState
from kgrec.service.request_log import REQUESTS, describe_error, set_up_logs
from kgrec.service.service_metrics import ServiceMetrics

SECRET = "user-4711"
PATHS = {"/recommend", "/fails", "/refused"}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("kgrec", "kgrec.service", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate, logger.disabled) for logger in loggers]
    stream = io.StringIO()
    set_up_logs(stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    for logger, *was in before:
        logger.level, logger.handlers[:], logger.propagate, logger.disabled = was
    logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def make_app() -> FastAPI:
    app = FastAPI()
    app.add_exception_handler(Exception, answer_failure)

    @app.post("/recommend")
    async def recommend(request: Request) -> dict[str, str]:
        state = request.scope["state"]
        state["caller"] = Caller("k-1", "shop", KeyScope.READ)
        state["kind"], state["version"] = "likes", "0123456789ab"
        return {"request": state["request_id"]}

    @app.post("/fails")
    async def fails() -> None:
        try:
            {}[SECRET]
        except KeyError as error:
            raise ValueError(f"no user {SECRET}") from error

    return app


async def call(app: ASGIApp, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app)  # what the app raises is raised here, too
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.post(path, **options)


def observe(app: ASGIApp, metrics: ServiceMetrics | None = None) -> Observed:
    return Observed(app, metrics or ServiceMetrics(), logging.getLogger(REQUESTS), PATHS)


def run(app: ASGIApp, path: str, **options: Any) -> httpx.Response:
    return asyncio.run(call(app, path, **options))


def test_an_id_of_the_client_is_kept_and_the_log_line_has_what_was_answered(lines: io.StringIO) -> None:
    answer = run(observe(make_app()), "/recommend", headers={"X-Request-ID": "shop-1.2_3"})
    assert answer.headers["x-request-id"] == "shop-1.2_3" == answer.json()["request"]
    (line,) = read(lines)
    assert line["time"].endswith("+00:00")
    assert line["ms"] >= 0
    assert {name: line[name] for name in ("request_id", "method", "route", "status", "key", "kind", "version")} == {
        "request_id": "shop-1.2_3", "method": "POST", "route": "/recommend", "status": 200,
        "key": "k-1", "kind": "likes", "version": "0123456789ab",
    }  # fmt: skip


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'x"}{"a":"', "ü", "a\tb"])
def test_an_id_that_could_spoil_a_log_is_replaced(given: str, lines: io.StringIO) -> None:
    answer = run(observe(make_app()), "/recommend", headers={"X-Request-ID": given.encode("latin-1")})
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers.get_list("x-request-id") == [answer.json()["request"]]


def test_two_requests_have_different_ids(lines: io.StringIO) -> None:
    app = observe(make_app())
    assert run(app, "/recommend").headers["x-request-id"] != run(app, "/recommend").headers["x-request-id"]


def test_paths_and_queries_that_no_route_has_are_not_logged(lines: io.StringIO) -> None:
    app = observe(make_app())
    assert run(app, f"/users/{SECRET}").status_code == 404
    run(app, f"/recommend?user={SECRET}")
    run(app, f"/page/{SECRET}")
    assert SECRET not in lines.getvalue()
    assert [line["route"] for line in read(lines)] == ["other", "/recommend", "/page/*"]


def test_an_unexpected_error_is_a_problem_and_only_its_places_are_logged(lines: io.StringIO) -> None:
    answer = run(observe(make_app()), "/fails", headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "r-1" == answer.headers["x-request-id"]
    (line,) = read(lines)
    assert (line["level"], line["error"], line["causes"]) == ("error", "ValueError", ["KeyError"])
    assert line["places"][-1].startswith("tests/unit/service/test_observed.py:")
    assert line["places"][-1].endswith(" fails")
    assert SECRET not in lines.getvalue() + answer.text


def test_an_error_outside_of_fastapi_is_answered_too(lines: io.StringIO) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError(SECRET)

    answer = run(observe(broken), "/fails")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert SECRET not in lines.getvalue() + answer.text


@pytest.mark.parametrize("error", [Problem(429, "Too many"), RequestError("k is below 1")])
def test_expected_errors_of_layers_are_answered_without_places(error: Exception, lines: io.StringIO) -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    answer = run(observe(refuse), "/refused")
    assert answer.status_code == (429 if isinstance(error, Problem) else 422)
    (line,) = read(lines)
    assert (line["level"], line["route"]) == ("info", "/refused")
    assert "places" not in line


def test_an_answer_that_breaks_off_is_logged_and_not_raised(lines: io.StringIO) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError(SECRET)

    sent: list[Any] = []

    async def ask() -> None:
        scope = {"type": "http", "method": "POST", "path": "/fails", "headers": []}

        async def send(message: Any) -> None:
            sent.append(message)

        await observe(breaks)(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert [message["type"] for message in sent] == ["http.response.start"]  # incomplete: the server closes it
    assert read(lines)[0]["error"] == "RuntimeError"


def test_requests_are_counted_by_route_and_status(lines: io.StringIO) -> None:
    metrics = ServiceMetrics()
    app = observe(make_app(), metrics)
    for _ in range(3):
        run(app, "/recommend")
    run(app, "/fails")
    run(app, f"/{SECRET}")
    text = metrics.exposition(ServiceState()).decode()
    assert 'kgrec_requests_total{method="POST",route="/recommend",status="200"} 3.0' in text
    assert 'kgrec_requests_total{method="POST",route="/fails",status="500"} 1.0' in text
    assert 'kgrec_requests_total{method="POST",route="other",status="404"} 1.0' in text
    assert 'kgrec_request_duration_seconds_count{kind="likes",route="/recommend"} 3.0' in text
    assert SECRET not in text


def test_places_of_libraries_are_named_from_their_package() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        places = describe_error(error)["places"]
    assert isinstance(places, list)
    assert not any(place.startswith("/") for place in places)
    assert Path(places[0].partition(":")[0]).name == "test_observed.py"
