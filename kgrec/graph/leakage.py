"""Relations and attributes that leak the answer: they repeat the interaction, or were computed from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.stats import spearmanr

from graph_schema import TARGET, CatalogueSchema, GraphTables
from graph_schema.drafts.name_words import is_computed_name

LEAK_SHARE = 0.5  # a relation leaks when it shares this part of its own pairs, or of the interaction's
LEAK_PAIRS = 10  # and at least this many pairs
MOST_PATHS = 4  # the most paths per interaction for following two relations through a node
CO_USERS = 5  # least users of an item for measuring co-interaction
CO_ITEMS, CO_LINKS, CO_SAMPLE = 100, 3, 300  # least items with links, least mean links of an item, items in the sample
LEAK_RANK, LEAK_ITEMS = 0.9, 50  # a feature leaks above this rank correlation, over at least this many items

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ComputedFeature:
    """A feature of items that looks computed from the interactions.

    Attributes:
        column: the attribute.
        repeats: what it repeats, in words.
        rank: the rank correlation between the two; None: only the name says so.
        rows: int64 (n,), the items with a value, those with the greatest values first.
        values: float64 (n,), their values.
        n_interactions: int64 (n,), their interactions.
    """

    column: str
    repeats: str
    rank: float | None
    rows: Rows
    values: NDArray[np.float64]
    n_interactions: Rows


def iter_user_item_relations(
    schema: CatalogueSchema, ends: Callable[[str], tuple[Rows, Rows]], size: Callable[[str], int], n_interactions: int
) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """The (user, item) pairs that one relation links, or two relations through a node.

    Two relations with more than four paths for each interaction are left out: they link too many pairs to repeat it.

    Args:
        schema: of the catalogue.
        ends: edge type -> the rows of its edges' sources and targets, int64 (n_edges,) each.
        size: node type -> the number of nodes.
        n_interactions: the number of distinct (user, item) pairs that interact.

    Yields:
        The edge types, and the distinct pairs as user row * n_items + item row, int64 (n,), ascending.
    """
    user_type, item_type = schema.user_type, schema.item_type
    n_users, n_items = size(user_type), size(item_type)
    of_users: list[tuple[str, str, Rows, Rows]] = []  # edge type, type of the other end, its rows, the users' rows
    of_items: list[tuple[str, str, Rows, Rows]] = []
    for name, edge in schema.graph_edges.items():
        source, target = ends(name)
        for near, far, near_rows, far_rows in (
            (edge.source, edge.target, source, target),
            (edge.target, edge.source, target, source),
        ):
            if (near, far) == (user_type, item_type):
                yield (name,), np.unique(near_rows * n_items + far_rows)
            elif near in (user_type, item_type) and far not in (user_type, item_type):
                (of_users if near == user_type else of_items).append((name, far, far_rows, near_rows))
    for user_edge, middle, user_middle, users in of_users:
        for item_edge, other, item_middle, items in of_items:
            n_middle = size(middle)
            if middle != other or _count(user_middle, n_middle) @ _count(item_middle, n_middle) > (
                MOST_PATHS * n_interactions
            ):
                continue
            paths = to_links(users, user_middle, (n_users, n_middle)) @ to_links(
                item_middle, items, (n_middle, n_items)
            )
            linked = paths.tocoo()
            yield (user_edge, item_edge), np.unique(linked.row.astype(np.int64) * n_items + linked.col)


def repeats_interaction(known: Rows, pairs: Rows) -> Rows | None:
    """The pairs that a relation and the interaction share, if one repeats the other.

    Args:
        known: int64 (n,), the distinct pairs that interact, as in `iter_user_item_relations`, ascending.
        pairs: likewise, those of the relation.

    Returns:
        The shared pairs; None where they are fewer than ten, or than half of the smaller of the two.
    """
    both = np.intersect1d(known, pairs, assume_unique=True)
    return both if len(both) >= max(LEAK_PAIRS, LEAK_SHARE * min(len(pairs), len(known))) else None


def find_computed_features(tables: GraphTables) -> Iterator[ComputedFeature]:
    """Numbers of items that are features and repeat the number of interactions of an item, or their mean weight.

    A feature repeats one when their rank correlation is above .9, or below -.9, over at least 50 items with
    interactions; or when its name says that it is computed, as "times_sold" does.
    """
    schema, item_type = tables.schema, tables.schema.item_type
    chosen, table = schema.interaction, tables.interactions
    items = _find_rows(table[TARGET], tables.ids(item_type))
    n_items = tables.nodes[item_type].num_rows
    n_interactions = _count(items, n_items)
    measures = {f"the number of {chosen.edge} edges": n_interactions.astype(np.float64)}
    if chosen.weight is not None:
        sums = np.bincount(items, weights=_to_floats(table[chosen.weight]), minlength=n_items)
        measures[f"the mean {chosen.weight} of {chosen.edge} edges"] = sums / np.maximum(n_interactions, 1)
    for column in schema.nodes[item_type].features:
        if schema.nodes[item_type].columns[column] not in ("int", "float"):
            continue
        values = _to_floats(tables.nodes[item_type][column])
        compared = np.isfinite(values) & (n_interactions > 0)
        ranks = {name: _correlate(values[compared], measure[compared]) for name, measure in measures.items()}
        repeats = max(ranks, key=lambda name: abs(ranks[name]))
        is_measured = abs(ranks[repeats]) > LEAK_RANK
        if is_measured or is_computed_name(column):
            rows = np.flatnonzero(np.isfinite(values))
            rows = rows[np.argsort(-values[rows], kind="stable")]
            yield ComputedFeature(
                column,
                repeats if is_measured else f"{chosen.edge} edges, by its name",
                ranks[repeats] if is_measured else None,
                rows,
                values[rows],
                n_interactions[rows],
            )


def iter_named_items(tables: GraphTables) -> Iterator[tuple[str, Rows]]:
    """The (user, item) pairs of users' features that name items, such as a favourite item, by its id or its name.

    Yields:
        The attribute of users, and the distinct pairs as in `iter_user_item_relations`.
    """
    schema = tables.schema
    user_type, item_type = schema.user_type, schema.item_type
    users, items = tables.nodes[user_type], tables.nodes[item_type]
    name = schema.nodes[item_type].name
    for column in schema.nodes[user_type].features:
        rows, entries = list_entries(users[column], schema.nodes[user_type].columns[column])
        pairs = [np.zeros(0, np.int64)]
        for names in (tables.ids(item_type), *([items[name]] if name else [])):
            named = pc.index_in(entries, value_set=names.combine_chunks(), skip_nulls=True)
            is_known = pc.is_valid(named).to_numpy(zero_copy_only=False)
            pairs.append(rows[is_known] * items.num_rows + named.drop_null().to_numpy().astype(np.int64))
        if any(map(len, pairs)):
            yield column, np.unique(np.concatenate(pairs))


def list_entries(values: pa.ChunkedArray, kind: str) -> tuple[Rows, pa.Array]:
    """The texts in a column of texts, or of lists of texts, and the row of each; none in other columns."""
    column = values.combine_chunks()
    if kind == "list":
        sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        return np.repeat(np.arange(len(column), dtype=np.int64), sizes), column.flatten()
    if kind != "string":
        return np.zeros(0, np.int64), pa.array([], pa.string())
    present = pc.is_valid(column)
    return np.flatnonzero(present.to_numpy(zero_copy_only=False)), column.filter(present)


def _correlate(values: NDArray[np.float64], measure: NDArray[np.float64]) -> float:
    """The rank correlation; 0 where there are too few items, or no differences."""
    if len(values) < LEAK_ITEMS or not np.ptp(values) or not np.ptp(measure):
        return 0.0
    return float(spearmanr(values, measure).statistic)


def _find_rows(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> Rows:
    rows: Rows = pc.index_in(ids, value_set=known.combine_chunks()).to_numpy().astype(np.int64)
    return rows


def _to_floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """The values of a column, NaN where there are none."""
    floats: NDArray[np.float64] = column.cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
    return floats


def sample_linked(links: csr_array, n_users: Rows) -> Rows:
    """Up to 300 items, spread over all with links of a relation and with at least five users.

    Args:
        links: (n_items, n_items), an entry for each link.
        n_users: int64 (n_items,), the number of users who interacted with each item.

    Returns:
        int64 (n,) rows; none if fewer than 100 items qualify, or if they have fewer than three links on average.
    """
    degree = np.diff(links.indptr)
    linked = np.flatnonzero((degree > 0) & (n_users >= CO_USERS))
    if len(linked) < CO_ITEMS or degree[linked].mean() < CO_LINKS:
        return np.zeros(0, np.int64)
    return linked[np.unique(np.linspace(0, len(linked) - 1, CO_SAMPLE).astype(np.int64))]


def count_co_links(links: csr_array, seen: csr_array, by_item: csc_array, sample: Rows) -> NDArray[np.float64]:
    """Counts how many of an item's d links go to the d items with most users in common.

    Args:
        links: (n_items, n_items), an entry for each link.
        seen: (n_users, n_items), 1 where a user interacted with an item.
        by_item: the same.
        sample: int64 (n,) rows of items.

    Returns:
        (n,), by the number of users in common or by the cosine, whichever agrees better over the sample.
    """
    n_users = np.diff(by_item.indptr)
    hits = np.zeros((len(sample), 2))
    for place, item in enumerate(sample):
        users = by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]
        common = _count(seen[users].indices, seen.shape[1]).astype(float)
        common[item] = 0
        neighbours = links.indices[links.indptr[item] : links.indptr[item + 1]]
        for kind, worth in enumerate((common, common / np.sqrt(np.maximum(n_users, 1)))):
            least = np.partition(worth, -len(neighbours))[-len(neighbours)]
            top = (worth >= least) & (worth > 0)  # with ties more than there are neighbours
            hits[place, kind] = top[neighbours].sum() * min(1, len(neighbours) / max(top.sum(), 1))
    best: NDArray[np.float64] = hits[:, hits.sum(axis=0).argmax()]
    return best


def to_links(rows: Rows, columns: Rows, shape: tuple[int, int]) -> csr_array:
    """A sparse matrix of int32 with 1 for each link."""
    matrix = coo_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape).tocsr()
    matrix.data[:] = 1
    return matrix


def link_readings(links: csr_array) -> tuple[csr_array, csr_array, csr_array]:
    """A relation between items as each item's outgoing links, its incoming ones, and both together.

    Catalogues store lists of neighbours in either direction, or each pair once.
    """
    turned = links.T.tocsr()
    return links, turned, links + turned


def _count(rows: Rows, size: int) -> Rows:
    return np.bincount(rows, minlength=size)
