"""`kgrec encode`, and unavailable adapters and backends."""

from pathlib import Path

import numpy as np
import pytest
from conftest import RunCommand, Shop


def test_encode_writes_the_vectors_of_a_column(run: RunCommand, tmp_path: Path) -> None:
    source, target = tmp_path / "plots.csv", tmp_path / "plots.npy"
    source.write_text('id,plot\n1,"A thief, and a cop."\n2,\n3,Two friends.\n4,"A thief, and a cop."\n')
    done = run("encode", source, "--column", "plot", "--out", target)
    assert (done.code, done.err) == (0, f"vectors written to {target}; 1 row without a text: zeros\n")
    vectors = np.load(target, mmap_mode="r")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1], atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--column", "story"], "story"),
        (["--column", "plot", "--adapter", "nowhere"], "no adapter in"),
        (["--column", "plot", "--config", "encoder.toml"], "no folder './gone'"),
    ],
)
def test_unavailable_input_is_one_message(
    run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plots.csv").write_text("id,plot\n1,A thief.\n")
    Path("encoder.toml").write_text('encoder = "./gone"\n')
    done = run("encode", "plots.csv", *arguments, "--out", "plots.npy")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not Path("plots.npy").exists()


def test_training_with_a_missing_adapter_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    done = run("train", shop.store, "--out", tmp_path / "other", "--adapter", tmp_path / "nowhere")
    assert done.code == 2
    assert "no adapter in" in done.err
    assert not (tmp_path / "other").exists()
