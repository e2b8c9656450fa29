"""A catalogue from DataFrames: a schema is derived from their columns, and rows pass the same checks as a load."""

import logging
import math
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import (
    SOURCE,
    TARGET,
    Attribute,
    CatalogueError,
    CatalogueSchema,
    EdgeType,
    GraphTables,
    Interaction,
    NodeType,
)
from graph_schema.columns import FINER_THAN_SECONDS, convert_ids
from graph_schema.frame_columns import read_columns, to_whole
from graph_schema.rejects import Fault, Reason, RejectLog
from graph_schema.sources import MemorySource, RawBatch
from graph_schema.staging import stage_tables

if TYPE_CHECKING:
    import pandas as pd

USER, ITEM, INTERACTED = "user", "item", "interacted"
_USER_COLUMNS = ("user", "user_id", SOURCE)
_ITEM_COLUMNS = ("item", "item_id")
_WEIGHT_COLUMNS = ("rating", "weight")
_TIME_COLUMNS = ("timestamp", "at", "datetime")
_NAME_COLUMNS = ("title", "name")
_TARGET_NAME_COLUMNS = ("target_name", "name")
_CODE = r"^\S*[\d/:]\S*$"  # one word with a digit, a slash or a colon: an ISBN, a URL
_MOST_SHOWN = 3
_log = logging.getLogger("kgrec.frames")


def build_frame_tables(
    interactions: "pd.DataFrame | pa.Table",
    items: "pd.DataFrame | pa.Table | None" = None,
    links: "pd.DataFrame | pa.Table | None" = None,
    users: "pd.DataFrame | pa.Table | None" = None,
    *,
    positive: float | None = None,
    log: RejectLog | None = None,
) -> GraphTables:
    """Builds a catalogue from DataFrames or pyarrow tables.

    Ids are text or integers. Bad rows are left out and counted in `log`; the rest is used. Items and users that only
    the interactions or the links name are added.

    Args:
        interactions: columns `user` and `item`; optional `rating` or `weight`, and `timestamp` or `at` (datetimes,
            ISO 8601 text, or a number since 1970 in seconds, milliseconds, microseconds or nanoseconds).
        items: column `item`, a row per item; optional `title` or `name`. Text columns are what the text encoder reads,
            but for codes such as an ISBN or a URL; columns of lists of numbers are vectors. Other columns are not used.
        links: columns `item`, `relation` and `target`, such as (7, "genre", "Comedy"); optional `target_name`, and
            `target_type`: relations with the same type share their targets, "item" is a link to another item.
            Without it, each relation has targets of its own.
        users: column `user`; optional `name`. Only needed for users without interactions.
        positive: an interaction is a like when its rating is at least this; None: every interaction is.
        log: where rejected rows go; None only counts them.

    Raises:
        CatalogueError: an argument is not a table, has no rows, lacks a column or has an id twice; or no interaction
            is left.
    """
    log = RejectLog() if log is None else log
    building = _Building(log)
    building.add_interactions(_read_frame("interactions", interactions), positive)
    building.add_items(None if items is None else _read_frame("items", items))
    building.add_users(None if users is None else _read_frame("users", users))
    if links is not None:
        building.add_links(_read_frame("links", links))
    schema = CatalogueSchema(
        name="dataframes", nodes=building.nodes, edges=building.edges, interaction=building.interaction
    )
    source = MemorySource(schema, building.node_rows, building.edge_rows)
    with tempfile.TemporaryDirectory(prefix="kgrec-") as directory:
        return stage_tables(source, Path(directory), rejects=log, max_rejects=math.inf).to_tables()


@dataclass(frozen=True)
class _Frame:
    """A DataFrame's columns in Arrow, and the place of each row in the DataFrame, from 1."""

    name: str
    columns: Mapping[str, pa.Array]
    rows: NDArray[np.int64]

    def find(self, *names: str) -> str | None:
        """The first of these columns that is there."""
        return next((name for name in names if name in self.columns), None)

    def need(self, *names: str) -> str:
        """The first of these columns that is there.

        Raises:
            CatalogueError: none is.
        """
        found = self.find(*names)
        if found is None:
            raise CatalogueError(
                f"{self.name} has no column {names[0]!r}; expected {' or '.join(map(repr, names))}, "
                f"got {', '.join(map(repr, self.columns))}: rename the column that holds it to {names[0]!r}"
            )
        return found

    def keep(self, mask: NDArray[np.bool_]) -> "_Frame":
        kept = pa.array(mask)
        columns = {name: column.filter(kept) for name, column in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[mask])

    def to_batch(self, columns: Mapping[str, pa.Array]) -> RawBatch:
        return RawBatch(pa.RecordBatch.from_pydict(dict(columns)), self.name, self.rows)


@dataclass
class _Building:
    log: RejectLog
    nodes: dict[str, NodeType] = field(default_factory=dict)
    edges: dict[str, EdgeType] = field(default_factory=dict)
    node_rows: dict[str, list[RawBatch]] = field(default_factory=dict)
    edge_rows: dict[str, list[RawBatch]] = field(default_factory=dict)
    interaction: Interaction = field(default_factory=lambda: Interaction(edge=INTERACTED))

    def add_interactions(self, frame: _Frame, positive: float | None) -> None:
        user, item = frame.need(*_USER_COLUMNS), frame.need(*_ITEM_COLUMNS, TARGET)
        weight, at = frame.find(*_WEIGHT_COLUMNS), frame.find(*_TIME_COLUMNS)
        if positive is not None and weight is None:
            raise CatalogueError(
                f"positive={positive} needs a column 'rating' or 'weight' in interactions, "
                f"got {', '.join(map(repr, frame.columns))}; rename one or leave positive out"
            )
        frame = self._check_ids(frame, INTERACTED, {user: Fault.MISSING_END, item: Fault.MISSING_END})
        if not len(frame.rows):
            raise CatalogueError(f"no interactions are left: {self.log.describe()}")
        columns = {SOURCE: frame.columns[user], TARGET: frame.columns[item]}
        columns |= {weight: frame.columns[weight]} if weight else {}
        columns |= {at: _to_epoch_seconds(frame.columns[at])} if at else {}
        self.edges[INTERACTED] = EdgeType(
            source=USER,
            type="INTERACTED",
            target=ITEM,
            attributes={**({weight: "float"} if weight else {}), **({at: "time"} if at else {})},
        )
        self.edge_rows[INTERACTED] = [frame.to_batch(columns)]
        self.interaction = Interaction(edge=INTERACTED, weight=weight, at=at, positive=positive)
        _report_unused(frame, {user, item, weight, at})

    def add_items(self, frame: _Frame | None) -> None:
        self.nodes[ITEM] = NodeType(label="Item", key=ITEM, from_edges=True)
        if frame is None:
            return
        key = frame.need(*_ITEM_COLUMNS, "id")
        frame = self._check_ids(frame, ITEM, {key: Fault.MISSING_KEY})
        _check_unique(frame, key)
        title = frame.find(*_NAME_COLUMNS)
        columns, texts, vectors = {ITEM: frame.columns[key]}, [], []
        unused: list[str] = []
        for name, column in frame.columns.items():
            if name == key:
                continue
            text = _to_text(column)
            declared = _distinct(_to_name(name), columns)
            if text is not None and (name == title or not _is_code(text)):
                columns[declared] = text
                texts.append(declared)
                title = declared if name == title else title
            elif text is None and _is_vector(column.type):
                columns[declared] = column
                vectors.append(declared)
            elif name == title:
                columns[declared] = column.cast(pa.string())
                texts.append(declared)
                title = declared
            else:
                unused.append(name)
        texts.sort(key=lambda name: name != title)  # the title first
        self.nodes[ITEM] = NodeType(
            label="Item",
            key=ITEM,
            name=title,
            text=tuple(texts),
            from_edges=True,
            attributes={name: Attribute(type="vector") for name in vectors},
        )
        self.node_rows[ITEM] = [frame.to_batch(columns)]
        _report_unused(frame, set(frame.columns) - set(unused))

    def add_users(self, frame: _Frame | None) -> None:
        self.nodes[USER] = NodeType(label="User", key=USER, from_edges=True)
        if frame is None:
            return
        key, name = frame.need(*_USER_COLUMNS, "id"), frame.find("name")
        frame = self._check_ids(frame, USER, {key: Fault.MISSING_KEY})
        _check_unique(frame, key)
        columns = {USER: frame.columns[key], **({name: frame.columns[name]} if name else {})}
        self.nodes[USER] = NodeType(label="User", key=USER, name=name, from_edges=True)
        self.node_rows[USER] = [frame.to_batch(columns)]
        _report_unused(frame, {key, name})

    def add_links(self, frame: _Frame) -> None:
        item, relation = frame.need(*_ITEM_COLUMNS, SOURCE), frame.need("relation")
        target = frame.need(TARGET)
        kind, named = frame.find("target_type"), frame.find(*_TARGET_NAME_COLUMNS)
        is_text = _to_text(frame.columns[target]) is not None
        ids = {item: Fault.MISSING_END, relation: Fault.MISSING_VALUE, target: Fault.MISSING_END}
        ids |= {kind: Fault.MISSING_VALUE} if kind else {}
        frame = self._check_ids(frame, "links", ids)
        _report_unused(frame, {item, relation, target, kind, named})
        relations = frame.columns[relation].to_pylist()
        kinds = frame.columns[kind].to_pylist() if kind else relations
        pairs = list(dict.fromkeys(zip(relations, kinds, strict=True)))
        types = self._name_targets(dict.fromkeys(pair[1] for pair in pairs), relations, is_typed=kind is not None)
        codes = {pair: code for code, pair in enumerate(pairs)}
        places = np.array([codes[pair] for pair in zip(relations, kinds, strict=True)], np.int64)
        for code, (of, to) in enumerate(pairs):
            part = frame.keep(places == code)
            several = sum(other == of for other, _ in pairs) > 1
            name = _distinct(_to_name(f"{of}_{to}" if several else of), self.edges)
            self.edges[name] = EdgeType(source=ITEM, type=name, target=types[to], phrase=of.replace("_", " "))
            self.edge_rows[name] = [part.to_batch({SOURCE: part.columns[item], TARGET: part.columns[target]})]
        for to, node_type in types.items():
            if node_type == ITEM:
                continue
            shown = "name" if named else "id" if is_text else None
            self.nodes[node_type] = NodeType(label=node_type, key="id", name=shown, from_edges=True)
            if named:
                part = frame.keep(np.array([one == to for one in kinds], np.bool_))
                self.node_rows[node_type] = [_name_nodes(part, target, named)]

    def _name_targets(self, kinds: Collection[str], relations: Sequence[str], *, is_typed: bool) -> dict[str, str]:
        """Kind of target -> its node type: never the name of an edge type."""
        taken = {*self.nodes, *self.edges, *map(_to_name, set(relations))}
        types: dict[str, str] = {}
        for kind in kinds:
            if is_typed and kind == ITEM:
                types[kind] = ITEM
                continue
            name = _to_name(kind)
            types[kind] = _distinct(f"{name}_entity" if name in taken else name, {*taken, *types.values()})
        return types

    def _check_ids(self, frame: _Frame, table: str, faults: Mapping[str, Fault]) -> _Frame:
        """Converts columns of ids and leaves out the rows without one."""
        columns = dict(frame.columns)
        codes = np.zeros(len(frame.rows), np.int64)  # 0: nothing against the row
        reasons: list[Reason] = []
        for name, fault in faults.items():
            try:
                columns[name], problems = convert_ids(to_whole(columns[name]))
            except CatalogueError as error:
                raise CatalogueError(f"{frame.name}: column {name!r}: {error}") from error
            missing = columns[name].is_null().to_numpy(zero_copy_only=False)
            found = [(bad, Reason(Fault.UNFIT_VALUE, name, f"{name} {text}")) for bad, text in problems]
            for bad, reason in [*found, (missing, Reason(fault, name, f"{name} is empty"))]:
                reasons.append(reason)
                codes[bad & (codes == 0)] = len(reasons)
        bad_rows = np.flatnonzero(codes)
        if len(bad_rows):
            raw = pa.RecordBatch.from_pydict({name: frame.columns[name] for name in frame.columns})
            why = [reasons[code - 1] for code in codes[bad_rows]]
            self.log.n_rows[table] += len(bad_rows)
            self.log.add_rows(table, frame.name, frame.rows[bad_rows].tolist(), why, raw.take(pa.array(bad_rows)))
        return replace(frame, columns=columns).keep(codes == 0)


def _read_frame(name: str, frame: Any) -> _Frame:
    columns = read_columns(name, frame)
    n_rows = len(next(iter(columns.values()), ()))
    if not n_rows:
        raise CatalogueError(f"{name} has no rows; expected at least one, or leave {name} out")
    return _Frame(name, columns, np.arange(1, n_rows + 1))


def _to_text(column: pa.Array) -> pa.Array | None:
    """A column of texts, or of lists of texts, as text; None for any other."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if _is_text(column.type):
        return column.cast(pa.string())
    if _is_list(column.type) and _is_text(column.type.value_type):
        joined = [", ".join(part for part in parts if part) if parts else None for parts in column.to_pylist()]
        return pa.array(joined, pa.string())
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_vector(kind: pa.DataType) -> bool:
    return _is_list(kind) and bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _is_code(text: pa.Array) -> bool:
    """Whether each text is one word with a digit, a slash or a colon."""
    return pc.all(pc.match_substring_regex(text.drop_null(), _CODE)).as_py() is not False


def _to_epoch_seconds(column: pa.Array) -> pa.Array:
    """Numbers since 1970 as seconds, by how large they are; other columns are left to the conversion."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column
    values = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    middle = pc.approximate_median(values).as_py()
    per_second = next((factor for least, factor in FINER_THAN_SECONDS if middle is not None and middle >= least), 1)
    if per_second == 1:
        return values
    return pc.divide(values.cast(pa.int64(), safe=False), per_second)


def _check_unique(frame: _Frame, key: str) -> None:
    counts = pc.value_counts(frame.columns[key])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        more = f" and {len(repeated) - _MOST_SHOWN:,} more" if len(repeated) > _MOST_SHOWN else ""
        raise CatalogueError(
            f"{frame.name} has several rows with the same id: {', '.join(map(repr, repeated[:_MOST_SHOWN]))}{more}; "
            f"expected a row for each: drop_duplicates({key!r}) keeps the first; several genres of an item are links"
        )


def _name_nodes(frame: _Frame, key: str, name: str) -> RawBatch:
    """The nodes that links lead to, each with the first name given for it."""
    names: dict[str, str | None] = {}
    rows: dict[str, int] = {}
    ids, given = frame.columns[key].to_pylist(), frame.columns[name].cast(pa.string()).to_pylist()
    for row, id_, shown in zip(frame.rows.tolist(), ids, given, strict=True):
        names[id_] = names.get(id_) or shown
        rows.setdefault(id_, row)
    columns = {"id": pa.array([*names], pa.string()), "name": pa.array([*names.values()], pa.string())}
    return RawBatch(pa.RecordBatch.from_pydict(columns), frame.name, np.array([*rows.values()], np.int64))


def _to_name(text: str) -> str:
    """The text as a name that a schema can hold."""
    name = re.sub(r"[^\w .-]+", "_", text).strip()
    return name if re.match(r"[^\W\d_]", name) else f"x_{name}"


def _distinct(name: str, taken: Collection[str]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _report_unused(frame: _Frame, used: Collection[str | None]) -> None:
    unused = [name for name in frame.columns if name not in used]
    if unused:
        _log.info("%s: these columns are not used: %s", frame.name, ", ".join(unused))
