"""The publish command."""

import time
from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import open_bundle
from kgrec.cli.options import WAIT_S, Wait
from kgrec.terminal import make_counter, print_table, say, show_progress, show_stages


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
    rollback: Annotated[bool, typer.Option("--rollback", help="Make the previous version live again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="List the published versions.")] = False,
    wait: Wait = WAIT_S,
) -> None:
    """Publishes vectors and recommendations in Neo4j.

    Applications read item vectors, similar items and recommendations by Cypher.
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
    recommender = open_bundle(bundle)
    from kgrec.publish import publish_bundle

    started = time.perf_counter()
    with Connection(to, "write", wait_s=wait, on_wait=say) as connection, show_progress() as progress:
        report = publish_bundle(
            recommender, connection, published_at=int(time.time()), neighbours=neighbours, recommend=recommend,
            on_stage=show_stages(progress), on_rows=make_counter(progress, "writing"),
        )  # fmt: skip
    written = [(what, n) for what, n in report.version.n_published.items() if n]
    print(f"{report.version.name} is live in {to}")
    print_table("", ("what", "published"), written)
    for title, query in report.queries.items():
        print(f"// {title}\n{query};\n")
    for note in report.notes:
        say(note)
    if report.release.previous is not None:
        say(f"{report.release.previous.name} is kept: `kgrec publish --rollback --to {to}` makes it live again")
    say(f"published in {time.perf_counter() - started:.1f} s")
