"""Chooses layouts, tries them one after another, and prints what came of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from neo4j_server import GIVEN_URL, PASSWORD, SERVE, USERNAME, Server
from trial_layouts import FOLDERS, GRAPHS, GraphLayout, Layout
from trial_run import STEPS, Outcome, try_folder, try_graph

from kgrec.terminal import open_console, say, to_rich_table


def choose_layouts(only: Sequence[str], third: int | None) -> tuple[list[Layout], list[GraphLayout]]:
    """Returns the folders and graphs of these names, and of those every third one from `third`; empty or None: all."""
    start, step = (0, 1) if third is None else (third, 3)
    return (
        [layout for layout in FOLDERS[start::step] if not only or layout.name in only],
        [layout for layout in GRAPHS[start::step] if not only or layout.name in only],
    )


def try_layouts(folders: Sequence[Layout], graphs: Sequence[GraphLayout], home: Path) -> list[Outcome]:
    """Tries layouts one after another, each in a folder below `home`."""
    os.environ["XDG_CACHE_HOME"] = str(home.absolute() / "cache")  # vectors of texts are computed, not found
    outcomes = []
    for layout in folders:
        say(layout.name)
        outcomes.append(try_folder(layout, home / layout.name))
    with ExitStack() as opened:
        url = opened.enter_context(start_server(home / "neo4j")) if graphs else None
        for graph in graphs if url else ():
            say(graph.name)
            outcomes.append(try_graph(graph, url, home / graph.name))
    if graphs and url is None:
        say("graphs are not tried: no ../shared/neo4j beside the project, and KGREC_TEST_NEO4J_URI names no server")
    return outcomes


@contextmanager
def start_server(home: Path) -> Iterator[str | None]:
    """The URL of a Neo4j server for the time of the trials; None where there is none to start and none is given."""
    if not SERVE.exists():
        yield GIVEN_URL
        return
    os.environ |= {"NEO4J_USERNAME": USERNAME, "NEO4J_PASSWORD": PASSWORD}
    server = Server(home).start()
    try:
        yield server.url
    finally:
        server.stop()


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Prints a row per trial, and below the table why trials failed."""
    rows = [
        (
            outcome.name,
            *("ok" if step in outcome.passed else "failed" if step == outcome.failed else "" for step in STEPS),
            "" if outcome.planted is None else f"{outcome.planted:.0%}",
            f"{outcome.seconds:.1f}",
        )
        for outcome in outcomes
    ]
    console = open_console()
    console.print(to_rich_table("Trials", ("layout", *STEPS, "planted", "seconds"), rows))
    for outcome in outcomes:
        if outcome.message:
            console.print(f"{outcome.name}: {outcome.failed}: {outcome.message}", markup=False, soft_wrap=True)
    n_failed = sum(bool(outcome.message) for outcome in outcomes)
    console.print(f"{len(outcomes) - n_failed} of {len(outcomes)} passed")
