"""Both clients: what they send, when they send it again, and what their errors say."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from inspect import iscoroutinefunction, isfunction, signature
from typing import Any

import httpx
import pandas as pd
import pytest
from scripted_service import Script, answer, problem

from kgrec.client import AsyncClient, Client, ServiceError
from kgrec.errors import KgrecError, RequestError
from kgrec.messages import ItemPart, RecommendAnswer, RecommendBody

KEY = "kg_test"
LIST = {
    "items": [{"item": "a", "rank": 1, "score": 0.5, "title": "A", "match": 1.0}],
    "version": "0123456789ab",
    "seq": 4,
}
LOST = [httpx.ReadError("cut"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("slow")]
METHODS = [name for name, found in vars(Client).items() if isfunction(found) and not name.startswith("_")]
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = {
    "recommend": (("u",), {"k": 3, "tail": 0.5, "candidates": ("a", "b")}, {
        "user": "u", "k": 3, "tail": 0.5, "candidates": ["a", "b"]}),
    "similar": (("a",), {"by": "text"}, {"item": "a", "by": "text"}),
    "explain": (("a",), {"likes": ("b",)}, {"item": "a", "likes": ["b"]}),
    "search": (("toy",), {"k": 2}, {"text": "toy", "k": 2}),
    "neighbourhood": (("a",), {}, {"item": "a"}),
    "audience": ((ItemPart(item="n", name="New"),), {}, {"item": {"item": "n", "name": "New"}}),
    "add_items": (([{"item": "n", "links": [("by", "p")]}],), {}, {"add": [{"item": "n", "links": [["by", "p"]]}]}),
    "change_items": (([ItemPart(item="n")],), {}, {"change": [{"item": "n"}]}),
    "remove_items": (("a",), {}, {"remove": ["a"]}),
    "add_users": (([{"user": "u", "likes": ["a"]}],), {}, {"add": [{"user": "u", "likes": ["a"]}]}),
    "forget": ((["u", "v"],), {}, {"forget": ["u", "v"]}),
    "add_interactions": (([{"user": "u", "item": "a", "weight": 5}],), {}, {
        "interactions": [{"user": "u", "item": "a", "weight": 5.0}]}),
    "feedback": (([{"shown": ["a"], "clicked": ["a"]}],), {}, {"events": [{"shown": ["a"], "clicked": ["a"]}]}),
    "status": ((), {}, None),
    "sync": ((), {}, None),
    "swap": ((), {}, None),
    "rollback": ((), {}, None),
    "set_share": ((0.25,), {}, {"share": 0.25}),
}  # fmt: skip
WRITES = {"add_items", "change_items", "remove_items", "add_users", "forget", "add_interactions", "feedback"}


def good_answer(request: httpx.Request) -> httpx.Response:
    """An answer that every method can read."""
    more = {"score": 1.0, "reason": "so", "shares": [], "item": "a", "users": [], "n_asked": 0, "n_within": 0}
    return answer(**LIST, **more, versions=[], nodes=[], edges=[])


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clients would have waited."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("kgrec.client.clients.time.sleep", found.append)
    monkeypatch.setattr("kgrec.client.clients.asyncio.sleep", sleep)
    return found


def call_sync(script: Script, name: str, *args: Any, **kwargs: Any) -> Any:
    with Client("http://service", KEY, transport=httpx.MockTransport(script)) as client:
        found = getattr(client, name)(*args, **kwargs)
        return list(found) if name == "recommend_batch" else found


def call_async(script: Script, name: str, *args: Any, **kwargs: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient("http://service", KEY, transport=httpx.MockTransport(script)) as client:
            found = getattr(client, name)(*args, **kwargs)
            return [each async for each in found] if name == "recommend_batch" else await found

    return asyncio.run(run())


@pytest.fixture(params=[call_sync, call_async], ids=["sync", "async"])
def call(request: pytest.FixtureRequest, waits: list[float]) -> Callable[..., Any]:
    """Calls a method of one of both clients, which wait no time."""
    found: Callable[..., Any] = request.param
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_method_sends_what_it_is_given_to_its_route(call: Callable[..., Any], name: str) -> None:
    args, kwargs, body = CALLS[name]
    script = Script(good_answer)
    call(script, name, *args, **kwargs)
    (request,) = script.asked
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert script.bodies == [body]
    assert request.method == ("GET" if name == "status" else "POST")
    assert (script.keys[0] is not None) == (name in WRITES)


def test_every_method_is_tried_above_and_both_clients_have_the_same() -> None:
    assert set(METHODS) == {*CALLS, "recommend_batch", "close"}
    for name in METHODS:
        assert (
            signature(getattr(Client, name)).parameters.keys()
            == signature(getattr(AsyncClient, name)).parameters.keys()
        )
        assert next(iter(signature(getattr(Client, name)).parameters)) == "self"
    assert all(iscoroutinefunction(getattr(AsyncClient, name)) for name in CALLS)


def test_answers_are_typed(call: Callable[..., Any]) -> None:
    found = call(Script(answer(**LIST, told_by_a_newer_service=1)), "recommend", likes=["b"])
    assert isinstance(found, RecommendAnswer)
    assert (found.items[0].item, found.version, found.seq) == ("a", "0123456789ab", 4)


@pytest.mark.parametrize("lost", [*LOST, httpx.ConnectError("no"), 503, 429, 502], ids=str)
def test_a_write_is_sent_again_with_the_same_key(call: Callable[..., Any], lost: Any, waits: list[float]) -> None:
    lost = (lambda _, status=lost: problem(status)) if isinstance(lost, int) else lost
    script = Script(lost, lost, lambda _: answer(seq=7, added=1))
    assert call(script, "add_items", [{"item": "n"}]).seq == 7
    assert len(script.asked) == 3 == len(waits) + 1
    assert len(set(script.keys)) == 1
    call(script, "add_items", [{"item": "n"}])
    assert len(set(script.keys)) == 2, "another call has another key"


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_a_rollback_that_may_have_been_done_is_not_sent_again(call: Callable[..., Any], lost: Any) -> None:
    script = Script(lost, answer(versions=[]))
    with pytest.raises(ServiceError, match="does not answer"):
        call(script, "rollback")
    assert len(script.asked) == 1
    assert call(Script(problem(503), httpx.ConnectError("no"), answer(versions=[])), "rollback").versions == []


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 422, 500])
def test_other_errors_are_final(call: Callable[..., Any], status: int) -> None:
    script = Script(problem(status, "Not so", got="this", expected="that", to_do="do it", instance="r-1"))
    with pytest.raises(ServiceError, match=f"Not so .{status}.") as raised:
        call(script, "recommend", likes=["a"])
    error = raised.value
    assert isinstance(error, KgrecError)
    assert (error.status, error.got, error.expected, error.to_do, error.instance) == (
        status, "this", "that", "do it", "r-1")  # fmt: skip
    assert len(script.asked) == 1


def test_waits_grow_and_end(call: Callable[..., Any], waits: list[float]) -> None:
    script = Script(problem(503, "Down"))
    with pytest.raises(ServiceError, match="Down"):
        call(script, "recommend", likes=["a"])
    assert len(script.asked) == 8
    assert 6 <= sum(waits) <= 13
    assert all(0.05 * 2**n <= wait_s <= 0.1 * 2**n for n, wait_s in enumerate(waits))


def test_jitter_keeps_clients_apart(waits: list[float]) -> None:
    for _ in range(2):
        call_sync(Script(problem(503), answer(**LIST)), "recommend")
    assert waits[0] != waits[1]


def test_the_service_says_how_long_to_wait(call: Callable[..., Any], waits: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    script = Script(*(problem(429, headers={"Retry-After": value}) for value in ("3", date, "soon")), answer(**LIST))
    call(script, "recommend", likes=["a"])
    assert 3 <= waits[0] <= 3.1
    assert 6 <= waits[1] <= 9.2
    assert waits[2] <= 0.4


def test_nobody_waits_for_an_hour(call: Callable[..., Any], waits: list[float]) -> None:
    with pytest.raises(ServiceError, match="429"):
        call(Script(problem(429, headers={"Retry-After": "3600"})), "recommend")
    assert waits == []


def test_no_answer_is_an_error_without_a_status(call: Callable[..., Any]) -> None:
    with pytest.raises(ServiceError, match="does not answer: ConnectError: refused") as raised:
        call(Script(httpx.ConnectError("refused")), "status")
    assert raised.value.status is None


def test_an_answer_of_something_else_says_so(call: Callable[..., Any]) -> None:
    with pytest.raises(ServiceError, match=r"Bad Request: <h1>nginx</h1> \(400\)"):
        call(Script(httpx.Response(400, text="<h1>nginx</h1>")), "status")
    with pytest.raises(ServiceError, match="cannot be read"):
        call(Script(httpx.Response(200, text="<h1>Welcome</h1>")), "status")


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "said"),
    [
        ("recommend", (), {"k": 0}, "k: .*greater than or equal to 1; got 0"),
        ("recommend", (), {"likes": "95"}, "likes: .*list; got 95"),
        ("recommend", (), {"tail": float("nan")}, "tail"),
        ("add_items", ([{"item": ""}],), {}, "add.0.item"),
        ("add_interactions", ([],), {}, "interactions"),
        ("set_share", (2,), {}, "share"),
    ],
)
def test_wrong_arguments_are_not_sent(
    call: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    script = Script(good_answer)
    with pytest.raises(RequestError, match=said):
        call(script, name, *args, **kwargs)
    assert script.asked == []


def test_times_may_be_datetimes() -> None:
    script = Script(good_answer)
    call_sync(script, "recommend", sequence=[("a", datetime(2024, 5, 1, 12, tzinfo=UTC)), ("b", 7), ("c", None)])
    assert script.bodies[0] == {"sequence": [["a", "2024-05-01T12:00:00+00:00"], ["b", 7], ["c", None]]}


def test_interactions_may_be_a_dataframe() -> None:
    script = Script(good_answer)
    frame = pd.DataFrame(
        {
            "user": [1, 2],
            "item": ["a", "b"],
            "weight": [5.0, None],
            "at": pd.to_datetime(["2024-05-01", None], utc=True),
        }
    )
    call_sync(script, "add_interactions", frame)
    assert script.bodies[0] == {
        "interactions": [
            {"user": "1", "item": "a", "weight": 5.0, "at": "2024-05-01T00:00:00+00:00"},
            {"user": "2", "item": "b"},
        ]
    }


def answer_lines(request: httpx.Request) -> httpx.Response:
    """Says which user each line is of; a problem for users named bad."""
    found = []
    for line in request.content.splitlines():
        user = RecommendBody.model_validate_json(line).user
        found.append(problem(422, "Wrong").content if user == "bad" else answer(**LIST | {"notes": [user]}).content)
    return httpx.Response(200, content=b"".join(line + b"\n" for line in found))


def test_a_batch_is_sent_in_parts_and_answered_in_order(call: Callable[..., Any]) -> None:
    script = Script(problem(503), answer_lines)
    users = [f"u{place}" for place in range(600)]
    users[300] = "bad"
    found = call(
        script, "recommend_batch", ({"user": user} if user[-1] == "0" else RecommendBody(user=user) for user in users)
    )
    assert [len(request.content.splitlines()) for request in script.asked] == [256, 256, 256, 88]
    assert [each.notes[0] if isinstance(each, RecommendAnswer) else "bad" for each in found] == users
    assert isinstance(found[300], ServiceError)
    assert found[300].status == 422


def test_a_batch_is_read_as_it_is_needed() -> None:
    taken: list[int] = []

    def bodies() -> Iterator[dict[str, Any]]:
        for place in range(10_000):
            taken.append(place)
            yield {"user": str(place)}

    with Client("http://service", KEY, transport=httpx.MockTransport(answer_lines)) as client:
        found = client.recommend_batch(bodies())
        next(found)
        assert len(taken) <= 257


def test_long_lines_make_short_parts() -> None:
    script = Script(answer_lines)
    call_sync(script, "recommend_batch", [{"user": "u", "likes": ["x" * 500] * 1000}] * 5)
    assert [len(request.content.splitlines()) for request in script.asked] == [2, 2, 1]


def test_a_batch_with_too_few_answers_is_an_error(call: Callable[..., Any]) -> None:
    script = Script(httpx.Response(200, json=LIST))
    with pytest.raises(ServiceError, match="1 answers to 2 lines"):
        call(script, "recommend_batch", [{"user": "u"}, {"user": "v"}])


@pytest.mark.parametrize(
    ("url", "key", "verify", "said"),
    [
        ("service:8000", KEY, True, "begins with http"),
        ("http://service", "", True, "API key"),
        ("http://service", "kg\nX-Evil: 1", True, "API key"),
        ("https://service", KEY, "nothing.pem", r"no file 'nothing.pem'"),
    ],
)
def test_a_wrong_address_or_key_is_an_error_at_once(url: str, key: str, verify: bool | str, said: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(RequestError, match=said) as raised:
            kind(url, key, verify=verify)
        assert KEY not in str(raised.value)


def run_python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


def test_importing_and_calling_is_light() -> None:
    code = """
import sys, httpx
from kgrec.client import AsyncClient, Client
answer = httpx.Response(200, json={"items": []})
client = Client("http://service", "key", transport=httpx.MockTransport(lambda request: answer))
client.recommend(likes=["a"])
print([name for name in ("torch", "numpy", "pandas", "pyarrow", "scipy") if name in sys.modules])
"""
    assert run_python(code) == "[]\n"


def test_without_httpx_one_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['httpx'] = None\nimport kgrec.client"
    assert run_python(code).splitlines()[-1] == (
        "ModuleNotFoundError: kgrec.client needs httpx: pip install 'kgrec[client]'"
    )
