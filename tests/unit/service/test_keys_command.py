"""The commands for keys and the audit log."""

import shutil
from pathlib import Path

import pytest
from shop import train_shop
from typer.testing import CliRunner

from kgrec.bundle import save_bundle
from kgrec.cli import app
from kgrec.errors import BundleError, RequestError
from kgrec.service.audit_log import AuditLog
from kgrec.service.caller import Caller, Scope, Tenant
from kgrec.service.keys import KeyStore


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "shop.kgrec"
    save_bundle(train_shop(), path)
    return path


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "shop.kgrec"))


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """The output and the errors of a command."""
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == code
    return ran.stdout, ran.stderr


def test_the_key_alone_is_on_stdout(bundle: Path) -> None:
    out, told = run("keys", "create", bundle, "--name", "web shop", "--scope", "write")
    key = out.strip()
    assert out == f"{key}\n"
    store = KeyStore(bundle.with_name("shop.kgrec.service") / "keys.sqlite")
    assert store.find(key) == Caller(key[6:14], "web shop", Scope.WRITE)
    assert key not in told
    assert key[6:14] in told


def test_keys_are_listed_and_revoked_and_all_is_audited(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    key = run("keys", "create", bundle, "--data", folder, "--scope", "admin")[0].strip()
    listed = run("keys", "list", bundle, "--data", folder)[0]
    assert key[6:14] in listed
    assert key not in listed
    run("keys", "revoke", bundle, key[6:14], "--data", folder)
    assert KeyStore(folder / "keys.sqlite").find(key) is None
    with pytest.raises(RequestError, match=r"no valid key .*kgrec keys list"):
        run("keys", "revoke", bundle, key[6:14], "--data", folder)
    lines = AuditLog(folder / "audit.jsonl").read_last(9)
    assert [(line.actor, line.act, line.about["key"]) for line in lines] == [
        ("command line", "create key", key[6:14]), ("command line", "revoke key", key[6:14])
    ]  # fmt: skip
    out, told = run("audit", bundle, "--data", folder)
    assert "revoke key" in out
    assert "the chain of all 2 lines is whole" in told


def test_a_changed_log_is_told(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    for _ in range(3):
        run("keys", "create", bundle, "--data", folder)
    path = folder / "audit.jsonl"
    path.write_text(path.read_text().replace('"scope":"read"', '"scope":"admin"', 1))
    assert "line 1 of the file" in run("audit", bundle, "--data", folder, code=1)[1]


def test_a_tenant_is_checked_with_the_bundle(bundle: Path) -> None:
    out, told = run("keys", "create", bundle, "--tenant", "maker=m-tea-0")
    assert "5 items of" in told
    store = KeyStore(bundle.with_name("shop.kgrec.service") / "keys.sqlite")
    found = store.find(out.strip())
    assert found is not None
    assert found.tenant == Tenant("maker", "m-tea-0")
    with pytest.raises(RequestError, match=r"got shop; expected one of \['maker', 'made_by'\]"):
        run("keys", "create", bundle, "--tenant", "shop=s-7")
    with pytest.raises(RequestError, match="cannot have the scope admin"):
        run("keys", "create", bundle, "--tenant", "maker=m-tea-0", "--scope", "admin")
    assert len(store.list()) == 1


def test_a_bundle_that_is_not_there_gets_no_folder(tmp_path: Path) -> None:
    for options in ([], ["--data", tmp_path / "new"]):
        with pytest.raises(BundleError, match=r"no bundle at .*typo\.kgrec.*--data"):
            run("keys", "create", tmp_path / "typo.kgrec", *options)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="no bundle at"):
        run("keys", "create", tmp_path / "empty")


def test_a_bundle_may_come_after_the_keys_of_a_service_folder_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    key = run("keys", "create", tmp_path / "later.kgrec", "--data", folder)[0].strip()
    assert KeyStore(folder / "keys.sqlite").find(key) is not None
