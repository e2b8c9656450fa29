import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from kgrec.errors import TextError
from kgrec.text import batching
from kgrec.text import encoder as encoders
from kgrec.text.batching import batch_rows, split_texts
from kgrec.text.encoder import check_texts, has_bf16, has_int8, load_encoder


def test_check_texts_takes_any_script() -> None:
    check_texts(["Amélie", "七人の侍", "🎬", " a "])
    check_texts([])


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "runs/text/encoder"])
def test_a_missing_folder_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(TextError, match=f"no folder '{name}'"):
        load_encoder(name)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(TextError, match="expected a model's folder"):
        load_encoder(str(tmp_path / "model"))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no whole text encoder"):
        load_encoder(str(tmp_path))


def test_an_unreachable_hub_is_an_error_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # a port that nothing listens to
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started_at = time.monotonic()
    with pytest.raises(TextError, match=r"cannot fetch the text encoder 'someone/some-model' from the model hub"):
        load_encoder("someone/some-model")
    assert time.monotonic() - started_at < 10


def test_importing_the_module_is_light() -> None:
    script = (
        "import sys, kgrec.text.encoder, kgrec.text.cache; print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


TEXTS = ["heat", "a heist goes wrong", "七人の侍", "two old friends meet in a bar and talk " * 30, "x\0y", "heat 2"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_every_backend_gives_the_same_vectors(backend: encoders.Backend) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    exact = load_encoder(precision="fp32")
    encoder = load_encoder(backend=backend)
    assert (encoder.revision, exact.precision) == (exact.revision, "fp32")
    assert (encoder.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1).min() > 0.999


def test_the_default_uses_bf16_where_the_cpu_has_it() -> None:
    assert load_encoder().precision == ("bf16" if has_bf16("cpu") else "fp32")


@pytest.mark.slow
def test_a_model_that_bf16_distorts_uses_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "LEAST_COSINE", 0.9999999)  # no model is that accurate in bf16
    monkeypatch.setattr(encoders, "has_bf16", lambda device: True)
    encoder = load_encoder()
    assert encoder.precision == "fp32"
    expected = load_encoder(precision="fp32")
    np.testing.assert_allclose(encoder.encode(TEXTS), expected.encode(TEXTS), atol=1e-6)
    with pytest.raises(TextError, match=r"in bf16 by torch is off: cosine 0\.9"):
        load_encoder(precision="bf16")


@pytest.mark.slow
def test_parallel_batches_give_the_vectors_of_single_ones() -> None:
    texts = [f"{'friends ' * (i % 30)}number {i}" for i in range(90)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = load_encoder(precision="fp32").encode(texts)
        torch.set_num_threads(3)
        encoder = load_encoder(precision="fp32")
        np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("lengths", "budget", "expected"), [
    ([3, 9, 9, 1], 18, [[1, 2], [0, 3]]),  # like lengths together, longest first; 2 x 9 tokens, then 2 x 3
    ([30, 2], 18, [[0], [1]]),  # a text longer than the budget gets its own batch
    ([2, 5, 5, 5, 2], 18, [[1, 2, 3], [0, 4]]),  # 3 x 5 are full
    # 2 x 5 are half full, so 4 begins a new batch; that one is not, so 2 joins it with padding
    ([2, 5, 5, 2, 4], 18, [[1, 2], [4, 0, 3]]),
    ([], 18, []),
])  # fmt: skip
def test_batches_by_hand(
    lengths: list[int], budget: int, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_LEAST_TOKENS", 1000)
    assert batch_rows(lengths, budget, streams=1) == expected


def test_texts_are_split_by_number_and_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TEXTS_PER_CALL", 3)
    monkeypatch.setattr(batching, "CHARACTERS_PER_CALL", 10)
    texts = ["a", "b", "c", "d", "x" * 11, "e", "y" * 6, "z" * 6]
    assert [list(chunk) for chunk in split_texts(texts)] == [
        ["a", "b", "c"], ["d"], ["x" * 11], ["e", "y" * 6], ["z" * 6],
    ]  # fmt: skip
    assert list(split_texts([])) == []


@pytest.mark.slow
@pytest.mark.parametrize("rounded", ["all", "nothing"])
def test_openvino_uses_int8_where_vectors_stay_close(rounded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(encoders, "has_int8", lambda: True)
    if rounded == "nothing":
        monkeypatch.setattr(encoders, "LEAST_COSINE", 0.9999)
    encoder, exact = load_encoder(backend="openvino"), load_encoder(precision="fp32")
    cosines = (encoder.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1)
    if rounded == "all":
        assert encoder.precision == "int8"
        assert 0.999 < cosines.min() < 0.9999  # it is rounded
    else:
        assert encoder.precision != "int8"
        assert cosines.min() > 0.9999


def test_int8_is_used_on_cpus_with_vnni_and_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    for can, expected in (
        ({"avx512_vnni": True}, True), ({"avx_vnni": True}, True), ({"avx512_vnni": True, "amx_bf16": True}, False),
        ({}, False),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda can=can: can)
        assert has_int8() is expected


def test_the_computation_key_names_all_that_changes_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = load_encoder(precision="fp32").computation
    assert load_encoder(precision="fp32").computation == exact
    assert f"torch {torch.__version__}" in exact
    found = {exact, load_encoder(precision="bf16").computation}
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    found.add(load_encoder(precision="fp32").computation)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    found.add(load_encoder(precision="fp32").computation)
    assert len(found) == 4


@pytest.mark.slow
def test_the_computation_key_names_the_backend() -> None:
    pytest.importorskip("openvino")
    by_openvino, by_torch = (load_encoder(backend=backend, precision="fp32") for backend in ("openvino", "torch"))
    assert by_openvino.computation.startswith("openvino, fp32")
    assert by_openvino.computation != by_torch.computation
    assert by_openvino.revision == by_torch.revision


def test_int8_by_torch_is_an_error() -> None:
    with pytest.raises(TextError, match=r"int8 .*backend 'openvino'"):
        load_encoder(precision="int8")


def test_a_missing_extra_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *on: None if name == "openvino" else find(name, *on))
    with pytest.raises(TextError, match=r"pip install 'kgrec\[openvino\]'"):
        load_encoder(backend="openvino")
