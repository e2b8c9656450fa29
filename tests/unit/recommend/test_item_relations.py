"""Relations between items in words."""

import pytest

from kgrec.graph.paths import PathNode, PathStep, ReasonPath
from kgrec.recommend.item_relations import find_likeness, tell_path

LAMP, BULB, BOX = (PathNode("item", name.lower(), name) for name in ("Lamp", "Bulb", "Box"))


def tell(relation: str, *, forward: bool, phrase: str | None = None, suffix: str = ", which you liked") -> str:
    step = PathStep(relation, relation.replace("_", " ") if phrase is None else phrase, forward, BULB)
    return tell_path(ReasonPath(LAMP, (step,)), suffix)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize(("relation", "told"), [
    ("also_bought", "often bought together with Bulb, which you liked"),
    ("ALSO_BOUGHT", "often bought together with Bulb, which you liked"),
    ("bought_together", "often bought together with Bulb, which you liked"),
    ("also_viewed", "viewed by people who viewed Bulb, which you liked"),
    ("similar", "similar to Bulb, which you liked"),
])  # fmt: skip
def test_an_even_relation_reads_the_same_both_ways(relation: str, told: str, forward: bool) -> None:
    assert tell(relation, forward=forward) == told


@pytest.mark.parametrize(("relation", "forward", "told"), [
    ("sequel", True, "comes before Bulb"),
    ("sequel", False, "sequel of Bulb"),
    ("sequel_of", True, "sequel of Bulb"),
    ("sequel_of", False, "comes before Bulb"),
    ("prequel", True, "comes after Bulb"),
    ("prequel", False, "prequel of Bulb"),
    ("based_on", True, "based on Bulb"),
    ("spare_part", True, "spare part: Bulb"),
])  # fmt: skip
def test_a_relation_with_a_direction_keeps_it(relation: str, forward: bool, told: str) -> None:
    assert tell(relation, forward=forward) == f"{told}, which you liked"
    assert tell(relation, forward=forward, suffix="") == told


def test_a_like_at_the_source_of_a_relation() -> None:
    assert tell("based_on", forward=False) == "Bulb, which you liked, is based on this"
    assert tell("based_on", forward=False, suffix="") == "Bulb is based on this"


@pytest.mark.parametrize("ways", [(True, False), (False, True), (True, True)])
def test_two_items_bought_with_a_third(ways: tuple[bool, bool]) -> None:
    steps = [PathStep("also_bought", "also bought", way, node) for way, node in zip(ways, (BOX, BULB), strict=True)]
    told = tell_path(ReasonPath(LAMP, tuple(steps)), ", which you liked")
    assert told == "often bought together with Box, like Bulb, which you liked"


def test_nodes_that_are_no_items_are_told_of_as_before() -> None:
    node = PathNode("tag", "t", "cosy")
    path = ReasonPath(LAMP, (PathStep("similar", "similar", True, node), PathStep("similar", "similar", False, BULB)))
    assert tell_path(path, "!") == f"{path.sentence()}!"
    assert find_likeness("has_sequel", "sequel") is None
