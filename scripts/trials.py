"""Tries every layout that people get catalogues in: inspect, the accepted draft, load, train, recommend."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # neo4j_server, which starts one
# numpy and torch read these when they are imported. On tiny matrices one thread is the fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import typer
from trial_layouts import FOLDERS, GRAPHS
from trial_series import choose_layouts, print_outcomes, try_layouts

NAMES = [layout.name for layout in (*FOLDERS, *GRAPHS)]


def main(
    only: Annotated[list[str] | None, typer.Option(help="The name of a layout; repeatable.")] = None,
    third: Annotated[int | None, typer.Option(min=0, max=2, help="Every third layout, from this one.")] = None,
    keep: Annotated[Path | None, typer.Option(help="A new folder for what is made, else it is deleted.")] = None,
) -> None:
    """Tries layouts of catalogues; ends with status 1 if one fails."""
    unknown = set(only or ()) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"no layout {', '.join(sorted(unknown))}; expected some of {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="trials-", ignore_cleanup_errors=True) as folder:
        outcomes = try_layouts(*choose_layouts(only or (), third), keep or Path(folder))
    print_outcomes(outcomes)
    raise typer.Exit(int(any(outcome.message for outcome in outcomes)))


if __name__ == "__main__":
    typer.run(main)
