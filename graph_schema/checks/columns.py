"""Converts raw columns to the types that a schema declares; rows that do not fit are reported, not guessed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.base_errors import CatalogueError
from graph_schema.checks.column_texts import Problem, decode, is_missing_word, is_text, parse_each, to_mask, to_string
from graph_schema.checks.list_columns import to_list, to_point, to_vector
from graph_schema.checks.number_texts import Notation, parse_float, parse_numbers
from graph_schema.checks.time_texts import parse_times
from graph_schema.schema_types import ARROW_TYPES, AttributeType

MOST_ID_BYTES = 4096
# (least, how many a second) of numbers finer than epoch seconds, which reach 10^11 in the year 5138; milliseconds
# reached it in 1973
FINER_THAN_SECONDS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))

_SECONDS_2101 = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())
_SECONDS_1000 = int(datetime(1000, 1, 1, tzinfo=UTC).timestamp())
_BOOLS = dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "0", "0.0"), False
)
_NO_BOOL, _NO_INT = "is not a bool (true or false, 1 or 0)", "is not an int"
_NO_TIME = "is not a time (epoch seconds or ISO 8601)"
_MISWRITTEN_TIMES = (  # a pattern of texts that are not times, and what is wrong with them
    (
        r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(\D|$)",
        f"{_NO_TIME}: the year comes last, so day and month may be mixed up; write 2023-12-31, or say the form by "
        "time_formats in the schema",
    ),
    (r"^\s*\d{8}(\.0*)?\s*$", f"{_NO_TIME}: its eight digits are no date such as 20231231"),
)
_MOST_INT = 2**63
_N_TRIED = 8
_FINER_UNITS = (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9))
_FIRST_DATE, _LAST_DATE = 1900_01_01, 2100_12_31  # as eight digits; as epoch seconds they are days of 1970


def convert_column(
    column: pa.Array, kind: AttributeType, notation: Notation | None = None, *, time_format: str | None = None
) -> tuple[pa.Array, list[Problem]]:
    """Converts a raw column to a declared type.

    Numbers may be numbers or text, also with a currency or a unit: "$12.99", "1.299,00 €", "12 kg"; values in another
    unit than most do not fit. NaN and empty text are missing values (null), but in a column of type "string".
    Times may be Arrow timestamps or dates, epoch seconds, or ISO 8601 (UTC where no zone is given). Text of eight
    digits from 19000101 to 21001231 is a date; a number of eight digits is epoch seconds.
    Lists may be lists or text: "a|b", "a; b", "a, b" or JSON. Points may be lists or structs of two numbers, or text:
    "59.9, 10.7", or "POINT(10.7 59.9)" with the longitude first.

    Args:
        column: the values as the source has them.
        kind: the type declared in the schema.
        notation: how the numbers of the whole column are written, where `column` is a part of it; None: found in it.
        time_format: how times that are text are written, as `datetime.strptime` takes it; None: as above.

    Returns:
        The values (null where a row does not fit) and the rows that do not fit.

    Raises:
        CatalogueError: the column's type can never be read as `kind`.
    """
    column = decode(column)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), ARROW_TYPES[kind]), []
    if kind not in ("string", "list") and pa.types.is_string(column.type):  # a word may be a value of these
        column = pc.if_else(is_missing_word(column), pa.scalar(None, pa.string()), column)
    try:
        if kind in ("int", "float"):
            return (_to_int if kind == "int" else _to_float)(column, notation)
        if kind == "time" and time_format is not None and is_text(column.type):
            return parse_times(column, time_format)
        return _CONVERTERS[kind](column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogueError(f"values of type {column.type} cannot be read as {kind!r}: {error}") from error


def convert_ids(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    """Converts a raw column to ids: text is kept as it is, integers and whole floats become decimal text.

    Empty text and words for a missing value, such as "nan", become null. An id of more than `MOST_ID_BYTES` does not
    fit: graph databases index no longer ones.

    Raises:
        CatalogueError: the column holds neither text nor whole numbers.
    """
    column = decode(column)
    kind = column.type
    problems: list[Problem] = []
    if pa.types.is_floating(kind):
        column, problems = _to_whole(column, "is not a whole number; expected text or whole numbers as ids")
        no_ids = len(column) == column.null_count and any(bad.any() for bad, _ in problems)
    else:
        is_number = pa.types.is_integer(kind) or getattr(kind, "scale", 1) == 0
        no_ids = not (is_number or is_text(kind) or pa.types.is_null(kind))
    if no_ids:
        raise CatalogueError(f"ids of type {kind}; expected text or whole numbers: convert the column in the source")
    values, others = convert_column(column, "string")
    is_long = to_mask(pc.greater(pc.binary_length(values), MOST_ID_BYTES))
    problems = [*problems, *others, (is_long, f"is an id of more than {MOST_ID_BYTES:,} bytes")]
    return pc.if_else(is_missing_word(values), pa.scalar(None, pa.string()), values), problems


def from_milliseconds(times: pa.Array, column: pa.Array) -> pa.Array:
    """The seconds of a column whose numbers are epoch milliseconds.

    Numbers below 10^11 (1973 in milliseconds, the year 5138 in seconds) are taken as seconds, and dates stay.

    Args:
        times: int64 [rows], the column as `convert_column` gives it.
        column: the values as the source has them.
    """
    column = decode(column)
    if pa.types.is_temporal(column.type):
        return times
    is_number = pc.greater_equal(times, FINER_THAN_SECONDS[-1][0])
    if is_text(column.type):
        is_number = pc.and_(is_number, pc.invert(pc.match_substring_regex(column, r"\d-\d")))
    return pc.if_else(is_number, pc.divide(times, 1000), times)


def time_range(*, interaction: bool) -> tuple[int, int]:
    """The UTC seconds that a time may have, from the first up to but not including the second: 1970 or 1000 to 2100."""
    return (0 if interaction else _SECONDS_1000), _SECONDS_2101


def find_times_outside(times: pa.Array, *, interaction: bool, milliseconds: bool = False) -> list[Problem]:
    """The rows whose time is out of range: interactions from 1970 to 2100, other times from the year 1000 to 2100.

    Args:
        times: int64 [rows], UTC seconds.
        interaction: whether these are times of interactions.
        milliseconds: whether the source has them as epoch milliseconds.
    """
    first, end = time_range(interaction=interaction)
    seconds = times.fill_null(0).to_numpy(zero_copy_only=False)
    outside = (seconds < first) | (seconds >= end)
    problems: list[Problem] = []
    if outside.any():
        declared, finer = ("milliseconds", _FINER_UNITS[1:]) if milliseconds else ("seconds", _FINER_UNITS)
        for unit, per_second in finer:
            factor = per_second // 1000 if milliseconds else per_second  # milliseconds are seconds by now
            # after 1980 in that unit, so a few stray large numbers are not called milliseconds
            fits = outside & (seconds >= 315_532_800 * factor) & (seconds < _SECONDS_2101 * factor)
            problems.append((fits, f"is out of range, it looks like {unit}: expected {declared} or ISO 8601"))
        problems.append((outside, f"is out of range: expected {1970 if interaction else 1000} to 2100"))
    return problems


def _to_float(column: pa.Array, notation: Notation | None) -> tuple[pa.Array, list[Problem]]:
    problems: list[Problem] = []
    if is_text(column.type):
        column, problems = _read_numbers(column, "float", notation)
    values = column.cast(pa.float64(), safe=False)
    infinite = to_mask(pc.is_inf(values))
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values), [*problems, (infinite, "is infinite")]


def _to_int(column: pa.Array, notation: Notation | None) -> tuple[pa.Array, list[Problem]]:
    if is_text(column.type):
        return _read_numbers(column, "int", notation)
    if pa.types.is_floating(column.type):
        return _to_whole(column, _NO_INT)
    return column.cast(pa.int64()), []


def _read_numbers(column: pa.Array, kind: AttributeType, notation: Notation | None) -> tuple[pa.Array, list[Problem]]:
    text, problems = to_string(column)
    try:
        return text.cast(ARROW_TYPES[kind]), problems
    except pa.ArrowInvalid:
        values, others = parse_numbers(text, kind, notation)
        return values, [*problems, *others]


def _to_bool(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    if pa.types.is_boolean(column.type):
        return column, []
    text, problems = to_string(column)
    try:
        return text.cast(pa.bool_()), problems
    except pa.ArrowInvalid:
        values, bad = parse_each(text, _parse_bool, pa.bool_())
        return values, [*problems, (bad, _NO_BOOL)]


def _to_time(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    if is_text(column.type):
        text, problems = to_string(column)
        # a clean column is of one kind throughout; where a cast fails it is slow, so a few values are tried first
        for kind in (pa.int64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                text.slice(0, _N_TRIED).cast(kind)
                values = text.cast(kind)
            except pa.ArrowInvalid:
                continue
            if pa.types.is_timestamp(kind):
                return _to_seconds(values), problems
            if to_mask(pc.and_(pc.greater_equal(values, _FIRST_DATE), pc.less_equal(values, _LAST_DATE))).any():
                break  # some may be dates
            return values, problems
        values, bad = parse_each(text, _parse_time, pa.int64())
        for pattern, reason in _MISWRITTEN_TIMES:
            looks_so = bad & to_mask(pc.match_substring_regex(text, pattern))
            problems.append((looks_so, reason))
            bad &= ~looks_so
        return values, [*problems, (bad, _NO_TIME)]
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        return _to_whole(pc.floor(column.cast(pa.float64(), safe=False)), _NO_TIME)
    return _to_seconds(column) if pa.types.is_temporal(kind) else column.cast(pa.int64()), []


def _to_seconds(column: pa.Array) -> pa.Array:
    zone = getattr(column.type, "tz", None)
    return column.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())


def _to_whole(column: pa.Array, reason: str) -> tuple[pa.Array, list[Problem]]:
    numbers = column.cast(pa.float64())
    missing = ~to_mask(pc.is_finite(numbers)) & ~to_mask(pc.is_inf(numbers))
    whole = to_mask(pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), float(_MOST_INT))))
    return pc.if_else(pa.array(whole), numbers, None).cast(pa.int64()), [(~missing & ~whole, reason)]


def _parse_bool(text: str) -> bool | None:
    if text.lower() == "nan":
        return None
    if text.lower() not in _BOOLS:
        raise ValueError(text)
    return _BOOLS[text.lower()]


def _parse_time(text: str) -> int | None:
    try:
        number = parse_float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    else:
        if number is not None and _FIRST_DATE <= number <= _LAST_DATE and re.fullmatch(r"\d{8}(\.0*)?", text):
            number = datetime.strptime(f"{number:.0f}", "%Y%m%d").replace(tzinfo=UTC).timestamp()
    if number is not None and abs(number) >= _MOST_INT:
        raise ValueError(text)
    return None if number is None else int(number // 1)


_CONVERTERS: dict[str, Callable[[pa.Array], tuple[pa.Array, list[Problem]]]] = {
    "string": to_string,
    "bool": _to_bool,
    "time": _to_time,
    "list": to_list,
    "point": to_point,
    "vector": to_vector,
}
