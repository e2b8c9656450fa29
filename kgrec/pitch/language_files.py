"""Language files: how each kind of fact is worded in a language, and which words a rewrite may use."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kgrec.errors import RequestError
from kgrec.pitch.facts import Kind

_OF_LIKES = frozenset({"item", "like"})
PLACEHOLDERS: Mapping[Kind, frozenset[str]] = {
    "same": _OF_LIKES | {"also", "both"},
    "direct": _OF_LIKES | {"is"},
    "linked": _OF_LIKES | {"node"},
    "connected": _OF_LIKES,
    "value": _OF_LIKES | {"value"},
    "people": _OF_LIKES,
    "followed": _OF_LIKES,
    "near": _OF_LIKES,
    "words": frozenset({"item"}),
    "wished": frozenset({"item", "words"}),
    "friends": frozenset({"item", "words", "count", "total"}),
    "most_friends": frozenset({"item", "words"}),
    "named_friends": frozenset({"item", "words", "names"}),
    "sharing": frozenset({"item", "words", "count", "node"}),
    "alike": frozenset({"item"}),
    "popular": frozenset({"item", "count"}),
    "few": frozenset({"item"}),
    "new": frozenset({"item"}),
}
_OF_RELATIONS = {
    "also": frozenset({"node", "phrase"}),
    "both": frozenset({"node", "phrase"}),
    "also_unnamed": frozenset({"phrase"}),
    "both_unnamed": frozenset({"phrase"}),
    "of": frozenset({"phrase"}),
    "to": frozenset({"phrase"}),
}
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
Text = Annotated[str, Field(min_length=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KindWording(_Frozen):
    """How one kind of fact is worded.

    Attributes:
        pitches: sentences that begin a pitch; each names the item.
        asides: sentences that may follow one, about "it".
        words: further words that a rewrite may use for this kind.
    """

    pitches: tuple[Text, ...] = Field(min_length=1)
    asides: tuple[Text, ...] = ()
    words: tuple[Text, ...] = ()


class RelationWording(_Frozen):
    """How a relation is worded. What is None is worded neutrally, or not at all.

    Attributes:
        phrases: the phrases of the schema that it is for, or names of edge types with spaces, in lower case.
        also: what follows the item's name where a like has the same node, named {node}.
        both: a clause about "both" that says so.
        also_unnamed: as `also`, for a node without a name.
        both_unnamed: as `both`, likewise.
        of: what follows the item's name where the item is this to the like, which it calls "it".
        to: what follows the item's name where the like is this to the item.
        words: further words that a rewrite may use for this relation.
    """

    phrases: tuple[Text, ...] = ()
    also: str | None = None
    both: str | None = None
    also_unnamed: str | None = None
    both_unnamed: str | None = None
    of: str | None = None
    to: str | None = None
    words: tuple[Text, ...] = ()


class Language(_Frozen):
    """A language file.

    Attributes:
        name: the language's English name.
        title: how an item's name is quoted, around {}.
        quotes: the characters that quote.
        thousands: what separates thousands.
        conjunction: the word between the last two of several names.
        capitals: whether words inside a sentence are capitalised, as nouns are in German.
        liked: words that go with what the user liked.
        offer: words that go with what is recommended.
        plain: further words that a rewrite may use.
        kinds: how each kind of fact is worded.
        relations: how relations are worded.
        other_relation: how a relation is worded that is not among these; None: neutrally.
        by_relation: the same, for phrases that end in "by", from the item to the node.
    """

    name: Text
    title: Text
    quotes: Text
    thousands: str
    conjunction: Text
    capitals: bool = False
    liked: tuple[Text, ...] = Field(min_length=1)
    offer: tuple[Text, ...] = ()
    plain: tuple[Text, ...] = Field(min_length=1)
    kinds: dict[Kind, KindWording]
    relations: tuple[RelationWording, ...] = ()
    other_relation: RelationWording | None = None
    by_relation: RelationWording | None = None

    @model_validator(mode="after")
    def _check(self) -> "Language":
        missing = [kind for kind in get_args(Kind) if kind not in self.kinds]
        if missing:
            raise ValueError(f"kinds: {', '.join(missing)} missing; expected each of {', '.join(get_args(Kind))}")
        if self.title.count("{}") != 1 or _fields(self.title.replace("{}", "")):
            raise ValueError(f"title: expected quotes around {{}}, got {self.title!r}")
        for kind, wording in self.kinds.items():
            for text in (*wording.pitches, *wording.asides):
                found = _fields(text)
                _check_fields(f"kinds.{kind}", text, found, PLACEHOLDERS[kind])
                if text in wording.pitches and "item" not in found:
                    raise ValueError(f"kinds.{kind}: expected {{item}} in {text!r}, since each pitch names its item")
                if "like" in PLACEHOLDERS[kind] and "like" not in found:
                    raise ValueError(f"kinds.{kind}: expected {{like}} in {text!r}, which it is about")
        for relation in (*self.relations, self.other_relation, self.by_relation):
            for name, allowed in _OF_RELATIONS.items():
                words: str | None = getattr(relation, name, None)
                if words is not None:
                    _check_fields(f"relations.{name}", words, _fields(words), allowed)
        return self

    @cached_property
    def ordinary(self) -> frozenset[str]:
        """The words that a rewrite may always use."""
        return frozenset(word.casefold() for word in (*self.plain, *self.offer, self.conjunction))

    @cached_property
    def _by_phrase(self) -> dict[str, RelationWording]:
        return {phrase.casefold(): each for each in self.relations for phrase in each.phrases}

    def find_relation(self, *phrases: str) -> RelationWording | None:
        """The wording for the first of some phrases that has one of its own."""
        return next((self._by_phrase[each.casefold()] for each in phrases if each.casefold() in self._by_phrase), None)

    def quote(self, title: str) -> str:
        """The name of an item as pitches have it."""
        return self.title.replace("{}", title)

    def count(self, number: int) -> str:
        """A number as pitches have it."""
        return f"{number:,}".replace(",", self.thousands)

    @cached_property
    def _kind_words(self) -> dict[Kind, frozenset[str]]:
        return {kind: words_of((*each.pitches, *each.asides, *each.words)) for kind, each in self.kinds.items()}

    def kind_words(self, kind: Kind) -> frozenset[str]:
        """The words that a rewrite may use for a kind of fact."""
        return self._kind_words[kind]

    def __hash__(self) -> int:
        """Equal languages have equal hashes: answers are cached by it."""
        return hash((self.name, self.title))


def read_words(text: str) -> list[str]:
    """The words of a text, in lower case, without placeholders."""
    text = re.sub(r"\{\w*\}", " ", text).replace("\u2019", "'")
    return [word.casefold() for word in _WORD.findall(text)]


def words_of(texts: Iterable[str | None]) -> frozenset[str]:
    """All words of some texts."""
    return frozenset(word for text in texts if text for word in read_words(text))


def list_languages() -> list[str]:
    """The codes of the languages that kgrec has files for."""
    folder = files("kgrec.pitch") / "templates"
    return sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))


def load_language(language: str | Path) -> Language:
    """Reads a language file.

    Args:
        language: a language of kgrec, such as "en", or the path of a file.

    Raises:
        RequestError: there is no such language or file, it is not TOML, it lacks a kind of fact, or a sentence has an
            unknown placeholder.
    """
    known = list_languages()
    if isinstance(language, str) and language in known:
        return _load_known(language)
    path = Path(language)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RequestError(
            f"no language {str(language)!r}: expected one of {', '.join(known)}, or the path of a language file "
            f"({error})"
        ) from None
    return _parse(text, str(path))


@cache
def _load_known(code: str) -> Language:
    source = files("kgrec.pitch") / "templates" / f"{code}.toml"
    return _parse(source.read_text(encoding="utf-8"), str(source))


def _parse(text: str, path: str) -> Language:
    try:
        return Language.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise RequestError(
            f"{path}: {f'{place}: ' if place else ''}{what}; see kgrec/pitch/templates/en.toml"
        ) from None


def _fields(text: str) -> set[str]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; write {{{{ for a brace") from None
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ValueError(f"{text!r}: expected plain placeholders such as {{item}}")
    return {name for _, name, _, _ in parts if name is not None}


def _check_fields(where: str, text: str, found: set[str], allowed: frozenset[str]) -> None:
    unknown = sorted(found - allowed)
    if unknown:
        expected = ", ".join(f"{{{name}}}" for name in sorted(allowed))
        raise ValueError(f"{where}: unknown placeholder {{{unknown[0]}}} in {text!r}; expected {expected}")
