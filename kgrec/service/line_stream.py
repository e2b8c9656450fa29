"""Lines in and lines out at the same time, in their order and in bounded memory: how a batch is answered."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kgrec.service.problems import Problem
from kgrec.service.settings import LimitSettings

MEDIA_TYPE = "application/x-ndjson"
_BLOCK = 64  # lines that are answered together
_LONGEST_LINES = 2  # in memory at once, beside the one that is arriving
Line = bytes | Problem  # a problem stands for a line that is too long to be kept
AnswerLines = Callable[[Sequence[Line]], Awaitable[Sequence[Line]]]


class LineResponse(Response):
    """Reads lines and sends answers at the same time, which Starlette's own streams do not.

    Args:
        answer: answers several lines: a line of JSON for each, or a problem.
        limits: the longest line, the most lines, and those that are in memory.
        request: the id of the request.
    """

    media_type = MEDIA_TYPE

    def __init__(self, answer: AnswerLines, limits: LimitSettings, request: str | None) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._answer, self._limits, self._request = answer, limits, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers until the lines end, or the client goes away."""
        lines = Lines(receive, self._limits)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(lines.read())
                await self._write(lines, send)
                reading.cancel()
        except ExceptionGroup as group:  # logs name the error itself
            raise group.exceptions[0] from group

    async def _write(self, lines: "Lines", send: Send) -> None:
        n_answered = 0
        while block := await lines.take(_BLOCK):
            answers = await self._answer(block)
            content = b"".join(self._dump(answer, n_answered + place) for place, answer in enumerate(answers, 1))
            await send({"type": "http.response.body", "body": content, "more_body": True})
            n_answered += len(block)
        content = b"" if lines.refused is None else self._dump(lines.refused, n_answered + 1)
        await send({"type": "http.response.body", "body": content})

    def _dump(self, answer: Line, place: int) -> bytes:
        """An answer as a line. The instance of a problem names the request and the line, from 1."""
        if isinstance(answer, bytes):
            return answer + b"\n"
        return answer.document(f"{self._request or ''}#{place}").model_dump_json(exclude_none=True).encode() + b"\n"


class Lines:
    """Lines that have arrived and are not taken yet. Where there are enough, no more are received.

    Args:
        receive: gives the parts of the body.
        limits: the longest line, the most lines, and those that are in memory.

    Attributes:
        refused: why the rest of the body is not read; None: it is.
    """

    def __init__(self, receive: Receive, limits: LimitSettings) -> None:
        self._receive, self._limits = receive, limits
        self._lines: deque[Line] = deque()
        self._n_bytes = self._n_lines = 0
        self._start = bytearray()  # of the line that is arriving
        self._skips = False  # the line that is arriving is too long already
        self._ended = False
        self._changed = asyncio.Event()
        self.refused: Problem | None = None

    async def take(self, most: int) -> list[Line]:
        """Takes the lines that are there, at least one; none where the body has ended or the client is gone."""
        while not self._lines and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        block = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
        self._n_bytes -= sum(len(line) for line in block if isinstance(line, bytes))
        self._changed.set()
        return block

    async def read(self) -> None:
        """Reads the body, and waits until the client is gone."""
        while True:
            while not self._ended and not self._has_room():
                self._changed.clear()
                await self._changed.wait()
            try:
                message = await self._receive()
            except HTTPException as error:  # the body is too slow
                self._refuse(Problem(error.status_code, "The rest of the lines is not read", got=error.detail))
                return
            if message["type"] == "http.disconnect":
                self._lines.clear()
                self._end()
                return
            if self._ended:
                continue
            self._add(message.get("body", b""))
            if not message.get("more_body", False):
                self._add(b"\n")
                self._end()
            self._changed.set()

    def _has_room(self) -> bool:
        longest = self._limits.body_bytes
        return len(self._lines) < self._limits.batch_in_flight and self._n_bytes < _LONGEST_LINES * longest

    def _add(self, part: bytes) -> None:
        *whole, start = part.split(b"\n")
        for end in whole:
            self._start += end
            self._close_line()
            if self._ended:
                return
        self._start += start
        if len(self._start) > self._limits.body_bytes:
            self._start.clear()
            self._skips = True

    def _close_line(self) -> None:
        is_long = self._skips or len(self._start) > self._limits.body_bytes
        line = bytes(self._start)
        self._start.clear()
        self._skips = False
        if not is_long and not line.strip():
            return
        self._n_lines += 1
        if self._n_lines > self._limits.batch_lines:
            self._refuse(
                Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The batch has too many lines",
                    got=f"more than {self._limits.batch_lines:,} lines",
                    expected=f"at most {self._limits.batch_lines:,}",
                    to_do="send the lines from here on as another batch",
                )
            )  # fmt: skip
        elif is_long:
            self._lines.append(
                Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The line is too long",
                    got=f"more than {self._limits.body_bytes:,} bytes",
                    expected=f"at most {self._limits.body_bytes:,} bytes", to_do="give fewer ids",
                )
            )  # fmt: skip
        else:
            self._lines.append(line)
            self._n_bytes += len(line)

    def _refuse(self, problem: Problem) -> None:
        self.refused = problem
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
