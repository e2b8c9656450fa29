"""Access: who calls, by an API key, and how often; nobody else gets an answer."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from kgrec.errors import StoreError
from kgrec.service.caller import Caller
from kgrec.service.keys import KeyStore
from kgrec.service.problems import Problem
from kgrec.service.settings import LimitSettings

OPEN_PATHS = ("/health", "/", "/page/*")
_AT_ONCE = 2  # keys whose hash is checked: more would take the processors from the answers
_MOST_WAITING = 64  # keys that wait for it
_ADDRESSES = 10_000  # whose failures are counted; of more, those that were heard of last
_HOME_BITS = 64  # of an IPv6 address: one customer of a provider has all that start with them
_NEEDED = 'Bearer realm="kgrec"'
_WRONG = f'{_NEEDED}, error="invalid_token"'
_log = logging.getLogger("kgrec.service")


class Bucket:
    """A token bucket: `burst` at once, and `per_s` a second on average.

    Args:
        per_s: how many tokens come each second.
        burst: how many it holds; it is full at first.
        now: seconds of any clock that does not go back.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s, self._burst, self._left, self._at = per_s, burst, burst, now

    def take(self, now: float) -> float:
        """Takes a token; returns 0, or the seconds until there is one, and takes none."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = max(now, self._at)
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0

    def give_back(self) -> None:
        """Gives a token back."""
        self._left = min(self._burst, self._left + 1)


class _Use:
    """How much a key is used."""

    __slots__ = ("bucket", "running")

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.running = bucket, 0


class Access:
    """Lets in whoever has a key, as often as the limits allow; puts the `Caller` into `scope["state"]["caller"]`.

    A key is checked once in a process, in a thread, and remembered. Each process has its share of the limits.

    Args:
        app: the application behind it.
        keys: the keys.
        limits: the limits, over all processes.
        workers: the number of processes.
        open_paths: paths that need no key; one that ends in "*" stands for all that start so.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyStore,
        limits: LimitSettings,
        workers: int = 1,
        open_paths: Sequence[str] = OPEN_PATHS,
    ) -> None:
        self._app, self._keys = app, keys
        self._per_s = limits.requests_per_s / workers
        self._burst = max(1.0, limits.at_once / workers)
        self._concurrent = max(1, limits.concurrent // workers)
        self._failures = max(1.0, limits.failures_per_minute / workers)
        self._open = frozenset(path for path in open_paths if not path.endswith("*"))
        self._open_starts = tuple(path[:-1] for path in open_paths if path.endswith("*"))
        self._uses: dict[str, _Use] = {}  # by key id
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()
        self._checks: dict[str, asyncio.Task[Caller | None]] = {}  # by key, so that one is checked once
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in self._open or path.startswith(self._open_starts):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            token = _read_token(scope)
            caller = self._keys.recall(token) or await self._check(token, scope)
            use = self._enter(caller)
        except Problem as problem:
            await problem.response(state.get("request_id"))(scope, receive, send)
            return
        state["caller"] = caller
        use.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            use.running -= 1

    def _enter(self, caller: Caller) -> _Use:
        now = time.monotonic()
        use = self._uses.get(caller.key)
        if use is None:
            use = self._uses[caller.key] = _Use(Bucket(self._per_s, self._burst, now))
        if use.running >= self._concurrent:
            raise _too_many(
                1.0, f"{use.running} unanswered requests of this key", f"at most {self._concurrent} at a time"
            )
        wait = use.bucket.take(now)
        if wait:
            raise _too_many(
                wait, "more requests than this key may make", f"at most {self._per_s:g} in a second on average"
            )
        return use

    async def _check(self, token: str, scope: Scope) -> Caller:
        """The owner of a key that this process does not know yet."""
        task = self._checks.get(token)
        if task is None:
            bucket = self._count_address(scope)
            wait = bucket.take(time.monotonic())  # before the check, so that guesses at the same time count too
            if wait:
                raise _too_many(wait, "more wrong keys from this address than are allowed", "a valid key")
            if len(self._checks) >= _MOST_WAITING:
                bucket.give_back()
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "Too many keys are being checked",
                    to_do="try again in a second",
                    headers={"Retry-After": "1"},
                )
            task = self._checks[token] = asyncio.create_task(self._find(token, bucket))
        caller = await asyncio.shield(task)  # who leaves does not end it for the others
        if caller is None:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "The key is not valid",
                got="a key that does not exist, is revoked or is mistyped",
                expected="a key as `kgrec keys create` printed it",
                to_do="ask an admin for a key",
                headers={"WWW-Authenticate": _WRONG},
            )
        return caller

    async def _find(self, token: str, bucket: Bucket) -> Caller | None:
        try:
            async with self._slots:
                caller = await asyncio.to_thread(self._keys.find, token)
        except StoreError as error:
            _log.error("%s", error)  # it names a file, which is nobody's business who has no key
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "Keys cannot be read now", to_do="tell an admin: the log says why"
            ) from error
        finally:
            del self._checks[token]
        if caller is not None:
            bucket.give_back()
        return caller

    def _count_address(self, scope: Scope) -> Bucket:
        client = scope.get("client")
        address = _to_home(client[0]) if client else ""
        bucket = self._addresses.get(address)
        if bucket is None:
            bucket = Bucket(self._failures / 60, self._failures, time.monotonic())
            self._addresses[address] = bucket
            if len(self._addresses) > _ADDRESSES:
                self._addresses.popitem(last=False)
        self._addresses.move_to_end(address)
        return bucket


def _read_token(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = value.decode("latin-1").partition(" ")
            if kind.lower() == "bearer":
                return str(token.strip())
            break
    raise Problem(
        HTTPStatus.UNAUTHORIZED,
        "A key is needed",
        got="no header Authorization: Bearer KEY",
        expected="an API key in this header",
        to_do="make one with `kgrec keys create BUNDLE`",
        headers={"WWW-Authenticate": _NEEDED},
    )


def _too_many(wait: float, got: str, expected: str) -> Problem:
    seconds = max(1, math.ceil(wait))
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests",
        got=got,
        expected=expected,
        to_do=f"try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


def _to_home(address: str) -> str:
    """An address, or the first half of an IPv6 one, whose second half its owner chooses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or int(parsed) >> _HOME_BITS)
