"""Words facts by a language file."""

from collections.abc import Iterator
from string import Formatter

from kgrec.pitch.facts import Fact, Kind
from kgrec.pitch.language_files import Language, RelationWording, words_of

PREPOSITIONS = ("about", "at", "by", "for", "from", "in", "of", "on", "to", "with")


def word_fact(language: Language, fact: Fact, item: str, *, aside: bool = False) -> list[tuple[str, str]]:
    """The sentences that a language has for a fact.

    Args:
        language: the language.
        fact: the fact.
        item: the name of the item.
        aside: sentences that follow another one.

    Returns:
        (the template, the sentence) of each; none where the language cannot word the fact.
    """
    kind = find_kind(language, fact)
    if aside and kind == "same" and not fact.node:  # "both have the same subject" adds nothing
        return []
    wording = language.kinds[kind]
    values = dict(_find_values(language, fact, item))
    found = []
    for template in wording.asides if aside else wording.pitches:
        if all(name is None or name in values for _, name, _, _ in Formatter().parse(template)):
            text = template.format_map(values)
            found.append((template, text[:-1] if text.endswith("..") else text))  # "Warner Bros." ends it
    return found


def find_kind(language: Language, fact: Fact) -> Kind:
    """The kind that words a fact: it is worded neutrally where the language has no words for its relation."""
    if fact.kind not in ("same", "direct"):
        return fact.kind
    values = dict(_find_relation_values(language, fact))
    if fact.kind == "direct":
        return "direct" if "is" in values else "connected"
    return "same" if {"also", "both"} <= set(values) else "linked"


def find_wording(language: Language, fact: Fact) -> RelationWording | None:
    """How a language words the relation of a fact; None: it does not."""
    if fact.phrase is None:
        return None
    name = (fact.relation or "").replace("_", " ")
    noun = read_noun(fact.phrase, fact)
    own = language.find_relation(fact.phrase, noun, name, read_noun(name, fact))
    if own is not None:
        return own
    if fact.is_source and fact.phrase.endswith(" by"):
        return language.by_relation
    # The name of an edge type may be a verb: "wrote".
    is_noun = noun != "" and (fact.phrase != name or noun != name)
    return language.other_relation if is_noun else None


def read_noun(phrase: str, fact: Fact) -> str:
    """The noun of a phrase, such as "author" of "author of" or "genre" of "has genre"; empty: it is none."""
    if phrase.endswith(" of"):  # a book shares the author of it, not what it is a part of
        return phrase.removesuffix(" of") if fact.kind == "direct" or not fact.is_source else ""
    return "" if "{}" in phrase or phrase.rsplit(" ", 1)[-1] in PREPOSITIONS else phrase.removeprefix("has ")


def word_is(language: Language, fact: Fact) -> str:
    """What follows the item's name where a relation leads from it to a like, or back; empty: it has no words."""
    return dict(_find_relation_values(language, fact)).get("is", "")


def relation_words(language: Language, fact: Fact) -> frozenset[str]:
    """The words for the relation of a fact, which no other relation may be told with."""
    wording = find_wording(language, fact)
    if wording is None:
        return frozenset()
    texts = (wording.also, wording.both, wording.also_unnamed, wording.both_unnamed, wording.of, wording.to)
    return words_of((*texts, *wording.words, fact.phrase))


def _find_values(language: Language, fact: Fact, item: str) -> Iterator[tuple[str, str]]:
    yield "item", language.quote(item)
    if fact.like is not None:
        yield "like", language.quote(fact.like)
    if fact.node is not None:
        yield "node", language.quote(fact.node) if fact.is_title else fact.node
    if fact.words is not None:
        yield "words", fact.words
    if fact.kind == "value" and fact.node is not None:
        yield "value", fact.node
    for name, number in (("count", fact.count), ("total", fact.total)):
        if number is not None and number > 1:  # sentences have the plural
            yield name, language.count(number)
    if fact.names:
        first, last = ", ".join(fact.names[:-1]), fact.names[-1]
        yield "names", f"{first} {language.conjunction} {last}" if first else last
    yield from _find_relation_values(language, fact)


def _find_relation_values(language: Language, fact: Fact) -> Iterator[tuple[str, str]]:
    wording = find_wording(language, fact)
    if wording is None or fact.phrase is None:
        return
    phrase = read_noun(fact.phrase, fact) or fact.phrase
    node = language.quote(fact.node) if fact.node and fact.is_title else fact.node
    values = {"phrase": phrase, "node": node or ""}
    also, both = (wording.also, wording.both) if fact.node else (wording.also_unnamed, wording.both_unnamed)
    # A film "has sequel" another, which is "sequel of" it.
    is_ = wording.to if fact.is_source != _is_reverse(fact) else wording.of
    for name, template in (("also", also), ("both", both), ("is", is_)):
        if template is not None:
            yield name, template.format_map(values)


def _is_reverse(fact: Fact) -> bool:
    """Whether a relation is named by what its source is to its target, as "sequel of" is."""
    assert fact.phrase is not None
    return fact.phrase.endswith((" of", " by"))
