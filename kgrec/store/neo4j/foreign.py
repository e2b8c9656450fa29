"""A graph that kgrec did not load, as a source of raw rows, which are checked like those of files.

Its keys may be integers, its lists texts, its points spatial, its times dates, epoch seconds or finer, and any of them
may be missing.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from graph_schema import SOURCE, TARGET, CatalogueSchema
from graph_schema.checks.columns import FINER_THAN_SECONDS
from graph_schema.schema_types import AttributeType
from graph_schema.sources import RawBatch
from kgrec.store.neo4j.connection import Connection, to_pair, to_plain
from kgrec.store.neo4j.export import Columns, iter_edge_columns, iter_node_columns
from kgrec.store.neo4j.layout import Layout

_MAX_FLOAT_ID = 2.0**63  # Cypher's integers end there


@dataclass(frozen=True)
class ForeignGraph:
    """The nodes and relationships that a schema declares, with the schema's names.

    Attributes:
        connection: the database.
        schema: the schema of its graph.
    """

    connection: Connection
    schema: CatalogueSchema

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """The raw rows of a node type."""
        node = self.schema.nodes[node_type]
        place = Layout(self.schema).nodes[node_type]
        pieces = iter_node_columns(self.connection, place, times_as_text=True)
        return _to_batches(pieces, node.columns, {node.key}, f"(:{'|'.join(node.all_labels)})")

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """The raw rows of an edge type."""
        edge = self.schema.edges[edge_type]
        place = Layout(self.schema).edges[edge_type]
        pieces = iter_edge_columns(self.connection, place, times_as_text=True)
        return _to_batches(pieces, edge.columns, {SOURCE, TARGET}, describe_edge(self.schema, edge_type))


def describe_edge(schema: CatalogueSchema, edge_type: str) -> str:
    """An edge type's relationships as Cypher draws them, for people, from where they start to where they end."""
    edge = schema.edges[edge_type]
    start, end = ("|".join(schema.nodes[node_type].all_labels) for node_type in edge.ends)
    arrows = [f"<-[:{step[1:]}]-" if step.startswith("<") else f"-[:{step}]->" for step in edge.path or (edge.type,)]
    return f"(:{start}){'()'.join(arrows)}(:{end})"


def _to_batches(
    pieces: Iterator[Columns], kinds: Mapping[str, AttributeType], ids: Collection[str], file: str
) -> Iterator[RawBatch]:
    start = 1
    nothing: Columns = [[] for _ in kinds]  # at least one batch, so that there are columns to check
    for columns in chain([nothing], pieces):
        arrays = [
            _to_array(list(map(_to_id, values)) if name in ids else values, kind)
            for values, (name, kind) in zip(columns, kinds.items(), strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(arrays, names=list(kinds))
        yield RawBatch(batch, file, np.arange(start, start + len(batch)))
        start += len(batch)


def _to_id(value: object) -> object:
    """A key without the ".0" of a whole float, as `layout.read_id` reads it."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_FLOAT_ID else value


def _to_array(values: Sequence[Any], kind: AttributeType) -> pa.Array:
    if kind == "time":
        values = [_to_seconds(value) for value in values]
    if kind == "point":
        values = [to_pair(value) for value in values]
    if kind != "string" and not (kind == "list" and any(map(_has_no_text, values))):
        try:
            found = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
        else:
            if _is_readable(found.type, kind):
                return found
    # of several types, or of one that no column has: as text, so that each value is checked by itself
    return pa.array([_to_text_of(value, kind) for value in values], pa.string())


def _is_readable(found: pa.DataType, kind: AttributeType) -> bool:
    """Whether staging can read values of a type of Arrow's each by itself."""
    is_list = pa.types.is_list(found)
    match kind:
        case "vector":
            return True
        case "point":
            return pa.types.is_string(found) or (is_list and _is_number(found.value_type))
        case "list":
            return True  # no list of lists, which the database does not keep
        case "bool":
            return not pa.types.is_nested(found)
    return not pa.types.is_nested(found) and not pa.types.is_boolean(found)


def _has_no_text(value: object) -> bool:
    """Whether a value is a point or a duration, which are tuples, or a list of them."""
    return isinstance(value, tuple) or (isinstance(value, list) and any(isinstance(one, tuple) for one in value))


def _is_number(found: pa.DataType) -> bool:
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def _to_seconds(value: object) -> object:
    if isinstance(value, int):
        return next((value // unit for least, unit in FINER_THAN_SECONDS if abs(value) >= least), value)
    return value


def _to_text_of(value: object, kind: AttributeType) -> str | None:
    """The text of a value in a column of some type, such that it is read as what it is and not as something else."""
    if kind == "time" and isinstance(value, int) and not isinstance(value, bool):
        return f"{value:+d}"  # eight digits without a sign are a date
    if kind == "list" and _has_no_text(value):
        return f"[{value}]"  # no list of texts, in JSON or otherwise
    if kind == "list" and isinstance(value, list):
        texts = [str(one).lower() if isinstance(one, bool) else _to_text(one) for one in value]
        return json.dumps(texts, ensure_ascii=False)
    if kind not in ("string", "vector") and isinstance(value, list):
        return f"[{_to_text(value)}]"  # a list of one number is not a number
    return _to_text(value)


def _to_text(value: object) -> str | None:
    value = to_plain(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(text for one in value if (text := _to_text(one)) is not None)
    if isinstance(value, date | time):  # in a list; a datetime is a date
        return value.isoformat()
    return str(value)
