import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kgrec.errors import TextError
from kgrec.text import batching, cache
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import OnTexts, TextEncoder, load_encoder
from kgrec.text.language_model import Precision

TEXTS = ["heat", "a heist goes wrong", "speed", "heat", "two friends talk", "cake"]


class CountingEncoder:
    """The real encoder, which records the texts that it encodes."""

    def __init__(self, encoder: TextEncoder, revision: str) -> None:
        self.encoder, self.name, self.dim, self.revision = encoder, encoder.name, encoder.dim, revision
        self.computation = encoder.computation
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        self.asked += texts
        return self.encoder.encode(texts, on_texts)


@pytest.fixture(scope="module")
def real() -> TextEncoder:
    return load_encoder()


@pytest.fixture
def encoder(real: TextEncoder) -> CountingEncoder:
    return CountingEncoder(real, real.revision)


def test_vectors_are_the_encoders_own(encoder: CountingEncoder, tmp_path: Path) -> None:
    expected = encoder.encoder.encode(TEXTS)
    for _ in range(2):  # fresh, then out of the cache
        vectors = encode_cached(encoder, TEXTS, tmp_path)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_only_new_texts_are_encoded(encoder: CountingEncoder, tmp_path: Path) -> None:
    encode_cached(encoder, TEXTS, tmp_path)
    assert sorted(encoder.asked) == sorted(set(TEXTS))
    first = encode_cached(encoder, TEXTS, tmp_path)
    assert len(encoder.asked) == 5
    changed = ["heat", "a heist goes right", *TEXTS[2:]]
    second = encode_cached(encoder, changed, tmp_path)
    assert encoder.asked[5:] == ["a heist goes right"]
    assert (first[[0, 2, 3, 4, 5]] == second[[0, 2, 3, 4, 5]]).all()


def test_revisions_do_not_share_vectors(encoder: CountingEncoder, real: TextEncoder, tmp_path: Path) -> None:
    encode_cached(encoder, TEXTS, tmp_path)
    other = CountingEncoder(real, "0" * 64)
    encode_cached(other, TEXTS, tmp_path)
    assert len(other.asked) == 5


def test_progress_counts_what_is_encoded(
    encoder: CountingEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "TEXTS_PER_CALL", 2)
    encode_cached(encoder, TEXTS[:2], tmp_path)
    reported: list[tuple[int, int]] = []
    encode_cached(encoder, TEXTS, tmp_path, lambda *done: reported.append(done))
    assert reported == [(2, 3), (3, 3)]
    encode_cached(encoder, TEXTS, tmp_path, lambda *done: reported.append(done))
    assert len(reported) == 2


def test_an_interrupt_keeps_finished_vectors(
    encoder: CountingEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "TEXTS_PER_CALL", 2)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_cached(encoder, TEXTS, tmp_path, interrupt)
    encoder.asked.clear()
    encode_cached(encoder, TEXTS, tmp_path)
    assert len(encoder.asked) == 3


def test_empty_and_blank_input_is_handled(encoder: CountingEncoder, tmp_path: Path) -> None:
    assert encode_cached(encoder, [], tmp_path).shape == (0, 384)
    with pytest.raises(TextError, match="place 1 of 2"):
        encode_cached(encoder, ["heat", " "], tmp_path)
    assert encoder.asked == []


@pytest.mark.parametrize("kind", ["garbage", "empty", "truncated", "scrambled"])
def test_a_damaged_cache_is_rebuilt(
    encoder: CountingEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    expected = encode_cached(encoder, TEXTS, tmp_path)
    file = tmp_path / cache.CACHE_FILE
    content = file.read_bytes()
    file.write_bytes(
        {
            "garbage": b"not a database, but long enough to be read as a header " * 50,
            "empty": b"",
            "truncated": content[: len(content) // 2],
            "scrambled": content[:4096] + os.urandom(len(content) - 4096),
        }[kind]
    )
    encoder.asked.clear()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(encode_cached(encoder, TEXTS, tmp_path), expected, atol=1e-6)
    assert len(encoder.asked) == 5
    if kind != "empty":  # an empty file is a database without a table
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "deleted and built again" in caplog.text
    encode_cached(encoder, TEXTS, tmp_path)
    assert len(encoder.asked) == 5


def test_a_damaged_vector_is_encoded_again(encoder: CountingEncoder, tmp_path: Path) -> None:
    expected = encode_cached(encoder, TEXTS, tmp_path)
    with sqlite3.connect(tmp_path / cache.CACHE_FILE) as database:
        keys = [key for (key,) in database.execute("SELECT key FROM vectors ORDER BY 1")]
        for key, vector in zip(keys, [b"short", np.full(384, np.nan, np.float32).tobytes()], strict=False):
            database.execute("UPDATE vectors SET vector = ? WHERE key = ?", (vector, key))
    database.close()
    encoder.asked.clear()
    np.testing.assert_allclose(encode_cached(encoder, TEXTS, tmp_path), expected, atol=1e-6)
    assert len(encoder.asked) == 2
    encode_cached(encoder, TEXTS, tmp_path)
    assert len(encoder.asked) == 2


def test_an_unusable_cache_folder_is_a_warning(
    encoder: CountingEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    vectors = encode_cached(encoder, TEXTS, tmp_path / "file" / "cache")
    np.testing.assert_allclose(vectors, encoder.encoder.encode(TEXTS), atol=1e-5)
    assert "is not used" in caplog.text


# These tests use an encoder that draws a text's vector from its hash.
WRITER = """
import hashlib, logging, sys
from pathlib import Path
import numpy as np
from kgrec.text import batching, cache

class Encoder:
    name, dim, revision, computation = "drawn", 8, "drawn", "drawn"
    def encode(self, texts, on_texts=None):
        draws = [np.random.default_rng(list(hashlib.sha256(t.encode()).digest())).normal(size=8) for t in texts]
        return np.stack([d / np.linalg.norm(d) for d in draws]).astype(np.float32)

logging.basicConfig()
batching.TEXTS_PER_CALL = 20
texts = [f"text {i}" for i in range(int(sys.argv[2]), int(sys.argv[3]))]
vectors = cache.encode_cached(Encoder(), texts, Path(sys.argv[1]))
assert (vectors == Encoder().encode(texts)).all()
"""


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    spans = [(0, 600), (300, 900)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(a), str(b)], stderr=subprocess.PIPE, text=True
        )
        for a, b in spans
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")  # no warning either
    database = sqlite3.connect(tmp_path / cache.CACHE_FILE)
    assert database.execute("SELECT count(*) FROM vectors").fetchone() == (900,)
    database.close()


def test_a_killed_writer_leaves_the_cache_intact(encoder: CountingEncoder, tmp_path: Path) -> None:
    """After a process died in the middle of a transaction, the cache is as before the transaction."""
    encode_cached(encoder, TEXTS[:3], tmp_path)
    file = tmp_path / cache.CACHE_FILE
    script = "import os, sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('DELETE FROM vectors')\nos._exit(9)"
    assert subprocess.run([sys.executable, "-c", script, str(file)], check=False).returncode == 9
    encoder.asked.clear()
    encode_cached(encoder, TEXTS[:3], tmp_path)
    assert encoder.asked == []


class DrawnEncoder:
    """Draws a text's vector from the text and the revision: these tests are about the cache."""

    name, dim = "drawn", 64

    def __init__(self, revision: str = "drawn", computation: str = "drawn") -> None:
        self.revision, self.computation = revision, computation
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        self.asked += texts
        draws = [np.random.default_rng([*text.encode(), *self.revision.encode()]).normal(size=64) for text in texts]
        return np.stack([draw / np.linalg.norm(draw) for draw in draws]).astype(np.float32)


def test_the_least_recently_used_vectors_are_evicted(tmp_path: Path) -> None:
    encoder, room = DrawnEncoder(), 200_000
    often = [f"often {i}" for i in range(50)]
    for turn in range(20):  # 1,000 other texts of 64 floats: more than there is room for
        others = [f"turn {turn}, text {i}" for i in range(50)]
        vectors = encode_cached(encoder, others + often, tmp_path, most_bytes=room)
        assert (vectors == DrawnEncoder().encode(others + often)).all()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1.2 * room
    encoder.asked.clear()
    encode_cached(encoder, [*often, *others, "turn 0, text 0"], tmp_path, most_bytes=room)
    assert encoder.asked == ["turn 0, text 0"]


def test_two_encoders_share_a_file_but_no_vectors(tmp_path: Path) -> None:
    first, second = DrawnEncoder("a"), DrawnEncoder("b")
    for encoder in (first, second, first, second):
        assert (encode_cached(encoder, ["heat"], tmp_path) == DrawnEncoder(encoder.revision).encode(["heat"])).all()
    assert (first.asked, second.asked) == (["heat"], ["heat"])


@pytest.mark.parametrize("changed", ["revision", "computation"])
def test_vectors_of_another_model_or_computation_are_not_mixed_in(tmp_path: Path, changed: str) -> None:
    first, second = DrawnEncoder(), DrawnEncoder(**{changed: "another"})
    for encoder in (first, second, first, second):
        encode_cached(encoder, ["heat"], tmp_path)
    assert (first.asked, second.asked) == (["heat"], ["heat"])


@pytest.mark.parametrize("order", [("fp32", "bf16"), ("bf16", "fp32")])
def test_precisions_do_not_share_vectors(tmp_path: Path, order: tuple[Precision, Precision]) -> None:
    for precision in order:
        encoder = load_encoder(precision=precision)
        np.testing.assert_allclose(encode_cached(encoder, TEXTS, tmp_path), encoder.encode(TEXTS), atol=1e-5)
    a, b = (encode_cached(load_encoder(precision=precision), TEXTS, tmp_path) for precision in order)
    assert np.abs(a - b).max() > 1e-4  # the precisions differ


# No file may grow past 200 kB, which a writer sees as a full disk.
ON_A_FULL_DISK = """
import logging, resource, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_cache import DrawnEncoder
from kgrec.text import cache

logging.basicConfig()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
texts = [f"text {i}" for i in range(3000)]
vectors = cache.encode_cached(DrawnEncoder(), texts, Path(sys.argv[1]))
assert (vectors == DrawnEncoder().encode(texts)).all()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="file sizes cannot be limited")
def test_a_full_disk_leaves_the_cache_intact(tmp_path: Path) -> None:
    encode_cached(DrawnEncoder(), ["heat", "speed"], tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not used") == 1
    encoder = DrawnEncoder()
    assert (encode_cached(encoder, ["heat", "speed"], tmp_path) == DrawnEncoder().encode(["heat", "speed"])).all()
    assert encoder.asked == []  # the earlier vectors are intact
