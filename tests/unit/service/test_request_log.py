"""Log lines of the service: one JSON object each, without messages of errors."""

import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from kgrec.service.request_log import FIELDS, JsonFormatter, describe_error


def line_of(message: str, *args: object, **options: object) -> dict[str, object]:
    record = logging.LogRecord("kgrec.service", logging.WARNING, "file.py", 1, message, args, None)
    for name, value in options.items():
        setattr(record, name, value)
    text = JsonFormatter().format(record)
    assert len(text.splitlines()) == 1
    found: dict[str, object] = json.loads(text)
    return found


def test_a_line_has_time_level_logger_and_message() -> None:
    line = line_of("%d entries replayed", 3, created=1_800_000_000.25)
    assert line == {
        "time": "2027-01-15T08:00:00.250+00:00", "level": "warning", "logger": "kgrec.service",
        "message": "3 entries replayed",
    }  # fmt: skip


@given(st.text(), st.dictionaries(st.sampled_from(["route", "key"]), st.text()))
def test_no_text_breaks_a_line(message: str, fields: dict[str, str]) -> None:
    line = line_of("%s", message, **{FIELDS: fields})
    assert line["message"] == message
    assert {name: line[name] for name in fields} == fields


def test_errors_are_named_without_their_messages() -> None:
    try:
        try:
            int("user-4711")
        except ValueError as error:
            raise RuntimeError("no user-4711") from error
    except RuntimeError:
        line = line_of("failed", exc_info=sys.exc_info())
    assert (line["error"], line["causes"]) == ("RuntimeError", ["ValueError"])
    assert "4711" not in json.dumps(line)


def test_deep_recursion_has_a_short_description() -> None:
    def dig(depth: int) -> None:
        if depth == 0:
            raise ValueError
        dig(depth - 1)

    try:
        dig(200)
    except ValueError as error:
        described = describe_error(error)
    places = described["places"]
    assert isinstance(places, list)
    assert len(places) == 30
    assert str(places[-1]).endswith(" dig")
