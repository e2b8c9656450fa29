"""The validate command."""

import sys
import time
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import default_rejects
from kgrec.cli.options import (
    WAIT_S,
    FailOn,
    OutFile,
    Rejects,
    ReportFormat,
    SchemaFile,
    Store,
    Wait,
)
from kgrec.terminal import (
    make_counter,
    open_console,
    say,
    show_progress,
)


@app.command()
def validate(
    store: Store,
    schema: SchemaFile = None,
    fail_on: Annotated[
        FailOn,
        typer.Option("--fail-on", help="The severity that makes the exit status 1; it is 2 when validate cannot run."),
    ] = FailOn.ERROR,
    format_: Annotated[
        ReportFormat | None, typer.Option("--format", help="Default: from the ending of --out, else table.")
    ] = None,
    out: OutFile = None,
    rejects: Rejects = None,
    wait: Wait = WAIT_S,
) -> None:
    """Finds problems in the data of a store, and in what its last load left out.

    Each comes with its extent, its effect, and the Cypher query that lists the rows.
    """
    from rich.console import Console

    from graph_schema import CatalogueSchema
    from kgrec.store import open_store
    from kgrec.validate import Severity, print_validation, to_json, validate_store

    given = None if schema is None else CatalogueSchema.from_toml(schema)
    now = int(time.time())
    with (
        show_progress() as progress,
        open_store(store, mode="read", schema=given, wait_s=wait, on_wait=say) as opened,
    ):
        found = validate_store(
            opened,
            now=now,
            rejects=rejects,
            load_rejects=default_rejects(store),
            on_rows=make_counter(progress, "reading"),
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if (format_ or ("json" if out is not None and out.suffix == ".json" else "table")) == "json":
        text = to_json(found, store=store, validated_at=now)
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8")
    elif out is None:
        print_validation(found, open_console(), store=store)
    else:
        with out.open("w", encoding="utf-8") as file:
            print_validation(found, Console(file=file, width=120, highlight=False), store=store)
    if fail_on != FailOn.NEVER and found.has(Severity(fail_on)):
        raise typer.Exit(1)
