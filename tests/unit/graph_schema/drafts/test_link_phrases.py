"""How reasons name what items share, from the names of relations and labels."""

import pytest

from graph_schema.drafts.link_phrases import phrase_link


@pytest.mark.parametrize(
    ("kind", "label", "is_only", "phrase"),
    [
        ("ACTED_IN", "Person", False, "actor"),
        ("ACTED_IN", "Person", True, "actor"),
        ("DIRECTED", "Person", False, "director"),
        ("film.film.directed_by", "entity", False, "director"),
        ("WROTE", "Person", False, "writer"),
        ("written_by", "entity", True, "writer"),
        ("PRODUCED", "Person", False, "producer"),
        ("PRODUCED", "Company", True, "producer"),
        ("FOLLOWS", "Person", True, None),
        ("PART_OF", "Category", True, "category"),
        ("SUPPLIES", "Supplier", True, "supplier"),
        ("IN_GENRE", "Genre", True, "genre"),
        ("HAS_GENRE", "Entity", True, "genre"),
        ("MADE_BY", "Brand", True, "brand"),
        ("MADE_BY", "Company", True, "maker"),
        ("IN", "Company", True, "company"),
        ("has_studio", "Studio", True, "studio"),
        ("set_in", "entity", False, None),
        ("PRODUCT_OF", "Person", True, None),
    ],
)
def test_a_phrase_is_what_a_colleague_would_say(kind, label, is_only, phrase):
    assert phrase_link(kind, label, is_only=is_only) == phrase
