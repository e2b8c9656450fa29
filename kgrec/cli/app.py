"""The command line itself: runs a command and reports errors."""

import io
import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

EXIT_ERROR = 2
app = typer.Typer(
    name="kgrec",
    help="Recommendations from a knowledge graph that are good from the first click.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class _Interrupted(BaseException):
    """Ctrl-C; not KeyboardInterrupt, which typer would answer itself, nor an Exception, which libraries swallow."""


@app.callback()
def configure(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Show the log on stderr; -vv with details.")
    ] = 0,
) -> None:
    """Recommendations from a knowledge graph that are good from the first click."""
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        log = logging.getLogger("kgrec")
        log.addHandler(handler)
        log.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)


def main() -> None:
    """Runs the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Windows pipes are not UTF-8
            stream.reconfigure(encoding="utf-8")
    run_guarded(app)


def run_guarded(action: Callable[[], object]) -> None:
    """Runs an action; an error that the user can fix becomes one message on stderr and exit code 2."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        action()
    except _Interrupted:
        _fail(
            "interrupted: bundles, reports and published versions are written whole or not at all; to finish an "
            "interrupted load or adapt, run the same command again"
        )
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _fail(f"{error}; check the path, the free space and the permission to read or write it")
    except Exception as error:
        from graph_schema.base_errors import KgrecError  # here, so that --help does not wait for Arrow

        if not isinstance(error, KgrecError):
            raise
        _fail(str(error))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
    raise _Interrupted


def _fail(message: str) -> None:
    print(f"kgrec: error: {message}", file=sys.stderr)
    sys.exit(EXIT_ERROR)
