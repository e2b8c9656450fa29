"""Lines of an answer matched to titles: as people write them, and no other film, sequel or seen item instead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.language.title_matching import TitleIndex, normalise, read_lines

TITLES = [
    "Toy Story (1995)",  # 0
    "Lion King, The (1994)",
    "Amélie (2001)",
    "Rocky II (1979)",
    "Rocky III (1982)",
    "Alien (1979)",  # 5
    "Sabrina (1995)",
    "Sabrina (1954)",
    "Seven (Se7en) (1995)",
    "12 Angry Men (1957)",
    None,  # 10
    "Silence of the Lambs, The (1991)",
    "Empire Strikes Back, The (1980)",
]
INDEX = TitleIndex.of(TITLES)
ALL = np.ones(len(TITLES), np.bool_)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("Toy Story (1995)", 0),
        ("toy story", 0),
        ("Toy Story - a film about toys", 0),
        ("Toy Story by John Lasseter", 0),
        ("The Lion King", 1),
        ("Lion King, The", 1),
        ("The Lion King (1994) - animation", 1),
        ("Amelie", 2),
        ("Rocky II", 3),
        ("Rocky III (1982)", 4),
        ("Sabrina (1954)", 7),
        ("Sabrina (1955)", 7),  # misdated by a year
        ("Sabrina", 6),  # the first
        ("Se7en", None),
        ("Seven", 8),
        ("12 Angry Men", 9),
        ("Silence of the Lambs", 11),
        ("The Silense of the Lambs", 11),
        ("The Empire Strike Back", 12),
        ("Toy Story 2", None),
        ("Toy Story (2015)", None),
        ("Toy Story (2015) - a remake", None),
        ("Rocky IV", None),
        ("Aliens", None),
        ("Alien by Me", None),
        ("", None),
        ("!!!", None),
    ],
)
def test_a_line_names_the_title_that_people_mean(line: str, row: int | None) -> None:
    found = INDEX.match([line], ALL)
    assert found.items.tolist() == ([] if row is None else [row])
    assert found.unmatched == ((line,) if row is None else ())


def test_seen_items_and_repeats_are_told_apart_from_unknown_ones() -> None:
    allowed = ALL.copy()
    allowed[0] = False
    found = INDEX.match(["Toy Story", "Alien", "alien (1979)", "Sabrina", "Sabrina", "Sabrina", "Heat"], allowed)
    assert found.items.tolist() == [5, 6, 7]
    assert found.not_allowed == ("Toy Story", "alien (1979)", "Sabrina")
    assert found.unmatched == ("Heat",)


def test_lines_are_read_without_what_is_around_them() -> None:
    answer = """Here are ten films:
1. Toy Story
2) "Alien" - a classic
- **The Lion King** (1994)
* Heat
 3. Heat
• 12 Angry Men

2001: A Space Odyssey"""
    assert read_lines(answer) == [
        "Toy Story",
        "Alien",
        "The Lion King (1994)",
        "Heat",
        "12 Angry Men",
        "2001: A Space Odyssey",
    ]


@given(st.lists(st.sampled_from([title for title in TITLES if title]), max_size=8), st.integers(0, 2**13 - 1))
def test_every_title_is_matched_to_itself(titles: list[str], mask: int) -> None:
    allowed = np.array([bool(mask >> row & 1) for row in range(len(TITLES))])
    found = INDEX.match(list(dict.fromkeys(titles)), allowed)
    assert found.items.tolist() == [TITLES.index(t) for t in dict.fromkeys(titles) if allowed[TITLES.index(t)]]
    assert not found.unmatched


@given(st.text(max_size=300))
def test_any_answer_can_be_read(answer: str) -> None:
    found = INDEX.match(read_lines(answer), ALL)
    assert len(set(found.items.tolist())) == len(found.items)


def test_normal_forms() -> None:
    assert normalise("Lion King, The (1994)") == "the lion king 1994"
    assert normalise("  AMÉLIE!  ") == "amelie"
    assert normalise("Tom & Jerry's") == "tom and jerrys"
