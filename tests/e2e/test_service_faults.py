"""Faults of a real service: crashes, full and read-only disks, damaged files, lost stores, swaps, forgetting."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Server, make_key, serve, start

from kgrec.bundle import load_bundle, save_bundle
from kgrec.recommend import Recommender
from kgrec.service.journal import Journal

Shop = Any
WAIT_S = 30.0
QUICK: dict[str, Any] = {"look_every_s": 0.1, "snapshot_every": 10, "notice_s": 0}


def wait_for(what: Callable[[], Any]) -> Any:
    """Waits until something is true, and returns it."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass in time")


@dataclass
class Service:
    """A service that a test stops and starts again."""

    bundle: Path
    folder: Path
    options: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.folder.with_name("service.toml")
        config.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in QUICK.items()))
        self.options = [*self.options, "--config", str(config)]
        self.key = make_key(self.folder)
        self.server: Server | None = None
        self.client = httpx.Client()

    def start(self) -> httpx.Client:
        """Starts it; returns a client."""
        self.server = start(self.bundle, self.folder, self.options)
        self.client = httpx.Client(
            base_url=self.server.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=WAIT_S
        )
        return self.client

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self.server is not None and self.server.process.poll() is None:
            self.server.kill()

    def restart(self) -> httpx.Client:
        """Ends it as a crash does, and starts it again."""
        self.kill()
        return self.start()

    @property
    def log(self) -> str:
        """What it wrote to its log."""
        assert self.server is not None
        return self.server.log.read_text()


@pytest.fixture
def service(shop: Shop, tmp_path: Path) -> Iterator[Service]:
    """A service that is not started yet."""
    made = Service(shop.bundle, tmp_path / "service")
    yield made
    made.kill()


def post(client: httpx.Client, path: str, body: Mapping[str, Any], status: int = 200, **headers: str) -> dict[str, Any]:
    answer = client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def add_likes(client: httpx.Client, user: str, *items: str) -> dict[str, Any]:
    return post(
        client, "/interactions", {"interactions": [{"user": user, "item": item, "weight": 5} for item in items]}
    )


def status(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/status").json()
    return found


def list_items(client: httpx.Client, **body: Any) -> list[str]:
    return [each["item"] for each in post(client, "/recommend", {"k": 24, **body})["items"]]


def find_known(client: httpx.Client, users: list[str]) -> set[str]:
    """Those of some users whom the service knows."""
    lines = "\n".join(json.dumps({"user": user, "k": 1}) for user in users)
    answer = client.post("/recommend/batch", content=lines, headers={"Content-Type": "application/x-ndjson"})
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert len(answers) == len(users)
    return {user for user, found in zip(users, answers, strict=True) if found.get("items")}


def replace_bundle(target: Path, change: Callable[[Recommender], object]) -> None:
    """Saves another bundle over one, as a training does."""
    recommender = Recommender(load_bundle(target))
    change(recommender)
    save_bundle(recommender.bundle, target)


# --- crashes


def write_until_killed(client: httpx.Client, name: str, known: list[str]) -> None:
    """Adds users, one a request, until the service is gone; keeps those whose write was answered."""
    for number in range(100_000):
        user = f"{name}-{number}"
        try:
            answer = client.post(
                "/interactions", json={"interactions": [{"user": user, "item": "sku-00", "weight": 5}]}
            )
        except httpx.TransportError:
            return
        assert answer.status_code == 200, answer.text
        known.append(user)


def test_acknowledged_writes_survive_crashes(service: Service) -> None:
    acknowledged: list[str] = []
    for crash in range(4):
        client = service.start()
        known = find_known(client, acknowledged) if acknowledged else set()
        assert known == set(acknowledged)
        before = len(acknowledged)
        writers = [
            threading.Thread(target=write_until_killed, args=(client, f"u{crash}-{number}", acknowledged))
            for number in range(2)
        ]
        for writer in writers:
            writer.start()
        wait_for(lambda before=before: len(acknowledged) >= before + 15)  # a snapshot is written meanwhile
        service.kill()
        for writer in writers:
            writer.join()
    wal = service.folder / "journal.sqlite-wal"
    assert wal.stat().st_size > 0
    wal.write_bytes(wal.read_bytes() + b"\xff\x00garbage" * 200)  # a tail that was never committed
    client = service.start()
    assert find_known(client, acknowledged) == set(acknowledged)
    assert status(client)["problems"] == []


def test_the_journal_survives_fifty_crashes(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    acknowledged: dict[str, int] = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "fork.py").write_text(FORKS)
    with subprocess.Popen(
        [sys.executable, tmp_path / "fork.py", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    ) as forks:  # fmt: skip
        assert forks.stdin is not None
        assert forks.stdout is not None
        for crash in range(50):
            forks.stdin.write(f"{crash} {crash % 7 + 1}\n")
            forks.stdin.flush()
            for line in iter(forks.stdout.readline, "killed\n"):
                seq, name = line.split()
                acknowledged[name] = int(seq)
        forks.stdin.close()
    journal = Journal(path, 2**30)
    found = {entry.subject: entry.seq for entry in journal.read(0)}
    assert {name: found.get(name) for name in acknowledged} == acknowledged
    assert len(acknowledged) >= 50
    assert journal.damaged is None


# Forks a writer for each line of text, and kills it after it has written some entries, at any place of the next one.
FORKS = """
import os, random, signal, sys, time
from pathlib import Path
from kgrec.service.journal import Entry, Journal
random.seed(0)
for line in sys.stdin:
    crash, most = line.split()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        journal = Journal(Path(sys.argv[1]), 2**30)
        for number in range(10**6):
            with journal.writing() as writing:
                seq = writing.append([Entry("item", f"{crash}-{number}", body="x" * (number % 7 * 1000))])
            os.write(writer, f"{seq} {crash}-{number}\\n".encode())
    os.close(writer)
    with os.fdopen(reader) as lines:
        for _ in range(int(most)):
            print(lines.readline().strip())
        time.sleep(random.random() * 0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for more in lines:
            if more.endswith("\\n"):
                print(more.strip())
    print("killed", flush=True)
"""


def test_a_snapshot_answers_after_a_crash_as_before(service: Service) -> None:
    client = service.start()
    post(client, "/items", {"add": [{"item": f"new-{n}", "name": f"Green tea {n}", "text": "tea"} for n in range(12)]})
    post(client, "/items", {"change": [{"item": "new-1", "text": "a road bike"}], "remove": ["sku-01", "new-2"]})
    post(client, "/items", {"add": [{"item": "sku-01", "text": "tea"}]})  # those who liked it before do so no more
    post(client, "/users", {"add": [{"user": "somebody", "likes": ["sku-00", "new-3"]}]})
    add_likes(client, "c-001", "new-1", "sku-04")
    asked: list[dict[str, Any]] = [{"user": "somebody"}, {"user": "c-001"}, {"user": "c-003"}, {"likes": ["sku-01"]}]
    asked += [{"likes": ["new-4", "sku-02"]}, {"user": "c-cold"}]
    before = [list_items(client, **body) for body in asked]
    seq = status(client)["seq"]
    wait_for(lambda: status(client)["snapshot_seq"])
    add_likes(client, "c-001", "sku-06")  # in the journal alone
    with_more = list_items(client, user="c-001")
    client = service.restart()
    assert [list_items(client, **body) for body in asked if body != {"user": "c-001"}] == [
        found for found, body in zip(before, asked, strict=True) if body != {"user": "c-001"}
    ]
    assert list_items(client, user="c-001") == with_more
    shutil.rmtree(service.folder / "snapshots")  # the journal alone gives the same
    client = service.restart()
    assert [list_items(client, **body) for body in asked[2:]] == before[2:]
    assert status(client)["seq"] == seq + 1


# --- disks


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """A mount for the time of a test; skips it where this user may not mount."""
    folder.mkdir()
    done = subprocess.run(["mount", *arguments, str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_full_disk_takes_no_writes_and_loses_none(shop: Shop, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with (
        mounted(disk, "-t", "tmpfs", "-o", "size=24m", "kgrec"),
        serve(shop.bundle, disk, ["--workers", "2"], **QUICK) as server,
        server.client() as client,
    ):
        add_likes(client, "before", "sku-00")
        fill = disk / "fill"
        with fill.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\0" * 4096)
        refused = []
        for number in range(40):  # what the journal has room for is taken
            answer = client.post(
                "/items", json={"add": [{"item": f"lost-{number}", "text": "tea", "name": "x" * 2000}]}
            )
            if answer.status_code != 200:
                refused.append((f"lost-{number}", answer))
        assert refused
        assert {answer.status_code for _, answer in refused} == {507}
        assert refused[0][1].json()["title"] == "The journal cannot be written"
        assert list_items(client, user="before")
        assert "disk full" in client.get("/ready").json()["got"]
        known = list_items(client, likes=["sku-00"], k=1000)
        assert not {item for item, _ in refused} & set(known)
        fill.unlink()
        assert client.get("/ready").status_code == 200
        add_likes(client, "after", "sku-02")
        assert find_known(client, ["before", "after"]) == {"before", "after"}


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_read_only_disk_is_one_clear_error(shop: Shop, tmp_path: Path) -> None:
    disk, folder = tmp_path / "disk", tmp_path / "disk" / "service"
    source = tmp_path / "source"
    (source / "service").mkdir(parents=True)
    with mounted(disk, "--bind", "-o", "ro", str(source)):
        if os.access(disk, os.W_OK):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
        done = subprocess.run(
            [sys.executable, "-m", "kgrec.cli", "serve", shop.bundle, "--data", folder, "--port", "0"],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode != 0
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


# --- damaged files


def test_a_damaged_journal_goes_on_with_what_can_be_read(service: Service) -> None:
    client = service.start()
    users = [f"user-{number:04}" for number in range(600)]
    for first in range(0, 600, 100):
        block = [{"user": user, "item": "sku-00", "weight": 5} for user in users[first : first + 100]]
        post(client, "/interactions", {"interactions": block})
    post(client, "/items", {"add": [{"item": "last", "text": "tea"}]})
    seq = status(client)["seq"]
    assert service.server is not None
    service.server.stop()
    shutil.rmtree(service.folder / "snapshots")
    journal = service.folder / "journal.sqlite"
    content = bytearray(journal.read_bytes())
    place = content.index(b'{"user": "user-0300"')  # in the table, not in an index
    content[place - place % 4096 : place - place % 4096 + 4096] = b"\xa5" * 4096
    journal.write_bytes(content)
    client = service.start()
    known = find_known(client, users)
    assert {users[0], users[599]} <= known  # before the damage, and after it
    assert len(known) < 600
    assert "last" in list_items(client, likes=["sku-00"], k=1000)
    assert "damaged" in status(client)["problems"][0]
    assert add_likes(client, "after", "sku-00")["seq"] > seq
    client = service.restart()
    assert find_known(client, ["after"]) == {"after"}


def test_a_damaged_new_bundle_is_not_taken(service: Service) -> None:
    client = service.start()
    old = status(client)["versions"][0]["version"]
    good = {file.name: file.read_bytes() for file in service.bundle.iterdir() if file.is_file()}
    staged = Path(shutil.copytree(service.bundle, service.bundle.with_name("staged")))
    replace_bundle(staged, lambda made: made.add_item("newest", text="tea"))
    new = {file.name: file.read_bytes() for file in staged.iterdir() if file.is_file()}
    tensors = service.bundle / next(name for name in new if name.startswith("tensors-"))
    tensors.write_bytes(new[tensors.name][:-100])
    (staged / "bundle.json").replace(service.bundle / "bundle.json")
    refused = wait_for(lambda: status(client)["problems"])
    assert service.bundle.name in refused[0]
    assert "not taken" in service.log
    assert post(client, "/recommend", {"likes": ["sku-00"]})["version"] == old
    post(client, "/swap", {}, 503)
    client = service.restart()  # the old one is served from the copy of it
    assert post(client, "/recommend", {"likes": ["sku-00"]})["version"] == old
    assert status(client)["problems"]
    tensors.write_bytes(new[tensors.name])
    wait_for(lambda: post(client, "/recommend", {"likes": ["sku-00"]})["version"] != old)
    assert status(client)["problems"] == []
    assert "newest" in list_items(client, likes=["sku-00"])
    assert good.keys() != new.keys()


# --- versions


def test_swaps_rollbacks_and_shares(shop: Shop, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    shutil.copytree(shop.bundle, candidate)
    replace_bundle(candidate, lambda made: made.add_item("by-candidate", text="tea"))
    options = ["--candidate", str(candidate), "--share", "0.3", "--workers", "2"]
    with serve(shop.bundle, tmp_path / "service", options, **QUICK) as server, server.client() as client:
        roles = {each["role"]: each["version"] for each in status(client)["versions"]}
        people = [f"visitor-{number}" for number in range(200)]

        def ask() -> dict[str, str]:
            with server.client() as another:  # another connection may meet another process
                return {who: post(another, "/recommend", {"session": who, "k": 1})["version"] for who in people}

        shares = ask()
        assert set(shares.values()) == {roles["current"], roles["candidate"]}
        assert 30 <= sum(version == roles["candidate"] for version in shares.values()) <= 90
        assert ask() == shares
        forced = post(client, "/recommend", {"likes": ["sku-00"], "k": 30, "version": "candidate"})
        assert forced["version"] == roles["candidate"]
        assert "by-candidate" in [each["item"] for each in forced["items"]]
        add_likes(client, "of-both", "sku-00")
        for which in ("current", "candidate"):
            assert post(client, "/recommend", {"user": "of-both", "version": which})["version"] == roles[which]
        post(client, "/share", {"share": 0})
        assert set(ask().values()) == {roles["current"]}

        failed: list[str] = []
        seen: set[str] = set()
        ended = threading.Event()

        def load() -> None:
            with server.client() as mine:
                number = 0
                while not ended.is_set():
                    answer = mine.post("/recommend", json={"likes": [f"sku-{number % 24:02}"], "k": 3})
                    failed.extend([] if answer.status_code == 200 else [answer.text])
                    seen.add(answer.json().get("version", ""))
                    number += 1

        asking = [threading.Thread(target=load) for _ in range(2)]
        for each in asking:
            each.start()
        replace_bundle(shop.bundle, lambda made: made.add_item("by-swap", text="tea"))
        swapped = post(client, "/swap", {})
        new = {each["role"]: each["version"] for each in swapped["versions"]}
        assert new["current"] != roles["current"]
        assert new["previous"] == roles["current"]
        wait_for(lambda: {post(client, "/recommend", {"k": 1})["version"] for _ in range(3)} == {new["current"]})
        assert "of-both" in find_known(client, ["of-both"])
        back = post(client, "/rollback", {})
        assert {each["role"]: each["version"] for each in back["versions"]}["current"] == roles["current"]
        wait_for(lambda: set(ask().values()) == {roles["current"]})
        time.sleep(0.5)  # the bundle in its folder is still the newer one: nobody takes it again by itself
        assert set(ask().values()) == {roles["current"]}
        ended.set()
        for each in asking:
            each.join()
        assert failed == []
        assert seen == {roles["current"], new["current"]}


def test_two_processes_see_each_others_writes_at_the_next_request(shop: Shop, tmp_path: Path) -> None:
    with serve(shop.bundle, tmp_path / "service", ["--workers", "2"], look_every_s=60.0, notice_s=0) as server:
        clients: dict[int, httpx.Client] = {}
        headers = {"Authorization": f"Bearer {server.key()}"}
        while len(clients) < 2:
            client = httpx.Client(base_url=server.url, headers=headers, timeout=WAIT_S)
            clients.setdefault(status(client)["worker"], client)
        (one, first), (two, second) = clients.items()
        for number in range(30):
            writer, reader = (first, second) if number % 2 else (second, first)
            written = add_likes(writer, f"user-{number}", "sku-00", "sku-02")
            answer = post(reader, "/recommend", {"user": f"user-{number}", "k": 3})
            assert answer["seq"] == written["seq"]
            assert not {"sku-00", "sku-02"} & {each["item"] for each in answer["items"]}
        post(first, "/share", {"share": 0.5})
        assert status(second)["share"] == 0.5
        kept = [
            post(each, "/users", {"add": [{"user": "once"}]}, **{"Idempotency-Key": "k"}) for each in (first, second)
        ]
        assert kept[0] == kept[1]
        assert [status(each)["worker"] for each in (first, second)] == [one, two]
        for client in clients.values():
            client.close()


# --- stores


def test_a_store_that_is_gone_for_a_while(shop: Shop, tmp_path: Path) -> None:
    options = ["--store", shop.store, "--every", "0.3"]
    with serve(shop.bundle, tmp_path / "service", options, **QUICK) as server, server.client() as client:
        post(client, "/items", {"add": [{"item": "only-here", "text": "tea", "name": "Only here"}]})
        add_likes(client, "only-here-too", "sku-00", "only-here")
        post(client, "/sync", {})
        away = shop.database.with_name("away.db")
        shop.database.rename(away)
        problems = wait_for(lambda: status(client)["problems"])
        assert "sync failed" in problems[0]
        post(client, "/sync", {}, 503)
        assert list_items(client, user="only-here-too")
        add_likes(client, "meanwhile", "sku-02")
        away.rename(shop.database)
        wait_for(lambda: not status(client)["problems"])
        change_store(shop)
        wait_for(lambda: "from-store" in list_items(client, likes=["sku-00"]))
        assert "only-here" in list_items(client, likes=["sku-00"])  # the store has it not; nobody removed it
        assert find_known(client, ["only-here-too", "meanwhile"]) == {"only-here-too", "meanwhile"}
        server.kill()
    with serve(shop.bundle, tmp_path / "service", options, **QUICK) as server, server.client() as client:
        assert {"only-here", "from-store"} <= set(list_items(client, likes=["sku-00"]))
        assert find_known(client, ["only-here-too", "meanwhile"]) == {"only-here-too", "meanwhile"}


def change_store(shop: Shop) -> None:
    """Loads the shop again, with a product more."""
    with (shop.folder / "product.csv").open("a") as file:
        file.write("from-store,Oolong tea,a fine oolong tea\n")
    with (shop.folder / "made_by.csv").open("a") as file:
        file.write("from-store,m/tea/0\n")
    subprocess.run([sys.executable, "-m", "kgrec.cli", *map(str, shop.load_args())], check=True, capture_output=True)


# --- privacy


def find_traces(folder: Path, text: str) -> list[str]:
    """Files of a folder that have a text in them."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if text.encode() in file.read_bytes() or text in file.name]


def find_in_bundles(folder: Path, user: str) -> list[str]:
    """Copies and snapshots of a service folder that have a user."""
    return [path.parent.name for path in folder.rglob("bundle.json") if user in load_bundle(path.parent).users]


def test_a_forgotten_user_is_in_no_byte_and_stays_forgotten(service: Service) -> None:
    user = 'unique-user-4711-\u00e9"quoted"-' + "x" * 40
    mark = "unique-user-4711"
    replace_bundle(service.bundle, lambda made: made.add_user(user, likes=["sku-00", "sku-02"]))
    with_user = {file.name: file.read_bytes() for file in service.bundle.iterdir() if file.is_file()}
    client = service.start()
    assert find_in_bundles(service.folder, user)
    add_likes(client, user, "sku-04", "sku-06")
    post(client, "/users", {"add": [{"user": f"{user}-2", "likes": ["unknown"]}]}, **{"Idempotency-Key": "one"})
    post(client, "/feedback", {"events": [{"shown": ["sku-00"], "clicked": ["sku-00"], "user": user}]})
    assert list_items(client, user=user)
    post(client, "/items", {"add": [{"item": f"new-{number}", "text": "tea"} for number in range(12)]})
    wait_for(lambda: status(client)["snapshot_seq"])
    (service.folder / "snapshots" / ".writing-1").mkdir()  # as a crash leaves it
    save_bundle(load_bundle(service.bundle), service.folder / "snapshots" / ".writing-1")

    answer = post(client, "/users", {"forget": [user, f"{user}-2"]})
    assert answer["forgotten"] == 2
    for receipt in answer["receipts"]:
        assert set(receipt["places"]) == {"memory", "journal", "feedback", "snapshots", "bundles", "caches"}
        assert not any(receipt["places"].values())
    assert [receipt["source_bundle"] for receipt in answer["receipts"]] == [True, False]
    client = service.restart()
    for turn in range(2):
        assert find_known(client, [user, f"{user}-2", "c-001"]) == {"c-001"}
        assert find_traces(service.folder, mark) == []
        assert find_in_bundles(service.folder, user) == []
        assert mark not in service.log
        post(client, "/users", {"forget": [user]})  # as a client does that got no answer
        # A new bundle that still has the user.
        for name, content in with_user.items():
            (service.bundle / name).write_bytes(content)
        replace_bundle(service.bundle, lambda made, turn=turn: made.add_item(f"newest-{turn}", text="tea"))
        assert user in load_bundle(service.bundle).users
        post(client, "/swap", {})
        assert f"newest-{turn}" in list_items(client, likes=["sku-00"], k=50)
        with_user = {file.name: file.read_bytes() for file in service.bundle.iterdir() if file.is_file()}
    post(client, "/users", {"add": [{"user": user, "likes": ["sku-00"]}]})  # who comes back is known again
    assert find_known(client, [user]) == {user}


def test_a_crash_while_a_user_is_forgotten_leaves_nothing_after_the_restart(service: Service) -> None:
    client = service.start()
    assert find_in_bundles(service.folder, "c-001")
    service.kill()
    journal = Journal(service.folder / "journal.sqlite", 2**30)
    from kgrec.service.audit_log import Pseudonyms
    from kgrec.service.deployment import Deployment
    from kgrec.service.settings import ServeSettings

    halfway = Deployment(ServeSettings(bundle=service.bundle, data=service.folder), journal, Pseudonyms(service.folder))
    halfway.start()
    halfway.forget(["c-001"])  # and the crash comes before the disk is cleaned
    journal.close()
    assert find_in_bundles(service.folder, "c-001")
    client = service.start()
    assert find_in_bundles(service.folder, "c-001") == []
    assert find_known(client, ["c-001", "c-003"]) == {"c-003"}


def test_snapshots_outlive_a_journal_that_is_lost(service: Service) -> None:
    client = service.start()
    post(client, "/items", {"add": [{"item": f"new-{number}", "text": "tea"} for number in range(12)]})
    wait_for(lambda: status(client)["snapshot_seq"])
    service.kill()
    for file in service.folder.glob("journal.sqlite*"):
        file.unlink()
    client = service.start()
    assert "new-3" in list_items(client, likes=["sku-00"], k=100)
    add_likes(client, "after", "new-3")
    client = service.restart()
    assert find_known(client, ["after"]) == {"after"}
