"""Checks a source's rows by batches, since files may be larger than memory, and stages the good ones as Parquet."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.checks.checked_rows import CheckedRows
from graph_schema.checks.column_names import check_names, rename_ends
from graph_schema.checks.column_texts import (
    Problem,
    decode,
    drop_missing_texts,
    mend_entities,
    mend_written_lists,
)
from graph_schema.checks.columns import convert_column, convert_ids, find_times_outside, from_milliseconds
from graph_schema.checks.near_ids import NearIds, describe_difference
from graph_schema.checks.number_texts import Notation, find_notation
from graph_schema.checks.rejects import Fault, Reason, RejectLog, open_reject_log
from graph_schema.checks.repeated_edges import describe_repeats, find_latest, gather_weights, summarise_repeats
from graph_schema.checks.staged_tables import BATCH_ROWS, StagedTables, filter_file, iter_file, open_writer
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType
from graph_schema.sources import MemorySource, RawBatch, Source
from graph_schema.tables import GraphTables

_log = logging.getLogger("kgrec.staging")


def stage_tables(
    source: Source,
    directory: Path,
    *,
    rejects: Path | RejectLog | None,
    max_rejects: float = 0.1,
    on_rows: Callable[[str, int], None] | None = None,
) -> StagedTables:
    """Reads a source by batches, checks every row and writes those that pass.

    In memory are only the ids of nodes (twice where edges have unknown ends) and, at most, about 50 bytes per edge of
    one type. Rejected are: empty or repeated keys, ends that are empty or not among the nodes, interactions without
    their weight or time, rows that the reader could not parse; and values of another type or unit, infinite numbers,
    times out of range, text that is not UTF-8 or holds NUL. A row is kept without such a value, unless that is its key,
    an end, or the interaction's weight or time. Of edges of one type with the same two ends the latest stays (by the
    interaction's time, else by place); an interaction's weight is made of all of them as `Interaction.repeats` says.

    Args:
        source: the rows.
        directory: where to write; made when missing.
        rejects: CSV file for rejected rows, also written when this raises; or a log of the caller's, which counts
            them; None writes none.
        max_rejects: the share of rows that may be rejected or kept without a value, 0 to 1: of each table with at least
            20 rows, and of all rows together.
        on_rows: called with a type's name and the number of its rows just read.

    Raises:
        CatalogueError: a file cannot be read, a column is missing or unknown, more rows are bad than `max_rejects`
            allows (after all were checked), or no interaction is left.
    """
    with nullcontext(rejects) if isinstance(rejects, RejectLog) else open_reject_log(rejects) as log:
        staging = _Staging(source.schema, directory, log, on_rows)
        for name, node in source.schema.nodes.items():
            staging.stage_nodes(name, node, source.read_nodes(name))
        for name, edge in source.schema.edges.items():
            staging.stage_edges(name, edge, source.read_edges(name))
        for name, node in source.schema.nodes.items():
            if node.from_edges:
                staging.add_ends(name, node)
    if log.counts:
        _log.warning("rejected: %s", log.describe())
    for name, repeats in log.repeats.items():
        _log.info("%s: %d rows repeat a pair; %s", name, repeats.n_edges, describe_repeats(source.schema, name))
    log.check_limit(max_rejects)
    staged = StagedTables(
        source.schema,
        directory,
        n_nodes=staging.n_nodes,
        n_edges=staging.n_edges,
        n_rejects=log.n_rejects,
        n_incomplete=log.n_incomplete,
        repeats={name: repeats.n_edges for name, repeats in log.repeats.items()},
    )
    if staged.n_edges[source.schema.interaction.edge] == 0:
        why = f"; {log.n_rejects:,} rows were rejected: {log.describe()}" if log.n_rejects else ""
        raise CatalogueError(
            f"no interactions: the table {source.schema.interaction.edge!r} has no rows to load{why}; "
            "expected at least one, since kgrec learns from interactions"
        )
    return staged


def build_tables(schema: CatalogueSchema, nodes: Mapping[str, pa.Table], edges: Mapping[str, pa.Table]) -> GraphTables:
    """Builds checked tables from Arrow tables in memory, by the same checks as a load.

    Args:
        schema: the schema of the tables.
        nodes: node type -> table; types with `from_edges` may be left out.
        edges: edge type -> table.

    Raises:
        CatalogueError: a column is missing or unknown, or any row is bad.
    """
    with tempfile.TemporaryDirectory(prefix="kgrec-") as directory:
        source = MemorySource.from_tables(schema, nodes, edges)
        return stage_tables(source, Path(directory), rejects=None, max_rejects=0.0).to_tables()


class _Staging:
    def __init__(
        self, schema: CatalogueSchema, directory: Path, log: RejectLog, on_rows: Callable[[str, int], None] | None
    ) -> None:
        self.schema, self.directory, self.log = schema, directory, log
        self.on_rows = on_rows or (lambda name, n_rows: None)
        self.keys: dict[str, dict[str, int]] = {name: {} for name in schema.nodes}
        self.n_nodes: dict[str, int] = {}
        self.n_edges: dict[str, int] = {}
        self.near_ids: dict[str, NearIds] = {}  # node type -> its ids, where an edge has an unknown one
        self.notations: dict[tuple[str, str], Notation] = {}  # (table, column) -> how its numbers are written
        for kind in ("nodes", "edges"):
            (directory / kind).mkdir(parents=True, exist_ok=True)

    def stage_nodes(self, name: str, node: NodeType, batches: Iterator[RawBatch]) -> None:
        keys = self.keys[name]
        with open_writer(self.directory / "nodes" / f"{name}.parquet", node.arrow_schema) as writer:
            for batch in batches:
                rows = self._check_columns(batch, name, node, {node.key: Fault.MISSING_KEY})
                repeated = np.zeros(len(rows.good), dtype=np.bool_)
                good = rows.good
                for place, key in enumerate(rows.columns[node.key].to_pylist()):
                    if good[place]:
                        repeated[place] = key in keys
                        keys.setdefault(key, len(keys))
                twice = f"{node.key} is there twice; the first is kept"
                rows.reject(repeated, Reason(Fault.REPEATED_KEY, node.key, twice))
                writer.write_batch(self._keep_good(batch, name, rows, node.arrow_schema))
        self.n_nodes[name] = len(keys)

    def stage_edges(self, name: str, edge: EdgeType, batches: Iterator[RawBatch]) -> None:
        chosen = self.schema.interaction
        is_interaction = name == chosen.edge
        at = chosen.at if is_interaction else None
        weight = chosen.weight if is_interaction and chosen.repeat_rule != "latest" else None
        required = {SOURCE: Fault.MISSING_END, TARGET: Fault.MISSING_END}
        if is_interaction:
            required |= {column: Fault.MISSING_VALUE for column in (chosen.weight, chosen.at) if column is not None}
        path = self.directory / "edges" / f"{name}.parquet"
        pairs: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        times: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        weights: list[NDArray[Any]] = []
        with open_writer(path, edge.arrow_schema) as writer:
            for batch in batches:
                rows = self._check_columns(batch, name, edge, required)
                for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
                    if not self.schema.nodes[node_type].from_edges:
                        self._reject_unknown(end, node_type, rows)
                clean = self._keep_good(batch, name, rows, edge.arrow_schema)
                writer.write_batch(clean)
                pairs.append(self._find_pairs(edge, clean))
                if at is not None:
                    times.append(clean.column(at).to_numpy())
                if weight is not None:
                    weights.append(clean.column(weight).to_numpy())
        all_pairs, all_times = _join(pairs), _join(times) if at is not None else None
        kept = find_latest(all_pairs, all_times)
        del all_times
        self.n_edges[name] = int(kept.sum())
        if not kept.all():
            sources, targets = (list(self.keys[end]) for end in (edge.source, edge.target))
            self.log.repeats[name] = summarise_repeats(all_pairs[~kept], sources, targets)
            gathered = None
            if weight is not None:
                gathered = (weight, gather_weights(all_pairs, _join(weights), kept, chosen.repeat_rule))
            filter_file(path, edge.arrow_schema, kept, gathered)

    def add_ends(self, name: str, node: NodeType) -> None:
        """Appends the nodes that are known only as ends of edges."""
        path = self.directory / "nodes" / f"{name}.parquet"
        before = path.with_suffix(".before")
        path.replace(before)
        with open_writer(path, node.arrow_schema) as writer:
            for batch in iter_file(before, node.arrow_schema, BATCH_ROWS):
                writer.write_batch(batch)
            ends = islice(self.keys[name], self.n_nodes[name], None)
            while keys := list(islice(ends, BATCH_ROWS)):
                columns = [
                    pa.array(keys, pa.string()) if field.name == node.key else pa.nulls(len(keys), field.type)
                    for field in node.arrow_schema
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=node.arrow_schema))
        before.unlink()
        self.n_nodes[name] = len(self.keys[name])

    def _check_columns(
        self, batch: RawBatch, name: str, declared: NodeType | EdgeType, required: Mapping[str, Fault]
    ) -> CheckedRows:
        n_rows = batch.columns.num_rows + len(batch.broken)
        self.log.n_rows[name] += n_rows
        self.on_rows(name, n_rows)
        self.log.add_broken(name, batch.file, batch.broken)
        if isinstance(declared, EdgeType):
            ids, raw = {SOURCE, TARGET}, rename_ends(self.schema, declared, batch.columns.schema.names)
        else:
            ids, raw = {declared.key}, batch.columns.schema.names
        check_names(batch.file, self.schema, name, declared, raw)
        rows = CheckedRows(batch.columns.num_rows)
        chosen = self.schema.interaction
        is_interaction = isinstance(declared, EdgeType) and name == chosen.edge
        at = chosen.at if is_interaction else None
        for column, kind in declared.columns.items():
            if is_interaction and column == chosen.weight and chosen.repeat_rule == "count":
                rows.columns[column] = pa.array(
                    np.ones(batch.columns.num_rows), declared.arrow_schema.field(column).type
                )
                continue
            values = batch.columns.column(raw.index(column))
            try:
                converted = convert_ids(values) if column in ids else self._convert(name, declared, column, values)
            except CatalogueError as error:
                raise CatalogueError(f"{batch.file}: column {column!r}: {error}") from error
            rows.columns[column], problems = converted
            in_milliseconds = column in declared.milliseconds
            if in_milliseconds:
                rows.columns[column] = from_milliseconds(rows.columns[column], values)
            if kind == "time":
                problems += find_times_outside(
                    rows.columns[column], interaction=column == at, milliseconds=in_milliseconds
                )
            rows.reject_values(column, problems, keep_rows=column not in required)
            if column in required:
                rows.reject_missing(column, required[column])
        return rows

    def _convert(
        self, name: str, declared: NodeType | EdgeType, column: str, values: pa.Array
    ) -> tuple[pa.Array, list[Problem]]:
        """A column that is no id as the schema's type; the texts of nodes have characters instead of HTML entities."""
        kind, is_node = declared.columns[column], isinstance(declared, NodeType)
        if kind == "list" and is_node:
            values = mend_written_lists(values)
        notation = self._find_notation(name, column, values) if kind in ("int", "float") else None
        found, problems = convert_column(values, kind, notation, time_format=declared.time_formats.get(column))
        if kind == "string":
            found = drop_missing_texts(found)
        return (mend_entities(found) if is_node and kind in ("string", "list") else found), problems

    def _find_notation(self, name: str, column: str, values: pa.Array) -> Notation | None:
        """How a column's numbers are written: as in the first batch that shows it."""
        known = self.notations.get((name, column))
        if known is None:
            known = find_notation(decode(values))
            if known is not None:
                self.notations[name, column] = known
        return known

    def _keep_good(self, batch: RawBatch, name: str, rows: CheckedRows, schema: pa.Schema) -> pa.RecordBatch:
        columns = list(rows.columns.values())
        faults = rows.find_faults()
        if faults:
            places = [row for row, _ in faults]
            reasons = [reason for _, reason in faults]
            raw = batch.columns.take(pa.array(places))
            self.log.add_rows(name, batch.file, batch.rows[places].tolist(), reasons, raw)
        if not rows.good.all():
            good = pa.array(rows.good)
            columns = [column.filter(good) for column in columns]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _find_rows(self, node_type: str, ids: pa.Array) -> NDArray[np.int64]:
        """The rows of ids, -1 where unknown; each distinct id is looked up once."""
        keys = self.keys[node_type]
        encoded = ids.dictionary_encode()
        known = np.array([keys.get(id_, -1) for id_ in encoded.dictionary.to_pylist()] + [-1], dtype=np.int64)
        found: NDArray[np.int64] = known[encoded.indices.fill_null(len(known) - 1).to_numpy()]
        return found

    def _reject_unknown(self, end: str, node_type: str, rows: CheckedRows) -> None:
        """Rejects edges with an end that is not among the nodes; of one written in another way the reason says how."""
        ids = rows.columns[end]
        unknown = (self._find_rows(node_type, ids) < 0) & rows.good
        if not unknown.any():
            return
        if node_type not in self.near_ids:
            self.near_ids[node_type] = NearIds(self.keys[node_type])
        text = f"{end} is not in the {node_type} table"
        encoded = ids.filter(pa.array(unknown)).dictionary_encode()
        given = encoded.dictionary.to_pylist()
        near = [self.near_ids[node_type].find(id_) for id_ in given]
        differences = [
            "" if two is None else describe_difference(one, two) for one, two in zip(given, near, strict=True)
        ]
        codes = encoded.indices.to_numpy()
        for difference in dict.fromkeys(filter(None, differences)):
            so_written = np.zeros(len(unknown), dtype=bool)
            so_written[unknown] = np.array([one == difference for one in differences])[codes]
            first = differences.index(difference)
            reason = f"{text}: there is an id that differs only by {difference}"
            example = f"{given[first]!r}, there is {near[first]!r}"
            rows.reject(so_written, Reason(Fault.UNKNOWN_END, end, reason, example=example))
        rows.reject(unknown, Reason(Fault.UNKNOWN_END, end, text))

    def _find_pairs(self, edge: EdgeType, clean: pa.RecordBatch) -> NDArray[np.int64]:
        """One number per (source, target) pair; ends of a type with `from_edges` get their row here."""
        for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
            if self.schema.nodes[node_type].from_edges:
                keys = self.keys[node_type]
                for id_ in clean.column(end).unique().to_pylist():
                    keys.setdefault(id_, len(keys))
        sources = self._find_rows(edge.source, clean.column(SOURCE))
        return (sources << 32) | self._find_rows(edge.target, clean.column(TARGET))


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The parts as one array; the list is emptied, since both together would double the memory."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined
