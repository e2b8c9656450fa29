"""The commands for a catalogue: load, inspect, validate."""

import re
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import default_rejects, without_header_only
from kgrec.cli.options import (
    STORE_HELP,
    WAIT_S,
    FailOn,
    MaxRejects,
    OutFile,
    Rejects,
    ReportFormat,
    SchemaFile,
    Store,
    Wait,
)
from kgrec.terminal import (
    count_of,
    make_counter,
    open_console,
    print_table,
    say,
    show_progress,
    show_stages,
    to_rich_table,
)


@app.command()
def load(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="movielens-100k, or tabular for your own files.")],
    to: Annotated[str, typer.Option("--to", metavar="STORE", help=STORE_HELP)],
    path: Annotated[Path | None, typer.Option("--path", metavar="DIR", help="The folder with the files.")] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE.toml", help="The schema of the files (tabular needs it).")
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="CSV file for bad rows. Default: next to the store."),
    ] = None,
    max_rejects: MaxRejects = 0.1,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="The encoding of text files that are not UTF-8.")
    ] = None,
    wait: Wait = WAIT_S,
) -> None:
    """Loads a catalogue into a store, or updates it.

    Bad rows go to a reject file.
    """
    from graph_schema import CatalogueSchema
    from graph_schema.staging import stage_tables
    from kgrec import cache_dir
    from kgrec.store import NEO4J_SCHEMES, load_staged, open_store
    from loaders import open_source

    started = time.perf_counter()
    given = None if schema is None else CatalogueSchema.from_toml(schema)
    reject_file = rejects or default_rejects(to)
    if to.partition(":")[0] in NEO4J_SCHEMES:  # a refusal should come before minutes of reading
        open_store(to, mode="write", wait_s=wait, on_wait=say).close()
    with show_progress() as progress, without_header_only(reject_file, keep=rejects is not None):
        reading = make_counter(progress, "reading and checking")
        opened = open_source(source, path=path, schema=given, cache_dir=cache_dir(), encoding=encoding)
        with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
            reject_file.parent.mkdir(parents=True, exist_ok=True)
            staged = stage_tables(opened, Path(folder), rejects=reject_file, max_rejects=max_rejects, on_rows=reading)
            writing = make_counter(
                progress, "writing", total=sum(staged.n_nodes.values()) + sum(staged.n_edges.values())
            )
            with open_store(to, mode="write", wait_s=wait, on_wait=say) as store:
                report = load_staged(store, staged, writing)
    took = time.perf_counter() - started
    rows = [("node", name, n, report.counts.nodes[name]) for name, n in report.n_nodes.items()]
    rows += [("edge", name, n, report.counts.edges[name]) for name, n in report.n_edges.items()]
    print_table(f"{opened.schema.name} in {to}", ("kind", "type", "loaded", "in the store"), rows)
    total = sum(report.n_nodes.values()) + sum(report.n_edges.values())
    say(f"{total:,} rows in {took:.1f} s, {total / took:,.0f} rows/s")
    if report.n_repeats:
        say(f"{count_of(report.n_repeats, 'edge')} repeated another; the latest of each is kept")
    if report.n_rejects:
        say(f"{count_of(report.n_rejects, 'row')} rejected: see {reject_file}")
    if report.n_incomplete:
        say(f"{count_of(report.n_incomplete, 'row')} kept without values that do not fit: see {reject_file}")


@app.command()
def inspect(
    place: Annotated[
        str, typer.Argument(metavar="STORE|DIR", help=f"{STORE_HELP}; or a folder of CSV or Parquet files.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.toml", help="The file to write the draft to. Default: stdout.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="The encoding of text files that are not UTF-8.")
    ] = None,
    wait: Wait = WAIT_S,
) -> None:
    """Drafts a schema from a graph or a folder of files.

    Nothing is changed. Exit status 1: no interactions were found, and the draft has a place to fill in.
    """
    from graph_schema.draft import draft_schema
    from graph_schema.schema_toml import to_toml
    from kgrec.errors import RequestError

    if out is not None and out.exists():
        raise RequestError(f"{out} exists and may have been edited; name another --out, or delete it first")
    profile, held = _read_profile(place, encoding, wait)
    if held is not None:
        _write_draft(to_toml(held), out)
        say(f"kgrec loaded the catalogue {held.name!r} in {place}: this is its schema, nothing is guessed")
        return
    draft = draft_schema(profile)
    _write_draft(draft.toml, out)
    console = open_console(stderr=out is None)
    n_nodes, n_edges = (sum(one.count for one in found) for found in (profile.nodes.values(), profile.relationships))
    title = f"{place}: {n_nodes:,} nodes, {n_edges:,} {'edges' if profile.is_tables else 'relationships'}"
    rows = [(guess.about, guess.choice, guess.sure, guess.why) for guess in draft.guesses]
    console.print(to_rich_table(title, ("what", "guess", "how sure", "why"), rows))
    for sentence in draft.left_out:
        console.print(f"left out: {sentence}", markup=False)
    file = shlex.quote(str(out or "FILE.toml"))
    if draft.is_complete:
        encoded = "" if encoding is None else f" --encoding {shlex.quote(encoding)}"
        name = re.sub(r"[^\w.-]+", "-", draft.schema.name)
        following = (
            f"kgrec load tabular --path {shlex.quote(place)} --schema {file}{encoded} --to ladybug:{name}.db"
            if profile.is_tables
            else f"kgrec train {shlex.quote(place)} --schema {file} --out BUNDLE"
        )
        console.print(f"next, when the draft is right: {following}", markup=False, soft_wrap=True)
        return
    advice = f"\nThe draft is incomplete: kgrec learns from interactions, and found none. {draft.advice}"
    console.print(advice, markup=False, soft_wrap=True)
    console.print(f"next, when there are some: kgrec inspect {shlex.quote(place)}", markup=False, soft_wrap=True)
    raise typer.Exit(1)


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
    """Finds problems in the data of a store.

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
        found = validate_store(opened, now=now, rejects=rejects, on_rows=make_counter(progress, "reading"))
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


def _read_profile(place: str, encoding: str | None, wait: float) -> tuple[Any, Any]:
    """Returns the profile of a folder or a graph, or the schema that kgrec keeps there; the other is None."""
    from kgrec.errors import StoreError
    from kgrec.store import NEO4J_SCHEMES, open_store

    scheme = place.partition(":")[0]
    with show_progress() as progress:
        if scheme in NEO4J_SCHEMES:
            from kgrec.store.neo4j.inspection import read_profile as read_graph
            from kgrec.store.neo4j.store import Neo4jStore, has_catalogue

            with Neo4jStore(place, "read", wait_s=wait, on_wait=say) as store:
                if has_catalogue(store.connection):
                    return None, store.read_schema()
                return read_graph(store.connection, show_stages(progress)), None
        if scheme == "ladybug" and not Path(place).is_dir():
            with open_store(place, mode="read") as opened:
                return None, opened.read_schema()
        if not Path(place).is_dir():
            raise StoreError(f"{place!r} is neither a store nor a folder; expected {STORE_HELP}, or a folder of tables")
        from loaders import read_profile as read_tables

        return read_tables(Path(place), encoding, make_counter(progress, "reading")), None


def _write_draft(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    say(f"written to {out}")
