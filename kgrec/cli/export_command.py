"""The export command: likes for outsiders."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.options import BundlePath, OutFormat
from kgrec.cli.results import choose_format, write_table
from kgrec.terminal import count_of, say


class Period(StrEnum):
    """The finest period of a released like."""

    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    NONE = "none"


@app.command()
def export(
    bundle: BundlePath,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write to.")],
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Every user of the table has the same record as at least K - 1 others; required."
        ),
    ] = False,
    k: Annotated[int, typer.Option("--k", metavar="K", help="The least number of users with the same record.")] = 5,
    times: Annotated[
        Period, typer.Option("--times", help="The finest period of a like; coarser where a group has none in common.")
    ] = Period.MONTH,
    format_: OutFormat = None,
) -> None:
    """Writes likes as a table for outsiders: random pseudonyms, items, periods.

    Only what at least K users have in common is released; the rest is left out, and counted.
    """
    from kgrec.anonymous import export_anonymous
    from kgrec.bundle import load_bundle
    from kgrec.errors import RequestError

    if not anonymous:
        raise RequestError(
            "got export without --anonymous; likes under the users' own ids are in the store that the bundle was "
            "trained on: read them there, or add --anonymous --k 5"
        )
    choose_format(format_, out)  # before the work, not after it
    found = export_anonymous(load_bundle(bundle), k, finest=times.value)
    write_table(found.table, format_, out, "likes")
    n_users, n_likes = found.n_users - found.n_users_left_out, found.n_likes - found.n_likes_left_out
    say(f"k = {found.k}: each record is that of at least {count_of(found.k, 'user')}; asked for {k}")
    say(
        f"released {count_of(n_users, 'user')} and {count_of(n_likes, 'like')}; left out "
        f"{count_of(found.n_users_left_out, 'user')} and {count_of(found.n_likes_left_out, 'like')} that too few share"
    )
    if n_likes:
        say(f"times of likes, as fine as a group has in common: {found.describe_periods()}")
    say(f"likes written to {out}")
