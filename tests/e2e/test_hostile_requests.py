"""A real service and whoever means it harm: without a key, with that of others, with bodies that no client sends."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from film_bundle import FILMS, train_films
from serving import Server, serve

from kgrec.service.audit_log import AuditLog, verify
from kgrec.service.caller import Scope, Tenant

IDS = list(FILMS)
OWN, OTHERS = IDS[:6], IDS[6:]  # of the tenant, and not
CARTOONS = Tenant("genre", "Animation")
SECRET_USER = "user-4711-private"
SCOPES = {
    Scope.READ: "GET /ready, GET /metrics, GET /openapi.json, GET /status, GET /report, POST /recommend, "
    "POST /recommend/batch, POST /similar, POST /explain, POST /search, POST /neighbourhood, POST /audience",
    Scope.WRITE: "POST /items, POST /users, POST /interactions, POST /feedback",
    Scope.ADMIN: "POST /sync, POST /swap, POST /rollback, POST /share, GET /keys, POST /keys, POST /audit",
}
ROUTES = {route: scope for scope, routes in SCOPES.items() for route in routes.split(", ")}
MB = 2**20
GROWTH = 80 * MB  # of the service's memory, which has caches that fill


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    limits = {"body_s": 1.0, "requests_per_s": 30.0, "burst": 250, "failures_per_minute": 10, "k": 100}
    with serve(train_films(folder), folder / "films.service", limits=limits) as running:
        yield running
        assert running.process.poll() is None
        log = running.log.read_text()
        assert "Traceback" not in log
        assert not re.findall(r'"status":5\d\d', log)
        assert SECRET_USER not in log


@pytest.fixture(scope="module")
def reader(server: Server) -> Iterator[httpx.Client]:
    with server.client(Scope.READ) as client:
        yield client


@pytest.fixture(scope="module")
def writer(server: Server) -> Iterator[httpx.Client]:
    with server.client(Scope.WRITE) as client:
        yield client


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def tenant(server: Server) -> Iterator[httpx.Client]:
    with server.client(Scope.WRITE, CARTOONS) as client:
        yield client


def call(client: httpx.Client, route: str) -> httpx.Response:
    """Calls a route with a body that no model fits, so that whoever may call it does no harm."""
    method, path = route.split(" ")
    if method == "GET":
        return client.get(path)
    kind = "application/x-ndjson" if path == "/recommend/batch" else "application/json"
    return client.request(method, path, content=b'{"no such field": 1}', headers={"Content-Type": kind})


def from_address(server: Server, address: str, **headers: str) -> httpx.Client:
    """A client without a key, from an address of its own."""
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=server.url, transport=transport, headers=headers, timeout=30.0)


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10.0)


def exchange(server: Server, text: bytes) -> bytes:
    """Sends bytes as they are, and reads until the service closes."""
    with connect(server) as opened:
        got = b""
        try:
            opened.sendall(text)
            while part := opened.recv(65536):
                got += part
        except ConnectionError:
            pass
        return got


def show_key(client: httpx.Client) -> str:
    """The header with the key of a client."""
    return f"Authorization: {client.headers['authorization']}"


def memory(server: Server) -> int:
    """Resident bytes of the service."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def is_problem(got: httpx.Response, status: int) -> bool:
    """Whether an answer is a problem document with a status and with what to expect."""
    assert got.headers["content-type"] == "application/problem+json", got.text
    document = got.json()
    assert (document["status"], document["instance"]) == (got.status_code, got.headers["x-request-id"])
    return got.status_code == status


def test_the_routes_are_those_of_this_test(reader: httpx.Client) -> None:
    paths = reader.get("/openapi.json").json()["paths"]
    found = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert found - {"GET /health"} == set(ROUTES) - {"GET /openapi.json"}


@pytest.mark.parametrize("route", ROUTES)
def test_there_is_no_answer_without_a_key(server: Server, route: str) -> None:
    with from_address(server, "127.0.0.1") as client:
        got = call(client, route)
    assert is_problem(got, 401)
    assert got.headers["www-authenticate"] == 'Bearer realm="kgrec"'
    assert not set(FILMS.values()) & set(re.findall(r"[A-Z]\w+ \w+", got.text))


def test_the_open_paths_tell_nothing_of_the_catalogue(server: Server) -> None:
    with from_address(server, "127.0.0.1") as client:
        assert client.get("/health").json() == {"status": "alive"}
        assert not any(title in client.get("/").text for title in FILMS.values())


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_a_key_does_what_its_scope_allows_and_no_more(server: Server, scope: Scope) -> None:
    with server.client(scope) as client:
        for route, needed in ROUTES.items():
            got = call(client, route)
            if scope < needed:
                assert is_problem(got, 403), route
                assert got.json()["expected"] == f"the scope {needed.name.lower()}"
            else:
                assert got.status_code in (200, 404, 422), route  # 404: there is no report


def test_a_revoked_key_opens_nothing_within_a_second(server: Server, admin: httpx.Client) -> None:
    with server.client(Scope.READ) as client:
        assert client.get("/status").status_code == 200
        key = client.headers["authorization"].split("_")[1]
        assert is_problem(admin.post("/keys", json={"revoke": "00000000"}), 422)
        revoked = admin.post("/keys", json={"revoke": key}).json()
        assert [one["revoked_at"] is None for one in revoked["keys"] if one["id"] == key] == [False]
        time.sleep(1)
        assert is_problem(client.get("/status"), 401)


def test_a_key_is_made_over_http_and_shown_once(server: Server, admin: httpx.Client) -> None:
    made = admin.post("/keys", json={"create": {"name": "shop", "scope": "read", "tenant": "genre=Animation"}}).json()
    with from_address(server, "127.0.0.1", Authorization=f"Bearer {made['created']}") as client:
        listed = client.post("/recommend", json={"likes": OWN[:1], "k": 50}).json()["items"]
    assert {each["item"] for each in listed} == set(OWN[1:])
    assert made["created"] not in admin.get("/keys").text
    for wrong in (
        {"scope": "admin", "tenant": "genre=Animation"},
        {"tenant": "shop=s-7"},
        {"tenant": "x"},
        {"scope": "root"},
    ):
        assert is_problem(admin.post("/keys", json={"create": {"name": "x", **wrong}}), 422)


READS: dict[str, tuple[str, dict[str, Any]]] = {
    "likes": ("/recommend", {"likes": OTHERS[:2]}),
    "sequence": ("/recommend", {"sequence": [[OTHERS[0], None]]}),
    "candidates": ("/recommend", {"likes": OWN[:1], "candidates": OTHERS}),
    "similar": ("/similar", {"item": OTHERS[0]}),
    "similar candidates": ("/similar", {"item": OWN[0], "candidates": OTHERS}),
    "explain": ("/explain", {"item": OTHERS[0], "likes": OWN[:1]}),
    "explain likes": ("/explain", {"item": OWN[0], "likes": OTHERS[:1]}),
    "neighbourhood": ("/neighbourhood", {"item": OTHERS[0]}),
    "audience": ("/audience", {"item": OTHERS[0]}),
}


@pytest.mark.parametrize("name", READS)
def test_a_tenant_gets_nothing_by_the_ids_of_others(tenant: httpx.Client, name: str) -> None:
    path, body = READS[name]
    got = tenant.post(path, json=body)
    assert is_problem(got, 422)
    assert not any(FILMS[item] in got.text for item in OTHERS)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recommend", {"user": "2", "k": 50}),  # likes only others' items
        ("/recommend", {"user": "1", "k": 50, "filter_seen": False, "explain": True}),
        ("/recommend", {"likes": OWN[:1], "k": 50, "pitch": True}),
        ("/recommend", {"likes": [OWN[0], OTHERS[0]], "k": 50, "explain": True}),
        ("/similar", {"item": OWN[0], "k": 50, "explain": True}),
        ("/search", {"text": "Star Wars", "k": 50}),
        ("/neighbourhood", {"item": OWN[0], "most": 200}),
        ("/explain", {"item": OWN[0], "user": "1"}),
        ("/audience", {"item": OWN[0]}),
    ],
)
def test_a_tenant_sees_its_items_alone(tenant: httpx.Client, path: str, body: dict[str, Any]) -> None:
    text = tenant.post(path, json=body).text
    assert not [FILMS[item] for item in OTHERS if FILMS[item] in text]


def test_a_tenant_sees_its_items_alone_in_a_batch(tenant: httpx.Client) -> None:
    lines = [
        {"likes": OWN[:1], "k": 50},
        {"likes": OTHERS[:1]},
        {"user": "2"},
        {"likes": OWN[:1], "candidates": OTHERS},
    ]
    content = "\n".join(map(json.dumps, lines))
    got = tenant.post("/recommend/batch", content=content, headers={"Content-Type": "application/x-ndjson"})
    answers = [json.loads(line) for line in got.text.splitlines()]
    assert {each["item"] for each in answers[0]["items"]} == set(OWN[1:])
    assert [answers[place].get("status") for place in (1, 3)] == [422, 422]
    assert not [FILMS[item] for item in OTHERS if FILMS[item] in got.text]


def test_a_tenant_sees_no_figures_of_the_whole_house(tenant: httpx.Client) -> None:
    for path in ("/report", "/metrics"):
        assert is_problem(tenant.get(path), 403), path
    versions = tenant.get("/status").json()["versions"]
    assert [(each["n_items"], each["n_users"]) for each in versions] == [(len(OWN), 0)]


def test_a_tenant_changes_nothing_of_others(tenant: httpx.Client, reader: httpx.Client) -> None:
    link = [["genre", "Animation"]]
    for body in (
        {"remove": OTHERS[:1]},
        {"remove": [OWN[0], OTHERS[0]]},
        {"change": [{"item": OTHERS[0], "name": "Mine", "links": link}]},
        {"change": [{"item": OWN[0], "name": "Theirs", "links": [["genre", "Sci-Fi"]]}]},
        {"add": [{"item": "theirs", "name": "Theirs", "links": [["genre", "Sci-Fi"]]}]},
        {"add": [{"item": "nobodys", "name": "Nobody's"}]},
        {"add": [{"item": OTHERS[0], "name": "Mine", "links": link}]},
    ):
        assert is_problem(tenant.post("/items", json=body), 422), body
    assert is_problem(tenant.post("/users", json={"forget": ["2"]}), 403)
    got = tenant.post("/interactions", json={"interactions": [{"user": "1", "item": OTHERS[0], "weight": 5}]})
    assert got.json()["added"] == 0
    listed = reader.post("/recommend", json={"likes": ["432"], "k": 50, "candidates": [*OWN[:1], *OTHERS]}).json()
    assert {each["item"]: each["title"] for each in listed["items"]} == {
        item: FILMS[item] for item in [OWN[0], *OTHERS]
    }
    added = tenant.post("/items", json={"add": [{"item": "own", "name": "A Bug's Life", "links": link}]})
    assert added.json()["added"] == 1
    assert tenant.post("/similar", json={"item": "own"}).status_code == 200
    assert tenant.post("/items", json={"remove": ["own"]}).json()["removed"] == 1


def stream(n_bytes: int) -> Iterator[bytes]:
    for _ in range(n_bytes // MB):
        yield b"x" * MB


@pytest.mark.parametrize("path", ["/recommend", "/items"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_body_of_100_mb_is_refused(server: Server, writer: httpx.Client, path: str, is_streamed: bool) -> None:
    before = memory(server)
    content: Any = stream(100 * MB) if is_streamed else b"x" * (100 * MB)
    try:
        got = writer.post(path, content=content, headers={"Content-Type": "application/json"})
    except (httpx.WriteError, httpx.ReadError):  # it does not read on for long
        pass
    else:
        assert is_problem(got, 413)
    assert memory(server) < before + GROWTH


def test_a_declared_length_is_refused_before_the_body_is_sent(server: Server) -> None:
    with connect(server) as opened:
        head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key()}\r\n"
        opened.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 104857600\r\n\r\n".encode())
        assert opened.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_100_mb_without_a_key_takes_no_memory(server: Server) -> None:
    before = memory(server)
    with from_address(server, "127.0.0.1") as client:
        try:
            got = client.post("/recommend", content=stream(100 * MB), headers={"Content-Type": "application/json"})
        except (httpx.WriteError, httpx.ReadError):
            pass
        else:
            assert is_problem(got, 401)
    assert memory(server) < before + GROWTH


def test_a_line_of_a_batch_without_end_takes_no_memory(server: Server, reader: httpx.Client) -> None:
    before = memory(server)
    got = reader.post("/recommend/batch", content=stream(50 * MB), headers={"Content-Type": "application/x-ndjson"})
    assert [json.loads(line)["status"] for line in got.text.splitlines()] == [413]
    assert memory(server) < before + GROWTH


BAD_BODIES: dict[str, bytes] = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep in a field": b'{"likes":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep attributes": b'{"attributes":{"a":' + b"[" * 1000 + b"]" * 1000 + b"}}",
    "invalid UTF-8": b'{"likes":["\xff\xfe"]}',
    "overlong UTF-8": b'{"likes":["\xc0\xaf"]}',
    "UTF-16": '{"likes":["1"]}'.encode("utf-16"),
    "a lone surrogate": b'{"likes":["\\ud800"]}',
    "NaN": b'{"likes":["1"],"tail":NaN}',
    "Infinity": b'{"likes":["1"],"diversity":Infinity}',
    "a huge number": b'{"likes":["1"],"tail":1e999}',
    "a huge k": b'{"likes":["1"],"k":' + b"9" * 5000 + b"}",
    "a negative k": b'{"likes":["1"],"k":-1}',
    "k = 0": b'{"likes":["1"],"k":0}',
    "k over the limit": b'{"likes":["1"],"k":101}',
    "a broken k": b'{"likes":["1"],"k":1.5}',
    "k as a text": b'{"likes":["1"],"k":"ten"}',
    "many ids": json.dumps({"likes": ["1"] * 20_000}).encode(),
    "a long id": json.dumps({"likes": ["1" * 600]}).encode(),
    "a long text": json.dumps({"text": "film " * 4000}).encode(),
    "an unknown field": b'{"likes":["1"],"store":"bolt://169.254.169.254"}',
    "no JSON": b"likes=1",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "two bodies": b'{"likes":["1"]}{"likes":["1"]}',
    "no such link": b'{"likes":["1"],"links":[["no such","x"]]}',
    "a link to an object": b'{"likes":["1"],"links":[{"a":1}]}',
    "at most none": b'{"likes":["1"],"at_most":{"genre":-1}}',
    "a language": b'{"likes":["1"],"pitch":"../../etc/passwd"}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_problem(reader: httpx.Client, name: str) -> None:
    got = reader.post("/recommend", content=BAD_BODIES[name], headers={"Content-Type": "application/json"})
    assert is_problem(got, 422), got.text
    assert len(got.content) < 4000


@pytest.mark.parametrize("name", [name for name, body in BAD_BODIES.items() if body])
def test_a_bad_line_is_a_problem_among_good_ones(reader: httpx.Client, name: str) -> None:
    lines = b'{"likes":["1"]}\n' + BAD_BODIES[name].replace(b"\n", b" ") + b'\n{"likes":["1"]}\n'
    got = reader.post("/recommend/batch", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert [json.loads(line).get("status") for line in got.text.splitlines()] == [None, 422, None]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/interactions", b'{"interactions":[{"user":"1","item":"1","weight":NaN}]}'),
        ("/interactions", b'{"interactions":[{"user":"1","item":"1","weight":-1e999}]}'),
        ("/interactions", b'{"interactions":[{"user":"1","item":"1","weight":5,"at":99999999999999999999}]}'),
        ("/interactions", b'{"interactions":[{"user":"1","item":"1","weight":5,"at":"tomorrow"}]}'),
        ("/interactions", b'{"interactions":[{"user":"\\ud800","item":"1","weight":5}]}'),
        ("/interactions", b'{"interactions":[]}'),
        ("/items", b'{"add":[{"item":"x","vectors":{"v":[NaN]}}]}'),
        ("/items", b'{"add":[{"item":"x","name":"a"},{"item":"x","name":"b"}]}'),
        ("/items", b'{"remove":["no such item"]}'),
        ("/users", b'{"add":[{"user":"","likes":[]}]}'),
        ("/feedback", b'{"events":[{"shown":[]}]}'),
    ],
)
def test_a_bad_write_changes_nothing(writer: httpx.Client, path: str, body: bytes) -> None:
    before = writer.get("/status").json()["seq"]
    got = writer.post(path, content=body, headers={"Content-Type": "application/json"})
    assert is_problem(got, 422), got.text
    assert writer.get("/status").json()["seq"] == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_a_page_elsewhere_is_refused(reader: httpx.Client, kind: str) -> None:
    headers = {"Content-Type": kind, "Origin": "https://evil.example"}
    got = reader.post("/recommend", content=b'{"likes":["1"]}', headers=headers)
    assert is_problem(got, 415)
    assert not [name for name in got.headers if name.startswith("access-control")]


def test_guessing_keys_is_limited_whatever_address_is_claimed(server: Server) -> None:
    codes = []
    with from_address(server, "127.0.0.2") as client, server.client(Scope.READ) as other:
        real = server.key(Scope.READ)
        guesses = [real[:15] + "a" * 43, "kgrec_00000000_" + "a" * 43, "x", real[:-1], "'; DROP TABLE keys; --"]
        for place in range(30):
            claimed = {"X-Forwarded-For": f"10.0.0.{place}", "Forwarded": f"for=10.0.0.{place}"}
            headers = {"Authorization": f"Bearer {guesses[place % 5]}", **claimed}
            codes.append(client.get("/status", headers=headers).status_code)
            assert other.get("/status").status_code == 200
        limited = client.get("/status", headers={"Authorization": f"Bearer {guesses[0]}"})
        assert is_problem(limited, 429)
        assert int(limited.headers["retry-after"]) >= 1
    assert codes[:10] == [401] * 10
    assert set(codes[12:]) <= {401, 429}
    assert codes.count(401) <= 12  # and whatever the time brings back


def test_a_key_has_its_rate(server: Server) -> None:
    with server.client(Scope.READ) as client, server.client(Scope.READ) as other:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.get("/health-of-nobody"), range(500)))
        limited = [got for got in answers if got.status_code == 429]
        assert {got.status_code for got in answers} == {404, 429}
        assert all(int(got.headers["retry-after"]) >= 1 for got in limited)
        assert other.get("/status").status_code == 200


@pytest.mark.parametrize("target", [
    "/page/../../keys.sqlite", "/page/..%2f..%2fkeys.sqlite", "/page/%2e%2e/%2e%2e/keys.sqlite", "/page/..\\..\\keys",
    "/page/%252e%252e/keys.sqlite", "/page/app.js%00.html", "/page//etc/passwd", "//etc/passwd", "/page/./app.js",
    "/page/%c0%ae%c0%ae/keys.sqlite", "/../../../../etc/passwd", "/page/....//keys.sqlite", "http://evil.example/../etc",
    "/page/__init__.py", "/page/.git", "/static/../keys.sqlite", "/page/%5c..%5ckeys.sqlite", "*",
])  # fmt: skip
def test_no_path_leads_to_a_file(server: Server, reader: httpx.Client, target: str) -> None:
    key = show_key(reader)
    got = exchange(server, f"GET {target} HTTP/1.1\r\nHost: x\r\n{key}\r\nConnection: close\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 4\d\d ", got)
    assert b"SQLite" not in got
    assert b"root:" not in got


@pytest.mark.parametrize("given", [
    "two words", "a" * 65, "a%0d%0aSet-Cookie: b=1", '"><script>', "\u00e4", "a;b", "${jndi:ldap://x}", "a\tb",
])  # fmt: skip
def test_a_bad_request_id_is_not_taken(reader: httpx.Client, given: str) -> None:
    got = reader.get("/health", headers=[("X-Request-ID", given.encode("latin-1"))])
    assert re.fullmatch(r"[0-9a-f]{32}", got.headers["x-request-id"])
    assert "set-cookie" not in got.headers
    assert reader.get("/health", headers={"X-Request-ID": "a-B_9.x"}).headers["x-request-id"] == "a-B_9.x"


@pytest.mark.parametrize("more", [
    "X-Request-ID: a\rSet-Cookie: b=1", "X-Request-ID: a\n\nSet-Cookie: b=1", "X-Request-ID: a\0b", "X : a", "no colon",
    "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1",
    "Content-Length: +5", "Content-Length: 1e9", "Transfer-Encoding: identity, chunked, x",
])  # fmt: skip
def test_headers_are_neither_injected_nor_smuggled(server: Server, reader: httpx.Client, more: str) -> None:
    smuggled = "0\r\n\r\nGET /keys HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /recommend HTTP/1.1\r\nHost: x\r\n{show_key(reader)}\r\nContent-Type: application/json\r\n"
    got = exchange(server, f"{head}{more}\r\n\r\n{smuggled}".encode())
    assert re.match(rb"HTTP/1.1 4\d\d ", got)
    assert b"et-Cookie" not in got
    assert b" 200 " not in got


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PROPFIND"])
def test_other_methods_do_nothing(server: Server, admin: httpx.Client, method: str) -> None:
    target = "x:1" if method == "CONNECT" else "/items"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{show_key(admin)}\r\nConnection: close\r\n\r\n"
    assert re.match(rb"HTTP/1.1 4\d\d ", exchange(server, head.encode()))


def test_slow_bodies_are_given_up_and_others_are_answered_meanwhile(server: Server, reader: httpx.Client) -> None:
    key = server.key(Scope.READ)
    head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    opened = [connect(server) for _ in range(30)]
    for each in opened:
        each.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    started = time.monotonic()
    assert reader.post("/recommend", json={"likes": ["1"]}).status_code == 200
    assert time.monotonic() - started < 10
    answers = [each.recv(65536) for each in opened]
    for each in opened:
        each.close()
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)


def test_hundreds_of_idle_connections_keep_nobody_out(server: Server, reader: httpx.Client) -> None:
    opened = [connect(server) for _ in range(400)]
    for each in opened[:200]:
        each.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-")  # a head that does not end
    assert [reader.post("/recommend", json={"likes": ["1"]}).status_code for _ in range(5)] == [200] * 5
    for each in opened:
        each.close()
    assert reader.get("/status").status_code == 200


def test_a_head_without_end_is_refused(server: Server) -> None:
    with connect(server) as opened, pytest.raises(ConnectionError):
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        for _ in range(50):
            opened.sendall(b"a" * MB)


def test_a_replayed_idempotency_key_writes_once(server: Server, writer: httpx.Client) -> None:
    body = {"interactions": [{"user": "replayer", "item": "1", "weight": 5}]}
    headers = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: writer.post("/interactions", json=body, headers=headers), range(8)))
    assert {got.status_code for got in answers} == {200}
    assert len({got.text for got in answers}) == 1
    assert sorted(got.headers.get("idempotency-replayed", "") for got in answers) == [""] + ["true"] * 7
    other = {"interactions": [{"user": "replayer", "item": "95", "weight": 5}]}
    assert is_problem(writer.post("/interactions", json=other, headers=headers), 422)
    with server.client(Scope.WRITE) as stranger:  # the key of another caller is another key
        got = stranger.post("/interactions", json=other, headers=headers)
        assert (got.status_code, "idempotency-replayed" in got.headers) == (200, False)
    for wrong in ("", "x" * 201, "a\tb"):
        assert is_problem(writer.post("/interactions", json=other, headers={"Idempotency-Key": wrong}), 422)


def test_writes_and_admin_acts_are_audited_without_anything_personal(server: Server, admin: httpx.Client) -> None:
    added = {"users": [{"user": SECRET_USER, "likes": ["1"]}]}
    assert admin.post("/users", json={"add": added["users"]}).status_code == 200
    assert admin.post(
        "/interactions", json={"interactions": [{"user": SECRET_USER, "item": "95", "weight": 5}]}
    ).is_success
    assert admin.post("/users", json={"forget": [SECRET_USER]}).json()["forgotten"] == 1
    assert is_problem(admin.post("/share", json={"share": 7}), 422)
    made = admin.post("/keys", json={"create": {"name": "audited"}}).json()["created"]
    got = admin.post("/audit", json={"last": 4}).json()
    assert got["broken"] is None
    assert [line["act"] for line in got["lines"]] == ["users", "interactions", "forget", "create key"]
    key = admin.headers["authorization"].split("_")[1]
    assert {line["actor"] for line in got["lines"]} == {key}
    path = server.folder / "audit.jsonl"
    content = path.read_text()
    assert SECRET_USER not in content
    assert made not in content
    assert verify(path) is None
    assert AuditLog(path).read_last(1)[0].about["key"] == made.split("_")[1]


def test_answers_are_for_nobody_else(reader: httpx.Client) -> None:
    for got in (reader.post("/recommend", json={"likes": ["1"]}), reader.get("/no/such/route"), reader.get("/")):
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in got.headers["content-security-policy"]
        assert "unsafe-inline" not in got.headers["content-security-policy"]
        assert "server" not in got.headers
    assert reader.post("/recommend", json={"likes": ["1"]}).headers["cache-control"] == "no-store"


def test_many_hostile_and_good_requests_at_once(server: Server) -> None:
    """The good ones are answered, each with its own answer."""

    async def run() -> list[tuple[int, bool]]:
        headers = {"Authorization": f"Bearer {server.key(Scope.READ)}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30.0) as client:

            async def good(item: str) -> tuple[int, bool]:
                got = await client.post("/recommend", json={"likes": [item], "k": 50, "filter_seen": True})
                return got.status_code, item not in {each["item"] for each in got.json()["items"]}

            async def bad(content: bytes) -> tuple[int, bool]:
                kind = {"Content-Type": "application/json"}
                got = await client.post("/recommend", content=content, headers=kind)
                return got.status_code, True

            acts = [
                act for item, body in zip(IDS * 4, BAD_BODIES.values(), strict=False) for act in (good(item), bad(body))
            ]
            return await asyncio.gather(*acts)

    answers = asyncio.run(run())
    assert set(answers[::2]) == {(200, True)}
    assert {status for status, _ in answers[1::2]} == {422}
