"""`Client` and `AsyncClient`: both have the methods of `kgrec.client.calls`, and differ only in how they send."""

import asyncio
import inspect
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import wraps
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import httpx

from kgrec.client import calls
from kgrec.client.attempts import find_wait, read_outcome
from kgrec.client.batches import make_batch_calls
from kgrec.client.calls import Call, Fields
from kgrec.messages import RecommendAnswer, RecommendBody

if TYPE_CHECKING:
    from typing import Self

    from kgrec.client.client_errors import ServiceError

P = ParamSpec("P")
A = TypeVar("A")


def _add_self(method: Any) -> None:
    """Puts `self` before what `help` shows of a method, since its signature is that of the function it wraps."""
    signature = inspect.signature(method)
    myself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(parameters=[myself, *signature.parameters.values()])


def _sent(make: Callable[P, Call[A]]) -> "Callable[Concatenate[Client, P], A]":
    @wraps(make)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> A:
        return self._send(make(*args, **kwargs))

    _add_self(method)
    return method


def _awaited(make: Callable[P, Call[A]]) -> "Callable[Concatenate[AsyncClient, P], Awaitable[A]]":
    @wraps(make)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> A:
        return await self._send(make(*args, **kwargs))

    _add_self(method)
    return method


class Client:
    """Calls a service and waits for its answers. One client may serve many threads; it keeps connections open.

        with Client("http://127.0.0.1:8000", key) as service:
            for found in service.recommend(likes=["1", "95"], k=5).items:
                print(found.title)

    A request is sent again, after a growing, random wait, where the connection fails and at the statuses 429, 502, 503
    and 504. Writes carry an Idempotency-Key, so that one whose answer got lost is not done twice.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 30.0,
        retries: int = 7,
        verify: bool | str | Path | ssl.SSLContext = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Opens no connection yet.

        Args:
            url: the address of the service, such as "https://recommend.example.org".
            key: the API key.
            timeout_s: seconds that an attempt may wait for a connection, or for the next part of an answer.
            retries: the most attempts after the first one; 7 take about ten seconds in all.
            verify: how the certificate of the service is checked: by the system's authorities, by those of a PEM
                file, or, with False, not at all.
            transport: another way to the service, such as `httpx.HTTPTransport(uds="/run/kgrec.sock")`.

        Raises:
            RequestError: the address or the key cannot be used.
        """
        self._http = httpx.Client(transport=transport, **_read_options(url, key, timeout_s, verify))
        self._retries, self._draw = retries, random.Random()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    recommend = _sent(calls.recommend)
    similar = _sent(calls.similar)
    explain = _sent(calls.explain)
    search = _sent(calls.search)
    neighbourhood = _sent(calls.neighbourhood)
    audience = _sent(calls.audience)
    add_items = _sent(calls.add_items)
    change_items = _sent(calls.change_items)
    remove_items = _sent(calls.remove_items)
    add_users = _sent(calls.add_users)
    forget = _sent(calls.forget)
    add_interactions = _sent(calls.add_interactions)
    feedback = _sent(calls.feedback)
    status = _sent(calls.status)
    sync = _sent(calls.sync)
    swap = _sent(calls.swap)
    rollback = _sent(calls.rollback)
    set_share = _sent(calls.set_share)

    def recommend_batch(self, bodies: Iterable[RecommendBody | Fields]) -> "Iterator[RecommendAnswer | ServiceError]":
        """Recommends items to many users; memory does not grow with their number.

        Args:
            bodies: what `recommend` would be called with, one for each user. They are read as they are needed.

        Returns:
            The answers, in the order of the bodies; in place of one that the service refused, its error.

        Raises:
            ServiceError: the service refuses the batch, or does not answer.
        """
        for call in make_batch_calls(bodies):
            yield from self._send(call)

    def _send(self, call: Call[A]) -> A:
        request = _make_request(self._http, call)
        outcome: httpx.Response | httpx.TransportError
        for n_retries in count():
            try:
                outcome = self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            wait_s = find_wait(call, outcome, n_retries, self._draw) if n_retries < self._retries else None
            if wait_s is None:
                return read_outcome(call, outcome)
            time.sleep(wait_s)
        raise AssertionError("count() does not end")


class AsyncClient:
    """Calls a service from asyncio; otherwise as `Client`: the same methods, awaited, and `async with`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 30.0,
        retries: int = 7,
        verify: bool | str | Path | ssl.SSLContext = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Opens no connection yet.

        Args:
            url: as in `Client`, like all that follow.
            key: as in `Client`.
            timeout_s: as in `Client`.
            retries: as in `Client`.
            verify: as in `Client`.
            transport: as in `Client`, such as `httpx.AsyncHTTPTransport(uds="/run/kgrec.sock")`.

        Raises:
            RequestError: the address or the key cannot be used.
        """
        self._http = httpx.AsyncClient(transport=transport, **_read_options(url, key, timeout_s, verify))
        self._retries, self._draw = retries, random.Random()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    recommend = _awaited(calls.recommend)
    similar = _awaited(calls.similar)
    explain = _awaited(calls.explain)
    search = _awaited(calls.search)
    neighbourhood = _awaited(calls.neighbourhood)
    audience = _awaited(calls.audience)
    add_items = _awaited(calls.add_items)
    change_items = _awaited(calls.change_items)
    remove_items = _awaited(calls.remove_items)
    add_users = _awaited(calls.add_users)
    forget = _awaited(calls.forget)
    add_interactions = _awaited(calls.add_interactions)
    feedback = _awaited(calls.feedback)
    status = _awaited(calls.status)
    sync = _awaited(calls.sync)
    swap = _awaited(calls.swap)
    rollback = _awaited(calls.rollback)
    set_share = _awaited(calls.set_share)

    async def recommend_batch(
        self, bodies: Iterable[RecommendBody | Fields]
    ) -> "AsyncIterator[RecommendAnswer | ServiceError]":
        """Recommends items to many users; as in `Client`, but an asynchronous iterator.

        Args:
            bodies: as in `Client.recommend_batch`.

        Raises:
            ServiceError: the service refuses the batch, or does not answer.
        """
        for call in make_batch_calls(bodies):
            for answer in await self._send(call):
                yield answer

    async def _send(self, call: Call[A]) -> A:
        request = _make_request(self._http, call)
        outcome: httpx.Response | httpx.TransportError
        for n_retries in count():
            try:
                outcome = await self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            wait_s = find_wait(call, outcome, n_retries, self._draw) if n_retries < self._retries else None
            if wait_s is None:
                return read_outcome(call, outcome)
            await asyncio.sleep(wait_s)
        raise AssertionError("count() does not end")


def _read_options(url: str, key: str, timeout_s: float, verify: bool | str | Path | ssl.SSLContext) -> dict[str, Any]:
    """The options that both kinds of httpx clients take."""
    from_file = isinstance(verify, str | Path)
    problem = None
    if not url.startswith(("http://", "https://")):
        problem = f"the address of a service begins with http:// or https://, got {url!r}"
    elif not key or not key.isascii() or not key.isprintable() or " " in key:
        problem = "an API key is one word of ASCII characters; copy it as `kgrec keys create` shows it"
    elif from_file and not Path(str(verify)).is_file():
        problem = f"verify names a PEM file of authorities, but there is no file {str(verify)!r}"
    if problem:
        from kgrec.errors import RequestError

        raise RequestError(problem)
    return {
        "base_url": url,
        "headers": {"Authorization": f"Bearer {key}", "User-Agent": "kgrec-client"},
        "timeout": timeout_s,
        "verify": ssl.create_default_context(cafile=str(verify)) if from_file else verify,
    }


def _make_request(http: httpx.Client | httpx.AsyncClient, call: Call[A]) -> httpx.Request:
    headers = {} if call.body is None else {"Content-Type": call.media_type}
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    return http.build_request(call.method, call.path, content=call.body, headers=headers)
