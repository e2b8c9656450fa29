"""API keys: made once, kept as hashes, revoked everywhere, and no quicker to refuse for an unknown id."""

import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kgrec.errors import RequestError, StoreError
from kgrec.service import keys as keys_module
from kgrec.service.caller import Caller, Scope, Tenant
from kgrec.service.keys import KeyStore


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "folder" / "keys.sqlite")


def test_a_key_is_found_with_all_that_it_allows(store: KeyStore) -> None:
    tenant = Tenant("shop", "s-7")
    token = store.create("web shop", Scope.WRITE, tenant, 12)
    _, key, secret = token.split("_", 2)
    assert (len(key), len(secret)) == (8, 43)
    assert store.recall(token) is None  # it was never checked in this process
    assert store.find(token) == store.recall(token) == Caller(key, "web shop", Scope.WRITE, tenant)
    assert [(entry.caller, entry.created_at, entry.revoked_at) for entry in store.list()] == [
        (Caller(key, "web shop", Scope.WRITE, tenant), 12, None)
    ]


def test_keys_survive_in_the_file_and_no_secret_is_in_it(store: KeyStore, tmp_path: Path) -> None:
    token = store.create("a", Scope.READ, None, 1)
    path = tmp_path / "folder" / "keys.sqlite"
    content = path.read_bytes()
    assert token.split("_", 2)[2].encode() not in content
    assert b"$argon2id$" in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert KeyStore(path).find(token) == Caller(token[6:14], "a", Scope.READ)


@pytest.mark.parametrize("change", ["secret", "id", "case", "prefix", "newline", "empty"])
def test_another_key_is_not_found(store: KeyStore, change: str) -> None:
    token = store.create("a", Scope.READ, None, 1)
    store.find(token)
    wrong = {
        "secret": token[:-1] + ("a" if token[-1] != "a" else "b"),
        "id": "kgrec_" + ("0" if token[6] != "0" else "1") + token[7:],
        "case": token.upper(),
        "prefix": token.removeprefix("kgrec_"),
        "newline": token + "\n",
        "empty": "",
    }[change]
    assert store.recall(wrong) is None
    assert store.find(wrong) is None


def test_an_unknown_id_is_verified_as_long_as_a_known_one(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    hasher = keys_module._HASHER

    class Watched:
        def verify(self, hashed: str, secret: str) -> bool:
            verified.append(hashed.rsplit("$", 2)[0])  # algorithm and parameters
            return hasher.verify(hashed, secret)

    known = store.create("a", Scope.READ, None, 1)
    monkeypatch.setattr(keys_module, "_HASHER", Watched())
    store.find("kgrec_00000000_" + "a" * 43)
    store.find(known[:15] + "a" * 43)
    store.find(known)
    assert len(verified) == 3
    assert len(set(verified)) == 1


def test_a_revoked_key_is_gone_at_once_and_its_hash_too(store: KeyStore, tmp_path: Path) -> None:
    kept, token = store.create("b", Scope.READ, None, 1), store.create("a", Scope.READ, None, 1)
    store.find(token), store.find(kept)
    assert store.revoke(token[6:14], 5)
    assert not store.revoke(token[6:14], 6)
    assert not store.revoke("00000000", 6)
    assert (store.recall(token), store.find(token)) == (None, None)
    assert store.recall(kept) is not None
    assert [entry.revoked_at for entry in store.list()] == [None, 5]
    with sqlite3.connect(tmp_path / "folder" / "keys.sqlite") as file:
        assert file.execute("SELECT COUNT(*) FROM keys WHERE hash IS NULL").fetchone() == (1,)


@pytest.mark.slow
def test_another_process_revokes_and_this_one_forgets(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, kept = store.create("a", Scope.READ, None, 1), store.create("b", Scope.READ, None, 1)
    assert store.find(token) and store.find(kept)
    code = (
        "import sys; from pathlib import Path; from kgrec.service.keys import KeyStore; "
        "KeyStore(Path(sys.argv[1])).revoke(sys.argv[2], 3)"
    )
    path = tmp_path / "folder" / "keys.sqlite"
    subprocess.run([sys.executable, "-c", code, str(path), token[6:14]], check=True)
    now = store._looked_at
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now + 0.99)
    assert store.recall(token) is None  # within a second
    assert store.recall(kept) is not None


def test_a_key_that_is_revoked_while_it_is_checked_is_not_kept(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = store.create("a", Scope.READ, None, 1)
    hasher = keys_module._HASHER

    class Slow:
        def verify(self, hashed: str, secret: str) -> bool:
            KeyStore(tmp_path / "folder" / "keys.sqlite").revoke(token[6:14], 2)
            return hasher.verify(hashed, secret)

        hash = staticmethod(hasher.hash)

    monkeypatch.setattr(keys_module, "_HASHER", Slow())
    assert store.find(token) is None
    assert store.recall(token) is None


def test_keys_are_forgotten_when_the_file_cannot_be_read(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = store.create("a", Scope.READ, None, 1)
    store.find(token)
    (tmp_path / "folder" / "keys.sqlite").unlink()
    now = store._looked_at
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now + 1)
    assert store.recall(token) is not None  # a short fault refuses nobody
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now + 60)
    assert store.recall(token) is None
    with pytest.raises(StoreError, match=r"keys\.sqlite"):
        store.find(token)


def test_threads_check_and_revoke_at_once(store: KeyStore) -> None:
    tokens = [store.create(str(place), Scope.READ, None, place) for place in range(4)]
    threads = [threading.Thread(target=store.find, args=(token,)) for token in tokens * 2]
    for thread in threads:
        thread.start()
    store.revoke(tokens[0][6:14], 9)
    for thread in threads:
        thread.join()
    assert [store.recall(token) is None for token in tokens] == [True, False, False, False]


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", "\x1b[31mred"])
def test_a_name_is_a_line_of_text(store: KeyStore, name: str) -> None:
    with pytest.raises(RequestError, match="the name of a key"):
        store.create(name, Scope.READ, None, 1)


def test_a_tenant_is_no_admin(store: KeyStore) -> None:
    with pytest.raises(RequestError, match="cannot have the scope admin"):
        store.create("a", Scope.ADMIN, Tenant("shop", "s-7"), 1)
    assert store.list() == []


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    path.write_text("no database " * 100)
    with pytest.raises(StoreError, match="cannot use the keys"):
        KeyStore(path).list()
