"""Profiles of properties, from a sample of the nodes or relationships that have them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graph_schema.checks.column_texts import MISSING_TEXTS
from graph_schema.checks.list_entries import find_separator, split_entries
from graph_schema.checks.time_texts import find_time_format
from graph_schema.drafts.profile import Kind, PropertyProfile

_MOST_SAMPLES = 100
_PERCENTS = np.linspace(0, 1, 101)
_KINDS: dict[str, Kind] = {
    "STRING": "string",
    "INTEGER": "int",
    "FLOAT": "float",
    "BOOLEAN": "bool",
    "DATE": "time",
    "ZONED DATETIME": "time",
    "LOCAL DATETIME": "time",
    "POINT": "point",
}


@dataclass(frozen=True)
class SampledValue:
    """One property of one node or relationship.

    Attributes:
        name: the property.
        value_type: as Cypher's valueType() says it, such as "LIST<STRING NOT NULL> NOT NULL".
        value: its text, cut short; of a list the texts of its first entries.
        size: characters of the whole text, or entries of the whole list; None for other values.
    """

    name: str
    value_type: str
    value: str | list[str | None] | None
    size: int | None


def summarise(rows: Iterable[Sequence[SampledValue]]) -> dict[str, PropertyProfile]:
    """Profiles of the properties of sampled nodes or relationships, by name."""
    values: dict[str, list[SampledValue]] = defaultdict(list)
    n_rows = 0
    for row in rows:
        n_rows += 1
        for one in {one.name: one for one in reversed(row)}.values():  # of the parts of a path the first one counts
            if isinstance(one.value, list) or one.value not in MISSING_TEXTS:
                values[one.name].append(one)
    return {name: _summarise_values(name, found, n_rows) for name, found in sorted(values.items())}


def _summarise_values(name: str, found: Sequence[SampledValue], n_rows: int) -> PropertyProfile:
    kinds = _count_kinds(found)
    numbers = [
        float(one.value)
        for one in found
        if one.value_type.startswith(("INTEGER", "FLOAT")) and isinstance(one.value, str)
    ]
    numbers = [number for number in numbers if math.isfinite(number)]
    shown = [
        " | ".join(v for v in one.value if v is not None) if isinstance(one.value, list) else one.value for one in found
    ]
    distinct = dict.fromkeys(zip(shown, (one.size for one in found), strict=True))
    sizes = [
        len(text or "") if one.size is None or isinstance(one.value, list) else one.size
        for text, one in zip(shown, found, strict=True)
    ]
    samples = tuple(dict.fromkeys(text for text, _ in distinct if text))[:_MOST_SAMPLES]
    is_text = set(kinds) == {"string"}
    separator = find_separator(name, samples) if is_text else ""
    entries = Counter(entry for one in found for entry in dict.fromkeys(_list_entries(one.value, separator)))
    commonest, n_having = entries.most_common(1)[0] if entries else ("", 0)
    return PropertyProfile(
        name=name,
        kinds=kinds,
        coverage=len(found) / n_rows,
        distinct=len(distinct) / len(found),
        mean_length=sum(sizes) / len(sizes),
        low=min(numbers, default=None),
        high=max(numbers, default=None),
        samples=samples,
        spread=tuple(np.quantile(numbers, _PERCENTS, method="inverted_cdf").tolist()) if numbers else (),
        time_format=find_time_format(list(samples)) if is_text else "",
        separator=separator,
        commonest=commonest,
        common_share=n_having / n_rows,
    )


def _list_entries(value: str | list[str | None] | None, separator: str) -> list[str]:
    """The entries of a list, or of a text that holds one; a text that holds none is its only entry."""
    if isinstance(value, list):
        return [entry for entry in value if entry]
    return split_entries([value], separator) if value and separator else [value] if value else []


def _count_kinds(found: Sequence[SampledValue]) -> dict[Kind, int]:
    """Kind -> how many values are of it. Lists of numbers are vectors only where all are of one width."""
    kinds: dict[Kind, int] = defaultdict(int)
    for one in found:
        kinds[_to_kind(one.value_type)] += 1
    widths = {one.size for one in found if _to_kind(one.value_type) == "vector"}
    if len(widths) > 1:
        is_whole = all("FLOAT" not in one.value_type for one in found)
        # whole numbers may be ids, as of genres
        other: Kind = "list" if is_whole else "other"
        kinds[other] += kinds.pop("vector")
    return dict(kinds)


def _to_kind(value_type: str) -> Kind:
    if value_type.startswith("LIST"):
        return "vector" if "FLOAT" in value_type or "INTEGER" in value_type else "list"
    return _KINDS.get(value_type.removesuffix(" NOT NULL"), "other")
