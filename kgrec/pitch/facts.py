"""What a pitch may say: facts about one item that are true for one user."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "same",
    "direct",
    "linked",
    "connected",
    "value",
    "people",
    "followed",
    "near",
    "words",
    "wished",
    "friends",
    "most_friends",
    "named_friends",
    "sharing",
    "alike",
    "popular",
    "few",
    "new",
]
COUNTS: tuple[Kind, ...] = ("alike", "popular", "few", "new")  # they say nothing of the user's own likes and links
TITLE_LENGTH = 70  # characters of a name that a pitch has; of a longer one the start
_ELLIPSIS = "\u2026"
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they would turn the text behind them around


@dataclass(frozen=True)
class Fact:
    """One fact about an item.

    Attributes:
        kind: what it says:
            "same": the item and a like are linked to the same node by the same relation;
            "direct": a relation leads from one to the other;
            "linked": both are linked to a node in some way;
            "connected": they are linked to each other in some way;
            "value": they share the value of an attribute, which says in words what it is;
            "people": people who like the like also like the item;
            "followed": people who like the like went on to like the item;
            "near": the catalogue describes both alike;
            "words": the item's text fits the user's sentence;
            "wished": the user is linked to it, as by a wish list;
            "friends": so many of the people linked to the user like it;
            "most_friends": most of them do;
            "named_friends": these do;
            "sharing": people with a link in common with the user like it;
            "alike": it is similar to what people like the user like;
            "popular": so many people like it;
            "few": few people do;
            "new": nobody does yet.
        like: the name of the like.
        relation: the edge type.
        phrase: the schema's phrase for it.
        is_source: whether the item is at the source of the relation, as a sequel is of "sequel of".
        node: the name of the node in the middle; None: it has none.
        is_title: whether that node is an item.
        count: how many people.
        total: of how many.
        names: the people's names.
        words: the fact in English, where kgrec has it in words.
    """

    kind: Kind
    like: str | None = None
    relation: str | None = None
    phrase: str | None = None
    is_source: bool = True
    node: str | None = None
    is_title: bool = False
    count: int | None = None
    total: int | None = None
    names: tuple[str, ...] = ()
    words: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of one recommended item and its user.

    Attributes:
        item: the item's name, or its id.
        facts: the facts, the one that explains most first; the last says how many people like the item.
    """

    item: str
    facts: tuple[Fact, ...]


def clean_name(name: str) -> str:
    """A name of the catalogue as one line: line breaks, control characters and turns of direction become spaces."""
    name = "".join(" " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in name)
    return " ".join(_BIDI.sub(" ", name).split())


def cut_name(name: str) -> str:
    """A name of at most 70 characters; a longer one is cut at a word, or within a long one, and has an ellipsis."""
    if len(name) <= TITLE_LENGTH:
        return name
    start = name[:TITLE_LENGTH]
    words = start.rsplit(" ", 1)[0]
    if len(words) < TITLE_LENGTH // 2 or words == start:  # one long word
        words = start[:-1]
    return words.rstrip(" ,;:.-\u2013\u2014(") + _ELLIPSIS
