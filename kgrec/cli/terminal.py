"""What people see while a command runs and when it is done: sentences, progress, tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_FEW = 10  # in a second: of fewer the first digit that counts is told
SECONDS_PER_LINE = 30.0  # of progress where there is no terminal


def say(message: str) -> None:
    """Tells people something, beside the results."""
    print(message, file=sys.stderr)


def open_console(*, stderr: bool = False) -> Any:
    """Where tables are printed."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def show_progress() -> Iterator["Progress"]:
    """Bars on a terminal while something goes on, gone when it is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    console = open_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def make_counter(progress: "Progress", what: str, total: int | None = None) -> Callable[[str, int], None]:
    """A bar that is told (a type's name, rows just done)."""
    task: TaskID | None = None

    def tell(name: str, n_rows: int) -> None:
        nonlocal task
        if task is None:
            task = progress.add_task(what, total=total)
        progress.update(task, advance=n_rows, description=f"{what} {name}")

    return tell


def make_total_counter(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """A bar that is told (done so far, in all) and says how many in a second and for how long; lines off a terminal."""
    task: TaskID | None = None
    begun_at, begun, said_at = 0.0, 0, 0.0

    def tell(done: int, total: int) -> None:
        nonlocal task, begun_at, begun, said_at
        now = progress.get_time()
        if task is None:  # what came before has no part in the rate: models are loaded, caches read
            task = progress.add_task(what, total=total)
            begun_at, begun, said_at = now, done, now
        rate = (done - begun) / max(now - begun_at, 1e-9)
        shown = f"{rate:,.0f}" if rate >= _FEW else f"{rate:.1g}"
        left = f", {shown}/s, {timedelta(seconds=round((total - done) / rate))} left" if rate else ""
        progress.update(task, completed=done, total=total, description=f"{what}{left}", visible=done < total)
        if not progress.console.is_terminal and now - said_at > SECONDS_PER_LINE:
            said_at = now
            say(f"{what}: {done:,} of {total:,}{left}")

    return tell


def tell_stages(progress: "Progress") -> Callable[[str], None]:
    """A spinner that shows the stage that is under way."""
    task: TaskID | None = None

    def tell(stage: str) -> None:
        nonlocal task
        if task is not None:
            progress.remove_task(task)
        task = progress.add_task(stage, total=None)
        if not progress.console.is_terminal:
            say(stage)

    return tell


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table."""
    open_console().print(to_rich_table(title, columns, rows))


def to_rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A table whose numbers stand on the right."""
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
    """The first of some ids, and how many more there are."""
    more = f" and {len(ids) - most:,} more" if len(ids) > most else ""
    return ", ".join(map(repr, ids[:most])) + more
