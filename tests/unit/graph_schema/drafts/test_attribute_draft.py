"""Which properties of nodes are drafted as features, which as sensitive, and which as computed."""

import pytest

from graph_schema import Attribute
from graph_schema.drafts.attribute_draft import (
    ADDRESSES,
    COMPUTED,
    CONSTANT,
    MIXED,
    SENSITIVE,
    STOCKED,
    draft_attributes,
    find_available,
)
from graph_schema.drafts.profile import PropertyProfile


def prop(name, kind="string", samples=("red", "blue"), distinct=0.1, low=0.0, high=900.0, n=100):
    is_number = kind in ("int", "float")
    length = sum(map(len, samples)) / max(len(samples), 1)
    return PropertyProfile(
        name, {kind: n}, 1.0, distinct, mean_length=length, low=low if is_number else None,
        high=high if is_number else None, samples=samples,
    )  # fmt: skip


def draft(one, *, is_user=False, n_nodes=100):
    return draft_attributes([one], n_nodes=n_nodes, is_user=is_user)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (prop("price", "float", distinct=1.0), "float"),
        (prop("year", "int"), "int"),
        (prop("published", "time", samples=()), "time"),
        (prop("published", samples=("2020-01-02", "2021-03-04"), distinct=1.0), "time"),
        (prop("vegan", "bool", samples=("true", "false")), "bool"),
        (prop("colour"), "string"),
        (prop("colour", distinct=0.5), "string"),
        (prop("age_group", samples=("18-25", "25-35")), "string"),
        (prop("brand_code", samples=("A1", "B2")), "string"),  # a code that many share is a category
        (prop("tags", "list", samples=("sea | war", "love"), distinct=0.9), "list"),
        (prop("tags", samples=("sea|war", "love|war|sea", "love"), distinct=0.9), "list"),
        (prop("tags", samples=("sea; old war", "love; sea"), distinct=0.9), "list"),
        (prop("tags", samples=('["sea", "war"]', '["love"]'), distinct=0.9), "list"),
        (prop("tags", samples=("['sea', \"it's\"]", "[]", "['a']"), distinct=0.9), "list"),
        (prop("place", "point", samples=("point({x: 1.0, y: 2.0, crs: 'cartesian'})",), distinct=1.0), "point"),
        (prop("place", samples=("59.91, 10.75", "-60.39 5.32", "(1.5;2.5)"), distinct=1.0), "point"),
        (prop("place", samples=("POINT(10.75 59.91)",), distinct=1.0), "point"),
        (prop("pages", "int", distinct=1.0, low=1, high=60_000), "int"),  # distinct by chance
        (prop("first published", "int", distinct=1.0, low=1900, high=1999), "int"),
        (prop("age_rating", "int"), "int"),
        (prop("sales_price", "float"), "float"),
        (prop("rating", samples=("PG-13", "R")), "string"),
        (prop("number of pages", "int"), "int"),
        (prop("max players", "int"), "int"),
        (prop("gender"), "string"),  # of an item, such as clothes
    ],
)
def test_what_describes_a_node_is_a_feature(one, kind):
    assert draft(one)[one.name].attribute == Attribute(type=kind, feature=True)
    assert draft(one)[one.name].remark == ""


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (prop("colour", distinct=0.51), "string"),
        (prop("slug", distinct=1.0), "string"),
        (prop("note", samples=("a text of five words", "another text of five words")), "string"),
        (prop("imdbId", "int", distinct=1.0), "int"),
        (prop("brand_id", "int", distinct=0.9), "int"),
        (prop("ean", "int"), "int"),
        (prop("position", "int", distinct=1.0, low=1, high=100), "int"),  # numbers the nodes
        (prop("barcode2", "int", distinct=1.0, low=4_000_000_000_000, high=9_000_000_000_000), "int"),
        (prop("preis", samples=("12,99", "5,49"), distinct=0.9), "string"),  # no point
        (prop("sizes", samples=("1|2|3", "4|5"), distinct=0.9), "string"),  # numbers are no categories
        (prop("plot", samples=("It rains; he goes home to sleep.", "A man; a very large dog."), distinct=1), "string"),
    ],
)
def test_ids_and_texts_are_plain_attributes(one, kind):
    assert draft(one)[one.name].attribute == Attribute(type=kind)
    assert draft(one)[one.name].remark == ""


@pytest.mark.parametrize(
    "name",
    ["average rating", "avgRating", "num_ratings", "ratings_count", "times sold", "popularity", "rank", "views",
     "view_count", "downloads", "sales", "total_sales", "likes count", "score", "votes", "vote_average", "n_users",
     "rating", "is_popular"],
)  # fmt: skip
def test_what_is_computed_from_interactions_is_no_feature(name):
    for kind in ("int", "float"):
        found = draft(prop(name, kind))[name]
        assert (found.attribute, found.remark) == (Attribute(type=kind), COMPUTED)
    as_text = draft(prop(name, samples=("12", "340", "n/a")))[name]
    assert (as_text.attribute, as_text.remark) == (Attribute(type="string"), COMPUTED)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("gender", "string"), ("Sex", "bool"), ("age", "int"), ("ageGroup", "string"), ("birth_year", "int"),
     ("dateOfBirth", "time"), ("ethnicity", "string"), ("race", "string"), ("religion", "string"),
     ("nationality", "string"), ("disability", "bool"), ("marital status", "string"), ("income", "float"),
     ("sexual_orientation", "string"), ("political_party", "string")],
)  # fmt: skip
def test_what_users_must_not_be_judged_by_is_sensitive(name, kind):
    one = prop(name, kind)
    found = draft(one, is_user=True)[name]
    assert (found.attribute, found.remark) == (Attribute(type=kind, sensitive=True), SENSITIVE)
    assert not draft(one)[name].attribute.sensitive


@pytest.mark.parametrize("name", ["country", "city", "occupation", "language", "page", "sextant", "message"])
def test_other_attributes_of_users_are_features(name):
    assert draft(prop(name), is_user=True)[name].attribute == Attribute(type="string", feature=True)


@pytest.mark.parametrize("name", ["occupation", "genre_id", "categoryCode"])
def test_codes_of_categories_are_categories(name):
    found = draft(prop(name, "int"), is_user=True)[name]
    assert (found.attribute, found.remark) == (Attribute(type="string", feature=True), "codes of categories")


def test_addresses_are_no_feature():
    one = prop("pictures", "list", samples=("http://a.b/c | http://a.b/d", "https://a.b/e"), distinct=0.9)
    assert (draft(one)["pictures"].attribute, draft(one)["pictures"].remark) == (Attribute(type="list"), ADDRESSES)


def test_what_is_the_same_for_all_is_no_feature():
    found = draft(prop("currency", samples=("EUR",)))["currency"]
    assert (found.attribute, found.remark) == (Attribute(type="string"), CONSTANT)


def test_what_says_that_an_item_can_be_had_is_no_feature():
    for name, kind, value in (
        ("in_stock", "bool", True),
        ("isInStock", "bool", True),
        ("discontinued", "bool", False),
        ("Discontinued", "int", 0),
        ("available", "int", 1),
        ("sold_out", "bool", False),
        ("isSoldOut", "bool", False),
        ("lieferbar", "int", 1),
        ("aktiv", "bool", True),
        ("is_active", "bool", True),
        ("abgesagt", "bool", False),
        ("cancelled", "bool", False),
        ("ausverkauft", "bool", False),
        ("gelöscht", "bool", False),
        ("not_available", "bool", False),
    ):
        one = prop(name, kind, high=1.0)
        assert draft(one)[name].attribute == Attribute(type=kind)
        found = find_available(one, kind)
        assert found == value and type(found) is type(value)
    assert find_available(prop("vegan", "bool"), "bool") is None
    assert find_available(prop("in_stock", "int", high=40.0), "int") is None  # how many


def test_vectors_that_are_there_are_drafted_as_vectors():
    assert draft(prop("embedding", "vector", samples=()))["embedding"].attribute == Attribute(type="vector")


def test_properties_without_a_type_are_left_out():
    assert draft(prop("picture", "vector", samples=())) == draft(prop("span", "other")) == {}


def test_a_sensitive_point_is_not_read_and_has_no_groups() -> None:
    found = draft(prop("birth_place", "point", samples=("59.91, 10.75",)), is_user=True)["birth_place"]
    assert (found.attribute, found.remark) == (Attribute(type="point"), SENSITIVE)


@pytest.mark.parametrize(
    ("samples", "is_mixed"),
    [
        (("200 g", "150 g", "0.2 kg"), True),
        (("200 g", "7 oz", "0.2 kg"), True),
        (("1958", "2007", "abc"), True),
        (("12.5", "inf", "7"), True),
        (("small", "1958", "large"), False),
        (("0150", "1204", "x"), False),  # postcodes
        (("18-25", "25-35"), False),
    ],
)
def test_numbers_in_a_column_of_texts_are_remarked_on(samples, is_mixed) -> None:
    found = draft(prop("measure", samples=samples, distinct=0.9))["measure"]
    assert (found.attribute, found.remark) == (Attribute(type="string"), MIXED if is_mixed else "")


@pytest.mark.parametrize(
    ("distinct", "attribute"), [(0.3, Attribute(type="string", feature=True)), (0.9, Attribute(type="int"))]
)
def test_long_integers_are_codes_and_never_measures(distinct, attribute) -> None:
    found = draft(prop("favourite book", "int", low=9_780_000_000_000, high=9_790_000_000_000, distinct=distinct))
    assert found["favourite book"].attribute == attribute


@pytest.mark.parametrize(("id_", "name"), [("brand.id", "brand.name"), ("brandId", "brandName")])
def test_of_an_id_and_its_name_the_name_is_the_feature(id_, name) -> None:
    found = draft_attributes([prop(id_), prop(name), prop("shop.id")], n_nodes=100, is_user=False)
    assert [found[one].attribute.feature for one in (id_, name, "shop.id")] == [False, True, True]
    assert found[id_].remark == f"the id of {name}"


@pytest.mark.parametrize("name", ["unitsInStock", "unitsOnOrder", "reorderLevel", "stock_quantity"])
def test_what_is_in_stock_says_nothing_about_taste(name):
    drafted = draft(prop(name, "int"))[name]
    assert (drafted.attribute, drafted.remark) == (Attribute(type="int"), STOCKED)
