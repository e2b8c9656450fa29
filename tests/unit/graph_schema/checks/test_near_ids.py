import pytest

from graph_schema.checks.near_ids import NearIds, describe_difference


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


@pytest.mark.parametrize(
    ("given", "near", "difference"),
    [
        ("12 ", "12", "spaces around it"),
        ("b1", "B1", "upper and lower case"),
        ("7", "007", "leading zeros"),
        ("12.0", "12", 'a point, as in "12.0"'),
        ("9", " 0009 ", "spaces around it and leading zeros"),
    ],
)
def test_how_two_ids_differ_is_said(given, near, difference):
    assert NearIds([near]).find(given) == near
    assert describe_difference(given, near) == difference
