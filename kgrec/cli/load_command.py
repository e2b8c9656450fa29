"""The load command."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import default_rejects, without_header_only
from kgrec.cli.options import (
    STORE_HELP,
    WAIT_S,
    Encoding,
    MaxRejects,
    Wait,
)
from kgrec.terminal import (
    count_of,
    make_counter,
    print_table,
    say,
    show_progress,
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
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove from the store what is no longer in the source.")
    ] = False,
    encoding: Encoding = None,
    wait: Wait = WAIT_S,
) -> None:
    """Loads a catalogue into a store, or updates it.

    Bad rows go to a reject file. Rows that the store has and the source has not stay, unless --replace is given.
    """
    from graph_schema import CatalogueSchema
    from graph_schema.checks.rejects import open_reject_log
    from graph_schema.checks.repeated_edges import describe_repeats
    from graph_schema.checks.staging import stage_tables
    from kgrec import cache_dir
    from kgrec.store import NEO4J_SCHEMES, load_staged, open_store
    from loaders import describe_spaces, open_source

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
            with open_reject_log(reject_file) as log:
                staged = stage_tables(opened, Path(folder), rejects=log, max_rejects=max_rejects, on_rows=reading)
            writing = make_counter(
                progress, "writing", total=sum(staged.n_nodes.values()) + sum(staged.n_edges.values())
            )
            with open_store(to, mode="write", wait_s=wait, on_wait=say) as store:
                report = load_staged(store, staged, writing, replace=replace)
    took = time.perf_counter() - started
    rows = [("node", name, n, report.counts.nodes[name]) for name, n in report.n_nodes.items()]
    rows += [("edge", name, n, report.counts.edges[name]) for name, n in report.n_edges.items()]
    print_table(f"{opened.schema.name} in {to}", ("kind", "type", "loaded", "in the store"), rows)
    total = sum(report.n_nodes.values()) + sum(report.n_edges.values())
    say(f"{total:,} rows in {took:.1f} s, {total / took:,.0f} rows/s")
    if told := describe_spaces(opened):
        say(told)
    for name, n in report.repeats.items():
        say(f"{count_of(n, f'{name} edge')} repeated another: {describe_repeats(opened.schema, name)}")
    for name, n in report.removed.items():
        say(f"{count_of(n, f'{name} row')} removed, which the source no longer has")
    if report.others:
        named = ", ".join(f"{n:,} of {name}" for name, n in report.others.items())
        say(f"the store has rows that the source has not: {named}; --replace removes them")
    if shares := log.list_shares():
        listed = "; ".join(f"{n_bad:,} of {n:,} rows of {name} ({n_bad / n:.1%})" for name, n_bad, n in shares)
        kept = f", of which {report.n_incomplete:,} kept without values that do not fit" if report.n_incomplete else ""
        say(f"rejected: {listed}{kept}: see {reject_file}")
