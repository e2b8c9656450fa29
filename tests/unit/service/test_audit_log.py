"""The audit log: a chain that shows each change, whole after crashes, shared by processes, and without ids of users."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec.errors import StoreError
from kgrec.service import audit_log as audit_module
from kgrec.service.audit_log import TORN, AuditLog, Pseudonyms, verify

FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
ABOUT = st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=9) | NUMBERS, max_size=3)


def write(path: Path, n: int) -> AuditLog:
    path.unlink(missing_ok=True)
    log = AuditLog(path)
    for place in range(n):
        log.append(f"key-{place}", "items", 1_700_000_000 + place, {"added": place})
    return log


def test_lines_are_a_chain(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "audit.jsonl"
    log = write(path, 3)
    first, second, third = log.read_last(10)
    assert [line.n for line in (first, second, third)] == [1, 2, 3]
    assert first.before == "0" * 64
    assert (second.before, third.before) == (first.hash, second.hash)
    assert verify(path) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [json.loads(text)["about"] for text in path.read_text().splitlines()] == [{"added": n} for n in range(3)]


def test_the_hash_of_a_line_stays(tmp_path: Path) -> None:
    """A log of today is verified by later versions."""
    line = AuditLog(tmp_path / "audit.jsonl").append("0a1b2c3d", "swap", 1_700_000_000, {"version": "ab", "n": 1})
    content = '{"n":1,"at":1700000000,"actor":"0a1b2c3d","act":"swap","about":{"version":"ab","n":1},"before":"'
    content += "0" * 64 + '"}'
    assert line.hash == hashlib.sha256(content.encode()).hexdigest()


@FEW
@given(acts=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), ABOUT), min_size=1, max_size=5))
def test_any_content_is_kept_and_verified(tmp_path: Path, acts: list[tuple[str, str, dict[str, object]]]) -> None:
    path = tmp_path / "audit.jsonl"
    log = write(path, 0)
    for actor, act, about in acts:
        log.append(actor, act, 5, about)  # type: ignore[arg-type]
    assert verify(path) is None
    assert [(line.actor, line.act, line.about) for line in log.read_last(99)] == acts


@FEW
@given(data=st.data())
def test_each_change_of_a_line_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 5)
    texts = path.read_text().splitlines()
    place = data.draw(st.integers(0, 3))  # the last line may be cut off unseen
    kind = data.draw(st.sampled_from(["change", "delete", "repeat", "swap", "insert", "digit"]))
    if kind == "change":
        line = json.loads(texts[place])
        name = data.draw(st.sampled_from(["n", "at", "actor", "act", "about", "before", "hash"]))
        line[name] = {"n": 9, "at": 9, "about": {"added": 9}}.get(name, "9" * 64)
        texts[place] = json.dumps(line)
    elif kind == "delete":
        del texts[place]
    elif kind == "repeat":
        texts.insert(place, texts[place])
    elif kind == "swap":
        texts[place], texts[place + 1] = texts[place + 1], texts[place]
    elif kind == "insert":
        texts.insert(place, "garbage")
    else:
        at = data.draw(st.integers(0, len(texts[place]) - 1))
        texts[place] = texts[place][:at] + ("0" if texts[place][at] != "0" else "1") + texts[place][at + 1 :]
    path.write_text("".join(f"{text}\n" for text in texts))
    broken = verify(path)
    assert broken is not None
    assert place < broken <= place + 2


@FEW
@given(data=st.data())
def test_the_chain_goes_on_after_a_torn_line(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "audit.jsonl"
    log = write(path, 2)
    for _ in range(data.draw(st.integers(1, 3))):  # crashes in a row, each somewhere in what was written last
        before = path.stat().st_size
        log.append("key", "items", 7, {"added": 1})
        cut = data.draw(st.integers(before, path.stat().st_size))
        os.truncate(path, cut)
    log.append("key", "last", 8)
    assert verify(path) is None
    lines = log.read_last(99)
    assert [line.n for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1].act == "last"
    assert all(set(line.about) == {"bytes", "sha256"} for line in lines if line.act == TORN)


def test_a_torn_line_is_noted_and_cannot_hide_a_change(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = write(path, 2)
    with path.open("ab") as file:
        file.write(b'{"n":3,"at":17')
    assert verify(path) == 3
    log.append("key", "items", 8)
    assert [line.act for line in log.read_last(9)] == ["items", "items", TORN, "items"]
    assert log.read_last(2)[0].about["bytes"] == 14
    assert verify(path) is None
    path.write_bytes(path.read_bytes().replace(b'{"n":3,"at":17\n', b'{"n":3,"at":18\n'))
    assert verify(path) == 3


@pytest.mark.slow
def test_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    code = (
        "import sys; from pathlib import Path; from kgrec.service.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]))\nfor n in range(30): log.append(sys.argv[2], 'items', n)"
    )
    ran = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(2)]
    assert [process.wait() for process in ran] == [0, 0]
    assert verify(path) is None
    assert sorted(line.actor for line in AuditLog(path).read_last(100)) == ["0"] * 30 + ["1"] * 30


@pytest.mark.parametrize("fault", ["write", "fsync"])
def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    path = tmp_path / "audit.jsonl"
    log = write(path, 2)
    before = path.read_bytes()

    class Full(audit_module.io.FileIO):
        def write(self, content: object) -> int:
            if fault == "write":
                super().write(bytes(content)[:20])  # type: ignore[call-overload]
                raise OSError(28, "No space left on device")
            return super().write(content)  # type: ignore[arg-type]

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit_module.io, "FileIO", Full)
        if fault == "fsync":
            patched.setattr(audit_module.os, "fsync", fail)
        with pytest.raises(StoreError, match="No space left on device"):
            log.append("key", "items", 9)
    assert path.read_bytes() == before
    log.append("key", "items", 9)
    assert verify(path) is None


def test_the_last_lines_are_read_from_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_BLOCK", 64)  # shorter than a line
    log = write(tmp_path / "audit.jsonl", 9)
    assert [line.n for line in log.read_last(4)] == [6, 7, 8, 9]
    assert len(log.read_last(100)) == 9
    assert log.read_last(0) == []
    assert verify(tmp_path / "audit.jsonl") is None


def test_no_log_is_whole(tmp_path: Path) -> None:
    assert verify(tmp_path / "none.jsonl") is None
    assert AuditLog(tmp_path / "none.jsonl").read_last(5) == []


def test_pseudonyms_stay_and_differ_between_folders(tmp_path: Path) -> None:
    here, there = Pseudonyms(tmp_path / "here"), Pseudonyms(tmp_path / "there")
    hashed = here.hash("user-4711")
    assert len(hashed) == 32
    assert hashed == here.hash("user-4711") == Pseudonyms(tmp_path / "here").hash("user-4711")
    assert len({hashed, here.hash("user-4712"), there.hash("user-4711")}) == 3
    assert stat.S_IMODE((tmp_path / "here" / "pseudonyms.secret").stat().st_mode) == 0o600


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "pseudonyms.secret").write_bytes(b"")
    with pytest.raises(StoreError, match="has 0 bytes; expected 32"):
        Pseudonyms(tmp_path).hash("user")
