"""kgrec encode, and an adapter or a backend that cannot be had."""

from pathlib import Path

import numpy as np
import pytest
from conftest import RunCommand, Shop


def test_texts_of_a_file_become_a_file_of_vectors(run: RunCommand, tmp_path: Path) -> None:
    source, target = tmp_path / "plots.csv", tmp_path / "plots.npy"
    source.write_text('id,plot\n1,"A thief, and a cop."\n2,\n3,Two friends.\n4,"A thief, and a cop."\n')
    done = run("encode", source, "--column", "plot", "--out", target)
    assert (done.code, done.err) == (0, f"vectors written to {target}; 1 row without a text: zeros\n")
    vectors = np.load(target, mmap_mode="r")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1], atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--column", "story"], "story"),
        (["--column", "plot", "--adapter", "nowhere"], "no adapter in"),
        (["--column", "plot", "--config", "encoder.toml"], "no folder './gone'"),
    ],
)
def test_what_cannot_be_had_is_one_message(
    run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plots.csv").write_text("id,plot\n1,A thief.\n")
    Path("encoder.toml").write_text('encoder = "./gone"\n')
    done = run("encode", "plots.csv", *arguments, "--out", "plots.npy")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err
    assert not Path("plots.npy").exists()


def test_training_with_an_adapter_that_is_not_there_stops(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    done = run("train", shop.store, "--out", tmp_path / "other", "--adapter", tmp_path / "nowhere")
    assert done.code == 2
    assert "no adapter in" in done.err
    assert not (tmp_path / "other").exists()
