"""What a property may be for: a time, a weight, a key, a name, a text.

Each is judged by its values first and by its name second.
"""

import re
import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from graph_schema.drafts.name_words import (
    ACTED_ON,
    COMPANIES,
    GRADES,
    LATER_TIMES,
    NAMES,
    PEOPLE,
    PRICES,
    ROLES,
    TEXTS,
    TIMES,
    USERS,
    WEIGHTS,
    begins_with,
    is_personal,
    is_street_name,
    is_vector_name,
    split_id,
    split_words,
    to_singulars,
)
from graph_schema.drafts.profile import Kind, NodeProfile, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.schema_types import AttributeType, is_label

Unit = Literal["seconds", "milliseconds", "text", "time"]

_FIRST_S, _LAST_S = 631_152_000, 4_102_444_800  # 1990 to 2100, where epoch seconds of interactions can be
_LONG_TEXT = 30  # characters per value from which text is prose
MOST_DISTINCT = 0.5  # distinct values per value of a category
_MOST_WORDS, _MOST_ENTRY_WORDS = 4, 3  # of a category, and of an entry of a list, on average
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_PAIR = re.compile(rf"(?:POINT ?)?[\[(]?\s*({_NUMBER})\s*[,;\s]\s*({_NUMBER})\s*[\])]?")
_VECTOR_START = re.compile(r"\[(\s*[+-]?\d+\.\d+(?:[eE][+-]?\d+)?\s*,){3}")  # a long one is cut off
_OWN_ID = 2  # an id that is called as the node itself, or just "id"
LEAST_COVERAGE = 0.95  # of a key, and of an interaction's weight and time: rows without are rejected


def find_time(found: RelationshipProfile) -> tuple[str, Unit] | None:
    """Finds the property with the time of an interaction, and its unit, among those that nearly all of them have."""
    fitting = []
    for place, (name, one) in enumerate(found.properties.items()):
        unit = find_unit(one)
        if unit is not None and is_label(name) and one.coverage >= LEAST_COVERAGE:
            words = split_words(name)
            is_named = begins_with(words, TIMES)
            fitting.append((not is_named, begins_with(words, LATER_TIMES), -one.coverage, place, name, unit))
    if not fitting:
        return None
    *_, name, unit = min(fitting)
    return name, unit


def find_unit(one: PropertyProfile) -> Unit | None:
    """How a property holds a time: as a type of the database, as text, or as a number; None: it holds no time."""
    kind = find_kind(one)
    if kind == "time":
        return "time"
    if one.time_format:
        return "text"
    if kind == "string" and one.samples and all(map(_is_iso, one.samples)):
        return "text"
    words = split_words(one.name)
    is_named = any(word in TIMES or word.endswith(("time", "date", "timestamp")) for word in words)
    if kind not in ("int", "float") or one.low is None or one.high is None or one.low < 0 or not is_named:
        return None
    if _FIRST_S <= one.high < _LAST_S:
        return "seconds"
    return "milliseconds" if kind == "int" and _FIRST_S * 1000 <= one.high < _LAST_S * 1000 else None


def find_weight(found: RelationshipProfile, at: str | None) -> str | None:
    """Finds the number that is the strength of an interaction; None where there is none, or several that may be."""
    numbers = [
        name
        for name, one in found.properties.items()
        if find_kind(one) in ("int", "float")
        and is_label(name)
        and one.low != one.high
        and one.coverage >= LEAST_COVERAGE
        and name != at
        and find_unit(one) is None
        and not split_id(name)[1]
    ]
    for known in (GRADES, WEIGHTS):
        named = [name for name in numbers if begins_with(split_words(name), known)]
        if named:
            return named[0]
    acts = [name for name in numbers if begins_with(split_words(name), ACTED_ON)]
    unknown = acts or [name for name in numbers if not begins_with(split_words(name), PRICES)]
    return unknown[0] if len(unknown) == 1 else None


def find_kind(one: PropertyProfile) -> Kind | None:
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
    """Finds the key, how sure that is, and why; None where no property can be the key."""
    if node.key:
        return node.key, "sure", "tables of links use it"
    usable = [one for one in node.properties.values() if find_kind(one) in ("string", "int") or _is_float_key(one)]
    fitting = [one for one in usable if find_unit(one) is None]
    if not fitting:
        return None

    def worth(one: PropertyProfile) -> tuple[float, ...]:
        is_whole = one.coverage == 1 and one.is_unique is not False
        words, is_id = split_id(one.name)
        own = {*split_words(node.name), *split_words(node.label), *to_singulars(node.name)}
        named = 0 if not is_id else _OWN_ID if set(words) <= own else 1
        # measures (a year, a price) may be distinct by chance, and a title may repeat
        is_code = find_kind(one) == "string" and all(re.fullmatch(r"\S*\d\S*", value) for value in one.samples)
        kind = 3 if is_code else 2 if words[-1:] and words[-1] in NAMES else int(find_kind(one) == "string")
        return (
            is_whole and one.is_constrained,
            is_whole and one.is_unique is True and named,
            named == _OWN_ID and _is_nearly_key(one),
            is_whole and one.distinct == 1,
            named if is_whole or one.coverage * one.distinct > 0.9 else 0,  # noqa: PLR2004
            one.coverage * one.distinct if not is_whole else 1,
            is_whole and one.is_unique is True,
            kind,
            -one.mean_length,  # short rather than long
        )

    best = max(fitting, key=worth)
    whole = max((one for one in fitting if one.coverage == 1 and one.is_unique), key=worth, default=None)
    return best.name, *_judge_key(best, whole, _label(node))


def _judge_key(best: PropertyProfile, whole: PropertyProfile | None, label: str) -> tuple[Sureness, str]:
    """How sure a key is, and why; `whole` is the best property that all nodes have, if there is one."""
    if best.coverage == 1 and best.is_constrained:
        return "sure", f"on every {label}, and the database keeps it unique"
    if best.coverage == 1 and best.is_unique:
        return "sure" if split_id(best.name)[1] else "likely", f"on every {label}, and no two have the same"
    if best.coverage == 1 and best.is_unique is None and best.distinct == 1:
        return "likely", f"on every {label}, and no two in the sample have the same"
    rejected = "such nodes are rejected when the graph is read"
    if _is_nearly_key(best):
        other = "" if whole is None else f"; every {label} has {whole.name}, which may be the key as well"
        return "likely", f"no two have the same, and {1 - best.coverage:.1%} lack it: {rejected}{other}"
    wrong = []
    if best.coverage < 1:
        wrong.append(f"{1 - best.coverage:.1%} lack it")
    if best.n_duplicates:
        wrong.append(f"{best.n_duplicates:,} repeat another's value")
    elif best.distinct < 1:
        wrong.append(f"{1 - best.distinct:.1%} repeat another's value")
    return "a guess", f"no property is on every {label} and unique; of the best, {' and '.join(wrong)}: {rejected}"


def _is_nearly_key(one: PropertyProfile) -> bool:
    """Whether nearly all nodes have it, and no two the same."""
    return one.coverage >= LEAST_COVERAGE and (one.is_unique is True or (one.is_unique is None and one.distinct == 1))


def _is_float_key(one: PropertyProfile) -> bool:
    return find_kind(one) == "float" and split_id(one.name)[1] and one.is_unique is not False


def find_name(node: NodeProfile, key: str) -> str | None:
    """Finds the property to show to people; the key itself where it is a name."""
    texts = [
        one
        for one in node.properties.values()
        if find_kind(one) == "string" and _is_shown(one) and not is_street_name(one.name)
    ]
    named = [one for one in texts if split_words(one.name)[-1:] and split_words(one.name)[-1] in NAMES]
    if named:
        return min(named, key=lambda one: _rank_name(node, one)).name
    own = to_singulars(node.name) | to_singulars(node.label)
    called = [one for one in texts if one.name != key and "_".join(split_words(one.name)) in own]
    if called:  # the column `studio` of the table studios
        return called[0].name
    unlike = [one for one in texts if one.distinct > 0.8 and 3 <= one.mean_length <= 80 and one.coverage > 0.5]  # noqa: PLR2004
    prose = [
        one for one in unlike if one.name != key and any(" " in value for value in one.samples) and not is_list(one)
    ]
    if prose:
        return prose[0].name
    # a key that is a word, such as a genre
    is_word = not split_id(key)[1] and any(one.name == key and _has_words(one) for one in texts)
    return key if is_word else None


def find_texts(node: NodeProfile, key: str, name: str | None) -> list[str]:
    """Finds the properties that the text encoder should read: the name, prose, and lists of words."""
    found = [name] if name is not None and name != key else []
    for one in node.properties.values():
        if one.name in (key, name) or find_unit(one) is not None or not _is_shown(one):
            continue
        kind = find_kind(one)
        words = split_words(one.name)
        is_prose = one.mean_length >= _LONG_TEXT and statistics.fmean(v.count(" ") for v in one.samples or ("",)) >= 3  # noqa: PLR2004
        is_listed = bool(one.separator) or any("|" in value for value in one.samples)
        if kind == "list" or (kind == "string" and (is_prose or is_listed or begins_with(words[-1:], TEXTS))):
            found.append(one.name)
    return found


def is_list(one: PropertyProfile) -> bool:
    """Whether values are lists of words: of the database's own type, in JSON, or separated by "|" or ";"."""
    kind = find_kind(one)
    if kind not in ("list", "string") or not one.samples or (one.separator and kind == "string"):
        return kind == "list" or bool(one.separator)
    split = [_split_list(value) for value in one.samples]
    n_lists = sum(len(parts) > 1 or value.startswith("[") for parts, value in zip(split, one.samples, strict=True))
    parts = [part for parts in split for part in parts]
    n_numbers = sum(bool(re.fullmatch(_NUMBER, part)) for part in parts)
    is_words = bool(parts) and n_numbers * 2 <= len(parts) and _count_words(parts) <= _MOST_ENTRY_WORDS
    return is_words and (kind == "list" or n_lists * 2 > len(split))


def is_vector(one: PropertyProfile) -> bool:
    """Whether lists of numbers are vectors of one width, by their name, or since their numbers have decimals."""
    kind = find_kind(one)
    if kind == "string":
        return bool(one.samples) and all(map(_VECTOR_START.match, one.samples))
    is_decimal = bool(one.samples) and all("." in value or "e-" in value for value in one.samples)
    return kind == "vector" and (is_vector_name(one.name) or is_decimal)


def is_point(one: PropertyProfile) -> bool:
    """Whether values are points, of the database's own type or pairs of numbers as text, such as "59.91, 10.75"."""
    if find_kind(one) != "string" or not one.samples:
        return find_kind(one) == "point"
    pairs = [_PAIR.fullmatch(value.strip()) for value in one.samples]
    # without a decimal point in both, "12,99" may be one number
    return all(pair is not None and "." in pair[1] and "." in pair[2] for pair in pairs)


def has_addresses(one: PropertyProfile) -> bool:
    """Whether values are addresses in the web, one or several each."""
    return bool(one.samples) and sum("://" in value for value in one.samples) * 2 > len(one.samples)


def is_category(one: PropertyProfile) -> bool:
    """Whether values are short texts, each shared by two or more nodes on average."""
    is_short = one.mean_length < _LONG_TEXT and _count_words(one.samples) <= _MOST_WORDS
    return find_kind(one) == "string" and one.distinct <= MOST_DISTINCT and is_short


def _split_list(value: str) -> list[str]:
    """The entries of a list written as text; a database's list is shown with " | " between them."""
    if re.match(r"\[\s*[\]\"']", value):  # JSON, or as Python writes it; a long one is cut off
        return [part for _, part in re.findall(r"""(["'])((?:(?!\1)[^\\]|\\.)*)\1""", value)]
    return [part.strip() for part in re.split(r"[|;]", value) if part.strip()]


def _count_words(texts: Sequence[str]) -> float:
    return statistics.fmean(len(text.split()) for text in texts or ("",))


def _rank_name(node: NodeProfile, one: PropertyProfile) -> tuple[float, ...]:
    """The lower, the more a property is the name of a node itself: "companyName" before "contactName"."""
    *before, last = split_words(one.name)
    own = {*split_words(node.name), *split_words(node.label), *to_singulars(node.name), "full", "display"}
    is_someone = begins_with(split_words(node.label or node.name)[-1:], (*USERS, *PEOPLE, *COMPANIES))
    is_role = last in ("title", "titel") and (is_someone or begins_with(before, ROLES))
    is_own = not before or {*before} <= own or begins_with(before, COMPANIES)
    return is_role, begins_with(before, ROLES), not is_own, NAMES.index(last), len(before), -one.coverage


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
