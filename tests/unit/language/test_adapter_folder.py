"""An adapter's folder with killed savers, concurrent savers and foreign files."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from saver_process import answer, ask, is_at_work, start_savers
from savers import make_adapter

from kgrec.errors import TextError
from kgrec.language.adapter_folder import CHECKPOINTS, check_adapter_folder, save_adapter
from kgrec.text import adapter as adapters
from kgrec.text.adapter import ADAPTER_FILE, Adapter, load_adapter


@pytest.fixture(scope="module")
def savers() -> Iterator[subprocess.Popen[str]]:
    with start_savers() as started:
        yield started


def number_of(adapter: Adapter) -> int:
    """The number that an adapter was made from. Its description and all its weights must have it."""
    number = int(adapter.described["base_revision"])
    for weight in load(adapter.weights).values():
        assert torch.equal(weight, torch.full_like(weight, number))
    assert json.loads(adapter.config)["r"] == 2
    return number


def names_in(path: Path) -> list[str]:
    return sorted(entry.name.partition("-")[0] for entry in path.iterdir() if entry.name != ".lock")


@pytest.mark.slow
@pytest.mark.parametrize("over_old", [True, False], ids=["over an adapter", "in a new folder"])
def test_a_save_that_is_killed_at_any_step_leaves_a_whole_adapter(
    tmp_path: Path, savers: subprocess.Popen[str], over_old: bool
) -> None:
    save_adapter(*make_adapter(1), tmp_path / "old")
    (tmp_path / "out").mkdir()
    ask(savers, "killed", "adapter", tmp_path / "out", 2, tmp_path / "old" if over_old else None)
    assert answer(savers) == "done"
    left = sorted((path for path in (tmp_path / "out").iterdir() if path.name.isdecimal()), key=lambda p: int(p.name))
    last, is_new = make_adapter(3), []  # by step
    for path in left:
        if over_old or (path / ADAPTER_FILE).exists():
            is_new.append(number_of(load_adapter(path)) == 2)
        else:
            with pytest.raises(TextError, match="no adapter in"):
                load_adapter(path)
            is_new.append(False)
        check_adapter_folder(path)
        save_adapter(*last, path)
        assert number_of(load_adapter(path)) == 3
        assert names_in(path) == ["adapter_config", "adapter_model", ADAPTER_FILE]
    assert is_new == sorted(is_new)
    assert not is_new[0]
    assert sum(is_new) > 1  # some saves were killed after the new adapter was in place


@pytest.mark.slow
def test_two_savers_and_a_reader_at_once(tmp_path: Path, savers: subprocess.Popen[str]) -> None:
    path = tmp_path / "adapter"
    save_adapter(*make_adapter(1), path)
    ask(savers, "at once", "adapter", path, 8, [1, 2])
    seen = set()
    while is_at_work(savers):
        seen.add(number_of(load_adapter(path)))
    assert answer(savers) == "done"
    assert seen <= {1, 2}
    last = load_adapter(path)
    assert last.described["n"] == 7
    assert number_of(last) in {1, 2}
    assert names_in(path) == ["adapter_config", "adapter_model", ADAPTER_FILE]


def test_a_reader_whose_adapter_is_replaced_reads_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_adapter(*make_adapter(1), tmp_path)
    read, newer = adapters.read_adapter, [2, 3]

    def read_and_replace(folder: Path) -> object:
        described = read(folder)
        if newer:
            save_adapter(*make_adapter(newer.pop(0)), folder)
        return described

    monkeypatch.setattr(adapters, "read_adapter", read_and_replace)
    assert number_of(load_adapter(tmp_path)) == 3


def test_a_rejected_adapter_has_only_a_description(tmp_path: Path) -> None:
    save_adapter(*make_adapter(1), tmp_path)
    described = {**make_adapter(2)[1], "kept": False, "report": {"reason": "no gain"}}
    save_adapter(None, described, tmp_path)
    assert names_in(tmp_path) == [ADAPTER_FILE]
    with pytest.raises(TextError, match="was not kept: no gain; expected one that validation kept"):
        load_adapter(tmp_path)


@pytest.mark.parametrize("pattern", ["adapter_config-*", "adapter_model-*"])
def test_a_changed_or_missing_file_is_named_in_the_error(tmp_path: Path, pattern: str) -> None:
    save_adapter(*make_adapter(1), tmp_path)
    (file,) = tmp_path.glob(pattern)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(TextError, match=f"is damaged: {file.name} has another SHA-256"):
        load_adapter(tmp_path)
    file.unlink()
    with pytest.raises(TextError, match=r"no adapter in .*copy all of its files"):
        load_adapter(tmp_path)


@pytest.mark.parametrize("name", ["../weights", "/etc/passwd", "", None, 3, "adapter_config.json"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: object) -> None:
    save_adapter(*make_adapter(1), tmp_path)
    described = json.loads((tmp_path / ADAPTER_FILE).read_text(encoding="utf-8"))
    described["files"]["adapter_config.json"] = name
    (tmp_path / ADAPTER_FILE).write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(TextError, match=r"names no adapter_config\.json of its own"):
        load_adapter(tmp_path)


def test_a_foreign_folder_is_left_unchanged(tmp_path: Path) -> None:
    check_adapter_folder(tmp_path / "new")
    (tmp_path / CHECKPOINTS).mkdir()
    check_adapter_folder(tmp_path)  # an interrupted run's
    (tmp_path / "letter.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(TextError, match="exists and is no adapter"):
        check_adapter_folder(tmp_path)
