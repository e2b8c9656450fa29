"""Lines of a batch: order, bounds, wrong lines, slow readers and clients that go away; by hand, without a server."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.types import Message

from kgrec.service.line_stream import Line, LineResponse
from kgrec.service.problems import Problem
from kgrec.service.settings import LimitSettings

LIMITS = LimitSettings(body_bytes=1000, batch_in_flight=8, batch_lines=1000)


class Connection:
    """The server's side of a connection.

    Attributes:
        n_received: the parts of the body that were received.
        sent: the parts of the answer.
        may_send: while it is not set, sending blocks, as to a client that does not read.
    """

    def __init__(self, parts: Sequence[bytes], *, then: Message | Exception | None = None) -> None:
        self._parts, self._then = parts, then
        self.n_received = 0
        self.sent: list[Message] = []
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        place, self.n_received = self.n_received, self.n_received + 1
        if place < len(self._parts):
            is_last = self._then is None and place == len(self._parts) - 1
            return {"type": "http.request", "body": self._parts[place], "more_body": not is_last}
        if self._then is None:
            await asyncio.Event().wait()  # the client waits for the answer
        if isinstance(self._then, Exception):
            raise self._then
        assert self._then is not None
        return self._then

    async def send(self, message: Message) -> None:
        await self.may_send.wait()
        self.sent.append(message)

    @property
    def lines(self) -> list[Any]:
        content = b"".join(message.get("body", b"") for message in self.sent)
        assert not content or content.endswith(b"\n")
        return [json.loads(line) for line in content.splitlines()]


async def echo(lines: Sequence[Line]) -> Sequence[Line]:
    await asyncio.sleep(0)
    return lines


def respond(
    parts: Sequence[bytes],
    limits: LimitSettings = LIMITS,
    answer: Callable[[Sequence[Line]], Awaitable[Sequence[Line]]] = echo,
    then: Message | Exception | None = None,
) -> Connection:
    async def run() -> Connection:
        connection = Connection(parts, then=then)
        async with asyncio.timeout(10):
            await LineResponse(answer, limits, "r")({"type": "http"}, connection.receive, connection.send)
        return connection

    return asyncio.run(run())


@given(st.lists(st.integers(0, 10**6), max_size=40), st.data())
def test_lines_come_out_as_they_went_in_however_they_are_cut(values: list[int], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n  \n"]))
    content = end.join(str(value).encode() for value in values) + data.draw(st.sampled_from([b"", b"\n"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    connection = respond(parts)
    assert connection.lines == values
    assert [message.get("more_body") for message in connection.sent[1:]] == [True] * (len(connection.sent) - 2) + [None]


def test_the_answer_is_lines_and_begins_before_the_body_has_ended() -> None:
    async def run() -> None:
        first_is_sent = asyncio.Event()
        connection = Connection([b"1\n", b"2\n"])
        receive_at_once = connection.receive

        async def receive() -> Message:
            if connection.n_received == 1:
                await first_is_sent.wait()
            return await receive_at_once()

        async def send(message: Message) -> None:
            await connection.send(message)
            if message.get("body"):
                first_is_sent.set()

        async with asyncio.timeout(10):
            await LineResponse(echo, LIMITS, None)({"type": "http"}, receive, send)
        assert connection.lines == [1, 2]
        headers = dict(connection.sent[0]["headers"])
        assert headers[b"content-type"].startswith(b"application/x-ndjson")
        assert b"content-length" not in headers

    asyncio.run(run())


def test_a_problem_is_a_line_in_its_place() -> None:
    async def answer(lines: Sequence[Line]) -> Sequence[Line]:
        return [Problem(422, "No", got="2") if line == b"2" else line for line in lines]

    found = respond([b"1\n2\n3"], answer=answer).lines
    assert found == [
        1,
        {"type": "about:blank", "title": "No", "status": 422, "detail": "2", "instance": "r#2", "got": "2"},
        3,
    ]


@pytest.mark.parametrize("n_parts", [1, 7, 400])
def test_a_line_that_is_too_long_is_left_out_and_the_rest_goes_on(n_parts: int) -> None:
    content = b"1\n" + b"7" * 5000 + b"\n2\n" + b"8" * 1000 + b"\n" + b"9" * 1001
    step = -(-len(content) // n_parts)
    found = respond([content[start : start + step] for start in range(0, len(content), step)]).lines
    assert [each if isinstance(each, int) else each["status"] for each in found] == [1, 413, 2, int("8" * 1000), 413]
    assert found[1]["instance"] == "r#2"


def test_a_long_line_is_not_kept() -> None:
    kept: list[int] = []
    parts = [b"7" * 600] * 500

    async def answer(lines: Sequence[Line]) -> Sequence[Line]:
        kept.extend(len(line) for line in lines if isinstance(line, bytes))
        return lines

    found = respond([*parts, b"\n1\n"], answer=answer).lines
    assert (found[0]["status"], found[1:], kept) == (413, [1], [1])


def test_too_many_lines_end_the_batch_and_say_so() -> None:
    found = respond([b"1\n2\n3\n4\n", b"5\n"], LimitSettings(batch_lines=3)).lines
    assert found[:3] == [1, 2, 3]
    assert (found[3]["status"], found[3]["instance"], len(found)) == (413, "r#4", 4)


def test_a_body_that_is_too_slow_ends_the_batch_and_says_so() -> None:
    slow = HTTPException(HTTPStatus.REQUEST_TIMEOUT, "The body is too slow")
    found = respond([b"1\n", b"2\n3"], then=slow).lines
    assert [each if isinstance(each, int) else each["status"] for each in found] == [1, 2, 408]


def test_a_slow_reader_stops_the_reading() -> None:
    async def run() -> None:
        connection = Connection([b"%d\n" % place for place in range(500)])
        n_answered = 0

        async def answer(lines: Sequence[Line]) -> Sequence[Line]:
            nonlocal n_answered
            n_answered += len(lines)
            return lines

        response = LineResponse(answer, LIMITS, None)
        task = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))
        while not connection.lines:
            await asyncio.sleep(0)
        connection.may_send.clear()
        n_sent = len(connection.lines)
        for _ in range(3000):
            await asyncio.sleep(0)
        assert connection.n_received <= n_sent + 2 * LIMITS.batch_in_flight + 1, "no more is read than fits"
        assert n_answered <= n_sent + LIMITS.batch_in_flight
        connection.may_send.set()
        async with asyncio.timeout(10):
            await task
        assert connection.lines == list(range(500))

    asyncio.run(run())


def test_many_bytes_stop_the_reading_too() -> None:
    async def run() -> None:
        limits = LimitSettings(body_bytes=1000, batch_in_flight=1000)
        connection = Connection([b"7" * 900 + b"\n"] * 100)
        connection.may_send.clear()
        response = LineResponse(echo, limits, None)
        task = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))
        connection.may_send.set()
        while not connection.lines:
            await asyncio.sleep(0)
        connection.may_send.clear()
        n_sent = len(connection.lines)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert connection.n_received <= n_sent + 8
        connection.may_send.set()
        async with asyncio.timeout(10):
            await task
        assert len(connection.lines) == 100

    asyncio.run(run())


def test_a_client_that_goes_away_ends_the_work() -> None:
    n_answered = 0

    async def answer(lines: Sequence[Line]) -> Sequence[Line]:
        nonlocal n_answered
        n_answered += len(lines)
        for _ in range(5):
            await asyncio.sleep(0)
        return lines

    connection = respond([b"1\n2\n3\n4\n5\n6\n7\n"], answer=answer, then={"type": "http.disconnect"})
    assert n_answered <= 7
    many = respond([b"1\n2\n"] * 3, answer=answer, then={"type": "http.disconnect"})
    assert connection.sent[-1].get("more_body") is None
    assert len(many.lines) < 6, "what was not begun is not answered"


def test_an_error_of_the_answer_ends_the_response() -> None:
    async def answer(lines: Sequence[Line]) -> Sequence[Line]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        respond([b"1\n"], answer=answer)
