"""Publishes a trained model into the user's Neo4j, for Cypher queries: vectors, neighbours, recommendations."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET
from kgrec.errors import RequestError, StoreError
from kgrec.model.backbone import user_vectors
from kgrec.recommend import Recommender
from kgrec.store.contract import OnRows
from kgrec.store.neo4j.backend_queries import describe_queries
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import RECOMMENDED, SIMILAR_TO, Release, Side, Version, read_release
from kgrec.store.neo4j.version_writing import Draft, GraphNodes

NEIGHBOURS = 50
_log = logging.getLogger(__name__)
_BLOCK_ITEMS, _BLOCK_USERS = 256, 2048
_LISTS = pa.schema({SOURCE: pa.string(), TARGET: pa.string(), "rank": pa.int64(), "score": pa.float64()})
_ENOUGH = 0.95
_N_COMPARED, _COMPARED_K = 200, 10  # items whose first neighbours are compared with an exact vector search


@dataclass(frozen=True)
class Coverage:
    """How many nodes of one kind the bundle and the graph share.

    Attributes:
        n_both: nodes in both; these are published.
        n_not_in_graph: nodes missing from the graph: nothing is written for them, and no list contains them.
        n_not_in_bundle: nodes missing from the bundle: they came after the training.
        n_repeated: nodes of the graph that repeat another node's id; they are not changed.
        n_without_id: nodes of the graph without a key.
    """

    n_both: int
    n_not_in_graph: int
    n_not_in_bundle: int
    n_repeated: int
    n_without_id: int


@dataclass(frozen=True)
class PublishReport:
    """The result of a publish.

    Attributes:
        version: the version just written.
        release: the versions in the graph, and which one is live.
        items: the items.
        users: the users; None if recommendations were not requested.
        agreement: share of the first 10 neighbours that the vectors find too, in an exact search; nan: no neighbours.
        queries: name of a query for a backend -> its Cypher for this server.
    """

    version: Version
    release: Release
    items: Coverage
    users: Coverage | None
    agreement: float
    queries: Mapping[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the result, a sentence each."""
        notes = []
        if not np.isnan(self.agreement):
            rest = "; SIMILAR_TO has them all" if self.agreement < _ENOUGH else ""
            notes.append(
                f"the item vectors find {self.agreement:.0%} of each item's first {_COMPARED_K} neighbours{rest}"
            )
        for what, found in (("items", self.items), ("users", self.users)):
            if found is None:
                continue
            for n, text in (
                (found.n_not_in_graph, f"{what} of the bundle are not in the graph: nothing is published for them"),
                (found.n_not_in_bundle, f"{what} of the graph are not in the bundle: they came after the training"),
                (found.n_repeated, f"nodes repeat the key of another of the {what}: they are not changed"),
                (found.n_without_id, f"nodes labelled as {what} have no key that is a text or an integer"),
            ):
                if n:
                    notes.append(f"{n:,} {text}")
        return tuple(notes)


def publish_bundle(
    recommender: Recommender,
    connection: Connection,
    *,
    published_at: int,
    neighbours: int = NEIGHBOURS,
    recommend: int = 0,
    on_stage: Callable[[str], None] | None = None,
    on_rows: OnRows | None = None,
) -> PublishReport:
    """Publishes the vector and the neighbours of each item, and with `recommend` the vector and the list of each user.

    Args:
        recommender: the recommender to publish.
        connection: a Neo4j database, opened to write; its nodes are found by their keys.
        published_at: UTC seconds; names the version.
        neighbours: the largest number of similar items per item.
        recommend: the largest number of recommended items per user; 0 publishes nothing for users.
        on_stage: called with the name of each step.
        on_rows: called with (what was written, the number of rows just written).

    Returns:
        What was published, with the queries for a backend.

    Raises:
        StoreError: another publish is running, the graph has none of the items, or the database fails.
        RequestError: neighbours or recommend is out of range.
    """
    if neighbours < 1 or recommend < 0:
        raise RequestError(
            f"asked for {neighbours} neighbours and {recommend} recommendations; expected at least 1 and at least 0"
        )

    def report(stage: str) -> None:
        _log.info("%s", stage)
        if on_stage is not None:
            on_stage(stage)

    bundle = recommender.bundle
    with Draft(connection, bundle.schema, published_at=published_at) as draft:
        report("reading the graph's nodes")
        items = draft.nodes("item")
        present = [id_ for id_ in bundle.items.ids if id_ in items.elements]
        if not present:
            node = bundle.schema.nodes[bundle.schema.item_type]
            raise StoreError(
                f"{connection.url} has none of the {len(bundle.items):,} items of the bundle, such as "
                f"{bundle.items.ids[0]!r}; expected nodes with the label {node.label!r} and the key {node.key!r}: name "
                "the graph that the bundle was trained from"
            )
        report("writing item vectors")
        vectors = bundle.model.likeness_vectors()[bundle.items.rows(present)]
        _write_vectors(draft, "item", present, vectors, on_rows)
        report("writing neighbours")
        lists = find_neighbours(recommender, present, neighbours)
        compared = _Compared(present, vectors)
        draft.write_lists(SIMILAR_TO, "item", compared.watch(lists), on_rows)
        users = None
        if recommend:
            found = draft.nodes("user")
            known = [id_ for id_ in bundle.users.ids if id_ in found.elements]
            users = _compare(known, len(bundle.users), found)
            report("writing user vectors")
            vectors = user_vectors(bundle.model.backbone, bundle.liked[bundle.users.rows(known)])
            _write_vectors(draft, "user", known, vectors, on_rows)
            report("writing recommendations")
            lists = find_recommendations(recommender, known, present, min(recommend, len(bundle.items)))
            draft.write_lists(RECOMMENDED, "user", lists, on_rows)
        report("waiting for the vector index, then making the version live and removing old ones")
        draft.finish({"trained_at": bundle.trained_at, "neighbours": neighbours, "recommend": recommend})
    return PublishReport(
        version=draft.version,
        release=read_release(connection),
        items=_compare(present, len(bundle.items), items),
        users=users,
        agreement=compared.agreement,
        queries=describe_queries(bundle.schema, draft.version, connection.version),
    )


def _write_vectors(
    draft: Draft,
    side: Side,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    on_rows: OnRows | None,
) -> None:
    """Writes the vectors that are not all zeros."""
    rows = np.flatnonzero(vectors.any(axis=1))
    if len(rows):
        draft.write_vectors(side, [ids[row] for row in rows.tolist()], vectors[rows], on_rows)


def find_neighbours(recommender: Recommender, present: Sequence[str], neighbours: int) -> Iterator[pa.Table]:
    """Yields, in blocks, the neighbours of every item among the items in the graph.

    Args:
        recommender: the recommender that finds them.
        present: the ids of the items in the graph.
        neighbours: the most neighbours per item.
    """
    k = min(neighbours, len(recommender.bundle.items))
    for start in range(0, len(present), _BLOCK_ITEMS):
        columns: tuple[list[str], list[str], list[int], list[float]] = ([], [], [], [])
        block = present[start : start + _BLOCK_ITEMS]
        for item, found in recommender.similar_many(block, k, candidates=present).items():
            columns[0].extend([item] * len(found))
            columns[1].extend(other.item for other in found)
            columns[2].extend(range(1, len(found) + 1))
            columns[3].extend(other.score for other in found)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _LISTS, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=_LISTS)


def find_recommendations(
    recommender: Recommender, users: Sequence[str], present: Sequence[str], k: int
) -> Iterator[pa.Table]:
    """Yields, in blocks, the k best items for every user among the items in the graph."""
    for start in range(0, len(users), _BLOCK_USERS):
        found = recommender.recommend_many(users[start : start + _BLOCK_USERS], k=k, candidates=present)
        yield found.select(["user", "item", "rank", "score"]).rename_columns([SOURCE, TARGET, "rank", "score"])


class _Compared:
    """Compares the first neighbours of some items with an exact vector search."""

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self._ids, self._vectors = ids, vectors
        chosen = np.unique(np.linspace(0, len(ids) - 1, _N_COMPARED).astype(int))
        self._rows = {ids[row]: row for row in chosen.tolist()}
        self._shares: list[float] = []

    def watch(self, lists: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in lists:
            wanted: dict[str, set[str]] = {}
            first = table.filter(pc.field("rank") <= _COMPARED_K)
            for item, other in zip(first[SOURCE].to_pylist(), first[TARGET].to_pylist(), strict=True):
                if item in self._rows:
                    wanted.setdefault(item, set()).add(other)
            for item, others in wanted.items():
                row = self._rows[item]
                scores = self._vectors @ self._vectors[row]
                scores[row] = -np.inf
                found = {self._ids[place] for place in np.argsort(-scores, kind="stable")[: len(others)].tolist()}
                self._shares.append(len(found & others) / len(others))
            yield table

    @property
    def agreement(self) -> float:
        return float(np.mean(self._shares)) if self._shares else float("nan")


def _compare(both: Sequence[str], n_in_bundle: int, found: GraphNodes) -> Coverage:
    return Coverage(
        n_both=len(both),
        n_not_in_graph=n_in_bundle - len(both),
        n_not_in_bundle=len(found.elements) - len(both),
        n_repeated=found.n_repeated,
        n_without_id=found.n_without_id,
    )
