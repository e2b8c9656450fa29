"""Reads whole node and edge types from a database, in pieces of bounded size.

A record costs the driver as much as twenty values in a list, so a piece is one record with lists of values. A piece is
one transaction: it is tried again where the connection was cut, and halved where the server's memory or time limit is
too small for it. Nodes are found by their element ids, since a database of others may have no index on the key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from kgrec.store.neo4j.connection import Connection, TransactionTooLarge, work_in_halves
from kgrec.store.neo4j.layout import EdgePlace, NodePlace

PIECE_NODES = 5_000
PIECE_EDGES = 25_000  # also the longest list of one record
Columns = list[Sequence[Any]]  # of equal length


@dataclass(frozen=True)
class _Near:
    """A node whose edges are read: where it is, how many edges it has, and which of them a piece asks for."""

    element_id: str
    n_edges: int
    start: int = 0


def iter_node_columns(connection: Connection, place: NodePlace, *, times_as_text: bool = False) -> Iterator[Columns]:
    """The properties of all nodes of a type, piece by piece: one list per property of `place`.

    Args:
        connection: to the database.
        place: the type.
        times_as_text: read dates and times as ISO 8601 text: the driver cannot read years before 1 or after 9999.
    """
    read_value = _to_readable if times_as_text else str
    ids = [element_id for element_id, _ in _read_sorted(connection, place, [], times_as_text=times_as_text)]
    values = ", ".join(f"[n IN ns | {read_value(f'n.{name}')}]" for name in place.properties)
    query = f"UNWIND $ids AS id MATCH (n) WHERE elementId(n) = id WITH collect(n) AS ns RETURN {values}"

    for start in range(0, len(ids), PIECE_NODES):
        for rows in work_in_halves(
            lambda part: connection.read(query, {"ids": part}), ids[start : start + PIECE_NODES]
        ):
            yield from rows


def iter_edge_columns(connection: Connection, place: EdgePlace, *, times_as_text: bool = False) -> Iterator[Columns]:
    """The edges of a type, piece by piece: the keys of both ends and a list per property of `place`.

    Edges come by source where no source has more than a piece holds, else by the end whose longest list is shorter.

    Args:
        connection: to the database.
        place: the type.
        times_as_text: see `iter_node_columns`.
    """
    read_value = _to_readable if times_as_text else str
    near = _read_degrees(connection, place, from_source=True, times_as_text=times_as_text)
    from_source = True
    if max((node.n_edges for node in near), default=0) > PIECE_EDGES:
        others = _read_degrees(connection, place, from_source=False, times_as_text=times_as_text)
        if max(node.n_edges for node in others) < max(node.n_edges for node in near):
            near, from_source = others, False
    ends = ("a", "b") if from_source else ("b", "a")
    near_key, far_key = (place.source.key, place.target.key) if from_source else (place.target.key, place.source.key)
    values = [read_value(place.read_property("r", name)) for name in place.properties]
    properties = "".join(f", [r IN rs[node[1]..node[2]] | {value}]" for value in values)
    near_value, far_value = read_value(f"{ends[0]}.{near_key}"), read_value(f"n.{far_key}")
    query = (
        f"UNWIND $nodes AS node MATCH ({ends[0]}) WHERE elementId({ends[0]}) = node[0] "
        f"CALL ({ends[0]}) {{ {place.match} RETURN collect({ends[1]}) AS ends, collect({place.parts}) AS rs }} "
        f"RETURN collect([{near_value}, [n IN ends[node[1]..node[2]] | {far_value}]{properties}])"
    )

    def read(piece: Sequence[_Near]) -> Iterator[Columns]:
        nodes = [[node.element_id, node.start, node.start + node.n_edges] for node in piece]
        try:
            ((rows,),) = connection.read(query, {"nodes": nodes})
        except TransactionTooLarge:
            if len(piece) > 1:
                yield from read(piece[: len(piece) // 2])
                yield from read(piece[len(piece) // 2 :])
            elif piece[0].n_edges > 1:
                yield from read(_cut(piece[0], piece[0].n_edges // 2))
            else:
                raise
            return
        near_keys = list(chain.from_iterable(repeat(row[0], len(row[1])) for row in rows))
        far_keys, *values = (
            list(chain.from_iterable(row[i] for row in rows)) for i in range(1, 2 + len(place.properties))
        )
        yield [near_keys, far_keys, *values] if from_source else [far_keys, near_keys, *values]

    for piece in _iter_pieces(near):
        yield from read(piece)


def _to_readable(value: str) -> str:
    """The expression for a value, with dates and times as ISO 8601 text without the name of a time zone."""
    text = f"split(toString({value}), '[')[0]"
    return f"CASE WHEN {value} IS :: DATE | LOCAL DATETIME | ZONED DATETIME THEN {text} ELSE {value} END"


def _read_degrees(connection: Connection, place: EdgePlace, *, from_source: bool, times_as_text: bool) -> list[_Near]:
    """The nodes at one end of a type's edges, by key, with no fewer than the number of their edges."""
    node, pattern = (place.source, place.pattern()) if from_source else (place.target, place.pattern_from_target())
    # without the other end's label the server does not read the edges, but those of paths
    found = _read_sorted(connection, node, [f"COUNT {{ (n){pattern}() }}"], times_as_text=times_as_text)
    return [_Near(element_id, degree) for element_id, _, degree in found if degree]


def _read_sorted(
    connection: Connection, place: NodePlace, values: Sequence[str], *, times_as_text: bool
) -> list[tuple[Any, ...]]:
    """(element id, key, values) of each node `n` of a type: by key where keys are strings, as UTF-8 sorts them.

    That is Arrow's order. The nodes come in lists, since a record for each would cost twenty times as much.
    """
    key = _to_readable(f"n.{place.key}") if times_as_text else f"n.{place.key}"
    lists = ", ".join(f"[n IN part | {value}]" for value in ("elementId(n)", key, *values))
    pieces = connection.read(
        f"MATCH (n:{place.label}) WITH collect(n) AS ns UNWIND range(0, size(ns) - 1, {PIECE_NODES}) AS start "
        f"WITH ns[start..start + {PIECE_NODES}] AS part RETURN {lists}"
    )
    found = [row for columns in pieces for row in zip(*columns, strict=True)]
    if all(isinstance(row[1], str) for row in found):
        found.sort(key=lambda row: row[1].encode())
    return found


def _iter_pieces(near: Sequence[_Near]) -> Iterator[list[_Near]]:
    piece: list[_Near] = []
    n_edges = 0
    for node in near:
        if node.n_edges > PIECE_EDGES:
            yield from ([part] for part in _cut(node, PIECE_EDGES))
            continue
        if piece and (n_edges + node.n_edges > PIECE_EDGES or len(piece) == PIECE_NODES):
            yield piece
            piece, n_edges = [], 0
        piece.append(node)
        n_edges += node.n_edges
    if piece:
        yield piece


def _cut(node: _Near, most: int) -> list[_Near]:
    """A node's edges in slices of at most `most`."""
    end = node.start + node.n_edges
    return [_Near(node.element_id, min(most, end - start), start) for start in range(node.start, end, most)]
