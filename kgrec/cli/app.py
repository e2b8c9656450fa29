"""The command line itself: what runs a command, and how what can go wrong is told."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

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


def main() -> None:
    """Runs the command line."""
    run_guarded(app)


def run_guarded(action: Callable[[], object]) -> None:
    """Runs what may fail in ways that a person can mend: each is one message on stderr and exit code 2."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        action()
    except _Interrupted:
        _fail(
            "interrupted: bundles and reports are written only when they are whole, and what is published goes live "
            "only then; after an interrupted load or adapt, run the same again: it goes on, or makes the store whole"
        )
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _fail(f"{error}; check the path and that there is room and permission to read or write it")
    except Exception as error:
        from graph_schema.errors import KgrecError  # here, so that --help does not wait for Arrow

        if not isinstance(error, KgrecError):
            raise
        _fail(str(error))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends at once
    raise _Interrupted


def _fail(message: str) -> None:
    print(f"kgrec: error: {message}", file=sys.stderr)
    sys.exit(EXIT_ERROR)
