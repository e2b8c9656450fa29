"""The serve command: recommendations over HTTP."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.options import STORE_HELP, BundlePath
from kgrec.terminal import say


@app.command()
def serve(
    bundle: BundlePath,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="The service folder: journal, keys, audit log, snapshots. Default: BUNDLE.service.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Default: 8000.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes. Default: 1.")] = None,
    candidate: Annotated[
        Path | None, typer.Option("--candidate", metavar="BUNDLE", help="A second bundle, to compare with.")
    ] = None,
    share: Annotated[
        float | None, typer.Option("--share", min=0, max=1, help="The share of users whom the candidate answers.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="STORE", help=f"Sync with this store: {STORE_HELP}.")
    ] = None,
    every: Annotated[
        float | None, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to sync. Default: 60.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="A report of `kgrec evaluate`, for the page.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="PEM", help="The certificate for TLS.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="Its private key.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="A page elsewhere that may call (CORS); repeatable.")
    ] = None,
    traces: Annotated[
        str | None, typer.Option("--traces", metavar="URL", help="An OTLP endpoint; needs kgrec[telemetry].")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Settings, such as limits; the options above go first."),
    ] = None,
) -> None:
    """Serves a bundle over HTTP, with a page at /. Keys come from `kgrec keys create`."""
    from kgrec.service.extra import check_extra

    check_extra()
    from kgrec.config import read_toml
    from kgrec.service.server import check_start, run
    from kgrec.service.settings import ServeSettings

    given: dict[str, Any] = {
        "bundle": bundle, "data": data, "host": host, "port": port, "workers": workers, "candidate": candidate,
        "share": share, "store": store, "sync_every_s": every, "report": report, "tls_certificate": certificate,
        "tls_key": key, "origins": tuple(origin) if origin else None, "traces": traces,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    settings = ServeSettings.read((read_toml(config) if config else {}) | given, str(config or "the command line"))
    check_start(settings)
    scheme = "http" if settings.tls_key is None else "https"
    say(f"{bundle}: {scheme}://{settings.host}:{settings.port}, service folder {settings.folder}")
    run(settings)
