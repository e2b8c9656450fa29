"""Access: nobody without a key, nobody too often, and guessing is limited and does not stop the others."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from kgrec.errors import StoreError
from kgrec.service.access import Access, Bucket
from kgrec.service.caller import Caller, Scope
from kgrec.service.keys import KeyStore
from kgrec.service.settings import LimitSettings


class FakeKeys:
    """Keys that need no argon2: "good-N" is one."""

    def __init__(self) -> None:
        self.known: dict[str, Caller] = {}
        self.n_checks, self.at_once, self.most_at_once = 0, 0, 0
        self.wait: threading.Event | None = None
        self._lock = threading.Lock()

    def recall(self, token: str) -> Caller | None:
        return self.known.get(token)

    def find(self, token: str) -> Caller | None:
        with self._lock:
            self.n_checks += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self.wait is not None:
            self.wait.wait(10)
        with self._lock:
            self.at_once -= 1
        if token == "unreadable":
            raise StoreError("cannot use the keys in /secret/place")
        if not token.startswith("good"):
            return None
        self.known[token] = Caller(token, "name", Scope.READ)
        return self.known[token]


async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
    caller = scope.get("state", {}).get("caller")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"" if caller is None else caller.key.encode()})


def make_access(keys: Any, app: Any = answer, workers: int = 1, **limits: Any) -> Access:
    return Access(app, keys, LimitSettings(**limits), workers)


def ask(
    access: Access, act: Callable[[httpx.AsyncClient], Awaitable[Any]], client: tuple[str, int] = ("10.0.0.1", 5)
) -> Any:
    async def run() -> Any:
        transport = httpx.ASGITransport(access, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as asked:
            return await act(asked)

    return asyncio.run(run())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_key_opens_and_the_application_knows_whose_it_is(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.sqlite")
    token = keys.create("a", Scope.READ, None, 1)

    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/recommend", headers=bearer(token)) for _ in range(2)]

    assert [(got.status_code, got.text) for got in ask(make_access(keys), act)] == [(200, token[6:14])] * 2


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="kgrec"'),
        ({"Authorization": "Basic Z29vZDpnb29k"}, 'Bearer realm="kgrec"'),
        ({"Authorization": "good"}, 'Bearer realm="kgrec"'),
        (bearer("bad"), 'Bearer realm="kgrec", error="invalid_token"'),
        (bearer(""), 'Bearer realm="kgrec", error="invalid_token"'),
        (bearer("g\u00f6\u00f6d"), 'Bearer realm="kgrec", error="invalid_token"'),
    ],
)
def test_without_a_key_there_is_no_answer(headers: dict[str, str], challenge: str) -> None:
    raw = [(name, value.encode("latin-1")) for name, value in headers.items()]

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/status", headers=raw)

    got = ask(make_access(FakeKeys()), act)
    assert (got.status_code, got.headers["www-authenticate"]) == (401, challenge)
    assert got.headers["content-type"] == "application/problem+json"
    assert set(got.json()) >= {"title", "status", "detail", "expected", "to_do"}


@pytest.mark.parametrize(("path", "is_open"), [
    ("/health", True), ("/", True), ("/page/app.js", True), ("/page/", True), ("/page", False), ("/health/", False),
    ("/healthy", False), ("/metrics", False), ("/openapi.json", False), ("/pages/x", False), ("", False),
])  # fmt: skip
def test_open_paths_need_no_key(path: str, is_open: bool) -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": path, "method": "GET", "headers": [], "state": {}}
    asyncio.run(make_access(FakeKeys())(scope, receive, send))
    assert sent[0]["status"] == (200 if is_open else 401)


def test_a_key_is_checked_once_however_many_requests_bring_it() -> None:
    keys = FakeKeys()

    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*(client.get("/status", headers=bearer("good")) for _ in range(100)))

    assert {got.status_code for got in ask(make_access(keys), act)} == {200}
    assert keys.n_checks == 1


def test_a_key_has_its_burst_and_then_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("kgrec.service.access.time.monotonic", lambda: now[0])

    async def act(client: httpx.AsyncClient) -> list[int]:
        found = []
        for wait in (0.0,) * 6 + (0.5, 0.0):
            now[0] += wait
            got = await client.get("/status", headers=bearer("good"))
            found.append(got.status_code)
            if got.status_code == 429:
                assert got.headers["retry-after"] == "1"
        other = await client.get("/status", headers=bearer("good-2"))
        return [*found, other.status_code]

    # 8 at once over 2 processes are 4 here, and 4 a second are 2
    access = make_access(FakeKeys(), workers=2, burst=8, requests_per_s=4)
    assert ask(access, act) == [200, 200, 200, 200, 429, 429, 200, 429, 200]


def test_a_key_has_so_many_requests_at_a_time() -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        first = [asyncio.create_task(client.get("/status", headers=bearer("good"))) for _ in range(2)]
        while access_running(access) < 2:
            await asyncio.sleep(0)
        refused = await client.get("/status", headers=bearer("good"))
        other = asyncio.create_task(client.get("/status", headers=bearer("good-2")))
        while len(access._uses) < 2:
            await asyncio.sleep(0)
        gate.set()
        done = [got.status_code for got in await asyncio.gather(*first, other)]
        again = await client.get("/status", headers=bearer("good"))
        return [refused.status_code, *done, again.status_code]

    gate = asyncio.Event()

    async def slow(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await answer(scope, receive, send)

    access = make_access(FakeKeys(), slow, concurrent=2)
    assert ask(access, act) == [429, 200, 200, 200, 200]


def access_running(access: Access) -> int:
    return sum(use.running for use in access._uses.values())


def test_a_request_that_fails_is_no_longer_running() -> None:
    async def fail(scope: AsgiScope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def act(client: httpx.AsyncClient) -> None:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await client.get("/status", headers=bearer("good"))

    access = make_access(FakeKeys(), fail, concurrent=1)
    ask(access, act)
    assert access_running(access) == 0


def test_guessing_is_limited_by_address_and_a_valid_key_still_opens() -> None:
    keys = FakeKeys()

    async def act(client: httpx.AsyncClient) -> list[int]:
        found = [(await client.get("/status", headers=bearer("good"))).status_code]
        guesses = (client.get("/status", headers=bearer(f"guess-{place}")) for place in range(50))
        codes = [got.status_code for got in await asyncio.gather(*guesses)]
        return [*found, codes.count(401), codes.count(429), (await client.get("/", headers={})).status_code,
                (await client.get("/status", headers=bearer("good"))).status_code]  # fmt: skip

    access = make_access(keys, failures_per_minute=5)
    assert ask(access, act) == [200, 5, 45, 200, 200]
    assert keys.n_checks == 6
    assert keys.most_at_once <= 2

    async def guess(client: httpx.AsyncClient) -> int:
        return (await client.get("/status", headers=bearer("guess"))).status_code

    assert ask(access, guess) == 429
    assert ask(access, guess, ("10.0.0.2", 5)) == 401


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ],
)
def test_the_owner_of_an_ipv6_network_is_one_address(first: str, second: str, same: bool) -> None:
    access = make_access(FakeKeys(), failures_per_minute=1)

    async def guess(client: httpx.AsyncClient) -> int:
        return (await client.get("/status", headers=bearer("guess"))).status_code

    assert ask(access, guess, (first, 1)) == 401
    assert ask(access, guess, (second, 1)) == (429 if same else 401)


def test_valid_keys_do_not_count_as_guesses() -> None:
    async def act(client: httpx.AsyncClient) -> set[int]:
        return {(await client.get("/status", headers=bearer(f"good-{place}"))).status_code for place in range(20)}

    assert ask(make_access(FakeKeys(), failures_per_minute=2), act) == {200}


def test_known_keys_are_answered_while_others_are_checked() -> None:
    keys = FakeKeys()
    keys.known["good"], keys.wait = Caller("good", "name", Scope.READ), threading.Event()

    async def act(client: httpx.AsyncClient) -> list[int]:
        guesses = [asyncio.create_task(client.get("/status", headers=bearer(f"guess-{n}"))) for n in range(80)]
        while keys.at_once < 2:
            await asyncio.sleep(0.001)
        known = await client.get("/status", headers=bearer("good"))
        busy = await client.get("/status", headers=bearer("one more"))
        assert keys.wait is not None
        keys.wait.set()
        codes = [got.status_code for got in await asyncio.gather(*guesses)]
        return [known.status_code, busy.status_code, codes.count(401), codes.count(503)]

    assert ask(make_access(keys, failures_per_minute=1000), act) == [200, 503, 64, 16]
    assert keys.most_at_once == 2


def test_a_fault_of_the_file_is_told_without_its_place() -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/status", headers=bearer("unreadable"))

    got = ask(make_access(FakeKeys()), act)
    assert got.status_code == 503
    assert "/secret/place" not in got.text


@given(
    per_s=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(-1, 5, allow_nan=False), min_size=1, max_size=100),
)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(per_s: float, burst: int, gaps: list[float]) -> None:
    bucket, now, latest, taken = Bucket(per_s, burst, 0.0), 0.0, 0.0, 0
    for gap in gaps:
        now += gap  # the clock may go back; nothing is gained by it
        wait = bucket.take(now)
        latest = max(latest, now)
        taken += wait == 0
        assert taken <= burst + per_s * latest + 1e-6
        assert 0 <= wait <= 1 / per_s + 1e-9


@given(per_s=st.floats(0.1, 1000), burst=st.integers(1, 50))
def test_a_bucket_gives_again_after_the_wait_it_told(per_s: float, burst: int) -> None:
    bucket = Bucket(per_s, burst, 0.0)
    assert [bucket.take(0.0) for _ in range(burst)] == [0.0] * burst
    wait = bucket.take(0.0)
    assert wait > 0
    assert bucket.take(wait * 0.9) > 0
    assert bucket.take(wait * 1.001) == 0
