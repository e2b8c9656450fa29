"""Composes the pitches of one answer: true facts, the strongest first, and not ten times the same sentence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from kgrec.errors import RequestError
from kgrec.pitch.facts import COUNTS, Fact, Facts
from kgrec.pitch.language_files import Language, load_language
from kgrec.pitch.rewriting import Rewriter, Writer
from kgrec.pitch.wording import find_wording, word_fact

_CONSIDERED = 8  # facts of an item, the strongest
_MOST_CHARACTERS = 250  # with a second sentence
_MANY = 20  # people; fewer are no reason to add
_SAID_FACT = 2  # places that a fact loses each time that one like it was said before
_SAID_LIKE = 1  # places that it loses each time that its like was named


@dataclass(frozen=True, eq=False)
class Pitches:
    """How pitches are written.

    Attributes:
        language: a language of kgrec, such as "en", or the path of a language file.
        writer: rewrites them; None: the sentences of the language file stand.
        time_limit_s: seconds that the writer has for all pitches of one answer.

    Raises:
        RequestError: the language file cannot be read, or the time limit is not positive.
    """

    language: str | Path = "en"
    writer: Writer | None = None
    time_limit_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.time_limit_s > 0:
            raise RequestError(f"expected a time limit above 0 s, got {self.time_limit_s!r}")
        _ = self.words  # reads the file now, so that a bad one is an error at once

    @cached_property
    def words(self) -> Language:
        """The language file."""
        return load_language(self.language)

    @cached_property
    def rewriter(self) -> Rewriter | None:
        """What asks the writer."""
        return None if self.writer is None else Rewriter(self.writer, self.time_limit_s)

    def write(self, facts: Sequence[Facts]) -> tuple[list[str], list[str]]:
        """Writes the pitches of one answer.

        Args:
            facts: the facts of each item, by rank.

        Returns:
            The pitches, and notes on why some are not rewritten.
        """
        drafts = compose_pitches(self.words, facts)
        if self.rewriter is None:
            return [text for text, _ in drafts], []
        return self.rewriter.rewrite_all(self.words, drafts)


def read_pitches(pitch: bool | str | Path | Pitches) -> Pitches | None:
    """How pitches are written, as a request asks: True is English, False none.

    Raises:
        RequestError: it is none of these, or the language file cannot be read.
    """
    if isinstance(pitch, Pitches):
        return pitch
    if isinstance(pitch, bool):
        return Pitches() if pitch else None
    if not isinstance(pitch, str | Path):
        raise RequestError(f"expected pitch of True, a language such as 'de' or a file, or Pitches, got {pitch!r}")
    return Pitches(pitch)


def compose_pitches(language: Language, facts: Sequence[Facts]) -> list[tuple[str, Facts]]:
    """Words the facts of the items of one answer. The same facts give the same pitches.

    Args:
        language: the language.
        facts: the facts of each item, by rank.

    Returns:
        The pitch of each item, and the facts that are in it.
    """
    said: Counter[object] = Counter()
    return [_compose(language, each, place, said) for place, each in enumerate(facts)]


def _compose(language: Language, facts: Facts, place: int, said: Counter[object]) -> tuple[str, Facts]:
    """The pitch of one item; `said` counts facts, likes and sentences of the answer."""
    worded = [(fact, word_fact(language, fact, facts.item)) for fact in facts.facts]
    worded = [(fact, sentences) for fact, sentences in worded if sentences]
    own = [(fact, sentences) for fact, sentences in worded if fact.kind not in COUNTS]
    telling = [(fact, sentences) for fact, sentences in own if not _is_unnamed(fact)]
    popular = [(fact, sentences) for fact, sentences in worded if fact.kind == "popular"]
    lead, sentences = _choose(telling[:_CONSIDERED] or popular or own[:_CONSIDERED] or worded, said)
    text, used = _say(sentences, said), [lead]
    said.update({_key(lead): 1, lead.like: 1})
    if place % 2:  # every second has a second sentence
        others = [fact for fact in facts.facts if _adds(language, fact, lead)]
        asides = [(fact, word_fact(language, fact, facts.item, aside=True)) for fact in others]
        room = _MOST_CHARACTERS - len(text) - 1
        asides = [(fact, [each for each in found if len(each[1]) <= room]) for fact, found in asides]
        asides = [(fact, found) for fact, found in asides if found][:_CONSIDERED]
        if asides:
            aside, found = _choose(asides, said)
            text, used = f"{text} {_say(found, said)}", [lead, aside]
            said.update({_key(aside): 1, aside.like: 1})
    return text, replace(facts, facts=tuple(used))


def _choose(
    worded: Sequence[tuple[Fact, list[tuple[str, str]]]], said: Counter[object]
) -> tuple[Fact, list[tuple[str, str]]]:
    """The strongest fact that was not just said."""

    def cost(place: int) -> int:
        fact = worded[place][0]
        return place + _SAID_FACT * said[_key(fact)] + _SAID_LIKE * (said[fact.like] if fact.like else 0)

    return worded[min(range(len(worded)), key=cost)]


def _say(sentences: Sequence[tuple[str, str]], said: Counter[object]) -> str:
    """The sentence that was used least."""
    template, text = min(sentences, key=lambda each: said[each[0]])
    said[template] += 1
    return text


def _adds(language: Language, fact: Fact, lead: Fact) -> bool:
    """Whether a fact says more than another one, of something else."""
    is_new = fact.like is None or fact.like != lead.like
    is_new &= fact.kind != lead.kind or find_wording(language, fact) is not find_wording(language, lead)
    return is_new and not (fact.kind == "popular" and (fact.count or 0) < _MANY)


def _is_unnamed(fact: Fact) -> bool:
    """Whether a fact says no more than that two items share some node: "both won the same award"."""
    return fact.kind in ("same", "linked", "value") and not fact.node


def _key(fact: Fact) -> tuple[str, str | None, str | None]:
    return fact.kind, fact.relation, fact.node
