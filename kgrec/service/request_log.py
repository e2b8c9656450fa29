"""The log of the service: one JSON object a line on stderr, with nothing personal in it.

Errors are logged by their type and the places in the code, never by their message, which may hold ids.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

REQUESTS = "kgrec.service.requests"  # the logger of the lines about requests
FIELDS = "fields"  # the attribute of a record that holds the fields of its line
_ROOT = Path(__file__).parents[2]  # places in the code are named from here
_MOST_PLACES = 30
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: the time in UTC, the level, its fields or its message, and its error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; line breaks in it are escaped."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, FIELDS, None)
        if fields:
            line |= fields
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe_error(record.exc_info[1])
        return _to_json(line)


def describe_error(error: BaseException) -> dict[str, object]:
    """An error without its message: its type, the types of its causes, and the places it came from, innermost last."""
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _MOST_PLACES:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_PLACES:]
    places = [f"{_name_file(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, **({"causes": causes} if causes else {}), "places": places}


def _name_file(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
        return path.relative_to(_ROOT).as_posix()
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return path.name


def set_up_logs(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Sends the logs of the service and of uvicorn as JSON to stderr, and warnings of everything else.

    Run uvicorn with `log_config=None, access_log=False`: its own access log has whole paths.

    Args:
        level: the least level of the service's lines.
        stream: where to; None: stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("kgrec.service", "uvicorn.error"):
        logging.getLogger(name).setLevel(level)
    # The rest of kgrec names ids and paths where it logs what it does.
    logging.getLogger("kgrec").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("kgrec", "kgrec.service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
