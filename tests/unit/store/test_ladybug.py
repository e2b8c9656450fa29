import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ladybug
import numpy as np
import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.checks.staged_tables import StagedTables
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource
from kgrec.errors import StoreError
from kgrec.store import load_staged, open_store, read_tables

ROOT = Path(__file__).parents[3]
SCHEMA = CatalogueSchema.parse(
    """
    name = "films"
    [nodes.user]
    label = "User"
    key = "user_id"
    [nodes.film]
    label = "Film"
    key = "film_id"
    text = ["title"]
    [edges.rated]
    source = "user"
    type = "RATED"
    target = "film"
    attributes = { rating = "float", at = "time" }
    [edges.sequel_of]
    source = "film"
    type = "SEQUEL_OF"
    target = "film"
    [interaction]
    edge = "rated"
    weight = "rating"
    at = "at"
    positive = 4
    """
)


def make_tables(n_users: int = 60, n_films: int = 40, n_ratings: int = 500, seed: int = 0) -> GraphTables:
    random = np.random.default_rng(seed)
    pairs = np.sort(random.choice(n_users * n_films, n_ratings, replace=False))
    users, films = np.array([f"u{i:05}" for i in range(n_users)]), np.array([f"f{i:05}" for i in range(n_films)])
    nodes = {"user": [users], "film": [films, np.char.add("Title of ", films)]}
    edges = {
        "rated": [
            users[pairs // n_films],
            films[pairs % n_films],
            random.integers(1, 6, n_ratings).astype(float),
            random.integers(0, 10**9, n_ratings),
        ],
        "sequel_of": [films[1:], films[:-1]],
    }
    return GraphTables(
        SCHEMA,
        {name: pa.table(list(map(pa.array, c)), schema=SCHEMA.nodes[name].arrow_schema) for name, c in nodes.items()},
        {name: pa.table(list(map(pa.array, c)), schema=SCHEMA.edges[name].arrow_schema) for name, c in edges.items()},
    )


def stage(tables: GraphTables, folder: Path) -> StagedTables:
    return stage_tables(MemorySource.from_tables(SCHEMA, tables.nodes, tables.edges), folder, rejects=None)


def assert_same(got: GraphTables, expected: GraphTables) -> None:
    assert all(got.nodes[name].equals(rows) for name, rows in expected.nodes.items())
    assert all(got.edges[name].equals(rows) for name, rows in expected.edges.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.db"


@pytest.fixture
def tables() -> GraphTables:
    return make_tables()


@pytest.fixture
def loaded(path: Path, tables: GraphTables, tmp_path: Path) -> Path:
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, stage(tables, tmp_path / "staged"))
    return path


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


OPEN = """
import sys
from kgrec.store import StoreError, open_store
try:
    with open_store("ladybug:" + sys.argv[1], mode=sys.argv[2]) as store:
        print("counted", sum(store.counts().edges.values()))
except StoreError as error:
    print("refused:", error)
"""


# -- databases that do not open ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("neo4j", "expected ladybug:PATH"),
        ("graph.db", "expected ladybug:PATH"),
        ("ladybug:", "expected ladybug:PATH"),
        ("", "expected ladybug:PATH"),
        ("sqlite:x", "expected ladybug:PATH"),
    ],
)
def test_an_unknown_url_scheme_is_refused(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(url, mode="read")


def test_reading_does_not_create_a_missing_database(path: Path) -> None:
    with pytest.raises(StoreError, match=r"no database at .*graph\.db.*kgrec load SOURCE --to ladybug:"):
        open_store(f"ladybug:{path}", mode="read")
    assert not path.exists()


def test_writing_creates_the_folder_and_unusual_paths_work(tmp_path: Path, tables: GraphTables) -> None:
    path = tmp_path / "a folder" / 'it\'s "one" `of` $ours' / "größe;.db"
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, stage(tables, tmp_path / "staged's"))
    assert path.is_file()
    with open_store(f"ladybug:{path}", mode="read") as store:
        assert_same(read_tables(store), tables)


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_folder_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(StoreError, match="is a folder; expected the file"):
        open_store(f"ladybug:{tmp_path}", mode=mode)


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_file_that_is_no_database_is_refused_and_unchanged(path: Path, mode: str) -> None:
    path.write_text("user,item\n" * 1000)
    for _ in range(2):  # a refused store is not left locked
        with pytest.raises(
            StoreError, match=r"cannot open .*not a valid.*expected a database.*delete graph.db.*load again"
        ):
            open_store(f"ladybug:{path}", mode=mode)
    assert path.read_text() == "user,item\n" * 1000


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_database_is_refused(loaded: Path, share: float) -> None:
    os.truncate(loaded, int(loaded.stat().st_size * share))
    with pytest.raises(
        StoreError, match=r"cannot open .*delete graph.db \(and graph.db.wal, if there is one\) and load again"
    ):
        open_store(f"ladybug:{loaded}", mode="read")


@pytest.mark.parametrize("mode", ["read", "write"])
def test_an_empty_file_holds_no_catalogue(path: Path, mode: str) -> None:
    path.touch()
    with (
        open_store(f"ladybug:{path}", mode=mode) as store,
        pytest.raises(StoreError, match="holds no catalogue; load one first"),
    ):
        read_tables(store)


def test_a_foreign_database_is_refused_and_unchanged(path: Path) -> None:
    with ladybug.Database(path, max_db_size=1 << 38) as database, ladybug.Connection(database) as connection:
        connection.execute("CREATE NODE TABLE Film (id STRING, PRIMARY KEY (id))")
    with open_store(f"ladybug:{path}", mode="write") as store:
        with pytest.raises(StoreError, match=r"tables that kgrec did not write \(Film\)"):
            store.ensure_schema(SCHEMA)
        with pytest.raises(StoreError, match="holds no catalogue"):
            store.counts()


def test_tables_are_declared_atomically(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, name: str, value: str) -> None:
        raise KeyboardInterrupt

    with open_store(f"ladybug:{path}", mode="write") as store:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("kgrec.store.ladybug.LadybugStore._set_entry", interrupt)
            store.ensure_schema(SCHEMA)
        other = SCHEMA.model_copy(update={"name": "another"})
        store.ensure_schema(other)
        assert store.read_schema() == other


def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot open .*to write"):
        open_store(f"ladybug:{tmp_path / 'file' / 'graph.db'}", mode="write")


def test_a_reader_cannot_write(loaded: Path) -> None:
    with open_store(f"ladybug:{loaded}", mode="read") as store:
        with pytest.raises(StoreError, match="read-only"):
            store.begin_load()
        with pytest.raises(StoreError, match="read-only"):
            store.finish_load()


def test_a_reader_may_have_enough(loaded: Path, tables: GraphTables) -> None:
    name, nodes = next((name, nodes) for name, nodes in tables.nodes.items() if nodes.num_rows > 1)
    edge, edges = next((edge, edges) for edge, edges in tables.edges.items() if edges.num_rows > 1)
    with open_store(f"ladybug:{loaded}", mode="read") as store:
        assert [sum(map(len, store.read_nodes(name, enough))) for enough in (1, None)] == [1, nodes.num_rows]
        assert [sum(map(len, store.read_edges(edge, enough))) for enough in (1, None)] == [1, edges.num_rows]


# -- concurrent access -------------------------------------------------------------------------------------------------


def test_a_second_handle_in_this_process_is_refused(
    loaded: Path, monkeypatch: pytest.MonkeyPatch, tables: GraphTables
) -> None:
    monkeypatch.chdir(loaded.parent)
    link = loaded.parent / "link.db"
    link.symlink_to(loaded)
    with open_store(f"ladybug:{loaded}", mode="write") as store:
        for same in (loaded, "graph.db", "./graph.db", link):
            for mode in ("read", "write"):
                with pytest.raises(StoreError, match=r"in this process already, to write; .* close"):
                    open_store(f"ladybug:{same}", mode=mode)
        # a refused handle leaves the first with its data and its lock
        assert "is open in another process" in run_python(OPEN, loaded, "write").stdout
        assert_same(read_tables(store), tables)
    with open_store("ladybug:graph.db", mode="write") as store:
        assert_same(read_tables(store), tables)


def test_a_reader_blocks_a_writer_in_the_same_process(loaded: Path, tables: GraphTables) -> None:
    with open_store(f"ladybug:{loaded}", mode="read") as reader:
        with pytest.raises(StoreError, match="in this process already, to read"):
            open_store(f"ladybug:{loaded}", mode="write")
        assert_same(read_tables(reader), tables)
    open_store(f"ladybug:{loaded}", mode="write").close()


@pytest.mark.slow
def test_a_writer_blocks_other_processes(loaded: Path) -> None:
    with open_store(f"ladybug:{loaded}", mode="write"):
        for mode in ("read", "write"):
            output = run_python(OPEN, loaded, mode).stdout
            assert f"refused: {loaded} is open in another process" in output
            assert "wait for that one to end, or stop it" in output
    assert "counted 539" in run_python(OPEN, loaded, "write").stdout


@pytest.mark.slow
def test_readers_share_and_block_writers(loaded: Path) -> None:
    with open_store(f"ladybug:{loaded}", mode="read"), open_store(f"ladybug:{loaded}", mode="read"):
        assert "counted 539" in run_python(OPEN, loaded, "read").stdout
        assert "is open in another process" in run_python(OPEN, loaded, "write").stdout


def test_a_foreign_writer_blocks_kgrec(loaded: Path) -> None:
    other = """
import ladybug, sys
database = ladybug.Database(sys.argv[1], max_db_size=1 << 38)
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", other, str(loaded)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="is open in another process"):
            open_store(f"ladybug:{loaded}", mode="write")
        process.communicate("")
    open_store(f"ladybug:{loaded}", mode="write").close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_gets_an_error_instead_of_hanging(loaded: Path) -> None:
    code = """
import os, sys
from kgrec.store import StoreError, open_store
store = open_store("ladybug:" + sys.argv[1], mode="write")
store.counts()
child = os.fork()
if child == 0:
    try:
        store.counts()
    except StoreError as error:
        print(error, flush=True)
    store.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(sum(store.counts().edges.values()))
store.close()
"""
    output = run_python(code, loaded).stdout
    assert "was opened before this process was forked" in output
    assert "spawn" in output
    assert output.endswith("539\n")


# -- interrupted loads -------------------------------------------------------------------------------------------------

LOAD = """
import os, signal, sys
from pathlib import Path
from graph_schema.checks.staged_tables import StagedTables
from kgrec.store import load_staged, open_store
from tests.unit.store.test_ladybug import SCHEMA
import kgrec.store.load

kgrec.store.load.LOAD_ROWS = int(sys.argv[4])
calls = 0
def on_rows(name, n):
    global calls
    calls += 1
    print(name, n, flush=True)
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

staged = StagedTables(SCHEMA, Path(sys.argv[2]), {}, {}, 0, 0, 0)
with open_store("ladybug:" + sys.argv[1], mode="write") as store:
    load_staged(store, staged, on_rows)
"""


@pytest.mark.parametrize("n_calls", [1, 2, 3])
def test_a_second_load_completes_one_killed_between_batches(
    path: Path, tables: GraphTables, tmp_path: Path, n_calls: int
) -> None:
    staged = stage(tables, tmp_path / "staged")
    killed = run_python(LOAD, path, staged.directory, n_calls, 10**6)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with (
        open_store(f"ladybug:{path}", mode="read") as store,
        pytest.raises(StoreError, match=r"half-written.*load again"),
    ):
        read_tables(store)
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, staged)
        assert_same(read_tables(store), tables)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3])
def test_a_second_load_completes_one_killed_at_any_time(path: Path, tmp_path: Path, delay_s: float) -> None:
    tables = make_tables(3000, 1000, 100_000)
    staged = stage(tables, tmp_path / "staged")
    with subprocess.Popen(
        [sys.executable, "-c", LOAD, str(path), str(staged.directory), "-1", "30000"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first nodes are written
        time.sleep(delay_s)
        process.kill()
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, staged)
        assert_same(read_tables(store), tables)


def test_an_interrupt_leaves_the_mark_and_releases_the_file(path: Path, tables: GraphTables, tmp_path: Path) -> None:
    staged = stage(tables, tmp_path / "staged")

    def interrupt(name: str, n_rows: int) -> None:
        if name == "rated":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, staged, interrupt)
    with open_store(f"ladybug:{path}", mode="read") as store, pytest.raises(StoreError, match="half-written"):
        store.counts()
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, staged)
        assert_same(read_tables(store), tables)


# -- batches and memory ------------------------------------------------------------------------------------------------


def test_small_batches_give_the_same_graph(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.store.load.LOAD_ROWS", 70)
    monkeypatch.setattr("kgrec.store.ladybug.CHANGE_ROWS", 30)
    monkeypatch.setattr("kgrec.store.ladybug.READ_ROWS", 50)
    first, second = make_tables(seed=0), make_tables(seed=1)  # the batches share some pairs of (user, film)
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, stage(first, tmp_path / "first"))
        assert_same(read_tables(store), first)
        load_staged(store, stage(second, tmp_path / "second"))
        held = read_tables(store).edges["rated"].to_pylist()
        expected = {(row["source"], row["target"]): row for row in first.edges["rated"].to_pylist()}
        expected |= {(row["source"], row["target"]): row for row in second.edges["rated"].to_pylist()}
        assert held == [row for _, row in sorted(expected.items())]
        assert 500 < len(held) < 1000
        assert store.counts().edges["rated"] == len(held)


def test_a_small_buffer_pool_is_enough_for_many_writes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec.store.ladybug.BUFFER_POOL_BYTES", 64 << 20)
    tables = make_tables(2000, 500, 20_000)
    with open_store(f"ladybug:{path}", mode="write") as store:
        load_staged(store, stage(tables, tmp_path / "staged"))
        rated = tables.edges["rated"]
        for n in range(40):
            ratings = pa.array(np.full(200, float(n)))
            store.upsert_edges("rated", rated.slice(500 * n, 200).set_column(2, rated.schema.field(2), ratings))
        assert store.counts().edges["rated"] == 20_000
