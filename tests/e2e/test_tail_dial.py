"""The tail dial on the command line."""

import json

from conftest import RunCommand, Shop


def test_the_dial_turns_answers_to_less_known_items(run: RunCommand, shop: Shop) -> None:
    def ask(*more: object) -> list[str]:
        ran = run("recommend", shop.bundle, "--user", "c-001", "-k", 5, "--format", "json", *more)
        assert ran.code == 0, ran.err
        return [row["item"] for row in json.loads(ran.out)]

    plain = ask()
    assert ask("--tail", 0) == plain
    assert len(turned := ask("--tail", 1)) == 5
    assert turned != plain


def test_the_dial_works_for_many_users(run: RunCommand, shop: Shop) -> None:
    users = shop.folder / "two.csv"
    users.write_text("user\nc-001\nc-002\n")
    alone = run("recommend", shop.bundle, "--user", "c-002", "-k", 4, "--format", "json", "--tail", 0.7)
    many = run("recommend", shop.bundle, "--users", users, "-k", 4, "--format", "json", "--tail", 0.7)
    rows = [row for row in json.loads(many.out) if row["user"] == "c-002"]
    assert [row["item"] for row in rows] == [row["item"] for row in json.loads(alone.out)]


def test_a_dial_above_1_is_one_message(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-001", "--tail", 1.5)
    assert ran.code == 2
    assert "expected a tail dial from -1" in ran.err
    assert "got 1.5" in ran.err
    assert "Traceback" not in ran.err
