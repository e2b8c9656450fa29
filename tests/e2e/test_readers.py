"""A bookshop with readers' friends, towns, ages and interests, from files: somebody new is answered, and told why."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG, RunCommand, write_csv

SCHEMA = """
name = "bookshop"
[nodes.book]
label = "Book"
key = "isbn"
name = "title"
attributes = { year = { type = "int", feature = true } }
[nodes.town]
label = "Town"
key = "town_id"
name = "town_name"
[nodes.reader]
label = "Reader"
key = "reader_id"
name = "reader_name"
attributes = { age = { type = "int", feature = true }, interests = { type = "list", feature = true } }
[edges.friend_of]
source = "reader"
type = "FRIEND_OF"
target = "reader"
source_column = "reader"
target_column = "friend"
[edges.lives_in]
source = "reader"
type = "LIVES_IN"
target = "town"
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
"""
TOWNS = ("Oslo", "Rome")
N_BOOKS, N_READERS = 24, 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files: even readers live in Oslo and like even books, odd ones live in Rome."""
    rng, folder = np.random.default_rng(2), tmp_path_factory.mktemp("readers")
    books = [[f"b-{place:02}", f"Book {place}", str(1950 + place)] for place in range(N_BOOKS)]
    ages = [25 + 30 * (place % 2) + int(rng.integers(9)) for place in range(N_READERS)]
    interests = ("gardens", "crime|war")
    readers = [[f"r-{row:02}", f"Ms {row}", str(age), interests[row % 2]] for row, age in enumerate(ages)]
    friends, read = [], []
    for place in range(N_READERS):
        alike = [other for other in range(N_READERS) if other % 2 == place % 2 and other != place]
        friends += [[f"r-{place:02}", f"r-{other:02}"] for other in rng.choice(alike, 5, replace=False)]
        mine = [other for other in range(N_BOOKS) if other % 2 == place % 2]
        read += [[f"r-{place:02}", f"b-{other:02}"] for other in rng.choice(mine, 6, replace=False)]
    lives_in = [[f"r-{place:02}", TOWNS[place % 2].lower()] for place in range(N_READERS)]
    for name, rows in (
        ("book", [["isbn", "title", "year"], *books]),
        ("town", [["town_id", "town_name"], *[[town.lower(), town] for town in TOWNS]]),
        ("reader", [["reader_id", "reader_name", "age", "interests"], *readers]),
        ("friend_of", [["reader", "friend"], *friends]),
        ("lives_in", [["reader_id", "town_id"], *lives_in]),
        ("read", [["reader_id", "isbn"], *read]),
    ):
        write_csv(folder / f"{name}.csv", rows)
    (folder / "schema.toml").write_text(SCHEMA)
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def bundle(shop: Path, run: RunCommand) -> Path:
    if not (shop / "bundle").exists():
        store = f"ladybug:{shop / 'shop.db'}"
        ran = run("load", "tabular", "--to", store, "--path", shop, "--schema", shop / "schema.toml")
        assert ran.code == 0, ran.err
        ran = run("train", store, "--out", shop / "bundle", "--config", shop / "tiny.toml")
        assert ran.code == 0, ran.err
    return shop / "bundle"


def test_somebody_new_is_answered_by_links_and_attributes_with_reasons(run: RunCommand, bundle: Path) -> None:
    friends = [option for place in (0, 2, 4, 6) for option in ("--link", f"friend_of=r-{place:02}")]
    who = [*friends, "--link", "lives_in=oslo", "--attribute", "age=30", "--attribute", "interests=gardens"]
    ran = run("recommend", bundle, *who, "-k", 8, "--explain", "--format", "jsonl")
    assert ran.code == 0, ran.err
    assert "no likes are given: this rests on the user's friends, town, age and interests" in ran.err
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert all(int(row["item"][2:]) % 2 == 0 for row in rows)
    assert any("of your" in row["reason"] or "in Oslo" in row["reason"] for row in rows)
    assert "Ms " not in ran.out
    table = run("recommend", bundle, *who, "-k", 2)
    assert "friend_of=r-06" in table.out


def test_explain_prints_what_the_profile_adds(run: RunCommand, bundle: Path) -> None:
    request = ["--link", "lives_in=rome", "--attribute", "interests=crime", "--attribute", "interests=war"]
    ran = run("explain", bundle, "--item", "b-01", *request, "--like", "b-03", "--format", "jsonl")
    assert ran.code == 0, ran.err
    shares = {row["source"]: row for row in map(json.loads, ran.out.splitlines())}
    assert shares["profile"]["title"] == "town and interests"
    assert shares["profile"]["share"] > 0
    table = run("explain", bundle, "--item", "b-01", *request, "--like", "b-03")
    assert "profile" in table.out
    assert "town and interests" in table.out
    total = float(table.out.replace("\n", " ").split("score ")[1].split()[0])
    assert sum(row["share"] for row in shares.values()) == pytest.approx(total, abs=2e-3)


def test_a_file_with_links_and_attributes(run: RunCommand, bundle: Path, tmp_path: Path) -> None:
    who = tmp_path / "who.csv"
    write_csv(who, [
        ["user", "item", "friend_of", "lives_in", "age", "interests"],
        ["ann", "", "r-00", "oslo", "30", "gardens"],
        ["ann", "", "r-02", "", "", ""],
        ["bob", "b-01", "", "", "", ""],
        ["cat", "", "r-99", "rome", "", "crime"],
        ["dan", "", "r-98", "", "", ""],
    ])  # fmt: skip
    ran = run("recommend", bundle, "--likes", who, "-k", 4, "--explain", "--format", "jsonl")
    assert ran.code == 0, ran.err
    assert "unknown links and attributes, ignored: 'r-99', 'r-98'" in ran.err
    assert "users without likes, who get what fits their links and attributes: 'ann', 'cat'" in ran.err
    assert "users without likes, who get what is popular: 'dan'" in ran.err
    rows = [json.loads(line) for line in ran.out.splitlines()]
    alone = run(
        "recommend", bundle, "--link", "friend_of=r-00", "--link", "friend_of=r-02", "--link", "lives_in=oslo",
        "--attribute", "age=30", "--attribute", "interests=gardens", "-k", 4, "--explain", "--format", "jsonl",
    )  # fmt: skip
    expected = [json.loads(line) for line in alone.out.splitlines()]
    found = [row for row in rows if row["user"] == "ann"]
    assert [(row["item"], row["reason"]) for row in found] == [(row["item"], row["reason"]) for row in expected]
    write_csv(who, [["user", "item", "friends_of"], ["ann", "b-01", "r-00"]])
    ran = run("recommend", bundle, "--likes", who)
    assert ran.code == 2
    assert "a column 'friends_of', which the model does not read; did you mean 'friend_of'?" in ran.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--link", "friends=r-00"), "no edge type 'friends' of the node type 'reader'; expected one of ['friend_of'"),
        (("--link", "friend_of"), "got --link 'friend_of'; expected a name, '=' and a value, such as --link"),
        (("--link", "=r-00"), "got --link '=r-00'"),
        (("--attribute", "height=3"), "does not read an attribute 'height' of the node type 'reader'; expected"),
        (("--attribute", "age=old"), "the attribute 'age' is 'old'; expected a value of type 'int': it is not an int"),
        (("--attribute", "age=3", "--attribute", "age=4"), "has the values ['3', '4']; expected one value"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_error(
    run: RunCommand, bundle: Path, options: tuple[str, ...], expected: str
) -> None:
    for command in (["recommend", bundle], ["explain", bundle, "--item", "b-00"]):
        ran = run(*command, *options)
        assert ran.code == 2
        assert expected in ran.err
        assert "Traceback" not in ran.err
    assert run("recommend", bundle, "--likes", "x.csv", *options).code == 2


def test_values_are_split_at_the_first_equals_sign(run: RunCommand, bundle: Path) -> None:
    ran = run("recommend", bundle, "--link", "friend_of=a=b", "-k", 2, "--format", "jsonl")
    assert ran.code == 0
    assert "unknown ids, ignored: 'a=b'" in ran.err
    assert "no likes are given, and the links and attributes have no effect" in ran.err
