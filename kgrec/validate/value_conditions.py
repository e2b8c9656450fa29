"""Conditions on single values, in Cypher: which values staging rejects, and why.

They must read a value as `checks.columns` does, which reads the values of a graph that kgrec did not write.
"""

from graph_schema import EdgeType, NodeType
from graph_schema.checks.columns import FINER_THAN_SECONDS
from graph_schema.checks.number_texts import READABLE, READABLE_INT
from graph_schema.schema_types import AttributeType

_BOOLS = "['true', 't', 'yes', 'y', '1', '1.0', 'false', 'f', 'no', 'n', '0', '0.0']"
_MOST_SECONDS = 2.0**63  # a number from there on is not a time
# what staging reads as a missing value, but of a column of texts
IS_MISSING = r"(value IS NULL OR text =~ '[\\s\\p{Z}]*|(?i:nan)|NULL|null|None|N/A|\\\\N|<NA>')"
_IS_INFINITE = r"(coalesce(abs(number), 0) = Infinity OR text =~ '(?i)[+-]?inf(inity)?')"
_DAY = (  # a day that there is, from the year 1 on
    r"(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
    r"|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
_CLOCK = r"[T ]([01]\\d|2[0-3])(:[0-5]\\d(:[0-5]\\d(\\.\\d{1,9})?)?)?(Z|[+-](0\\d|1[0-7])(:?[0-5]\\d)?|[+-]18(:?00)?)?"
_EIGHT_DIGITS = r"value IS :: STRING AND text =~ '\\d{8}([.]0*)?' AND 19000101 <= number <= 21001231"
_HYPHENED = "left(text, 4) + '-' + substring(text, 4, 2) + '-' + substring(text, 6, 2)"


def bind_value(
    carried: str, value: str, declared: NodeType | EdgeType, column: str, *, is_foreign: bool
) -> tuple[list[str], str]:
    """Writes the clauses that name a value, for conditions: `at`, epoch seconds, where it is a time, else `number`.

    In a foreign graph also `value` as it is, and `text`, "?" where it has none.

    Args:
        carried: the variables that the clauses keep.
        value: the expression of the value.
        declared: the type that has the column.
        column: the value's column.
        is_foreign: whether the values may be of other types than the schema's.

    Returns:
        The clauses, and what to return of the value.
    """
    is_time = declared.columns[column] == "time"
    if not is_foreign:
        name = "at" if is_time else "number"
        return [f"WITH {carried}, {value} AS {name}"], name
    text = "coalesce(toStringOrNull(value), '?')"
    if is_time:  # without the name of a time zone
        text = f"trim(CASE WHEN value IS :: ZONED DATETIME NOT NULL THEN split({text}, '[')[0] ELSE {text} END)"
    clauses = [
        f"WITH {carried}, {value} AS value",
        f"WITH {carried}, value, toFloatOrNull(value) AS number, {text} AS text",
    ]
    if is_time:  # as `kgrec.store.neo4j.foreign` and staging read it
        finer = [
            f"WHEN value IS :: INTEGER AND abs(value) >= {least} THEN value / {unit}"
            for least, unit in FINER_THAN_SECONDS
        ]
        if column in declared.milliseconds:  # also where they are written as text
            finer.append(f"WHEN number >= {FINER_THAN_SECONDS[-1][0]} THEN floor(number / 1000)")
        cases = [
            *finer,
            f"WHEN {_EIGHT_DIGITS} THEN",
            f"  CASE WHEN {_HYPHENED} =~ '{_DAY}' THEN datetime({_HYPHENED}).epochSeconds END",
            "WHEN number IS NOT NULL THEN floor(number)",
            f"WHEN text =~ '({_DAY})({_CLOCK})?' THEN datetime(replace(text, ' ', 'T')).epochSeconds",
        ]
        clauses.append("\n    ".join([f"WITH {carried}, value, number, text, CASE", *cases]) + "\n  END AS at")
    return clauses, "text AS value" if is_time else "value"  # a driver may not read a time of any year


def is_unfit(kind: AttributeType, problem: str, time_range: tuple[int, int]) -> str | None:
    """The condition under which staging rejects a value, in the names of `bind_value`; None: Cypher cannot express it.

    Args:
        kind: the value's type in the schema.
        problem: the reason that staging gives.
        time_range: the epoch seconds that a time may have, from the first up to but not including the second.
    """
    if kind in ("list", "point", "vector"):
        return None
    if problem.endswith("is infinite"):
        return _IS_INFINITE
    if problem.endswith("has a NUL character"):
        return r"text CONTAINS '\u0000'"
    if problem.endswith("is out of range"):
        return f"NOT {time_range[0]} <= at < {time_range[1]} AND abs(at) < {_MOST_SECONDS}"
    is_wrong = {
        "float": f"number IS NULL AND NOT {_IS_INFINITE} AND NOT {_matches(READABLE)}",
        "int": f"(number IS NULL AND NOT {_matches(READABLE_INT)} "
        f"OR number <> floor(number) OR abs(number) >= {2.0**63})",
        "bool": f"NOT toLower(text) IN {_BOOLS}",
        "time": f"(at IS NULL OR abs(at) >= {_MOST_SECONDS})",
    }
    return f"NOT {IS_MISSING}\n  AND {is_wrong[kind]}" if kind in is_wrong and " is not a" in problem else None


def _matches(pattern: str) -> str:
    """The condition that a text, without the spaces around it, matches a pattern that Python and Java read alike."""
    escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return f"trim(text) =~ '(?U){escaped}'"
