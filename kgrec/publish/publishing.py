"""publish_bundle: writes what differs from the live version, makes it live, and measures the vector index."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import SOURCE
from kgrec.bundle import Bundle
from kgrec.errors import RequestError, StoreError
from kgrec.model.backbone import user_vectors
from kgrec.publish.index_agreement import measure_agreement
from kgrec.publish.moved_lists import MovedLists
from kgrec.publish.publish_report import ENOUGH, Coverage, PublishReport
from kgrec.publish.ranked_lists import find_neighbours, find_recommendations
from kgrec.publish.user_segments import MOST_SEGMENTS, Segment, find_segments
from kgrec.recommend import Recommender
from kgrec.recommend.live import is_another_graph
from kgrec.store.contract import OnRows
from kgrec.store.neo4j.backend_queries import BY_INDEX, describe_parameters, describe_queries
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.graph_nodes import GraphNodes, read_graph_nodes
from kgrec.store.neo4j.release import RECOMMENDED, SIMILAR_TO, USER_VECTOR, Side, read_release
from kgrec.store.neo4j.version_writing import MOST_CHANGED, Draft

NEIGHBOURS = 50
_log = logging.getLogger(__name__)


def publish_bundle(
    recommender: Recommender,
    connection: Connection,
    *,
    published_at: int,
    neighbours: int = NEIGHBOURS,
    recommend: int = 0,
    segments: int | None = 0,
    on_stage: Callable[[str], None] | None = None,
    on_rows: OnRows | None = None,
) -> PublishReport:
    """Publishes the vector and the neighbours of each item; on request the vector, list and segment of each user.

    Only what differs from the version before is written. The graph is unchanged where it fails.

    Args:
        recommender: the recommender to publish.
        connection: a Neo4j database, opened to write; its nodes are found by their keys.
        published_at: UTC seconds; names the version.
        neighbours: the largest number of similar items per item.
        recommend: the largest number of recommended items per user; 0 publishes neither lists nor vectors of users.
        segments: the number of segments of users; 0: none; None: chosen by the number of users.
        on_stage: called with the name of each step.
        on_rows: called with (what was written, the number of rows just written).

    Returns:
        What was published, with the queries for a backend.

    Raises:
        StoreError: another publish is running, the graph has hardly any of the items, or the database fails.
        RequestError: neighbours, recommend or segments is out of range.
    """
    _check_numbers(neighbours, recommend, segments)

    def report(stage: str) -> None:
        _log.info("%s", stage)
        if on_stage is not None:
            on_stage(stage)

    bundle = recommender.bundle
    schema = bundle.schema
    report("reading the graph's nodes")
    items = read_graph_nodes(connection, schema.nodes[schema.item_type])  # before anything is written
    present = _find_present(connection, bundle, items)
    has_users = recommend > 0 or segments != 0
    users = read_graph_nodes(connection, schema.nodes[schema.user_type]) if has_users else None
    known = [] if users is None else [id_ for id_ in bundle.users.ids if id_ in users.elements]
    found: tuple[Segment, ...] = ()
    with Draft(connection, schema, published_at=published_at) as draft:
        ids = _write_items(draft, recommender, items, present, neighbours, report, on_rows)
        if recommend and users is not None:
            report("writing user vectors")
            of_users = user_vectors(bundle.model.backbone, bundle.liked[bundle.users.rows(known)])
            draft.write_vectors("user", users, *_drop_empty(known, of_users), on_rows)
            report("writing recommendations")
            # SIMILAR_TO has what cannot be had too: the queries leave it out as it is when they are asked
            can_be_had = bundle.available[bundle.items.rows(present)]
            allowed = [id_ for id_, can in zip(present, can_be_had, strict=True) if can]
            lists = find_recommendations(recommender, known, allowed, min(recommend, len(bundle.items)))
            _write_lists(draft, RECOMMENDED, users, items, lists, draft.before.sizes(RECOMMENDED), on_rows)
        else:
            for kind in (USER_VECTOR, RECOMMENDED):
                draft.end_lists(kind, draft.before.sizes(kind))
        if segments != 0 and users is not None:
            report("finding segments of users")
            found = find_segments(bundle, known, segments)
            draft.write_segments(users, {user: (one.number, one.name) for one in found for user in one.users})
        report("waiting for the vector index, then making the version live and removing old ones")
        asked = {"neighbours": neighbours, "recommend": recommend, "segments": segments}
        draft.finish({"trained_at": bundle.trained_at, "synced_at": bundle.lineage.synced_at, **asked})
    report("measuring the vector index")
    key_types: dict[Side, tuple[str, ...]] = {"item": items.key_types}
    if users is not None:
        key_types["user"] = users.key_types
    queries = describe_queries(schema, draft.version, connection.version, key_types)
    agreement = measure_agreement(connection, queries, ids) if ids else float("nan")
    if agreement < ENOUGH:
        del queries[BY_INDEX]
    return PublishReport(
        version=draft.version,
        release=read_release(connection),
        items=_compare(present, len(bundle.items), items),
        users=None if users is None else _compare(known, len(bundle.users), users),
        agreement=agreement,
        queries=queries,
        parameters=describe_parameters(schema, key_types),
        segments=found,
    )


def _check_numbers(neighbours: int, recommend: int, segments: int | None) -> None:
    if neighbours < 1 or recommend < 0:
        raise RequestError(
            f"asked for {neighbours} neighbours and {recommend} recommendations; expected at least 1 and at least 0"
        )
    if segments is not None and not 0 <= segments <= MOST_SEGMENTS:
        raise RequestError(f"asked for {segments} segments; expected 0 to {MOST_SEGMENTS}")


def _find_present(connection: Connection, bundle: Bundle, items: GraphNodes) -> list[str]:
    """The items of the bundle that are in the graph.

    Raises:
        StoreError: these are so few that it is another graph.
    """
    present = [id_ for id_ in bundle.items.ids if id_ in items.elements]
    if is_another_graph(len(present), len(bundle.items)):
        node = bundle.schema.nodes[bundle.schema.item_type]
        of_them = f"only {len(present):,}" if present else "none"
        raise StoreError(
            f"{connection.url} has {of_them} of the {len(bundle.items):,} items of the bundle, such as "
            f"{bundle.items.ids[0]!r}; expected nodes with the label {' or '.join(node.all_labels)!r} and the key "
            f"{node.key!r}: name the graph that the bundle was trained from"
        )
    return present


def _write_items(
    draft: Draft,
    recommender: Recommender,
    items: GraphNodes,
    present: Sequence[str],
    neighbours: int,
    report: Callable[[str], None],
    on_rows: OnRows | None,
) -> list[str]:
    """Writes the vectors of items and their neighbours; returns the items that have a vector."""
    report("writing item vectors")
    bundle = recommender.bundle
    ids, vectors = _drop_empty(present, bundle.model.likeness_vectors()[bundle.items.rows(present)])
    changed, gone = draft.write_vectors("item", items, ids, vectors, on_rows)
    report("writing neighbours")
    before = draft.before.version
    if before is None or before.about.get("neighbours") != neighbours or len(changed) > MOST_CHANGED * len(ids):
        sources, lists = ids, find_neighbours(recommender, present, neighbours, ids)
    else:
        moved = MovedLists(draft.before, items.elements, ids, vectors, changed, gone, neighbours)
        sources, lists = moved.items, moved.find(recommender, present)
    ended = {items.elements[id_] for id_ in sources} | gone
    _write_lists(draft, SIMILAR_TO, items, items, lists, ended, on_rows)
    return ids


def _write_lists(
    draft: Draft,
    kind: str,
    sources: GraphNodes,
    targets: GraphNodes,
    lists: Iterable[pa.Table],
    ended: Collection[str],
    on_rows: OnRows | None,
) -> None:
    """Writes lists, and ends those of `ended` (element ids) that have none now."""
    listed: set[str] = set()

    def watch() -> Iterator[pa.Table]:
        for table in lists:
            listed.update(sources.elements[id_] for id_ in table[SOURCE].unique().to_pylist())
            yield table

    draft.write_lists(kind, sources, targets, watch(), on_rows)
    draft.end_lists(kind, set(ended) - listed)


def _drop_empty(ids: Sequence[str], vectors: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]]:
    """Those whose vectors are not all zeros."""
    rows = np.flatnonzero(vectors.any(axis=1))
    return [ids[row] for row in rows.tolist()], vectors[rows]


def _compare(both: Sequence[str], n_in_bundle: int, found: GraphNodes) -> Coverage:
    return Coverage(
        n_both=len(both),
        n_not_in_graph=n_in_bundle - len(both),
        n_not_in_bundle=len(found.elements) - len(both),
        n_repeated=found.n_repeated,
        n_without_id=found.n_without_id,
    )
