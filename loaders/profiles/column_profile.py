"""Profiles one column of a table, block by block.

Memory holds the hashes of up to `MOST_DISTINCT` distinct values and a sample of the numbers. A column has a kind if all
its values can be read as that kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import CatalogueError
from graph_schema.checks.column_texts import MISSING_WORDS, decode
from graph_schema.checks.columns import convert_column, convert_ids
from graph_schema.checks.list_columns import is_point
from graph_schema.checks.list_entries import BRACKETS, find_separator, split_entries
from graph_schema.checks.number_texts import is_other_unit
from graph_schema.checks.time_texts import find_time_format
from graph_schema.drafts.name_words import NAMES, split_words
from graph_schema.drafts.profile import Kind, PropertyProfile
from graph_schema.schema_types import AttributeType
from loaders.files.id_spaces import trim_ids
from loaders.profiles.number_spread import NumberSpread

MOST_DISTINCT = 2_000_000
_TRIED: tuple[AttributeType, ...] = ("int", "float", "bool", "time")
_CODE = r"^[+-]?0\d|^\d{16,}$|^\d+[A-Z]$"
_ODD_ID = r"^0+\d|^\d+\.0+$"  # with leading zeros, or written as a float
_TRIED_FIRST = 200  # values to try before a whole block
_MOST_OTHER_UNITS = 0.1  # of a column of numbers, the share in another unit than most
_MOST_SAMPLES = 100
_MOST_COMMON = 50
_CUT = 200
_MISSING = pa.array(sorted(MISSING_WORDS))

Hashes = NDArray[np.int64]


def _no_hashes() -> Hashes:
    return np.zeros(0, dtype=np.int64)


@dataclass
class Column:
    """The profile of one column, built block by block.

    Attributes:
        name: its name.
        values: hashes of its distinct values, sorted.
        counts: how often each is there.
        odd: hashes of those that numbers are not usually written as, such as "12.0" and "012"; sorted.
        mended: hashes of the same as they are usually written, "12"; sorted.
        entries: of lists: hashes of their distinct entries, sorted.
        separator: what is between them; empty: its values are no lists.
        n_spaced: values with spaces around them, which are left out as a load does of ids.
        is_capped: there were too many distinct values to count.
        common: values, or entries of lists, that are frequent somewhere -> how often they are there in all.
        is_coded: values have leading zeros, too many digits for a number, or a letter after them.
    """

    name: str
    n_rows: int = 0
    n_values: int = 0
    length: int = 0
    kinds: list[AttributeType] = field(default_factory=lambda: list(_TRIED))  # that fit all values so far
    of_arrow: Kind | None = None  # the kind that the file declares
    numbers: NumberSpread = field(default_factory=NumberSpread)
    samples: dict[str, None] = field(default_factory=dict)
    values: Hashes = field(default_factory=_no_hashes)
    counts: Hashes = field(default_factory=_no_hashes)
    odd: Hashes = field(default_factory=_no_hashes)
    mended: Hashes = field(default_factory=_no_hashes)
    entries: Hashes = field(default_factory=_no_hashes)
    separator: str | None = None  # None: not looked for yet
    common: Counter[str] = field(default_factory=Counter)
    n_spaced: int = 0
    is_capped: bool = False
    is_coded: bool = False

    def add(self, raw: pa.Array) -> None:
        """Adds the values of one block."""
        self.n_rows += len(raw)
        raw, n_spaced = trim_ids(raw)
        self.n_spaced += n_spaced
        raw = _drop_missing(raw)
        kind = _kind_of(raw.type)
        if kind == "list" and split_words(self.name)[-1:] in [[name] for name in NAMES]:  # the words of a title
            raw = pc.binary_join(convert_column(raw, "list")[0], " ")
            kind = None
        if kind in ("list", "point", "vector", "other"):
            self._add_nested(raw, kind)
            return
        text = _to_texts(raw)
        present = text.drop_null()
        self.n_values += len(present)
        if len(present) == 0:
            return
        self.length += pc.sum(pc.utf8_length(present)).as_py()
        if kind is None:
            self.is_coded |= pc.any(pc.match_substring_regex(present, _CODE)).as_py()
        elif self.of_arrow in (None, kind):
            self.of_arrow = kind
        self.kinds = [one for one in self.kinds if _fits(raw.slice(0, _TRIED_FIRST), one) and _fits(raw, one)]
        self._count(present)
        self._add_numbers(raw)

    def _add_nested(self, raw: pa.Array, kind: Kind | None) -> None:
        self.of_arrow = kind
        self.n_values += len(raw) - raw.null_count
        if kind != "list":
            return
        lists = convert_column(raw, "list")[0]
        entries = pc.unique(lists.flatten()).drop_null().to_pylist()
        self.separator = BRACKETS
        self.entries = _join(self.entries, entries)
        self._add_common(Counter(lists.flatten().to_pylist()))
        self._add_samples(" | ".join(entries) for entries in lists.to_pylist() if entries)

    def _count(self, present: pa.Array) -> None:
        encoded = present.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        self._add_samples(words)
        if self.separator is None:
            self.separator = find_separator(self.name, list(self.samples))
        if self.is_capped:
            return
        hashes = np.fromiter(map(hash, words), dtype=np.int64, count=len(words))
        n_each = np.bincount(encoded.indices.to_numpy(), minlength=len(words))
        values, places = np.unique(np.concatenate([self.values, hashes]), return_inverse=True)
        counts = np.zeros(len(values), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, n_each]))
        self.values, self.counts = values, counts
        self.is_capped = len(values) > MOST_DISTINCT
        self._add_odd(encoded.dictionary)
        if self.separator:
            self.entries = _join(self.entries, split_entries(words, self.separator))
            self._add_common(_count_entries(words, n_each.tolist(), self.separator))
        else:
            top = np.argsort(-n_each, kind="stable")[:_MOST_COMMON]
            self._add_common(Counter({words[place]: int(n_each[place]) for place in top}))

    def _add_common(self, counts: "Counter[str]") -> None:
        """Adds the most frequent values of a block; a value that is frequent in all is so in most blocks."""
        self.common.update(dict(counts.most_common(_MOST_COMMON)))

    def _add_odd(self, distinct: pa.Array) -> None:
        odd = distinct.filter(pc.match_substring_regex(distinct, _ODD_ID)).to_pylist()
        if odd:
            self.odd, self.mended = _join(self.odd, odd), _join(self.mended, map(to_plain, odd))

    def _add_samples(self, texts: Iterable[str]) -> None:
        for text in islice(texts, _MOST_SAMPLES - len(self.samples)):
            self.samples[text[:_CUT]] = None

    def _add_numbers(self, raw: pa.Array) -> None:
        number = next((kind for kind in ("int", "float") if kind in self.kinds), None)
        if number is None:
            return
        values = convert_column(raw, number)[0].drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
        self.numbers.add(values[np.isfinite(values)])

    @property
    def kind(self) -> Kind | None:
        """The kind of its values; None: it has no values."""
        if self.of_arrow is not None:
            return self.of_arrow
        if self.n_values == 0:
            return None
        return "string" if self.is_coded or not self.kinds else self.kinds[0]

    @property
    def plain(self) -> Hashes:
        """Hashes of its distinct values, each as numbers are usually written; sorted."""
        if not len(self.odd):
            return self.values
        return np.union1d(np.setdiff1d(self.values, self.odd, assume_unique=True), self.mended)

    @property
    def n_distinct(self) -> int:
        """The number of distinct values counted."""
        return len(self.values)

    @property
    def is_unique(self) -> bool | None:
        """Whether all values are distinct; None: there are too many to count."""
        return False if self.n_distinct and self.counts.max() > 1 else None if self.is_capped else True

    @property
    def n_duplicates(self) -> int:
        """The number of values that repeat another one, of those counted."""
        return int(self.counts.sum()) - self.n_distinct

    def profile(self) -> PropertyProfile:
        """The column as a profile shows it."""
        kind = self.kind
        is_number = kind in ("int", "float") and self.numbers.n_seen > 0
        is_counted = kind in ("string", "list", "bool")
        commonest, n_common = next(iter(self.common.most_common(1)), ("", 0)) if is_counted else ("", 0)
        return PropertyProfile(
            name=self.name,
            kinds={} if kind is None else {kind: self.n_values},
            coverage=self.n_values / max(self.n_rows, 1),
            distinct=1.0 if self.is_unique is not False else self.n_distinct / max(int(self.counts.sum()), 1),
            is_unique=self.is_unique if self.n_values else None,
            mean_length=self.length / max(self.n_values, 1),
            low=self.numbers.low if is_number else None,
            high=self.numbers.high if is_number else None,
            samples=tuple(self.samples),
            n_duplicates=None if self.is_capped else self.n_duplicates,
            spread=self.numbers.find_percentiles() if is_number else (),
            time_format=find_time_format(list(self.samples)) if kind == "string" else "",
            separator=self.separator or "",
            commonest=commonest[:_CUT],
            common_share=n_common / max(self.n_rows, 1),
        )


def _count_entries(words: list[str], n_each: list[int], separator: str) -> "Counter[str]":
    counts: Counter[str] = Counter()
    for word, n in zip(words, n_each, strict=True):
        for entry in {*split_entries([word], separator)}:
            counts[entry] += n
    return counts


def find_share(values: Hashes, known: Hashes) -> float:
    """The share of hashes that are among others, 0 to 1; both are sorted and distinct."""
    return float(np.isin(values, known, assume_unique=True).mean()) if len(values) else 0.0


def to_plain(word: str) -> str:
    """An id as numbers are written plainly: "12" for "12.0" and "012"."""
    whole = re.sub(r"^(\d+)\.0+$", r"\1", word)
    return (whole.lstrip("0") or "0") if whole.isdecimal() else whole


def _join(values: Hashes, words: Iterable[str]) -> Hashes:
    return np.union1d(values, np.fromiter(map(hash, set(words)), dtype=np.int64))


def _to_texts(raw: pa.Array) -> pa.Array:
    """The values as they are compared with ids; measures such as 9.5 stay as they are."""
    try:
        text, problems = convert_ids(raw)
    except CatalogueError:
        return convert_column(raw, "string")[0]
    is_measured = pa.types.is_floating(raw.type) and any(bad.any() for bad, _ in problems)
    return convert_column(raw, "string")[0] if is_measured else text


def _drop_missing(raw: pa.Array) -> pa.Array:
    """Words for a missing value, such as NULL, become null."""
    raw = decode(raw)
    if not pa.types.is_string(raw.type):
        return raw
    return pc.if_else(pc.is_in(raw, _MISSING), pa.scalar(None, pa.string()), raw)


def _kind_of(kind: pa.DataType) -> Kind | None:
    """The kind that a file declares for a column; None: text, whose values decide."""
    types = pa.types
    if types.is_dictionary(kind):
        return _kind_of(kind.value_type)
    if types.is_nested(kind):
        return _kind_of_nested(kind)
    tests: dict[Kind | None, tuple[Callable[[pa.DataType], bool], ...]] = {
        "bool": (types.is_boolean,),
        "int": (types.is_integer,),
        "float": (types.is_floating, types.is_decimal),
        "time": (types.is_timestamp, types.is_date),
        None: (
            types.is_null,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
        ),
    }
    return next((found for found, are in tests.items() if any(is_one(kind) for is_one in are)), "other")


def _kind_of_nested(kind: pa.DataType) -> Kind:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        entry = _kind_of(kind.value_type)
        return "list" if entry is None else "vector" if entry in ("int", "float") else "other"
    return "point" if types.is_struct(kind) and is_point(kind) else "other"


def _fits(values: pa.Array, kind: AttributeType) -> bool:
    """Whether all values can be read as a kind; few numbers may have another unit than most."""
    try:
        _, problems = convert_column(values, kind)
    except CatalogueError:
        return False
    n_other_units = sum(int(bad.sum()) for bad, reason in problems if is_other_unit(reason))
    is_other = any(bad.any() for bad, reason in problems if not is_other_unit(reason))
    return not is_other and n_other_units <= _MOST_OTHER_UNITS * len(values)
