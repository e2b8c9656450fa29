"""HTTP/1.1 as uvicorn reads it with httptools, where the head of a request is short and comes soon.

Without it a client that has no key could send a head without end, which the parser keeps, or hold a connection with one
that never ends.
"""

import asyncio
from asyncio import TimerHandle
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from kgrec.service.problems import Problem

MOST_HEAD_BYTES = 64 * 1024
HEAD_S = 10.0  # for the head of a request, from its first byte


class GuardedHttp(HttpToolsProtocol):
    """The protocol of one connection; a connection on which nothing is sent is closed like one that is kept alive."""

    most_head_bytes, head_s = MOST_HEAD_BYTES, HEAD_S
    _in_head = False
    _head_bytes = 0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first byte as long as for that of a later request."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing more."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a part, and counts what belongs to a head that is not complete."""
        super().data_received(data)
        if not self._in_head:
            self._stop_timer()
            return
        self._head_bytes += len(data)
        if self.transport.is_closing():
            self._stop_timer()
        elif self._head_bytes > self.most_head_bytes:
            self._refuse(
                Problem(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "The head of the request is too long",
                    expected=f"a path and headers of at most {self.most_head_bytes} bytes",
                )
            )
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._refuse_slow)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(Problem(HTTPStatus.BAD_REQUEST, "This is no HTTP request", expected="HTTP/1.1"))

    def _refuse_slow(self) -> None:
        self._refuse(
            Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "The head of the request is too slow",
                expected=f"a path and headers in {self.head_s:g} s",
            )
        )

    def _refuse(self, problem: Problem) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else it would be read as part of another answer
            response = problem.response()
            headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
            lines = [STATUS_LINE[problem.status], *(b"%b: %b\r\n" % pair for pair in headers), b"\r\n"]
            self.transport.write(b"".join(lines) + bytes(response.body))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
