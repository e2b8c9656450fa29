import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema.checks.columns import convert_column
from graph_schema.checks.number_texts import Notation, find_notation


def convert(values, kind="float", notation=None):
    """The numbers, with the reason in place of each value that does not fit."""
    converted, problems = convert_column(pa.array(values, pa.string()), kind, notation)
    found = converted.to_pylist()
    for mask, reason in problems:
        for row in mask.nonzero()[0]:
            found[row] = reason
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["$12.99", "$5", "-$5", "$-5", "\u22125", "-$-5"], [12.99, 5, -5, -5, -5, "is not a float"]),
        (["€ 12,50", "3 €", "12.50 EUR", "€1"], [12.5, 3, 12.5, 1]),
        (["1,299.00", "1 299.50", "1'299.5", "1\u00a0299"], [1299, 1299.5, 1299.5, 1299]),
        (["1.299,00 €", "12,5 €", "1.299 €"], [1299, 12.5, 1299]),  # the mark of most is a comma
        (["1,299", "12.5"], [1299, 12.5]),
        (["$1.299", "$2"], [1.299, 2]),  # in doubt: a point
        (["1,234,567.8", "1.234.567,8"], [1234567.8, 1234567.8]),
        (["1,29,99", "1.2.3", "12,"], ["is not a float"] * 3),
        (["US$5", "5 USD", "$5 USD", "$5 EUR"], [5, 5, 5, "is not a float"]),
        (["12 kg", "3kg", "7", " 2 kg. ", None, ""], [12, 3, 7, 2, None, None]),
        (["1 page", "12 pages", "90s", "80s"], [1, 12, *["has the unit 's': most rows have 'page'"] * 2]),
        (["5%", "7 %"], [5, 7]),
        (["120 m2", "80 m²"], [120, "has the unit 'm²': most rows have 'm2'"]),
        (["4", "5", "10O"], [4, 5, "has the unit 'O': most rows have none"]),
        (["abc", "12 x 30", "2020-01-01", "A4", "P1D", "1 2", "12 kg 3 g"], ["is not a float"] * 7),
        (["$inf", "inf", "1e3", "nan", "$1"], ["is not a float", "is infinite", 1000, None, 1]),
        (["$5"] * 8 + ["5 €", "5 £", "1 a", "1 b", "1 cd", "1 ef"],
         [5] * 8 + [f"has the unit {unit!r}: most rows have '$'" for unit in ("€", "£", "a", "b", "cd")]
         + ["has the unit of few rows: most rows have '$'"]),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(values, expected):
    assert convert(values) == expected


def test_ints_with_units_are_whole():
    assert convert(["12 kg", "1,299 kg", "7.0 kg", "12.50 kg", "9" * 19 + " kg", "1e30"], "int") == [
        12, 1299, 7, *["is not an int"] * 3,
    ]  # fmt: skip
    assert convert(["9223372036854775807 kg"], "int") == [2**63 - 1]


def test_a_part_of_a_column_is_read_by_the_notation_of_the_whole():
    notation = find_notation(pa.array(["1", "2,5 €", "3 €"]))
    assert notation == Notation("€", ",")
    assert convert(["1.299 €", "$4", "5"], notation=notation) == [1299, "has the unit '$': most rows have '€'", 5]
    assert find_notation(pa.array(["1", "2.5", "nan"])) is None  # as Arrow reads them
    assert find_notation(pa.array([1.0])) is None
    assert find_notation(pa.array(["soon", None, ""])) is None


amounts = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)


@settings(deadline=None)
@given(numbers=st.lists(amounts, min_size=1), unit=st.sampled_from(["$", "€", "EUR", "kg", ""]), data=st.data())
def test_any_amounts_survive_any_notation(numbers, unit, data):
    comma = data.draw(st.booleans())

    def write(number):
        text = f"{number:,.2f}"  # two decimals show the mark
        text = text.translate(str.maketrans(",.", ".,")) if comma else text
        return f"{unit}{text}" if unit in ("$", "€") and data.draw(st.booleans()) else f"{text} {unit}"

    assert convert([write(number) for number in numbers]) == numbers


@settings(deadline=None)
@given(st.lists(st.text() | st.from_regex(r"[-+$€ ]{0,3}[0-9.,' ]{1,12}[a-z€ ]{0,4}"), max_size=8))
def test_any_text_is_a_number_missing_or_does_not_fit(texts):
    for kind in ("float", "int"):
        values, problems = convert_column(pa.array(texts, pa.string()), kind)
        for row, (text, value) in enumerate(zip(texts, values.to_pylist(), strict=True)):
            n_reasons = sum(bool(mask[row]) for mask, _ in problems)
            assert n_reasons <= 1
            assert n_reasons or value is not None or text.strip().lower().lstrip("+-") in ("", "nan")
