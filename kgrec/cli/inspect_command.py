"""The inspect command."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.options import (
    STORE_HELP,
    WAIT_S,
    Wait,
)
from kgrec.terminal import (
    make_counter,
    open_console,
    say,
    show_progress,
    show_stages,
    to_rich_table,
)


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
