import pytest

from graph_schema.checks.near_ids import NearIds


@pytest.mark.parametrize(
    ("given", "near"),
    [("12.0", "12"), (" 12", "12"), ("012", "12"), ("b00x ", "B00X"), ("0.", "0"), ("12.5", None), ("1 2", None)],
)
def test_an_id_written_in_another_way_is_found(given, near):
    assert NearIds(["12", "B00X", "0"]).find(given) == near


def test_ids_of_nodes_may_be_the_odd_ones():
    assert NearIds(["7.0", "0009", "A "]).find("7") == "7.0"
    assert NearIds(["7.0", "0009", "A "]).find("9") == "0009"
    assert NearIds(["-1"]).find("1") is None
