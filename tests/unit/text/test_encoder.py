import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgrec.errors import TextError
from kgrec.text.encoder import check_texts, load_encoder


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


def test_no_hub_in_reach_is_told_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
