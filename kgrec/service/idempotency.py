"""Requests that are sent again: the same key and the same request get the same answer."""

import hashlib
from http import HTTPStatus

from starlette.requests import Request

from kgrec.service.caller import Caller
from kgrec.service.problems import Problem

_LONGEST = 200


def read_request_key(request: Request, caller: Caller, body: bytes) -> tuple[str | None, str]:
    """The idempotency key of a request, apart for each API key, and the hash of the request.

    Returns:
        The key, None where the request has none, and the hash of its route and body.

    Raises:
        Problem: 422 where the key is empty or too long.
    """
    given = request.headers.get("idempotency-key")
    if given is None:
        return None, ""
    if not 0 < len(given) <= _LONGEST or not given.isprintable():
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key cannot be used", got=f"{len(given)} characters",
            expected=f"1 to {_LONGEST} printable characters, such as a UUID",
        )  # fmt: skip
    return f"{caller.key}:{given}", hashlib.sha256(request.url.path.encode() + b"\0" + body).hexdigest()


def check_same_request(kept: str, request: str) -> None:
    """Checks that an idempotency key comes with the request that it came with first.

    Raises:
        Problem: 422 where it does not.
    """
    if kept != request:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The idempotency key was used before",
            got="the key of another request",
            expected="a new key for each request, and the same key only to send the same request again",
            to_do="send this request with a new key",
        )
