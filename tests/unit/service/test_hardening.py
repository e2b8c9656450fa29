"""Hardening: headers on every answer, no odd paths, and no bodies that are long, slow or no JSON."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message

from kgrec.service.hardening import Hardened
from kgrec.service.settings import LimitSettings

JSON = {"Content-Type": "application/json"}
HERE, ELSEWHERE = "https://shop.example", "https://evil.example"
LIMITS = LimitSettings(body_bytes=100, body_s=0.05)


def make_app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def echo(path: str, request: Request) -> PlainTextResponse:
        body = await request.body()
        headers = {"Cache-Control": "max-age=60"} if path == "page/app.js" else {}
        return PlainTextResponse(str(len(body)), headers=headers)

    return app


def ask(act: Callable[[httpx.AsyncClient], Awaitable[Any]], app: ASGIApp | None = None, *, origins: Any = ()) -> Any:
    async def run() -> Any:
        hardened = Hardened(app or make_app(), LIMITS, origins)
        transport = httpx.ASGITransport(hardened)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await act(client)

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/report", "/status", "/recommend/batch", "/no..such"])
def test_every_answer_has_the_headers(path: str) -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path)

    headers = ask(act).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == ("max-age=60" if path == "/page/app.js" else "no-store")
    assert ("script-src 'self'" in policy) == (path in ("/", "/page/app.js"))
    assert ("sandbox" in policy) == ("frame-ancestors 'self'" in policy) == (path == "/report")
    assert "strict-transport-security" not in headers
    assert "access-control-allow-origin" not in headers


def test_tls_is_kept_to() -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("https://service/status")

    assert ask(act).headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/app.js", 200), ("/page/", 200), ("/recommend/batch", 200), ("/openapi.json", 200),
        ("/page/../keys.sqlite", 404), ("/page/..", 404), ("/page/.secret", 404), ("/page/a\0.js", 404),
        ("/page//etc/passwd", 404), ("//etc/passwd", 404), ("/page/%2e%2e/keys", 404), ("/page/..\\keys", 404),
        ("/page/a b", 404), ("/page/\u00e4", 404), ("/page/a\n", 404), ("", 200), ("/" + "a" * 500, 404),
        ("/a" * 50, 404), ("*", 404),
    ],
)  # fmt: skip
def test_odd_paths_reach_nobody(path: str, status: int) -> None:
    """The path as the server gives it, decoded once."""
    sent, reached = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    asyncio.run(Hardened(app, LIMITS)(scope, receive, send))
    assert sent[0]["status"] == status
    assert reached == ([path] if status == 200 else [])


async def stream(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(pause)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"x" * 100, 200),
        (b"x" * 101, 413),
        ((b"x" * 50, b"x" * 50), 200),
        ((b"x" * 50, b"x" * 51), 413),
        ((b"x" * 50,) * 1000, 413),
    ],
)
def test_long_bodies_are_refused(content: bytes | tuple[bytes, ...], status: int) -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        body = content if isinstance(content, bytes) else stream(*content)
        return await client.post("/recommend", content=body, headers=JSON)

    got = ask(act)
    assert got.status_code == status
    if status == 413:
        assert got.json()["expected"] == "at most 100 bytes"
        assert got.headers["connection"] == "close"
        assert got.headers["content-type"] == "application/problem+json"


def test_a_declared_length_is_refused_before_the_body_is_read() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/recommend", content=b"", headers={**JSON, "Content-Length": "100000000"})

    assert ask(act, never).status_code == 413


def test_whatever_the_application_makes_of_it_the_problem_is_told() -> None:
    async def hide(scope: Any, receive: Any, send: Any) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
        except HTTPException:
            await PlainTextResponse("all is well")(scope, receive, send)

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/recommend", content=stream(b"x" * 60, b"x" * 60), headers=JSON)

    got = ask(act, hide)
    assert (got.status_code, got.json()["title"]) == (413, "The body is too long")


def test_slow_bodies_are_refused() -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/recommend", content=stream(*[b"x"] * 50, pause=0.02), headers=JSON)

    got = ask(act)
    assert got.status_code == 408
    assert got.json()["expected"] == "a whole body in 0.05 s"


def test_a_batch_may_be_long_and_take_long_but_not_stop() -> None:
    lines = {"Content-Type": "application/x-ndjson"}

    async def act(client: httpx.AsyncClient) -> list[tuple[int, str]]:
        long = await client.post("/recommend/batch", content=stream(*[b"x" * 90] * 10, pause=0.01), headers=lines)
        stopped = await client.post("/recommend/batch", content=stream(b"x", b"x", pause=0.2), headers=lines)
        return [(long.status_code, long.text), (stopped.status_code, "")]

    assert ask(act) == [(200, "900"), (408, "")]


def test_an_answer_that_has_begun_goes_on() -> None:
    async def batch(scope: Any, receive: Any, send: Any) -> None:
        async def answers() -> AsyncIterator[bytes]:
            yield b"first\n"
            try:
                while (await receive()).get("more_body"):
                    pass
            except HTTPException as error:
                yield f"{error.status_code}\n".encode()

        await StreamingResponse(answers())({**scope, "asgi": {"spec_version": "2.4"}}, receive, send)

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"Content-Type": "application/x-ndjson"}
        return await client.post("/recommend/batch", content=stream(b"x", b"x", pause=0.2), headers=headers)

    got = ask(act, batch)
    assert (got.status_code, got.text) == (200, "first\n408\n")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/recommend", {"Content-Type": "application/json"}, 200),
        ("/recommend", {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("/recommend", {"Content-Type": "Application/JSON;charset=\"UTF-8\""}, 200),
        ("/recommend", {"Content-Type": "application/json; charset=latin-1"}, 415),
        ("/recommend", {"Content-Type": "text/plain"}, 415),
        ("/recommend", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("/recommend", {"Content-Type": "application/jsonp"}, 415),
        ("/recommend", {}, 415),
        ("/recommend", {**JSON, "Content-Encoding": "gzip"}, 415),
        ("/recommend/batch", {"Content-Type": "application/x-ndjson"}, 200),
        ("/recommend/batch", {"Content-Type": "application/jsonl"}, 200),
        ("/recommend/batch", JSON, 415),
    ],
)  # fmt: skip
def test_a_body_is_json(path: str, headers: dict[str, str], status: int) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        with_body = await client.post(path, content=b"{}", headers=headers)
        without = await client.post(path, headers={"Content-Type": "text/plain"})
        return [with_body.status_code, without.status_code]

    assert ask(act) == [status, 200]


def test_pages_elsewhere_may_call_if_they_are_named() -> None:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}

    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.options("/recommend", headers={**wanted, "Origin": HERE}),
            await client.post("/recommend", content=b"{}", headers={**JSON, "Origin": HERE}),
            await client.options("/recommend", headers={**wanted, "Origin": ELSEWHERE}),
            await client.post("/recommend", content=b"{}", headers={**JSON, "Origin": ELSEWHERE}),
            await client.post("/recommend", content=b"{}", headers=JSON),
            await client.post("/recommend", content=b"x" * 200, headers={**JSON, "Origin": HERE}),
        ]

    preflight, call, *others, failed = ask(act, origins=(HERE,))
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == HERE
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert (call.status_code, call.headers["access-control-allow-origin"]) == (200, HERE)
    assert [got.status_code for got in others] == [403, 200, 200]
    assert not any("access-control-allow-origin" in got.headers for got in others)
    assert {got.headers["vary"] for got in (preflight, call, *others)} == {"Origin"}
    assert failed.headers["access-control-allow-origin"] == HERE  # the page may read why


def test_cors_is_off() -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.options("/recommend", headers={"Origin": HERE, "Access-Control-Request-Method": "POST"})

    got = ask(act)
    assert got.status_code == 403
    assert not [name for name in got.headers if name.startswith("access-control")]


def test_websockets_are_closed_and_the_lifespan_goes_through() -> None:
    sent: list[Message] = []
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    for kind in ("websocket", "lifespan"):
        asyncio.run(Hardened(app, LIMITS)({"type": kind}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert seen == ["lifespan"]
