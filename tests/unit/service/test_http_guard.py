"""The head of a request: short, soon, and HTTP; on real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from kgrec.service.http_guard import GuardedHttp

GET = b"GET / HTTP/1.1\r\nHost: here\r\n"


class Impatient(GuardedHttp):
    most_head_bytes, head_s = 2000, 0.3


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(
        answer, http=Impatient, port=0, lifespan="off", log_config=None, timeout_keep_alive=1, server_header=False
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Sends parts with pauses, and reads until the server closes or says nothing for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as opened:
        got = b""
        try:
            for part in parts:
                opened.sendall(part)
                time.sleep(pause)
            while part := opened.recv(65536):
                got += part
        except ConnectionError:  # it closed while more was sent
            pass
        return got


def test_a_plain_request_is_answered_in_one_part_or_in_several(port: int) -> None:
    close = b"Connection: close\r\n\r\n"
    assert exchange(port, GET + close).startswith(b"HTTP/1.1 200 OK\r\n")
    assert exchange(port, GET, close, pause=0.05).startswith(b"HTTP/1.1 200 OK\r\n")
    assert exchange(port, GET + b"\r\n" + GET + close).count(b"HTTP/1.1 200 OK\r\n") == 2


def test_a_slow_head_is_refused_however_often_a_byte_comes(port: int) -> None:
    started = time.monotonic()
    got = exchange(port, GET, *[b"X-A: b\r\n"] * 20, pause=0.1)
    assert got == b"" or got.startswith(b"HTTP/1.1 408 Request Timeout\r\n")  # lost where the client still sends
    assert time.monotonic() - started < 5
    assert exchange(port, GET).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_the_second_request_of_a_connection_is_not_slower(port: int) -> None:
    got = exchange(port, GET + b"\r\n", GET, pause=0.05)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\n" in got


def test_a_long_wait_between_requests_is_no_slow_head(port: int) -> None:
    got = exchange(port, GET + b"\r\n", GET + b"Connection: close\r\n\r\n", pause=0.5)
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("head", [
    b"GET /" + b"a" * 3000,
    GET + b"X-Long: " + b"a" * 3000,
    GET + b"a" * 3000,
    GET + b"X: y\r\n" * 500,
])  # fmt: skip
def test_a_long_head_is_refused(port: int, head: bytes) -> None:
    assert exchange(port, head).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_body_does_not_count(port: int) -> None:
    post = b"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 9000\r\n\r\n"
    assert exchange(port, post + b"x" * 3000, b"x" * 6000, pause=0.01).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("text", [
    b"\x16\x03\x01\x02\x00\x01\x00", b"nonsense\r\n\r\n", GET + b"X: a\0b\r\n\r\n", GET + b"X : a\r\n\r\n",
    GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", GET + b"Content-Length: -1\r\n\r\n",
    GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", GET + b"X: a\rSet-Cookie: b\r\n\r\n",
])  # fmt: skip
def test_what_is_no_http_is_a_problem(port: int, text: bytes) -> None:
    got = exchange(port, text)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"application/problem+json" in got


def test_a_connection_without_a_request_is_closed(port: int) -> None:
    started = time.monotonic()
    assert exchange(port) == b""
    assert time.monotonic() - started < 4
