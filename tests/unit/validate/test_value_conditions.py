import pyarrow as pa
import pytest

from graph_schema.checks.columns import convert_column
from kgrec.store.neo4j.connection import Connection
from kgrec.validate.value_conditions import is_unfit

TEXTS = [
    "12", "12.5", "$12.99", "$-5", "\u22125 kg", "1,299.00", "1.299,00 €", "1 299", "1'299.5", "12\u00a0kg", "12 µg",
    "3 Kč", "US$5", "5 USD", "120 m2", "5 %", "1,29,99", "12,", "$", "kg", "a12", "12 x 3", "2020-01-01", "1_0",
    "12 kg 3 g", "P1D", "7.00 kg", "7.5 kg", "1e3", "inf", "nan", " 4 ", "", "it's 5", "5 \\", "٣",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["float", "int"])
def test_numbers_in_text_fit_in_cypher_as_in_staging(neo4j_url: str, kind: str) -> None:
    condition = is_unfit(kind, f"price is not {'an int' if kind == 'int' else 'a float'}", (0, 1))
    query = (
        "UNWIND $texts AS value WITH value, toFloatOrNull(value) AS number, value AS text "
        f"WITH value WHERE {condition} RETURN value"
    )
    with Connection(neo4j_url, "read") as connection:
        found = {value for (value,) in connection.read(query, {"texts": TEXTS})}
    for text in TEXTS:
        _, problems = convert_column(pa.array([text]), kind)  # alone, so that its own unit is the column's
        assert (text in found) == any(bad.any() and "is not a" in reason for bad, reason in problems), text


def test_faults_of_lists_and_points_have_no_condition() -> None:
    for kind in ("list", "point", "vector"):
        assert is_unfit(kind, "tags has a NUL character", (0, 1)) is None
        assert is_unfit(kind, f"tags is not a {kind}", (0, 1)) is None
    assert is_unfit("float", "price has the unit '€'", (0, 1)) is None
