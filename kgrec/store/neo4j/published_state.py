"""What a published version holds, read back to be compared with the next one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec.store.neo4j.connection import Connection, work_in_halves
from kgrec.store.neo4j.layout import RELEASE_TYPES
from kgrec.store.neo4j.release import SIDES, VECTOR_TYPES, Side, Version, is_in

BATCH_LISTS = 1000  # lists of one query
CHANGED = 1e-4  # vectors whose sketches differ by less are the same: computed on another machine, or in another order
_SKETCH_DIM = 8
Lists = dict[str, dict[str, float]]  # element id of the source -> element id of the target -> score


def sketch(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 8) random projections of vectors, which change where a vector does: they are read back instead of it."""
    directions = np.random.default_rng(vectors.shape[1]).normal(size=(vectors.shape[1], _SKETCH_DIM))
    return vectors.astype(np.float64) @ directions


def count_edges(connection: Connection, version: Version) -> dict[str, int]:
    """How many relationships of each type a version has now.

    Raises:
        StoreError: the database fails.
    """
    counts = {}
    for kind in RELEASE_TYPES:
        query = f"MATCH ()-[s:{kind}]->() WHERE {is_in('s', '$version')} RETURN count(s)"
        ((counts[kind],),) = connection.read(query, {"version": version.name})
    return counts


def count_left(connection: Connection, version: Version) -> dict[str, int]:
    """How much of what `Version.n_published` counts is there now: it goes with the nodes that are deleted.

    Raises:
        StoreError: the database fails.
    """
    counts = count_edges(connection, version)
    left = replace(version, n_vectors={side: counts[VECTOR_TYPES[side]] for side in SIDES}, n_edges=counts)
    return left.n_published


class PublishedState:
    """The relationships of one version.

    Args:
        connection: the database.
        version: the version; None: there is none yet, and all answers are empty.
    """

    def __init__(self, connection: Connection, version: Version | None) -> None:
        self._connection = connection
        self.version = version
        self._last: tuple[str, Lists] = ("", {})  # what `lists` read last, which is often asked for again in parts

    def sketches(self, side: Side) -> dict[str, NDArray[np.float64]]:
        """The sketch of the vector of each node, by its element id."""
        query = f"MATCH (n)-[v:{VECTOR_TYPES[side]}]->(n) WHERE {is_in('v', '$version')} RETURN elementId(n), v.sketch"
        return {element: np.array(found) for element, found in self._read(query)}

    def sizes(self, kind: str) -> dict[str, tuple[int, float]]:
        """How many relationships lead from each node, and the least of their scores; by its element id."""
        query = (
            f"MATCH (a)-[s:{kind}]->() WHERE {is_in('s', '$version')} "
            "WITH a, count(s) AS n, min(s.score) AS least RETURN elementId(a), n, least"
        )
        return {element: (n, least) for element, n, least in self._read(query)}

    def sources(self, kind: str, targets: Sequence[str]) -> set[str]:
        """The element ids of the nodes that relationships lead from, to any of some nodes."""
        query = (
            f"UNWIND $rows AS row MATCH (b) WHERE elementId(b) = row MATCH (a)-[s:{kind}]->(b) "
            f"WHERE {is_in('s', '$version')} RETURN DISTINCT elementId(a)"
        )
        return {element for rows in self._read_batches(query, targets) for (element,) in rows}

    def lists(self, kind: str, sources: Sequence[str]) -> Lists:
        """The scored relationships that lead from each of some nodes."""
        query = (
            f"UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row MATCH (a)-[s:{kind}]->(b) "
            f"WHERE {is_in('s', '$version')} RETURN row, collect(elementId(b)), collect(s.score)"
        )
        kind_before, last = self._last
        if kind != kind_before or not all(source in last for source in sources):
            last = {source: {} for source in sources}
            for rows in self._read_batches(query, sources):
                last |= {source: dict(zip(targets, scores, strict=True)) for source, targets, scores in rows}
            self._last = (kind, last)
        return {source: last[source] for source in sources}

    def _read(self, query: str) -> list[list[Any]]:
        return [] if self.version is None else self._connection.read(query, {"version": self.version.name})

    def _read_batches(self, query: str, elements: Sequence[str]) -> Iterator[list[list[Any]]]:
        if self.version is None:
            return
        name = self.version.name
        for start in range(0, len(elements), BATCH_LISTS):
            yield from work_in_halves(
                lambda rows: self._connection.read(query, {"rows": rows, "version": name}),
                elements[start : start + BATCH_LISTS],
            )
