"""How a request is sent again, and how its answer is read: the same for both clients."""

import random
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import httpx

from kgrec.client.calls import Call

if TYPE_CHECKING:
    from kgrec.client.client_errors import ServiceError

A = TypeVar("A")
Outcome = httpx.Response | httpx.TransportError
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 30.0
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}  # the service has done nothing
_LOST = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # a proxy got no answer
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProxyError)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def find_wait(call: Call[A], outcome: Outcome, n_retries: int, draw: random.Random) -> float | None:
    """The seconds to wait before the next attempt: exponential backoff with jitter, and at least Retry-After.

    Args:
        call: the request.
        outcome: what the last attempt gave.
        n_retries: the number of attempts after the first one.
        draw: where the jitter comes from.

    Returns:
        The seconds; None: this outcome is final.
    """
    asked_s = 0.0
    if isinstance(outcome, httpx.Response):
        if outcome.status_code not in _BUSY and not (outcome.status_code in _LOST and call.may_repeat):
            return None
        asked_s = _read_retry_after(outcome.headers.get("Retry-After"))
    elif isinstance(outcome, _HOPELESS) or not (call.may_repeat or isinstance(outcome, _NOT_SENT)):
        return None
    if asked_s > _LONGEST_WAIT_S:
        return None
    backoff_s = min(_FIRST_WAIT_S * 2.0**n_retries, _LONGEST_WAIT_S)
    return max(asked_s, backoff_s / 2) + draw.uniform(0, backoff_s / 2)


def read_outcome(call: Call[A], outcome: Outcome) -> A:
    """The answer of a request.

    Raises:
        ServiceError: the service refused it, or did not answer, or the answer cannot be read.
    """
    if isinstance(outcome, httpx.TransportError):
        raise _lost_error(outcome) from outcome
    if not outcome.is_success:
        from kgrec.client.client_errors import ServiceError

        raise ServiceError.of_answer(outcome.status_code, outcome.content)
    try:
        return call.read(outcome.content)
    except ValueError as error:
        from kgrec.client.client_errors import ServiceError

        raise ServiceError(
            "The answer cannot be read",
            status=outcome.status_code,
            detail=str(error).splitlines()[0],
            to_do="check the address, and that service and client have the same version",
        ) from error


def _lost_error(error: httpx.TransportError) -> "ServiceError":
    from kgrec.client.client_errors import ServiceError

    return ServiceError(
        "The service does not answer",
        detail=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        to_do="check the address, and whether the service runs",
    )


def _read_retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which has seconds or a date."""
    if value is None:
        return 0.0
    try:
        return max(float(value), 0.0) if value.strip().isdigit() else _until(value)
    except ValueError:
        return 0.0


def _until(value: str) -> float:
    return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
