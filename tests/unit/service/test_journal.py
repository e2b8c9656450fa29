"""The journal: what is committed stays, what is not is gone, and each thing has one entry."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.service import journal as journal_module
from kgrec.service.journal import Entry, Journal
from kgrec.service.problems import Problem

MOST = 2**24


def open_journal(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite", MOST)


def append(journal: Journal, *entries: Entry) -> int:
    with journal.writing() as writing:
        return writing.append(entries)


def test_entries_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, Entry("item", "a", body="1"), Entry("user", "u", body="2"))
    append(journal, Entry("interaction", "u", "a", "3"))
    journal.close()
    found = open_journal(tmp_path).read(0)
    assert [(entry.about, entry.subject, entry.item, entry.body, entry.seq) for entry in found] == [
        ("item", "a", "", "1", 1),
        ("user", "u", "", "2", 2),
        ("interaction", "u", "a", "3", 3),
    ]


def test_a_later_entry_takes_the_place_of_the_one_about_the_same(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, Entry("item", "a", body="old"), Entry("item", "b", body="other"))
    append(journal, Entry("item", "a", body="new"))
    assert [(entry.subject, entry.body) for entry in journal.read(0)] == [("b", "other"), ("a", "new")]
    append(journal, Entry("interaction", "u", "a", "like"), Entry("removed", "a"))
    assert [(entry.about, entry.subject) for entry in journal.read(0)] == [
        ("item", "b"),
        ("user", "u"),  # who stays, though the item is gone
        ("removed", "a"),
    ]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, Entry("item", "a"))
    with pytest.raises(RuntimeError), journal.writing() as writing:
        writing.append([Entry("item", "b")])
        raise RuntimeError
    assert [entry.subject for entry in journal.read(0)] == ["a"]
    assert journal.last_seq == 1


def test_another_process_sees_that_something_was_written(tmp_path: Path) -> None:
    mine, theirs = open_journal(tmp_path), open_journal(tmp_path)
    before = theirs.stamp()
    assert theirs.stamp() == before
    append(mine, Entry("item", "a"))
    assert theirs.stamp() != before
    assert [entry.subject for entry in theirs.read(0)] == ["a"]


def test_an_erased_user_is_in_no_byte_of_the_files(tmp_path: Path) -> None:
    journal, name = open_journal(tmp_path), "somebody-with-a-long-name"
    append(journal, Entry("user", name, body=name), Entry("interaction", name, "a"), Entry("item", "a"))
    with journal.writing() as writing:
        writing.add_feedback([(1, name, name)])
        writing.keep_answer("key", "hash", f'{{"unknown": {{"{name}": []}}}}')
    assert journal.count_traces(name) == {"journal": 2, "feedback": 1}
    with journal.writing() as writing:
        writing.erase_user(name)
    journal.compact()
    assert journal.count_traces(name) == {"journal": 0, "feedback": 0}
    assert journal.find_answer("key") is None
    assert not [file for file in tmp_path.iterdir() if name.encode() in file.read_bytes()]
    assert [entry.subject for entry in journal.read(0)] == ["a"]


def test_a_full_journal_takes_no_writes_and_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 10)
    with pytest.raises(Problem) as caught:
        append(journal, Entry("item", "a"))
    assert caught.value.status == 507
    assert journal.read(0) == []


def test_times_do_not_go_back_when_the_clock_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(tmp_path)
    monkeypatch.setattr(journal_module.time, "time", lambda: 2_000_000_000.0)
    append(journal, Entry("item", "a"))
    monkeypatch.setattr(journal_module.time, "time", lambda: 1_000_000_000.0)
    append(journal, Entry("item", "b"))
    assert [entry.at for entry in journal.read(0)] == [2_000_000_000, 2_000_000_000]


def test_a_damaged_file_is_kept_beside_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, *(Entry("item", f"item-{place:04}", body="x" * 200) for place in range(300)))
    journal.compact()
    journal.close()
    file = tmp_path / "journal.sqlite"
    content = bytearray(file.read_bytes())
    content[-20_000:-16_000] = b"\xff" * 4000
    file.write_bytes(bytes(content))
    mended = open_journal(tmp_path)
    assert mended.damaged is not None and mended.damaged.exists()
    kept = {entry.subject for entry in mended.read(0)}
    assert kept <= {f"item-{place:04}" for place in range(300)} and len(kept) > 100
    append(mended, Entry("item", "new"))
    assert mended.read(0)[-1].subject == "new"


def test_a_torn_log_beside_the_file_loses_only_what_was_not_committed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    append(journal, Entry("item", "a"))
    wal = tmp_path / "journal.sqlite-wal"
    committed = wal.read_bytes()
    other = tmp_path / "crashed"
    other.mkdir()
    (other / "journal.sqlite").write_bytes((tmp_path / "journal.sqlite").read_bytes())
    (other / "journal.sqlite-wal").write_bytes(committed + b"\x00garbage" * 100)
    assert [entry.subject for entry in open_journal(other).read(0)] == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["item", "removed"]), st.sampled_from("abc")), max_size=12))
def test_the_last_word_about_each_item_counts(acts: list[tuple[str, str]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(journal_module._TABLES)
    writing = journal_module.Writing(connection)
    for about, subject in acts:
        writing.append([Entry(about, subject)])  # type: ignore[arg-type]
    last = {subject: about for about, subject in acts}
    assert {entry.subject: entry.about for entry in writing.read(0)} == last
