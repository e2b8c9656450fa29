"""Numbers as people write them: "$12.99", "1.299,00 €", "12 kg".

A column has one unit, that of most of its values: "12 kg" and "12 lb" are not to be compared. Values without a unit are
taken to be in it. Where the decimal mark of a value is in doubt ("1.299"), it is the one that most others have.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graph_schema.checks.column_texts import Problem, is_text, parse_each, to_string

_SIGN = r"[+\-\u2212]?"
_SYMBOLS = "$€£¥₹₽₩₺₴₪₫฿₦₱₡₲₵₸₼₾₿¢"
_ISO_CODES = (
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW KWD MXN MYR NGN "
    "NOK NZD PEN PHP PLN QAR RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR"
)
_CURRENCY = rf"[A-Za-z]{{0,2}}[{_SYMBOLS}]|{_ISO_CODES.replace(' ', '|')}|[Kk][rč]\.?|Fr\.?|zł|Rs\.?|Rp\.?|RM"
_UNIT = rf"[^\W\d_][^\s\d,;:|_()\[\]{{}}]{{0,19}}|[%‰°{_SYMBOLS}][^\s\d,;:|_()\[\]{{}}]{{0,5}}|[ck]?m[23]"
_SPACE = "[ \u00a0\u2009\u202f]"
_WHOLE = (
    r"\d+",
    r"\d{1,3}(?:,\d{3})+",
    r"\d{1,3}(?:\.\d{3})+",
    rf"\d{{1,3}}(?:(?:{_SPACE}|['\u2019])\d{{3}})+",
)
_FRACTIONS = (r"[.,]\d+", r"\.\d+", r",\d+", r"[.,]\d+")  # after each of them
_NUMBER = "|".join([*(f"{whole}(?:{part})?" for whole, part in zip(_WHOLE, _FRACTIONS, strict=True)), r"[.,]\d+"])


def _surround(number: str) -> str:
    return f"{_SIGN}(?:{_CURRENCY})?{_SPACE}*{_SIGN}(?:{number}){_SPACE}*(?:{_UNIT})?"


# Read alike by Python and, after "(?U)", by Java
READABLE = _surround(_NUMBER)
READABLE_INT = _surround("|".join(f"(?:{whole})(?:[.,]0{{1,2}})?" for whole in _WHOLE))
_PARTS = re.compile(
    f"(?P<sign>{_SIGN})(?P<before>{_CURRENCY})?{_SPACE}*(?P<inner>{_SIGN})"
    f"(?P<number>{_NUMBER}){_SPACE}*(?P<after>{_UNIT})?"
)
_MOST_LENGTH = 80
_OTHER_UNIT = "has the unit"
_MOST_UNITS = 5  # that are named in problems
_CODES = {"$": "usd", "us$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr", "₽": "rub", "₩": "krw", "zł": "pln"}
_MOST_INT = 2**63


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column are written.

    Attributes:
        unit: the unit of most of its values, as it is written there; empty: they have none.
        mark: the decimal mark of values that do not show theirs: "." or ",".
    """

    unit: str
    mark: str


def find_notation(column: pa.Array) -> Notation | None:
    """How the numbers of a column are written.

    Args:
        column: the values as the source has them, decoded.

    Returns:
        None for a column that is not text, or that Arrow can read, or that has no such numbers.
    """
    if not is_text(column.type):
        return None
    text, _ = to_string(column)
    try:
        text.cast(pa.float64())
    except pa.ArrowInvalid:
        units: Counter[str] = Counter()
        written: dict[str, str] = {}
        marks: Counter[str] = Counter()
        for counted in text.value_counts().to_pylist():
            found = _split(counted["values"] or "")
            if found is None:
                continue
            number, unit = found
            units[_to_code(unit)] += counted["counts"]
            written.setdefault(_to_code(unit), unit)
            marks[_find_mark(number)] += counted["counts"]
        if units:
            return Notation(written[units.most_common(1)[0][0]], "," if marks[","] > marks["."] else ".")
    return None


def parse_numbers(text: pa.Array, kind: str, notation: Notation | None) -> tuple[pa.Array, list[Problem]]:
    """Parses numbers of which at least one is not as Arrow reads them.

    Args:
        text: strings.
        kind: "float" or "int".
        notation: how they are written; None: found in them.

    Returns:
        The values, and the rows that do not fit.
    """
    notation = notation or find_notation(text) or Notation("", ".")
    code, mark = _to_code(notation.unit), notation.mark
    others: Counter[str] = Counter()

    def parse(value: str) -> float | None:
        found = _split(value)
        if found is None:
            return parse_float(value) if kind == "float" else _parse_int(value)
        number, unit = found
        if unit and _to_code(unit) != code:
            others[unit] += 1
            raise ValueError(value)
        return _to_number(number, _find_mark(number) or mark, kind)

    values, bad = parse_each(text, parse, pa.int64() if kind == "int" else pa.float64())
    problems: list[Problem] = []
    if others:
        most = f"most rows have {notation.unit!r}" if code else "most rows have none"
        units = np.array([found[1] if found else "" for found in (_split(one or "") for one in text.to_pylist())])
        for unit, _ in others.most_common(_MOST_UNITS):
            in_unit = bad & (units == unit)
            problems.append((in_unit, f"{_OTHER_UNIT} {unit!r}: {most}"))
            bad = bad & ~in_unit
        rest = bad & np.isin(units, list(others))
        problems.append((rest, f"{_OTHER_UNIT} of few rows: {most}"))
        bad = bad & ~rest
    return values, [*problems, (bad, f"is not {'an int' if kind == 'int' else 'a float'}")]


def is_other_unit(problem: str) -> bool:
    """Whether values do not fit because they have another unit than most."""
    return problem.startswith(_OTHER_UNIT)


def parse_float(text: str) -> float | None:
    """A number in Python's notation, such as "1e3"; None for "nan".

    Raises:
        ValueError: it is none.
    """
    if "_" in text:  # Python's own notation, not found in data
        raise ValueError(text)
    number = float(text)
    return None if math.isnan(number) else number


def _parse_int(text: str) -> int | None:
    number = int(text) if re.fullmatch(r"[+-]?\d+", text) else parse_float(text)
    if number is not None and (number != int(number) or abs(number) >= _MOST_INT):
        raise ValueError(text)
    return None if number is None else int(number)


def _split(text: str) -> tuple[str, str] | None:
    """The number and the unit of a text; None: it is no such number."""
    found = None if len(text) > _MOST_LENGTH else _PARTS.fullmatch(text.strip())
    if found is None:
        return None
    before, after = found["before"] or "", found["after"] or ""
    if (found["sign"] and found["inner"]) or (before and after and _to_code(before) != _to_code(after)):
        return None
    sign = (found["sign"] or found["inner"]).replace("\u2212", "-")
    return sign + found["number"], before or after


def _to_code(unit: str) -> str:
    """A unit as units are compared: "EUR" is "€", "hours" are "hour"."""
    code = unit if len(unit) == 1 else unit.casefold().removesuffix(".")
    code = code.removesuffix("s") if len(code) > 2 else code  # noqa: PLR2004 "ms" is no plural
    return _CODES.get(code, code)


def _find_mark(number: str) -> str:
    """The decimal mark that a number shows; empty: it shows none, or it is in doubt as in "1,299"."""
    comma, dot = number.count(","), number.count(".")
    if comma and dot:
        return "," if number.rfind(",") > number.rfind(".") else "."
    if comma + dot != 1:
        return "" if not comma + dot else "." if comma else ","  # several commas are between thousands
    mark = "," if comma else "."
    whole, fraction = number.lstrip("+-").split(mark)
    in_doubt = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole != "0"  # noqa: PLR2004
    return "" if in_doubt else mark


def _to_number(number: str, mark: str, kind: str) -> float:
    whole, _, fraction = number.partition(mark)
    digits = re.sub(rf"[.,'\u2019]|{_SPACE}", "", whole)
    if kind == "float":
        return float(f"{digits}.{fraction or 0}")
    if fraction.strip("0") or abs(int(digits)) >= _MOST_INT:
        raise ValueError(number)
    return int(digits)
