"""A trained model into the user's Neo4j, for applications that ask by Cypher: vectors, neighbours, recommendations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from graph_schema import SOURCE, TARGET
from kgrec.errors import RequestError, StoreError
from kgrec.model.head import Head
from kgrec.model.model import BACKBONE, COMPONENTS, CONTENT, FEW_SHOT, ITEM_ITEM, ITEM_ITEM_FEW, Model
from kgrec.recommend import Recommender
from kgrec.store.contract import OnRows
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import (
    RECOMMENDED,
    SIMILAR_TO,
    Draft,
    GraphNodes,
    Release,
    Side,
    Version,
    describe_queries,
    read_release,
)

NEIGHBOURS = 50
ITEM_ITEM_DIM = 256
_BLOCK_ITEMS, _BLOCK_USERS = 256, 2048
_LISTS = pa.schema({SOURCE: pa.string(), TARGET: pa.string(), "rank": pa.int64(), "score": pa.float64()})
_ENOUGH = 0.95
_N_COMPARED, _COMPARED_K = 200, 10  # items whose first neighbours are compared with the vectors'


@dataclass(frozen=True)
class Coverage:
    """How the bundle's nodes of one kind and the graph's meet.

    Attributes:
        n_both: in both: these are published.
        n_not_in_graph: the graph lacks them; nothing is written for them, and they are in no list.
        n_not_in_bundle: the bundle lacks them: they came after the training.
        n_repeated: nodes of the graph with the id of another; they are left alone.
        n_without_id: nodes of the graph without a key.
    """

    n_both: int
    n_not_in_graph: int
    n_not_in_bundle: int
    n_repeated: int
    n_without_id: int


@dataclass(frozen=True)
class PublishReport:
    """What was published.

    Attributes:
        version: what was written.
        release: what is live now and what was.
        items: the items; users: the users, None where nothing of them was asked for.
        agreement: share of the first 10 neighbours that the vectors find too, in an exact search; nan: no neighbours.
        queries: what a backend can ask for -> its Cypher for this server.
    """

    version: Version
    release: Release
    items: Coverage
    users: Coverage | None
    agreement: float
    queries: Mapping[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the publisher should know, a sentence each."""
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
                (found.n_not_in_graph, f"{what} of the bundle are not in the graph: nothing is published of them"),
                (found.n_not_in_bundle, f"{what} of the graph are not in the bundle: they came after the training"),
                (found.n_repeated, f"nodes have the key of another of the {what}: they are left alone"),
                (found.n_without_id, f"nodes labelled as {what} have no key, or none of text or an integer"),
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
    """Publishes item vectors and each item's neighbours, and users' vectors and recommendations if asked for.

    Args:
        recommender: what to publish; its answers are published as they are.
        connection: the graph, opened to write; its nodes are found by their keys.
        published_at: UTC seconds; names the version.
        neighbours: how many similar items each item gets, at most.
        recommend: how many items each user is recommended, at most; 0: nothing of users is published.
        on_stage: told what is being done, a line each.
        on_rows: told (what, how many of it were just written).

    Raises:
        StoreError: another publish is at work, the graph has none of the items, or the database fails.
        RequestError: neighbours or recommend is out of range.
    """
    if neighbours < 1 or recommend < 0:
        raise RequestError(
            f"asked for {neighbours} neighbours and {recommend} recommendations; expected at least 1 and at least 0"
        )
    tell = on_stage or (lambda _: None)
    bundle = recommender.bundle
    with Draft(connection, bundle.schema, published_at=published_at) as draft:
        tell("reading the graph's nodes")
        items = draft.nodes("item")
        present = [id_ for id_ in bundle.items.ids if id_ in items.elements]
        if not present:
            node = bundle.schema.nodes[bundle.schema.item_type]
            raise StoreError(
                f"{connection.url} has none of the {len(bundle.items):,} items of the bundle, such as "
                f"{bundle.items.ids[0]!r}; expected nodes with the label {node.label!r} and the key {node.key!r}: name "
                "the graph that the bundle was trained from"
            )
        tell("writing item vectors")
        vectors, queries = (found[bundle.items.rows(present)] for found in item_vectors(bundle.model))
        _write_vectors(draft, "item", present, vectors, queries, on_rows)
        tell("writing neighbours")
        lists = _find_similar(recommender, present, neighbours)
        compared = _Compared(present, vectors, queries)
        draft.write_lists(SIMILAR_TO, "item", compared.watch(lists), on_rows)
        users = None
        if recommend:
            found = draft.nodes("user")
            known = [id_ for id_ in bundle.users.ids if id_ in found.elements]
            users = _compare(known, len(bundle.users), found)
            tell("writing user vectors")
            vectors = user_vectors(bundle.model.few_shot, bundle.liked[bundle.users.rows(known)])
            _write_vectors(draft, "user", known, vectors, None, on_rows)
            tell("writing recommendations")
            lists = _recommend(recommender, known, present, min(recommend, len(bundle.items)))
            draft.write_lists(RECOMMENDED, "user", lists, on_rows)
        tell("waiting for the vector index, then making the version live and removing old ones")
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
    queries: NDArray[np.float32] | None,
    on_rows: OnRows | None,
) -> None:
    """Writes those that are not all zeros."""
    rows = np.flatnonzero(vectors.any(axis=1))
    if len(rows):
        asked = None if queries is None else queries[rows]
        draft.write_vectors(side, [ids[row] for row in rows.tolist()], vectors[rows], asked, on_rows)


def item_vectors(model: Model) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors by which a cosine index finds what `Recommender.similar` finds.

    What a like of item i adds to the score of j is, for each head h, w_h(j) z_j' A_i^-1 z_i, with w_h(j) the gate's
    weight of j, A_i = z_i z_i' + B and B = alpha G + ridge I. With B = L L', by Sherman and Morrison, that is the dot
    product of w_h(j) L^-1 z_j and L^-1 z_i / (1 + z_i' B^-1 z_i); the heads' parts side by side make one vector. Dot
    products are ranked by a cosine index once all items are given the same length by one more coordinate, which is 0 in
    what is asked (Bachrach et al., Speeding up the Xbox recommender system, RecSys 2014). Where the gate counts an
    item-item component at one like, what a like adds has no such form: then the vectors are its factors of rank
    `ITEM_ITEM_DIM`, by a truncated singular value decomposition.

    Returns:
        (n_items, dim + 1) float32 unit vectors to put into the index, and (n_items, dim + 1) float32 unit vectors to
        ask it with; both are zeros for an item of which a like adds nothing to others.
    """
    bucket = int(model.gate.bucket(np.array([1]))[0])
    indexed, asked = [], []
    for name, head in ((FEW_SHOT, model.few_shot), (BACKBONE, model.backbone)):
        place = COMPONENTS.index(name)
        cold, warm = float(model.gate.cold[bucket, place]), float(model.gate.warm[bucket, place])
        weights = torch.where(model.cold, cold, warm).double()[:, None]  # (n_items, 1)
        if not weights.any():
            continue
        whitened = _whiten(head)  # (n_items, dim)
        scales = 1 + whitened.square().sum(dim=1, keepdim=True)
        indexed.append(whitened * weights)
        asked.append(whitened / scales)
    of_item_item = _weigh_item_item(model, bucket)
    if not indexed and of_item_item is None:  # no like counts: the few-shot head is still the nearest to an answer
        indexed = asked = [_whiten(model.few_shot)]
    nothing = torch.zeros((model.n_items, 0), dtype=torch.float64)
    items, queries = torch.cat([nothing, *indexed], dim=1), torch.cat([nothing, *asked], dim=1)  # (n_items, dim)
    if of_item_item is not None:
        items, queries = _factorise(queries @ items.T + of_item_item)
    lengths = items.norm(dim=1, keepdim=True)
    longest = lengths.max().clamp(min=1e-12)
    rest = (1 - (lengths / longest).square()).clamp(min=0).sqrt()
    unit = torch.cat([items / longest, rest], dim=1)
    asking = torch.nn.functional.normalize(torch.nn.functional.pad(queries, (0, 1)))
    known = items.any(dim=1, keepdim=True) & queries.any(dim=1, keepdim=True)
    return (unit * known).float().numpy(), (asking * known).float().numpy()


def _weigh_item_item(model: Model, bucket: int) -> Tensor | None:
    """(n_items, n_items) float64: what item-item and content components add by a like of each item; None: nothing."""
    found: Tensor | None = None
    for name, matrix in ((ITEM_ITEM, model.item_item), (ITEM_ITEM_FEW, model.item_item_few)):
        weight = float(model.gate.warm[bucket, COMPONENTS.index(name)])  # what is cold has no column there
        if matrix is None or not weight:
            continue
        n_first = len(matrix)
        found = torch.zeros((model.n_items, model.n_items), dtype=torch.float64) if found is None else found
        found[:n_first, :n_first] += weight * matrix.rows(torch.arange(n_first))
    weight = float(model.gate.cold[bucket, COMPONENTS.index(CONTENT)])
    if model.content is not None and weight and model.cold.any():
        found = torch.zeros((model.n_items, model.n_items), dtype=torch.float64) if found is None else found
        shares = model.content.shares(np.arange(model.n_items), np.arange(int(model.cold.sum())))
        found[:, model.cold] += weight * torch.from_numpy(shares)
    return found


def _factorise(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(n_items, dim) float64 item vectors and query vectors whose dot products come near to scores off the diagonal."""
    scores.fill_diagonal_(0)
    dim = min(ITEM_ITEM_DIM, len(scores))
    left, values, right = randomized_svd(scores.numpy(), n_components=dim, random_state=0)
    return torch.from_numpy(right.T.copy()), torch.from_numpy(left * values)


def user_vectors(head: Head, liked: csr_array) -> NDArray[np.float32]:
    """Vectors whose cosine says how alike the scores are that the few-shot head gives to two users.

    They are G^1/2 (w - centre), w the user's vector and G the sum of z z' over the items: their dot product is the sum
    over items of both users' scores, taken relative to those of a user without likes.

    Args:
        head: the few-shot head.
        liked: (n_users, n_items) likes.

    Returns:
        (n_users, dim) float32 unit vectors; zeros for a user without likes.
    """
    values, directions = torch.linalg.eigh(head.gram.double())
    root = directions * values.clamp(min=0).sqrt()  # (dim, dim)
    found = np.zeros((liked.shape[0], len(values)), np.float32)
    for start in range(0, liked.shape[0], _BLOCK_USERS):
        block = liked[start : start + _BLOCK_USERS]
        relative = torch.where(
            torch.from_numpy(np.diff(block.indptr) > 0)[:, None], head.solve(block).double() - head.centre.double(), 0.0
        )
        found[start : start + _BLOCK_USERS] = torch.nn.functional.normalize(relative @ root).float().numpy()
    return found


def _whiten(head: Head) -> Tensor:
    """(n_items, dim) float64: L^-1 z of every item."""
    ridge = float(head.ridge(np.array([1]))[0])
    gram = head.gram.double()
    factor = torch.linalg.cholesky(head.alpha * gram + ridge * torch.eye(len(gram), dtype=torch.float64))
    whitened: Tensor = torch.linalg.solve_triangular(factor, head.vectors.double().T, upper=False).T
    return whitened


def _find_similar(recommender: Recommender, present: Sequence[str], neighbours: int) -> Iterator[pa.Table]:
    """The neighbours of every item among the items that the graph has, some items at a time.

    An item of score 0 or less is no neighbour: a like speaks not for it, and of what nothing is known all scores are 0.
    """
    may_be = set(present)
    n_items = len(recommender.bundle.items)
    k = min(neighbours + n_items - len(may_be), n_items)  # so that those that are absent leave no gap
    for start in range(0, len(present), _BLOCK_ITEMS):
        columns: tuple[list[str], list[str], list[int], list[float]] = ([], [], [], [])
        for item in present[start : start + _BLOCK_ITEMS]:
            found = [other for other in recommender.similar(item, k) if other.score > 0 and other.item in may_be]
            found = found[:neighbours]
            columns[0].extend([item] * len(found))
            columns[1].extend(other.item for other in found)
            columns[2].extend(range(1, len(found) + 1))
            columns[3].extend(other.score for other in found)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _LISTS, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=_LISTS)


def _recommend(recommender: Recommender, users: Sequence[str], present: Sequence[str], k: int) -> Iterator[pa.Table]:
    for start in range(0, len(users), _BLOCK_USERS):
        found = recommender.recommend_many(users[start : start + _BLOCK_USERS], k=k, candidates=present)
        yield found.select(["user", "item", "rank", "score"]).rename_columns([SOURCE, TARGET, "rank", "score"])


class _Compared:
    """Compares the first neighbours of some items with those that the vectors find."""

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> None:
        self._ids, self._vectors, self._queries = ids, vectors, queries
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
                scores = self._vectors @ self._queries[row]
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
