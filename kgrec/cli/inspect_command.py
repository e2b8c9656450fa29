"""The inspect command."""

import math
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.draft_choice import make_asker, show_alternatives
from kgrec.cli.options import (
    STORE_HELP,
    WAIT_S,
    Encoding,
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

if TYPE_CHECKING:
    from rich.console import Console

    from graph_schema import CatalogueSchema
    from graph_schema.drafts.draft import Draft
    from graph_schema.drafts.profile import GraphProfile

_MOST_MISSING = 0.1  # the share of a table's rows that `load` rejects without being asked


@app.command()
def inspect(
    place: Annotated[str, typer.Argument(metavar="STORE|DIR", help=f"{STORE_HELP}; or a folder of files.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.toml", help="The file to write the draft to. Default: stdout.")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Choose the users, the items and the interaction; Enter takes the first.")
    ] = False,
    encoding: Encoding = None,
    wait: Wait = WAIT_S,
) -> None:
    """Drafts a schema from a graph or a folder of files.

    Nothing is changed. Exit status 1: no interactions were found, and the draft has a place to fill in.
    """
    from graph_schema.drafts.draft import draft_schema
    from graph_schema.schema_toml import to_toml
    from kgrec.errors import RequestError

    if out is not None and out.exists():
        raise RequestError(f"{out} exists and may have been edited; name another --out, or delete it first")
    console = open_console(stderr=out is None)
    following = _Following(place, out, encoding)
    if Path(place).is_dir() and _write_ready(following, console):
        return
    profile, held = _read_profile(place, encoding, wait)
    if held is not None:
        _write_draft(to_toml(held), out)
        say(f"kgrec loaded the catalogue {held.name!r} in {place}: this is its schema, nothing is guessed")
        return
    assert profile is not None
    draft = draft_schema(profile, make_asker(open_console(stderr=True)) if ask else None)
    _write_draft(draft.toml, out)
    _show(console, profile, draft, place)
    if draft.is_complete:
        name = re.sub(r"[^\w.-]+", "-", draft.schema.name)
        missing = max((one.missing for one in profile.relationships if one.type in draft.schema.edges), default=0.0)
        following.show(console, "tabular" if profile.is_tables else None, name, needs_schema=True, missing=missing)
        return
    advice = f"\nThe draft is incomplete: kgrec learns from interactions, and found none. {draft.advice}"
    console.print(advice, markup=False, soft_wrap=True)
    console.print(f"next, when there are some: kgrec inspect {shlex.quote(place)}", markup=False, soft_wrap=True)
    raise typer.Exit(1)


@dataclass(frozen=True)
class _Following:
    """The commands that come after inspect."""

    place: str
    out: Path | None
    encoding: str | None

    def show(
        self, console: "Console", source: str | None, name: str, *, needs_schema: bool, missing: float = 0.0
    ) -> None:
        """Prints them.

        Args:
            console: where to.
            source: what loads a folder; None for a graph.
            name: of the catalogue.
            needs_schema: whether the source has no schema of its own.
            missing: the greatest share of a table's rows that lack an end, which a load rejects.
        """
        place = shlex.quote(self.place)
        schema = f" --schema {shlex.quote(str(self.out or 'FILE.toml'))}"
        encoded = "" if self.encoding is None else f" --encoding {shlex.quote(self.encoding)}"
        given = schema if needs_schema else ""
        rejects = f" --max-rejects {math.ceil(missing * 100 + 1) / 100}" if missing > _MOST_MISSING else ""
        last = (
            f"kgrec train {place}{schema} --out BUNDLE"
            if source is None
            else f"kgrec load {source} --path {place}{given}{encoded}{rejects} --to ladybug:{name}.db"
        )
        for when, command in (("next", f"kgrec preview {place}{schema}{encoded}"), ("then, when that is right", last)):
            console.print(f"{when}: {command}", markup=False, soft_wrap=True)


def _write_ready(following: _Following, console: "Console") -> bool:
    """Writes the ready schema of a folder whose layout is known; False: it is not."""
    from loaders.known_layouts import find_layout

    found = find_layout(Path(following.place))
    if found is None:
        return False
    _write_draft(found.schema_file.read_text(encoding="utf-8"), following.out)
    console.print(f"this is {found.title}: a ready schema, nothing is guessed", markup=False)
    following.show(console, found.source, found.name, needs_schema=found.source == "tabular")
    return True


def _show(console: "Console", profile: "GraphProfile", draft: "Draft", place: str) -> None:
    """Prints what a draft was concluded from, what it may be instead, and what it leaves out."""
    n_nodes = sum(node.count for node in profile.nodes.values())
    n_edges = sum(one.count for one in profile.relationships if not one.path)
    title = f"{place}: {n_nodes:,} nodes, {n_edges:,} {'edges' if profile.is_tables else 'relationships'}"
    rows = [(guess.about, guess.choice, guess.sure, guess.why) for guess in draft.guesses]
    console.print(to_rich_table(title, ("what", "guess", "how sure", "why"), rows))
    show_alternatives(console, draft.alternatives)
    for sentence in draft.left_out:
        console.print(f"left out: {sentence}", markup=False)


def _read_profile(
    place: str, encoding: str | None, wait: float
) -> "tuple[GraphProfile | None, CatalogueSchema | None]":
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
        if Path(place).is_file():
            raise StoreError(
                f"{place} is a file; name its folder: kgrec inspect {shlex.quote(str(Path(place).parent))}"
            )
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
