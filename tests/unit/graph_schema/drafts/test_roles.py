from dataclasses import replace

import pytest

from graph_schema.drafts.name_words import split_id, split_words, to_singulars
from graph_schema.drafts.profile import NodeProfile, PropertyProfile, RelationshipProfile
from graph_schema.drafts.roles import find_key, find_name, find_time, find_unit, find_weight, is_list, is_vector


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


def node(name, *properties):
    return NodeProfile(name, 9, {one.name: one for one in properties})


def text(name, *samples, distinct=1.0):
    return PropertyProfile(name, {"string": 9}, 1.0, distinct, mean_length=12.0, samples=samples or ("Ab Cd", "Ef Gh"))


@pytest.mark.parametrize(
    ("label", "properties", "name"),
    [
        ("Customer", ("contactTitle", "contactName", "companyName"), "companyName"),
        ("Supplier", ("contactTitle", "companyName"), "companyName"),
        ("Customer", ("jobTitle", "name"), "name"),
        ("Product", ("quantityName", "productName"), "productName"),
        ("Person", ("title", "name"), "name"),
        ("Movie", ("name", "title"), "title"),
        ("studios", ("studio",), "studio"),
        ("Contact", ("contactName", "contactTitle"), "contactName"),
    ],
)
def test_the_name_of_an_entity_is_its_own(label, properties, name):
    found = node(label, *map(text, properties))
    assert find_name(found, "id") == name


@pytest.mark.parametrize(
    ("one", "is_one"),
    [
        (PropertyProfile("embedding", {"vector": 9}, 1.0, 1.0, samples=("1 | 2",)), True),
        (PropertyProfile("picture", {"vector": 9}, 1.0, 1.0, samples=("0.1 | 2.5",)), True),
        (PropertyProfile("sizes", {"vector": 9}, 1.0, 1.0, samples=("38 | 39",)), False),
        (text("picture", "[0.12, -0.5, 1.0, 3.25, 1", "[0.1, 0.2, 0.3, 0.4]"), True),
        (text("place", "[0.12, -0.5]"), False),
        (text("tags", "['a', 'b', 'c', 'd']"), False),
    ],
)
def test_lists_of_decimals_are_vectors(one, is_one):
    assert is_vector(one) == is_one


def test_text_with_a_separator_is_a_list():
    one = text("authors", "J. K. Rowling, Mary Grandpré", "Suzanne Collins")
    assert not is_list(one)
    assert is_list(replace(one, separator=", "))


def test_the_time_of_the_act_comes_before_later_ones():
    names = ("shippedDate", "requiredDate", "orderDate", "updatedAt")
    times = {name: PropertyProfile(name, {"time": 9}, 1.0, 1.0) for name in names}
    assert find_time(RelationshipProfile("a", "T", "b", 9, 3, 3, 3, 3, times)) == ("orderDate", "time")


def test_a_time_in_another_form_is_text():
    one = replace(text("on", "31.12.2024"), time_format="%d.%m.%Y")
    assert find_unit(one) == "text"


def test_a_clicked_column_is_the_weight_among_other_numbers():
    found = {one.name: one for one in (numbers("position", 1, 9), numbers("clicked", 0, 1), numbers("slot", 0, 3))}
    assert find_weight(RelationshipProfile("a", "SHOWN", "b", 9, 3, 3, 3, 3, found), None) == "clicked"


def ids(name, coverage, *, is_unique=True):
    return replace(text(name, "K-1", "K-2"), coverage=coverage, is_unique=is_unique)


def test_an_id_that_nearly_all_have_is_the_key_rather_than_a_title():
    title = replace(text("titel"), is_unique=True)
    key, sure, why = find_key(node("Konzert", title, ids("konzertNr", 0.98)))
    assert (key, sure) == ("konzertNr", "likely")
    assert "2.0% lack it: such nodes are rejected" in why
    assert "every Konzert has titel, which may be the key as well" in why
    assert find_key(node("Künstler", replace(title, name="name"), ids("id", 0.97)))[0] == "id"
    for other in (
        ids("konzertNr", 0.94),
        ids("konzertNr", 0.98, is_unique=False),
        ids("saalNr", 0.98),  # another node's
    ):
        assert find_key(node("Konzert", title, other))[0] == "titel"
    assert find_key(node("Konzert", title, ids("isrc_code", 1.0), ids("konzertNr", 0.98)))[0] == "isrc_code"
