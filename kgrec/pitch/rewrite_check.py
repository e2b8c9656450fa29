"""Checks a rewritten pitch: it may say what the facts say, in a closed set of words, and nothing else.

A rewrite is read sentence by sentence. Each sentence must be covered by one fact: by its names, its numbers, and words
that the language file has for this kind of fact and this relation, or lists as plain. Any other word, name, number or
sign is a fault, and with it every title, person or claim that no fact has, whether the catalogue knows it or not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kgrec.pitch.facts import Fact, Facts
from kgrec.pitch.language_files import Language, read_words, words_of
from kgrec.pitch.wording import find_kind, find_wording, read_noun, relation_words, word_is

_MOST_CHARACTERS = 320  # beside names
_MOST_SENTENCES = 3
_SHORT = 2  # letters of words that tell no relation, as "by"
_QUOTES = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a'
_SPACE = "[ \u00a0\u202f]+"
_NUMBER = r"\d+(?:[.,\u00a0\u202f ]\d{3}(?!\d))*(?:[.,]\d+)?"
_WORD = r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*['\u2019]?"
_MARK = "[,;:()\u2013\u2014-]"
_PARTS = rf"(?P<number>{_NUMBER})|(?P<word>{_WORD})|(?P<end>[.!?\u2026]+)|(?P<space>{_SPACE})|(?P<mark>{_MARK})"


@dataclass(frozen=True)
class _Token:
    """A part of a text.

    Attributes:
        kind: "title" and "name", of the facts; "number", "word", "end", of a sentence, "mark", "space", "other".
        text: the title or name, or what stands there.
    """

    kind: str
    text: str


def find_fault(language: Language, facts: Facts, text: object) -> str | None:
    """Finds what is wrong with a rewritten pitch.

    Args:
        language: the language that it must be in.
        facts: the facts that it was made from, the main one first; its like must stay.
        text: the rewritten pitch.

    Returns:
        What it has that the facts have not, or what it lacks; None: nothing is wrong.
    """
    if not isinstance(text, str) or not text.strip():
        return "it is empty"
    tokens = _read_tokens(language, facts, text.strip())
    other = next((token.text for token in tokens if token.kind == "other"), None)
    if other is not None:
        return f"it has the sign {other!r}"
    sentences = _split(tokens)
    length = sum(len(token.text) for token in tokens if token.kind not in ("title", "name"))
    if length > _MOST_CHARACTERS or len(sentences) > _MOST_SENTENCES:
        return "it is too long"
    titles = {token.text for token in tokens if token.kind == "title"}
    for title in (facts.item, facts.facts[0].like):
        if title is not None and title not in titles:
            return f"it does not name {title!r}"
    faults = (
        _find_capital(language, sentence)
        or _find_swap(language, facts, sentence)
        or _find_uncovered(language, facts, sentence)
        for sentence in sentences
    )
    return next((fault for fault in faults if fault is not None), None)


def quote_titles(language: Language, facts: Facts, text: str) -> str:
    """A rewritten pitch with its titles in the quotes of the language."""
    tokens = _read_tokens(language, facts, text.strip())
    return "".join(language.quote(token.text) if token.kind == "title" else token.text for token in tokens)


def _read_tokens(language: Language, facts: Facts, text: str) -> list[_Token]:
    """Splits a text; the names of the facts, the longest first, are tokens."""
    titles = sorted({facts.item, *(title for fact in facts.facts for title in _titles(fact))}, key=len, reverse=True)
    names = {name for fact in facts.facts for name in _names(fact)}
    quoted = "|".join(rf"[{_QUOTES}]\s*{re.escape(title)}\s*[{_QUOTES}]" for title in titles)
    # "It", the film, is a title only in quotes
    plain = language.ordinary | {word for fact in facts.facts for word in _words(language, fact)}
    bare = [title for title in titles if not set(read_words(title)) <= plain]
    listed = sorted([*bare, *names], key=len, reverse=True)
    unquoted = "|".join(rf"(?<![\w'\u2019-]){re.escape(name)}(?!['\u2019-]?\w)" for name in listed) or "(?!)"
    tokens = []
    pattern = re.compile(rf"(?P<quoted>{quoted})|(?P<unquoted>{unquoted})|{_PARTS}|(?P<other>.)", re.DOTALL)
    for found in pattern.finditer(text):
        kind, part = str(found.lastgroup), found.group()
        if kind == "quoted":
            tokens.append(_Token("title", next(title for title in titles if part[1:-1].strip() == title)))
        elif kind == "unquoted":
            tokens.append(_Token("name" if part in names else "title", part))
        else:
            tokens.append(_Token(kind, part))
    return tokens


def _names(fact: Fact) -> set[str]:
    """What a rewrite may have word for word."""
    phrases = (fact.phrase, read_noun(fact.phrase, fact)) if fact.phrase else ()
    return {name for name in (None if fact.is_title else fact.node, fact.words, *fact.names, *phrases) if name}


def _titles(fact: Fact) -> set[str]:
    """The titles of a fact, beside that of its item."""
    return {title for title in (fact.like, fact.node if fact.is_title else None) if title}


def _split(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """The sentences of a text, without spaces; a name such as "Warner Bros." may end one."""
    sentences: list[list[_Token]] = [[]]
    tokens = [token for token in tokens if token.kind != "space"]
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        sentences[-1].append(token)
        begins = following is not None and (following.kind in ("title", "number") or following.text[:1].isupper())
        if token.kind == "end" or (token.kind == "name" and token.text.endswith((".", "!", "?")) and begins):
            sentences.append([])
    return [sentence for sentence in sentences if any(token.kind not in ("end", "mark") for token in sentence)]


def _find_capital(language: Language, sentence: Sequence[_Token]) -> str | None:
    """A word that is written as a name."""
    for before, token in zip([_Token("end", "."), *sentence], sentence, strict=False):
        first, rest = token.text[:1], token.text[1:]
        inside = (
            first != first.lower() and not language.capitals and before.text not in (".", ":") and token.text != "I"
        )
        if token.kind == "word" and (inside or rest != rest.lower()):
            return f"{token.text!r} is written as a name"
    return None


def _find_swap(language: Language, facts: Facts, sentence: Sequence[_Token]) -> str | None:
    """A like that is recommended, or an item that the user is said to have liked."""
    likes = {fact.like for fact in facts.facts if fact.like}
    liked, offer = words_of(language.liked), words_of(language.offer)
    told = [token for token in sentence if token.kind not in ("mark", "end")]
    named = {token.text for token in told if token.kind == "title"}
    bound = set()
    for place, token in enumerate(told):
        word = token.text.casefold()
        if token.kind == "title" or word not in liked | offer:
            continue
        titles = [at for at, other in enumerate(told) if other.kind == "title"]
        if word in offer:  # what is offered comes next
            titles = [at for at in titles if at > place] or titles
        nearest = min(titles, key=lambda at: (abs(at - place), at < place), default=None)
        if word in liked:
            if nearest is None or told[nearest].text not in likes:
                return f"{token.text!r} goes with no like"
            bound.add(told[nearest].text)
        elif nearest is not None and told[nearest].text != facts.item:
            return f"{token.text!r} goes with a like"
    if facts.item in named and named & likes - {facts.item} and not bound:
        return "it does not say which of its titles the user liked"
    return None


def _find_uncovered(language: Language, facts: Facts, sentence: Sequence[_Token]) -> str | None:
    """What keeps a sentence from being covered by one of the facts, told of the first."""
    faults = [_find_uncovered_by(language, facts.item, fact, sentence) for fact in facts.facts]
    return None if None in faults else faults[0]


def _find_uncovered_by(language: Language, item: str, fact: Fact, sentence: Sequence[_Token]) -> str | None:
    names, words = _names(fact), _words(language, fact) | language.ordinary
    counts = {written for n in (fact.count, fact.total) if n is not None for written in (str(n), language.count(n))}
    allowed: dict[str, set[str]] = {"title": {item, *_titles(fact)}, "name": names, "number": counts}
    for token in sentence:
        strange = token.text not in allowed.get(token.kind, {token.text})
        if token.kind == "name" and strange:  # a name may be an ordinary word, too
            strange = not _forms(token) & words
        if strange or (token.kind == "word" and not _forms(token) & words):
            return f"{token.text!r} is not in the fact that the rest of its sentence is about"
    plain = language.ordinary | words_of(language.liked)
    claims = any(token.kind in ("name", "word") and not _forms(token) & plain for token in sentence)
    if not claims or fact.like is None:
        return None
    if not any(token.kind == "title" and token.text == fact.like for token in sentence):
        return "it does not say which like it is about"
    return _find_other_relation(language, item, fact, sentence)


def _forms(token: _Token) -> set[str]:
    """A word as lists of words have it, with and without an apostrophe at its end."""
    word = token.text.casefold().replace("\u2019", "'")
    return {word, word.rstrip("'")}


def _find_other_relation(language: Language, item: str, fact: Fact, sentence: Sequence[_Token]) -> str | None:
    """A relation that is not the fact's: the node must be named with a word for it, a direction word for word."""
    if find_kind(language, fact) == "direct":
        clause = [token.text for token in _read_tokens(language, Facts(item, (fact,)), word_is(language, fact))]
        told = [token.text for token in sentence]
        wanted = [item, *(part for part in clause if part.strip())]
        starts = range(len(told) - len(wanted) + 1)
        return None if any(told[at : at + len(wanted)] == wanted for at in starts) else "it turns a relation around"
    if find_kind(language, fact) != "same" or find_wording(language, fact) is None:
        return None
    words = relation_words(language, fact) - language.ordinary - language.kind_words("same")
    telling = {word for word in words if len(word) > _SHORT}
    said = {word for token in sentence if token.kind in ("word", "name") for word in read_words(token.text)}
    names_node = any(token.kind in ("name", "title") and token.text == fact.node for token in sentence)
    return "it names no relation" if names_node and telling and not telling & said else None


def _words(language: Language, fact: Fact) -> frozenset[str]:
    """The words that a rewrite may use for a fact, beside plain ones."""
    kind = find_kind(language, fact)
    of_relation = relation_words(language, fact) if kind in ("same", "direct") else frozenset[str]()
    liked = words_of(language.liked) if fact.like is not None else frozenset[str]()
    return language.kind_words(kind) | of_relation | liked
