"""The publish command."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import open_bundle
from kgrec.cli.options import WAIT_S, Wait
from kgrec.terminal import make_counter, print_table, say, show_progress, show_stages

if TYPE_CHECKING:
    from kgrec.publish import PublishReport
    from kgrec.recommend import Recommender
    from kgrec.store.neo4j.connection import Connection


@app.command()
def publish(
    to: Annotated[str, typer.Option("--to", metavar="STORE", help="neo4j://HOST[:PORT][/DATABASE]")],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="The folder that `kgrec train` wrote.")
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", min=1, help="The most similar items per item.")] = 50,
    recommend: Annotated[
        int, typer.Option("--recommend", metavar="K", min=0, help="Recommendations per user; 0: none.")
    ] = 0,
    segments: Annotated[
        str | None,
        typer.Option("--segments", metavar="N|auto", help="Divide users into N groups of like taste, with names."),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Make the previous version live again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="List the published versions.")] = False,
    wait: Wait = WAIT_S,
) -> None:
    """Publishes vectors and recommendations in Neo4j.

    Applications read item vectors, similar items and recommendations by Cypher. Writes only what has changed since the
    version before.
    """
    from kgrec.errors import RequestError
    from kgrec.store.neo4j.connection import Connection
    from kgrec.store.neo4j.release import read_release, roll_back

    if (bundle is not None) + rollback + status != 1:
        raise RequestError("expected one of BUNDLE, --rollback and --status")
    if status or rollback:
        with Connection(to, "write" if rollback else "read", wait_s=wait, on_wait=say) as connection:
            release = roll_back(connection) if rollback else read_release(connection)
        if not release.versions:
            say(f"nothing is published in {to}")
            return
        rows = [(v.name, release.state(v), *v.n_published.values()) for v in reversed(release.versions)]
        print_table(f"Published in {to}", ("version", "state", *release.versions[0].n_published), rows)
        return
    assert bundle is not None
    n_segments = read_segments(segments)
    recommender = open_bundle(bundle)
    started = time.perf_counter()
    with Connection(to, "write", wait_s=wait, on_wait=say) as connection:
        report = publish_with_progress(recommender, connection, neighbours, recommend, n_segments)
    print_published(report, to)
    say(f"published in {time.perf_counter() - started:.1f} s")


def read_segments(given: str | None) -> int | None:
    """The number of segments asked for; None: "auto".

    Raises:
        RequestError: it is neither a number nor "auto".
    """
    if given is None or given.isdecimal():
        return int(given or 0)
    if given != "auto":
        from kgrec.errors import RequestError

        raise RequestError(f"got --segments {given!r}; expected a number of groups, or auto")
    return None


def publish_with_progress(
    recommender: "Recommender", connection: "Connection", neighbours: int, recommend: int, segments: int | None
) -> "PublishReport":
    """Publishes, and shows each step."""
    from kgrec.publish import publish_bundle

    with show_progress() as progress:
        return publish_bundle(
            recommender, connection, published_at=int(time.time()), neighbours=neighbours, recommend=recommend,
            segments=segments, on_stage=show_stages(progress), on_rows=make_counter(progress, "writing"),
        )  # fmt: skip


def print_published(report: "PublishReport", to: str) -> None:
    """Prints what was published, the queries, the segments and the remarks."""
    written = [(what, n) for what, n in report.version.n_published.items() if n]
    print(f"{report.version.name} is live in {to}")
    print_table("", ("what", "published"), written)
    for title, query in report.queries.items():
        print(f"// {title}\n{query};\n")
    for sentence in report.parameters:
        print(f"// {sentence}")
    if report.segments:
        rows = [(segment.number, len(segment.users), segment.name) for segment in report.segments]
        print_table("Segments of users", ("segment", "users", "name"), rows)
    for note in report.notes:
        say(note)
    n, n_all = report.version.n_written, sum((*report.version.n_edges.values(), *report.version.n_vectors.values()))
    say(
        f"{n:,} of {n_all:,} relationships were written; the others are as they were" if n < n_all else f"{n:,} written"
    )
    if report.release.previous is not None:
        say(f"{report.release.previous.name} is kept: `kgrec publish --rollback --to {to}` makes it live again")
