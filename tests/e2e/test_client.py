"""Both clients against a real service: the same answers, writes that are there exactly once, long batches."""

import asyncio
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from film_bundle import FILMS, train_films
from serving import Server, find_port, serve, start

from kgrec import Recommender
from kgrec.client import AsyncClient, Client, ServiceError
from kgrec.messages import RecommendAnswer
from kgrec.service.caller import Scope

T = TypeVar("T")
CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "likes": ("recommend", (), {"likes": ["1", "95"], "k": 3}),
    "user": ("recommend", ("7",), {"k": 3, "explain": True}),
    "text": ("recommend", (), {"text": "a film about animation", "k": 3}),
    "dials": ("recommend", (), {"likes": ["1"], "k": 5, "tail": 0.5, "diversity": 0.5, "at_most": {"genre": 2}}),
    "candidates": ("recommend", (), {"likes": ["1"], "candidates": ["50", "71"], "exclude": ["50"]}),
    "similar": ("similar", ("1",), {"k": 3}),
    "explain": ("explain", ("588",), {"likes": ["1", "95"]}),
    "search": ("search", ("toy stroy",), {}),
    "neighbourhood": ("neighbourhood", ("1",), {}),
    "audience": ("audience", ("1",), {"k": 3}),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def server(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(films, tmp_path_factory.mktemp("service") / "films.service") as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key()


@pytest.fixture
def client(server: Server, key: str) -> Iterator[Client]:
    with Client(server.url, key) as opened:
        yield opened


def run_async(url: str, key: str, ask: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with AsyncClient(url, key) as opened:
            return await ask(opened)

    return asyncio.run(run())


@pytest.mark.parametrize("name", CALLS)
def test_both_clients_get_the_same(server: Server, client: Client, key: str, name: str) -> None:
    method, args, kwargs = CALLS[name]
    found = getattr(client, method)(*args, **kwargs)
    assert found == run_async(server.url, key, lambda opened: getattr(opened, method)(*args, **kwargs))


def test_answers_are_those_of_python(films: Path, client: Client) -> None:
    recommender = Recommender.load(films)
    found = client.recommend(likes=["1", "95"], k=4, explain=True).items
    expected = recommender.recommend(likes=["1", "95"], k=4, explain=True).items
    assert [(each.item, each.title, each.reason) for each in found] == [
        (each.item, each.title, each.reason) for each in expected
    ]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected], rel=1e-4)
    why = client.explain("588", likes=["1", "95"])
    assert sum(share.value for share in why.shares) == pytest.approx(why.score, abs=1e-4)


def test_what_is_written_is_in_the_next_answer(client: Client) -> None:
    assert client.add_items([{"item": "w-1", "name": "Toys in Space", "links": [("genre", "Animation")]}]).added == 1
    assert client.search("Toys in Space", 1).items[0].item == "w-1"
    client.change_items([{"item": "w-1", "name": "Ducks in Space"}])
    assert client.search("Ducks in Space", 1).items[0].title == "Ducks in Space"
    client.add_users([{"user": "w-u", "likes": ["1"]}])
    client.add_interactions([{"user": "w-u", "item": "95", "weight": 5}])
    assert not {"1", "95"} & {each.item for each in client.recommend("w-u").items}
    receipt = client.forget("w-u").receipts[0]
    assert set(receipt.places.values()) == {0}
    with pytest.raises(ServiceError, match="unknown user"):
        client.recommend("w-u")
    assert client.remove_items(["w-1"]).removed == 1
    assert client.feedback([{"shown": ["1", "95"], "clicked": ["95"]}]).added == 1
    assert client.status().versions[0].n_items == len(FILMS)


def test_admin_acts(client: Client) -> None:
    assert client.swap().versions[0].role == "current"
    assert client.set_share(0.25).share == 0.25
    with pytest.raises(ServiceError, match="no store") as raised:
        client.sync()
    assert raised.value.status == 422
    with pytest.raises(ServiceError, match="nothing to go back to"):
        client.rollback()


def test_errors_say_what_the_service_says(server: Server, client: Client) -> None:
    with pytest.raises(ServiceError, match="unknown user 'nobody'") as raised:
        client.recommend("nobody")
    assert raised.value.status == 422
    assert raised.value.instance
    with Client(server.url, "kgrec_wrong") as wrong, pytest.raises(ServiceError) as refused:
        wrong.status()
    assert (refused.value.status, refused.value.title) == (401, "The key is not valid")
    with Client(server.url, server.key(Scope.READ)) as reader, pytest.raises(ServiceError) as forbidden:
        reader.remove_items("1")
    assert (forbidden.value.status, forbidden.value.expected) == (403, "the scope write")


# --- lost answers


@dataclass
class LossyProxy:
    """Passes bytes on, and cuts connections after whole requests have reached the service.

    Attributes:
        url: where it listens.
        n_to_lose: how many answers it still loses.
        n_lost: how many it has lost.
    """

    url: str
    n_to_lose: int = 0
    n_lost: int = 0

    def pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Passes requests and answers on, until it loses one or somebody ends."""
        with closing(near), closing(far):
            while request := _read_message(near):
                far.sendall(request)
                answer = _read_message(far)
                if self.n_to_lose:
                    self.n_to_lose -= 1
                    self.n_lost += 1
                    return
                near.sendall(answer)


def _read_message(connection: socket.socket) -> bytes:
    """A whole HTTP message with a Content-Length; nothing where the connection ended."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = connection.recv(65536)
        if not part:
            return b""
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0] if lengths else 0) - len(body)
    while missing > 0:
        part = connection.recv(65536)
        found, missing = found + part, missing - len(part)
    return found


@contextmanager
def lossy_proxy(server: Server) -> Iterator[LossyProxy]:
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = LossyProxy(f"http://127.0.0.1:{listening.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    near, _ = listening.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=proxy.pass_on, args=(near, far), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("n_lost", [1, 3])
def test_a_write_whose_answer_gets_lost_is_there_once(server: Server, key: str, is_async: bool, n_lost: int) -> None:
    with lossy_proxy(server) as proxy, Client(server.url, key) as direct:

        def write(method: str, *args: Any) -> Any:
            proxy.n_to_lose = n_lost
            if is_async:
                return run_async(proxy.url, key, lambda opened: getattr(opened, method)(*args))
            with Client(proxy.url, key) as opened:
                return getattr(opened, method)(*args)

        name = f"lost-{is_async}-{n_lost}"
        before = direct.status().seq
        assert write("add_items", [{"item": name, "name": name}]).added == 1
        assert direct.status().seq == before + 1
        assert write("add_users", [{"user": name, "likes": ["1"]}]).added == 1
        assert write("add_interactions", [{"user": name, "item": "95", "weight": 5}]).added == 1
        assert direct.status().seq == before + 3
        answer = write("forget", name)
        assert answer.forgotten == 1
        assert set(answer.receipts[0].places.values()) == {0}
        assert write("remove_items", name).removed == 1
        assert proxy.n_lost == 5 * n_lost
        assert direct.status().versions[0].n_items == len(FILMS)


def test_feedback_whose_answer_gets_lost_is_there_once(server: Server, key: str) -> None:
    import sqlite3

    def count() -> int:
        with closing(sqlite3.connect(server.folder / "journal.sqlite")) as journal:
            return int(journal.execute("SELECT count(*) FROM feedback").fetchone()[0])

    with lossy_proxy(server) as proxy, Client(proxy.url, key) as client:
        before = count()
        proxy.n_to_lose = 2
        assert client.feedback([{"shown": ["1"]}]).added == 1
    assert count() == before + 1


def test_an_answer_that_gets_lost_is_asked_for_again(server: Server, key: str, client: Client) -> None:
    with lossy_proxy(server) as proxy, Client(proxy.url, key) as opened:
        proxy.n_to_lose = 2
        assert opened.recommend(likes=["1"]) == client.recommend(likes=["1"])
        assert proxy.n_lost == 2


def test_a_service_that_is_gone_is_an_error_and_one_that_comes_back_is_found(films: Path, tmp_path: Path) -> None:
    with Client(f"http://127.0.0.1:{find_port()}", "key", retries=1) as opened, pytest.raises(ServiceError) as raised:
        opened.status()
    assert raised.value.status is None
    with serve(films, tmp_path / "one") as server, Client(server.url, server.key(), retries=12) as client:
        port = server.url.rsplit(":", 1)[1]
        server.kill()
        found: list[int] = []
        item = {"item": "late", "name": "A Late Film"}
        waiting = threading.Thread(target=lambda: found.append(client.add_items([item]).added))
        waiting.start()
        again = start(films, server.folder, ["--port", port], wait=False)
        waiting.join(120)
        again.stop()
        assert found == [1]


def test_a_busy_service_is_asked_again(films: Path, tmp_path: Path) -> None:
    limits = {"requests_per_s": 2.0, "burst": 2}
    with serve(films, tmp_path / "slow", limits=limits) as server:
        key = server.key()
        with Client(server.url, key, retries=0) as impatient, pytest.raises(ServiceError) as raised:
            for _ in range(4):
                impatient.recommend(likes=["1"])
        assert raised.value.status == 429
        started = time.monotonic()
        with Client(server.url, key) as patient:
            assert all(patient.recommend(likes=["1"]).items for _ in range(4))
        assert time.monotonic() - started >= 1


# --- batches


def to_bodies(n: int) -> Iterator[dict[str, Any]]:
    ids = list(FILMS)
    for place in range(n):
        yield {"likes": [ids[place % len(ids)], ids[(place // 5) % len(ids)]], "k": 1 + place % 3}


def test_a_batch_is_what_single_requests_are_in_their_order(server: Server, key: str, client: Client) -> None:
    bodies = [*to_bodies(300), {"user": "7", "k": 2, "explain": True}, {"text": "cartoons", "k": 1}]
    bodies[100] = {"user": "nobody"}
    bodies[200] = {"likes": ["1"], "k": -1}
    found = list(client.recommend_batch(bodies))

    async def ask(opened: AsyncClient) -> list[RecommendAnswer | ServiceError]:
        return [each async for each in opened.recommend_batch(bodies)]

    assert [str(each) for each in run_async(server.url, key, ask)] == [str(each) for each in found]
    for place in (0, 99, 101, 257, 300, 301):
        alone = client.recommend(**bodies[place])
        assert isinstance(each := found[place], RecommendAnswer)
        assert [item.item for item in each.items] == [item.item for item in alone.items]
        assert [item.reason for item in each.items] == [item.reason for item in alone.items]
    for place, said in ((100, "unknown user 'nobody'"), (200, "greater than or equal to 1")):
        assert isinstance(error := found[place], ServiceError)
        assert said in str(error)
        assert str(error.instance).endswith(f"#{place % 256 + 1}")
    assert sum(isinstance(each, ServiceError) for each in found) == 2


def test_lines_are_answered_while_others_are_still_sent(server: Server, key: str) -> None:
    url, port = server.url, int(server.url.rsplit(":", 1)[1])
    head = (
        f"POST /recommend/batch HTTP/1.1\r\nHost: {url}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    line = b'{"likes": ["1"], "k": 1}\n'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        opened.sendall(head.encode())
        answer = b""
        for n_lines in (1, 2, 3):
            opened.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            while answer.count(b'{"items"') < n_lines:
                answer += opened.recv(65536)
        opened.sendall(b"0\r\n\r\n")
        while not answer.endswith(b"0\r\n\r\n"):
            answer += opened.recv(65536)
    assert answer.count(b'{"items"') == 3


def test_other_requests_are_answered_during_a_batch(server: Server, key: str, client: Client) -> None:
    ended: list[int] = []
    batch = threading.Thread(target=lambda: ended.append(_count(Client(server.url, key), 2000)))
    batch.start()
    n_meanwhile = 0
    while batch.is_alive():
        client.recommend(likes=["95"], k=2)
        n_meanwhile += 1
    assert ended == [2000]
    assert n_meanwhile > 5


def _count(client: Client, n_bodies: int) -> int:
    with client:
        return sum(isinstance(each, RecommendAnswer) for each in client.recommend_batch(to_bodies(n_bodies)))


def test_a_batch_with_bad_bytes_gives_problems_in_their_places(server: Server, key: str) -> None:
    lines = [b'{"likes": ["1"]}', b"\xff\xfe", b"{", b'{"k": NaN}', b"[" * 5000, b"null", b'{"likes": ["1"]}']
    found = httpx.post(
        f"{server.url}/recommend/batch",
        content=b"\n".join(lines),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"},
        timeout=30,
    )
    answers = [json.loads(line) for line in found.content.splitlines()]
    assert [each.get("status", 200) for each in answers] == [200, 422, 422, 422, 422, 422, 200]


# --- TLS


def test_certificates_are_checked_unless_told_otherwise(films: Path, tmp_path: Path) -> None:
    made = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    try:
        subprocess.run([*command, "-keyout", made[0], "-out", made[1]], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    options = ["--tls-key", str(made[0]), "--tls-certificate", str(made[1])]
    server = start(films, tmp_path / "tls", options, scheme="https")
    try:
        key = server.key()
        with (
            Client(server.url, key, retries=0) as strict,
            pytest.raises(ServiceError, match="certificate verify failed"),
        ):
            strict.status()
        context = ssl.create_default_context(cafile=str(made[1]))
        for verify in (made[1], context, False):
            with Client(server.url, key, verify=verify) as opened:
                assert opened.status().versions
    finally:
        server.stop()
