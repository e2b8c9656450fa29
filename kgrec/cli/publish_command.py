"""The publish command."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import open_bundle
from kgrec.cli.options import SERVER_HELP, WAIT_S, Wait
from kgrec.terminal import count_of, make_counter, print_table, say, show_progress, show_stages

if TYPE_CHECKING:
    from kgrec.publish import PublishReport
    from kgrec.recommend import Recommender
    from kgrec.store.neo4j.connection import Connection
    from kgrec.store.neo4j.old_versions import Removed


@app.command()
def publish(
    to: Annotated[str, typer.Option("--to", metavar="STORE", help=SERVER_HELP)],
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
    status: Annotated[bool, typer.Option("--status", help="List the published versions, and what is left.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove all that was published; your own data stays as it is.")
    ] = False,
    wait: Wait = WAIT_S,
) -> None:
    """Publishes vectors and recommendations in Neo4j.

    Applications read item vectors, similar items and recommendations by Cypher. Writes only what has changed since the
    version before.
    """
    from kgrec.errors import RequestError
    from kgrec.store.neo4j.connection import Connection
    from kgrec.store.neo4j.old_versions import remove_release
    from kgrec.store.neo4j.release import roll_back

    if (bundle is not None) + rollback + status + remove != 1:
        raise RequestError("expected one of BUNDLE, --rollback, --status and --remove")
    if bundle is None:
        with Connection(to, "read" if status else "write", wait_s=wait, on_wait=say) as connection:
            if remove:
                print_removed(remove_release(connection), to)
                return
            if rollback:
                roll_back(connection)
            print_status(connection)
        return
    n_segments = read_segments(segments)
    recommender = open_bundle(bundle)
    started = time.perf_counter()
    with Connection(to, "write", wait_s=wait, on_wait=say) as connection:
        report = publish_with_progress(recommender, connection, neighbours, recommend, n_segments)
    print_published(report, to)
    say(f"published in {time.perf_counter() - started:.1f} s")


def print_status(connection: "Connection") -> None:
    """Prints the published versions, and how much of them is left where nodes were deleted since."""
    from kgrec.store.neo4j.published_state import count_left
    from kgrec.store.neo4j.release import read_release

    release = read_release(connection)
    if not release.versions:
        say(f"nothing is published in {connection.url}")
        return
    rows, is_less = [], False
    for version in reversed(release.versions):
        cells: list[int | str] = list(version.n_published.values())
        if version in release.kept:
            left = count_left(connection, version)
            cells = [n if left[what] >= n else f"{left[what]:,} of {n:,}" for what, n in version.n_published.items()]
            is_less |= left != version.n_published
        rows.append((version.name, release.state(version), *cells))
    print_table(f"Published in {connection.url}", ("version", "state", *release.versions[0].n_published), rows)
    if is_less:
        say("where it says N of M, N are left: the others went with nodes that were deleted since; sync, then publish")


def print_removed(removed: "Removed | None", to: str) -> None:
    """Prints what was removed of all that was published."""
    if removed is None:
        say(f"nothing is published in {to}")
        return
    parts = [f"{n:,} {kind}" for kind, n in removed.n_edges.items() if n]
    if removed.n_indexes:
        parts.append("1 vector index" if removed.n_indexes == 1 else f"{removed.n_indexes} vector indexes")
    parts += [f"the segments of {count_of(removed.n_users, 'user')}"] if removed.n_users else []
    say(f"removed from {to}: {', '.join([*parts, 'the KgrecRelease node'])}")


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
    say(describe_written(report))
    if report.release.previous is not None:
        say(f"{report.release.previous.name} is kept: `kgrec publish --rollback --to {to}` makes it live again")


def describe_written(report: "PublishReport") -> str:
    """Says what was written, and what is as it was in the version before."""
    version = report.version
    n, n_all = version.n_written, sum((*version.n_edges.values(), *version.n_vectors.values()))
    written = [count_of(n, "relationship")] if n else []
    if report.segments:
        n_users = sum(len(segment.users) for segment in report.segments)
        written.append(f"the segments of {count_of(n_users, 'user')}")
    others = f"{n_all - n:,} others" if n else f"all {n_all:,} relationships"
    as_before = f"; {others} are as they were" if n < n_all else ""
    return f"written: {' and '.join(written) or 'nothing new'}{as_before}"
