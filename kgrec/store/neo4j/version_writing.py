"""Writes a version into a Neo4j database: what differs from the one before, and the switch that makes it live."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.contract import OnRows
from kgrec.store.neo4j.connection import Connection, ConnectionLost
from kgrec.store.neo4j.graph_nodes import GraphNodes
from kgrec.store.neo4j.layout import RELEASE_PREFIX, join_labels
from kgrec.store.neo4j.list_changes import batch_lists, compare_lists
from kgrec.store.neo4j.old_versions import remove_old_versions, remove_segments
from kgrec.store.neo4j.publish_lease import Lease
from kgrec.store.neo4j.published_state import BATCH_LISTS, CHANGED, PublishedState, count_edges, sketch
from kgrec.store.neo4j.release import (
    OPEN,
    SEGMENT_SLOTS,
    SIDES,
    STAMP,
    VECTOR_TYPES,
    VERSION_PREFIX,
    Side,
    Version,
    is_in,
    read_release,
    to_texts,
)
from kgrec.store.neo4j.vector_index import await_index, check_width, make_index

BATCH_VECTORS, BATCH_EDGES, BATCH_NODES = 500, 10_000, 5000  # rows of one transaction; fewer where that is too many
MOST_CHANGED = 0.5  # of the vectors: with more of them new, a new index is better than one with as many old ones
_FIND = "UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row[0] AND a:"


class Draft:
    """A version that is being written: `with` holds the right to publish, `finish` makes it live.

    It begins by removing what an earlier publish that was cut off left behind. Without `finish` the live version stays,
    and what was written is removed: at once, or by the next publish where the server was lost.

    Args:
        connection: the database, opened to write.
        schema: names the items and users; their nodes may or may not be loaded by kgrec.
        published_at: UTC seconds.

    Raises:
        StoreError: another publish is at work, or the database fails.
    """

    def __init__(self, connection: Connection, schema: CatalogueSchema, *, published_at: int) -> None:
        self.connection = connection
        self._lease = Lease(connection)
        try:
            found = read_release(connection)
            if found.live is None or len(found.kept) < len(found.versions):
                remove_old_versions(self._lease, found, is_undone=True)
            # later than the latest, also twice in a second and by a clock that went back
            latest = max((version.published_at for version in found.versions), default=-1)
            stamp = time.strftime(STAMP, time.gmtime(max(published_at, latest + 1)))
            node_types = {"item": schema.item_type, "user": schema.user_type}
            labels: dict[str, str] = {side: join_labels(schema.nodes[node_types[side]]) for side in SIDES}
            self.version = Version(f"{VERSION_PREFIX}{stamp}", labels)
            self.before = PublishedState(connection, found.newest)
            self._kept = found.kept
            self._live = None if found.live is None else found.live.name
            self._is_live: bool | None = False  # None: whether it went live is not known
            # noted before anything is written, so that its remains can be found
            self._lease.note_versions([*found.kept, self.version])
        except BaseException:
            with suppress(StoreError):
                self.close()
            raise

    # -- vectors -------------------------------------------------------------------------------------------------------

    def write_vectors(
        self,
        side: Side,
        nodes: GraphNodes,
        ids: Sequence[str],
        vectors: NDArray[np.float32],
        on_rows: OnRows | None = None,
    ) -> tuple[set[str], set[str]]:
        """Writes the vectors that are not as they were, and ends those that are gone; an index finds them by cosine.

        Args:
            side: whose vectors they are.
            nodes: the nodes in the graph.
            ids: those with a vector; the graph has all of them. There may be none.
            vectors: (n, dim), none of them all zeros.
            on_rows: called with (what, nodes just written).

        Returns:
            The element ids of the nodes whose vectors are new, and of those that had one and have none now.

        Raises:
            StoreError: another publish took over, the vectors are too wide for an index, or the database fails.
        """
        dim = vectors.shape[1]
        check_width(dim)
        before = self.before.version
        elements = [nodes.elements[id_] for id_ in ids]
        sketches = sketch(vectors)
        known = self.before.sketches(side)
        has_changed = [
            element not in known or bool(np.abs(known[element] - own).max() > CHANGED)
            for element, own in zip(elements, sketches, strict=True)
        ]
        index = None if before is None else before.indexes.get(side)
        if index is None or sum(has_changed) > MOST_CHANGED * len(ids):  # all of them where the width is another
            index, has_changed = f"{RELEASE_PREFIX}{side}s_{self.version.stamp}", [True] * len(ids)
        rows = np.flatnonzero(has_changed)
        gone = set(known) - set(elements)
        ended = [element for element in (*(elements[row] for row in rows), *gone) if element in known]
        kind = VECTOR_TYPES[side]
        self._end(kind, [[element] for element in ended], "true")
        query = (
            f"{_FIND}{nodes.label} "
            f"CREATE (a)-[v:{kind} {{version: $version, until: '{OPEN}', sketch: row[2]}}]->(a) WITH v, row "
            "CALL db.create.setRelationshipVectorProperty(v, $name, row[1]) RETURN count(v)"
        )
        for start in range(0, len(rows), BATCH_VECTORS):
            part = rows[start : start + BATCH_VECTORS]
            values = zip(part.tolist(), vectors[part].tolist(), sketches[part].tolist(), strict=True)
            batch = [[elements[row], vector, own] for row, vector, own in values]
            self._write(query, batch, len(batch), name=index)
            if on_rows is not None:
                on_rows(f"{side} vectors", len(batch))
        if ids:
            self.version = replace(
                self.version,
                indexes={**self.version.indexes, side: index},
                n_vectors={**self.version.n_vectors, side: len(ids)},
            )
            make_index(self.connection, index, kind, dim)
        return {elements[row] for row in rows}, gone

    # -- lists ---------------------------------------------------------------------------------------------------------

    def write_lists(
        self,
        kind: str,
        sources: GraphNodes,
        targets: GraphNodes,
        lists: Iterable[pa.Table],
        on_rows: OnRows | None = None,
    ) -> None:
        """Writes what is new in lists as relationships with `score`, and ends those that are in them no more.

        Args:
            kind: SIMILAR_TO or RECOMMENDED.
            sources: the nodes whose lists they are.
            targets: the nodes that are in lists.
            lists: tables with the columns source, target (ids that the graph has) and score, the best first; a list is
                never split between two of them.
            on_rows: called with (kind, relationships just written).

        Raises:
            StoreError: another publish took over, or the database fails.
        """
        query = (
            f"{_FIND}{sources.label} UNWIND range(0, size(row[1]) - 1) AS place "
            f"MATCH (b) WHERE elementId(b) = row[1][place] AND b:{targets.label} "
            f"CREATE (a)-[:{kind} {{score: row[2][place], version: $version, until: '{OPEN}'}}]->(b) RETURN count(*)"
        )
        for batch in batch_lists(lists, sources.elements, targets.elements, BATCH_EDGES):
            before = self.before.lists(kind, [source for source, _ in batch])
            ended, added = [], []
            for source, found in batch:
                own_ended, own_added = compare_lists(before.get(source, {}), found)
                if own_ended:
                    ended.append([source, own_ended])
                if own_added:
                    added.append([source, [target for target, _ in own_added], [score for _, score in own_added]])
            self._end(kind, ended, "elementId(b) IN row[1]")
            n_added = sum(len(row[1]) for row in added)
            self._write(query, added, n_added)
            if on_rows is not None and n_added:
                on_rows(kind, n_added)

    def end_lists(self, kind: str, sources: Iterable[str]) -> None:
        """Ends the lists of nodes, by their element ids, that have none any more.

        Raises:
            StoreError: another publish took over, or the database fails.
        """
        self._end(kind, [[source] for source in sources], "true")

    def _end(self, kind: str, rows: Sequence[Sequence[Any]], which: str) -> None:
        """Ends relationships of the version before, from the nodes row[0] to those `b` that `which` chooses."""
        if self.before.version is None:
            return
        query = (
            f"UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row[0] MATCH (a)-[s:{kind}]->(b) "
            f"WHERE {is_in('s', '$before')} AND {which} SET s.until = $version RETURN count(DISTINCT row)"
        )
        for start in range(0, len(rows), BATCH_LISTS):
            parameters = {"version": self.version.name, "before": self.before.version.name}
            self._lease.write_rows(query, rows[start : start + BATCH_LISTS], parameters)

    def _write(self, query: str, rows: Sequence[Any], n_edges: int, **parameters: Any) -> None:
        if rows:
            self._lease.write_rows(query, rows, {"version": self.version.name, **parameters})
            self.version = replace(self.version, n_written=self.version.n_written + n_edges)

    # -- segments ------------------------------------------------------------------------------------------------------

    def write_segments(self, users: GraphNodes, segments: Mapping[str, tuple[int, str]]) -> None:
        """Writes the number and the name of each user's segment as properties that no version that is kept has.

        Args:
            users: the users in the graph.
            segments: user -> number and name.

        Raises:
            StoreError: another publish took over, or the database fails.
        """
        taken = {version.segment_slot for version in self._kept}
        slot = next(slot for slot in SEGMENT_SLOTS if slot not in taken)
        self.version = replace(self.version, segment_slot=slot)
        self._lease.note_versions([*self._kept, self.version])
        remove_segments(self._lease, self.version)
        assert self.version.segments is not None
        number, name = self.version.segments
        query = f"{_FIND}{users.label} SET a.{number} = row[1], a.{name} = row[2] RETURN count(a)"
        rows = [[users.elements[user], *segment] for user, segment in segments.items()]
        for start in range(0, len(rows), BATCH_NODES):
            self._lease.write_rows(query, rows[start : start + BATCH_NODES], {})

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, about: Mapping[str, Any]) -> None:
        """Makes the version live in one transaction, and removes what only those before the previous one hold.

        Args:
            about: facts to keep with the version; JSON.

        Raises:
            StoreError: an index failed or was not ready in time, another publish took over, or the database fails.
        """
        for side in SIDES:
            if side in self.version.indexes:
                await_index(self._lease, self.version.indexes[side])
        self.version = replace(self.version, is_whole=True, n_edges=self._count_lists(), about=about)
        self._is_live = None
        self._lease.write(
            "SET r.previous = r.version, r += $properties, r.versions = $versions RETURN 1",
            {"properties": self.version.properties, "versions": to_texts([*self._kept, self.version])},
        )
        self._is_live = True
        remove_old_versions(self._lease, read_release(self.connection), is_undone=False)

    def _count_lists(self) -> dict[str, int]:
        counts = count_edges(self.connection, self.version)
        return {kind: n for kind, n in counts.items() if n and kind not in VECTOR_TYPES.values()}

    def close(self) -> None:
        """Lets others publish."""
        self._lease.give_back()

    def __enter__(self) -> Self:
        """The draft itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets others publish; after an error it removes what was written, where the server is still there.

        Raises:
            StoreError: the server was lost; it says what was kept.
        """
        if error is None:
            self.close()
            return
        if isinstance(error, ConnectionLost):
            raise StoreError(f"{error}. {self._describe_kept()}") from error
        with suppress(StoreError):  # the error that is there matters more; the lease runs out by itself
            remove_old_versions(self._lease, read_release(self.connection), is_undone=self._is_live is not True)
            self.close()

    def _describe_kept(self) -> str:
        name, n = self.version.name, self.version.n_written
        if self._is_live is None:
            return (
                f"Whether {name} went live is not known: `kgrec publish --status` says it; readers see it whole or not"
            )
        if self._is_live:
            return f"{name} is live and whole; what only older versions hold is removed by the next publish"
        stays = f"{self._live} stays live and whole" if self._live else "no version is live"
        return f"{stays}; of {name}, {n:,} relationships were written, which no query sees and the next publish removes"
