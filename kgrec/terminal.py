"""What people see while something runs and when it is done: sentences, progress, tables."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


SECONDS_PER_LINE = 30.0  # between lines of progress where no bar can be drawn
_FEW = 10  # rates below this, per second, are shown with one significant digit
_log = logging.getLogger("kgrec")


def say(message: str) -> None:
    """Prints a sentence to stderr, apart from the results."""
    print(message, file=sys.stderr)


def count_of(n: int, noun: str) -> str:
    """A count with its noun: "1 text", "2,000 texts"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def open_console(*, stderr: bool = False) -> "Console":
    """Opens the console that tables are printed to."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False)  # :Ticket: is a name


def draws_bars(console: "Console") -> bool:
    """Whether progress can be drawn: in a terminal, or in a notebook that has ipywidgets, which rich needs there."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def show_progress(console: "Console | None" = None) -> Iterator["Progress"]:
    """Draws bars while something runs and removes them when it is done.

    Args:
        console: where to; None: stderr. Where it can draw none, the progress is disabled and the functions below
            print lines.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False),
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    console = console or open_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not draws_bars(console)) as progress:
        yield progress


def make_counter(progress: "Progress", what: str, total: int | None = None) -> Callable[[str, int], None]:
    """Makes a bar to be called with (a type's name, rows just done)."""
    task: TaskID | None = None

    def count(name: str, n_rows: int) -> None:
        nonlocal task
        if task is None:
            task = progress.add_task(what, total=total)
        progress.update(task, advance=n_rows, description=f"{what} {name}")

    return count


def make_total_counter(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """Makes a bar to be called with (done so far, in total); it shows the rate and the time left."""
    task: TaskID | None = None
    started_at, started_with, printed_at = 0.0, 0, 0.0

    def count(done: int, total: int) -> None:
        nonlocal task, started_at, started_with, printed_at
        now = progress.get_time()
        if task is None:  # loading models and reading caches came before and is no part of the rate
            task = progress.add_task(what, total=total)
            started_at, started_with, printed_at = now, done, now
        rate = (done - started_with) / max(now - started_at, 1e-9)
        shown = f"{rate:,.0f}" if rate >= _FEW else f"{rate:.1g}"
        left = f", {shown}/s, {timedelta(seconds=round((total - done) / rate))} left" if rate else ""
        progress.update(task, completed=done, total=total, description=f"{what}{left}", visible=done < total)
        if progress.disable and now - printed_at > SECONDS_PER_LINE:
            printed_at = now
            say(f"{what}: {done:,} of {total:,}{left}")

    return count


def show_stages(progress: "Progress") -> Callable[[str], None]:
    """Makes a spinner to be called with each stage as it begins."""
    task: TaskID | None = None

    def show(stage: str) -> None:
        nonlocal task
        if task is not None:
            progress.remove_task(task)
        task = progress.add_task(stage, total=None)
        if progress.disable and not _log.isEnabledFor(logging.INFO):  # else the log has a line for it
            say(stage)

    return show


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table."""
    open_console().print(to_rich_table(title, columns, rows))


def to_rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Makes a table with numbers aligned right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        is_number = any(isinstance(row[place], int | float) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def list_some(ids: Sequence[str], most: int = 10) -> str:
    """Lists the first ids, and how many more there are."""
    more = f" and {len(ids) - most:,} more" if len(ids) > most else ""
    return ", ".join(map(repr, ids[:most])) + more
