"""A bundle's folder with killed savers, concurrent savers, foreign files and other accounts."""

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from bundle_files import assert_equal, change_json, names_in, saved_of, tensors_of
from filelock import FileLock, Timeout
from saver_process import answer, ask, is_at_work, start_savers
from shop import train_shop

from kgrec.bundle import Bundle, check_folder, disk, load_bundle, save_bundle
from kgrec.bundle.folder import name_tensors, write_folder
from kgrec.errors import BundleError
from kgrec.text.adapter import Adapter

NOBODY = 65534
has_modes = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no modes that keep an account out")


def make_bundle(number: int) -> Bundle:
    """A bundle whose tensors, time and adapter depend on a number."""
    bundle = train_shop()
    model = replace(bundle.model, n_likes=bundle.model.n_likes + number)
    adapter = Adapter("memory", {"base_revision": str(number)}, b"config %d" % number, b"weights %d" % number)
    return replace(bundle, model=model, trained_at=number, adapter=adapter)


def assert_whole(found: Bundle, expected: Bundle) -> None:
    """Compares everything except the folder that the adapter was read from."""
    assert found.adapter is not None
    assert expected.adapter is not None
    found = replace(found, adapter=replace(found.adapter, source=expected.adapter.source))
    assert_equal(found, saved_of(expected))


def assert_clean(path: Path) -> None:
    """Asserts that the folder has the files of one bundle and no others."""
    assert [name.partition("-")[0].partition(".")[0] for name in names_in(path)] == ["bundle", "tensors"]


@pytest.fixture(scope="module")
def savers() -> Iterator[subprocess.Popen[str]]:
    with start_savers() as started:
        yield started


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A saved bundle that has an adapter."""
    save_bundle(make_bundle(1), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.slow
@pytest.mark.parametrize("over_old", [True, False], ids=["over a bundle", "in a new folder"])
def test_a_save_that_is_killed_at_any_step_leaves_a_whole_bundle(
    tmp_path: Path, savers: subprocess.Popen[str], over_old: bool
) -> None:
    old, new, last = (make_bundle(number) for number in (1, 2, 3))
    save_bundle(old, tmp_path / "old")
    save_bundle(new, tmp_path / "new")
    (tmp_path / "out").mkdir()
    ask(savers, "killed", "bundle", tmp_path / "out", tmp_path / "new", tmp_path / "old" if over_old else None)
    assert answer(savers) == "done"
    left = sorted((tmp_path / "out").glob("[0-9]*"), key=lambda path: int(path.name))
    n_whole = []  # for each step, whether the new bundle was left
    for path in left:
        if over_old or (path / "bundle.json").exists():
            found = load_bundle(path)
            assert_whole(found, new if found.trained_at == 2 else old)
            n_whole.append(found.trained_at == 2)
        else:
            with pytest.raises(BundleError, match="no bundle at"):
                load_bundle(path)
            n_whole.append(False)
        check_folder(path)
        save_bundle(last, path)
        assert_whole(load_bundle(path), last)
        assert_clean(path)
    assert n_whole == sorted(n_whole)  # from one step on it is the new one
    assert not n_whole[0]
    assert n_whole[-1]
    assert sum(n_whole) > 1  # some saves were killed after the new bundle was in place


@pytest.mark.slow
def test_two_savers_and_a_reader_at_once(tmp_path: Path, savers: subprocess.Popen[str]) -> None:
    bundles = {number: make_bundle(number) for number in (1000, 2000)}
    for number, bundle in bundles.items():
        save_bundle(bundle, tmp_path / str(number))
    path = tmp_path / "bundle"
    save_bundle(bundles[1000], path)
    ask(savers, "at once", "bundle", path, 8, [tmp_path / str(number) for number in bundles])
    while is_at_work(savers):
        found = load_bundle(path)
        expected = bundles[found.trained_at // 1000 * 1000]
        np.testing.assert_array_equal(found.model.n_likes, expected.model.n_likes)
        assert found.adapter is not None
        assert found.adapter.weights == b"weights %d" % (found.trained_at // 1000 * 1000)
    assert answer(savers) == "done"
    found = load_bundle(path)
    assert found.trained_at % 1000 == 7  # the last save of one of them
    assert_whole(found, replace(bundles[found.trained_at // 1000 * 1000], trained_at=found.trained_at))
    assert_clean(path)


def replace_meanwhile(monkeypatch: pytest.MonkeyPatch, path: Path, bundles: Iterator[Bundle]) -> None:
    """Replaces the bundle each time a reader has read its manifest."""
    opens = disk.open_tensors

    @contextmanager
    def save_and_open(folder: Path, name: object) -> Iterator[BinaryIO]:
        newer = next(bundles, None)
        if newer is not None:
            save_bundle(newer, path)
        with opens(folder, name) as file:
            yield file

    monkeypatch.setattr(disk, "open_tensors", save_and_open)


def test_a_reader_whose_bundle_is_replaced_reads_the_new_one(
    adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [make_bundle(number) for number in (2, 3)]
    replace_meanwhile(monkeypatch, adapted, iter(newer))
    assert_whole(load_bundle(adapted), newer[-1])


def test_a_reader_retries_when_the_bundle_is_replaced_and_restored(
    adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer = load_bundle(adapted), make_bundle(2)
    opens, n_opened = disk.open_tensors, 0

    @contextmanager
    def open_between(folder: Path, name: object) -> Iterator[BinaryIO]:
        nonlocal n_opened
        n_opened += 1
        save_bundle(newer if n_opened == 1 else old, adapted)
        try:
            with opens(folder, name) as file:
                yield file
        finally:
            save_bundle(old, adapted)

    monkeypatch.setattr(disk, "open_tensors", open_between)
    assert_whole(load_bundle(adapted), old)
    assert n_opened == 2


def test_a_reader_gives_up_after_a_few_retries(adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [make_bundle(number) for number in (2, 3)]
    n_saved = 0

    def without_end() -> Iterator[Bundle]:
        nonlocal n_saved
        while True:
            n_saved += 1
            yield pair[n_saved % 2]

    replace_meanwhile(monkeypatch, adapted, without_end())
    with pytest.raises(BundleError, match="incomplete: no tensors-"):
        load_bundle(adapted)
    assert n_saved > 5


def test_a_saver_that_waits_too_long_names_the_other_saver(saved: Path) -> None:
    (saved / ".writing-box-two-71").mkdir()
    with (
        FileLock(saved / ".lock"),
        pytest.raises(BundleError, match=r"process 71 on box-two is still .* 0\.1 s; .*wait"),
    ):
        save_bundle(train_shop(), saved, wait_s=0.1)
    save_bundle(train_shop(), saved)
    assert len(names_in(saved)) == 2  # the remains of a saver without a lock are removed


def test_remains_of_an_interrupted_save_count_as_empty(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".writing-box-1").mkdir()
    (tmp_path / f"tensors-{'0' * 16}.safetensors.zst").touch()
    check_folder(tmp_path)
    (tmp_path / "tensors-of-mine.zst").touch()
    with pytest.raises(BundleError, match="is no bundle"):
        check_folder(tmp_path)


def test_foreign_files_in_the_folder_stay(saved: Path) -> None:
    for name in ("README.md", "tensors-of-mine.safetensors.zst", "adapter-mine"):
        (saved / name).touch()
    save_bundle(replace(train_shop(), trained_at=1), saved)
    assert {"README.md", "tensors-of-mine.safetensors.zst", "adapter-mine"} < set(names_in(saved))


def test_a_loaded_bundle_keeps_its_adapter_when_a_later_save_replaces_or_removes_the_folder(adapted: Path) -> None:
    loaded = load_bundle(adapted)
    save_bundle(make_bundle(2), adapted)
    assert load_bundle(adapted).adapter != loaded.adapter
    shutil.rmtree(adapted)
    assert_whole(loaded, make_bundle(1))
    save_bundle(loaded, adapted)
    assert_whole(load_bundle(adapted), make_bundle(1))


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be flushed")
def test_everything_is_synced_before_the_manifest_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, path = make_bundle(1), tmp_path / "new" / "bundle"
    flush, rename = os.fsync, Path.replace
    flushed: list[int] = []  # inodes, since the last rename
    renamed: dict[str, list[int]] = {}

    def flush_noted(file: int) -> None:
        flush(file)
        flushed.append(os.fstat(file).st_ino)

    def rename_noted(source: Path, target: Path) -> Path:
        renamed[target.name.partition("-")[0]] = flushed.copy()
        flushed.clear()
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", flush_noted)
    monkeypatch.setattr(Path, "replace", rename_noted)
    save_bundle(bundle, path)

    def inodes(*places: Path) -> set[int]:
        return {place.stat().st_ino for place in places}

    assert list(renamed) == ["tensors", "bundle.json"]
    assert inodes(tmp_path, tmp_path / "new", tensors_of(path)) <= set(renamed["tensors"])
    assert inodes(path, path / "bundle.json") <= set(renamed["bundle.json"])
    assert inodes(path) <= set(flushed)


SMALL = name_tensors("0" * 64)


def test_a_file_has_all_of_its_content_when_it_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[int, int] = {}  # by inode

    def note_size(file: int) -> None:
        status = os.fstat(file)
        sizes[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", note_size)
    write_folder(tmp_path, b"{}", {SMALL: b"few"})
    assert [sizes[(tmp_path / name).stat().st_ino] for name in ("bundle.json", SMALL)] == [2, 3]


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be flushed")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    flush = os.fsync

    def refuse_folders(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(code, os.strerror(code))
        flush(file)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    if code == errno.EIO:  # the disk fails; the others say that the system flushes no folders
        with pytest.raises(BundleError, match=r"cannot write the bundle .*error"):
            write_folder(tmp_path, b"{}", {SMALL: b"few"})
    else:
        write_folder(tmp_path, b"{}", {SMALL: b"few"})
        assert (tmp_path / SMALL).read_bytes() == b"few"


@pytest.mark.parametrize(("n_refused", "is_written"), [(19, True), (20, False)])
def test_a_move_is_tried_twenty_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_refused: int, is_written: bool
) -> None:
    rename, waits = Path.replace, []
    left = iter(range(n_refused))

    def refuse(source: Path, target: Path) -> Path:
        if next(left, None) is not None:
            raise PermissionError(errno.EACCES, "open in another process", str(target))
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(time, "sleep", waits.append)
    if is_written:
        write_folder(tmp_path, b"{}", {SMALL: b"few"})
        assert (tmp_path / SMALL).read_bytes() == b"few"
    else:
        with pytest.raises(BundleError, match=r"cannot write the bundle .*open in another process"):
            write_folder(tmp_path, b"{}", {SMALL: b"few"})
    assert waits == [1 / 20] * 19


def test_only_one_saver_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, refused = Path.replace, []

    def try_lock(source: Path, target: Path) -> Path:
        with pytest.raises(Timeout):
            FileLock(tmp_path / ".lock").acquire(timeout=0)
        refused.append(target.name)
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", try_lock)
    write_folder(tmp_path, b"{}", {SMALL: b"few"})
    assert refused == [SMALL, "bundle.json"]
    with FileLock(tmp_path / ".lock", timeout=0):
        pass


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_file_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    bundle = make_bundle(1)
    before = os.umask(umask)
    try:
        save_bundle(bundle, tmp_path / "new" / "bundle")
    finally:
        os.umask(before)
    for entry in [tmp_path / "new", *(tmp_path / "new").rglob("*")]:
        mode = (0o777 if entry.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(entry.stat().st_mode) == mode, entry


def set_tensors(name: object) -> Callable[[dict[str, Any]], object]:
    return lambda described: described["tensors"].update(file=name)


@pytest.mark.parametrize(
    "name", ["../../../etc", "/etc/passwd", "..", ".", "", "bundle.json", "adapter-x/../..", "a\0b", "\n"]
)
def test_names_outside_the_folder_are_refused(adapted: Path, name: str) -> None:
    change_json(adapted, set_tensors(name))
    with pytest.raises(BundleError, match=r"incomplete: bundle\.json names .*, expected a name such as"):
        load_bundle(adapted)


@pytest.mark.parametrize("name", [3, ["tensors"], None, {}])
def test_invalid_names_are_refused(saved: Path, name: object) -> None:
    change_json(saved, set_tensors(name))
    with pytest.raises(BundleError, match=r"bundle\.json names"):
        load_bundle(saved)


@pytest.mark.parametrize("pattern", ["bundle.json", "tensors-*"])
def test_links_are_refused(adapted: Path, tmp_path: Path, pattern: str) -> None:
    (entry,) = adapted.glob(pattern)
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=f"{entry.name} is a link"):
        load_bundle(adapted)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_does_not_block(saved: Path) -> None:
    file = tensors_of(saved)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BundleError, match="neither file nor folder"):
        load_bundle(saved)


def test_a_link_is_replaced_and_its_target_stays(saved: Path, tmp_path: Path) -> None:
    file, outside = tensors_of(saved), tmp_path / "outside"
    outside.write_text("mine")
    file.unlink()
    file.symlink_to(outside)
    (tmp_path / "folder").mkdir()
    (saved / ".writing-link").symlink_to(tmp_path / "folder")
    save_bundle(train_shop(), saved)
    assert_equal(load_bundle(saved), saved_of(train_shop()))
    assert outside.read_text() == "mine"
    assert (tmp_path / "folder").is_dir()


Layout = dict[str, Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layout: layout.update(unpacked_bytes=2**50), "tensors of 1125899906842624 bytes; expected"),
        (lambda layout: layout.update(unpacked_bytes=-1), "tensors of -1 bytes"),
        (lambda layout: layout.update(unpacked_bytes=1e4), r"tensors of 10000\.0 bytes"),
        (lambda layout: layout.update(unpacked_bytes=layout["unpacked_bytes"] + 1), "the compressed tensors unpack to"),
        (lambda layout: layout["tensors"].update(catalogue=["uint8", [2**50]]), "expected 11258999"),
        (lambda layout: layout["tensors"].update(catalogue=["uint8", [-1, -5]]), r"catalogue has the shape \[-1, -5\]"),
        (lambda layout: layout["tensors"].update(catalogue=["uint8", [True]]), r"catalogue has the shape \[True\]"),
        (lambda layout: layout["tensors"].update(catalogue=["uint8", [0, 2**80]]), "catalogue has the shape"),
        (lambda layout: layout["tensors"].update(catalogue=["object", [3]]), "catalogue has the type 'object'"),
        (lambda layout: layout["tensors"].update(catalogue=["V999999", [3]]), "catalogue has the type"),
    ],
)
def test_a_layout_that_does_not_add_up_is_refused(
    saved: Path, change: Callable[[Layout], object], message: str
) -> None:
    change_json(saved, lambda described: change(described["tensors"]["layout"]))
    with pytest.raises(BundleError, match=rf"is damaged: ValueError: .*{message}"):
        load_bundle(saved)


FRAMES = {
    "a larger size": (b"\x28\xb5\x2f\xfd\xe0" + (2**50).to_bytes(8, "little"), f"unpack to {2**50} bytes; expected"),
    "behind a window": (b"\x28\xb5\x2f\xfd\xc0\x70" + (2**50).to_bytes(8, "little"), f"unpack to {2**50} bytes"),
    "no size": (b"\x28\xb5\x2f\xfd\x00\x70", "do not give their size"),
    "cut": (b"\x28\xb5\x2f\xfd", "do not give their size"),
    "another format": (b"\x1f\x8b", "not compressed by Zstandard"),
}


def replace_tensors(path: Path, content: bytes) -> None:
    tensors_of(path).write_bytes(content)
    about = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_json(path, lambda described: described["tensors"].update(about))


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_the_wrong_size_is_refused(saved: Path, name: str) -> None:
    header, message = FRAMES[name]
    rest = b"" if name == "cut" else tensors_of(saved).read_bytes()[7:]
    replace_tensors(saved, header + (b"" if name == "no size" else rest))
    with pytest.raises(BundleError, match=rf"is damaged: ValueError: .*{message}"):
        load_bundle(saved)


def test_a_size_too_large_for_the_file_is_refused(saved: Path) -> None:
    header = b"\x28\xb5\x2f\xfd\xe0" + (2**50).to_bytes(8, "little")
    replace_tensors(saved, header + tensors_of(saved).read_bytes()[7:])
    layout = {"unpacked_bytes": 2**50, "tensors": {"catalogue": ["uint8", [2**50 - 100]]}}
    change_json(saved, lambda described: described["tensors"].update(layout=layout))
    with pytest.raises(BundleError, match=f"compressed bytes cannot hold {2**50}"):
        load_bundle(saved)


def test_a_manifest_of_an_absurd_size_is_not_read(saved: Path) -> None:
    os.truncate(saved / "bundle.json", 2**40)  # a sparse file
    with pytest.raises(BundleError, match=rf"bundle\.json has {2**40} bytes, expected at most"):
        load_bundle(saved)


@contextmanager
def acting_as_nobody(path: Path) -> Iterator[None]:
    """Drops root's rights, which ignore file modes; skips where another account cannot reach the path."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            pytest.skip("no folder of temporary files that another account can reach")
        yield
    finally:
        os.seteuid(0)


@has_modes
@pytest.mark.parametrize("pattern", ["bundle.json", "tensors-*"])
def test_unreadable_files_are_named_in_the_error(tmp_path: Path, pattern: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        save_bundle(make_bundle(1), path)
        load_bundle(path)  # all modules are imported
        for entry in [path.parent, *path.parent.rglob("*")]:
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        (entry,) = path.glob(pattern)
        entry.chmod(0)
        try:
            with acting_as_nobody(path), pytest.raises(BundleError, match=rf"{entry.name}.* may not be read .*chmod"):
                load_bundle(path)
        finally:
            entry.chmod(0o755)


@has_modes
def test_a_folder_without_permissions_is_an_error(tmp_path: Path) -> None:
    bundle = make_bundle(1)
    with tempfile.TemporaryDirectory() as folder:
        parent = Path(folder)
        save_bundle(bundle, parent / "bundle")
        parent.chmod(0o755)
        (parent / "bundle").chmod(0o555)
        with acting_as_nobody(parent):
            with pytest.raises(BundleError, match=r"cannot write the bundle .*Permission denied"):
                save_bundle(bundle, parent / "bundle")
            assert load_bundle(parent / "bundle").trained_at == 1  # which takes no lock
        (parent / "bundle").chmod(0)
        with acting_as_nobody(parent):
            with pytest.raises(BundleError, match="may not be read"):
                load_bundle(parent / "bundle")
            with pytest.raises(BundleError, match=r"cannot read .*Permission denied"):
                check_folder(parent / "bundle")
        (parent / "bundle").chmod(0o755)
