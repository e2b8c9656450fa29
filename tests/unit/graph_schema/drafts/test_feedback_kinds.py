"""What the name of a relationship says of taste."""

from dataclasses import replace

import pytest

from graph_schema.drafts.feedback_kinds import find_kind_of_feedback, is_against, is_knowledge
from graph_schema.drafts.profile import RelationshipProfile


def named(kind, path=()):
    return RelationshipProfile("User", kind, "Item", 9, 3, 3, 3, 3, {}, path=path)


def test_what_says_more_of_taste_comes_first():
    names = ["CLICKED", "ADDED_TO_CART", "LISTENED", "BOUGHT"]
    strengths = [find_kind_of_feedback(named(name)).strength for name in names]
    assert strengths == sorted(set(strengths))


@pytest.mark.parametrize("name", ["DISLIKED", "SKIPPED", "returns", "HID", "retourniert", "UNLIKED"])
def test_what_speaks_against_an_item_weighs_below_0(name):
    assert is_against(named(name)) and find_kind_of_feedback(named(name)).weight < 0


@pytest.mark.parametrize("name", ["LIKED", "rated", "VIEWED", "to_read", "XA"])
def test_what_speaks_for_an_item_does_not(name):
    assert not is_against(named(name))


def test_the_steps_of_a_path_count():
    kind = find_kind_of_feedback(named("x", ("PURCHASED", "CONTAINS")))
    assert kind == find_kind_of_feedback(named("BOUGHT"))
    over = replace(named("x", ("PLACED", "CONTAINS")), via=("Order",))
    assert find_kind_of_feedback(over) == kind  # what it leads over counts too
    assert find_kind_of_feedback(named("to_read")).weight < find_kind_of_feedback(named("read")).weight


@pytest.mark.parametrize(("name", "is_one"), [("ACTED_IN", True), ("WORKS_AT", True), ("RATED", False), ("XA", False)])
def test_facts_about_items_are_knowledge(name, is_one):
    assert is_knowledge(named(name)) == is_one
