"""What a folder of tables looks like, for a schema to be drafted from: which tables list things, which link them.

Tables are read whole, by the rules of `loaders.tabular`, by blocks: in memory are, per column, hashes of up to
`MOST_DISTINCT` distinct values. A column is of a kind when each of its values can be read as that kind.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import CatalogueError
from graph_schema.catalogue import AttributeType, is_name
from graph_schema.columns import convert_column, convert_ids
from graph_schema.profile import GraphProfile, Guess, Kind, NodeProfile, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.roles import (
    find_key,
    find_name,
    find_texts,
    is_entity_name,
    is_item_name,
    is_known_word,
    is_user_name,
    split_id,
    split_words,
    to_singulars,
)
from loaders.tabular import SUFFIXES, find_suffix, number_order, read_file

MOST_DISTINCT = 2_000_000
_TRIED: tuple[AttributeType, ...] = ("int", "float", "bool", "time")
_TRIED_FIRST = 200  # values that are tried before a whole block
_MOST_SAMPLES = 100
_CUT = 200
_ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("head", "tail"), ("start", "end"))
_MOST_EDGE_COLUMNS = 4  # of a table that links by one id and one word

OnRows = Callable[[str, int], None]


def read_profile(folder: Path, encoding: str | None = None, on_rows: OnRows | None = None) -> GraphProfile:
    """Reads what a folder of CSV or Parquet tables looks like.

    Args:
        folder: it.
        encoding: of CSV files; None for UTF-8, or UTF-16 with a byte order mark.
        on_rows: called with a table's name and how many of its rows were just read.

    Raises:
        CatalogueError: the folder is missing or has no tables, or a file cannot be read.
    """
    if not folder.is_dir():
        raise CatalogueError(f"no folder {folder}; expected one with CSV or Parquet files")
    files = _find_tables(folder)
    if not files:
        raise CatalogueError(f"{folder} has no tables; expected files that end in {', '.join(SUFFIXES)}")
    tables = {name: _read_table(name, parts, encoding, on_rows) for name, parts in files.items()}
    return _Sorting(folder, tables).run()


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass
class _Column:
    """What is gathered of one column, block by block."""

    name: str
    n_rows: int = 0
    n_values: int = 0
    length: int = 0
    kinds: list[AttributeType] = field(default_factory=lambda: list(_TRIED))  # that all values so far can be read as
    of_arrow: Kind | None = None  # where the file itself says
    low: float = np.inf
    high: float = -np.inf
    samples: dict[str, None] = field(default_factory=dict)
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # hashes, sorted
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    is_capped: bool = False
    is_coded: bool = False  # with leading zeros, or so many digits that they are no numbers

    def add(self, raw: pa.Array) -> None:
        self.n_rows += len(raw)
        kind = _kind_of(raw.type)
        if kind in ("list", "vector", "other"):
            self.of_arrow = kind
            self.n_values += len(raw) - raw.null_count
            return
        try:
            text, _ = convert_ids(raw)
        except CatalogueError:
            text, _ = convert_column(raw, "string")
        present = text.drop_null()
        self.n_values += len(present)
        if len(present) == 0:
            return
        self.length += pc.sum(pc.utf8_length(present)).as_py()
        if kind is None:
            self.is_coded |= pc.any(pc.match_substring_regex(present, r"^[+-]?0\d|^\d{16,}$")).as_py()
        elif self.of_arrow in (None, kind):
            self.of_arrow = kind
        self.kinds = [one for one in self.kinds if _fits(raw.slice(0, _TRIED_FIRST), one) and _fits(raw, one)]
        self._count(present)
        self._find_range(raw)

    def _count(self, present: pa.Array) -> None:
        encoded = present.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        for word in words[: _MOST_SAMPLES - len(self.samples)]:
            self.samples[word[:_CUT]] = None
        if self.is_capped:
            return
        hashes = np.fromiter(map(hash, words), dtype=np.int64, count=len(words))
        n_each = np.bincount(encoded.indices.to_numpy(), minlength=len(words))
        values, places = np.unique(np.concatenate([self.values, hashes]), return_inverse=True)
        counts = np.zeros(len(values), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, n_each]))
        self.values, self.counts = values, counts
        self.is_capped = len(values) > MOST_DISTINCT

    def _find_range(self, raw: pa.Array) -> None:
        number = next((kind for kind in ("int", "float") if kind in self.kinds), None)
        if number is None:
            return
        values, _ = convert_column(raw, number)
        found = pc.min_max(values).as_py()
        if found["min"] is not None:
            self.low, self.high = min(self.low, float(found["min"])), max(self.high, float(found["max"]))

    @property
    def kind(self) -> Kind | None:
        if self.of_arrow is not None:
            return self.of_arrow
        if self.n_values == 0:
            return None
        return "string" if self.is_coded or not self.kinds else self.kinds[0]

    @property
    def n_distinct(self) -> int:
        return len(self.values)

    @property
    def is_unique(self) -> bool | None:
        return False if self.n_distinct and self.counts.max() > 1 else None if self.is_capped else True

    def profile(self) -> PropertyProfile:
        kind = self.kind
        is_number = kind in ("int", "float") and self.low <= self.high
        return PropertyProfile(
            name=self.name,
            kinds={} if kind is None else {kind: self.n_values},
            coverage=self.n_values / max(self.n_rows, 1),
            distinct=1.0 if self.is_unique is not False else self.n_distinct / max(int(self.counts.sum()), 1),
            is_unique=self.is_unique if self.n_values else None,
            mean_length=self.length / max(self.n_values, 1),
            low=self.low if is_number else None,
            high=self.high if is_number else None,
            samples=tuple(self.samples),
            n_duplicates=None if self.is_capped else int(self.counts.sum()) - self.n_distinct,
        )


@dataclass
class _Table:
    name: str
    n_rows: int
    n_broken: int
    columns: dict[str, _Column]
    repeated: list[str]  # columns that are there twice

    @property
    def named(self) -> dict[str, _Column]:
        """The columns that a schema can name."""
        return {name: column for name, column in self.columns.items() if is_name(name)}

    @property
    def unnamed(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if not is_name(name))

    def profile(self, left_out: Iterable[str] = ()) -> dict[str, PropertyProfile]:
        return {name: column.profile() for name, column in self.named.items() if name not in left_out}


def _find_tables(folder: Path) -> dict[str, list[Path]]:
    """Table -> its files. "rated-2" and "rated.2024" are parts of "rated"; a folder's tables are parts of its name."""
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        suffix = find_suffix(entry.name)
        if entry.is_dir():
            parts = [part for part in entry.iterdir() if find_suffix(part.name) is not None]
            if parts and not entry.name.startswith("."):
                found.setdefault(entry.name, []).extend(parts)
        elif suffix is not None and not entry.name.startswith("."):
            stem = entry.name.removesuffix(suffix)
            found.setdefault(re.sub(r"([.-]\d+)+$", "", stem) or stem, []).append(entry)
    return {name: sorted(parts, key=number_order) for name, parts in sorted(found.items())}


def _read_table(name: str, parts: Sequence[Path], encoding: str | None, on_rows: OnRows | None) -> _Table:
    columns: dict[str, _Column] = {}
    repeated: list[str] = []
    n_rows = n_broken = 0
    for part in parts:
        for batch in read_file(part, encoding, len, "the names of columns"):
            names = batch.columns.schema.names
            repeated += [column for column in set(names) if names.count(column) > 1 and column not in repeated]
            for column, values in zip(names, batch.columns.columns, strict=True):
                columns.setdefault(column, _Column(column)).add(values)
            n_rows += batch.columns.num_rows
            n_broken += len(batch.broken)
            if on_rows is not None:
                on_rows(name, batch.columns.num_rows)
    return _Table(name, n_rows, n_broken, columns, repeated)


def _kind_of(kind: pa.DataType) -> Kind | None:
    """What a file says of a column's kind; None: text, whose values are to be looked at."""
    types = pa.types
    if types.is_dictionary(kind):
        return _kind_of(kind.value_type)
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind):
        return "int"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    return None if types.is_null(kind) or any(is_text(kind) for is_text in texts) else "other"


def _fits(values: pa.Array, kind: AttributeType) -> bool:
    try:
        _, problems = convert_column(values, kind)
    except CatalogueError:
        return False
    return not any(bad.any() for bad, _ in problems)


# -- sorting -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _End:
    """A column that names nodes.

    Attributes:
        column: it.
        table: the table, or type, of the nodes.
        known: the share of its distinct values that are keys of that table; 1 where there is no such table.
        why: what speaks for it.
    """

    column: str
    table: str
    known: float
    why: str


@dataclass
class _Sorting:
    """Tells tables of things from tables of links."""

    folder: Path
    tables: Mapping[str, _Table]
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # table -> the column that tells its rows apart
    more: dict[str, str] = field(default_factory=dict)  # type that only edges name -> the name of its key

    def run(self) -> GraphProfile:
        usable = {name: table for name, table in self.tables.items() if self._is_usable(table)}
        for name, table in usable.items():
            found = find_key(NodeProfile(name, table.n_rows, table.profile()))
            shared = next((key for key in table.named if _is_shared_key(key, table, usable)), None)
            if shared is not None:
                self.keys[name] = shared
            elif found is not None and found[1] != "a guess":
                self.keys[name] = found[0]
        self._drop_borrowed_keys(usable)
        ends = {name: self._find_ends(table, usable) for name, table in usable.items()}
        named = {end.table for name, found in ends.items() for end in found if end.table != name}
        links: dict[str, tuple[_End, _End]] = {}
        for name, table in usable.items():
            pair = self._choose_pair(table, ends[name], is_named=name in named)
            if pair is not None:
                links[name] = pair
        nodes, relationships = {}, []
        linked = {end.table for pair in links.values() for end in pair}
        partly: dict[str, float] = {}  # table -> the least share of an end's ids that it has
        for name, pair in links.items():
            relationships.append(self._build_edge(usable[name], pair, ends[name]))
            for end in pair:
                if end.table in usable and end.known < 1:
                    partly[end.table] = min(partly.get(end.table, 1.0), end.known)
        for name, table in usable.items():
            if name in links:
                continue
            self._say_unlinked(table, ends[name])
            if name in partly:
                self.guesses.append(
                    Guess(
                        name,
                        "from_edges = true",
                        "likely",
                        f"only {partly[name]:.1%} of the ids that edges name are in the table: the others are added "
                        "without attributes",
                    )
                )
            nodes[name] = NodeProfile(
                name,
                table.n_rows,
                table.profile(),
                label=self._to_label(name),
                key=self.keys.get(name, "") if name in linked else "",
                from_edges=name in partly,
                ignore=table.unnamed,
            )
        for name, key in self.more.items():
            naming = [
                usable[edge].columns[end.column] for edge, pair in links.items() for end in pair if end.table == name
            ]
            n, samples = max(column.n_distinct for column in naming), tuple(naming[0].samples)
            one = PropertyProfile(key, {"string": n}, 1.0, 1.0, is_unique=True, samples=samples)
            nodes[name] = NodeProfile(name, n, {key: one}, label=self._to_label(name), key=key, from_edges=True)
        return GraphProfile(
            place=str(self.folder),
            name=self.folder.resolve().name,
            nodes=nodes,
            relationships=tuple(relationships),
            guesses=tuple(self.guesses),
            left_out=tuple(self.left_out),
            is_tables=True,
        )

    def _is_usable(self, table: _Table) -> bool:
        reason = ""
        if table.repeated:
            reason = f"it has two columns called {', '.join(map(repr, table.repeated))}: rename one"
        elif table.n_rows == 0:
            reason = "it has no rows"
        elif not is_name(table.name):
            reason = "a schema cannot hold that name: it must begin with a letter; rename the file"
        if reason:
            self.left_out.append(f"the table {table.name}: {reason}")
        if table.n_broken:
            self.left_out.append(f"the table {table.name}: {table.n_broken:,} rows that do not fit its header")
        return not reason

    def _drop_borrowed_keys(self, usable: Mapping[str, _Table]) -> None:
        """A column with the ids of another table's rows is not a table's own key, though each is there once."""
        for name, key in list(self.keys.items()):
            words = split_id(key)[0]
            column = usable[name].columns[key]
            for other, other_key in self.keys.items():
                is_named = _names_table(words, other) and not _names_table(words, name)
                # of two tables by the same key, the one that tells more of its rows owns it
                is_alike = (
                    other_key == key
                    and split_words(key) != ["id"]
                    and self._rank(usable[other]) > self._rank(usable[name])
                )
                if other != name and (is_named or is_alike) and _share_known(column, usable[other].columns[other_key]):
                    del self.keys[name]
                    break

    def _rank(self, table: _Table) -> tuple[bool, int, int]:
        things = NodeProfile(table.name, table.n_rows, table.profile())
        title = find_name(things, "")
        return title is not None or bool(find_texts(things, "", title)), len(table.columns), table.n_rows

    # -- what columns name ---------------------------------------------------------------------------------------------

    def _find_ends(self, table: _Table, usable: Mapping[str, _Table]) -> list[_End]:
        """The columns that name nodes, each with the table or type that it names."""
        ends = [
            end
            for column in table.named.values()
            if column.n_values and (end := self._find_end(table, column, usable)) is not None
        ]
        own = self.keys.get(table.name)
        unresolved = {end.column for end in ends}
        for column in table.named.values():
            words, is_id = split_id(column.name)
            is_thing = is_user_name(words) or is_item_name(words) or is_entity_name(words)
            if column.name in unresolved or column.name == own or not words or column.kind not in ("string", "int"):
                continue
            if is_id or (is_thing and column.is_unique is False and not _is_prose(column)):
                ends.append(_End(column.name, "_".join(words), 1.0, "no table has these ids"))
        return sorted(ends, key=lambda end: list(table.columns).index(end.column))

    def _find_end(self, table: _Table, column: _Column, usable: Mapping[str, _Table]) -> _End | None:
        words, is_id = split_id(column.name)
        is_end = any(column.name.lower() in pair for pair in _ENDS)
        if column.name == self.keys.get(table.name) and _names_table(words, table.name):
            return None
        best: tuple[float, float, _End] | None = None
        for name, key in self.keys.items():
            if name == table.name and column.name == key:
                continue
            known = _share_known(column, usable[name].columns[key])
            same_name = column.name == key and bool(split_id(key)[0])
            says_it = same_name or _names_table(words, name)
            # numbers are in many columns: without a name they say nothing
            is_telling = (column.kind == "string" and column.n_distinct >= 5 and known >= 0.95) or is_end  # noqa: PLR2004
            if name == table.name and not (is_id or is_end):
                continue
            if (says_it and known > 0) or (is_telling and known >= 0.9):  # noqa: PLR2004
                why = "by its name" if says_it else "by its values"
                end = _End(column.name, name, known, why)
                if best is None or (says_it, known) > best[:2]:
                    best = says_it, known, end
        return None if best is None else best[2]

    def _choose_pair(self, table: _Table, ends: Sequence[_End], *, is_named: bool) -> tuple[_End, _End] | None:
        """The two ends of a table of links; None: it is a table of things."""
        key = self.keys.get(table.name)
        things = NodeProfile(table.name, table.n_rows, table.profile())
        title = find_name(things, key or "")
        has_text = title is not None or bool(find_texts(things, key or "", title))
        of_users = [end for end in ends if self._is_user(end)]
        pair: tuple[_End, _End] | None = None
        if is_named and not of_users:
            pair = None
        elif len(ends) >= 2:  # noqa: PLR2004
            # a thing with a name of its own that refers to others is not a link between them
            if not is_named and (of_users or not (key is not None and has_text)):
                pair = self._order(of_users, ends)
        elif len(ends) == 1 and key is None and len(table.columns) <= _MOST_EDGE_COLUMNS:
            pair = self._with_word(table, ends[0])
        if pair is None and key is None:
            fallback = find_key(things)
            if fallback is None:
                self.left_out.append(
                    f"the table {table.name}: no column tells its rows apart, and no two columns name things"
                )
        if pair is None:
            return None
        for end in pair:
            if end.table not in self.tables or end.table not in self.keys:
                self._add_type(table, end)
        resolved = [self._resolve(end) for end in pair]
        sure: Sureness = "likely" if all(end.why == "by its name" for end in pair) else "a guess"
        told = ", ".join(f"{end.column} names {end.table} ({end.why})" for end in resolved)
        self.guesses.append(Guess(table.name, "a table of links", sure, told))
        if len(ends) > 2:  # noqa: PLR2004
            rest = ", ".join(end.column for end in ends if end not in pair)
            self.guesses.append(
                Guess(table.name, f"{rest}: no end", "likely", "an edge has two ends; it stays an attribute")
            )
        return resolved[0], resolved[1]

    def _order(self, of_users: Sequence[_End], ends: Sequence[_End]) -> tuple[_End, _End]:
        if not of_users:
            return ends[0], ends[1]
        others = [end for end in ends if end not in of_users]
        items = [end for end in others if is_item_name(split_id(end.column)[0]) or is_item_name(split_words(end.table))]
        return (of_users[0], (items or others)[0]) if others else (of_users[0], of_users[1])

    def _with_word(self, table: _Table, end: _End) -> tuple[_End, _End] | None:
        """A link from an id to a word, such as the tag of a film."""
        words = [
            column
            for column in table.named.values()
            if column.name != end.column and column.kind == "string" and not _is_prose(column)
        ]
        if len(words) != 1 or table.columns[end.column].is_unique is not False or words[0].is_unique is not False:
            return None
        return end, _End(words[0].name, words[0].name, 1.0, "no table has these words")

    def _is_user(self, end: _End) -> bool:
        return is_user_name(split_id(end.column)[0]) or is_user_name(split_words(end.table))

    def _add_type(self, table: _Table, end: _End) -> None:
        name = end.table if is_name(end.table) and end.table not in self.tables else f"{end.table}_node"
        is_end = any(end.column.lower() in pair for pair in _ENDS)
        self.more.setdefault(name, f"{name}_id" if is_end else end.column)

    def _resolve(self, end: _End) -> _End:
        if end.table in self.keys or end.table in self.more:
            return end
        return _End(end.column, f"{end.table}_node", end.known, end.why)

    # -- profiles ------------------------------------------------------------------------------------------------------

    def _build_edge(self, table: _Table, pair: tuple[_End, _End], ends: Sequence[_End]) -> RelationshipProfile:
        start, end = (table.columns[one.column] for one in pair)
        own = self.keys.get(table.name)
        # a number of its own, such as an order's, is nothing to learn from
        ignored = [own] if own is not None and split_id(own)[1] and own not in (start.name, end.name) else []
        return RelationshipProfile(
            start=pair[0].table,
            type=table.name,
            end=pair[1].table,
            count=table.n_rows,
            n_starts=start.n_distinct,
            n_ends=end.n_distinct,
            max_out=int(start.counts.max(initial=0)),
            max_in=int(end.counts.max(initial=0)),
            properties=table.profile({start.name, end.name, *ignored}),
            start_column=start.name,
            end_column=end.name,
            ignore=(*table.unnamed, *ignored),
        )

    def _say_unlinked(self, table: _Table, ends: Sequence[_End]) -> None:
        key = self.keys.get(table.name)
        for end in ends:
            if key is not None and end.table in self.keys and end.column != key:
                self.left_out.append(
                    f"{table.name}.{end.column} names {end.table}, but only a table of its own links: write one with "
                    f"the columns {key}, {end.column} to have them linked; it stays an attribute here"
                )

    def _to_label(self, name: str) -> str:
        """A label such as `Product` for the table products."""
        *first, last = split_words(name) or [name]
        words = {split_id(column)[0][-1] for t in self.tables.values() for column in t.columns if split_id(column)[0]}
        known = sorted((one for one in to_singulars(last) - {last} if one in words or is_known_word(one)), key=len)
        if last in words or not last.endswith("s") or last.endswith(("ss", "us", "is", "series")):
            single = last
        elif known:
            single = known[-1]
        elif last.endswith("ies"):
            single = f"{last[:-3]}y"
        else:
            single = last[:-2] if last.endswith(("ses", "xes", "ches", "shes")) else last[:-1]
        return "".join(word[:1].upper() + word[1:] for word in (*first, single))


def _is_shared_key(name: str, table: _Table, usable: Mapping[str, _Table]) -> bool:
    """Whether a column has each row's own value, and the column of that name in another table has such values again."""
    column = table.columns[name]
    if column.is_unique is False or column.n_values < table.n_rows or column.kind not in ("string", "int"):
        return False
    return any(
        name in other.columns
        and other.columns[name].is_unique is False
        and _share_known(other.columns[name], column) >= 0.9  # noqa: PLR2004
        for other in usable.values()
    )


def _names_table(words: list[str], table: str) -> bool:
    """Whether the words of a column, such as user of "user_id", name the rows of a table, such as users."""
    return bool(words) and bool({"_".join(words), words[-1]} & to_singulars(table))


def _share_known(column: _Column, key: _Column) -> float:
    if not column.n_distinct:
        return 0.0
    return float(np.isin(column.values, key.values, assume_unique=True).mean())


def _is_prose(column: _Column) -> bool:
    return column.length / max(column.n_values, 1) > 40  # noqa: PLR2004
