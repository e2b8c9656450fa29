import pytest

from graph_schema.name_words import split_id, split_words, to_singulars
from graph_schema.profile import PropertyProfile
from graph_schema.roles import find_positive, find_unit


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ratedAt", ["rated", "at"]),
        ("RATED_AT", ["rated", "at"]),
        ("rated-at", ["rated", "at"]),
        ("HTTPServer", ["http", "server"]),
        ("größeÜber", ["größe", "über"]),
        ("", []),
        ("_", []),
    ],
)
def test_names_split_into_words(name, words):
    assert split_words(name) == words


@pytest.mark.parametrize(
    ("name", "found"),
    [("userId", (["user"], True)), ("user_id", (["user"], True)), ("userid", (["user"], True)), ("id", ([], True)),
     ("isbn", ([], True)), ("user", (["user"], False)), ("paid", (["paid"], False))],
)  # fmt: skip
def test_an_id_name_splits_into_its_type(name, found):
    assert split_id(name) == found


def test_singulars_include_the_right_one():
    for plural, single in {"movies": "movie", "categories": "category", "boxes": "box", "users": "user"}.items():
        assert single in to_singulars(plural)


def numbers(name, low, high, kind="int"):
    return PropertyProfile(name, {kind: 9}, 1.0, 1.0, low=low, high=high)


@pytest.mark.parametrize(
    ("one", "unit"),
    [
        (numbers("timestamp", 9.6e8, 1.5e9), "seconds"),
        (numbers("createdAt", 9.6e11, 1.5e12), "milliseconds"),
        (numbers("ts", 9.6e8, 1.5e9, "float"), "seconds"),
        (numbers("rating", 9.6e8, 1.5e9), None),
        (numbers("at", 1, 5), None),
        (numbers("at", -5, 1.5e9), None),
        (numbers("birthdate", 1950, 2010), None),
        (PropertyProfile("x", {"time": 3}, 1.0, 1.0), "time"),
        (PropertyProfile("x", {"string": 2}, 1.0, 1.0, samples=("2024-01-02", "2024-01-02T03:04:05Z")), "text"),
        (PropertyProfile("x", {"string": 2}, 1.0, 1.0, samples=("2024-01-02", "soon")), None),
        (PropertyProfile("x", {"string": 2}, 1.0, 1.0, samples=("2024", "1999")), None),
    ],
)
def test_the_unit_of_a_time_is_recognised(one, unit):
    assert find_unit(one) == unit


@pytest.mark.parametrize(
    ("one", "positive"),
    [
        (numbers("rating", 1, 5), 4.0),
        (numbers("stars", 0.5, 5, "float"), 4.0),
        (numbers("score", 0, 10), 7.0),
        (numbers("rating", 0, 100), 70.0),
        (numbers("vote", -1, 1), 1.0),
        (numbers("quantity", 1, 5), None),
        (numbers("plays", 1, 40_000), None),
        (numbers("score", 0, 12345), None),
    ],
)
def test_the_threshold_of_a_like_is_guessed(one, positive):
    assert find_positive(one)[0] == positive
