"""Faults of a server, each on a real server that is killed, starved or restarted."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from neo4j_server import PASSWORD, SERVE, USERNAME, Server, empty_database, find_free_port

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables, stage_tables
from graph_schema.sources import MemorySource
from kgrec.errors import StoreError
from kgrec.publish import publish_bundle
from kgrec.recommend import Recommender
from kgrec.store import load_staged, open_store, read_tables
from kgrec.store.neo4j import connection as connections
from kgrec.store.neo4j import export, writing
from kgrec.store.neo4j import store as stores
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import read_release

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not SERVE.exists(), reason="no ../shared/neo4j beside the project"),
]

SCHEMA = CatalogueSchema.parse("""
name = "faults"
[nodes.item]
label = "Item"
key = "item_id"
name = "title"
[nodes.user]
label = "User"
key = "user_id"
[edges.liked]
source = "user"
type = "LIKED"
target = "item"
attributes = { stars = "int" }
[interaction]
edge = "liked"
""")
N_USERS, N_ITEMS, N_LIKES = 600, 300, 30_000
SLOW = (
    "from kgrec.store.neo4j import connection, store, writing;"
    "writing.BATCH_EDGES = 300; store.LEASE_S = 2.0; connection.RETRY_S = 3.0;"
)


def make_tables(n_likes: int = N_LIKES, seed: int = 0) -> GraphTables:
    rng = np.random.default_rng(seed)
    pairs = rng.choice(N_USERS * N_ITEMS, n_likes, replace=False)
    items, users = [f"i{n}" for n in range(N_ITEMS)], [f"u{n}" for n in range(N_USERS)]
    liked = {
        SOURCE: pa.array(users, pa.string()).take(pa.array(pairs // N_ITEMS)),
        TARGET: pa.array(items, pa.string()).take(pa.array(pairs % N_ITEMS)),
        "stars": pa.array(rng.integers(1, 6, n_likes)),
    }
    nodes = {
        "item": pa.table({"item_id": items, "title": [f"Title {item}" for item in items]}),
        "user": pa.table({"user_id": users}),
    }
    return build_tables(SCHEMA, nodes, {"liked": pa.table(liked)})


def stage(tables: GraphTables, folder: Path):
    return stage_tables(MemorySource.from_tables(SCHEMA, tables.nodes, tables.edges), folder, rejects=None)


def assert_whole(url: str, tables: GraphTables, folder: Path) -> None:
    """Asserts that a database has exactly the tables, each edge once."""
    with open_store(f"ladybug:{folder / 'reference.db'}", mode="write") as reference:
        load_staged(reference, stage(tables, folder / "reference"))
        expected = read_tables(reference)
    with open_store(url, mode="read") as store:
        got = read_tables(store)
        assert store.counts().edges["liked"] == len(tables.edges["liked"])
    for name in SCHEMA.nodes:
        assert got.nodes[name].equals(expected.nodes[name])
    assert got.edges["liked"].equals(expected.edges["liked"])


def wait_until(condition: Callable[[], object], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def _credentials() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("NEO4J_USERNAME", USERNAME)
    patch.setenv("NEO4J_PASSWORD", PASSWORD)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def frail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests kill."""
    server = Server(tmp_path_factory.mktemp("frail"))
    yield server
    server.kill()


@pytest.fixture
def frail(frail_server: Server) -> Server:
    """The running server with an empty database."""
    if frail_server.process is None or frail_server.process.poll() is not None:
        frail_server.start()
    with Connection(frail_server.url, "write") as connection:
        empty_database(connection)
    return frail_server


@pytest.fixture
def loader(tmp_path: Path, frail: Server) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a slow load, with some of the edges written."""
    stage(make_tables(), tmp_path / "staged")
    code = SLOW + (
        "import sys; from pathlib import Path; from graph_schema import CatalogueSchema;"
        "from graph_schema.checks.staged_tables import StagedTables; from kgrec.store import open_store, load_staged;"
        "import json; schema = CatalogueSchema.model_validate_json(sys.argv[2]);"
        "staged = StagedTables(schema, Path(sys.argv[1]), {}, {}, 0, 0, 0);"
        "load_staged(open_store(sys.argv[3], mode='write'), staged)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "staged"), SCHEMA.model_dump_json(), frail.url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with Connection(frail.url, "read") as connection:
        wait_until(lambda: connection.read("MATCH (:User)-[r:LIKED]->() RETURN count(r)") > [[2000]])
    assert process.poll() is None
    yield process
    process.kill()
    process.wait()


def test_the_next_load_completes_one_whose_server_was_killed(
    loader: subprocess.Popen[str], frail: Server, tmp_path: Path
) -> None:
    frail.kill()
    _, err = loader.communicate(timeout=120)
    assert loader.returncode != 0
    assert "what was committed before is kept" in err
    frail.start()
    with open_store(frail.url, mode="read") as store, pytest.raises(StoreError, match="half-written"):
        read_tables(store)
    with Connection(frail.url, "read") as connection:
        ((n_written,),) = connection.read("MATCH (:User)-[r:LIKED]->(:Item) RETURN count(r)")
    assert 2000 <= n_written < N_LIKES
    with pytest.MonkeyPatch.context() as patch, open_store(frail.url, mode="write") as store:
        patch.setattr(stores, "LEASE_S", 1.0)
        load_staged(store, stage(make_tables(), tmp_path / "again"))
    assert_whole(frail.url, make_tables(), tmp_path)


def test_the_next_load_waits_for_and_completes_one_whose_client_was_killed(
    loader: subprocess.Popen[str], frail: Server, tmp_path: Path
) -> None:
    loader.send_signal(signal.SIGKILL)
    loader.wait()
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch, open_store(frail.url, mode="write", on_wait=messages.append) as store:
        patch.setattr(stores, "LEASE_S", 1.0)
        load_staged(store, stage(make_tables(), tmp_path / "again"))
    assert "did not finish; waiting" in messages[0]
    assert_whole(frail.url, make_tables(), tmp_path)


def test_of_two_loads_at_once_the_second_is_refused_and_the_first_finishes(
    loader: subprocess.Popen[str], frail: Server, tmp_path: Path
) -> None:
    with (
        open_store(frail.url, mode="write") as store,
        pytest.raises(StoreError, match="another load is at work there; expected one at a time"),
    ):
        load_staged(store, stage(make_tables(), tmp_path / "second"))
    _, err = loader.communicate(timeout=120)
    assert loader.returncode == 0, err
    assert_whole(frail.url, make_tables(), tmp_path)


def test_a_load_that_was_taken_over_stops_writing(frail: Server, tmp_path: Path) -> None:
    staged = stage(make_tables(2000), tmp_path / "staged")
    with pytest.MonkeyPatch.context() as patch, open_store(frail.url, mode="write") as slept:
        patch.setattr(stores, "LEASE_S", 0.5)
        slept.ensure_schema(SCHEMA)
        slept.begin_load()
        with open_store(frail.url, mode="write") as second:
            load_staged(second, staged)
            second.begin_load()
            nodes = pa.table({"user_id": ["too late"]})
            with pytest.raises(StoreError, match="another load took this one over"):
                slept.upsert_nodes("user", nodes)
            second.finish_load()
    assert_whole(frail.url, make_tables(2000), tmp_path)


def test_an_export_continues_when_the_server_comes_back(frail: Server, tmp_path: Path) -> None:
    with open_store(frail.url, mode="write") as store:
        load_staged(store, stage(make_tables(), tmp_path / "staged"))
    with pytest.MonkeyPatch.context() as patch, open_store(frail.url, mode="read") as store:
        patch.setattr(export, "PIECE_EDGES", 1000)
        batches = store.read_edges("liked")
        found = [next(batches)]
        frail.kill()
        again = Thread(target=frail.start)
        again.start()
        found += batches
        again.join()
    assert sum(len(batch) for batch in found) == N_LIKES
    assert_whole(frail.url, make_tables(), tmp_path)


def test_an_export_fails_cleanly_when_the_server_stays_down(frail: Server, tmp_path: Path) -> None:
    with open_store(frail.url, mode="write") as store:
        load_staged(store, stage(make_tables(2000), tmp_path / "staged"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "PIECE_EDGES", 100)
        patch.setattr(connections, "RETRY_S", 1.0)
        with open_store(frail.url, mode="read") as store:
            killed = []

            def kill_at_edges(name: str, n_rows: int) -> None:
                if name == "liked" and not killed:
                    frail.kill()
                    killed.append(name)

            with pytest.raises(StoreError, match=r"was lost: .*try again"):
                read_tables(store, kill_at_edges)
    assert killed


def test_a_load_that_begins_during_an_export_is_an_error(frail: Server, tmp_path: Path) -> None:
    with open_store(frail.url, mode="write") as writer, open_store(frail.url, mode="read") as reader:
        load_staged(writer, stage(make_tables(2000), tmp_path / "staged"))
        batches = reader.read_edges("liked")
        next(batches)
        writer.begin_load()
        with pytest.raises(StoreError, match="half-written"):
            list(batches)


def test_a_starting_server_is_waited_for(frail_server: Server) -> None:
    frail_server.kill()
    messages: list[str] = []
    frail_server.start(wait=False)
    with Connection(frail_server.url, "read", wait_s=90, on_wait=messages.append) as connection:
        assert connection.read("RETURN 1") == [[1]]
    assert len(messages) == 1
    assert "does not answer yet; waiting for it, up to 90 s" in messages[0]


def test_waiting_for_a_server_ends_at_the_limit() -> None:
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"did not answer within 1 s.*start it, correct the address, or wait longer"):
        open_store(f"neo4j://127.0.0.1:{find_free_port()}", mode="read", wait_s=1)
    assert time.monotonic() - start < 15


def test_a_read_only_database_is_an_error(frail_server: Server, tmp_path: Path) -> None:
    frail_server.kill()
    frail_server.conf = tmp_path / "read-only.conf"
    frail_server.conf.write_text("server.databases.default_to_read_only=true\n")
    frail_server.start()
    try:
        with open_store(frail_server.url, mode="write") as store, pytest.raises(StoreError, match="may not be changed"):
            load_staged(store, stage(make_tables(200), tmp_path / "staged"))
    finally:
        frail_server.kill()
        frail_server.conf = None


PUBLISHING = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from shop import WordEncoder, train_shop
from kgrec.errors import StoreError
from kgrec.publish import publish_bundle
from kgrec.recommend import Recommender
from kgrec.store.neo4j import connection, version_writing

connection.RETRY_S = 1.0
version_writing.BATCH_EDGES = 20

def stop(what, n_rows):
    if what == "SIMILAR_TO":
        print(what, flush=True)
        sys.stdin.readline()

with connection.Connection(sys.argv[2], "write") as opened:
    try:
        publish_bundle(Recommender(train_shop(), WordEncoder()), opened, published_at=0, on_rows=stop)
    except StoreError as error:
        print(error)
"""


def test_a_publish_whose_server_was_killed_says_what_was_kept(frail: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(Path(__file__).parents[1] / "unit")
    monkeypatch.syspath_prepend(folder)
    from shop import WordEncoder, train_shop

    shop = Recommender(train_shop(), WordEncoder())
    with Connection(frail.url, "write") as connection:
        connection.write("UNWIND $ids AS id CREATE (:Product {sku: id})", {"ids": shop.bundle.items.ids})
        live = publish_bundle(shop, connection, published_at=0, neighbours=3).version
    command = [sys.executable, "-c", PUBLISHING, folder, frail.url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "SIMILAR_TO\n"  # some of them are written
    frail.kill()
    said, _ = process.communicate("\n" * 99, timeout=240)
    assert f"was lost: .*{live.name} stays live and whole; of kgrec-" in re.sub(
        r"was lost: .*again\. ", "was lost: .*", said
    )
    assert re.search(r"[1-9]\d* relationships were written, which no query sees and the next publish removes", said)
    frail.start()
    with Connection(frail.url, "write") as connection:
        found = read_release(connection)
        assert found.live == live
        assert len(found.versions) == 2  # the one that was cut off is known
        wait_until(lambda: not read_release(connection).is_publishing)  # its lease runs out
        again = publish_bundle(shop, connection, published_at=0, neighbours=3).version
        assert again.n_written == 0
        versions = connection.read("MATCH ()-[s:SIMILAR_TO|ITEM_VECTOR]->() RETURN DISTINCT s.version, s.until")
    assert versions == [[live.name, "kgrec-open"]]


# -- a small server, with a short time limit and a certificate of its own ----------------------------------------------


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("small")
    conf = folder / "small.conf"
    lines = ["db.transaction.timeout=1s", "db.memory.transaction.max=16m"]
    if shutil.which("openssl"):
        keys = folder / "keys"
        keys.mkdir()
        made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        files = ["-keyout", keys / "private.key", "-out", keys / "public.crt"]
        subprocess.run(["openssl", *made.split(), *map(str, files)], check=True, capture_output=True)
        lines += ["server.bolt.tls_level=OPTIONAL", "dbms.ssl.policy.bolt.enabled=true"]
        lines += [f"dbms.ssl.policy.bolt.base_directory={keys}", "dbms.ssl.policy.bolt.client_auth=NONE"]
    conf.write_text("\n".join(lines) + "\n")
    server = Server(folder / "home", heap="256m").start()
    server.stop()  # its first start, which sets the password, takes more than a second
    server.conf = conf
    yield server.start()
    server.kill()


def test_one_second_transactions_and_256_mb_are_enough(small_server: Server, tmp_path: Path) -> None:
    tables = make_tables(60_000)
    with pytest.MonkeyPatch.context() as patch, open_store(small_server.url, mode="write") as store:
        patch.setattr(writing, "BATCH_EDGES", 200_000)  # far more than fits in a second
        load_staged(store, stage(tables, tmp_path / "staged"))
    assert_whole(small_server.url, tables, tmp_path)


def test_an_encrypted_connection_is_checked(small_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    port = small_server.port
    with Connection(f"bolt+ssc://localhost:{port}", "read") as connection:  # any issuer
        assert connection.read("RETURN 1") == [[1]]
    with pytest.raises(StoreError, match=r"certificate"):
        Connection(f"bolt+s://localhost:{port}", "read", wait_s=0)
    monkeypatch.setenv("SSL_CERT_FILE", str(small_server.home.parent / "keys" / "public.crt"))
    with Connection(f"bolt+s://localhost:{port}", "read") as connection:
        assert connection.read("RETURN 1") == [[1]]
    with pytest.raises(StoreError, match=r"(?i)certificate|hostname"):  # made for localhost
        Connection(f"bolt+s://127.0.0.1:{port}", "read", wait_s=0)
