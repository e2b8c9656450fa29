"""Diversity and limits on the command line."""

import json

import pytest
from conftest import RunCommand, Shop


def read_items(out: str) -> list[str]:
    return [row["item"] for row in json.loads(out)]


def test_lists_are_more_varied_and_0_changes_nothing(run: RunCommand, shop: Shop) -> None:
    def ask(*more: object) -> str:
        ran = run("recommend", shop.bundle, "--user", "c-001", "-k", 6, "--format", "json", *more)
        assert ran.code == 0, ran.err
        return ran.out

    plain = ask()
    assert ask("--diversity", 0) == plain
    varied = read_items(ask("--diversity", 1))
    assert len(set(varied)) == 6
    assert varied[0] == read_items(plain)[0]
    assert varied != read_items(plain)


def test_many_users_are_answered_as_one(run: RunCommand, shop: Shop) -> None:
    users = shop.folder / "two_varied.csv"
    users.write_text("user\nc-001\nc-002\n")
    more = ("-k", 3, "--format", "json", "--diversity", 0.6, "--at-most", "maker=1")
    alone = run("recommend", shop.bundle, "--user", "c-002", *more)
    many = run("recommend", shop.bundle, "--users", users, *more)
    assert (alone.code, many.code) == (0, 0), alone.err + many.err
    rows = [row["item"] for row in json.loads(many.out) if row["user"] == "c-002"]
    assert rows == read_items(alone.out)


def test_a_short_list_says_so(run: RunCommand, shop: Shop) -> None:
    users = shop.folder / "one_limited.csv"
    users.write_text("user\nc-001\n")
    more = ("-k", 20, "--format", "json", "--at-most", "maker=1")
    alone = run("recommend", shop.bundle, "--user", "c-001", *more)
    assert "asked for 20 items, only" in alone.err
    assert "with at most 1 of each maker" in alone.err
    many = run("recommend", shop.bundle, "--users", users, *more)
    assert "users with fewer than 20 items because of --at-most: 'c-001'" in many.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--diversity", "1.5", "expected diversity from 0"),
        ("--at-most", "maker", "got --at-most 'maker'; expected a name, '=' and a value"),
        ("--at-most", "maker=two", "got --at-most of 'maker' as 'two'; expected one whole number of at least 1"),
        ("--at-most", "maker=0", "expected at_most of 'maker' as a whole number of at least 1, got 0"),
        ("--at-most", "makr=1", "did you mean 'maker'?"),
    ],
)
def test_bad_values_are_one_message(run: RunCommand, shop: Shop, option: str, value: str, said: str) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-001", option, value)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_a_kind_given_twice_is_refused(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-001", "--at-most", "maker=1", "--at-most", "maker=2")
    assert ran.code == 2
    assert "got --at-most of 'maker' twice" in ran.err
