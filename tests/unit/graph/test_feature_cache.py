"""Propagated features out of the cache are those that would be made anew, whatever changed in between."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import BOOKS, draw_graph
from torch_geometric.data import HeteroData

from kgrec.config import PriorConfig
from kgrec.graph import propagation
from kgrec.graph.feature_cache import FOLDER, Record, keep_records
from kgrec.graph.propagation import Channel, build_item_links, propagate

CONFIG = PriorConfig(path_dim=4, links_dim=8)
N = 30


def draw() -> HeteroData:
    data = draw_graph(np.random.default_rng(7), n_books=N)
    data["book"]["vector:cover"] = torch.from_numpy(np.random.default_rng(8).normal(size=(N, 3)).astype(np.float32))
    return data


def run(
    data: HeteroData, cache_dir: Path | None, config: PriorConfig = CONFIG, seed: int = 0, n_fitted: int = 25,
    vectors: int = 1,
) -> list[Channel]:  # fmt: skip
    backbone = np.random.default_rng(vectors).normal(size=(N, 2)).astype(np.float32)
    fitted = np.arange(N) < n_fitted
    links = build_item_links(data, BOOKS)
    return propagate(data, BOOKS, links, fitted, backbone, fitted.astype(np.float32), config, seed, cache_dir)


def assert_equal(found: list[Channel], expected: list[Channel]) -> None:
    assert [channel.name for channel in found] == [channel.name for channel in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in vars(other).items():
            assert type(getattr(one, name)) is type(value)
            np.testing.assert_array_equal(getattr(one, name), value)


def n_files(cache_dir: Path) -> int:
    return len(list((cache_dir / FOLDER).iterdir()))


def test_the_second_time_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw()
    expected = run(data, None)
    assert {"text", "vector:cover", "links"} < {channel.name for channel in expected}
    assert_equal(run(data, tmp_path), expected)
    monkeypatch.setattr(propagation, "_links_channel", None)  # would fail if it were called
    assert_equal(run(data, tmp_path), expected)
    assert n_files(tmp_path) == 1


def change_x(data: HeteroData) -> None:
    data["author"].x[2, 1] += 1e-6


def change_mask(data: HeteroData) -> None:
    data["author"].has_text[0] = ~data["author"].has_text[0]


def change_vector(data: HeteroData) -> None:
    data["book"]["vector:cover"][4] = float("nan")


def cut_edge(data: HeteroData) -> None:
    edges = data["book", "written_by", "author"]
    edges.edge_index = edges.edge_index[:, 1:]


def move_edge(data: HeteroData) -> None:
    data["author", "from", "country"].edge_index[1, 0] = (data["author", "from", "country"].edge_index[1, 0] + 1) % 3


@pytest.mark.parametrize("change", [change_x, change_mask, change_vector, cut_edge, move_edge])
def test_a_changed_text_vector_or_edge_is_never_answered_from_the_old_one(
    tmp_path: Path, change: Callable[[HeteroData], None]
) -> None:
    data = draw()
    run(data, tmp_path)
    change(data)
    assert_equal(run(data, tmp_path), run(data, None))
    assert n_files(tmp_path) == 2


@pytest.mark.parametrize(
    "changed",
    [{"n_fitted": 24}, {"seed": 1}, {"config": PriorConfig(path_dim=3, links_dim=8)},
     {"config": PriorConfig(path_dim=4, links_dim=6)}],
)  # fmt: skip
def test_other_settings_are_other_features(tmp_path: Path, changed: dict[str, int]) -> None:
    data = draw()
    run(data, tmp_path)
    assert_equal(run(data, tmp_path, **changed), run(data, None, **changed))
    assert n_files(tmp_path) == 2


def test_what_comes_from_likes_is_made_anew_each_time(tmp_path: Path) -> None:
    data = draw()
    first = run(data, tmp_path, vectors=1)
    assert_equal(run(data, tmp_path, vectors=2), second := run(data, None, vectors=2))
    tastes = [[one.features for one in channels if one.name.startswith("tastes")] for channels in (first, second)]
    assert len(tastes[0]) > 0
    assert not np.allclose(tastes[0][0], tastes[1][0])
    assert n_files(tmp_path) == 1


def build(number: int) -> Callable[[], list[Record]]:
    return lambda: [{"name": f"number {number}", "features": np.full(250, number, np.float32), "relation": None}]


def test_what_was_used_least_recently_goes(tmp_path: Path) -> None:
    for number, key in enumerate("abc"):
        keep_records(key, build(number), tmp_path, most_bytes=10_000)
        os.utime(tmp_path / FOLDER / f"{key}.safetensors", (number, number))
    keep_records("a", build(9), tmp_path)  # read: now it is the latest
    keep_records("d", build(3), tmp_path, most_bytes=4000)  # room for three
    assert sorted(file.stem for file in (tmp_path / FOLDER).iterdir()) == ["a", "c", "d"]
    assert keep_records("a", build(9), tmp_path)[0]["name"] == "number 0"


@pytest.mark.parametrize("damage", [b"", b"{", None])
def test_a_broken_file_is_made_anew(tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    keep_records("a", build(1), tmp_path)
    file = tmp_path / FOLDER / "a.safetensors"
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert keep_records("a", build(2), tmp_path)[0]["name"] == "number 2"
    assert "are made anew" in caplog.text
    assert keep_records("a", build(3), tmp_path)[0]["name"] == "number 2"


# No file may grow past 2 kB: the same to a writer as a disk that fills up.
ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from kgrec.graph.feature_cache import keep_records

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
found = keep_records("b", lambda: [{"features": np.ones(5000)}], Path(sys.argv[1]))
assert found[0]["features"].sum() == 5000
"""


def test_a_disk_that_fills_up_breaks_nothing(tmp_path: Path) -> None:
    keep_records("a", build(1), tmp_path)
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be kept") == 1
    assert [file.name for file in (tmp_path / FOLDER).iterdir()] == ["a.safetensors"]
    assert keep_records("a", build(2), tmp_path)[0]["name"] == "number 1"


AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
import numpy as np
from kgrec.graph.feature_cache import keep_records

for turn in range(150):
    key = turn % 5
    record = {"name": str(key), "features": np.full(20_000, key)}
    found = keep_records(str(key), lambda: [record], Path(sys.argv[1]), most_bytes=500_000)  # room for three
    assert found[0]["name"] == str(key) and (found[0]["features"] == key).all()
"""


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AGAIN_AND_AGAIN, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")
