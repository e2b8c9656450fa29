import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from test_cache import DrawnEncoder

from kgrec.errors import TextError
from kgrec.text import array_file
from kgrec.text.array_file import encode_to_file

TEXTS = ["heat", None, 'a "quoted", text', "heat", " ", "two\nlines", *(f"text {i}" for i in range(20))]


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_file, "ROWS_PER_CHUNK", 4)


def write(path: Path, texts: list[str | None]) -> Path:
    table = pa.table({"id": pa.array(range(len(texts))), "plot": pa.array(texts, pa.string())})
    pq.write_table(table, path, row_group_size=7) if path.suffix == ".parquet" else pa_csv.write_csv(table, path)
    return path


def expect(texts: list[str | None]) -> np.ndarray:
    rows = [DrawnEncoder().encode([text])[0] if text and text.strip() else np.zeros(64, np.float32) for text in texts]
    return np.stack(rows)


@pytest.mark.parametrize("name", ["texts.parquet", "texts.csv"])
def test_rows_are_in_the_order_of_the_file(tmp_path: Path, name: str) -> None:
    encoder, reported = DrawnEncoder(), []
    target = tmp_path / "out" / "vectors.npy"
    source = write(tmp_path / name, TEXTS)
    n_blank = encode_to_file(encoder, source, "plot", target, tmp_path, lambda *at: reported.append(at))
    vectors = np.load(target, mmap_mode="r")
    assert (vectors.dtype, n_blank) == (np.float32, 2)
    np.testing.assert_array_equal(vectors, expect(TEXTS))
    assert encoder.asked.count("heat") == 1
    assert reported[-1] == (26, 26)
    assert reported == sorted(reported)
    assert [path.name for path in target.parent.iterdir()] == ["vectors.npy"]


def interrupt_at(row: int) -> "array_file.OnTexts":
    def interrupt(done: int, total: int) -> None:
        if done >= row:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("changed", ["nothing", "a text before", "a text after", "the encoder", "the computation"])
def test_an_interrupted_run_continues(tmp_path: Path, changed: str) -> None:
    source, target, texts = write(tmp_path / "t.parquet", TEXTS), tmp_path / "v.npy", list(TEXTS)
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(DrawnEncoder(), source, "plot", target, tmp_path / "cache", interrupt_at(13))
    assert not target.exists()
    if changed.startswith("a text"):
        texts[0 if changed == "a text before" else 20] = "changed"
        write(source, texts)
    encoder = DrawnEncoder(
        "another" if changed == "the encoder" else "drawn", "another" if changed == "the computation" else "drawn"
    )
    # with an empty cache, so that texts not encoded again came from the partial file
    encode_to_file(encoder, source, "plot", target, tmp_path / "empty")
    expected = expect(texts) if changed != "the encoder" else encoder.encode([t or " " for t in texts])
    known = [row for row, text in enumerate(texts) if text and text.strip()]
    np.testing.assert_array_equal(np.load(target)[known], expected[known])
    assert ("heat" in encoder.asked) == (changed in {"a text before", "the encoder", "the computation"})
    assert ("text 19" in encoder.asked) is True


@pytest.mark.parametrize("damage", ["cut", "not JSON", "no array"])
def test_a_damaged_partial_file_is_started_again(tmp_path: Path, damage: str) -> None:
    source, target = write(tmp_path / "t.parquet", TEXTS), tmp_path / "v.npy"
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(DrawnEncoder(), source, "plot", target, tmp_path, interrupt_at(13))
    part, state = tmp_path / "v.npy.part", tmp_path / "v.npy.part.json"
    if damage == "not JSON":
        state.write_text("{")
    else:
        part.write_bytes(part.read_bytes()[:3000] if damage == "cut" else b"")
    encode_to_file(DrawnEncoder(), source, "plot", target, tmp_path)
    np.testing.assert_array_equal(np.load(target), expect(TEXTS))


def test_vectors_are_the_same_where_disk_space_cannot_be_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # macOS and Windows do not have it
    source, target = write(tmp_path / "t.parquet", TEXTS), tmp_path / "v.npy"
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(DrawnEncoder(), source, "plot", target, tmp_path, interrupt_at(4))
    assert (tmp_path / "v.npy.part").stat().st_blocks * 512 >= len(
        TEXTS
    ) * 64 * 4  # no hole in the file that could fail later
    encode_to_file(DrawnEncoder(), source, "plot", target, tmp_path)
    np.testing.assert_array_equal(np.load(target), expect(TEXTS))


def test_no_rows_give_an_empty_array(tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", [])
    assert encode_to_file(DrawnEncoder(), source, "plot", tmp_path / "v.npy", tmp_path) == 0
    assert np.load(tmp_path / "v.npy").shape == (0, 64)


@pytest.mark.parametrize(("name", "column", "message"), [
    ("t.parquet", "title", "no column 'title'"),
    ("t.parquet", "id", "holds int64"),
    ("t.csv", "title", "title"),
    ("none.parquet", "plot", "No such file"),
    ("broken.parquet", "plot", "cannot read"),
])  # fmt: skip
def test_an_unreadable_input_is_an_error(tmp_path: Path, name: str, column: str, message: str) -> None:
    write(tmp_path / "t.parquet", TEXTS)
    write(tmp_path / "t.csv", TEXTS)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(TextError, match=message) as error:
        encode_to_file(DrawnEncoder(), tmp_path / name, column, tmp_path / "v.npy", tmp_path)
    assert "expected" in str(error.value)
    assert not list(tmp_path.glob("v.npy*"))


ON_A_FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_cache import DrawnEncoder
from kgrec.text.array_file import encode_to_file

if sys.argv[3] == "macOS":
    del os.posix_fallocate
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
try:
    encode_to_file(DrawnEncoder(), folder / "t.parquet", "plot", folder / "v.npy", folder / "cache")
except OSError as error:
    print("OSError", error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="file sizes cannot be limited")
@pytest.mark.parametrize("system", ["Linux", "macOS"])
def test_a_full_disk_is_an_error_at_once_and_leaves_no_file(tmp_path: Path, system: str) -> None:
    if system == "macOS" and not hasattr(os, "posix_fallocate"):
        pytest.skip("this system has none to take away")
    write(tmp_path / "t.parquet", TEXTS)
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path), str(Path(__file__).parent), system]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:7]) == (0, "OSError"), done.stderr
    assert not list(tmp_path.glob("v.npy*"))
