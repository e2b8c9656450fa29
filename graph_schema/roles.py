"""What the parts of a profile may be for: the interaction, its weight and time, keys, names and texts.

Each is judged by how the data looks first, and by names second: the words below are the usual ones, in a few
languages, and an unknown word only leaves the judgement less sure.
"""

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from graph_schema.catalogue import AttributeType, is_name
from graph_schema.profile import GraphProfile, Kind, NodeProfile, PropertyProfile, RelationshipProfile, Sureness

Unit = Literal["seconds", "milliseconds", "text", "time"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# A word is known by how it begins
_ACTED_ON = _words(
    """rate rating review buy bought purchas order view watch click like love favo listen play read save bookmark wish
    cart visit borrow rent download subscrib enrol appl interact consum stream vote attend follow complet took swip saw
    seen kauf gekauft bestell bewert gesehen gelesen gehört ausgeliehen lieh achet achat commande compr vist leyo leíd
    booked ate"""
)
_LINKED_BY = _words(
    """genre categor tag act direct produc wrot writ author creat made manufactur brand locat near similar relate cite
    citing reference subclass parent child type kind about mention work employ know friend skill requir belong contain
    part has have member connect publish compos perform gehört_zu"""
)
_SMALL_LINK_WORDS = frozenset(_words("in is of at on to from with by am im aus von de en dans"))
_USERS = _words(
    """user customer client member account reader viewer listener subscriber buyer shopper visitor consumer player
    student learner guest patron borrower reviewer rater kunde käufer nutzer benutzer leser mitglied besucher gast
    utilisateur acheteur usuario comprador usager lecteur userid"""
)
_PEOPLE = ("person", "people", "profile", "candidate", "patient", "employee", "persona", "personne", "contact")
_ITEMS = _words(
    """movie film product item book article song track album course job video game recipe restaurant hotel post show
    series episode podcast event offer listing paper document news app artikel produkt buch lied kurs stelle rezept
    produit livre producto libro anime business venue poi title vacancy artist place"""
)
_ENTITIES = _words(
    """genre categor tag brand author actor director writer composer compan country city language skill topic keyword
    subject publisher label color colour size type kind department warengruppe kategorie marke hersteller autor land
    stadt marque catégorie pays ville categoría marca país ciudad group award studio format license region state
    store shop address entit"""
)
_WEIGHTS = _words(
    """rating rate score star weight bewertung note sterne punkte grade vote preference strength quantity qty menge
    anzahl count plays times freq listens views clicks number amount cantidad quantité nota"""
)
_GRADES = ("rating", "rate", "score", "star", "bewertung", "note", "sterne", "grade", "vote", "preference", "nota")
_TIMES = _words(
    """time timestamp ts date at on when since created updated am datum zeit zeitpunkt seit fecha moment day unix epoch
    added"""
)
_NAMES = _words(
    "title name titel label bezeichnung headline titre nom nombre título titulo caption subject username login"
)
_TEXTS = _words(
    """description plot summary blurb abstract bio text content overview synopsis beschreibung tagline about body
    keywords tags genres topics details note notes comment résumé descripción zusammenfassung inhalt"""
)
_KEYS = _words("id uuid guid urn uri key code sku isbn isbn13 asin ean gtin slug handle number nummer num nr no ref")
_KEY_ENDINGS = ("uuid", "id", "nummer", "nr", "code", "key", "urn")
_PERSONAL = _words("password passwd pwd token secret salt email mail phone telephone mobile telefon ssn iban")

_FIRST_S, _LAST_S = 631_152_000, 4_102_444_800  # 1990 to 2100, where epoch seconds of interactions can be
_LONG_TEXT = 30  # characters per value from which text is prose
_SEVERAL = 2
_MANY = 5  # interactions per node that links to a genre or a maker seldom reach on both sides
_LEAST_SCORE = 3
LEAST_COVERAGE = 0.95  # of an interaction's weight and time: rows without are rejected


@dataclass(frozen=True)
class Candidate:
    """A relationship that may be the interaction.

    Attributes:
        relationship: it.
        reverse: it points from items to users.
        score: how much speaks for it.
        reasons: what does.
        is_telling: more than its shape speaks for it.
    """

    relationship: RelationshipProfile
    reverse: bool
    score: int
    reasons: tuple[str, ...]
    is_telling: bool

    @property
    def user(self) -> str:
        """The label of those who interact."""
        return self.relationship.end if self.reverse else self.relationship.start

    @property
    def item(self) -> str:
        """The label of what is recommended."""
        return self.relationship.start if self.reverse else self.relationship.end


def split_words(name: str) -> list[str]:
    """The words of a name such as "ratedAt", "RATED_AT" or "rated-at", in lower case."""
    apart = re.sub(r"(?<=[a-z0-9ß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def split_id(name: str) -> tuple[list[str], bool]:
    """The words of a name without a closing "id" or the like, and whether it had one: "userId" is (["user"], True)."""
    words = split_words(name)
    if not words:
        return [], False
    if words[-1] in _KEYS:
        return words[:-1], True
    ending = next((ending for ending in _KEY_ENDINGS if words[-1].endswith(ending)), None)
    if ending is not None and len(words[-1]) > len(ending) + 2:
        return [*words[:-1], words[-1].removesuffix(ending)], True
    return words, False


def to_singulars(name: str) -> set[str]:
    """What a plural may be of: "movies" of movie, movi or movy; a name of several words whole and its last word."""
    found = set()
    words = split_words(name)
    for plural in {"_".join(words), *words[-1:]}:
        found |= {plural, plural.removesuffix("s"), plural.removesuffix("es"), re.sub("ies$", "y", plural)}
    return found


def is_known_word(word: str) -> bool:
    """Whether a word is a usual one, as it is, for users, items or what items are linked to."""
    return word in {*_USERS, *_ITEMS, *_ENTITIES}


def is_user_name(words: list[str]) -> bool:
    """Whether a name's last word is one for those who interact."""
    return bool(words) and words[-1].startswith(_USERS)


def is_item_name(words: list[str]) -> bool:
    """Whether a name's last word is one for what is recommended."""
    return bool(words) and words[-1].startswith(_ITEMS)


def is_entity_name(words: list[str]) -> bool:
    """Whether a name's last word is one for what items are linked to."""
    return bool(words) and words[-1].startswith(_ENTITIES)


def find_interactions(profile: GraphProfile) -> list[Candidate]:
    """The relationships that may be the interaction, the best first; each in the direction that fits better."""
    largest = max((found.count for found in profile.relationships), default=0)
    candidates = []
    for found in profile.relationships:
        if found.start == found.end or found.count == 0:
            continue
        both = [_judge(profile, found, reverse, largest) for reverse in (False, True)]
        best = max(both, key=lambda candidate: (candidate.score, not candidate.reverse))
        if best.score >= _LEAST_SCORE and best.is_telling:
            candidates.append(best)
    candidates.sort(key=lambda candidate: (-candidate.score, -candidate.relationship.count))
    # of those that are about as good, the one there is most of
    near = [candidate for candidate in candidates if candidate.score >= candidates[0].score - 2]
    first = max(near, key=lambda candidate: candidate.relationship.count, default=None)
    return [] if first is None else [first, *(candidate for candidate in candidates if candidate is not first)]


@dataclass
class _Evidence:
    score: int = 0
    reasons: list[str] = field(default_factory=list)
    is_telling: bool = False

    def add(self, points: int, reason: str = "", *, tells: bool = False) -> None:
        self.score += points
        self.is_telling |= tells
        if reason:
            self.reasons.append(reason)


def _judge(profile: GraphProfile, found: RelationshipProfile, reverse: bool, largest: int) -> Candidate:
    """Adds up what speaks for a relationship as the interaction, and what against."""
    user_name, item_name = (found.end, found.start) if reverse else (found.start, found.end)
    users, items = profile.nodes[user_name], profile.nodes[item_name]
    evidence = _Evidence()
    _judge_names(evidence, found, users, items, reverse)
    if at := find_time(found):
        evidence.add(2, f"each has a time ({at[0]})", tells=True)
    if weight := find_weight(found, at[0] if at else None):
        reason = f"and a strength ({weight})" if at else f"each has a strength ({weight})"
        evidence.add(2 if is_weight_name(weight) else 1, reason, tells=True)
    _judge_degrees(evidence, found, users, items, reverse)
    if found.count == largest:
        evidence.add(1, "there are most of them")
    if any(
        (other.start == item_name and other.end != user_name) or (other.end == item_name and other.start != user_name)
        for other in profile.relationships
    ):
        evidence.add(1)
    if _has_text(items) and not _has_text(users):
        evidence.add(1, f"{_label(items)} has text")
    return Candidate(found, reverse, evidence.score, tuple(evidence.reasons), evidence.is_telling)


def _judge_names(
    evidence: _Evidence, found: RelationshipProfile, users: NodeProfile, items: NodeProfile, reverse: bool
) -> None:
    words = split_words(found.type)
    if _begins(words, _ACTED_ON):
        evidence.add(3, f"{found.type} is what people do", tells=True)
        is_passive = len(words) > 1 and words[-1] in ("by", "von", "par", "por")
        evidence.add((3 if is_passive else -1) if reverse else (-3 if is_passive else 1))
    elif _begins(words, _LINKED_BY) or set(words) & _SMALL_LINK_WORDS:
        evidence.add(-3)
    if _is_one(users, _USERS):
        evidence.add(3, f"{_label(users)} is a name for those who choose", tells=True)
    elif _is_one(users, _PEOPLE):
        evidence.add(1, f"{_label(users)} is a name for people")
    elif _is_one(users, _ENTITIES):
        evidence.add(-4)
    elif _is_one(users, _ITEMS):
        evidence.add(-3)
    if _is_one(items, _USERS) or _is_one(items, _ENTITIES):
        evidence.add(-3)
    elif _is_one(items, _ITEMS):
        evidence.add(1, f"{_label(items)} is one for what is chosen")


def _judge_degrees(
    evidence: _Evidence, found: RelationshipProfile, users: NodeProfile, items: NodeProfile, reverse: bool
) -> None:
    n_users, n_items = (found.n_ends, found.n_starts) if reverse else (found.n_starts, found.n_ends)
    per_user, per_item = found.count / max(n_users, 1), found.count / max(n_items, 1)
    if min(found.max_out, found.max_in) <= 1:
        evidence.add(-2)  # each has one, as an item has one maker
    elif min(per_user, per_item) >= _SEVERAL:
        reason = f"{per_user:,.0f} per {_label(users)}, {per_item:,.0f} per {_label(items)}"
        evidence.add(1, reason, tells=min(per_user, per_item) >= _MANY)
    if n_users * 10 < n_items:
        evidence.add(-1)


def find_item_label(profile: GraphProfile) -> str | None:
    """The label that is most likely what would be recommended, where nothing says who interacts with what."""

    def worth(node: NodeProfile) -> tuple[int, int]:
        links = sum(node.name in (found.start, found.end) for found in profile.relationships)
        by_name = 3 * _is_one(node, _ITEMS) - 3 * (_is_one(node, _ENTITIES) or _is_one(node, _USERS))
        return by_name + 2 * _has_text(node) + min(links, 3), node.count

    return max(profile.nodes, key=lambda name: worth(profile.nodes[name]), default=None)


def is_user_label(node: NodeProfile) -> bool:
    """Whether its name is one for those who interact."""
    return _is_one(node, _USERS)


def find_time(found: RelationshipProfile) -> tuple[str, Unit] | None:
    """The property that says when, and how it is written; only one that nearly all relationships have."""
    fitting = []
    for place, (name, one) in enumerate(found.properties.items()):
        unit = find_unit(one)
        if unit is not None and is_name(name) and one.coverage >= LEAST_COVERAGE:
            is_named = _begins(split_words(name), _TIMES)
            fitting.append((not is_named, -one.coverage, "updat" in name.lower(), place, name, unit))
    if not fitting:
        return None
    *_, name, unit = min(fitting)
    return name, unit


def find_unit(one: PropertyProfile) -> Unit | None:
    """How a property's values say a time: by a type of the database, as text, or as a number; None: they do not."""
    kind = find_kind(one)
    if kind == "time":
        return "time"
    if kind == "string" and one.samples and all(map(_is_iso, one.samples)):
        return "text"
    words = split_words(one.name)
    is_named = any(word in _TIMES or word.endswith(("time", "date", "timestamp")) for word in words)
    if kind not in ("int", "float") or one.low is None or one.high is None or one.low < 0 or not is_named:
        return None
    if _FIRST_S <= one.high < _LAST_S:
        return "seconds"
    return "milliseconds" if kind == "int" and _FIRST_S * 1000 <= one.high < _LAST_S * 1000 else None


def find_weight(found: RelationshipProfile, at: str | None) -> str | None:
    """The number that says how strong an interaction is; None where there is none or no saying which."""
    numbers = [
        name
        for name, one in found.properties.items()
        if find_kind(one) in ("int", "float")
        and is_name(name)
        and one.low != one.high
        and one.coverage >= LEAST_COVERAGE
        and name != at
        and find_unit(one) is None
        and not split_id(name)[1]
    ]
    for known in (_GRADES, _WEIGHTS):
        named = [name for name in numbers if _begins(split_words(name), known)]
        if named:
            return named[0]
    unknown = [name for name in numbers if not _begins(split_words(name), ("price", "preis", "cost", "total", "prix"))]
    return unknown[0] if len(unknown) == 1 else None


def find_positive(one: PropertyProfile) -> tuple[float | None, str]:
    """From which weight an interaction is a like, and why; None: every interaction is."""
    if one.low is None or one.high is None:
        return None, "it has no numbers"
    low, high = one.low, one.high
    if low < 0:
        return 1.0 if high <= 1 else _tidy(high * 0.4), f"from {low:g} to {high:g}: above the middle is a like"
    if not _begins(split_words(one.name), _GRADES):
        return None, f"it counts, from {low:g} to {high:g}: every interaction is a like"
    if high <= 1:
        return 1.0 if find_kind(one) == "int" else 0.7, f"from {low:g} to {high:g}"
    scale = next((top for top in (5, 6, 7, 10, 20, 100) if high <= top), None)
    if scale is None:
        return None, f"from {low:g} to {high:g} is no usual scale: every interaction is a like"
    share = {5: 4.0, 6: 5.0, 7: 5.0, 10: 7.0, 20: 14.0, 100: 70.0}[scale]
    return share, f"grades from {low:g} to {high:g}: {share:g} and more is a like"


def find_kind(
    one: PropertyProfile,
) -> Literal["string", "int", "float", "bool", "time", "list", "vector", "other"] | None:
    """The kind that all values of a property have; ints among floats are floats; None where they are mixed."""
    kinds = {kind for kind, n in one.kinds.items() if n}
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"int", "float"} else None


def find_type(one: PropertyProfile) -> AttributeType | None:
    """The type that a schema gives a property; None where it has none that fits."""
    if find_unit(one) is not None:
        return "time"
    types: dict[Kind | None, AttributeType] = {
        "string": "string",
        "list": "string",
        "int": "int",
        "float": "float",
        "bool": "bool",
    }
    return types.get(find_kind(one))


def find_key(node: NodeProfile) -> tuple[str, Sureness, str] | None:
    """The property that tells the nodes apart, how sure that is, and why; None where no property can."""
    if node.key:
        return node.key, "sure", "tables of links name them by it"
    usable = [one for one in node.properties.values() if find_kind(one) in ("string", "int")]
    fitting = [one for one in usable if find_unit(one) is None]
    if not fitting:
        return None

    def worth(one: PropertyProfile) -> tuple[float, ...]:
        is_whole = one.coverage == 1 and one.is_unique is not False
        words, is_id = split_id(one.name)
        own = {*split_words(node.name), *split_words(node.label), *to_singulars(node.name)}
        named = 0 if not is_id else 2 if set(words) <= own else 1
        # what is measured (a year, a price) may be distinct by chance, and a title may be given again
        is_code = find_kind(one) == "string" and all(re.fullmatch(r"\S*\d\S*", value) for value in one.samples)
        kind = 3 if is_code else 2 if words[-1:] and words[-1] in _NAMES else int(find_kind(one) == "string")
        return (
            is_whole and one.is_constrained,
            is_whole and one.is_unique is True and named,
            is_whole and one.distinct == 1,
            named if is_whole or one.coverage * one.distinct > 0.9 else 0,  # noqa: PLR2004
            one.coverage * one.distinct if not is_whole else 1,
            is_whole and one.is_unique is True,
            kind,
            -one.mean_length,  # short rather than long
        )

    best = max(fitting, key=worth)
    if best.coverage == 1 and best.is_constrained:
        return best.name, "sure", f"on every {_label(node)}, and the database keeps it unique"
    if best.coverage == 1 and best.is_unique:
        named = split_id(best.name)[1]
        return best.name, "sure" if named else "likely", f"on every {_label(node)}, and no two have the same"
    if best.coverage == 1 and best.is_unique is None and best.distinct == 1:
        return best.name, "likely", f"on every {_label(node)}, and no two of those looked at have the same"
    wrong = []
    if best.coverage < 1:
        wrong.append(f"{1 - best.coverage:.1%} lack it")
    if best.n_duplicates:
        wrong.append(f"{best.n_duplicates:,} repeat another's value")
    elif best.distinct < 1:
        wrong.append(f"{1 - best.distinct:.1%} repeat another's value")
    return (
        best.name,
        "a guess",
        f"no property is on every {_label(node)} and unique; of the best, {' and '.join(wrong)}: such nodes are "
        "rejected when they are read",
    )


def find_name(node: NodeProfile, key: str) -> str | None:
    """The property to show to people; the key itself where it is a name."""
    texts = [one for one in node.properties.values() if find_kind(one) == "string" and _is_shown(one)]
    for known in _NAMES:
        named = [one for one in texts if split_words(one.name)[-1:] == [known]]
        if named:
            return min(named, key=lambda one: (len(split_words(one.name)), -one.coverage)).name
    unlike = [one for one in texts if one.distinct > 0.8 and 3 <= one.mean_length <= 80 and one.coverage > 0.5]  # noqa: PLR2004
    prose = [one for one in unlike if one.name != key and any(" " in value for value in one.samples)]
    if prose:
        return prose[0].name
    # a key that is a word, such as a genre
    is_word = not split_id(key)[1] and any(one.name == key and _has_words(one) for one in texts)
    return key if is_word else None


def find_texts(node: NodeProfile, key: str, name: str | None) -> list[str]:
    """The properties that the text encoder should read: the name, prose, and lists of words."""
    found = [name] if name is not None and name != key else []
    for one in node.properties.values():
        if one.name in (key, name) or find_unit(one) is not None or not _is_shown(one):
            continue
        kind = find_kind(one)
        words = split_words(one.name)
        is_prose = one.mean_length >= _LONG_TEXT and statistics.fmean(v.count(" ") for v in one.samples or ("",)) >= 3  # noqa: PLR2004
        is_listed = any("|" in value for value in one.samples)
        if kind == "list" or (kind == "string" and (is_prose or is_listed or _begins(words[-1:], _TEXTS))):
            found.append(one.name)
    return found


def is_weight_name(name: str) -> bool:
    """Whether a name is one for how strong an interaction is."""
    return _begins(split_words(name), _WEIGHTS)


def is_called(name: str) -> bool:
    """Whether a property is what a person is called."""
    return split_words(name)[-1:] in (["name"], ["username"], ["login"], ["nickname"], ["surname"], ["firstname"])


def is_personal(name: str) -> bool:
    """Whether a property is nothing to learn tastes from: credentials and ways to reach a person."""
    return any(word.startswith(_PERSONAL) for word in split_words(name))


def _is_shown(one: PropertyProfile) -> bool:
    """Whether its values are words, not addresses, hashes or markup."""
    values = one.samples[:50]
    odd = sum(
        bool(re.match(r"\w+://|\w+:\w+:|www\.|[{<\[]|[0-9a-fA-F-]{16,}$|\S+@\S+\.\w+$|[\d.,:+/ -]+$", v))
        for v in values
    )
    return not is_personal(one.name) and odd * 2 <= len(values)


def _has_words(one: PropertyProfile) -> bool:
    return sum(bool(re.search(r"[^\W\d_]{3}", value)) for value in one.samples) * 2 > len(one.samples)


def _has_text(node: NodeProfile) -> bool:
    key = find_key(node)
    return bool(find_texts(node, key[0] if key else "", find_name(node, key[0] if key else "")))


def _is_one(node: NodeProfile, known: tuple[str, ...]) -> bool:
    # the last word says what it is: a MovieGenre is a genre
    words = split_words(node.label or node.name)
    return bool(words) and words[-1].startswith(known)


def _begins(words: Iterable[str], known: tuple[str, ...]) -> bool:
    return any(word == one if len(one) <= 3 else word.startswith(one) for word in words for one in known)  # noqa: PLR2004


def _is_iso(text: str) -> bool:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _label(node: NodeProfile) -> str:
    return node.label or node.name


def _tidy(number: float) -> float:
    return float(f"{number:.2g}")
