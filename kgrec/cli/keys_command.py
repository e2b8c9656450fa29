"""The commands for a service's keys and its audit log."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.options import BundlePath
from kgrec.terminal import count_of, print_table, say

COMMAND_LINE = "command line"  # the actor in the audit log
_EXIT_BROKEN = 1


class ScopeName(StrEnum):
    """What a key allows."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


keys_app = typer.Typer(
    help="Makes, lists and revokes the API keys of a service.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys_app, name="keys")
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="The service folder. Default: BUNDLE.service, beside the bundle."),
]


@keys_app.command()
def create(
    bundle: BundlePath,
    data: DataFolder = None,
    name: Annotated[str, typer.Option("--name", help="What to call the key.")] = "unnamed",
    scope: Annotated[ScopeName, typer.Option("--scope", help="What it allows.")] = ScopeName.READ,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant", metavar="KIND=ID", help="Only items linked to this node exist for the key, such as shop=s-7."
        ),
    ] = None,
) -> None:
    """Makes a key and prints it, this once."""
    from kgrec.service.extra import check_extra

    check_extra()
    from kgrec.errors import RequestError
    from kgrec.service.audit_log import AuditLog
    from kgrec.service.caller import Scope
    from kgrec.service.keys import KeyStore
    from kgrec.service.problems import Problem
    from kgrec.service.tenants import check_tenant, read_tenant

    folder = _find_folder(bundle, data)
    found = None if tenant is None else read_tenant(tenant)
    if found is not None:
        from kgrec.bundle import load_bundle

        try:
            n_items = check_tenant(load_bundle(bundle), found)
        except Problem as problem:
            raise RequestError(f"--tenant: {problem.document().detail}") from problem
        say(f"{count_of(n_items, 'item')} of {bundle} exist for this key")
    now = int(time.time())
    key = KeyStore(folder / "keys.sqlite").create(name, Scope[scope.name], found, now)
    id_ = key.split("_")[1]
    AuditLog(folder / "audit.jsonl").append(COMMAND_LINE, "create key", now, {"key": id_, "scope": scope.value})
    say(f"made the key {id_} ({name}, {scope.value}); it is shown this once:")
    print(key)


@keys_app.command(name="list")
def list_keys(bundle: BundlePath, data: DataFolder = None) -> None:
    """Lists the keys, without their secrets."""
    from kgrec.service.extra import check_extra

    check_extra()
    from kgrec.service.keys import KeyStore

    rows = [
        [
            entry.caller.key, entry.caller.name, entry.caller.scope.name.lower(),
            None if entry.caller.tenant is None else f"{entry.caller.tenant.kind}={entry.caller.tenant.node}",
            _to_day(entry.created_at), None if entry.revoked_at is None else _to_day(entry.revoked_at),
        ]
        for entry in KeyStore(_find_folder(bundle, data) / "keys.sqlite").list()
    ]  # fmt: skip
    print_table(f"keys of {bundle}", ["key", "name", "scope", "tenant", "made", "revoked"], rows)


@keys_app.command()
def revoke(
    bundle: BundlePath,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The id of the key: the eight digits after kgrec_.")],
    data: DataFolder = None,
) -> None:
    """Makes a key invalid; a running service refuses it within a second."""
    from kgrec.service.extra import check_extra

    check_extra()
    from kgrec.errors import RequestError
    from kgrec.service.audit_log import AuditLog
    from kgrec.service.keys import KeyStore

    folder, now = _find_folder(bundle, data), int(time.time())
    if not KeyStore(folder / "keys.sqlite").revoke(key, now):
        raise RequestError(f"no valid key has the id {key!r}; `kgrec keys list {bundle}` lists them")
    AuditLog(folder / "audit.jsonl").append(COMMAND_LINE, "revoke key", now, {"key": key})
    say(f"revoked the key {key}")


@app.command()
def audit(
    bundle: BundlePath,
    data: DataFolder = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many lines to show.")] = 20,
) -> None:
    """Verifies the audit log of a service, and shows its last lines.

    Exit status 1: a line was changed, added or taken out.
    """
    from kgrec.service.audit_log import AuditLog, verify

    path = _find_folder(bundle, data) / "audit.jsonl"
    broken, lines = verify(path), AuditLog(path).read_last(last)
    rows = [
        [
            str(line.n),
            _to_day(line.at),
            line.actor,
            line.act,
            ", ".join(f"{name} {x}" for name, x in line.about.items()),
        ]
        for line in lines
    ]
    print_table(f"{path}", ["line", "at (UTC)", "key", "act", "about"], rows)
    if broken is not None:
        say(f"line {broken} of the file does not follow from those before it: it, or what was there, has been changed")
        raise typer.Exit(_EXIT_BROKEN)
    if lines:
        say(f"the chain of all {count_of(lines[-1].n, 'line')} is whole; it ends with {lines[-1].hash}")


def _find_folder(bundle: Path, data: Path | None) -> Path:
    """The service folder of a bundle, which may come later where the folder is there already."""
    from kgrec.bundle.folder import read_manifest
    from kgrec.errors import BundleError
    from kgrec.service.settings import ServeSettings

    folder = ServeSettings(bundle=bundle, data=data).folder
    if not folder.is_dir():
        try:
            read_manifest(bundle)
        except BundleError as error:
            raise BundleError(f"{error}; or name a service folder that is there with --data") from error
    return folder


def _to_day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
